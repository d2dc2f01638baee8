"""Running the program of an iteration, again and again, with as little as possible in between."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

from functrans.backends.running import executable
from functrans.control.rearranging import reordered
from functrans.core.jaxpr import Jaxpr

__all__ = ["iteration_of"]


def iteration_of(body: Jaxpr) -> Callable[[Sequence[Any]], list[Any]]:
    """The function of a list of arrays that computes a body. What it hands on as it is, is not copied: an output may be
    the same array as an input, or as another output.
    """
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
        return executable(body)
    compute = executable(reordered(body, range(n_inputs), [body.outs[i] for i in numbers]))
    places = [place_of[atom] for atom in body.outs]
    if not numbers:
        return lambda values: [values[place] for place in places]
    pick = itemgetter(*places) if len(places) > 1 else lambda values: (values[places[0]],)

    def run(values: Sequence[Any]) -> list[Any]:
        return list(pick([*values, *compute(values)]))

    return run
