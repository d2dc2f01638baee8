"""Cases of `functrans.ops.random_gamma`, `random_counts` and `random_matrices`: the definitions, one element at a time.

The derivative of a gamma sample by its parameter is not that of the function, which chooses among candidates:
`tests/test_random/test_gammas.py` holds it against the quantiles.
"""

from math import ceil, exp, floor, isclose, lgamma, log, log1p, sqrt

import numpy as np

import functrans.numpy as fnp
from functrans.ops import random_counts as counts
from functrans.ops import random_gamma as gammas
from functrans.ops import random_matrices as matrices
from tests.cases.case import FLOATS, Case, Operand
from tests.cases.random_bits import KEY, hash_of, normal_of, unit_of

# --------------------------------------------------------------------------------------------------------------------
# Gamma


def gamma_of(key, a, log_space):
    """One number of the gamma distribution."""
    boosted = a + 1 if a < 1 else a
    d = boosted - 1 / 3
    key, for_boost = hash_of(key, 0), hash_of(key, 1)
    volume, accepted = 1.0, False
    while not accepted:
        key, for_x, for_u = [hash_of(key, i) for i in range(3)]
        v = -1.0
        while v <= 0:
            for_x, drawn = hash_of(for_x, 0), hash_of(for_x, 1)
            x = float(normal_of(drawn, 0, "float64"))
            v = 1 + x / (3 * sqrt(d))
        volume, u = v**3, float(unit_of(for_u, 0, "float64"))
        accepted = u < 1 - 0.0331 * x**4 or log(u) < x * x / 2 + d * (1 - volume + log(volume))
    boost = log1p(-float(unit_of(for_boost, 0, "float64"))) / a if a < 1 else 0.0
    return log(d) + log(volume) + boost if log_space else d * volume * exp(boost)


def gammas_of(log_space):
    return lambda words, a: np.array([gamma_of(hash_of(words, i), float(x), log_space) for i, x in enumerate(a)])


def lower_series(a, x):
    """The distribution function of the gamma distribution, by its series."""
    term = total = 1.0
    n = 0
    while not isclose(total + term, total, rel_tol=1e-18):
        n += 1
        term *= x / (a + n)
        total += term
    return total * exp(a * log(x) - x - lgamma(a + 1))


WEIGHTS = {1: 4 / 5, 2: -1 / 5, 3: 4 / 105, 4: -1 / 280}


def slope(f, x, h):
    """The derivative, by differences of eighth order."""
    return sum([weight * (f(x + i * h) - f(x - i * h)) for i, weight in WEIGHTS.items()]) / h


def sensitivity_of(a, x, log_space):
    """-dF/da over the density, where the series has no digits to lose."""
    density = exp((a - 1) * log(x) - x - lgamma(a))
    out = -slope(lambda a: lower_series(a, x), a, 0.02 * a) / density
    return out / x if log_space else out


def elementwise(function):
    """A function of Python floats on arrays."""
    return lambda a, x: np.array([function(float(p), float(q)) for p, q in zip(a.flat, x.flat, strict=True)], a.dtype)


def hessian_of(log_space):
    def by_a(a, x):
        return slope(lambda a: float(gammas.random_gamma_grad(np.float64(a), np.float64(x), log_space)), a, 0.01 * a)

    def by_x(a, x):
        return slope(lambda x: float(gammas.random_gamma_grad(np.float64(a), np.float64(x), log_space)), x, 0.01 * x)

    return lambda a, x: (elementwise(by_a)(a, x), elementwise(by_x)(a, x))


A, X = Operand((4,), 0.5, 4.0), Operand((4,), 0.3, 5.0)
SMALL_AND_LARGE = Operand((5,), 0.2, 5.0)

# --------------------------------------------------------------------------------------------------------------------
# Counts


def knuth(words, lam, place):
    """How many uniform numbers may be multiplied, in logarithms."""
    key, total, k = words, np.float32(0), 0
    while total > -np.float32(lam):
        key, drawn = hash_of(key, 0), hash_of(key, 1)
        total = total + np.log(unit_of(drawn, place, "float32"))
        k += 1
    return max(k - 1, 0)


def by_rejection(words, candidate, size, dtype):
    """For each element the last candidate that is accepted, until all have been."""
    key, out, done = words, [None] * size, [False] * size
    while not all(done):
        key, for_u, for_v = [hash_of(key, i) for i in range(3)]
        for i in range(size):
            u, v = float(unit_of(for_u, i, dtype)) - 0.5, float(unit_of(for_v, i, dtype))
            k, accepted = candidate(i, u, v, 0.5 - abs(u))
            if accepted:
                out[i], done[i] = k, True
    return out


def poisson(words, lam):
    rates = [float(x) if x >= 10 else 1e5 for x in lam]

    def candidate(i, u, v, edge):
        rate = rates[i]
        b = 0.931 + 2.53 * sqrt(rate)
        a = -0.059 + 0.02483 * b
        k = floor((2 * a / edge + b) * u + rate + 0.43)
        if edge >= 0.07 and v <= 0.9277 - 3.6224 / (b - 2):
            return k, True
        if k < 0 or (edge < 0.013 and v > edge):
            return k, False
        height = log(v * (1.1239 + 1.1328 / (b - 3.4)) / (a / edge**2 + b)) if v else -np.inf
        return k, height <= k * log(rate) - rate - lgamma(k + 1)

    large = by_rejection(words, candidate, len(lam), "float32") if (lam >= 10).any() else lam
    return np.array([large[i] if x >= 10 else knuth(words, x, i) for i, x in enumerate(lam)], np.int64)


def log_factorial_ratio(k, m):
    return lgamma(m + 1) - lgamma(k + 1)


