"""/docs in a real browser: all operations are shown, and can be tried out with a token."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Site
from umusic.web.api.operations import OPERATIONS

pytestmark = pytest.mark.browser


@pytest.fixture
def page(browser: Browser, site: Site) -> Iterator[Page]:
    """The page, with all operations shown. Whatever it complains of fails the test, violations of
    its Content-Security-Policy included."""
    opened = browser.new_page(viewport={"width": 1200, "height": 900})
    opened.set_default_timeout(20_000)
    complaints: list[str] = []
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("requestfailed", lambda request: complaints.append(request.url))
    opened.goto(f"{site.url}/docs")
    opened.locator(".opblock").first.wait_for()
    yield opened
    opened.close()
    # Chromium says this of any status from 400 on.
    assert not [text for text in complaints if not text.startswith("Failed to load resource")]


def authorize(page: Page, token: str) -> None:
    page.get_by_role("button", name="Authorize").first.click()
    bearer = page.locator(".modal-ux .auth-container", has_text="Bearer (http, Bearer)")
    bearer.get_by_role("textbox").fill(token)
    bearer.get_by_role("button", name="Apply credentials").click()
    page.locator(".modal-ux .close-modal").click()


def try_out(page: Page, operation: str) -> tuple[str, str]:
    """Executes an operation as it stands; returns the status and the body that are shown."""
    block = page.locator(f"[id='operations-{operation}']")
    block.locator(".opblock-summary-control").click()
    block.get_by_role("button", name="Try it out").click()
    block.get_by_role("button", name="Execute").click()
    reply = block.locator(".live-responses-table tbody tr").first
    status = reply.locator(".response-col_status").inner_text()
    return status.strip(), reply.locator("pre").first.inner_text()


def test_every_operation_is_shown(page: Page) -> None:
    count = sum(len(methods) for methods in OPERATIONS.values())
    expect(page.locator(".opblock")).to_have_count(count)
    expect(page.locator(".opblock-deprecated").first).to_be_visible()


def test_without_a_token_the_problem_is_shown(page: Page) -> None:
    status, body = try_out(page, "Users-getAccount")
    assert status == "401"
    assert "/problems/token-missing" in body


def test_with_a_token_one_sees_ones_own_account(page: Page, site: Site) -> None:
    authorize(page, site.umusic.register("Ann"))
    status, body = try_out(page, "Users-getAccount")
    assert status == "200"
    assert '"name": "Ann"' in body
