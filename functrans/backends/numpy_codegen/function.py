"""Writing a function, equation by equation, as a careful person would.

A result goes into the memory of an operand that is read for the last time, where NumPy has an operation for that, or
into that of an array which is no longer needed; a large array that nothing will read is let go. What a view looks at is
written where it is used, if it is used once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import numpy as np

from functrans.backends.clusters import Clustered, ufunc_of
from functrans.backends.memory import (
    KEPT_BYTES,
    aligned_shape,
    deaths,
    is_full,
    shared_outputs,
    undone_broadcasts,
)
from functrans.backends.numpy_codegen.module import Module
from functrans.backends.numpy_codegen.rules import RULES, Expression, assignment
from functrans.backends.numpy_codegen.values import Buffer, C, Deletion, Value, elementwise_layout
from functrans.core.aval import Aval
from functrans.core.builder import Builder
from functrans.core.evaluation import Environment
from functrans.core.jaxpr import Atom, Equation, Jaxpr, Literal

__all__ = ["FunctionWriter"]

_INFIX: dict[Any, str] = {
    np.add: "+", np.subtract: "-", np.multiply: "*", np.divide: "/", np.bitwise_and: "&", np.bitwise_or: "|",
    np.bitwise_xor: "^", np.less: "<", np.less_equal: "<=", np.greater: ">", np.greater_equal: ">=", np.equal: "==",
    np.not_equal: "!=",
}  # fmt: skip
"""The ufuncs that are operators of arrays. On scalars they are so only for floats, whose bits are the same; with
integers NumPy would warn of an overflow."""

_COMPARISONS = ("<", "<=", ">", ">=", "==", "!=")
"""The operators that have no augmented assignment."""

_BLOCK = 16_384
"""Elements of a block of a cluster."""

_LONGEST = 100
"""Characters of a view that is written where it is used. Python's parser has a limit for what is nested, too."""

_COMMUTATIVE = (np.add, np.multiply)

_INDENT = "    "


