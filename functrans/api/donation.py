"""Donated arguments: arrays that the caller gives away, whose memory results may have.

A result takes the place of a donated array of its shape and dtype: the array that the function returns *is* the one
that was donated, with new contents. That happens only where nobody but the caller, who has given it away, can see it:
not if the array is read-only, a part of another that is in use, or the memory of a second argument.
"""

from __future__ import annotations

import sys
import warnings
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from functrans.api.arguments import Arguments, name_of
from functrans.api.static_arguments import DeclaredParameters
from functrans.backends.running import compiled
from functrans.core.effects import is_effectful
from functrans.core.jaxpr import Jaxpr, jaxprs_in
from functrans.errors import user_frame
from functrans.ops.callback import pure_callback_p

__all__ = ["Pairs", "donated_pairs", "run_donated"]

Pairs = tuple[tuple[int, int], ...]
"""Inputs of a program whose memory outputs are to have: the numbers of both."""


def donated_pairs(
    arguments: Arguments, static: Sequence[tuple[int | str, Any]], donated: DeclaredParameters, jaxpr: Jaxpr
) -> Pairs:
    """The inputs of a recorded function that are donated, each with the output that takes its memory.

    Warns of arrays that no output can take. A program that calls Python functions has none: they may have kept what
    they got.

    Args:
        arguments: the call that was recorded.
        static: its static arguments, which are not among them, by position or name.
        donated: the parameters that are donated.
        jaxpr: the program.
    """
    inputs = _donated_inputs(arguments, static, donated)
    if not inputs or _calls_python(jaxpr):
        return ()
    pairs = _matched(jaxpr, inputs)
    taken = {number for number, _ in pairs}
    left = [number for number in inputs if number not in taken and jaxpr.in_avals[number].size > 1]
    if left:
        _warn(arguments, left)
    return pairs


def _donated_inputs(
    arguments: Arguments, static: Sequence[tuple[int | str, Any]], donated: DeclaredParameters
) -> list[int]:
    """The numbers of the inputs that are leaves of donated arguments, if they have axes: others have no memory."""
    by_position, by_name = arguments.treedef.children()
    away = {key for key, _ in static if type(key) is int}
    n_args = len(by_position.children()) + len(away)
    places = {p % n_args for p in donated.positions if -n_args <= p < n_args}
    given = [position in places for position in range(n_args) if position not in away]
    node: Any = by_name.node_data()
    given += [name in donated.names for name in node[1]]
    leaves: list[bool] = []
    for is_donated, argument in zip(given, [*by_position.children(), *by_name.children()], strict=True):
        leaves += [is_donated] * argument.num_leaves
    places_of_inputs = range(len(leaves)) if arguments.places is None else arguments.places
    return [i for i, place in enumerate(places_of_inputs) if leaves[place] and arguments.avals[i].shape]


def _matched(jaxpr: Jaxpr, inputs: Sequence[int]) -> Pairs:
    """Each input with the first output of its shape and dtype that is still free; itself, if it is an output."""
    free = dict(enumerate(jaxpr.outs))
    pairs = {}
    for number in inputs:
        place = next((place for place, atom in free.items() if atom == -1 - number), None)
        if place is not None:
            pairs[number] = place
            del free[place]
    for number in inputs:
        aval = jaxpr.in_avals[number]
        place = next((place for place in free if jaxpr.out_avals[place] is aval), None)
        if place is not None and number not in pairs:
            pairs[number] = place
            del free[place]
    return tuple(sorted(pairs.items()))


def _calls_python(jaxpr: Jaxpr) -> bool:
    """Whether a program calls functions of the user, in itself or in a program that it carries."""
    if is_effectful(jaxpr):
        return True
    for eqn in jaxpr.eqns:
        inner = [program for value in eqn.params.values() for program in jaxprs_in(value)]
        if eqn.primitive is pure_callback_p or any(map(_calls_python, inner)):
            return True
    return False


def _warn(arguments: Arguments, inputs: Sequence[int]) -> None:
    described = ", ".join([f"{arguments.path(number)} ({arguments.avals[number].strong})" for number in inputs])
    message = (
        f"some donated arrays cannot be reused, since {name_of(arguments.fun)} returns no array of their shape and "
        f"dtype that another donated one does not have the place of: {described}. Do not donate them"
    )
    frame = user_frame()
    if frame is None:
        warnings.warn(message, stacklevel=2)
    else:
        warnings.warn_explicit(message, UserWarning, frame.f_code.co_filename, frame.f_lineno)


def run_donated(jaxpr: Jaxpr, pairs: Pairs, *values: Any) -> list[Any]:
    """The outputs of a program on arrays; those of `pairs` are in the donated arrays, where nobody else sees these.

    If an error is raised, nothing was written to.
    """
    outs = compiled(jaxpr)(*values)
    for number, place in _unseen(values, pairs):
        np.copyto(values[number], outs[place])
        outs[place] = values[number]
    return outs


def _unseen(values: Sequence[Any], pairs: Pairs) -> Pairs:
    """The pairs of which the input can be written to, without anybody seeing it."""
    uses, foreign = _uses_of_memory(values)
    return tuple([pair for pair in pairs if _is_unseen(values[pair[0]], uses, foreign)])


def _is_unseen(x: Any, uses: Counter[int], foreign: list[Any]) -> bool:
    return _is_own(x) and uses[id(_owner(x))] == 1 and not any([np.may_share_memory(x, y) for y in foreign])


def _uses_of_memory(values: Sequence[Any]) -> tuple[Counter[int], list[Any]]:
    """How many of the values are in the memory of an array, and those of which no array owns the memory."""
    owners = [_owner(x) for x in values if type(x) is np.ndarray]
    foreign = [owner for owner in owners if not owner.flags.owndata]
    return Counter(map(id, owners)), foreign


def _owner(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The array whose memory it is, if that is an array's."""
    base = x.base
    while isinstance(base, np.ndarray):
        x, base = base, base.base
    return x


def _is_own(x: np.ndarray[Any, Any]) -> bool:
    """Whether it can be written to, and its memory is its own, or that of an array that only it holds."""
    if not x.flags.writeable:
        return False
    if x.base is None:
        return x.flags.owndata
    return type(x.base) is np.ndarray and x.base.flags.owndata and _holders_of_base(x) == _HELD_BY_ONE


def _holders_of_base(x: np.ndarray[Any, Any]) -> int:
    return sys.getrefcount(x.base)


_HELD_BY_ONE = _holders_of_base(np.empty(2)[:])
"""What Python counts for a base that nothing but its one view holds; it differs between versions."""
