"""Recording: run a Python function on tracers and keep the equations.

Every transformation of a function begins so. Recording computes nothing. An input of a recording is *known* (it has a
value: the arguments of `grad`, and what the function closes over) or *unknown* (the arguments of `jit`). When Python
asks a tracer for its value, the recording evaluates just the equations that it needs, remembers their values, and goes
on. A known value can be a tracer of an outer recording: nesting needs nothing else.

Which recording takes an operation? The deepest among those of its operands; a *staging* recording (the body of `jit`,
of a branch or a loop) takes every operation while it is the innermost open one, unless an operand is deeper still.
What a recording takes from outside becomes one more of its inputs.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection, Sequence
from itertools import count
from types import TracebackType
from typing import Any

import numpy as np

from functrans.config import config
from functrans.core.aval import Aval, aval_of
from functrans.core.caller import caller
from functrans.core.check import check_jaxpr
from functrans.core.effects import without_effects
from functrans.core.forcing import Effects, effect_waits_for, force_effect, force_pending, without_forced
from functrans.core.jaxpr import (
    Atom,
    Fresh,
    Jaxpr,
    Literal,
    Operation,
    RawEquation,
    Source,
    fresh_or_interned,
    intern_program,
    literal_of,
    used_again,
)
from functrans.core.locks import lock, unlock
from functrans.core.nonfinite import check_results, located
from functrans.core.opened import no_staging, opened, scope, staging_open, staging_suspended
from functrans.core.predictions import NO_REQUEST, Prediction, Request, Writing
from functrans.core.tapes import Tape
from functrans.core.tracer import Tracer, escaped, new_tracer
from functrans.errors import NonFiniteError, describe_line

__all__ = ["UNKNOWN", "Recording", "no_staging", "recording_for", "scope", "staging_open", "staging_suspended"]


class _Unknown:
    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Any = _Unknown()
"""Stands for the value of an input that has none while the recording is open."""

_serials = count()
_WEAK_FLOAT = aval_of(0.0)
Parts = tuple[tuple[Aval, ...], tuple[RawEquation, ...], tuple[Atom, ...], list[Source]]


def recording_for(operands: Sequence[Any], effectful: bool = False) -> Recording | None:
    """The recording that takes an operation on these operands; None where it is simply computed.

    An effect is taken by the innermost open recording even if none of its operands belongs to it, since effects happen
    in the order of the program.
    """
    stack = opened.here.stack
    deepest = stack[-1] if stack else None
    if effectful and opened.here.innermost is not None and opened.here.innermost.home is stack:
        deepest = opened.here.innermost
    for x in operands:
        if type(x) is Tracer:
            recording = x.recording
            if deepest is None or recording.serial > deepest.serial:
                deepest = recording
            if recording.closed:
                raise escaped(x)
    return deepest


class Recording(Writing):
    """The equations of a function that is running on tracers.

    Used as a context manager: within it the function runs, and `close` gives the program.

    Args:
        name: the function's name, for messages.
        avals: the avals of the inputs.
        values: their values, `UNKNOWN` for those that have none. Arrays are read-only while the recording is open.
        describe_input: gives the name of an input, for messages.
        differentiated: the numbers of the inputs with respect to which the program will be differentiated.
        prediction: the program that it may well become: see `predictions.py`.
        predicts: whether its program will be such a prediction.
        staging: whether it takes every operation while it is the innermost.
        literals: whether Python floats become literals of the program (else each use is one more input), as they do
            in a recording inside of one for which that holds.
        forward: whether by forward mode; else it is linearized.
        reads: the arrays that the program will be run on, which are read-only while the recording is open; the values
            if not given.
        takes_effects: whether effects that are asked for while it is the innermost belong to it.
        opaque_constants: whether callbacks are constants of the program and not more inputs, for which the program of a
            transformation has no place.
    """

    __slots__ = (
        "_captured",
        "_describe_input",
        "_here",
        "_locked",
        "_outside",
        "avals",
        "closed",
        "derivatives",
        "differentiated",
        "effects",
        "forward",
        "home",
        "known",
        "literals",
        "masked",
        "n_inputs",
        "name",
        "opaque_constants",
        "outer",
        "reads",
        "reads_values",
        "serial",
        "source",
        "staging",
        "takes_effects",
        "values",
    )

    def __init__(
        self,
        name: str,
        avals: Sequence[Aval],
        values: Sequence[Any],
        describe_input: Callable[[int], object] | None = None,
        differentiated: Collection[int] = frozenset(),
        prediction: Prediction | None = None,
        predicts: bool = False,
        *,
        staging: bool = False,
        literals: bool = False,
        forward: bool = False,
        reads: Sequence[Any] | None = None,
        takes_effects: bool = True,
        opaque_constants: bool = False,
    ) -> None:
        Writing.__init__(self, None if config.checks_values else prediction, predicts)
        self.name = name
        self.avals = list(avals)
        self.known = list(values)
        self.n_inputs = len(self.avals)
        self.staging = staging
        self._here = here = opened.here
        stack = here.stack
        self.literals: bool = stack[-1].literals if stack and not literals else literals
        self.differentiated = differentiated
        self.forward = forward
        self.reads = self.known if reads is None else reads
        self.derivatives: list[frozenset[Recording]] | None = None
        """For each equation, as far as somebody has asked: the recordings that `differentiating` gives."""
        self.serial = next(_serials)
        self.closed = False
        self.reads_values = False
        """Whether Python took the value of a tracer of an outer recording, so that the program holds for it alone."""
        self.source: Source = None
        """Where set, the line of the equations to come (a transformation keeps that of the equation it reads)."""
        self.masked: set[Atom] = set()
        """In a transposition: the cotangents that may be zero in places where a selection or an index put the zero."""
        self.values: dict[int, Any] = {}
        self.takes_effects = takes_effects
        self.opaque_constants = opaque_constants
        self.effects: Effects | None = None
        """What has become of its effects; None as long as nobody has asked."""
        self.outer: Recording | None = None
        """The recording around it, which has the effects that come before."""
        self.home: list[Recording] | None = None
        """The staging stack in which it was opened: what is recorded in another is none of its business."""
        self._outside = _NO_RECORDINGS
        self._captured: dict[int, tuple[Any, Atom]] = {}
        self._describe_input = describe_input
        self._locked: list[Any] = []
        for number in lock(self.known if reads is None else reads, self._locked):
            if number < self.n_inputs and type(self.known[number]) is np.ndarray:
                self.known[number] = self.known[number].copy()

    # ---- opening and closing

    def __enter__(self) -> Recording:
        here = self._here
        if self.staging:
            here.stack.append(self)
            self._outside, here.direct = here.direct, []
            for recording in self._outside:
                recording.hold()
        here.direct.append(self)
        self.release()
        if self.takes_effects:
            self.outer, self.home, here.innermost = here.innermost, here.stack, self
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: TracebackType | None) -> None:
        if error is None:
            self._leave()
            return
        try:
            if isinstance(error, Exception) and self.takes_effects:
                force_pending(self)
        finally:
            self._leave()

    def _leave(self) -> None:
        here = self._here
        if self.takes_effects:
            here.innermost = self.outer
            self.outer = self.home = None
        if self.staging:
            here.stack.pop()
            here.direct = self._outside
            for recording in here.direct:
                if not recording.closed:
                    recording.release()
        else:
            here.direct.pop()
        if self.direct:
            self.hold()
        self.closed = True
        if self._locked:
            unlock(self._locked)
        self.values.clear()
        self.derivatives = None

    def inputs(self) -> list[Tracer]:
        """The tracers of the inputs that the recording was opened with."""
        tracers, number = [], 0
        for aval in self.avals[: self.n_inputs]:
            number -= 1
            tracer = new_tracer(Tracer)  # without a call of __init__: in half the time
            tracer.recording, tracer.atom, tracer.aval = self, number, aval
            tracers.append(tracer)
        return tracers

    def close(self, outs: Sequence[Any], *, intern: bool = True) -> tuple[Jaxpr, list[Any]]:
        """The program with these outputs, and the values of all its inputs (those captured at the end).

        With `intern=False` the program is not kept for reuse: it is on its way to another.
        """
        atoms = tuple([self.atom(x) for x in outs])
        program = self._predicted_program(atoms)
        if program is None:
            parts = self._parts(atoms)
            program = self._closed(intern_program(*parts) if intern else Jaxpr(parts[:3], parts[3]))
        return program, self.known

    def close_fresh(self, outs: Sequence[Any]) -> tuple[Jaxpr | Fresh, list[Any]]:
        """As `close`, for a program that is only worth keeping when it is seen again."""
        x = outs[0] if len(outs) == 1 else None  # the usual case, without a comprehension
        is_result = type(x) is Tracer and x.recording is self
        atoms: tuple[Atom, ...] = (x.atom,) if is_result else tuple([self.atom(x) for x in outs])  # type: ignore[union-attr]
        program: Jaxpr | Fresh | None = self._predicted_program(atoms)
        if program is None:
            program = fresh_or_interned(*self._parts(atoms))
            if isinstance(program, Jaxpr):
                self._closed(program)
            elif config.check_programs:
                check_jaxpr(Jaxpr(program[:3], program.sources))
        return program, self.known

    def _predicted_program(self, outs: tuple[Atom, ...]) -> Jaxpr | None:
        prediction = self.prediction
        if prediction is None:
            return None
        is_at_end = self.direct and self.step[7] is None and not config.checks_values
        if is_at_end and outs == prediction.outs and self.avals == prediction.avals:
            used_again(prediction.program)
            return prediction.program
        self.depart()
        return None

    def _parts(self, outs: tuple[Atom, ...]) -> Parts:
        equations, sources = self._equations, self._sources
        if self.effects is not None and self.effects.forced:
            equations, sources, outs = without_forced(self, outs)
        return tuple(self.avals), tuple(equations), outs, sources

    def _closed(self, jaxpr: Jaxpr) -> Jaxpr:
        if config.check_programs:
            check_jaxpr(jaxpr)
        if self.effects is not None or config.checks_values:
            self.requests = None  # the program is not what was asked for, or not to be shared
        return jaxpr

    def admits(self, x: Any, atom: Atom) -> bool:
        """Whether a number or an array, of the predicted aval, is the operand that is predicted; if so, it is taken."""
        kind = type(x)
        if kind is float and not self.literals:
            if atom != -1 - len(self.avals):
                return False
            self.avals.append(_WEAK_FLOAT)
            self.known.append(np.float64(x))
            return True
        if kind is float or kind is int:
            return type(atom) is Literal and ((x == atom.value and x != 0) or literal_of(x) is atom)
        if kind is np.ndarray:
            return (id(x) in self._captured or atom == -1 - len(self.avals)) and self._capture_array(x) == atom
        return False

    @property
    def locks_arrays(self) -> bool:
        """Whether it holds arrays read-only."""
        return bool(self._locked)

    # ---- recording

    def record(self, operation: Operation, operands: Sequence[Any], request: Request = NO_REQUEST) -> Any:
        """Append an equation, and give the tracers of its results (a tuple if the primitive has several)."""
        if len(operands) == 2:  # the usual case, without a comprehension
            x, y = operands
            inputs: tuple[Atom, ...] = (
                x.atom if type(x) is Tracer and x.recording is self else self.atom(x),
                y.atom if type(y) is Tracer and y.recording is self else self.atom(y),
            )
        elif len(operands) == 1:
            inputs = (self.atom(operands[0]),)
        elif len(operands) == 3:
            inputs = (self.atom(operands[0]), self.atom(operands[1]), self.atom(operands[2]))
        else:
            inputs = tuple([x.atom if type(x) is Tracer and x.recording is self else self.atom(x) for x in operands])
        return self.append(operation, inputs, request)

    def append(self, operation: Operation, inputs: tuple[Atom, ...], request: Request) -> Any:
        """As `record`, of an operation on atoms."""
        if self.prediction is not None:
            _, _, _, expected_inputs, _, first, _, expected = self.step
            if (expected is operation and expected_inputs == inputs) or self.turn((operation, inputs)):
                self.step = self.advance()
                return self._results(operation, first)
            self.depart()
        self._equations.append((operation, inputs))
        # A request comes from a function of `functrans.numpy` that another one called.
        self._sources.append(self.source or caller(4 if request is NO_REQUEST else 5))
        if self.requests is not None:
            self.requests.append(request)
        outs, first = operation.out_avals, self.n_results
        if len(outs) == 1 and self._starts is None:
            self.n_results = first + 1
            result = new_tracer(Tracer)
            result.recording, result.atom, result.aval = self, first, outs[0]
            return result if operation.single else (result,)
        return self._results(operation, self.count(operation))

    def _results(self, operation: Operation, first: int) -> Any:
        outs = operation.out_avals
        if len(outs) == 1:
            result = Tracer(self, first, outs[0])
            return result if operation.single else (result,)
        return tuple([Tracer(self, first + i, aval) for i, aval in enumerate(outs)])

    def atom(self, x: Any) -> Atom:
        """The atom for a value: its own, a literal, or an input that captures it from outside."""
        kind = type(x)
        if kind is Tracer:
            if x.recording is self:
                return x.atom
            if x.recording.closed:
                raise escaped(x)
            return self._capture(x, x)
        if kind is float:
            return literal_of(x) if self.literals else self.new_input(_WEAK_FLOAT, np.float64(x))
        if kind is Literal:
            return x
        if kind is int or kind is bool:
            return literal_of(x)
        if kind is np.ndarray:
            return self._capture_array(x)
        if isinstance(x, np.ndarray):
            aval_of(x)
            return self._capture_array(x)
        aval = aval_of(x)
        if aval.dtype.kind == "V":
            if self.opaque_constants and not isinstance(x, Tape):
                return x.as_constant(self).atom
            return self._capture(x, x)
        if self.literals or not aval.inexact:
            return Literal(x, aval)
        return self.new_input(aval, np.array(x))

    def new_input(self, aval: Aval, value: Any) -> int:
        """One more input of the program, and its value."""
        self.avals.append(aval)
        self.known.append(value)
        return -len(self.avals)

    def _capture(self, original: Any, value: Any) -> int:
        found = self._captured.get(id(original))
        if found is not None:
            return found[1]  # type: ignore[return-value]
        atom = self.new_input(aval_of(value), value)
        self._captured[id(original)] = original, atom  # holding it keeps its id from being used again
        return atom

    def _capture_array(self, array: np.ndarray[Any, Any]) -> int:
        if array.nbytes > config.copy_captured_bytes:
            if id(array) in self._captured:
                return self._captured[id(array)][1]  # type: ignore[return-value]
            plain = np.asarray(array)
            return self._capture(array, plain.copy() if lock((plain,), self._locked) else plain)
        found = self._captured.get(id(array))
        if found is not None:
            atom: int = found[1]  # type: ignore[assignment]
            if self.known[-1 - atom].tobytes() == array.tobytes():
                return atom
            del self._captured[id(array)]  # it was written to since: a different value
        return self._capture(array, np.array(array))

    # ---- values on demand

    def value_of(self, tracer: Tracer) -> Any:
        """The value of a tracer of this recording."""
        if self.closed:
            raise escaped(tracer)
        for recording in (*opened.here.suspended, *opened.here.stack):
            if recording.serial > self.serial:
                recording.reads_values = True
        return self.value(tracer.atom)

    def value(self, atom: Atom) -> Any:
        """The value of an atom, computed from the inputs and remembered. All inputs that it needs must be known."""
        if type(atom) is not int:
            return atom.array  # type: ignore[union-attr]
        if atom < 0:
            known = self.known[-1 - atom]
            return known.recording.value(known.atom) if type(known) is Tracer else known
        if atom not in self.values:
            for index in self._needed(atom):
                self._evaluate(index)
        return self.values[atom]

    def unknown_input(self, atom: Atom, effects: bool = True) -> str | None:
        """A description of an unknown input on which the value of an atom hangs, or (if wanted) of an effect that
        cannot happen yet; None if there is none.
        """
        for reached in self._reachable(atom, lambda result: result not in self.values):
            if type(reached) is int and reached < 0:
                known = self.known[-1 - reached]
                if known is UNKNOWN:
                    return self.describe(reached)
                if type(known) is Tracer:
                    found: str | None = known.recording.unknown_input(known.atom, effects)
                    if found is not None:
                        return found
            elif type(reached) is int and reached not in self.values:
                index = self.index_of(reached)
                operation = self.equations[index][0]
                if operation.axis_names:
                    return f"the members along the axis {', '.join(sorted(map(repr, operation.axis_names)))}"
                waits_for = effect_waits_for(self, index) if effects and operation.effectful else None
                if waits_for is not None:
                    return waits_for
        return None

    def differentiated_input(self, atom: Atom) -> str | None:
        """A description of a differentiated input on which an atom depends smoothly; None if there is none."""

        def carries_derivative(result: int) -> bool:
            operation, _ = self.equations[self.index_of(result)]
            return any([aval.inexact for aval in operation.out_avals]) and not operation.primitive.is_constant

        for reached in self._reachable(atom, carries_derivative):
            if type(reached) is int and reached < 0 and self.avals[-1 - reached].inexact:
                if -1 - reached in self.differentiated:
                    return self.describe(reached)
                known = self.known[-1 - reached]
                if type(known) is Tracer:
                    found: str | None = known.recording.differentiated_input(known.atom)
                    if found is not None:
                        return found
        return None

    def differentiating(self, atom: Atom) -> frozenset[Recording]:
        """The recordings with respect to whose inputs an atom will be differentiated, as far as can be known now.

        `UNKNOWN` is among them if it depends on an input without a value: then others may come, when it has one.
        """
        if type(atom) is not int:
            return _NOWHERE
        if atom >= 0:
            index = self.index_of(atom)
            known = self.derivatives = self.derivatives or []
            for operation, inputs in self.equations[len(known) : index + 1]:
                smooth = not operation.primitive.is_constant and any([aval.inexact for aval in operation.out_avals])
                known.append(_NOWHERE.union(*map(self.differentiating, inputs)) if smooth else _NOWHERE)
            return known[index] if self._aval(atom).inexact else _NOWHERE
        number = -1 - atom
        if not self.avals[number].inexact:
            return _NOWHERE
        source, found = self.known[number], _NOWHERE
        if source is UNKNOWN:
            source, found = self.reads[number] if number < len(self.reads) else UNKNOWN, _LATER
        if type(source) is Tracer and not source.recording.closed:
            found |= source.recording.differentiating(source.atom)
        return found | {self} if number in self.differentiated else found

    def _aval(self, atom: int) -> Aval:
        if self.starts is None:
            return self.equations[atom][0].out_avals[0]
        index = self.index_of(atom)
        return self.equations[index][0].out_avals[atom - self.results_of(index).start]

    def _reachable(self, atom: Atom, through: Callable[[int], bool]) -> set[Atom]:
        seen: set[Atom] = {atom}
        pending = [atom]
        while pending:
            reached = pending.pop()
            if type(reached) is int and reached >= 0 and through(reached):
                fresh = [x for x in self.equations[self.index_of(reached)][1] if x not in seen]
                seen.update(fresh)
                pending.extend(fresh)
        return seen

    def _needed(self, atom: int) -> list[int]:
        needed: set[int] = set()
        pending = [atom]
        while pending:
            reached = pending.pop()
            index = self.index_of(reached)
            if index not in needed and reached not in self.values:
                needed.add(index)
                pending.extend([x for x in self.equations[index][1] if type(x) is int and x >= 0])
        return sorted(needed)

    def defining(self, atom: int) -> RawEquation:
        """The equation that gives a result: its operation and operands."""
        return self.equations[self.index_of(atom)]

    def index_of(self, atom: int) -> int:
        """The number of the equation that gives a result."""
        return atom if self.starts is None else bisect_right(self.starts, atom) - 1

    def results_of(self, index: int) -> range:
        """The results of an equation."""
        first = index if self.starts is None else self.starts[index]
        return range(first, first + len(self.equations[index][0].out_avals))

    def _evaluate(self, index: int) -> None:
        operation, inputs = self.equations[index]
        if operation.effectful:
            operation = without_effects(operation)
            if operation.effectful:
                force_effect(self, index)
                return
        operands = [self.value(x) for x in inputs]
        try:
            self.remember(index, operation.primitive.evaluate(operation, operands))
        except NonFiniteError as error:
            raise located(error, self.sources[index]) from None
        if config.checks_values:
            results = [self.values[result] for result in self.results_of(index)]
            check_results(operation, operands, results, self.sources[index])

    def remember(self, index: int, results: Any) -> None:
        """Keep the values that an equation has given."""
        if not self.equations[index][0].primitive.multiple_results:
            results = (results,)
        for result, value in zip(self.results_of(index), results, strict=True):
            if type(value) is np.ndarray:
                value.flags.writeable = False  # the user may hold it, and it is used again
            self.values[result] = value

    # ---- messages

    def describe(self, atom: Atom) -> str:
        """What an atom is, in the user's words: an argument by its name, a result by its line."""
        if type(atom) is not int:
            return f"the number {atom}"
        if atom >= 0:
            source = self.sources[self.index_of(atom)]
            return f"a result at {describe_line(*source)}" if source else f"a result in {self.name}"
        index = -1 - atom
        if index < self.n_inputs and self._describe_input is not None:
            return f"argument {self._describe_input(index)} of {self.name}"
        return f"input {index} of {self.name}" if index < self.n_inputs else f"a value captured by {self.name}"

    def describe_equation(self, index: int) -> str:
        """What an equation with effects is, in the user's words."""
        source, name = self.sources[index], self.equations[index][0].primitive.name
        return f"the {name} at {describe_line(*source)}" if source else f"a {name} in {self.name}"


_NO_RECORDINGS: list[Recording] = []
_NOWHERE: frozenset[Recording] = frozenset()
_LATER: frozenset[Recording] = frozenset([UNKNOWN])
