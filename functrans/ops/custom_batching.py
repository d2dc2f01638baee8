"""The primitive of functions that say how they are batched."""

from __future__ import annotations

from typing import Any

from functrans.core.aval import Aval
from functrans.core.jaxpr import Jaxpr
from functrans.core.primitive import Primitive
from functrans.core.rules import def_abstract

__all__ = ["custom_vmap_p"]


def _results(*avals: Aval, jaxpr: Jaxpr, rule: Any) -> tuple[Aval, ...]:
    return jaxpr.out_avals


custom_vmap_p = Primitive("custom_vmap", multiple_results=True)
custom_vmap_p.is_call = True
"""A call of the program `jaxpr`; `rule.batched(jaxpr, size, which operands are stacked)` is the program of its batches,
on operands stacked along axis 0, with which of its results are stacked."""
def_abstract(custom_vmap_p, _results)
