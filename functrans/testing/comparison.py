"""Derivatives by functrans against finite differences: along directions first, entry by entry where they differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from functrans.testing.differentiated import Differentiated
from functrans.testing.finite_differences import Slope, derivative_along, largest
from functrans.testing.patterns import pattern

__all__ = ["FORWARD", "REVERSE", "Mismatch", "Tolerance", "cotangents", "directions", "find_mismatch"]

Array = np.ndarray[Any, Any]

FORWARD, REVERSE = "fwd", "rev"
_ENTRIES_MAX = 64
"""How many entries of an argument, or of the outputs, are looked at one by one to find the wrong one."""


class Tolerance(NamedTuple):
    """What derivatives may differ by; None: as much as the finite differences may be wrong by, and rounding."""

    atol: float | None = None
    rtol: float | None = None
    eps: float | None = None

    def allowed(self, slope: Slope, precision: float) -> Array:
        """For each entry of an output, how much the derivative may differ from the slope."""
        size = np.abs(slope.value)
        rounding = 1e3 * precision
        absolute = 5 * slope.error + rounding * largest(slope.value) if self.atol is None else self.atol
        relative = max(1e-7, rounding) * size if self.rtol is None else self.rtol * size
        return np.where(np.isfinite(absolute), absolute, 0.0) + relative


class Mismatch(NamedTuple):
    """One entry of a derivative that is wrong."""

    place: str
    """Where: in which entry of which derivative."""
    found: Any
    expected: Any
    allowed: float
    pattern: str | None
    argument: int | None = None
    """The number of the argument; None if no single entry is wrong."""
    settled: bool = True
    """Whether finite differences agree on a value."""
    source: str = "finite differences give"


def directions(f: Differentiated) -> Iterator[list[Array]]:
    """Two random directions: one moves each entry in proportion to its size, the other all of an array alike."""
    rng = np.random.default_rng(2024)
    for relative in (True, False):
        yield [_random(rng, x) * (_sizes(x) if relative else _size(x)) for x in f.xs]


def _random(rng: np.random.Generator, like: Array) -> Array:
    def real() -> Array:
        return np.asarray(rng.uniform(0.5, 1.0, like.shape) * rng.choice([-1.0, 1.0], like.shape))

    return np.asarray(real() + 1j * real() if like.dtype.kind == "c" else real(), like.dtype)


def _size(x: Array) -> Any:
    size = largest(x)
    return x.real.dtype.type(size if size else 1.0)


def _sizes(x: Array) -> Array:
    return np.where(x == 0, _size(x), np.abs(x)).astype(x.real.dtype)


def cotangents(f: Differentiated) -> list[Array]:
    """A random cotangent for each output."""
    rng = np.random.default_rng(2025)
    return [_random(rng, np.asarray(y)) for y in f.call(*f.xs)]


def pair(cts: Sequence[Any], tangents: Sequence[Any]) -> float:
    """The real part of the sum of products: what transposing keeps."""
    return float(np.sum([np.sum(np.real(np.multiply(c, t))) for c, t in zip(cts, tangents, strict=True)]))


def find_mismatch(f: Differentiated, mode: str, tolerance: Tolerance) -> Mismatch | None:
    """An entry of the derivative of `f` that is wrong in one mode; None if all are right."""
    for number, direction in enumerate(directions(f)):
        slopes = derivative_along(f.call, f.xs, direction, tolerance.eps)
        found = _along(f, mode, direction, slopes, tolerance, must_settle=number == 0)
        if found is not None:
            return _entry(f, mode, tolerance) or found
    return _in_low_precision(f, mode) if f.is_low_precision else None


def _precision(arrays: Sequence[Any]) -> float:
    return max([float(np.finfo(np.asarray(x).dtype).eps) for x in arrays])


def _along(
    f: Differentiated, mode: str, direction: list[Array], slopes: list[Slope], tolerance: Tolerance, must_settle: bool
) -> Mismatch | None:
    if mode == FORWARD:
        dots = [np.asarray(t) for t in f.forward(f.xs, direction)]
    else:
        cts = cotangents(f)
        pulled = f.backward(f.xs, cts)
        slopes = [_contracted(cts, slopes)]
        dots = [np.asarray(pair(pulled, direction))]
    precision = _precision(f.xs)
    for dot, slope in zip(dots, slopes, strict=True):
        wrong, settled, allowed = judge(dot, slope, precision, tolerance, f.order)
        bad = wrong & (settled | must_settle)
        if np.any(bad):
            index = tuple(np.argwhere(bad)[0])
            return Mismatch(
                "along a random direction",
                dot[index],
                slope.value[index],
                float(allowed[index]),
                None,
                settled=bool(settled[index]),
            )
    return None


def _contracted(cts: list[Array], slopes: list[Slope]) -> Slope:
    """The slope of the sum of the outputs times their cotangents."""
    low = high = 0.0
    for ct, slope in zip(cts, slopes, strict=True):
        a, b = np.real(ct * slope.left), np.real(ct * slope.right)
        low, high = low + np.sum(np.minimum(a, b)), high + np.sum(np.maximum(a, b))
    weights = [np.abs(ct) for ct in cts]
    return Slope(
        np.asarray(pair(cts, [slope.value for slope in slopes])),
        np.asarray(pair(weights, [slope.error for slope in slopes])),
        np.asarray(low),
        np.asarray(high),
        np.asarray(pair(weights, [slope.side_error for slope in slopes])),
        np.asarray(pair(weights, [slope.scale for slope in slopes])),
    )


def judge(dot: Array, slope: Slope, precision: float, tolerance: Tolerance, order: int) -> tuple[Array, Array, Array]:
    """Where a derivative is wrong, where finite differences are sure, and what was allowed."""
    allowed = tolerance.allowed(slope, precision)
    with np.errstate(all="ignore"):
        right = np.abs(dot - slope.value) <= allowed
        if order == 1 and slope.left.dtype.kind == "f" and dot.dtype.kind == "f":
            low = np.minimum(slope.left, slope.right) - slope.side_error - allowed
            high = np.maximum(slope.left, slope.right) + slope.side_error + allowed
            right |= slope.has_kink() & (low <= dot) & (dot <= high)
    settled = slope.is_settled()
    return ~(right & settled), settled | ~np.isfinite(dot) & np.isfinite(slope.value), allowed


# --------------------------------------------------------------------------------------------------------------------
# Entry by entry


def _entry(f: Differentiated, mode: str, tolerance: Tolerance) -> Mismatch | None:
    """The first entry of the Jacobian that is wrong."""
    outs = [np.asarray(y) for y in f.call(*f.xs)]
    rows = [(k, index) for k, y in enumerate(outs) for index in np.ndindex(y.shape)][:_ENTRIES_MAX]
    found = _forward_jacobian(f, rows) if mode == FORWARD else _reverse_jacobian(f, outs, rows)
    slopes = [_numerical_jacobian(f, number, rows, mode, tolerance.eps) for number in range(len(f.xs))]
    for number, (dots, slope) in enumerate(zip(found, slopes, strict=True)):
        wrong, settled, allowed = judge(dots, slope, _precision(f.xs), tolerance, f.order)
        if np.any(wrong):
            column = int(np.flatnonzero(wrong.any(0))[0])
            row = int(np.flatnonzero(wrong[:, column])[0])
            (k, out_index), (index, unit) = rows[row], _units(f.xs[number])[column]
            place = (
                f"{_name('the output' if len(outs) == 1 else f'output {k}', out_index)} by "
                f"{_name(f.paths[number], index)}{'' if unit == 1 else ' along the imaginary axis'}"
            )
            mismatch = Mismatch(
                place,
                dots[row, column],
                slope.value[row, column],
                float(allowed[row, column]),
                None,
                number,
                bool(settled[row, column]),
            )
            if slope.has_kink()[row, column]:
                left, right = slope.left[row, column], slope.right[row, column]
                return mismatch._replace(
                    source=f"the slopes to the left and to the right are {left:.6g} and "
                    f"{right:.6g}, finite differences give"
                )
            right_values = [s.value for s in slopes]
            explained = pattern(_arranged(f, mode, found), _arranged(f, mode, right_values), number, f.paths)
            return mismatch._replace(pattern=explained)
    return None


Rows = Sequence[tuple[int, tuple[int, ...]]]


def _units(x: Array) -> list[tuple[tuple[int, ...], complex]]:
    """The directions along the entries of an array: for a complex one also along the imaginary axis."""
    entries = list(np.ndindex(x.shape))[:_ENTRIES_MAX]
    return [(index, unit) for index in entries for unit in ((1, 1j) if x.dtype.kind == "c" else (1,))]


def _name(path: str, index: tuple[int, ...]) -> str:
    return f"entry {list(map(int, index))} of {path}" if index else path


def _step(f: Differentiated, number: int, index: tuple[int, ...], by: Any) -> list[Array]:
    step = [np.zeros_like(x) for x in f.xs]
    step[number][index] = by
    return step


def _forward_jacobian(f: Differentiated, rows: Rows) -> list[Array]:
    """For each argument the derivatives of the output entries (rows) along the argument's entries (columns)."""
    found = []
    for number, x in enumerate(f.xs):
        columns = []
        for index, unit in _units(x):
            dots = f.forward(f.xs, _step(f, number, index, unit))
            columns.append([np.asarray(dots[k])[out_index] for k, out_index in rows])
        found.append(np.asarray(columns).T.reshape(len(rows), len(columns)))
    return found


