"""Conversions of dtype that lose nothing, and the parts of complex numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from functrans.core.jaxpr import Atom, Operation
from functrans.ops.complex import complex_p, conj_p, imag_p, real_p
from functrans.ops.conversion import convert_element_type_p
from functrans.ops.elementwise import neg_p
from functrans.passes.rewriting import Rules, Walk

__all__ = ["CONVERSIONS"]

Inputs = tuple[Atom, ...]
DType = np.dtype[Any]


def _convert(walk: Walk, operation: Operation, inputs: Inputs) -> Atom | None:
    (x,), wanted = inputs, operation.params["new_dtype"]
    if walk.aval(x).dtype == wanted:
        return x
    inner = walk.definition(x, convert_element_type_p)
    if inner is None:
        return None
    first, (source,) = inner
    before, between = first.in_avals[0].dtype, first.params["new_dtype"]
    if not _holds(between, before) or not (_converts_alike(before, between, wanted) or _holds(wanted, before)):
        return None
    return walk.emit(convert_element_type_p, (source,), **operation.params)


def _holds(dtype: DType, other: DType) -> bool:
    """Whether a dtype has all the numbers of another one."""
    if dtype == other or other.kind == "b":
        return dtype.kind != "b" or other.kind == "b"
    if dtype.kind == "b" or dtype.itemsize > 16 or other.kind + dtype.kind in ("cf", "ci", "cu", "fi", "fu", "iu"):
        return False
    if other.kind in "iu" and dtype.kind in "fc":
        return 8 * other.itemsize - (other.kind == "i") <= np.finfo(dtype).nmant + 1
    return np.can_cast(other, dtype, "safe")


def _converts_alike(before: DType, between: DType, wanted: DType) -> bool:
    """Whether what was widened is then converted as it would have been before: rounded once, or wrapped around."""
    return wanted.kind in "fcb" or (before.kind in "biu" and between.kind in "biu")


def _part_of(primitive: Any, place: int) -> Any:
    def rule(walk: Walk, operation: Operation, inputs: Inputs) -> Atom | None:
        parts = walk.operands(inputs[0], complex_p)
        if parts is not None:
            return parts[place]
        conjugated = walk.operands(inputs[0], conj_p)
        if conjugated is None:
            return None
        part = walk.emit(primitive, conjugated)
        return walk.emit(neg_p, (part,)) if place else part

    return rule


def _complex(walk: Walk, operation: Operation, inputs: Inputs) -> Atom | None:
    real, imag = walk.operands(inputs[0], real_p), walk.operands(inputs[1], imag_p)
    return real[0] if real is not None and real == imag else None


def _conj(walk: Walk, operation: Operation, inputs: Inputs) -> Atom | None:
    inner = walk.operands(inputs[0], conj_p)
    return None if inner is None else inner[0]


CONVERSIONS: Rules = {
    convert_element_type_p: _convert,
    real_p: _part_of(real_p, 0),
    imag_p: _part_of(imag_p, 1),
    complex_p: _complex,
    conj_p: _conj,
}
