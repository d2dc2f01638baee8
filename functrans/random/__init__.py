"""Random numbers as pure functions of a key, with JAX's names and JAX's numbers.

>>> import functrans as ft
>>> key, subkey = ft.random.split(ft.random.key(0))
>>> ft.random.normal(subkey, (2,))
array([-1.400884,  1.432145 ])

The bits are those of JAX under its defaults. Floats are float64 unless a dtype is given; with `dtype="float32"` they
are JAX's default numbers, to rounding.
"""

from functrans.ops.random_gamma import random_gamma_p
from functrans.random.choosing import categorical, choice, permutation, shuffle
from functrans.random.continuous import (
    cauchy,
    double_sided_maxwell,
    exponential,
    gumbel,
    laplace,
    logistic,
    lognormal,
    maxwell,
    pareto,
    rayleigh,
    triangular,
    truncated_normal,
    wald,
    weibull_min,
)
from functrans.random.discrete import bernoulli, binomial, geometric, multinomial, poisson, rademacher, randint
from functrans.random.gammas import ball, beta, chisquare, dirichlet, f, gamma, generalized_normal, loggamma, t
from functrans.random.keys import (
    KeyArray,
    PRNGKey,
    clone,
    fold_in,
    key,
    key_data,
    key_impl,
    split,
    wrap_key_data,
)
from functrans.random.multivariate import multivariate_normal, orthogonal
from functrans.random.uniform import bits, normal, uniform

__all__ = [
    "KeyArray",
    "PRNGKey",
    "ball",
    "bernoulli",
    "beta",
    "binomial",
    "bits",
    "categorical",
    "cauchy",
    "chisquare",
    "choice",
    "clone",
    "dirichlet",
    "double_sided_maxwell",
    "exponential",
    "f",
    "fold_in",
    "gamma",
    "generalized_normal",
    "geometric",
    "gumbel",
    "key",
    "key_data",
    "key_impl",
    "laplace",
    "loggamma",
    "logistic",
    "lognormal",
    "maxwell",
    "multinomial",
    "multivariate_normal",
    "normal",
    "orthogonal",
    "pareto",
    "permutation",
    "poisson",
    "rademacher",
    "randint",
    "random_gamma_p",
    "rayleigh",
    "shuffle",
    "split",
    "t",
    "triangular",
    "truncated_normal",
    "uniform",
    "wald",
    "weibull_min",
    "wrap_key_data",
]
