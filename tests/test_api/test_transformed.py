"""Transformed functions as Python objects: names, methods, pickles, copies, processes and threads."""

import copy
import functools
import gc
import inspect
import multiprocessing
import os
import pickle
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import functrans as ft
from functrans.core.jaxpr import cached_equations
from tests.test_api import picklable

X = np.array([0.5, 1.0])
TRANSFORMED = {
    "grad": ft.grad(picklable.loss),
    "value_and_grad": ft.value_and_grad(picklable.loss, argnums=(0,)),
    "jit": ft.jit(picklable.loss, static_argnames="y"),
    "vmap": ft.vmap(picklable.loss),
    "jacfwd": ft.jacfwd(picklable.loss),
    "jacrev": ft.jacrev(picklable.loss),
    "hessian": ft.hessian(picklable.loss),
    "make_jaxpr": ft.make_jaxpr(picklable.loss),
    "named_call": ft.named_call(picklable.loss, name="loss"),
    "nested": ft.jit(ft.vmap(ft.grad(picklable.loss))),
    "decorated": picklable.decorated,
    "twice decorated": ft.vmap(picklable.twice_decorated),
    "rebound": ft.vmap(picklable.rebound),
    "of a partial": picklable.of_partial,
    "partial": functools.partial(ft.grad(picklable.loss), y=3.0),
    "primitive": ft.vmap(ft.grad(picklable.cubed)),
}


