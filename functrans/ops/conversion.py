"""convert_element_type: another dtype."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans.core.aval import Aval
from functrans.core.primitive import Primitive
from functrans.core.rules import def_abstract, def_batch, def_general_jvp, def_specialized_impl, def_transpose

__all__ = ["convert_element_type", "convert_element_type_p"]


def convert_element_type(operand: Any, new_dtype: Any, weak: bool = False) -> Any:
    """The same elements in another dtype, as `ndarray.astype` converts them.

    A complex operand that is converted to a real dtype loses its imaginary part.
    """
    dtype = np.dtype(new_dtype)
    if operand.dtype == dtype and weak == getattr(getattr(operand, "aval", None), "weak", False):
        return operand
    return convert_element_type_p.bind(operand, new_dtype=dtype, weak=weak)


def _impl(operand: Aval, *, new_dtype: np.dtype[Any], weak: bool) -> Callable[..., Any]:
    if operand.dtype.kind == "c" and new_dtype.kind not in "cb":
        return lambda x: x.real.astype(new_dtype)
    return lambda x: x.astype(new_dtype)


def _jvp(primals: Sequence[Any], tangents: Sequence[Any], *, new_dtype: np.dtype[Any], weak: bool) -> tuple[Any, Any]:
    out = convert_element_type_p.bind(primals[0], new_dtype=new_dtype, weak=weak)
    # An integer or boolean result carries no derivative.
    return out, convert_element_type(tangents[0], new_dtype) if new_dtype.kind in "fc" else None


def _batch(size: int, operands: Sequence[Any], axes: Sequence[int], **params: Any) -> tuple[Any, int]:
    return convert_element_type_p.bind(operands[0], **params), axes[0]


convert_element_type_p = Primitive("convert_element_type")
def_abstract(convert_element_type_p, lambda operand, *, new_dtype, weak: Aval(operand.shape, new_dtype, weak))
def_specialized_impl(convert_element_type_p, _impl)
def_general_jvp(convert_element_type_p, _jvp)
def_transpose(convert_element_type_p, lambda ct, operand, **params: (convert_element_type(ct, operand.dtype),))
def_batch(convert_element_type_p, _batch)
