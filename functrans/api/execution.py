"""Running a program where its values are: computed on arrays, recorded on tracers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from functrans.backends.interpreter import run
from functrans.core.jaxpr import Jaxpr, derived
from functrans.core.recording import recording_for
from functrans.core.tracer import Tracer
from functrans.ops.calls import call_p

__all__ = ["run_program", "strengthened"]


def run_program(jaxpr: Jaxpr, values: Sequence[Any]) -> Sequence[Any]:
    """The outputs of a program on values of its inputs, which may be tracers of a recording."""
    recording = recording_for(values)
    if recording is None:
        return run(jaxpr, values)
    operation = derived(jaxpr, "call", lambda: call_p.operation(jaxpr.in_avals, {"jaxpr": jaxpr}))
    outs = recording.record(operation, values)
    return strengthened(outs)


def strengthened(outs: Sequence[Any]) -> list[Any]:
    """Tracers that are not weak: run on arrays, a program would give arrays."""
    return [Tracer(x.recording, x.atom, x.aval.strong) if x.aval.weak else x for x in outs]
