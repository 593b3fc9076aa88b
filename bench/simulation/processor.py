"""Cores that are shared: whoever has work gets as much of a core as the others."""

import heapq
from itertools import count

from simpy import Environment, Event

#: What work in the background gets at least of all cores: the kernel's weight of niceness 10,
#: against that of 0.
_LEAST = 110 / (110 + 1024)
#: Seconds that are no work: far more than what is lost in sums of days, or time would stand still.
_TINY = 1e-9


class _Queue:
    """Work of one kind. `done` is what each has had since time began; who comes later ends later by
    as much as was done before."""

    def __init__(self) -> None:
        self.done = 0.0
        self.rate = 0.0
        self._numbers = count()
        self._jobs: list[tuple[float, int, Event]] = []

    def __len__(self) -> int:
        return len(self._jobs)

    def add(self, seconds: float, event: Event) -> None:
        heapq.heappush(self._jobs, (self.done + seconds, next(self._numbers), event))

    def pass_by(self, seconds: float) -> None:
        """Time goes by; who has what it needs is told."""
        self.done += self.rate * seconds
        while self._jobs and self._jobs[0][0] <= self.done + _TINY:
            heapq.heappop(self._jobs)[2].succeed()

    def until_next(self) -> float:
        """Seconds until the next has what it needs, as things are."""
        if not self._jobs or not self.rate:
            return float("inf")
        return max(self._jobs[0][0] - self.done, 0.0) / self.rate


class Cores:
    """Work is a job of one thread. That of ffmpegs is nice: it gets what the other leaves.

    `crowded` is how much slower each is when all cores are busy: two that are one core's threads
    are not twice as fast.
    """

    def __init__(self, env: Environment, number: float, crowded: float = 1.0) -> None:
        self.number = number
        self._env = env
        self._crowded = crowded
        self._front, self._back = _Queue(), _Queue()
        self._looked_at = env.now
        self._version = 0
        #: Seconds of all cores in which there was work.
        self.busy = 0.0

    def work(self, seconds: float, *, nice: bool = False) -> Event:
        """Happens once so many seconds of processor were had."""
        event = self._env.event()
        self._look()
        (self._back if nice else self._front).add(seconds, event)
        self._plan()
        return event

    def _look(self) -> None:
        passed = self._env.now - self._looked_at
        self.busy += passed * min(len(self._front) + len(self._back), self.number)
        self._looked_at = self._env.now
        for queue in (self._front, self._back):
            queue.pass_by(passed)

    def _plan(self) -> None:
        front, back = len(self._front), len(self._back)
        least = _LEAST * self.number if back else 0.0
        speed = self._speed(min(front + back, self.number))
        for_front = min(front, self.number - least)
        self._front.rate = speed * for_front / front if front else 0.0
        self._back.rate = speed * min(back, self.number - for_front) / back if back else 0.0
        wait = min(self._front.until_next(), self._back.until_next())
        self._version += 1
        if wait < float("inf"):
            version = self._version
            self._env.timeout(wait).callbacks.append(lambda _: self._wake(version))

    def _wake(self, version: int) -> None:
        if version == self._version:
            self._look()
            self._plan()

    def _speed(self, busy: float) -> float:
        if self.number <= 1 or busy <= 1:
            return 1.0
        return 1.0 / (1.0 + (self._crowded - 1.0) * (busy - 1) / (self.number - 1))
