"""Donated arguments: results take their place where nobody can see it, and nowhere else."""

import sys
import tracemalloc
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import functrans as ft
from functrans.api import donation
from tests.test_random_programs import programs


def halved(x, *rest):
    return x / 2


def donating(f=halved, **options):
    return ft.jit(f, donate_argnums=0, **options)


@pytest.mark.parametrize(
    "make",
    [
        lambda: np.arange(6.0),
        lambda: np.arange(6.0).reshape(2, 3),
        lambda: np.arange(20.0)[4:10].reshape(3, 2),
        lambda: np.arange(40_000.0),
        lambda: np.zeros((0, 3)),
        lambda: np.ones((1, 1), "c8"),
    ],
)
def test_the_result_is_the_donated_array(make):
    x, expected = make(), make() / 2
    out = donating()(x)
    assert out is x
    np.testing.assert_array_equal(out, expected)


def test_again_and_again():
    step = donating()
    x = start = np.full(3, 8.0)
    for _ in range(3):
        x = step(x)
    assert x is start
    np.testing.assert_array_equal(x, 1.0)


def test_trees_are_updated_leaf_by_leaf():
    p = {"a": np.ones(3), "b": [np.zeros(3)], "c": np.ones(3, "f4"), "n": 3}
    step = ft.jit(lambda p, g: (g, ft.tree.map(lambda x: x - 1, p)), donate_argnums=0)
    _, out = step(p, np.float32(0.5))
    assert out["a"] is p["a"]
    assert out["b"][0] is p["b"][0]
    assert out["c"] is p["c"]
    np.testing.assert_array_equal(out["a"], 0)
    np.testing.assert_array_equal(out["b"][0], -1)
    np.testing.assert_array_equal(out["c"], np.zeros(3, "f4"))
    assert out["n"] == 2


def test_an_input_that_is_returned_stays_itself_and_the_others_fit_first():
    f = ft.jit(lambda x, y: (x + y, x * 2, y), donate_argnums=(0, 1))
    x, y = np.array([1.0, 2.0]), np.array([10.0, 20.0])
    total, double, same = f(x, y)
    assert same is y
    assert total is x
    np.testing.assert_array_equal(total, [11.0, 22.0])
    np.testing.assert_array_equal(double, [2.0, 4.0])
    np.testing.assert_array_equal(same, [10.0, 20.0])


def test_arguments_that_change_places():
    f = ft.jit(lambda x, y: (y, x), donate_argnums=(0, 1))
    x, y = np.array([1.0, 2.0]), np.array([10.0, 20.0])
    a, b = f(x, y)
    assert a is y
    assert b is x
    np.testing.assert_array_equal(a, [10.0, 20.0])
    np.testing.assert_array_equal(b, [1.0, 2.0])
    f = ft.jit(lambda x, y: (y + 1, x + 1), donate_argnums=(0, 1))
    a, b = f(x, y)
    np.testing.assert_array_equal(a, [11.0, 21.0])
    np.testing.assert_array_equal(b, [2.0, 3.0])


@pytest.mark.parametrize(
    ("options", "call"),
    [
        ({"donate_argnums": 1}, lambda f, x: f(2.0, x)),
        ({"donate_argnums": -1}, lambda f, x: f(2.0, x)),
        ({"donate_argnums": np.int64(1)}, lambda f, x: f(2.0, x)),
        ({"donate_argnames": "x"}, lambda f, x: f(2.0, x)),
        ({"donate_argnames": ["x"]}, lambda f, x: f(2.0, x=x)),
        ({"donate_argnums": 1}, lambda f, x: f(2.0, x=x)),
        ({"donate_argnames": "x", "static_argnums": 0}, lambda f, x: f(2.0, x)),
        ({"donate_argnums": (1,), "static_argnames": "scale"}, lambda f, x: f(x=x, scale=2.0)),
    ],
)
def test_by_number_and_by_name(options, call):
    x = np.arange(3.0)
    out = call(ft.jit(lambda scale, x: scale * x, **options), x)
    assert out is x
    np.testing.assert_array_equal(out, [0.0, 2.0, 4.0])


def test_variable_arguments():
    f = ft.jit(lambda *xs, **named: ([x + 1 for x in xs], named["z"] + 1), donate_argnums=-1, donate_argnames="z")
    x, y, z = np.zeros(2), np.zeros(2), np.zeros(2)
    (a, b), c = f(x, y, z=z)
    assert a is y  # the first result that fits
    assert b is z
    np.testing.assert_array_equal(x, 0)
    np.testing.assert_array_equal([a, b, c], 1)


