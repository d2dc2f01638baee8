"""Programs are kept for reuse, bounded in equations; a second call derives nothing."""

import gc
import itertools
import sys
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import lax
from functrans.core.aval import Aval
from functrans.core.jaxpr import Jaxpr, Literal, cached_equations, clear_programs, interned
from functrans.core.params import Params
from functrans.core.primitive import Primitive
from functrans.core.rules import def_abstract, def_batch, def_impl, def_jvp
from functrans.transforms.jvp import jvp
from functrans.transforms.linearize import linearize

X = np.array([1.0, 2.0, 3.0])


@pytest.fixture
def small_cache() -> Iterator[int]:
    """A cache of 200 equations."""
    before = ft.config.program_cache_equations
    clear_programs()
    ft.config.program_cache_equations = 200
    yield 200
    ft.config.program_cache_equations = before
    clear_programs()


def chain(n: int) -> Any:
    """A program of n equations."""

    def f(x: Any) -> Any:
        for _ in range(n):
            x = lax.sin(x)
        return x

    return ft.make_jaxpr(f)(1.0).jaxpr


def test_the_cache_is_bounded_in_equations(small_cache: int) -> None:
    for n in range(1, 60):
        chain(n)
        assert cached_equations() <= small_cache
    assert cached_equations() > small_cache / 2


def test_the_least_recently_used_program_goes_first(small_cache: int) -> None:
    used, unused = weakref.ref(chain(20)), weakref.ref(chain(21))
    for n in range(30, 40):
        chain(n)
        assert chain(20) is used()
    gc.collect()
    assert used() is not None
    assert unused() is None


def test_one_program_larger_than_the_cache_still_works(small_cache: int) -> None:
    f = lambda x: chain_of(x, 300)
    np.testing.assert_allclose(ft.grad(f)(1e-3), 1.0, rtol=1e-3)
    np.testing.assert_allclose(ft.grad(f)(1e-3), 1.0, rtol=1e-3)


def chain_of(x: Any, n: int) -> Any:
    for _ in range(n):
        x = lax.sin(x)
    return x


def test_what_is_derived_goes_with_its_program(small_cache: int) -> None:
    program = chain(10)
    derived = weakref.ref(jvp(program, (True,))[0])
    before = cached_equations()
    linearize(program, (True,))
    assert cached_equations() > before
    reference = weakref.ref(program)
    del program
    gc.collect()
    assert reference() is not None  # kept
    assert derived() is not None
    for n in range(60, 70):
        chain(n)
    gc.collect()
    assert reference() is None
    assert derived() is None


def test_a_program_that_somebody_holds_survives_and_comes_back(small_cache: int) -> None:
    program = chain(10)
    first = jvp(program, (True,))[0]
    clear_programs()
    assert cached_equations() == 0
    again = jvp(program, (True,))[0]
    assert again == first
    assert str(again) == str(first)
    assert cached_equations() <= small_cache


def test_unjitted_calls_do_not_leak(small_cache: int) -> None:
    for n in range(1, 50):
        ft.grad(lambda x, n=n: chain_of(x, n))(1.0)
        assert cached_equations() <= small_cache + 16 * n  # the family in use is never thrown out


def test_clear_programs() -> None:
    program = weakref.ref(chain(5))
    clear_programs()
    gc.collect()
    assert program() is None
    assert cached_equations() == 0


# --------------------------------------------------------------------------------------------------------------------
# A second call derives nothing


class Counted:
    """A primitive whose rules count how often they are asked."""

    def __init__(self, name: str) -> None:
        self.rules = self.recorded = 0
        self.primitive = Primitive(name)
        def_impl(self.primitive, np.sin)
        def_abstract(self.primitive, lambda x: x.strong)
        def_jvp(self.primitive, self._jvp)
        def_batch(self.primitive, self._batch)

    def _jvp(self, t: Any, out: Any, x: Any) -> Any:
        self.rules += 1
        return lax.mul(t, lax.cos(x))

    def _batch(self, size: int, operands: Any, axes: Any) -> Any:
        self.rules += 1
        return self.primitive.bind(operands[0]), axes[0]

    def __call__(self, x: Any) -> Any:
        self.recorded += 1
        return self.primitive.bind(x)


def total(x: Any) -> Any:
    return lax.reduce_sum(x, (0,))


TRANSFORMED = {
    "grad": lambda f: ft.grad(lambda x: total(f(x))),
    "value_and_grad": lambda f: ft.value_and_grad(lambda x: total(f(x))),
    "jvp": lambda f: lambda x: ft.jvp(f, (x,), (x,)),
    "vjp": lambda f: lambda x: ft.vjp(f, x)[1](x),
    "linearize": lambda f: lambda x: ft.linearize(f, x)[1](x),
    "vmap": lambda f: ft.vmap(f),
    "vmap of grad": lambda f: ft.vmap(ft.grad(f)),
    "jvp of grad": lambda f: lambda x: ft.jvp(ft.grad(lambda x: total(f(x))), (x,), (x,)),
    "hessian": lambda f: ft.hessian(lambda x: total(f(x))),
    "grad of jit": lambda f: ft.grad(ft.jit(lambda x: total(f(x)))),
}


