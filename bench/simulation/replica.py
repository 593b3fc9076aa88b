"""One umusic: uploads come in over their lines, are cut into segments as `umusic.audio.encoder`
cuts them, wait for ffmpegs, and hold back their senders meanwhile."""

from collections import deque
from collections.abc import Generator
from dataclasses import dataclass, field

from simpy import Environment, Event, Interrupt, Resource
from simpy.events import Process

from bench.encoding import FRAME_BYTES
from bench.simulation.arrivals import Arrival
from bench.simulation.costs import Costs
from bench.simulation.pool import Pool
from bench.simulation.processor import Cores
from umusic.audio.segments import LOOK_AHEAD, UNIT, Lengths, pre_roll

_PRE_ROLL = pre_roll(FRAME_BYTES)

Steps = Generator[Event, object, None]
Ending = Generator[Event, object, bool]


@dataclass(frozen=True)
class Size:
    """What a replica has, and what it takes. `beside` says that Postgres and the senders are on the
    same machine."""

    cores: float = 4
    encoders: int = 4
    max_uploads: int = 64
    uploads_per_user: int = 16
    beside: bool = False


class Line:
    """A sender with its line, as seen by who reads: at most `socket` bytes are underway."""

    def __init__(self, env: Environment, arrival: Arrival, socket: float) -> None:
        self._env = env
        self._total, self._rate, self._socket = arrival.size, arrival.line, socket
        self.read = 0.0
        #: Bytes that have been sent and not read.
        self._underway = 0.0
        self._looked_at = env.now
        #: When the last byte was sent.
        self.ended_at: float | None = None

    def until(self, position: float) -> float:
        """Seconds until all before `position` has come."""
        self._look()
        return max(position - self.read - self._underway, 0.0) / self._rate

    def take(self, position: float) -> None:
        """Reads what is before `position`, which has come."""
        missing = max(position - self.read - self._underway, 0.0)
        self._look(extra=missing)
        self._underway = max(self._underway - (position - self.read), 0.0)
        self.read = position

    def _look(self, extra: float = 0.0) -> None:
        """Lets come what came since the last look; to who was reading, `extra` more than there is
        room for."""
        passed = self._env.now - self._looked_at
        room = max(self._socket + extra - self._underway, 0.0)
        left = self._total - self.read - self._underway
        came = min(passed * self._rate, room, left)
        if self.ended_at is None and came >= left - 1e-6:
            self.ended_at = self._looked_at + left / self._rate
        self._underway += came
        self._looked_at = self._env.now


@dataclass(eq=False)
class Upload:
    """One on its way: its place in the MP3 frames, and what is being encoded of it."""

    arrival: Arrival
    line: Line
    begun_at: float
    first: int = 0
    cut: int = 0
    cut_at: float = 0.0
    encoding: deque[Process] = field(default_factory=deque)
    held: float = 0.0
    link_at: float | None = None

    @property
    def expected(self) -> int:
        """MP3 frames that can be had of all."""
        return max(int(self.arrival.size / FRAME_BYTES) - LOOK_AHEAD, 0)


