"""Heads of the chunks that WAVs are made of, in RIFF and in Wave64. Pure functions on bytes."""

from dataclasses import dataclass

#: The GUIDs of Wave64: of the file itself, and what follows the name in those of its chunks.
W64_FILE = b"riff" + bytes.fromhex("2e91cf11a5d628db04c10000")
W64_CHUNK = bytes.fromhex("f3acd3118cd100c04f8edb8a")


@dataclass(frozen=True, slots=True)
class Chunks:
    """How chunks are written: the bytes of a head, the order of those of a number, and to how many
    a body is padded."""

    head_bytes: int
    big_endian: bool
    padding: int

    def head(self, data: bytes) -> tuple[bytes, int]:
        """Name and body size. A name that is none of ours in Wave64 is four spaces."""
        if self.head_bytes == 8:
            return data[:4], int.from_bytes(data[4:], "big" if self.big_endian else "little")
        # In Wave64 the size of a chunk counts its head.
        size = max(int.from_bytes(data[16:], "little") - self.head_bytes, 0)
        return data[:4] if data[4:16] == W64_CHUNK else b"    ", size

    def pad(self, size: int) -> int:
        """Bytes that follow a body of `size`."""
        return -size % self.padding


RIFF, RIFX = Chunks(8, False, 2), Chunks(8, True, 2)
W64 = Chunks(24, False, 8)


def is_chunk_name(name: bytes) -> bool:
    """Whether these four bytes can be the name of a chunk."""
    return all(0x20 <= byte < 0x7F for byte in name)
