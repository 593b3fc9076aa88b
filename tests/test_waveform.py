"""GET and HEAD /record/waveform and /record/peaks."""

import asyncio
import os
import signal
import uuid
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.client import Account, Client, as_json, both_ways
from tests.conftest import children, halted_ffmpegs, stopped_ffmpeg, wait_for
from tests.stores import Kept
from tests.test_gone_clients import Visitor
from tests.test_metrics import read
from tests.wavs import take
from umusic.app import Services
from umusic.library import derived_files, waveforms
from umusic.library.derived_files import DerivedFiles
from umusic.library.objects import Objects

both_kinds = pytest.mark.parametrize(
    ("kind", "media_type"), [("waveform", "image/png"), ("peaks", "application/json")]
)


async def stored(client: Client, seconds: float = 1.0) -> tuple[Account, str]:
    """A user, and the query of the link of a fresh record."""
    user = await client.register(str(uuid.uuid4()))
    receipt = as_json(await client.upload(user, take(seconds)))
    return user, f"id={receipt['id']}&user={user.id}"


def outlines(kept: Kept) -> set[str]:
    """The names of all that has been made of MP3s."""
    return {name.rpartition("/")[2] for name in kept.names() if ".waveform/" in name}


@both_ways
@both_kinds
@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.gen_test
async def test_it_needs_no_token_and_bears_the_headers_of_a_file(
    client: Client, kind: str, media_type: str, slash: str
) -> None:
    _, query = await stored(client)
    path = f"/record/{kind}{slash}?{query}"
    body = (await client.fetch(path)).body
    for method in ("GET", "HEAD"):
        response = await client.fetch(path, method=method)
        assert response.code == 200
        assert response.headers["Content-Type"] == media_type
        assert response.headers["Content-Length"] == str(len(body))
        assert response.headers.get_list("Cache-Control") == ["private, no-cache"]
        assert "Content-Disposition" not in response.headers
        assert "Repr-Digest" not in response.headers
        assert "Last-Modified" in response.headers
        assert response.body == (body if method == "GET" else b"")
    same = await client.fetch(path, headers={"If-None-Match": response.headers["Etag"]})
    assert (same.code, same.body) == (304, b"")


