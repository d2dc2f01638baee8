"""functrans.debug: print, callback and breakpoint."""

import io
import sys
import threading
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans.core.jaxpr import cached_equations


def printed(capsys: pytest.CaptureFixture[str], function: Any, *args: Any) -> str:
    capsys.readouterr()
    function(*args)
    return str(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("fmt", "args", "kwargs", "expected"),
    [
        ("plain", (), {}, "plain"),
        ("{} {}", (1.5, "text"), {}, "1.5 text"),
        ("{1} {0}", (1, 2), {}, "2 1"),
        ("{x:.3f}|{x:>8.1e}", (), {"x": np.float64(1.23456)}, "1.235| 1.2e+00"),
        ("{x:{width}}", (), {"x": 2, "width": 4}, "   2"),
        ("{{{x}}}", (), {"x": 2}, "{2}"),
        ("{p}", (), {"p": {"a": np.arange(2), "b": (None, "s")}}, "{'a': array([0, 1]), 'b': (None, 's')}"),
        ("{p[a][1]} {x.shape}", (), {"p": {"a": np.arange(2)}, "x": np.ones(3)}, "1 (3,)"),
        ("{!r}", (np.arange(2.0),), {}, "array([0., 1.])"),
        ("{}", (["a", object],), {}, "['a', <class 'object'>]"),
    ],
)
def test_formats(capsys: pytest.CaptureFixture[str], fmt: str, args: Any, kwargs: Any, expected: str) -> None:
    def f(args: Any, kwargs: Any) -> Any:
        ft.debug.print(fmt, *args, **kwargs)

    assert printed(capsys, f, args, kwargs) == f"{expected}\n"
    if ":" not in fmt or "width" not in kwargs:
        assert printed(capsys, ft.jit(f), args, kwargs) == f"{expected}\n"


