"""The list of passes that make the final form of a program, the one that a backend gets."""

from __future__ import annotations

from functrans.core.jaxpr import Jaxpr, derived
from functrans.passes.dead_code import eliminate_dead_code
from functrans.passes.inline import inline_all

__all__ = ["PASSES", "finalize"]

PASSES = (inline_all, eliminate_dead_code)
"""In the order in which they run. Every pass keeps the bits of the results."""


def finalize(jaxpr: Jaxpr) -> Jaxpr:
    """The program after all passes."""
    return derived(jaxpr, "final", lambda: _run_passes(jaxpr))


def _run_passes(jaxpr: Jaxpr) -> Jaxpr:
    for simplify in PASSES:
        jaxpr = simplify(jaxpr)
    return jaxpr
