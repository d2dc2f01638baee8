"""pure_callback and io_callback: what goes in, what comes out, how they are batched, and what they say."""

import functools
import gc
import math
from typing import Any, NamedTuple

import numpy as np
import pytest

import functrans as ft
from functrans.core.jaxpr import cached_equations
from functrans.errors import TracerArrayConversionError, UnexpectedTracerError

SCALAR = ft.ShapeDtypeStruct((), float)
both = pytest.mark.parametrize("callback", [ft.pure_callback, ft.io_callback], ids=["pure", "io"])
transforms = pytest.mark.parametrize("transform", [lambda f: f, ft.jit], ids=["plain", "jit"])


class Pair(NamedTuple):
    a: Any
    b: Any


@both
@transforms
def test_pytrees_in_and_out(callback: Any, transform: Any) -> None:
    def function(p: Any, text: str, *, scale: Any) -> Any:
        assert isinstance(p, Pair)
        assert (type(p.a), type(p.b["c"]), type(scale)) == (np.ndarray,) * 3
        assert (text, p.b["n"]) == ("text", None)
        return {"sum": p.a + p.b["c"], "rest": [scale.astype("int8"), None]}

    def f(a: Any, c: Any) -> Any:
        declared = {"sum": ft.ShapeDtypeStruct((3,), "float32"), "rest": [np.zeros((), "int8"), None]}
        return callback(function, declared, Pair(a, {"c": c, "n": None}), "text", scale=2)

    out = transform(f)(np.ones(3, "float32"), np.float32(2.0))
    np.testing.assert_array_equal(out["sum"], np.full(3, 3.0, "float32"), strict=True)
    assert type(out["rest"][0]) is np.int8
    assert out["rest"] == [2, None]


@both
def test_no_results(callback: Any) -> None:
    assert callback(lambda: None, None) is None
    with pytest.raises(TypeError, match=r"<lambda> was declared to return .*None.*, and returned "):
        callback(lambda: 1.0, None)
    assert ft.jit(lambda: callback(lambda: (), ()))() == ()


def test_experimental_io_callback() -> None:
    assert ft.experimental.io_callback is ft.io_callback
    assert ft.io_callback(lambda: 2.0, SCALAR, ordered=True) == 2.0


@both
@pytest.mark.parametrize("dtype", ["bool", "int8", "uint64", "float16", "float64", "complex64"])
def test_python_numbers_are_results_where_they_fit(callback: Any, dtype: str) -> None:
    out = callback(lambda: True, ft.ShapeDtypeStruct((), dtype))
    assert (out, out.dtype) == (1, dtype)


@both
@transforms
@pytest.mark.parametrize("n", [0, 3, 20_000])
def test_the_arrays_belong_to_the_callback(callback: Any, transform: Any, n: int) -> None:
    """It may keep and change what it gets and what it returns."""
    kept = []

    def function(x: Any) -> Any:
        x += 1.0
        kept.extend([x, result := x.copy()])
        return result

    x = np.zeros(n)
    f = transform(lambda x: (callback(function, x, x), x * 1.0))
    out, again = f(x)
    kept[1][...] = 7.0
    np.testing.assert_array_equal(out, np.ones(n))
    np.testing.assert_array_equal(again, np.zeros(n))
    np.testing.assert_array_equal(x, np.zeros(n))
    assert kept[0].flags.owndata
    assert kept[0].flags.writeable
    out[...] = 3.0


def test_captured_arrays_and_numbers_are_operands() -> None:
    """So a number that changes at each call makes no new program."""
    table = np.arange(3.0)

    def step(i: Any) -> float:
        return ft.grad(lambda x: x * ft.pure_callback(lambda t, i: t[int(i)] + i, SCALAR, table, i))(1.0)

    step(0)  # a program is kept when it is seen again
    counts = []
    for i in (0, 1, True, np.int64(2)):
        assert step(i) == 2.0 * i
        counts.append(cached_equations())
    assert counts[0] == counts[1], "ints"


@pytest.mark.parametrize("record", [ft.grad, ft.jit, lambda f: lambda x: ft.vmap(f)(np.array([x]))[0]])
def test_functions_that_are_made_anew(record: Any) -> None:
    """The new one is called, with what it closes over now, and it is no new program."""
    counts = []
    for i in range(30):
        shift = 10.0 * i

        def f(x: Any) -> Any:
            return x * ft.pure_callback(lambda: shift + i, SCALAR) + x * ft.io_callback(lambda: 1.0, SCALAR)  # noqa: B023

        assert record(f)(1.0) == shift + i + 1.0
        counts.append(cached_equations())
    assert counts[1] == counts[-1]


