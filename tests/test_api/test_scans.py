"""scan, map and associative_scan: what they take and give, and what they say when it is wrong."""

import collections
import threading

import numpy as np
import pytest

import functrans as ft
from functrans import lax
from functrans.errors import TracerBoolConversionError, UnexpectedTracerError
from functrans.test_util import check_grads

RNG = np.random.default_rng(1)


def add(c, x):
    return c + x, c


# --------------------------------------------------------------------------------------------------------------------
# scan: values and types


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("unroll", [1, 3, True, False])
def test_cumulative_sum(reverse, unroll):
    xs = np.arange(6.0).reshape(3, 2)
    total, before = lax.scan(add, np.zeros(2), xs, reverse=reverse, unroll=unroll)
    order = xs[::-1] if reverse else xs
    sums = np.cumsum(order, 0) - order
    np.testing.assert_array_equal(total, xs.sum(0))
    np.testing.assert_array_equal(before, sums[::-1] if reverse else sums)


Point = collections.namedtuple("Point", "x y")


def test_pytrees():
    init = {"p": Point(1.0, [np.ones(2), None]), "n": 0}
    xs = (np.arange(3.0), {"k": np.ones((3, 2)), "name": "static", "none": None})

    def body(carry, x):
        assert x[1]["name"] == "static"
        assert x[1]["none"] is None
        p = carry["p"]
        carry = {"p": Point(p.x * 2.0, [p.y[0] + x[1]["k"], None]), "n": carry["n"] + 1}
        return carry, Point(x[0], {"s": p.x})

    carry, ys = lax.scan(body, init, xs)
    assert carry["n"] == 3
    assert carry["p"].x == 8.0
    np.testing.assert_array_equal(carry["p"].y[0], [4.0, 4.0])
    assert carry["p"].y[1] is None
    np.testing.assert_array_equal(ys.x, [0.0, 1.0, 2.0])
    np.testing.assert_array_equal(ys.y["s"], [1.0, 2.0, 4.0])


def test_without_rows_and_without_results():
    assert lax.scan(lambda c, x: (c * 2, x), 1, length=5) == (32, None)
    assert lax.scan(lambda c, x: ((), ()), (), length=3) == ((), ())
    assert lax.scan(lambda c, x: [c, None], 1.0, length=np.int64(2)) == (1.0, None)


@pytest.mark.parametrize(
    ("init", "body", "dtype"),
    [
        (0, lambda c, x: (c + np.float32(1.5), None), "float32"),
        (0, lambda c, x: (c + 1.5, None), "float64"),
        (0.0, lambda c, x: (c + np.complex64(1j), None), "complex64"),
        (np.float32(1), lambda c, x: (0.5, None), "float32"),
        (np.float32(1), lambda c, x: (c * 2, None), "float32"),
        (np.int8(1), lambda c, x: (c + 1, None), "int8"),
        (True, lambda c, x: (~c, None), "bool"),
        ((0, 0.0), lambda c, x: ((c[0] + 1, c[1] + c[0]), None), "int64"),
    ],
)
def test_numbers_take_the_dtype_that_the_body_returns(init, body, dtype):
    assert ft.tree.leaves(lax.scan(body, init, length=3)[0])[0].dtype == dtype


def test_no_iterations():
    total, ys = lax.scan(lambda c, x: (c + 1.5, (c * x, np.ones((2, 3), "f4"))), 1, np.ones((0, 2)))
    assert (total, total.dtype) == (1.0, np.float64)
    assert [(y.shape, y.dtype.name) for y in ys] == [((0, 2), "float64"), ((0, 2, 3), "float32")]
    assert ft.grad(lambda c: lax.scan(add, c, np.ones(0))[0])(3.0) == 1.0
    assert ft.hessian(lambda c: np.sum(lax.scan(add, c * c, np.ones(0))[1]))(3.0) == 0.0
    assert ft.vmap(lambda x: lax.scan(add, 0.0, x)[1])(np.ones((4, 0))).shape == (4, 0)