class Replica:
    """A umusic with cores of its own."""

    def __init__(self, env: Environment, costs: Costs, size: Size, cores: Cores | None = None):
        self._env, self._costs, self.size = env, costs, size
        self.cores = cores or Cores(env, size.cores, costs.crowded)
        self.pool = Pool(env, size.encoders)
        self._loop = Resource(env)
        self._lengths = Lengths()
        self.live: dict[Upload, Process] = {}
        self.since = env.now
        self.until: float | None = None
        #: The most at any time.
        self.most_live = 0
        self.most_memory = 0.0
        self._held = 0.0

    def take(self, arrival: Arrival) -> tuple[Upload, Process]:
        """Begins an upload; the process tells at its end whether there is a link."""
        line = Line(self._env, arrival, self._costs.socket_bytes)
        upload = Upload(arrival, line, self._env.now)
        self.live[upload] = self._env.process(self._take(upload))
        self.pool.members += 1
        self.most_live = max(self.most_live, len(self.live))
        return upload, self.live[upload]

    def running_of(self, user: int) -> int:
        """How many this user sends to it."""
        return sum(upload.arrival.user == user for upload in self.live)

    def end(self) -> None:
        """Is there no more: what ran is cut off."""
        self.pool.look()
        self.until = self._env.now
        for process in list(self.live.values()):
            process.interrupt()
        self.live.clear()

    def _take(self, upload: Upload) -> Ending:
        try:
            yield from self._own(self._costs.upload / 2)
            upload.cut_at = self._env.now
            while upload.line.read < upload.arrival.size:
                yield from self._read(upload)
            yield from self._start(upload, upload.expected - upload.first)
            yield upload.encoding[-1]
            yield from self._own(self._costs.upload / 2)
            if self.size.beside:
                self.cores.work(self._costs.database)
            yield self._env.timeout(self._costs.settle)
        except Interrupt:
            return False
        upload.link_at = self._env.now
        del self.live[upload]
        self.pool.members -= 1
        self._hold(upload, -upload.held)
        return True

    def _read(self, upload: Upload) -> Steps:
        """Reads on; cuts off a segment if one is due. Looked at is after each unit of MP3 frames;
        and where no encoder is idle, four times on the way to the full length."""
        complete = self._complete(upload)
        shortest, full = self._bounds(upload)
        if complete < shortest:
            wanted = shortest
        elif self._is_due(upload, complete, shortest, full):
            # What is not read meanwhile is held back: the line fills up, and stands still.
            yield from self._start(upload, complete)
            return
        else:
            wanted = complete + max((full - complete) // 4, UNIT)
        frames = upload.first + -(-wanted // UNIT) * UNIT + LOOK_AHEAD
        position = min(frames * FRAME_BYTES, upload.arrival.size)
        if upload.expected - upload.first - wanted < shortest:
            position = upload.arrival.size
        amount = position - upload.line.read
        yield self._env.timeout(upload.line.until(position))
        upload.line.take(position)
        self._hold(upload, amount)
        if self.size.beside:
            self.cores.work(amount / 1e6 * self._costs.send_mb)
        yield from self._own(amount / 1e6 * self._costs.intake(upload.arrival.line))

    def _complete(self, upload: Upload) -> int:
        frames = int(upload.line.read / FRAME_BYTES) - LOOK_AHEAD - upload.first
        return max(frames // UNIT * UNIT, 0)

    def _bounds(self, upload: Upload) -> tuple[int, int]:
        """The shortest segment that may be cut now, and the full length."""
        lengths = self._lengths.capped(FRAME_BYTES, self.pool.members + self.pool.size)
        left = upload.expected - upload.first
        full = lengths.full(left, cut=upload.cut, share=self.pool.share(upload))
        return lengths.shortest, full

    def _is_due(self, upload: Upload, complete: int, shortest: int, full: int) -> bool:
        left = upload.expected - upload.first
        if complete < shortest or left - complete < shortest:
            return False
        waited = self._env.now - upload.cut_at >= self._lengths.patience
        return complete >= full or (self.pool.is_idle and waited)

    def _start(self, upload: Upload, count: int) -> Steps:
        while len(upload.encoding) > self.pool.size + 1:
            yield upload.encoding.popleft()
        while upload.encoding and not upload.encoding[0].is_alive:
            upload.encoding.popleft()
        yield self.pool.acquire(upload)
        before = upload.encoding[-1] if upload.encoding else None
        rolled = min(upload.first, _PRE_ROLL)
        sound = (count + rolled + LOOK_AHEAD) * FRAME_BYTES
        # The next one begins with what this one ends with.
        self._hold(upload, (_PRE_ROLL + LOOK_AHEAD) * FRAME_BYTES)
        upload.encoding.append(self._env.process(self._encode(upload, sound, before)))
        upload.first += count
        upload.cut += 1
        upload.cut_at = self._env.now

    def _encode(self, upload: Upload, sound: float, before: Process | None) -> Steps:
        yield self._env.timeout(self._costs.spawn)
        yield self.cores.work(self._costs.work(sound), nice=True)
        self.pool.give_back(upload)
        self._hold(upload, -sound)
        if before is not None and before.is_alive:
            yield before

    def _own(self, seconds: float) -> Steps:
        """Work of umusic's own process, which has one thread for it."""
        with self._loop.request() as turn:
            yield turn
            yield self.cores.work(seconds)

    def _hold(self, upload: Upload, amount: float) -> None:
        upload.held += amount
        self._held += amount
        costs = self._costs
        memory = costs.idle_bytes + costs.upload_bytes * len(self.live) + self._held
        self.most_memory = max(self.most_memory, memory + costs.ffmpeg_bytes * self.pool.busy)
