"""Ahead of time: trace, lower, compile."""

import numpy as np
import pytest

import functrans as ft
from functrans.core.jaxpr import ClosedJaxpr

W = np.arange(6.0).reshape(2, 3)


@ft.jit
def f(params, x):
    return {"y": params["W"] @ x, "n": np.sum(x)}


PARAMS = {"W": W}
X = np.ones((3, 4))


def test_the_stages():
    traced = f.trace(PARAMS, X)
    assert isinstance(traced.jaxpr, ClosedJaxpr)
    assert traced.fun_name == "f"
    lowered = traced.lower()
    assert "dot_general" in lowered.as_text()
    compiled = lowered.compile()
    assert "dot_general" in compiled.as_text()
    out = compiled(PARAMS, X)
    np.testing.assert_array_equal(out["y"], W @ X)
    assert out["n"] == 12.0
    assert repr(compiled) == "<Compiled f(float64[2,3], float64[3,4])>"
    assert [type(x).__name__ for x in (traced, lowered)] == ["Traced", "Lowered"]


def test_shapes_are_enough():
    lowered = f.lower({"W": ft.ShapeDtypeStruct((2, 3), float)}, ft.ShapeDtypeStruct((3, 4), float))
    assert lowered.out_info == {"y": ft.ShapeDtypeStruct((2, 4), float), "n": ft.ShapeDtypeStruct((), float)}
    np.testing.assert_array_equal(lowered.compile()(PARAMS, X)["y"], W @ X)
    assert f.eval_shape(PARAMS, X)["y"].shape == (2, 4)


def test_nothing_is_kept():
    g = ft.jit(lambda x: x + 1)
    g.lower(1.0).compile()(1.0)
    assert g.n_programs == 0


def test_cost_and_memory():
    compiled = f.lower(PARAMS, X).compile()
    assert compiled.cost_analysis() == f.lower(PARAMS, X).cost_analysis()
    assert compiled.cost_analysis()["flops"] == 2 * 2 * 3 * 4 + 12
    stats = compiled.memory_analysis()
    assert stats.argument_size_in_bytes == 18 * 8
    assert stats.output_size_in_bytes == 9 * 8
    assert stats.temp_size_in_bytes == 0
    assert stats.peak_memory_in_bytes == 27 * 8


def test_the_structure_of_arguments_and_results():
    traced = f.trace(PARAMS, X)
    assert traced.in_tree == ft.tree.structure(((PARAMS, X), {}))
    assert traced.out_tree == ft.tree.structure({"y": 0, "n": 0})
    assert [aval.shape for aval in traced.in_avals] == [(2, 3), (3, 4)]


def test_static_arguments_are_left_out():
    power = ft.jit(lambda x, n, *, scale: x**n * scale, static_argnums=1, static_argnames="scale")
    compiled = power.lower(2.0, 3, scale=10).compile()
    assert compiled(3.0) == 270.0
    with pytest.raises(TypeError, match="compiled for other arguments: args"):
        compiled(3.0, 3)


def test_captured_arrays_stay():
    scale = np.array([2.0, 3.0])
    compiled = ft.jit(lambda x: x * scale).lower(np.ones(2)).compile()
    scale[:] = 0
    assert compiled(np.ones(2)).tolist() == [2.0, 3.0]


def test_donated_arguments():
    g = ft.jit(lambda x: x + 1.0, donate_argnums=0)
    compiled = g.lower(np.ones(1000)).compile()
    assert compiled(np.ones(1000)).sum() == 2000.0


def test_a_python_number_and_an_array_of_its_dtype():
    compiled = ft.jit(lambda x: x * 2).lower(1.0).compile()
    assert compiled(np.float64(4.0)) == 8.0
    assert compiled(4.0) == 8.0


@pytest.mark.parametrize(
    ("params", "x", "message"),
    [
        (PARAMS, np.ones((3, 5)), r"x: float64\[3,4\] -> float64\[3,5\]"),
        (PARAMS, X.astype("f4"), r"x: float64\[3,4\] -> float32\[3,4\]"),
        ({**PARAMS, "b": 1.0}, X, r"params\['b'\]: nothing -> a Python float"),
        ({"W": "none"}, X, r"params\['W'\]: float64\[2,3\] -> 'none'"),
    ],
)
def test_other_arguments(params, x, message):
    with pytest.raises(TypeError, match=f"f was compiled for other arguments: {message}"):
        f.lower(PARAMS, X).compile()(params, x)


def test_compiled_functions_are_not_transformed():
    compiled = ft.jit(lambda x: x * 2).lower(1.0).compile()
    for transform in (ft.grad, ft.jit, ft.vmap):
        with pytest.raises(TypeError, match="cannot be transformed any more"):
            transform(compiled)(np.ones(2) if transform is ft.vmap else 1.0)


def test_values_of_an_enclosing_transformation():
    def outer(w):
        return ft.jit(lambda x: x * w).lower(1.0).compile()(1.0)

    with pytest.raises(TypeError, match="being differentiated or batched outside of it"):
        ft.grad(outer)(2.0)


def test_transformed_functions():
    compiled = ft.jit(ft.value_and_grad(lambda x: np.sum(x**2))).lower(np.ones(3)).compile()
    value, gradient = compiled(np.arange(3.0))
    assert value == 5.0
    assert gradient.tolist() == [0.0, 2.0, 4.0]


def test_effects_happen_when_it_runs(capsys):
    def g(x):
        ft.debug.print("x is {}", x)
        return x

    compiled = ft.jit(g).lower(1.0).compile()
    assert capsys.readouterr().out == ""
    compiled(3.0)
    assert capsys.readouterr().out == "x is 3.0\n"


def test_errors_while_recording():
    with pytest.raises(ft.errors.TracerBoolConversionError):
        ft.jit(lambda x: 1.0 if x > 0 else 2.0).lower(1.0)
