"""What one equation contributes to a gradient, made once for the operation and used in every program that has it.

A piece is the derivative of a program of one equation: a function for its results and residuals, and functions that
add to the cotangents of its operands. They are made by the same transformations that a whole program goes through,
so a gradient that is put together from them (`functrans.api.tape`) has the bits of the whole program's.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

from functrans.backends.numpy_codegen.function import FunctionWriter
from functrans.backends.numpy_codegen.generate import input_values
from functrans.backends.numpy_codegen.module import Module
from functrans.caching import register_table
from functrans.config import config
from functrans.core.builder import Builder, with_outs
from functrans.core.evaluation import Environment, eval_jaxpr, stage
from functrans.core.jaxpr import Atom, Jaxpr, Literal, Operation
from functrans.core.primitive import registered_primitives
from functrans.ops.comparison import select_n_p
from functrans.ops.conversion import convert_element_type_p
from functrans.ops.elementwise import add_p, div_p, mul_p, neg_p, sub_p
from functrans.ops.shape import broadcast_in_dim_p, expand_dims_p, reshape_p, rev_p, squeeze_p, transpose_p
from functrans.passes.dead_code import drop_unused_inputs, eliminate_dead_code
from functrans.passes.inline import inline
from functrans.passes.pipeline import finalize, tidied
from functrans.passes.simplify import simplify
from functrans.transforms.linearize import linear_as_recorded, linearize
from functrans.transforms.transpose import accumulate

__all__ = [
    "ACTIVE",
    "APART",
    "INACTIVE",
    "MASKED",
    "NUMBER",
    "PLAIN",
    "ZERO",
    "Backward",
    "Kind",
    "NotInPieces",
    "Piece",
    "Tangent",
    "piece",
]

INACTIVE, ACTIVE, NUMBER = 0, 1, 2
"""What an operand is in a pattern: a value without a tangent, one with a tangent, or a literal that is handed over as a
value. Other literals stand for themselves, and `-1 - i` for the operand that is the same as number i."""

ZERO, PLAIN, MASKED = 0, 1, 2
"""What a cotangent is: zero, any, or one that may have structural zeros (`functrans.transforms.masking`). A literal
stands for itself, in a tuple if it may."""

_KEPT_BYTES = 32_768

APART, RENAMED, JOINED = 0, 1, 2
"""What two pieces are to each other, see `Piece.relation_to`."""

Kind = int | Literal | tuple[Literal]
Pattern = Hashable


class NotInPieces(Exception):  # noqa: N818  (it says where to go on, and no user sees it)
    """A program's gradient cannot be put together from pieces: the program must be transformed as a whole."""


class Tangent:
    """A result of a piece that has a tangent: what a piece is told of where its operands come from."""

    __slots__ = ("piece", "result")

    def __init__(self, piece: Piece, result: int) -> None:
        self.piece = piece
        self.result = result


class Backward(NamedTuple):
    """A function that adds to the cotangents of operands, and what it works on.

    Slots are told by their places among: the operands of the piece, its results, the cotangents of the results, those
    that there were of the active operands, the residuals besides operands and results.
    """

    function: Callable[..., Any] | None
    """None where nothing is to be computed."""
    reads: tuple[int, ...]
    """What the function is called with."""
    primals: tuple[int, ...]
    """Which of them are operands and results of the piece."""
    reads_extra: bool
    """Whether others are residuals besides those."""
    n_outs: int
    """How many results the function has."""
    outs: tuple[tuple[Kind, int, int], ...]
    """For each active operand what its cotangent is, and where: its number among the function's results, or -1, and
    which of the slots."""


