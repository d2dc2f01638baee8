"""How much memory runs need, beside what they allocate."""

import tracemalloc

import numpy as np
import pytest

import functrans as ft
from functrans.analysis.liveness import memory_of
from functrans.backends.running import compiled

N = 100_000
BYTES = 8 * N


def memory(f, *args):
    return memory_of(ft.make_jaxpr(f)(*args).jaxpr)


def mlp(params, x):
    for W, b in params:
        x = np.tanh(x @ W + b)
    return np.sum(x**2)


def chain(x):
    for _ in range(6):
        x = np.sin(x) * 1.5
    return np.sum(x)


def scanned(x):
    def body(c, row):
        return np.sin(c) + row, c * 2

    return ft.lax.scan(body, x[0], x)


LAYERS = [(np.full((300, 300), 0.1), np.zeros(300)) for _ in range(5)]
CASES = {
    "a chain": (chain, (np.ones(N),)),
    "its gradient": (ft.grad(chain), (np.ones(N),)),
    "views": (lambda x: (x.reshape(100, -1).T[::2] + 1.0, x[::-1]), (np.ones(N),)),
    "one output twice": (lambda x: [np.exp(x)] * 2, (np.ones(N),)),
    "an argument returned": (lambda x: (x, x[: N // 2]), (np.ones(N),)),
    "branching": (lambda x: np.exp(x) * np.sin(x) + np.cos(x), (np.ones(N),)),
    "a broadcast output": (lambda x: np.broadcast_to(np.exp(x), (4, N)), (np.ones(N),)),
    "a loop": (scanned, (np.ones((20, N // 10)),)),
    "gradient of a network": (ft.grad(mlp), (LAYERS, np.ones((400, 300)))),
    "batched": (ft.vmap(chain), (np.ones((4, N)),)),
}


@pytest.mark.parametrize(("f", "args"), CASES.values(), ids=CASES.keys())
def test_the_peak_is_what_is_allocated(f, args):
    program = ft.make_jaxpr(f)(*args)
    values = [*ft.tree.leaves(args), *program.consts]
    run = compiled(program.jaxpr)
    run(*values)  # what is made once
    tracemalloc.start()
    try:
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        outs = run(*values)
        held, peak = (n - before for n in tracemalloc.get_traced_memory())
    finally:
        tracemalloc.stop()
    found = memory_of(program.jaxpr)
    assert found.peak == pytest.approx(peak, rel=0.1, abs=50_000)
    assert found.outputs == pytest.approx(held, rel=0.05, abs=20_000)
    assert found.outputs == sum(np.asarray(out).nbytes for out in outs)
    assert found.inputs == sum(np.asarray(x).nbytes for x in values)


def test_numbers_of_a_small_program():
    found = memory(lambda x: np.sum(np.sin(x) * 2.0), np.ones(N))
    assert (found.inputs, found.outputs, found.peak, found.buffers) == (BYTES, 8, BYTES + 8, 2)
    assert found.at == 2
    assert found.temporaries == BYTES


def test_dead_memory_is_taken_again():
    """All arrays are one: products and sums go where their operands were, or where the first array was."""
    found = memory(lambda x: np.sin(np.sum(np.sin(x) * x) + x) @ x, np.ones(N))
    assert found.buffers == 3
    assert found.peak == BYTES + 8


def test_a_view_keeps_its_memory():
    def f(x):
        y = np.sin(x)
        half = y[::2]
        z = np.cos(x)  # cannot take the memory of y
        return np.sum(z) + np.sum(half)

    assert memory(f, np.ones(N)).peak >= 2 * BYTES


def test_a_program_that_only_returns_its_arguments():
    found = memory(lambda x: x, np.ones(N))
    assert (found.outputs, found.peak, found.buffers, found.at) == (BYTES, BYTES, 1, None)
    assert found.temporaries == 0
    assert memory(lambda x: 1.0, 2.0).inputs == 8