def test_closures():
    def f(w, x):
        table = np.arange(4.0)
        return lax.scan(lambda c, t: (np.sin(c * w) + t * 0.5, c * w), x, table)[0]

    check_grads(f, (0.7, 0.3), order=3)
    inner = ft.grad(
        lambda x: lax.scan(lambda c, t: (c * x + ft.grad(lambda y: np.sin(y * c))(x), None), x, length=2)[0]
    )
    np.testing.assert_allclose(ft.jit(inner)(0.4), inner(0.4))


def test_nothing_is_hoisted_out_of_the_body():
    # 1 / x would warn, and its gradient be NaN, if it were computed though no iteration runs.
    assert ft.grad(lambda x: lax.scan(lambda c, t: (c + 1.0 / x, None), x, np.ones(0))[0])(0.0) == 1.0


def test_a_function_that_keeps_a_tracer_cannot_use_it():
    kept = []
    lax.scan(lambda c, x: (kept.append(c) or c, None), 1.0, length=1)
    with pytest.raises(UnexpectedTracerError, match="after <lambda> had returned"):
        kept[0] + 1.0


def test_recursion_and_threads():
    def power(x, n):
        return x if n == 0 else lax.scan(lambda c, _: (power(c, n - 1) * x, None), x, length=2)[0]

    assert ft.grad(lambda x: power(x, 2))(1.0) == 13.0
    results = []
    threads = [threading.Thread(target=lambda: results.append(ft.grad(lambda x: power(x, 2))(1.0))) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert results == [13.0] * 4


def test_disable_jit(capsys):
    with ft.disable_jit():
        total, before = lax.scan(lambda c, x: (print(float(c)) or c + x, c), 0.0, np.array([1.0, 2.0]), reverse=True)
        assert np.array_equal(lax.map(lambda x: x * 2 if x > 1 else x, np.arange(3.0)), [0.0, 1.0, 4.0])
        assert ft.grad(lambda x: lax.scan(lambda c, t: (c * t if t > 1 else c, None), x, np.arange(4.0))[0])(1.0) == 6.0
    assert capsys.readouterr().out == "0.0\n2.0\n"
    assert total == 3.0
    np.testing.assert_array_equal(before, [2.0, 0.0])


# --------------------------------------------------------------------------------------------------------------------
# scan: messages


def test_changes_of_the_carry_are_listed():
    def step(carry, x):
        return {"h": [carry["h"][0], carry["h"][1][None]], "n": carry["n"] * x, "k": carry["k"]}, None

    carry = {"h": [0.0, np.zeros(3)], "n": np.zeros(2, "f4"), "k": 0}
    with pytest.raises(TypeError) as caught:
        lax.scan(step, carry, np.ones((4, 2)))
    message = str(caught.value)
    assert "carry['h'][1] is float64[3] before and float64[1,3] after" in message
    assert "carry['n'] is float32[2] before and float64[2] after" in message
    assert "carry['k']" not in message
    assert "astype" in message


def test_lengths_are_listed():
    xs = (np.ones(3), {"k": np.ones((4, 2))})
    with pytest.raises(ValueError, match=r"one length, but\n  x\[0\] is float64\[3\], of length 3\n  x\[1\]\['k'\]"):
        lax.scan(lambda c, x: (c, None), 0.0, xs)
    with pytest.raises(ValueError, match=r"\(length=5\), but\n  x is float64\[3\], of length 3"):
        lax.scan(lambda c, x: (c, None), 0.0, np.ones(3), length=5)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: lax.scan(lambda c, x: c, 0.0, length=1), TypeError, "must return a pair.*Tracer"),
        (lambda: lax.scan(lambda c, x: None, 0.0, length=1), TypeError, "is a return missing"),
        (lambda: lax.scan(lambda c, x: ((c, c), x), 0.0, length=1), TypeError, "carry of the structure that it gets"),
        (
            lambda: lax.scan(lambda c, x: (c, "a"), 0.0, length=1),
            TypeError,
            r"output\[1\] of <lambda> must be an array",
        ),
        (lambda: lax.scan(lambda c, x: (c, x), {"k": "a"}, length=1), TypeError, r"init\['k'\] is 'a' of type str"),
        (lambda: lax.scan(lambda c, x: (c, x), 0.0, [1.0, 2.0]), TypeError, r"x\[0\] is the scalar float64"),
        (lambda: lax.scan(lambda c, x: (c, x), 0.0), ValueError, "pass length="),
        (lambda: lax.scan(lambda c, x: (c, x), 0.0, length=-1), TypeError, "length must be an int"),
        (lambda: lax.scan(lambda c, x: (c, x), 0.0, length=True), TypeError, "length must be an int"),
        (lambda: lax.scan(lambda c, x: (c, x), 0.0, length=1, unroll=0), ValueError, "unroll"),
        (lambda: lax.scan(3, 0.0, length=1), TypeError, "scan needs a function, got 3"),
        (
            lambda: lax.scan(lambda c, x: (c if c > 0 else -c, x), 0.0, length=1),
            TracerBoolConversionError,
            "argument c",
        ),
        (lambda: lax.scan(add, 0.0, np.array(["a"])), TypeError, "argument x of add"),
        (lambda: lax.map(3, np.ones(3)), TypeError, "map needs a function"),
        (lambda: lax.map(np.sin, 3.0), TypeError, "is the scalar float64"),
        (lambda: lax.map(lambda x: x, ()), ValueError, "pass an array"),
        (lambda: lax.map(lambda x: "a", np.ones(3)), TypeError, "must be an array"),
        (lambda: lax.map(lambda x: x, np.ones(3), batch_size=0), ValueError, "batch_size must be a positive int"),
    ],
)
def test_messages(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_written_array_is_an_error():
    buffer = np.zeros(3)

    def body(c, x):
        buffer[0] = c
        return c, None

    with pytest.raises(TypeError, match=r"derivative|tracer"):
        lax.scan(body, 0.0, length=2)


# --------------------------------------------------------------------------------------------------------------------
# map


@pytest.mark.parametrize("n", [0, 1, 4, 5])
@pytest.mark.parametrize("batch_size", [None, 1, 2, 4, 10])
def test_map(n, batch_size):
    xs = {"a": np.arange(2.0 * n).reshape(n, 2), "b": np.arange(n)}

    def f(row):
        return {"s": np.sum(np.sin(row["a"])) * row["b"], "t": (row["a"], None)}

    found = lax.map(f, xs, batch_size=batch_size)
    np.testing.assert_allclose(found["s"], np.sin(xs["a"]).sum(1) * xs["b"])
    np.testing.assert_array_equal(found["t"][0], xs["a"])
    assert found["t"][1] is None
    loss = lambda a: np.sum(lax.map(lambda r: np.sum(r**3), a, batch_size=batch_size))
    np.testing.assert_allclose(ft.grad(loss)(xs["a"]), 3 * xs["a"] ** 2)
    np.testing.assert_allclose(ft.jit(ft.grad(loss))(xs["a"]), 3 * xs["a"] ** 2)


def test_map_of_what_needs_a_loop():
    xs = RNG.normal(size=(3, 4))
    f = lambda x: lax.scan(lambda c, v: (np.sin(c) + v, None), 0.5, x)[0]
    np.testing.assert_allclose(lax.map(f, xs), [f(x) for x in xs])
    np.testing.assert_allclose(ft.vmap(lambda y: lax.map(f, y), 1, 1)(np.stack([xs, xs + 1], 1)).shape, (3, 2))
    check_grads(lambda x: lax.map(f, x), (xs,), order=2)


# --------------------------------------------------------------------------------------------------------------------
# associative_scan


def affine(first, then):
    """Composition of x -> a x + b: associative, and not commutative."""
    (a, b), (c, d) = first, then
    return a * c, b * c + d


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 5, 7, 8, 13])
@pytest.mark.parametrize(("axis", "reverse"), [(0, False), (0, True), (1, False), (-1, True)])
def test_associative_scan_is_a_loop(n, axis, reverse):
    shape = (n, 3) if axis == 0 else (3, n)
    elems = RNG.normal(size=shape), RNG.normal(size=shape)

    def loop(elems):
        rows = [np.moveaxis(x, axis, 0)[:: -1 if reverse else 1] for x in elems]
        found = []
        for row in zip(*rows, strict=True):
            found.append(row if not found else affine(found[-1], row))
        columns = [np.stack(column) for column in zip(*found, strict=True)]
        return tuple([np.moveaxis(x[:: -1 if reverse else 1], 0, axis) for x in columns])

    found = lax.associative_scan(affine, elems, reverse=reverse, axis=axis)
    expected = loop(elems) if n else elems
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)
        assert not any([np.shares_memory(a, x) for x in elems])
    if n in (3, 4, 5):
        scan = lambda e: np.sum(np.sin(lax.associative_scan(affine, e, reverse=reverse, axis=axis)[1]))
        expected = ft.grad(lambda e: np.sum(np.sin(loop(e)[1])))(elems)
        for a, b in zip(ft.jit(ft.grad(scan))(elems), expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10)


