"""Predicted recordings: a function that runs again nearly always asks for what it asked for before.

Its Python runs each time, on tracers, so that control flow stays as it is. But a recording may be opened with a
*prediction*, the program that the function gave last. It goes along this program, step by step, as long as each
operation that is asked for is the predicted one, on the predicted operands: a few comparisons in place of looking up
what to record, and where the user asked for it. If it comes to the end with the predicted outputs, the result *is* that
program. At the first difference what has been asked for so far is written down, and the recording goes on without a
prediction. So a prediction may be wrong, which costs time and nothing else.

A prediction is kept on its program and let go with it.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable, Iterator
from typing import Any

from functrans.caching import register_table
from functrans.core.aval import Aval
from functrans.core.jaxpr import Atom, Jaxpr, Operation, RawEquation, Source

__all__ = [
    "NO_REQUEST",
    "NO_STEP",
    "Prediction",
    "Request",
    "Step",
    "Writing",
    "prediction_for",
    "remember",
]

Request = tuple[Callable[..., Any] | None, tuple[Aval, ...], tuple[Any, ...]]
"""What an operation was asked for by: a function of `functrans.numpy`, the avals of its operands, its static arguments.
They decide which operation it is, and get its only result. No function: the operation is compared by itself."""

Step = tuple[
    Callable[..., Any] | None, tuple[Aval, ...], tuple[Any, ...], tuple[Atom, ...], Any, int, int, Operation | None
]
"""A request; the operands; the aval and the number of the first result; the number of the equation; the operation.

A plain tuple, since to take it apart is the quickest that Python does."""

NO_REQUEST: Request = (None, (), ())
NO_STEP: Step = (None, (), (), (), None, 0, 0, None)
"""Stands where nothing is predicted: no operation is like it."""


class Prediction:
    """A program that a function has given, as it is compared with a recording of this function.

    Args:
        program: the program.
        requests: what each of its equations was asked for by.
        sources: where. An equal program of another function has other lines.
        alternatives: what the function has given besides.
    """

    __slots__ = ("__weakref__", "_steps", "alternatives", "avals", "outs", "program", "requests", "sources", "starts")

    def __init__(
        self, program: Jaxpr, requests: list[Request], sources: list[Source], alternatives: Alternatives
    ) -> None:
        self.program = program
        self.alternatives = alternatives
        self.outs = program.outs
        self.avals = list(program.in_avals)
        self.requests = requests
        self.sources = sources
        self._steps: tuple[Step, ...] | None = None
        starts = [eqn.outs.start for eqn in program.eqns]
        has_one_each = len(program.avals) == len(program) and starts == list(range(len(program)))
        self.starts = None if has_one_each else starts
        """The number of each equation's first result; None if every equation has one."""

    @property
    def steps(self) -> tuple[Step, ...]:
        """One for each equation; and one that no operation is like, for the end."""
        steps = self._steps
        if steps is None:
            steps = self._steps = tuple(self._made())
        return steps

    def _made(self) -> Iterator[Step]:
        program, first = self.program, 0
        for index, (request, (operation, inputs)) in enumerate(zip(self.requests, program.equations, strict=True)):
            outs = operation.out_avals
            yield (*request, inputs, outs[0] if outs else None, first, index, operation)
            first += len(outs)
        yield (*NO_REQUEST, (), None, first, len(program), None)


class Alternatives:
    """What recordings that are alike have become: the functions branch on values, or have loops of changing length.

    Args:
        code: what tells functions apart.
    """

    __slots__ = ("_programs", "code")

    def __init__(self, code: int) -> None:
        self.code = code
        self._programs: tuple[weakref.ref[Jaxpr], ...] = ()

    def first(self) -> Prediction | None:
        """The latest."""
        programs = self._programs
        return self._prediction(programs[0]) if programs else None

    def put_first(self, program: Jaxpr) -> None:
        """Note that a recording has become this."""
        others = [r for r in self._programs if r() is not None and r() is not program]
        self._programs = (weakref.ref(program), *others[: _MOST_ALTERNATIVES - 1])

    def agreeing(self, prediction: Prediction, index: int, equation: RawEquation) -> Prediction | None:
        """One that begins with as many equations of a prediction, and has this next."""
        before = prediction.program.equations[:index]
        for reference in self._programs:
            found = self._prediction(reference)
            if found is not None and found is not prediction:
                equations = found.program.equations
                if len(equations) > index and equations[index] == equation and equations[:index] == before:
                    return found
        return None

    def _prediction(self, reference: weakref.ref[Jaxpr]) -> Prediction | None:
        program = reference()
        found: Prediction | None = None if program is None else program.memo.get("predictions", _NONE).get(self.code)
        return found


_NONE: dict[int, Prediction] = {}
_MOST_ALTERNATIVES = 8
_MOST_OF_ONE = 16
"""So many functions that give the same program have predictions of their own."""
_latest: dict[Hashable, Alternatives] = {}
_MOST = 4096
"""So many functions and avals are remembered; then all are forgotten."""
register_table("predictions", _latest, limit=_MOST, clear=_latest.clear)


