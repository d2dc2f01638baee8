"""functrans.numpy.vectorize: against numpy.vectorize, which loops."""

import pickle
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans.test_util import check_grads

vectorize = ft.numpy.vectorize
RNG = np.random.default_rng(0)


def draw(*shape: int) -> Any:
    return RNG.normal(size=shape)


def listed(out: Any) -> list[Any]:
    return list(out) if isinstance(out, tuple) else [out]


FUNCTIONS: dict[str, tuple[Any, str]] = {
    "norm": (lambda x: np.sum(x * x), "(n)->()"),
    "dot": (lambda x, y: x @ y, "(n),(n)->()"),
    "matvec": (lambda a, x: a @ x, "(n,m),(m)->(n)"),
    "outer": (lambda x, y: x[:, None] * y, "(n),(m)->(n,m)"),
    "two": (lambda x, y: (x + y, np.sum(x) * y), "(n),()->(n),()"),
    "cross": (lambda x, y: np.cross(x, y), "(3),(3)->(3)"),
    "new axis": (lambda x: np.concatenate([x, x]), "(n)->(k)"),
    "three": (lambda a, b, c: a @ b @ c, " (i, j),(j ,k), (k,l)->(i,l)"),
    "one dimension twice": (lambda a: np.trace(a), "(n,n)->()"),
}

CASES = [
    ("norm", [(2, 3)]),
    ("norm", [(3,)]),
    ("dot", [(4, 1, 3), (5, 3)]),
    ("dot", [(3,), (1, 3)]),
    ("matvec", [(5, 1, 2, 3), (4, 3)]),
    ("matvec", [(2, 3), (3,)]),
    ("outer", [(2, 3), (2, 4)]),
    ("two", [(2, 1, 3), (4,)]),
    ("cross", [(2, 3), (3,)]),
    ("new axis", [(2, 3)]),
    ("three", [(2, 3), (6, 3, 4), (5, 1, 4, 2)]),
    ("one dimension twice", [(2, 2, 3, 3)]),
]


@pytest.mark.parametrize(("name", "shapes"), CASES, ids=str)
def test_agrees_with_numpy(name: str, shapes: list[tuple[int, ...]]) -> None:
    function, signature = FUNCTIONS[name]
    args = [draw(*shape) for shape in shapes]
    ours = vectorize(function, signature=signature)
    expected = np.vectorize(function, signature=signature.replace("(3)", "(t)"))(*args)
    for call in (ours, ft.jit(ours)):
        for a, b in zip(listed(call(*args)), listed(expected), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)
            assert np.shape(a) == np.shape(b)
    check_grads(ours, args, order=1)


def test_without_a_signature() -> None:
    f = vectorize(lambda x, y: ft.numpy.where(x > y, x - y, x + y))
    x, y = np.arange(4.0)[:, None], np.array([1.0, 3.0])
    np.testing.assert_array_equal(f(x, y), np.where(x > y, x - y, x + y))
    assert f(1.0, 2.0) == 3.0
    assert f(np.ones((0, 2)), y).shape == (0, 2)
    np.testing.assert_array_equal(f([1, 5], [[3], [4]]), [[4, 2], [5, 1]])
    assert f([1, 5], 2).dtype == np.int64
    both = vectorize(lambda x: {"a": x, "b": (2 * x, 1)})(np.arange(3))
    np.testing.assert_array_equal(both["b"][0], [0, 2, 4])
    np.testing.assert_array_equal(both["b"][1], [1, 1, 1])


def test_transformations() -> None:
    f = vectorize(lambda a, x: a @ np.sin(x), signature="(n,m),(m)->(n)")
    a, x = draw(5, 1, 2, 3), draw(4, 3)
    expected = np.einsum("alij,lj->ali", np.broadcast_to(a, (5, 4, 2, 3)), np.cos(x))
    np.testing.assert_allclose(ft.jvp(lambda x: f(a, x), (x,), (np.ones_like(x),))[1], expected)
    np.testing.assert_allclose(ft.vmap(f, (0, None))(a, x), f(a, x))
    gradient = ft.jit(ft.grad(lambda x: np.sum(f(a, x))))(x)
    np.testing.assert_allclose(gradient, np.sum(a, (0, 1, 2)) * np.cos(x))
    per_member = vectorize(ft.grad(lambda x: x**3))(np.arange(3.0))
    np.testing.assert_array_equal(per_member, [0.0, 3.0, 12.0])


