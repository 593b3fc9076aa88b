"""Bodies that people and enemies send, each with what has to come of it.

Made by code, by ffmpeg, by sox where there is one, and by damaging good ones (seeded).
"""

import random
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np

from tests.wavs import (
    adpcm,
    bext,
    chunk,
    float_tone,
    fmt,
    fmt_extensible,
    info,
    rf64,
    rifx,
    take,
    tone,
    w64,
    w64_chunk,
    wav,
)

FRAMES = 3000
PCM = tone(FRAMES)
#: Sample frames of an MP3 that is kept, or the status of a refusal and words of its sentence.
Outcome = int | tuple[int, str]
#: What came of a damaged body nobody can foretell: an MP3 as long as its receipt says, or a 4xx.
EITHER = -1


def whole(ffmpeg: Path, scratch: Path) -> dict[str, tuple[bytes, Outcome]]:
    """All of them by name."""
    good = {**_by_code(), **_by_programs(ffmpeg, scratch)}
    return {
        **{name: (body, FRAMES) for name, body in good.items()},
        **_hostile(),
        **{name: (body, EITHER) for name, body in _damaged(good).items()},
    }


def _by_code() -> dict[str, bytes]:
    made = {}
    for rate in (4000, 8000, 11025, 22050, 37800, 44056, 48000, 88200, 192_000, 384_000):
        made[f"{rate} Hz"] = wav(tone(FRAMES, 2, rate), format=fmt(1, 2, rate, 16))
    for bits in (8, 12, 16, 20, 24, 32):
        data = tone(FRAMES, 1, bits=(bits + 7) // 8 * 8)
        made[f"{bits} bits"] = wav(data, format=fmt(1, 1, 44100, bits))
    for channels in range(1, 9):
        data, mask = tone(FRAMES, channels), (1 << channels) - 1
        format = fmt_extensible(1, channels, 44100, 16, mask)
        made[f"{channels} channels"] = wav(data, format=format)
        made[f"{channels} channels, no mask"] = wav(data, format=fmt(1, channels, 44100, 16))
    for bits in (32, 64):
        format = fmt(3, 2, 44100, bits)
        made[f"float {bits}"] = wav(float_tone(FRAMES, bits=bits), format=format)
        for value in (np.nan, np.inf, -np.inf, 3e38):
            data = np.full(2 * FRAMES, value, f"<f{bits // 8}").tobytes()
            made[f"float {bits} of {value}"] = wav(data, format=format)
    junk = info(INAM="Take", IART="Егор") + bext("Take", "Egor", "2024-05-06")
    open_sizes = {"zero": 0, "all ones": 0xFFFFFFFF, "arecord": 0x80000000, "sox": 0x7FFFF000}
    for name, size in open_sizes.items():
        made[f"data size {name}"] = wav(PCM, data_size=size, riff_size=size)
    return {
        **made,
        "a-law": wav(bytes(FRAMES), format=fmt(6, 1, 8000, 8)),
        "µ-law": wav(bytes(2 * FRAMES), format=fmt(7, 2, 8000, 8)),
        "a-law in extensible": wav(bytes(FRAMES), format=fmt_extensible(6, 1, 8000, 8)),
        "tags before": wav(PCM, before=junk),
        "tags behind": wav(PCM, after=junk),
        "odd junk": wav(PCM, before=chunk(b"JUNK", bytes(27)), after=chunk(b"JUNK", bytes(27))),
        "a thousand chunks but for three": wav(PCM, before=chunk(b"junk", b"") * 997),
        "15 MB of junk": wav(PCM, before=chunk(b"JUNK", bytes(15 * 2**20))),
        "hundreds of chunks behind": wav(PCM, after=chunk(b"junk", b"") * 900),
        "a fact that disagrees": wav(PCM, before=chunk(b"fact", struct.pack("<I", 7))),
        "half a sample frame more": wav(PCM + b"\1\2\3"),
        "rf64": rf64(PCM),
        "rf64 with a chunk behind": rf64(PCM, after=junk),
        "bw64": b"BW64" + rf64(PCM)[4:],
        "rifx": rifx(PCM),
        "wave64": w64(PCM),
        "wave64 with a chunk behind": w64(PCM, after=w64_chunk(b"JUNK", bytes(5))),
        "wave64 to a pipe": w64(PCM, size=2**63 - 1),
        "zeros behind": wav(PCM, after=bytes(7)),
    }


def _by_programs(ffmpeg: Path, scratch: Path) -> dict[str, bytes]:
    plain = scratch / "plain.wav"
    plain.write_bytes(wav(PCM))
    made = {}

    def keep(name: str, command: list[str], suffix: str = "wav") -> None:
        path = scratch / f"made.{suffix}"
        subprocess.run([*command[:-1], str(path), *command[-1:]], check=True, capture_output=True)
        made[name] = path.read_bytes()

    convert = [str(ffmpeg), "-v", "error", "-i", str(plain)]
    codecs = ["u8", "s16le", "s24le", "s32le", "f32le", "f64le", "alaw", "mulaw"]
    for codec in (*(f"pcm_{name}" for name in codecs), "adpcm_ms", "adpcm_ima_wav"):
        keep(f"ffmpeg's {codec}", [*convert, "-c:a", codec, "-y"])
    keep("ffmpeg's rf64", [*convert, "-rf64", "always", "-y"])
    keep("ffmpeg's bext", [*convert, "-write_bext", "1", "-metadata", "description=x", "-y"])
    keep("ffmpeg's wave64", [*convert, "-y"], "w64")
    for block in ("256", "512", "4096"):
        keep(f"adpcm of {block}", [*convert, "-c:a", "adpcm_ms", "-block_size", block, "-y"])
    if sox := shutil.which("sox"):
        kinds = (
            "-b 24 -B",
            "-b 16 -B",
            "-e a-law",
            "-e ms-adpcm",
            "-e ima-adpcm",
            "-e float -b 64",
        )
        for kind in kinds:
            path = scratch / "made.wav"
            subprocess.run([sox, "-D", plain, *kind.split(), path], check=True)
            made[f"sox's {kind}"] = path.read_bytes()
    return made


def _hostile() -> dict[str, tuple[bytes, Outcome]]:
    mp3 = b"ID3\4" + bytes(3000)
    playlist = b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n#EXTINF:1,\nhttp://127.0.0.1/\n"
    huge = struct.pack("<I", 0x7FFFFFFF)
    return {
        "nothing": (b"", (422, "empty")),
        "a playlist": (playlist, (415, "a playlist")),
        "a concat list": (b"ffconcat version 1.0\nfile /etc/passwd\n", (415, "not a WAV")),
        "a playlist in a WAV": (wav(playlist)[:12] + playlist, (422, "too long")),
        "text": ("Привет, мир!".encode(), (415, "not a WAV")),
        "html": (b"<!doctype html><html></html>", (415, "HTML")),
        "json": (b'{"audio": "take.wav"}', (415, "JSON")),
        "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(500), (415, "PNG")),
        "a photo": (b"\xff\xd8\xff\xe0" + bytes(500), (415, "JPEG")),
        "a film": (b"\0\0\0\x18ftypmp42" + bytes(500), (415, "not a WAV")),
        "an AVI": (b"RIFF\x10\0\0\0AVI LIST" + bytes(500), (415, "AVI")),
        "a zip": (b"PK\3\4" + bytes(500), (415, "ZIP")),
        "an mp3": (mp3, (415, "an MP3")),
        "an mp3 without a tag": (b"\xff\xfb\x90\x64" + bytes(500), (415, "an MP3")),
        "flac": (b"fLaC" + bytes(500), (415, "FLAC")),
        "an ogg": (b"OggS" + bytes(500), (415, "Ogg")),
        "aiff": (b"FORM\0\0\0\0AIFF" + bytes(500), (415, "AIFF")),
        "an executable": (b"\x7fELF" + bytes(500), (415, "not a WAV")),
        "a header alone": (wav(b""), (422, "no sound")),
        "a RIFF head alone": (wav(PCM)[:12], (422, "before its data chunk")),
        "half a header": (wav(PCM)[:30], (422, "before its data chunk")),
        "no data chunk": (wav(PCM)[:36], (422, "before its data chunk")),
        "cut short": (wav(PCM)[:-1000], (422, "1000 more bytes")),
        "cut short, rf64": (rf64(PCM)[:-1000], (422, "1000 more bytes")),
        "cut short, wave64": (w64(PCM)[:-1000], (422, "1000 more bytes")),
        "cut short in a chunk behind": (wav(PCM, after=b"LIST" + huge), (422, "cut short")),
        "junk behind": (wav(PCM, after=bytes(range(1, 100))), (422, "no chunks")),
        "a size that wrapped": (wav(PCM, data_size=len(PCM) - 800), (422, "no chunks")),
        "a chunk past the end": (wav(PCM, before=b"JUNK" + huge), (422, "too long")),
        "a fmt past the end": (wav(PCM)[:16] + huge + wav(PCM)[20:], (422, "too long")),
        "billions of samples": (wav(PCM, data_size=0xFFFFFFF0), (422, "cut short")),
        "a million tiny chunks": (
            wav(PCM, before=chunk(b"junk", b"") * 1_000_000),
            (422, "too long"),
        ),
        "a million tiny chunks behind": (
            wav(PCM, after=chunk(b"junk", b"") * 1_000_000),
            (422, "more than 1000 chunks"),
        ),
        "data before fmt": (b"RIFF\0\0\0\0WAVEdata\4\0\0\0abcd", (422, "before its fmt")),
        "two fmts": (wav(PCM, before=chunk(b"fmt ", fmt())), (422, "two fmt")),
        "a short fmt": (wav(PCM, format=b"\1\0\2\0"), (422, "fmt chunk has 4 bytes")),
        "binary chunk names": (wav(PCM, before=b"\1\2\3\4" + bytes(4)), (422, "should begin")),
        "no channels": (wav(PCM, format=fmt(1, 0)), (422, "0 channels")),
        "nine channels": (wav(PCM, format=fmt(1, 9)), (422, "9 channels")),
        "65,535 channels": (
            wav(PCM, format=fmt(1, 65535, frame_bytes=4)),
            (422, "65535 channels"),
        ),
        "0 Hz": (wav(PCM, format=fmt(1, 2, 0)), (422, "0 Hz")),
        "1 Hz": (wav(PCM, format=fmt(1, 2, 1)), (422, "1 Hz")),
        "3,999 Hz": (wav(PCM, format=fmt(1, 2, 3999)), (422, "3999 Hz")),
        "384,001 Hz": (wav(PCM, format=fmt(1, 2, 384_001)), (422, "384001 Hz")),
        "4 GHz": (wav(PCM, format=fmt(1, 2, 0xFFFFFFFF)), (422, "4294967295 Hz")),
        "block align 0": (wav(PCM, format=fmt(frame_bytes=0)), (422, "block align")),
        "block align 65,535": (wav(PCM, format=fmt(frame_bytes=65535)), (422, "block align")),
        "0 bits": (wav(PCM, format=fmt(1, 2, 44100, 0)), (415, "0-bit PCM")),
        "64 bits": (wav(PCM, format=fmt(1, 2, 44100, 64)), (415, "64-bit PCM")),
        "float of 16 bits": (wav(PCM, format=fmt(3)), (415, "16-bit float")),
        "mp3 in a WAV": (wav(mp3, format=fmt(0x55)), (415, "MP3 (format tag 0x0055)")),
        "GSM": (wav(PCM, format=fmt(0x31, 1, 8000, 0)), (415, "GSM 6.10 (format tag 0x0031)")),
        "AC-3": (wav(PCM, format=fmt(0x2000)), (415, "0x2000")),
        "an unknown codec": (wav(PCM, format=fmt(0x4242)), (415, "0x4242")),
        "extensible, too short": (wav(PCM, format=fmt(0xFFFE)), (422, "extensible")),
        "extensible, an unknown codec": (
            wav(PCM, format=fmt_extensible(1, 2, 44100, 16)[:-8] + bytes(8)),
            (415, "codec"),
        ),
        "adpcm that is none": (wav(b"\xff" * 2048, format=adpcm(2)), (422, "no ADPCM")),
        "ima adpcm that is none": (wav(b"\xff" * 2048, format=adpcm(0x11)), (422, "no ADPCM")),
        "adpcm of odd blocks": (wav(PCM, format=adpcm(0x11, 2, 510)), (422, "510 bytes")),
        "adpcm of its own kind": (
            wav(PCM, format=adpcm(2, coefficients=bytes(28))),
            (415, "of its own"),
        ),
        "adpcm of no block": (wav(bytes(3), format=adpcm(2)), (422, "no sound")),
        "half a sample frame": (wav(b"\1\2\3"), (422, "no sound")),
        "rf64 without ds64": (b"RF64" + wav(PCM, data_size=0x10000000)[4:], (422, "cut short")),
        "wave64 of nothing": (w64(PCM)[:24] + bytes(16) + w64(PCM)[40:], (415, "Wave64")),
    }


def _damaged(good: dict[str, bytes]) -> dict[str, bytes]:
    """Good ones with a few bytes of their first two hundred changed, left out, added or cut."""
    chance = random.Random(5)
    sound = [body for body in good.values() if len(body) < 2**20] + [take(0.05)]
    damaged = {}
    for number in range(80):
        body = bytearray(chance.choice(sound))
        for _ in range(chance.randrange(1, 5)):
            place = chance.randrange(min(len(body), chance.choice([60, 200])))
            match chance.randrange(4):
                case 0:
                    body[place] = chance.randrange(256)
                case 1:
                    body[place] ^= 1 << chance.randrange(8)
                case 2:
                    del body[place : place + chance.randrange(1, 9)]
                case _:
                    body[place:place] = chance.randbytes(chance.randrange(1, 9))
        damaged[f"damaged {number}"] = bytes(body)
    return damaged
