"""closure_convert: what a function closes over as arguments."""

from typing import Any

import numpy as np
import pytest

import functrans as ft

X = np.array([1.0, 2.0, 3.0])


@pytest.mark.parametrize("wrap", [lambda f: f, ft.jit], ids=["plain", "jit"])
def test_what_carries_a_derivative_is_hoisted(wrap: Any) -> None:
    found = []

    def f(y: Any, k: Any, n: Any) -> Any:
        constant = np.ones(3)
        converted, consts = ft.closure_convert(lambda p: np.sum(p["x"] * y * constant) * k**n, {"x": X})
        found.append(len(consts))
        return converted({"x": X}, *consts) + converted({"x": 2 * X}, *[2 * c for c in consts])

    grads = wrap(ft.grad(f, argnums=(0, 1)))(2.0, 3.0, 2)
    np.testing.assert_allclose(grads, (6 * 9 * (1 + 2 * 2 * 4), 12 * 2 * 3 * (1 + 2 * 2 * 4)))
    assert found == [2]


def test_arrays_stay_in_the_closure() -> None:
    big = np.ones(20_000)
    converted, consts = ft.closure_convert(lambda x: np.sum(x * big), 1.0)
    assert consts == []
    big[:] = 2.0
    assert converted(3.0) == 60_000.0
    assert converted(3) == 60_000.0
    assert ft.grad(converted)(1.0) == 20_000.0


def test_closures_of_functions_that_are_called() -> None:
    def f(y: Any) -> Any:
        inner = lambda x: x * y
        converted, consts = ft.closure_convert(lambda x: inner(x) + ft.jit(inner)(x), ft.ShapeDtypeStruct((), float))
        assert len(consts) == 1
        return converted(5.0, *consts)

    assert ft.grad(f)(1.0) == 10.0
    assert ft.grad(ft.grad(lambda y: f(y) * y))(1.0) == 20.0


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            lambda c: ({"x": np.ones(2)}, *c),
            "f was converted by closure_convert for float64[3] as argument p['x'], and",
        ),
        (
            lambda c: ({"y": X}, *c),
            "f was converted by closure_convert for arguments of structure PyTreeDef(({'x': *},)), followed by 1 "
            "values that it closed over, and got PyTreeDef(({'y': *},)) and 1 such values",
        ),
        (
            lambda c: (),
            "f was converted by closure_convert for arguments of structure PyTreeDef(({'x': *},)), followed by 1 "
            "values that it closed over, and got PyTreeDef(()) and 0 such values",
        ),
        (
            lambda c: ({"x": X}, X),
            "f was converted by closure_convert for float64[] as the value 0 that it closed over, and got float64[3]",
        ),
        (lambda c: ({"x": X}, "a"), "f: each of the 1 values that it closed over must be an array"),
    ],
)
def test_messages(args: Any, message: str) -> None:
    def outer(y: Any) -> Any:
        def f(p: Any) -> Any:
            return np.sum(p["x"]) * y

        converted, consts = ft.closure_convert(f, {"x": X})
        return converted(*args(consts))

    with pytest.raises(TypeError) as caught:
        ft.grad(outer)(1.0)
    assert str(caught.value).startswith(message)


def test_static_arguments_are_part_of_the_program() -> None:
    converted, _ = ft.closure_convert(lambda x, mode: x if mode == "a" else -x, 1.0, "a")
    assert converted(2.0, "a") == 2.0
    with pytest.raises(TypeError, match=r"for the arguments \['a'\], which are no arrays, and got \['b'\]"):
        converted(2.0, "b")
