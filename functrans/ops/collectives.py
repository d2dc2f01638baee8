"""Collectives: operations among all members of a `vmap`, over the axis to which it gives a name.

Each primitive works over one axis, whose name and length are parameters of its equation. Batching over that axis makes
plain operations of it; over any other axis the collective stays. Sums over several names are sums one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np

from functrans.core.aval import Aval, aval_of
from functrans.core.axis_names import BoundAxis, lookup_axis
from functrans.core.primitive import Primitive
from functrans.core.rules import (
    BatchAxis,
    declare_absent,
    def_abstract,
    def_constant,
    def_jvp,
    def_linear,
    def_program_batch,
    def_specialized_impl,
)
from functrans.errors import user_location
from functrans.ops.comparison import eq
from functrans.ops.conversion import convert_element_type
from functrans.ops.elementwise import add, div, mul
from functrans.ops.families import constant_like
from functrans.ops.iota import iota
from functrans.ops.reductions import reduce_max, reduce_min
from functrans.ops.shape import broadcast_in_dim, moveaxis, reduce_sum, reshape
from functrans.tree import flatten, leaf_path, unflatten

__all__ = [
    "all_gather",
    "all_gather_p",
    "axis_index",
    "axis_index_p",
    "axis_size",
    "bind_over",
    "check_first_axis",
    "collective",
    "gather_own",
    "named_axes",
    "on_leaves",
    "parts_along",
    "place_of",
    "pmax",
    "pmax_p",
    "pmean",
    "pmin",
    "pmin_p",
    "psum",
    "psum_p",
    "psum_scatter",
    "psum_scatter_p",
    "total_size",
]

AxisName = Hashable
Rule = Callable[..., tuple[Any, int | None]]


def named_axes(axis_name: Any) -> list[BoundAxis]:
    """The axes that a name, or a sequence of names, stands for, outermost of the result first."""
    names = list(axis_name) if isinstance(axis_name, (tuple, list)) else [axis_name]
    for name in names:
        if name is None or isinstance(name, (int, float, np.generic)):
            raise TypeError(
                f"an axis name at {user_location()} must be that of a vmap (axis_name=...), such as a string, got "
                f"{name!r}. To sum over an axis of the array itself: functrans.numpy.sum(x, axis={name!r})."
            )
    if len(set(names)) != len(names):
        raise ValueError(f"axis names at {user_location()} must differ, got {tuple(names)!r}")
    return [lookup_axis(name) for name in names]


def on_leaves(name: str, x: Any, apply: Callable[[Any], Any]) -> Any:
    """A function of one array on all leaves of a pytree."""
    leaves, treedef = flatten(x)
    for place, leaf in enumerate(leaves):
        try:
            aval_of(leaf)
            leaves[place] = apply(leaf)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{name} of x{leaf_path(treedef, place)} at {user_location()}: {error}") from None
    return unflatten(treedef, leaves)


def bind_over(primitive: Primitive, axes: Sequence[BoundAxis], x: Any, **params: Any) -> Any:
    """A collective over several axes: one after the other, the innermost of the result first."""
    for axis in reversed(axes):
        x = primitive.bind(x, axis_name=axis.name, axis_size=axis.size, **params)
    return x


def total_size(axes: Sequence[BoundAxis]) -> int:
    """The number of members along all of the axes together."""
    total = 1
    for axis in axes:
        total *= axis.size
    return total


def place_of(axis: Any, ndim: int, what: str, among: str = "{} axes") -> int:
    """An axis as a number from 0 on.

    Args:
        axis: an int, which may be negative.
        ndim: how many axes there are.
        what, among: for messages: the parameter, and what it chooses from.
    """
    if isinstance(axis, (bool, np.bool_)) or not isinstance(axis, (int, np.integer)):
        raise TypeError(f"{what} must be an int, got {axis!r}")
    if not -ndim <= axis < ndim:
        raise ValueError(f"{what}={axis} is out of range for {among.format(ndim)}")
    return int(axis) % ndim


def _is_number(x: Any) -> bool:
    return isinstance(x, (bool, int, float, complex)) and not isinstance(x, np.generic)


def collective(name: str, kinds: str, own: Rule, shape: Callable[..., tuple[int, ...]] | None = None) -> Primitive:
    """A primitive of one operand over one named axis.

    Args:
        name: its name.
        kinds: the kinds of dtype that it takes.
        own: how it is batched over its own axis: `own(size, x, axis, **params) -> (out, axis)`, where the batch axis of
            x is None if all members share it.
        shape: the shape of the result, from that of the operand and the parameters; the same if not given.
    """
    primitive = Primitive(name)
    primitive.is_collective = True

    def abstract(x: Aval, *, axis_name: AxisName, axis_size: int, **params: Any) -> Aval:
        if x.dtype.kind not in kinds:
            raise TypeError(f"{name} does not take {x.strong}")
        return x if shape is None else x.with_shape(shape(x, axis_size, **params))

    def batch(
        axis: BatchAxis,
        operands: Sequence[Any],
        axes: Sequence[int | None],
        *,
        axis_name: AxisName,
        axis_size: int,
        **params: Any,
    ) -> tuple[Any, int | None]:
        (x,), (along,) = operands, axes
        if axis.name == axis_name:
            _check_length(name, axis, axis_size)
            return own(axis_size, x, along, **params)
        assert along is not None, "it is batched over another axis, or is not batched"
        last = x.ndim - 1
        out = primitive.bind(moveaxis(x, along, last), axis_name=axis_name, axis_size=axis_size, **params)
        return out, out.ndim - 1

    def_specialized_impl(primitive, _unbound)
    def_abstract(primitive, abstract)
    def_program_batch(primitive, batch)
    return primitive


def _check_length(name: str, axis: BatchAxis, axis_size: int) -> None:
    if axis.size != axis_size:
        raise ValueError(
            f"{name} over the axis {axis.name!r} was recorded where that had length {axis_size}, and is mapped over "
            f"another of the same name, of length {axis.size}. Give the axes different names."
        )


def _unbound(*avals: Aval, axis_name: AxisName, **params: Any) -> Any:
    """A collective has no value of its own: it becomes other operations when the axis is mapped over."""
    lookup_axis(axis_name)
    raise TypeError(f"a collective over {axis_name!r} has no value before the function that is mapped has returned")


# --------------------------------------------------------------------------------------------------------------------
# Sums


def psum(x: Any, axis_name: Any) -> Any:
    """The sum over all members of the `vmap` that names the axis.

    Args:
        x: an array or a pytree of them; booleans count as integers.
        axis_name: the name of an axis, or a tuple of names.

    Returns:
        What x is, the same for all members. What all members share is multiplied by their number; so
        `psum(1, axis_name)` is that number, a Python int.

    Raises:
        NameError: if the name is not bound; the message has those that are.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.vmap(lambda x: x / ft.lax.psum(x, "batch"), axis_name="batch")(np.array([1.0, 2.0, 5.0]))
    array([0.125, 0.25 , 0.625])
    """
    axes = named_axes(axis_name)
    return on_leaves("psum", x, lambda leaf: _psum(leaf, axes))


def _psum(x: Any, axes: Sequence[BoundAxis]) -> Any:
    if _is_number(x):
        return x * total_size(axes)
    if x.dtype.kind == "b":
        x = convert_element_type(x, np.int64)
    return bind_over(psum_p, axes, x)


def pmean(x: Any, axis_name: Any) -> Any:
    """The mean over all members of the `vmap` that names the axis; of integers a float.

    Arguments and errors are those of `psum`.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.vmap(lambda x: x - ft.lax.pmean(x, "batch"), axis_name="batch")(np.array([1.0, 2.0, 6.0]))
    array([-2., -1.,  3.])
    """
    axes = named_axes(axis_name)

    def mean(leaf: Any) -> Any:
        if _is_number(leaf):
            return leaf if isinstance(leaf, complex) else float(leaf)
        inexact = leaf if leaf.dtype.kind in "fc" else convert_element_type(leaf, np.float64)
        return div(bind_over(psum_p, axes, inexact), constant_like(inexact, total_size(axes)))

    return on_leaves("pmean", x, mean)


def _times(x: Any, size: int) -> Any:
    number = np.array(size).astype(x.dtype).item() if x.dtype.kind in "iu" else size
    return mul(x, constant_like(x, number))


def _psum_own(size: int, x: Any, axis: int | None) -> tuple[Any, int | None]:
    return (_times(x, size) if axis is None else reduce_sum(x, (axis,))), None


psum_p = collective("psum", "iufc", _psum_own)
def_linear(psum_p, lambda ct, x, **params: (psum_p.bind(ct, **params),))

# --------------------------------------------------------------------------------------------------------------------
# Maxima and minima


def pmax(x: Any, axis_name: Any) -> Any:
    """The maximum over all members of the `vmap` that names the axis; NaN if there is one.

    The derivative is shared equally among the members that have the maximum. Arguments and errors are those of `psum`.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.vmap(lambda x: ft.lax.pmax(x, "batch") - x, axis_name="batch")(np.array([1, 2, 6]))
    array([5, 4, 0])
    """
    axes = named_axes(axis_name)
    return on_leaves("pmax", x, lambda leaf: leaf if _is_number(leaf) else bind_over(pmax_p, axes, leaf))


def pmin(x: Any, axis_name: Any) -> Any:
    """The minimum over all members of the `vmap` that names the axis; as `pmax`."""
    axes = named_axes(axis_name)
    return on_leaves("pmin", x, lambda leaf: leaf if _is_number(leaf) else bind_over(pmin_p, axes, leaf))


def _extreme_jvp(t: Any, out: Any, x: Any, **params: Any) -> Any:
    winners = convert_element_type(eq(x, out), t.dtype)
    return div(psum_p.bind(mul(t, winners), **params), psum_p.bind(winners, **params))


def _extreme(name: str, reduce: Callable[..., Any]) -> Primitive:
    def own(size: int, x: Any, axis: int | None) -> tuple[Any, int | None]:
        return (x if axis is None else reduce(x, (axis,))), None

    primitive = collective(name, "biufc", own)
    def_jvp(primitive, _extreme_jvp)
    declare_absent(primitive, "transpose", "not linear")
    return primitive


pmax_p = _extreme("pmax", reduce_max)
pmin_p = _extreme("pmin", reduce_min)

# --------------------------------------------------------------------------------------------------------------------
# The place along the axis


def axis_index(axis_name: Any) -> Any:
    """The place of the member along the named axis, an int64 scalar; with several names, counted in C order.

    Raises:
        NameError: if the name is not bound.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.vmap(lambda x: x + ft.lax.axis_index("batch"), axis_name="batch")(np.array([10, 10, 10]))
    array([10, 11, 12])
    """
    place: Any = None
    for axis in named_axes(axis_name):
        own = axis_index_p.bind(axis_name=axis.name, axis_size=axis.size)
        place = own if place is None else add(mul(place, axis.size), own)
    return 0 if place is None else place


def axis_size(axis_name: Any) -> int:
    """The number of members along the named axis, an int; with several names, of all together.

    Raises:
        NameError: if the name is not bound.
    """
    return total_size(named_axes(axis_name))


def _axis_index_batch(
    axis: BatchAxis, operands: Sequence[Any], axes: Sequence[int | None], *, axis_name: AxisName, axis_size: int
) -> tuple[Any, int]:
    _check_length("axis_index", axis, axis_size)
    return iota(np.int64, axis_size), 0


axis_index_p = Primitive("axis_index")
axis_index_p.is_collective = True
def_specialized_impl(axis_index_p, _unbound)
def_abstract(axis_index_p, lambda *, axis_name, axis_size: Aval((), np.dtype(np.int64)))
def_constant(axis_index_p, 0, "it has no operands")
def_program_batch(axis_index_p, _axis_index_batch)

# --------------------------------------------------------------------------------------------------------------------
# all_gather and psum_scatter, each the other's transpose


def all_gather(x: Any, axis_name: Any, *, axis: int = 0, tiled: bool = False) -> Any:
    """What all members of the `vmap` that names the axis have, stacked.

    Args:
        x: an array or a pytree of them.
        axis_name: the name of an axis, or a tuple of names, of which the first varies slowest.
        axis: the axis of the result along which the members are.
        tiled: whether they are concatenated along an axis that x has already, instead of stacked along a new one.

    Raises:
        NameError: if the name is not bound.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.vmap(lambda x: ft.lax.all_gather(x, "batch"), axis_name="batch")(np.array([1, 2]))
    array([[1, 2],
           [1, 2]])
    """
    axes = named_axes(axis_name)

    def gathered(leaf: Any) -> Any:
        shape = aval_of(leaf).shape
        place = place_of(axis, len(shape) + (not tiled), "axis")
        stack = reshape(bind_over(all_gather_p, axes, leaf), (total_size(axes), *shape))
        stack = moveaxis(stack, 0, place)
        if not tiled:
            return stack
        return reshape(stack, (*shape[:place], total_size(axes) * shape[place], *shape[place + 1 :]))

    return on_leaves("all_gather", x, gathered)


def psum_scatter(x: Any, axis_name: Any, *, scatter_dimension: int = 0, tiled: bool = False) -> Any:
    """The sum over all members of the `vmap` that names the axis, of which each gets its own part.

    Args:
        x: an array or a pytree of them.
        axis_name: the name of an axis, or a tuple of names, of which the first varies slowest.
        scatter_dimension: the axis of x along which the parts are, as long as there are members; it is dropped.
        tiled: whether that axis is cut into as many pieces as there are members instead, and kept.

    Raises:
        NameError: if the name is not bound.
        ValueError: if the axis does not have the length.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.vmap(lambda x: ft.lax.psum_scatter(x, "batch"), axis_name="batch")(np.array([[1, 2], [10, 20]]))
    array([11, 22])
    """
    axes = named_axes(axis_name)

    def scattered(leaf: Any) -> Any:
        leaf = leaf if aval_of(leaf).dtype.kind != "b" else convert_element_type(leaf, np.int64)
        parts, place = parts_along(leaf, axes, scatter_dimension, tiled, "scatter_dimension")
        for axis in axes:
            parts = psum_scatter_p.bind(parts, axis_name=axis.name, axis_size=axis.size)
        return moveaxis(parts, 0, place) if tiled else parts

    return on_leaves("psum_scatter", x, scattered)


def parts_along(x: Any, axes: Sequence[BoundAxis], axis: int, tiled: bool, what: str) -> tuple[Any, int]:
    """An array with an axis for each named one in front, along which it is cut, and the place where it was cut."""
    aval, total = aval_of(x), total_size(axes)
    place = place_of(axis, aval.ndim, what)
    length = aval.shape[place]
    if (length != total) if not tiled else (total == 0 or length % total):
        wanted = f"a multiple of {total}" if tiled else f"{total}"
        raise ValueError(
            f"axis {place} of {aval.strong}, of length {length}, is shared out among the members along "
            f"{', '.join([repr(a.name) for a in axes])}: its length must be {wanted}"
        )
    shape, sizes = aval.shape, [a.size for a in axes]
    if not tiled:
        return reshape(moveaxis(x, place, 0), (*sizes, *shape[:place], *shape[place + 1 :])), place
    cut = reshape(x, (*shape[:place], total, length // total, *shape[place + 1 :]))
    cut = moveaxis(moveaxis(cut, place, 0), place + 1, 1)  # the pieces, then what is in them
    return reshape(cut, (*sizes, *cut.shape[1:])), place


def gather_own(size: int, x: Any, axis: int | None) -> tuple[Any, None]:
    if axis is not None:
        return moveaxis(x, axis, 0), None
    return broadcast_in_dim(x, (size, *x.shape), range(1, x.ndim + 1)), None


all_gather_p = collective("all_gather", "biufc", gather_own, lambda x, size: (size, *x.shape))
"""The values of all members, stacked along a new first axis."""


def _psum_scatter_own(size: int, x: Any, axis: int | None) -> tuple[Any, int]:
    return (_times(x, size) if axis is None else reduce_sum(x, (axis,))), 0


def _psum_scatter_shape(x: Aval, size: int) -> tuple[int, ...]:
    check_first_axis("psum_scatter", x, size)
    return x.shape[1:]


def check_first_axis(name: str, x: Aval, size: int) -> None:
    if not x.ndim or x.shape[0] != size:
        raise TypeError(f"{name}: the first axis of {x.strong} must have the length of the named one, {size}")


psum_scatter_p = collective("psum_scatter", "iufc", _psum_scatter_own, _psum_scatter_shape)
"""The sum over all members, of which member i gets the part i along the first axis."""
def_linear(all_gather_p, lambda ct, x, **params: (psum_scatter_p.bind(ct, **params),))
def_linear(psum_scatter_p, lambda ct, x, **params: (all_gather_p.bind(ct, **params),))