class FunctionWriter:
    """A function in the making, of a module in the making."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self._lines: list[tuple[int, str | Deletion]] = []
        self._depth = 1
        self._n_names = 0
        self._free: dict[tuple[Any, ...], list[tuple[Buffer, Deletion]]] = {}

    # ---- lines and names

    def line(self, text: str, made: Aval | None = None) -> None:
        """Write a line, which makes an array of an aval."""
        self._lines.append((self._depth, text if made is None else f"{text}{self.module.comment(made)}"))

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """A line that opens a block, and the block."""
        self.line(head)
        self._depth += 1
        first = len(self._lines)
        free, self._free = self._free, {}  # in a loop, what was free before may be in use when the block begins again
        try:
            yield
        finally:
            if not any([type(line) is str for _, line in self._lines[first:]]):
                self.line("pass")
            self._depth -= 1
            self._free = free

    def name(self) -> str:
        """A new name for a local variable."""
        while True:
            name = f"t{self._n_names}"
            self._n_names += 1
            if name not in self.module.taken:
                return name

    def names(self, n: int) -> list[str]:
        """New names for so many local variables."""
        return [self.name() for _ in range(n)]

    def text(self, head: str) -> str:
        """The source of the function, after its first line."""
        lines = [head]
        for depth, line in self._lines:
            if type(line) is str:
                lines.append(_INDENT * depth + line)
            elif not line.cancelled:  # type: ignore[union-attr]
                lines.append(f"{_INDENT * depth}del {line.name}")  # type: ignore[union-attr]
        return "\n".join(lines)

    # ---- programs

    def program(self, jaxpr: Jaxpr, operands: Sequence[Value]) -> list[Value]:
        """Write the equations of a program in its final form; what its outputs are then."""
        walk = self._written(Clustered(jaxpr, {}), operands)
        return [walk.value(atom) for atom in jaxpr.outs]

    def results(self, program: Clustered, operands: Sequence[Value]) -> list[str]:
        """Write the equations of a program; its outputs, each an array of its own. Clusters run block by block."""
        jaxpr = program.jaxpr
        walk = self._written(program, operands)
        return [
            self.module.fresh(atom) if type(atom) is Literal else _owned(walk.value(atom), is_shared)
            for atom, is_shared in zip(jaxpr.outs, shared_outputs(jaxpr), strict=True)
        ]

    def _written(self, program: Clustered, operands: Sequence[Value]) -> _Walk:
        """The walk through a program, at its end."""
        jaxpr, ends = program
        walk, dying = _Walk(self, jaxpr, operands), [frozenset(atoms) for atoms in deaths(jaxpr)]
        number = 0
        while number < len(jaxpr.eqns):
            end = ends.get(number, number)
            if end > number and walk.cluster(number, jaxpr.eqns[number:end], dying[number:end]):
                number = end
            else:
                walk.equation(number, jaxpr.eqns[number], dying[number])
                number += 1
        return walk

    def kept(self, x: Value) -> Value:
        """A value in a variable of its own."""
        name = self.name()
        self.line(f"{name} = {x.text}")
        return Value(name, x.aval, x.layout)

    # ---- memory

    def take_free(self, aval: Aval) -> Buffer | None:
        """An array of this aval, in C order, that is no longer needed."""
        found = self._free.get((aval.shape, aval.dtype))
        if not found:
            return None
        buffer, deletion = found.pop()
        deletion.cancelled = True
        return buffer

    def let_go(self, buffer: Buffer, is_free: bool) -> None:
        """Nothing will read this array, and others may have its memory if it is free."""
        deletion = Deletion(buffer.name, cancelled=buffer.aval.nbytes <= KEPT_BYTES)
        self._lines.append((self._depth, deletion))
        if is_free and buffer.layout is C and buffer.names == 1 and buffer.aval.ndim:
            self._free.setdefault((buffer.aval.shape, buffer.aval.dtype), []).append((buffer, deletion))


class _Walk:
    """The walk through the equations of one program."""

    def __init__(
        self,
        writer: FunctionWriter,
        jaxpr: Jaxpr,
        operands: Sequence[Value],
        destinations: Mapping[Atom, str] = MappingProxyType({}),
    ) -> None:
        self.writer = writer
        self.destinations = destinations
        """Arrays that results of ufuncs are to be written to."""
        self.module = writer.module
        self.number = 0
        self.env = Environment(list(operands))
        self.undone = undone_broadcasts(jaxpr)
        self.uses = Counter([x for eqn in jaxpr.eqns for x in eqn.inputs if type(x) is int])
        self.uses.update({x: 2 for x in jaxpr.outs if type(x) is int})
        for atom, value in zip(jaxpr.invars, operands, strict=True):
            if value.buffer is not None and self.uses[atom]:
                value.buffer.live += 1

    def value(self, atom: Atom, whole: bool = True, is_number: bool = False) -> Value:
        """What an atom is in the source: a literal an array of its shape, or one without axes, or a number for a
        ufunc."""
        if type(atom) is Literal:
            aval = atom.aval if whole else atom.aval.with_shape(())
            is_number = is_number and (not whole or not atom.shape)
            text = self.module.number(atom) if is_number else self.module.literal(atom, whole)
            return Value(text, aval, C, stretched=not whole)
        found: Value = self.env.read(atom)
        return found

    def equation(self, number: int, eqn: Equation, dying: frozenset[int]) -> None:
        """Write an equation."""
        self.number = number
        whole = not (eqn.primitive.is_elementwise and any([is_full(x, self.undone) for x in eqn.inputs]))
        ufunc = ufunc_of(eqn)
        is_ufunc = type(ufunc) is np.ufunc
        takes_numbers = is_ufunc and any([type(x) is int for x in eqn.inputs])
        operands = [self.value(atom, whole, takes_numbers) for atom in eqn.inputs]
        if not eqn.primitive.multiple_results and eqn.outs[0] in self.undone:
            values = [self._undone_broadcast(eqn, operands[0])]
        elif is_ufunc:
            values = [self._elementwise(eqn, operands, ufunc, dying)]
        else:
            rule = RULES.get(eqn.primitive)
            made = None if rule is None else rule(self.writer, eqn, operands)
            if made is None:
                values = self._call(eqn, operands)
            else:
                values = [self._assign(eqn, operands, made)] if isinstance(made, Expression) else made
        self._write(values)
        self._bury(dying)

    def _write(self, values: Sequence[Value]) -> None:
        """Say what the results of the next equation are."""
        self.env.write(values)
        for value in values:
            if value.buffer is not None:
                value.buffer.live += 1

    def _bury(self, dying: frozenset[int]) -> None:
        """Nothing will read these atoms."""
        for atom in dying:
            buffer = self.env.read(atom).buffer
            if buffer is not None and buffer.live:
                buffer.live -= 1
                if not buffer.live:
                    self.writer.let_go(buffer, is_free=self.number >= buffer.from_equation)

    # ---- clusters

    def cluster(self, number: int, eqns: Sequence[Equation], dying: Sequence[frozenset[int]]) -> bool:
        """Write elementwise equations of arrays of one shape as a loop over blocks, small enough for the cache; False
        if not all of the arrays are known to be in C order, or the bits would change.
        """
        first = eqns[0].out_avals[0]
        if first.size % _BLOCK == 1 and any([eqn.out_avals[0].dtype.kind == "c" for eqn in eqns]):
            return False  # the last block would be a single complex number: see `_overwritten`
        self.number = number
        made = [eqn.outs[0] for eqn in eqns]
        read = list(dict.fromkeys([x for eqn in eqns for x in eqn.inputs if type(x) is int and x not in made]))
        whole = [x for x in read if not self.env.read(x).stretched]
        if any([self.env.read(x).layout is not C for x in whole]):
            return False
        gone: frozenset[int] = frozenset().union(*dying)
        places = {x: self._place(i, eqns, dying, whole) for i, x in enumerate(made) if x not in gone}
        flat, parts = self.writer.names(len(whole) + len(places)), self.writer.names(len(whole) + len(places))
        arrays = [*[self.env.read(x).text for x in whole], *[x.name for x in places.values()]]
        for name, text in zip(flat, arrays, strict=True):
            self.writer.line(f"{name} = {text}.reshape(-1)")
        with self.writer.block(f"for i in range(0, {first.size}, {_BLOCK}):"):
            for name, text in zip(parts, flat, strict=True):
                self.writer.line(f"{name} = {text}[i : i + {_BLOCK}]")
            self._write_block(eqns, read, dict(zip([*whole, *places], parts, strict=True)), list(places))
        self.writer.line(f"del {', '.join([*flat, *parts])}")
        for x, eqn, before in zip(made, eqns, dying, strict=True):
            (aval,) = eqn.out_avals
            self._write([Value(places[x].name, aval, C, places[x]) if x in places else Value("", aval, C)])
            self._bury(before)
        return True

    def _place(
        self, number: int, eqns: Sequence[Equation], dying: Sequence[frozenset[int]], read: Sequence[int]
    ) -> Buffer:
        """An array for what an equation of a cluster makes: an operand's that is not read after it, a free one, or a
        new one."""
        (aval,) = eqns[number].out_avals
        for x in read:
            value = self.env.read(x)
            is_dead = any([x in atoms for atoms in dying[: number + 1]])
            if (
                is_dead
                and self._is_free_to_take(value)
                and (value.aval.shape, value.aval.dtype) == (aval.shape, aval.dtype)
            ):
                value.buffer.live = 0
                return Buffer(value.text, aval, C)
        free = self.writer.take_free(aval)
        if free is not None:
            return Buffer(free.name, aval, C)
        name = self.writer.name()
        self.writer.line(f"{name} = np.empty({aval.shape}, {self.module.dtype(aval.dtype)})", aval)
        return Buffer(name, aval, C)

    def _is_free_to_take(self, x: Value) -> bool:
        """Whether the memory of an operand that is read for the last time can take a result."""
        return x.is_whole and x.buffer.live == 1 and x.buffer.from_equation <= self.number  # type: ignore[union-attr]

    def _write_block(
        self, eqns: Sequence[Equation], read: Sequence[int], parts: Mapping[int, str], kept: Sequence[int]
    ) -> None:
        """Write the equations of a cluster for parts of its arrays."""
        avals = {x: aval for eqn in eqns for x, aval in zip(eqn.inputs, eqn.in_avals, strict=True)}
        builder = Builder(tuple([avals[x] for x in read]))
        have: dict[Atom, Atom] = {x: -1 - i for i, x in enumerate(read)}
        builder.copy(eqns, have)
        operands = [self.env.read(x) for x in read]
        operands = [
            x._replace(text=parts.get(atom, x.text), buffer=None) for atom, x in zip(read, operands, strict=True)
        ]
        jaxpr = builder.build([have[x] for x in kept])
        walk = _Walk(self.writer, jaxpr, operands, {have[x]: parts[x] for x in kept})
        for number, (eqn, dying) in enumerate(zip(jaxpr.eqns, deaths(jaxpr), strict=True)):
            walk.equation(number, eqn, frozenset(dying))

    # ---- kinds of equations

    def _undone_broadcast(self, eqn: Equation, operand: Value) -> Value:
        aligned = aligned_shape(operand.aval, **eqn.params)
        text = operand.text if aligned == operand.aval.shape else f"{operand.text}.reshape({aligned})"
        return Value(text, operand.aval.with_shape(aligned), operand.layout, operand.buffer, True)

    def _elementwise(self, eqn: Equation, operands: Sequence[Value], ufunc: np.ufunc, dying: frozenset[int]) -> Value:
        (out,) = eqn.out_avals
        texts, infix = [x.text for x in operands], _INFIX.get(ufunc)
        function = self._ufunc_name(ufunc)
        if not out.ndim:
            is_float = eqn.in_avals[0].dtype.kind == "f" and eqn.in_avals[0].dtype.itemsize >= 4
            call = _infix(texts, infix) if infix and is_float else f"{function}({', '.join(texts)})"
            return self._assign(eqn, operands, Expression(call, C))
        destination = self.destinations.get(eqn.outs[0])
        if destination is not None:
            self.writer.line(f"{function}({', '.join(texts)}, out={destination})", out)
            return Value(destination, out, C)
        layout = elementwise_layout(out, operands)
        place = self._overwritten(eqn, operands, layout, dying)
        if place is not None:
            name = texts[place]
            operands[place].buffer.live = 0  # type: ignore[union-attr]
            if place == 1 and ufunc in _COMMUTATIVE and _is_number(eqn.inputs[0]):
                place, texts = 0, texts[::-1]
            if infix and place == 0 and infix not in _COMPARISONS:
                self.writer.line(f"{name} {infix}= {texts[1]}", out)
            else:
                self.writer.line(f"{function}({', '.join(texts)}, out={name})", out)
            return self._assign(eqn, operands, Expression(name, layout, is_written=True))
        if layout is C and (free := self.writer.take_free(out)) is not None:
            self.writer.line(f"{function}({', '.join(texts)}, out={free.name})", out)
            return self._assign(eqn, operands, Expression(free.name, layout, is_written=True))
        text = _infix(texts, infix) if infix else f"{function}({', '.join(texts)})"
        return self._assign(eqn, operands, Expression(text, layout))

    def _overwritten(self, eqn: Equation, operands: Sequence[Value], layout: Any, dying: frozenset[int]) -> int | None:
        """The number of an operand whose memory can take the result."""
        (out,) = eqn.out_avals
        if out.size == 1 and out.dtype.kind == "c":
            return None  # NumPy's products of single complex numbers have other last bits in place
        for number, (atom, x) in enumerate(zip(eqn.inputs, operands, strict=True)):
            if (
                atom in dying
                and self._is_free_to_take(x)
                and x.aval.shape == out.shape
                and x.aval.dtype == out.dtype
                and x.layout == layout
            ):
                return number
        return None

    def _call(self, eqn: Equation, operands: Sequence[Value]) -> list[Value]:
        """A call of the implementation."""
        call = f"{self.module.implementation(eqn.operation)}({', '.join([x.text for x in operands])})"
        if not eqn.primitive.multiple_results:
            is_view, layout = eqn.primitive.is_view, None
            if eqn.primitive.is_elementwise and not is_view and elementwise_layout(eqn.out_avals[0], operands) is C:
                layout = C
            return [self._assign(eqn, operands, Expression(call, layout, is_view))]
        owner = operands[0].buffer if eqn.primitive.is_view else None
        values = []
        for aval in eqn.out_avals:
            name = self.writer.name()
            values.append(Value(name, aval, None, owner if eqn.primitive.is_view else Buffer(name, aval, None)))
        if owner is not None:
            owner.names += len(values)
        self.writer.line(assignment([x.text for x in values], call))
        return values

    def _assign(self, eqn: Equation, operands: Sequence[Value], expression: Expression) -> Value:
        (aval,) = eqn.out_avals
        if expression.is_view:
            owner = operands[0].buffer
            if self.uses[eqn.outs[0]] == 1 and len(expression.text) <= _LONGEST:
                return Value(expression.text, aval, expression.layout, owner)
            name = self.writer.name()
            self.writer.line(f"{name} = {expression.text}", aval)
            if owner is not None:
                owner.names += 1
            return Value(name, aval, expression.layout, owner)
        name = expression.text
        if not expression.is_written:
            name = self.writer.name()
            self.writer.line(f"{name} = {expression.text}", aval)
        return Value(name, aval, expression.layout, Buffer(name, aval, expression.layout))

    def _ufunc_name(self, ufunc: np.ufunc) -> str:
        name = ufunc.__name__
        return f"np.{name}" if getattr(np, name, None) is ufunc else self.module.constant(ufunc, "ufunc")


def _owned(x: Value, is_shared: bool) -> str:
    """An array of its own; a scalar of NumPy's where it has no axes, which cannot be written to."""
    if not is_shared or x.aval.dtype.kind == "V":  # or a tape, which nobody writes to
        return x.text
    return f"{x.text}.copy()" if x.aval.ndim else f"{x.text}[()]"


def _is_number(atom: Atom) -> bool:
    """Whether it is a literal, and not NaN: of two that meet, the first one's bits stay."""
    return type(atom) is Literal and atom.value == atom.value


def _infix(texts: Sequence[str], operator: str) -> str:
    return f"{texts[0]} {operator} {texts[1]}"
