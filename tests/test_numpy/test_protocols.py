"""Plain NumPy on tracers: what arrives by NEP 13 and NEP 18, and what would silently lose the derivative."""

import math

import numpy as np
import pytest

import functrans as ft
import functrans.numpy as fnp
from functrans.core.tracer import Tracer
from functrans.errors import DetachedTracerError, MissingRuleError, TracerArrayConversionError
from functrans.numpy.ufuncs import UFUNCS, register_ufunc

X = np.array([1.0, 2.0, 3.0])


def raising(function, error, match, x=X):
    with pytest.raises(error, match=match):
        ft.grad(lambda x: np.sum(function(x)))(x)
    with pytest.raises(error, match=match):
        ft.jit(function)(x)


# ---- silent traps


def test_no_array_of_a_tracer():
    raising(np.asarray, TracerArrayConversionError, "stack")
    raising(lambda x: np.array([x, x]), TracerArrayConversionError, "functrans.numpy")
    raising(lambda x: np.array([x[0], x[1]]), TracerArrayConversionError, "functrans.numpy")
    raising(lambda x: np.sum([x, x]), TracerArrayConversionError, "functrans.numpy")
    raising(lambda x: np.add(np.zeros(3), [x[0], x[1], x[2]]), TracerArrayConversionError, "functrans.numpy")


def test_no_array_of_objects_is_ever_made():
    seen = []
    with_effects = ("test", "savetxt", "save", "savez", "savez_compressed", "info", "show_config", "show_runtime")
    for name in dir(np):
        function = getattr(np, name)
        if callable(function) and not name.startswith("_") and name not in with_effects:
            for call in (lambda x, f=function: f(x), lambda x, f=function: f([x, x]), lambda x, f=function: f(X, x)):
                _collect(call, seen)
    assert all(x.dtype != object for x in seen)


def _collect(call, seen):
    def function(x):
        out = call(x)
        parts = out if isinstance(out, (tuple, list)) else [out]
        seen.extend([part for part in parts if isinstance(part, np.ndarray)])
        return np.sum(x)

    try:
        seen.append(ft.grad(function)(X))
    except Exception:  # whatever NumPy says to arguments that make no sense for a function
        return


def test_filling_an_array_with_a_tracer_raises():
    raising(lambda x: np.full_like(X, x[0]), TypeError, "functrans.numpy.full_like")
    raising(lambda x: np.copyto(np.zeros(3), x), TypeError, "broadcast_to")
    raising(lambda x: np.put(np.zeros(3), [0], x[0]), TypeError, "functrans.numpy")
    raising(lambda x: np.place(np.zeros(3), X > 1, x), TypeError, "where")
    raising(lambda x: np.putmask(np.zeros(3), X > 1, x), TypeError, "where")
    raising(lambda x: np.fill_diagonal(np.zeros((3, 3)), x[0]), TypeError, "functrans.numpy")
    assert ft.grad(lambda x: np.sum(np.full_like(x, x[0])))(X).tolist() == [3, 0, 0]
    assert ft.grad(lambda x: np.sum(fnp.full_like(X, x[0])))(X).tolist() == [3, 0, 0]


def test_adding_to_an_array_in_place_raises():
    def function(x):
        a = np.zeros(3)
        a += x
        return a

    raising(function, TypeError, r"a = a \+ x")
    raising(lambda x: np.add(x, 1, out=np.zeros(3)), TypeError, "out=")
    raising(lambda x: np.sum(x, out=np.zeros(())), TypeError, "out=")
    raising(lambda x: np.sum(x, 0, None, np.zeros(())), TypeError, "out=")
    raising(lambda x: np.add.reduce(x, out=np.zeros(())), TypeError, "out=")
    raising(lambda x: np.add.at(np.zeros(3), [0], x[0]), TypeError, "at.*add")


def test_out_none_and_no_value_mean_nothing():
    assert ft.grad(lambda x: np.sum(x, out=None, keepdims=np._NoValue))(X).tolist() == [1, 1, 1]
    assert ft.grad(lambda x: np.add.reduce(x, out=None, initial=np._NoValue))(X).tolist() == [1, 1, 1]
    assert ft.grad(lambda x: np.sum(np.add(x, x, out=None)))(X).tolist() == [2, 2, 2]


def test_assignment_to_an_element_raises():
    def into_an_array(x):
        a = np.zeros(3)
        a[0] = x[0]
        return a

    def into_a_tracer(x):
        x[0] = 1.0
        return x

    with pytest.raises(DetachedTracerError, match="at"):
        ft.grad(lambda x: np.sum(into_an_array(x)))(X)
    raising(into_a_tracer, TypeError, r"x\.at\[i\]\.set\(v\)")


