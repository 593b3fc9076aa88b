"""What axe-core finds on the page in each of its states, wide and narrow, light and dark."""

from collections.abc import Callable
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.browser.page import Studio
from tests.browser.test_page import REFUSED, name_of, take_off

pytestmark = pytest.mark.browser


def assert_accessible(studio: Studio, state: str) -> None:
    """No rule of axe's is broken, and nothing is wider than the window."""
    studio.page.mouse.move(0, 0)
    # Colours that are still on their way to others have contrasts of their own.
    studio.page.wait_for_timeout(200)
    found = Axe().run(studio.page).response
    broken = [f"{each['impact']}: {each['help']} {each['nodes']}" for each in found["violations"]]
    print(f"{state}: {len(found['passes'])} rules of axe hold, {len(broken)} do not")
    assert not broken, broken
    assert not studio.page.evaluate(
        "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nobody_is_kept_out(
    visit: Callable[..., Studio],
    width: str,
    scheme: str,
    wav: Path,
    tmp_path: Path,
    errors: list[str],
) -> None:
    studio = visit(width, scheme=scheme)
    page = studio.page
    assert_accessible(studio, "welcome")
    studio.register(name_of(scheme, width))
    assert_accessible(studio, "empty")

    wrong = tmp_path / "x.wav"
    wrong.write_bytes(b"x" * 100)
    long = wav.rename(wav.with_name(f"{'a name without an end ' * 10}.wav"))
    studio.choose(long, wrong, long)
    expect(page.locator(".upload[data-state=failed]")).to_have_count(2)
    expect(studio.records).to_have_count(1)
    take_off(errors, f"{REFUSED}415", f"{REFUSED}409")
    studio.records.locator(".play").click()
    expect(page.locator("#player")).to_be_visible()
    assert_accessible(studio, "uploads, a recording, the player")

    studio.records.locator(".edit").click()
    assert_accessible(studio, "a name is changed")
    page.keyboard.press("Escape")
    studio.records.locator(".remove").click()
    assert_accessible(studio, "something is asked")
    page.keyboard.press("Escape")
    page.locator("#account-open").click()
    assert_accessible(studio, "the account")