class Piece:
    """A piece.

    Args:
        program: the program of an equation, or of one and another whose result it uses.
        operands: which operands of the equation its inputs are.
        active: which of the inputs have a tangent.
    """

    def __init__(self, program: Jaxpr, operands: tuple[int, ...], active: tuple[bool, ...]) -> None:
        self.program, self.operands = program, operands
        self.n_outs = len(program.outs)
        sizes = [aval.nbytes for aval in (*program.in_avals, *program.out_avals)]
        self.is_large = max(sizes, default=0) > _KEPT_BYTES
        """Whether a value in it is worth letting go early."""
        self.active = tuple([i for i, is_active in enumerate(active) if is_active])
        """Which of the inputs have a tangent."""
        self.residuals: tuple[int, ...] = ()
        """Where the residuals are: `-1 - i` for input i, else the number of a result, or of what follows those."""
        self.nonzeros = (False,) * self.n_outs
        """Which results have a tangent."""
        self.aliases: tuple[tuple[int, int], ...] = ()
        """Results whose tangent is that of an input: the numbers of both."""
        self.linear: Jaxpr | None = None
        self._recorded: Jaxpr | None = None
        self.primal = program
        if self.active:
            lin = linearize(program, active)
            self.primal, self.residuals, self.nonzeros = lin.primal, lin.residuals, lin.nonzeros
            if any(self.nonzeros):
                self._set_linear(lin.linear)
        outs = finalize(self.primal).outs
        if any([type(atom) is not int for atom in outs]):
            raise NotInPieces
        self.copies = self._copies(outs)
        """Of those the results that are that operand."""
        self.extra = len(self.primal.outs) - self.n_outs
        """How many residuals there are besides inputs and results."""
        self.forwards: dict[tuple[bool, ...], Callable[..., Any]] = {}
        self.backwards: dict[Hashable, Backward] = {}
        self.relations: dict[Hashable, int] = {}
        self.tangents = tuple([Tangent(self, i) if nonzero else INACTIVE for i, nonzero in enumerate(self.nonzeros)])
        """For each result that has a tangent what stands for it."""
        self.is_simple = self.n_outs == 1 and not self.aliases
        self.value: Callable[..., Any] | None = None
        """The function for the one result, of a simple piece, when it has been needed."""
        self.fused: dict[Hashable, Piece] = {}

    def _set_linear(self, linear: Jaxpr) -> None:
        self.linear = linear
        n_tangents = len(self.active)
        results = [i for i, nonzero in enumerate(self.nonzeros) if nonzero]
        if any([type(atom) is not int for atom in linear.outs]) or len(set(linear.outs)) < len(linear.outs):
            raise NotInPieces
        if any([aval.dtype.kind == "V" for aval in (*linear.in_avals[:n_tangents], *linear.out_avals)]):
            raise NotInPieces
        self.aliases = tuple(
            [(i, self.active[-1 - atom]) for i, atom in zip(results, linear.outs, strict=True) if atom < 0]  # type: ignore[operator]
        )

    def _copies(self, outs: tuple[Atom, ...]) -> frozenset[int]:
        return frozenset([i for i, number in self.aliases if outs[i] == -1 - number])

    def recorded_linear(self) -> Jaxpr:
        """The linear program before it is simplified, which it is together with others in a whole program."""
        if self._recorded is None:
            self._recorded = linear_as_recorded(
                self.program, tuple([i in self.active for i in range(len(self.program.in_avals))])
            )
        return self._recorded

    def forward(self, wanted: tuple[bool, ...]) -> Callable[..., Any]:
        """The function from the operands to some of the results and of the other residuals."""
        found = self.forwards.get(wanted)
        if found is None:
            outs = [atom for atom, is_wanted in zip(self.primal.outs, wanted, strict=True) if is_wanted]
            found = self.forwards[wanted] = _function(_with_outs(self.primal, outs))
        return found

    def value_function(self) -> Callable[..., Any]:
        """The function for the one result of a simple piece."""
        self.value = self.forward((True, *[False] * self.extra))
        return self.value

    def backward(self, cts: tuple[Kind, ...], before: tuple[Kind, ...]) -> Backward:
        """What adds to the cotangents of the active operands.

        Args:
            cts: what the cotangents of the results are.
            before: what those of the active operands are already.
        """
        key = *cts, *before
        found = self.backwards.get(key)
        if found is None:
            found = self._make_backward(cts, before)
            keep(self.backwards, key, found)
        return found

    def _make_backward(self, cts: tuple[Kind, ...], before: tuple[Kind, ...]) -> Backward:
        assert self.linear is not None
        cts = tuple([kind for kind, nonzero in zip(cts, self.nonzeros, strict=True) if nonzero])
        given = [kind != ZERO for kind in cts]
        linear = _with_outs(self.linear, [atom for atom, use in zip(self.linear.outs, given, strict=True) if use])
        n_tangents = len(self.active)
        is_linear = (True,) * n_tangents + (False,) * (len(linear.in_avals) - n_tangents)
        marks = [_mark(kind) for kind, use in zip(cts, given, strict=True) if use]
        summed = accumulate(linear, is_linear, marks, [_mark(kind) for kind in before])
        if None in summed.masked:
            raise NotInPieces
        present = [i for i, kind in enumerate((*before, *cts)) if kind != ZERO]
        program = _with_literals(summed.program, [(*before, *cts)[i] for i in present])
        return self._backward_of(program, summed.nonzeros, summed.masked, present)

    def _backward_of(
        self,
        program: Jaxpr,
        nonzeros: Sequence[bool],
        masked: Sequence[bool | None],
        present: list[int],
    ) -> Backward:
        n_residuals = len(self.residuals)
        places = [self._residual_place(where) for where in self.residuals]
        places += [self._cotangent_place(i) for i in present]
        results = iter(zip(program.outs, masked, strict=True))
        outs: list[tuple[Kind, int, int]] = []
        computed: list[Atom] = []
        for nonzero in nonzeros:
            atom, is_masked = next(results) if nonzero else (None, False)
            kind: Kind = MASKED if is_masked else PLAIN
            if atom is None:
                outs.append((ZERO, -1, 0))
            elif type(atom) is not int:
                literal: Kind = (atom,) if is_masked else atom  # type: ignore[assignment]
                outs.append((literal, -1, 0))
            elif atom < -n_residuals:  # one of the cotangents as it is
                outs.append((kind, -1, places[-1 - atom]))
            else:
                if atom not in computed:
                    computed.append(atom)
                outs.append((kind, computed.index(atom), 0))
        if not computed:
            return Backward(None, (), (), False, 0, tuple(outs))
        smaller, kept = drop_unused_inputs(_with_outs(program, computed), 0)
        reads = tuple([places[i] for i in kept])
        n_primals = len(self.program.in_avals) + self.n_outs
        primals = tuple([place for place in reads if place < n_primals])
        reads_extra = max(reads, default=0) >= n_primals + self.n_outs + len(self.active)
        return Backward(_function(smaller), reads, primals, reads_extra, len(computed), tuple(outs))

    def _residual_place(self, where: int) -> int:
        """The place among the slots of `Backward` of a residual."""
        if where < 0:
            return -1 - where
        skipped = 0 if where < self.n_outs else self.n_outs + len(self.active)
        return len(self.program.in_avals) + where + skipped

    def _cotangent_place(self, number: int) -> int:
        """The same of a cotangent: first number those of the active operands, then those of results with a tangent."""
        first = len(self.program.in_avals) + self.n_outs
        if number < len(self.active):
            return first + self.n_outs + number
        results = [i for i, nonzero in enumerate(self.nonzeros) if nonzero]
        return first + results[number - len(self.active)]

    def relation_to(self, tangent: Tangent, number: int) -> int:
        """What becomes of another piece where a tangent that it makes is that of an input here: what is simplified adds
        cotangents in another order.

        Args:
            tangent: the result of the other piece.
            number: the number of the input.

        Returns:
            `APART` if nothing is simplified; `RENAMED` if the order is the same as long as nothing else reads the
            result; else `JOINED`.
        """
        key = tangent, number
        found = self.relations.get(key)
        if found is None:
            found = _relation(tangent.piece, tangent.result, self, self.active.index(number))
            keep(self.relations, key, found)
        return found

    def fuse(self, tangent: Tangent, number: int, places: tuple[int, ...]) -> Piece:
        """The piece of this equation together with the one that makes an input of it, of which nothing is left then.

        Args:
            tangent, number: as above.
            places: for each input of the other piece, then of this one, which input of the piece that is.

        Raises:
            NotInPieces: if something of the other is left.
        """
        key = tangent, number, places
        found = self.fused.get(key)
        if found is None:
            found = _fused(tangent.piece, tangent.result, self, number, places)
            keep(self.fused, key, found)
        return found


