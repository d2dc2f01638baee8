"""Recordings: what they record, what they know, what they take from outside, and how they end."""

import math
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import lax
from functrans.core.primitive import Primitive
from functrans.core.rules import def_abstract, def_impl, def_jvp
from functrans.core.tracer import Tracer
from functrans.errors import (
    CapturedArrayMutatedError,
    ConcretizationTypeError,
    DetachedTracerError,
    TracerArrayConversionError,
    TracerBoolConversionError,
    TracerIntegerConversionError,
    UnexpectedTracerError,
)

X = np.array([1.0, 2.0, 3.0])


def counting_sin(name: str) -> tuple[Primitive, list[Any]]:
    """A primitive that remembers what it was computed on."""
    calls: list[Any] = []
    primitive = Primitive(name)
    def_impl(primitive, lambda x: calls.append(x) or np.sin(x))
    def_abstract(primitive, lambda x: x.strong)
    def_jvp(primitive, lambda t, out, x: lax.mul(t, lax.cos(x)))
    return primitive, calls


# --------------------------------------------------------------------------------------------------------------------
# Values on demand


def test_recording_computes_nothing() -> None:
    primitive, calls = counting_sin("sin_not_computed")

    def f(x: Any) -> Any:
        primitive.bind(x)
        assert not calls
        return x * 1.0

    assert ft.grad(f)(2.0) == 1.0
    assert not calls


def test_a_value_that_is_asked_is_computed_once() -> None:
    primitive, calls = counting_sin("sin_computed_once")

    def f(x: Any) -> Any:
        y = primitive.bind(x)
        primitive.bind(y)
        assert y > 0
        assert len(calls) == 1
        assert y.item() == np.sin(2.0)
        assert f"{y:.3f}" == "0.909"
        assert str(y) == str(np.sin(2.0))
        assert bool(y + 1 > y)
        assert len(calls) == 1
        return x * x

    assert ft.grad(f)(2.0) == 4.0


def test_control_flow_under_grad() -> None:
    def power(x: Any, n: int) -> Any:
        return 1.0 if n == 0 else x * power(x, n - 1)

    def newton(x: Any) -> Any:
        y = x
        while abs((y * y - x).item()) > 1e-13:
            y = (y + x / y) / 2
        return y

    assert ft.grad(lambda x: power(x, 5))(2.0) == 80.0
    np.testing.assert_allclose(ft.grad(newton)(2.0), 0.5 / math.sqrt(2), rtol=1e-12)
    np.testing.assert_allclose(ft.grad(ft.grad(newton))(2.0), -0.25 * 2**-1.5, rtol=1e-9)
    absolute = lambda x: x if x > 0 else -x
    assert (ft.grad(absolute)(2.0), ft.grad(absolute)(-2.0)) == (1.0, -1.0)


def test_control_flow_on_values_of_outer_recordings() -> None:
    def f(x: Any) -> Any:
        inner = ft.grad(lambda y: y * y * x if y > 1 else y * x)(x * 1.0)
        return inner if x > 0 else -inner

    assert ft.grad(f)(3.0) == 12.0  # of 2 x**2
    assert ft.grad(f)(0.5) == 1.0  # of x
    assert ft.jvp(f, (-0.5,), (1.0,))[1] == -1.0  # of -x


def test_indices_and_lengths() -> None:
    def f(x: Any, n: Any) -> Any:
        return [x, x * x, x * x * x][n] * len(list(range(n)))

    assert ft.grad(f)(2.0, 2) == 24.0


def test_unknown_values_are_named() -> None:
    def branch(x: Any, flag: Any) -> Any:
        return x if flag else -x

    with pytest.raises(
        TracerBoolConversionError,
        match=r"test_recording.py:\d+ \(in branch\), but it depends on "
        "argument flag of branch",
    ):
        ft.jit(branch)(1.0, True)
    with pytest.raises(TracerIntegerConversionError, match="argument n of"):
        ft.jit(lambda x, n: [x, x][n])(1.0, 1)
    with pytest.raises(ConcretizationTypeError, match=r"argument params\['w'\] of <lambda>"):
        ft.make_jaxpr(lambda params: params["w"].item())({"w": 1.0})
    with pytest.raises(TracerBoolConversionError, match="argument x of"):
        ft.vmap(lambda x, n: x if x > n else n)(X, X)


