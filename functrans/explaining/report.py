"""An explanation as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from functrans.analysis.cost import Cost
from functrans.explaining.lines import Line

__all__ = ["format_report"]

_LINES_SHOWN = 10
_EQUATIONS_SHOWN = 15
_EQUATIONS_INSIDE_SHOWN = 5
_TEXT_SHOWN = 60


def format_report(explanation: Any) -> str:
    """The report that an `Explanation` prints as."""
    sections = [
        [f"{explanation.name}: {_summary(explanation)}"],
        _recorded(explanation),
        _sizes(explanation),
        _memory(explanation),
        _notes(explanation),
        _lines(explanation),
        _equations(explanation),
    ]
    return "\n".join([line for section in sections for line in section])


def _summary(explanation: Any) -> str:
    cost, times = explanation.cost, explanation.times
    numbers = f"{_count(cost.flops)} flops, {_bytes(cost.bytes)} moved{_open(cost)}"
    if times is None:
        return f"{numbers}; not run, since arguments have no values"
    alone = sum(times.equations)
    if times.whole is None:
        return f"{_time(alone)}, equation by equation; {numbers}"
    rate = f", {cost.flops / times.whole / 1e9:.3g} Gflop/s" if times.whole and not cost.per_iteration else ""
    return f"{_time(times.whole)} a run ({_time(alone)} equation by equation); {numbers}{rate}"


def _open(cost: Cost) -> str:
    notes = ["one iteration of each loop of unknown length counted"] if cost.per_iteration else []
    if cost.unknown:
        notes.append(f"without the flops of {', '.join(cost.unknown)}")
    return f" ({'; '.join(notes)})" if notes else ""


def _recorded(explanation: Any) -> list[str]:
    recorded = explanation.recorded
    title = "recorded anew" if recorded.anew else "not recorded anew"
    lines = [f"{title}: {recorded.reason}", *_changes(recorded)]
    for name, inner in explanation.inside:
        lines.extend([f"{name}, which it calls, was recorded: {inner.reason}", *_changes(inner)])
    return lines


def _changes(recorded: Any) -> list[str]:
    return [f"    {change}" for change in recorded.changes]


def _sizes(explanation: Any) -> list[str]:
    (first, size), *steps = explanation.stages
    texts = [f"{size} {first}"]
    for name, after in steps:
        if after != size:
            texts.append(f"{after} after {name}")
        size = after
    return [f"operations: {', '.join(texts)}" if len(texts) > 1 else f"operations: {size}, no pass changes the number"]


def _memory(explanation: Any) -> list[str]:
    memory = explanation.memory
    where = ""
    if memory.at is not None and memory.temporaries:
        eqn = explanation.equations[memory.at]
        where = f", during {eqn.equation.primitive.name}{f' at {eqn.line.place}' if eqn.line else ''}"
    return [
        f"memory: inputs {_bytes(memory.inputs)}, outputs {_bytes(memory.outputs)}; at most {_bytes(memory.peak)} "
        f"allocated{where}, of it {_bytes(memory.temporaries)} temporary; {memory.buffers} buffers in all"
    ]


def _notes(explanation: Any) -> list[str]:
    notes = []
    if explanation.unused:
        notes.append(f"the output does not depend on {', '.join(explanation.unused)}")
    if explanation.only_read:
        notes.append(f"Python alone has read {', '.join(explanation.only_read)}, to decide which program to record")
    if explanation.zero_gradients:
        notes.append(f"the gradient is zero with respect to {', '.join(explanation.zero_gradients)}")
    if explanation.constant_outputs:
        notes.append(f"no argument has an influence on {', '.join(explanation.constant_outputs)}")
    return notes


def _lines(explanation: Any) -> list[str]:
    lines = explanation.lines
    if not lines:
        return []
    rows = [["line", "share", "time", "flops", "moved", "code"]]
    for costed in lines[:_LINES_SHOWN]:
        place, text = _shown_line(costed.line)
        rows.append([place, *_numbers(costed), text])
    return ["", *_table(rows, len(lines) - _LINES_SHOWN, "line")]


def _equations(explanation: Any) -> list[str]:
    hottest = explanation.hottest
    if not hottest:
        return []
    rows = [["line", "share", "time", "flops", "moved", "equation"]]
    for eqn in hottest[:_EQUATIONS_SHOWN]:
        part = f" ({eqn.part})" if eqn.part else ""
        rows.append([_shown_line(eqn.line)[0], *_numbers(eqn), f"{_short(eqn.text)}{part}"])
        inner = sorted(eqn.inside, key=lambda x: -x.share)
        for x in inner[:_EQUATIONS_INSIDE_SHOWN]:
            rows.append([_shown_line(x.line)[0], *_numbers(x), f"    in it: {_short(x.text)}"])
    return ["", *_table(rows, len(hottest) - _EQUATIONS_SHOWN, "equation")]


def _shown_line(line: Line | None) -> tuple[str, str]:
    return ("", "") if line is None else (line.place, _short(line.text))


def _numbers(costed: Any) -> list[str]:
    cost = costed.cost
    time = "" if costed.seconds is None else _time(costed.seconds)
    flops = f"{'?' if cost.unknown and not cost.flops else _count(cost.flops)}{'/it' if cost.per_iteration else ''}"
    return [f"{costed.share:.0%}", time, flops, _bytes(cost.bytes)]


def _table(rows: Sequence[Sequence[str]], n_more: int, what: str) -> list[str]:
    """Rows in columns, the first and the last aligned to the left, the others to the right."""
    widths = [max([len(row[i]) for row in rows]) for i in range(len(rows[0]))]
    lines = []
    for first, *middle, last in rows:
        cells = [cell.rjust(width) for cell, width in zip(middle, widths[1:-1], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *cells, last]).rstrip())
    return [*lines, f"and {n_more} {what}s more"] if n_more > 0 else lines


def _short(text: str) -> str:
    return text if len(text) <= _TEXT_SHOWN else f"{text[: _TEXT_SHOWN - 3]}..."


def _count(n: float) -> str:
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if n >= size:
            return f"{n / size:.3g}{unit}"
    return f"{n:.0f}"


def _bytes(n: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n >= size:
            return f"{n / size:.3g} {unit}"
    return f"{n} B"


def _time(seconds: float) -> str:
    if seconds >= 1:
        return f"{seconds:.3g} s"
    if seconds >= 1e-3:
        return f"{seconds * 1e3:.3g} ms"
    return f"{seconds * 1e6:.3g} us"
