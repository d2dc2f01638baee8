"""Guards of jitted functions: what takes the short way, and that all else does not."""

import collections
import enum
import inspect
import threading
import traceback
import types
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pytest

import functrans as ft
from functrans.api import guards
from functrans.api.jit import Jitted


class Point(NamedTuple):
    x: Any
    y: Any


@ft.tree_util.register_dataclass
@dataclass
class Layer:
    weight: Any
    bias: Any
    activation: Any = field(metadata={"static": True})


class Other(NamedTuple):
    x: Any
    y: Any


class Color(enum.Enum):
    RED = 1
    BLUE = 2


@dataclass(frozen=True)
class Sizes:
    n: int
    names: tuple = ("a",)


def warm(f, *args, times=8, **kwargs):
    """A function that has seen a call often enough to know the short way."""
    for _ in range(times):
        f(*args, **kwargs)
    return f


def takes_short_way(f, *args, **kwargs):
    """Whether a call does not come to the code that flattens its arguments; the result is checked against that."""
    ways = []

    def call(args, kwargs):
        ways.append("long")
        return Jitted.call(f, args, kwargs)

    f.call = call
    try:
        out = f(*args, **kwargs)
    finally:
        del f.call
    same(out, Jitted(f.fun, **f.options)(*args, **kwargs))
    return not ways


def same(a, b):
    assert ft.tree.structure(a) == ft.tree.structure(b)
    for x, y in zip(ft.tree.leaves(a), ft.tree.leaves(b), strict=True):
        assert type(x) is type(y)
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x, y)


X = np.arange(3.0)
ARGUMENTS = {
    "array": (X,),
    "0-d array": (np.array(2.0),),
    "empty": (np.zeros((0, 2)),),
    "numbers": (1, 2.5, True, 1j),
    "NumPy scalars": (np.float32(1), np.int8(2), np.bool_(True), np.complex64(1j), np.uint64(2**63), np.float16(1)),
    "dict": ({"b": X, "a": (X, 1.0)},),
    "dict of ints": ({2: X, 1: 1.0},),
    "dict of bytes": ({b"x": X},),
    "dict of None": (
        {
            None: X,
        },
    ),
    "empty containers": ([], (), {}, None),
    "nested": ([(X, [X, None]), {"x": {"y": {"z": X}}}],),
    "named tuples": (Point(X, Point(1.0, None)), [Other(X, 2)]),
    "static leaves": ({"mode": "fast", "x": X, "f": np.sin, "t": int, "c": Color.RED},),
    "ordered dict": (collections.OrderedDict(b=X, a=1.0),),
    "default dict": (collections.defaultdict(list, {"b": X, "a": [X]}),),
    "deque": (collections.deque([X, 1.0], 3),),
    "partial": (ft.tree_util.Partial(np.add, X),),
    "random key": (ft.random.key(0),),
    "registered classes": ([Layer(X, [1.0], np.tanh), Layer(Layer(1, 2, "relu"), None, ("a", 2))],),
    "many": ({str(i): np.full(i % 3, 1.0) for i in range(100)},),
    "deep": ([[[[[[[[[[[[[[[[[[[[[[X]]]]]]]]]]]]]]]]]]]]]],),
    "of 5 dtypes": tuple([np.ones(2, dtype) for dtype in ("f4", "c8", "i1", "?", "g")]),
    "layouts": (np.ones((3, 4), order="F"), np.ones((3, 4)).T, np.broadcast_to(X, (2, 3)), X[::-1]),
}


def arrays(*args):
    """The arrays and numbers among the arguments, in containers of the same kind."""
    leaf = lambda x: x if isinstance(x, (str, type)) or callable(x) or isinstance(x, Color) else np.multiply(x, 2)
    return [x for x in ft.tree.leaves(ft.tree.map(leaf, args)) if hasattr(x, "dtype")]


@pytest.mark.parametrize("args", ARGUMENTS.values(), ids=ARGUMENTS)
def test_calls_like_one_before(args):
    f = warm(ft.jit(arrays), *args)
    assert takes_short_way(f, *args)
    kwargs = {f"k{i}": a for i, a in enumerate(args)}
    f = warm(ft.jit(lambda **kwargs: arrays(kwargs)), **kwargs)
    assert takes_short_way(f, **kwargs)


