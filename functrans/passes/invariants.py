"""What each iteration of a loop would compute again is computed once, before the loop.

That is what hangs on the loop's constants alone, and has no effects. A broadcast stays inside, where NumPy does it
while it computes; outside it would only take memory. A `scan` runs its body at least once, or is left alone. A `while`
may run it never, so what might warn, raise or take long is computed only if the first test holds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from functrans.core.aval import Aval
from functrans.core.builder import Builder
from functrans.core.effects import is_effectful
from functrans.core.evaluation import Environment
from functrans.core.jaxpr import Atom, Equation, Jaxpr, Literal, Source, derived, interned
from functrans.ops import bitwise, comparison, elementwise, magnitude, selection, shape
from functrans.ops.cond import cond_p
from functrans.ops.constant import constant_p
from functrans.ops.iota import iota_p
from functrans.ops.joining import concatenate_p
from functrans.ops.scan import scan_p
from functrans.ops.slicing import pad_p, slice_p
from functrans.ops.while_loop import while_p
from functrans.passes.common_subexpressions import merge_common_subexpressions
from functrans.passes.dead_code import eliminate_dead_code
from functrans.passes.inline import inline_all
from functrans.passes.literals import folded
from functrans.passes.simplify import simplify_final

__all__ = ["Hoisted", "hoist_invariants", "hoisted", "invariant_atoms"]

_QUIET = frozenset({
    shape.broadcast_in_dim_p, shape.reshape_p, shape.transpose_p, shape.squeeze_p, shape.expand_dims_p, shape.rev_p,
    slice_p, pad_p, concatenate_p, iota_p, constant_p, elementwise.neg_p, magnitude.abs_p,
    comparison.eq_p, comparison.ne_p, comparison.lt_p, comparison.le_p, comparison.gt_p, comparison.ge_p,
    comparison.select_n_p, selection.max_p, selection.min_p, bitwise.and_p, bitwise.or_p, bitwise.xor_p, bitwise.not_p,
})  # fmt: skip
"""What neither warns nor raises, whatever its operands are."""

_WORTH_A_TEST = 64
"""Elements from which on it pays to test a `while` once more."""


def hoist_invariants(jaxpr: Jaxpr) -> Jaxpr:
    """The program with the invariants of its `scan`s and `while`s before them."""
    if not any([operation.primitive in (scan_p, while_p) for operation, _ in jaxpr.equations]):
        return jaxpr
    builder = Builder(jaxpr.in_avals)
    env = Environment([-1 - i for i in range(len(jaxpr.in_avals))])
    changed = False
    for eqn in jaxpr.eqns:
        inputs = env.read_all(eqn.inputs)
        outs = None
        if eqn.primitive is scan_p and eqn.params["length"]:
            outs = _scan(builder, eqn, inputs)
        elif eqn.primitive is while_p:
            outs = _while(builder, eqn, inputs)
        changed = changed or outs is not None
        env.write(builder.add(eqn.operation, tuple(inputs), eqn.source) if outs is None else outs)
    return builder.build(env.read_all(jaxpr.outs)) if changed else jaxpr


def _scan(builder: Builder, eqn: Equation, inputs: Sequence[Atom]) -> range | None:
    n_consts = eqn.params["n_consts"]
    before, body, kept = _hoisted_body(eqn.params["jaxpr"], n_consts)
    if before is None:
        return None
    consts = inputs[:n_consts]
    moved = _inlined(builder, before, consts, eqn)
    consts = [*[consts[i] for i in kept], *moved]
    params = {**eqn.params, "jaxpr": body, "n_consts": len(consts)}
    return _loop(builder, eqn, [*consts, *inputs[n_consts:]], params)


def _while(builder: Builder, eqn: Equation, inputs: Sequence[Atom]) -> range | None:
    n_cond, n_body = eqn.params["n_cond_consts"], eqn.params["n_body_consts"]
    cond_consts, body_consts, carry = inputs[:n_cond], inputs[n_cond : n_cond + n_body], inputs[n_cond + n_body :]
    before_cond, cond, kept_cond = _hoisted_body(eqn.params["cond"], n_cond)
    before, body, kept = _hoisted_body(eqn.params["body"], n_body)
    is_quiet = before is None or all([inner.primitive in _QUIET for inner in before.eqns])
    if before is not None and not is_quiet and (is_effectful(cond) or not _is_worth_a_test(before)):
        before, body, kept = None, eqn.params["body"], range(n_body)
    if before is None and before_cond is None:
        return None
    if before_cond is not None:  # the first test is made in any case
        cond_consts = [*[cond_consts[i] for i in kept_cond], *_inlined(builder, before_cond, cond_consts, eqn)]
    moved: Sequence[Atom] = ()
    if before is not None and is_quiet:
        moved = _inlined(builder, before, body_consts, eqn)
    elif before is not None:
        (test,) = _inlined(builder, cond, [*cond_consts, *carry], eqn)
        moved = _if_true(builder, test, before, body_consts, eqn)
    body_consts = [*[body_consts[i] for i in kept], *moved]
    counts = {"n_cond_consts": len(cond_consts), "n_body_consts": len(body_consts)}
    params = {**eqn.params, **counts, "cond": cond, "body": body}
    return _loop(builder, eqn, [*cond_consts, *body_consts, *carry], params)


def _loop(builder: Builder, eqn: Equation, operands: Sequence[Atom], params: dict[str, object]) -> range:
    return builder.add(eqn.primitive.operation(tuple(_avals(builder, operands)), params), tuple(operands), eqn.source)


def _avals(builder: Builder, atoms: Sequence[Atom]) -> list[Aval]:
    return [builder.aval(x).strong for x in atoms]


def _inlined(builder: Builder, program: Jaxpr, operands: Sequence[Atom], eqn: Equation) -> list[Atom]:
    return _copied(builder, program, operands, eqn.source)


def _copied(builder: Builder, program: Jaxpr, operands: Sequence[Any], source: Source = None) -> list[Atom]:
    env = Environment(operands)
    for eqn in program.eqns:
        inputs = tuple(env.read_all(eqn.inputs))
        literal = folded(eqn.operation, inputs)
        env.write(builder.add(eqn.operation, inputs, eqn.source or source) if literal is None else [literal])
    return env.read_all(program.outs)


def _if_true(builder: Builder, test: Atom, before: Jaxpr, operands: Sequence[Atom], eqn: Equation) -> Sequence[Atom]:
    """The results of a program if the test holds, else zeros, at which nobody looks."""
    if type(test) is Literal and test.value:
        return _inlined(builder, before, operands, eqn)
    zeros = interned(Builder(before.in_avals).build([Literal(0, aval.strong) for aval in before.out_avals]))
    avals = tuple(_avals(builder, [test, *operands]))
    operation = cond_p.operation(avals, {"branches": (zeros, before), "slots": ()})
    return builder.add(operation, (test, *operands), eqn.source)


def _is_worth_a_test(before: Jaxpr) -> bool:
    risky = [eqn for eqn in before.eqns if eqn.primitive not in _QUIET]
    sizes = [aval.size for eqn in risky for aval in (*eqn.in_avals, *eqn.out_avals)]
    return max(sizes) >= _WORTH_A_TEST or any([eqn.primitive.multiple_results for eqn in risky])


# --------------------------------------------------------------------------------------------------------------------
# Cutting a body


class Hoisted(NamedTuple):
    """A program cut into what hangs on its first inputs alone, and the rest."""

    before: Jaxpr | None
    """From the first inputs to what the rest needs of it; None if that is nothing."""
    rest: Jaxpr
    """From the first inputs, what `before` gives, and the other inputs, to the outputs."""


def _always(eqn: Equation) -> bool:
    return True


def invariant_atoms(jaxpr: Jaxpr, inputs: Sequence[int], counts: Callable[[Equation], bool] = _always) -> set[int]:
    """The atoms that hang on some of the inputs alone, and so are the same in each iteration if those are.

    Args:
        jaxpr: the program.
        inputs: the numbers of the inputs.
        counts: which equations without effects count; the others' results are left out.
    """
    found = {-1 - i for i in inputs}
    for eqn in jaxpr.eqns:
        if eqn.operation.effectful or not counts(eqn):
            continue
        if all([type(x) is not int or x in found for x in eqn.inputs]):
            found.update(eqn.outs)
    return found


def _hoisted_body(body: Jaxpr, n_first: int) -> tuple[Jaxpr | None, Jaxpr, Sequence[int]]:
    """As `hoisted`, for a body of which no derivative will be taken, after its own loops have been cut; and which of
    the first inputs the rest still takes.
    """
    return derived(body, ("hoisted", n_first), lambda: _hoist_body(body, n_first))


def _hoist_body(body: Jaxpr, n_first: int) -> tuple[Jaxpr | None, Jaxpr, Sequence[int]]:
    final = eliminate_dead_code(hoist_invariants(merge_common_subexpressions(simplify_final(inline_all(body)))))
    before, rest = hoisted(final, n_first)
    if before is None:
        return None, body, range(n_first)
    used = {atom for eqn in rest.eqns for atom in eqn.inputs}.union(rest.outs)
    kept = [i for i in range(len(rest.in_avals)) if i >= n_first or -1 - i in used]
    builder = Builder(tuple([rest.in_avals[i] for i in kept]))
    place = {i: -1 - number for number, i in enumerate(kept)}
    outs = _copied(builder, rest, [place.get(i) for i in range(len(rest.in_avals))])
    return before, interned(builder.build(outs)), tuple([i for i in kept if i < n_first])


def hoisted(jaxpr: Jaxpr, n_first: int) -> Hoisted:
    """Cut a program into what hangs on its first inputs alone, and the rest."""
    invariant = invariant_atoms(jaxpr, range(n_first), _may_move)
    kept: list[Equation] = []
    read = set(jaxpr.outs)
    for eqn in reversed(jaxpr.eqns):
        is_invariant = invariant.issuperset(eqn.outs) and not eqn.operation.effectful
        if not is_invariant or (eqn.primitive is shape.broadcast_in_dim_p and not read.isdisjoint(eqn.outs)):
            kept.append(eqn)
            read.update(eqn.inputs)
    own = {out for eqn in kept for out in eqn.outs}
    moved = sorted([x for x in read if type(x) is int and x >= 0 and x not in own])
    if not moved:
        return Hoisted(None, jaxpr)
    avals, n_moved = jaxpr.in_avals, len(moved)
    builder = Builder((*avals[:n_first], *[jaxpr.aval(x) for x in moved], *avals[n_first:]))
    have: dict[Atom, Atom] = {-1 - i: -1 - (i if i < n_first else i + n_moved) for i in range(len(avals))}
    have.update({atom: -1 - n_first - number for number, atom in enumerate(moved)})
    builder.copy(reversed(kept), have)
    rest = builder.build([have.get(x, x) for x in jaxpr.outs])
    return Hoisted(_before(jaxpr, n_first, moved), interned(rest))


def _may_move(eqn: Equation) -> bool:
    return not eqn.operation.axis_names and all([aval.dtype.kind != "V" for aval in (*eqn.in_avals, *eqn.out_avals)])


def _before(jaxpr: Jaxpr, n_first: int, outs: Sequence[int]) -> Jaxpr:
    """What gives some atoms from the first inputs."""
    needed = set(outs)
    eqns = []
    for eqn in reversed(jaxpr.eqns):
        if not needed.isdisjoint(eqn.outs):
            eqns.append(eqn)
            needed.update([x for x in eqn.inputs if type(x) is int])
    builder = Builder(jaxpr.in_avals[:n_first])
    have: dict[Atom, Atom] = {}
    builder.copy(reversed(eqns), have)
    return interned(builder.build([have[x] for x in outs]))
