"""Donated arguments: arrays that the caller gives away, whose memory results may have.

A result takes the place of a donated array of its shape and dtype: the array that the function returns *is* the one
that was donated, with new contents. That happens only where nobody but the caller, who has given it away, can see it:
not if the array is read-only, a part of another that is in use, or the memory of a second argument.

A large one is computed in its place, without memory of its own, as far as nothing can fail any more: an error must not
leave a donated array half written. Else it is computed elsewhere, and copied there when all is done.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np

from functrans.api.arguments import Arguments, name_of
from functrans.api.static_arguments import DeclaredParameters
from functrans.backends.running import compiled
from functrans.core.effects import is_effectful
from functrans.core.jaxpr import Jaxpr, jaxprs_in
from functrans.errors import user_frame
from functrans.ops.callback import pure_callback_p

__all__ = ["Donation", "donation_of", "run_donated"]

Pairs = tuple[tuple[int, int], ...]

_LARGE = 65_536
"""From this size on, of all donated arrays together, results are computed in place: for less, to find out whether that
is allowed costs more than new memory."""


class Donation(NamedTuple):
    """Which memory the outputs of a program may have."""

    pairs: Pairs
    """Numbers of an input and of the output that takes its place."""
    in_place: frozenset[int]
    """The inputs that may be written to while the program runs."""


def donation_of(
    arguments: Arguments, static: Sequence[tuple[int | str, Any]], donated: DeclaredParameters, jaxpr: Jaxpr
) -> Donation | None:
    """The inputs of a recorded function that are donated, and what becomes of them; None if nothing does.

    Warns of arrays that no output can take the place of. A program that calls Python functions takes none: they may
    have kept what they got.

    Args:
        arguments: the call that was recorded.
        static: its static arguments, which are not among them, by position or name.
        donated: the parameters that are donated.
        jaxpr: the program.
    """
    inputs = _donated_inputs(arguments, static, donated)
    if not inputs or _calls_python(jaxpr):
        return None
    pairs = _matched(jaxpr, inputs)
    taken = {number for number, _ in pairs}
    left = [number for number in inputs if number not in taken and jaxpr.in_avals[number].size > 1]
    if left:
        _warn(arguments, left)
    return Donation(pairs, _in_place(jaxpr, taken)) if pairs else None


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


def _in_place(jaxpr: Jaxpr, inputs: Collection[int]) -> frozenset[int]:
    """The inputs that are worth it, and whose values are not asked for."""
    size = sum([jaxpr.in_avals[i].nbytes for i in inputs])
    return (
        frozenset(inputs).difference([-1 - x for x in jaxpr.outs if type(x) is int]) if size >= _LARGE else frozenset()
    )


# --------------------------------------------------------------------------------------------------------------------
# The run


def _floats_may_raise() -> bool:
    """Whether an overflow or a division by zero is to be an error now."""
    if any([kind in ("raise", "call", "log") for kind in np.geterr().values()]):
        return True
    for action, message, category, module, line in warnings.filters:
        if issubclass(RuntimeWarning, category):
            if action == "error":
                return True
            if message is None and module is None and line == 0:
                return False
    return False


def run_donated(jaxpr: Jaxpr, donation: Donation, *values: Any) -> list[Any]:
    """The outputs of a program on arrays; those of the pairs are in the donated arrays, where nobody else sees these.

    If an error is raised, nothing was written to.
    """
    pairs = _unseen(values, donation.pairs)
    in_place = donation.in_place
    if not in_place or not in_place.issubset([i for i, _ in pairs]) or _floats_may_raise():
        in_place = frozenset()
    outs = compiled(jaxpr, in_place)(*values)
    written = {id(_owner(out)) for out in outs if type(out) is np.ndarray} if in_place else ()
    for number, place in pairs:
        x = values[number]
        if outs[place] is not x and id(_owner(x)) not in written:
            np.copyto(x, outs[place])
            outs[place] = x
    return outs


def _unseen(values: Sequence[Any], pairs: Pairs) -> Pairs:
    """The pairs of which the input can be written to, without anybody seeing it."""
    shared, foreign = _uses_of_memory(values)
    return tuple([pair for pair in pairs if _is_unseen(values[pair[0]], shared, foreign)])


def _is_unseen(x: Any, shared: set[int], foreign: list[Any]) -> bool:
    return (
        _is_own(x)
        and id(_owner(x)) not in shared
        and not (foreign and any([np.may_share_memory(x, y) for y in foreign]))
    )


def _uses_of_memory(values: Sequence[Any]) -> tuple[set[int], list[Any]]:
    """The ids of the arrays whose memory several of the values are in, and the values of which no array owns it."""
    seen: set[int] = set()
    shared: set[int] = set()
    foreign = []
    for x in values:
        if type(x) is np.ndarray:
            owner = _owner(x)
            (shared if id(owner) in seen else seen).add(id(owner))
            if not owner.flags.owndata:
                foreign.append(x)
    return shared, foreign


def _owner(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The array whose memory it is, if that is an array's."""
    base = x.base
    while isinstance(base, np.ndarray):
        x, base = base, base.base
    return x


def _is_own(x: np.ndarray[Any, Any]) -> bool:
    """Whether it can be written to in C order, and its memory is its own, or that of an array that only it holds."""
    if not x.flags.writeable or not x.flags.c_contiguous:
        return False
    if x.base is None:
        return x.flags.owndata
    return type(x.base) is np.ndarray and x.base.flags.owndata and _holders_of_base(x) == _HELD_BY_ONE


def _holders_of_base(x: np.ndarray[Any, Any]) -> int:
    return sys.getrefcount(x.base)


_HELD_BY_ONE = _holders_of_base(np.empty(2)[:])
"""What Python counts for a base that nothing but its one view holds; it differs between versions."""
