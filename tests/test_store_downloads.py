"""Downloads that nginx fetches from S3 by a presigned URL; with `--store=s3`."""

import asyncio
import contextlib
import json
import os
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tornado.httpclient import HTTPResponse

from tests.client import Client, as_json
from tests.conftest import wait_for
from tests.front import unused_port
from tests.gateway import Gateway
from tests.stores import S3, Kept
from tests.wavs import take
from umusic.errors import MediaAway
from umusic.web.errors import Problem

#: What only a presigned URL has in it.
SIGNED = "X-Amz-"
LARGE = 30_000_000


pytestmark = pytest.mark.s3


@pytest.fixture(params=[False, True], ids=["system", "wheel"])
def nginx_of_wheel(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


through_nginx = pytest.mark.parametrize("via", ["nginx"], indirect=True)


@pytest.fixture(autouse=True)
def signed_in_no_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """A presigned URL in a log of umusic's or nginx's fails the test."""
    yield
    for record in [*caplog.get_records("call"), *caplog.get_records("teardown")]:
        assert SIGNED not in f"{record.getMessage()} {record.exc_text}"
    for log in (tmp_path / "nginx").glob("*.log"):
        assert SIGNED not in log.read_text()


async def stored(client: Client) -> dict[str, Any]:
    """The receipt of a new record."""
    receipt: dict[str, Any] = as_json(await client.upload(await client.register(), take(0.3)))
    return receipt


def assert_unsigned(response: HTTPResponse) -> None:
    """Nothing of how S3 was asked is in the answer, nor what S3 said besides."""
    told = str(list(response.headers.get_all())).lower()
    for secret in (SIGNED.lower(), "umusic-secret", "aws", "x-rgw", "x-accel", "umusic-tests"):
        assert secret not in told
    assert SIGNED.encode() not in response.body


def assert_away(response: HTTPResponse) -> None:
    assert response.code == 503
    assert as_json(response) == Problem(MediaAway()).members()
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.headers.get_list("Retry-After") == ["5"]
    for name in ("Content-Disposition", "Etag", "Content-Range", "Accept-Ranges"):
        assert name not in response.headers
    assert_unsigned(response)


@through_nginx
@pytest.mark.gen_test
async def test_nothing_of_the_presigned_url_is_told_whatever_is_asked(
    client: Client, kept: Kept
) -> None:
    receipt = await stored(client)
    etag = (await client.fetch(receipt["link"])).headers["Etag"]
    asked: list[tuple[dict[str, str], int]] = [
        ({}, 200),
        ({"Range": "bytes=5-9"}, 206),
        ({"Range": "bytes=5-9,20-29"}, 200),
        ({"Range": "bytes=99999999-"}, 416),
        ({"If-None-Match": etag}, 304),
        ({"If-None-Match": '"other"'}, 200),
        ({"If-Match": '"other"'}, 412),
        ({"If-Range": etag, "Range": "bytes=99999999-"}, 416),
        ({"If-Range": '"other"', "Range": "bytes=99999999-"}, 200),
    ]
    for headers, status in asked:
        for method in ("GET", "HEAD"):
            response = await client.fetch(receipt["link"], method=method, headers=headers)
            assert response.code == status, (method, headers)
            assert_unsigned(response)
    kept.remove(*kept.mp3s())
    for headers in ({}, {"If-None-Match": '"other"'}):
        response = await client.fetch(receipt["link"], headers=headers)
        assert response.code == 404
        assert_unsigned(response)


@through_nginx
@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"Range": "bytes=0-99"},
        {"Range": "bytes=99999999-"},
        {"If-None-Match": '"other"'},
        {"If-Range": '"other"', "Range": "bytes=0-99"},
    ],
)
@pytest.mark.gen_test
async def test_head_says_what_get_does(client: Client, asked: dict[str, str]) -> None:
    link = (await stored(client))["link"]
    told = []
    for method in ("GET", "HEAD"):
        response = await client.fetch(link, method=method, headers=asked)
        headers = sorted(response.headers.get_all())
        told.append([pair for pair in headers if pair[0] not in ("X-Request-Id", "Date")])
        names = [name for name, _ in headers]
        assert len(names) == len(set(names))
    assert told[0] == told[1]


class TestAGatewayThatIsAway:
    @pytest.fixture
    def nginx_store(self) -> str:
        return f"127.0.0.1:{unused_port()}"

    @through_nginx
    @pytest.mark.gen_test
    async def test_is_a_503_problem_at_once(self, client: Client) -> None:
        link = (await stored(client))["link"]
        for headers in ({}, {"Range": "bytes=0-9"}, {"If-None-Match": '"other"'}):
            for _ in range(3):
                assert_away(await client.fetch(link, headers=headers, request_timeout=5))


