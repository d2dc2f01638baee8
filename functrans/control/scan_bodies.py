"""Bodies of loops as programs: parts of them, products without their guards, and results that nobody uses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from functrans.control.rearranging import reordered
from functrans.core.builder import Builder
from functrans.core.evaluation import Environment
from functrans.core.jaxpr import Atom, Equation, Jaxpr, Operation, derived, interned, jaxprs_in
from functrans.core.primitive import Primitive
from functrans.ops.cumulative import linear_recurrence_p
from functrans.ops.elementwise import div_p, mul_p
from functrans.ops.guarded import (
    guarded_div_p,
    guarded_dot_general_p,
    guarded_linear_recurrence_p,
    guarded_mul_p,
)
from functrans.ops.linear_algebra import dot_general_p
from functrans.ops.scan import scan_p
from functrans.passes.dead_code import eliminate_dead_code
from functrans.passes.pipeline import tidied

__all__ = [
    "has_guards",
    "program_of_atoms",
    "shows_nans",
    "unguarded",
]


def program_of_atoms(jaxpr: Jaxpr, outs: Sequence[int], inputs: Sequence[int], invariant: set[int]) -> Jaxpr:
    """The program that gives some of a program's atoms from some of its inputs, on which alone they hang.

    Args:
        jaxpr: the program.
        outs: the atoms.
        inputs: the numbers of the inputs.
        invariant: the atoms that hang on these inputs alone.
    """
    builder = Builder(tuple([jaxpr.in_avals[i] for i in inputs]))
    have: dict[Atom, Atom] = {-1 - i: -1 - number for number, i in enumerate(inputs)}
    builder.copy([e for e in jaxpr.eqns if not e.operation.effectful and invariant.issuperset(e.outs)], have)
    return tidied(builder.build([have[x] for x in outs]))


# --------------------------------------------------------------------------------------------------------------------
# Guarded products


_PLAIN: dict[Any, Primitive] = {
    guarded_mul_p: mul_p,
    guarded_div_p: div_p,
    guarded_dot_general_p: dot_general_p,
    guarded_linear_recurrence_p: linear_recurrence_p,
}


def has_guards(jaxpr: Jaxpr) -> bool:
    """Whether a body, or a loop inside of it, has guarded products."""
    return any([eqn.primitive in _PLAIN or any(map(has_guards, _loops_in(eqn))) for eqn in jaxpr.eqns])


def unguarded(jaxpr: Jaxpr) -> Jaxpr:
    """The body with plain products in the place of guarded ones.

    Where the two differ, the plain product is NaN: so it gives the same bits if `shows_nans` and nothing that it gives
    is NaN.
    """
    return derived(jaxpr, "unguarded", lambda: _unguarded(jaxpr))


def _unguarded(jaxpr: Jaxpr) -> Jaxpr:
    builder = Builder(jaxpr.in_avals)
    env = Environment([-1 - i for i in range(len(jaxpr.in_avals))])
    for eqn in jaxpr.eqns:
        operation = eqn.operation
        if eqn.primitive in _PLAIN:
            params = {name: value for name, value in eqn.params.items() if name != "guards"}
            operation = _PLAIN[eqn.primitive].operation(eqn.in_avals, params)
        elif any(map(has_guards, _loops_in(eqn))):
            operation = scan_p.operation(eqn.in_avals, {**eqn.params, "jaxpr": unguarded(eqn.params["jaxpr"])})
        env.write(builder.add(operation, tuple(env.read_all(eqn.inputs)), eqn.source))
    return interned(builder.build(env.read_all(jaxpr.outs)))


def _loops_in(eqn: Equation) -> list[Jaxpr]:
    return [eqn.params["jaxpr"]] if eqn.primitive is scan_p else []


def shows_nans(jaxpr: Jaxpr, n_consts: int, n_carry: int) -> bool:
    """Whether a NaN that a plain product gives in the place of a guarded one is seen in what the loop gives.

    What is linear hands a NaN on, or leaves out its place whatever is there. A comparison, say, may lose it.
    """
    return _shown(jaxpr, n_consts, n_carry, (False,) * len(jaxpr.in_avals)) is not None


def _shown(jaxpr: Jaxpr, n_consts: int, n_carry: int, inputs: Sequence[bool]) -> tuple[bool, ...] | None:
    """Which outputs of a body such NaN may reach, given the inputs in which they are; None if one may be lost."""
    while True:
        reached: set[Atom] = {-1 - i for i, flag in enumerate(inputs) if flag}
        for eqn in jaxpr.eqns:
            if eqn.primitive is scan_p:
                inner, n_inner_consts, n_inner_carry = [eqn.params[name] for name in ("jaxpr", "n_consts", "n_carry")]
                outs = _shown(inner, n_inner_consts, n_inner_carry, [x in reached for x in eqn.inputs])
                if outs is None:
                    return None
                reached.update([out for out, flag in zip(eqn.outs, outs, strict=True) if flag])
            elif eqn.primitive in _PLAIN:
                reached.update(eqn.outs)
            elif not reached.isdisjoint(eqn.inputs):
                if not _hands_nans_on(eqn):
                    return None
                reached.update(eqn.outs)
        carried = [jaxpr.outs[i] in reached or inputs[n_consts + i] for i in range(n_carry)]
        following = [*inputs[:n_consts], *carried, *inputs[n_consts + n_carry :]]
        if following == list(inputs):
            return tuple([out in reached for out in jaxpr.outs])
        inputs = following


def _hands_nans_on(eqn: Equation) -> bool:
    if eqn.primitive.transpose is None or any([True for value in eqn.params.values() for _ in jaxprs_in(value)]):
        return False
    return all([aval.inexact for aval in eqn.out_avals])


# --------------------------------------------------------------------------------------------------------------------
# Results that nobody uses


def _narrow(operation: Operation, used: tuple[bool, ...]) -> tuple[Operation, list[int], list[int]] | None:
    jaxpr, n_consts, n_carry = [operation.params[name] for name in ("jaxpr", "n_consts", "n_carry")]
    if all(used):
        return None
    inputs, outs = derived(
        jaxpr, ("scan narrow", n_consts, n_carry, used), lambda: _needed(jaxpr, n_consts, n_carry, used)
    )
    if len(inputs) == len(jaxpr.in_avals) and len(outs) == len(jaxpr.outs):
        return None
    body = tidied(reordered(jaxpr, range(len(jaxpr.in_avals)), [jaxpr.outs[i] for i in outs]))
    consts = sum([i < n_consts for i in inputs])
    carry = sum([i < n_carry for i in outs])
    params = {**operation.params, "jaxpr": reordered(body, inputs), "n_consts": consts, "n_carry": carry}
    return scan_p.operation(tuple([operation.in_avals[i] for i in inputs]), params), inputs, outs


def _needed(jaxpr: Jaxpr, n_consts: int, n_carry: int, used: tuple[bool, ...]) -> tuple[list[int], list[int]]:
    """Which inputs and which outputs of a body are needed for some of its results in all iterations."""
    wanted = list(used)
    while True:
        outs = [i for i, is_wanted in enumerate(wanted) if is_wanted]
        body = eliminate_dead_code(reordered(jaxpr, range(len(jaxpr.in_avals)), [jaxpr.outs[i] for i in outs]))
        read = {x for eqn in body.eqns for x in eqn.inputs}.union(body.outs)
        carried = [-1 - (n_consts + i) in read or wanted[i] for i in range(n_carry)]
        if carried == wanted[:n_carry]:
            break
        wanted[:n_carry] = carried
    inputs = [i for i in range(len(jaxpr.in_avals)) if -1 - i in read or _is_carried(i - n_consts, wanted, n_carry)]
    return inputs, outs


def _is_carried(number: int, wanted: list[bool], n_carry: int) -> bool:
    return 0 <= number < n_carry and wanted[number]


scan_p.narrow = _narrow
