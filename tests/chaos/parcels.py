"""What the clients of the storm send: WAVs of many kinds and lengths, and some that are none."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote

from tests import wavs
from tests.client import form

_MANNERS = ("with a length", "with a length", "chunked", "paced", "as a form")
_PACED_PIECES = 30


@dataclass(frozen=True)
class Parcel:
    """A body to upload, the only status that refuses it for good, and how it is sent."""

    name: str
    wav: bytes
    refusal: int | None
    manner: str

    def stream(self, token: str) -> Iterator[bytes]:
        """The whole request, piece by piece."""
        content_type, body = "audio/wav", self.wav
        if self.manner == "as a form":
            content_type, body = form({}, self.wav)
        chunked = self.manner == "chunked"
        length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
        yield (
            f"PUT /record?name={quote(self.name)} HTTP/1.1\r\nHost: chaos\r\n{length}\r\n"
            f"Authorization: Bearer {token}\r\nContent-Type: {content_type}\r\n\r\n"
        ).encode()
        size = len(body) // _PACED_PIECES + 1 if self.manner == "paced" else 60_000
        for piece in wavs.pieces(body, size):
            yield f"{len(piece):x}\r\n".encode() + piece + b"\r\n" if chunked else piece
        if chunked:
            yield b"0\r\n\r\n"


class Shelf:
    """Bodies made once, from which parcels are taken: making sound costs more than sending it."""

    def __init__(self, choice: random.Random) -> None:
        short, long = (lambda: choice.uniform(0.05, 3), lambda: choice.uniform(15, 40))
        self._good = [
            *(wavs.take(short(), channels, rate) for channels, rate in _SHAPES for _ in range(2)),
            *(_of_bits(short(), bits) for bits in (8, 24, 32)),
            wavs.wav(wavs.float_tone(round(short() * 44100)), format=wavs.fmt(3, bits=32)),
            wavs.rf64(wavs.tone(round(short() * 44100))),
            wavs.wav(wavs.tone(60_000), data_size=0xFFFFFFFF, riff_size=0xFFFFFFFF),
        ]
        self._long = [wavs.take(long()) for _ in range(4)]
        whole = wavs.take(2.0)
        self._bad = [(whole[: len(whole) // 2], 422), (b"no WAV at all. " * 4000, 415)]

    def take(self, name: str, choice: random.Random) -> Parcel:
        """Any parcel: one of ten is long enough to be cut into many segments, one of twelve bad."""
        manner, refusal = choice.choice(_MANNERS), None
        if choice.random() < 1 / 12:
            wav, refusal = choice.choice(self._bad)
        else:
            wav = choice.choice(self._long if choice.random() < 1 / 10 else self._good)
        return Parcel(name, wav, refusal, manner)


_SHAPES = ((1, 8000), (2, 22_050), (2, 44_100), (1, 48_000), (2, 96_000), (6, 48_000))


def _of_bits(seconds: float, bits: int) -> bytes:
    return wavs.wav(wavs.tone(round(seconds * 44100), bits=bits), format=wavs.fmt(bits=bits))
