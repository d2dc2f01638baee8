"""The table of what primitives are in the source. A primitive that is not in it is a call of its implementation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

from functrans.backends.numpy_codegen.module import Module
from functrans.backends.numpy_codegen.values import Buffer, Value
from functrans.core.aval import Aval
from functrans.core.jaxpr import Equation, Jaxpr
from functrans.core.primitive import Primitive

__all__ = ["RULES", "Expression", "Rule", "Writer", "assignment", "def_source", "write_call"]


class Writer(Protocol):
    """What a rule can do to the function that is being written; see `FunctionWriter`."""

    module: Module

    def line(self, text: str, made: Aval | None = None) -> None: ...

    def block(self, head: str) -> AbstractContextManager[None]: ...

    def name(self) -> str: ...

    def names(self, n: int) -> list[str]: ...

    def take_free(self, aval: Aval) -> Buffer | None: ...

    def program(self, jaxpr: Jaxpr, operands: Sequence[Value]) -> list[Value]: ...


class Expression(NamedTuple):
    """The source of a result."""

    text: str
    layout: Any = None
    """That of the array which it gives; None where nothing is known."""
    is_view: bool = False
    """Whether it may share the memory of the first operand."""
    is_written: bool = False
    """Whether the text is a name that holds the result already."""


Rule = Callable[[Writer, Equation, Sequence[Value]], Expression | list[Value] | None]
RULES: dict[Primitive, Rule] = {}


def def_source(primitive: Primitive, rule: Rule) -> None:
    """Give the source of a primitive: `rule(writer, equation, operands)` gives that of its result (for several, what
    they are once the lines are run that it has written); None where it has none for these operands, and the
    implementation is called.
    """
    RULES[primitive] = rule


def assignment(names: Sequence[str], call: str) -> str:
    """A line that gives names to all that a call returns, in a list or tuple."""
    return f"{', '.join(names)}{',' * (len(names) == 1)} = {call}" if names else call


def write_call(
    writer: Writer, function: str, operands: Sequence[Value], avals: Sequence[Aval], results: Sequence[Value] = ()
) -> list[Value]:
    """Write a call of a function of the module that gives a list of arrays of their own; what these are.

    Args:
        writer: the function that calls.
        function: the name of the one that is called.
        operands: its arguments.
        avals: the avals of what it gives.
        results: where they go, if that is the same as for another call.
    """
    names = [x.text for x in results] or writer.names(len(avals))
    call = f"{function}({', '.join([x.text for x in operands])})"
    writer.line(assignment(names, call))
    return [Value(name, aval, None, Buffer(name, aval, None)) for name, aval in zip(names, avals, strict=True)]