def test_excluded() -> None:
    def poly(p: Any, x: Any, *, shift: Any = 0.0, name: str = "none") -> Any:
        assert name in ("none", "horner")
        return p[0] * x + p[1] + shift

    f = vectorize(poly, excluded={0, "name"})
    np.testing.assert_array_equal(f([2.0, 1.0], np.arange(3.0), name="horner"), [1.0, 3.0, 5.0])
    np.testing.assert_array_equal(f((2.0, 1.0), np.arange(2.0), shift=[[1.0], [5.0]]), [[2.0, 4.0], [6.0, 8.0]])
    g = vectorize(poly, excluded=["p", 7, "name"], signature="(),(k)->(k)")
    np.testing.assert_array_equal(g(x=1.0, shift=np.arange(2.0), p=(2.0, 1.0)), [3.0, 4.0])
    assert vectorize(lambda x, y: x if y is None else x + y)(1.0, None) == 1.0


def test_a_loop_is_not_run() -> None:
    calls = []
    vectorize(lambda x: calls.append(x) or x)(np.ones((10, 10)))
    assert len(calls) == 1


def test_it_looks_like_the_function() -> None:
    f = vectorize(np.dot, signature="(n),(n)->()")
    assert f.__name__ == "dot"
    assert pickle.loads(pickle.dumps(f))(np.ones(2), np.ones(2)) == 2.0


MATVEC = vectorize(np.dot, signature="(n,m),(m)->(n)")


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: vectorize(np.dot, signature="n,m->"), ValueError, "'n,m->' is not a signature; one looks like"),
        (lambda: vectorize(np.dot, signature=("(n)",)), TypeError, "the signature must be a string"),
        (lambda: vectorize(np.dot, excluded={1.5}), TypeError, "excluded must have positions and names .* got 1.5"),
        (lambda: vectorize(np.dot, excluded={-1}), ValueError, r"count from 0, got \['-1'\]"),
        (lambda: vectorize(3), TypeError, "vectorize needs a function, got 3"),
        (lambda: MATVEC(np.ones((2, 3))), ValueError, "takes 2 arrays, and got 1"),
        (
            lambda: MATVEC(np.ones((2, 3)), np.ones(4)),
            ValueError,
            r"the axis m has length 3 in a, which is float64\[2,3\], and length 4 in b, which is float64\[4\]",
        ),
        (
            lambda: MATVEC(np.ones(3), np.ones(3)),
            ValueError,
            r"vectorize of dot with signature '\(n,m\),\(m\)->\(n\)' needs the axes \(n,m\) of a, which is ",
        ),
        (
            lambda: MATVEC(np.ones((2, 2, 3)), np.ones((4, 3))),
            ValueError,
            r"cannot be broadcast:\n  a is float64\[2,2,3\], of which \(2,\) is broadcast\n  b is float64\[4,3\]",
        ),
        (lambda: vectorize(np.cross, signature="(3),(3)->(3)")(np.ones(2), np.ones(3)), ValueError, "axis 3 has len"),
        (lambda: MATVEC("ab", np.ones(3)), TypeError, r"got 'ab' of type str for a, which is no array.*excluded="),
        (lambda: vectorize(lambda x: np.outer(x, x), signature="(n)->(n)")(np.ones(3)), ValueError, r"axes \(n\), and"),
        (lambda: vectorize(lambda x: x[1:], signature="(n)->(n)")(np.ones(3)), ValueError, "length 3, and length 2 in"),
        (lambda: vectorize(lambda x: x, signature="()->(),()")(1.0), ValueError, "must return 2 results, and returned"),
        (lambda: vectorize(lambda x: (x, np.ones(2)))(np.ones(3)), ValueError, r"output\[1\] is float64\[2\]; without"),
    ],
)
def test_messages(call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call()
