"""What samplers do with their arguments: check them, say what is wrong with one, and record the call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from operator import index
from typing import Any, ParamSpec, TypeVar

import numpy as np

from functrans.core.aval import aval_of
from functrans.core.tracer import Tracer
from functrans.errors import ConcretizationTypeError, hide_frames
from functrans.numpy.dispatch import record_call
from functrans.numpy.promotion import broadcast_to
from functrans.ops.conversion import convert_element_type
from functrans.random.keys import single_key

__all__ = [
    "Dtype",
    "Shape",
    "broadcast_shape",
    "dtype_of_floats",
    "dtype_of_integers",
    "fitted",
    "number",
    "sample",
    "sample_shape",
    "sampler",
    "static_integer",
]

P = ParamSpec("P")
R = TypeVar("R")
Shape = int | Sequence[int]
Dtype = np.dtype[Any]


def sampler(function: Callable[P, R]) -> Callable[P, R]:
    """The public form of a sampler: its errors come from the line that called it."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            raise hide_frames(error)  # noqa: B904  (it is the same error)

    return call


def sample_shape(shape: Any, name: str) -> tuple[int, ...]:
    """The shape of a sample as a tuple.

    Raises:
        ValueError: if it is none.
    """
    try:
        given = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
        lengths = tuple([index(n) for n in given])
    except ConcretizationTypeError:
        raise
    except TypeError:
        lengths = (-1,)
    if any([n < 0 for n in lengths]) or isinstance(shape, bool):
        raise ValueError(f"random.{name}: a shape has ints that are not negative, got shape={shape!r:.60}")
    return lengths


def broadcast_shape(shape: Any, name: str, **parameters: Any) -> tuple[int, ...]:
    """The shape of a sample: as given, or that of the parameters broadcast together.

    Raises:
        ValueError: naming the parameters, if they do not fit together or into the shape.
    """
    lengths = {what: _shape_of(x) for what, x in parameters.items()}
    wanted = None if shape is None else sample_shape(shape, name)
    try:
        common = np.broadcast_shapes(*lengths.values()) if wanted is None else wanted
        fits = wanted is None or np.broadcast_shapes(wanted, *lengths.values()) == wanted
    except ValueError:
        fits = False
    if not fits:
        listed = " and ".join([f"{what} of shape {n}" for what, n in lengths.items()])
        if wanted is None:
            raise ValueError(f"random.{name}: the parameters do not broadcast together: {listed}")
        raise ValueError(
            f"random.{name}: shape={wanted} must be the shape of the whole sample, into which the parameters "
            f"broadcast, got {listed}"
        )
    return common


def _shape_of(x: Any) -> tuple[int, ...]:
    return tuple(x.shape) if hasattr(x, "shape") else np.shape(x)


def number(x: Any, what: str, name: str, kinds: str = "biuf") -> Any:
    """A parameter, as an array, a number or a tracer.

    Raises:
        TypeError: naming it, if it is none or of the wrong kind.
    """
    try:
        if isinstance(x, (list, tuple)):
            if any([isinstance(part, Tracer) for part in x]):
                raise TypeError(f"a {type(x).__name__} with tracers: stack them with functrans.numpy.stack")
            x = np.asarray(x)
        aval = aval_of(x)
    except TypeError as error:
        raise TypeError(f"random.{name}: {what} must be an array or a number; {error}") from None
    if aval.dtype.kind not in kinds:
        wanted = "real numbers" if "f" in kinds else "integers"
        raise TypeError(f"random.{name}: {what} must be {wanted}, got {aval.strong}")
    return x


def static_integer(x: Any, what: str, name: str) -> int:
    """An integer that is part of the program, such as a size.

    Raises:
        TypeError: naming it, if it is none.
        ConcretizationTypeError: if it is a tracer without a value.
    """
    try:
        return index(x)
    except ConcretizationTypeError:
        raise
    except TypeError:
        raise TypeError(f"random.{name}: {what} must be an integer, got {x!r:.60} of type {type(x).__name__}") from None


def dtype_of_floats(dtype: Any, name: str, kinds: str = "f") -> Dtype:
    """The dtype of a sample of floats; float64 where none is given.

    Raises:
        ValueError: if it is another kind of dtype.
    """
    found = np.dtype(float if dtype is None else dtype)
    if found.kind not in kinds or found.itemsize > 8 * (2 if found.kind == "c" else 1):
        what = "floats or complex numbers" if "c" in kinds else "floats"
        raise ValueError(f"random.{name} gives {what} of at most double precision, not {found.name}")
    return found.newbyteorder("=")


def dtype_of_integers(dtype: Any, name: str, kinds: str = "iu") -> Dtype:
    """The dtype of a sample of integers; int64 where none is given.

    Raises:
        ValueError: if it is another kind of dtype.
    """
    found = np.dtype(int if dtype is None else dtype)
    if found.kind not in kinds:
        what = "integers or floats" if "f" in kinds else "unsigned integers" if "i" not in kinds else "integers"
        raise ValueError(f"random.{name} gives {what}, not {found.name}")
    return found.newbyteorder("=")


def fitted(x: Any, shape: tuple[int, ...], dtype: Dtype) -> Any:
    """A tracer in a dtype and broadcast to a shape."""
    return broadcast_to(convert_element_type(x, dtype), shape)


def sample(function: Callable[..., Any], name: str, key: Any, *parameters: Any, static: tuple[Any, ...] = ()) -> Any:
    """Record the call of a sampler, or run it: `function(words, *parameters, *static)` on tracers."""
    out = record_call(function, (single_key(key, name), *parameters), static)
    return out if type(out) is not np.ndarray or out.ndim else out[()]
