"""Clients of tus as they are: tuspy, over lines that break."""

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tusclient.client import TusClient
from tusclient.exceptions import TusCommunicationError

from tests.client import Account, Client, as_json, both_ways
from tests.proxy import Proxy
from tests.test_tus import parts
from tests.wavs import take
from umusic.app import Services

WAV = take(3.0)


def send(site: str, account: Account, path: Path, **options: Any) -> str:
    """Uploads a file with tuspy; returns the upload's URL."""
    client = TusClient(f"{site}/uploads/", headers=account.bearer)
    with path.open("rb") as file:
        uploader = client.uploader(
            file_stream=file,
            metadata={"filename": path.name},
            retries=50,
            retry_delay=0.05,
            **options,
        )
        uploader.upload()
        assert uploader.offset == path.stat().st_size
    return str(uploader.url)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a take.wav"
    path.write_bytes(WAV)
    return path


@both_ways
@pytest.mark.parametrize(
    "options",
    [{}, {"chunk_size": 200_000}, {"chunk_size": 300_000, "upload_checksum": True}],
    ids=["whole", "in pieces", "with checksums"],
)
@pytest.mark.gen_test
async def test_tuspy_uploads(client: Client, file: Path, options: dict[str, Any]) -> None:
    user = await client.register()
    url = await asyncio.to_thread(send, client.site, user, file, **options)
    state = as_json(await client.fetch(url))
    assert (state["state"], state["name"]) == ("done", file.name)
    plain = as_json(await client.upload(user, WAV))
    assert state["record"]["sha256"] == plain["sha256"]


def cutting(choice: random.Random, cuts: int) -> Callable[[bytes, int], bytes]:
    """Breaks as many connections, each somewhere on its way."""
    left = [choice.randrange(1, len(WAV) // 8) for _ in range(cuts)]

    def pass_on(piece: bytes, before: int) -> bytes:
        if left and before > left[-1]:
            left.pop()
            raise ConnectionResetError
        return piece

    return pass_on


@both_ways
@pytest.mark.parametrize("chunk_size", [10**9, 400_000])
@pytest.mark.gen_test
async def test_tuspy_goes_on_after_breaks(
    client: Client, services: Services, media_dir: Path, file: Path, chunk_size: int
) -> None:
    user = await client.register()
    choice = random.Random(chunk_size)
    url = ""
    async with Proxy(client.site, on_sent=cutting(choice, 10)).running() as site:
        for _ in range(100):
            # It gives up where a creation breaks.
            try:
                url = await asyncio.to_thread(send, site, user, file, chunk_size=chunk_size)
                break
            except TusCommunicationError:
                pass
    state = as_json(await client.fetch(client.site + "/" + url.split("/", 3)[3]))
    assert state["state"] == "done"
    plain = as_json(await client.upload(user, WAV))
    assert state["record"]["sha256"] == plain["sha256"]
    assert not parts(media_dir)
