"""Replicas behind nginx, under an orchestrator: who gets an upload, who is stopped, started and
killed, and how many there are."""

import math
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from simpy import Environment

from bench.simulation.arrivals import Arrival
from bench.simulation.costs import Costs
from bench.simulation.replica import Replica, Size, Steps

#: Kubernetes' HorizontalPodAutoscaler looks every 15 s, at means of a minute (prometheus-adapter),
#: and leaves things as they are within a tenth of the target. The rest is what
#: deploy/kubernetes/base/autoscaler.yaml tells it: it adds what it has wanted for half a minute,
#: two or half as many again in a minute; and takes away one in ten minutes, once it has wanted that
#: for 15.
_LOOK_SECONDS, _MEAN_SECONDS, _TOLERANCE = 15.0, 60.0, 0.1
_GROW_AFTER, _GROW_EVERY, _MOST_MORE = 30.0, 60.0, 2
_SHRINK_AFTER, _SHRINK_EVERY = 900.0, 600.0
#: What a client of tus waits before it sends again what was broken off.
_RESUME_SECONDS = 3.0


@dataclass(frozen=True)
class Orders:
    """What happens to the replicas, in seconds from the beginning; None: it does not happen."""

    drain_seconds: float = 30.0
    #: From an order to the first upload taken.
    start_seconds: float = 20.0
    roll_at: float | None = None
    kill_at: float | None = None
    #: Segments that wait, for each replica: more of them are wanted above it.
    queue_target: float | None = None
    #: The share of its encoders that is busy, likewise.
    busy_target: float | None = None
    most_replicas: int = 10


@dataclass
class Kept:
    """An upload with a link: seconds that its line alone takes, from first byte and from last byte
    to the link; and when it began."""

    began: float
    line: float
    link: float
    lag: float


@dataclass
class Outcome:
    """What came of all."""

    kept: list[Kept] = field(default_factory=list)
    #: By `kept`, `full` (503), `user` (429), `nobody` (no replica) and `cut` (broken off for good).
    counts: Counter[str] = field(default_factory=Counter)
    arrived: int = 0
    resumed: int = 0
    #: Where the broken-off ones were: by a kill or by a drain.
    broken: Counter[str] = field(default_factory=Counter)
    #: Seconds and number of replicas that take uploads, as it changed.
    sizes: list[tuple[float, int]] = field(default_factory=list)
    #: The share of the encoders that was busy, in the time that is looked at.
    used: float = 0.0