RESULTS = {
    "nothing": lambda x: (),
    "None": lambda x: None,
    "array": lambda x: x + 1,
    "the argument": lambda x: x,
    "twice": lambda x: (x, x),
    "scalar": lambda x: x.sum(),
    "number": lambda x: 2,
    "list": lambda x: [x, x * 2],
    "dict": lambda x: {"b": x, "a": [x, {}], "c": None, "d": ()},
    "dict of ints": lambda x: {1: x, True + 1: x + 1},
    "named tuples": lambda x: Point(x, Other(x, [Point(1.0, None)])),
    "ordered dict": lambda x: collections.OrderedDict(b=x, a=x + 1),
    "default dict": lambda x: collections.defaultdict(list, {"b": x, "a": [x]}),
    "deque": lambda x: collections.deque([x, x], maxlen=3),
    "other types": lambda x: ft.tree_util.Partial(np.add, x),
    "50 deep": lambda x: ft.tree_util.tree_unflatten(ft.tree.structure(nested(50)), [x]),
}


def nested(depth):
    return 0 if depth == 0 else [nested(depth - 1)]


@pytest.mark.parametrize("f", RESULTS.values(), ids=RESULTS)
def test_results_of_the_short_way(f):
    jitted = warm(ft.jit(f), X)
    assert takes_short_way(jitted, X) == (f is not RESULTS["50 deep"])
    for out in ft.tree.leaves(jitted(X)):
        assert not np.shares_memory(out, X)


def test_results_are_new_at_each_call():
    f = warm(ft.jit(lambda x: {"same": x, "constant": np.ones(3)}), X)
    first, second = f(X), f(X)
    for name in first:
        assert not np.shares_memory(first[name], second[name])
    first["constant"][:] = 5
    np.testing.assert_array_equal(f(X)["constant"], 1)


def test_keyword_and_static_arguments():
    f = ft.jit(lambda x, n=1, *, flag=False: x * n if flag else x + n, static_argnames=("n", "flag"))
    for args, kwargs in [((X,), {}), ((X, 3), {}), ((X,), {"n": 3, "flag": True}), ((), {"flag": True, "x": X})]:
        f.clear_cache()
        assert takes_short_way(warm(f, *args, **kwargs), *args, **kwargs)
    warm(f, X, 3, flag=True)
    np.testing.assert_array_equal(f(X, 3, flag=True), X * 3)
    for other, expected in [(4, X * 4), (3.0, X * 3), (True, X), (np.int64(5), X * 5)]:
        np.testing.assert_array_equal(f(X, other, flag=True), expected)
    np.testing.assert_array_equal(f(X, 3, flag=False), X + 3)
    np.testing.assert_array_equal(f(X, 3), X + 3)


def test_static_values_that_are_equal_and_mean_other_things():
    f = ft.jit(lambda x, s: np.copysign(x, s) * (2.0 if s is True else 1.0), static_argnums=1)
    for warmed in (1, True, 0.0, -0.0):
        warm(f, X, warmed)
        for s in (True, 1, 1.0, 0, 0.0, -0.0, -1):
            np.testing.assert_array_equal(f(X, s), np.copysign(X, s) * (2 if s is True else 1))


@pytest.mark.parametrize(
    ("value", "other"),
    [
        (1, 2),
        ("a", "b"),
        (None, 1),
        ((1, "x"), (1, "y")),
        ((1, 2), (1, 2, 3)),
        ((1, (2,)), (1, [2])),
        (Color.RED, Color.BLUE),
        (np.dtype("f4"), np.dtype("f8")),
        (np.float32, np.float64),
        (np.sin, np.cos),
        (1.5, 2.5),
        (1j, -1j),
        (Sizes(3), Sizes(4)),
        (Sizes(3), Sizes(3, ("b",))),
        (frozenset([1]), frozenset([2])),
    ],
)
def test_static_values(value, other):
    f = ft.jit(lambda x, s: x + hash_free(s), static_argnums=1)
    warm(f, X, value)
    assert takes_short_way(f, X, value)
    if isinstance(other, list) or (isinstance(other, tuple) and any(isinstance(part, list) for part in other)):
        with pytest.raises(ValueError, match="hashable"):
            f(X, other)
    else:
        np.testing.assert_array_equal(f(X, other), X + hash_free(other))
        warm(f, X, other)
        np.testing.assert_array_equal(f(X, value), X + hash_free(value))


def hash_free(value):
    return float(sum(str(value).encode()))