@both_ways
@pytest.mark.gen_test
async def test_peaks_are_of_the_form_of_audiowaveform(client: Client) -> None:
    _, query = await stored(client, 2.0)
    peaks = as_json(await client.fetch(f"/record/peaks?{query}"))
    data = peaks.pop("data")
    assert peaks == {
        "version": 2,
        "channels": 1,
        "sample_rate": 44100,
        "samples_per_pixel": 22,
        "bits": 8,
        "length": -(-88200 // 22),
    }
    assert len(data) == 2 * peaks["length"]
    assert all(-128 <= low <= high <= 127 for low, high in zip(data[::2], data[1::2], strict=True))
    assert 45 < max(data) < 65


@both_ways
@pytest.mark.gen_test
async def test_a_picture_is_as_large_as_was_asked_for(client: Client) -> None:
    _, query = await stored(client)
    for size, more in (
        ((1200, 200), ""),
        ((360, 200), "&width=360"),
        ((16, 1024), "&width=16&height=1024"),
    ):
        response = await client.fetch(f"/record/waveform?{query}{more}")
        picture = Image.open(BytesIO(response.body))
        assert (picture.format, picture.size) == ("PNG", size)
        assert picture.convert("RGBA").getpixel((0, 0)) == (0x3B, 0x82, 0xF6, 0)


@pytest.mark.parametrize(
    ("more", "field"),
    [
        *(("width=15", "width"), ("width=4097", "width"), ("width=wide", "width")),
        *(("width=-20", "width"), ("height=15", "height"), ("height=1025", "height")),
        *(("width=99999999999", "width"), ("width=٣٠٠", "width"), ("height=1e2", "height")),
    ],
)
@pytest.mark.gen_test
async def test_another_size_is_422_and_names_the_range(
    client: Client, more: str, field: str, kept: Kept
) -> None:
    _, query = await stored(client, 0.1)
    response = await client.fetch(f"/record/waveform?{query}&{more}")
    assert response.code == 422
    problem = as_json(response)
    assert (problem["type"], problem["field"]) == ("/problems/invalid-field", field)
    assert problem["detail"].endswith(f"from 16 to {4096 if field == 'width' else 1024}.")
    assert not outlines(kept)


@both_ways
@both_kinds
@pytest.mark.gen_test
async def test_what_is_404_as_a_download_is_404_here(
    client: Client, kind: str, media_type: str
) -> None:
    user, query = await stored(client, 0.1)
    assert (await client.fetch(f"/record/{kind}?{query}")).code == 200
    record = query.partition("&")[0]
    for wrong in (f"id={uuid.uuid4()}&user={user.id}", f"{record}&user={uuid.uuid4()}"):
        response = await client.fetch(f"/record/{kind}?{wrong}")
        assert (response.code, as_json(response)["detail"]) == (404, "Audio file is not found")
    assert (await client.fetch(f"/record/{kind}?{record}")).code == 422
    deletion = await client.fetch(f"/record?{query}", method="DELETE", headers=user.bearer)
    assert deletion.code == 204
    response = await client.fetch(f"/record/{kind}?{query}")
    assert response.code == 404
    assert response.headers["Content-Type"] == "application/problem+json"
    assert as_json(response)["detail"] == "Audio file is not found"


@pytest.mark.gen_test
async def test_put_of_either_name_is_an_upload(client: Client) -> None:
    user = await client.register()
    for name in ("waveform", "peaks"):
        reply = await client.upload(user, take(0.1), path=f"/record/{name}", method="PUT")
        assert (reply.code, as_json(reply)["name"]) == (201, name)
        refused = await client.fetch(f"/record/{name}", method="DELETE")
        assert (refused.code, refused.headers["Allow"]) == (405, "GET, HEAD, PUT")


@pytest.mark.gen_test
async def test_what_was_made_is_kept_and_not_made_again(
    client: Client, services: Services, complaining_ffmpeg: Path, kept: Kept
) -> None:
    _, query = await stored(client)
    first = await client.fetch(f"/record/peaks?{query}")
    services.waveforms.ffmpeg = complaining_ffmpeg
    assert (await client.fetch(f"/record/peaks?{query}")).body == first.body
    assert (await client.fetch(f"/record/waveform?{query}")).code == 200
    assert outlines(kept) == {"peaks.json", "1200x200.png"}


@pytest.mark.gen_test
async def test_many_who_ask_at_once_share_one_making(
    client: Client, services: Services, halting_ffmpeg: Path
) -> None:
    _, query = await stored(client, 5.0)
    services.waveforms.ffmpeg = halting_ffmpeg
    asked = asyncio.gather(
        *(client.fetch(f"/record/waveform?{query}&width={200 + n % 3}") for n in range(9))
    )
    pid = await stopped_ffmpeg()
    assert len(children("ffmpeg")) == 1
    os.kill(pid, signal.SIGCONT)
    assert {reply.code for reply in await asked} == {200}
    now = await read(client)
    assert now("waveform_seconds_count", kind="peaks") == 1
    assert now("waveform_seconds_count", kind="picture") == 3
    assert now("waveforms_running") == 0


@pytest.mark.gen_test
async def test_of_many_sizes_the_oldest_are_dropped(client: Client, kept: Kept) -> None:
    _, query = await stored(client, 0.1)
    for width in range(100, 112):
        assert (await client.fetch(f"/record/waveform?{query}&width={width}")).code == 200
    youngest = {f"{width}x200.png" for width in range(104, 112)}
    assert outlines(kept) == {"peaks.json", *youngest}


@both_kinds
@pytest.mark.gen_test
async def test_what_takes_long_is_503_and_there_when_asked_again(
    client: Client, services: Services, kind: str, media_type: str, halting_ffmpeg: Path
) -> None:
    _, query = await stored(client, 5.0)
    services.waveforms.patience = 0.1
    services.waveforms.ffmpeg = halting_ffmpeg
    asked = asyncio.ensure_future(client.fetch(f"/record/{kind}?{query}"))
    pid = await stopped_ffmpeg()
    response = await asked
    assert response.code == 503
    assert as_json(response)["type"] == "/problems/waveform-pending"
    assert response.headers["Retry-After"] == "2"
    os.kill(pid, signal.SIGCONT)
    await wait_for(lambda: not services.waveforms.live)
    assert (await client.fetch(f"/record/{kind}?{query}")).code == 200


@pytest.mark.gen_test
async def test_no_more_than_some_are_made_at_once_and_no_more_than_many_wait(
    client: Client,
    services: Services,
    monkeypatch: pytest.MonkeyPatch,
    ffmpeg: Path,
    halting_ffmpeg: Path,
) -> None:
    monkeypatch.setattr(waveforms, "MAX_MAKINGS", 4)
    services.waveforms._helpers = asyncio.Semaphore(2)
    queries = [(await stored(client, 3.0))[1] for _ in range(5)]
    services.waveforms.ffmpeg = halting_ffmpeg
    asked = [asyncio.ensure_future(client.fetch(f"/record/peaks?{query}")) for query in queries[:4]]
    await wait_for(lambda: services.waveforms.live == 4 and len(halted_ffmpegs()) == 2)
    services.waveforms.ffmpeg = ffmpeg
    response = await client.fetch(f"/record/peaks?{queries[4]}")
    assert response.code == 503
    assert as_json(response)["type"] == "/problems/too-many-waveforms"
    assert "Retry-After" in response.headers
    for pid in halted_ffmpegs():
        os.kill(pid, signal.SIGCONT)
    assert [reply.code for reply in await asyncio.gather(*asked)] == [200] * 4


@pytest.mark.gen_test
async def test_a_client_that_leaves_leaves_no_process_behind(
    client: Client, services: Services, kept: Kept, halting_ffmpeg: Path
) -> None:
    _, query = await stored(client, 5.0)
    services.waveforms.ffmpeg = halting_ffmpeg
    visitor = Visitor(client)
    await visitor.send(f"GET /record/waveform?{query} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    pid = await stopped_ffmpeg()
    await visitor.go(resets=True)
    os.kill(pid, signal.SIGCONT)
    await wait_for(lambda: not services.waveforms.live and not services.lifecycle.requests)
    assert not children("ffmpeg")
    assert outlines(kept) == {"peaks.json", "1200x200.png"}


@pytest.mark.gen_test
async def test_the_stop_of_the_server_stops_what_is_being_made(
    client: Client, services: Services, kept: Kept, halting_ffmpeg: Path
) -> None:
    _, query = await stored(client, 5.0)
    services.waveforms.ffmpeg = halting_ffmpeg
    asked = asyncio.ensure_future(client.fetch(f"/record/waveform?{query}"))
    await stopped_ffmpeg()
    await services.waveforms.abort_all()
    assert not children("ffmpeg")
    assert as_json(await asked)["type"] == "/problems/draining"
    assert as_json(await client.fetch(f"/record/peaks?{query}"))["type"] == "/problems/draining"
    assert not outlines(kept)


@pytest.mark.gen_test
async def test_a_missing_mp3_is_404(client: Client, kept: Kept) -> None:
    _, query = await stored(client)
    kept.remove(*kept.mp3s())
    response = await client.fetch(f"/record/waveform?{query}")
    assert response.code == 404
    assert as_json(response)["type"] == "/problems/record-not-found"


@both_ways
@pytest.mark.expects_log("ffmpeg failed")
@pytest.mark.gen_test
async def test_a_damaged_mp3_is_404_and_says_so(client: Client, kept: Kept) -> None:
    _, query = await stored(client)
    kept.write(*kept.mp3s(), bytes(20_000))
    response = await client.fetch(f"/record/waveform?{query}")
    assert response.code == 404
    assert as_json(response)["type"] == "/problems/record-damaged"


@pytest.mark.expects_log("cannot be started")
@pytest.mark.expects_log("waveform-failed")
@pytest.mark.gen_test
async def test_without_ffmpeg_it_is_503(client: Client, services: Services, tmp_path: Path) -> None:
    _, query = await stored(client)
    services.waveforms.ffmpeg = tmp_path / "none"
    response = await client.fetch(f"/record/peaks?{query}")
    assert response.code == 503
    assert as_json(response)["type"] == "/problems/waveform-failed"
    assert (await read(client))("waveforms_failed_total", kind="peaks") == 1


@pytest.mark.expects_log("made again")
@pytest.mark.gen_test
async def test_peaks_that_a_crash_tore_are_made_again(client: Client, kept: Kept) -> None:
    _, query = await stored(client)
    whole = (await client.fetch(f"/record/peaks?{query}")).body
    [peaks] = [name for name in kept.names() if name.endswith("peaks.json")]
    kept.write(peaks, b"")
    assert (await client.fetch(f"/record/waveform?{query}")).code == 200
    assert kept.read(peaks) == whole


@pytest.mark.gen_test
async def test_a_deletion_takes_all_of_it_along(client: Client, kept: Kept) -> None:
    user, query = await stored(client)
    await client.fetch(f"/record/waveform?{query}")
    assert (await client.fetch("/user", method="DELETE", headers=user.bearer)).code == 204
    assert kept.is_empty


def amid_writing(patch: pytest.MonkeyPatch, late: str, act: Callable[[], Any]) -> None:
    """Has something happen while a directory gets what is made of an MP3."""
    loop = asyncio.get_running_loop()
    publish, fsync = DerivedFiles._publish, os.fsync

    def now() -> None:
        asyncio.run_coroutine_threadsafe(act(), loop).result(10)

    def around(files: DerivedFiles, name: str, data: bytes) -> None:
        if late == "before it is written":
            now()
        publish(files, name, data)
        if late == "after":
            now()

    def on_fsync(file: int) -> None:
        fsync(file)
        now()

    patch.setattr(DerivedFiles, "_publish", around)
    if late == "before it is published":
        patch.setattr(derived_files.os, "fsync", on_fsync)


def amid_putting(patch: pytest.MonkeyPatch, late: str, act: Callable[[], Any]) -> None:
    """The same while a bucket gets it, at once."""
    put = Objects.put

    async def around(objects: Objects, *args: Any) -> None:
        if late != "after":
            await act()
        await put(objects, *args)
        if late == "after":
            await act()

    patch.setattr(Objects, "put", around)


@pytest.mark.parametrize("late", ["before it is written", "before it is published", "after"])
@pytest.mark.gen_test
async def test_a_deletion_during_the_making_leaves_nothing(
    client: Client,
    services: Services,
    kept: Kept,
    monkeypatch: pytest.MonkeyPatch,
    late: str,
) -> None:
    user, query = await stored(client)

    async def remove() -> None:
        monkeypatch.undo()
        await services.removal.remove_user(uuid.UUID(user.id))

    if kept.is_remote:
        amid_putting(monkeypatch, late, remove)
    else:
        amid_writing(monkeypatch, late, remove)
    response = await client.fetch(f"/record/peaks?{query}")
    assert response.code == 404
    assert as_json(response)["type"] == "/problems/record-not-found"
    assert kept.is_empty


@pytest.mark.gen_test
async def test_deletions_and_makings_at_once_leave_nothing(
    client: Client, services: Services, kept: Kept
) -> None:
    for _ in range(5):
        users = [await stored(client, 0.1) for _ in range(4)]
        asked = [
            client.fetch(f"/record/{kind}?{query}")
            for _, query in users
            for kind in ("peaks", "waveform")
        ]
        deletions = [
            client.fetch("/user", method="DELETE", headers=user.bearer) for user, _ in users
        ]
        replies = await asyncio.gather(*asked, *deletions)
        assert {reply.code for reply in replies} <= {200, 204, 404}
        await wait_for(lambda: not services.waveforms.live)
        assert kept.is_empty


@pytest.mark.disk
@pytest.mark.gen_test
async def test_the_sweep_removes_what_has_no_mp3_and_what_nobody_writes_on(
    client: Client, services: Services, kept: Kept, media_dir: Path
) -> None:
    _, query = await stored(client)
    await client.fetch(f"/record/waveform?{query}")
    [own] = media_dir.iterdir()
    [mp3] = own.glob("*.mp3")
    orphan, alone = own / f"{uuid.uuid4()}.waveform", media_dir / str(uuid.uuid4())
    for directory in (orphan, alone / f"{uuid.uuid4()}.waveform"):
        directory.mkdir(parents=True)
        (directory / "peaks.json").write_bytes(b"{}")
    (own / f".{mp3.stem}.{uuid.uuid4().hex}.new").write_bytes(b"half")
    with derived_files._locked(own / f".{mp3.stem}.{uuid.uuid4().hex}.new") as live:
        await services.audit.sweep()
        assert os.fstat(live.fileno()).st_nlink == 1
        assert {path.name for path in own.iterdir()} == {
            *(mp3.name, f"{mp3.stem}.waveform", Path(str(live.name)).name)
        }
    assert outlines(kept) == {"peaks.json", "1200x200.png"}
    assert not alone.exists()
    await services.audit.sweep()
    assert len(list(own.iterdir())) == 2


@pytest.mark.gen_test
async def test_a_repair_takes_what_was_made_along(
    client: Client, services: Services, kept: Kept
) -> None:
    sound, query = await stored(client)
    lost, other = await stored(client)
    for each in (query, other):
        await client.fetch(f"/record/peaks?{each}")
    [mp3] = [name for name in kept.mp3s() if name.startswith(lost.id)]
    kept.remove(mp3)
    async for finding in services.audit.check():
        assert await services.audit.repair(finding)
    await services.audit.tidy()
    assert lost.id not in {name.partition("/")[0] for name in kept.names()}
    assert len([name for name in kept.names() if name.startswith(sound.id)]) == 2


@pytest.mark.disk
@pytest.mark.expects_log("no-space")
@pytest.mark.gen_test
async def test_a_full_volume_is_told_and_leaves_nothing(
    client: Client, kept: Kept, media_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, query = await stored(client)

    def full(file: int) -> None:
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patch:
        patch.setattr(derived_files.os, "fsync", full)
        response = await client.fetch(f"/record/peaks?{query}")
    assert response.code == 507
    assert not outlines(kept)
    assert not list(media_dir.rglob("*.new"))
    assert (await client.fetch(f"/record/peaks?{query}")).code == 200


class TestOneHelper:
    @pytest.fixture
    def knobs(self) -> dict[str, Any]:
        return {"encoders": 1}

    @pytest.mark.gen_test
    async def test_an_upload_does_not_wait_for_an_outline(
        self, client: Client, services: Services, halting_ffmpeg: Path
    ) -> None:
        user, query = await stored(client, 5.0)
        services.waveforms.ffmpeg = halting_ffmpeg
        asked = asyncio.ensure_future(client.fetch(f"/record/peaks?{query}"))
        pid = await stopped_ffmpeg()
        assert (await client.upload(user, take(0.5))).code == 201
        os.kill(pid, signal.SIGCONT)
        assert (await asked).code == 200