def _reverse_jacobian(f: Differentiated, outs: list[Array], rows: Rows) -> list[Array]:
    """The same by reverse mode, row by row; of complex derivatives the real part."""
    found: list[list[list[Any]]] = [[] for _ in f.xs]
    for k, out_index in rows:
        cts = [np.zeros_like(y) for y in outs]
        cts[k][out_index] = 1
        for x, ct, of_argument in zip(f.xs, f.backward(f.xs, cts), found, strict=True):
            of_argument.append([np.real(np.asarray(ct)[index] * unit) for index, unit in _units(x)])
    return [np.asarray(of_argument).reshape(len(rows), -1) for of_argument in found]


def _numerical_jacobian(f: Differentiated, number: int, rows: Rows, mode: str, eps: float | None) -> Slope:
    """The same by finite differences, for one argument."""
    columns = []
    sizes = _sizes(f.xs[number])
    for index, unit in _units(f.xs[number]):
        slopes = derivative_along(f.call, f.xs, _step(f, number, index, unit * sizes[index]), eps)
        entries = [[part[out_index] / sizes[index] for part in slopes[k]] for k, out_index in rows]
        columns.append(np.asarray(entries).reshape(len(rows), len(Slope._fields)))
    table = np.asarray(columns).reshape(len(columns), len(rows), len(Slope._fields)).transpose(2, 1, 0)
    if mode == REVERSE:
        table = np.real(table)
    value, error, left, right, side_error, scale = table
    return Slope(value, np.real(error), left, right, np.real(side_error), np.real(scale))


