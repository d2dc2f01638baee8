"""Running the program of an iteration, again and again, with as little as possible in between."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from functrans.backends.running import executable
from functrans.control.rearranging import reordered
from functrans.core.jaxpr import Jaxpr

__all__ = ["Iteration", "iteration_of"]


class Iteration(NamedTuple):
    """The program of an iteration, ready to run."""

    run: Callable[[Sequence[Any]], list[Any]]
    """From all inputs to all outputs."""
    shares: bool
    """Whether an output may be the same array as an input, or as another output."""


def iteration_of(body: Jaxpr) -> Iteration:
    """Prepare a body. What it hands on as it is, is not copied."""
    n_inputs = len(body.in_avals)
    numbers: list[int] = []
    place_of: dict[Any, int] = {}
    for number, atom in enumerate(body.outs):
        if type(atom) is int and atom < 0:
            place_of[atom] = -1 - atom
        elif atom not in place_of:
            place_of[atom] = n_inputs + len(numbers)
            numbers.append(number)
    if len(numbers) == len(body.outs):
        return Iteration(executable(body), False)
    compute = executable(reordered(body, range(n_inputs), [body.outs[i] for i in numbers]))
    places = [place_of[atom] for atom in body.outs]
    if not numbers:
        return Iteration(lambda values: [values[place] for place in places], True)
    pick = itemgetter(*places) if len(places) > 1 else lambda values: (values[places[0]],)

    def run(values: Sequence[Any]) -> list[Any]:
        return list(pick([*values, *compute(values)]))

    return Iteration(run, True)
