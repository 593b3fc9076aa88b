"""Does the last page of a long list take as long as the first?

A library of 100,000 records (rows made in bulk): `GET /records` of page 1 and of page 1,000, of 100
records each, by turns. Prints medians, spread and the ratio; and those of a search for nothing.

    python -m bench.pages
"""

import asyncio
import json
import statistics
import time
import urllib.request

from bench.stack import running
from tests.rows import add_rows
from umusic import embedded
from umusic.library.database import Database

RECORDS = 100_000
LIMIT = 100
ROUNDS = 50


def main() -> None:
    """Runs the measurement."""
    with running() as stack:
        user = ask(f"{stack.direct}/user", stack.token)[0]["id"]
        with embedded.postgres(stack.scratch / "data", share=True) as url:
            asyncio.run(fill(url, user, RECORDS))
        positions = {"page 1": f"{stack.direct}/records?limit={LIMIT}"}
        cursor = None
        for _ in range(RECORDS // LIMIT - 1):
            url = f"{stack.direct}/records?limit={LIMIT}" + (f"&cursor={cursor}" if cursor else "")
            cursor = ask(url, stack.token)[0]["next"]
        positions["page 1000"] = f"{stack.direct}/records?limit={LIMIT}&cursor={cursor}"
        positions["q in none"] = f"{stack.direct}/records?limit={LIMIT}&q=nothing"
        times: dict[str, list[float]] = {name: [] for name in positions}
        for _ in range(ROUNDS):
            for name, url in positions.items():
                times[name].append(ask(url, stack.token)[1])
    for name, measured in times.items():
        low, middle, high = statistics.quantiles(measured, n=4)
        print(f"{name:10} {1e3 * middle:6.1f} ms (quartiles {1e3 * low:.1f} to {1e3 * high:.1f})")
    ratio = statistics.median(times["page 1000"]) / statistics.median(times["page 1"])
    print(f"page 1000 : page 1 = {ratio:.2f}")


def ask(url: str, token: str) -> tuple[dict[str, str], float]:
    """The JSON of a reply, and the seconds it took."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    began = time.perf_counter()
    with urllib.request.urlopen(request) as reply:
        body = reply.read()
    return json.loads(body), time.perf_counter() - began


async def fill(url: str, user: str, records: int) -> None:
    """Adds the rows."""
    database = Database(url)
    await add_rows(database, user, records)
    await database.close()


if __name__ == "__main__":
    main()
