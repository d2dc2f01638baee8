"""One equation for one NumPy-level operation.

A NumPy function broadcasts and promotes; primitives do neither. So each function of this package is written as a
composition of primitives, which is recorded once for the avals (and static arguments) that it meets, and kept. A call
then records a single equation: the primitive, if the composition is just one, else a `call` of the composition.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from functrans.caching import kept
from functrans.core.aval import Aval, aval_of
from functrans.core.evaluation import stage
from functrans.core.jaxpr import Atom, Jaxpr, Operation
from functrans.core.predictions import NO_REQUEST
from functrans.core.primitive import apply_operation
from functrans.core.recording import recording_for
from functrans.core.tracer import Tracer, new_tracer
from functrans.ops.calls import call_p
from functrans.ops.constant import eval_closed

__all__ = ["plan_of", "record_binary", "record_call", "record_ternary", "record_unary"]


_WEAK_FLOAT = aval_of(0.0)


class Plan(NamedTuple):
    """How to record a call of a function on operands of given avals."""

    operation: Operation
    unpack: bool
    """Whether the operation gives a tuple of which the function returns the only element."""


@kept("plans of NumPy operations", 16_384)
def plan_of(function: Callable[..., Any], avals: tuple[Aval, ...], static: tuple[Any, ...]) -> Plan:
    """The plan for `function(*operands, *static)`: its composition of primitives, recorded."""
    with stage(function.__name__.strip("_"), avals) as recording:
        outs = function(*recording.inputs(), *static)
        single = not isinstance(outs, (tuple, list))
        recording.sources[:] = [None] * len(recording.sources)  # they get the line of each call, once they are inlined
        program, values = recording.close([outs] if single else outs)
    if len(values) > len(avals):  # a user's function, given to register_ufunc, closes over arrays
        program = _with_constants(program, avals, values[len(avals) :], function.__name__)
    operation = _single_operation(program) if single else None
    if operation is not None:
        return Plan(operation, not operation.single)
    return Plan(call_p.operation(avals, {"jaxpr": program}), single)


def _with_constants(program: Jaxpr, avals: tuple[Aval, ...], closed_over: list[Any], name: str) -> Jaxpr:
    with stage(name, avals) as recording:
        return recording.close(eval_closed(program, recording.inputs(), closed_over, name))[0]


def _single_operation(program: Jaxpr) -> Operation | None:
    """The operation of a program that is nothing but one equation on its inputs in their order."""
    if len(program.eqns) != 1 or program.outs != (0,):
        return None
    (eqn,) = program.eqns
    if eqn.inputs != tuple([-1 - i for i in range(len(program.in_avals))]) or len(eqn.outs) != 1:
        return None
    return eqn.operation


def record_unary(function: Callable[..., Any], x: Tracer, static: tuple[Any, ...] = ()) -> Any:
    """As `record_call`, for a tracer alone."""
    recording, aval = x.recording, x.aval
    expected, avals, expected_static, inputs, out_aval, number, _, _ = recording.step
    if expected is function and inputs == (x.atom,) and avals == (aval,) and static == expected_static:
        recording.step = recording.advance()
        out = new_tracer(Tracer)
        out.recording, out.atom, out.aval = recording, number, out_aval
        return out
    return _record(recording, function, (x,), (aval,), static, (x.atom,))


def record_binary(function: Callable[..., Any], x: Any, y: Any) -> Any:
    """As `record_call`, for two operands of which one at least is a tracer."""
    if type(x) is not Tracer:
        aval = _WEAK_FLOAT if type(x) is float else aval_of(x)
        return _record_with(y.recording, function, (x, y), (aval, y.aval), 1)
    recording = x.recording
    if type(y) is not Tracer:
        aval = _WEAK_FLOAT if type(y) is float else aval_of(y)
        return _record_with(recording, function, (x, y), (x.aval, aval), 0)
    expected, avals, static, inputs, out_aval, number, _, _ = recording.step
    if (
        expected is function
        and y.recording is recording
        and inputs == (x.atom, y.atom)
        and avals == (x.aval, y.aval)
        and not static
    ):
        recording.step = recording.advance()
        out = new_tracer(Tracer)
        out.recording, out.atom, out.aval = recording, number, out_aval
        return out
    if y.recording is recording:
        return _record(recording, function, (x, y), (x.aval, y.aval), (), (x.atom, y.atom))
    return _record(None, function, (x, y), (x.aval, y.aval), ())


def record_ternary(function: Callable[..., Any], x: Any, y: Any, z: Any) -> Any:
    """As `record_call`, for three operands of which one at least is a tracer."""
    if type(x) is Tracer and type(y) is Tracer and type(z) is Tracer:
        recording = x.recording
        expected, avals, static, inputs, out_aval, number, _, _ = recording.step
        if (
            expected is function
            and y.recording is recording
            and z.recording is recording
            and inputs == (x.atom, y.atom, z.atom)
            and avals == (x.aval, y.aval, z.aval)
            and not static
        ):
            recording.step = recording.advance()
            out = new_tracer(Tracer)
            out.recording, out.atom, out.aval = recording, number, out_aval
            return out
    return record_call(function, (x, y, z))


def _record_with(
    recording: Any, function: Callable[..., Any], operands: tuple[Any, Any], avals: tuple[Aval, Aval], place: int
) -> Any:
    """Record a call with one tracer, which has this place, and a number or an array."""
    expected, expected_avals, static, inputs, out_aval, number, _, _ = recording.step
    if (
        expected is function
        and avals == expected_avals
        and not static
        and operands[place].atom == inputs[place]
        and recording.admits(operands[1 - place], inputs[1 - place])
    ):
        recording.step = recording.advance()
        out = new_tracer(Tracer)
        out.recording, out.atom, out.aval = recording, number, out_aval
        return out
    return _record(recording, function, operands, avals, ())


def _record(
    recording: Any,
    function: Callable[..., Any],
    operands: tuple[Any, ...],
    avals: tuple[Aval, ...],
    static: tuple[Any, ...],
    atoms: tuple[Atom, ...] | None = None,
) -> Any:
    """Record a call that was not predicted.

    Args:
        recording: that of all its tracers, if it is one.
        function, operands, avals, static: the call.
        atoms: those of the operands, if all are tracers of the recording.
    """
    operation, unpack = plan_of(function, avals, static)
    request = (function, avals, static) if unpack or operation.single else NO_REQUEST
    if recording is None or not recording.direct:
        out = recording_for(operands).record(operation, operands, request)  # type: ignore[union-attr]
    elif atoms is None:
        out = recording.record(operation, operands, request)
    else:
        out = recording.append(operation, atoms, request)
    return out[0] if unpack else out


def record_call(function: Callable[..., Any], operands: tuple[Any, ...], static: tuple[Any, ...] = ()) -> Any:
    """Record `function(*operands, *static)` as one equation.

    Args:
        function: a composition of primitives on tracers.
        operands: tracers, arrays and numbers, of which at least one is a tracer or a staging recording is open.
        static: hashable arguments that belong to the program.
    """
    if len(operands) == 2:  # the usual case, without a comprehension
        x, y = operands
        avals: tuple[Aval, ...] = (
            x.aval if type(x) is Tracer else aval_of(x),
            y.aval if type(y) is Tracer else aval_of(y),
        )
    elif len(operands) == 1:
        avals = (aval_of(operands[0]),)
    elif len(operands) == 3:
        x, y, z = operands
        avals = (aval_of(x), aval_of(y), aval_of(z))
    else:
        avals = tuple([x.aval if type(x) is Tracer else aval_of(x) for x in operands])
    recording = recording_for(operands)
    if recording is None:
        operation, unpack = plan_of(function, avals, static)
        out = apply_operation(operation, operands)
        return out[0] if unpack else out
    expected, expected_avals, expected_static, *_, predicted = recording.step
    if expected is function and predicted and avals == expected_avals and static == expected_static:
        out = recording.record(predicted, operands)
        return out if predicted.single else out[0]
    return _record(recording, function, operands, avals, static)