@pytest.mark.parametrize("function", [float, int, complex, math.sin])
def test_conversion_to_a_number_raises(function):
    with pytest.raises(DetachedTracerError, match="derivative"):
        ft.grad(lambda x: function(x) * x)(1.0)


def test_methods_of_arrays_with_a_tracer_argument():
    a = np.arange(3.0)
    raising(a.dot, TracerArrayConversionError, "functrans.numpy")
    assert ft.grad(lambda x: np.sum(np.clip(a, 0, x)))(1.5) == 1
    assert ft.grad(lambda x: np.sum(a.clip(0, x)))(1.5) == 1


def test_ufunc_keywords_without_a_place_to_write():
    raising(lambda x: np.add(x, 1, where=X > 1), TypeError, r"functrans\.numpy\.where")
    assert ft.jit(lambda x: np.add(x, 1, dtype="float32", casting="same_kind"))(X).dtype == np.float32
    raising(lambda x: np.sin(x, casting="unsafe"), TypeError, "casting")
    raising(lambda x: np.add.reduceat(x, [0, 1]), MissingRuleError, "reduceat")


@pytest.mark.parametrize("name", ["sort", "fill", "put", "resize", "itemset", "partition"])
def test_methods_that_write_say_what_to_write(name):
    raising(lambda x: getattr(x, name)(), TypeError, r"Write x = ")


# ---- what arrives


def test_arrays_on_the_left():
    assert ft.grad(lambda x: np.sum(X * x))(X).tolist() == [1, 2, 3]
    assert ft.grad(lambda x: np.float64(3) * x)(1.0) == 3
    assert ft.grad(lambda x: np.sum(np.ones((2, 3)) @ x))(X).tolist() == [2, 2, 2]


def test_like():
    assert ft.jit(lambda x: np.zeros(3, like=x) + x)(X).tolist() == X.tolist()
    assert ft.jit(lambda x: np.array([x[0], 1.0], like=x))(X).tolist() == [1, 1]
    assert ft.jit(lambda x: np.asarray(2.0, like=x) * x)(X).tolist() == [2, 4, 6]
    assert ft.jit(lambda x: np.arange(3, like=x) * x)(X).tolist() == [0, 2, 6]


def test_array_namespace():
    def function(x):
        assert x.__array_namespace__() is fnp
        return x.__array_namespace__(api_version="2024.12").exp(x)

    assert ft.grad(function)(0.0) == 1


def test_a_function_without_a_rule_is_named():
    raising(lambda x: np.histogram(x)[0], MissingRuleError, r"numpy\.histogram")


def test_a_ufunc_without_a_rule_is_named_and_can_be_given_one():
    twice = np.frompyfunc(lambda x: 2 * x, 1, 1)
    raising(lambda x: twice(x), MissingRuleError, "register_ufunc")
    register_ufunc(twice, lambda x: np.sin(x) + x)
    try:
        assert ft.grad(lambda x: twice(x))(0.0) == 2
        assert ft.vmap(twice)(X).tolist() == (np.sin(X) + X).tolist()
    finally:
        del UFUNCS[twice]


def test_a_ufunc_of_scipy_arrives():
    special = pytest.importorskip("scipy.special")
    if special.gammaln in UFUNCS:
        assert ft.grad(special.gammaln)(1.0) == pytest.approx(-0.5772156649)
    else:
        raising(special.gammaln, MissingRuleError, "gammaln")


MAYBE_NEVER = {"isnat", "gcd", "lcm"}


def test_every_ufunc_has_a_rule_but_those_of_integers_and_dates():
    ufuncs = {name for name in dir(np) if isinstance(getattr(np, name), np.ufunc)}
    assert {name for name in ufuncs if getattr(np, name) not in UFUNCS} == MAYBE_NEVER
    assert {name for name in ufuncs if not hasattr(fnp, name)} == MAYBE_NEVER


def test_names_stand_for_numpys_own():
    for name in fnp.__all__:
        assert hasattr(fnp, name)
    public = {name for name in fnp.__all__ if callable(getattr(np, name, None))}
    assert {"sum", "einsum", "where", "percentile", "float32"} <= public


def test_a_subclass_of_arrays_that_computes_otherwise_is_refused():
    masked = np.ma.masked_array([1.0, 2.0, 3.0], [True, False, False])
    raising(lambda x: x * masked, TypeError, "MaskedArray")


def test_a_tracer_is_no_sequence_of_python_numbers():
    assert not hasattr(Tracer, "__array_interface__")
    assert not hasattr(Tracer, "__array_struct__")


def test_known_tracers_as_sizes_and_axes():
    def f(x, n):
        return np.sum(x.reshape((n, -1)) * x.reshape(n, -1)) + np.sum(np.sum(x.reshape(2, 3), axis=(n - 1,)))

    x = np.arange(6.0)
    np.testing.assert_array_equal(ft.grad(f)(x, 2), 2 * x + 1)
