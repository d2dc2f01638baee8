"""The source of loops: the body stands in a `for` or a `while`, and what it carries are local variables.

An array that is carried is written to in place, once the first one, which belongs to somebody else, has been copied.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, NamedTuple

from functrans.backends.interpreter import owned, run_checked
from functrans.backends.memory import shared_outputs
from functrans.backends.numpy_codegen.function import FunctionWriter
from functrans.backends.numpy_codegen.module import Module
from functrans.backends.numpy_codegen.rules import Writer, assignment
from functrans.backends.numpy_codegen.values import Buffer, C, Value
from functrans.config import config
from functrans.core.jaxpr import Jaxpr, Literal, derived

__all__ = [
    "Carry",
    "Iteration",
    "append_kept",
    "begin_carry",
    "for_rows",
    "go_on",
    "last_carry",
    "loop_function",
    "may_be_the_first",
    "owned_text",
]


class Iteration(NamedTuple):
    """A program that stands in a loop."""

    jaxpr: Jaxpr
    """In its final form, or as it was written if it is checked."""
    is_checked: bool = False
    """Whether it is run equation by equation, each result looked at (`debug_nans`)."""

    def write(self, writer: Writer, operands: Sequence[Value]) -> list[Value]:
        """What its outputs are, once the lines are run that it writes."""
        if not self.is_checked:
            return writer.program(self.jaxpr, operands)
        checked = writer.module.constant(partial(run_checked, self.jaxpr), "checked", self.jaxpr)
        names = writer.names(len(self.jaxpr.outs))
        writer.line(assignment(names, f"{checked}([{', '.join([x.text for x in operands])}])"))
        return [Value(name, aval, None) for name, aval in zip(names, self.jaxpr.out_avals, strict=True)]


class Carry(NamedTuple):
    """What a loop carries, each in a variable."""

    body: Iteration
    names: list[str]
    values: list[Value]
    """What the variables are in the body."""
    overwritten: frozenset[int]
    """Which of them are written to in place."""


def begin_carry(
    writer: Writer, body: Iteration, n_fixed: int, init: Sequence[Value], *, in_place: bool = True
) -> Carry:
    """Before a loop: the variables, with their first values.

    Args:
        writer: the function.
        body: the program of an iteration, from constants, carry and perhaps more to the next carry and perhaps more.
        n_fixed: the number of constants.
        init: the first carry.
        in_place: whether arrays that are carried may be written to.
    """
    avals = body.jaxpr.in_avals[n_fixed : n_fixed + len(init)]
    overwritten: frozenset[int] = frozenset()
    if in_place and not body.is_checked:
        # It is kept, since to find out takes as long as to write the body: with loops inside of loops, twice at each.
        key = ("overwritable", len(init))
        overwritten = derived(body.jaxpr, key, lambda: _overwritable(body.jaxpr, len(init)))
    names, values = writer.names(len(init)), []
    for number, (name, x, aval) in enumerate(zip(names, init, avals, strict=True)):
        is_own = number in overwritten
        writer.line(f"{name} = {x.text}{'.copy()' if is_own else ''}")
        values.append(Value(name, aval, C, Buffer(name, aval, C)) if is_own else Value(name, aval, None))
    return Carry(body, names, values, overwritten)


def _overwritable(body: Jaxpr, n_carry: int) -> frozenset[int]:
    """Which parts of the carry are, after each iteration, arrays in C order that the iteration has made."""
    trial = FunctionWriter(Module())
    outs = trial.program(body, [Value(f"x{i}", aval, None) for i, aval in enumerate(body.in_avals)])
    return frozenset(
        [
            number
            for number, (x, shared) in enumerate(zip(outs[:n_carry], shared_outputs(body), strict=False))
            if x.aval.ndim and x.is_whole and x.layout is C and not shared and outs.count(x) == 1
        ]
    )


def for_rows(
    writer: Writer, rows: Sequence[str], columns: Sequence[str], places: str, index: str | None
) -> AbstractContextManager[None]:
    """The block of a loop over rows.

    Args:
        writer: the function.
        rows: the variables for a row of each column.
        columns: what is read row by row.
        places: the numbers of the rows, in the order in which they are met.
        index: the variable for the number of the row, if it is needed.
    """
    variables, sources = [*rows], [*columns]
    if index is not None or not rows:
        variables.insert(0, index or "_")
        sources.insert(0, places)
    source = f"zip({', '.join(sources)}, strict=True)" if len(sources) > 1 else sources[0]
    return writer.block(f"for {', '.join(variables)} in {source}:")


def go_on(writer: Writer, carry: Carry, outs: Sequence[Value]) -> None:
    """At the end of an iteration: the variables get the next carry."""
    changed = [(name, x.text) for name, x in zip(carry.names, outs, strict=False) if name != x.text]
    if changed:
        writer.line(f"{', '.join([name for name, _ in changed])} = {', '.join([text for _, text in changed])}")


def may_be_the_first(carry: Carry) -> bool:
    """Whether it matters after the loop if the body has run: else part of the last carry is still somebody else's."""
    shared = shared_outputs(carry.body.jaxpr)
    return any([number not in carry.overwritten and not shared[number] for number in range(len(carry.names))])


def last_carry(writer: Writer, carry: Carry, ran: str | None = None, *, is_kept: bool = False) -> list[Value]:
    """After a loop: the last carry, in arrays of its own.

    Args:
        writer: the function.
        carry: the carry.
        ran: the variable that says whether the body has run; None if it has.
        is_kept: whether what is carried may be on tapes too.
    """
    values = []
    shared = [is_kept or flag for flag in shared_outputs(carry.body.jaxpr)]
    for number, (name, x) in enumerate(zip(carry.names, carry.values, strict=True)):
        if number not in carry.overwritten and (shared[number] or ran is not None):
            own = owned_text(writer, name)
            writer.line(f"{name} = {own if shared[number] else f'{name} if {ran} else {own}'}")
        layout = C if number in carry.overwritten else None
        values.append(Value(name, x.aval, layout, Buffer(name, x.aval, layout)))
    return values


def append_kept(writer: Writer, body: Iteration, outs: Sequence[Value], lists: Sequence[str]) -> None:
    """At the end of an iteration: what a tape keeps goes to the end of its list.

    Nobody writes to it, so what is carried, and what several tapes keep, is not copied.
    """
    atoms, shared = body.jaxpr.outs, shared_outputs(body.jaxpr)
    for number in range(len(outs) - len(lists), len(outs)):
        atom = atoms[number]
        as_it_is = type(atom) is Literal or atom in body.jaxpr.invars or atom in atoms[:number]
        text = outs[number].text
        kept = owned_text(writer, text) if shared[number] and not as_it_is else text
        writer.line(f"{lists[number - len(outs)]}.append({kept})")


def loop_function(write: Callable[[Module, bool], str]) -> Callable[..., Any]:
    """The implementation of a loop.

    Args:
        write: `write(module, is_checked)` writes its function, and gives the name; see `Iteration`.
    """
    module = Module()
    run = module.load(write(module, False))

    def run_loop(*operands: Any) -> Any:
        if not config.checks_values:
            return run(*operands)
        checked = Module()
        return checked.load(write(checked, True))(*operands)

    return run_loop


def owned_text(writer: Writer, text: str) -> str:
    """An array of its own, of whatever kind the value is."""
    return f"{writer.module.constant(owned, 'owned')}({text})"