def test_shared_arguments_of_vmap_are_known() -> None:
    out = ft.vmap(lambda x, n: x if n > 0 else -x, in_axes=(0, None))(X, -1)
    np.testing.assert_array_equal(out, -X)


def test_the_value_of_what_hangs_on_an_unknown_outer_input() -> None:
    with pytest.raises(TracerBoolConversionError, match="argument x of"):
        ft.jit(lambda x: ft.grad(lambda y: y if y * x > 0 else -y)(1.0))(2.0)


# --------------------------------------------------------------------------------------------------------------------
# A tracer never detaches


@pytest.mark.parametrize("detach", [float, math.sin, lambda x: np.zeros(1).__setitem__(0, x)])
def test_a_derivative_is_never_lost(detach: Callable[[Any], Any]) -> None:
    with pytest.raises((DetachedTracerError, TracerArrayConversionError), match="derivative"):
        ft.grad(lambda x: x * detach(x))(2.0)


def test_numbers_that_carry_no_derivative_may_be_taken() -> None:
    assert ft.grad(lambda x, n: x * float(n))(2.0, 3) == 3.0
    assert ft.grad(lambda x, y: x * float(y))(2.0, 3.0) == 3.0
    assert ft.grad(lambda x: x * float(lax.stop_gradient(x)))(2.0) == 2.0
    assert ft.grad(lambda x: x * x.item())(2.0) == 2.0
    assert ft.grad(lambda x: x * ft.concrete(x))(2.0) == 2.0


def test_no_plain_arrays() -> None:
    for convert in (np.asarray, np.array, lambda x: np.array([x, x]), lambda x: np.array([1.0]).astype(float) * [x]):
        with pytest.raises((TracerArrayConversionError, TypeError)):
            ft.grad(lambda x, convert=convert: np.sum(convert(x)))(2.0)


def test_tracers_are_not_hashable() -> None:
    with pytest.raises(TypeError, match="unhashable"):
        ft.grad(lambda x: {x: 1}[x])(2.0)


# --------------------------------------------------------------------------------------------------------------------
# Which recording takes an operation


def test_operations_on_outer_tracers_inside_a_jitted_body_belong_to_the_body() -> None:
    def outer(x: Any, y: Any) -> Any:
        return ft.jit(lambda z: lax.mul(z, lax.sin(y)))(x)

    (eqn,) = ft.make_jaxpr(outer)(1.0, 2.0).eqns
    assert [e.primitive.name for e in eqn.params["jaxpr"].eqns] == ["sin", "mul"]


def test_operations_on_no_tracer_inside_a_jitted_body_belong_to_the_body() -> None:
    assert "sin" in str(ft.make_jaxpr(lambda x: x * lax.sin(np.float64(2.0)))(1.0))
    with_grad = ft.make_jaxpr(lambda: ft.grad(lambda x: lax.sin(x))(2.0))()
    assert [e.primitive.name for e in with_grad.eqns if e.primitive.name != "call"]


def test_grad_dispatches_on_operands() -> None:
    """What does not depend on the argument of the inner grad is of the outer one."""
    seen = []

    def outer(x: Any) -> Any:
        def inner(y: Any) -> Any:
            outer_only, mixed = x * x, x * y
            seen.append((outer_only.recording is x.recording, mixed.recording is y.recording))
            return mixed

        return ft.grad(inner)(x * 2)

    ft.grad(outer)(1.0)
    assert seen == [(True, True)]