def piece(operation: Operation, pattern: tuple[Any, ...]) -> Piece:
    """The piece for an operation on operands of a pattern.

    Raises:
        NotInPieces: if there is none.
    """
    table = operation.memo.setdefault(table_key(), {})
    found = table.get(pattern)
    if found is None:
        try:
            found = Piece(*_program_of(operation, pattern))
        except Exception:  # the whole program says what is wrong, and where
            found = NotInPieces
        _pieces.make_room()
        keep(operation.memo.setdefault(table_key(), {}), pattern, found)
    if type(found) is not Piece:
        raise NotInPieces
    return found


_MOST = 256
"""So many of a kind are kept for an operation."""


def keep(table: dict[Any, Any], key: Hashable, value: Any) -> None:
    if len(table) >= _MOST:
        table.clear()
    table[key] = value


_TABLES = ("pieces", "pieces, NaN kept"), ("known pieces", "known pieces, NaN kept")


def table_key() -> str:
    """Where an operation keeps its pieces, by pattern."""
    return _TABLES[0][not config.nan_safe_gradients]


def known_key() -> str:
    """Where it keeps those of them that are known to be independent of those that make their operands, by the tangents
    of the operands."""
    return _TABLES[1][not config.nan_safe_gradients]


class _Pieces:
    """All pieces there are. When they have become too many they are let go, and made again where they are needed."""

    limit = 4096

    def __init__(self) -> None:
        self.made = 0
        """How many have been made since they were last counted."""

    def make_room(self) -> None:
        """There will be one more."""
        self.made += 1
        if self.made > self.limit:
            self.made = len(self)
            if self.made > self.limit // 2:
                self.clear()

    def __len__(self) -> int:
        return sum([len(memo.get(key, ())) for memo in self._memos() for key in _TABLES[0]])

    def clear(self) -> None:
        """Let go of them."""
        self.made = 0
        for memo in self._memos():
            for key in (*_TABLES[0], *_TABLES[1]):
                memo.pop(key, None)

    def _memos(self) -> list[dict[Hashable, Any]]:
        return [
            operation.memo for primitive in registered_primitives().values() for operation in primitive.operations()
        ]


