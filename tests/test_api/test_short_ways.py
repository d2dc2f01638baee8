"""Calls of a gradient that are like one before, held against calls of a gradient that is new."""

import gc
import threading
import weakref
from collections import namedtuple
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import functrans as ft
from functrans.api.differentiation import ValueAndGrad

Pair = namedtuple("Pair", "a b")
X = np.array([0.5, -1.0, 2.0])
OFTEN = 40
"""After so many calls a program is generated, and so are the functions that build the results."""


class Key(str):
    """A key that is equal to a string, and none."""


def loss(p: Any, x: Any, flag: str = "s", *, k: Any = 2.0) -> Any:
    a = p["a"] if isinstance(p, dict) else p.a
    return np.sum(a * x * k) + (1.0 if flag == "s" else 2.0) * np.sum(a)


CALLS: list[Any] = [
    lambda h: h({"a": X, "b": None}, X),
    lambda h: h(Pair(X, None), X),
    lambda h: h({"a": X.astype(np.float32), "b": (None, [])}, X),
    lambda h: h({"a": X}, X, "t"),
    lambda h: h({"a": X}, X, k=3.0),
    lambda h: h({"a": X}, 2.0, k=X),
    lambda h: h({"a": 2.5}, 2),
    lambda h: h({"a": 2.5}, True),
    lambda h: h({"a": np.float32(2.5)}, np.int32(3)),
    lambda h: h({"a": X[::2]}, X[:2]),
    lambda h: h({"a": np.broadcast_to(X, (2, 3))}, X),
    lambda h: h({Key("a"): X}, X),
]


def exactly(tree: Any) -> Any:
    leaves, treedef = ft.tree.flatten(tree)
    return treedef, repr(tree), [(type(x), x.dtype, x.shape, x.tobytes()) for x in leaves]


@given(st.lists(st.integers(0, len(CALLS) - 1), min_size=1, max_size=30), st.sampled_from([ft.grad, ft.value_and_grad]))
def test_calls_of_all_kinds_in_any_order(numbers, transform):
    again = transform(loss)
    for number in numbers * 3:
        assert exactly(CALLS[number](again)) == exactly(CALLS[number](transform(loss)))


@pytest.mark.parametrize("call", CALLS)
def test_the_same_call_often(call):
    expected = exactly(call(ft.grad(loss)))
    gradient = ft.grad(loss)
    for _ in range(OFTEN):
        assert exactly(call(gradient)) == expected


def goes_the_long_way(gradient: ValueAndGrad, *args: Any) -> bool:
    before = gradient._long_ways
    gradient(*args)
    return gradient._long_ways > before


def test_other_shapes_take_a_way_of_their_own():
    gradient = ft.grad(lambda x: np.sum(x**2))
    assert [goes_the_long_way(gradient, X) for _ in range(4)] == [True, True, False, False]
    assert [goes_the_long_way(gradient, np.ones(2)) for _ in range(4)] == [True, True, False, False]
    assert not goes_the_long_way(gradient, X)
    assert goes_the_long_way(gradient, X.astype(np.float32))
    assert goes_the_long_way(gradient, 1.0)


def test_settings_have_ways_of_their_own():
    gradient = ft.grad(lambda x: np.sum(np.where(x > 0, np.sqrt(x), 0.0)))
    x = np.array([0.0, 1.0])
    with np.errstate(all="ignore"):
        for _ in range(OFTEN):
            assert gradient(x)[0] == 0.0
        try:
            ft.config.nan_safe_gradients = False
            assert np.isnan(gradient(x)[0])
        finally:
            ft.config.nan_safe_gradients = True
        assert gradient(x)[0] == 0.0


def test_values_are_looked_at_when_that_is_asked_for():
    on = False

    def function(x):
        y = x / x
        ft.config.debug_nans = on
        return np.sum(y)

    gradient = ft.grad(function)
    for _ in range(OFTEN):
        gradient(np.ones(3))
    try:
        on = True
        with pytest.raises(ft.errors.NonFiniteError), np.errstate(all="ignore"):
            gradient(np.zeros(3))
    finally:
        ft.config.debug_nans = False


def test_results_are_arrays_of_their_own():
    gradient = ft.grad(lambda x, y: (np.sum(x * y), x * 2.0), has_aux=True)
    x, y = X.copy(), X + 1.0
    for _ in range(OFTEN):
        grads, aux = gradient(x, y)
        np.testing.assert_array_equal(grads, X + 1.0)
        np.testing.assert_array_equal(aux, X * 2.0)
        grads[:], aux[:] = 7.0, 7.0
    assert x.flags.writeable