def test_depth_decides_between_a_body_and_a_deeper_recording() -> None:
    """Inside a jitted body, what touches a tracer of a grad that was opened in the body belongs to the grad."""

    def body(x: Any) -> Any:
        def inner(y: Any) -> Any:
            z = x * y
            assert z.recording is y.recording
            return z * z

        return ft.grad(inner)(x)

    assert ft.jit(body)(3.0) == 54.0
    assert ft.grad(ft.jit(body))(3.0) == 54.0


# --------------------------------------------------------------------------------------------------------------------
# Captures


def test_every_use_of_a_float_is_an_input_of_its_own() -> None:
    """A float that changes makes no new program, and equal floats do not merge."""
    programs = set()

    def loss(x: Any, a: float, b: float) -> Any:
        y = x * a + x * b
        programs.add(len(y.recording.avals))
        return y

    for a, b in ((2.0, 2.0), (2.0, 3.0), (0.5, 0.5)):
        assert ft.grad(lambda x, a=a, b=b: loss(x, a, b))(1.0) == a + b
    assert programs == {3}  # x, a and b


def test_a_captured_array_is_one_input() -> None:
    def loss(x: Any) -> Any:
        y = lax.mul(lax.mul(x, X), X)
        assert len(y.recording.avals) == 2
        return lax.reduce_sum(y, (0,))

    np.testing.assert_array_equal(ft.grad(loss)(X), X * X)


def test_small_arrays_may_change_after_they_were_captured() -> None:
    def loss(x: Any) -> Any:
        buffer = np.ones(3)
        first = lax.mul(x, buffer)
        buffer[:] = 10
        second = lax.mul(x, buffer)
        buffer[:] = 0
        return lax.reduce_sum(lax.add(first, second), (0,))

    np.testing.assert_array_equal(ft.grad(loss)(X), [11, 11, 11])


LARGE = ft.config.copy_captured_bytes // 8 + 1


def test_large_arrays_must_not_change_and_are_free_again_afterwards() -> None:
    buffer = np.ones(LARGE)

    def loss(x: Any) -> Any:
        y = lax.mul(x, buffer)
        buffer[0] = 5.0
        return lax.reduce_sum(y, (0,))

    with pytest.raises(CapturedArrayMutatedError, match=r"test_recording.py:\d+ \(in loss\)"):
        ft.grad(loss)(np.ones(LARGE))
    assert buffer.flags.writeable
    buffer[0] = 1.0


def test_arguments_must_not_change_either() -> None:
    x = np.ones(LARGE)

    def loss(y: Any) -> Any:
        x[0] = 2.0
        return lax.reduce_sum(y, (0,))

    for transformed in (
        ft.grad(loss),
        ft.value_and_grad(loss),
        lambda x: ft.vjp(loss, x),
        lambda x: ft.jvp(loss, (x,), (x,)),
    ):
        with pytest.raises(CapturedArrayMutatedError):
            transformed(x)
        assert x.flags.writeable
        assert x[0] == 1.0


def test_flags_are_restored_after_exceptions_and_nesting() -> None:
    x, y, kept = np.ones(LARGE), np.ones(LARGE), np.ones(LARGE)
    kept.flags.writeable = False

    def fails(a: Any) -> Any:
        lax.mul(a, y)
        lax.mul(a, kept)
        raise KeyError("on purpose")

    with pytest.raises(KeyError):
        ft.grad(lambda a: ft.grad(fails)(a)[0])(x)
    assert (x.flags.writeable, y.flags.writeable, kept.flags.writeable) == (True, True, False)
    total = lambda a: lax.reduce_sum(lax.mul(a, y), (0,))
    ft.grad(lambda a: lax.reduce_sum(ft.grad(total)(a), (0,)))(x)
    assert (x.flags.writeable, y.flags.writeable) == (True, True)


def test_views_are_restored() -> None:
    base = np.ones(2 * LARGE)
    view = base[:LARGE]
    ft.grad(lambda a: lax.reduce_sum(lax.mul(lax.mul(a, view), view), (0,)))(np.ones(LARGE))
    assert base.flags.writeable
    assert view.flags.writeable


