"""nginx's own part: what it keeps out of the log and out of reach."""

import asyncio
import contextlib
import json
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.client import Client, as_json
from tests.conftest import wait_for
from tests.stores import Kept
from tests.tus import STREAM, VERSION, Tus, problem
from tests.wavs import take
from umusic.app import Services

pytestmark = pytest.mark.parametrize("via", ["nginx"], indirect=True)


@pytest.mark.gen_test
async def test_neither_links_nor_tokens_are_in_its_logs(client: Client, tmp_path: Path) -> None:
    user = await client.register()
    query = f"user_id={user.id}&token={user.token}"
    receipt = as_json(await client.upload(None, take(0.1), path=f"/record?{query}"))
    assert (await client.fetch(receipt["link"])).code == 200
    log = tmp_path / "nginx" / "access.log"
    await wait_for(lambda: log.read_text().count("\n") >= 3)
    for secret in (user.token, user.id, receipt["id"], "?"):
        for file in (tmp_path / "nginx").glob("*.log"):
            assert secret not in file.read_text()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert ("GET", "/record", 200) in [
        (line["method"], line["path"], line["status"]) for line in lines
    ]


@pytest.mark.gen_test
async def test_the_media_are_not_reachable_from_outside(
    client: Client, kept: Kept, services: Services
) -> None:
    user = await client.register()
    await client.upload(user, take(0.1))
    [name] = kept.mp3s()
    for path in (name, await services.media.internal_path(name)):
        assert (await client.fetch(f"/_media/{path}")).code == 404


@pytest.mark.gen_test
async def test_umusic_being_away_is_a_503_problem_with_retry_after(
    client: Client, http_server: object, tmp_path: Path
) -> None:
    http_server.stop()  # type: ignore[attr-defined]
    await asyncio.sleep(0.05)
    response = await client.fetch("/healthz", method="DELETE")
    assert response.code == 503
    assert response.headers["Content-Type"] == "application/problem+json"
    assert "Retry-After" in response.headers
    log = tmp_path / "nginx" / "access.log"
    await wait_for(lambda: '"method": "DELETE", "path": "/healthz"' in log.read_text())


async def is_cut_off(client: Client, method: str, url: str, body: bytes = b"") -> bool:
    """Whether the line breaks instead of an answer."""
    told = {**VERSION, **STREAM, "Upload-Offset": "5"}

    def ask() -> bool:
        connection = HTTPConnection(urlsplit(client.site).netloc, timeout=10)
        with contextlib.closing(connection):
            try:
                connection.request(method, urlsplit(url).path, body or None, told)
                connection.getresponse()
            except ConnectionError:
                return True
            return False

    return await asyncio.to_thread(ask)


@pytest.mark.gen_test
async def test_to_a_client_of_tus_a_umusic_that_is_away_is_a_line_that_breaks(
    client: Client, http_server: object
) -> None:
    tus = Tus(client, await client.register())
    url = await tus.begin(5_000_000)
    assert not await is_cut_off(client, "HEAD", url)
    http_server.stop()  # type: ignore[attr-defined]
    await http_server.close_all_connections()  # type: ignore[attr-defined]
    assert await is_cut_off(client, "HEAD", url)
    assert await is_cut_off(client, "PATCH", url, bytes(1_000_000))
    for method, path in (("GET", url), ("POST", "/uploads")):
        answer = await tus.ask(method, path)
        assert answer.code == 503
        assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.gen_test
async def test_much_from_the_wrong_place_is_cut_off_and_little_is_refused(client: Client) -> None:
    tus = Tus(client, await client.register())
    url = await tus.begin(5_000_000)
    assert (await tus.patch(url, 5, bytes(999_999))).code == 409
    assert await is_cut_off(client, "PATCH", url, bytes(1_000_000))
    assert await tus.offset(url) == 0
    assert (await tus.patch(url, 0, take(30.0)[:1_000_000])).code == 204
    assert await tus.offset(url) == 1_000_000


