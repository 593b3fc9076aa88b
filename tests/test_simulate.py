"""The simulation: what it must not get wrong, whatever the figures. What it reckons with is
measured by `make bench-quick`, too, if not to the point."""

import math
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from random import Random

import pytest
from simpy import Environment

from bench.encoding import FRAME_BYTES
from bench.simulation.arrivals import Arrival, Law, day
from bench.simulation.costs import CD, Costs
from bench.simulation.fleet import Fleet, Orders, Outcome
from bench.simulation.pool import Pool
from bench.simulation.processor import Cores
from bench.simulation.replica import Size, Steps
from bench.sizing import encoding, segment
from umusic.audio.segments import LOOK_AHEAD, Lengths

#: Round figures: 0.05 s of an ffmpeg for a MB, and half a second until the link.
COSTS = Costs(
    segment=0.0,
    encode_mb=0.05,
    crowded=1.0,
    spawn=0.0,
    upload=0.0,
    intake_fast=0.0,
    intake_slow=0.0,
    intake_live=0.0,
    database=0.0,
    send_mb=0.0,
    settle=0.5,
    idle_bytes=80e6,
    upload_bytes=0.2e6,
    ffmpeg_bytes=30e6,
    socket_bytes=3e6,
)
SIZE = Size(cores=2, encoders=2, max_uploads=64)
MINUTE = 60.0 * CD


def fleet(number: int = 1, orders: Orders | None = None, size: Size = SIZE) -> Fleet:
    return Fleet(Environment(), COSTS, size, number, orders)


def at_once(count: int, *, size: float = MINUTE, line: float = 1e6, **more: bool) -> list[Arrival]:
    """Uploads of different users that begin at the same time."""
    return [Arrival(0.0, size, line, user, **more) for user in range(count)]


def ended(outcome: Outcome) -> int:
    return outcome.counts.total()


def test_a_lone_upload_takes_what_its_line_and_its_last_segment_take() -> None:
    # Too short for two segments.
    size, line = 20 * FRAME_BYTES * 38, 1e6
    (kept,) = fleet().run([Arrival(3.0, size, line)]).kept
    frames = 20 * 38 - LOOK_AHEAD
    lag = COSTS.work((frames + LOOK_AHEAD) * FRAME_BYTES) + COSTS.settle
    assert kept.began == 3.0
    assert kept.link == pytest.approx(size / line + lag)
    assert kept.lag == pytest.approx(lag)


def test_of_a_long_upload_only_the_last_segment_is_waited_for() -> None:
    (kept,) = fleet().run([Arrival(0.0, 30 * MINUTE, 5e6)]).kept
    # Less than two of the shortest are left for it, and a pre-roll goes before.
    most = COSTS.work(3 * Lengths().shortest * FRAME_BYTES)
    assert COSTS.settle < kept.lag < most + COSTS.settle < COSTS.work(30 * MINUTE) / 2


def test_every_upload_comes_to_one_end() -> None:
    orders = Orders(drain_seconds=5, start_seconds=10, roll_at=60, kill_at=150, queue_target=2)
    size = replace(SIZE, max_uploads=20, uploads_per_user=2)
    law = Law(150, users=100)
    arrivals = list(law.arrivals(Random(1), hour=20, seconds=300))
    outcome = fleet(3, orders, size).run(arrivals)
    assert ended(outcome) == outcome.arrived == len(arrivals)
    assert outcome.counts["kept"] == len(outcome.kept)
    assert all(outcome.counts[end] for end in ("kept", "full", "cut", "user"))
    assert outcome.broken.total() == outcome.resumed + outcome.counts["cut"]
    assert all(0 <= one.lag < one.link for one in outcome.kept)
    assert 0 < outcome.used <= 1


def test_the_same_seed_comes_to_the_same() -> None:
    def run(seed: int) -> Outcome:
        return fleet(2).run(Law(30).arrivals(Random(seed), hour=12, seconds=200))

    assert run(1) == run(1) != run(2)