def waiting(words, n, q, place):
    """How many geometric waiting times fit into n."""
    key, waited, k = words, 0, -1
    while waited <= n:
        drawn, key = hash_of(key, 0), hash_of(key, 1)
        waited += ceil(log(float(unit_of(drawn, place, "float64"))) / log1p(-q))
        k += 1
    return k


def binomial(words, n, p):
    whole = [floor(float(x)) for x in n]
    q = [min(float(x), 1 - float(x)) for x in p]
    small = [float(m) * x <= 10 for m, x in zip(n, q, strict=True)]
    trials = [(10_000, 0.5) if s else (m, x) for s, m, x in zip(small, whole, q, strict=True)]

    def candidate(i, u, v, edge):
        n, q = trials[i]
        spread = sqrt(n * q * (1 - q))
        b = 1.15 + 2.53 * spread
        a = -0.0873 + 0.0248 * b + 0.01 * q
        k = floor((2 * a / edge + b) * u + n * q + 0.5)
        if edge >= 0.07 and v <= 0.92 - 4.2 / b:
            return k, True
        if not 0 <= k <= n:
            return k, False
        mode = floor((n + 1) * q)
        ratio = log_factorial_ratio(k, mode) + log_factorial_ratio(n - k, n - mode) + (k - mode) * log(q / (1 - q))
        return k, log(v * (2.83 + 5.1 / b) * spread / (a / edge**2 + b)) <= ratio

    large = q if all(small) else by_rejection(words, candidate, len(n), "float64")
    out = [waiting(words, whole[i], q[i], i) if small[i] else large[i] for i in range(len(n))]
    return np.array([k if p[i] < 0.5 else whole[i] - k for i, k in enumerate(out)], p.dtype)


# --------------------------------------------------------------------------------------------------------------------
# Matrices


def definite(x):
    """A symmetric positive definite matrix whose eigenvalues are distinct."""
    return fnp.matmul(x, fnp.swapaxes(x, -1, -2)) / 8 + fnp.diag(np.arange(1.0, 4.0).astype(x.dtype))


def definite_reference(x):
    return x @ x.swapaxes(-1, -2) / 8 + np.diag(np.arange(1.0, 4.0)).astype(x.dtype)


def cholesky_reference(x):
    factor = np.linalg.cholesky(definite_reference(x))
    return factor, np.linalg.inv(factor)


def eigen_reference(method):
    def reference(x):
        if method == "svd":
            u, s, _ = np.linalg.svd(definite_reference(x))
            return s, u
        return tuple(np.linalg.eigh(definite_reference(x)))

    return reference


def columns_reference(x):
    """Gram and Schmidt's method."""
    columns = []
    for column in x.T:
        rest = column - sum([(q @ column) * q for q in columns], 0 * column)
        columns.append(rest / sqrt(rest @ rest))
    return np.stack(columns, -1).astype(x.dtype)


CASES = [
    *[
        Case(
            gammas.random_gamma_p,
            lambda words, a, log_space=log_space: gammas.random_gamma(words, a, log_space),
            gammas_of(log_space),
            (KEY, SMALL_AND_LARGE),
            ("float64",),
            differentiable=False,
            tolerance=1e3,
            name="log" if log_space else "",
        )
        for log_space in (False, True)
    ],
    *[
        Case(
            gammas.random_gamma_grad_p,
            lambda a, x, log_space=log_space: gammas.random_gamma_grad(a, fnp.log(x) if log_space else x, log_space),
            elementwise(lambda a, x, log_space=log_space: sensitivity_of(a, x, log_space)),
            (A, X),
            FLOATS,
            tolerance=1e5 if not log_space else 1e6,
            order=1,
            name="log" if log_space else "",
        )
        for log_space in (False, True)
    ],
    *[
        Case(
            gammas.random_gamma_hessian_p,
            lambda a, x, log_space=log_space: gammas.random_gamma_hessian_p.bind(a, x, log_space=log_space),
            hessian_of(log_space),
            (A, X),
            ("float64",),
            differentiable=False,
            tolerance=1e5,
            name="log" if log_space else "",
        )
        for log_space in (False, True)
    ],
    *[
        Case(
            counts.random_poisson_p,
            lambda words, lam: counts.random_poisson(words, lam, "int64"),
            poisson,
            (KEY, Operand((4,), low, high)),
            ("float64",),
            differentiable=False,
            name=name,
        )
        for name, low, high in (("small", 0.1, 9.0), ("large", 10.0, 60.0))
    ],
    *[
        Case(
            counts.random_binomial_p,
            counts.random_binomial,
            binomial,
            (KEY, Operand((4,), 1, most), Operand((4,), 0.05, 0.95)),
            ("float64",),
            differentiable=False,
            name=name,
        )
        for name, most in (("small", 9), ("mixed", 90))
    ],
    Case(
        matrices.covariance_cholesky_p,
        lambda x: matrices.covariance_cholesky(definite(x)),
        cholesky_reference,
        (Operand((3, 3)),),
        FLOATS,
        tolerance=20.0,
    ),
    *[
        Case(
            matrices.covariance_eigen_p,
            lambda x, method=method: matrices.covariance_eigen(definite(x), method),
            eigen_reference(method),
            (Operand((3, 3), -1.0, 1.0),),
            FLOATS,
            tolerance=100.0,
            name=method,
        )
        for method in ("eigh", "svd")
    ],
    Case(
        matrices.orthonormal_columns_p,
        matrices.orthonormal_columns,
        columns_reference,
        (Operand((4, 3)),),
        ("float64",),
        differentiable=False,
        tolerance=1e4,
    ),
]
