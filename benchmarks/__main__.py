"""`python -m benchmarks [--quick] [--only WORDS] [--json FILE] [--readme]`."""

import argparse
from pathlib import Path

from . import chart, readme, results
from .families import WORKLOADS
from .libraries import matplotlib, pyplot
from .machine import machine, software
from .results import Result
from .table import lines
from .turns import FULL, QUICK, run_in_one_thread

ROOT = Path(__file__).parent.parent
CHART = "docs/benchmarks.png"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measures functrans beside its peers.")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter turns")
    parser.add_argument("--only", default="", metavar="WORDS", help="just workloads with these words in their names")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results to a file")
    parser.add_argument("--readme", action="store_true", help="also write the table and the chart of the README")
    options = parser.parse_args()
    if options.readme and options.only:
        parser.error("--readme needs all workloads, without --only")
    return options


def main() -> None:
    options = arguments()
    run_in_one_thread()
    effort = QUICK if options.quick else FULL
    print(f"{machine()}\n{software()}")
    found = []
    for workload in WORKLOADS:
        if options.only in workload.name:
            found.append(Result(workload, workload.measure(effort)))
            print("", *lines(found[-1]), sep="\n", flush=True)
    if options.json:
        results.save(found, options.json)
    if options.readme:
        matplotlib.use("Agg")
        chart.draw(found, ROOT / CHART, pyplot)
        readme.write(found, ROOT / "README.md", CHART)


if __name__ == "__main__":
    main()