def test_a_static_value_with_an_equality_of_its_own_goes_the_long_way():
    class Equal:
        def __init__(self, key):
            self.key = key

        def __hash__(self):
            return hash(self.key)

        def __eq__(self, other):
            return isinstance(other, Equal) and self.key == other.key

    value = Equal(1)
    f = warm(ft.jit(lambda x, s: x * s.key, static_argnums=1), X, value)
    assert not takes_short_way(f, X, value)
    value.key = 5
    np.testing.assert_array_equal(f(X, value), X * 5)


class StrKey(str):
    __slots__ = ()


class Sub(np.ndarray):
    pass


OTHERS = {
    "shape": np.arange(4.0),
    "rank": np.ones((3, 1)),
    "dtype": X.astype("f4"),
    "int": np.arange(3),
    "byte order": X.astype(">f8"),
    "subclass": X.view(Sub),
    "number": 2.0,
    "0-d": np.array(2.0),
    "NumPy scalar": np.float64(2.0),
    "list": [X, X],
    "tuple": (X, X),
    "a list in a list": [[X, X]],
    "a shorter list": [X],
    "other keys": {"x": X, "z": X},
    "keys": {"x": X, "y": X},
    "one more key": {"x": X, "y": X, "z": X},
    "int keys": {1: X, 2: X},
    "named tuple": Point(X, X),
    "another named tuple": Other(X, X),
    "ordered dict": collections.OrderedDict(x=X, y=X),
    "deque": collections.deque([X, X]),
    "bounded deque": collections.deque([X, X], 2),
    "a longer deque": collections.deque([X, X, X]),
    "default dict": collections.defaultdict(list, x=X, y=X),
    "layer": Layer(X, X, np.tanh),
    "another layer": Layer(X, X, np.sin),
    "a layer of None": Layer(X, None, np.sin),
    "ordered dict with other keys": collections.OrderedDict(x=X, z=X),
    "ordered dict in another order": collections.OrderedDict(y=X, x=X),
    "None": None,
    "None in a list": [X, None],
    "string": "abc",
    "another string": "abd",
    "bool": True,
    "int number": 3,
    "complex number": 2j,
    "float32": np.float32(2),
}


def described(x):
    """What Python sees of an argument, and its values."""
    keys = [(type(key).__name__, key) for key in x] if isinstance(x, dict) else None
    shapes = [np.shape(leaf) for leaf in ft.tree.leaves(x) if not isinstance(leaf, str)]
    parts = (type(x).__name__, keys, x if isinstance(x, str) else getattr(x, "activation", ""), shapes)
    return float(sum(repr(parts).encode())), [leaf * 2 for leaf in ft.tree.leaves(x) if not isinstance(leaf, str)]


@pytest.mark.parametrize("first", OTHERS.values(), ids=OTHERS)
def test_every_kind_of_argument_after_every_other(first):
    f = ft.jit(described)
    for second in OTHERS.values():
        warm(f, first)
        got, expected = f(second), ft.jit(described)(second)
        same(got, expected)


def test_keys_in_another_order():
    f = warm(ft.jit(lambda p: p["a"] - p["b"]), {"a": 5.0, "b": 1.0})
    assert f({"b": 1.0, "a": 5.0}) == 4.0
    f = warm(ft.jit(lambda **p: p["a"] - p["b"]), a=5.0, b=1.0)
    assert f(b=1.0, a=5.0) == 4.0
    assert takes_short_way(f, a=2.0, b=1.0)


def test_keys_that_are_equal_and_of_other_types():
    for keys in ([1, True], [True, 1], ["x", StrKey("x")], [StrKey("x"), "x"]):
        f = ft.jit(lambda p: p)
        for key in keys:
            warm(f, {key: X})
        for key in keys:
            assert takes_short_way(f, {key: X}) == (type(key) is not StrKey)


def test_integers_that_do_not_fit():
    f = warm(ft.jit(lambda x: x + 1), 1)
    assert f(2**63 - 2) == 2**63 - 1
    assert f(-(2**63)) == 1 - 2**63
    for n in (2**63, -(2**63) - 1):
        with pytest.raises(TypeError, match=r"argument x of <lambda>: the integer .* does not fit into int64"):
            f(n)


