"""Forward mode: `jvp : (x -> y) -> ((x, dx) -> (y, dy))`.

The program is walked once, each value with its tangent. A tangent that is zero by structure is None and costs nothing;
the rules of the primitives never see it.

>>> import functrans as ft
>>> from functrans.transforms.jvp import jvp
>>> program = ft.make_jaxpr(lambda x: ft.lax.sin(x))(1.5).jaxpr
>>> program
{ lambda ; a:f64[]. let
    b:f64[] = sin a
  in (b,) }
>>> jvp(program, (True,))[0]
{ lambda ; a:f64[] b:f64[]. let
    c:f64[] = sin a
    d:f64[] = cos a
    e:f64[] = mul b d
  in (c, e) }
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from functrans.config import config
from functrans.core.evaluation import Environment, apply_equation, in_scope, stage
from functrans.core.jaxpr import Equation, Jaxpr, derived
from functrans.errors import DERIVATIVE
from functrans.passes.inline import inline
from functrans.passes.pipeline import tidied
from functrans.transforms.from_vjp import jvp_from_vjp
from functrans.transforms.tangents import Nonzeros, add_tangents, instantiated, missing_derivative, read_tangents

__all__ = ["jvp", "jvp_equation"]


def jvp(jaxpr: Jaxpr, nonzeros: Nonzeros, instantiate: Nonzeros = ()) -> tuple[Jaxpr, Nonzeros]:
    """The program that computes outputs and tangents.

    Args:
        jaxpr: the program.
        nonzeros: which inputs have a tangent; the others' is zero.
        instantiate: of which outputs a tangent is wanted even if it is zero; of none if not given.

    Returns:
        A program (inputs, then the tangents given) to (outputs, then the tangents of some), and which outputs have one.
    """
    # Of a VJP rule the JVP is a transpose, which the setting changes.
    key = ("jvp", nonzeros, instantiate, config.nan_safe_gradients)
    return derived(jaxpr, key, lambda: _jvp(inline(jaxpr), nonzeros, instantiate))


def _jvp(jaxpr: Jaxpr, nonzeros: Nonzeros, instantiate: Nonzeros) -> tuple[Jaxpr, Nonzeros]:
    tangent_avals = [aval.strong for aval, nonzero in zip(jaxpr.in_avals, nonzeros, strict=True) if nonzero]
    with stage("jvp", [*jaxpr.in_avals, *tangent_avals]) as recording:
        tracers = recording.inputs()
        given = iter(tracers[len(nonzeros) :])
        primals = Environment(tracers[: len(nonzeros)])
        tangents = Environment([next(given) if nonzero else None for nonzero in nonzeros])
        for eqn in jaxpr.eqns:
            recording.source, first = eqn.source, len(recording.sources)
            outs, outs_dot = jvp_equation(eqn, primals.read_all(eqn.inputs), read_tangents(tangents, eqn.inputs))
            primals.write(outs)
            tangents.write(outs_dot)
            derivative = in_scope(eqn.source, DERIVATIVE)
            recording.sources[first + 1 :] = [derivative] * len(recording.sources[first + 1 :])
        outs_dot = instantiated(read_tangents(tangents, jaxpr.outs), instantiate, jaxpr.out_avals)
        outs = primals.read_all(jaxpr.outs) + [t for t in outs_dot if t is not None]
        program, _ = recording.close(outs, intern=False)
    return tidied(program), tuple([t is not None for t in outs_dot])


def jvp_equation(eqn: Equation, primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Sequence[Any], list[Any]]:
    """The results of an equation and their tangents, by its primitive's rule. None is a zero tangent."""
    primitive = eqn.primitive
    outs: Sequence[Any]
    if primitive.is_constant or all([t is None for t in tangents]):
        return apply_equation(eqn, primals), [None] * len(eqn.outs)
    if primitive.jvp_rules is not None:
        out = apply_equation(eqn, primals)[0]
        outs, outs_dot = (out,), [_sum_by_operand(eqn, out, primals, tangents)]
    elif primitive.jvp is not None:
        outs, outs_dot = primitive.jvp(primals, tangents, **eqn.params)
        if not primitive.multiple_results:
            outs, outs_dot = [outs], [outs_dot]
    elif primitive.vjp is not None:
        outs, outs_dot = jvp_from_vjp(eqn, primals, tangents)
    else:
        raise missing_derivative(eqn)
    return outs, [t if aval.inexact else None for t, aval in zip(outs_dot, eqn.out_avals, strict=True)]


def _sum_by_operand(eqn: Equation, out: Any, primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
    total = None
    for rule, t in zip(eqn.primitive.jvp_rules, tangents, strict=True):
        if rule is not None and t is not None:
            total = add_tangents(total, rule(t, out, *primals, **eqn.params))
    return total
