"""How long each equation of a program takes.

The program runs equation by equation, some times over, and the shortest time of each counts. Equations with effects
run in the first round only: what they gave then is what the later rounds go on with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from functrans.backends.memory import aligned_shape, deaths, is_full, undone_broadcasts
from functrans.backends.running import compiled
from functrans.core.effects import is_effectful
from functrans.core.jaxpr import Equation, Jaxpr, Literal
from functrans.core.recording import no_staging
from functrans.explaining.loops import Iteration, first_iteration

__all__ = ["Times", "time_program"]

_SECONDS = 0.3
"""How long to go on measuring."""

_ROUNDS_MIN, _ROUNDS_MAX = 3, 50

_LESS_INSIDE = 8
"""The part of that for a loop inside of it is so much smaller."""

_LONG = 2.0
"""A program that takes so many seconds is run no more often than it must be."""


class Times(NamedTuple):
    """What running a program took, in seconds."""

    whole: float | None
    """As it is run always; None if it has effects, which must not happen again."""
    equations: tuple[float, ...]
    """Each of its equations by itself."""
    rounds: int
    """How often they ran."""
    inside: dict[int, Times]
    """By their numbers, the first iteration of each equation that is a loop, by itself."""


def time_program(jaxpr: Jaxpr, final: Jaxpr, values: Sequence[Any]) -> Times:
    """Run a program and its equations on arrays, and say how long that took.

    Args:
        jaxpr: the program.
        final: its final form, whose equations are timed.
        values: those of its inputs.

    Of invalid operations and overflows NumPy does not warn here, where they come again and again.
    """
    with no_staging(), np.errstate(all="ignore"):
        times = _time_equations(final, values, _SECONDS)
        if is_effectful(final):
            return times
        function = compiled(jaxpr)
        (whole,), _ = _repeated(lambda: [_seconds(lambda: function(*values))], _SECONDS)
    return times._replace(whole=whole)


def _time_equations(jaxpr: Jaxpr, values: Sequence[Any], seconds: float) -> Times:
    rounds = _Rounds(jaxpr, values)
    times, n = _repeated(rounds.run, seconds)
    inside = {
        number: _time_equations(loop.body, loop.values, seconds / _LESS_INSIDE)
        for number, loop in rounds.iterations.items()
    }
    return Times(None, tuple(times), n, inside)


def _repeated(measure: Callable[[], list[float]], seconds: float) -> tuple[list[float], int]:
    """The least of each of the times that are measured, again and again; and how often they were."""
    begin = perf_counter()
    best, n = measure(), 1
    least = 1 if perf_counter() - begin > _LONG else _ROUNDS_MIN
    while n < least or (n < _ROUNDS_MAX and perf_counter() - begin < seconds):
        best = [min(a, b) for a, b in zip(best, measure(), strict=True)]
        n += 1
    return best, n


def _seconds(action: Callable[[], Any]) -> float:
    begin = perf_counter()
    action()
    return perf_counter() - begin


class _Rounds:
    """A program that is run equation by equation."""

    def __init__(self, jaxpr: Jaxpr, values: Sequence[Any]) -> None:
        self.jaxpr = jaxpr
        self.values = values
        self.dead = deaths(jaxpr)
        self.undone = undone_broadcasts(jaxpr)
        self.given: dict[int, Any] = {}
        """By their numbers, what the equations with effects gave in the first round."""
        self.iterations: dict[int, Iteration] = {}
        """By their numbers, the first iterations of the loops."""
        self._is_first = True

    def run(self) -> list[float]:
        """The time of each equation in one round; 0 for one with effects that has run already."""
        results: dict[int, Any] = {}
        times = []
        for number, eqn in enumerate(self.jaxpr.eqns):
            if number in self.given:
                seconds, outs = self.given[number]
            else:
                seconds, outs = self._run_equation(number, eqn, results)
                if eqn.operation.effectful:
                    self.given[number] = seconds, outs
            times.append(seconds)
            results.update(zip(eqn.outs, outs, strict=True))
            for atom in self.dead[number]:
                results.pop(atom, None)
        self._is_first = False
        return times

    def _run_equation(self, number: int, eqn: Equation, results: dict[int, Any]) -> tuple[float, Sequence[Any]]:
        # As in a run, a number or a broadcast value that meets a whole array is left to NumPy's broadcasting.
        function = self._alignment(eqn) if self.undone.intersection(eqn.outs) else eqn.primitive.bound(eqn.operation)
        splat = eqn.primitive.is_elementwise and any([is_full(atom, self.undone) for atom in eqn.inputs])
        operands = [self._read(atom, results, splat) for atom in eqn.inputs]
        if self._is_first and (iteration := first_iteration(eqn, operands)) is not None:
            self.iterations[number] = iteration
        begin = perf_counter()
        outs = function(*operands)
        seconds = perf_counter() - begin
        return seconds, outs if eqn.primitive.multiple_results else (outs,)

    def _alignment(self, eqn: Equation) -> Callable[..., Any]:
        """What is left of a broadcast that stays undone."""
        shape = aligned_shape(eqn.in_avals[0], **eqn.params)
        return lambda x: x if x.shape == shape else x.reshape(shape)

    def _read(self, atom: Any, results: dict[int, Any], splat: bool) -> Any:
        if type(atom) is Literal:
            return atom.scalar if splat else atom.array
        return results[atom] if atom >= 0 else self.values[-1 - atom]
