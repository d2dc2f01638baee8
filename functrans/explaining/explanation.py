"""What a call runs and what that costs, put together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from functrans.analysis.cost import Cost, cost_of, costs_of_equations, total_of
from functrans.analysis.dependence import inputs_of_outputs
from functrans.analysis.liveness import Memory, memory_of
from functrans.core.jaxpr import Equation, Jaxpr, Literal, jaxprs_in
from functrans.core.printing import format_aval
from functrans.errors import hide_frames
from functrans.explaining.calls import Call, Recorded, record_call
from functrans.explaining.lines import Line, line_of
from functrans.explaining.loops import loop_body
from functrans.explaining.report import format_report
from functrans.explaining.timing import Times, time_program
from functrans.passes.pipeline import stages

__all__ = ["CostedEquation", "CostedLine", "Explanation", "explain"]


class CostedEquation(NamedTuple):
    """An equation of the program that runs, with what it costs."""

    equation: Equation
    text: str
    """`dot_general f64[32,64] f64[64,10] -> f64[32,10]`"""
    line: Line | None
    """The user's line that asked for it; None where nobody knows."""
    part: str
    """`"backward pass"`, `"derivative"`, or empty for what belongs to the function itself."""
    cost: Cost
    seconds: float | None
    """How long it takes by itself; None where the arguments have no values."""
    share: float
    """Its part of the time of all equations, from 0 to 1; of the bytes where there are no times."""
    inside: tuple[CostedEquation, ...] = ()
    """Of a loop the equations of its body, with what they cost in all iterations. What the time of the loop is divided
    by are the times of the first iteration."""


class CostedLine(NamedTuple):
    """A line of the user's code, with what all its equations cost."""

    line: Line | None
    equations: int
    cost: Cost
    seconds: float | None
    share: float


class Explanation:
    """What `explain` returns; it prints as a report."""

    def __init__(self, call: Call) -> None:
        self.name = call.name
        """The function's name."""
        self.recorded: Recorded = call.recorded
        """Whether this call is recorded, why, and what changed."""
        self.inside: tuple[tuple[str, Recorded], ...] = call.inside
        """The jitted functions that it calls and that had no program for that, by name: they have one now."""
        steps = stages(call.jaxpr)
        self.stages: tuple[tuple[str, int], ...] = tuple([(name, _size(step)) for name, step in steps])
        """The number of operations as recorded and after each pass, those inside of loops and branches too."""
        self.program: Jaxpr = steps[-1][1]
        """The program that is run, with the lines of this recording."""
        self.memory: Memory = memory_of(call.jaxpr)
        """What a run of it needs, in bytes."""
        self.cost: Cost = cost_of(call.jaxpr)
        """What all equations cost together."""
        times = None if call.values is None else time_program(call.jaxpr, self.program, call.values)
        self.times: Times | None = times
        """How long it takes; None where the arguments have no values."""
        self.equations: tuple[CostedEquation, ...] = _costed_equations(self.program, times)
        """The equations in the order of the program."""
        self.lines: tuple[CostedLine, ...] = _costed_lines(self.equations)
        """The user's lines, the one that costs most first."""
        found = inputs_of_outputs(call.jaxpr)
        given = range(len(call.arguments))
        used = frozenset().union(*found)
        unused = [i for i in given if i not in used]
        self.unused: tuple[str, ...] = tuple([call.arguments[i] for i in unused if i not in call.read])
        """The arguments that no output depends on."""
        self.only_read: tuple[str, ...] = tuple([call.arguments[i] for i in unused if i in call.read])
        """The arguments that only Python has looked at, to decide which program it is."""
        self.zero_gradients: tuple[str, ...] = tuple([call.gradients[i] for i in _zeros(self.program, call.gradients)])
        """The arguments whose gradient is zero whatever their values are."""
        constant = [i for i, ins in enumerate(found) if ins.isdisjoint(given) and i not in call.gradients]
        self.constant_outputs: tuple[str, ...] = tuple([call.outputs[i] for i in constant])
        """The outputs that depend on no argument."""

    @property
    def hottest(self) -> tuple[CostedEquation, ...]:
        """The equations, the one that takes longest first."""
        return tuple(sorted(self.equations, key=lambda eqn: -eqn.share))

    def __repr__(self) -> str:
        return format_report(self)

    __str__ = __repr__