_pieces = _Pieces()
register_table("pieces of gradients", _pieces, limit=_Pieces.limit, clear=_pieces.clear)


_ARITHMETIC = frozenset({add_p, sub_p, mul_p, div_p, neg_p, convert_element_type_p, broadcast_in_dim_p, select_n_p})


def takes_number(operation: Operation, position: int) -> bool:
    """Whether a literal operand may be handed over as a value: no rule looks at what number it is."""
    numbers = operation.memo.get("numbers")
    if numbers is None:
        numbers = operation.memo["numbers"] = _number_operands(operation)
    return bool(numbers[position])


def _number_operands(operation: Operation) -> tuple[bool, ...]:
    jaxpr, _, _ = _program_of(operation, (INACTIVE,) * len(operation.in_avals))
    program = inline(jaxpr)
    reached: dict[Atom, set[int]] = {atom: {atom} for atom in program.invars}
    plain = {atom: not program.aval(atom).shape for atom in program.invars}
    for eqn in program.eqns:
        origins: set[int] = set().union(*[reached.get(x, ()) for x in eqn.inputs if type(x) is int])
        if eqn.primitive not in _ARITHMETIC:
            plain.update(dict.fromkeys(origins, False))
        reached.update(dict.fromkeys(eqn.outs, origins))
    return tuple([plain[atom] for atom in program.invars])


def _program_of(operation: Operation, pattern: tuple[Any, ...]) -> tuple[Jaxpr, tuple[int, ...], tuple[bool, ...]]:
    """The program of one equation, which operands are its inputs, and which of them have a tangent."""
    operands: list[int] = []
    atoms: list[Atom] = []
    for position, part in enumerate(pattern):
        if type(part) is int and part >= 0:
            operands.append(position)
            atoms.append(-len(operands))
        else:
            atoms.append(part if type(part) is not int else atoms[-1 - part])
    builder = Builder(tuple([operation.in_avals[position] for position in operands]))
    jaxpr = builder.build(builder.add(operation, tuple(atoms), None))
    return jaxpr, tuple(operands), tuple([pattern[position] == ACTIVE for position in operands])


def _with_outs(jaxpr: Jaxpr, outs: Sequence[Atom]) -> Jaxpr:
    return tidied(with_outs(jaxpr, outs))


def _with_literals(jaxpr: Jaxpr, kinds: Sequence[Kind]) -> Jaxpr:
    """The program with literals in the place of some of its last inputs, which are there still, and not used."""
    if all([type(kind) is int for kind in kinds]):
        return jaxpr
    with stage("gradient", jaxpr.in_avals) as recording:
        inputs: list[Any] = list(recording.inputs())
        first = len(inputs) - len(kinds)
        inputs[first:] = [
            x if type(kind) is int else literal_in(kind) for x, kind in zip(inputs[first:], kinds, strict=True)
        ]
        program, _ = recording.close(eval_jaxpr(jaxpr, inputs, recording), intern=False)
    return tidied(program)


def _mark(kind: Kind) -> bool | None:
    return None if kind == ZERO else kind == MASKED or type(kind) is tuple


def literal_in(kind: Kind) -> Literal:
    """The literal that a cotangent is."""
    return kind[0] if type(kind) is tuple else kind  # type: ignore[return-value]


def _function(jaxpr: Jaxpr) -> Callable[..., Any]:
    """A function of arrays that gives the output of a program, or a list of several. They may share memory."""
    module, program = Module(), finalize(jaxpr)
    name, writer = module.name("piece"), FunctionWriter(module)
    operands = input_values(program.in_avals, "x")
    outs = [x.text for x in writer.program(program, operands)]
    writer.line(f"return {outs[0]}" if len(outs) == 1 else f"return [{', '.join(outs)}]")
    module.add(writer.text(f"def {name}({', '.join([x.text for x in operands])}):"))
    return module.load(name)


