"""The ffmpegs of a replica, shared as `umusic.audio.pool.Pool` shares them."""

from collections import Counter
from collections.abc import Hashable

from simpy import Environment, Event


class Pool:
    """Whoever waits gets the next free one in the order of how few it has, then of how long it has
    waited."""

    def __init__(self, env: Environment, size: int) -> None:
        self.size = size
        self.members = 0
        #: When each got one, and how long it had waited.
        self.waits: list[tuple[float, float]] = []
        self._seconds = 0.0
        self._env = env
        self._held: Counter[Hashable] = Counter()
        self._waiting: dict[Event, tuple[Hashable, float]] = {}
        self._active: Counter[Hashable] = Counter()
        self._looked_at = env.now

    @property
    def busy(self) -> int:
        """How many are taken."""
        return self._held.total()

    @property
    def queue(self) -> int:
        """How many segments wait for one."""
        return len(self._waiting)

    @property
    def is_idle(self) -> bool:
        """Whether one is free and nobody waits for it."""
        return self.busy < self.size and not self._waiting

    def share(self, owner: Hashable) -> int:
        """How many `owner` may count on, as busy as the others are now."""
        others = len(self._active) - (owner in self._active)
        return max(self.size // (others + 1), 1)

    def acquire(self, owner: Hashable) -> Event:
        """Happens once `owner` has one."""
        turn = self._env.event()
        self._waiting[turn] = owner, self._env.now
        self._active[owner] += 1
        self._grant()
        return turn

    def give_back(self, owner: Hashable) -> None:
        """Another may have it."""
        self.look()
        _take(self._held, owner)
        _take(self._active, owner)
        self._grant()

    def look(self) -> float:
        """Seconds of all that were busy until now."""
        self._seconds += self.busy * (self._env.now - self._looked_at)
        self._looked_at = self._env.now
        return self._seconds

    def _grant(self) -> None:
        while self._waiting and self.busy < self.size:
            self.look()
            turn = min(self._waiting, key=lambda turn: self._held[self._waiting[turn][0]])
            owner, since = self._waiting.pop(turn)
            self._held[owner] += 1
            self.waits.append((self._env.now, self._env.now - since))
            turn.succeed()


def _take(counter: Counter[Hashable], owner: Hashable) -> None:
    counter[owner] -= 1
    if not counter[owner]:
        del counter[owner]
