"""Recordings that go along a prediction, held against those that have none."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import functrans as ft
from functrans.api import arguments
from functrans.core.recording import Recording

X, Y = np.linspace(0.5, 2.0, 3), np.array([1.0, -2.0, 0.25])
CAPTURED = np.array([3.0, 1.0, 2.0])
LARGE = np.linspace(0.0, 1.0, 10_000)


@contextmanager
def no_predictions() -> Iterator[None]:
    with patch.object(arguments, "prediction_for", lambda code, key: None):
        yield


def nested_gradient(x: Any, y: Any, n: Any) -> Any:
    return ft.grad(lambda z: np.sum(z * x * n))(y)


def branch(x: Any, y: Any, n: Any) -> Any:
    return ft.lax.cond(np.sum(x) > n, lambda a: a * y, lambda a: a - 1.0, x)


def forced(x: Any, y: Any, n: Any) -> Any:
    return x * 2.0 if np.sum(y) > n - 1.0 else x - y


def changed(x: Any, y: Any, n: Any) -> Any:
    buffer = np.array([n, 1.0, 1.0])
    x = x + buffer
    buffer[0] += 1.0
    return x * buffer


def scoped(x: Any, y: Any, n: Any) -> Any:
    with ft.named_scope(f"scope {n}"):
        return x - 1.5


OPERATIONS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "add": lambda x, y, n: x + y,
    "swapped": lambda x, y, n: y - x,
    "float": lambda x, y, n: x * n,
    "float before": lambda x, y, n: n - x,
    "int": lambda x, y, n: x + int(n),
    "int before": lambda x, y, n: int(n) - x,
    "bool": lambda x, y, n: x + (n > 1.0),
    "complex": lambda x, y, n: np.real(x * (n + 1.0j)),
    "NumPy scalar": lambda x, y, n: x * np.float64(n),
    "narrow scalar": lambda x, y, n: x * np.float32(n),
    "captured": lambda x, y, n: x * CAPTURED,
    "captured before": lambda x, y, n: CAPTURED - x,
    "large": lambda x, y, n: x + np.sum(y[0] * LARGE),
    "changed": changed,
    "ufunc": lambda x, y, n: np.tanh(x),
    "ufunc of two": lambda x, y, n: np.arctan2(x, y),
    "ufunc and array": lambda x, y, n: np.add(CAPTURED, x),
    "power": lambda x, y, n: x ** int(n),
    "two results": lambda x, y, n: np.divmod(x, 2.0)[1],
    "stack": lambda x, y, n: np.stack([x, y, x])[int(n) % 3],
    "index": lambda x, y, n: x[int(n) % 3] + y,
    "slice": lambda x, y, n: x[::-1] + y,
    "indices": lambda x, y, n: x[np.array([2, 0, int(n) % 3])],
    "sum": lambda x, y, n: y + np.sum(x),
    "sum along": lambda x, y, n: y + x.sum(axis=0),
    "mean": lambda x, y, n: y + np.mean(x, keepdims=True),
    "reshape": lambda x, y, n: (x.reshape(3, 1) * y).reshape((9,))[:3],
    "matmul": lambda x, y, n: y * (x @ y),
    "where": lambda x, y, n: np.where(x > y, x, n),
    "convert": lambda x, y, n: x.astype(np.float32) + y,
    "integers": lambda x, y, n: x + (np.floor(y).astype(int) + 1),
    "jit": lambda x, y, n: ft.jit(lambda a: a * y + n)(x),
    "forced": forced,
    "nested gradient": nested_gradient,
    "branch": branch,
    "scan": lambda x, y, n: ft.lax.scan(lambda c, s: (c * s + x, None), y, np.array([n, 0.5]))[0],
    "stopped": lambda x, y, n: ft.lax.stop_gradient(x) * y,
    "same again": lambda x, y, n: x,
    "scope": scoped,
}
STEPS = st.lists(st.tuples(st.sampled_from(sorted(OPERATIONS)), st.sampled_from([0.0, -0.0, 1.0, 2.0])), max_size=6)


def function_of(steps: list[tuple[str, float]]) -> Callable[[Any, Any], Any]:
    """A function that takes these steps: one code object for all of them, so that each is predicted by the last."""

    def function(x: Any, y: Any) -> Any:
        for name, number in steps:
            x, y = OPERATIONS[name](x, y, number), x
        return np.sum(x * y)

    return function


def record(function: Callable[..., Any], *args: Any) -> tuple[Any, list[bytes], Any]:
    """The program, the values of its inputs to the bit, and where its equations come from."""
    call = arguments.flatten_arguments(function, args, {})
    recorded = arguments.record(call, call.values, lambda out: ([out], None), differentiated=frozenset({0, 1}))
    values = [f"{x.dtype} {x.shape}".encode() + x.tobytes() for x in recorded.values]
    return recorded.jaxpr, values, [eqn.scopes for eqn in recorded.jaxpr.eqns]


@settings(max_examples=300)
@given(STEPS, STEPS, st.integers(0, 6))
def test_a_prediction_changes_nothing(steps, others, shared):
    others = steps[:shared] + others
    with no_predictions():
        expected = record(function_of(steps), X, Y)
        gradient = ft.grad(function_of(steps), (0, 1))(X, Y)
    for variant in (steps, others):  # the prediction may go wrong at any place, or be right
        record(function_of(variant), X, Y)
    assert record(function_of(steps), X, Y) == expected
    assert record(function_of(steps), X, Y) == expected
    short_way = ft.grad(function_of(steps), (0, 1))
    for _ in range(3):
        ft.grad(function_of(others), (0, 1))(X, Y)
        for transformed in (ft.grad(function_of(steps), (0, 1)), short_way):
            for got, wanted in zip(transformed(X, Y), gradient, strict=True):
                assert got.tobytes() == wanted.tobytes()


UNKNOWN_STEPS = STEPS.map(lambda steps: [step for step in steps if step[0] != "forced"])


@settings(max_examples=50)
@given(UNKNOWN_STEPS, UNKNOWN_STEPS)
def test_nor_where_inputs_are_unknown(steps, others):
    def program(steps):
        closed = ft.make_jaxpr(lambda x, y: function_of(steps)(x, y))(X, Y)
        return closed.jaxpr, [np.asarray(c).tobytes() for c in closed.consts]

    with no_predictions():
        expected = program(steps)
    for variant in (others, steps):
        program(variant)
    assert program(steps) == expected


# --------------------------------------------------------------------------------------------------------------------
# That it is followed, and when it is left


@contextmanager
def written() -> Iterator[list[str]]:
    """The names of the operations that recordings write down, in place of finding them predicted."""
    names: list[str] = []
    append = Recording.append

    def noting(self, operation, *rest):
        out = append(self, operation, *rest)
        if self.name == "function" and self.prediction is None:
            names.append(operation.primitive.name)
        return out

    with patch.object(Recording, "append", noting):
        yield names


ALL = [(name, 1.0) for name in sorted(OPERATIONS) if name != "scope"]


def test_all_kinds_of_operations_are_predicted():
    record(function_of(ALL), X, Y)
    with written() as names:
        record(function_of(ALL), X, Y)
    assert names == []


def test_another_function_of_the_same_code_is_predicted():
    for _ in range(2):  # a program is kept when it is seen again
        ft.grad(function_of([("add", 1.0), ("float", 1.0)]))(X, Y)
    with written() as names:
        ft.grad(function_of([("add", 1.0), ("float", 2.0)]))(X, Y)
    assert names == []


def test_after_the_first_difference_all_is_written():
    for _ in range(2):
        ft.grad(function_of([("add", 1.0), ("ufunc", 1.0), ("float", 1.0)]))(X, Y)
    with written() as names:
        ft.grad(function_of([("add", 1.0), ("power", 3.0), ("float", 1.0)]))(X, Y)
    assert names == ["integer_pow", "call", "mul", "reduce_sum"]


def test_what_was_recorded_before_the_last_is_known_too():
    kinds = [[("add", 1.0), (name, 1.0), ("float", 1.0)] for name in ("ufunc", "captured", "power", "slice")]
    for steps in kinds:
        for _ in range(2):
            ft.grad(function_of(steps))(X, Y)
    with no_predictions():
        expected = [ft.grad(function_of(steps))(X, Y).tobytes() for steps in kinds]
    with written() as names:
        assert [ft.grad(function_of(steps))(X, Y).tobytes() for steps in kinds] == expected
    assert names == []


def test_loops_of_changing_length():
    def function(x, n):
        for _ in range(n):
            x = np.tanh(x) * 1.5
        return x.sum()

    with no_predictions():
        expected = [ft.grad(function)(X, n).tobytes() for n in range(6)]
    for _ in range(3):
        assert [ft.grad(function)(X, n).tobytes() for n in range(6)] == expected


def test_the_end_may_come_early_or_late():
    short, long = [("add", 1.0)], [("add", 1.0), ("add", 1.0), ("ufunc", 1.0)]
    with no_predictions():
        expected = [record(function_of(steps), X, Y) for steps in (short, long, short, long)]
    assert [record(function_of(steps), X, Y) for steps in (short, long, short, long)] == expected


def test_an_error_names_the_line_that_is_running():
    def function(x, fails):
        y = np.sin(x) * 2.0
        if fails:
            y = y + np.ones(7)
        return y.sum()

    for _ in range(2):
        ft.grad(function)(X, False)
    with pytest.raises(ValueError, match="broadcast") as caught:
        ft.grad(function)(X, True)
    lines = [entry.lineno + 1 for entry in caught.traceback if str(entry.path) == __file__]
    assert lines[-1] == function.__code__.co_firstlineno + 3


def test_a_tracer_that_escaped_says_where_it_was_made():
    kept = []

    def function(x):
        y = np.sin(x)
        kept.append(y)
        return y.sum()

    for _ in range(4):
        ft.grad(function)(X)
    for tracer in kept:
        with pytest.raises(ft.errors.UnexpectedTracerError, match=rf"{__name__.rpartition('.')[2]}.py:\d+"):
            tracer + 1.0


def test_a_function_that_calls_its_own_gradient():
    def function(x, depth):
        return np.sum(x**2 * ft.grad(function)(x, depth - 1)) if depth else np.sum(x**3)

    with no_predictions():
        expected = ft.grad(function)(X, 3)
    for _ in range(3):
        assert ft.grad(function)(X, 3).tobytes() == expected.tobytes()


def test_values_asked_for_midway():
    seen = []

    def function(x):
        y = np.sin(x) * 2.0
        seen.append(y.tolist())
        while y.sum() > 1.0:
            y = y * 0.5
        seen.append(float(ft.concrete(y)[0]))
        return y.sum()

    results = [ft.grad(function)(x).tolist() for x in (X, X, X, 2 * X, X)]
    assert results[0] == results[1] == results[2] == results[4] != results[3]
    assert seen[:2] == seen[2:4] == seen[4:6] == seen[8:]


def test_values_are_looked_at_in_the_middle_of_a_prediction():
    def function(x):
        return np.sum(x / x)

    for _ in range(2):
        ft.grad(function)(X)
    with ft.debug_nans(True), pytest.raises(ft.errors.NonFiniteError):
        ft.grad(function)(np.zeros(3))

    def turning(x):
        y = x / x
        with ft.debug_nans(True):
            return np.sum(y)

    for _ in range(4):
        with np.errstate(all="ignore"):
            assert np.isnan(ft.grad(turning)(np.zeros(3))).all()


def test_after_an_error_it_goes_on():
    def function(x, fails):
        y = np.sin(x)
        if fails:
            raise KeyError("now")
        return y.sum()

    for _ in range(2):
        expected = ft.grad(function)(X, False)
    with pytest.raises(KeyError):
        ft.grad(function)(X, True)
    assert ft.grad(function)(X, False).tobytes() == expected.tobytes()


def test_programs_let_go_predict_nothing():
    function = function_of([("add", 1.0), ("ufunc", 1.0)])
    for _ in range(2):
        expected = ft.grad(function)(X, Y)
    ft.clear_caches()
    with written() as names:
        assert ft.grad(function)(X, Y).tobytes() == expected.tobytes()
    assert len(names) == 4


def test_scopes_are_those_of_this_call():
    def function(x, name):
        with ft.named_scope(name):
            y = np.sin(x)
        return np.sum(y * len(name))

    for name in ("a", "longer", "a", "a"):
        (eqn, *_) = ft.make_jaxpr(function, static_argnums=1)(X, name).eqns
        assert eqn.scopes == (name,)