def test_what_outlives_the_call_is_copied() -> None:
    x = np.array([1.0, 2.0, 3.0])
    _, pull_back = ft.vjp(lambda x: lax.mul(x, x), x)
    x[:] = 0
    np.testing.assert_array_equal(pull_back(np.ones(3))[0], [2, 4, 6])
    weights = np.ones(3)
    scaled = ft.jit(lambda x: lax.mul(x, weights))
    scaled(X)
    weights[:] = 7
    np.testing.assert_array_equal(scaled(X), X)


def test_inputs_are_never_written_to() -> None:
    x = X.copy()
    x.flags.writeable = False
    ft.value_and_grad(lambda x: lax.reduce_sum(lax.mul(x, x), (0,)))(x)
    assert not x.flags.writeable
    np.testing.assert_array_equal(x, X)


def test_a_jitted_function_that_captured_a_tracer_is_recorded_again() -> None:
    def f(x: Any, y: Any) -> Any:
        return scaled(y, x)

    def scaled(y: Any, x: Any) -> Any:
        return jitted(y)

    holder: list[Any] = []
    jitted = ft.jit(lambda y: lax.mul(y, holder[-1]))

    def outer(x: Any) -> Any:
        holder.append(x)
        return jitted(2.0)

    assert ft.grad(outer)(3.0) == 2.0
    assert ft.grad(outer)(4.0) == 2.0
    holder.append(5.0)
    assert jitted(2.0) == 10.0


# --------------------------------------------------------------------------------------------------------------------
# The end of a recording


def test_escaped_tracers() -> None:
    kept: list[Any] = []

    def loss(x: Any) -> Any:
        kept.append(x * 2)
        return x * 1.0

    ft.grad(loss)(np.float64(1.0))
    (tracer,) = kept
    assert type(tracer) is Tracer
    assert repr(tracer) == "Tracer<float64[], escaped from loss>"
    for use in (lambda t: t + 1, lambda t: 1.0 * t, lambda t: t.item(), bool, lax.sin):
        with pytest.raises(UnexpectedTracerError, match=r"a tracer float64\[\] was used after loss had returned"):
            use(tracer)
    with pytest.raises(UnexpectedTracerError):
        ft.grad(lambda x: x * tracer)(1.0)
    with pytest.raises(UnexpectedTracerError):
        ft.jit(lambda x: x * tracer)(1.0)


def test_nothing_stays_open_after_an_exception() -> None:
    def fails(x: Any) -> Any:
        raise KeyError("on purpose")

    for transform in (ft.jit, ft.grad, ft.make_jaxpr, ft.vmap):
        with pytest.raises(KeyError):
            transform(fails)(X if transform is ft.vmap else 1.0)
    assert isinstance(lax.sin(1.0), (float, np.ndarray))


# --------------------------------------------------------------------------------------------------------------------
# Threads


def test_threads_do_not_mix() -> None:
    """Two threads hold a jitted body open at the same time; each records its own operations."""
    barrier = threading.Barrier(2, timeout=10)
    programs: dict[str, str] = {}

    def work(name: str, function: Callable[[Any], Any]) -> None:
        def body(x: Any) -> Any:
            barrier.wait()
            y = function(x)
            barrier.wait()
            return function(y)

        programs[name] = str(ft.make_jaxpr(body)(1.0))

    threads = [threading.Thread(target=work, args=pair) for pair in (("sin", lax.sin), ("exp", lax.exp))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert programs["sin"].count("sin") == 2
    assert "exp" not in programs["sin"]
    assert programs["exp"].count("exp") == 2
    assert "sin" not in programs["exp"]


def test_many_threads_get_the_right_gradients() -> None:
    results: dict[tuple[int, int], Any] = {}

    def work(n: int) -> None:
        for i in range(20):
            results[n, i] = ft.grad(lambda x, k: x**2 * k if x > 0 else x)(3.0, n + i)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 80
    assert all([value == 6.0 * (n + i) for (n, i), value in results.items()])
