"""What tests of derivatives have in common: drawing arrays, finite differences, the pairing of cotangents and tangents.

Nothing here uses functrans: it is what functrans is held against.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tests.cases.case import Operand

Arrays = list[np.ndarray[Any, Any]]

TOLERANCE = {"float16": 2e-3, "float32": 2e-6, "float64": 1e-13, "complex64": 4e-6, "complex128": 2e-13}


def draw(rng: np.random.Generator, operand: Operand, dtype: str) -> np.ndarray[Any, Any]:
    """An array as an operand's description demands."""
    kind = np.dtype(operand.dtype or dtype)
    if kind.kind == "b":
        return np.asarray(rng.integers(0, 2, operand.shape).astype(bool))
    if kind.kind in "iu":
        return _draw_integers(rng, operand, kind)
    if kind.kind == "c":
        real = _draw_real(rng, operand)
        return np.asarray(real + 1j * rng.uniform(operand.low, operand.high, operand.shape), kind)
    return np.asarray(_draw_real(rng, operand), kind)


def draw_all(rng: np.random.Generator, operands: Sequence[Operand], dtype: str) -> Arrays:
    """An array for each operand."""
    return [draw(rng, operand, dtype) for operand in operands]


def _draw_real(rng: np.random.Generator, operand: Operand) -> np.ndarray[Any, Any]:
    if operand.distinct:
        size = int(np.prod(operand.shape))
        steps = (np.arange(size) + rng.uniform(0.2, 0.8, size)) / max(size, 1)
        x = operand.low + (operand.high - operand.low) * rng.permutation(steps).reshape(operand.shape)
    else:
        x = rng.uniform(operand.low, operand.high, operand.shape)
    for point in operand.avoid:
        near = np.abs(x - point) < 0.05
        x = np.where(near, np.where(point + 0.1 <= operand.high, point + 0.1, point - 0.1), x)
    return np.asarray(x)


def _draw_integers(rng: np.random.Generator, operand: Operand, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    info = np.iinfo(dtype)
    low, high = max(int(np.ceil(operand.low)), info.min), min(int(np.floor(operand.high)), info.max)
    choices = [n for n in range(low, max(high, low) + 1) if n not in operand.avoid] if operand.avoid else None
    size = int(np.prod(operand.shape))
    if operand.distinct and high - low + 1 >= size:
        return np.asarray((low + rng.permutation(high - low + 1)[:size]).reshape(operand.shape), dtype)
    if choices is not None:
        return np.asarray(rng.choice(choices, operand.shape), dtype)
    return np.asarray(rng.integers(low, max(high, low), operand.shape, endpoint=True), dtype)


def direction(rng: np.random.Generator, like: Sequence[Any]) -> Arrays:
    """A random direction for arrays: complex ones move along both axes."""
    moves = []
    for x in like:
        v = rng.uniform(-1, 1, np.shape(x))
        moves.append(np.asarray(v + 1j * rng.uniform(-1, 1, np.shape(x)) if x.dtype.kind == "c" else v, x.dtype))
    return moves


def directional_derivative(f: Callable[..., Sequence[Any]], xs: Sequence[Any], vs: Sequence[Any]) -> Arrays:
    """The derivative of the outputs of `f` at double precision along `vs`, by two extrapolated central differences."""

    def central(h: float) -> Arrays:
        ahead = f(*[x + h * v for x, v in zip(xs, vs, strict=True)])
        behind = f(*[x - h * v for x, v in zip(xs, vs, strict=True)])
        return [(np.asarray(a) - np.asarray(b)) / (2 * h) for a, b in zip(ahead, behind, strict=True)]

    coarse, middle, fine = central(4e-3), central(2e-3), central(1e-3)
    first = [(4 * b - a) / 3 for a, b in zip(coarse, middle, strict=True)]
    second = [(4 * b - a) / 3 for a, b in zip(middle, fine, strict=True)]
    return [(16 * b - a) / 15 for a, b in zip(first, second, strict=True)]


def pairing(cts: Sequence[Any], tangents: Sequence[Any]) -> float:
    """The real part of the sum of products, without conjugation: what transposing a real-linear map keeps."""
    return float(
        np.sum([np.sum(np.real(np.multiply(c, t, dtype=complex))) for c, t in zip(cts, tangents, strict=True)])
    )


def assert_close(actual: Sequence[Any], expected: Sequence[Any], tolerance: float) -> None:
    """Arrays agree relative to the largest entry of each, NaN where NaN is expected; integers and booleans exactly."""
    assert len(actual) == len(expected)
    for a, b in zip(actual, expected, strict=True):
        a, b = np.asarray(a), np.asarray(b)
        assert a.shape == b.shape
        if b.dtype.kind not in "fc":
            np.testing.assert_array_equal(a, b)
            continue
        finite = np.abs(b[np.isfinite(b)])
        scale = float(np.max(finite)) if finite.size else 0.0
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * max(scale, 1.0), equal_nan=True)
