"""explain: what a call runs, why it is recorded, and what it costs."""

import functools

import numpy as np
import pytest

import functrans as ft

PARAMS = {"W": [np.ones((4, 3)), np.ones((3, 2))], "b": np.ones(2)}
X = np.ones((5, 4))


def loss(params, x):
    h = np.tanh(x @ params["W"][0])
    return np.sum((h @ params["W"][1]) ** 2)


# ---- whether and why a call is recorded


def changes(f, *args, **kwargs):
    recorded = ft.explain(f, *args, **kwargs).recorded
    assert recorded.anew
    return [str(change) for change in recorded.changes]


def test_a_function_that_was_never_called():
    recorded = ft.explain(ft.jit(loss), PARAMS, X).recorded
    assert recorded.anew
    assert recorded.reason == "no program is kept for it yet"
    assert recorded.kept == 0


def test_a_call_with_a_program():
    f = ft.jit(loss)
    f(PARAMS, X)
    recorded = ft.explain(f, PARAMS, X).recorded
    assert (recorded.anew, recorded.kept, recorded.changes) == (False, 1, ())


def test_explaining_keeps_no_program():
    f = ft.jit(loss)
    for _ in range(2):
        assert ft.explain(f, PARAMS, X).recorded.anew
    assert f.n_programs == 0


@pytest.mark.parametrize(
    ("params", "x", "expected"),
    [
        ({**PARAMS, "W": [np.ones((4, 3)), np.ones((3, 7))]}, X, ["params['W'][1]: float64[3,2] -> float64[3,7]"]),
        (PARAMS, X.astype("f4"), ["x: float64[5,4] -> float32[5,4]"]),
        ({**PARAMS, "b": 1.0}, X, ["params['b']: float64[2] -> a Python float"]),
        ({"W": PARAMS["W"]}, X, ["params['b']: float64[2] -> nothing"]),
        ({**PARAMS, "c": 1}, X, ["params['c']: nothing -> a Python int"]),
        ({**PARAMS, "b": "none"}, X, ["params['b']: float64[2] -> 'none'"]),
        (
            {**PARAMS, "W": tuple(PARAMS["W"])},
            X,
            ["params: PyTreeDef({'W': [*, *], 'b': *}) -> PyTreeDef({'W': (*, *), 'b': *})"],
        ),
    ],
)
def test_what_changed_is_named_by_its_path(params, x, expected):
    f = ft.jit(loss)
    f(PARAMS, X)
    assert changes(f, params, x) == expected


def test_weak_types_are_told_from_arrays():
    f = ft.jit(lambda x: x * 2)
    f(1.0)
    (change,) = changes(f, np.float64(1.0))
    assert change == "x: a Python float -> float64[] (a Python number and an array are promoted differently)"


def test_static_values_by_name_and_position():
    f = ft.jit(lambda x, n, mode: x * n, static_argnums=1, static_argnames="mode")
    f(1.0, 2, mode="a")
    assert changes(f, 1.0, 3, mode="a") == ["n: 2 -> 3 (static)"]
    assert changes(f, 1.0, 2, mode="b") == ["mode: 'a' -> 'b' (static)"]
    assert changes(f, 1.0, 2.0, mode="a") == ["n: 2 -> 2.0 (static)"]


def test_static_leaves_and_functions():
    f = ft.jit(lambda act, x: act(x))
    f(np.sin, 1.0)
    assert changes(f, np.cos, 1.0) == ["act: function sin -> function cos (static)"]
    f(lambda x: x, 1.0)
    (change,) = changes(f, lambda x: x, 1.0)
    assert change.endswith("<lambda> (static)")
    assert "-> another function" in change


def test_settings_and_axes():
    f = ft.jit(lambda x: x * 2)
    f(1.0)
    ft.config.nan_safe_gradients = False
    try:
        assert changes(f, 1.0) == ["config.nan_safe_gradients: True -> False"]
    finally:
        ft.config.nan_safe_gradients = True