def _relation(one: Piece, result: int, other: Piece, operand: int) -> int:
    made = [i for i, nonzero in enumerate(one.nonzeros) if nonzero].index(result)
    first, second = one.recorded_linear(), other.recorded_linear()
    apart = _joined(simplify(first), made, simplify(second), operand)
    whole = simplify(_joined(first, made, second, operand))
    if whole == apart:
        return APART
    return RENAMED if _differs_in_names(one, other, apart, whole) else JOINED


_NAMING = frozenset({expand_dims_p, squeeze_p, reshape_p, transpose_p, rev_p})
"""What only says where in an array the elements are: sums of cotangents are the same before and after."""


def _differs_in_names(one: Piece, other: Piece, apart: Jaxpr, whole: Jaxpr) -> bool:
    """Whether all that is simplified in two pieces together is how axes are named in between, so that cotangents are
    added in the same order and have the same bits.
    """
    n, n_tangents = sum(one.nonzeros), len(one.active)
    apart, whole = _with_live_outs(apart, apart.outs[n:]), _with_live_outs(whole, whole.outs[n:])
    of_one = _on_tangents(simplify(one.recorded_linear()), n_tangents)
    if not {operation.primitive for operation in of_one - _on_tangents(whole, n_tangents)} <= _NAMING:
        return False
    tangents = set(range(-n_tangents, 0))
    readers = [eqn.inputs for eqn in whole.eqns if eqn.operation not in of_one]
    if any([not tangents.isdisjoint(atoms) for atoms in (*readers, whole.outs)]):
        return False
    first = len(one.recorded_linear().in_avals)
    is_linear = tuple([i < n_tangents or first <= i < first + len(other.active) for i in range(len(whole.in_avals))])
    both = [accumulate(x, is_linear, [False] * len(x.outs), [None] * sum(is_linear)) for x in (apart, whole)]
    return finalize(both[0].program) == finalize(both[1].program) and both[0][1:] == both[1][1:]


def _with_live_outs(jaxpr: Jaxpr, outs: Sequence[Atom]) -> Jaxpr:
    return eliminate_dead_code(with_outs(jaxpr, outs))


def _fused(one: Piece, result: int, other: Piece, number: int, places: tuple[int, ...]) -> Piece:
    assert one.linear is not None
    n = len(one.program.in_avals)
    joined = _joined(one.program, result, other.program, number)
    inputs = [(i, place) for i, place in enumerate(places) if i != n + number]
    n_inputs = 1 + max([place for _, place in inputs])
    avals, active = [joined.in_avals[0]] * n_inputs, [False] * n_inputs
    for i, place in inputs:
        avals[place] = joined.in_avals[i]
        active[place] = i in one.active if i < n else i - n in other.active
    builder = Builder(tuple(avals))
    env = Environment([-1 - place for place in places])
    for eqn in joined.eqns:
        env.write(builder.add(eqn.operation, tuple(env.read_all(eqn.inputs)), eqn.source))
    program = builder.build(env.read_all(joined.outs[one.n_outs :]))
    found = Piece(inline(program), (), tuple(active))
    if found.linear is None or other.linear is None:
        raise NotInPieces
    left = _on_tangents(one.linear, len(one.active)) - _on_tangents(other.linear, len(other.active))
    if not left.isdisjoint(_on_tangents(found.linear, len(found.active))):
        raise NotInPieces
    return found


def _on_tangents(linear: Jaxpr | None, n_tangents: int) -> set[Operation]:
    """The operations that work on tangents, and not on residuals alone."""
    reached: set[Atom] = {-1 - i for i in range(n_tangents)}
    operations = set()
    for eqn in linear.eqns if linear is not None else ():
        if not reached.isdisjoint(eqn.inputs):
            reached.update(eqn.outs)
            operations.add(eqn.operation)
    return operations


def _joined(one: Jaxpr, result: int, other: Jaxpr, operand: int) -> Jaxpr:
    """Two programs as one, with the outputs of both: the second has a result of the first as an input."""
    n = len(one.in_avals)
    builder = Builder((*one.in_avals, *other.in_avals))
    builder.copy(one.eqns, {})
    inputs: list[Atom] = [-1 - n - i for i in range(len(other.in_avals))]
    inputs[operand] = one.outs[result]
    env = Environment(inputs)
    for eqn in other.eqns:
        env.write(builder.add(eqn.operation, tuple(env.read_all(eqn.inputs)), eqn.source))
    return builder.build([*one.outs, *env.read_all(other.outs)])
