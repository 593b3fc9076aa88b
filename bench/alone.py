"""One measure as a program of its own."""

import argparse
from collections.abc import Callable, Iterator

from bench.rounds import FULL, QUICK, Row, Scale
from bench.sides import Bench, bench

Measure = Callable[[Bench, Scale], Iterator[Row]]


def main(measure: Measure) -> None:
    """Runs it, and prints its rows."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="see that it works")
    scale = QUICK if parser.parse_args().quick else FULL
    with bench() as opened:
        for row in measure(opened, scale):
            print(row)
