"""What a person does with the page and sees on it."""

from pathlib import Path

from playwright.sync_api import Locator, Page, expect

from tests import leaks


class Studio:
    """The page at `url`, in one tab of a browser."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url

    def register(self, name: str) -> str:
        """Becomes a user; returns the token, which the page keeps."""
        self.page.locator("#register input").fill(name)
        self.page.locator("#register button").click()
        expect(self.page.locator("#studio")).to_be_visible()
        expect(self.page.locator("#account-name")).to_have_text(name)
        return self.token()

    def enter(self, token: str) -> None:
        """Pastes a token."""
        self.page.locator("#enter input").fill(token)
        self.page.locator("#enter button").click()

    def token(self) -> str:
        """What the page keeps in the browser."""
        return leaks.issued(str(self.page.evaluate("localStorage.getItem('umusic.token')")))

    def choose(self, *files: Path) -> None:
        """Chooses files to be sent."""
        self.page.locator("#files").set_input_files([*map(str, files)])

    def upload(self, name: str) -> Locator:
        """The row of the upload of a file of this name."""
        return self._row("upload", name)

    def record(self, name: str) -> Locator:
        """The row of the recording of this name."""
        return self._row("record", name)

    @property
    def records(self) -> Locator:
        """The rows of all recordings that are shown."""
        return self.page.locator("#records .record")

    def slow_down(self, bytes_a_second: int) -> None:
        """Has the browser send no faster; -1: as fast as it can."""
        self.page.context.new_cdp_session(self.page).send(
            "Network.emulateNetworkConditions",
            {
                "offline": False,
                "latency": 0,
                "downloadThroughput": -1,
                "uploadThroughput": bytes_a_second,
            },
        )

    def send(self, *files: Path) -> None:
        """Sends files, all of which are taken."""
        self.choose(*files)
        for file in files:
            expect(self.upload(file.name)).to_have_attribute("data-state", "done", timeout=60_000)

    def copied(self) -> str:
        """What is in the clipboard."""
        return str(self.page.evaluate("navigator.clipboard.readText()"))

    def played(self) -> float:
        """Where the player is, in seconds."""
        return float(self.page.evaluate("document.getElementById('audio').currentTime"))

    def confirm(self) -> None:
        """Says yes to what is asked."""
        self.page.locator("#confirm-yes").click()

    def _row(self, kind: str, name: str) -> Locator:
        named = self.page.get_by_text(name, exact=True)
        return self.page.locator(f".row.{kind}").filter(has=named)
