"""Forward mode for a primitive that has only a VJP rule.

A VJP is linear in its cotangent, so its transpose is the JVP. Linearizing records the transpose as one equation,
`transposed`, which reverse mode transposes back without ever running it: a backward rule that is not linear (gradient
clipping) fails only where forward mode is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from functrans.core.aval import aval_of
from functrans.core.evaluation import apply_equation, eval_jaxpr, stage
from functrans.core.jaxpr import Equation, Jaxpr, Operation
from functrans.core.rules import zeros_like
from functrans.errors import MissingRuleError
from functrans.ops.calls import transposed_p
from functrans.transforms.tangents import without_zeros
from functrans.transforms.transpose import transpose

__all__ = ["forward_of", "jvp_from_vjp", "linearize_from_vjp"]


def jvp_from_vjp(eqn: Equation, primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Sequence[Any], list[Any]]:
    """The results and tangents of an equation whose primitive has a VJP rule, by transposing it."""
    outs = apply_equation(eqn, primals)
    given, nonzeros = without_zeros(tangents)
    backward = _backward_program(eqn.operation, nonzeros)
    return outs, eval_jaxpr(forward_of(backward, len(outs)), [*outs, *primals, *given])


def linearize_from_vjp(
    eqn: Equation, primals: Sequence[Any], tangents: Sequence[Any]
) -> tuple[Sequence[Any], list[Any]]:
    """As `jvp_from_vjp`, with the transposition left to do."""
    outs = apply_equation(eqn, primals)
    given, nonzeros = without_zeros(tangents)
    backward = _backward_program(eqn.operation, nonzeros)
    return outs, list(transposed_p.bind(*outs, *primals, *given, jaxpr=backward, n_cts=len(outs)))


def forward_of(backward: Jaxpr, n_cts: int) -> Jaxpr:
    """The transpose of a program in its last inputs: from the other inputs and a tangent for each output.

    Raises:
        MissingRuleError: if the program is not linear in them.
    """
    n_fixed = len(backward.in_avals) - n_cts
    linear = (False,) * n_fixed + (True,) * n_cts
    try:
        return transpose(backward, linear, (True,) * len(backward.outs), instantiate=True)[0]
    except MissingRuleError as error:
        raise MissingRuleError(
            "forward mode is asked of a function that has a VJP rule only, and cannot be derived from it: the backward "
            "rule is not linear in the cotangent, or calls what cannot be transposed. Use reverse mode (grad, vjp, "
            f"jacrev), or give the function a JVP rule too. ({error})"
        ) from error


def _backward_program(operation: Operation, nonzeros: tuple[bool, ...]) -> Jaxpr:
    """The VJP rule as a program: from results, primals and cotangents to cotangents of the operands with a tangent."""
    if nonzeros not in operation.memo:
        operation.memo[nonzeros] = _record_backward(operation, nonzeros)
    return operation.memo[nonzeros]


def _record_backward(operation: Operation, nonzeros: tuple[bool, ...]) -> Jaxpr:
    primitive: Any = operation.primitive
    outs, primals = operation.out_avals, operation.in_avals
    with stage(f"the VJP rule of {primitive.name!r}", [*outs, *primals, *outs]) as recording:
        tracers = recording.inputs()
        out, rest = tracers[: len(outs)], tracers[len(outs) :]
        ct = rest[len(primals) :]
        if not primitive.multiple_results:
            out, ct = out[0], ct[0]  # type: ignore[assignment]
        cts = primitive.vjp(ct, out, *rest[: len(primals)], **operation.params)
        cts = _checked(primitive.name, cts, primals)
        return recording.close([x for x, wanted in zip(cts, nonzeros, strict=True) if wanted])[0]


def _checked(name: str, cts: Any, primals: Sequence[Any]) -> list[Any]:
    cts = list(cts) if isinstance(cts, (tuple, list)) else [cts]
    if len(cts) != len(primals):
        raise TypeError(
            f"the VJP rule of primitive {name!r} must return one cotangent for each of the {len(primals)} "
            f"operands (None for zero), and returned {len(cts)}"
        )
    for position, (ct, aval) in enumerate(zip(cts, primals, strict=True)):
        if ct is None:
            cts[position] = zeros_like(aval)
        elif aval.inexact and aval_of(ct).strong is not aval.strong:
            raise TypeError(
                f"the VJP rule of primitive {name!r} gave a cotangent {aval_of(ct)} for operand {position}, "
                f"which is {aval}; they must have the same shape and dtype"
            )
    return cts