def explain(fun: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Explanation:
    """What `fun(*args, **kwargs)` runs, whether that was recorded before, and what it costs, line by line.

    The function's Python runs once, unless it is jitted and has a program for this call. Then the program runs equation
    by equation, as often as it takes to time it; effects (`debug.print`, callbacks) happen once. The function keeps
    nothing of that: the next call of a jitted function is recorded if this one would have been. (Jitted functions that
    it calls do keep what they record.)

    Args:
        fun: any function of arrays, numbers and pytrees: jitted, transformed, or plain Python.
        args, kwargs: its arguments. `ShapeDtypeStruct`s may stand for arrays; then nothing is run.

    Returns:
        An `Explanation`, which prints as a report. Its attributes: `recorded`, `inside`, `stages`, `program`, `memory`,
        `cost`, `times`, `equations`, `hottest`, `lines`, `unused`, `only_read`, `zero_gradients`, `constant_outputs`.

    Raises:
        TypeError: if `fun` is no function, if an argument is being traced, or if there is no array in the result.

    >>> import numpy as np
    >>> import functrans as ft
    >>> loss = ft.jit(lambda params, x: np.sum((x @ params["W"]) ** 2))
    >>> params = {"W": np.ones((3, 2)), "b": np.ones(2)}
    >>> loss(params, np.ones((5, 3)))
    np.float64(90.0)
    >>> report = ft.explain(loss, params, np.ones((7, 3)))
    >>> report.recorded.anew, report.recorded.changes
    (True, (Change(path='x', kind='shape', before='float64[5,3]', after='float64[7,3]'),))
    >>> report.unused, [eqn.text for eqn in report.equations][0]
    (("params['b']",), 'dot_general f64[7,3] f64[3,2] -> f64[7,2]')
    >>> report.cost.flops, report.memory.peak
    (154, 120)
    """
    try:
        return Explanation(record_call(fun, args, kwargs))
    except Exception as error:
        raise hide_frames(error)  # noqa: B904  (it is the same error)


def _size(jaxpr: Jaxpr) -> int:
    """How many operations a program has, with those of the programs in it; a call is no operation of its own."""
    size = 0
    for eqn in jaxpr.eqns:
        inner = [program for value in eqn.params.values() for program in jaxprs_in(value)]
        size += (not eqn.primitive.is_call) + sum([_size(program) for program in inner])
    return size


def _costed_equations(program: Jaxpr, times: Times | None) -> tuple[CostedEquation, ...]:
    costs = costs_of_equations(program)
    if times is None:
        weights: list[float] = [cost.bytes for cost in costs]
        seconds: list[float | None] = [None] * len(costs)
    else:
        weights, seconds = list(times.equations), list(times.equations)
    total = sum(weights) or 1.0
    costed = []
    for number, (eqn, cost) in enumerate(zip(program.eqns, costs, strict=True)):
        share = weights[number] / total
        outer = CostedEquation(eqn, _text(eqn), *line_of(eqn.source), cost, seconds[number], share)
        body, inner = loop_body(eqn), times and times.inside.get(number)
        if body is not None and inner:
            outer = outer._replace(inside=_part_of(outer, _costed_equations(body, inner)))
        costed.append(outer)
    return tuple(costed)


def _part_of(loop: CostedEquation, body: Sequence[CostedEquation]) -> tuple[CostedEquation, ...]:
    """The equations of a loop's body, with what they cost in all iterations."""
    n = loop.equation.params.get("length", 1)
    parts = []
    for eqn in body:
        cost = eqn.cost.times(n)._replace(per_iteration=loop.cost.per_iteration)
        seconds = None if loop.seconds is None else loop.seconds * eqn.share
        inside = _part_of(loop, eqn.inside)
        parts.append(eqn._replace(cost=cost, seconds=seconds, share=loop.share * eqn.share, inside=inside))
    return tuple(parts)


def _text(eqn: Equation) -> str:
    pairs = zip(eqn.inputs, eqn.in_avals, strict=True)
    shown = [str(x.value) if isinstance(x, Literal) else format_aval(aval) for x, aval in pairs]
    results = [format_aval(aval) for aval in eqn.out_avals]
    if len(shown) > _OPERANDS_SHOWN:
        shown = [*shown[: _OPERANDS_SHOWN - 1], f"and {len(shown) - _OPERANDS_SHOWN + 1} more"]
    if len(results) > _OPERANDS_SHOWN:
        results = [*results[: _OPERANDS_SHOWN - 1], f"and {len(results) - _OPERANDS_SHOWN + 1} more"]
    return " ".join([eqn.primitive.name, *shown, "->", *results])


_OPERANDS_SHOWN = 4


def _costed_lines(equations: Sequence[CostedEquation]) -> tuple[CostedLine, ...]:
    grouped: dict[Line | None, list[CostedEquation]] = {}
    for eqn in _opened(equations):
        grouped.setdefault(eqn.line, []).append(eqn)
    lines = []
    for line, members in grouped.items():
        cost = total_of([eqn.cost for eqn in members])
        seconds = [eqn.seconds for eqn in members if eqn.seconds is not None]
        share = sum([eqn.share for eqn in members])
        lines.append(CostedLine(line, len(members), cost, sum(seconds) if seconds else None, share))
    return tuple(sorted(lines, key=lambda line: -line.share))


def _opened(equations: Sequence[CostedEquation]) -> Iterator[CostedEquation]:
    """The equations, with those of their bodies in the place of loops; a loop keeps what is left of its cost."""
    for eqn in equations:
        if not any([inner.share for inner in eqn.inside]):
            yield eqn
            continue
        yield from _opened(eqn.inside)
        inner = total_of([x.cost for x in eqn.inside])
        left = eqn.cost._replace(flops=eqn.cost.flops - inner.flops, bytes=eqn.cost.bytes - inner.bytes)
        if left.flops or left.bytes:
            yield eqn._replace(cost=left, seconds=0.0, share=0.0, inside=())


def _zeros(program: Jaxpr, numbers: dict[int, str]) -> list[int]:
    """Which of these outputs are the literal zero."""
    atoms = [(number, program.outs[number]) for number in numbers]
    return [number for number, atom in atoms if isinstance(atom, Literal) and not atom.value]
