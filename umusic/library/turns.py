"""Whose turn it is to append to a resumable upload, and under which checksum."""

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from umusic.library.wav_part import WavPart


@dataclass(frozen=True, slots=True)
class Checksum:
    """What a piece has to have: an `algorithm` as hashlib calls it, and its digest."""

    algorithm: str
    digest: bytes


class Taking(Protocol):
    """Who gives turns."""

    async def append(self, turn: "Turn", data: bytes) -> None:
        """See `Turn.write`."""

    async def end_turn(self, turn: "Turn", *, last: bool) -> None:
        """See `Turn.finish`."""

    async def break_off(self, turn: "Turn") -> None:
        """See `Turn.abort`."""


class Turn:
    """One request's turn to append. Three verbs: `write`, `finish`, `abort`; at any time it may be
    told by `on_cut` that it is no more. Bytes under a checksum count once they have it."""

    def __init__(
        self, giver: Taking, on_cut: Callable[[Exception], None], check: Checksum | None
    ) -> None:
        self._giver = giver
        self._check = check
        self._hash = hashlib.new(check.algorithm) if check else None
        self.on_cut = on_cut

    @property
    def checked(self) -> bool:
        """Whether its bytes have to have a checksum."""
        return self._check is not None

    @property
    def fits(self) -> bool:
        """Whether they have it."""
        assert self._check is not None and self._hash is not None
        return hmac.compare_digest(self._hash.digest(), self._check.digest)

    def take(self, part: WavPart, data: bytes) -> None:
        """Writes the next bytes to the part-file. Blocks."""
        part.append(data)
        if self._hash:
            self._hash.update(data)

    async def write(self, data: bytes) -> None:
        """Takes the next bytes.

        Raises:
            LengthExceeded, TooLarge, QuotaExceeded: they are too many.
            ResumptionLocked: somebody else goes on with the upload.
            NoSpace, OutOfResources, MediaAway; or what the WAV was refused for meanwhile.
        """
        await self._giver.append(self, data)

    async def finish(self, *, last: bool = False) -> None:
        """Says that all has come; it is durable when this returns, or has become a record. `last`:
        and that it is the end of the upload, whose length was open or is this.

        Raises:
            LengthExceeded: its length is another.
            ChecksumMismatch; ResumptionLocked, MediaAway, DatabaseUnavailable.
        """
        await self._giver.end_turn(self, last=last)

    async def abort(self) -> None:
        """Says that no more will come. What has come counts, but not if it has a checksum."""
        await self._giver.break_off(self)