def same(a, b):
    a, b = ft.tree.leaves(a), ft.tree.leaves(b)
    return len(a) == len(b) and all(str(x) == str(y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("f", TRANSFORMED.values(), ids=TRANSFORMED)
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.filterwarnings("ignore:primitive .* has no batching rule")
def test_pickle_and_copy(f, protocol):
    expected = f(X)
    for again in (pickle.loads(pickle.dumps(f, protocol)), copy.deepcopy(f), copy.copy(f)):
        assert type(again) is type(f)
        assert same(again(X), expected)


@pytest.mark.parametrize("name", ["decorated", "twice_decorated", "rebound", "cubed", "under_another_name"])
def test_what_its_module_has_is_pickled_by_name(name):
    f = getattr(picklable, name)
    assert pickle.loads(pickle.dumps(f)) is f
    assert copy.deepcopy(f) is f or type(f) is not type(picklable.cubed)


@pytest.mark.parametrize("transform", [ft.grad, ft.jit, ft.vmap, ft.hessian, ft.make_jaxpr, ft.named_call])
def test_it_looks_like_the_function(transform):
    f = transform(picklable.loss)
    assert (f.__name__, f.__qualname__, f.__doc__) == ("loss", "loss", "The loss.")
    assert f.__module__ == picklable.__name__
    assert inspect.unwrap(f) is picklable.loss
    assert inspect.signature(f) == inspect.signature(picklable.loss)
    assert transform(f).__name__ == "loss"
    assert {f, f} == {f}
    assert repr(f).endswith("of loss>")


def test_it_looks_like_the_function_of_a_partial():
    f = ft.grad(functools.partial(picklable.loss, y=3.0))
    assert (f.__name__, f.__doc__) == ("loss", "The loss.")
    assert list(inspect.signature(f).parameters) == ["x", "y"]
    assert f(0.0) == 3.0


def test_attributes_of_the_function_are_kept_and_those_of_a_transformed_one_are_not():
    def f(x):
        return x

    f.tag = "mine"
    jitted = ft.jit(f)
    assert jitted.tag == "mine"
    assert not hasattr(ft.grad(jitted), "_programs")


def test_methods():
    model = picklable.Model(3.0)
    assert model(2.0) == 6.0
    assert model.gradient(2.0) == 36.0
    assert picklable.Model.doubled(2.0) == model.doubled(2.0) == 4.0
    assert picklable.Model.tripled(2.0) == model.tripled(2.0) == 6.0
    assert picklable.Model.scaled(2.0) == model.scaled(2.0) == 14.0
    assert pickle.loads(pickle.dumps(model))(2.0) == 6.0
    assert pickle.loads(pickle.dumps(picklable.Model.doubled)) is picklable.Model.doubled
    assert pickle.loads(pickle.dumps(picklable.Model(5.0).__call__))(2.0) == 10.0
    with pytest.raises(TypeError, match=r"jit needs a function, got .* of type classmethod: write @classmethod above"):
        ft.jit(classmethod(lambda cls, x: x))


def test_what_cannot_be_pickled_says_so():
    with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
        pickle.dumps(ft.grad(lambda x: x))
    local = ft.extend.primitive(lambda x: x, name="local_to_a_test")
    with pytest.raises(pickle.PicklingError, match="primitive 'local_to_a_test' cannot be pickled: it is not a global"):
        pickle.dumps(local)
    assert copy.deepcopy({"f": local})["f"] is local


class TestPrograms:
    @pytest.mark.parametrize("f", [picklable.loss, picklable.cubed, picklable.decorated, lambda x: np.sort(x)[X > 0.7]])
    def test_round_trip(self, f):
        closed = ft.make_jaxpr(f)(X)
        again = pickle.loads(pickle.dumps(closed))
        assert str(again) == str(closed)
        assert again.jaxpr is closed.jaxpr
        assert same(
            ft.core.eval_jaxpr(again.jaxpr, again.consts, X), ft.core.eval_jaxpr(closed.jaxpr, closed.consts, X)
        )
        assert same(copy.deepcopy(closed).consts, closed.consts)

    def test_primitives_of_users(self):
        assert pickle.loads(pickle.dumps(picklable.halved_p)) is picklable.halved_p
        closed = ft.make_jaxpr(lambda x: picklable.halved_p.bind(picklable.under_another_name(x)))(X)
        assert pickle.loads(pickle.dumps(closed)).jaxpr is closed.jaxpr
        assert b"halved_p" in pickle.dumps(closed)
        assert b"under_another_name" in pickle.dumps(closed)

    def test_a_primitive_that_is_not_there(self):
        local = ft.core.Primitive("gone_after_pickling")
        data = pickle.dumps(local)
        with pytest.raises(LookupError, match="no primitive named 'gone_after_picklinh' in this process: import"):
            pickle.loads(data.replace(b"gone_after_pickling", b"gone_after_picklinh"))


class TestLinearMaps:
    def f(self, p, n):
        return {"y": np.sin(p["w"]) * n, "z": p["b"] ** 2}

    def test_pull_back(self):
        p = {"w": X, "b": 3.0}
        _, pull_back = ft.vjp(self.f, p, 2)
        types = "(float64[2], float64[])"
        assert repr(pull_back) == f"<transposed derivative of f: {types} -> (float64[], float64[2])>"
        ct = {"y": np.ones(2), "z": 1.0}
        for again in (pickle.loads(pickle.dumps(pull_back)), copy.deepcopy(pull_back)):
            assert same(again(ct), pull_back(ct))
            with pytest.raises(TypeError, match=r"the cotangent of output\['y'\] of f must have the shape"):
                again({"y": np.ones(3), "z": 1.0})

    def test_push_forward(self):
        _, push_forward = ft.linearize(self.f, {"w": X, "b": 3.0}, 2)
        again = pickle.loads(pickle.dumps(push_forward))
        dp = {"w": np.ones(2), "b": 0.0}
        assert same(again(dp, None), push_forward(dp, None))
        assert repr(again).startswith("<derivative of f:")
        with pytest.raises(TypeError, match=r"the tangent of p\['w'\] must have the shape"):
            again({"w": np.ones(3), "b": 0.0}, None)

    def test_transposed(self):
        transposed = ft.linear_transpose(lambda x: 3.0 * x[::-1], X)
        assert same(pickle.loads(pickle.dumps(transposed))(X), transposed(X))

    def test_they_are_pytrees(self):
        _, pull_back = ft.jit(lambda x: ft.vjp(np.sin, x))(0.0)
        assert pull_back(2.0) == (2.0,)
        assert ft.jit(lambda f, ct: f(ct))(pull_back, 3.0) == (3.0,)
        batched = ft.vmap(lambda x: ft.vjp(np.sin, x)[1])(X)
        np.testing.assert_allclose(ft.vmap(lambda f, ct: f(ct))(batched, np.ones(2))[0], np.cos(X))

    def test_of_tracers(self):
        def f(x):
            _, pull_back = ft.vjp(np.sin, x)
            with pytest.raises(TypeError, match="a tracer float64\\[\\] cannot be pickled"):
                pickle.dumps(pull_back)
            return copy.deepcopy(pull_back)(1.0)[0]

        assert ft.grad(f)(0.0) == 0.0

    def test_they_do_not_keep_the_arguments(self):
        class Array(np.ndarray):
            pass

        x = np.ones(100_000).view(Array)
        alive = weakref.ref(x)
        _, pull_back = ft.vjp(lambda x: 2.0 * x, x)
        del x
        gc.collect()
        assert alive() is None
        assert pull_back(np.ones(100_000))[0][0] == 2.0


# --------------------------------------------------------------------------------------------------------------------
# Processes

TASKS = [
    (picklable.gradient, X),
    (picklable.decorated, X),
    (ft.jit(ft.grad(picklable.loss)), X),
    (ft.vjp(np.sin, X)[1], X),
    (picklable.Model(2.0), X),
    (ft.grad(picklable.cubed), 2.0),
]


def expected_of_tasks():
    return [str(picklable.run_in_worker(task)) for task in TASKS]


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_multiprocessing(method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    with multiprocessing.get_context(method).Pool(1) as pool:
        results = pool.map(picklable.run_in_worker, TASKS)
    assert [str(x) for x in results] == expected_of_tasks()


def test_joblib():
    joblib = pytest.importorskip("joblib")
    results = joblib.Parallel(n_jobs=2)(joblib.delayed(f)(x) for f, x in TASKS)
    assert [str(x) for x in results] == expected_of_tasks()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_fork_while_threads_are_at_work():
    stop = threading.Event()

    def work():
        n = 1
        while not stop.is_set():
            n = n % 50 + 1
            ft.grad(ft.jit(lambda x: np.sum(np.tanh(x * 1.5))))(np.ones(n))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for i in range(10):
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    x = np.ones(100 + i)
                    code = int(not np.allclose(ft.grad(ft.jit(picklable.loss))(x), 2 * np.cos(x)))
                finally:
                    os._exit(code)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()


# --------------------------------------------------------------------------------------------------------------------
# Threads


def together(n_threads, work):
    """Run a function of the thread's number in many threads that begin at once and change often."""
    barrier = threading.Barrier(n_threads)

    def begin(i):
        barrier.wait()
        return work(i)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(n_threads) as pool:
            return list(pool.map(begin, range(n_threads)))
    finally:
        sys.setswitchinterval(interval)


def test_threads_share_no_recording():
    shared = ft.jit(lambda x, k: np.sum(np.sin(x) * k), static_argnums=1)

    def work(i):
        for round_ in range(8):
            n = 1 + (i + round_) % 5
            x = np.linspace(0.1, 1.0, n)
            np.testing.assert_allclose(ft.grad(lambda x: shared(x, i))(x), np.cos(x) * i)
            np.testing.assert_allclose(ft.vmap(ft.grad(lambda y: y**2 * float(i)))(x), 2 * x * i)
            np.testing.assert_allclose(ft.jit(lambda x: np.cumsum(x) * i)(x), np.cumsum(x) * i)
            np.testing.assert_allclose(ft.hessian(lambda x: np.sum(x**3))(x), np.diag(6 * x))
            with ft.named_scope(f"thread {i}"):
                program = ft.make_jaxpr(lambda x, k: np.exp(x) + k, static_argnums=1)(x, i * 1000 + round_)
            assert {eqn.scopes for eqn in program.eqns} == {(f"thread {i}",)}
        return True

    assert all(together(12, work))


def test_threads_that_make_the_same_program_get_one():
    make = ft.make_jaxpr(lambda x, n: np.sin(x) * 3.25 + n, static_argnums=1)
    programs = together(16, lambda i: [make(1.0, n).jaxpr for n in range(20)])
    assert all(a is b for other in programs[1:] for a, b in zip(programs[0], other, strict=True))


def test_caches_are_consistent_when_they_are_cleared_and_overflow(monkeypatch):
    monkeypatch.setattr(ft.config, "program_cache_equations", 300)
    monkeypatch.setattr(sys.modules["functrans.api.jit"], "PROGRAMS_MAX", 4)
    shared = ft.jit(lambda x: np.tanh(x) * 2)

    def work(i):
        for round_ in range(30):
            x = np.full(1 + (i * 7 + round_) % 9, 0.5)
            np.testing.assert_allclose(shared(x), np.tanh(x) * 2)
            np.testing.assert_allclose(ft.grad(lambda x: np.sum(shared(x)))(x), 2 / np.cosh(x) ** 2)
            if i == 0:
                ft.clear_caches()
        return True

    assert all(together(8, work))
    assert len(shared._programs) <= 4
    ft.clear_caches()
    assert cached_equations() == 0
    assert not shared._programs


def test_disable_jit_holds_for_one_thread():
    calls = []
    f = ft.jit(lambda x: calls.append(threading.get_ident()) or x)
    f(1.0)
    calls.clear()

    def work(i):
        with ft.disable_jit(i % 2 == 0):
            for _ in range(5):
                f(1.0)
        return threading.get_ident(), i % 2 == 0

    for ident, disabled in together(4, work):
        assert (calls.count(ident) > 0) == disabled


def test_arrays_are_writeable_again_after_threads_have_read_them():
    x = np.ones(200_000)

    def work(i):
        for _ in range(5):
            ft.grad(lambda y: np.sum(y * x) * i)(x)
        return True

    assert all(together(6, work))
    x[0] = 2.0
