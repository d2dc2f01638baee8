"""Zeros of cotangents that stay zero: which cotangents may have some, while a program is transposed.

`where(x > 0, sqrt(x), 0)` at 0 gives sqrt(0) the cotangent 0, since the selection did not take it; multiplied by the
derivative of sqrt, infinity, that would be NaN. The zero is there by structure: whatever the other side is, it has no
influence. So a cotangent is *masked* once a selection, an index or a padding may have put zeros into it, and what is
computed from it is masked too; a product with a masked cotangent is recorded in its guarded form
(`functrans.ops.guarded`), in which zero times infinity is zero. All other products stay as they are, and so does the
gradient of a program that selects nothing.

Each equation that a transpose rule has recorded is looked at once, so the rules need not know of it. Only those of
primitives that carry a program hand the marks of their cotangents on, with `masked_cotangents` or `masked_in_loop`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from functrans.config import config
from functrans.core.jaxpr import Atom, Jaxpr, Literal, Operation, derived, jaxprs_in
from functrans.core.recording import Recording
from functrans.core.rules import is_masked
from functrans.ops import guarded  # noqa: F401  (gives the products their guarded forms)
from functrans.ops.comparison import select_n_p
from functrans.ops.conversion import convert_element_type_p
from functrans.ops.shape import broadcast_in_dim_p, reshape_p, transpose_p

__all__ = ["guard_equations", "masked_cotangents", "places_zeros"]


def masked_cotangents(cts: Sequence[Any]) -> tuple[bool, ...]:
    """Which of the cotangents that a transpose rule is given are masked; () if none is.

    The transpose rule of a primitive that carries a program hands it on to `transpose(..., masked=...)`, and has it in
    the keys of all that it keeps of that. (With `config.nan_safe_gradients` off it is False for each cotangent.)

    Args:
        cts: the cotangents of all results; None where it is zero.
    """
    if not config.nan_safe_gradients:
        return (False,) * len(cts)
    marks = tuple([ct is not None and is_masked(ct) for ct in cts])
    return marks if any(marks) else ()


def guard_equations(recording: Recording, first: int) -> None:
    """Mark what the equations from number `first` on compute from masked cotangents, and guard the products."""
    masked, equations = recording.masked, recording.equations
    result = first if recording.starts is None or first == len(equations) else recording.starts[first]
    for number in range(first, len(equations)):
        operation, inputs = equations[number]
        n_results = len(operation.out_avals)
        marks = [x in masked or _is_zero(x) for x in inputs] if masked else [_is_zero(x) for x in inputs]
        if any(marks):
            operation = _guarded(recording, operation, inputs, marks) or operation
            equations[number] = operation, inputs
        if _is_masked_result(operation, inputs, masked):
            masked.update(range(result, result + n_results))
        result += n_results


def _is_zero(x: Atom) -> bool:
    return type(x) is Literal and x.value == 0 and x.aval.inexact


def _is_masked_result(operation: Operation, inputs: Sequence[Atom], masked: set[Atom]) -> bool:
    if any([x in masked for x in inputs]):
        return True
    primitive: Any = operation.primitive
    rule = primitive.places_zeros
    if rule is not None and rule(inputs, operation.params):
        return True
    return any([places_zeros(jaxpr) for value in operation.params.values() for jaxpr in jaxprs_in(value)])


def places_zeros(jaxpr: Jaxpr) -> bool:
    """Whether an equation of a program may place zeros, or an output is a zero itself."""
    return derived(jaxpr, "places_zeros", lambda: _places_zeros(jaxpr))


def _places_zeros(jaxpr: Jaxpr) -> bool:
    return any([_is_zero(x) for x in jaxpr.outs]) or any(
        [_is_masked_result(eqn.operation, eqn.inputs, set()) for eqn in jaxpr.eqns]
    )


def _guarded(
    recording: Recording, operation: Operation, inputs: Sequence[Atom], marks: Sequence[bool]
) -> Operation | None:
    """The operation in its guarded form, if that makes a difference."""
    primitive: Any = operation.primitive
    rule = primitive.guard
    if rule is None or not operation.out_avals[0].inexact:
        return None
    if primitive.is_elementwise and len(inputs) == 2:
        one, other = inputs
        if (_is_finite(recording, other) or not marks[0]) and (_is_finite(recording, one) or not marks[1]):
            return None
    found = rule(marks, operation.params)
    return None if found is None else found[0].operation(operation.in_avals, found[1])


_MOVING = (broadcast_in_dim_p, reshape_p, transpose_p)


def _is_finite(recording: Recording, atom: Atom, steps: int = 3) -> bool:
    """Whether a factor is finite for sure: a number, a choice between numbers, what was a boolean."""
    if type(atom) is Literal:
        return bool(np.isfinite(atom.scalar))
    if type(atom) is not int or atom < 0 or not steps:
        return False
    operation, inputs = recording.defining(atom)
    if operation.primitive is select_n_p:
        return all([_is_finite(recording, x, steps - 1) for x in inputs[1:]])
    if operation.primitive in _MOVING:
        return _is_finite(recording, inputs[0], steps - 1)
    return operation.primitive is convert_element_type_p and operation.in_avals[0].dtype.kind == "b"
