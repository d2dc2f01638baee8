"""Which residuals linearizing keeps."""

import numpy as np
import pytest

import functrans as ft
from functrans import lax
from functrans.transforms.linearize import linearize

X, W = np.full((2, 3), 0.5), np.full((3, 4), 0.1)


def residuals_of(f, *args, wrt=None):
    """The residuals of a function beyond its inputs and outputs, as text."""
    jaxpr = ft.make_jaxpr(f)(*args).jaxpr
    lin = linearize(jaxpr, wrt or (True,) * len(args))
    return [str(aval) for aval in lin.primal.out_avals[len(jaxpr.outs) :]]


@pytest.mark.parametrize(
    ("f", "expected"),
    [
        (lambda x: x * 3.0, []),
        (lambda x: x * x, []),  # the input
        (lambda x: np.exp(x), []),  # the output
        (lambda x: np.tanh(x), []),  # 1 - y * y from the output
        (lambda x: np.sum(np.tanh(x)), ["float64[2,3]"]),
        (lambda x: np.sum(np.tanh(x) ** 2), ["float64[2,3]"]),  # both factors from tanh(x)
        (lambda x: np.sin(x), ["float64[2,3]"]),  # a cosine is not cheap
        (lambda x: np.sum(np.sum(np.exp(x), 0) * x), ["float64[2,3]", "float64[3]"]),  # a row, not its broadcast
    ],
)
def test_fewest(f, expected):
    assert sorted(residuals_of(f, X)) == expected


def test_an_rnn_keeps_one_array_a_step():
    def rnn(w, h, xs):
        for x in xs:
            h = np.tanh(h @ w + x)
        return np.sum(h)

    kept = residuals_of(rnn, np.eye(3), np.zeros((2, 3)), np.ones((5, 2, 3)), wrt=(True, True, True))
    assert kept == ["float64[2,3]"] * 5


def test_derivatives_from_fewer_residuals():
    def f(w):
        h = np.tanh(X @ w)
        return np.sum(np.where(h > 0, h * h, -h) * np.abs(h))

    out, pull = ft.vjp(f, W)
    np.testing.assert_array_equal(pull(np.ones_like(out))[0], ft.grad(f)(W))
    np.testing.assert_allclose(ft.linearize(f, W)[1](W), ft.jvp(f, (W,), (W,))[1], rtol=1e-12)


def test_complex_and_strict():
    z = np.array([1.0 + 2.0j])
    assert residuals_of(lambda z: lax.mul(lax.conj(z), z), z) == []
