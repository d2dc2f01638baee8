"""Results as lines of text."""

from __future__ import annotations

from collections.abc import Iterator

from .results import Result
from .turns import Summary
from .workload import Target

HEAD = f"  {'':<28}{'least':>14}{'median':>14}{'ratio':>10}{'of medians':>12}"


def lines(result: Result) -> Iterator[str]:
    """A workload: its contestants, ratios being to the first of them that is installed, and its targets."""
    yield f"{result.workload.name} ({result.workload.unit.name})"
    yield HEAD
    for label, summary in result.summaries.items():
        yield _line(result, label, summary)
    for target in result.workload.targets:
        yield f"  target: {verdict(result, target)}"


def _line(result: Result, label: str, summary: Summary | None) -> str:
    if summary is None:
        return f"  {label:<28}{'-':>14}{'-':>14}{'-':>10}{'-':>12}"
    least, median = (result.workload.unit.of(value) for value in (summary.minimum, summary.median))
    return f"  {label:<28}{least:14,.2f}{median:14,.2f}{summary.ratio_of_minima:10.2f}{summary.ratio:12.2f}"


def verdict(result: Result, target: Target) -> str:
    """A target, what was found, and whether that is met."""
    value, unit = target.value(result.summaries), result.workload.unit
    if target.against:
        bound, found = f"{target.at_most:.3g} x {target.against}", f"{value or 0:.2f} x"
    else:
        bound, found = f"{unit.of(target.at_most):,.6g} {unit.name}", f"{unit.of(value or 1):,.2f} {unit.name}"
    if value is None:
        return f"{target.of} at most {bound}: not measured"
    return f"{target.of} at most {bound}: {found}, {'met' if value <= target.at_most else 'missed'}"
