"""The rules of `checkpoint`: linearized, a program keeps its inputs, and the rest is computed again from them.

Linearizing a program gives one that computes outputs and residuals, and a linear one that reads the residuals. Here
the residuals do not leave the first program: the second gets the inputs instead, with the values that the policy
wants kept, and begins by computing the residuals from them. The results of effects are always kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from functrans.backends.numpy_codegen.generate import write_function
from functrans.backends.numpy_codegen.rules import Writer, def_source, write_call
from functrans.backends.numpy_codegen.values import Value
from functrans.backends.running import run_inner
from functrans.control.calls import jvp_of_call, transposed_call
from functrans.core.builder import Builder, with_outs
from functrans.core.evaluation import Environment
from functrans.core.jaxpr import Equation, Jaxpr, derived, interned
from functrans.core.primitive import Primitive
from functrans.core.rules import (
    BatchAxis,
    def_general_jvp,
    def_linearize,
    def_program_batch,
    def_specialized_impl,
    def_transpose,
)
from functrans.ops.calls import jit_p
from functrans.ops.checkpoint import checkpoint_p, name_p, rematerialized_p
from functrans.passes.dead_code import eliminate_dead_code
from functrans.passes.inline import inline_where
from functrans.passes.pipeline import finalize
from functrans.transforms.batch import batch
from functrans.transforms.linearize import Linearized, linearize
from functrans.transforms.tangents import Nonzeros, fill_zeros, without_zeros

__all__ = ["Policy"]

Policy = Callable[..., Any]
"""Whether the results of an equation are kept: `policy(primitive, *avals, **params) -> bool`."""


class _Split(NamedTuple):
    """A linearized program whose residuals are computed twice."""

    forward: Jaxpr
    """From the inputs to the outputs, then what is kept."""
    linear: Jaxpr
    """From the tangents given, then what is kept, to the tangents of the outputs that have one."""
    places: tuple[int, ...]
    """What is kept: `-1 - i` for input i, else its number among the outputs of `forward`."""
    nonzeros: Nonzeros
    """Which outputs have a tangent."""


def _split(jaxpr: Jaxpr, nonzeros: Nonzeros, policy: Policy | None) -> _Split:
    return derived(jaxpr, ("checkpoint", nonzeros, policy), lambda: _make_split(jaxpr, nonzeros, policy))


def _make_split(jaxpr: Jaxpr, nonzeros: Nonzeros, policy: Policy | None) -> _Split:
    lin = linearize(jaxpr, nonzeros)
    # The policy is asked about the equations of jitted functions too.
    primal = lin.primal if policy is None else inline_where(lin.primal, lambda primitive: primitive is jit_p)
    residuals = [primal.outs[place] if place >= 0 else place for place in lin.residuals]
    plan = _Plan(primal, policy)
    needed = plan.visit(residuals)
    outs = list(primal.outs[: len(jaxpr.outs)])
    places = []
    for atom in plan.kept:
        if atom >= 0 and atom not in outs:
            outs.append(atom)
        places.append(atom if atom < 0 else outs.index(atom))
    forward = interned(eliminate_dead_code(with_outs(primal, outs)))
    return _Split(forward, _recomputing(primal, lin, residuals, plan, needed), tuple(places), lin.nonzeros)


class _Plan:
    """What of a program is kept, and what is computed again."""

    def __init__(self, primal: Jaxpr, policy: Policy | None) -> None:
        self.policy = policy
        self.sources = {out: eqn for eqn in primal.eqns for out in eqn.outs}
        self.kept: list[int] = []
        """The atoms that are kept, inputs of the program among them."""
        excluded: frozenset[str] = getattr(policy, "excluded_names", frozenset())
        names = [eqn for eqn in primal.eqns if eqn.primitive is name_p]
        self.excluded = {eqn.inputs[0] for eqn in names if eqn.params["name"] in excluded}
        # Of `y = tanh(x)`, named, the derivative reads y without its name: the same value.
        self.named = {eqn.inputs[0]: eqn.outs[0] for eqn in names if self._is_kept(eqn)}

    def visit(self, residuals: Sequence[Any]) -> set[int]:
        """Decide for the residuals and all that they need; the first results of the equations to compute again."""
        pending, seen, again = list(residuals), set[int](), set[int]()
        while pending:
            atom = pending.pop()
            if type(atom) is not int:
                continue
            atom = self.named.get(atom, atom)
            if atom in seen:
                continue
            seen.add(atom)
            eqn = self.sources.get(atom)
            if eqn is None or self._is_kept(eqn):
                self.kept.append(atom)
            else:
                again.add(eqn.outs[0])
                pending.extend(eqn.inputs)
        self.kept.sort(key=lambda atom: (atom >= 0, abs(atom)))
        return again

    def _is_kept(self, eqn: Equation) -> bool:
        if eqn.operation.effectful:
            return True
        if self.policy is None or not self.excluded.isdisjoint(eqn.outs):
            return False
        return bool(self.policy(eqn.primitive, *eqn.in_avals, **eqn.params))


def _recomputing(primal: Jaxpr, lin: Linearized, residuals: Sequence[Any], plan: _Plan, again: set[int]) -> Jaxpr:
    """The linear program, on what is kept."""
    n_tangents = len(lin.linear.in_avals) - len(residuals)
    avals = lin.linear.in_avals[:n_tangents] + tuple([primal.aval(atom).strong for atom in plan.kept])
    builder = Builder(avals)
    have: dict[Any, Any] = {atom: -1 - n_tangents - i for i, atom in enumerate(plan.kept)}

    def read(atom: Any) -> Any:
        return have[plan.named.get(atom, atom)] if type(atom) is int else atom

    for eqn in primal.eqns:
        if eqn.outs and eqn.outs[0] in again:
            for out, atom in zip(eqn.outs, _copied(builder, eqn, [read(x) for x in eqn.inputs]), strict=True):
                have.setdefault(out, atom)
    env = Environment([-1 - i for i in range(n_tangents)] + [read(atom) for atom in residuals])
    for eqn in lin.linear.eqns:
        env.write(_copied(builder, eqn, env.read_all(eqn.inputs)))
    return interned(eliminate_dead_code(builder.build(env.read_all(lin.linear.outs))))


def _copied(builder: Builder, eqn: Equation, inputs: list[Any]) -> range:
    return builder.add(eqn.operation, tuple(inputs), eqn.source)


def _rules(primitive: Primitive) -> None:
    """Give the rules of a checkpoint, or of what it becomes, which can be differentiated again."""

    def bind(jaxpr: Jaxpr, operands: Sequence[Any], options: dict[str, Any]) -> Sequence[Any]:
        return primitive.bind(*operands, jaxpr=jaxpr, **options)

    def recompute(jaxpr: Jaxpr, operands: Sequence[Any], options: dict[str, Any]) -> Sequence[Any]:
        again = rematerialized_p if options["prevent_cse"] else checkpoint_p
        return again.bind(*operands, jaxpr=jaxpr, **options)

    def forward(
        primals: Sequence[Any], tangents: Sequence[Any], *, jaxpr: Jaxpr, **options: Any
    ) -> tuple[Sequence[Any], list[Any]]:
        return jvp_of_call(jaxpr, primals, tangents, lambda program, operands: bind(program, operands, options))

    def linearized(
        primals: Sequence[Any], tangents: Sequence[Any], *, jaxpr: Jaxpr, **options: Any
    ) -> tuple[Sequence[Any], list[Any]]:
        given, nonzeros_in = without_zeros(tangents)
        split = _split(jaxpr, nonzeros_in, options["policy"])
        results = bind(split.forward, primals, options)
        kept = [results[place] if place >= 0 else primals[-1 - place] for place in split.places]
        dots = recompute(split.linear, [*given, *kept], options) if any(split.nonzeros) else []
        return results[: len(jaxpr.outs)], fill_zeros(dots, split.nonzeros)

    def transposed(cts: Sequence[Any], *operands: Any, jaxpr: Jaxpr, **options: Any) -> list[Any]:
        return transposed_call(jaxpr, cts, operands, lambda program, given: recompute(program, given, options))

    def batched(
        axis: BatchAxis, operands: Sequence[Any], axes: Sequence[int | None], *, jaxpr: Jaxpr, **options: Any
    ) -> tuple[Sequence[Any], Sequence[int | None]]:
        program, out_axes = batch(jaxpr, axis, tuple(axes))
        return bind(program, operands, options), out_axes

    def_specialized_impl(primitive, run_inner)
    def_source(primitive, _write_call)
    def_general_jvp(primitive, forward)
    def_linearize(primitive, linearized)
    def_transpose(primitive, transposed)
    def_program_batch(primitive, batched)


def _write_call(writer: Writer, eqn: Equation, operands: Sequence[Value]) -> list[Value]:
    """The source of an equation that is run again: a call of a function of its own."""
    return write_call(writer, write_function(writer.module, finalize(eqn.params["jaxpr"])), operands, eqn.out_avals)


_rules(checkpoint_p)
_rules(rematerialized_p)
