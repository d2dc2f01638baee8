"""Emitted source: executed alone, it gives the bits of the jitted function."""

import ast
import subprocess
import sys
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given

import functrans as ft
from tests.cases import CASES
from tests.cases.case import Case
from tests.numerical import draw_all
from tests.test_random_programs import RandomProgram, programs

NOT_PORTABLE = {"debug_callback", "io_callback", "pure_callback", "callback_constant", "snapshots", "retrace"}
"""Primitives that call a user's Python function, or compile programs by themselves."""


def emitted(source: str) -> Any:
    """The last function of a file, which imports nothing but Python's library and NumPy."""
    tree = ast.parse(source)
    imports = [x for x in ast.walk(tree) if isinstance(x, (ast.Import, ast.ImportFrom))]
    assert all(
        [alias.name.partition(".")[0] in {"numpy", *sys.stdlib_module_names} for x in imports for alias in x.names]
    )
    namespace: dict[str, Any] = {}
    exec(compile(source, "<emitted>", "exec"), namespace)
    last = [x for x in tree.body if isinstance(x, ast.FunctionDef)][-1]
    return namespace[last.name]


def check(function: Any, *args: Any) -> str:
    """The source of a function, which gives the function's bits."""
    source = ft.emit_source(function, *args)
    with np.errstate(all="ignore"):
        expected, actual = ft.jit(function)(*args), emitted(source)(*args)
    assert ft.tree.structure(expected).num_leaves == ft.tree.structure(actual).num_leaves
    for a, b in zip(ft.tree.leaves(actual), ft.tree.leaves(expected), strict=True):
        assert (np.shape(a), a.dtype, a.tobytes()) == (np.shape(b), b.dtype, b.tobytes())
    return source


@pytest.mark.filterwarnings("ignore::functrans.errors.RetraceWarning")
@pytest.mark.parametrize("case", [case for case in CASES if case.primitive.name not in NOT_PORTABLE], ids=str)
def test_every_primitive(case: Case) -> None:
    operands = draw_all(np.random.default_rng(0), case.operands, case.dtypes[-1])
    if any([aval.dtype.kind == "V" for aval in ft.make_jaxpr(case.function)(*operands).jaxpr.avals]):
        return  # tapes are tested with the loops that make them
    check(case.function, *operands)


@pytest.mark.filterwarnings("ignore::functrans.errors.RetraceWarning")
@given(program=programs())
def test_random_programs_and_their_gradients(program: RandomProgram) -> None:
    inputs = program.inputs()
    check(program, *inputs)

    def loss(*xs: Any) -> Any:
        return sum([np.sum(x) for x in program(*xs)])

    check(ft.grad(loss, argnums=tuple(range(len(inputs)))), *inputs)