@pytest.mark.parametrize(
    ("fmt", "args", "kwargs", "error", "message"),
    [
        ("{} {}", (1,), {}, IndexError, "the format asks for argument 1, and 1 were given"),
        ("{x}", (), {"y": 1}, KeyError, "the format asks for 'x', and the keyword arguments are: y"),
        ("{}", (1, 2), {}, ValueError, "the format does not use argument 1"),
        ("{a}", (), {"a": 1, "b": 2, "c": 3}, ValueError, "the format does not use b, c"),
        ("{", (), {}, ValueError, "Single '{'"),
        (3.0, (), {}, TypeError, "needs a format first, such as '{}', got 3.0 of type float"),
    ],
)
def test_formats_that_do_not_fit(fmt: Any, args: Any, kwargs: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        ft.jit(lambda x: ft.debug.print(fmt, *args, **kwargs))(1.0)


def test_an_f_string_is_told_apart() -> None:
    with pytest.raises(ValueError, match="an f-string is filled in while the program is recorded"):
        ft.jit(lambda x: ft.debug.print(f"x = {x}"))(1.0)


def test_a_format_that_fails_at_run_time() -> None:
    with pytest.raises(TypeError, match="unsupported format string"):
        ft.debug.print("{:.3f}", np.ones(3))


def test_formatting_does_not_ask_tracers_for_their_values(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, ft.jit(lambda x: ft.debug.print("{x!r:>20} {x:.2f}", x=x)), 1.5) == (
        "          array(1.5) 1.50\n"
    )


def test_a_loop_with_changing_variables(capsys: pytest.CaptureFixture[str]) -> None:
    counts = []
    for step in range(20):
        label = f"step {step}"

        def loss(x: Any) -> Any:
            ft.debug.print("{}: {x} {n}", label, x=x, n=step)  # noqa: B023
            return x * x

        out = printed(capsys, ft.grad(loss), float(step))
        assert out == f"step {step}: {float(step)} {step}\n"
        counts.append(cached_equations())
    assert counts[1] == counts[-1]


def test_the_stream_is_that_of_run_time(monkeypatch: pytest.MonkeyPatch) -> None:
    f = ft.jit(lambda x: ft.debug.print("x = {}", x))
    f(1.0)
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    f(2.0)
    assert stream.getvalue() == "x = 2.0\n"


def test_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has its own recordings, and lines do not mix."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)

    def loss(x: Any) -> Any:
        ft.debug.print("first {x}", x=x)
        ft.debug.print("then {x}", x=x)
        return x * x

    def work(number: int) -> None:
        for _ in range(30):
            assert ft.grad(loss)(float(number)) == 2.0 * number

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = stream.getvalue().splitlines()
    for number in range(4):
        own = [line for line in lines if line.endswith(f" {number}.0")]
        assert own == [f"first {number}.0", f"then {number}.0"] * 30
    assert len(lines) == 4 * 60


# --------------------------------------------------------------------------------------------------------------------
# callback


def test_callback_gets_arrays_of_its_own_and_everything_else_as_it_is() -> None:
    got: list[Any] = []
    marker = object()
    f = ft.jit(lambda x: ft.debug.callback(lambda *a, **k: got.append((a, k)), x, marker, 3, None, [x, "s"], key=x))
    x = np.arange(2.0)
    f(x)
    (a, k) = got[0]
    assert a[1:4] == (marker, 3, None)
    assert a[4][1] == "s"
    for array in (a[0], a[4][0], k["key"]):
        np.testing.assert_array_equal(array, [0.0, 1.0], strict=True)
        array += 1.0
        assert array.flags.owndata
    np.testing.assert_array_equal(x, [0.0, 1.0])


def test_callback_needs_a_function() -> None:
    with pytest.raises(TypeError, match=r"debug.callback needs a function, got 'text' of type str"):
        ft.debug.callback("text")  # type: ignore[arg-type]


def test_callback_closing_over_a_tracer() -> None:
    with pytest.raises(ft.errors.UnexpectedTracerError, match=r"debug.callback at .*test_debug.py.* closes over x"):
        ft.grad(lambda x: (ft.debug.callback(lambda: print(x)), x)[1])(1.0)


def test_arrays_are_those_of_the_moment() -> None:
    seen: list[Any] = []

    def f(x: Any) -> Any:
        small = np.zeros(2)
        ft.debug.callback(seen.append, small)
        small[:] = 5.0
        ft.debug.callback(seen.append, small)
        return x

    ft.grad(f)(1.0)
    assert [list(x) for x in seen] == [[0.0, 0.0], [5.0, 5.0]]


def test_programs_show_callbacks() -> None:
    closed = ft.make_jaxpr(ft.vmap(lambda x: ft.debug.print("{}", x)))(np.ones(2))
    assert str(closed) == (
        "{ lambda a:opaque[] ; b:f64[2]. let\n"
        "    debug_callback[members=((2, (None, 0)),) ordered=False] a b\n"
        "  in () }"
    )
    assert "Callback" in repr(closed.consts)


# --------------------------------------------------------------------------------------------------------------------
# breakpoint


@pytest.mark.parametrize("transform", [lambda f: f, ft.jit, ft.grad])
def test_breakpoint(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], transform: Any) -> None:
    def f(x: Any) -> Any:
        y = {"twice": 2.0 * x}
        text = "a text"
        ft.debug.breakpoint()
        return y["twice"] * len(text)

    monkeypatch.setattr(sys, "stdin", io.StringIO("p x, y['twice'], text\nl\nc\n"))
    capsys.readouterr()
    f = transform(f)
    f(1.5)
    out = capsys.readouterr().out
    assert "(array(1.5), array(3.), 'a text')" in out or "(1.5, 3.0, 'a text')" in out or "np.float64(3.0)" in out
    assert "ft.debug.breakpoint()" in out, "the lines around"


def test_breakpoint_among_unusual_variables(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept: list[Any] = []
    ft.grad(lambda x: kept.append(x) or x)(1.0)

    def f(x: Any) -> Any:
        escaped, unsortable, itself = kept[0], {1: x, "a": 2}, np
        ft.debug.breakpoint()
        return x, escaped is None, unsortable is None, itself is None

    monkeypatch.setattr(sys, "stdin", io.StringIO("p x\nc\n"))
    ft.jit(f)(1.5)
    assert "array(1.5)" in capsys.readouterr().out
