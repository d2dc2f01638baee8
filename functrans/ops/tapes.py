"""The primitives of tapes and of stacks of them: sums, choices between them, several as one.

What changes the shape of an array (`transpose`, `broadcast_in_dim`) is done to tapes by its own primitive.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans.core.aval import Aval
from functrans.core.primitive import Primitive
from functrans.core.rules import (
    UndefinedPrimal,
    def_abstract,
    def_batch,
    def_general_jvp,
    def_impl,
    def_linear,
    def_specialized_impl,
    def_transpose,
    zeros_like,
)
from functrans.core.tapes import Tape, added, element_aval, is_tape, steps_of
from functrans.ops.families import align, stacked
from functrans.ops.scan import TapeStack, row_of
from functrans.ops.shape import moveaxis

__all__ = ["add_tapes", "add_tapes_p", "choose_tapes", "choose_tapes_p", "join_tapes", "join_tapes_p"]

# --------------------------------------------------------------------------------------------------------------------
# The sum of two tapes


def add_tapes(x: Any, y: Any) -> Any:
    """The sum of two tapes of one aval, element by element."""
    return add_tapes_p.bind(x, y)


def _add_tapes_abstract(x: Aval, y: Aval) -> Aval:
    if x is not y or not x.inexact or x.dtype.kind != "V":
        raise TypeError(f"add_tapes: operands must be tapes of one aval that have a derivative, got {x} and {y}")
    return x


def _add_tapes_batch(size: int, operands: Sequence[Any], axes: Sequence[int | None]) -> tuple[Any, int]:
    place = max([along for along in axes if along is not None])
    return add_tapes(*align(size, operands, axes, place)), place


add_tapes_p = Primitive("add_tapes")
def_abstract(add_tapes_p, _add_tapes_abstract)
def_impl(add_tapes_p, added)
def_linear(add_tapes_p, lambda ct, x, y: (ct, ct))
def_batch(add_tapes_p, _add_tapes_batch)

# --------------------------------------------------------------------------------------------------------------------
# The tapes of the members of a batch, each of its own length, as one


def join_tapes(tapes: Sequence[Any]) -> Any:
    """Tapes of one aval as a tape of their arrays stacked along axis 0, as long as the longest.

    Where one has ended, there is what the first that has not ended has, as in a loop over all members together.
    """
    return join_tapes_p.bind(*tapes)


def _join_tapes_abstract(*tapes: Aval) -> Aval:
    first = tapes[0]
    if any([tape is not first for tape in tapes]) or not is_tape(first):
        raise TypeError(f"join_tapes: operands must be tapes of one aval, got {tapes}")
    return first.with_shape((len(tapes), *first.shape))


def _join_tapes_impl(*avals: Aval) -> Callable[..., Any]:
    out = _join_tapes_abstract(*avals)

    def run(*tapes: Any) -> Any:
        lengths = [len(tape) if isinstance(tape, Tape) else 0 for tape in tapes]
        if not any([isinstance(tape, Tape) for tape in tapes]):
            return np.zeros(out.shape, out.dtype)
        columns = [steps_of(tape, max(lengths)) for tape in tapes]
        steps = []
        for i in range(max(lengths)):
            first = next(column for column, n in zip(columns, lengths, strict=True) if n > i)
            parts = [column[i] if i < len(column) else first[i] for column in columns]
            steps.append(np.stack(parts))
        return Tape(out, steps)

    return run


join_tapes_p = Primitive("join_tapes")
def_abstract(join_tapes_p, _join_tapes_abstract)
def_specialized_impl(join_tapes_p, _join_tapes_impl)

# --------------------------------------------------------------------------------------------------------------------
# A choice between tapes, for each member of a batch


def choose_tapes(index: Any, cases: Sequence[Any], axes: Sequence[int]) -> Any:
    """Of several tapes of one aval, for each member of a batch, the one that its index says.

    Args:
        index: booleans, to choose between two (False: the first), or integers, which are clamped.
        cases: tapes, or stacks of them.
        axes: where the axes of the index are among those of the tapes, in ascending order.
    """
    return choose_tapes_p.bind(index, *cases, axes=tuple(axes))


def _choose_abstract(index: Aval, *cases: Aval, axes: tuple[int, ...]) -> Aval:
    first = cases[0]
    fits = list(axes) == sorted(set(axes)) and len(axes) == index.ndim and all([0 <= d < first.ndim for d in axes])
    if not fits or index.shape != tuple([first.shape[d] for d in axes]) or index.dtype.kind not in "biu":
        raise TypeError(f"choose_tapes: {index} does not say for axes {axes} of {first} what to choose")
    if any([case is not first for case in cases]) or not is_tape(first):
        raise TypeError(f"choose_tapes: the cases must be tapes of one aval, got {cases}")
    return first


def _choose_impl(index: Aval, *cases: Aval, axes: tuple[int, ...]) -> Callable[..., Any]:
    return lambda index, *values: _choose(np.asarray(index), values, axes, cases[0])


def _choose(index: Any, cases: Sequence[Any], axes: Sequence[int], aval: Aval) -> Any:
    if not is_tape(aval):
        return _choose_arrays(index, cases, axes, aval)
    lengths = [len(x) for x in cases if isinstance(x, TapeStack)]
    if lengths:
        rows = zip(*cases, strict=True)
        inner = [d - 1 for d in axes]
        return TapeStack(aval, [_choose(index, row, inner, row_of(aval)) for row in rows])
    lengths = [len(x) for x in cases if isinstance(x, Tape)]
    if lengths:
        columns = [steps_of(x, max(lengths)) for x in cases]
        element = element_aval(aval)
        return Tape(aval, [_choose(index, step, axes, element) for step in zip(*columns, strict=True)])
    splat = np.empty(aval.shape, aval.dtype)
    splat["opaque"] = _choose(index, [np.asarray(x)["opaque"] for x in cases], axes, element_aval(aval))
    return splat


def _choose_arrays(index: Any, cases: Sequence[Any], axes: Sequence[int], aval: Aval) -> Any:
    shape = [1] * aval.ndim
    for n, d in zip(index.shape, axes, strict=True):
        shape[d] = n
    index = index.reshape(shape).astype(np.int64) if index.dtype.kind == "b" else index.reshape(shape)
    chosen = cases[-1]
    for number in range(len(cases) - 2, -1, -1):
        chosen = np.where(index <= number, cases[number], chosen)
    return chosen


def _choose_jvp(primals: Sequence[Any], tangents: Sequence[Any], *, axes: tuple[int, ...]) -> tuple[Any, Any]:
    index, *cases = primals
    filled = [zeros_like(x) if t is None else t for x, t in zip(cases, tangents[1:], strict=True)]
    return choose_tapes(index, cases, axes), choose_tapes(index, filled, axes)


def _choose_transpose(ct: Any, index: Any, *cases: Any, axes: tuple[int, ...]) -> list[Any]:
    zeros = [zeros_like(ct)] * len(cases)
    return [
        None,
        *[
            choose_tapes(index, [*zeros[:number], ct, *zeros[number + 1 :]], axes)
            if type(case) is UndefinedPrimal
            else None
            for number, case in enumerate(cases)
        ],
    ]


def _choose_batch(
    size: int, operands: Sequence[Any], in_axes: Sequence[int | None], *, axes: tuple[int, ...]
) -> tuple[Any, int]:
    (index, *cases), (index_axis, *case_axes) = operands, in_axes
    # What is no stack can move, and is stacked along its first axis where it is computed.
    place = max([along for along in case_axes if along is not None], default=axes[0] if axes else 0)
    moved = [stacked(x, size, along, place) for x, along in zip(cases, case_axes, strict=True)]
    axes = tuple([d + (d >= place) for d in axes])
    if index_axis is not None:
        axes = tuple(sorted([*axes, place]))
        index = moveaxis(index, index_axis, axes.index(place))
    return choose_tapes(index, moved, axes), place


choose_tapes_p = Primitive("choose_tapes")
def_abstract(choose_tapes_p, _choose_abstract)
def_specialized_impl(choose_tapes_p, _choose_impl)
def_general_jvp(choose_tapes_p, _choose_jvp)
def_transpose(choose_tapes_p, _choose_transpose)
def_batch(choose_tapes_p, _choose_batch)
