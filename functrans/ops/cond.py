"""The primitive that runs one of several programs. Its rules are in `functrans.control.cond`."""

from __future__ import annotations

from functrans.core.aval import Aval
from functrans.core.jaxpr import Jaxpr
from functrans.core.primitive import Primitive
from functrans.core.rules import def_abstract

__all__ = ["cond_p"]


def _cond_abstract(
    index: Aval, *operands: Aval, branches: tuple[Jaxpr, ...], slots: tuple[int, ...]
) -> tuple[Aval, ...]:
    if index.shape or index.dtype.kind not in "biu":
        raise TypeError(f"cond: the index of the branch must be a boolean or an integer scalar, got {index}")
    ins = [aval.strong for aval in operands]
    outs = [aval.strong for aval in branches[0].out_avals]
    for branch in branches:
        if [aval.strong for aval in branch.in_avals] != ins:
            raise TypeError(f"cond: a branch takes {branch.in_avals}, and the operands are {operands}")
        if [aval.strong for aval in branch.out_avals] != outs:
            raise TypeError(f"cond: branches give {branches[0].out_avals} and {branch.out_avals}")
    return tuple(outs)


cond_p = Primitive("cond", multiple_results=True)
"""The program `branches[index]` on the operands; of booleans, False is the first. An index that is no branch's number
counts as the nearest that is. Only this one program runs.

The results with the numbers `slots` are residuals of one branch, which are read only where it has run: the others give
zeros, and nobody looks at these.
"""
def_abstract(cond_p, _cond_abstract)
