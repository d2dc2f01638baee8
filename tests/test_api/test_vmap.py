"""vmap: against a loop, with axes of every kind."""

import tracemalloc
from typing import Any, NamedTuple

import numpy as np
import pytest

import functrans as ft
from functrans import lax

X = np.arange(24.0).reshape(2, 3, 4)


@pytest.mark.parametrize("in_axis", [0, 1, 2, -1])
@pytest.mark.parametrize("out_axis", [0, 1, -1])
def test_axes(in_axis, out_axis):
    f = lambda x: np.sin(x).T * 2.0
    expected = np.stack([f(x) for x in np.moveaxis(X, in_axis, 0)], out_axis)
    np.testing.assert_array_equal(ft.vmap(f, in_axes=in_axis, out_axes=out_axis)(X), expected)


def test_axes_as_trees():
    params = {"w": np.arange(6.0).reshape(3, 2), "b": 1.0}
    f = lambda p, x: (p["w"] * p["b"] + x, {"b": p["b"]})
    out, aux = ft.vmap(f, in_axes=({"w": 0, "b": None}, None), out_axes=(1, None))(params, 10.0)
    np.testing.assert_array_equal(out, params["w"].T + 10.0)
    assert aux["b"] == 1.0


class Params(NamedTuple):
    w: Any
    b: Any
    rest: Any = None


@ft.tree_util.register_pytree_node_class
class Box:
    def __init__(self, value):
        self.value = value

    def tree_flatten(self):
        return (self.value,), None

    @classmethod
    def tree_unflatten(cls, aux, children):
        return cls(*children)


def test_axes_in_nodes_of_every_kind():
    w, b = np.arange(6.0).reshape(2, 3), np.arange(3.0)
    f = lambda p, x: Params(p.w * x, Box(p.b), None)
    out = ft.vmap(f, [Params(1, 0, None), None], Params(-1, Box(0), None))(Params(w, b), 2.0)
    np.testing.assert_array_equal(out.w, 2 * w)
    assert out.rest is None
    out = ft.vmap(f, (Params(1, None), None), Params(0, Box(1)))(Params(w, b, ["name", None]), 2.0)
    np.testing.assert_array_equal(out.b.value, np.stack([b] * 3, 1))
    np.testing.assert_array_equal(ft.vmap(lambda box: box.value + 1, (Box(0),))(Box(b)), b + 1)
    np.testing.assert_array_equal(ft.vmap(lambda xs: xs[0] * xs[1], in_axes=([0, None],))([b, 2.0]), 2 * b)


def test_arguments_of_vmap_are_in_the_order_of_jax():
    np.testing.assert_array_equal(ft.vmap(lambda x: lax.psum(x, "i"), 0, None, "i", 2, None)(np.ones(2)), 2.0)


def test_leaves_that_are_no_arrays_are_shared():
    f = lambda x, mode, scale: np.sin(x) * scale["by"] if mode == "sin" else x
    np.testing.assert_array_equal(ft.vmap(f, (0, 0, None))(X[0], "sin", {"by": 2.0, "name": "s"}), 2 * np.sin(X[0]))


def test_it_is_pure_of_names():
    """The name of an axis that no collective asks for makes no program of its own."""
    f = lambda x: np.sin(x)
    one, other = (ft.make_jaxpr(ft.vmap(f, axis_name=name))(X) for name in ("i", "j"))
    assert one.jaxpr is other.jaxpr


def test_keyword_arguments_are_stacked_along_axis_0():
    np.testing.assert_array_equal(ft.vmap(lambda x, *, y: x * y)(np.arange(3.0), y=np.ones(3)), np.arange(3.0))


def test_shared_arguments_have_values():
    f = lambda x, n: x * 2 if n > 1 else x
    np.testing.assert_array_equal(ft.vmap(f, in_axes=(0, None))(np.arange(3.0), 2), [0.0, 2.0, 4.0])
    with pytest.raises(ft.errors.TracerBoolConversionError, match="depends on argument x of <lambda>"):
        ft.vmap(lambda x: 1.0 if x > 0 else 2.0)(np.arange(3.0))


def test_axis_size_alone():
    np.testing.assert_array_equal(ft.vmap(lambda x: x + 1, in_axes=None, axis_size=3)(1.0), [2.0, 2.0, 2.0])


def test_empty_batch():
    assert ft.vmap(lambda x: np.sum(np.sin(x)))(np.ones((0, 3))).shape == (0,)


