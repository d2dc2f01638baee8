"""What is wrong with a derivative, from the wrong values and the right ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["pattern"]

Array = np.ndarray[Any, Any]


def pattern(wrong: Sequence[Array], right: Sequence[Array], place: int, names: Sequence[str] = ()) -> str | None:
    """A usual mistake that explains a wrong derivative.

    Args:
        wrong: for each argument the derivatives found, the output's entries along the first axis and the argument's
            shape along the others.
        right: the same as they should be.
        place: the argument whose derivative is wrong.
        names: what the arguments are called.

    Returns:
        The end of a sentence that begins with "the derivative"; None if nothing is recognised.
    """
    a, b = wrong[place], right[place]
    different = ~_close(a, b)
    found = _of_values(a[different], b[different])
    if found is not None:
        return found
    if a.ndim == 3 and a.shape[1] == a.shape[2] and np.all(_close(a, np.swapaxes(b, 1, 2))):
        return "is transposed"
    for other, name in enumerate(names):
        if other != place and right[other].shape == a.shape and np.all(_close(a, right[other])):
            return f"is that with respect to {name}"
    return None


def _of_values(a: Array, b: Array) -> str | None:
    if not a.size:
        return None
    if np.all(np.isnan(a)):
        return "is NaN"
    if not np.any(a):
        return "is zero"
    usual = {2.0: "is twice what it should be", 0.5: "is half of what it should be", -1.0: "has the wrong sign"}
    for factor, words in usual.items():
        if np.all(_close(a, factor * b)):
            return words
    if np.iscomplexobj(a) and np.all(_close(a, np.conj(b))):
        return "lacks a conjugation, or has one too many"
    with np.errstate(all="ignore"):
        factors = a / b
    if a.size > 1 and np.all(np.isfinite(factors)) and np.all(_close(factors, factors.flat[0])):
        return f"is {factors.flat[0]:.6g} times what it should be"
    return None


def _close(a: Any, b: Any) -> Any:
    with np.errstate(all="ignore"):
        return np.abs(a - b) <= 1e-5 * np.maximum(np.abs(a), np.abs(b)) + 1e-12