def prediction_for(code: int, key: Hashable) -> Prediction | None:
    """What a recording may well become; None if nothing is known.

    Args:
        code: what tells functions apart.
        key: what tells recordings of a function apart that are not alike. It is good to be right in both, and no error
            to be wrong.
    """
    alternatives = _latest.get((code, key))
    return None if alternatives is None else alternatives.first()


def remember(code: int, key: Hashable, program: Jaxpr, recording: Writing) -> None:
    """Note which program a recording has become."""
    alternatives = _latest.get((code, key))
    if alternatives is None:
        if len(_latest) >= _MOST:
            _latest.clear()
        alternatives = _latest[code, key] = Alternatives(code)
    alternatives.put_first(program)
    requests = recording.requests
    if recording.prediction is None and requests is not None:  # else there is a prediction of this program
        predictions = program.memo.setdefault("predictions", {})
        if code not in predictions:
            if len(predictions) >= _MOST_OF_ONE:
                predictions.clear()
            predictions[code] = Prediction(program, requests, recording.sources, alternatives)


class Writing:
    """The equations of a recording, as far as it has come: written down, or those of a prediction.

    Args:
        prediction: the prediction, if there is one.
        predicts: whether the program will be one.
    """

    __slots__ = (
        "_equations",
        "_held",
        "_sources",
        "_starts",
        "advance",
        "direct",
        "n_results",
        "prediction",
        "requests",
        "step",
    )

    def __init__(self, prediction: Prediction | None, predicts: bool) -> None:
        self._equations: list[RawEquation] = []
        self._sources: list[Source] = []
        self._starts: list[int] | None = None
        self.n_results = 0
        """How many results the equations have that are written down."""
        self.requests: list[Request] | None = [] if predicts else None
        """What each of them was asked for by, if the program will be a prediction."""
        self.direct = False
        """Whether an operation on its tracers alone is its own for sure: no staging recording is open within it."""
        self.prediction = prediction
        """The prediction along which it goes; None if there is none, or no longer."""
        self.step: Step = NO_STEP
        """What is predicted to be asked for next."""
        self._held: Step = NO_STEP
        """The same, while the recording is not direct."""
        if prediction is not None:
            self.advance: Callable[[], Step] = iter(prediction._steps or prediction.steps).__next__
            self._held = self.advance()

    @property
    def equations(self) -> list[RawEquation]:
        """The equations."""
        if self.prediction is not None:
            self._write_down()
        return self._equations

    @property
    def sources(self) -> list[Source]:
        """Where each of them was asked for."""
        if self.prediction is not None:
            self._write_down()
        return self._sources

    @property
    def starts(self) -> list[int] | None:
        """The number of each equation's first result; None as long as every equation has one."""
        if self.prediction is not None:
            self._write_down()
        return self._starts

    def count(self, operation: Operation) -> int:
        """The number of the first result of an operation that has just been written down."""
        first, n_outs = self.n_results, len(operation.out_avals)
        self.n_results = first + n_outs
        if self._starts is not None:
            self._starts.append(first)
        elif n_outs != 1:
            self._starts = list(range(first + 1))
        return first

    def hold(self) -> None:
        """From now on operations on its tracers may be another's."""
        self.direct, self._held, self.step = False, self.step, NO_STEP

    def release(self) -> None:
        """They are its own again."""
        self.direct, self.step = True, self._held

    def depart(self) -> None:
        """Leave the prediction, if there is one: from here on all is written down."""
        prediction = self.prediction
        if prediction is not None:
            index = self._write_down()
            if self.requests is not None:
                self.requests.extend(prediction.requests[:index])
            self.prediction, self.step, self._held = None, NO_STEP, NO_STEP

    def turn(self, equation: RawEquation) -> bool:
        """Go along another prediction, one that has this equation next; false if there is none."""
        prediction, index = self.prediction, self.step[6]
        other = prediction and self.direct and prediction.alternatives.agreeing(prediction, index, equation)
        if not other:
            return False
        self.prediction, self.advance = other, iter(other.steps[index:]).__next__
        self.step = self.advance()
        return True

    def expect_scopes(self, scopes: tuple[str, ...]) -> None:
        """Depart if what is predicted to come next was not in these scopes."""
        if self.prediction is not None and self.step[7] is not None:
            source = self.prediction.sources[self.step[6]]
            if source is not None and source[2] != scopes:
                self.depart()

    def _write_down(self) -> int:
        """Write down what has been asked for so far; the number of equations."""
        *_, n_results, index, _ = self.step if self.direct else self._held
        n_written = len(self._equations)
        prediction = self.prediction
        if prediction is not None and n_written < index:
            self._equations.extend(prediction.program.equations[n_written:index])
            self._sources.extend(prediction.sources[n_written:index])
            self._starts = prediction.starts and prediction.starts[:index]
            self.n_results = n_results
        return index
