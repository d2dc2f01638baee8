"""reduce and reduce_window: against loops in plain Python."""

from functools import reduce as fold
from itertools import product

import numpy as np
import pytest

import functrans as ft
from functrans import lax
from functrans.test_util import check_grads

RNG = np.random.default_rng(2)
X = RNG.normal(size=(3, 7, 5)) / 3.0
SMALL = X[:2, :3, :2]


def either(a, b):
    """The probability that one of two independent events happens: associative, and no primitive."""
    return a + b - a * b


def matmul(p, q):
    """Products of triangular matrices: associative, and not commutative."""
    return {"a": p["a"] * q["a"], "b": p["a"] * q["b"] + p["b"]}


MONOIDS = {
    "add": (lambda x, y: x + y, np.add, 0.0),
    "add from 2": (lax.add, np.add, 2.0),
    "mul": (lambda x, y: y * x, np.multiply, 1.0),
    "max": (np.maximum, np.maximum, -np.inf),
    "max from 0.1": (lax.max, np.maximum, 0.1),
    "min": (lax.min, np.minimum, np.inf),
    "either": (either, either, 0.0),
}


@pytest.mark.parametrize("name", MONOIDS)
@pytest.mark.parametrize("dimensions", [(0,), (1,), (-1,), (2, 0), (0, 1, 2)])
def test_reduce(name, dimensions):
    computation, function, init = MONOIDS[name]
    kept = [d for d in range(3) if d not in {d % 3 for d in dimensions}]
    rows = np.transpose(X, [*sorted({d % 3 for d in dimensions}), *kept]).reshape(-1, *[X.shape[d] for d in kept])
    expected = fold(function, rows, init)

    def f(x):
        return lax.reduce(x, init, computation, dimensions)

    np.testing.assert_allclose(f(X), expected, rtol=1e-12)
    np.testing.assert_array_equal(ft.jit(f)(X), f(X))
    np.testing.assert_allclose(ft.vmap(f, 1)(np.stack([X, -X], 1)), np.stack([f(X), f(-X)]), rtol=1e-12)
    check_grads(f, (SMALL,), order=2)


def test_reduce_over_no_axes_and_no_elements():
    np.testing.assert_array_equal(lax.reduce(X, 0.0, lax.add, ()), X)
    assert not np.shares_memory(lax.reduce(X, 0.0, lax.add, ()), X)
    np.testing.assert_array_equal(lax.reduce(np.ones((0, 2)), 3.0, lax.add, (0,)), [3.0, 3.0])
    np.testing.assert_array_equal(lax.reduce(np.ones((0, 2)), -np.inf, lax.max, (0,)), [-np.inf, -np.inf])
    assert lax.reduce(np.ones((3, 0)), 0.0, either, (0,)).shape == (0,)


@pytest.mark.parametrize("dtype", ["int8", "uint16", "bool", "float32", "complex64"])
def test_reduce_of_other_dtypes(dtype):
    x = np.array([[1, 0, 1], [1, 1, 0]]).astype(dtype)
    if dtype == "bool":
        pairs = [
            (np.logical_and, True, x.all(0)),
            (np.logical_or, False, x.any(0)),
            (lambda a, b: a ^ b, False, [0, 1, 1]),
        ]
    elif dtype == "complex64":
        pairs = [(lax.add, 0, x.sum(0)), (lax.mul, 1, x.prod(0))]
    else:
        pairs = [(lax.add, 0, x.sum(0)), (lax.max, 0, x.max(0)), (lambda a, b: a + b - a * b, 0, x.max(0))]
    for computation, init, expected in pairs:
        found = lax.reduce(x, init, computation, (0,))
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, np.asarray(expected).astype(dtype))


