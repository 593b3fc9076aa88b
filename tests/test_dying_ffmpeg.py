"""ffmpeg killed, or stopped where it is, at every stage of an upload: a clean 503, no slot lost."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from tests.client import Client, as_json
from tests.conftest import children, stopped_ffmpeg, wait_for
from tests.impatient import impatiently
from tests.stores import Kept, files_in
from tests.test_keeper import LONG
from tests.test_uploads import assert_nothing_kept, rows
from tests.wavs import pieces, take
from umusic.app import Services
from umusic.audio import encoder
from umusic.audio.segments import UNIT, Lengths

#: A minute is seven segments.
SHORT = Lengths(shortest=8 * UNIT, longest=8 * UNIT, patience=0)
KILLED = [pytest.mark.expects_log("ffmpeg failed with status -9")]
STOPPED = [
    pytest.mark.expects_log("ffmpeg was stopped: it took more than"),
    pytest.mark.expects_log("encoder-failed: TimeoutError()"),
]


@pytest.fixture(
    params=[
        pytest.param(signal.SIGKILL, marks=KILLED, id="killed"),
        pytest.param(signal.SIGSTOP, marks=STOPPED, id="stopped"),
    ]
)
def fault(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@contextlib.contextmanager
def short_patience() -> Iterator[None]:
    """Only where an ffmpeg hangs: a sound one may take as long on a busy machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.impatient.PATIENCE", 1.5)
        patch.setattr(encoder, "run", impatiently)
        yield


async def strike(fault: int, once: Callable[[], bool]) -> None:
    """Lets any ffmpeg that runs once this is so have the fault."""
    await wait_for(once)
    pid = await stopped_ffmpeg()
    os.kill(pid, fault)


@pytest.mark.parametrize("moment", ["the first segment", "one in the middle", "the last segment"])
@pytest.mark.gen_test
async def test_the_upload_is_503_and_the_next_one_works(
    client: Client, services: Services, kept: Kept, media_dir: Path, fault: int, moment: str
) -> None:
    account = await client.register()
    pool = services.keeper.pool
    pool.lengths = SHORT
    sent = False

    async def body() -> AsyncIterator[bytes]:
        nonlocal sent
        for piece in pieces(LONG, 100_000):
            yield piece
        sent = True

    reached = {
        "the first segment": lambda: True,
        "one in the middle": lambda: any(p.stat().st_size for p in files_in(media_dir, ".part")),
        "the last segment": lambda: sent,
    }
    with short_patience() if fault == signal.SIGSTOP else contextlib.nullcontext():
        striking = asyncio.ensure_future(strike(fault, reached[moment]))
        response = await client.upload_chunked(account, body())
        await striking
    assert response.code == 503
    assert as_json(response)["type"] == "/problems/encoder-failed"
    await assert_nothing_kept(services, kept)
    assert not children("ffmpeg")
    assert (pool.members, pool.is_idle) == (0, True)
    both = await asyncio.gather(*(client.upload(account, take(12.0)) for _ in range(pool.size)))
    assert {each.code for each in both} == {201}
    assert len(await rows(services)) == pool.size


@pytest.mark.expects_log("ffmpeg failed with status -9")
@pytest.mark.gen_test
async def test_others_do_not_suffer(client: Client, services: Services, kept: Kept) -> None:
    account = await client.register()
    services.keeper.pool.lengths = SHORT
    uploading = [asyncio.ensure_future(client.upload(account, LONG)) for _ in range(4)]
    await strike(signal.SIGKILL, lambda: True)
    codes = sorted([response.code for response in await asyncio.gather(*uploading)])
    assert codes == [201, 201, 201, 503]
    assert len(await rows(services)) == len(kept.mp3s()) == 3