class TestAGatewayThatRefuses:
    @pytest.fixture
    def denied(self, s3: S3) -> Iterator[str]:
        """A bucket of which nobody may read any more, by and by."""
        bucket = f"umusic-tests-denied-{uuid.uuid4().hex[:8]}"
        s3.client.create_bucket(Bucket=bucket)
        yield bucket
        for found in s3.client.list_objects_v2(Bucket=bucket).get("Contents", ()):
            s3.client.delete_object(Bucket=bucket, Key=found["Key"])
        s3.client.delete_bucket(Bucket=bucket)

    @pytest.fixture
    def knobs(self, denied: str) -> dict[str, Any]:
        return {"media_url": f"s3://{denied}/some"}

    @through_nginx
    @pytest.mark.gen_test
    async def test_is_a_503_problem(
        self, client: Client, s3: S3, denied: str, tmp_path: Path
    ) -> None:
        link = (await stored(client))["link"]
        statement = {
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:GetObject",
            "Resource": f"arn:aws:s3:::{denied}/*",
        }
        policy = {"Version": "2012-10-17", "Statement": [statement]}
        s3.client.put_bucket_policy(Bucket=denied, Policy=json.dumps(policy))
        assert_away(await client.fetch(link))
        log = tmp_path / "nginx" / "access.log"
        await wait_for(lambda: '"upstream_status": "403"' in log.read_text())


class TestAGatewayThatSendsElsewhere:
    """What is no MP3 may have the URL in it that was asked for."""

    @pytest.fixture
    def nginx_store(self, gateway: Gateway) -> str:
        return gateway.url.removeprefix("http://")

    @through_nginx
    @pytest.mark.gen_test
    async def test_is_a_503_problem(self, client: Client, gateway: Gateway) -> None:
        link = (await stored(client))["link"]
        where = f"https://s3.example.org/a.mp3?{SIGNED}Signature=secret"
        for status in (300, 301, 302, 303, 307, 308, 400, 406, 410, 414, 422, 451, 507, 520):
            for name in ("Location", "Refresh", "Link"):
                await gateway.fail(f"{status} Elsewhere\r\n{name}: {where}")
                assert_away(await client.fetch(link, follow_redirects=False))
        for name in ("Location", "Refresh", "Link"):
            await gateway.fail(f"200 OK\r\n{name}: {where}")
            assert_unsigned(await client.fetch(link))


class TestDirect:
    @pytest.fixture
    def nginx_of_wheel(self) -> bool:
        return False

    @pytest.fixture(params=["10.0.0.0/8", "127.0.0.0/8"], ids=["stranger", "proxy"])
    def trusted(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    @pytest.fixture
    def knobs(self, trusted: str) -> dict[str, Any]:
        return {"x_accel_prefix": "/_media/", "trusted_proxies": trusted}

    @pytest.mark.gen_test
    async def test_only_a_proxy_that_is_trusted_is_told_the_url(
        self, client: Client, kept: Kept, trusted: str
    ) -> None:
        link = (await stored(client))["link"]
        for method in ("GET", "HEAD"):
            response = await client.fetch(link, method=method)
            assert response.code == 200
            if trusted == "127.0.0.0/8":
                assert SIGNED in response.headers["X-Accel-Redirect"]
            else:
                assert_unsigned(response)
                mp3 = kept.read(*kept.mp3s())
                assert response.headers["Content-Length"] == str(len(mp3))
                assert response.body == (mp3 if method == "GET" else b"")


@contextlib.asynccontextmanager
async def asking(client: Client, link: str) -> Any:
    """A socket on which the link has been asked for, and that takes in little by itself."""
    address = urlsplit(client.site)
    parts = urlsplit(link)
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sock, (address.hostname, address.port))
        head = f"GET {parts.path}?{parts.query} HTTP/1.0\r\nHost: {address.netloc}\r\n\r\n"
        await loop.sock_sendall(sock, head.encode())
        yield sock


@through_nginx
@pytest.mark.gen_test
async def test_a_slow_reader_gets_all_of_it(client: Client, kept: Kept) -> None:
    link = (await stored(client))["link"]
    mp3 = os.urandom(LARGE)
    kept.write(*kept.mp3s(), mp3)
    loop = asyncio.get_running_loop()
    got = bytearray()
    async with asking(client, link) as sock:
        while data := await loop.sock_recv(sock, 2**20):
            got += data
            if len(got) < 200_000:
                await asyncio.sleep(0.2)
    assert bytes(got).partition(b"\r\n\r\n")[2] == mp3


@through_nginx
@pytest.mark.gen_test
async def test_who_leaves_midway_takes_nobody_along(
    client: Client, kept: Kept, tmp_path: Path
) -> None:
    link = (await stored(client))["link"]
    mp3 = os.urandom(LARGE)
    kept.write(*kept.mp3s(), mp3)
    for _ in range(3):
        async with asking(client, link) as sock:
            assert await asyncio.get_running_loop().sock_recv(sock, 1000)
    log = tmp_path / "nginx" / "access.log"
    await wait_for(lambda: log.read_text().count('"protocol": "HTTP/1.0"') == 3)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert all(line["sent"] < LARGE for line in lines if line["protocol"] == "HTTP/1.0")
    assert (await client.fetch(link)).body == mp3
