"""A chart of the results, with matplotlib: a panel for each workload, a bar for each contestant."""

from __future__ import annotations

import math
from pathlib import Path
from textwrap import fill
from typing import Any

from .libraries import library_of
from .results import Result

COLUMNS = 3
LONGEST = 5.0
"""Where bars are cut off."""
FEWEST = 5
"""Bars of a panel for which there is room at least."""
OURS, OTHERS = "#d9541e", "#b8bec6"


def draw(results: list[Result], path: Path, plt: Any) -> None:
    """Save the chart; `plt` is matplotlib's pyplot."""
    shown = [result for result in results if result.workload.in_chart]
    rows = math.ceil(len(shown) / COLUMNS)
    figure, grid = plt.subplots(rows, COLUMNS, figsize=(12, 1.8 * rows), layout="constrained", squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, result in zip(grid.flat, shown, strict=False):
        _panel(axes, result)
    figure.suptitle(
        "Time, as a multiple of functrans's (the faster of jitted and not); one thread, shorter is better", fontsize=11
    )
    figure.savefig(path, dpi=72)
    plt.close(figure)


def _panel(axes: Any, result: Result) -> None:
    found = {label: summary.minimum for label, summary in result.summaries.items() if summary}
    ours = min(value for label, value in found.items() if library_of(label) == "functrans")
    axes.set_axis_on()
    for place, (label, value) in enumerate(found.items()):
        ratio = value / ours
        color = OURS if library_of(label) == "functrans" else OTHERS
        axes.barh(place, min(ratio, LONGEST), color=color, height=0.75)
        cut = " »" if ratio > LONGEST else ""
        axes.text(
            min(ratio, LONGEST) + 0.06,
            place,
            f"{ratio:.2g}{cut}" if ratio < 100 else f"{ratio:.0f}{cut}",
            va="center",
            fontsize=8,
        )
    axes.set_title(fill(result.workload.name, 44), fontsize=8.5, loc="left")
    axes.set_yticks(range(len(found)), labels=list(found), fontsize=8)
    axes.set_ylim(max(len(found), FEWEST) - 0.5, -0.5)
    axes.axvline(1.0, color=OURS, linewidth=0.8)
    axes.set_xlim(0, LONGEST + 0.7)
    axes.set_xticks([])
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.tick_params(length=0)
