"""`python -m benchmarks [--quick] [--only WORDS] [--json FILE]`."""

import argparse
import json
import platform
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from .timing import Timing, run_in_one_thread
from .workloads import WORKLOADS

PACKAGES = ("numpy", "functrans", "autograd", "jax", "torch")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Times functrans beside its peers.")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter repeats")
    parser.add_argument(
        "--only", default="", metavar="WORDS", help="just the workloads with these words in their names"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results to a file")
    return parser.parse_args()


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "-"
    return found


def line(label: str, timing: Timing | None) -> str:
    if timing is None:
        return f"  {label:<20}{'-':>12}{'-':>12}{'-':>10}"
    return f"  {label:<20}{timing.minimum * 1e6:12.2f}{timing.median * 1e6:12.2f}{timing.ratio:10.2f}"


def main() -> None:
    options = arguments()
    run_in_one_thread()
    repeats, seconds = (5, 0.005) if options.quick else (25, 0.02)
    print(", ".join(f"{package} {number}" for package, number in versions().items()))
    results = {}
    for workload in WORKLOADS:
        if options.only not in workload.name:
            continue
        print(f"\n{workload.name}\n  {'':<20}{'min us':>12}{'median us':>12}{'ratio':>10}")
        results[workload.name] = workload.measure(repeats, seconds)
        for label, timing in results[workload.name].items():
            print(line(label, timing), flush=True)
    if options.json:
        timings = {n: {k: t and asdict(t) for k, t in r.items()} for n, r in results.items()}
        options.json.write_text(json.dumps({"versions": versions(), "seconds": timings}, indent=2) + "\n")


main()
