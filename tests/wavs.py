"""WAVs for the tests, made byte by byte: every field of a header can be wrong on purpose."""

import math
import struct
from collections.abc import Iterator

import numpy as np

GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")


def chunk(name: bytes, body: bytes, *, pad: bool = True) -> bytes:
    """A RIFF chunk, padded to an even length."""
    return name + struct.pack("<I", len(body)) + body + (b"\0" if pad and len(body) % 2 else b"")


def fmt(
    tag: int = 1,
    channels: int = 2,
    rate: int = 44100,
    bits: int = 16,
    *,
    frame_bytes: int | None = None,
) -> bytes:
    """The body of a plain `fmt ` chunk."""
    block = channels * ((bits + 7) // 8) if frame_bytes is None else frame_bytes
    return struct.pack("<HHIIHH", tag, channels, rate, rate * block & 0xFFFFFFFF, block, bits)


def fmt_extensible(tag: int, channels: int, rate: int, bits: int, mask: int = 0) -> bytes:
    """The body of a WAVEFORMATEXTENSIBLE `fmt ` chunk."""
    head = fmt(0xFFFE, channels, rate, bits)
    return head + struct.pack("<HHIH", 22, bits, mask, tag) + GUID_TAIL


def wav(
    data: bytes,
    *,
    format: bytes | None = None,
    before: bytes = b"",
    after: bytes = b"",
    data_size: int | None = None,
    riff_size: int | None = None,
) -> bytes:
    """A RIFF WAV. Sizes are the true ones unless told."""
    size = len(data) if data_size is None else data_size
    pad = b"\0" if len(data) % 2 else b""
    inside = (
        b"WAVE"
        + chunk(b"fmt ", fmt() if format is None else format)
        + before
        + b"data"
        + struct.pack("<I", size)
        + data
        + pad
        + after
    )
    return b"RIFF" + struct.pack("<I", len(inside) if riff_size is None else riff_size) + inside


def rf64(data: bytes, *, format: bytes | None = None, after: bytes = b"") -> bytes:
    """An RF64 WAV (EBU Tech 3306), its sizes in ds64."""
    fmt_chunk = chunk(b"fmt ", fmt() if format is None else format)
    total = 4 + 36 + len(fmt_chunk) + 8 + len(data) + len(after)
    ds64 = chunk(b"ds64", struct.pack("<QQQI", total, len(data), len(data) // 4, 0))
    return b"RF64\xff\xff\xff\xffWAVE" + ds64 + fmt_chunk + b"data\xff\xff\xff\xff" + data + after


def rifx(data: bytes, *, before: bytes = b"", after: bytes = b"") -> bytes:
    """A RIFX WAV, all its numbers big-endian: 16 bit, stereo, 44.1 kHz; `data` is little-endian."""
    swapped = np.frombuffer(data, "<i2").astype(">i2").tobytes()
    head = struct.pack(">4sIHHIIHH", b"fmt ", 16, 1, 2, 44100, 176400, 4, 16)
    inside = b"WAVE" + head + before + b"data" + struct.pack(">I", len(data)) + swapped + after
    return b"RIFX" + struct.pack(">I", len(inside)) + inside


W64_TAIL = bytes.fromhex("f3acd3118cd100c04f8edb8a")


def w64_chunk(name: bytes, body: bytes, *, size: int | None = None) -> bytes:
    """A chunk of Wave64: its size counts its head, and it is padded to 8 bytes."""
    whole = 24 + len(body) if size is None else size
    return name + W64_TAIL + struct.pack("<Q", whole) + body + bytes(-len(body) % 8)


def w64(data: bytes, *, after: bytes = b"", size: int | None = None) -> bytes:
    """A Wave64 file."""
    inside = b"wave" + W64_TAIL + w64_chunk(b"fmt ", fmt()) + w64_chunk(b"data", data, size=size)
    riff = b"riff" + bytes.fromhex("2e91cf11a5d628db04c10000")
    return riff + struct.pack("<Q", 24 + len(inside + after)) + inside + after


def adpcm(tag: int, channels: int = 2, block: int = 512, *, coefficients: bytes = b"") -> bytes:
    """The body of the `fmt ` chunk of ADPCM: 2 is Microsoft's, 0x11 IMA's."""
    head = fmt(tag, channels, 44100, 4, frame_bytes=block)
    if tag == 0x11:
        return head + struct.pack("<HH", 2, 1 + (block - 4 * channels) * 2 // channels)
    usual = struct.pack("<14h", 256, 0, 512, -256, 0, 0, 192, 64, 240, 0, 460, -208, 392, -232)
    frames = 2 + (block - 7 * channels) * 2 // channels
    return head + struct.pack("<HHH", 32, frames, 7) + (coefficients or usual)


def info(**fields: str | bytes) -> bytes:
    """A LIST INFO chunk."""
    body = b"INFO"
    for name, value in fields.items():
        body += chunk(name.encode(), (value.encode() if isinstance(value, str) else value) + b"\0")
    return chunk(b"LIST", body)


def bext(description: str, originator: str, date: str) -> bytes:
    """A bext chunk of version 1."""
    body = struct.pack(
        "<256s32s32s10s8s", description.encode(), originator.encode(), b"", date.encode(), b""
    )
    return chunk(b"bext", body + bytes(602 - len(body)))


def tone(frames: int, channels: int = 2, rate: int = 44100, *, bits: int = 16) -> bytes:
    """A chord with a little noise, as little-endian PCM of 8 to 32 bits."""
    seconds = np.arange(frames) / rate
    noise = np.random.default_rng(frames).uniform(-0.02, 0.02, (frames, channels))
    pitch = np.array([220 * (1 + number) for number in range(channels)])
    signal = 0.4 * np.sin(2 * math.pi * seconds[:, None] * pitch) + noise
    if bits == 8:
        return ((signal * 127) + 128).astype(np.uint8).tobytes()
    if bits == 24:
        whole = (signal * (2**31 - 2**10)).astype("<i4").reshape(-1, 1).view(np.uint8)
        return whole.reshape(-1, 4)[:, 1:].tobytes()
    return (signal * (2 ** (bits - 1) - 1)).astype(f"<i{bits // 8}").tobytes()


def float_tone(frames: int, channels: int = 2, *, bits: int = 32) -> bytes:
    """The same as float samples."""
    whole = np.frombuffer(tone(frames, channels, bits=32), dtype="<i4")
    return (whole / 2**31).astype(f"<f{bits // 8}").tobytes()


def take(seconds: float = 1.0, channels: int = 2, rate: int = 44100) -> bytes:
    """A WAV of 16 bit."""
    data = tone(round(seconds * rate), channels, rate)
    return wav(data, format=fmt(channels=channels, rate=rate))


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    """`data` in pieces of `size` bytes."""
    for start in range(0, len(data), size):
        yield data[start : start + size]


def sound(kind: str, frames: int, channels: int, rate: int) -> bytes:
    """Sound that is hard on an encoder that is to go on where another stopped, as PCM of 16 bit."""
    random = np.random.default_rng(len(kind))
    seconds = np.arange(frames) / rate
    noise = random.standard_normal(frames)
    if kind == "music":
        pitches = (220, 277.2, 329.6, 440, 880, 1760, 3000)
        chord = sum(np.sin(2 * math.pi * pitch * seconds) for pitch in pitches)
        mono = 0.1 * chord * np.exp(-3 * (2 * seconds % 1)) + 0.02 * noise
    elif kind == "silence":
        mono = np.zeros(frames)
    elif kind == "speech":  # syllables and pauses with a little noise
        syllables = np.maximum(np.sin(2 * math.pi * 0.4 * seconds), 0)
        syllables *= np.sqrt(np.maximum(np.sin(2 * math.pi * 4 * seconds), 0))
        voice = 0.2 * np.sign(np.sin(2 * math.pi * 120 * seconds)) + 0.2 * noise
        mono = syllables * voice + 0.0002 * noise
    elif kind == "clicks":
        mono = np.where(np.arange(frames) % round(0.37 * rate) == 0, 0.9, 0.0)
    else:  # loud, then a click in every second frame: LAME's threshold falls as slowly as it can
        clicking = np.arange(frames) % 2304 < 300
        mono = np.where(seconds < 7.3, 0.5, np.where(clicking, 0.9, 0.0002)) * noise
    sides = [mono, 0.7 * np.roll(mono, 17) + 0.01 * np.abs(mono) * noise][:channels]
    return (np.clip(np.stack(sides, 1), -1, 1) * 32767).astype("<i2").tobytes()