class TestSettings:
    """What the long way looks at, changed after the short way is known."""

    def test_disable_jit(self):
        runs = []
        f = warm(ft.jit(lambda x: runs.append(1) or x + 1), X)
        assert len(runs) == 1
        with ft.disable_jit():
            f(X)
            assert len(runs) == 2
            with ft.disable_jit(False):
                f(X)
                assert len(runs) == 2
        ft.config.disable_jit = True
        try:
            f(X)
            assert len(runs) == 3
        finally:
            ft.config.disable_jit = False
        assert takes_short_way(f, X)

    def test_debug_nans_and_infs(self):
        f = warm(ft.jit(lambda x: 1 / x), X + 1)
        with np.errstate(divide="ignore"), ft.debug_infs(), pytest.raises(ft.errors.NonFiniteError):
            f(X)
        f = warm(ft.jit(lambda x: x * 0), X)
        with np.errstate(invalid="ignore"):
            with ft.debug_nans(), pytest.raises(ft.errors.NonFiniteError):
                f(np.full(3, np.inf))
            assert np.isnan(f(np.full(3, np.inf))).all()
        assert takes_short_way(f, X)

    def test_key_reuse(self):
        f = ft.jit(lambda key: ft.random.uniform(key))
        for make in (ft.random.key, ft.random.PRNGKey):
            assert takes_short_way(warm(f, make(0)), make(0))
            with ft.debug_key_reuse():
                key = make(0)
                f(key)
                with pytest.raises(ft.errors.KeyReuseError):
                    f(key)

    def test_nan_safe_gradients(self):
        f = ft.jit(ft.grad(lambda x: np.where(x > 0, np.sqrt(x), 0.0)))
        with np.errstate(all="ignore"):
            warm(f, 0.0)
            try:
                for safe in (False, True, False):
                    ft.config.nan_safe_gradients = safe
                    assert [bool(np.isnan(f(0.0))) for _ in range(5)] == [not safe] * 5
            finally:
                ft.config.nan_safe_gradients = True
            assert takes_short_way(warm(f, 0.0), 0.0)
            assert f(0.0) == 0.0

    def test_tracers(self):
        f = warm(ft.jit(lambda x, y: np.sum(x * x) * y), X, 2.0)
        np.testing.assert_array_equal(ft.grad(f)(X, 2.0), 4 * X)
        np.testing.assert_array_equal(ft.grad(f, 1)(X, 2.0), 5.0)
        np.testing.assert_array_equal(ft.vmap(f, (0, None))(X[:, None], 2.0), 2 * X**2)
        assert [eqn.primitive.name for eqn in ft.make_jaxpr(f)(X, 2.0).eqns] == ["jit"]
        with pytest.raises(ft.errors.UnexpectedTracerError):
            f(X, leaked())

    def test_a_recording_that_takes_all(self):
        f = warm(ft.jit(lambda x: x + 1), X)
        program = ft.make_jaxpr(lambda y: f(X) * y)(2.0)
        assert program.eqns[0].primitive.name == "jit"

    def test_ensure_compile_time_eval(self):
        f = warm(ft.jit(lambda x: x.sum()), X)

        def outer(y):
            with ft.ensure_compile_time_eval():
                n = int(f(X))
            return y * n

        assert ft.jit(outer)(2.0) == 6.0

    def test_named_axes(self):
        def total(x):
            return x + ft.lax.axis_size("batch") if bound else x

        f, bound = ft.jit(total), False
        warm(f, X)
        bound = True
        out = ft.vmap(lambda y: (f(X), y), axis_name="batch")(np.ones(2))[0]
        np.testing.assert_array_equal(out, np.stack([X + 2] * 2))
        np.testing.assert_array_equal(f(X), X)

    def test_collectives_outside_of_their_axis(self):
        f = ft.jit(lambda x: ft.lax.psum(x, "batch"))
        warm(ft.vmap(f, axis_name="batch"), X)
        for _ in range(3):
            with pytest.raises(NameError, match="unbound axis name 'batch'"):
                f(X)

    def test_classes_that_become_nodes(self):
        class Pair(NamedTuple):
            left: Any
            right: Any

        f = ft.jit(lambda p: p.left * 1.0)
        warm(f, Pair(1.0, 2.0))
        assert f(Pair(3.0, 4.0)) == 3.0
        ft.tree_util.register_pytree_node(Pair, lambda p: ((p.left,), p.right), lambda right, c: Pair(c[0], right))
        seen = []
        f = ft.jit(lambda p: seen.append(p.right) or p.left * 1.0)
        for right in (1, 2):
            warm(f, Pair(1.0, right))
        assert seen == [1, 2]

    def test_a_class_that_becomes_a_node_after_the_short_way_is_known(self):
        class Pair(NamedTuple):
            left: Any
            right: Any

        seen = []
        f = ft.jit(lambda p: seen.append(type(p.right)) or p.left * 1.0)
        warm(f, Pair(1.0, 2))
        ft.tree_util.register_pytree_node(Pair, lambda p: ((p.left,), p.right), lambda right, c: Pair(c[0], right))
        warm(f, Pair(1.0, 2))
        assert seen[1:] == [int]

    def test_clear_caches(self):
        factor = 2.0
        f = warm(ft.jit(lambda x: x * factor), X)
        factor = 3.0
        np.testing.assert_array_equal(f(X), X * 2)
        f.clear_cache()
        np.testing.assert_array_equal(f(X), X * 3)
        warm(f, X)
        factor = 4.0
        ft.clear_caches()
        np.testing.assert_array_equal(f(X), X * 4)

    def test_clearing_while_it_runs(self):
        """What a call found out before everything was forgotten is not kept."""
        factor = 2.0
        clear = False

        def values(x):
            if clear:
                f.clear_cache()
            return x

        f = ft.jit(lambda x: ft.pure_callback(values, ft.ShapeDtypeStruct((3,), "f8"), x) * factor)
        f(X)
        clear, factor = True, 3.0
        f(X)  # would make a guard
        np.testing.assert_array_equal(f(X), X * 3)