@pytest.mark.gen_test
async def test_what_no_going_on_helps_is_told_as_umusic_tells_it(client: Client) -> None:
    tus = Tus(client, await client.register())
    url = await tus.begin(1_000_000)
    too_much = await tus.patch(url, 0, take(30.0)[:1_000_001])
    assert problem(too_much) == (413, "upload-length-exceeded")
    await tus.ask("DELETE", url)
    gone = await tus.patch(url, 0, take(30.0)[:1_000_000])
    assert problem(gone) == (410, "upload-terminated")


@pytest.mark.gen_test
async def test_the_metrics_are_not_reachable_from_outside(client: Client) -> None:
    for path in ("/metrics", "/metrics/", "//metrics", "/%6detrics", "/x/../metrics"):
        response = await client.fetch(path)
        assert response.code == 404
        assert as_json(response)["type"] == "/problems/path-not-found"


@pytest.mark.gen_test
async def test_a_deleted_file_is_gone_within_two_seconds_although_nginx_remembers_it(
    client: Client,
) -> None:
    user = await client.register()
    link = as_json(await client.upload(user, take(0.1)))["link"]
    assert (await client.fetch(link)).code == 200
    assert (await client.fetch(link, method="DELETE", headers=user.bearer)).code == 204
    end = time.monotonic() + 2
    while (response := await client.fetch(link)).code == 200:
        assert time.monotonic() < end
        await asyncio.sleep(0.05)
    assert response.code == 404
    assert "Content-Disposition" not in response.headers


@pytest.mark.gen_test
async def test_umusic_is_asked_but_once_a_moment_where_a_download_is(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    link = as_json(await client.upload(await client.register(), take(0.1)))["link"]
    for range_ in ("bytes=0-99", "bytes=100-199", "bytes=0-", "bytes=-10"):
        response = await client.fetch(link, headers={"Range": range_})
        assert response.code == 206
        assert response.headers["Content-Type"] == "audio/mpeg"
    asked = [record for record in caplog.messages if record.startswith("GET /record")]
    assert len(asked) <= 2


@pytest.mark.gen_test
async def test_every_answer_bears_the_headers_of_caution_once(client: Client) -> None:
    link = as_json(await client.upload(await client.register(), take(0.1)))["link"]
    on_all = {"X-Content-Type-Options": "nosniff"}
    on_pages = {
        **on_all,
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    }
    pages = ("/healthz", "/nowhere", "/metrics", "/record?id=1", "/problems/unavailable")
    for path, due in {link: on_all, **dict.fromkeys(pages, on_pages)}.items():
        headers = (await client.fetch(path)).headers
        assert {name: headers.get_list(name) for name in due} == {
            name: [value] for name, value in due.items()
        }, path
        assert len(headers.get_list("X-Request-ID")) == 1
        assert "Strict-Transport-Security" not in headers


class TestManyUploads:
    @pytest.fixture
    def knobs(self) -> dict[str, Any]:
        return {"uploads_per_user": 1}

    @pytest.mark.gen_test
    async def test_of_one_user_are_not_taken_for_those_of_one_address(self, client: Client) -> None:
        tus = Tus(client, await client.register())
        first, second = [await tus.begin(5_000_000) for _ in range(2)]
        wav = take(30.0)[:1_000_000]
        assert (await tus.patch(first, 0, wav)).code == 204
        assert problem(await tus.patch(second, 0, wav)) == (429, "too-many-of-one-user")


class TestManyRegistrations:
    @pytest.fixture
    def registrations(self) -> str:
        return "1r/m"

    @pytest.mark.gen_test
    async def test_more_than_a_few_from_one_address_have_to_wait(self, client: Client) -> None:
        answers = [
            await client.fetch("/user", method="POST", body=json.dumps({"name": f"user {number}"}))
            for number in range(25)
        ]
        refused = [answer for answer in answers if answer.code != 201]
        assert len(answers) - len(refused) == 21
        for answer in refused:
            assert answer.code == 429
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert answer.headers.get_list("Retry-After") == ["5"]
            assert as_json(answer)["type"] == "/problems/too-many-requests"
        assert (await client.fetch("/healthz")).code == 200
        page = await client.fetch("/problems/too-many-requests")
        assert page.body.startswith(b"too-many-requests (HTTP status 429)")