def test_reduce_of_pytrees():
    elems = {"a": RNG.normal(size=(5, 2)), "b": RNG.normal(size=(5, 2))}
    init = {"a": 1.0, "b": 0.0}
    expected = fold(matmul, [{"a": elems["a"][i], "b": elems["b"][i]} for i in range(5)], init)
    found = lax.reduce(elems, init, matmul, (0,))
    for key in "ab":
        np.testing.assert_allclose(found[key], expected[key])
    check_grads(lambda e: lax.reduce(e, init, matmul, (0,)), (elems,), order=2)
    positions = np.broadcast_to(np.arange(7)[None, :, None], X.shape)

    def larger(p, q):
        return np.maximum(p[0], q[0]), np.where(q[0] > p[0], q[1], p[1])

    _, found = lax.reduce((X, positions), (-np.inf, -1), larger, (1,))
    np.testing.assert_array_equal(found, X.argmax(1))


def test_reduce_with_closures():
    def f(x, w):
        return lax.reduce(x, w, lambda a, b: a + b - w * a * b, (1,))

    check_grads(f, (SMALL, 0.5), order=2)
    assert ft.vmap(f, (None, 0))(X, np.array([0.1, 0.2])).shape == (2, 3, 5)


LAYOUTS = [
    ((1, 2, 2), (1, 2, 2), "VALID", None, None),
    ((2, 3, 2), None, "SAME", None, None),
    ((2, 2, 2), (2, 3, 1), "SAME_LOWER", None, None),
    ((1, 3, 3), (1, 2, 1), [(0, 0), (1, 2), (0, 1)], None, None),
    ((1, 2, 3), None, "VALID", (1, 2, 1), (1, 2, 1)),
    ((1, 6, 1), None, "VALID", None, None),
    ((1, 9, 1), None, "valid", None, None),
    ((1, 2, 1), None, [(0, 0), (-1, -1), (0, 0)], None, None),
]