@pytest.mark.parametrize(("servers", "load"), [(1, 0.5), (3, 0.7), (8, 0.8)])
def test_waiting_for_an_encoder_is_as_erlang_has_it(servers: int, load: float) -> None:
    env, random = Environment(), Random(7)
    pool = Pool(env, servers)

    def job(number: int) -> Steps:
        yield pool.acquire(number)
        yield env.timeout(random.expovariate(1.0))
        pool.give_back(number)

    def come() -> Steps:
        for number in range(80_000):
            yield env.timeout(random.expovariate(load * servers))
            env.process(job(number))

    env.process(come())
    env.run()
    mean = sum(wait for _, wait in pool.waits) / len(pool.waits)
    assert mean == pytest.approx(erlang_c(servers, load), rel=0.1)
    assert pool.look() / env.now / servers == pytest.approx(load, rel=0.02)


def erlang_c(servers: int, load: float) -> float:
    """The mean wait in M/M/c, of jobs of one second."""
    offered = servers * load
    late = offered**servers / math.factorial(servers) / (1 - load)
    early = sum(offered**n / math.factorial(n) for n in range(servers))
    return late / (early + late) / (servers * (1 - load))


def finished(jobs: list[tuple[float, bool]], *, cores: float, crowded: float = 1.0) -> list[float]:
    """When each of the jobs is done that begin at once: seconds of work, and whether it is nice."""
    env = Environment()
    shared, times = Cores(env, cores, crowded), [0.0] * len(jobs)

    def run(number: int, seconds: float, nice: bool) -> Steps:
        yield shared.work(seconds, nice=nice)
        times[number] = env.now

    for number, job in enumerate(jobs):
        env.process(run(number, *job))
    env.run()
    return times


def test_cores_are_shared_by_who_has_work() -> None:
    assert finished([(1.0, True)] * 2, cores=2) == pytest.approx([1, 1])
    assert finished([(1.0, True)] * 4, cores=2) == pytest.approx([2] * 4)
    assert finished([(1.0, True), (3.0, True)], cores=1) == pytest.approx([2, 4])


def test_encoders_get_what_umusic_itself_leaves() -> None:
    own, nice = finished([(1.0, False), (1.0, True)], cores=1)
    assert 1 < own < 1.15 and nice == pytest.approx(2)


def test_cores_that_are_all_busy_are_slower_each() -> None:
    assert finished([(1.0, True)], cores=2, crowded=1.5) == pytest.approx([1])
    assert finished([(1.0, True)] * 2, cores=2, crowded=1.5) == pytest.approx([1.5] * 2)


def test_senders_are_held_back_by_encoders_that_are_busy() -> None:
    one = fleet()
    outcome = one.run(at_once(16, size=4 * MINUTE, line=100e6))
    # Both encoders are busy from nearly the first second to the last.
    alone = 16 * COSTS.work(4 * MINUTE) / SIZE.encoders
    last = max(kept.link for kept in outcome.kept)
    assert alone < last < 1.6 * alone
    assert outcome.used > 0.9
    # What is in memory has its bound, however much comes.
    bound = COSTS.idle_bytes + 16 * COSTS.upload_bytes + 2 * COSTS.ffmpeg_bytes
    assert one.all[0].most_memory < bound + 1.25 * Lengths().budget
    # They wait with their sockets full, and not with all that they have.
    assert max(kept.lag for kept in outcome.kept) < last / 2


def test_encoders_work_as_much_as_the_formula_says() -> None:
    one = fleet()
    one.run(at_once(6, size=20 * MINUTE))
    shortest, _ = segment(6, SIZE.encoders)
    due = 6 * 20 * MINUTE / 1e6 * encoding(COSTS, shortest)
    assert one.all[0].pool.look() == pytest.approx(due, rel=0.05)


def test_the_more_are_on_a_replica_the_dearer_is_each() -> None:
    def spent(count: int) -> float:
        one = fleet(size=Size(32, 32, 200))
        one.run([replace(two, at=two.user / 20) for two in at_once(count, size=2 * MINUTE)])
        return one.all[0].pool.look() / count

    # Segments get as short as their pre-roll: each sound is encoded twice.
    assert spent(180) > 1.25 * spent(18)


def test_more_uploads_than_are_taken_at_once_are_refused() -> None:
    outcome = fleet(2, size=replace(SIZE, max_uploads=5)).run(at_once(13))
    assert outcome.counts == Counter(kept=10, full=3)


def test_more_uploads_of_one_user_than_are_taken_at_once_are_refused() -> None:
    arrivals = [replace(one, user=7) for one in at_once(6)]
    outcome = fleet(size=replace(SIZE, uploads_per_user=4)).run(arrivals)
    assert outcome.counts == Counter(kept=4, user=2)