def test_a_function_is_let_go() -> None:
    class Big:
        alive = 0

        def __init__(self) -> None:
            Big.alive += 1

        def __del__(self) -> None:
            Big.alive -= 1

        def __call__(self) -> float:
            return 2.0

    for _ in range(5):
        assert ft.grad(lambda x: x * ft.io_callback(Big(), SCALAR))(1.0) == 2.0
    gc.collect()
    assert Big.alive == 0


def test_pure_callbacks_that_nobody_needs_are_not_called() -> None:
    calls: list[Any] = []
    f = ft.jit(lambda x: (ft.pure_callback(lambda x: calls.append(x) or x, x, x), x)[1])
    assert f(1.0) == 1.0
    assert not calls


def test_a_derivative_by_a_custom_rule() -> None:
    erf = np.vectorize(math.erf)

    def slope(x: Any) -> Any:
        return 2 / math.sqrt(math.pi) * np.exp(-x * x)

    @ft.custom_jvp
    def by_callback(x: Any) -> Any:
        return ft.pure_callback(erf, x, x, vmap_method="expand_dims")

    @by_callback.defjvp
    def _(primals: Any, tangents: Any) -> Any:
        (x,), (t,) = primals, tangents
        out = by_callback(x)
        return out, t * ft.pure_callback(slope, x, x, vmap_method="expand_dims")

    x = np.array([0.5, 1.5, 3.0])
    expected = slope(x)
    np.testing.assert_allclose(ft.vmap(ft.grad(by_callback))(x), expected, rtol=1e-14)
    np.testing.assert_allclose(ft.grad(lambda x: np.sum(ft.vmap(by_callback)(x)))(x), expected, rtol=1e-14)
    np.testing.assert_allclose(ft.jit(ft.grad(lambda x: np.sum(by_callback(x))))(x), expected, rtol=1e-14)


# --------------------------------------------------------------------------------------------------------------------
# Batches


def recorder(shapes: list[Any]) -> Any:
    def function(x: Any, y: Any) -> Any:
        shapes.append((x.shape, y.shape))
        return x * (y if x.ndim == y.ndim or not y.ndim else y.reshape(-1, *[1] * (x.ndim - 1)))

    return function


@pytest.mark.parametrize(
    ("method", "seen"),
    [
        (None, [((2,), ())] * 3),
        ("sequential", [((2,), ())] * 3),
        ("sequential_unrolled", [((2,), ())] * 3),
        ("expand_dims", [((3, 2), (1,))]),
        ("broadcast_all", [((3, 2), (3,))]),
        ("legacy_vectorized", [((3, 2), ())]),
    ],
)
@pytest.mark.parametrize("outer", [lambda f: f, ft.jit, lambda f: ft.vmap(f, (None, None), axis_size=1)])
def test_vmap_methods(method: Any, seen: Any, outer: Any) -> None:
    shapes: list[Any] = []
    f = ft.vmap(lambda x, y: ft.pure_callback(recorder(shapes), x, x, y, vmap_method=method), (1, None))
    x = np.arange(6.0).reshape(2, 3)
    out = outer(f)(x, 10.0)
    np.testing.assert_array_equal(out.reshape(3, 2), 10.0 * x.T)
    assert shapes == seen


@pytest.mark.parametrize("method", [None, "expand_dims", "broadcast_all"])
def test_vmap_of_vmap(method: Any) -> None:
    function = lambda x, y: np.broadcast_to(x + y, np.broadcast_shapes(x.shape, y.shape)).copy()
    f = lambda x, y: ft.pure_callback(function, SCALAR, x, y, vmap_method=method)
    x, y = np.arange(2.0), 10.0 * np.arange(3.0)
    np.testing.assert_array_equal(ft.vmap(ft.vmap(f, (None, 0)), (0, None))(x, y), x[:, None] + y)
    np.testing.assert_array_equal(ft.vmap(ft.vmap(f, (0, None)), (None, 0))(x, y), (x[:, None] + y).T)


@both
def test_empty_batches_and_several_results(callback: Any) -> None:
    function = lambda x: (x.sum(), x > 0)
    declared = (SCALAR, ft.ShapeDtypeStruct((2,), bool))
    for n in (0, 3):
        x = np.arange(2.0 * n).reshape(n, 2) - 1.0
        total, positive = ft.vmap(lambda x: callback(function, declared, x), out_axes=(0, 1))(x)
        np.testing.assert_array_equal(total, x.sum(1), strict=True)
        np.testing.assert_array_equal(positive, (x > 0).T, strict=True)


# --------------------------------------------------------------------------------------------------------------------
# Errors


def returning(out: Any) -> Any:
    def named() -> Any:
        return out

    return named


