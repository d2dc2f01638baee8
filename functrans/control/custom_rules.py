"""The rules of `custom_call`: a function whose derivative is that which its user gives.

Forward mode takes the JVP rule if there is one, reverse mode the VJP rule; else each is made of the other. The JVP rule
is linear in the tangents, so it is linearized in them, which separates what must wait for them from the rest. The
backward program of a VJP rule is what `transposed` carries, and is run as it stands when that is transposed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from functrans.backends.running import run_inner
from functrans.control.calls import jvp_of_call, linearized_call, transposed_call
from functrans.control.rearranging import rearranged
from functrans.core.evaluation import eval_jaxpr, stage
from functrans.core.jaxpr import Jaxpr, Literal, derived, jaxprs_in
from functrans.core.primitive import Primitive
from functrans.core.rules import (
    BatchAxis,
    def_general_jvp,
    def_linearize,
    def_program_batch,
    def_specialized_impl,
    def_transpose,
    zeros_like,
)
from functrans.errors import MissingRuleError
from functrans.ops.calls import call_p, jit_p, transposed_p
from functrans.ops.checkpoint import checkpoint_p, rematerialized_p
from functrans.ops.custom_rules import (
    BatchedRules,
    DeferredRules,
    RulePrograms,
    Rules,
    VjpPrograms,
    custom_call_p,
)
from functrans.ops.reductions import reduce_sum
from functrans.ops.shape import moveaxis
from functrans.passes.inline import inline, inline_all, inline_where
from functrans.transforms.batch import batch, batch_to
from functrans.transforms.from_vjp import forward_of
from functrans.transforms.linearize import linearize
from functrans.transforms.tangents import Nonzeros, fill_zeros, without_zeros

__all__: list[str] = []


class _Call:
    """An equation `custom_call` with tangents of its operands."""

    def __init__(
        self, tangents: Sequence[Any], forward: bool, *, jaxpr: Jaxpr, name: str, n_consts: int, rules: Rules
    ) -> None:
        self.jaxpr = jaxpr
        self.name = name
        self.n_outs = len(jaxpr.outs)
        self.n_args = len(tangents) - n_consts
        self.tangents = tangents[: self.n_args]
        self.given, self.nonzeros = without_zeros(self.tangents)
        self.inexact = [i for i, aval in enumerate(jaxpr.in_avals[: self.n_args]) if aval.inexact]
        if self.given:
            self._check_closed_over(tangents)
            self.programs = _programs(rules, jaxpr, n_consts, self.nonzeros, forward)

    def _check_closed_over(self, tangents: Sequence[Any]) -> None:
        perturbed = [i for i, t in enumerate(tangents) if t is not None and i >= self.n_args]
        if perturbed and _reaches_outputs(self.jaxpr, tuple(perturbed)):
            aval = self.jaxpr.in_avals[perturbed[0]].strong
            raise TypeError(
                f"{self.name} closes over a value {aval} by which it is differentiated, and its rules speak of the "
                f"derivative by its arguments alone. Make the value an argument of {self.name}; if it has no "
                "derivative, close over functrans.lax.stop_gradient(value)."
            )

    def dots(self, found: Sequence[Any]) -> list[Any]:
        """The tangents of all outputs, from those of the inexact ones; a literal zero is None."""
        given = iter(found)
        dots = [next(given) if aval.inexact else None for aval in self.jaxpr.out_avals]
        return [None if type(t) is Literal and t.value == 0 else t for t in dots]

    def selected_backward(self, vjp: VjpPrograms) -> Jaxpr:
        """The backward program, with the cotangents of those arguments only that have a tangent."""
        chosen = [number for number, i in enumerate(self.inexact) if self.nonzeros[i]]
        avals = vjp.backward.in_avals
        return rearranged(vjp.backward, avals, range(-1, -1 - len(avals), -1), chosen)

    def n_cts(self) -> int:
        """How many outputs have a cotangent."""
        return sum([aval.inexact for aval in self.jaxpr.out_avals])


def _programs(rules: Rules, jaxpr: Jaxpr, n_consts: int, nonzeros: Nonzeros, forward: bool) -> RulePrograms:
    if type(rules) is DeferredRules:
        return rules.programs(nonzeros, forward, jaxpr)
    if type(rules) is BatchedRules:
        inner = _programs(rules.rules, rules.jaxpr, n_consts, nonzeros, forward)
        inexact = [i for i, aval in enumerate(rules.jaxpr.in_avals[: len(nonzeros)]) if aval.inexact]
        along = tuple([rules.axes[i] for i in inexact])
        return RulePrograms(
            None if inner.jvp is None else _batched_jvp(inner.jvp, rules, along),
            None if inner.vjp is None else _batched_vjp(inner.vjp, rules, along),
        )
    return rules  # type: ignore[return-value]


def _reaches_outputs(jaxpr: Jaxpr, inputs: tuple[int, ...]) -> bool:
    """Whether an output depends smoothly on one of some inputs."""
    return derived(jaxpr, ("reaches outputs", inputs), lambda: _find_reaching(inline_all(jaxpr), inputs))


def _find_reaching(jaxpr: Jaxpr, inputs: tuple[int, ...]) -> bool:
    reached: set[Any] = {-1 - i for i in inputs}
    for eqn in jaxpr.eqns:
        if not eqn.primitive.is_constant and not reached.isdisjoint(eqn.inputs):
            reached.update([out for out, aval in zip(eqn.outs, eqn.out_avals, strict=True) if aval.inexact])
    return not reached.isdisjoint(jaxpr.outs)


# --------------------------------------------------------------------------------------------------------------------
# Derivatives


def _jvp(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
    call = _Call(tangents, True, **params)
    if not call.given:  # the rules have nothing to say of what the function closes over
        return jvp_of_call(call.jaxpr, primals, tangents, eval_jaxpr)
    if call.programs.jvp is not None:
        filled = [zeros_like(primals[i]) if call.tangents[i] is None else call.tangents[i] for i in call.inexact]
        results = eval_jaxpr(inline(call.programs.jvp), [*primals, *filled])
        return results[: call.n_outs], call.dots(results[call.n_outs :])
    vjp = _given_vjp(call)
    results = eval_jaxpr(inline(vjp.forward), primals)
    try:
        forward = forward_of(call.selected_backward(vjp), call.n_cts())
    except MissingRuleError as error:
        raise MissingRuleError(f"{call.name}: {error}") from error
    dots = eval_jaxpr(inline(forward), [*results[call.n_outs :], *call.given])
    return results[: call.n_outs], call.dots(dots)


def _given_vjp(call: _Call) -> VjpPrograms:
    if call.programs.vjp is None:
        raise MissingRuleError(
            f"{call.name} is differentiated and has no rule: give it one with {call.name}.defjvp(rule) or "
            f"{call.name}.defvjp(fwd, bwd), before it is called"
        )
    return call.programs.vjp


def _linearize(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
    call = _Call(tangents, False, **params)
    if not call.given:
        return linearized_call(call.jaxpr, primals, tangents, eval_jaxpr)
    if call.programs.vjp is None and call.programs.jvp is not None:
        return _linearize_jvp(call, call.programs.jvp, primals)
    vjp = _given_vjp(call)
    results = eval_jaxpr(inline(vjp.forward), primals)
    n_cts = call.n_cts()
    if n_cts == 0:
        return results[: call.n_outs], [None] * call.n_outs
    backward = call.selected_backward(vjp)
    dots = transposed_p.bind(*results[call.n_outs :], *call.given, jaxpr=backward, n_cts=n_cts)
    return results[: call.n_outs], call.dots(dots)


def _linearize_jvp(call: _Call, program: Jaxpr, primals: Sequence[Any]) -> tuple[Any, Any]:
    n_fixed = len(primals)
    nonzeros = (False,) * n_fixed + tuple([call.nonzeros[i] for i in call.inexact])
    lin = linearize(program, nonzeros)
    if not derived(program, ("is linear", nonzeros), lambda: _is_linear(program, nonzeros)):
        raise MissingRuleError(
            f"the JVP rule of {call.name} is not linear in its tangents, so reverse mode cannot be derived from it. A "
            "derivative is linear: the rule may multiply a tangent by what it computes from the primals, and add "
            f"tangents up. Or give {call.name} a VJP rule too, with defvjp."
        )
    inputs = [*primals, *[zeros_like(aval) for aval in program.in_avals[n_fixed:]]]
    results = eval_jaxpr(lin.primal, inputs)
    dots = eval_jaxpr(lin.linear, [*call.given, *lin.read_residuals(inputs, results)])
    return results[: call.n_outs], call.dots(fill_zeros(dots, lin.nonzeros)[call.n_outs :])


def _is_linear(program: Jaxpr, nonzeros: Nonzeros) -> bool:
    """Whether no residual depends on the tangents, as far as can be told without looking into loops."""
    # A checkpoint keeps its operands, and what it computes again of them may depend on no tangent at all.
    lin = linearize(inline_where(program, _is_transparent), nonzeros)
    jaxpr = inline_all(lin.primal)
    reached: set[Any] = {-1 - i for i, nonzero in enumerate(nonzeros) if nonzero}
    for eqn in jaxpr.eqns:
        carries_program = any([True for value in eqn.params.values() for _ in jaxprs_in(value)])
        if not carries_program and not reached.isdisjoint(eqn.inputs):
            reached.update(eqn.outs)
    return reached.isdisjoint([place if place < 0 else jaxpr.outs[place] for place in lin.residuals])


def _is_transparent(primitive: Primitive) -> bool:
    return primitive in (jit_p, call_p, checkpoint_p, rematerialized_p)


def _transpose(cts: Sequence[Any], *operands: Any, jaxpr: Jaxpr, name: str, n_consts: int, rules: Rules) -> list[Any]:
    return transposed_call(jaxpr, cts, operands, eval_jaxpr)


# --------------------------------------------------------------------------------------------------------------------
# Batches


def _batch(
    axis: BatchAxis,
    operands: Sequence[Any],
    axes: Sequence[int | None],
    *,
    jaxpr: Jaxpr,
    name: str,
    n_consts: int,
    rules: Rules,
) -> tuple[Sequence[Any], Sequence[int]]:
    # All results are stacked: even of one that all members share, the tangent may differ.
    out_axes = (0,) * len(jaxpr.outs)
    program = batch_to(jaxpr, axis, tuple(axes), out_axes)
    batched = BatchedRules(rules, jaxpr, axis, tuple(axes))
    return custom_call_p.bind(*operands, jaxpr=program, name=name, n_consts=n_consts, rules=batched), out_axes


def _batched_jvp(program: Jaxpr, rules: BatchedRules, along: tuple[int | None, ...]) -> Jaxpr:
    return batch_to(program, rules.axis, (*rules.axes, *along), (0,) * len(program.outs))


def _batched_vjp(vjp: VjpPrograms, rules: BatchedRules, along: tuple[int | None, ...]) -> VjpPrograms:
    n_outs = len(rules.jaxpr.outs)
    residual_axes = batch(vjp.forward, rules.axis, rules.axes)[1][n_outs:]
    forward = batch_to(vjp.forward, rules.axis, rules.axes, (0,) * n_outs + residual_axes)
    key = ("batched backward", rules.axis, residual_axes, along)
    backward = derived(vjp.backward, key, lambda: _batched_backward(vjp.backward, rules.axis, residual_axes, along))
    return VjpPrograms(forward, backward)


def _batched_backward(
    backward: Jaxpr, axis: BatchAxis, residual_axes: tuple[int | None, ...], along: tuple[int | None, ...]
) -> Jaxpr:
    """The backward program of a batch: the cotangent of what all members share is the sum of theirs."""
    n_cts = len(backward.in_avals) - len(residual_axes)
    program = batch_to(backward, axis, (*residual_axes, *(0,) * n_cts), (0,) * len(backward.outs))
    with stage("custom_call", program.in_avals) as recording:
        cts = eval_jaxpr(program, recording.inputs(), recording)
        outs = [reduce_sum(ct, (0,)) if to is None else moveaxis(ct, 0, to) for ct, to in zip(cts, along, strict=True)]
        return recording.close(outs)[0]


def_specialized_impl(custom_call_p, run_inner)
def_general_jvp(custom_call_p, _jvp)
def_linearize(custom_call_p, _linearize)
def_transpose(custom_call_p, _transpose)
def_program_batch(custom_call_p, _batch)
