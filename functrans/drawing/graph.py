"""What is drawn: nodes and edges, in boxes that hold others. How it looks is not decided here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

__all__ = ["TIMES", "Box", "Edge", "Node"]

TIMES = "\N{MULTIPLICATION SIGN}"


@dataclass(eq=False)
class Node:
    """A variable or an operation."""

    key: str
    """Its name in the drawing, unique."""
    kind: str
    """One of the keys of `functrans.drawing.style.NODES`."""
    lines: tuple[str, ...]
    """What is written on it."""
    tooltip: str = ""


@dataclass(eq=False)
class Edge:
    """From where a value comes to where it is used: keys of nodes."""

    source: str
    target: str
    tooltip: str = ""
    result: str = ""
    """Which result of its source it is, if that has several."""
    count: int = 1
    """How many times its target uses it."""

    @property
    def label(self) -> str:
        """What is written on it."""
        return " ".join([text for text in (self.result, f"{TIMES}{self.count}" if self.count > 1 else "") if text])


@dataclass(eq=False)
class Box:
    """A program: that of an opened call or loop, or all that is drawn.

    What enters and leaves it passes through ports, so that an edge never crosses its border anywhere else.
    """

    key: str
    title: str = ""
    tooltip: str = ""
    inputs: list[Node] = field(default_factory=list)
    """The ports by which values enter."""
    nodes: list[Node | Box] = field(default_factory=list)
    """What is inside, in the order of the program."""
    outputs: list[Node] = field(default_factory=list)
    """The ports by which values leave."""
    edges: list[Edge] = field(default_factory=list)
    """Those between ports of this box, its nodes, and the outer ports of boxes among them."""
    loops: list[Edge] = field(default_factory=list)
    """From a port by which a value leaves to that by which it enters again in the next iteration."""

    def walk(self) -> Iterator[Node | Box]:
        """The box itself, and all nodes and boxes in it."""
        yield self
        yield from self.inputs
        for node in self.nodes:
            if isinstance(node, Box):
                yield from node.walk()
            else:
                yield node
        yield from self.outputs
