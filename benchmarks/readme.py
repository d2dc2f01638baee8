"""The part of the README that has the results, which is written anew by each `python -m benchmarks --readme`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import fill

from .machine import machine, software
from .results import Result

BEGIN = "<!-- measured: `python -m benchmarks --readme` writes from here -->"
END = "<!-- measured: to here -->"

COLUMNS = {
    "functrans": "functrans",
    "functrans, jitted": "jitted",
    "autograd": "autograd",
    "JAX": "JAX",
    "JAX, jitted": "jitted",
    "PyTorch": "PyTorch",
    "NumPy, by hand": "NumPy by hand",
}
"""The labels of contestants, and the heads of their columns."""


def write(results: list[Result], readme: Path, chart: str) -> None:
    """Put the results between the two marks of the README.

    Raises:
        ValueError: if the marks are not there.
    """
    text = readme.read_text(encoding="utf-8")
    marked = re.compile(f"{re.escape(BEGIN)}\n.*?{re.escape(END)}\n", re.DOTALL)
    if not marked.search(text):
        raise ValueError(f"{readme} has no lines {BEGIN!r} and {END!r}, between which the results are written")
    section = "\n".join([BEGIN, *_section(results, chart), END, ""])
    readme.write_text(marked.sub(lambda _: section, text), encoding="utf-8")


def _section(results: list[Result], chart: str) -> Iterator[str]:
    yield f"![Times of functrans and its peers]({chart})"
    yield ""
    yield fill(
        f"Measured in one thread on {machine()}, with {software()}. The least of several turns, in which all take part "
        "alike, in processor time; results were checked to agree.",
        width=120,
    )
    yield ""
    yield f"| | {' | '.join(COLUMNS.values())} |"
    yield f"| --- |{' ---: |' * len(COLUMNS)}"
    for result in results:
        if result.workload.in_table:
            cells = [_cell(result, label) for label in COLUMNS]
            yield f"| {result.workload.name} ({result.workload.unit.name}) | {' | '.join(cells)} |"


def _cell(result: Result, label: str) -> str:
    summary = result.summaries.get(label)
    if summary is None:
        return ""
    value = result.workload.unit.of(summary.minimum)
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}" if value < 10 else f"{value:.0f}"