class Fleet:
    """Replicas of one size."""

    def __init__(
        self, env: Environment, costs: Costs, size: Size, number: int, orders: Orders | None = None
    ) -> None:
        self._env, self._costs, self._size = env, costs, size
        self._orders = orders or Orders()
        self.outcome = Outcome()
        self.serving: list[Replica] = []
        self.all: list[Replica] = []
        self._coming = 0
        #: What it was found to want, and when it grew and shrank by how many.
        self._wanted: deque[tuple[float, int]] = deque()
        self._grown: deque[tuple[float, int]] = deque()
        self._shrunk = -math.inf
        for _ in range(number):
            self._add()

    def run(
        self, arrivals: Iterable[Arrival], watched: tuple[float, float] | None = None
    ) -> Outcome:
        """Sends all of them, and waits until each has come to an end. How busy the encoders are is
        looked at from one time to another; or all the time."""
        orders = self._orders
        if watched:
            self._env.process(self._watch(*watched))
        sending = self._env.process(self._send(arrivals))
        if orders.roll_at is not None:
            self._env.process(self._roll(orders.roll_at))
        if orders.kill_at is not None:
            self._env.process(self._kill(orders.kill_at))
        if orders.queue_target or orders.busy_target:
            self._env.process(self._scale())
        self._env.run(sending)
        if not watched:
            self.outcome.used = self._busy() / max(self._there(0.0), 1e-9)
        return self.outcome

    def _watch(self, begin: float, end: float) -> Steps:
        yield self._env.timeout(begin)
        before = self._busy()
        yield self._env.timeout(end - begin)
        self.outcome.used = (self._busy() - before) / max(self._there(begin), 1e-9)

    def _busy(self) -> float:
        """Seconds of all encoders that were busy."""
        return sum(replica.pool.look() for replica in self.all)

    def _there(self, begin: float) -> float:
        """Seconds of all encoders since then, busy or not."""
        ends = [self._env.now if one.until is None else one.until for one in self.all]
        lives = [
            max(end - max(one.since, begin), 0) for end, one in zip(ends, self.all, strict=True)
        ]
        return sum(lives) * self._size.encoders

    def _send(self, arrivals: Iterable[Arrival]) -> Steps:
        clients = []
        for arrival in arrivals:
            yield self._env.timeout(max(arrival.at - self._env.now, 0.0))
            self.outcome.arrived += 1
            clients.append(self._env.process(self._client(arrival)))
        yield self._env.all_of(clients)

    def _client(self, arrival: Arrival) -> Steps:
        """One upload, sent again from its start if it is broken off and its client does that."""
        counts = self.outcome.counts
        while True:
            replica = self._least_busy()
            refusal = "nobody" if replica is None else self._refusal(replica, arrival)
            if replica is None or refusal:
                counts[refusal] += 1
                return
            upload, process = replica.take(arrival)
            if (yield process):
                assert upload.link_at is not None
                counts["kept"] += 1
                self.outcome.kept.append(
                    Kept(
                        upload.begun_at,
                        arrival.size / arrival.line,
                        upload.link_at - upload.begun_at,
                        upload.link_at - (upload.line.ended_at or upload.link_at),
                    )
                )
                return
            if not arrival.resumes:
                counts["cut"] += 1
                return
            self.outcome.resumed += 1
            yield self._env.timeout(_RESUME_SECONDS)

    def _least_busy(self) -> Replica | None:
        """nginx's least_conn."""
        return min(self.serving, key=lambda replica: len(replica.live), default=None)

    def _refusal(self, replica: Replica, arrival: Arrival) -> str:
        if len(replica.live) >= self._size.max_uploads:
            return "full"
        if replica.running_of(arrival.user) >= self._size.uploads_per_user:
            return "user"
        return ""

    def _add(self) -> None:
        replica = Replica(self._env, self._costs, self._size)
        self.all.append(replica)
        self.serving.append(replica)
        self.outcome.sizes.append((self._env.now, len(self.serving)))

    def _start(self) -> Steps:
        self._coming += 1
        yield self._env.timeout(self._orders.start_seconds)
        self._coming -= 1
        self._add()

    def _drain(self, replica: Replica) -> Steps:
        """Gets nothing new; what runs has `drain_seconds`."""
        self.serving.remove(replica)
        self.outcome.sizes.append((self._env.now, len(self.serving)))
        end = self._env.now + self._orders.drain_seconds
        while replica.live and self._env.now < end:
            running = self._env.all_of(list(replica.live.values()))
            yield running | self._env.timeout(end - self._env.now)
        self._end(replica, "drain")

    def _end(self, replica: Replica, why: str) -> None:
        if replica.until is None:
            self.outcome.broken[why] += len(replica.live)
            replica.end()

    def _roll(self, at: float) -> Steps:
        """A new one for each that is there, one after the other: first the new one, then the old
        one is told to stop."""
        yield self._env.timeout(at)
        for replica in list(self.serving):
            yield self._env.process(self._start())
            if replica in self.serving:
                yield self._env.process(self._drain(replica))

    def _kill(self, at: float) -> Steps:
        """The one with the most uploads dies; another one takes its place."""
        yield self._env.timeout(at)
        replica = max(self.serving, key=lambda replica: len(replica.live))
        self.serving.remove(replica)
        self.outcome.sizes.append((self._env.now, len(self.serving)))
        self._end(replica, "kill")
        yield self._env.process(self._start())

    def _scale(self) -> Steps:
        """Never fewer than there were at the beginning. Of two metrics the one that wants more
        counts, as with Kubernetes."""
        least, busy = len(self.serving), 0.0
        found: deque[tuple[float, float]] = deque(maxlen=round(_MEAN_SECONDS / _LOOK_SECONDS))
        while True:
            yield self._env.timeout(_LOOK_SECONDS)
            number, before, busy = len(self.serving) + self._coming, busy, self._busy()
            worked = (busy - before) / _LOOK_SECONDS / self._size.encoders
            found.append((sum(replica.pool.queue for replica in self.serving), worked))
            waiting, worked = (sum(each) / len(found) for each in zip(*found, strict=True))
            wanted = max(
                self._wish(number, waiting, self._orders.queue_target),
                self._wish(number, worked, self._orders.busy_target),
            )
            wanted = min(max(wanted, least), self._orders.most_replicas)
            self._wanted.append((self._env.now, wanted))
            while self._wanted[0][0] <= self._env.now - _SHRINK_AFTER:
                self._wanted.popleft()
            self._grow(number)
            self._shrink(number)

    def _wish(self, number: int, found: float, target: float | None) -> int:
        """How many replicas there should be, if so much is found on all together."""
        if target is None:
            return 0
        ratio = found / target / number
        return number if abs(ratio - 1) <= _TOLERANCE else math.ceil(number * ratio)

    def _grow(self, number: int) -> None:
        """Starts as many as have been wanted for long enough."""
        now = self._env.now
        if now < _GROW_AFTER:
            return
        more = min(n for at, n in self._wanted if at > now - _GROW_AFTER) - number
        while self._grown and self._grown[0][0] <= now - _GROW_EVERY:
            self._grown.popleft()
        recent = sum(count for _, count in self._grown)
        before = number - recent
        more = min(more, max(_MOST_MORE, math.ceil(before / 2)) - recent)
        if more > 0:
            self._grown.append((now, more))
            for _ in range(more):
                self._env.process(self._start())

    def _shrink(self, number: int) -> None:
        """Drains the youngest, as a ReplicaSet does, which knows nothing of uploads, if nobody has
        wanted it for long enough."""
        now = self._env.now
        if now < _SHRINK_AFTER or now < self._shrunk + _SHRINK_EVERY:
            return
        if max(n for _, n in self._wanted) < number and self.serving:
            self._shrunk = now
            self._env.process(self._drain(max(self.serving, key=lambda replica: replica.since)))
