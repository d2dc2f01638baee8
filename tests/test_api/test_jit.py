"""jit: one program for each combination of shapes, dtypes and static arguments."""

import threading
from dataclasses import dataclass

import numpy as np
import pytest

import functrans as ft


def counted(f):
    """A function that counts how often Python runs it."""

    def g(*args, **kwargs):
        g.runs += 1
        return f(*args, **kwargs)

    g.runs = 0
    return g


def test_records_once_for_each_shape_and_dtype():
    f = counted(lambda x: np.sum(x * 2))
    jitted = ft.jit(f)
    for x in (np.ones(3), np.zeros(3), np.ones((3, 1)), np.ones(3, "f4"), np.ones(3)):
        assert jitted(x) == np.sum(x * 2)
    assert f.runs == 3


def test_static_arguments_by_number_and_by_name():
    f = counted(lambda x, n=1, flag=False: x * n if flag else x)
    jitted = ft.jit(f, static_argnums=1, static_argnames="flag")
    assert jitted(2.0, 3, flag=True) == 6.0
    assert jitted(5.0, 3, flag=True) == 15.0
    assert f.runs == 1
    assert jitted(5.0, 3) == 5.0
    assert jitted(5.0, 4) == 5.0
    assert f.runs == 3


def test_static_arguments_that_are_equal_and_mean_other_things():
    jitted = ft.jit(lambda x, how: x if how is True else x * 10, static_argnums=1)
    assert [jitted(1.0, how) for how in (True, 1, 1.0)] == [1.0, 10.0, 10.0]
    jitted = ft.jit(lambda x, zero: np.copysign(x, zero), static_argnums=1)
    assert [jitted(1.0, zero) for zero in (0.0, -0.0)] == [1.0, -1.0]


def test_static_argnum_that_does_not_exist():
    with pytest.raises(ValueError, match="static_argnums=2 is out of range: f has 1 positional parameters"):
        ft.jit(named_f, static_argnums=2)
    with pytest.raises(ValueError, match="static_argnames='y': f has no parameter of this name"):
        ft.jit(named_f, static_argnames="y")


def named_f(x):
    return x


named_f.__name__ = "f"


def test_leaves_that_are_not_arrays_are_static():
    f = counted(lambda p: p["x"] * (2 if p["mode"] == "double" else 1))
    jitted = ft.jit(f)
    assert jitted({"x": 3.0, "mode": "double"}) == 6.0
    assert jitted({"x": 4.0, "mode": "double"}) == 8.0
    assert jitted({"x": 3.0, "mode": "single"}) == 3.0
    assert f.runs == 2


def test_decorator_with_options():
    @ft.jit(static_argnames=("n",))
    def f(x, n):
        return x * n

    assert f(2.0, n=3) == 6.0
    assert f(2.0, 3) == 6.0
    assert f.__name__ == "f"


def test_method():
    class Model:
        def __init__(self, scale):
            self.scale = scale

        @ft.jit
        def __call__(self, x):
            return self.scale * x

    assert Model(2.0)(3.0) == 6.0
    assert Model(5.0)(3.0) == 15.0


def test_captured_arrays_are_kept_as_they_were():
    a = np.ones(3)
    jitted = ft.jit(lambda x: x * a)
    np.testing.assert_array_equal(jitted(2.0), [2.0, 2.0, 2.0])
    a[:] = 7.0
    np.testing.assert_array_equal(jitted(2.0), [2.0, 2.0, 2.0])
    assert a.flags.writeable


def test_nested_calls_stay_calls():
    inner = ft.jit(lambda x: np.sin(x) * 2.0)
    program = ft.make_jaxpr(lambda x: inner(x) + 1.0)(1.0)
    assert [eqn.primitive.name for eqn in program.eqns] == ["jit", "add"]
    assert ft.jit(lambda x: inner(x) + 1.0)(1.0) == np.sin(1.0) * 2.0 + 1.0


def test_function_that_captures_a_tracer_is_not_cached():
    jitted_inside = []

    def f(x):
        g = jitted_inside[0] if jitted_inside else ft.jit(lambda y: y * scale[0])
        scale[0] = x
        jitted_inside[:] = [g]
        return g(3.0)

    scale = [None]
    assert ft.grad(f)(2.0) == 3.0
    assert ft.grad(f)(5.0) == 3.0


