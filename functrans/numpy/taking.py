"""NumPy's functions that take elements by their indices, or by a condition.

Those whose result's shape depends on values (`compress`, `nonzero`, ...) need the values while they are recorded: they
work under `grad`, and raise under `jit`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from functrans import lax
from functrans.core.aval import Aval
from functrans.core.jaxpr import Literal
from functrans.core.recording import staging_open
from functrans.core.tracer import Tracer
from functrans.errors import user_location
from functrans.numpy.dispatch import record_call
from functrans.numpy.indexing import PROMISE, count_from_end, getitem, indices_of, known_array, select_items
from functrans.numpy.promotion import broadcast_to, same_dtype
from functrans.numpy.registry import FUNCTIONS, as_operand, has_tracer, implements, refuse_out

__all__ = [
    "argwhere",
    "compress",
    "extract",
    "flatnonzero",
    "nonzero",
    "put_along_axis",
    "take",
    "take_along_axis",
]

_INTP = np.dtype(np.intp)

# --------------------------------------------------------------------------------------------------------------------
# take


def take(
    a: Any, indices: Any, axis: int | None = None, out: None = None, mode: str | None = "raise", fill_value: Any = None
) -> Any:
    """The elements at indices along an axis, or of the flattened array.

    Args:
        a: the array.
        indices: integers of any shape, which takes the place of the axis.
        axis: the axis; None flattens the array before.
        out: not supported.
        mode: what happens to an index that is outside: "raise" an error (also None); "wrap", it is taken modulo the
            length; "clip", it is moved inside, negative ones to 0. Of JAX's there is "fill".
        fill_value: with what to fill; NaN, or the least integer, if it is None.

    Raises:
        IndexError: with mode "raise"; for traced indices when the program runs.
        TypeError: if the indices are not integers.

    >>> take(np.array([1.0, 2.0, 4.0]), [0, -1])
    array([1., 4.])
    """
    if mode not in ("raise", "wrap", "clip", "fill", None):
        raise ValueError(f"clipmode must be one of 'clip', 'raise', or 'wrap' (got {mode!r})")
    if mode != "fill" and not staging_open() and not has_tracer((a, indices)):
        return np.take(a, indices, axis, out, mode or "raise")  # type: ignore[call-overload]
    if out is not None:
        refuse_out("take")
    array, places = _operand(a), _integers(indices)
    if axis is None:
        array, axis = record_call(_raveled, (array,)), 0
    else:
        axis = int(normalize_axis_index(axis, array.ndim))
    n = array.shape[axis]
    if n == 0 and places.size and mode != "fill":
        raise IndexError("cannot do a non-empty take from an empty axes.")
    if mode == "wrap":
        places = places % n if places.size else places
    elif mode == "clip":
        places = record_call(_clipped, (places,), (n,)) if type(places) is Tracer else places.clip(0, n - 1)
    key = ((slice(None),) * axis) + (places,)
    if mode != "fill":
        return getitem(array, key)
    return taken_or_filled(array, key, "fill", fill_value)


FUNCTIONS[np.take] = take


def _operand(a: Any) -> Any:
    array = as_operand(a)
    return array if type(array) is Tracer else np.asarray(array)


def _raveled(x: Any) -> Any:
    return lax.reshape(x, (x.aval.size,))


def _clipped(indices: Any, n: int) -> Any:
    signed = lax.convert_element_type(indices, _INTP)
    low, high = (Literal(value, signed.aval) for value in (0, n - 1))
    return lax.select(lax.lt(signed, low), low, lax.select(lax.lt(high, signed), high, signed))


def _integers(indices: Any) -> Any:
    """Indices as `numpy.take` converts them: also booleans are numbers."""
    array = as_operand(indices)
    if type(array) is not Tracer:
        array = np.asarray(array)
        if array.size == 0 and not isinstance(indices, np.ndarray):  # an empty list has no dtype of its own
            return array.astype(_INTP)
    kind = array.dtype.kind
    if kind == "b":
        return record_call(lax.convert_element_type, (array,), (_INTP,))
    if kind not in "iu":
        raise TypeError(
            f"cannot cast indices from {array.dtype!r} to {_INTP!r} according to the rule 'same_kind': they must be "
            "integers"
        )
    return array


def taken_or_filled(x: Any, index: Any, mode: str, fill_value: Any) -> Any:
    """`x[index]`, where what is outside does not raise.

    Args:
        x: the array.
        index: the index.
        mode: "clip", or "fill".
        fill_value: with what to fill; the default is JAX's, NaN or the least integer.
    """
    if mode == "fill":
        fill = _default_fill(x.dtype) if fill_value is None else fill_value
        return select_items(x, indices_of(index, x.shape, checked=False), mode, x.dtype.type(fill).tobytes())
    return select_items(x, indices_of(index, x.shape, checked=False), mode)


def _default_fill(dtype: np.dtype[Any]) -> Any:
    if dtype.kind in "fc":
        return np.nan
    if dtype.kind == "b":
        return True
    return np.iinfo(dtype).min if dtype.kind == "i" else np.iinfo(dtype).max


# --------------------------------------------------------------------------------------------------------------------
# take_along_axis and put_along_axis


@implements(np.take_along_axis)
def take_along_axis(arr: Any, indices: Any, axis: int | None = -1) -> Any:
    """The elements at indices along an axis, with other indices at each place of the other axes.

    Args:
        arr: the array.
        indices: integers, of as many axes; the other axes are broadcast against those of the array.
        axis: the axis; None flattens the array before.

    Raises:
        IndexError: if an index is outside (for traced ones when the program runs), or they are not integers.
        ValueError: if there are not as many axes.

    >>> take_along_axis(np.array([[3, 1, 2]]), np.array([[1, 2, 0]]), axis=1)
    array([[1, 2, 3]])
    """
    array, places, axis = _along_axis(arr, indices, axis)
    return record_call(_taken_along, (array, places), (axis, type(places) is not Tracer))


def _along_axis(arr: Any, indices: Any, axis: int | None) -> tuple[Any, Any, int]:
    """The operands of a function along an axis, concrete indices checked."""
    array, places = _operand(arr), _operand(indices)
    if places.dtype.kind not in "iu":
        raise IndexError("`indices` must be an integer array")
    if axis is None:
        if places.ndim != 1:
            raise ValueError("when axis=None, `indices` must have a single dimension.")
        array, axis = record_call(_raveled, (array,)), 0
    else:
        axis = int(normalize_axis_index(axis, array.ndim))
        if places.ndim != array.ndim:
            raise ValueError("`indices` and `arr` must have the same number of dimensions")
    if places.size and array.shape[axis] == 0:
        raise IndexError(f"index is out of bounds for axis {axis} with size 0")
    if type(places) is not Tracer:
        places = indices_of((slice(None),) * axis + (places,), array.shape).arrays[0]
    return array, places, axis


def _common(array: Any, places: Any, axis: int) -> tuple[int, ...]:
    """The common lengths of the other axes, with 1 at the axis itself."""
    shapes = [(*x.shape[:axis], 1, *x.shape[axis + 1 :]) for x in (array, places)]
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        raise IndexError(
            f"shape mismatch: indices of shape {places.shape} cannot be broadcast together with an array "
            f"of shape {array.shape} along the axes other than {axis}"
        ) from None


def _lined_up(array: Any, places: Any, axis: int, counted: bool) -> tuple[Any, Any]:
    common, n = _common(array, places, axis), array.shape[axis]
    places = lax.convert_element_type(places, _INTP)
    if not counted:
        places = count_from_end(places, n)
    places = broadcast_to(places, (*common[:axis], places.shape[axis], *common[axis + 1 :]))
    return broadcast_to(array, (*common[:axis], n, *common[axis + 1 :])), places


def _taken_along(array: Any, places: Any, axis: int, counted: bool) -> Any:
    array, places = _lined_up(array, places, axis, counted)
    if 0 in places.shape:
        return Literal(0, Aval(places.shape, array.dtype))
    return lax.taken_along_axis(array, places, axis)


def put_along_axis(arr: Any, indices: Any, values: Any, axis: int | None, *, inplace: bool = True) -> Any:
    """The array with values put at indices along an axis, with other indices at each place of the other axes.

    Args:
        arr: the array.
        indices: integers, of as many axes.
        values: what to put there; broadcast to the shape of the indices.
        axis: the axis; None flattens the array before.
        inplace: whether to write to the array, as NumPy does, and return nothing; must be False for a tracer.

    Raises:
        TypeError: for a tracer, with `inplace=True`.
    """
    if inplace and not has_tracer((arr, indices, values)):
        return np.put_along_axis(arr, indices, values, axis)
    if inplace:
        raise TypeError(
            f"put_along_axis at {user_location()} writes to its argument, which a function that is recorded cannot. "
            "Take the result instead: a = functrans.numpy.put_along_axis(a, indices, values, axis, inplace=False)."
        )
    array, places, line = _along_axis(arr, indices, axis)
    out = record_call(_put_along, (array, places, as_operand(values)), (line, type(places) is not Tracer))
    return record_call(lax.reshape, (out,), (_operand(arr).shape,))


FUNCTIONS[np.put_along_axis] = put_along_axis


def _put_along(array: Any, places: Any, values: Any, axis: int, counted: bool) -> Any:
    if _common(array, places, axis) != (*array.shape[:axis], 1, *array.shape[axis + 1 :]):
        raise IndexError(f"shape mismatch: indices of shape {places.shape} do not fit an array of shape {array.shape}")
    array, places = _lined_up(array, places, axis, counted)
    (values,) = same_dtype([values], array.dtype)
    values = broadcast_to(values, places.shape)
    if 0 in places.shape:
        return array
    others = tuple([d for d in range(array.ndim) if d != axis])
    numbers = lax.ScatterDimensionNumbers((), (axis,), (axis,), others, others)
    return lax.scatter(array, lax.expand_dims(places, (places.ndim,)), values, numbers, mode=PROMISE)


# --------------------------------------------------------------------------------------------------------------------
# What has a shape that depends on values


@implements(np.compress)
def compress(condition: Any, a: Any, axis: int | None = None, out: None = None) -> Any:
    """The parts along an axis for which a condition holds.

    Args:
        condition: one axis of booleans, whose values must be known; shorter than the array means False.
        a: the array.
        axis: the axis; None flattens the array before.
        out: not supported.

    Raises:
        NonConcreteBooleanIndexError: if the condition is a tracer without a value.

    >>> compress([True, False, True], np.arange(3))
    array([0, 2])
    """
    mask = known_array(as_operand(condition), "the condition of compress")
    if mask.ndim != 1:
        raise ValueError("condition must be a 1-d array")
    return take(_operand(a), np.flatnonzero(mask), axis)


@implements(np.extract)
def extract(condition: Any, arr: Any) -> Any:
    """The elements of the flattened array for which a condition holds, whose values must be known.

    Raises:
        NonConcreteBooleanIndexError: if the condition is a tracer without a value.

    >>> extract(np.array([True, False, True]), np.arange(3))
    array([0, 2])
    """
    mask = known_array(as_operand(condition), "the condition of extract")
    return take(_operand(arr), np.flatnonzero(mask))


@implements(np.nonzero)
def nonzero(a: Any) -> tuple[np.ndarray[Any, Any], ...]:
    """The indices of the elements that are not zero, one array for each axis. The values must be known.

    Raises:
        NonConcreteBooleanIndexError: for a tracer without a value.

    >>> nonzero(np.array([3, 0, 4]))
    (array([0, 2]),)
    """
    return np.nonzero(known_array(as_operand(a), "the argument of nonzero"))


@implements(np.flatnonzero)
def flatnonzero(a: Any) -> np.ndarray[Any, Any]:
    """The indices of the elements of the flattened array that are not zero. The values must be known.

    Raises:
        NonConcreteBooleanIndexError: for a tracer without a value.

    >>> flatnonzero(np.array([[3, 0], [0, 4]]))
    array([0, 3])
    """
    return np.flatnonzero(known_array(as_operand(a), "the argument of flatnonzero"))


@implements(np.argwhere)
def argwhere(a: Any) -> np.ndarray[Any, Any]:
    """The index vectors of the elements that are not zero, a row for each. The values must be known.

    Raises:
        NonConcreteBooleanIndexError: for a tracer without a value.

    >>> argwhere(np.array([[3, 0], [0, 4]]))
    array([[0, 0],
           [1, 1]])
    """
    return np.argwhere(known_array(as_operand(a), "the argument of argwhere"))