def test_an_upload_goes_to_the_replica_that_has_the_fewest() -> None:
    three = fleet(3)
    three.run(at_once(12))
    assert [replica.most_live for replica in three.all] == [4, 4, 4]


def test_a_rolling_update_fails_nobody_if_the_drain_is_long_enough() -> None:
    orders = Orders(drain_seconds=120, start_seconds=5, roll_at=2)
    three = fleet(3, orders)
    arrivals = [replace(one, at=float(one.user)) for one in at_once(60)]
    outcome = three.run(arrivals)
    assert outcome.counts == Counter(kept=60) and not outcome.broken.total()
    assert len(three.all) == 6 and not set(three.serving) & set(three.all[:3])
    # Never fewer than there were.
    assert min(number for _, number in outcome.sizes[2:]) == 3


def test_a_drain_that_is_too_short_breaks_off_what_still_runs() -> None:
    orders = Orders(drain_seconds=1, start_seconds=1, roll_at=2)
    outcome = fleet(2, orders).run(at_once(6))
    assert outcome.counts == Counter(cut=6) and outcome.broken["drain"] == 6


def test_what_can_be_resumed_is_kept_all_the_same() -> None:
    orders = Orders(drain_seconds=1, start_seconds=1, roll_at=2)
    outcome = fleet(2, orders).run(at_once(6, resumes=True))
    assert outcome.counts == Counter(kept=6) and outcome.resumed >= 6


def test_a_replica_that_dies_takes_only_its_own_along() -> None:
    three = fleet(3, Orders(kill_at=2, start_seconds=5))
    outcome = three.run(at_once(12))
    assert outcome.counts == Counter(kept=8, cut=4) and outcome.broken == Counter(kill=4)
    assert [number for _, number in outcome.sizes] == [1, 2, 3, 2, 3]


def test_it_grows_with_the_queue_of_its_encoders_and_shrinks_again() -> None:
    orders = Orders(queue_target=2, start_seconds=20, most_replicas=4, drain_seconds=3600)
    busy = [Arrival(n / 2, 4 * MINUTE, 10e6, n) for n in range(400)]
    late = [Arrival(t, CD, 1e6, 1) for t in range(1000, 3000, 100)]
    outcome = fleet(1, orders).run([*busy, *late])
    numbers = [number for _, number in outcome.sizes]
    grown = next(at for at, number in outcome.sizes if number > 1)
    assert max(numbers) == 4 and numbers[-1] == 1
    assert grown >= 15 + 20
    assert outcome.counts["kept"] + outcome.counts["full"] == 420 and not outcome.counts["cut"]
    # More of it is taken than by one alone.
    assert outcome.counts["kept"] > fleet().run([*busy, *late]).counts["kept"]


def test_as_many_are_on_their_way_as_the_law_says() -> None:
    law, seconds = Law(50, "1"), 4000.0
    arrivals = list(law.arrivals(Random(3), hour=20, seconds=seconds))
    on_their_way = sum(min(one.size / one.line, seconds - one.at) for one in arrivals) / seconds
    assert on_their_way == pytest.approx(50, rel=0.1)
    assert all(one.at <= two.at for one, two in pairwise(arrivals))


def test_the_night_is_quieter_than_the_evening() -> None:
    def came(hour: float) -> int:
        return len(list(Law(100, "1").arrivals(Random(3), hour=hour, seconds=1000)))

    assert came(7.86) == pytest.approx(came(19.86) * day(8), rel=0.2)


def test_it_reckons_with_what_was_measured() -> None:
    costs = Costs.measured()
    assert 0.01 < costs.encode_mb < 0.5 and 0 < costs.segment < 0.2
    assert costs.crowded >= 1
    # The slower a line, the smaller the pieces.
    taken = [costs.intake(line) for line in (100e6, 10e6, 1e6, 0.5e6, CD)]
    assert taken[0] > 0 and taken == sorted(taken)
    assert taken[2] == costs.intake_slow and taken[4] == pytest.approx(costs.intake_live)


def test_the_command_prints_a_table() -> None:
    command = [sys.executable, "-m", "bench.simulate", "--uploads", "10", "--minutes", "7"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "last byte to link, p50, p99" in done.stdout and "encoders busy" in done.stdout
