"""The primitive of loops with a known number of iterations, with its type. Its rules are in `functrans.control`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from functrans.core.aval import Aval, HasAval
from functrans.core.jaxpr import Jaxpr
from functrans.core.primitive import Primitive
from functrans.core.rules import def_abstract
from functrans.core.tapes import added

__all__ = ["TapeStack", "bind_scan", "row_of", "scan_p", "stack_of"]


def bind_scan(
    jaxpr: Jaxpr, consts: Sequence[Any], init: Sequence[Any], xs: Sequence[Any], length: int, reverse: bool
) -> tuple[Any, ...]:
    """One equation that runs a body `length` times.

    Args:
        jaxpr: the body, from constants, carry and one row of each of `xs`, to the next carry and one row of each
            stacked result.
        consts: what each iteration reads.
        init: the first carry.
        xs: what the iterations read row by row, along axis 0.
        length: how many iterations.
        reverse: whether they go from the last row to the first.

    Returns:
        The last carry, then the stacked results.
    """
    params = {"length": length, "reverse": reverse, "n_consts": len(consts), "n_carry": len(init)}
    return scan_p.bind(*consts, *init, *xs, jaxpr=jaxpr, **params)


def row_of(aval: Aval) -> Aval:
    """The aval of one row of a stack."""
    return aval.with_shape(aval.shape[1:])


def stack_of(aval: Aval, length: int) -> Aval:
    """The aval of a stack of so many rows."""
    return Aval((length, *aval.shape), aval.dtype)


def _scan_abstract(
    *avals: Aval, jaxpr: Jaxpr, length: int, reverse: bool, n_consts: int, n_carry: int
) -> tuple[Aval, ...]:
    first = n_consts + n_carry
    if any([not aval.ndim or aval.shape[0] != length for aval in avals[first:]]):
        raise TypeError(f"scan: each of {', '.join(map(str, avals[first:]))} must have {length} rows")
    given = [*avals[:first], *[row_of(aval) for aval in avals[first:]]]
    if [aval.strong for aval in given] != [aval.strong for aval in jaxpr.in_avals]:
        raise TypeError(f"scan: the body is for {jaxpr.in_avals}, got {tuple(given)}")
    carry = jaxpr.out_avals[:n_carry]
    if [aval.strong for aval in carry] != [aval.strong for aval in given[n_consts:first]]:
        raise TypeError(f"scan: the body must keep the types of the carry, {given[n_consts:first]}, and gives {carry}")
    return (*[aval.strong for aval in carry], *[stack_of(aval, length) for aval in jaxpr.out_avals[n_carry:]])


scan_p = Primitive("scan", multiple_results=True)
"""A loop with a known number of iterations, whose body is the program `jaxpr`; see `bind_scan`.

Operands: `n_consts` constants, `n_carry` initial values of the carry, then the stacks that are read row by row.
"""
def_abstract(scan_p, _scan_abstract)


class TapeStack(HasAval):
    """A stack of values that are not arrays: the tapes of the loops inside of the body, one for each iteration.

    It can be read and written row by row, reversed and added to another one. As for a tape, what is done to the axes of
    a row is done to the arrays on it.
    """

    __slots__ = ("aval", "rows")

    def __init__(self, aval: Aval, rows: list[Any]) -> None:
        self.aval = aval
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.rows)

    def __getitem__(self, index: Any) -> Any:
        found = self.rows[index]
        return TapeStack(stack_of(row_of(self.aval), len(found)), found) if isinstance(index, slice) else found

    def __setitem__(self, index: int, row: Any) -> None:
        self.rows[index] = row

    def __add__(self, other: Any) -> TapeStack:
        return TapeStack(self.aval, [added(x, y) for x, y in zip(self.rows, other, strict=True)])

    def transpose(self, permutation: Sequence[int]) -> TapeStack:
        """As `ndarray.transpose`, for a permutation that leaves the rows where they are."""
        if permutation[0] != 0:
            raise TypeError("a stack of tapes is read along its first axis, which cannot move")
        shape = tuple([self.aval.shape[d] for d in permutation])
        inner = [d - 1 for d in permutation[1:]]
        return TapeStack(self.aval.with_shape(shape), [row.transpose(inner) for row in self.rows])

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return self.transpose(*args[1:]) if function is np.transpose else NotImplemented
