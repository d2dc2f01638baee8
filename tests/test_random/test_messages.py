"""What is wrong with an argument is said with its name, its shape and what to write instead."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import functrans as ft

KEY = ft.random.key(11)
KEYS = ft.random.split(KEY, 3)

r = ft.random
MESSAGES: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: r.normal(0), TypeError, "a random key is needed, got an array int64[]. Make one, functrans.random.ke"),
    (lambda: r.normal(KEYS), ValueError, "random.normal takes a single key, got keys of shape (3,): functrans.vmap"),
    (
        lambda: r.normal(KEY, (2, -1)),
        ValueError,
        "random.normal: a shape has ints that are not negative, got shape=(2, -1)",
    ),
    (lambda: r.normal(KEY, "ab"), ValueError, "got shape='ab'"),
    (lambda: r.normal(KEY, (2.0,)), ValueError, "got shape=(2.0,)"),
    (
        lambda: r.normal(KEY, (), int),
        ValueError,
        "random.normal gives floats or complex numbers of at most double precisio",
    ),
    (
        lambda: r.uniform(KEY, (), complex),
        ValueError,
        "random.uniform gives floats of at most double precision, not complex128",
    ),
    (lambda: r.bits(KEY, (), int), ValueError, "random.bits gives unsigned integers, not int64"),
    (
        lambda: r.uniform(KEY, (2,), float, 0.0, np.ones(3)),
        ValueError,
        "into which the parameters broadcast, got minval of shape () and maxval of shape (3,)",
    ),
    (lambda: r.gamma(KEY, "x"), TypeError, "random.gamma: a must be an array or a number; expected an array"),
    (lambda: r.gamma(KEY, 1j), TypeError, "random.gamma: a must be real numbers, got complex128[]"),
    (
        lambda: r.beta(KEY, np.ones(2), np.ones(3)),
        ValueError,
        "random.beta: the parameters do not broadcast together: a of shape (2,) a",
    ),
    (lambda: r.gamma(KEY, np.ones(3), ()), ValueError, "random.gamma: shape=() must be the shape of the whole sample"),
    (lambda: r.dirichlet(KEY, 1.0), ValueError, "random.dirichlet: alpha must have an axis of concentrations"),
    (lambda: r.multinomial(KEY, 3, 1.0), ValueError, "random.multinomial: p must have an axis of outcomes"),
    (
        lambda: r.multivariate_normal(KEY, 1.0, np.eye(2)),
        ValueError,
        "random.multivariate_normal: mean must be a vector",
    ),
    (
        lambda: r.multivariate_normal(KEY, np.ones(3), np.eye(2)),
        ValueError,
        "cov must end in a matrix of shape (3, 3), as mean has 3, got float64[2,2",
    ),
    (
        lambda: r.multivariate_normal(KEY, np.ones(2), np.eye(2), method="qr"),
        ValueError,
        "method must be one of 'cholesky', 'eigh', 'svd', got 'qr'",
    ),
    (
        lambda: r.multivariate_normal(KEY, np.ones(2), np.zeros((2, 2))),
        np.linalg.LinAlgError,
        "not positive definite, so that it has no Cholesky factor. If some direct",
    ),
    (lambda: r.randint(KEY, (2,), 0.5, 3), TypeError, "random.randint: minval must be integers, got float64[]"),
    (lambda: r.randint(KEY, (2,), 0, 3, float), ValueError, "random.randint gives integers, not float64"),
    (lambda: r.bernoulli(KEY, 0.5, mode="x"), ValueError, "random.bernoulli: mode must be 'low' or 'high', got 'x'"),
    (lambda: r.gumbel(KEY, mode="x"), ValueError, "random.gumbel: mode must be 'low', 'high' or 'highest', got 'x'"),
    (
        lambda: r.permutation(KEY, 1.5),
        TypeError,
        "random.permutation: x must be an integer or have an axis, got float64[]",
    ),
    (lambda: r.permutation(KEY, np.ones(3), 1), np.exceptions.AxisError, "axis 1 is out of bounds"),
    (lambda: r.permutation(KEY, -1), ValueError, "random.permutation: x must not be negative, got -1"),
    (
        lambda: r.choice(KEY, 3, (4,), replace=False),
        ValueError,
        "random.choice: 4 of 3 elements cannot be chosen with replace=False",
    ),
    (lambda: r.choice(KEY, 0, (4,)), ValueError, "random.choice: there is nothing to choose from, a has 0 elements"),
    (
        lambda: r.choice(KEY, 3, p=np.ones(4)),
        ValueError,
        "random.choice: p must have a probability for each of 3 elements, got flo",
    ),
    (lambda: r.categorical(KEY, 1.0), ValueError, "random.categorical: logits must have an axis of categories"),
    (
        lambda: r.categorical(KEY, np.ones((2, 3)), shape=(3,)),
        ValueError,
        "random.categorical: shape=(3,) must be the shape of the whole sample",
    ),
    (
        lambda: r.categorical(KEY, np.ones(3), shape=(4,), replace=False),
        ValueError,
        "4 different categories cannot be chosen of 3",
    ),
    (
        lambda: r.categorical(KEY, np.ones((2, 0))),
        ValueError,
        "there are no categories along axis 1 of logits float64[2,0]",
    ),
    (lambda: r.ball(KEY, 2.5), TypeError, "random.ball: d must be an integer, got 2.5 of type float"),
    (lambda: r.ball(KEY, 2, np.ones(2)), ValueError, "random.ball: p must be a scalar, got an array of shape (2,)"),
    (lambda: r.orthogonal(KEY, -1), ValueError, "random.orthogonal: n and m must not be negative"),
    (lambda: r.normal("seed"), TypeError, "a random key is needed, got 'seed' of type str. Make one, functrans"),
    (lambda: r.split(KEY, -1), ValueError, "random.split: the number of keys cannot be negative, got -1"),
    (lambda: r.split(KEY, 1.5), TypeError, "random.split: num must be an int or a tuple of ints"),
    (lambda: ft.jit(lambda n: r.normal(KEY, (n,)))(3), ft.errors.TracerIntegerConversionError, "argument n"),
    (lambda: ft.jit(lambda n: r.permutation(KEY, n))(3), ft.errors.TracerIntegerConversionError, "argument n"),
    (
        lambda: ft.grad(lambda x: r.gamma(KEY, [x, x]).sum())(1.0),
        TypeError,
        "random.gamma: a must be an array or a number; a list with tracers: stack",
    ),
]


@pytest.mark.parametrize("row", MESSAGES, ids=lambda row: row[2][:40])
def test_messages(row: tuple[Callable[[], Any], type[Exception], str]) -> None:
    call, error, message = row
    with pytest.raises(error, match=re.escape(message)) as caught:
        call()
    inside = [entry for entry in caught.traceback if f"{ft.__path__[0]}" in str(entry.path)]
    assert len(inside) <= 1  # the one that raises


@pytest.mark.parametrize(
    ("p", "replace", "message"),
    [
        ([0.5, 0.6, -0.1], True, "not negative and finite"),
        ([1.0, np.nan, 0.0], True, "not negative and finite"),
        ([np.inf, 1.0, 1.0], True, "not negative and finite"),
        ([0.0, 0.0, 0.0], True, "1 to be chosen, but p is above 0 for 0 elements"),
        ([1.0, 0.0, 0.0], False, "2 to be chosen, but p is above 0 for 1 elements"),
    ],
)
def test_probabilities_that_are_none(p: list[float], replace: bool, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ft.random.choice(ft.random.key(0), 3, (2,), replace, np.array(p))
    assert ft.random.choice(ft.random.key(0), 3, (0,), True, np.array([1.0, 0.0, 0.0])).shape == (0,)