def test_the_nearest_program_is_compared():
    f = ft.jit(loss)
    f(PARAMS, X)
    f({**PARAMS, "b": np.ones(9)}, X[:2])
    report = ft.explain(f, {**PARAMS, "b": np.ones(9)}, X[:3])
    assert [str(c) for c in report.recorded.changes] == ["x: float64[2,4] -> float64[3,4]"]
    assert report.recorded.reason == "it differs from the nearest of the 2 programs that are kept"


def test_functions_that_are_not_jitted():
    gradient = ft.grad(lambda p, x: loss(p, x) * 1.75)
    assert "programs of this call were new" in ft.explain(gradient, PARAMS, X).recorded.reason
    assert "all programs of this call were kept" in ft.explain(gradient, PARAMS, X).recorded.reason
    assert "plain Python" in ft.explain(loss, PARAMS, X).recorded.reason
    f = ft.jit(loss)
    f(PARAMS, X)
    with ft.disable_jit():
        assert "jit is disabled" in ft.explain(f, PARAMS, X).recorded.reason


def test_jitted_functions_inside_that_are_recorded():
    inner = ft.jit(lambda x: x * 2)
    inner(np.ones(2))

    def f(x):
        return ft.grad(lambda y: np.sum(inner(y) * ft.jit(lambda z: z + 1)(y)))(x)

    report = ft.explain(f, np.ones(3))
    assert [(name, [str(c) for c in recorded.changes]) for name, recorded in report.inside] == [
        ("<lambda>", ["x: float64[2] -> float64[3]"]),
        ("<lambda>", []),
    ]
    assert "<lambda>, which it calls, was recorded: it differs from the program that is kept" in str(report)
    assert len(ft.explain(f, np.ones(3)).inside) == 1  # the one that is made anew


def test_a_captured_value_of_an_enclosing_transformation():
    def outer(w):
        inner = ft.jit(lambda x: x * w)
        ft.explain(inner, np.ones(2))

    with pytest.raises(TypeError, match="<lambda> reads a value that is being traced"):
        ft.grad(outer)(2.0)


# ---- the program


def test_sizes_after_each_pass():
    report = ft.explain(lambda x: np.exp(x) + np.exp(x) * np.sin(x[0] * 3).ndim, np.ones((3, 1)))
    names = [name for name, _ in report.stages]
    assert names[0] == "recorded"
    assert report.stages[-1][1] == len(report.program) == len(report.equations)
    assert report.stages[0][1] > report.stages[-1][1]


def test_operations_in_loops_count():
    report = ft.explain(lambda x: ft.lax.fori_loop(0, x.shape[0], lambda i, c: np.sin(c) * 2, x), np.ones(3))
    assert report.stages[-1][1] > len(report.equations)


def test_equations_have_the_users_lines():
    report = ft.explain(ft.grad(loss), PARAMS, X)
    hottest = report.hottest
    assert sum(eqn.share for eqn in hottest) == pytest.approx(1.0)
    assert hottest[0].share == max(eqn.share for eqn in report.equations)
    assert {eqn.line.filename for eqn in report.equations} == {__file__}
    assert {eqn.line.text for eqn in report.equations} == {
        'h = np.tanh(x @ params["W"][0])',
        'return np.sum((h @ params["W"][1]) ** 2)',
    }
    assert {eqn.part for eqn in report.equations} >= {"", "backward pass"}
    assert [line.line.function for line in report.lines] == ["loss", "loss"]
    assert sum(line.equations for line in report.lines) == len(report.equations)
    assert sum(line.cost.flops for line in report.lines) == report.cost.flops


def test_plain_python_may_branch_on_values():
    def f(x, n):
        if x[0] > 0:
            for _ in range(n):
                x = np.sin(x)
        return {"y": x, "name": "sines", "n": n}

    report = ft.explain(f, np.ones(3), 4)
    assert [eqn.equation.primitive.name for eqn in report.equations] == ["sin"] * 4
    assert not report.only_read


def test_ints_of_plain_python_are_ints():
    def f(x, n, mode, flags):
        return {3: x * 2, 4: x}[n] + (n in {3, 5}) + isinstance(n, int) + isinstance(flags["fast"], bool) + len(mode)

    report = ft.explain(f, np.ones(2), 3, "sum", {"fast": True})
    assert report.equations[0].text == "mul f64[2] 2.0 -> f64[2]"
    with ft.disable_jit():
        jitted = ft.jit(f, static_argnums=(1, 2, 3))
        assert len(ft.explain(jitted, np.ones(2), 3, "sum", {"fast": True}).equations) == len(report.equations)


