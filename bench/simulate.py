"""What becomes of so many uploads on so many replicas: a simulation, event by event.

    python -m bench.simulate --replicas 3 --uploads 1000
    python -m bench.simulate --replicas 6 --cores 4 --uploads 100 --roll 300 --drain-seconds 30
    python -m bench.simulate --replicas 2 --uploads 200 --lines live --queue-target 4 --minutes 60
    python -m bench.simulate --check          # one machine, beside a measurement

What it costs is measured (`bench/costs.json`, by `python -m bench.costs`); who sends what, when and
over which line is assumed (`bench/simulation/arrivals.py`). docs/scale.md has more.
"""

import argparse
from collections.abc import Sequence
from random import Random

from simpy import Environment

from bench.simulation import beside
from bench.simulation.arrivals import LINES, Arrival, Law
from bench.simulation.costs import Costs
from bench.simulation.fleet import Fleet, Orders, Outcome
from bench.simulation.replica import Size
from bench.simulation.told import lines_of, table

#: The quotient of simulated and measured at which one is not told by the other.
_MOST_APART = 1.3


def main() -> None:
    """Simulates, and prints a table."""
    options = _parser().parse_args()
    costs = Costs.measured()
    if options.check:
        apart = 0.0
        for told, distance in beside.check(costs, quick=options.quick):
            print(told, flush=True)
            apart = max(apart, distance)
        # A few short uploads say nothing.
        if apart > _MOST_APART and not options.quick:
            raise SystemExit(f"Simulated and measured are apart by a factor of {apart:.2f}.")
        return
    law = Law(options.uploads, options.lines, resumes=options.resumes)
    begin, end = options.warm_up * 60, options.minutes * 60
    arrivals = list(law.arrivals(Random(options.seed), hour=options.hour, seconds=end))
    fleet, outcome = simulate(costs, arrivals, options)
    print(table(lines_of(fleet, outcome, costs, law, begin=begin, end=end)))


def simulate(
    costs: Costs, arrivals: Sequence[Arrival], options: argparse.Namespace
) -> tuple[Fleet, Outcome]:
    """All that the options order, for these arrivals."""
    env = Environment()
    size = Size(
        options.cores,
        options.encoders or max(round(options.cores), 1),
        options.max_uploads,
        options.uploads_per_user,
    )
    orders = Orders(
        options.drain_seconds,
        options.start_seconds,
        options.roll,
        options.kill,
        options.queue_target,
        options.busy_target,
        options.most_replicas,
    )
    fleet = Fleet(env, costs, size, options.replicas, orders)
    return fleet, fleet.run(arrivals, (options.warm_up * 60, options.minutes * 60))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.simulate")
    add = parser.add_argument
    sending = (
        "the uploads at once that there would be at the peak of the day, if only lines counted"
    )
    add("--uploads", type=float, default=100, help=sending)
    add("--lines", choices=LINES, default="mixed", help="live: as it is recorded; 1, 10: MB/s")
    add("--minutes", type=float, default=20, help="for how long they come")
    add("--hour", type=float, default=20, help="of the day at which it begins; the peak is at 20")
    add("--warm-up", type=float, default=5, help="minutes that do not count")
    add("--resumes", type=float, default=0.3, help="share of clients that send again (tus)")
    add("--replicas", type=int, default=3)
    add("--cores", type=float, default=4, help="of each replica")
    add("--encoders", type=int, help="UMUSIC_ENCODERS; as many as cores unless told")
    add("--max-uploads", type=int, default=64, help="UMUSIC_MAX_UPLOADS")
    add("--uploads-per-user", type=int, default=16, help="UMUSIC_UPLOADS_PER_USER")
    add("--drain-seconds", type=float, default=30, help="UMUSIC_DRAIN_SECONDS")
    add("--start-seconds", type=float, default=20, help="until a new replica takes uploads")
    add("--roll", type=float, metavar="SECOND", help="a rolling update begins")
    add("--kill", type=float, metavar="SECOND", help="a replica dies, and is replaced")
    add("--queue-target", type=float, help="scale by umusic_encoder_queue, this for each replica")
    add("--busy-target", type=float, help="scale by the share of the encoders that is busy")
    add("--most-replicas", type=int, default=10)
    add("--seed", type=int, default=1)
    add("--check", action="store_true", help="run a real umusic, simulate the same, and compare")
    add("--quick", action="store_true", help="with --check: see that it works")
    return parser


if __name__ == "__main__":
    main()