def leaked():
    kept = []
    ft.grad(lambda x: kept.append(x) or x)(1.0)
    return kept[0]


def test_effects_happen_at_each_call():
    seen = []
    f = ft.jit(lambda x: ft.debug.callback(lambda x: seen.append(float(x)), x) or x + 1)
    for n in range(5):
        f(float(n))
    assert seen == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_effects_inside_of_another_function_keep_their_order():
    seen = []
    inner = ft.jit(lambda x: ft.debug.callback(seen.append, 2) or x + 1)
    warm(inner, X)

    def outer(y):
        ft.debug.callback(seen.append, 1)
        out = inner(X)
        ft.debug.callback(seen.append, 3)
        return y * out.sum()

    del seen[:]
    ft.grad(outer)(2.0)
    assert seen == [1, 2, 3]


def test_what_captures_a_tracer_or_reads_its_value_has_no_short_way():
    box = {}
    h = ft.jit(lambda y: y * 2.0 if box["x"] > 0 else y * 3.0)

    def g(x):
        box["x"] = x
        return h(2.0) * x

    assert [ft.grad(g)(x) for x in (1.0, -1.0, 1.0, -1.0, 1.0, -1.0)] == [4.0, 6.0] * 3


def test_methods():
    class Model:
        def __init__(self, scale):
            self.scale = scale

        @ft.jit
        def __call__(self, x):
            return self.scale * x

        @ft.jit
        def scaled(self, x, by=1.0):
            return self.scale * x * by

    a, b = Model(2.0), Model(5.0)
    for _ in range(4):
        np.testing.assert_array_equal(a(X), 2 * X)
        np.testing.assert_array_equal(b(X), 5 * X)
        np.testing.assert_array_equal(a.scaled(X), 2 * X)
        np.testing.assert_array_equal(b.scaled(X, by=2.0), 10 * X)
    assert takes_short_way(Model.scaled, b, X, by=3.0)


def test_names_that_python_and_the_guard_use_too():
    f = ft.jit(lambda self, args, kwargs, run, MISS: self + args + kwargs + run + MISS)
    values = {"self": 1.0, "args": 2.0, "kwargs": 3.0, "run": 4.0, "MISS": 5.0}
    assert takes_short_way(warm(f, **values), **values)
    assert f(**values) == 15.0


def test_nothing_of_the_user_is_in_the_source(monkeypatch):
    sources = []
    monkeypatch.setattr(guards, "_compiled", lambda source: sources.append(source) or compile(source, "guard", "exec"))
    key = "'];__import__('os').abort()#\n"
    f = ft.jit(lambda p, s, **kw: {key: p[key] + kw[key], "s": 1.0}, static_argnums=1)
    kwargs = {key: 1.0}
    for _ in range(3):
        assert f({key: X}, key, **kwargs)[key].tolist() == [1.0, 2.0, 3.0]
    assert len(sources) == 1
    assert "abort" not in sources[0]
    assert "'" not in sources[0]


def test_errors_show_the_users_lines_alone():
    f = warm(ft.jit(lambda x: 1 / x), X + 1)
    for g in (f, ft.jit(lambda x: 1 / x)):
        with np.errstate(divide="raise"), pytest.raises(FloatingPointError, match="divide by zero") as found:
            g(X)
        places = [(frame.filename, frame.name) for frame in traceback.extract_tb(found.value.__traceback__)]
        assert places == [(__file__, "test_errors_show_the_users_lines_alone"), (inspect.getfile(Jitted), "__call__")]


