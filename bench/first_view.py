"""How long does the page take to show a library of 10,000 recordings?

From the request of the page to the first fifty names in Chromium, through nginx, and by turns to
that of an empty library; each time in a browser that knows nothing but the token. Prints medians
and spread.

    python -m bench.first_view
"""

import asyncio
import contextlib
import time

from playwright.sync_api import Browser

from bench.rounds import quartiles
from bench.sides import bench, registered
from tests.browser.conftest import chromium
from tests.rows import add_rows
from umusic.library.database import Database

RECORDS = 10_000
VISITS = 7


def main() -> None:
    """Runs the measurement."""
    with contextlib.ExitStack() as stack:
        opened = stack.enter_context(bench())
        umusic = stack.enter_context(opened.umusic(x_accel_prefix="/_media/"))
        nginx, _ = stack.enter_context(opened.nginx_before(umusic))
        empty = registered(umusic, "empty")
        asyncio.run(fill(umusic.database_url, umusic.user))
        libraries = {
            "nothing": (empty.token, "#nothing"),
            f"{RECORDS} recordings": (umusic.token, ".record:nth-child(50)"),
        }
        times: dict[str, list[float]] = {name: [] for name in libraries}
        browser = stack.enter_context(chromium())
        for _ in range(VISITS):
            for name, (token, shown) in libraries.items():
                times[name].append(visit(browser, nginx, token, shown))
    for name, measured in times.items():
        low, middle, high = quartiles(measured)
        print(f"{name:17} {1e3 * middle:5.0f} ms (quartiles {1e3 * low:.0f} to {1e3 * high:.0f})")


async def fill(url: str, user: str) -> None:
    """Adds the rows."""
    database = Database(url)
    await add_rows(database, user, RECORDS)
    await database.close()


def visit(browser: Browser, site: str, token: str, shown: str) -> float:
    """Seconds from the request of the page until `shown` is there."""
    context = browser.new_context(locale="en-GB")
    context.add_init_script(f"localStorage.setItem('umusic.token', '{token}')")
    page = context.new_page()
    began = time.perf_counter()
    page.goto(site, wait_until="commit")
    page.locator(shown).wait_for()
    took = time.perf_counter() - began
    context.close()
    return took


if __name__ == "__main__":
    main()
