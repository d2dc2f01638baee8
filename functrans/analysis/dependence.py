"""Which inputs of a program its outputs depend on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from functrans.core.jaxpr import Atom, Equation, Jaxpr, derived
from functrans.passes.pipeline import finalize

__all__ = ["inputs_of_outputs"]

Inputs = int
"""A set of inputs: bit `i` is input `i`. There may be thousands of both, and of equations."""


def inputs_of_outputs(jaxpr: Jaxpr) -> tuple[frozenset[int], ...]:
    """For each output of a program, the numbers of the inputs that it depends on, in the form in which it is run.

    >>> import functrans as ft
    >>> inputs_of_outputs(ft.make_jaxpr(lambda x, y: (x + y, x * 2, 1.0))(1.0, 2.0).jaxpr)
    (frozenset({0, 1}), frozenset({0}), frozenset())
    """
    return tuple([frozenset(_numbers(inputs)) for inputs in _masks(jaxpr)])


def _numbers(inputs: Inputs) -> list[int]:
    return [i for i, bit in enumerate(reversed(bin(inputs)[2:])) if bit == "1"]


def _masks(jaxpr: Jaxpr) -> tuple[Inputs, ...]:
    return derived(jaxpr, "inputs of outputs", lambda: _walk(finalize(jaxpr)))


def _walk(jaxpr: Jaxpr) -> tuple[Inputs, ...]:
    found: dict[Atom, Inputs] = {-1 - i: 1 << i for i in range(len(jaxpr.in_avals))}
    for eqn in jaxpr.eqns:
        operands = [found[atom] if type(atom) is int else 0 for atom in eqn.inputs]
        rule = _RULES.get(eqn.primitive.name, _all)
        found.update(zip(eqn.outs, rule(eqn, operands), strict=True))
    return tuple([found[atom] if type(atom) is int else 0 for atom in jaxpr.outs])


def _union(sets: Iterable[Inputs]) -> Inputs:
    union = 0
    for inputs in sets:
        union |= inputs
    return union


def _all(eqn: Equation, operands: Sequence[Inputs]) -> list[Inputs]:
    return [_union(operands)] * len(eqn.outs)


def _through(jaxpr: Jaxpr, operands: Sequence[Inputs]) -> list[Inputs]:
    """What the outputs of a program depend on that is called with these operands."""
    return [_union([operands[i] for i in _numbers(inputs)]) for inputs in _masks(jaxpr)]


def _scan(eqn: Equation, operands: Sequence[Inputs]) -> list[Inputs]:
    n_consts, n_carry = eqn.params["n_consts"], eqn.params["n_carry"]
    consts, carry, rows = operands[:n_consts], operands[n_consts : n_consts + n_carry], operands[n_consts + n_carry :]
    while True:
        outs = _through(eqn.params["jaxpr"], [*consts, *carry, *rows])
        grown = [before | after for before, after in zip(carry, outs, strict=False)]
        if grown == list(carry):
            return [*carry, *outs[n_carry:]]
        carry = grown


def _while(eqn: Equation, operands: Sequence[Inputs]) -> list[Inputs]:
    """The number of iterations depends on what the condition reads, and what changes in an iteration on that number."""
    n_cond, n_body = eqn.params["n_cond_consts"], eqn.params["n_body_consts"]
    body, condition = eqn.params["body"], eqn.params["cond"]
    carry = list(operands[n_cond + n_body :])
    changes = [finalize(body).outs[i] != -1 - (n_body + i) for i in range(len(carry))]
    while True:
        (asked,) = _through(condition, [*operands[:n_cond], *carry])
        outs = _through(body, [*operands[n_cond : n_cond + n_body], *carry])
        grown = [
            before | after | (asked if changed else 0)
            for before, after, changed in zip(carry, outs, changes, strict=False)
        ]
        if grown == carry:
            written = [out | asked for out in outs[len(carry) :]]
            return [*carry, *written, *[asked] * (len(eqn.outs) - len(carry) - len(written))]
        carry = grown


def _cond(eqn: Equation, operands: Sequence[Inputs]) -> list[Inputs]:
    index, *others = operands
    found = [_through(branch, others) for branch in eqn.params["branches"]]
    return [index | _union(outs) for outs in zip(*found, strict=True)]


_RULES: dict[str, Callable[[Equation, Sequence[Inputs]], list[Inputs]]] = {
    "scan": _scan,
    "while": _while,
    "cond": _cond,
}
