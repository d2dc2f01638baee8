"""The list of passes that make the final form of a program, the one that a backend gets."""

from __future__ import annotations

from functrans.core.jaxpr import Jaxpr, derived, interned
from functrans.passes.common_subexpressions import merge_common_subexpressions
from functrans.passes.dead_code import eliminate_dead_code
from functrans.passes.delays import delay_until_needed
from functrans.passes.inline import inline_all
from functrans.passes.invariants import hoist_invariants
from functrans.passes.padded_sums import sum_padded_arrays
from functrans.passes.simplify import simplify, simplify_final

__all__ = ["PASSES", "finalize", "simplified", "stages", "tidied"]

PASSES = (
    inline_all,
    hoist_invariants,
    simplify_final,
    merge_common_subexpressions,
    sum_padded_arrays,
    eliminate_dead_code,
    delay_until_needed,
)
"""In the order in which they run. Every pass keeps the bits of the results."""


def finalize(jaxpr: Jaxpr) -> Jaxpr:
    """The program after all passes."""
    return derived(jaxpr, "final", lambda: _run_passes(jaxpr))


def stages(jaxpr: Jaxpr) -> list[tuple[str, Jaxpr]]:
    """The program as it was recorded, and as each pass leaves it: the last one is the final form.

    >>> import functrans as ft
    >>> program = ft.make_jaxpr(lambda x: x * x / 1.0)(2.0).jaxpr
    >>> [(name, len(step)) for name, step in stages(program)][-1]
    ('delay_until_needed', 1)
    """
    steps = [("recorded", jaxpr)]
    for run_pass in PASSES:
        steps.append((run_pass.__name__, run_pass(steps[-1][1])))
    return steps


def tidied(jaxpr: Jaxpr) -> Jaxpr:
    """A program that a transformation has just made, simplified as far as other transformations may follow."""
    return interned(simplified(jaxpr))


def simplified(jaxpr: Jaxpr) -> Jaxpr:
    """As `tidied`, of a program that is not kept because another step follows at once."""
    return eliminate_dead_code(simplify(jaxpr))


def _run_passes(jaxpr: Jaxpr) -> Jaxpr:
    return interned(stages(jaxpr)[-1][1])
