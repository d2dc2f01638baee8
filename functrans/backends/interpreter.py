"""The interpreter: what every program means, one NumPy call an equation.

It is the definition of the language, and what runs a program that is new. A program is prepared once: calls are inlined
and the program is simplified, each equation gets its implementation bound to its parameters, each value a slot. To run
it is one loop over the steps.

Two freedoms are taken, neither of which changes a bit of the result: a literal or a broadcast value that meets an
operand of full shape in an elementwise operation is left to NumPy's own broadcasting; a large value is let go after
its last use. Outputs never share memory with inputs or with each other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans.backends.memory import (
    KEPT_BYTES,
    aligned_shape,
    deaths,
    is_full,
    shared_outputs,
    undone_broadcasts,
)
from functrans.config import config
from functrans.core.aval import Aval
from functrans.core.evaluation import Environment
from functrans.core.jaxpr import Equation, Jaxpr, Literal
from functrans.core.nonfinite import check_results, unwarned
from functrans.passes.inline import inline
from functrans.passes.pipeline import finalize

__all__ = ["interpreted", "owned", "run_checked"]

Step = tuple[Callable[..., Any], int, int, Any, Any]


def interpreted(jaxpr: Jaxpr, shares: bool = False) -> Callable[[Sequence[Any]], list[Any]]:
    """The function of a list of arrays that interprets the program.

    Args:
        jaxpr: the program.
        shares: whether outputs may share memory with inputs and with each other.
    """
    plan = _Plan(finalize(jaxpr), jaxpr)
    if shares:
        plan.outputs = [(slot, None) for slot, _ in plan.outputs]
    return _prepare_plan(plan)


def _prepare_plan(plan: _Plan) -> Callable[[Sequence[Any]], list[Any]]:
    steps, tail, outputs, written = plan.steps, plan.tail(), plan.outputs, plan.written

    def run_steps(values: Sequence[Any]) -> list[Any]:
        if config.checks_values:
            return run_checked(written, values)
        slots = [*values, *tail]
        for function, a, b, out, more in steps:
            if more is None:
                slots[out] = function(slots[a], slots[b]) if b >= 0 else function(slots[a])
            else:
                _general_step(slots, function, out, *more)
        return [finish(slots[slot]) if finish is not None else slots[slot] for slot, finish in outputs]

    return run_steps


def run_checked(jaxpr: Jaxpr, values: Sequence[Any]) -> list[Any]:
    """The same outputs, equation by equation as they were written, each result looked at: see `debug_nans`."""
    env, jaxpr = Environment(values), inline(jaxpr)
    with unwarned():
        for eqn in jaxpr.eqns:
            operands = [x.array if type(x) is Literal else x for x in env.read_all(eqn.inputs)]
            results = eqn.primitive.evaluate(eqn.operation, operands)
            results = results if eqn.primitive.multiple_results else (results,)
            check_results(eqn.operation, operands, results, eqn.source)
            env.write(results)
    return [owned(x.array if type(x) is Literal else x) for x in env.read_all(jaxpr.outs)]


def _general_step(
    slots: list[Any],
    function: Callable[..., Any],
    outs: Any,
    operands: tuple[int, ...],
    dead: tuple[int, ...],
) -> None:
    results = function(*[slots[i] for i in operands])
    if type(outs) is int:
        slots[outs] = results
    else:
        for slot, result in zip(outs, results, strict=True):
            slots[slot] = result
    for slot in dead:
        slots[slot] = None


class _Plan:
    """The steps of a program, and the slots of its values: inputs, then results, then constants."""

    def __init__(self, jaxpr: Jaxpr, written: Jaxpr) -> None:
        self.jaxpr = jaxpr
        self.written = written
        """The program as it was before the passes."""
        self.n_inputs = len(jaxpr.in_avals)
        self.constants: list[Any] = []
        self.constant_slots: dict[tuple[Literal, bool], int] = {}
        self.undone = undone_broadcasts(jaxpr)
        self.steps: list[Step] = []
        for eqn, dying in zip(jaxpr.eqns, deaths(jaxpr), strict=True):
            large = [atom for atom in dying if atom >= 0 and jaxpr.aval(atom).nbytes > KEPT_BYTES]
            self.steps.append(self._step(eqn, tuple([self._slot(atom) for atom in large])))
        self.outputs: list[tuple[int, Callable[[Any], Any] | None]] = [
            (self._slot(atom), owned if shared else None)
            for atom, shared in zip(jaxpr.outs, shared_outputs(jaxpr), strict=True)
        ]

    def tail(self) -> list[Any]:
        """What follows the inputs in the slots when a run begins."""
        return [None] * len(self.jaxpr.avals) + self.constants

    def _slot(self, atom: Any, whole: bool = True) -> int:
        if type(atom) is int:
            return self.n_inputs + atom if atom >= 0 else -1 - atom
        key = (atom, whole or not atom.shape)
        if key not in self.constant_slots:
            self.constant_slots[key] = self.n_inputs + len(self.jaxpr.avals) + len(self.constants)
            array = atom.array if whole else atom.scalar
            array.flags.writeable = False
            self.constants.append(array)
        return self.constant_slots[key]

    def _step(self, eqn: Equation, dead: tuple[int, ...]) -> Step:
        if any([out in self.undone for out in eqn.outs]):
            function: Any = _aligner(eqn.in_avals[0], **eqn.params)
        else:
            function = eqn.primitive.bound(eqn.operation)
        whole = not (eqn.primitive.is_elementwise and any([is_full(x, self.undone) for x in eqn.inputs]))
        operands = tuple([self._slot(atom, whole) for atom in eqn.inputs])
        if eqn.primitive.multiple_results:
            return function, -1, -1, tuple([self._slot(out) for out in eqn.outs]), (operands, dead)
        out = self._slot(eqn.outs[0])
        if dead or not 1 <= len(operands) <= 2:
            return function, -1, -1, out, (operands, dead)
        return function, operands[0], operands[1] if len(operands) == 2 else -1, out, None


def _aligner(operand: Aval, **params: Any) -> Callable[..., Any]:
    """What is left of a broadcast when NumPy does the stretching."""
    aligned = aligned_shape(operand, **params)
    return _identity if aligned == operand.shape else lambda x: x.reshape(aligned)


def _identity(x: Any) -> Any:
    return x


def owned(x: Any) -> Any:
    """An array of its own, as a result must be; a NumPy scalar where it has no axes, as most of NumPy's own results
    are: those cannot be written to, so need no copy.
    """
    return x if type(x) is not np.ndarray else x.copy() if x.shape else x[()]
