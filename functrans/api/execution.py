"""Running a program where its values are: computed on arrays, recorded on tracers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from functrans.backends.running import run
from functrans.core.axis_names import axes_are_bound, recording_within
from functrans.core.effects import is_effectful
from functrans.core.evaluation import Environment
from functrans.core.jaxpr import Jaxpr, Literal, axis_names_in, derived
from functrans.core.recording import Recording, recording_for
from functrans.core.tracer import Tracer
from functrans.ops.calls import call_p
from functrans.passes.inline import inline

__all__ = ["record_equations", "recording_of", "run_program", "strengthened"]


def run_program(jaxpr: Jaxpr, values: Sequence[Any]) -> Sequence[Any]:
    """The outputs of a program on values of its inputs, which may be tracers of a recording."""
    recording = recording_of(jaxpr, values)
    if recording is None:
        return run(jaxpr, values)
    if is_effectful(jaxpr):
        return strengthened(record_equations(recording, jaxpr, values))
    operation = derived(jaxpr, "call", lambda: call_p.operation(jaxpr.in_avals, {"jaxpr": jaxpr}))
    outs = recording.record(operation, values)
    return strengthened(outs)


def recording_of(jaxpr: Jaxpr, values: Sequence[Any]) -> Recording | None:
    """The recording that takes a program on values of its inputs; None where it is simply run."""
    recording = recording_for(values, is_effectful(jaxpr))
    if axes_are_bound() and (names := axis_names_in(jaxpr)):
        return recording_within(names, recording)
    return recording


def record_equations(recording: Recording, jaxpr: Jaxpr, values: Sequence[Any]) -> list[Any]:
    """The outputs of a program recorded equation by equation, so that each of its effects can happen by itself."""
    jaxpr = inline(jaxpr)
    env = Environment(
        [Tracer(recording, recording.atom(x), aval) for x, aval in zip(values, jaxpr.in_avals, strict=True)]
    )
    before = recording.source
    try:
        for eqn in jaxpr.eqns:
            recording.source = eqn.source or before
            outs = recording.record(eqn.operation, env.read_all(eqn.inputs))
            env.write(outs if eqn.primitive.multiple_results else (outs,))
    finally:
        recording.source = before
    outs = env.read_all(jaxpr.outs)
    return [Tracer(recording, x, x.aval) if type(x) is Literal else x for x in outs]


def strengthened(outs: Sequence[Any]) -> list[Any]:
    """Tracers that are not weak: run on arrays, a program would give arrays. Arrays are never weak."""
    return [Tracer(x.recording, x.atom, x.aval.strong) if type(x) is Tracer and x.aval.weak else x for x in outs]