@pytest.mark.parametrize(
    "f",
    [
        ft.vmap(np.sin),
        ft.jacrev(np.sin),
        ft.jacfwd(np.cos),
        lambda x: ft.jvp(np.sin, (x,), (x,)),
        lambda x: ft.vjp(np.sin, x)[1](x),
        lambda x: ft.hessian(lambda y: np.sum(y**3))(x),
        lambda x: ft.grad(lambda y: np.sum(ft.jit(np.exp)(y)))(x),
        lambda x: ft.lax.scan(lambda c, r: (c + r, np.sin(c)), 0.0, x),
        ft.checkpoint(np.tanh),
        functools.partial(np.add, 2.0),
    ],
)
def test_any_function(f):
    report = ft.explain(f, np.ones(3))
    assert report.equations
    assert report.times.whole > 0
    assert "flops" in str(report)


def test_methods():
    class Model:
        def __init__(self):
            self.scale = 3.0

        @functools.partial(ft.jit, static_argnums=0)
        def forward(self, x):
            return x * self.scale

        def plain(self, x):
            return x * self.scale

    model = Model()
    model.forward(np.ones(2))
    assert not ft.explain(model.forward, np.ones(2)).recorded.anew
    assert ft.explain(model.plain, np.ones(2)).equations[-1].text == "mul f64[2] f64[2] -> f64[2]"


def test_keyword_arguments():
    report = ft.explain(ft.jit(lambda *, x, y: x + 1), x=np.ones(2), y={"a": 1.0})
    assert report.unused == ("y['a']",)


# ---- what has no influence


def test_arguments_without_influence():
    report = ft.explain(ft.grad(loss), {**PARAMS, "c": np.ones(3)}, X)
    assert report.unused == ("params['b']", "params['c']")
    assert report.zero_gradients == ("params['b']", "params['c']")
    assert "does not depend on params['b'], params['c']" in str(report)


@pytest.mark.parametrize("wrap", [lambda f: f, ft.jit])
def test_gradients_that_are_zero(wrap):
    def f(a, b, c):
        return np.sum(a * 2.0), np.floor(c)

    options = [
        (ft.grad(lambda *args: f(*args)[0], argnums=(0, 1, 2)), ("args[1]['x']", "args[2]")),
        (ft.grad(f, argnums=2, has_aux=True), ("c",)),
        (ft.value_and_grad(f, argnums=(1, 0), has_aux=True), ("b['x']",)),
        (ft.value_and_grad(f, argnums=-1, has_aux=True), ("c",)),
    ]
    for function, expected in options:
        assert ft.explain(wrap(function), np.ones(2), {"x": np.ones(2)}, 1.5).zero_gradients == expected


def test_a_gradient_that_is_constant_is_not_zero():
    report = ft.explain(ft.grad(lambda x: np.sum(x * 2.0)), np.ones(3))
    assert report.unused == ("x",)
    assert report.zero_gradients == ()


def test_what_only_python_reads():
    def f(x, flag):
        return np.sum(np.sin(x) if flag else np.cos(x))

    report = ft.explain(ft.grad(f), np.ones(2), True)
    assert (report.unused, report.only_read) == ((), ("flag",))
    assert "Python alone has read flag" in str(report)


def test_outputs_without_influence():
    report = ft.explain(ft.jit(lambda x: {"y": x * 2, "zero": np.zeros(3), "one": 1.0}), 1.0)
    assert report.constant_outputs == ("output['one']", "output['zero']")


# ---- running


def test_effects_happen_once(capsys):
    def f(x):
        ft.debug.print("x is {}", x)
        return np.sin(x)

    report = ft.explain(ft.jit(f), 2.0)
    assert capsys.readouterr().out == "x is 2.0\n"
    assert report.times.whole is None
    assert "equation by equation" in str(report)
    ft.explain(f, 2.0)
    assert capsys.readouterr().out == "x is 2.0\n"


