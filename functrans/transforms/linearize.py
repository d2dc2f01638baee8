"""The linear part of a program at a point: `linearize : (x -> y) -> (x -> (y, residuals)), (dx, residuals -> dy)`.

No partial evaluation is needed. The JVP rules run with the primals in one recording and the tangents in a deeper one:
what touches a tangent lands in the deeper one, which is therefore linear, and the primal values that it captured are
the residuals.

>>> import functrans as ft
>>> from functrans.transforms.linearize import linearize
>>> lin = linearize(ft.make_jaxpr(lambda x: ft.lax.sin(x))(1.5).jaxpr, (True,))
>>> lin.primal
{ lambda ; a:f64[]. let
    b:f64[] = sin a
    c:f64[] = cos a
  in (b, c) }
>>> lin.linear
{ lambda ; a:f64[] b:f64[]. let
    c:f64[] = mul a b
  in (c,) }
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from functrans.core.aval import Aval
from functrans.core.evaluation import Environment, apply_equation, in_scope, stage
from functrans.core.jaxpr import Equation, Jaxpr, derived, interned
from functrans.core.recording import UNKNOWN, Recording
from functrans.errors import DERIVATIVE
from functrans.passes.dead_code import drop_unused_inputs, eliminate_dead_code
from functrans.passes.inline import inline
from functrans.passes.pipeline import simplified
from functrans.transforms.from_vjp import linearize_from_vjp
from functrans.transforms.jvp import jvp_equation
from functrans.transforms.residuals import spare_residuals
from functrans.transforms.tangents import Nonzeros, instantiated, read_tangents

__all__ = ["Linearized", "linear_as_recorded", "linearize"]


class Linearized(NamedTuple):
    """A linearized program."""

    primal: Jaxpr
    """From the inputs to the outputs, then the residuals that are not inputs themselves."""

    linear: Jaxpr
    """From the tangents given, then the residuals, to the tangents of the outputs that have one."""

    nonzeros: Nonzeros
    """Which outputs have a tangent."""

    residuals: tuple[int, ...]
    """Where each residual is: `-1 - i` for input i, else its number among the outputs of `primal`."""

    def read_residuals(self, inputs: Sequence[Any], outs: Sequence[Any]) -> list[Any]:
        """The residuals, from the inputs and all outputs of the primal program."""
        return [outs[place] if place >= 0 else inputs[-1 - place] for place in self.residuals]


def linearize(jaxpr: Jaxpr, nonzeros: Nonzeros, instantiate: Nonzeros = ()) -> Linearized:
    """Split a program's derivative into what can be computed before the tangents are known, and the rest.

    Args:
        jaxpr: the program.
        nonzeros: which inputs have a tangent; the others' is zero.
        instantiate: of which outputs a tangent is wanted even if it is zero; of none if not given.
    """
    key = ("linearize", nonzeros, instantiate)
    return derived(jaxpr, key, lambda: _linearize(inline(jaxpr), nonzeros, instantiate))


def linear_as_recorded(jaxpr: Jaxpr, nonzeros: Nonzeros) -> Jaxpr:
    """The linear program before it is simplified: its inputs are the tangents, then all that it reads besides."""
    jaxpr = inline(jaxpr)
    with stage("linearize", jaxpr.in_avals) as primal, _linear_recording(_tangent_avals(jaxpr, nonzeros)) as linear:
        _, outs_dot = _walk(jaxpr, nonzeros, primal, linear)
        return linear.close([t for t in outs_dot if t is not None], intern=False)[0]


def _tangent_avals(jaxpr: Jaxpr, nonzeros: Nonzeros) -> list[Aval]:
    return [aval.strong for aval, nonzero in zip(jaxpr.in_avals, nonzeros, strict=True) if nonzero]


def _linear_recording(avals: Sequence[Aval]) -> Recording:
    return Recording("linearize", avals, [UNKNOWN] * len(avals), literals=True, takes_effects=False)


def _linearize(jaxpr: Jaxpr, nonzeros: Nonzeros, instantiate: Nonzeros) -> Linearized:
    tangent_avals = _tangent_avals(jaxpr, nonzeros)
    with stage("linearize", jaxpr.in_avals) as primal:
        with _linear_recording(tangent_avals) as linear:
            outs, outs_dot = _walk(jaxpr, nonzeros, primal, linear)
            outs_dot = instantiated(outs_dot, instantiate, jaxpr.out_avals)
            linear_program, values = linear.close([t for t in outs_dot if t is not None], intern=False)
        linear_program, kept = drop_unused_inputs(simplified(linear_program), len(tangent_avals))
        primal_program, _ = primal.close(outs + [values[i] for i in kept], intern=False)
    spared = spare_residuals(simplified(primal_program), len(outs), linear_program, len(tangent_avals))
    return Linearized(
        interned(eliminate_dead_code(spared.primal)),
        interned(spared.linear),
        tuple([t is not None for t in outs_dot]),
        spared.places,
    )


def _walk(jaxpr: Jaxpr, nonzeros: Nonzeros, primal: Recording, linear: Recording) -> tuple[list[Any], list[Any]]:
    given = iter(linear.inputs())
    primals = Environment(primal.inputs())
    tangents = Environment([next(given) if nonzero else None for nonzero in nonzeros])
    for eqn in jaxpr.eqns:
        primal.source, linear.source = eqn.source, in_scope(eqn.source, DERIVATIVE)
        first = len(primal.sources)
        outs, outs_dot = _linearize_equation(eqn, primals.read_all(eqn.inputs), read_tangents(tangents, eqn.inputs))
        primals.write(outs)
        tangents.write(outs_dot)
        primal.sources[first + 1 :] = [linear.source] * len(primal.sources[first + 1 :])
    return primals.read_all(jaxpr.outs), read_tangents(tangents, jaxpr.outs)


def _linearize_equation(
    eqn: Equation, primals: Sequence[Any], tangents: Sequence[Any]
) -> tuple[Sequence[Any], list[Any]]:
    primitive = eqn.primitive
    if all([t is None for t in tangents]):
        return apply_equation(eqn, primals), [None] * len(eqn.outs)
    if primitive.linearize is not None:
        return primitive.linearize(primals, tangents, **eqn.params)
    if primitive.vjp is not None:
        return linearize_from_vjp(eqn, primals, tangents)
    return jvp_equation(eqn, primals, tangents)
