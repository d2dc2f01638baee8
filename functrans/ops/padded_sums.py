"""sum_padded: arrays that are put into a larger one and added up where they meet, as one equation.

The cotangent of an array of which many slices were taken is such a sum. Written as pads and adds, each slice costs two
passes over the whole array; here each costs what it is long. `functrans.passes.padded_sums` finds them.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans.core.aval import Aval
from functrans.core.primitive import Primitive
from functrans.core.rules import UndefinedPrimal, def_abstract, def_batch, def_linear, def_specialized_impl
from functrans.ops.families import align
from functrans.ops.slicing import PaddingConfig, slice

__all__ = ["place_in_sum", "sum_padded", "sum_padded_p"]

Shape = tuple[int, ...]
Configs = tuple[PaddingConfig, ...]
Place = tuple[builtins.slice, ...]


def sum_padded(operands: Sequence[Any], padding_configs: Sequence[Sequence[tuple[int, int, int]]]) -> Any:
    """The sum of arrays, from the first to the last, each of which is padded with zeros to one shape.

    Args:
        operands: arrays of numbers, of one dtype.
        padding_configs: for each array what `pad` takes, with nothing negative: for each axis how many zeros to put
            before it, behind it, and between each two elements.

    Raises:
        TypeError: if there are no operands, or they have not one dtype, or not one shape when they are padded.

    >>> import numpy as np
    >>> from functrans.ops.padded_sums import sum_padded
    >>> sum_padded([np.array([1, 2]), np.array([10, 20])], [[(0, 1, 0)], [(1, 0, 0)]])
    array([ 1, 12, 20])
    """
    configs = tuple([tuple([tuple(dim) for dim in config]) for config in padding_configs])
    return sum_padded_p.bind(*operands, padding_configs=configs)


def _padded_shape(operand: Aval, config: PaddingConfig) -> Shape:
    if len(config) != operand.ndim or any([min(dim) < 0 for dim in config]):
        raise TypeError(
            f"sum_padded: {config} does not say (low, high, interior), each >= 0, for each axis of {operand}"
        )
    return tuple(
        [
            low + n + max(n - 1, 0) * interior + high
            for n, (low, high, interior) in zip(operand.shape, config, strict=True)
        ]
    )


def _abstract(*operands: Aval, padding_configs: Configs) -> Aval:
    if not operands or len(padding_configs) != len(operands):
        raise TypeError(f"sum_padded: it takes operands, each with its padding, got {len(operands)} operands")
    first = operands[0]
    shape = _padded_shape(first, padding_configs[0])
    for operand, config in zip(operands, padding_configs, strict=True):
        if operand.dtype != first.dtype or operand.dtype.kind not in "iufc" or _padded_shape(operand, config) != shape:
            raise TypeError(
                f"sum_padded: the operands must be numbers of one dtype, padded to one shape, got "
                f"{', '.join(map(str, operands))} with {padding_configs}"
            )
    return Aval(shape, first.dtype)


def place_in_sum(shape: Shape, config: PaddingConfig) -> Place:
    """Where in the sum the elements of a padded array are."""
    return tuple(
        [
            builtins.slice(low, low + (n - 1) * (interior + 1) + 1 if n else low, interior + 1 if n > 1 else 1)
            for n, (low, _, interior) in zip(shape, config, strict=True)
        ]
    )


def _impl(*operands: Aval, padding_configs: Configs) -> Callable[..., Any]:
    out = _abstract(*operands, padding_configs=padding_configs)
    places = [place_in_sum(x.shape, config) for x, config in zip(operands, padding_configs, strict=True)]
    counts = np.zeros(out.shape, np.intp)
    for place in places:
        counts[place] += 1
    if not out.size:
        return lambda *xs: np.zeros(out.shape, out.dtype)
    if len(operands) == 1 or counts.max() > 1:
        return _adding(out, places, counts)
    order = _order_along_axis(out.shape, places)
    return _putting(out, places) if order is None else _joining(out, places, *order)


def _adding(out: Aval, places: list[Place], counts: Any) -> Callable[..., Any]:
    # Where all meet, no zero is added: the sum begins with -0.0, to which whatever is added stays as it is.
    start = np.zeros(out.shape, out.dtype)
    if out.inexact:
        start[counts == len(places)] = np.negative(start.dtype.type(0))

    def run(*xs: Any) -> Any:
        total = start.copy()
        for place, x in zip(places, xs, strict=True):
            part = total[place] if place else total
            np.add(part, x, out=part)
        return total if total.shape else total[()]

    return run


def _putting(out: Aval, places: list[Place]) -> Callable[..., Any]:
    """For operands that do not meet."""
    zero = out.dtype.type(0)

    def run(*xs: Any) -> Any:
        total = np.zeros(out.shape, out.dtype)
        for place, x in zip(places, xs, strict=True):
            total[place] = x
        return np.add(total, zero, out=total) if out.inexact else total  # -0.0 and a zero are 0.0

    return run


def _joining(out: Aval, places: list[Place], axis: int, order: list[int]) -> Callable[..., Any]:
    """For operands that follow each other along an axis."""
    zero, before = out.dtype.type(0), out.shape[:axis]
    pieces: list[Any] = []
    end = 0
    for number in [*order, None]:
        start = out.shape[axis] if number is None else places[number][axis].start
        if start > end:
            gap = np.zeros((*before, start - end, *out.shape[axis + 1 :]), out.dtype)
            gap.flags.writeable = False
            pieces.append(gap)
        if number is not None:
            pieces.append(number)
            end = max(end, places[number][axis].stop)
    places_of = [(i, piece) for i, piece in enumerate(pieces) if type(piece) is int]

    def run(*xs: Any) -> Any:
        parts = pieces.copy()
        for i, number in places_of:
            parts[i] = xs[number]
        total = np.concatenate(parts, axis)
        return np.add(total, zero, out=total) if out.inexact else total

    return run


def _order_along_axis(shape: Shape, places: list[Place]) -> tuple[int, list[int]] | None:
    """The axis along which operands that do not meet follow each other, and their order; None if there is none."""
    whole = [builtins.slice(0, n, 1) for n in shape]
    axes = {d for place in places for d in range(len(shape)) if place[d] != whole[d]}
    if len(axes) != 1 or any([at.step != 1 for place in places for at in place]):
        return None
    (axis,) = axes
    return axis, sorted(range(len(places)), key=lambda i: (places[i][axis].start, places[i][axis].stop))


def _transpose(ct: Any, *operands: Any, padding_configs: Configs) -> list[Any]:
    places = [place_in_sum(x.shape, config) for x, config in zip(operands, padding_configs, strict=True)]
    return [
        slice(ct, [at.start for at in place], [at.stop for at in place], [at.step for at in place])
        if type(x) is UndefinedPrimal
        else None
        for x, place in zip(operands, places, strict=True)
    ]


def _batch(
    size: int, operands: Sequence[Any], axes: Sequence[int | None], *, padding_configs: Configs
) -> tuple[Any, int]:
    return sum_padded(align(size, operands, axes, 0), [((0, 0, 0), *config) for config in padding_configs]), 0


sum_padded_p = Primitive("sum_padded")
sum_padded_p.places_zeros = lambda operands, params: True
def_abstract(sum_padded_p, _abstract)
def_specialized_impl(sum_padded_p, _impl)
def_linear(sum_padded_p, _transpose)
def_batch(sum_padded_p, _batch)
