"""The encoder processes that may run at once, shared fairly. Starts none itself."""

import asyncio
import time
from collections import Counter
from pathlib import Path

from umusic.audio.segments import Lengths
from umusic.metrics import Metrics


class Slot:
    """Leave to run one process, until `close`."""

    def __init__(self, pool: "Pool", owner: object) -> None:
        self._pool = pool
        self._owner: object | None = owner

    def close(self) -> None:
        """Gives it back. May be called more than once."""
        if self._owner is not None:
            owner, self._owner = self._owner, None
            self._pool.give_back(owner)


class Pool:
    """At most `size` ffmpegs for any number of recordings.

    Whoever waits gets the next free slot in the order of how few it has, then of how long it has
    waited: so a recording never waits for another to end, only for one segment of each at most.
    """

    def __init__(
        self,
        ffmpeg: Path,
        size: int,
        lengths: Lengths | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self.ffmpeg = ffmpeg
        self.size = size
        self.lengths = lengths or Lengths()
        self.metrics = metrics or Metrics()
        self._members: set[object] = set()
        self._held: Counter[object] = Counter()
        self._waiting: dict[asyncio.Future[Slot], object] = {}

    @property
    def members(self) -> int:
        """How many recordings are being encoded, whether they have a slot or not."""
        return len(self._members)

    @property
    def busy(self) -> int:
        """How many slots are taken."""
        return self._held.total()

    @property
    def queue(self) -> int:
        """How many segments wait for a slot."""
        return len(self._waiting)

    def join(self, owner: object) -> None:
        """Counts a recording among the members."""
        self._members.add(owner)

    def leave(self, owner: object) -> None:
        """Counts it no more. May be called more than once."""
        self._members.discard(owner)

    @property
    def is_idle(self) -> bool:
        """Whether a slot is free and nobody waits for it."""
        return self._free > 0 and not self._waiting

    def share(self, owner: object) -> int:
        """How many slots `owner` may count on, at least one, as busy as the others are now."""
        busy = {*self._held, *self._waiting.values()} - {owner}
        return max(self.size // (len(busy) + 1), 1)

    async def acquire(self, owner: object) -> Slot:
        """Waits for a slot."""
        began = time.monotonic()
        turn: asyncio.Future[Slot] = asyncio.get_running_loop().create_future()
        self._waiting[turn] = owner
        self._grant()
        try:
            slot = await turn
        except asyncio.CancelledError:
            # It may have been granted in the same moment.
            if turn.done() and not turn.cancelled():
                turn.result().close()
            raise
        finally:
            self._waiting.pop(turn, None)
        self.metrics.slot_granted(time.monotonic() - began)
        return slot

    def give_back(self, owner: object) -> None:
        """What `Slot.close` does."""
        self._held[owner] -= 1
        if not self._held[owner]:
            del self._held[owner]
        self._grant()

    @property
    def _free(self) -> int:
        return self.size - self.busy

    def _grant(self) -> None:
        while self._free > 0 and self._waiting:
            # Of equals the first in the dict, which is the one that has waited longest.
            turn = min(self._waiting, key=lambda turn: self._held[self._waiting[turn]])
            owner = self._waiting.pop(turn)
            if not turn.done():
                self._held[owner] += 1
                turn.set_result(Slot(self, owner))