def test_shapes_alone_run_nothing():
    called = []
    f = ft.jit(lambda x: ft.pure_callback(lambda y: called.append(1) or y, x, x) + 1)
    report = ft.explain(f, ft.ShapeDtypeStruct((1000,), float))
    assert report.times is None
    assert not called
    assert report.memory.inputs == 8000
    assert "not run" in str(report)
    assert sum(eqn.share for eqn in report.equations) == pytest.approx(1.0)
    assert ft.explain(np.sin, ft.ShapeDtypeStruct((10,), "f4")).cost.flops == 100


def test_arguments_stay_as_they_are():
    x = np.ones(3)
    f = ft.jit(lambda x: x + 1, donate_argnums=0)
    for function in (f, ft.grad(lambda x: np.sum(x**2))):
        ft.explain(function, x)
        assert x.tolist() == [1.0, 1.0, 1.0]
        assert x.flags.writeable


def test_the_report():
    text = str(ft.explain(ft.grad(loss), PARAMS, X))
    assert text == text.strip()
    lines = text.splitlines()
    assert lines[0].startswith("loss: ")
    assert any(line.startswith("recorded anew: it is not jitted") for line in lines)
    assert any(line.startswith("operations: ") for line in lines)
    assert any(line.startswith("memory: inputs 320 B, outputs 160 B; at most ") for line in lines)
    assert any('h = np.tanh(x @ params["W"][0])' in line and "test_explain.py:" in line for line in lines)
    assert any("(backward pass)" in line for line in lines)


def test_long_programs_are_cut():
    def f(x):
        for _ in range(60):
            x = np.sin(x) + x
        return x

    assert "and 105 equations more" in str(ft.explain(f, np.ones(3)))


def test_loops_of_unknown_length_say_so():
    text = str(ft.explain(lambda x, n: ft.lax.fori_loop(0, n, lambda i, x: np.sin(x), x), np.ones(3), 4))
    assert "one iteration of each loop of unknown length counted" in text


def test_costs_that_are_unknown_say_so():
    assert "without the flops of pure_callback" in str(ft.explain(lambda x: ft.pure_callback(np.sin, x, x), np.ones(3)))


def test_code_without_a_file():
    namespace = {"np": np}
    exec("def f(x):\n    return np.sin(x)", namespace)
    report = ft.explain(namespace["f"], np.ones(3))
    assert report.equations[0].line.text == ""
    assert "<string>:2" in str(report)


def test_numbers_that_are_not_finite_give_no_warnings():
    assert ft.explain(lambda x: np.log(x) + np.exp(1e6 * -x), -1.0).times.rounds >= 3


def test_integer_arguments_of_a_gradient():
    gradient = ft.grad(lambda x, n: np.sum(x * n), argnums=(0, 1), allow_int=True)
    assert ft.explain(gradient, np.ones(2), 3).unused == ("x",)


# ---- wrong uses


def test_what_is_no_function():
    with pytest.raises(TypeError, match="explain needs a function and its arguments, got 3"):
        ft.explain(3, 4)


def test_no_array_in_the_result():
    with pytest.raises(TypeError, match="f returned no array or number"):
        ft.explain(ft.custom_gradient and f, 1.0)


def f(x):
    return "nothing"


def test_arguments_that_are_traced():
    with pytest.raises(TypeError, match="argument x of f is being traced"):
        ft.grad(lambda x: ft.explain(f, x))(1.0)
    with pytest.raises(TypeError, match="argument x of <lambda> is being traced"):
        ft.jit(lambda y: ft.explain(ft.jit(lambda x: x), y))(1.0)


def test_errors_of_the_function_are_its_own():
    with pytest.raises(ft.errors.TracerBoolConversionError, match="argument x"):
        ft.explain(ft.jit(lambda x: 1.0 if x > 0 else 2.0), 1.0)
    with pytest.raises(ZeroDivisionError):
        ft.explain(lambda x: 1 / 0, 1.0)
    with pytest.raises(TypeError, match="scalar"):
        ft.explain(ft.grad(np.sin), np.ones(2))
