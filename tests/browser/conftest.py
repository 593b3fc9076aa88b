"""A real browser before umusic behind nginx, as a person has it; `make browser-test` runs these."""

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.browser.page import Studio
from tests.conftest import scratch_directory
from tests.front import Nginx
from tests.process import Process

#: Wide, as on a desk, and narrow, as in a hand: width and height in CSS pixels.
WIDTHS = {"wide": (1280, 860), "narrow": (360, 740)}


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Chromium, without a window."""
    binary = shutil.which("chromium") or shutil.which("chromium-browser")
    assert binary, "this needs a browser: apt-get install chromium"
    with sync_playwright() as playwright:
        # As root Chromium runs only without its sandbox; it sees nothing but our own pages.
        browser = playwright.chromium.launch(executable_path=binary, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


class Site:
    """umusic behind nginx. `url` is nginx's."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._settings = {"x_accel_prefix": "/_media/", "max_upload_bytes": "100MB"}
        self.umusic = Process(directory, **self._settings)
        self.nginx = Nginx(
            directory / "nginx",
            upstream=f"127.0.0.1:{self.umusic.port}",
            media=directory / "media",
        )
        self.url = self.nginx.url

    def kill(self) -> None:
        """Ends umusic in the middle of what it does."""
        self.umusic.popen.kill()
        self.umusic.close()

    def restart(self) -> None:
        """Has it run again, where it was."""
        self.umusic = Process(self._directory, **self._settings, port=str(self.umusic.port))

    @contextlib.contextmanager
    def running(self) -> Iterator["Site"]:
        try:
            with self.nginx.running():
                yield self
        finally:
            self.umusic.close()


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    with scratch_directory() as directory, Site(directory).running() as running:
        yield running


@pytest.fixture(params=WIDTHS)
def width(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def errors() -> list[str]:
    """What the browser has said of errors; a test takes off what it expects."""
    return []


@pytest.fixture
def visit(browser: Browser, site: Site, errors: list[str]) -> Iterator[Callable[..., Studio]]:
    """Opens the page in a new browser that knows nothing yet."""
    contexts: list[BrowserContext] = []

    def open_page(
        width: str = "wide", locale: str = "en-GB", scheme: str = "light", url: str = site.url
    ) -> Studio:
        size = dict(zip(("width", "height"), WIDTHS[width], strict=True))
        context = browser.new_context(
            viewport=size,  # type: ignore[arg-type]
            locale=locale,
            color_scheme=scheme,  # type: ignore[arg-type]
            permissions=["clipboard-read", "clipboard-write"],
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15_000)
        _listen(page, errors)
        page.goto(url)
        return Studio(page, url)

    yield open_page
    for context in contexts:
        context.close()
    assert not errors


def _listen(page: Page, errors: list[str]) -> None:
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on(
        "console",
        lambda said: errors.append(said.text) if said.type in ("error", "warning") else None,
    )