@pytest.mark.parametrize("name", TRANSFORMED)
def test_a_second_call_only_runs_the_python(name: str) -> None:
    """The function is recorded again, at each call of an unjitted transformation, and no rule is asked."""
    counted = Counted(f"counted in {name}")
    f = TRANSFORMED[name](counted)
    f(X)
    rules = counted.rules
    assert rules > 0
    for factor in (2.0, 3.0):
        f(factor * X)
    assert counted.rules == rules
    if name != "grad of jit":
        assert counted.recorded >= 3
    f(X[:2])  # another shape is another program, but for the members of a batch
    assert (counted.rules > rules) is (name != "vmap of grad")


def test_a_jitted_function_is_recorded_once() -> None:
    counted = Counted("counted in jit")
    f = ft.jit(ft.grad(lambda x: total(counted(x))))
    for factor in (1.0, 2.0, 3.0):
        f(factor * X)
    assert (counted.recorded, counted.rules) == (1, 1)


def test_a_float_that_changes_makes_no_new_program() -> None:
    counted = Counted("counted with floats")
    for rate in (0.1, 0.2, 0.3, 0.1):
        gradient = ft.grad(lambda x, rate=rate: total(counted(lax.mul(x, X)) * rate))(X)
        np.testing.assert_allclose(gradient, rate * X * np.cos(X * X))
    assert counted.rules <= 3  # twice for a piece of it at first sight, once for the whole program


def test_equal_floats_do_not_merge() -> None:
    """The first call has equal floats; the program must not take them for one."""
    counted = Counted("counted with equal floats")
    f = lambda x, a, b: total(counted(x) * a + x * b)
    for a, b in ((2.0, 2.0), (2.0, 5.0), (3.0, 3.0), (4.0, 5.0)):
        result = ft.grad(lambda x, a=a, b=b: f(x, a, b))(X)
        np.testing.assert_allclose(result, a * np.cos(X) + b)
    assert counted.rules <= 3


def test_arrays_that_change_make_no_new_program() -> None:
    counted = Counted("counted with arrays")
    for scale in (1.0, 2.0, 3.0, 4.0):
        data = scale * X
        gradient = ft.grad(lambda x, data=data: total(counted(x) * data))(X)
        np.testing.assert_allclose(gradient, data * np.cos(X))
    assert counted.rules <= 3


def test_the_same_bits_on_every_call() -> None:
    f = ft.grad(lambda x: total(lax.tanh(x) * lax.exp(x) / (1 + x * x)))
    first = f(X)
    for _ in range(60):
        assert f(X).tobytes() == first.tobytes()


def test_nested_gradients_do_not_leak(small_cache: int) -> None:
    def outer(x: Any, n: int) -> Any:
        return ft.grad(lambda y: np.sum(np.tanh(np.exp(y * np.ones(n)) + np.sin(y))) * x)(x)

    def equations_alive() -> int:
        gc.collect()
        # Short programs are planned calls, which are kept apart.
        return sum([len(x) for x in gc.get_objects() if type(x) is Jaxpr and len(x) > 10])

    before = equations_alive()
    for n in range(1, 40):
        ft.grad(outer)(1.0, n)
    assert equations_alive() <= before + 3 * small_cache


def test_threads_intern_alike() -> None:
    shapes = [(n, 7_919) for n in range(300)]
    barrier = threading.Barrier(4)
    found: list[list[object]] = []

    def work() -> None:
        barrier.wait()
        found.append([(Aval(s, np.dtype("f4")), Params.of({"s": s}), Literal(float(s[0]) + 0.25)) for s in shapes])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for same in zip(*found, strict=True):
        assert len({tuple(map(id, one)) for one in same}) == 1  # type: ignore[call-overload]


def test_operations_are_listed_while_threads_make_more() -> None:
    before, done = sys.getswitchinterval(), threading.Event()

    def make(thread: int) -> None:
        for n in itertools.cycle(range(50)):
            if done.is_set():
                return
            aval = Aval((n + 1_000 * thread, 7_919), np.dtype("f8"))
            lax.add_p.operation((aval, aval), {})

    threads = [threading.Thread(target=make, args=(i,)) for i in range(4)]
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for _ in range(100_000):
            lax.add_p.operations()
    finally:
        done.set()
        sys.setswitchinterval(before)
        for thread in threads:
            thread.join()


def test_a_program_that_somebody_held_is_let_go_again() -> None:
    held = ft.make_jaxpr(lambda x: lax.exp(lax.sin(x)))(X).jaxpr
    clear_programs()
    assert interned(held) is held
    assert cached_equations() == 1 + len(held)
    clear_programs()
    assert ft.cache_info().programs.programs == 0
