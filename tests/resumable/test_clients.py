"""tuspy and tus-js-client, in node and in a browser, as they are: over a line that breaks and to a
umusic that is killed they bring what an unbroken upload brings.

TUS_SEED repeats the choices of a run.
"""

import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tusclient.client import TusClient

from tests import leaks
from tests.browser.conftest import chromium
from tests.resumable.conftest import HERE, Pages, Site, ask, records, sha256_at, tus_js
from tests.resumable.poor_line import Break, PoorLine

pytestmark = pytest.mark.tus

CUTS = 20
KILLS = 3
#: Bytes that a client may have to send once more after a break.
MOST = 2**20

#: Sends a file to an endpoint for the owner of a token; returns the upload's URL.
Send = Callable[[str, str, Path], str]


def by_tuspy(endpoint: str, token: str, path: Path) -> str:
    client = TusClient(endpoint, headers={"Authorization": f"Bearer {token}"})
    with path.open("rb") as file:
        uploader = client.uploader(
            file_stream=file,
            metadata={"filename": path.name},
            retries=500,
            retry_delay=0.1,
        )
        uploader.upload()
    return str(uploader.url)


def by_node(endpoint: str, token: str, path: Path) -> str:
    assert shutil.which("node"), "this needs node: apt-get install nodejs"
    done = subprocess.run(
        ["node", str(HERE / "upload.cjs"), str(tus_js()), endpoint, str(path)],
        env={"PATH": os.environ["PATH"], "UMUSIC_TOKEN": token},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def by_a_browser(pages: Pages) -> Send:
    def send(endpoint: str, token: str, path: Path) -> str:
        with chromium() as browser:
            page = browser.new_page()
            page.set_default_timeout(300_000)
            page.goto(f"{pages.origin}/page.html")
            page.locator("#file").set_input_files(str(path))
            return str(page.evaluate("([to, token]) => send(to, token)", [endpoint, token]))

    return send


def breaks(seed: str, size: int, site: Site, line: PoorLine) -> list[Break]:
    """So many cuts and kills, at random places of a file of `size` bytes."""
    choice = random.Random(seed)
    places = choice.sample(range(1, size), CUTS + KILLS)
    return [
        Break(place, line.cut if number < CUTS else site.kill)
        for number, place in enumerate(places)
    ]


def tell(name: str, line: PoorLine, seconds: float) -> None:
    """Prints the figures."""
    again = sorted(line.repeated)
    if again[-1] > MOST:
        print(f"\n{name} went on from {line.starts}, and sent again {line.repeated}")
    print(
        f"\n{name}: {seconds:.1f} s, {len(line.starts)} requests, {sum(again)} bytes twice"
        f" in all; per break {again[len(again) // 2]} (median) and {again[-1]} (most)",
        flush=True,
    )


@pytest.mark.parametrize("kind", ["tuspy", "tus-js-client in node", "tus-js-client in Chromium"])
def test_what_arrives_by_pieces_is_what_arrives_at_once(
    kind: str, site: Site, pages: Pages, large: Path, unbroken: str
) -> None:
    senders: dict[str, Send] = {
        "tuspy": by_tuspy,
        "tus-js-client in node": by_node,
        "tus-js-client in Chromium": by_a_browser(pages),
    }
    seed = os.environ.get("TUS_SEED") or str(random.randrange(10**6))
    print(f"\nTUS_SEED={seed}")
    size, kills = large.stat().st_size, site.kills
    token = site.umusic.register(kind)
    with PoorLine(site.url).running() as line:
        line.breaks = breaks(seed, size, site, line)
        began = time.monotonic()
        url = senders[kind](f"{line.url}/uploads", token, large)
        tell(kind, line, time.monotonic() - began)
    site.await_return()

    assert not line.breaks
    assert site.kills - kills == KILLS
    assert max(line.repeated) <= MOST
    [record] = records(site.url, token)
    assert record["sha256"] == unbroken
    state = ask(site.url + urlsplit(url).path)
    assert (state["state"], state["record"]["id"]) == ("done", record["id"])
    assert sha256_at(leaks.issued(state["link"])) == unbroken
    assert site.left_over() == []
