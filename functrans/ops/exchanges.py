"""Collectives that hand values from member to member; `collectives.py` says what a collective is."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from typing import Any

import numpy as np

from functrans.core.aval import Aval, aval_of
from functrans.core.rules import def_linear, zeros_like
from functrans.errors import user_location
from functrans.ops.collectives import (
    all_gather_p,
    axis_index,
    axis_index_p,
    axis_size,
    bind_over,
    check_first_axis,
    collective,
    gather_own,
    named_axes,
    on_leaves,
    parts_along,
    place_of,
    psum_p,
    total_size,
)
from functrans.ops.comparison import eq, select
from functrans.ops.constant import Constant, constant_p
from functrans.ops.indexing import GatherDimensionNumbers, gather
from functrans.ops.shape import broadcast_in_dim, moveaxis, reshape
from functrans.ops.slicing import index_in_dim

__all__ = [
    "all_to_all",
    "all_to_all_p",
    "pbroadcast",
    "pbroadcast_p",
    "ppermute",
    "ppermute_p",
    "pshuffle",
    "pswapaxes",
]

Pairs = tuple[tuple[int, int], ...]

# --------------------------------------------------------------------------------------------------------------------
# all_to_all


def all_to_all(x: Any, axis_name: Any, split_axis: int, concat_axis: int, *, tiled: bool = False) -> Any:
    """Each member gives its part j to member j: a transposition of the named axis with one of x.

    Args:
        x: an array or a pytree of them.
        axis_name: the name of an axis, or a tuple of names, of which the first varies slowest.
        split_axis: the axis of x along which the parts are, as long as there are members.
        concat_axis: the axis of the result along which the parts that were received are.
        tiled: whether both axes are kept: the first is cut into as many pieces as there are members, and what was
            received is concatenated along the second.

    Raises:
        NameError: if the name is not bound.
        ValueError: if the axis does not have the length.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.vmap(lambda x: ft.lax.all_to_all(x, "batch", 0, 0), axis_name="batch")(np.array([[1, 2], [10, 20]]))
    array([[ 1, 10],
           [ 2, 20]])
    """
    axes = named_axes(axis_name)

    def exchanged(leaf: Any) -> Any:
        parts, split = parts_along(leaf, axes, split_axis, tiled, "split_axis")
        for axis in axes:  # the axis that has been exchanged goes behind the others
            parts = all_to_all_p.bind(parts, axis_name=axis.name, axis_size=axis.size)
            parts = moveaxis(parts, 0, len(axes) - 1)
        parts = reshape(parts, (total_size(axes), *parts.shape[len(axes) :]))
        if not tiled:
            return moveaxis(parts, 0, place_of(concat_axis, parts.ndim, "concat_axis"))
        concat = place_of(concat_axis, parts.ndim - 1, "concat_axis")
        parts = moveaxis(moveaxis(parts, 1, split + 1), 0, concat)
        shape = parts.shape
        return reshape(parts, (*shape[:concat], shape[concat] * shape[concat + 1], *shape[concat + 2 :]))

    return on_leaves("all_to_all", x, exchanged)


def pswapaxes(x: Any, axis_name: Any, axis: int) -> Any:
    """The named axis exchanged with one of x, which must have its length: `all_to_all(x, axis_name, axis, axis)`."""
    return all_to_all(x, axis_name, axis, axis)


def _all_to_all_own(size: int, x: Any, axis: int | None) -> tuple[Any, int]:
    if axis is not None:
        return moveaxis(x, axis, 0), 1
    return broadcast_in_dim(x, (size, size, *x.shape[1:]), (0, *range(2, x.ndim + 1))), 0


def _all_to_all_shape(x: Aval, size: int) -> tuple[int, ...]:
    check_first_axis("all_to_all", x, size)
    return x.shape


all_to_all_p = collective("all_to_all", "biufc", _all_to_all_own, _all_to_all_shape)
"""Member i gets, as its part j along the first axis, part i of member j."""
def_linear(all_to_all_p, lambda ct, x, **params: (all_to_all_p.bind(ct, **params),))

# --------------------------------------------------------------------------------------------------------------------
# ppermute and pbroadcast


def ppermute(x: Any, axis_name: Any, perm: Sequence[tuple[int, int]]) -> Any:
    """Values handed from member to member along the named axis.

    Args:
        x: an array or a pytree of them.
        axis_name: the name of an axis, or a tuple of names, over which members are counted in C order.
        perm: pairs `(source, destination)`, in which no source and no destination comes twice.

    Returns:
        What the source of the member has; zeros for a member that is no destination.

    Raises:
        NameError: if the name is not bound.
        ValueError: if a pair is out of range, or a source or destination comes twice.

    >>> import numpy as np
    >>> import functrans as ft
    >>> shift = [(0, 1), (1, 2)]
    >>> ft.vmap(lambda x: ft.lax.ppermute(x, "batch", shift), axis_name="batch")(np.array([1, 2, 3]))
    array([0, 1, 2])
    """
    axes = named_axes(axis_name)
    pairs = _checked_pairs(perm, total_size(axes))
    if len(axes) == 1:
        return on_leaves("ppermute", x, lambda leaf: bind_over(ppermute_p, axes, leaf, perm=pairs))
    sources = _sources(pairs, total_size(axes))
    own = gather(sources, reshape(axis_index(axis_name), (1,)), _MEMBERS, (1,), mode="clip")

    def permuted(leaf: Any) -> Any:
        shape = aval_of(leaf).shape
        stack = reshape(bind_over(all_gather_p, axes, leaf), (total_size(axes), *shape))
        return _members(stack, reshape(own, (1,)))

    return on_leaves("ppermute", x, permuted)


def pshuffle(x: Any, axis_name: Any, perm: Sequence[int]) -> Any:
    """Values permuted along the named axis: member i gets what member `perm[i]` has.

    Arguments and errors are those of `ppermute`, but that `perm` is a permutation of `range(axis_size(axis_name))`.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.vmap(lambda x: ft.lax.pshuffle(x, "batch", [2, 0, 1]), axis_name="batch")(np.array([10, 20, 30]))
    array([30, 10, 20])
    """
    total = axis_size(axis_name)
    if sorted(perm) != list(range(total)):
        raise ValueError(
            f"pshuffle at {user_location()}: perm must be a permutation of range({total}), the members along "
            f"{axis_name!r}, got {list(perm)!r:.80}"
        )
    return ppermute(x, axis_name, [(source, destination) for destination, source in enumerate(perm)])


def _checked_pairs(perm: Sequence[tuple[int, int]], total: int) -> Pairs:
    try:
        pairs: Pairs = tuple([(index(source), index(destination)) for source, destination in perm])
    except (TypeError, ValueError):
        raise TypeError(
            f"ppermute at {user_location()}: perm must be pairs (source, destination) of ints, got {perm!r:.80}"
        ) from None
    for what, ends in (("source", [s for s, _ in pairs]), ("destination", [d for _, d in pairs])):
        outside = [end for end in ends if not 0 <= end < total]
        if outside:
            raise ValueError(
                f"ppermute at {user_location()}: {what} {outside[0]} is not one of the {total} members, "
                f"0 to {total - 1}"
            )
        if len(set(ends)) != len(ends):
            twice = next(end for end in ends if ends.count(end) > 1)
            raise ValueError(
                f"ppermute at {user_location()}: {what} {twice} comes more than once in perm; to hand one value to "
                "several members take pbroadcast, or all_gather and an index"
            )
    return pairs


_MEMBERS = GatherDimensionNumbers(offset_dims=(), collapsed_slice_dims=(0,), start_index_map=(0,))


def _sources(pairs: Pairs, size: int) -> Any:
    """For each member the number of its source; one that does not exist where it has none."""
    sources = np.full(size, size)
    for source, destination in pairs:
        sources[destination] = source
    return constant_p.bind(value=Constant(sources))


def _members(stack: Any, numbers: Any) -> Any:
    """Members of a stack, by their numbers, stacked in the shape of these but for the last axis; zeros if outside."""
    n_numbers = numbers.ndim - 1
    dims = GatherDimensionNumbers(
        offset_dims=tuple(range(n_numbers, n_numbers + stack.ndim - 1)), collapsed_slice_dims=(0,), start_index_map=(0,)
    )
    return gather(stack, numbers, dims, (1, *stack.shape[1:]), mode="fill", fill_value=0)


def _ppermute_own(size: int, x: Any, axis: int | None, *, perm: Pairs) -> tuple[Any, int | None]:
    if axis is None and len(perm) == size:
        return x, None
    stack = gather_own(size, x, axis)[0]
    return _members(stack, reshape(_sources(perm, size), (size, 1))), 0


def _ppermute_transpose(ct: Any, x: Any, *, perm: Pairs, **params: Any) -> tuple[Any]:
    backwards = tuple([(destination, source) for source, destination in perm])
    return (ppermute_p.bind(ct, perm=backwards, **params),)


ppermute_p = collective("ppermute", "biufc", _ppermute_own, lambda x, size, perm: x.shape)
def_linear(ppermute_p, _ppermute_transpose)


def pbroadcast(x: Any, axis_name: Any, source: int) -> Any:
    """What one member has, for all members along the named axis.

    Args:
        x: an array or a pytree of them.
        axis_name: the name of an axis.
        source: the number of the member.

    Raises:
        NameError: if the name is not bound.
        ValueError: if there is no such member.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.vmap(lambda x: x - ft.lax.pbroadcast(x, "batch", 0), axis_name="batch")(np.array([10, 20, 50]))
    array([ 0, 10, 40])
    """
    axes = named_axes(axis_name)
    if len(axes) != 1:
        raise ValueError(f"pbroadcast at {user_location()} takes the name of one axis, got {axis_name!r}")
    place = place_of(source, axes[0].size, f"pbroadcast at {user_location()}: source", "the {} members")
    return on_leaves("pbroadcast", x, lambda leaf: bind_over(pbroadcast_p, axes, leaf, source=place))


def _pbroadcast_own(size: int, x: Any, axis: int | None, *, source: int) -> tuple[Any, None]:
    return (x if axis is None else index_in_dim(x, source, axis, keepdims=False)), None


def _pbroadcast_transpose(ct: Any, x: Any, *, source: int, **params: Any) -> tuple[Any]:
    total = psum_p.bind(ct, **params)
    return (select(eq(axis_index_p.bind(**params), source), total, zeros_like(total)),)


pbroadcast_p = collective("pbroadcast", "biufc", _pbroadcast_own, lambda x, size, source: x.shape)
def_linear(pbroadcast_p, _pbroadcast_transpose)
