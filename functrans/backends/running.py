"""Running a program on arrays, by the backend that fits.

A program is interpreted until that has cost about as much as to generate its source; from then on it runs as a
function of its own. The bits are the same. What is sure to run often, a jitted function or the body of a loop, is
generated at once (`compiled`), and so is what works on arrays so large that one run costs more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from functrans.backends.interpreter import interpreted
from functrans.backends.numpy_codegen import generated
from functrans.core.aval import Aval
from functrans.core.jaxpr import Jaxpr, derived
from functrans.core.rules import def_specialized_impl
from functrans.ops.calls import call_p, jit_p
from functrans.passes.pipeline import finalize

__all__ = ["compiled", "executable", "run", "run_inner"]

INTERPRETED_RUNS = 20
"""How often a program is interpreted. To generate its source costs about that many runs, whatever its length."""
LARGE = 1 << 18
"""Bytes of a result from which on a run of an operation costs more than to generate its source."""


def run(jaxpr: Jaxpr, values: Sequence[Any]) -> list[Any]:
    """The outputs of a program on arrays of its inputs' avals."""
    found = jaxpr.memo.get("compiled")
    return executable(jaxpr)(values) if found is None else found(*values)


def compiled(jaxpr: Jaxpr, donated: frozenset[int] = frozenset()) -> Callable[..., list[Any]]:
    """The function, generated at once, of a program's inputs that gives its outputs.

    Args:
        jaxpr: the program.
        donated: the numbers of inputs whose memory may be written to: arrays in C order which nobody else reads. It
            may be the memory of any output then. They are written to when no equation is left that can raise an error.
    """
    key = ("compiled", donated) if donated else "compiled"
    found: Callable[..., list[Any]] | None = jaxpr.memo.get(key)
    return derived(jaxpr, key, lambda: generated(jaxpr, donated)) if found is None else found


def executable(jaxpr: Jaxpr) -> Callable[[Sequence[Any]], list[Any]]:
    """The function of a list of arrays that computes the program: interpreted at first, then generated."""
    found = jaxpr.memo.get("executable")
    return derived(jaxpr, "executable", lambda: _tiered(jaxpr)) if found is None else found


def _tiered(jaxpr: Jaxpr) -> Callable[[Sequence[Any]], list[Any]]:
    if any([aval.nbytes >= LARGE for eqn in finalize(jaxpr).eqns for aval in eqn.out_avals]):
        run_compiled = compiled(jaxpr)
        return lambda values: run_compiled(*values)
    interpret: Callable[[Sequence[Any]], list[Any]] | None = interpreted(jaxpr)
    function: Callable[..., list[Any]] | None = None
    runs = 0

    def run_program(values: Sequence[Any]) -> list[Any]:
        nonlocal function, interpret, runs
        if function is not None:
            return function(*values)
        runs += 1
        if runs <= INTERPRETED_RUNS:
            now = interpret
            if now is not None:  # else another thread has just generated it
                return now(values)
        function = compiled(jaxpr)
        interpret = None
        return function(*values)

    return run_program


def run_inner(*avals: Aval, jaxpr: Jaxpr, **params: Any) -> Callable[..., Any]:
    """The implementation of a primitive that is a call of the program that it carries."""
    return lambda *values: run(jaxpr, values)


for _primitive in (call_p, jit_p):
    def_specialized_impl(_primitive, run_inner)
