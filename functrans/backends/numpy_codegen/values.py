"""What the atoms of a program are in its source, and whose memory they have.

The layout of an array decides the order in which a reduction adds it up, and so its last bits. A buffer is written into
again only where the result would have the same layout as a fresh array. For that, layouts are tokens: `C` is C order,
without gaps; equal tokens are the same order of axes; None may be anything. The rule is NumPy's own: an elementwise
operation makes its result in C order if one operand of full shape is in C order, and else in the common order of its
operands.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from functrans.core.aval import Aval

__all__ = ["C", "Buffer", "Deletion", "Value", "elementwise_layout", "is_linear"]

C = "C"
Layout = Hashable


@dataclass(slots=True, eq=False)
class Deletion:
    """A line that lets a name go, unless its memory is used again."""

    name: str
    cancelled: bool = False


@dataclass(slots=True, eq=False)
class Buffer:
    """The memory of an array that the program itself has made."""

    name: str
    aval: Aval
    layout: Layout
    live: int = 0
    """How many of the atoms that share it are still to be read."""
    names: int = 1
    """How many names it has in the source."""
    from_equation: int = 0
    """The number of the equation from which on it may be written to."""


class Value(NamedTuple):
    """An atom in the source."""

    text: str
    """An expression without operators: a name, or a view of one."""
    aval: Aval
    layout: Layout
    """None where nothing is known."""
    buffer: Buffer | None = None
    """Whose memory it shares; None if that is not ours to write to: an input, a literal."""
    stretched: bool = False
    """Whether NumPy stretches it to the shape of the other operands."""

    @property
    def is_whole(self) -> bool:
        """Whether it is all of its buffer."""
        return self.buffer is not None and self.text == self.buffer.name


def is_linear(aval: Aval) -> bool:
    """Whether at most one axis has a length other than 1, so that there is only one order of axes."""
    return sum([n != 1 for n in aval.shape]) <= 1


def elementwise_layout(out: Aval, operands: Sequence[Value]) -> Layout:
    """The layout of a fresh result; a new token where it is in some order of its own."""
    if is_linear(out):
        return C
    layouts = {x.layout if x.layout is not None else object() for x in operands if not is_linear(x.aval)}
    full = {x.layout for x in operands if not x.stretched and x.aval.shape == out.shape}
    if C in full:
        return C
    return layouts.pop() if len(layouts) == 1 else object()
