"""grad and value_and_grad: arguments of every kind, control flow, nesting."""

import gc
import weakref
from collections import OrderedDict, namedtuple
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import functrans as ft

Layer = namedtuple("Layer", "w b")


def numerical(f, x, eps=1e-6):
    x = np.asarray(x, float)
    slopes = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[i] = eps
        slopes[i] = (f(x + step) - f(x - step)) / (2 * eps)
    return slopes


@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 4))
def test_gradient_of_an_mlp(seed, n, m):
    rng = np.random.default_rng(seed)
    x, w, b, y = rng.normal(size=(3, n)), rng.normal(size=(n, m)), rng.normal(size=m), rng.normal(size=(3, m))

    def loss(params):
        return np.mean((np.tanh(x @ params["w"] + params["b"]) - y) ** 2)

    grads = ft.grad(loss)({"w": w, "b": b})
    h = np.tanh(x @ w + b)
    delta = 2 * (h - y) * (1 - h**2) / y.size
    np.testing.assert_allclose(grads["w"], x.T @ delta, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(grads["b"], delta.sum(0), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(grads["w"], numerical(lambda v: loss({"w": v, "b": b}), w), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_gradient_has_the_dtype_and_shape_of_its_parameter(dtype):
    for x in (np.ones((2, 3), dtype), np.ones((0, 3), dtype), np.array(1, dtype), np.dtype(dtype).type(1)):
        out = ft.grad(lambda x: np.sum(x * np.float64(2.0)))(x)
        assert (out.dtype, out.shape) == (x.dtype, x.shape)


def test_trees_of_every_kind():
    params = OrderedDict(
        z=Layer(np.array([1.0, 2.0]), 3.0),
        a=[None, (np.float32(2.0),)],
        d={"k": np.array([[4.0]])},
        name="relu",
    )

    def loss(p):
        assert p["name"] == "relu"
        return np.sum(p["z"].w ** 2) * p["z"].b + p["a"][1][0] * p["d"]["k"][0, 0]

    grads = ft.grad(loss)(params)
    assert type(grads) is OrderedDict
    assert list(grads) == ["z", "a", "d", "name"]
    np.testing.assert_array_equal(grads["z"].w, [6.0, 12.0])
    assert grads["z"].b == 5.0
    assert grads["a"] == [None, (4.0,)]
    assert grads["a"][1][0].dtype == np.float32
    np.testing.assert_array_equal(grads["d"]["k"], [[2.0]])
    assert grads["name"] is None


def test_registered_dataclass():
    @ft.tree_util.register_dataclass
    @dataclass
    class Params:
        w: np.ndarray
        b: float

    grads = ft.grad(lambda p: np.sum(p.w) * p.b)(Params(np.ones(2), 3.0))
    assert isinstance(grads, Params)
    np.testing.assert_array_equal(grads.w, [3.0, 3.0])
    assert grads.b == 2.0


def test_argnums():
    def f(x, y, *, scale):
        return scale * x * y**2

    assert ft.grad(f)(2.0, 3.0, scale=10.0) == 90.0
    assert ft.grad(f, argnums=1)(2.0, 3.0, scale=10.0) == 120.0
    assert ft.grad(f, argnums=-1)(2.0, 3.0, scale=10.0) == 120.0
    assert ft.grad(f, argnums=(1, 0))(2.0, 3.0, scale=10.0) == (120.0, 90.0)
    assert ft.grad(f, argnums=(0, 0))(2.0, 3.0, scale=10.0) == (90.0, 90.0)
    assert ft.grad(f, argnums=())(2.0, 3.0, scale=10.0) == ()


def test_value_and_aux():
    def f(x):
        y = x * x
        return y, {"half": y / 2, "name": "aux", "n": [1, None]}

    (value, aux), grad = ft.value_and_grad(f, has_aux=True)(3.0)
    assert (value, grad) == (9.0, 6.0)
    assert aux == {"half": 4.5, "name": "aux", "n": [1, None]}
    assert ft.grad(f, has_aux=True)(3.0) == (6.0, {"half": 4.5, "name": "aux", "n": [1, None]})


def test_integers_pass_through():
    assert ft.grad(lambda x, n: x**n)(2.0, 3) == 12.0
    grads = ft.grad(lambda p: p["x"] * p["n"], allow_int=True)({"x": 2.0, "n": np.arange(1)[0]})
    assert grads["x"] == 0.0
    assert grads["n"].dtype == ft.dtypes.float0


def test_holomorphic():
    assert ft.grad(lambda z: z**3, holomorphic=True)(1 + 2j) == 3 * (1 + 2j) ** 2
    # JAX's convention for a real function: the conjugate of the direction of steepest ascent.
    assert ft.grad(lambda z: np.real(z * np.conj(z)))(1 + 2j) == 2 - 4j


def test_constant_function():
    np.testing.assert_array_equal(ft.grad(lambda x: 3.0)(np.ones(2)), [0.0, 0.0])


def test_identity():
    assert ft.grad(lambda x: x)(2.0) == 1.0
    x = np.array(2.0)
    value, _ = ft.value_and_grad(lambda x: x)(x)
    assert not np.shares_memory(value, x)


def test_branches_and_loops_on_values():
    def f(x):
        if x.sum() > 0:
            y = x**2
        else:
            y = -x
        err = y.sum()
        while err > 1.0:
            y = y / 2
            err = err / 2
        return y.sum()

    np.testing.assert_allclose(ft.grad(f)(np.array([1.0, 2.0])), 2 * np.array([1.0, 2.0]) / 8)
    np.testing.assert_allclose(ft.grad(f)(np.array([-1.0, -2.0])), [-0.25, -0.25])


def test_an_integer_repeats_a_list():
    assert ft.grad(lambda x, n: x * len([0] * n) + x * len(n * (1, 2)))(2.0, 3) == 9.0


def test_recursion():
    def power(x, n):
        return 1.0 if n == 0 else x * power(x, n - 1)

    assert ft.grad(power)(2.0, 5) == 80.0


def test_newton_iteration():
    def root(a):
        x = a
        while abs(x * x - a) > 1e-12:
            x = (x + a / x) / 2
        return x

    assert ft.grad(root)(2.0) == pytest.approx(0.5 / np.sqrt(2.0), rel=1e-9)


def test_values_can_be_printed(capsys):
    def f(x):
        print(x, f"{x[0] * 2:.2f}", repr(x))
        return np.sum(x)

    ft.grad(f)(np.array([1.0, 2.0]))
    assert capsys.readouterr().out == "[1. 2.] 2.00 Tracer<float64[2]>([1. 2.])\n"


def test_values_do_not_carry_derivatives():
    assert ft.grad(lambda x: x * x.item())(3.0) == 3.0
    assert ft.grad(lambda x: x * ft.concrete(x))(3.0) == 3.0
    assert ft.grad(lambda x: x * float(ft.lax.stop_gradient(x)))(3.0) == 3.0


def test_orders():
    f = lambda x: np.sin(x) * x
    for expected in (np.cos(2.0) * 2 + np.sin(2.0), -np.sin(2.0) * 2 + 2 * np.cos(2.0)):
        f = ft.grad(f)
        assert f(2.0) == pytest.approx(expected, rel=1e-12)


def test_perturbations_are_not_confused():
    assert ft.grad(lambda x: x * ft.grad(lambda y: x + y)(1.0))(3.0) == 1.0
    assert ft.grad(lambda x: x * ft.grad(lambda y: x * y)(2.0))(3.0) == 6.0
    assert ft.grad(lambda x: ft.jvp(lambda y: x * y * y, (x,), (1.0,))[1])(3.0) == pytest.approx(12.0)
    assert ft.jvp(lambda x: ft.grad(lambda y: x * y * y)(x), (3.0,), (1.0,)) == (18.0, 12.0)


def test_branches_inside_nested_gradients():
    def inner(x, y):
        return x * y if y > 1 else x * y * y

    assert ft.grad(lambda x: ft.grad(inner, argnums=1)(x, x))(3.0) == 1.0
    assert ft.grad(lambda x: ft.grad(inner, argnums=1)(x, x))(0.5) == 2.0


def test_arguments_are_not_written_to():
    x = np.arange(3.0)
    x.flags.writeable = False
    np.testing.assert_array_equal(ft.grad(lambda x: np.sum(x * x))(x), [0.0, 2.0, 4.0])
    assert not x.flags.writeable


def test_outputs_do_not_share_memory():
    x = np.ones(3)
    (_, aux), grads = ft.value_and_grad(lambda x: (np.sum(x), {"x": x, "again": x, "view": x[::-1]}), has_aux=True)(x)
    arrays = [x, grads, aux["x"], aux["again"], aux["view"]]
    for i, a in enumerate(arrays):
        for b in arrays[:i]:
            assert not np.shares_memory(a, b)
    x[0] = 7.0
    assert aux["x"][0] == 1.0


def test_swapped_byte_order_and_strides():
    x = np.arange(6.0).astype(">f8").reshape(2, 3)[:, ::2]
    out = ft.grad(lambda x: np.sum(x**2))(x)
    np.testing.assert_array_equal(out, 2 * x)
    assert out.dtype == np.dtype("float64")


def test_name_doc_and_signature():
    def f(x):
        """Doc."""
        return x

    assert ft.grad(f).__name__ == "f"
    assert ft.grad(f).__doc__ == "Doc."


def test_method():
    class Model:
        scale = 3.0

        def energy(self, x):
            return self.scale * x * x

    model = Model()
    assert ft.grad(model.energy)(2.0) == 12.0


@dataclass
class Model:
    w: float

    def __call__(self, x):
        return self.w * x


def test_functions_that_are_not_hashable():
    model = Model(2.0)
    assert ft.grad(model)(1.0) == 2.0
    np.testing.assert_array_equal(ft.vmap(model)(np.ones(2)), [2.0, 2.0])
    assert ft.jvp(model, (1.0,), (1.0,)) == (2.0, 2.0)
    with pytest.raises(TypeError, match=r"with respect to x of Model\(w=2.0\), which is int64"):
        ft.grad(model)(1)


def test_transformations_keep_no_function_alive():
    transforms = [
        lambda f: ft.grad(f)(1.0),
        lambda f: ft.vmap(f)(np.ones(2)),
        lambda f: ft.jvp(f, (1.0,), (1.0,)),
        lambda f: ft.vjp(f, 1.0)[1](1.0),
        lambda f: ft.linearize(f, 1.0)[1](1.0),
        lambda f: ft.hessian(f)(1.0),
        lambda f: ft.jit(f)(1.0),
        fails_to_differentiate,
    ]
    for transform in transforms:
        f = lambda x: x * 2.0
        alive = weakref.ref(f)
        transform(f)
        del f
        gc.collect()
        assert alive() is None


def fails_to_differentiate(f):
    with pytest.raises(TypeError):
        ft.grad(f)(1)


def test_nothing_to_differentiate():
    with pytest.raises(TypeError, match=r"grad of <lambda> has nothing to differentiate: no array or number is in the"):
        ft.grad(lambda x: 1.0)("a")
    assert ft.grad(lambda p: 1.0)({}) == {}