def test_other_results():
    def function(x):
        return np.sum(x**2), {"doubled": x * 2.0, "name": "text", "nothing": None, "loss": np.sum(x)}

    for transform in (ft.grad, ft.value_and_grad):
        expected = repr(transform(function, has_aux=True)(X))
        again = transform(function, has_aux=True)
        assert {repr(again(X)) for _ in range(OFTEN)} == {expected}
        assert not goes_the_long_way(again, X)


def test_arrays_are_held_and_let_go():
    fails = False

    def function(x):
        if fails:
            array[0] = 5.0
        return np.sum(x)

    gradient, array = ft.grad(function), X.copy()
    for _ in range(OFTEN):
        gradient(array)
        assert array.flags.writeable
    fails = True
    with pytest.raises(ft.errors.CapturedArrayMutatedError):
        gradient(array)
    assert array.flags.writeable
    np.testing.assert_array_equal(array, X)


def test_no_array_is_kept_alive():
    array = np.ones(1000)
    alive = weakref.ref(array)
    gradient = ft.grad(lambda x: np.sum(x))
    for _ in range(OFTEN):
        gradient(array)
    del array
    gc.collect()
    assert alive() is None


def test_no_instance_is_kept_alive():
    class Model:
        @ft.grad
        def gradient(scale, self):  # noqa: N805  (the first argument is what it is differentiated by)
            return scale * self.weight

        weight = 3.0

    model = Model()
    alive = weakref.ref(model)
    for _ in range(OFTEN):
        assert type(model).__dict__["gradient"](2.0, model) == 3.0
    del model
    gc.collect()
    assert alive() is None


def test_within_other_transformations():
    gradient = ft.grad(lambda x: np.sum(x**2 * X))
    for _ in range(OFTEN):
        gradient(X)
    y = X + 1.0
    np.testing.assert_allclose(ft.jit(gradient)(y), 2 * y * X)
    np.testing.assert_allclose(ft.jit(lambda x: gradient(X) + x)(y), 2 * X * X + y)
    np.testing.assert_allclose(ft.vmap(lambda s: gradient(s * X))(y), 2 * y[:, None] * X * X)
    np.testing.assert_allclose(ft.grad(lambda x: np.sum(gradient(x)))(y), 2 * X)
    assert str(ft.make_jaxpr(lambda x: gradient(X) + x)(y)).count("mul") > 0


def test_effects_happen_once_at_each_call():
    seen = []

    def function(x):
        ft.debug.callback(lambda s: seen.append(float(s)), np.sum(x))
        return np.sum(x * x)

    gradient = ft.grad(function)
    for i in range(OFTEN):
        gradient(X * i)
    np.testing.assert_allclose(seen, [X.sum() * i for i in range(OFTEN)])


def test_what_the_function_closes_over_may_change():
    gradient = ft.grad(lambda x: np.sum(x * data * rate))
    for i in range(OFTEN):
        data, rate = X * i, 0.5 * i
        np.testing.assert_array_equal(gradient(X), data * rate)
        data[:] = np.nan


def test_a_class_that_becomes_a_pytree():
    class Box:
        def __init__(self, x):
            self.x = x

    gradient = ft.grad(lambda x, box: np.sum(x * box.x))
    for _ in range(OFTEN):
        gradient(X, Box(X))
    ft.tree_util.register_pytree_node(Box, lambda box: ((box.x,), None), lambda _, children: Box(*children))
    over_both = ft.grad(lambda x, box: np.sum(x * box.x), (0, 1))
    for _ in range(OFTEN):
        np.testing.assert_array_equal(gradient(X, Box(2.0 * X)), 2.0 * X)
        np.testing.assert_array_equal(over_both(X, Box(2.0 * X))[1].x, X)


def test_threads_share_a_gradient():
    gradient = ft.grad(lambda x: np.sum(np.sin(x) * 2.0))
    errors: list[BaseException] = []

    def work(i: int) -> None:
        try:
            for n in range(60):
                x = np.linspace(0.1, 1.0, 3 + (n + i) % 3)
                np.testing.assert_allclose(gradient(x), np.cos(x) * 2.0)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
