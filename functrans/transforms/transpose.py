"""Reverse mode's second half: `transpose : (dx -o dy) -> (dy -o dx)`, for a program that is linear in some inputs.

The program is walked backwards. Each equation hands the cotangents of its results to its operands, by the transpose
rule of its primitive; what an atom gets from several users is added up.

>>> import functrans as ft
>>> from functrans.transforms.transpose import transpose
>>> program = ft.make_jaxpr(lambda x, y: ft.lax.mul(ft.lax.neg(x), y))(1.5, 2.5).jaxpr
>>> transpose(program, (True, False), (True,))[0]
{ lambda ; a:f64[] b:f64[]. let
    c:f64[] = mul b a
    d:f64[] = neg c
  in (d,) }
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from functrans.config import config
from functrans.core.evaluation import Environment, apply_equation, in_scope, stage
from functrans.core.jaxpr import Equation, Jaxpr, derived
from functrans.core.recording import Recording
from functrans.core.rules import UndefinedPrimal
from functrans.errors import BACKWARD, MissingRuleError
from functrans.passes.inline import inline
from functrans.passes.pipeline import tidied
from functrans.transforms.masking import guard_equations, masked_cotangents, places_zeros
from functrans.transforms.tangents import Nonzeros, add_tangents, instantiated

__all__ = ["masked_cotangents", "masked_in_loop", "transpose"]


def transpose(
    jaxpr: Jaxpr,
    linear: tuple[bool, ...],
    nonzeros: Nonzeros,
    instantiate: bool = False,
    masked: tuple[bool, ...] = (),
) -> tuple[Jaxpr, Nonzeros]:
    """The transpose of a program in some of its inputs.

    Args:
        jaxpr: the program.
        linear: which inputs it is linear in.
        nonzeros: which outputs have a cotangent; the others' is zero.
        instantiate: whether the cotangents of all linear inputs are wanted, even those that are zero.
        masked: of which outputs the cotangent may be zero in places where a selection or an index put the zero, as
            `masked_cotangents` gives it; of none if not given. Such a zero stays zero, whatever it is multiplied by.

    Returns:
        A program from the inputs that are not linear, then the cotangents given, to the cotangents of some of the
        linear inputs, and which of them have one.

    Raises:
        MissingRuleError: if a linear input goes into a primitive without a transpose rule: the program is not linear.
    """
    key = ("transpose", linear, nonzeros, instantiate, masked, config.nan_safe_gradients)
    return derived(jaxpr, key, lambda: _transpose(inline(jaxpr), linear, nonzeros, instantiate, masked))


def _transpose(
    jaxpr: Jaxpr, linear: tuple[bool, ...], nonzeros: Nonzeros, instantiate: bool, masked: tuple[bool, ...]
) -> tuple[Jaxpr, Nonzeros]:
    fixed_avals = [aval for aval, is_linear in zip(jaxpr.in_avals, linear, strict=True) if not is_linear]
    ct_avals = [aval.strong for aval, nonzero in zip(jaxpr.out_avals, nonzeros, strict=True) if nonzero]
    with stage("transpose", [*fixed_avals, *ct_avals]) as recording:
        tracers = recording.inputs()
        fixed, given = iter(tracers[: len(fixed_avals)]), tracers[len(fixed_avals) :]
        inputs = [
            UndefinedPrimal(aval) if is_linear else next(fixed)
            for aval, is_linear in zip(jaxpr.in_avals, linear, strict=True)
        ]
        env = _run_fixed_part(jaxpr, inputs, recording)
        marks = [is_marked for is_marked, nonzero in zip(masked, nonzeros, strict=True) if nonzero] if masked else []
        recording.masked.update([ct.atom for ct, is_marked in zip(given, marks, strict=False) if is_marked])
        first = len(recording.equations)
        cts = _seed(jaxpr, nonzeros, given)
        if config.nan_safe_gradients:
            guard_equations(recording, first)
        cts = _backward(jaxpr, env, cts, recording)
        outs = [cts.get(-1 - i) for i, is_linear in enumerate(linear) if is_linear]
        avals = [aval for aval, is_linear in zip(jaxpr.in_avals, linear, strict=True) if is_linear]
        outs = instantiated(outs, (instantiate,) * len(outs), avals)
        program, _ = recording.close([ct for ct in outs if ct is not None], intern=False)
    return tidied(program), tuple([ct is not None for ct in outs])


def masked_in_loop(jaxpr: Jaxpr, linear: tuple[bool, ...], nonzeros: Nonzeros, cts: Sequence[Any]) -> tuple[bool, ...]:
    """As `masked_cotangents`, for the body of a loop, whose cotangents go into it again: if one of them is masked, or
    the body masks one itself, all are.

    Args:
        jaxpr, linear, nonzeros: what `transpose` is called with.
        cts: the cotangents that the loop begins with; None where it is zero.
    """
    if not config.nan_safe_gradients:
        return masked_cotangents(cts)
    program = transpose(jaxpr, linear, nonzeros, instantiate=True)[0]
    return nonzeros if masked_cotangents(cts) or places_zeros(program) else ()


def _run_fixed_part(jaxpr: Jaxpr, inputs: list[Any], recording: Recording) -> Environment:
    """Run what does not depend on a linear input; the rest of the atoms stand for undefined primals."""
    env = Environment(inputs)
    for eqn in jaxpr.eqns:
        operands = env.read_all(eqn.inputs)
        if any([type(x) is UndefinedPrimal for x in operands]):
            env.write([UndefinedPrimal(aval) for aval in eqn.out_avals])
        else:
            recording.source = eqn.source
            env.write(apply_equation(eqn, operands))
    return env


def _seed(jaxpr: Jaxpr, nonzeros: Nonzeros, given: Sequence[Any]) -> dict[int, Any]:
    cts: dict[int, Any] = {}
    remaining = iter(given)
    for atom, nonzero in zip(jaxpr.outs, nonzeros, strict=True):
        ct = next(remaining) if nonzero else None
        if type(atom) is int:
            cts[atom] = add_tangents(cts.get(atom), ct)
    return cts


def _backward(jaxpr: Jaxpr, env: Environment, cts: dict[int, Any], recording: Recording) -> dict[int, Any]:
    for eqn in reversed(jaxpr.eqns):
        outs = [cts.pop(out, None) for out in eqn.outs]
        if all(
            [ct is None or type(env.read(out)) is not UndefinedPrimal for out, ct in zip(eqn.outs, outs, strict=True)]
        ):
            continue
        recording.source = in_scope(eqn.source, BACKWARD)
        first = len(recording.equations)
        operands = env.read_all(eqn.inputs)
        for atom, operand, ct in zip(eqn.inputs, operands, _transpose_equation(eqn, outs, operands), strict=True):
            if ct is not None and type(operand) is UndefinedPrimal:
                cts[atom] = add_tangents(cts.get(atom), ct)  # type: ignore[index,arg-type]
        if config.nan_safe_gradients:
            guard_equations(recording, first)
    return cts


def _transpose_equation(eqn: Equation, outs: list[Any], operands: list[Any]) -> Sequence[Any]:
    primitive = eqn.primitive
    if primitive.transpose is None:
        raise MissingRuleError(
            f"the function is not linear in what is transposed: primitive {primitive.name!r} has no transpose rule"
            f"{_because(primitive)}. If it is linear, give it one: "
            f"{primitive.remedy('transpose', 'lambda ct, *operands: ...')}."
        )
    ct = outs if primitive.multiple_results else outs[0]
    return primitive.transpose(ct, *operands, **eqn.params)


def _because(primitive: Any) -> str:
    reason = primitive.absent.get("transpose")
    return f" ({reason})" if reason else ""