def _arranged(f: Differentiated, mode: str, jacobians: Sequence[Array]) -> list[Array]:
    """Jacobians as `pattern` wants them: columns in the shape of the argument, and by complex numbers complex."""
    arranged = []
    for x, jacobian in zip(f.xs, jacobians, strict=True):
        if x.dtype.kind == "c" and mode == REVERSE:
            jacobian = jacobian[:, ::2] - 1j * jacobian[:, 1::2]
        elif x.dtype.kind == "c":
            jacobian = np.concatenate([jacobian[:, ::2], jacobian[:, 1::2] / 1j], 1)
        whole = jacobian.size == len(jacobian) * x.size and len(jacobian)
        arranged.append(jacobian.reshape(len(jacobian), *x.shape) if whole else jacobian)
    return arranged


# --------------------------------------------------------------------------------------------------------------------
# float32 and narrower


def _in_low_precision(f: Differentiated, mode: str) -> Mismatch | None:
    """The derivative in the user's dtypes against that in double precision, which was found right."""
    if mode == FORWARD:
        direction = [np.asarray(v, x.dtype) for v, x in zip(next(directions(f)), f.given, strict=True)]
        exact = f.forward(f.xs, [np.asarray(v, x.dtype) for v, x in zip(direction, f.xs, strict=True)])
        rough: Sequence[Any] = f.forward(f.given, direction)
    else:
        cts = [np.asarray(ct, np.asarray(y).dtype) for ct, y in zip(cotangents(f), f.call(*f.given), strict=True)]
        exact = f.backward(
            f.xs, [np.asarray(ct, np.asarray(y).dtype) for ct, y in zip(cts, f.call(*f.xs), strict=True)]
        )
        rough = f.backward(f.given, cts)
    precision = _precision(f.given)
    for number, (a, b) in enumerate(zip(rough, exact, strict=True)):
        allowed = min(1e3 * precision, 64 * precision + 0.05) * max(largest(np.asarray(b)), 1e-30)
        with np.errstate(all="ignore"):
            wrong = ~(np.abs(np.asarray(a) - b) <= allowed) & ~(np.isinf(a) & (np.abs(b) > 6e4))
        if np.any(wrong):
            index = tuple(np.argwhere(wrong)[0])
            name = f.paths[number] if mode == REVERSE else "the output"
            return Mismatch(
                f"{_name(name, index)}, in {np.asarray(a).dtype}",
                np.asarray(a)[index],
                np.asarray(b)[index],
                allowed,
                None,
                source="in double precision it gives",
            )
    return None