def test_associative_scan_of_integers_booleans_and_batches():
    np.testing.assert_array_equal(lax.associative_scan(np.add, np.arange(7)), np.cumsum(np.arange(7)))
    x = np.array([False, True, False])
    np.testing.assert_array_equal(lax.associative_scan(np.logical_or, x), [False, True, True])
    xs = RNG.normal(size=(2, 5))
    batched = ft.vmap(lambda x: lax.associative_scan(np.maximum, x))(xs)
    np.testing.assert_array_equal(batched, np.maximum.accumulate(xs, 1))


def test_associative_scan_takes_logarithmically_many_steps():
    calls = []
    lax.associative_scan(lambda a, b: calls.append(1) or a + b, np.arange(1024))
    assert len(calls) == 19


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: lax.associative_scan(affine, (np.ones(3), np.ones(4))),
            ValueError,
            r"one length along axis 0, but\n  elems\[0\] is float64\[3\]\n  elems\[1\] is float64\[4\]",
        ),
        (lambda: lax.associative_scan(np.add, np.ones(3), axis=1), ValueError, "axis 1 is out of range"),
        (lambda: lax.associative_scan(np.add, 3.0), TypeError, "elems must be an array with an axis, got the scalar"),
        (lambda: lax.associative_scan(np.add, "a"), TypeError, "got 'a' of type str"),
        (lambda: lax.associative_scan(np.add, ()), ValueError, "no array"),
        (lambda: lax.associative_scan(lambda a, b: (a, b), np.ones(3)), TypeError, "structure that it gets"),
        (lambda: lax.associative_scan(lambda a, b: a > b, np.ones(3)), TypeError, r"given float64\[1\].*bool\[1\]"),
        (lambda: lax.associative_scan(lambda a, b: np.sum(a), np.ones(3)), TypeError, "shape and dtype that it gets"),
    ],
)
def test_associative_scan_messages(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_python_number_is_carried_alike_without_jit() -> None:
    rows = np.ones(3, np.float32)
    with ft.disable_jit():
        carry, ys = lax.scan(lambda c, r: (c + r, c), 0, rows)
    assert carry.dtype == ys.dtype == np.float32
    np.testing.assert_array_equal(ys, [0.0, 1.0, 2.0])


def test_a_generator_is_no_array() -> None:
    with pytest.raises(ValueError, match="of type generator is none"):
        lax.scan(lambda c, r: (c, r), 0, (i for i in range(3)))


def test_a_body_without_results_runs_while_values_are_checked() -> None:
    with ft.debug_nans(True):
        assert ft.lax.scan(lambda carry, row: ((), None), (), np.ones(3)) == ((), None)
