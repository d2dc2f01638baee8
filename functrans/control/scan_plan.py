"""How a scan is run: as little as possible row by row.

A body is cut into four parts. What hangs on constants alone runs *before* the loop, once. What hangs on rows and not on
the carry runs *ahead* of it, for all rows at once, where that is cheap to keep. The *loop* computes the rest. Of a
sum that is carried along (the cotangent of a weight is one: a product for each row) only the factors are kept, and one
product *after* the loop sums up all rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from functrans.core.aval import Aval
from functrans.core.builder import Builder
from functrans.core.jaxpr import Atom, Equation, Jaxpr
from functrans.core.rules import BatchAxis
from functrans.core.tapes import is_tape
from functrans.ops import shape as shapes
from functrans.ops.conversion import convert_element_type_p
from functrans.ops.elementwise import add_p
from functrans.ops.linear_algebra import dot_general_p
from functrans.ops.scan import stack_of
from functrans.ops.slicing import slice_p
from functrans.passes.invariants import hoisted
from functrans.passes.pipeline import finalize, tidied
from functrans.transforms.batch import batch_to

__all__ = ["Plan", "make_plan", "plain_plan"]

_SMALL_ROW = 4096
"""Elements up to which a row costs more for the call of an operation than for its work."""
_LARGEST_STACK = 16_000_000
"""Bytes up to which what the loop could compute row by row is kept for all rows."""

_MOVING = frozenset({
    shapes.broadcast_in_dim_p, shapes.reshape_p, shapes.transpose_p, shapes.squeeze_p, shapes.expand_dims_p,
    shapes.reduce_sum_p, slice_p, convert_element_type_p, dot_general_p,
})  # fmt: skip


class Plan(NamedTuple):
    """The parts of a body. Numbers of stacks count those that are read, then those that `ahead` gives, then those that
    the loop writes.
    """

    before: Jaxpr | None
    """From the constants to more constants."""
    ahead: Jaxpr | None
    """From constants and the stacks that are read to more stacks."""
    loop: Jaxpr | None
    """From constants, carry and rows to carry and rows."""
    carry: list[int]
    """Which parts of the carry the loop carries."""
    read: list[int]
    """Which stacks the loop reads."""
    written: list[Aval]
    """The stacks that the loop writes."""
    after: Jaxpr | None
    """From constants, all stacks and the initial carry to the parts of the last carry that the loop does not carry."""
    ys: list[int]
    """Which stacks are the results."""
    n_early: int
    """How many of those that `ahead` gives, the first, are results."""
    summed: list[int]
    """Which parts of the carry `after` gives."""


def plain_plan(jaxpr: Jaxpr, n_consts: int, n_carry: int, length: int) -> Plan:
    """The body as it is, in a loop."""
    n_rows = len(jaxpr.in_avals) - n_consts - n_carry
    written = [stack_of(aval, length) for aval in jaxpr.out_avals[n_carry:]]
    ys = list(range(n_rows, n_rows + len(written)))
    return Plan(None, None, jaxpr, list(range(n_carry)), list(range(n_rows)), written, None, ys, 0, [])


def make_plan(jaxpr: Jaxpr, n_consts: int, n_carry: int, length: int) -> Plan:
    """Cut a body into its parts, each in its final form."""
    before, body = hoisted(finalize(jaxpr), n_consts)
    n_fixed = n_consts + (0 if before is None else len(before.outs))
    cutter = _Cutter(body, n_fixed, n_carry, length)
    return cutter.plan(None if before is None else finalize(before))


class _Sum(NamedTuple):
    """A part of the carry that only sums a term up."""

    number: int
    before: Atom
    term: Equation
    adding: Equation


class _Cutter:
    """Cuts a body from constants, carry and rows."""

    def __init__(self, body: Jaxpr, n_fixed: int, n_carry: int, length: int) -> None:
        self.body, self.n_carry, self.length = body, n_carry, length
        self.fixed: list[Atom] = [-1 - i for i in range(n_fixed)]
        self.carry: list[Atom] = [-1 - (n_fixed + i) for i in range(n_carry)]
        self.rows: list[Atom] = [-1 - i for i in range(n_fixed + n_carry, len(body.in_avals))]
        candidates = self._sums()
        self.early = self._early({s.term.outs[0] for s in candidates})
        products = [s for s in candidates if s.term.primitive is dot_general_p and self._is_better_after(s.term)]
        factors = {x for s in products for x in s.term.inputs}
        self.sums = [s for s in candidates if s in products or s.term.inputs[0] in factors]

    def plan(self, before: Jaxpr | None) -> Plan:
        """All parts."""
        summed = {s.number for s in self.sums}
        left_out = {s.term.outs[0] for s in self.sums} | {s.adding.outs[0] for s in self.sums} | self.early
        in_loop = [eqn for eqn in self.body.eqns if left_out.isdisjoint(eqn.outs)]
        carried = [i for i in range(self.n_carry) if i not in summed]
        next_carry, ys = [self.body.outs[i] for i in carried], self.body.outs[self.n_carry :]
        used = [x for eqn in in_loop for x in eqn.inputs] + next_carry
        factors = _distinct([x for s in self.sums for x in s.term.inputs])
        own = {*self.fixed, *self.rows}
        early = [y for y in ys if y in self.early]
        ahead = early + [x for x in _distinct(used + factors) if x in self.early and x not in own and x not in early]
        late = [y for y in ys if y not in self.early]
        written = late + [x for x in factors if x not in self.early and x not in late]
        stacks = [*self.rows, *ahead, *written]
        read = [x for x in _distinct(used) if x in self.rows or (x in ahead and x not in self.fixed)]
        loop_inputs = [*self.fixed, *[self.carry[i] for i in carried], *read]
        loop = tidied(self._program(in_loop, loop_inputs, next_carry + written))
        idle = not carried and not written and not loop.eqns
        free = iter(range(len(self.rows), len(self.rows) + len(early)))
        free_late = iter(range(len(self.rows) + len(ahead), len(stacks)))
        return Plan(
            before,
            finalize(self._ahead(ahead)) if ahead else None,
            None if idle else finalize(loop),
            carried,
            [stacks.index(x) for x in read],
            [stack_of(self.body.aval(x), self.length) for x in written],
            self._after(stacks) if self.sums else None,
            [next(free) if y in self.early else next(free_late) for y in ys],
            len(early),
            [s.number for s in self.sums],
        )

    def _program(self, eqns: Sequence[Equation], inputs: Sequence[Atom], outs: Sequence[Atom]) -> Jaxpr:
        builder = Builder(tuple([self.body.aval(x).strong for x in inputs]))
        have: dict[Atom, Atom] = {x: -1 - i for i, x in enumerate(inputs)}
        builder.copy(eqns, have)
        return builder.build([have.get(x, x) for x in outs])

    # ---- ahead

    def _early(self, terms: set[int]) -> set[Atom]:
        """What is computed ahead: it hangs on rows and constants alone, and is cheap to keep for all rows."""
        early: set[Atom] = {*self.fixed, *self.rows}
        for eqn in self.body.eqns:
            is_ready = all([type(x) is not int or x in early for x in eqn.inputs])
            if is_ready and self._may_move(eqn) and terms.isdisjoint(eqn.outs):
                early.update(eqn.outs)
        return early

    def _may_move(self, eqn: Equation) -> bool:
        if eqn.operation.effectful or not (eqn.primitive.is_elementwise or eqn.primitive in _MOVING):
            return False
        if any([is_tape(aval) for aval in (*eqn.in_avals, *eqn.out_avals)]):
            return False
        (out,) = eqn.out_avals
        if self.length * out.nbytes > _LARGEST_STACK:
            return False
        return eqn.primitive is dot_general_p or out.size <= _SMALL_ROW

    def _ahead(self, outs: Sequence[Atom]) -> Jaxpr:
        eqns = [eqn for eqn in self.body.eqns if eqn.outs and eqn.outs[0] in self.early]
        program = tidied(self._program(eqns, [*self.fixed, *self.rows], outs))
        axes = (*(None,) * len(self.fixed), *(0,) * len(self.rows))
        return batch_to(program, BatchAxis(self.length), axes, (0,) * len(outs))

    # ---- after

    def _sums(self) -> list[_Sum]:
        """The parts of the carry that may be summed up after the loop."""
        sources: dict[Atom, Equation] = {out: eqn for eqn in self.body.eqns for out in eqn.outs}
        uses = Counter([x for eqn in self.body.eqns for x in eqn.inputs] + list(self.body.outs))
        found = []
        for number, (before, after) in enumerate(zip(self.carry, self.body.outs, strict=False)):
            adding = sources.get(after)
            if adding is None or adding.primitive is not add_p or before not in adding.inputs:
                continue
            other = adding.inputs[1] if adding.inputs[0] == before else adding.inputs[0]
            term = sources.get(other)
            if term is None or term.primitive not in (dot_general_p, shapes.reduce_sum_p):
                continue
            varies = not any([type(x) is not int or x in self.fixed for x in term.inputs])
            if varies and uses[before] == uses[after] == uses[other] == 1:
                found.append(_Sum(number, before, term, adding))
        return found

    def _is_better_after(self, product: Equation) -> bool:
        """Whether to keep the factors for all rows costs less than to add up the products."""
        kept = sum([self.body.aval(x).nbytes for x in set(product.inputs) if x not in self.early])
        return kept <= 2 * product.out_avals[0].nbytes and kept * self.length <= _LARGEST_STACK

    def _after(self, stacks: Sequence[Atom]) -> Jaxpr:
        fixed = [self.body.aval(x) for x in self.fixed]
        avals = {x: stack_of(self.body.aval(x), self.length) for x in stacks}
        builder = Builder((*fixed, *[avals[x] for x in stacks], *[self.body.aval(s.before) for s in self.sums]))
        outs: list[Atom] = []
        for number, s in enumerate(self.sums):
            places = tuple([-1 - (len(fixed) + stacks.index(x)) for x in s.term.inputs])
            operation = s.term.primitive.operation(tuple([avals[x] for x in s.term.inputs]), _over_rows(s.term))
            (total,) = builder.add(operation, places, s.term.source)
            start = -1 - (len(fixed) + len(stacks) + number)
            outs += builder.add(s.adding.operation, (start, total), s.adding.source)
        return finalize(tidied(builder.build(outs)))


def _over_rows(term: Equation) -> dict[str, Any]:
    """The parameters of a product or a sum that sums over all rows too."""
    if term.primitive is shapes.reduce_sum_p:
        return {"axes": (0, *[d + 1 for d in term.params["axes"]])}
    contract, batch = term.params["dimension_numbers"]
    over = tuple([(0, *[d + 1 for d in axes]) for axes in contract])
    return {"dimension_numbers": (over, tuple([tuple([d + 1 for d in axes]) for axes in batch]))}


def _distinct(atoms: Sequence[Atom]) -> list[Atom]:
    return list(dict.fromkeys([x for x in atoms if type(x) is int]))
