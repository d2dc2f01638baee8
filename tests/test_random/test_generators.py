"""NumPy's own generators inside of functions that are recorded."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.random import normal

import functrans as ft

rng = np.random.default_rng(0)


def helper(x: Any) -> Any:
    return x * rng.normal()


class Model:
    def __init__(self) -> None:
        self.rng = np.random.RandomState(1)

    def __call__(self, x: Any) -> Any:
        return x * self.rng.normal()


FROZEN: dict[str, Callable[[], Any]] = {
    "global": lambda: ft.jit(lambda x: x * rng.normal(size=x.shape))(np.ones(3)),
    "in a function called": lambda: ft.jit(lambda x: helper(x))(1.0),
    "under a transformation": lambda: ft.jit(ft.grad(lambda x: helper(x)))(1.0),
    "closure": lambda: (lambda own: ft.jit(lambda x: x * own.random())(1.0))(np.random.default_rng(1)),
    "argument": lambda: ft.jit(lambda x, rng: x * rng.random())(1.0, np.random.default_rng(1)),
    "attribute": lambda: ft.jit(Model())(1.0),
    "numpy.random": lambda: ft.jit(lambda x: x * np.random.normal())(1.0),
    "numpy.random by name": lambda: ft.jit(lambda x: x * normal())(1.0),
    "scan": lambda: ft.lax.scan(lambda total, _: (total + rng.normal(), None), 0.0, None, length=3),
    "while_loop": lambda: ft.lax.while_loop(lambda x: x < 3, lambda x: x + abs(rng.normal()), 0.0),
}


@pytest.mark.parametrize("name", FROZEN)
def test_numbers_that_would_be_frozen_are_an_error(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "active_count", lambda: 1)  # another test may have left a thread
    with pytest.raises(TypeError, match=r"drew from .* while it was recorded \(called at .*test_generators.py:\d+"):
        FROZEN[name]()


def test_what_draws_nothing_is_fine() -> None:
    np.testing.assert_array_equal(ft.jit(lambda x: (rng, x)[1])(1.0), 1.0)
    drawn = rng.normal(size=3)
    np.testing.assert_array_equal(ft.jit(lambda x: x * drawn)(np.ones(3)), drawn)
    own = ft.jit(lambda x: x * np.random.default_rng(0).normal())  # the same each time because it says so
    assert own(1.0) == own(1.0)


def test_each_unjitted_call_draws() -> None:
    f = ft.grad(lambda x: np.sum(x * rng.normal(size=x.shape)))
    x = np.ones(3)
    assert not np.array_equal(f(x), f(x))


@pytest.mark.parametrize(
    "draw",
    [
        lambda x: rng.normal(loc=x),
        lambda x: rng.gamma(x),
        lambda x: np.random.normal(x),
        lambda x: rng.poisson(x),
        lambda x: rng.multivariate_normal(x * np.ones(2), np.eye(2)),
    ],
)
@pytest.mark.parametrize("transform", [ft.grad, ft.jit, lambda f: lambda x: ft.vmap(f)(np.full(2, x))])
def test_a_tracer_as_parameter_is_an_error(draw: Any, transform: Any) -> None:
    with pytest.raises(ft.errors.TracerArrayConversionError, match=r"test_generators.py:\d+"):
        transform(lambda x: np.sum(draw(x)))(1.0)
