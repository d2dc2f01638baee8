"""The list of passes that make the final form of a program, the one that a backend gets."""

from __future__ import annotations

from functrans.core.jaxpr import Jaxpr, derived, interned
from functrans.passes.algebra import simplify
from functrans.passes.common_subexpressions import merge_common_subexpressions
from functrans.passes.dead_code import eliminate_dead_code
from functrans.passes.inline import inline_all

__all__ = ["PASSES", "finalize", "tidied"]

PASSES = (inline_all, simplify, merge_common_subexpressions, eliminate_dead_code)
"""In the order in which they run. Every pass keeps the bits of the results."""


def finalize(jaxpr: Jaxpr) -> Jaxpr:
    """The program after all passes."""
    return derived(jaxpr, "final", lambda: _run_passes(jaxpr))


def tidied(jaxpr: Jaxpr) -> Jaxpr:
    """A program that a transformation has just made, simplified as far as other transformations may follow."""
    return interned(eliminate_dead_code(simplify(jaxpr)))


def _run_passes(jaxpr: Jaxpr) -> Jaxpr:
    for run_pass in PASSES:
        jaxpr = run_pass(jaxpr)
    return interned(jaxpr)
