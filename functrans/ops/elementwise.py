"""Elementwise primitives: arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np

from functrans.core.rules import def_jvp, def_linear, def_multilinear
from functrans.ops.families import INEXACT, NUMBER, elementwise, matched

__all__ = ["add", "add_p", "cos", "cos_p", "div", "div_p", "exp", "exp_p", "log", "log_p", "mul", "mul_p", "neg", "neg_p",
           "sin", "sin_p", "sub", "sub_p", "tanh", "tanh_p"]


def neg(x: Any) -> Any:
    """-x, elementwise."""
    return neg_p.bind(x)


neg_p = elementwise("neg", np.negative, NUMBER)
def_linear(neg_p, lambda ct, x: (neg(ct),))


def add(x: Any, y: Any) -> Any:
    """x + y, elementwise."""
    return add_p.bind(*matched(x, y))


add_p = elementwise("add", np.add, NUMBER)
def_linear(add_p, lambda ct, x, y: (ct, ct))
def_jvp(add_p, lambda t, out, x, y: t, lambda t, out, x, y: t)


def sub(x: Any, y: Any) -> Any:
    """x - y, elementwise."""
    return sub_p.bind(*matched(x, y))


sub_p = elementwise("sub", np.subtract, NUMBER)
def_linear(sub_p, lambda ct, x, y: (ct, neg(ct)))
def_jvp(sub_p, lambda t, out, x, y: t, lambda t, out, x, y: neg(t))


def mul(x: Any, y: Any) -> Any:
    """x * y, elementwise."""
    return mul_p.bind(*matched(x, y))


mul_p = elementwise("mul", np.multiply, NUMBER)
def_multilinear(mul_p, lambda ct, x, y: mul(ct, y), lambda ct, x, y: mul(x, ct))


def div(x: Any, y: Any) -> Any:
    """x / y, elementwise."""
    return div_p.bind(*matched(x, y))


div_p = elementwise("div", np.true_divide, INEXACT)
def_multilinear(div_p, lambda ct, x, y: div(ct, y), None)
def_jvp(div_p, lambda t, out, x, y: div(t, y), lambda t, out, x, y: neg(mul(t, div(out, y))))


def exp(x: Any) -> Any:
    """e to the power x, elementwise."""
    return exp_p.bind(x)


exp_p = elementwise("exp", np.exp, INEXACT)
def_jvp(exp_p, lambda t, y, x: mul(t, y))


def log(x: Any) -> Any:
    """The natural logarithm, elementwise."""
    return log_p.bind(x)


log_p = elementwise("log", np.log, INEXACT)
def_jvp(log_p, lambda t, y, x: div(t, x))


def sin(x: Any) -> Any:
    """The sine, elementwise."""
    return sin_p.bind(x)


sin_p = elementwise("sin", np.sin, INEXACT)
def_jvp(sin_p, lambda t, y, x: mul(t, cos(x)))


def cos(x: Any) -> Any:
    """The cosine, elementwise."""
    return cos_p.bind(x)


cos_p = elementwise("cos", np.cos, INEXACT)
def_jvp(cos_p, lambda t, y, x: neg(mul(t, sin(x))))


def tanh(x: Any) -> Any:
    """The hyperbolic tangent, elementwise."""
    return tanh_p.bind(x)


tanh_p = elementwise("tanh", np.tanh, INEXACT)
def_jvp(tanh_p, lambda t, y, x: mul(t, sub(1.0, mul(y, y))))
