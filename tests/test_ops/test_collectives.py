"""Collectives: each against a function of the whole stack, with all of its derivatives."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import lax

X = np.random.default_rng(0).normal(size=(3, 4))
V = np.random.default_rng(1).normal(size=(3, 4))
W = np.arange(1.0, 7.0)
Member = Callable[[Any], Any]


def everywhere(x: Any) -> Any:
    return np.broadcast_to(x, (3, *x.shape))


# A function of one member, and the same on the whole stack, without collectives.
PAIRS: dict[str, tuple[Member, Member]] = {
    "psum": (lambda x: np.sin(x) * lax.psum(x * np.cos(x), "i"), lambda X: np.sin(X) * np.sum(X * np.cos(X), 0)),
    "psum of a tree": (
        lambda x: (lambda t: t["a"] * t["b"][0])(lax.psum({"a": x, "b": [x * x]}, "i")) * x,
        lambda X: np.sum(X, 0) * np.sum(X * X, 0) * X,
    ),
    "psum of what is shared": (lambda x: x * lax.psum(W[:4], "i"), lambda X: X * 3 * W[:4]),
    "pmean": (lambda x: x * lax.pmean(x, "i") ** 2, lambda X: X * np.mean(X, 0) ** 2),
    "pmax": (lambda x: x * lax.pmax(x, "i"), lambda X: X * np.max(X, 0)),
    "pmin": (lambda x: np.exp(x - lax.pmin(x, "i")), lambda X: np.exp(X - np.min(X, 0))),
    "axis_index": (lambda x: x ** (1 + lax.axis_index("i")), lambda X: X ** np.array([[1], [2], [3]])),
    "axis_size": (lambda x: x**2 * lax.axis_size("i"), lambda X: 3 * X**2),
    "all_gather": (lambda x: np.sin(lax.all_gather(x, "i")) @ x, lambda X: X @ np.sin(X).T),
    "all_gather at the end": (lambda x: x @ np.sin(lax.all_gather(x, "i", axis=-1)), lambda X: X @ np.sin(X).T),
    "all_gather tiled": (
        lambda x: lax.all_gather(np.sin(x), "i", tiled=True) * x[0],
        lambda X: np.sin(X).reshape(-1) * X[:, :1],
    ),
    "psum_scatter": (
        lambda x: np.sin(lax.psum_scatter(np.outer(W[:3], x), "i")) * x,
        lambda X: np.sin(np.outer(W[:3], np.sum(X, 0))) * X,
    ),
    "psum_scatter tiled": (
        lambda x: np.sin(lax.psum_scatter(np.outer(x, W), "i", scatter_dimension=-1, tiled=True)),
        lambda X: np.sin(np.stack([np.outer(np.sum(X, 0), part) for part in W.reshape(3, 2)])),
    ),
    "all_to_all": (
        lambda x: np.sin(lax.all_to_all(np.outer(W[:3], x), "i", 0, 1)) * x[:, None],
        lambda X: np.sin(np.einsum("i,jk->ikj", W[:3], X)) * X[:, :, None],
    ),
    "all_to_all tiled": (
        lambda x: np.sin(lax.all_to_all(np.outer(x, W), "i", 1, 0, tiled=True)),
        lambda X: np.sin(np.einsum("jk,il->ijkl", X, W.reshape(3, 2)).reshape(3, 12, 2)),
    ),
    "all_to_all tiled, one axis": (
        lambda x: np.sin(lax.all_to_all(np.outer(W, x), "i", 0, 0, tiled=True)),
        lambda X: np.sin(np.einsum("il,jk->ijlk", W.reshape(3, 2), X).reshape(3, 6, 4)),
    ),
    "pswapaxes": (
        lambda x: np.sin(lax.pswapaxes(np.outer(x, W[:3]), "i", 1)),
        lambda X: np.sin(np.einsum("jk,i->ikj", X, W[:3])),
    ),
    "pshuffle": (lambda x: lax.pshuffle(np.sin(x), "i", [2, 0, 1]) * x, lambda X: np.sin(X[np.array([2, 0, 1])]) * X),
    "ppermute": (
        lambda x: lax.ppermute(x * x, "i", [(2, 0), (0, 1)]) * x,
        lambda X: np.stack([X[2] ** 2 * X[0], X[0] ** 2 * X[1], 0 * X[2]]),
    ),
    "pbroadcast": (lambda x: lax.pbroadcast(x * x, "i", -1) * x, lambda X: X[2] ** 2 * X),
}

every_pair = pytest.mark.parametrize(("member", "whole"), PAIRS.values(), ids=PAIRS.keys())


def close(actual: Any, expected: Any) -> None:
    np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-12)


@every_pair
def test_values(member: Member, whole: Member) -> None:
    expected = whole(X)
    close(ft.vmap(member, axis_name="i")(X), expected)
    close(ft.vmap(member, 1, -1, axis_name="i")(X.T), np.moveaxis(expected, 0, -1))
    close(ft.jit(ft.vmap(member, axis_name="i"))(X), expected)
    close(ft.vmap(ft.jit(member), axis_name="i")(X), expected)
    close(ft.vmap(ft.vmap(member, axis_name="i"), 2)(np.stack([X, V], 2)), np.stack([expected, whole(V)]))
    close(ft.vmap(ft.vmap(member, 1), axis_name="i")(np.stack([X, V], 2)), np.stack([expected, whole(V)], 1))


@every_pair
def test_derivatives(member: Member, whole: Member) -> None:
    mapped = ft.vmap(member, axis_name="i")
    total, total_of_whole = (lambda x, f=f: np.sum(np.sin(f(x))) for f in (mapped, whole))
    gradient = ft.grad(total_of_whole)(X)
    close(ft.grad(total)(X), gradient)
    close(ft.jit(ft.grad(total))(X), gradient)
    # What a member changes in all others belongs to its gradient.
    close(ft.vmap(ft.grad(lambda x: np.sum(np.sin(member(x)))), axis_name="i")(X), gradient)
    close(ft.jvp(mapped, (X,), (V,))[1], ft.jvp(whole, (X,), (V,))[1])
    close(ft.vmap(lambda x, v: ft.jvp(member, (x,), (v,))[1], axis_name="i")(X, V), ft.jvp(whole, (X,), (V,))[1])
    close(ft.linearize(mapped, X)[1](V), ft.jvp(whole, (X,), (V,))[1])


@every_pair
def test_second_derivatives(member: Member, whole: Member) -> None:
    mapped = ft.vmap(member, axis_name="i")
    close(ft.hessian(lambda x: np.sum(np.sin(mapped(x))))(X), ft.hessian(lambda x: np.sum(np.sin(whole(x))))(X))

    def curvature(x: Any, v: Any) -> Any:
        return ft.grad(lambda x: np.sum(ft.jvp(member, (x,), (v,))[1]))(x)

    expected = ft.grad(lambda x: np.sum(ft.jvp(whole, (x,), (V,))[1]))(X)
    close(ft.vmap(curvature, axis_name="i")(X, V), expected)


# --------------------------------------------------------------------------------------------------------------------
# Inside of what carries a program


def mixed(x: Any) -> Any:
    return np.sin(x) * lax.psum(np.cos(x), "i")


def repeated(f: Member, n: int, x: Any) -> Any:
    for _ in range(n):
        x = f(x)
    return x


@ft.custom_jvp
def by_jvp(x: Any) -> Any:
    return mixed(x)


@by_jvp.defjvp
def _by_jvp_rule(primals: Any, tangents: Any) -> Any:
    return by_jvp(*primals), ft.jvp(mixed, primals, tangents)[1]


@ft.custom_vjp
def by_vjp(x: Any) -> Any:
    return mixed(x)


by_vjp.defvjp(
    lambda x: (mixed(x), x),
    lambda x, ct: (ct * np.cos(x) * lax.psum(np.cos(x), "i") - np.sin(x) * lax.psum(ct * np.sin(x), "i"),),
)

# A member with a loop, a branch, ..., and the same without.
INSIDE: dict[str, tuple[Member, Member]] = {
    "scan": (
        lambda x: lax.scan(lambda c, row: (mixed(c) + row, lax.psum(c * row, "i")), x, np.stack([x, 2 * x]))[0],
        lambda x: mixed(mixed(x) + x) + 2 * x,
    ),
    "scan, nothing of which is stacked": (
        lambda x: x * lax.scan(lambda c, _: (c * 1.5 + lax.axis_index("i"), None), 0.5, None, length=3)[0],
        lambda x: x * repeated(lambda c: c * 1.5 + lax.axis_index("i"), 3, 0.5),
    ),
    "fori_loop": (lambda x: lax.fori_loop(0, 3, lambda i, c: mixed(c), x), lambda x: repeated(mixed, 3, x)),
    "while_loop": (
        lambda x: lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, mixed(c[1])), (0, x))[1],
        lambda x: repeated(mixed, 3, x),
    ),
    "while_loop, whose condition alone asks for the axis": (
        lambda x: x ** lax.while_loop(lambda n: n < lax.axis_index("i") + 1, lambda n: n + 1, 0),
        lambda x: x ** (lax.axis_index("i") + 1),
    ),
    "cond": (
        lambda x: lax.cond(lax.psum(np.sum(x), "i") < 100.0, mixed, lambda x: x, x),
        mixed,
    ),
    "cond, nothing of which is stacked": (
        lambda x: x * lax.cond(True, lambda y: y * lax.axis_index("i"), lambda y: y, 3.0),
        lambda x: x * 3.0 * lax.axis_index("i"),
    ),
    "cond by member": (
        lambda x: lax.cond(lax.axis_index("i") > 0, np.sin, lambda x: x**2, mixed(x)),
        lambda x: ft.numpy.where(lax.axis_index("i") > 0, np.sin(mixed(x)), mixed(x) ** 2),
    ),
    "checkpoint": (ft.checkpoint(mixed), mixed),
    "checkpoint, nothing of which is stacked": (
        lambda x: x * ft.checkpoint(lambda y: mixed(y) * lax.axis_index("i"))(2.0),
        lambda x: x * mixed(2.0) * lax.axis_index("i"),
    ),
    "custom_jvp": (lambda x: by_jvp(x) * x, lambda x: mixed(x) * x),
    "custom_vjp": (lambda x: by_vjp(x) * x, lambda x: mixed(x) * x),
    "jit": (ft.jit(mixed), mixed),
    "vmap": (
        lambda x: ft.vmap(lambda y: mixed(y) * lax.psum(y, ("i", "j")), axis_name="j")(x),
        lambda x: mixed(x) * lax.psum(np.sum(x), "i"),
    ),
}


@pytest.mark.parametrize(("member", "plain"), INSIDE.values(), ids=INSIDE.keys())
def test_inside(member: Member, plain: Member) -> None:
    f, g = (ft.vmap(x, axis_name="i") for x in (member, plain))
    total, total_of_plain = (lambda x, h=h: np.sum(np.sin(h(x))) for h in (f, g))
    close(f(X), g(X))
    close(ft.jit(f)(X), g(X))
    close(ft.jvp(f, (X,), (V,))[1], ft.jvp(g, (X,), (V,))[1])
    close(ft.grad(total)(X), ft.grad(total_of_plain)(X))
    of_member = ft.grad(lambda x: np.sum(np.sin(member(x))))
    close(ft.jit(ft.vmap(of_member, axis_name="i"))(X), ft.grad(total_of_plain)(X))
    close(ft.hessian(total)(X), ft.hessian(total_of_plain)(X))
    close(ft.vmap(f)(np.stack([X, V])), np.stack([g(X), g(V)]))


# --------------------------------------------------------------------------------------------------------------------
# Names


def test_several_names() -> None:
    x = np.arange(24.0).reshape(2, 3, 4)

    def over(member: Member, *shapes: Any) -> Any:
        return ft.vmap(ft.vmap(member, axis_name="j"), axis_name="i")(x)

    def same(actual: Any, each: Any) -> None:
        np.testing.assert_array_equal(actual, np.broadcast_to(each, (2, 3, *np.shape(each))))

    same(over(lambda x: lax.psum(x, ("i", "j"))), x.sum((0, 1)))
    same(over(lambda x: lax.pmean(x, ["j", "i"])), x.mean((0, 1)))
    same(over(lambda x: lax.pmax(x, ("i", "j"))), x.max((0, 1)))
    np.testing.assert_array_equal(over(lambda x: lax.psum(x, "i")), np.broadcast_to(x.sum(0), (2, 3, 4)))
    np.testing.assert_array_equal(over(lambda x: lax.psum(x, "j"))[:, 0], x.sum(1))
    np.testing.assert_array_equal(over(lambda x: lax.axis_index(("i", "j"))), np.arange(6).reshape(2, 3))
    np.testing.assert_array_equal(over(lambda x: lax.axis_index(("j", "i"))), np.arange(6).reshape(3, 2).T)
    same(over(lambda x: lax.all_gather(x, ("i", "j"), axis=1)), x.reshape(6, 4).T)
    same(over(lambda x: lax.all_gather(x, ("j", "i"))), x.swapaxes(0, 1).reshape(6, 4))
    same(over(lambda x: lax.axis_size(("i", "j"))), 6)
    np.testing.assert_array_equal(
        over(lambda x: lax.pshuffle(x, ("i", "j"), [5, 4, 3, 2, 1, 0])), x.reshape(6, 4)[::-1].reshape(2, 3, 4)
    )
    y = np.arange(6 * 6 * 2).reshape(2, 3, 6, 2)
    parts = ft.vmap(ft.vmap(lambda y: lax.psum_scatter(y, ("i", "j")), axis_name="j"), axis_name="i")(y)
    np.testing.assert_array_equal(parts, y.sum((0, 1)).reshape(2, 3, 2))
    swapped = ft.vmap(ft.vmap(lambda y: lax.all_to_all(y, ("i", "j"), 0, 1), axis_name="j"), axis_name="i")(y)
    np.testing.assert_array_equal(swapped, y.reshape(6, 6, 2).transpose(1, 2, 0).reshape(2, 3, 2, 6))


def test_the_innermost_axis_of_a_name_is_meant() -> None:
    x = np.arange(6.0).reshape(2, 3)
    nested = ft.vmap(lambda row: ft.vmap(lambda y: lax.psum(y, "i"), axis_name="i")(row), axis_name="i")
    np.testing.assert_array_equal(nested(x), np.broadcast_to(x.sum(1, keepdims=True), x.shape))
    # What belongs to the outer one is shared by the members of the inner one.
    shared = ft.vmap(lambda row: ft.vmap(lambda y: y + lax.psum(row[0], "i"), axis_name="i")(row), axis_name="i")
    np.testing.assert_array_equal(shared(x), x + 3 * x[:, :1])
    around = ft.vmap(lambda row: ft.vmap(lambda y: y, axis_name="i")(row) + lax.psum(row, "i"), axis_name="i")
    np.testing.assert_array_equal(around(x), x + x.sum(0))


def test_what_is_shared_and_numbers() -> None:
    def f(x: Any) -> Any:
        n = lax.psum(1, "i")
        assert type(n) is int
        assert lax.psum(0.5, "i") == 1.5
        assert lax.psum(True, "i") == 3
        assert (lax.pmax(2, "i"), lax.pmean(2, "i")) == (2, 2.0)
        return lax.psum(np.ones(2), "i") + n, lax.all_gather(7, "i"), lax.psum(x > 1, "i"), lax.pmean(2 * x, "i")

    ones, sevens, count, mean = ft.vmap(f, out_axes=None, axis_name="i")(np.arange(3))
    np.testing.assert_array_equal(ones, [6.0, 6.0])
    np.testing.assert_array_equal(sevens, [7, 7, 7])
    assert (count, mean, count.dtype, mean.dtype) == (1, 2.0, np.int64, np.float64)
    wrapped = ft.vmap(lambda x: lax.psum(np.int8(2), "i"), axis_name="i", in_axes=None, axis_size=300)(0)
    assert wrapped.dtype == np.int8
    assert wrapped[0] == np.array(600).astype(np.int8)


def test_a_gradient_of_what_is_shared() -> None:
    """A derivative by a value that no member has for its own, and of which nothing is mapped."""
    f = lambda x: ft.grad(lambda y: lax.psum(y, "i") ** 2)(3.0) * x
    np.testing.assert_array_equal(ft.vmap(f, axis_name="i")(np.arange(2.0)), [0.0, 24.0])
    g = lambda x: x * ft.jit(lambda y: lax.psum(y, "i"))(3.0) + ft.jit(lambda: lax.axis_index("i"))()
    np.testing.assert_array_equal(ft.vmap(g, axis_name="i")(np.ones(2)), [6.0, 7.0])


def test_a_jitted_function_is_recorded_for_each_axis() -> None:
    f = ft.jit(lambda x: x * lax.axis_size("i") + lax.psum(x, "i"))
    for n in (2, 3, 2):
        np.testing.assert_array_equal(ft.vmap(f, axis_name="i")(np.ones(n)), np.full(n, 2.0 * n))
    with pytest.raises(NameError, match="unbound axis name 'i'"):
        f(1.0)


def test_empty_batches() -> None:
    f = lambda x: (lax.psum(x, "i"), lax.all_gather(x, "i"), lax.axis_index("i"), lax.ppermute(x, "i", []))
    assert [y.shape for y in ft.vmap(f, axis_name="i")(np.ones((0, 2)))] == [(0, 2), (0, 0, 2), (0,), (0, 2)]


def test_nan_and_infinity() -> None:
    x = np.array([np.nan, np.inf, 1.0])
    np.testing.assert_array_equal(ft.vmap(lambda x: lax.pbroadcast(x, "i", 1), axis_name="i")(x), [np.inf] * 3)
    np.testing.assert_array_equal(ft.vmap(lambda x: lax.pmax(x, "i"), axis_name="i")(x), [np.nan] * 3)
    np.testing.assert_array_equal(
        ft.vmap(lambda x: lax.ppermute(x, "i", [(0, 2)]), axis_name="i")(x), [0.0, 0.0, np.nan]
    )


def test_ties_share_the_derivative() -> None:
    gradient = ft.grad(lambda x: ft.vmap(lambda x: lax.pmax(x, "i"), axis_name="i")(x)[0])(np.array([2.0, 1.0, 2.0]))
    np.testing.assert_array_equal(gradient, [0.5, 0.0, 0.5])


def test_programs_are_named() -> None:
    program = ft.make_jaxpr(lambda x: lax.psum(x, "i") / lax.axis_size("i"), axis_env=[("i", 3)])(1.0)
    assert "b:f64[] = psum[axis_name=i axis_size=3] a" in str(program)
    assert "div b 3.0" in str(program)
    shape = ft.vmap(lambda x: ft.eval_shape(lambda y: lax.all_gather(y, "i"), x).shape[0] * x, axis_name="i")
    np.testing.assert_array_equal(shape(np.ones(5)), np.full(5, 5.0))


# --------------------------------------------------------------------------------------------------------------------
# Messages


@pytest.mark.parametrize(
    ("member", "error", "text"),
    [
        (
            lambda x: lax.psum(x, "j"),
            NameError,
            r"unbound axis name 'j' at .*: the axes that have a name here are 'i' ",
        ),
        (lambda x: lax.axis_index("j"), NameError, r"'i' \(length 3\).*vmap\(f, axis_name='j'\)"),
        (lambda x: lax.psum(x, 0), TypeError, r"must be that of a vmap .*got 0.*sum\(x, axis=0\)"),
        (lambda x: lax.psum(x, None), TypeError, "got None"),
        (lambda x: lax.psum(x, ("i", "i")), ValueError, r"must differ, got \('i', 'i'\)"),
        (
            lambda x: lax.psum({"a": "s"}, "i"),
            TypeError,
            r"psum of x\['a'\] at .*expected an array or a number, got 's'",
        ),
        (
            lambda x: lax.psum_scatter(x, "i"),
            ValueError,
            r"axis 0 of float64\[4\], of length 4, .*its length must be 3",
        ),
        (lambda x: lax.psum_scatter([x], "i", tiled=True), ValueError, r"of x\[0\] .* a multiple of 3"),
        (lambda x: lax.all_gather(x, "i", axis=3), ValueError, "axis=3 is out of range for 2 axes"),
        (lambda x: lax.all_gather(x, "i", axis=1, tiled=True), ValueError, "axis=1 is out of range for 1 axes"),
        (lambda x: lax.all_to_all(x, "i", 0.5, 0), TypeError, "split_axis must be an int, got 0.5"),
        (lambda x: lax.ppermute(x, "i", [(0, 3)]), ValueError, "destination 3 is not one of the 3 members, 0 to 2"),
        (lambda x: lax.ppermute(x, "i", [(0, 1), (0, 2)]), ValueError, "source 0 comes more than once"),
        (lambda x: lax.ppermute(x, "i", [0, 1]), TypeError, r"perm must be pairs \(source, destination\)"),
        (
            lambda x: lax.pshuffle(x, "i", [0, 0, 1]),
            ValueError,
            r"must be a permutation of range\(3\).*got \[0, 0, 1\]",
        ),
        (lambda x: lax.pbroadcast(x, "i", 3), ValueError, "source=3 is out of range for the 3 members"),
        (lambda x: 1.0 if lax.axis_index("i") > 0 else 2.0, TypeError, "depends on the members along the axis 'i'"),
        (lambda x: 1.0 if lax.psum(np.ones(()), "i") > 0 else 2.0, TypeError, "depends on the members along the axis"),
    ],
)
def test_messages(member: Member, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        ft.vmap(member, axis_name="i")(X)


def test_a_loop_that_members_leave_one_by_one() -> None:
    exchange = lambda c: c + lax.psum(c, "i")
    with pytest.raises(ValueError, match=r"psum at .* in a while_loop that each member leaves at a time of its own"):
        ft.vmap(lambda x: lax.while_loop(lambda c: c < 10.0, exchange, x), axis_name="i")(np.arange(3.0))
    together = lambda x: lax.while_loop(lambda c: lax.pmax(c, "i") < 10.0, exchange, x)
    np.testing.assert_array_equal(ft.vmap(together, axis_name="i")(np.arange(3.0)), [15.0, 16.0, 17.0])
    alone = lambda x: lax.while_loop(lambda c: c < 10.0, lambda c: c + lax.axis_index("i") + 1, x)
    np.testing.assert_array_equal(ft.vmap(alone, axis_name="i")(np.arange(3.0)), [10.0, 11.0, 11.0])


def test_outside_of_any_vmap() -> None:
    with pytest.raises(NameError, match="no axis has a name here"):
        lax.psum(1.0, "i")
    with pytest.raises(NameError, match="unbound axis name 'i'"):
        ft.vmap(lambda x: lax.psum(x, "i"))(X)
    kept = []
    ft.vmap(lambda x: kept.append(ft.make_jaxpr(lambda y: lax.psum(y, "i"))(1.0)) or x, axis_name="i")(X)
    with pytest.raises(NameError, match="unbound axis name 'i'"):
        lax.eval_closed(kept[0].jaxpr, [np.ones(())], [], "a program")


def test_a_program_of_another_axis_of_the_same_name() -> None:
    def f(row: Any) -> Any:
        _, pull_back = ft.vjp(lambda y: lax.psum(y, "i"), row)
        return ft.vmap(lambda ct: pull_back(ct)[0], in_axes=None, axis_name="i", axis_size=5)(row)

    with pytest.raises(ValueError, match=r"recorded where that had length 3, and is mapped over another .* length 5"):
        ft.vmap(f, axis_name="i")(X)
