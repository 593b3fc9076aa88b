"""How long does the page take to show a library of 10,000 recordings?

From the request of the page to the first fifty names in Chromium, through nginx, and by turns to
that of an empty library; each time in a browser that knows nothing but the token. Prints medians
and spread.

    python -m bench.first_view
"""

import asyncio
import statistics
import time

from playwright.sync_api import Browser

from bench.pages import ask, fill
from bench.stack import register, running
from tests.browser.conftest import chromium
from umusic import embedded

RECORDS = 10_000
VISITS = 7


def main() -> None:
    """Runs the measurement."""
    with running(x_accel_prefix="/_media/") as stack:
        empty = register(stack.direct, "empty")
        user = ask(f"{stack.direct}/user", stack.token)[0]["id"]
        with embedded.postgres(stack.scratch / "data", share=True) as url:
            asyncio.run(fill(url, user, RECORDS))
        libraries = {
            "nothing": (empty, "#nothing"),
            f"{RECORDS} recordings": (stack.token, ".record:nth-child(50)"),
        }
        times: dict[str, list[float]] = {name: [] for name in libraries}
        with chromium() as browser:
            for _ in range(VISITS):
                for name, (token, shown) in libraries.items():
                    times[name].append(visit(browser, stack.nginx, token, shown))
    for name, measured in times.items():
        low, middle, high = statistics.quantiles(measured, n=4)
        print(f"{name:17} {1e3 * middle:5.0f} ms (quartiles {1e3 * low:.0f} to {1e3 * high:.0f})")


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
