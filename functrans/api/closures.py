"""Functions that become part of one equation together: what they close over is handed to all of them alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from functrans.api.arguments import Recorded
from functrans.config import config
from functrans.control.rearranging import rearranged
from functrans.core.aval import Aval
from functrans.core.jaxpr import Jaxpr
from functrans.core.tracer import Tracer
from functrans.passes.inline import inline
from functrans.tree import TreeDef, leaf_path

__all__ = ["Closed", "closed_together", "structure_differences", "with_shared_consts"]


class Closed(NamedTuple):
    """Programs that take the same values from outside, before their arguments."""

    programs: list[Jaxpr]
    consts: list[Any]


def closed_together(recordings: Sequence[Recorded], n_args: int) -> Closed:
    """The programs of functions of the same number of arguments, with one list of what all of them close over."""
    return with_shared_consts([(inline(recorded.jaxpr), recorded.values[n_args:]) for recorded in recordings])


def with_shared_consts(programs: Sequence[tuple[Jaxpr, Sequence[Any]]]) -> Closed:
    """Programs with one list of what all of them close over.

    What two of them close over is handed in once: a tracer, an array. Python floats stay apart, so that the program
    is the same for other floats.

    Args:
        programs: each with the values of its last inputs.
    """
    consts: list[Any] = []
    avals: list[Aval] = []
    places: dict[Any, int] = {}
    for jaxpr, values in programs:
        for x, aval in zip(values, jaxpr.in_avals[len(jaxpr.in_avals) - len(values) :], strict=True):
            if _identity(x) not in places:
                places[_identity(x)] = len(consts)
                consts.append(x)
                avals.append(aval)  # that of a Python float is weak, and its value is an array
    shared = []
    for jaxpr, values in programs:
        n_args = len(jaxpr.in_avals) - len(values)
        inputs = [-1 - len(consts) - i for i in range(n_args)] + [-1 - places[_identity(x)] for x in values]
        in_avals = [*avals, *jaxpr.in_avals[:n_args]]
        shared.append(rearranged(jaxpr, in_avals, inputs, range(len(jaxpr.outs))))
    return Closed(shared, consts)


def _identity(x: Any) -> Any:
    if type(x) is Tracer:
        return id(x.recording), x.atom, x.aval
    if type(x) is np.ndarray and x.ndim and x.nbytes <= config.copy_captured_bytes:
        return x.shape, x.dtype, x.tobytes()  # it was copied when it was captured
    return id(x)


def structure_differences(first: TreeDef, second: TreeDef, names: tuple[str, str], root: str) -> list[str]:
    """Lines that say where two structures differ: the leaves that only one of them has, or else both structures."""
    paths = [[leaf_path(treedef, i, root) for i in range(treedef.num_leaves)] for treedef in (first, second)]
    lines = []
    for own, other, name, lacking in ((*paths, *names), (*paths[::-1], *names[::-1])):
        lines += [f"  {path} is in {name} and not in {lacking}" for path in own if path not in set(other)]
    return lines or [f"  {root} is {first} in {names[0]} and {second} in {names[1]}"]
