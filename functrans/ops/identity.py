"""Elementwise primitives that leave the values as they are."""

from __future__ import annotations

from typing import Any

from functrans.core.rules import def_constant, def_linear
from functrans.ops.families import ANY, elementwise

__all__ = ["copy", "copy_p", "stop_gradient", "stop_gradient_p"]


def stop_gradient(x: Any) -> Any:
    """x itself, as a constant: its derivative is zero."""
    return stop_gradient_p.bind(x)


stop_gradient_p = elementwise("stop_gradient", lambda x: x, ANY)
stop_gradient_p.is_view = True
def_constant(stop_gradient_p, 1)


def copy(x: Any) -> Any:
    """A copy of x, which shares no memory with it."""
    return copy_p.bind(x)


copy_p = elementwise("copy", lambda x: x.copy(), ANY)
def_linear(copy_p, lambda ct, x: (ct,))
