"""One measure as a program of its own."""

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.rounds import FULL, QUICK, Row, Scale
from bench.sides import Bench, bench

Measure = Callable[[Bench, Scale], Iterator[Row]]


def main(measure: Measure) -> None:
    """Runs it, and prints its rows."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="see that it works")
    scale = QUICK if parser.parse_args().quick else FULL
    with tempfile.TemporaryDirectory(prefix="umusic-bench-") as name:
        scratch = Path(name)
        scratch.chmod(0o755)
        with bench(scratch) as opened:
            for row in measure(opened, scale):
                print(row)