def test_leaves_that_are_not_arrays_have_no_place():
    x = np.ones(2)
    f = donating(lambda p, y: p["x"] * (2 if p["mode"] == "double" else 1) + p["n"] + y)
    assert f({"mode": "double", "x": x, "n": 1}, 0.5) is x
    np.testing.assert_array_equal(x, 3.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert donating(lambda x: 1.0)(2.0) == 1.0
        assert type(donating()(np.array(3.0))) is np.float64


class TestWhatIsLeftAlone:
    """In each case the result is right, in an array of its own, and what was given is as it was."""

    def check(self, x, *rest, f=halved):
        before = np.array(x)
        expected = f(before, *[np.array(r) for r in rest])
        out = donating(f)(x, *rest)
        np.testing.assert_array_equal(out, expected)
        np.testing.assert_array_equal(x, before)
        assert out is not x
        assert not np.shares_memory(out, x)

    def test_read_only(self):
        x = np.ones(3)
        x.flags.writeable = False
        self.check(x)

    def test_other_layouts(self):
        self.check(np.asfortranarray(np.ones((3, 4))))
        self.check(np.arange(12.0).reshape(3, 4).T)
        self.check(np.arange(12.0)[::-2])

    def test_a_view_of_an_array_in_use(self):
        whole = np.arange(6.0)
        for x in (whole[:3], whole[::2], whole.reshape(2, 3), whole.reshape(2, 3).T[1:], whole[:0]):
            self.check(x)

    def test_a_view_of_what_is_no_array(self):
        self.check(np.frombuffer(bytearray(24)))
        self.check(np.lib.stride_tricks.as_strided(np.ones(3), (3, 3), (0, 8)))
        self.check(np.broadcast_to(np.ones(3), (2, 3)))

    def test_an_argument_twice(self):
        x = np.ones(3)
        self.check(x, x, f=lambda x, y: x + y)
        both = ft.jit(lambda x, y: (x + 1, y + 2), donate_argnums=(0, 1))
        a, b = both(x, x)
        np.testing.assert_array_equal([a, b, x], [[2] * 3, [3] * 3, [1] * 3])

    @pytest.mark.parametrize(
        "other",
        [lambda x: x[:2], lambda x: x[::-1].reshape(1, 3), lambda x: np.frombuffer(x), np.lib.stride_tricks.as_strided],
    )
    def test_memory_of_another_argument(self, other):
        x = np.array([1.0, 2.0, 3.0])
        y = other(x)
        before = y.copy()
        a, b = donating(lambda x, y: (x / 2, y.sum()))(x, y)
        assert a is not x
        np.testing.assert_array_equal(y, before)
        np.testing.assert_array_equal(a, [0.5, 1.0, 1.5])
        assert b == before.sum()

    def test_an_array_of_a_subclass_or_another_byte_order(self):
        class Mine(np.ndarray):
            pass

        self.check(np.ones(3).view(Mine))
        self.check(np.ones(3, ">f8"))
        wrong_order = np.ones(3, ">f8")
        assert donating()(wrong_order).dtype.isnative

    def test_memory_maps(self, tmp_path):
        np.save(tmp_path / "x.npy", np.ones(3))
        for mode in ("r", "r+", "c"):
            self.check(np.load(tmp_path / "x.npy", mmap_mode=mode))

    def test_a_captured_array(self):
        x = np.ones(3)
        f = donating(lambda y: y + x)
        for n in range(1, 4):
            np.testing.assert_array_equal(f(np.zeros(3)), 1)
            assert f(x) is x  # it was captured as it was at first
            np.testing.assert_array_equal(x, 1 + n)

    def test_disabled(self):
        with ft.disable_jit():
            self.check(np.ones(3))

    def test_calls_of_python(self):
        kept = []

        def f(x):
            ft.debug.callback(kept.append, x)
            return x / 2

        def g(x):
            return ft.lax.cond(
                x[0] > 0, lambda x: ft.pure_callback(keep, ft.ShapeDtypeStruct((3,), "f8"), x), lambda x: x, x
            )

        def keep(x):
            kept.append(x)
            return x / 2

        for function in (f, g):
            x = np.ones(3)
            out = donating(function)(x)
            np.testing.assert_array_equal(out, 0.5)
            np.testing.assert_array_equal(kept.pop(), 1.0)
            np.testing.assert_array_equal(x, 1.0)

    def test_other_transformations(self):
        x = np.array([1.0, 2.0])
        f = donating(lambda x: x**2)
        np.testing.assert_array_equal(ft.vmap(f)(x[None]), [[1.0, 4.0]])
        np.testing.assert_array_equal(ft.grad(lambda x: np.sum(f(x)))(x), [2.0, 4.0])
        np.testing.assert_array_equal(ft.jit(lambda x: f(x) + x)(x), [2.0, 6.0])
        np.testing.assert_array_equal(ft.jvp(f, (x,), (x,))[1], [2.0, 8.0])
        primal, pull_back = ft.vjp(f, x)
        np.testing.assert_array_equal(x, [1.0, 2.0])
        np.testing.assert_array_equal(pull_back(primal)[0], [2.0, 16.0])


def test_residuals_do_not_see_the_update():
    x = np.array([1.0, 2.0])
    _, pull_back = ft.vjp(lambda x: np.sum(x**2), x)
    donating()(x)
    np.testing.assert_array_equal(pull_back(1.0)[0], [2.0, 4.0])


def test_an_error_leaves_the_arguments_as_they_were():
    f = donating(lambda x: np.log(x))
    x = np.array([1.0, -1.0])
    with ft.debug_nans(), pytest.raises(FloatingPointError):
        f(x)
    np.testing.assert_array_equal(x, [1.0, -1.0])
    with pytest.raises(ZeroDivisionError):
        donating(lambda x: x + 1 / 0)(x)
    np.testing.assert_array_equal(x, [1.0, -1.0])


def test_a_base_is_seen_by_as_many_as_hold_it():
    x = np.arange(3.0)[:2]
    other = x.base
    assert donating()(x) is not x
    assert sys.getrefcount(other) >= 2
    del other
    assert donating()(x) is x


def test_donated_arrays_that_no_result_can_have_are_a_warning_at_the_callers_line():
    f = donating(lambda p, y: p["w"].sum() + y)
    with pytest.warns(
        UserWarning, match=r"returns no array of their shape .*: p\['w'\] \(float64\[3\]\). Do not"
    ) as found:
        f({"w": np.ones(3), "b": 1.0}, 2.0)
    assert found[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        f({"w": np.ones(3), "b": 1.0}, 2.0)  # once for each program


def test_static_and_donated():
    with pytest.raises(ValueError, match="argument of <lambda> cannot be both static and donated: x"):
        ft.jit(lambda x: x, static_argnums=0, donate_argnames="x")
    with pytest.raises(ValueError, match="donate_argnums=1 is out of range: <lambda> has 1 positional parameters"):
        ft.jit(lambda x: x, donate_argnums=1)
    with pytest.raises(ValueError, match="donate_argnames='y': <lambda> has no parameter of this name"):
        ft.jit(lambda x: x, donate_argnames="y")
    with pytest.raises(TypeError, match=r"donate_argnums must be an int or several, got 'x'"):
        ft.jit(lambda x: x, donate_argnums="x")
    with pytest.raises(TypeError, match=r"donate_argnames must be a name or several, got 0"):
        ft.jit(lambda x: x, donate_argnames=0)


class TestLargeArrays:
    """They are computed in their place, if nothing can fail."""

    N = 20_000

    @pytest.fixture(autouse=True)
    def warnings_are_no_errors(self):
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            yield

    def arrays(self, n):
        return [np.linspace(-1, 1, self.N) + i for i in range(n)]

    def peak(self, f, *args):
        """The memory that a call has needed at a time, in arrays."""
        f(*args)
        tracemalloc.start()
        try:
            f(*args)
            return tracemalloc.get_traced_memory()[1] / (8 * self.N)
        finally:
            tracemalloc.stop()

    def test_no_memory_for_results(self):
        def step(state, g):
            p, m = state
            m = 0.9 * m + g
            return p - 0.1 * m, m

        p, m, g = self.arrays(3)
        expected = step((p, m), g)
        f = donating(step)
        out = f((p, m), g)
        assert out[0] is p
        assert out[1] is m
        np.testing.assert_array_equal(out, expected)
        assert self.peak(f, (p, m), g) < 1.1  # 0.1 * m
        assert self.peak(ft.jit(step), (p, m), g) > 1.9
        np.testing.assert_array_equal(g, self.arrays(3)[2])

    def test_whatever_the_results_have_to_do_with_the_arguments(self):
        functions = [
            lambda x, y: (x, x + y, y),
            lambda x, y: (y, x),
            lambda x, y: (x[::-1], y * x[::-1]),
            lambda x, y: (np.reshape(x, (2, -1)), x + 1, y + x),
            lambda x, y: (np.exp(x)[:5], y[::-1] + x, x - y),
            lambda x, y: (x * 2, x * 3, x * 4),
            lambda x, y: (np.sort(x), np.cumsum(y)),
            lambda x, y: np.concatenate([x, y]),
            lambda x, y: (y + 0 * x, x * y + np.sum(y), np.reshape(x * y, (-1, 1)).T),
            lambda x, y: ft.lax.fori_loop(0, 3, lambda i, c: (c[1] + i, c[0] * 2), (x, y)),
            lambda x, y: ft.lax.cond(x[0] > 0, lambda x, y: (x + 1, y), lambda x, y: (y, x), x, y),
            lambda x, y: np.where(x > 0, y, x),
            lambda x, y: (np.broadcast_to(x, (2, self.N)), x + 1),
        ]
        for f in functions:
            expected = ft.jit(f)(*self.arrays(2))
            for donated in ((0,), (1,), (0, 1)):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    g = ft.jit(f, donate_argnums=donated)
                    for _ in range(3):
                        args = self.arrays(2)
                        out = g(*args)
                        for a, b in zip(ft.tree.leaves(out), ft.tree.leaves(expected), strict=True):
                            np.testing.assert_array_equal(a, b)
                leaves = ft.tree.leaves(out)
                assert not any([np.shares_memory(a, b) for i, a in enumerate(leaves) for b in leaves[:i]])
                for i in {0, 1}.difference(donated):
                    np.testing.assert_array_equal(args[i], self.arrays(2)[i])

    def test_what_may_fail_leaves_the_arguments_as_they_were(self):
        x = np.zeros(self.N)
        inside, outside = np.zeros(self.N, int), np.full(self.N, 5 * self.N)
        for f in (lambda x, i: np.exp(x)[i] * 2, lambda x, i: (np.exp(x)[i] * 2, x + 1), lambda x, i: x[i] + 2):
            f = donating(f)
            for _ in range(3):
                with pytest.raises(IndexError):
                    f(x, outside)
                np.testing.assert_array_equal(x, 0)
            out = f(x, inside)
            assert any([leaf is x for leaf in ft.tree.leaves(out)])
            np.testing.assert_array_equal(ft.tree.leaves(out)[0], 2)
            x[:] = 0

    @pytest.mark.parametrize("how", ["errstate", "warnings"])
    def test_floats_that_are_told_to_raise(self, how):
        f = donating(lambda p, g: (p[0] * 2 - g, 1 / (p[1] - g)))
        p, q, _ = self.arrays(3)
        assert f((p, q), 5.0)[1] is q
        before = p.copy(), q.copy()
        q[3] = before[1][3] = 7.0
        with np.errstate(all="raise" if how == "errstate" else "warn"), warnings.catch_warnings():
            if how == "warnings":
                warnings.filterwarnings("error", "divide by zero")
            with pytest.raises((FloatingPointError, RuntimeWarning)):
                f((p, q), 7.0)
        np.testing.assert_array_equal((p, q), before)

    def test_a_log_of_floats_that_raises(self):
        class Log:
            def write(self, message):
                raise KeyError(message)

        f, a = ft.jit(lambda a, z: (a * 2.0) / z + 1.0, donate_argnums=0), np.arange(20_000.0)
        with np.errstate(all="log", call=Log()), pytest.raises(KeyError):
            f(a, 0.0)
        np.testing.assert_array_equal(a, np.arange(20_000.0))

    def test_debug_nans(self):
        f = donating(lambda p: (p[0] + 1, np.log(p[1] - 1)))
        p, q = self.arrays(2)
        with np.errstate(all="ignore"), ft.debug_nans(), pytest.raises(FloatingPointError):
            f((p, q))
        np.testing.assert_array_equal((p, q), self.arrays(2))

    @given(program=programs(), which=st.integers(1, 7))
    def test_random_programs(self, program, which):
        """On small arrays, as if they were large."""
        with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
            patch.setattr(donation, "_LARGE", 0)
            warnings.simplefilter("ignore")
            inputs = program.inputs()
            donated = [i for i in range(len(inputs)) if which >> i & 1]
            f = ft.jit(lambda *xs: (*program(*xs), *[np.tanh(x) for x in xs], xs[0]), donate_argnums=donated)
            expected = ft.jit(f.fun)(*inputs)
            given_away = program.inputs()
            out = f(*given_away)
        for a, b in zip(out, expected, strict=True):
            np.testing.assert_array_equal(a, b)
        for i, x in enumerate(given_away):
            if i not in donated:
                np.testing.assert_array_equal(x, inputs[i])
        assert not any([np.shares_memory(a, b) for i, a in enumerate(out) for b in out[:i]])
