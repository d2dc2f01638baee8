"""Elementwise primitives: comparisons and tests, whose results are booleans, and the choice that is made with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans.core.aval import Aval
from functrans.core.primitive import Primitive
from functrans.core.rules import (
    UndefinedPrimal,
    among_zeros,
    def_abstract,
    def_batch,
    def_constant,
    def_general_jvp,
    def_specialized_impl,
    def_transpose,
    zeros_like,
)
from functrans.ops.families import ANY, INEXACT, batch_elementwise, constant_like, elementwise, matched
from functrans.ops.shape import broadcast_in_dim

__all__ = [
    "eq",
    "eq_p",
    "ge",
    "ge_p",
    "gt",
    "gt_p",
    "is_finite",
    "is_finite_p",
    "is_inf",
    "is_inf_p",
    "is_nan",
    "is_nan_p",
    "le",
    "le_p",
    "lt",
    "lt_p",
    "ne",
    "ne_p",
    "select",
    "select_n",
    "select_n_p",
]

# --------------------------------------------------------------------------------------------------------------------
# Comparisons. Complex numbers are ordered as NumPy orders them, by the real part first.


def _boolean(dtype: np.dtype[Any]) -> type:
    return np.bool_


def eq(x: Any, y: Any) -> Any:
    """x == y, elementwise, of operands of one shape and dtype."""
    return eq_p.bind(*matched(x, y))


eq_p = elementwise("eq", np.equal, ANY, _boolean)
def_constant(eq_p, 2)


def ne(x: Any, y: Any) -> Any:
    """x != y, elementwise, of operands of one shape and dtype."""
    return ne_p.bind(*matched(x, y))


ne_p = elementwise("ne", np.not_equal, ANY, _boolean)
def_constant(ne_p, 2)


def lt(x: Any, y: Any) -> Any:
    """x < y, elementwise, of operands of one shape and dtype."""
    return lt_p.bind(*matched(x, y))


lt_p = elementwise("lt", np.less, ANY, _boolean)
def_constant(lt_p, 2)


def le(x: Any, y: Any) -> Any:
    """x <= y, elementwise, of operands of one shape and dtype."""
    return le_p.bind(*matched(x, y))


le_p = elementwise("le", np.less_equal, ANY, _boolean)
def_constant(le_p, 2)


def gt(x: Any, y: Any) -> Any:
    """x > y, elementwise, of operands of one shape and dtype."""
    return gt_p.bind(*matched(x, y))


gt_p = elementwise("gt", np.greater, ANY, _boolean)
def_constant(gt_p, 2)


def ge(x: Any, y: Any) -> Any:
    """x >= y, elementwise, of operands of one shape and dtype."""
    return ge_p.bind(*matched(x, y))


ge_p = elementwise("ge", np.greater_equal, ANY, _boolean)
def_constant(ge_p, 2)

# --------------------------------------------------------------------------------------------------------------------
# Tests


def is_finite(x: Any) -> Any:
    """Whether x is neither infinite nor NaN, elementwise, of floats or complex numbers."""
    return is_finite_p.bind(x)


is_finite_p = elementwise("is_finite", np.isfinite, INEXACT, _boolean)
def_constant(is_finite_p, 1)


def is_nan(x: Any) -> Any:
    """Whether x is NaN, elementwise, of floats or complex numbers."""
    return is_nan_p.bind(x)


is_nan_p = elementwise("is_nan", np.isnan, INEXACT, _boolean)
def_constant(is_nan_p, 1)


def is_inf(x: Any) -> Any:
    """Whether x is infinite, of either sign, elementwise, of floats or complex numbers."""
    return is_inf_p.bind(x)


is_inf_p = elementwise("is_inf", np.isinf, INEXACT, _boolean)
def_constant(is_inf_p, 1)

# --------------------------------------------------------------------------------------------------------------------
# select_n


def select_n(which: Any, *cases: Any) -> Any:
    """Of several arrays the one that `which` says, elementwise.

    Args:
        which: booleans, to choose between two cases (False: the first), or integers, of the cases' shape or a scalar.
            An integer that is no case's number counts as the nearest that is.
        cases: arrays of one shape and dtype; Python numbers fit in.

    >>> import numpy as np
    >>> from functrans import lax
    >>> lax.select_n(np.array([2, 0, 1]), np.arange(3), np.arange(3) + 10, np.arange(3) + 20)
    array([20,  1, 12])
    """
    if not cases:
        raise TypeError("select_n needs at least one case")
    cases = tuple(matched(*cases))
    which = which if hasattr(which, "shape") else np.asarray(which)
    if which.shape == () and cases[0].shape:
        which = broadcast_in_dim(which, cases[0].shape, ())
    return select_n_p.bind(which, *cases)


def select(pred: Any, on_true: Any, on_false: Any) -> Any:
    """`on_true` where `pred` holds, else `on_false`, elementwise.

    Args:
        pred: booleans of the shape of the others, or a scalar.
        on_true: any array.
        on_false: an array of the same shape and dtype.

    >>> import numpy as np
    >>> from functrans import lax
    >>> lax.select(np.array([True, False]), np.array([1.0, 2.0]), 0.0)
    array([1., 0.])
    """
    return select_n(pred, on_false, on_true)


def without_zeros(x: Any) -> Any:
    """x, and 1 where it is 0: what can be divided by."""
    return select(eq(x, 0), constant_like(x, 1), x)


def _select_n_abstract(which: Aval, *cases: Aval) -> Aval:
    first = cases[0]
    got = f"got {which} and {', '.join(map(str, cases))}"
    if which.dtype.kind not in "biu":
        raise TypeError(f"select_n: the first operand must be boolean or integer, {got}")
    if which.dtype.kind == "b" and len(cases) > 2:
        raise TypeError(f"select_n: booleans choose between two cases, {got}")
    if any([case.shape != first.shape or case.dtype != first.dtype for case in cases]):
        raise TypeError(f"select_n: the cases must have the same shape and dtype, {got}")
    if which.shape != first.shape:
        raise TypeError(f"select_n: the first operand must have the shape of the cases, {got}")
    return Aval(first.shape, first.dtype, all([case.weak for case in cases]))


def _select_n_impl(which: Aval, *cases: Aval) -> Callable[..., Any]:
    if len(cases) == 1:
        return lambda which, case: np.array(np.broadcast_to(case, np.broadcast_shapes(which.shape, case.shape)))
    if which.dtype.kind == "b":
        bits = _BITS.get(cases[0].dtype.itemsize)
        if bits is None or which.size < _FEW:
            return lambda which, on_false, on_true: np.where(which, on_true, on_false)
        return lambda which, on_false, on_true: _chosen_bits(which, on_false, on_true, bits)

    def choose(which: Any, *cases: Any) -> Any:
        chosen = cases[-1]
        for number in range(len(cases) - 2, -1, -1):
            chosen = np.where(np.less_equal(which, number), cases[number], chosen)
        return chosen

    return choose


_BITS = {1: np.dtype(np.int8), 2: np.dtype(np.int16), 4: np.dtype(np.int32), 8: np.dtype(np.int64)}
_FEW = 2048
"""Below this size np.where is at least as fast."""


def _chosen_bits(which: Any, on_false: Any, on_true: Any, bits: Any) -> Any:
    # np.where branches at each element, and processors guess wrong half of the time if there is no pattern (600,000
    # float32: 2300 us, 110 with a zero so, and 220 with any two arrays). The bits as integers, times 0 or 1.
    if type(which) is not np.ndarray or not which.ndim:
        return np.where(which, on_true, on_false)
    dtype = on_true.dtype
    on_false, on_true = on_false.view(bits), on_true.view(bits)
    if not on_false.ndim and not on_false:
        return np.multiply(on_true, which).view(dtype)
    if not on_true.ndim and not on_true:
        return np.multiply(on_false, np.logical_not(which)).view(dtype)
    chosen = np.bitwise_xor(on_true, on_false)
    if chosen.shape != which.shape:
        chosen = np.multiply(chosen, which)
    else:
        np.multiply(chosen, which, out=chosen)
    return np.bitwise_xor(chosen, on_false, out=chosen).view(dtype)


def _select_n_jvp(primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    which, *cases = primals
    filled = [zeros_like(x) if t is None else t for x, t in zip(cases, tangents[1:], strict=True)]
    return select_n(which, *cases), select_n(which, *filled)


def _select_n_transpose(ct: Any, which: Any, *cases: Any) -> list[Any]:
    zero = zeros_like(ct)
    cts = [None]
    for number, case in enumerate(cases):
        if type(case) is not UndefinedPrimal:
            cts.append(None)
        elif len(cases) == 1:
            cts.append(ct)
        elif which.dtype.kind == "b":
            cts.append(select_n(which, ct, zero) if number == 0 else select_n(which, zero, ct))
        else:
            cts.append(select(_is_case(which, number, len(cases)), ct, zero))
    return cts


def _is_case(which: Any, number: int, n_cases: int) -> Any:
    if number == 0:
        return le(which, 0)
    return ge(which, number) if number == n_cases - 1 else eq(which, number)


select_n_p = Primitive("select_n")
select_n_p.is_elementwise = True
select_n_p.places_zeros = among_zeros
def_abstract(select_n_p, _select_n_abstract)
def_specialized_impl(select_n_p, _select_n_impl)
def_general_jvp(select_n_p, _select_n_jvp)
def_transpose(select_n_p, _select_n_transpose)
def_batch(select_n_p, batch_elementwise(select_n_p))
