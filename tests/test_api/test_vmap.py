"""vmap: against a loop, with axes of every kind."""

import numpy as np
import pytest

import functrans as ft

X = np.arange(24.0).reshape(2, 3, 4)


@pytest.mark.parametrize("in_axis", [0, 1, 2, -1])
@pytest.mark.parametrize("out_axis", [0, 1, -1])
def test_axes(in_axis, out_axis):
    f = lambda x: np.sin(x).T * 2.0
    expected = np.stack([f(x) for x in np.moveaxis(X, in_axis, 0)], out_axis)
    np.testing.assert_array_equal(ft.vmap(f, in_axes=in_axis, out_axes=out_axis)(X), expected)


def test_axes_as_trees():
    params = {"w": np.arange(6.0).reshape(3, 2), "b": 1.0}
    f = lambda p, x: (p["w"] * p["b"] + x, {"b": p["b"]})
    out, aux = ft.vmap(f, in_axes=({"w": 0, "b": None}, None), out_axes=(1, None))(params, 10.0)
    np.testing.assert_array_equal(out, params["w"].T + 10.0)
    assert aux["b"] == 1.0


def test_keyword_arguments_are_stacked_along_axis_0():
    np.testing.assert_array_equal(ft.vmap(lambda x, *, y: x * y)(np.arange(3.0), y=np.ones(3)), np.arange(3.0))


def test_shared_arguments_have_values():
    f = lambda x, n: x * 2 if n > 1 else x
    np.testing.assert_array_equal(ft.vmap(f, in_axes=(0, None))(np.arange(3.0), 2), [0.0, 2.0, 4.0])
    with pytest.raises(ft.errors.TracerBoolConversionError, match="depends on argument x of <lambda>"):
        ft.vmap(lambda x: 1.0 if x > 0 else 2.0)(np.arange(3.0))


def test_axis_size_alone():
    np.testing.assert_array_equal(ft.vmap(lambda x: x + 1, in_axes=None, axis_size=3)(1.0), [2.0, 2.0, 2.0])


def test_empty_batch():
    assert ft.vmap(lambda x: np.sum(np.sin(x)))(np.ones((0, 3))).shape == (0,)


def test_per_example_gradients():
    w, x = np.array([0.5, -1.0]), np.arange(6.0).reshape(3, 2)
    loss = lambda w, x: np.tanh(x @ w)
    got = ft.vmap(ft.grad(loss), in_axes=(None, 0))(w, x)
    np.testing.assert_allclose(got, [ft.grad(loss)(w, row) for row in x], rtol=1e-12)


def test_nested():
    f = lambda x, y: x * y
    outer = ft.vmap(ft.vmap(f, in_axes=(None, 0)), in_axes=(0, None))
    np.testing.assert_array_equal(outer(np.arange(3.0), np.arange(4.0)), np.outer(np.arange(3.0), np.arange(4.0)))


def test_closure_over_a_tracer():
    got = ft.vmap(lambda x: ft.vmap(lambda y: x * y)(np.arange(3.0)))(np.arange(2.0))
    np.testing.assert_array_equal(got, np.outer(np.arange(2.0), np.arange(3.0)))


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: ft.vmap(lambda x, y: x, in_axes=(0,))(X, X), "it has 1, and 2 were passed"),
        (
            lambda: ft.vmap(lambda x: x, in_axes=3)(X),
            "in_axes=3 is out of range for x of <lambda>, which is float64",
        ),
        (
            lambda: ft.vmap(lambda x, y: x)(X, np.ones(3)),
            r"x is float64\[2,3,4\], of length 2 along axis 0\n  y is",
        ),
        (lambda: ft.vmap(lambda x: x, in_axes=None)(X), "no argument is stacked"),
        (lambda: ft.vmap(lambda x: x, out_axes=None)(X), "depends on a stacked argument, so out_axes=None"),
        (lambda: ft.vmap(lambda x: x, out_axes=5)(X), "out_axes=5 is out of range for output of <lambda>"),
    ],
)
def test_errors(call, text):
    with pytest.raises(ValueError, match=text):
        call()


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: ft.vmap(lambda x: x, out_axes="a")(X), "vmap out_axes must be ints or None, got 'a' for output of"),
        (lambda: ft.vmap(lambda x: x, in_axes=True)(X), "vmap in_axes must be ints or None, got True for x of"),
        (lambda: ft.vmap(lambda x: x, axis_size=2.0)(X), "axis_size must be an int that is not negative, got 2.0"),
    ],
)
def test_axes_that_are_no_integers(call, text):
    with pytest.raises(TypeError, match=text):
        call()
    np.testing.assert_array_equal(ft.vmap(lambda x: x, in_axes=np.int64(1))(X), np.moveaxis(X, 1, 0))
