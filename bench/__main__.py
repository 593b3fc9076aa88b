"""`make bench`: all measures in one run, and what came of them as JSON, table and plots.

python -m bench [--quick] [--out DIRECTORY] [MEASURE...]
"""

import argparse
import json
import time
from pathlib import Path

from bench import machine, plots, report
from bench.measures import at_once, downloads, growth, link, paced, resumable, slow, start
from bench.rounds import FULL, QUICK, Row
from bench.sides import bench

#: In the order of the table.
MEASURES = {
    "link": link.measure,
    "paced": paced.measure,
    "resumable": resumable.measure,
    "at_once": at_once.measure,
    "slow": slow.measure,
    "downloads": downloads.measure,
    "growth": growth.measure,
    "start": start.measure,
}


def main() -> None:
    """Measures, and writes results.json, RESULTS.md and the plots."""
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("measures", nargs="*", choices=[*MEASURES, []], metavar="MEASURE")
    parser.add_argument("--quick", action="store_true", help="see that all works; no measurement")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    options = parser.parse_args()
    scale = QUICK if options.quick else FULL
    rows: list[Row] = []
    about = machine.about()
    began = time.monotonic()
    with bench() as opened:
        for measure in options.measures or MEASURES:
            rows += MEASURES[measure](opened, scale)
    about["seconds"] = round(time.monotonic() - began)
    write(options.out, about, rows)
    print(f"{len(rows)} rows in {about['seconds']} s: {options.out / 'RESULTS.md'}")


def write(out: Path, about: dict[str, object], rows: list[Row]) -> None:
    """Writes all that is kept of a run."""
    out.mkdir(parents=True, exist_ok=True)
    found = {"about": about, "rows": [row.as_json() for row in rows]}
    (out / "results.json").write_text(json.dumps(found, indent=1) + "\n")
    (out / "RESULTS.md").write_text(report.markdown(about, rows))
    plots.write(out / "plots", rows)


if __name__ == "__main__":
    main()
