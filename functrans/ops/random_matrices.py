"""Matrices of random numbers: factors of a covariance, with their derivatives, and orthonormal columns.

The derivative of the Cholesky factor is from I. Murray, "Differentiation of the Cholesky decomposition",
arXiv:1602.07527 (2016); that of eigenvectors is classical, and holds where the eigenvalues are distinct.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans.core.aval import Aval
from functrans.core.primitive import Primitive
from functrans.core.rules import declare_absent, def_abstract, def_batch, def_general_jvp, def_impl
from functrans.ops.comparison import eq, ge, select
from functrans.ops.elementwise import add, div, mul, neg, sub
from functrans.ops.families import constant_like
from functrans.ops.iota import broadcasted_iota
from functrans.ops.linear_algebra import batch_matmul
from functrans.ops.shape import broadcast_in_dim, moveaxis, reduce_sum, transpose

__all__ = [
    "covariance_cholesky",
    "covariance_cholesky_p",
    "covariance_eigen",
    "covariance_eigen_p",
    "orthonormal_columns",
    "orthonormal_columns_p",
]

Matrices = np.ndarray[Any, Any]


def _check_square(name: str, x: Aval) -> None:
    if x.ndim < 2 or x.shape[-1] != x.shape[-2] or x.dtype.kind != "f":
        raise TypeError(f"{name} takes square matrices of floats, got {x}")


def _batch_first(primitive: Primitive) -> Callable[..., Any]:
    """The batching rule of a primitive that takes a stack of matrices."""

    def batch(size: int, operands: Sequence[Any], axes: Sequence[int], **params: Any) -> tuple[Any, Any]:
        outs = primitive.bind(moveaxis(operands[0], axes[0], 0), **params)
        return outs, (0,) * len(outs) if primitive.multiple_results else 0

    return batch


def _turned(x: Any) -> Any:
    return transpose(x, (*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))


def _places(x: Any) -> tuple[Any, Any]:
    """The numbers of the row and of the column of each element."""
    return broadcasted_iota(np.int64, x.shape, x.ndim - 2), broadcasted_iota(np.int64, x.shape, x.ndim - 1)


def _symmetric(x: Any) -> Any:
    return mul(add(x, _turned(x)), constant_like(x, 0.5))


# --------------------------------------------------------------------------------------------------------------------
# Cholesky


def covariance_cholesky(covariance: Any) -> tuple[Any, Any]:
    """The lower triangular factor L with L @ L.T = covariance, and its inverse; of stacks of matrices.

    >>> import numpy as np
    >>> covariance_cholesky(np.array([[4.0, 2.0], [2.0, 2.0]]))[0]
    array([[2., 0.],
           [1., 1.]])
    """
    return covariance_cholesky_p.bind(covariance)


def _cholesky_impl(covariance: Matrices) -> tuple[Matrices, Matrices]:
    try:
        with np.errstate(invalid="ignore"):
            factor = np.linalg.cholesky((covariance + covariance.swapaxes(-1, -2)) / 2)
    except np.linalg.LinAlgError:
        raise np.linalg.LinAlgError(
            "a covariance is not positive definite, so that it has no Cholesky factor. If some directions have no "
            "variance, method='svd' or method='eigh' can do it; else add a little to the diagonal."
        ) from None
    return factor, np.tril(np.linalg.inv(factor))


def _two_squares(covariance: Aval) -> tuple[Aval, Aval]:
    _check_square("covariance_cholesky", covariance)
    return covariance.strong, covariance.strong


def _cholesky_jvp(primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    factor, inverse = covariance_cholesky(primals[0])
    inner = batch_matmul(batch_matmul(inverse, _symmetric(tangents[0])), _turned(inverse))
    rows, columns = _places(inner)
    half = select(eq(rows, columns), mul(inner, constant_like(inner, 0.5)), inner)
    lower = select(ge(rows, columns), half, constant_like(inner, 0))
    return (factor, inverse), (batch_matmul(factor, lower), neg(batch_matmul(lower, inverse)))


covariance_cholesky_p = Primitive("covariance_cholesky", multiple_results=True)
def_impl(covariance_cholesky_p, _cholesky_impl)
def_abstract(covariance_cholesky_p, _two_squares)
def_general_jvp(covariance_cholesky_p, _cholesky_jvp)
def_batch(covariance_cholesky_p, _batch_first(covariance_cholesky_p))
declare_absent(covariance_cholesky_p, "transpose", "not linear")

# --------------------------------------------------------------------------------------------------------------------
# Eigenvectors


def covariance_eigen(covariance: Any, method: str) -> tuple[Any, Any]:
    """The eigenvalues and the eigenvectors (columns) of stacks of covariances.

    Args:
        covariance: symmetric matrices.
        method: "eigh" for those of `numpy.linalg.eigh`, "svd" for the left ones of `numpy.linalg.svd`.
    """
    return covariance_eigen_p.bind(covariance, method=method)


def _eigen_impl(covariance: Matrices, *, method: str) -> tuple[Matrices, Matrices]:
    if method == "svd":
        vectors, values, _ = np.linalg.svd(covariance)
    else:
        values, vectors = np.linalg.eigh((covariance + covariance.swapaxes(-1, -2)) / 2)
    return values, vectors


def _eigen_abstract(covariance: Aval, *, method: str) -> tuple[Aval, Aval]:
    _check_square("covariance_eigen", covariance)
    return Aval(covariance.shape[:-1], covariance.dtype), covariance.strong


def _eigen_jvp(primals: Sequence[Any], tangents: Sequence[Any], *, method: str) -> tuple[Any, Any]:
    values, vectors = covariance_eigen(primals[0], method)
    inner = batch_matmul(batch_matmul(_turned(vectors), _symmetric(tangents[0])), vectors)
    rows, columns = _places(inner)
    diagonal = eq(rows, columns)
    axes = list(range(inner.ndim - 2))
    of_row = broadcast_in_dim(values, inner.shape, (*axes, inner.ndim - 2))
    of_column = broadcast_in_dim(values, inner.shape, (*axes, inner.ndim - 1))
    gaps = select(diagonal, constant_like(inner, 1), sub(of_column, of_row))
    turn = select(diagonal, constant_like(inner, 0), div(inner, gaps))
    on_diagonal = select(diagonal, inner, constant_like(inner, 0))
    return (values, vectors), (reduce_sum(on_diagonal, (inner.ndim - 1,)), batch_matmul(vectors, turn))


covariance_eigen_p = Primitive("covariance_eigen", multiple_results=True)
def_impl(covariance_eigen_p, _eigen_impl)
def_abstract(covariance_eigen_p, _eigen_abstract)
def_general_jvp(covariance_eigen_p, _eigen_jvp)
def_batch(covariance_eigen_p, _batch_first(covariance_eigen_p))
declare_absent(covariance_eigen_p, "transpose", "not linear")

# --------------------------------------------------------------------------------------------------------------------
# Orthonormal columns


def orthonormal_columns(x: Any) -> Any:
    """The first factor Q of x = Q R, with columns such that the diagonal of R is positive; of stacks of matrices that
    have at least as many rows as columns.
    """
    return orthonormal_columns_p.bind(x)


def _columns_impl(x: Matrices) -> Matrices:
    q, r = np.linalg.qr(x)
    diagonal = np.diagonal(r, axis1=-2, axis2=-1)
    with np.errstate(invalid="ignore"):
        signs = np.sign(diagonal)
    return np.ascontiguousarray(q * signs[..., None, :])


def _columns_abstract(x: Aval) -> Aval:
    if x.ndim < 2 or x.shape[-1] > x.shape[-2] or x.dtype.kind not in "fc":
        raise TypeError(f"orthonormal_columns takes matrices with at least as many rows as columns, got {x}")
    return x.strong


orthonormal_columns_p = Primitive("orthonormal_columns")
def_impl(orthonormal_columns_p, _columns_impl)
def_abstract(orthonormal_columns_p, _columns_abstract)
def_batch(orthonormal_columns_p, _batch_first(orthonormal_columns_p))
for _rule in ("jvp", "transpose"):
    declare_absent(orthonormal_columns_p, _rule, "it is applied to random numbers alone, which depend on no input")
