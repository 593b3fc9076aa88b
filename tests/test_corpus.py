"""A corpus of good, hostile and damaged bodies, sent to a running umusic."""

import asyncio
import random
from pathlib import Path

import pytest

from tests.client import Account, Client, as_json
from tests.corpus import EITHER, Outcome, whole
from tests.decoders import decoded_samples
from tests.wavs import adpcm, fmt, fmt_extensible, info, rf64, rifx, take, w64, wav
from umusic.app import Services
from umusic.audio.wav import WavReader
from umusic.errors import UmusicError

#: Sent at once; each has to be answered in so many seconds, on a busy machine as well.
AT_ONCE, SECONDS = 4, 20


async def outcome(
    client: Client, user: Account, body: bytes, scratch: Path, ffmpeg: Path
) -> tuple[int, str, int]:
    """Sends it: the status, the sentence of a refusal, and of an MP3 the source's sample frames,
    if two decoders find it as long as its receipt says."""
    reply = await client.upload(user, body, request_timeout=SECONDS)
    if reply.code != 201:
        assert reply.headers["Content-Type"] == "application/problem+json"
        return reply.code, as_json(reply)["detail"], 0
    receipt = as_json(reply)
    mp3 = scratch / f"{receipt['id']}.mp3"
    mp3.write_bytes((await client.fetch(receipt["link"])).body)
    found = await asyncio.to_thread(decoded_samples, mp3, ffmpeg, receipt["channels"])
    assert set(found.values()) == {receipt["samples"]}
    source = receipt["source"]
    assert receipt["samples"] == round(
        source["samples"] * receipt["sample_rate"] / source["sample_rate"]
    )
    return 201, "", source["samples"]


def is_as_expected(found: tuple[int, str, int], expected: Outcome) -> bool:
    status, sentence, samples = found
    if isinstance(expected, tuple):
        return status == expected[0] and expected[1] in sentence
    if expected == EITHER:
        return samples > 0 if status == 201 else 400 <= status < 500 and bool(sentence)
    return samples == expected


@pytest.mark.gen_test(timeout=120)
async def test_each_body_gives_an_mp3_of_its_length_or_a_refusal_that_says_why(
    client: Client, services: Services, ffmpeg: Path, tmp_path: Path
) -> None:
    user = await client.register()
    corpus = whole(ffmpeg, tmp_path)
    assert len(corpus) >= 200
    turn, wrong = asyncio.Semaphore(AT_ONCE), {}

    async def send(name: str, body: bytes, expected: Outcome) -> None:
        async with turn:
            found = await outcome(client, user, body, tmp_path, ffmpeg)
        if not is_as_expected(found, expected):
            wrong[name] = (found, expected)

    await asyncio.gather(*(send(name, *entry) for name, entry in corpus.items()))
    for name, (found, expected) in wrong.items():
        print(f"{name}: {found}, expected {expected}")
    assert not wrong
    assert services.keeper.live == 0
    assert not list(tmp_path.rglob("*.part"))


def test_ten_thousand_damaged_headers_give_errors_of_ours_or_samples() -> None:
    chance = random.Random(7)
    data = bytes(600)
    headers = [
        take(0.01)[:200],
        wav(data, before=info(INAM="Take", IART="Egor")),
        wav(data, format=fmt_extensible(1, 6, 48000, 24, 0x3F)),
        wav(data, format=adpcm(2, 2, 256)),
        wav(data, format=adpcm(0x11, 1, 256)),
        wav(data, format=fmt(7, 1, 8000, 8)),
        rf64(data),
        rifx(data),
        w64(data),
    ]
    outcomes = {"samples": 0, "errors": 0}
    for _ in range(10_000):
        body = bytearray(chance.choice(headers))
        for _ in range(chance.randrange(1, 6)):
            body[chance.randrange(min(len(body), 120))] = chance.randrange(256)
        reader = WavReader(total=chance.choice([None, len(body), 2**33]))
        cut = chance.randrange(len(body))
        try:
            given = (
                reader.feed(bytes(body[:cut])) + reader.feed(bytes(body[cut:])) + reader.finish()
            )
            assert 0 < len(given) <= len(body)
            assert reader.tags.room(reader.trailer_bytes) <= 8192
            outcomes["samples"] += 1
        except UmusicError as exc:
            assert exc.detail
            outcomes["errors"] += 1
    assert min(outcomes.values()) > 500
