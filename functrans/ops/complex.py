"""Elementwise primitives: complex numbers and their parts.

The transposes follow JAX: they are those of maps of complex numbers, without conjugation, so that the gradient of a
real function f of x + iy is df/dx - i df/dy.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from functrans.core.primitive import Primitive
from functrans.core.rules import UndefinedPrimal, def_linear, zeros_like
from functrans.ops.elementwise import neg
from functrans.ops.families import COMPLEX, FLOAT, elementwise, matched

__all__ = ["complex", "complex_p", "conj", "conj_p", "imag", "imag_p", "real", "real_p"]


def _part(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.empty((), dtype).real.dtype


def _whole(dtype: np.dtype[Any]) -> np.dtype[Any]:
    whole = np.result_type(dtype, np.complex64)
    if _part(whole) != dtype:
        raise TypeError(f"complex: there are no complex numbers of parts of dtype {dtype.name}")
    return whole


def real(x: Any) -> Any:
    """The real part, elementwise, of complex numbers."""
    return real_p.bind(x)


real_p: Primitive = elementwise("real", lambda x: x.real, COMPLEX, _part)
real_p.is_view = True
def_linear(real_p, lambda ct, x: (complex_p.bind(ct, zeros_like(ct)),))


def imag(x: Any) -> Any:
    """The imaginary part, elementwise, of complex numbers."""
    return imag_p.bind(x)


imag_p: Primitive = elementwise("imag", lambda x: x.imag, COMPLEX, _part)
imag_p.is_view = True
def_linear(imag_p, lambda ct, x: (complex_p.bind(zeros_like(ct), neg(ct)),))


def complex(x: Any, y: Any) -> Any:
    """x + iy, elementwise, of floats of one shape and dtype (float32 or float64).

    >>> import numpy as np
    >>> from functrans import lax
    >>> lax.complex(np.array([1.0, 2.0]), -1.0)
    array([1.-1.j, 2.-1.j])
    """
    return complex_p.bind(*matched(x, y))


def _complex_impl(x: Any, y: Any) -> Any:
    out = np.empty(x.shape if x.shape == y.shape else np.broadcast_shapes(x.shape, y.shape), _whole(x.dtype))
    out.real = x
    out.imag = y
    return out


def _complex_transpose(ct: Any, x: Any, y: Any) -> tuple[Any, Any]:
    return (
        real(ct) if type(x) is UndefinedPrimal else None,
        neg(imag(ct)) if type(y) is UndefinedPrimal else None,
    )


complex_p: Primitive = elementwise("complex", _complex_impl, FLOAT, _whole)
def_linear(complex_p, _complex_transpose)


def conj(x: Any) -> Any:
    """The complex conjugate, elementwise; real numbers are returned as they are."""
    return conj_p.bind(x) if x.dtype.kind == "c" else x


conj_p = elementwise("conj", np.conjugate, COMPLEX)
def_linear(conj_p, lambda ct, x: (conj(ct),))
