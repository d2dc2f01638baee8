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
from typing import Any, NamedTuple

from functrans.config import config
from functrans.core.evaluation import Environment, apply_equation, in_scope, stage
from functrans.core.jaxpr import Equation, Jaxpr, Literal, derived
from functrans.core.recording import Recording
from functrans.core.rules import UndefinedPrimal, is_masked
from functrans.errors import BACKWARD, MissingRuleError
from functrans.passes.inline import inline
from functrans.passes.pipeline import tidied
from functrans.transforms.masking import guard_equations, masked_cotangents, places_zeros
from functrans.transforms.tangents import Nonzeros, add_tangents, fill_zeros, instantiated, nonzeros_of

__all__ = ["Accumulated", "accumulate", "masked_cotangents", "masked_in_loop", "transpose"]


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
    avals = [aval for aval, is_linear in zip(jaxpr.in_avals, linear, strict=True) if is_linear]
    with stage("transpose", [*fixed_avals, *ct_avals]) as recording:
        tracers = recording.inputs()
        fixed, given = tracers[: len(fixed_avals)], tracers[len(fixed_avals) :]
        marks = [is_marked for is_marked, nonzero in zip(masked, nonzeros, strict=True) if nonzero] if masked else []
        _mark(recording, given, marks or [False] * len(given))
        cts = _pull_back(jaxpr, linear, fixed, fill_zeros(given, nonzeros), [None] * len(avals), recording)
        outs = instantiated(cts, (instantiate,) * len(cts), avals)
        program, _ = recording.close([ct for ct in outs if ct is not None], intern=False)
    return tidied(program), tuple([ct is not None for ct in outs])


class Accumulated(NamedTuple):
    """A transposed program that adds to the cotangents that its linear inputs have already."""

    program: Jaxpr
    """From the inputs that are not linear, the cotangents that there are of linear inputs, and those of the outputs, to
    the cotangents of the linear inputs that have one."""
    nonzeros: Nonzeros
    """Which linear inputs have a cotangent then."""
    masked: tuple[bool | None, ...]
    """For each of the program's outputs, whether it is masked (`functrans.transforms.masking`); None for a literal."""


def accumulate(
    jaxpr: Jaxpr,
    linear: tuple[bool, ...],
    cts: Sequence[bool | None],
    before: Sequence[bool | None],
) -> Accumulated:
    """The transpose of one part of a larger program: what comes after it, in that, has had its turn.

    It adds in the order in which `transpose` adds when it is given the larger program.

    Args:
        jaxpr: the program.
        linear: which inputs it is linear in.
        cts: which outputs have a cotangent: None for zero, else whether it is masked.
        before: the same for the cotangents that the linear inputs have already.
    """
    jaxpr = inline(jaxpr)
    fixed_avals = [aval for aval, is_linear in zip(jaxpr.in_avals, linear, strict=True) if not is_linear]
    avals = [aval.strong for aval, is_linear in zip(jaxpr.in_avals, linear, strict=True) if is_linear]
    before_avals = [aval for aval, mark in zip(avals, before, strict=True) if mark is not None]
    ct_avals = [aval.strong for aval, mark in zip(jaxpr.out_avals, cts, strict=True) if mark is not None]
    with stage("transpose", [*fixed_avals, *before_avals, *ct_avals]) as recording:
        tracers = recording.inputs()
        given = tracers[len(fixed_avals) :]
        _mark(recording, given, [mark for mark in (*before, *cts) if mark is not None])
        filled = fill_zeros(given, tuple([mark is not None for mark in (*before, *cts)]))
        sums = _pull_back(
            jaxpr, linear, tracers[: len(fixed_avals)], filled[len(before) :], filled[: len(before)], recording
        )
        outs = [ct for ct in sums if ct is not None]
        masked = tuple([None if type(ct) is Literal else is_masked(ct) for ct in outs])
        program, _ = recording.close(outs, intern=False)
    return Accumulated(tidied(program), nonzeros_of(sums), masked)


def _mark(recording: Recording, cts: Sequence[Any], marks: Sequence[bool]) -> None:
    recording.masked.update([ct.atom for ct, is_marked in zip(cts, marks, strict=True) if is_marked])


def _pull_back(
    jaxpr: Jaxpr,
    linear: tuple[bool, ...],
    fixed: Sequence[Any],
    given: Sequence[Any],
    before: Sequence[Any],
    recording: Recording,
) -> list[Any]:
    """The cotangents of the linear inputs: those that they have before, and what the given ones of the outputs add."""
    remaining = iter(fixed)
    inputs = [
        UndefinedPrimal(aval) if is_linear else next(remaining)
        for aval, is_linear in zip(jaxpr.in_avals, linear, strict=True)
    ]
    env = _run_fixed_part(jaxpr, inputs, recording)
    first = len(recording.equations)
    places = [-1 - i for i, is_linear in enumerate(linear) if is_linear]
    cts = {place: ct for place, ct in zip(places, before, strict=True) if ct is not None}
    _seed(jaxpr, given, cts)
    if config.nan_safe_gradients:
        guard_equations(recording, first)
    _backward(jaxpr, env, cts, recording)
    return [cts.get(place) for place in places]


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


def _seed(jaxpr: Jaxpr, given: Sequence[Any], cts: dict[int, Any]) -> None:
    for atom, ct in zip(jaxpr.outs, given, strict=True):
        if type(atom) is int:
            cts[atom] = add_tangents(cts.get(atom), ct)


def _backward(jaxpr: Jaxpr, env: Environment, cts: dict[int, Any], recording: Recording) -> None:
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
