"""The table of what primitives are in the source. A primitive that is not in it is a call of its implementation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

from functrans.backends.numpy_codegen.module import Module
from functrans.backends.numpy_codegen.values import Buffer, Value
from functrans.core.aval import Aval
from functrans.core.jaxpr import Equation
from functrans.core.primitive import Primitive

__all__ = ["RULES", "Expression", "Rule", "Writer", "def_source"]


class Writer(Protocol):
    """What a rule can do to the function that is being written; see `FunctionWriter`."""

    module: Module

    def line(self, text: str) -> None: ...

    def block(self, head: str) -> AbstractContextManager[None]: ...

    def name(self) -> str: ...

    def take_free(self, aval: Aval) -> Buffer | None: ...


class Expression(NamedTuple):
    """The source of a result."""

    text: str
    layout: Any = None
    """That of the array which it gives; None where nothing is known."""
    is_view: bool = False
    """Whether it may share the memory of the first operand."""
    is_written: bool = False
    """Whether the text is a name that holds the result already."""


Rule = Callable[[Writer, Equation, Sequence[Value]], Expression | None]
RULES: dict[Primitive, Rule] = {}


def def_source(primitive: Primitive, rule: Rule) -> None:
    """Give the source of a primitive: `rule(writer, equation, operands)` gives that of its result, and may write lines
    before; None where it has none for these operands, and the implementation is called.
    """
    RULES[primitive] = rule