def test_derivatives_of_jit_and_jit_of_derivatives():
    f = lambda x: np.sum(np.tanh(x) * x)
    x = np.array([0.3, -1.2])
    expected = ft.grad(f)(x)
    for g in (ft.grad(ft.jit(f)), ft.jit(ft.grad(f)), ft.jit(ft.grad(ft.jit(f)))):
        np.testing.assert_array_equal(g(x), expected)
    np.testing.assert_allclose(ft.hessian(ft.jit(f))(x), ft.hessian(f)(x), rtol=1e-12)
    np.testing.assert_allclose(ft.vmap(ft.jit(np.sin))(x), np.sin(x))
    np.testing.assert_allclose(ft.jvp(ft.jit(f), (x,), (np.ones(2),))[1], expected.sum())


def test_outputs():
    x = np.ones(2)
    out = ft.jit(lambda x: {"same": x, "number": 2, "none": None, "sum": np.sum(x)})(x)
    assert out["none"] is None
    assert out["number"] == 2
    assert type(out["sum"]) is np.float64
    assert not np.shares_memory(out["same"], x)


def test_unjitted_and_jitted_give_the_same_bits_at_each_call():
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(32, 64)), rng.normal(size=(64, 10))
    g = ft.grad(lambda w: np.mean(np.tanh(x @ w) ** 2))
    first = g(w)
    for _ in range(40):
        np.testing.assert_array_equal(g(w), first)
    np.testing.assert_array_equal(ft.jit(g)(w), first)


def test_threads_do_not_mix():
    results = {}

    def work(n):
        f = ft.jit(lambda x: np.sum(np.sin(x) * n))
        results[n] = [ft.grad(f)(np.full(3, 0.1 * k))[0] for k in range(20)]

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for n, got in results.items():
        np.testing.assert_allclose(got, [n * np.cos(0.1 * k) for k in range(20)])


def test_static_dataclasses_that_are_equal_and_mean_other_things():
    jitted = ft.jit(lambda x, s: np.copysign(x, s.a) * (2 if s.a is True else 1), static_argnums=1)
    settings = [Setting(0.0), Setting(-0.0), Setting(True), Setting(1)]
    assert [jitted(1.0, s) for s in settings] == [1.0, -1.0, 2.0, 1.0]


@dataclass(frozen=True)
class Setting:
    a: object


def test_a_branch_on_a_tracer_from_outside_is_not_cached():
    box = {}
    h = ft.jit(lambda y: y * 2.0 if box["x"] else y * 3.0)

    def g(x):
        box["x"] = x > 0
        return h(x)

    assert [ft.grad(g)(x) for x in (1.0, -1.0, 1.0)] == [2.0, 3.0, 2.0]


def test_results_are_not_weak_whether_recorded_or_run():
    inner = ft.jit(lambda y: y * 1.0)
    f = lambda x: np.ones(2, "f4") * inner(x)
    assert f(2.0).dtype == ft.jit(f)(2.0).dtype == ft.vjp(f, 2.0)[0].dtype == np.float64


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.broadcast_to(x * 2, (2, 3)),
        lambda x: np.broadcast_to(x, (2, 3)).T,
        lambda x: ft.grad(lambda x: np.sum(np.mean(x) * np.arange(3.0)))(x),
        lambda x: x,
        lambda x: x[::-1],
    ],
)
def test_results_can_be_written_to(f):
    out = ft.jit(f)(np.ones(3))
    assert out.flags.writeable
    assert 0 not in out.strides


def test_inline_leaves_no_call_in_a_recording():
    inner = ft.jit(lambda x: np.sin(x) * 2.0, inline=True)
    program = ft.make_jaxpr(lambda x: inner(x) + 1.0)(1.0)
    assert [eqn.primitive.name for eqn in program.eqns] == ["sin", "mul", "add"]
    assert inner(1.0) == ft.jit(inner)(1.0) == np.sin(1.0) * 2.0
    assert ft.grad(inner)(1.0) == 2.0 * np.cos(1.0)
    np.testing.assert_array_equal(ft.vmap(inner)(np.ones(2)), np.sin(1.0) * 2.0)


def test_arguments_that_are_not_used_make_no_difference():
    for keep_unused in (False, True):
        assert ft.jit(lambda x, y: x, keep_unused=keep_unused)(1.0, np.ones(3)) == 1.0


def test_options_that_have_no_meaning_here():
    with pytest.raises(TypeError, match="unexpected keyword argument 'in_shardings'"):
        ft.jit(lambda x: x, in_shardings=None)