def pooled(x, init, function, dims, strides, padding, base, dilation):
    """The definition, window by window."""
    ones = (1,) * x.ndim
    strides, base, dilation = strides or ones, base or ones, dilation or ones
    spread = np.full([n + (n - 1) * (b - 1) for n, b in zip(x.shape, base, strict=True)], np.nan)
    spread[tuple([slice(None, None, b) for b in base])] = x
    spans = [(w - 1) * d + 1 for w, d in zip(dims, dilation, strict=True)]
    if isinstance(padding, str):
        totals = [
            0 if padding.upper() == "VALID" else max((-(-n // s) - 1) * s + span - n, 0)
            for n, s, span in zip(spread.shape, strides, spans, strict=True)
        ]
        padding = [((t + (padding == "SAME_LOWER")) // 2, t - (t + (padding == "SAME_LOWER")) // 2) for t in totals]
    counts = [
        max(0, (n + lo + hi - span) // s + 1)
        for n, (lo, hi), s, span in zip(spread.shape, padding, strides, spans, strict=True)
    ]
    out = np.empty(counts)
    for place in product(*map(range, counts)):
        places = [
            [i * s + k * d - lo for k in range(w)]
            for i, s, w, d, (lo, _) in zip(place, strides, dims, dilation, padding, strict=True)
        ]
        inside = [p for p in product(*places) if all([0 <= i < n for i, n in zip(p, spread.shape, strict=True)])]
        found = [spread[p] for p in inside if not np.isnan(spread[p])]
        out[place] = fold(function, found, init)
    return out


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("name", MONOIDS)
def test_reduce_window(name, layout):
    computation, function, init = MONOIDS[name]
    found = lax.reduce_window(X, init, computation, *layout)
    np.testing.assert_allclose(found, pooled(X, init, function, *layout), rtol=1e-12)


@pytest.mark.parametrize("layout", LAYOUTS[1:5], ids=str)
@pytest.mark.parametrize("name", ["add", "max from 0.1", "mul", "either"])
def test_derivatives_of_reduce_window(name, layout):
    computation, _, init = MONOIDS[name]

    def f(x):
        return lax.reduce_window(x, init, computation, *layout)

    x = X[:, :4, :3]
    check_grads(f, (x,), order=2)
    np.testing.assert_allclose(ft.vmap(f, 1, 1)(np.stack([x, -x], 1)), np.stack([f(x), f(-x)], 1), rtol=1e-12)
    np.testing.assert_array_equal(
        ft.jit(ft.grad(lambda x: np.sum(f(x) ** 2)))(x), ft.grad(lambda x: np.sum(f(x) ** 2))(x)
    )


def test_the_first_of_equal_maxima_gets_the_derivative():
    gradient = ft.grad(lambda x: np.sum(lax.reduce_window(x, -np.inf, lax.max, (2, 2), (2, 2))))(np.zeros((2, 4)))
    np.testing.assert_array_equal(gradient, [[1.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]])


def test_windows_of_integers_nan_and_pytrees():
    np.testing.assert_array_equal(lax.reduce_window(np.arange(5), 0, lax.add, (3,), padding="SAME"), [1, 3, 6, 9, 7])
    x = np.array([1.0, np.nan, 2.0, 3.0])
    np.testing.assert_array_equal(lax.reduce_window(x, -np.inf, lax.max, (2,)), [np.nan, np.nan, 3.0])
    elems, init = {"a": X[0], "b": X[1]}, {"a": 1.0, "b": 0.0}
    found = lax.reduce_window(elems, init, matmul, (3, 1))
    for i in range(5):
        expected = fold(matmul, [{"a": X[0, i + k], "b": X[1, i + k]} for k in range(3)])
        np.testing.assert_allclose(found["b"][i], expected["b"])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: lax.reduce(X, 0.0, lax.add, (3,)), ValueError, r"with 3 axes, got \(3,\)"),
        (lambda: lax.reduce(X, 0.0, lax.add, (0, -3)), ValueError, "different axes"),
        (lambda: lax.reduce(X, np.zeros(3), lax.add, (0,)), TypeError, r"init_value is float64\[3\]"),
        (lambda: lax.reduce(X, 0j, lax.add, (0,)), TypeError, r"init_value is complex128\[\]"),
        (lambda: lax.reduce(np.arange(3), 0.5, lax.add, (0,)), TypeError, "of the dtype of the operand"),
        (lambda: lax.reduce((X, X), 0.0, lax.add, (0,)), TypeError, "one initial value for each operand"),
        (lambda: lax.reduce((X, X[0]), (0.0, 0.0), lambda a, b: a, (0,)), TypeError, r"operand\[1\] is float64\[7,5\]"),
        (lambda: lax.reduce(X, 0.0, lambda a, b: (a, b), (0,)), TypeError, "structure of the operand"),
        (lambda: lax.reduce(X, 0.0, lambda a, b: a > b, (0,)), TypeError, r"float64, but returned bool\[\]"),
        (lambda: lax.reduce("a", 0.0, lax.add, (0,)), TypeError, "operand must be an array"),
        (lambda: lax.reduce(X, 0.0, 3, (0,)), TypeError, "needs a function of two values"),
        (lambda: lax.reduce_window(X, 0.0, lax.add, (2, 2)), ValueError, "window_dimensions must be a positive int"),
        (lambda: lax.reduce_window(X, 0.0, lax.add, (1, 0, 1)), ValueError, "window_dimensions"),
        (lambda: lax.reduce_window(X, 0.0, lax.add, (1, 1, 1), (0, 1, 1)), ValueError, "window_strides"),
        (lambda: lax.reduce_window(X, 0.0, lax.add, (1, 1, 1), padding="FULL"), ValueError, "'FULL'"),
        (lambda: lax.reduce_window(X, 0.0, lax.add, (1, 1, 1), padding=[(0, 0)]), ValueError, "pair of ints"),
    ],
)
def test_messages(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(
    ("window", "padding", "expected"),
    [(2, "SAME", [0, 1, 2]), (3, "SAME", [1, 3, 5]), (3, "SAME_LOWER", [0, 1, 2]), (3, "VALID", [1, 3, 5])],
)
def test_named_padding_is_that_of_the_operand_before_its_dilation(
    window: int, padding: str, expected: list[int]
) -> None:
    found = lax.reduce_window(np.arange(4), 0, lax.add, (window,), (2,), padding, base_dilation=(2,))
    np.testing.assert_array_equal(found, expected)