def test_many_structures_do_not_make_a_guard_at_each_call(monkeypatch):
    made = []
    real = guards._compiled
    monkeypatch.setattr(guards, "_compiled", lambda source: made.append(1) or real(source))
    f = ft.jit(lambda x: ft.tree.map(lambda x: x + 1, x))
    structures = [[1.0] * n for n in range(1, 13)]
    for _ in range(64):
        for x in structures:
            assert f(x) == [2.0] * len(x)
    assert len(made) <= len(structures) * 6
    assert len(f._short_ways.guards) <= 4
    assert takes_short_way(warm(f, [1.0] * 30), [1.0] * 30)


def test_a_few_structures_in_turn_all_take_the_short_way():
    f = ft.jit(lambda x: ft.tree.map(lambda x: x + 1, x))
    structures = [X, [X], {"x": X}, (X, 1.0)]
    for _ in range(3):
        for x in structures:
            f(x)
    assert all([takes_short_way(f, x) for x in structures * 2])


def test_many_leaves_need_more_calls():
    x = [1.0] * 500
    f = ft.jit(lambda x: sum(x))
    assert not takes_short_way(warm(f, x, times=8), x)
    assert takes_short_way(warm(f, x, times=8), x)


def test_arguments_that_are_too_many():
    f = warm(ft.jit(lambda x: x[0]), [1.0] * 3000)
    assert not takes_short_way(f, [1.0] * 3000)


def test_another_byte_order_has_no_guard():
    f = warm(ft.jit(lambda x: x + 1), X.astype(">f8"))
    assert not f._short_ways.guards


def test_arrays_of_other_libraries_and_structs():
    class Foreign:
        def __array__(self, dtype=None, copy=None):
            return X

    f = warm(ft.jit(lambda x: x + 1), Foreign())
    assert not takes_short_way(f, Foreign())
    assert takes_short_way(warm(f, X), X)
    for _ in range(3):
        with pytest.raises(TypeError, match="must have a value"):
            f(ft.ShapeDtypeStruct((3,), "f8"))


def test_donated_arguments_take_the_short_way():
    f = ft.jit(lambda p, g: {k: p[k] - g for k in p}, donate_argnums=0)
    p = {"a": np.zeros(3), "b": np.zeros(2)}
    for n in range(1, 6):
        q = f(p, 1.0)
        assert all([q[k] is p[k] for k in p])
        assert p["a"].tolist() == [-n] * 3
    q = f({"a": p["a"], "b": p["a"][:2]}, 1.0)
    assert q["a"] is not p["a"]
    assert p["a"].tolist() == [-5] * 3


def test_threads_with_different_structures():
    f = ft.jit(lambda x, n: ft.tree.map(lambda x: x * 2 + n, x))
    kinds = [X, [X, X], {"a": X, "b": (X,)}, Point(X, 1.0), (np.ones(5), 2.0), 3.0]
    expected = [ft.tree.map(lambda x: x * 2 + 1, x) for x in kinds]
    errors = []
    start = threading.Barrier(8)

    def work(first):
        try:
            start.wait()
            for n in range(300):
                k = (first + n * (1 + first % 3)) % len(kinds)
                if n % 100 == 99 and first == 0:
                    f.clear_cache()
                if n % 50 == 49 and first == 1:
                    with ft.disable_jit():
                        f(kinds[k], 1)
                got = f(kinds[k], 1)
                assert ft.tree.structure(got) == ft.tree.structure(kinds[k])
                for a, b in zip(ft.tree.leaves(got), ft.tree.leaves(expected[k]), strict=True):
                    np.testing.assert_array_equal(a, b)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not errors, errors[0]


def test_a_function_that_calls_itself():
    power = ft.jit(lambda x, n: x if n == 1 else x * power(x, n - 1), static_argnums=1)
    for _ in range(4):
        assert power(2.0, 3) == 8.0
        assert power(2.0, 2) == 4.0


def test_guards_are_functions_of_the_call_alone():
    f = warm(ft.jit(lambda x: x + 1), X)
    (guard,) = f._short_ways.guards
    assert type(guard) is types.FunctionType
    assert guard((X, X), {}) is guards.MISS
    assert guard((X,), {"y": 1}) is guards.MISS
    np.testing.assert_array_equal(guard((X,), {}), X + 1)