class TestPrograms:
    def test_loops_and_branches(self) -> None:
        w, xs = np.random.default_rng(0).normal(size=(3, 3)), np.ones((5, 3))

        def rnn(w: Any, xs: Any) -> Any:
            def step(h: Any, x: Any) -> Any:
                h = ft.lax.cond(np.sum(h) > 0, lambda: np.tanh(w @ h + x), lambda: h - x)
                return h, h * 2.0

            return np.sum(ft.lax.scan(step, xs[0], xs)[1])

        check(rnn, w, xs)
        check(ft.grad(rnn, argnums=(0, 1)), w, xs)
        check(ft.vmap(ft.grad(rnn), (None, 0)), w, np.stack([xs, -xs]))

    def test_reverse_mode_through_a_loop_of_unknown_length(self) -> None:
        def f(x: Any) -> Any:
            return ft.lax.while_loop(lambda c: np.sum(c) < 100.0, lambda c: c * c + 1.0, x).sum()

        check(f, np.array([0.5, 0.1]))
        check(ft.grad(f), np.array([0.5, 0.1]))
        check(ft.hessian(f), np.array([0.5, 0.1]))

    def test_a_training_step(self) -> None:
        params = [{"w": np.ones((3, 2)), "b": np.zeros(2)}, {"w": np.ones((2, 1)), "b": np.zeros(1)}]

        def loss(params: Any, x: Any) -> Any:
            for layer in params:
                x = np.tanh(x @ layer["w"] + layer["b"])
            return np.mean(x**2)

        def step(params: Any, x: Any, rate: float) -> Any:
            value, grads = ft.value_and_grad(loss)(params, x)
            return value, ft.tree.map(lambda p, g: p - rate * g, params, grads)

        source = check(step, params, np.ones((4, 3)), 0.1)
        assert "params[1]['w']" in source
        assert "# float64[3,2]" in source

    def test_arrays_from_outside_are_part_of_the_file(self) -> None:
        small, large = np.arange(3.0), np.random.default_rng(0).normal(size=(40, 3))
        check(lambda x: large @ (x * small), np.ones(3))

    def test_random_numbers(self) -> None:
        check(lambda key: ft.random.normal(ft.random.wrap_key_data(key), (7,)), ft.random.key_data(ft.random.key(3)))

    def test_arrays_from_outside_keep_their_bits(self) -> None:
        others = np.array([0x7FF8000000001234, 0xFFF8000000000000], np.uint64).view(float)
        arrays = [np.arange(100, dtype=">f8"), np.arange(3, dtype=">i4"), others, np.repeat(others, 40), np.array(3.0)]
        for array in arrays:
            check(lambda x, array=array: (x * array, np.negative(array)), np.float64(2.0))
        assert emitted(ft.emit_source(lambda: others))().tobytes() == others.tobytes()

    def test_results_are_laid_out_alike(self) -> None:
        x = np.asfortranarray(np.random.default_rng(0).normal(size=(50, 60)))

        def f(x: Any) -> Any:
            padded = ft.lax.pad(x, 0.0, [(1, 1, 0), (2, 0, 0)])
            chosen, clipped = np.where(x > 0, x, -2.0), np.clip(x, -0.5, 0.3)
            return [np.sum(a * 1.1) for a in (padded, chosen, clipped, np.concatenate([x, x]), x**3)]

        check(f, x)

    def test_checkpoint(self) -> None:
        check(ft.grad(lambda x: ft.checkpoint(lambda x: np.sin(np.sin(x)))(x).sum()), np.ones(3))

    def test_float32_and_non_finite_numbers(self) -> None:
        x = np.array([1.0, np.inf, -0.0, np.nan], np.float32)
        check(lambda x: (x * -0.0, np.maximum(x, np.inf), x - np.float32(0.1), np.where(x > 0, x, -np.inf)), x)


