"""Content-Digest and Repr-Digest on uploads (RFC 9530): what is altered on the way is not kept."""

import base64
import hashlib
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.client import Client, as_json, both_ways, form
from tests.proxy import Proxy
from tests.stores import Kept
from tests.test_uploads import assert_nothing_kept, rows
from tests.wavs import pieces, take
from umusic.app import Services

WAV = take(3.0)
HEADERS = ["Content-Digest", "Repr-Digest"]
ALGORITHMS = ["sha-256", "sha-512"]


def announced(body: bytes, *algorithms: str) -> str:
    digests = {name: hashlib.new(name.replace("-", ""), body).digest() for name in algorithms}
    return ", ".join(
        f"{name}=:{base64.b64encode(digest).decode()}:" for name, digest in digests.items()
    )


def flip_a_bit(piece: bytes, before: int) -> bytes:
    """One bit of the 300,000th byte."""
    place = 300_000 - before
    if 0 <= place < len(piece):
        return piece[:place] + bytes([piece[place] ^ 1]) + piece[place + 1 :]
    return piece


@both_ways
@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.gen_test
async def test_a_body_with_its_digest_is_taken(
    client: Client, services: Services, header: str, algorithm: str
) -> None:
    user = await client.register()
    headers = {header: announced(WAV, algorithm)}
    assert (await client.upload(user, WAV, headers=headers)).code == 201
    content_type, sent = form({}, WAV)
    headers = {header: announced(sent, algorithm), "Content-Type": content_type}
    assert (await client.upload(user, sent, headers=headers)).code == 201
    assert len(await rows(services)) == 2


@both_ways
@pytest.mark.parametrize("framing", ["length", "chunked", "form"])
@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.gen_test
async def test_a_bit_that_is_flipped_on_the_way_is_422_and_nothing_is_kept(
    client: Client,
    services: Services,
    kept: Kept,
    framing: str,
    header: str,
    algorithm: str,
) -> None:
    user = await client.register()
    content_type, body = form({}, WAV) if framing == "form" else ("audio/wav", WAV)
    headers = {
        **user.bearer,
        "Content-Type": content_type,
        "Idempotency-Key": "a key",
        header: announced(body, algorithm),
    }
    proxy = Proxy(client.site, on_sent=flip_a_bit)
    async with proxy.running() as url, httpx.AsyncClient() as http:
        content = pieces_of(body) if framing == "chunked" else body
        response = await http.put(f"{url}/record?name=x", content=content, headers=headers)
    assert response.status_code == 422
    problem = response.json()
    assert problem["type"] == "/problems/digest-mismatch"
    assert (problem["header"], problem["algorithm"]) == (header, algorithm)
    assert header in problem["detail"]
    await assert_nothing_kept(services, kept)
    again = {name: value for name, value in headers.items() if name != "Authorization"}
    assert (await client.upload(user, body, name="x", headers=again)).code == 201


async def pieces_of(body: bytes) -> AsyncIterator[bytes]:
    for piece in pieces(body, 50_000):
        yield piece


@pytest.mark.gen_test
async def test_one_wrong_digest_of_several_is_enough(
    client: Client, services: Services, kept: Kept
) -> None:
    user = await client.register()
    right, wrong = announced(WAV, "sha-256"), announced(b"another", "sha-512")
    for headers in (
        {"Content-Digest": f"{right}, {wrong}"},
        {"Content-Digest": right, "Repr-Digest": wrong},
    ):
        response = await client.upload(user, WAV, headers=headers)
        assert (response.code, as_json(response)["algorithm"]) == (422, "sha-512")
    await assert_nothing_kept(services, kept)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "md5=:AAAA:",
        "sha=:AAAA:, unixsum=:AAAA:",
        "sha-256-next=:AAAA:;q=1",
        announced(WAV, "sha-256") + ";q=1, md5=:AAAA:",
    ],
)
@pytest.mark.gen_test
async def test_what_is_not_known_does_not_count(client: Client, text: str) -> None:
    user = await client.register()
    for header in HEADERS:
        assert (await client.upload(user, WAV, headers={header: text})).code == 201


@pytest.mark.parametrize(
    "text",
    [
        hashlib.sha256(WAV).hexdigest(),
        f"sha-256={hashlib.sha256(WAV).hexdigest()}",
        f"SHA-256={announced(WAV, 'sha-256')[8:]}",
        f"sha-256={announced(WAV, 'sha-256')[9:-1]}",
        "sha-256",
        "sha-256=(:AAAA: :AAAA:)",
        "sha-256=:AA*A:",
        "sha-256=:AAAA:,",
        "md5=7",
        "\u00fc",
    ],
)
@both_ways
@pytest.mark.gen_test
async def test_what_cannot_be_read_is_400(
    client: Client, services: Services, kept: Kept, text: str
) -> None:
    user = await client.register()
    for header in HEADERS:
        response = await client.upload(user, WAV, headers={header: text})
        assert (response.code, as_json(response)["header"]) == (400, header)
        assert as_json(response)["type"] == "/problems/malformed-header"
    await assert_nothing_kept(services, kept)
