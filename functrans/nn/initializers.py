"""Initial values of parameters: functions `init(key, shape, dtype)`, with JAX's names and JAX's numbers.

    init = functrans.nn.initializers.glorot_normal()
    W = init(key, (784, 128))

Dtypes are float64 if not given; with "float32" the numbers are JAX's default ones, to rounding.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from math import pi, prod, sqrt
from typing import Any

import numpy as np

from functrans import numpy as fnp
from functrans import random
from functrans.nn.composing import public
from functrans.ops.complex import complex as make_complex
from functrans.ops.conversion import convert_element_type

__all__ = [
    "Initializer",
    "constant",
    "delta_orthogonal",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "kaiming_normal",
    "kaiming_uniform",
    "lecun_normal",
    "lecun_uniform",
    "normal",
    "ones",
    "orthogonal",
    "truncated_normal",
    "uniform",
    "variance_scaling",
    "xavier_normal",
    "xavier_uniform",
    "zeros",
]

Initializer = Callable[..., Any]
"""`init(key, shape, dtype)`, an array of that shape and dtype."""
Axes = int | Sequence[int]


def _inexact(dtype: Any, name: str) -> np.dtype[Any]:
    found = np.dtype(float if dtype is None else dtype)
    if found.kind not in "fc":
        raise ValueError(f"initializers.{name} gives floats or complex numbers, not {found.name}")
    return found


def _shape(shape: Any, name: str) -> tuple[int, ...]:
    try:
        return tuple([operator.index(n) for n in shape])
    except TypeError:
        raise TypeError(f"initializers.{name}: shape must be a sequence of ints, got {shape!r:.60}") from None


def _named(init: Initializer, name: str) -> Initializer:
    init.__name__ = init.__qualname__ = name
    return public(init)


# --------------------------------------------------------------------------------------------------------------------
# Constants


def zeros(key: Any, shape: Sequence[int], dtype: Any = float) -> Any:
    """Zeros; the key is not used.

    >>> import functrans as ft
    >>> ft.nn.initializers.zeros(None, (2,))
    array([0., 0.])
    """
    return np.zeros(_shape(shape, "zeros"), dtype)


def ones(key: Any, shape: Sequence[int], dtype: Any = float) -> Any:
    """Ones; the key is not used.

    >>> import functrans as ft
    >>> ft.nn.initializers.ones(None, (2,))
    array([1., 1.])
    """
    return np.ones(_shape(shape, "ones"), dtype)


def constant(value: Any, dtype: Any = None) -> Initializer:
    """An initializer of equal values.

    Args:
        value: a number, or an array that broadcasts to the shape.
        dtype: the dtype of the result if none is given to the initializer.

    >>> import functrans as ft
    >>> ft.nn.initializers.constant(-7)(None, (2,))
    array([-7., -7.])
    """

    def init(key: Any, shape: Sequence[int], dtype: Any = dtype) -> Any:
        return fnp.full(_shape(shape, "constant"), value, np.dtype(float if dtype is None else dtype))

    return _named(init, "constant")


# --------------------------------------------------------------------------------------------------------------------
# Independent numbers


def uniform(scale: Any = 1e-2, dtype: Any = None) -> Initializer:
    """An initializer of numbers that are uniform from 0 to `scale`.

    >>> import functrans as ft
    >>> ft.nn.initializers.uniform(10.0)(ft.random.key(0), (2,), "float32")
    array([9.47667 , 9.785799], dtype=float32)
    """

    def init(key: Any, shape: Sequence[int], dtype: Any = dtype) -> Any:
        found = _inexact(dtype, "uniform")
        return random.uniform(key, _shape(shape, "uniform"), found) * found.type(scale)

    return _named(init, "uniform")


def normal(stddev: Any = 1e-2, dtype: Any = None) -> Initializer:
    """An initializer of normal numbers with mean 0 and standard deviation `stddev`.

    >>> import functrans as ft
    >>> ft.nn.initializers.normal(5.0)(ft.random.key(0), (2, 3)).shape
    (2, 3)
    """

    def init(key: Any, shape: Sequence[int], dtype: Any = dtype) -> Any:
        found = _inexact(dtype, "normal")
        return random.normal(key, _shape(shape, "normal"), found) * found.type(stddev)

    return _named(init, "normal")


def truncated_normal(stddev: Any = 1e-2, dtype: Any = None, lower: Any = -2.0, upper: Any = 2.0) -> Initializer:
    """An initializer of standard normal numbers, of which those between `lower` and `upper` are kept, times `stddev`.

    The standard deviation of the result is less than `stddev`, since the ends are missing.

    >>> import functrans as ft
    >>> abs(ft.nn.initializers.truncated_normal(5.0)(ft.random.key(0), (1000,))).max() <= 10.0
    np.True_
    """

    def init(key: Any, shape: Sequence[int], dtype: Any = dtype) -> Any:
        found = _inexact(dtype, "truncated_normal")
        drawn = random.truncated_normal(key, lower, upper, _shape(shape, "truncated_normal"), found)
        return drawn * found.type(stddev)

    return _named(init, "truncated_normal")


# --------------------------------------------------------------------------------------------------------------------
# Numbers whose variance the shape decides


def _fans(name: str, shape: tuple[int, ...], in_axis: Axes, out_axis: Axes, batch_axis: Axes) -> tuple[float, float]:
    """How many numbers each output is made of, and how many outputs each input goes into."""
    groups = [tuple(axes) if isinstance(axes, Sequence) else (axes,) for axes in (in_axis, out_axis, batch_axis)]
    named = [d for axes in groups for d in axes]
    if any([not -len(shape) <= d < len(shape) for d in named]) or len({d % len(shape) for d in named}) != len(named):
        raise ValueError(
            f"initializers.{name}: an array of shape {shape} has no axes in_axis={in_axis} and out_axis={out_axis} "
            "(and batch_axis). The variance depends on the numbers of inputs and outputs, so the shape needs both"
        )
    inputs, outputs, batch = [prod([shape[d] for d in axes]) for axes in groups]
    places = prod(shape) / (inputs * outputs * batch) if inputs and outputs and batch else 0.0
    return inputs * places, outputs * places


def _disk(key: Any, shape: tuple[int, ...], dtype: np.dtype[Any], share: float) -> Any:
    """Complex numbers, of which the real ones of the radius are those of a distribution in the plane.

    Args:
        share: 0 for a uniform disk of mean square 1; else how much of the normal distribution lies within the disk.
    """
    part = np.dtype(f"f{dtype.itemsize // 2}")
    key_radius, key_angle = random.split(key)
    drawn = random.uniform(key_radius, shape, part)
    square = 2 * drawn if not share else -fnp.log1p(drawn * part.type(-share))
    angle = part.type(2 * pi) * random.uniform(key_angle, shape, part)
    radius = fnp.sqrt(square)
    return convert_element_type(make_complex(radius * fnp.cos(angle), radius * fnp.sin(angle)), dtype)


def variance_scaling(
    scale: Any,
    mode: str,
    distribution: str,
    in_axis: Axes = -2,
    out_axis: Axes = -1,
    batch_axis: Axes = (),
    dtype: Any = None,
) -> Initializer:
    """An initializer whose variance is `scale` over the number of inputs or outputs.

    Args:
        scale: a positive number.
        mode: "fan_in", "fan_out", or "fan_avg" and "fan_geo_avg" for their arithmetic or geometric mean. All axes that
            are not named count in both: the window of a convolution.
        distribution: "truncated_normal" (cut at two standard deviations, and of the variance in the end), "normal" or
            "uniform". Complex numbers lie in a disk.
        in_axis, out_axis: the axes of the inputs and of the outputs, one or several.
        batch_axis: axes that count in neither.
        dtype: the dtype of the result if none is given to the initializer.

    Raises:
        ValueError: for another mode or distribution, or a shape without these axes.

    >>> import functrans as ft
    >>> init = ft.nn.initializers.variance_scaling(1.0, "fan_in", "uniform")
    >>> abs(init(ft.random.key(0), (300, 4))).max() <= 0.1
    np.True_
    """
    if mode not in ("fan_in", "fan_out", "fan_avg", "fan_geo_avg"):
        raise ValueError(f"mode must be 'fan_in', 'fan_out', 'fan_avg' or 'fan_geo_avg', got {mode!r}")
    if distribution not in ("truncated_normal", "normal", "uniform"):
        raise ValueError(f"distribution must be 'truncated_normal', 'normal' or 'uniform', got {distribution!r}")
    if not 0 <= scale < np.inf:
        raise ValueError(f"scale must be a number that is not negative, got {scale!r}")

    def init(key: Any, shape: Sequence[int], dtype: Any = dtype) -> Any:
        found, lengths = _inexact(dtype, "variance_scaling"), _shape(shape, "variance_scaling")
        fan_in, fan_out = _fans("variance_scaling", lengths, in_axis, out_axis, batch_axis)
        denominators = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}
        denominator = denominators.get(mode, sqrt(fan_in * fan_out))
        if not denominator:
            return np.zeros(lengths, found)
        return _spread(key, lengths, found, distribution, float(scale) / denominator)

    return _named(init, "variance_scaling")


def _spread(key: Any, shape: tuple[int, ...], dtype: np.dtype[Any], distribution: str, variance: float) -> Any:
    real = dtype.kind == "f"
    if distribution == "normal":
        return random.normal(key, shape, dtype) * dtype.type(sqrt(variance))
    if distribution == "uniform":
        if real:
            return random.uniform(key, shape, dtype, -1.0) * dtype.type(sqrt(3 * variance))
        return _disk(key, shape, dtype, 0.0) * dtype.type(sqrt(variance))
    if real:  # by the standard deviation of what is kept of the normal distribution
        return random.truncated_normal(key, -2.0, 2.0, shape, dtype) * dtype.type(sqrt(variance) / 0.87962566103423978)
    return _disk(key, shape, dtype, 1 - np.exp(-4.0)) * dtype.type(sqrt(variance) / 0.95311164380491208)


def _scaling(name: str, scale: float, mode: str, distribution: str, paper: str) -> Callable[..., Initializer]:
    def make(in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = (), dtype: Any = None) -> Initializer:
        return variance_scaling(scale, mode, distribution, in_axis, out_axis, batch_axis, dtype)

    make.__name__ = make.__qualname__ = name
    make.__doc__ = (
        f"variance_scaling({scale}, {mode!r}, {distribution!r}, in_axis, out_axis, batch_axis, dtype): {paper}."
    )
    return make


_GLOROT, _LECUN, _HE = "Glorot and Bengio 2010", "LeCun, Bottou, Orr and Mueller 1998", "He, Zhang, Ren and Sun 2015"
glorot_uniform = _scaling("glorot_uniform", 1.0, "fan_avg", "uniform", _GLOROT)
glorot_normal = _scaling("glorot_normal", 1.0, "fan_avg", "truncated_normal", _GLOROT)
lecun_uniform = _scaling("lecun_uniform", 1.0, "fan_in", "uniform", _LECUN)
lecun_normal = _scaling("lecun_normal", 1.0, "fan_in", "truncated_normal", _LECUN)
he_uniform = _scaling("he_uniform", 2.0, "fan_in", "uniform", _HE)
he_normal = _scaling("he_normal", 2.0, "fan_in", "truncated_normal", _HE)
xavier_uniform, xavier_normal = glorot_uniform, glorot_normal
kaiming_uniform, kaiming_normal = he_uniform, he_normal

# --------------------------------------------------------------------------------------------------------------------
# Orthogonal matrices


def orthogonal(scale: Any = 1.0, column_axis: int = -1, dtype: Any = None) -> Initializer:
    """An initializer of orthogonal matrices (Saxe, McClelland and Ganguli 2013), uniform among all, times `scale`.

    A matrix that is not square has orthonormal rows or columns, whichever are fewer.

    Args:
        scale: a number.
        column_axis: the axis of the columns; all others together are the rows.
        dtype: the dtype of the result if none is given to the initializer.

    >>> import functrans as ft
    >>> W = ft.nn.initializers.orthogonal()(ft.random.key(0), (5, 2))
    >>> (W.T @ W).round(12) + 0.0
    array([[1., 0.],
           [0., 1.]])
    """

    def init(key: Any, shape: Sequence[int], dtype: Any = dtype) -> Any:
        found, lengths = _inexact(dtype, "orthogonal"), _shape(shape, "orthogonal")
        if len(lengths) < 2:
            raise ValueError(f"initializers.orthogonal needs a shape with two axes at least, got {lengths}")
        if 0 in lengths:
            return np.zeros(lengths, found)
        axis = range(len(lengths))[column_axis]
        columns = lengths[axis]
        drawn = random.orthogonal(key, prod(lengths) // columns, (), found, columns)
        whole = fnp.reshape(drawn, (*lengths[:axis], *lengths[axis + 1 :], columns))
        return fnp.moveaxis(whole, -1, axis) * found.type(scale)

    return _named(init, "orthogonal")


def delta_orthogonal(scale: Any = 1.0, column_axis: int = -1, dtype: Any = None) -> Initializer:
    """An initializer of kernels that are zero but for an orthogonal matrix in the middle of the window.

    It is for convolutions with features last (Xiao et al. 2018), of one to three spatial axes; there must be no more
    input than output features.

    >>> import functrans as ft
    >>> W = ft.nn.initializers.delta_orthogonal()(ft.random.key(0), (3, 3, 2, 4))
    >>> (W[1, 1] @ W[1, 1].T).round(12) + 0.0, abs(W).sum() == abs(W[1, 1]).sum()
    (array([[1., 0.],
           [0., 1.]]), np.True_)
    """
    matrices = orthogonal(scale, column_axis, dtype)

    def init(key: Any, shape: Sequence[int], dtype: Any = dtype) -> Any:
        found, lengths = _inexact(dtype, "delta_orthogonal"), _shape(shape, "delta_orthogonal")
        if len(lengths) not in (3, 4, 5):
            raise ValueError(f"initializers.delta_orthogonal needs a shape with 3, 4 or 5 axes, got {lengths}")
        if lengths[-1] < lengths[-2]:
            raise ValueError(
                f"initializers.delta_orthogonal: of shape {lengths} the {lengths[-2]} input features are more than the "
                f"{lengths[-1]} output features, so they cannot stay orthogonal"
            )
        middle = [(n - 1) // 2 for n in lengths[:-2]]
        around = [(m, n - 1 - m) for m, n in zip(middle, lengths[:-2], strict=True)]
        matrix = matrices(key, lengths[-2:], found)
        return fnp.pad(fnp.reshape(matrix, (*[1] * len(middle), *lengths[-2:])), [*around, (0, 0), (0, 0)])

    return _named(init, "delta_orthogonal")
