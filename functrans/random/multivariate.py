"""Samplers of vectors and matrices: the normal distribution with a covariance, orthogonal matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

import functrans.numpy as fnp
from functrans.core.aval import aval_of
from functrans.ops.conversion import convert_element_type
from functrans.ops.random_matrices import covariance_cholesky, covariance_eigen, orthonormal_columns
from functrans.random.arguments import (
    Dtype,
    Shape,
    broadcast_shape,
    dtype_of_floats,
    number,
    sample,
    sample_shape,
    sampler,
    static_integer,
)
from functrans.random.uniform import normal_from

__all__ = ["multivariate_normal", "orthogonal"]

Lengths = tuple[int, ...]
_METHODS = ("cholesky", "eigh", "svd")


@sampler
def multivariate_normal(
    key: Any, mean: Any, cov: Any, shape: Any = None, dtype: Any = None, method: str = "cholesky"
) -> Any:
    """Vectors of the normal distribution with a mean and a covariance: `mean + A @ z`, with standard normal `z` and
    `A @ A.T = cov`.

    Args:
        key: a key.
        mean: the means, vectors along the last axis.
        cov: the covariances, symmetric matrices along the last two axes.
        shape: the shape of the result without its last axis, into which the other axes of `mean` and `cov` broadcast;
            theirs if not given.
        dtype: a float type; that of `mean` and `cov` together if not given.
        method: where `A` comes from. "cholesky": the Cholesky factor, for positive definite covariances; the result
            can be differentiated with respect to `cov` any number of times. "eigh", "svd": eigenvectors times the roots
            of the eigenvalues, which may be 0; the derivative with respect to `cov` exists where the eigenvalues are
            distinct and not 0, and is NaN or infinite elsewhere.

    Raises:
        numpy.linalg.LinAlgError: when it runs, if `method="cholesky"` and a covariance is not positive definite.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.random.multivariate_normal(ft.random.key(0), np.zeros(2), np.array([[2.0, 1.0], [1.0, 2.0]]))
    array([-0.291104, -1.106690])
    """
    name = "multivariate_normal"
    if method not in _METHODS:
        raise ValueError(f"random.{name}: method must be one of {', '.join(map(repr, _METHODS))}, got {method!r:.60}")
    mean, cov = number(mean, "mean", name), number(cov, "cov", name)
    of_mean, of_cov = aval_of(mean), aval_of(cov)
    if of_mean.ndim < 1:
        raise ValueError(f"random.{name}: mean must be a vector or have vectors along its last axis, got a scalar")
    n = of_mean.shape[-1]
    if of_cov.shape[-2:] != (n, n):
        raise ValueError(f"random.{name}: cov must end in a matrix of shape {(n, n)}, as mean has {n}, got {of_cov}")
    batch = {"mean": np.broadcast_to(0.0, of_mean.shape[:-1]), "cov": np.broadcast_to(0.0, of_cov.shape[:-2])}
    wanted = broadcast_shape(shape, name, **{f"{what} (without vectors and matrices)": x for what, x in batch.items()})
    if dtype is None:
        dtype = np.result_type(*[x.dtype if x.dtype.kind == "f" else np.float64 for x in (of_mean, of_cov)])
    found = dtype_of_floats(dtype, name)
    return sample(_multivariate_normal, name, key, mean, cov, static=((*wanted, n), found, method))


def _multivariate_normal(words: Any, mean: Any, cov: Any, shape: Lengths, dtype: Dtype, method: str) -> Any:
    mean, cov = convert_element_type(mean, dtype), convert_element_type(cov, dtype)
    if method == "cholesky":
        factor = covariance_cholesky(cov)[0]
    else:
        values, vectors = covariance_eigen(cov, method)
        factor = vectors * fnp.sqrt(fnp.expand_dims(values, -2))
    z = fnp.expand_dims(normal_from(words, shape, dtype), -1)
    return mean + fnp.squeeze(fnp.matmul(factor, z), -1)


@sampler
def orthogonal(key: Any, n: int, shape: Shape = (), dtype: Any = float, m: int | None = None) -> Any:
    """Matrices that are uniform among the orthogonal (for complex dtypes unitary) ones.

    Args:
        key: a key.
        n: the number of rows.
        shape: the shape of the result without its last two axes.
        dtype: a float or complex type.
        m: the number of columns; `n` if not given. Of other numbers than `n` the shorter side is orthonormal.

    >>> import functrans as ft
    >>> q = ft.random.orthogonal(ft.random.key(0), 3)
    >>> (q @ q.T).round(12) + 0.0
    array([[1., 0., 0.],
           [0., 1., 0.],
           [0., 0., 1.]])
    """
    found, wanted = dtype_of_floats(dtype, "orthogonal", "fc"), sample_shape(shape, "orthogonal")
    rows = static_integer(n, "n", "orthogonal")
    columns = rows if m is None else static_integer(m, "m", "orthogonal")
    if min(rows, columns) < 0:
        raise ValueError(f"random.orthogonal: n and m must not be negative, got {rows} and {columns}")
    return sample(_orthogonal, "orthogonal", key, static=(wanted, rows, columns, found))


def _orthogonal(words: Any, shape: Lengths, rows: int, columns: int, dtype: Dtype) -> Any:
    q = orthonormal_columns(normal_from(words, (*shape, max(rows, columns), min(rows, columns)), dtype))
    return fnp.swapaxes(q, -1, -2) if rows < columns else q
