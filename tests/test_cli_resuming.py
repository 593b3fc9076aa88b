"""`umusic upload` over lines that break, while umusic dies, and after it was interrupted itself."""

import asyncio
import os
import random
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.client import Account, Client, as_json, both_ways
from tests.front import unused_port
from tests.process import Done, umusic
from tests.proxy import Proxy
from tests.test_cli_upload import on_a_terminal
from tests.test_tus import parts
from tests.warm import Forked
from tests.wavs import take

WAV = take(60.0)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "take.wav"
    path.write_bytes(WAV)
    return path


def notes(directory: Path) -> list[Path]:
    return list((directory / ".local" / "state" / "umusic").rglob("*.json"))


class Cuts:
    """Breaks connections when so many more bytes have gone, and counts all that go. A pause after
    each piece lets the server keep up, so that little is on its way."""

    def __init__(
        self, *after: int, then: Callable[[], None] = lambda: None, pause: float = 0.0
    ) -> None:
        self.sent = 0
        self.left = list(after)
        self._then = then
        self._pause = pause
        self._at = self.left.pop(0) if after else None

    def __call__(self, piece: bytes, before: int) -> bytes:
        if self._at is not None and self.sent >= self._at:
            self._at = self.sent + self.left.pop(0) if self.left else None
            self._then()
            raise ConnectionResetError
        self.sent += len(piece)
        time.sleep(self._pause)
        return piece


async def the_record(client: Client, user: Account) -> dict[str, Any]:
    [record] = as_json(await client.fetch("/records", headers=user.bearer))["items"]
    return dict(record)


@pytest.mark.chaos
@both_ways
@pytest.mark.gen_test
async def test_a_line_that_breaks_many_times_costs_little(
    client: Client, file: Path, tmp_path: Path, media_dir: Path
) -> None:
    user = await client.register()
    choice = random.Random(8)
    cuts = Cuts(*(choice.randrange(len(WAV) // 14) for _ in range(12)))
    async with Proxy(client.site, on_sent=cuts).running() as url:
        done = await umusic(
            *("upload", file, "--server", url, "--token", user.token), directory=tmp_path
        )
    assert done.status == 0, done.errors
    assert not cuts.left
    # The proxy takes what is on its way for sent.
    assert cuts.sent < len(WAV) + 13 * 2**20
    assert re.search(r"1 of 1 arrived: 10\.6 MB sent in", done.errors)
    whole = as_json(await client.upload(user, WAV, name="plain"))
    records = as_json(await client.fetch("/records", headers=user.bearer))["items"]
    assert {item["name"] for item in records} == {"plain", "take.wav"}
    info = done.output.strip().partition(": ")[2].replace("/record?", "/record/info?")
    resumed = as_json(await client.fetch("/" + info.split("/", 3)[3]))
    assert resumed["sha256"] == whole["sha256"]
    assert not notes(tmp_path)
    assert not parts(media_dir)


@both_ways
@pytest.mark.gen_test
async def test_an_answer_that_is_lost_at_the_end_makes_one_record(
    client: Client, file: Path, tmp_path: Path
) -> None:
    user = await client.register()
    cuts = Cuts()
    async with Proxy(client.site, on_sent=cuts, lost=1, method="PATCH").running() as url:
        done = await umusic(
            *("upload", file, "--server", url, "--token", user.token), directory=tmp_path
        )
    assert done.status == 0, done.errors
    assert (await the_record(client, user))["name"] == "take.wav"
    assert cuts.sent < len(WAV) + 10_000


@pytest.mark.gen_test
async def test_a_name_that_is_taken_meanwhile_is_told(
    client: Client, file: Path, tmp_path: Path
) -> None:
    user = await client.register()
    taken: list[asyncio.Task[Any]] = []

    def take_the_name() -> None:
        taken.append(asyncio.ensure_future(client.upload(user, take(0.1), name="take.wav")))

    async with Proxy(client.site, on_sent=Cuts(2**20, then=take_the_name)).running() as url:
        done = await umusic(
            *("upload", file, "--server", url, "--token", user.token), directory=tmp_path
        )
    link = as_json(await taken[0])["link"]
    assert done.status == 1
    assert "This library holds a record of this name already." in done.errors
    assert link.partition("/record")[2] in done.errors
    assert not notes(tmp_path)


def begin(*args: str | Path, directory: Path) -> Forked:
    environment = {"PATH": os.environ["PATH"], "HOME": str(directory)}
    with Path(os.devnull).open("r+") as nothing:
        streams = (nothing.fileno(),) * 3
        return Forked([str(arg) for arg in args], directory, environment, streams)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.gen_test
async def test_after_an_interruption_it_goes_on_where_it_was(
    client: Client, file: Path, tmp_path: Path, number: int
) -> None:
    user = await client.register()
    args = ("upload", file, "--token", user.token, "--server")
    uploading: list[Forked] = []
    half = Cuts(len(WAV) // 2, then=lambda: uploading[0].send_signal(number))
    rest = Cuts()
    proxy = Proxy(client.site, on_sent=half)
    async with proxy.running() as url:
        uploading.append(begin(*args, url, directory=tmp_path))
        status = await asyncio.to_thread(uploading[0].wait)
        assert status == {2: 130, 15: 143, 9: -9}[number]
        assert len(notes(tmp_path)) == 1
        assert user.token not in notes(tmp_path)[0].read_text()
        proxy.on_sent = rest
        status, screen = await on_a_terminal(
            *("upload", "take.wav", "--token", user.token, "--server", url), directory=tmp_path
        )
    assert status == 0, screen
    assert half.sent + rest.sent < len(WAV) + 2**21
    # Only what was sent in this call counts, and the bar does not go beyond the end.
    sent = re.search(r"1 of 1 arrived: ([\d.]+) MB sent", screen)
    assert sent and float(sent[1]) < 7.5
    shown = [float(found) for found in re.findall(r"([\d.]+)/10\.6 MB", screen)]
    assert shown and max(shown) <= 10.6
    assert (await the_record(client, user))["name"] == "take.wav"
    assert not notes(tmp_path)


@pytest.mark.chaos
@pytest.mark.gen_test(timeout=120)
async def test_it_goes_on_when_umusic_was_killed_and_started_again(
    start: Any, directory: Path, file: Path
) -> None:
    port = str(unused_port())
    servers = [start(port=port, cold=True)]
    token = servers[0].register("Ann")

    def kill() -> None:
        servers[-1].popen.kill()

    cuts = Cuts(len(WAV) // 4, len(WAV) // 4, then=kill, pause=0.02)
    site = f"http://127.0.0.1:{port}"
    async with Proxy(site, on_sent=cuts).running() as url:
        sending = asyncio.ensure_future(
            umusic("upload", file, "--server", url, "--token", token, directory=file.parent)
        )
        for _ in range(2):
            await asyncio.to_thread(servers[-1].popen.wait)
            servers.append(await asyncio.to_thread(start, port=port, cold=True))
        done: Done = await sending
    assert done.status == 0, done.errors
    assert cuts.sent < len(WAV) + 2 * 2**21
    assert "Trying again." in done.errors
    assert done.errors.splitlines()[-1].startswith("1 of 1 arrived: 10.6 MB sent")
    status, plain = await asyncio.to_thread(servers[-1].put, token, WAV)
    assert status == 201
    info = done.output.strip().partition(": ")[2].split("/", 3)[3]
    connection = servers[-1].connect()
    connection.request("GET", "/" + info.replace("record?", "record/info?"))
    assert plain["sha256"] in connection.getresponse().read().decode()
