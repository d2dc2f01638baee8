"""Reductions by a computation that the user gives: reduce and reduce_window.

The computation joins two values, and must be associative; then many pairs can be joined at once, and n values take
log2(n) steps. One that is a primitive (a sum, a maximum) is recognised, and NumPy's own reduction does the work.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from functrans.api.arguments import array_outputs, flatten_arguments, name_of, record, value_of_leaf
from functrans.api.execution import run_program
from functrans.core.aval import Aval, aval_of
from functrans.core.jaxpr import Jaxpr, Literal
from functrans.core.primitive import Primitive
from functrans.core.recording import UNKNOWN
from functrans.dtypes import result_type
from functrans.errors import hide_frames
from functrans.ops.bitwise import and_p, or_p, xor_p
from functrans.ops.conversion import convert_element_type
from functrans.ops.elementwise import add_p, mul_p
from functrans.ops.identity import copy
from functrans.ops.joining import concatenate
from functrans.ops.reductions import reduce_and, reduce_max, reduce_min, reduce_or, reduce_prod, reduce_xor
from functrans.ops.selection import max_p, min_p
from functrans.ops.shape import broadcast_in_dim, reduce_sum, reshape, transpose
from functrans.ops.slicing import pad, slice_in_dim
from functrans.ops.window_reductions import (
    Windowing,
    reduce_window_max,
    reduce_window_min,
    reduce_window_sum,
    reduced_windows,
)
from functrans.passes.inline import inline
from functrans.passes.pipeline import tidied
from functrans.transforms.batch import BatchAxis, batch_to
from functrans.tree import TreeDef, flatten, leaf_path, unflatten

__all__ = ["reduce", "reduce_window"]

Shape = tuple[int, ...]


def reduce(operands: Any, init_values: Any, computation: Callable[[Any, Any], Any], dimensions: Sequence[int]) -> Any:
    """Axes of an array reduced by joining their elements two by two.

    Args:
        operands: an array, or a pytree of arrays of one shape that are reduced together.
        init_values: what joins with any value to the value itself, such as 0 for a sum; a scalar for each of the
            arrays, of its dtype. It is joined to each result once, and is the result where the axes have no elements.
        computation: from two scalars, or pytrees of scalars, to one. It must be associative. It is recorded; its
            arguments are unknown meanwhile.
        dimensions: the axes.

    Returns:
        The arrays without these axes.

    Raises:
        TypeError: if shapes, dtypes or structures do not fit each other, naming the leaf.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.lax.reduce(np.array([[1.0, 2.0], [3.0, 4.0]]), 0.0, lambda x, y: x + y, (0,))
    array([4., 6.])
    >>> ft.lax.reduce(np.array([0.5, 0.5, 0.5]), 0.0, lambda x, y: x + y - x * y, (0,))
    np.float64(0.875)
    """
    try:
        return _reduce(operands, init_values, computation, dimensions)
    except Exception as error:
        raise hide_frames(error)  # noqa: B904  (it is the same error)


def reduce_window(
    operand: Any,
    init_value: Any,
    computation: Callable[[Any, Any], Any],
    window_dimensions: Sequence[int],
    window_strides: Sequence[int] | None = None,
    padding: str | Sequence[tuple[int, int]] = "VALID",
    base_dilation: Sequence[int] | None = None,
    window_dilation: Sequence[int] | None = None,
) -> Any:
    """Windows of an array, each reduced by joining its elements two by two: pooling.

    Args:
        operand: an array, or a pytree of arrays of one shape that are reduced together.
        init_value: what joins with any value to the value itself; a scalar for each of the arrays, of its dtype. It is
            joined to each result once, and padding is made of it.
        computation: from two scalars, or pytrees of scalars, to one; see `reduce`.
        window_dimensions: the length of a window along each axis.
        window_strides: how far apart windows begin; 1 if not given.
        padding: "VALID" for none, "SAME" for as much as makes the result as long as the operand divided by the stride,
            the odd element behind ("SAME_LOWER": in front), or how many elements to put before and behind each axis.
            What "SAME" is does not depend on `base_dilation`, as in JAX.
        base_dilation: put so many less one elements of padding between the elements of the operand.
        window_dilation: how far apart the elements of a window are; 1 if not given.

    Returns:
        The arrays of what the windows reduce to.

    Raises:
        TypeError: if shapes, dtypes or structures do not fit each other.
        ValueError: if lengths, strides, padding or dilations do not fit the operand.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.lax.reduce_window(np.array([1.0, 5.0, 2.0, 3.0]), -np.inf, ft.lax.max, (2,), (2,))
    array([5., 3.])
    """
    try:
        windows = (window_dimensions, window_strides, padding, base_dilation, window_dilation)
        return _reduce_window(operand, init_value, computation, *windows)
    except Exception as error:
        raise hide_frames(error)  # noqa: B904  (it is the same error)


# --------------------------------------------------------------------------------------------------------------------
# Operands and the computation


class _Operands(NamedTuple):
    """Arrays of one shape that are reduced together."""

    arrays: list[Any]
    init: list[Any]
    treedef: TreeDef

    @property
    def avals(self) -> list[Aval]:
        """The avals of single elements."""
        return [Aval((), x.dtype) for x in self.arrays]


def _operands(name: str, operands: Any, init_values: Any) -> _Operands:
    leaves, treedef = flatten(operands)
    init_leaves, init_tree = flatten(init_values)
    if not leaves:
        raise TypeError(f"{name}: there is no array in the operand")
    if init_tree != treedef:
        raise TypeError(f"{name}: there must be one initial value for each operand, of {treedef}, got {init_tree}")
    paths = [leaf_path(treedef, place) for place in range(len(leaves))]
    arrays = [_array(name, f"operand{path}", x)[1] for path, x in zip(paths, leaves, strict=True)]
    shapes = [aval_of(x).shape for x in arrays]
    if any([shape != shapes[0] for shape in shapes]):
        lines = [f"  operand{path} is {aval_of(x).strong}" for path, x in zip(paths, arrays, strict=True)]
        raise TypeError(f"{name}: operands that are reduced together must have one shape, but\n" + "\n".join(lines))
    init = []
    for path, x, value in zip(paths, arrays, init_leaves, strict=True):
        aval, start = _array(name, f"init_value{path}", value)
        wanted = aval_of(x).dtype
        joined = result_type(Literal(0, Aval((), wanted)), Literal(0, aval)) if aval.weak else aval.dtype
        if aval.shape or joined != wanted:
            raise TypeError(
                f"{name}: the initial value must be a scalar of the dtype of the operand, but init_value{path} is "
                f"{aval.strong} and operand{path} is {aval_of(x).strong}"
            )
        init.append(start if aval.dtype == wanted else convert_element_type(start, wanted))
    return _Operands(arrays, init, treedef)


def _array(name: str, path: str, leaf: Any) -> tuple[Aval, Any]:
    aval, value = value_of_leaf(leaf)
    if aval is None:
        raise TypeError(f"{name}: {path} must be an array or a number, got {leaf!r:.60} of type {type(leaf).__name__}")
    return aval, value


class _Computation(NamedTuple):
    """A recorded computation."""

    jaxpr: Jaxpr
    """From two values, all parts of the first and all parts of the second, and what it captured."""
    captured: list[Any]

    def recognised(self) -> Primitive | None:
        """The primitive that it is, if it is one of two scalars."""
        if len(self.jaxpr.eqns) != 1 or self.captured or self.jaxpr.outs != (0,):
            return None
        eqn = self.jaxpr.eqns[0]
        is_known = eqn.primitive in _MONOIDS and set(eqn.inputs) == {-1, -2}
        # There is no smallest complex number from which a maximum could start.
        orders = eqn.primitive in (max_p, min_p) and eqn.in_avals[0].dtype.kind == "c"
        return eqn.primitive if is_known and not orders else None

    def join(self, xs: Sequence[Any], ys: Sequence[Any]) -> list[Any]:
        """Arrays of values joined element by element."""
        shape = xs[0].shape
        primitive = self.recognised()
        if primitive is not None:
            return [primitive.bind(xs[0], ys[0])]
        size = math.prod(shape)
        axes = (*(0,) * (2 * len(xs)), *(None,) * len(self.captured))
        program = batch_to(self.jaxpr, BatchAxis(size), axes, (0,) * len(xs))
        flat = [reshape(x, (size,)) for x in (*xs, *ys)]
        return [reshape(x, shape) for x in run_program(program, [*flat, *self.captured])]


def _computation(name: str, computation: Any, operands: _Operands) -> _Computation:
    if not callable(computation):
        raise TypeError(f"{name} needs a function of two values, got {computation!r:.80}")
    treedef, avals = operands.treedef, operands.avals
    value = unflatten(treedef, [np.zeros((), aval.dtype) for aval in avals])
    arguments = flatten_arguments(computation, (value, value), {})._replace(avals=avals + avals)

    def outputs(out: Any) -> tuple[list[Any], None]:
        leaves, found = array_outputs(computation, out)
        if found != treedef:
            raise TypeError(
                f"{name}: {name_of(computation)} must return a value of the structure of the operand, {treedef}, but "
                f"returned {found}"
            )
        return [_fitting(name, computation, x, aval) for x, aval in zip(leaves, avals, strict=True)], None

    recorded = record(arguments, [UNKNOWN] * (2 * len(avals)), outputs, staging=True)
    return _Computation(tidied(inline(recorded.jaxpr)), recorded.values[2 * len(avals) :])


def _fitting(name: str, computation: Any, x: Any, aval: Aval) -> Any:
    given = aval_of(x)
    if given.shape or (given.dtype != aval.dtype and not given.weak):
        raise TypeError(
            f"{name}: {name_of(computation)} must return a scalar of the dtype that it gets, {aval.dtype.name}, but "
            f"returned {given.strong}"
        )
    return x if given.dtype == aval.dtype else convert_element_type(x, aval.dtype)


class _Monoid(NamedTuple):
    """What is known of a primitive that joins two values."""

    reduce: Callable[[Any, Sequence[int]], Any]
    identity: Callable[[np.dtype[Any]], Any]
    """What joins with any value to the value itself."""
    windows: Callable[..., Any] | None = None


def _lowest(dtype: np.dtype[Any]) -> Any:
    return -np.inf if dtype.kind == "f" else False if dtype.kind == "b" else np.iinfo(dtype).min


def _highest(dtype: np.dtype[Any]) -> Any:
    return np.inf if dtype.kind == "f" else True if dtype.kind == "b" else np.iinfo(dtype).max


def _all_ones(dtype: np.dtype[Any]) -> Any:
    return True if dtype.kind == "b" else ~dtype.type(0)


_MONOIDS: dict[Primitive, _Monoid] = {
    add_p: _Monoid(reduce_sum, lambda dtype: 0, reduce_window_sum),
    mul_p: _Monoid(reduce_prod, lambda dtype: 1),
    max_p: _Monoid(reduce_max, _lowest, reduce_window_max),
    min_p: _Monoid(reduce_min, _highest, reduce_window_min),
    and_p: _Monoid(reduce_and, _all_ones),
    or_p: _Monoid(reduce_or, lambda dtype: 0),
    xor_p: _Monoid(reduce_xor, lambda dtype: 0),
}


def _identity(primitive: Primitive, dtype: np.dtype[Any]) -> Any:
    """What joins with any value to the value itself."""
    return dtype.type(_MONOIDS[primitive].identity(dtype))


def _is_identity(primitive: Primitive, init: Any) -> bool:
    """Whether an initial value is known to change nothing."""
    return isinstance(init, (np.ndarray, np.generic)) and bool(init == _identity(primitive, init.dtype))


# --------------------------------------------------------------------------------------------------------------------
# reduce


def _reduce(operands: Any, init_values: Any, computation: Any, dimensions: Any) -> Any:
    given = _operands("reduce", operands, init_values)
    shape = given.arrays[0].shape
    axes = _axes(dimensions, len(shape))
    recorded = _computation("reduce", computation, given)
    if not axes:
        return unflatten(given.treedef, [copy(x) for x in given.arrays])
    rest = tuple([n for d, n in enumerate(shape) if d not in axes])
    start = [broadcast_in_dim(x, rest, ()) for x in given.init]
    if not math.prod([shape[d] for d in axes]):
        return unflatten(given.treedef, start)
    primitive = recorded.recognised()
    if primitive is not None:
        (operand,) = given.arrays
        result = [_MONOIDS[primitive].reduce(operand, axes)]
        if _is_identity(primitive, given.init[0]):
            return unflatten(given.treedef, result)
    else:
        order = [*axes, *[d for d in range(len(shape)) if d not in axes]]
        result = _halved([_front(x, order, rest) for x in given.arrays], recorded)
    return unflatten(given.treedef, [_as_numpy_gives_it(x) for x in recorded.join(start, result)])


def _as_numpy_gives_it(x: Any) -> Any:
    """A result without axes is a NumPy scalar."""
    return x[()] if type(x) is np.ndarray and not x.shape else x


def _front(x: Any, order: Sequence[int], rest: Shape) -> Any:
    """The axes that are reduced as one axis in front."""
    n = math.prod([x.shape[d] for d in order[: len(order) - len(rest)]])
    return reshape(transpose(x, order), (n, *rest))


def _halved(xs: list[Any], computation: _Computation) -> list[Any]:
    """The first axis reduced, neighbour with neighbour."""
    n = xs[0].shape[0]
    while n > 1:
        even, odd = [[slice_in_dim(x, start, n - n % 2, 2) for x in xs] for start in (0, 1)]
        last = [slice_in_dim(x, n - 1, n) for x in xs]
        xs = computation.join(even, odd)
        if n % 2:
            xs = [concatenate([x, y], 0) for x, y in zip(xs, last, strict=True)]
        n = n // 2 + n % 2
    return [reshape(x, x.shape[1:]) for x in xs]


def _axes(dimensions: Any, ndim: int) -> Shape:
    given = tuple([operator.index(d) for d in dimensions])
    if len(set(given)) != len(given) or any([not -ndim <= d < ndim for d in given]):
        raise ValueError(f"reduce: dimensions must be different axes of an operand with {ndim} axes, got {given}")
    axes = tuple(sorted([d % ndim for d in given]))
    if len(set(axes)) != len(axes):
        raise ValueError(f"reduce: dimensions must be different axes of an operand with {ndim} axes, got {given}")
    return axes


# --------------------------------------------------------------------------------------------------------------------
# reduce_window


def _reduce_window(
    operand: Any,
    init_value: Any,
    computation: Any,
    window_dimensions: Any,
    window_strides: Any,
    padding: Any,
    base_dilation: Any,
    window_dilation: Any,
) -> Any:
    given = _operands("reduce_window", operand, init_value)
    shape = given.arrays[0].shape
    windowing = (
        _lengths("window_dimensions", window_dimensions, shape),
        _lengths("window_strides", window_strides, shape),
        _lengths("window_dilation", window_dilation, shape),
    )
    base = _lengths("base_dilation", base_dilation, shape)
    config = [
        (before, behind, step - 1)
        for (before, behind), step in zip(window_padding(padding, shape, windowing), base, strict=True)
    ]
    recorded = _computation("reduce_window", computation, given)
    primitive = recorded.recognised()
    neutral = given.init if primitive is None else [_identity(primitive, given.arrays[0].dtype)]
    arrays = [pad(x, value, config) for x, value in zip(given.arrays, neutral, strict=True)]
    windows = None if primitive is None else _MONOIDS[primitive].windows
    if windows is not None and (arrays[0].dtype.kind in "iuf" or (arrays[0].dtype.kind == "c" and primitive is add_p)):
        result = [windows(arrays[0], *windowing)]
    else:
        result = reduced_windows(recorded.join, _slice, arrays, windowing)
    if primitive is None or not _is_identity(primitive, given.init[0]):
        start = [broadcast_in_dim(x, y.shape, ()) for x, y in zip(given.init, result, strict=True)]
        result = recorded.join(start, result)
    return unflatten(given.treedef, result)


def _slice(x: Any, axis: int, start: int, stop: int, stride: int) -> Any:
    return slice_in_dim(x, start, stop, stride, axis)


def _lengths(name: str, given: Any, shape: Shape) -> Shape:
    """A positive int for each axis; 1 if not given."""
    if given is None:
        return (1,) * len(shape)
    lengths = tuple([operator.index(n) for n in given])
    if len(lengths) != len(shape) or any([n < 1 for n in lengths]):
        raise ValueError(
            f"reduce_window: {name} must be a positive int for each of the {len(shape)} axes of the operand, whose "
            f"shape is {shape}, got {given}"
        )
    return lengths


def window_padding(padding: Any, shape: Shape, windowing: Windowing) -> list[tuple[int, int]]:
    """How many elements to put before and behind each axis."""
    if not isinstance(padding, str):
        given = [tuple([operator.index(n) for n in pair]) for pair in padding]
        if len(given) != len(shape) or any([len(pair) != 2 for pair in given]):
            raise ValueError(
                f"reduce_window: padding must be a pair of ints for each of the {len(shape)} axes of the operand, "
                f"got {padding}"
            )
        return [(pair[0], pair[1]) for pair in given]
    if padding.upper() == "VALID":
        return [(0, 0)] * len(shape)
    if padding.upper() not in ("SAME", "SAME_LOWER"):
        raise ValueError(
            f'reduce_window: padding must be "VALID", "SAME", "SAME_LOWER" or a sequence of pairs, got {padding!r}'
        )
    pairs = []
    for n, window, stride, dilation in zip(shape, *windowing, strict=True):
        needed = max((-(-n // stride) - 1) * stride + (window - 1) * dilation + 1 - n, 0) if n else 0
        less, more = needed // 2, needed - needed // 2
        pairs.append((less, more) if padding.upper() == "SAME" else (more, less))
    return pairs