class TestStructures:
    def test_named_tuples_and_numbers(self) -> None:
        state = namedtuple("state", ["position", "step"])
        s = state(np.ones(2), 3)
        check(lambda s: state(s.position * 2.0, s.step + 1), s)

    def test_keyword_arguments(self) -> None:
        source = ft.emit_source(lambda x, *, scale: x * scale, np.ones(2), scale=2.0)
        np.testing.assert_array_equal(emitted(source)(np.ones(2), scale=3.0), [3.0, 3.0])

    def test_keyword_arguments_keep_their_names(self) -> None:
        arguments = {"np": 2.0, "class": 3.0, "é": 4.0, "a b": 5.0, "w1": 6.0, "_s": 7.0}

        def f(**kwargs: Any) -> Any:
            return {name: x + 1.0 for name, x in kwargs.items()}

        assert emitted(ft.emit_source(f, **arguments))(**arguments) == f(**arguments)
        assert "def f(*, _s, w1, **keywords):" in ft.emit_source(f, **arguments)

    def test_named_tuples_of_odd_names(self) -> None:
        for name, fields in (("t0", "t0 count"), ("np", "_0 x"), ("collections", "é x"), ("k0", "x k0")):
            kind = namedtuple(name, fields.split(), rename=True)
            source = check(lambda x, kind=kind: kind(x + 1.0, [kind(x * 2.0, x)]), np.ones(2))
            assert emitted(source)(np.ones(2))._fields == kind._fields

    def test_empty_results_and_none(self) -> None:
        check(lambda x: (None, (), [x]), np.ones(2))

    def test_results_nested_too_deeply_for_python_are_an_error(self) -> None:
        def nested(x: Any, depth: int) -> Any:
            for _ in range(depth):
                x = [x]
            return x

        check(lambda x: nested(x, 90), np.ones(2))
        with pytest.raises(ft.errors.NotPortableError, match="nested more than 100"):
            ft.emit_source(lambda x: nested(x, 250), np.ones(2))

    def test_a_class_of_ones_own_is_an_error(self) -> None:
        @ft.tree_util.register_pytree_node_class
        class Point:
            def __init__(self, x: Any) -> None:
                self.x = x

            def tree_flatten(self) -> Any:
                return (self.x,), None

            @classmethod
            def tree_unflatten(cls, data: Any, children: Any) -> Any:
                return cls(*children)

        with pytest.raises(ft.errors.NotPortableError, match=r"argument p has a .*Point"):
            ft.emit_source(lambda p: p.x, Point(np.ones(2)))


class TestNames:
    KEYS = ("a'] + __import__('os').name + b['", "\n    raise SystemExit\n", '"""', "np", "t0", "class", "ä", "1x", "")

    def test_keys_are_data(self) -> None:
        params = {key: np.full(2, float(i)) for i, key in enumerate(self.KEYS)}
        check(lambda params: {key: x * 2.0 for key, x in params.items()}, params)

    def test_parameters_named_as_what_the_source_uses(self) -> None:
        def function(np, t0, c0, zip, program0):
            return np + t0 * c0 - zip * program0

        check(function, *[np.full(2, float(i)) for i in range(5)])

    def test_parameters_are_not_renamed_for_what_the_source_makes(self) -> None:
        def function(w1, t0, f0, c0, k0, program0):
            return np.cumsum(w1 * t0) + f0 * c0 - k0 * program0 * np.arange(2.0)

        check(function, *[np.full(2, float(i)) for i in range(6)])
        assert "def function(w1, t0, f0, c0, k0, program0):" in ft.emit_source(function, *[np.ones(2)] * 6)

    @pytest.mark.parametrize("name", ["math", "functools", "collections", "Aval", "scan0", "sum", "__debug__"])
    def test_functions_named_as_what_the_source_uses(self, name: str) -> None:
        def function(x: Any) -> Any:
            return ft.lax.scan(lambda c, x: (np.prod(c) * x, np.sort(c)), x[0], x)

        function.__name__ = name
        check(function, np.ones((3, 2)))

    @pytest.mark.parametrize("name", ["<lambda>", "np", "a b", "x'); raise SystemExit #", "def"])
    def test_names_of_functions(self, name: str) -> None:
        def function(x: Any) -> Any:
            return x + 1.0

        function.__name__ = name
        check(function, np.ones(2))


def test_a_callback_is_an_error() -> None:
    with pytest.raises(ft.errors.NotPortableError, match="calls a Python function of yours"):
        ft.emit_source(lambda x: ft.pure_callback(np.sin, x, x), np.ones(2))


def test_a_file_needs_nothing_but_numpy(tmp_path: Path) -> None:
    source = ft.emit_source(ft.grad(lambda x: np.sum(np.tanh(x) ** 3)), np.ones(3))
    path = tmp_path / "emitted.py"
    path.write_text(source + "import sys\nprint(function(np.ones(3)), 'functrans' in sys.modules)\n")
    run = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, check=True, cwd=tmp_path)
    value = ft.grad(lambda x: np.sum(np.tanh(x) ** 3))(np.ones(3))
    assert run.stdout.split("\n")[0] == f"{value} False"
