"""Literals through what gives the same for one number as for many: a literal again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans.core.jaxpr import Atom, Literal, Operation
from functrans.ops import bitwise, comparison, elementwise, magnitude, power, reductions, rounding, selection, shape
from functrans.ops import complex as complex_ops
from functrans.ops.conversion import convert_element_type_p
from functrans.ops.joining import concatenate_p
from functrans.ops.slicing import pad_p, slice_p

__all__ = ["exact_multiple", "folded", "is_number", "is_splat"]

_EXACT = frozenset({
    elementwise.add_p, elementwise.sub_p, elementwise.mul_p, elementwise.div_p, elementwise.neg_p,
    magnitude.abs_p, magnitude.sign_p, selection.max_p, selection.min_p, selection.clamp_p, power.square_p,
    rounding.floor_p, rounding.ceil_p, rounding.trunc_p, convert_element_type_p,
    comparison.eq_p, comparison.ne_p, comparison.lt_p, comparison.le_p, comparison.gt_p, comparison.ge_p,
    comparison.is_nan_p, comparison.is_inf_p, comparison.is_finite_p, comparison.select_n_p,
    bitwise.and_p, bitwise.or_p, bitwise.xor_p, bitwise.not_p,
    complex_ops.real_p, complex_ops.imag_p, complex_ops.conj_p, complex_ops.complex_p,
})  # fmt: skip
"""What has one right result, the same for one number and for many (unlike `exp`, say)."""

_RESHAPING = frozenset({
    shape.broadcast_in_dim_p, shape.reshape_p, shape.transpose_p, shape.squeeze_p, shape.expand_dims_p, shape.rev_p,
    slice_p,
})  # fmt: skip
_CHOOSING = frozenset(
    {reductions.reduce_max_p, reductions.reduce_min_p, reductions.reduce_and_p, reductions.reduce_or_p}
)
_JOINING = frozenset({concatenate_p, pad_p})


def folded(operation: Operation, inputs: Sequence[Atom]) -> Literal | None:
    """The literal that an operation gives on these operands, if it is one."""
    fold = _FOLDS.get(operation.primitive)
    if fold is None:
        return None
    for x in inputs:
        if type(x) is not Literal:
            return None
    return fold(operation, inputs)


def _evaluated(operation: Operation, literals: Sequence[Any]) -> Literal:
    with np.errstate(all="ignore"):
        value = operation.primitive.implementation(operation)(*[x.scalar for x in literals])  # type: ignore[attr-defined]
    return Literal(value.item(), operation.out_avals[0])


def _splat(operation: Operation, literals: Sequence[Any]) -> Literal:
    return Literal(literals[0].value, operation.out_avals[0])


def _chosen(operation: Operation, literals: Sequence[Any]) -> Literal | None:
    return _splat(operation, literals) if literals[0].size else None


def _joined(operation: Operation, literals: Sequence[Any]) -> Literal | None:
    first = literals[0]
    same = all([Literal(x.value, first.aval) is first for x in literals[1:]])
    return _splat(operation, literals) if same else None


def _summed(operation: Operation, literals: Sequence[Any]) -> Literal | None:
    literal, out = literals[0], operation.out_avals[0]
    count = literal.size // out.size if out.size else 0
    total = exact_multiple(literal, count)
    return None if total is None else Literal(total, out)


_FOLDS: dict[Any, Callable[[Operation, Sequence[Any]], Literal | None]] = {
    **dict.fromkeys(_EXACT, _evaluated),
    **dict.fromkeys(_RESHAPING, _splat),
    **dict.fromkeys(_CHOOSING, _chosen),
    **dict.fromkeys(_JOINING, _joined),
    shape.reduce_sum_p: _summed,
}


def exact_multiple(literal: Literal, count: int) -> int | float | None:
    """The sum of so many times a number, if it is the same in any order, because no partial sum is rounded."""
    dtype, value = literal.dtype, literal.value
    if dtype.kind in "iu":
        bits = 8 * dtype.itemsize
        total = value * count % 2**bits
        return total - 2**bits if dtype.kind == "i" and total >= 2 ** (bits - 1) else total
    if dtype.kind != "f" or dtype.itemsize > 8 or not np.isfinite(literal.scalar):
        return None
    numerator, denominator = float(value).as_integer_ratio()
    bits, largest = np.finfo(dtype).nmant, float(np.finfo(dtype).max)
    is_exact = abs(numerator) * count <= 2**bits and abs(float(value)) * count <= largest
    return numerator * count / denominator if is_exact else None


def is_number(atom: Atom, number: float) -> bool:
    """Whether an atom is the literal of a number; of zeros, 0.0 and not -0.0. Never so for complex numbers, of which
    one part may be infinite or a negative zero.
    """
    if type(atom) is not Literal or atom.dtype.kind == "c" or atom.value != number:
        return False
    return atom.dtype.kind != "f" or np.copysign(1.0, atom.value) == np.copysign(1.0, number)


def is_splat(atom: Atom, test: Callable[..., Any], *others: float) -> bool:
    """Whether an atom is a literal whose number passes a test, a ufunc."""
    return type(atom) is Literal and bool(test(atom.scalar, *others))