def test_per_example_gradients():
    w, x = np.array([0.5, -1.0]), np.arange(6.0).reshape(3, 2)
    loss = lambda w, x: np.tanh(x @ w)
    got = ft.vmap(ft.grad(loss), in_axes=(None, 0))(w, x)
    np.testing.assert_allclose(got, [ft.grad(loss)(w, row) for row in x], rtol=1e-12)


def test_nested():
    f = lambda x, y: x * y
    outer = ft.vmap(ft.vmap(f, in_axes=(None, 0)), in_axes=(0, None))
    np.testing.assert_array_equal(outer(np.arange(3.0), np.arange(4.0)), np.outer(np.arange(3.0), np.arange(4.0)))


def test_closure_over_a_tracer():
    got = ft.vmap(lambda x: ft.vmap(lambda y: x * y)(np.arange(3.0)))(np.arange(2.0))
    np.testing.assert_array_equal(got, np.outer(np.arange(2.0), np.arange(3.0)))


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: ft.vmap(lambda x, y: x, in_axes=(0,))(X, X), "it has 1, and 2 were passed"),
        (
            lambda: ft.vmap(lambda x: x, in_axes=3)(X),
            "in_axes=3 is out of range for x of <lambda>, which is float64",
        ),
        (
            lambda: ft.vmap(lambda x, y: x)(X, np.ones(3)),
            r"x is float64\[2,3,4\], of length 2 along axis 0\n  y is",
        ),
        (lambda: ft.vmap(lambda x: x, in_axes=None)(X), "no argument is stacked"),
        (lambda: ft.vmap(lambda x: x, out_axes=None)(X), "depends on a stacked argument, so out_axes=None"),
        (lambda: ft.vmap(lambda x: x, out_axes=5)(X), "out_axes=5 is out of range for output of <lambda>"),
        (
            lambda: ft.vmap(lambda p: p["w"], in_axes=({"b": 0},))({"w": X}),
            r"vmap of <lambda>: in_axes\[0\] is not a prefix of p: at p, in_axes\[0\] has a dict with keys \['b'\]",
        ),
        (
            lambda: ft.vmap(lambda x, p: x, in_axes=(0, {"w": [0]}))(X, {"w": X}),
            r"in_axes\[1\] is not a prefix of p: at p\['w'\], in_axes\[1\] has a list of length 1, p has a leaf",
        ),
        (
            lambda: ft.vmap(lambda x: {"a": x}, out_axes={"b": 0})(X),
            r"vmap of <lambda>: out_axes is not a prefix of output: .* keys \['b'\], output has .* keys \['a'\]",
        ),
        (lambda: ft.vmap(lambda x, y: x)(X, 2.0), r"y of <lambda>, which is float64\[\] .* None in in_axes shares it"),
        (lambda: ft.vmap(lambda x, *, y: x)(X, y=2.0), "y of <lambda>, .* pass it by position to share it"),
        (lambda: ft.vmap(lambda x: x, axis_size=3)(X), r"one length \(axis_size=3\), but\n  x is"),
        (lambda: ft.vmap(lambda x: x, spmd_axis_name="i"), "spmd_axis_name='i' is about the devices"),
        (lambda: ft.vmap(lambda x: x, chunk_size=0), "chunk_size must be a positive int or None, got 0"),
    ],
)
def test_errors(call, text):
    with pytest.raises(ValueError, match=text):
        call()


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: ft.vmap(lambda x: x, out_axes="a")(X), "vmap out_axes must be ints or None, got 'a' for output of"),
        (lambda: ft.vmap(lambda x: x, in_axes=(True,))(X), "vmap in_axes must be ints or None, got True for x of"),
        (lambda: ft.vmap(lambda x: x, in_axes=True)(X), "in_axes must be an int, None, or a tuple with .* got True"),
        (lambda: ft.vmap(lambda p: p, in_axes={"w": 0}), "in_axes must be .* got .*For a function of one pytree write"),
        (lambda: ft.vmap(lambda x: x, "i"), "in_axes must be an int, None, or a tuple .*, got 'i' of type str"),
        (lambda: ft.vmap(lambda x: x, axis_name=0), "axis_name must be a name, such as a string, got 0 of type int"),
        (lambda: ft.vmap(lambda x: x, axis_name=["i"]), "axis_name must be a name, .* of type list"),
        (lambda: ft.vmap(lambda x: x, chunk_size=True), "chunk_size must be a positive int or None, got True"),
        (lambda: ft.vmap(lambda x: x, axis_size=2.0)(X), "axis_size must be an int that is not negative, got 2.0"),
    ],
)
def test_axes_that_are_no_integers(call, text):
    with pytest.raises(TypeError, match=text):
        call()
    np.testing.assert_array_equal(ft.vmap(lambda x: x, in_axes=np.int64(1))(X), np.moveaxis(X, 1, 0))


