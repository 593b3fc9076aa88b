"""Uploads in a storm of faults: what a client was promised is kept, and nothing else is.

`make test` runs a short one; `make chaos` a long one, with CHAOS_SEED and CHAOS_UPLOADS if set.
"""

import asyncio
import contextlib
import hashlib
import os
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests import wavs
from tests.chaos.clients import Sender, download, exchange
from tests.chaos.ledger import Ledger
from tests.chaos.parcels import Parcel, Shelf
from tests.chaos.storm import DECK, Storm, await_true
from tests.conftest import Before, run_apart, scratch_directory
from tests.postgres import Postgres
from tests.rows import connected
from tests.stores import Kept, files_in

#: What the short one has of faults, once each and in any order.
_SHORT_DECK = [kind for kind in DECK if kind not in ("kill_one_of_postgres", "hold_postgres")]
_LONGEST_SECONDS = 420.0
_CLIENTS = 6


@pytest.fixture
def postgres(before_postgres: Before) -> Iterator[Postgres]:
    with scratch_directory() as directory:
        made = Postgres(directory)
        made.start()
        with before_postgres(made.url) as made.url:
            yield made
        made.stop()


def test_a_short_storm_costs_no_promised_record(directory: Path, postgres: Postgres) -> None:
    seed = _seed()
    deck = _SHORT_DECK.copy()
    random.Random(seed).shuffle(deck)
    weather(directory, postgres, seed, uploads=40, deck=deck, pauses=(0.1, 0.5))


@pytest.mark.chaos
def test_a_long_storm_costs_no_promised_record(directory: Path, postgres: Postgres) -> None:
    uploads = int(os.environ.get("CHAOS_UPLOADS", "500"))
    weather(directory, postgres, _seed(), uploads=uploads, deck=[None] * 60, pauses=(0.2, 2.0))


def weather(
    directory: Path,
    postgres: Postgres,
    seed: str,
    *,
    uploads: int,
    deck: list[str | None] | list[str],
    pauses: tuple[float, float],
) -> None:
    """Lets clients upload while faults happen, until there were so many uploads and all the faults
    of the deck; then looks at what is left. A fault None is any."""
    print(f"\nCHAOS_SEED={seed}", flush=True)
    choice, ledger = random.Random(seed), Ledger()
    shelf, storm = Shelf(choice), Storm(directory, postgres, choice)
    with contextlib.closing(storm):
        senders = [
            Sender(
                storm.server.register(f"client {number}"),
                lambda: storm.server.port,
                shelf,
                ledger,
                f"{seed}/{number}",
            )
            for number in range(_CLIENTS)
        ]
        for sender in senders:
            sender.start()
        deadline, faults = time.monotonic() + _LONGEST_SECONDS, iter(deck)
        while (fault := next(faults, "")) != "" or ledger.uploads < uploads:
            assert time.monotonic() < deadline, ledger.ends
            time.sleep(choice.uniform(*pauses))
            storm.strike(fault or None)
        look_around(storm, ledger, senders, postgres.url)


def look_around(storm: Storm, ledger: Ledger, senders: list[Sender], database_url: str) -> None:
    """After the storm: umusic works, before and after a restart, and every promise is kept."""
    for sender in senders:
        sender.enough.set()
    for sender in senders:
        sender.join(120)
        assert not sender.is_alive(), "a client hangs"
    storm.calm()
    assert_all_can_upload(storm.server.port, senders)
    storm.restart()
    await_true(lambda: not files_in(storm.server.media, ".part"))
    await_true(lambda: _claims(database_url) == 0)
    print_counts(storm, ledger)
    assert not ledger.surprises, ledger.surprises
    assert not ledger.ends["no answer in time"]
    assert_promises_kept(storm.server.port, ledger)
    assert_rows_are_files(database_url, storm.server.kept)
    assert ", 0 faults" in storm.server.check()
    assert storm.server.stop()[0] == 0
    assert not storm.ffmpegs()
    for log in storm.logs:
        text = log.read_text()
        assert "never retrieved" not in text
        assert "Traceback" not in text, text[text.index("Traceback") - 500 :][:3000]


def print_counts(storm: Storm, ledger: Ledger) -> None:
    """A line for each: uploads, how attempts ended, faults."""
    ends = ", ".join(f"{end} x{count}" for end, count in sorted(ledger.ends.items()))
    faults = ", ".join(f"{fault} x{count}" for fault, count in sorted(storm.faults.items()))
    print(f"{ledger.uploads} uploads, {sum(ledger.ends.values())} attempts: {ends}")
    print(f"{storm.faults.total()} faults: {faults}; .part files left by kills: {storm.parts_left}")
    print(f"{len(ledger.promises)} links promised", flush=True)


def assert_all_can_upload(port: int, senders: list[Sender]) -> None:
    """No slot was lost: all clients at once get a short upload through."""
    parcel = Parcel("after the storm.wav", wavs.take(0.5), None, "with a length")
    with ThreadPoolExecutor(len(senders)) as threads:
        answers = threads.map(lambda each: exchange(port, parcel.stream(each.token)), senders)
        assert [answer.status for answer in answers] == [201] * len(senders)


def assert_promises_kept(port: int, ledger: Ledger) -> None:
    """Each link gives what the receipt said."""
    for link, sha256 in ledger.promises.items():
        got = download(port, link)
        assert got.status == 200, f"{link} gave {got.status}"
        assert sha256 in (None, hashlib.sha256(got.body).hexdigest()), link


def assert_rows_are_files(database_url: str, kept: Kept) -> None:
    """There is a file for each row, a row for each file, and nothing else."""
    rows = run_apart(_asked(database_url, "SELECT user_id, id FROM records"))
    assert {f"{row['user_id']}/{row['id']}.mp3" for row in rows} == set(kept.names())
    assert not kept.unfinished()


def _claims(database_url: str) -> int:
    return len(run_apart(_asked(database_url, "SELECT record_id FROM claims")))


async def _asked(database_url: str, question: str) -> list[Any]:
    async with asyncio.timeout(10), connected(database_url) as connection:
        return list(await connection.fetch(question))


def _seed() -> str:
    return os.environ.get("CHAOS_SEED") or str(random.randrange(10**6))
