"""Effects that happen while a function is still being recorded, because Python asked for the value of a result.

Effects wait in the program until it runs. If Python asks for a value that comes from one of them, that effect happens
now, and before it, in their order, all that were recorded earlier: in the recordings around this one, then in this one.
None of them happens again. The equation loses its effects; where a result comes from an effect, the results become
inputs of the program, or, if they have a derivative (a loop in which a callback is called), the callbacks are replaced
by some that only return again what came. The same is done when the function raises, so that what was printed before it
failed is seen.
"""

from __future__ import annotations

from typing import Any

from functrans.core.effects import without_effects
from functrans.core.jaxpr import Atom, Operation, RawEquation, Source, jaxprs_in
from functrans.errors import ConcretizationTypeError, MissingRuleError

__all__ = ["Effects", "effect_waits_for", "force_effect", "force_pending", "without_forced"]

Recording = Any


class Effects:
    """The effects of a recording that have not happened, and those that have."""

    __slots__ = ("forced", "pending", "scanned")

    def __init__(self) -> None:
        self.pending: list[int] = []
        """The numbers of the equations whose effects are still to happen, in their order."""
        self.forced: dict[int, BaseException | None] = {}
        """The equations that are gone since their effects have happened; with the error, where one was raised."""
        self.scanned = 0


def force_effect(recording: Recording, index: int) -> None:
    """Make the effects of an equation happen now, and those that come before."""
    *around, _ = _enclosing(recording)
    for outer in around:
        _force_all(outer, len(outer.equations))
    _force_all(recording, index + 1)
    error = recording.effects.forced.get(index)
    if error is not None:
        raise error


def force_pending(recording: Recording) -> None:
    """Make the effects happen that have been recorded, as many as can: the function has raised an error."""
    chain = _enclosing(recording)
    if any([each.staging for each in chain]):
        return
    for each in chain:
        try:
            _force_all(each, len(each.equations))
        except Exception:  # the error that the user is to see is that of the function
            return


def effect_waits_for(recording: Recording, index: int) -> str | None:
    """What an equation waits for of which a result comes from an effect; None if it can happen now."""
    if not without_effects(recording.equations[index][0]).effectful:
        return None
    chain = _enclosing(recording)
    if any([each.staging for each in chain]):
        return f"the result of {recording.describe_equation(index)}"
    for each in chain:
        for number in _pending(each):
            if each is recording and number > index:
                break
            for atom in each.equations[number][1]:
                unknown = each.unknown_input(atom, effects=False)
                if unknown is not None:
                    return f"{unknown} (on which {each.describe_equation(number)} depends, which has to happen before)"
    return None


def without_forced(
    recording: Recording, outs: tuple[Atom, ...]
) -> tuple[list[RawEquation], list[Source], tuple[Atom, ...]]:
    """The equations of a recording without those that are gone, their sources, and the outputs."""
    equations: list[RawEquation] = []
    sources: list[Source] = []
    place: dict[Atom, Atom] = {}
    failed: dict[Atom, BaseException] = {}  # results of effects that raised, which the function has survived
    forced: dict[int, BaseException | None] = recording.effects.forced
    n_results = 0
    for index, (operation, inputs) in enumerate(recording.equations):
        results = recording.results_of(index)
        error = forced.get(index) or next((failed[atom] for atom in inputs if atom in failed), None)
        if error is not None:
            if operation.effectful and index not in forced:
                raise error
            failed.update(dict.fromkeys(results, error))
        elif index in forced:
            for result, aval in zip(results, operation.out_avals, strict=True):
                place[result] = recording.new_input(aval, recording.values[result])
        else:
            equations.append((operation, tuple([place.get(atom, atom) for atom in inputs])))
            sources.append(recording.sources[index])
            place.update(zip(results, range(n_results, n_results + len(results)), strict=True))
            n_results += len(results)
    for atom in outs:
        if atom in failed:
            raise failed[atom]
    return equations, sources, tuple([place.get(atom, atom) for atom in outs])


def _enclosing(recording: Recording) -> list[Recording]:
    """The open recordings around one, outermost first, and itself."""
    chain = [recording]
    while chain[-1].outer is not None and chain[-1].outer.home is recording.home:
        chain.append(chain[-1].outer)
    return chain[::-1]


def _pending(recording: Recording) -> list[int]:
    if recording.effects is None:
        recording.depart()  # its equations will not be those that were predicted
        recording.effects = Effects()
    effects: Effects = recording.effects
    equations = recording.equations
    effects.pending.extend([i for i in range(effects.scanned, len(equations)) if equations[i][0].effectful])
    effects.scanned = len(equations)
    return effects.pending


def _force_all(recording: Recording, stop: int) -> None:
    pending = _pending(recording)
    while pending and pending[0] < stop:
        _force(recording, pending[0])


def _force(recording: Recording, index: int) -> None:
    operation, inputs = recording.equations[index]
    for atom in inputs:
        unknown = recording.unknown_input(atom, effects=False)
        if unknown is not None:
            raise ConcretizationTypeError(
                f"{recording.describe_equation(index)} cannot be made yet: it depends on {unknown}, which has no value "
                "while the program is recorded"
            )
    left = without_effects(operation)
    source = _lost_derivative(recording, index) if left.effectful else None
    if source is not None and (operation.primitive.effectful or _has_constant_callbacks(operation)):
        raise MissingRuleError(
            f"the value of {recording.describe_equation(index)} was needed while the function is recorded, and with it "
            f"the derivative with respect to {source} would be lost: a callback has none. Give it one "
            "(functrans.custom_jvp or functrans.custom_vjp around the function that makes the call), or say that there "
            "is none: call it on functrans.lax.stop_gradient(x)."
        )
    values = [recording.value(atom) for atom in inputs]
    if source is not None:
        values, inputs = _with_replays(recording, values, inputs)
    recording.effects.pending.remove(index)
    try:
        results = operation.primitive.evaluate(operation, values)
    except BaseException as error:
        recording.effects.forced[index] = error
        raise
    recording.remember(index, results)
    if source is not None:
        recording.equations[index] = operation, inputs
    elif left.effectful:
        recording.effects.forced[index] = None
    else:
        recording.equations[index] = left, inputs


def _lost_derivative(recording: Recording, index: int) -> str | None:
    """The input with respect to which the results have a derivative: values that became inputs would have none."""
    operation, _ = recording.equations[index]
    for result, aval in zip(recording.results_of(index), operation.out_avals, strict=True):
        source: str | None = recording.differentiated_input(result) if aval.inexact else None
        if source is not None:
            return source
    return None


def _with_replays(
    recording: Recording, values: list[Any], inputs: tuple[Atom, ...]
) -> tuple[list[Any], tuple[Atom, ...]]:
    """The operands with callbacks that keep what they return, and for the program some that return it again."""
    values, atoms = list(values), list(inputs)
    for i, value in enumerate(values):
        if hasattr(value, "with_replay"):
            values[i], replay = value.with_replay()
            atoms[i] = recording.new_input(replay.aval, replay)
    return values, tuple(atoms)


def _has_constant_callbacks(operation: Operation) -> bool:
    """Whether a program that the operation carries has callbacks of its own, which cannot be replaced."""
    carried = [eqn.operation for value in operation.params.values() for jaxpr in jaxprs_in(value) for eqn in jaxpr.eqns]
    return any(
        [
            _has_constant_callbacks(inner)
            or (not inner.in_avals and any([aval.dtype.kind == "V" for aval in inner.out_avals]))
            for inner in carried
            if inner.effectful or not inner.in_avals
        ]
    )