# --------------------------------------------------------------------------------------------------------------------
# Chunks

ROWS = np.random.default_rng(0).normal(size=(7, 3))


def quadratic(x, w):
    return {"y": np.sin(x) * (w @ x), "w": w, "outer": np.outer(x, x)}


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 100])
def test_chunks(chunk):
    out_axes = {"y": 1, "w": None, "outer": -1}
    plain = ft.vmap(quadratic, (0, None), out_axes)
    chunked = ft.vmap(quadratic, (0, None), out_axes, chunk_size=chunk)
    w, v = np.arange(3.0), np.cos(ROWS)
    total = lambda f: lambda x, w: sum([np.sum(np.cos(leaf)) for leaf in ft.tree.leaves(f(x, w))])

    def same(a, b):
        ft.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14), a, b)

    same(chunked(ROWS, w), plain(ROWS, w))
    same(ft.jit(chunked)(ROWS, w), plain(ROWS, w))
    same(ft.vmap(quadratic, (1, None), out_axes, chunk_size=chunk)(ROWS.T, w), plain(ROWS, w))
    for transform in (ft.grad, lambda f, n: ft.jit(ft.grad(f, n))):
        same(transform(total(chunked), (0, 1))(ROWS, w), transform(total(plain), (0, 1))(ROWS, w))
    same(ft.jvp(chunked, (ROWS, w), (v, w)), ft.jvp(plain, (ROWS, w), (v, w)))
    same(
        ft.vmap(chunked)(np.stack([ROWS, v]), np.stack([w, -w])), ft.vmap(plain)(np.stack([ROWS, v]), np.stack([w, -w]))
    )
    per_member = [ft.vmap(ft.grad(lambda x: np.sum(np.sin(x) ** 3)), chunk_size=n)(ROWS) for n in (chunk, None)]
    same(*per_member)
    curvature = [ft.hessian(lambda x, f=f: total(f)(x, w))(ROWS[:2]) for f in (chunked, plain)]
    same(*curvature)


def test_chunks_of_an_empty_batch_and_of_nothing():
    f = lambda x, n: (np.sum(x), n)
    empty, n = ft.vmap(f, (0, None), (0, None), chunk_size=2)(np.ones((0, 3)), 2.0)
    assert (empty.shape, n) == ((0,), 2.0)
    np.testing.assert_array_equal(ft.vmap(lambda: 1.0, axis_size=5, chunk_size=2)(), np.ones(5))
    assert ft.vmap(lambda x: (), chunk_size=2)(np.ones(5)) == ()


def test_programs_of_chunks_stay_small():
    f = ft.vmap(lambda x: np.sin(x), chunk_size=2)
    short, long = (ft.make_jaxpr(f)(np.ones(n)).jaxpr for n in (7, 1001))
    assert len(short) == len(long)
    assert "scan" in {eqn.primitive.name for eqn in long.eqns}


def test_names_of_what_is_mapped_in_chunks():
    f = ft.vmap(lambda x: ft.vmap(lambda y: y / lax.psum(y, "j"), axis_name="j", axis_size=3)(x), chunk_size=2)
    np.testing.assert_allclose(f(ROWS), ROWS / ROWS.sum(1, keepdims=True))
    g = ft.vmap(ft.vmap(lambda x: lax.psum(x, "i"), chunk_size=2), axis_name="i")
    np.testing.assert_allclose(g(ROWS), np.broadcast_to(ROWS.sum(0), ROWS.shape))
    for member in (lambda x: lax.psum(x, "i"), ft.jit(lambda x: lax.psum(x, "i"))):
        with pytest.raises(ValueError, match=r"psum at .* works over all members along 'i', which chunk_size=2 comp"):
            ft.vmap(member, axis_name="i", chunk_size=2)(ROWS)


def peak(function, *args):
    function(*args)
    tracemalloc.start()
    function(*args)
    used = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return used


def test_chunks_bound_the_memory():
    x = np.ones((64, 100))  # each member makes arrays of 80 kB
    f = lambda x: np.sum(np.sin(np.outer(x, x)) ** 2)
    for function in (f, ft.grad(f)):
        whole = peak(ft.vmap(function), x)
        assert whole > 64 * 80_000
        assert peak(ft.vmap(function, chunk_size=4), x) < whole / 8
        assert peak(ft.jit(ft.vmap(function, chunk_size=4)), x) < whole / 8