@both
@transforms
@pytest.mark.parametrize(
    ("declared", "out", "message"),
    [
        (SCALAR, np.zeros(2), r"output of named was declared float64\[\], and is float64\[2\]$"),
        (SCALAR, np.float32(1), r"declared float64\[\], and is float32\[\]: convert it, np.asarray\(out, 'float64'\)"),
        (ft.ShapeDtypeStruct((), int), 2.5, r"declared int64\[\], and is float64\[\]: convert"),
        (ft.ShapeDtypeStruct((), "int8"), 300, r"declared int8\[\]: .*300"),
        (
            {"a": [SCALAR]},
            {"a": ["x"]},
            r"output\['a'\]\[0\] of named was declared float64\[\], and is 'x' of type str",
        ),
        ({"a": SCALAR}, {"b": 1.0}, r"named was declared to return .*'a'.*, and returned .*'b'"),
        (SCALAR, None, r"named was declared to return .*, and returned .*None"),
        (SCALAR, np.ma.masked_array([1.0]), r"output of named was declared .*MaskedArray is not supported"),
    ],
)
def test_results_are_checked(callback: Any, transform: Any, declared: Any, out: Any, message: str) -> None:
    with pytest.raises(TypeError, match=rf"^{callback.__name__} at .*test_callbacks.py:\d+.*{message}"):
        transform(lambda: callback(returning(out), declared))()


@both
def test_batched_results_are_checked(callback: Any) -> None:
    with pytest.raises(TypeError, match=r"output of <lambda> was declared float64\[\], and is float64\[1\]"):
        ft.vmap(lambda x: callback(lambda x: x[None], SCALAR, x))(np.ones(2))


@both
@pytest.mark.parametrize(
    ("args", "error", "message"),
    [
        ((3, SCALAR), TypeError, "callback needs a function, got 3 of type int"),
        (
            (abs, {"a": 3}),
            TypeError,
            r"abs: result_shape_dtypes\['a'\] must have a shape and a dtype.*got 3 of type int",
        ),
        ((lambda p: p, SCALAR, [np.array(["a"])]), TypeError, r"argument p\[0\] of <lambda>: unsupported dtype"),
    ],
)
def test_arguments_are_checked(callback: Any, args: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        callback(*args)


def test_an_unknown_vmap_method() -> None:
    with pytest.raises(ValueError, match=r"vmap_method must be one of .*'expand_dims'.*, got 'vectorised'"):
        ft.pure_callback(abs, SCALAR, 1.0, vmap_method="vectorised")


@both
def test_a_function_that_closes_over_a_tracer(callback: Any) -> None:
    for transform in (ft.grad, ft.jit):
        with pytest.raises(
            UnexpectedTracerError, match=r"<lambda> closes over x, a tracer float64\[\].*callback\(<lambda"
        ):
            transform(lambda x: callback(lambda: x, SCALAR))(1.0)


@both
def test_a_tracer_in_a_container_is_found_when_it_is_used(callback: Any) -> None:
    def f(x: Any) -> Any:
        box = [x]
        return callback(lambda: box[0] * 2.0, SCALAR)

    with pytest.raises(UnexpectedTracerError, match="a tracer float64"):
        ft.jit(f)(1.0)


@both
@transforms
def test_errors_of_the_function_are_its_own(callback: Any, transform: Any) -> None:
    def fails(x: Any) -> Any:
        raise ZeroDivisionError("by the function")

    f = transform(lambda x: callback(fails, SCALAR, x) + 1.0)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError, match="by the function") as caught:
            f(1.0)
        names = [entry.name for entry in caught.traceback]
        assert names[-1] == "fails"
    np.testing.assert_array_equal(ft.grad(lambda x: x * x)(3.0), 6.0)


def test_an_error_in_mid_batch() -> None:
    seen = []

    def fails(x: Any) -> Any:
        seen.append(float(x))
        return math.sqrt(x)

    with pytest.raises(ValueError, match="math domain error"):
        ft.vmap(lambda x: ft.io_callback(fails, SCALAR, x))(np.array([1.0, -1.0, 4.0]))
    assert seen == [1.0, -1.0]


def test_results_are_tracers_while_recording() -> None:
    with pytest.raises(TracerArrayConversionError, match="concrete"):
        ft.grad(lambda x: x * np.asarray(ft.io_callback(lambda: 1.0, SCALAR)))(1.0)


def test_other_callables() -> None:
    class Callable:
        def __call__(self, x: Any) -> Any:
            return x + 1.0

        def method(self, x: Any) -> Any:
            return x + 2.0

    for function, expected in [(Callable(), 2.0), (Callable().method, 3.0), (functools.partial(np.add, 3.0), 4.0)]:
        assert ft.jit(lambda x: ft.pure_callback(function, SCALAR, x))(1.0) == expected  # noqa: B023
