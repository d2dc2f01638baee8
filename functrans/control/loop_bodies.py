"""The body of a loop, differentiated: the programs from which the rules of `while` and `replay` make other loops.

A body goes from constants, a carry and elements of tapes to the next carry and what is written to other tapes. Which
parts of the carry have a tangent is a fixed point: those that have one at the start, and those that get one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from functrans.config import config
from functrans.control.rearranging import rearranged
from functrans.core.aval import Aval
from functrans.core.evaluation import eval_jaxpr, stage
from functrans.core.jaxpr import Jaxpr, derived
from functrans.core.rules import zeros_like
from functrans.transforms.jvp import jvp
from functrans.transforms.linearize import linearize
from functrans.transforms.tangents import Nonzeros, add_tangents, fill_zeros
from functrans.transforms.transpose import masked_in_loop, transpose

__all__ = [
    "Body",
    "LinearizedBody",
    "TransposedBody",
    "fixed_point",
    "jvp_of_body",
    "linearized_body",
    "transposed_body",
    "with_zeros",
]


class Body(NamedTuple):
    """The program of one iteration."""

    jaxpr: Jaxpr
    n_consts: int
    n_carry: int

    @property
    def n_elements(self) -> int:
        """How many tapes are read."""
        return len(self.jaxpr.in_avals) - self.n_consts - self.n_carry

    @property
    def n_written(self) -> int:
        """How many tapes are written."""
        return len(self.jaxpr.outs) - self.n_carry

    def parts(self, values: Sequence[Any]) -> tuple[list[Any], list[Any], list[Any]]:
        """Something for each input, as constants, carry and elements."""
        end = self.n_consts + self.n_carry
        return list(values[: self.n_consts]), list(values[self.n_consts : end]), list(values[end:])


def fixed_point(step: Callable[[Nonzeros], Nonzeros], start: Nonzeros) -> Nonzeros:
    """The least set of which the step adds nothing to, from a set on."""
    while True:
        following = tuple([a or b for a, b in zip(start, step(start), strict=True)])
        if following == start:
            return start
        start = following


def with_zeros(tangents: Sequence[Any], nonzeros: Nonzeros, avals: Sequence[Aval]) -> list[Any]:
    """The tangents of those values that have one, with zeros where there is none yet."""
    return [
        zeros_like(aval) if t is None else t
        for t, aval, nonzero in zip(tangents, avals, nonzeros, strict=True)
        if nonzero
    ]


def _numbers(flags: Nonzeros) -> list[int]:
    return [i for i, flag in enumerate(flags) if flag]


class _Inputs:
    """Inputs in the order of a new body: those of several groups, each of which has a place for its members."""

    def __init__(self) -> None:
        self.avals: list[Aval] = []

    def add(self, avals: Sequence[Aval]) -> list[int]:
        """The atoms of more inputs."""
        first = len(self.avals)
        self.avals.extend([aval.strong for aval in avals])
        return [-1 - first - i for i in range(len(avals))]


# --------------------------------------------------------------------------------------------------------------------
# Forward mode


def jvp_of_body(body: Body, consts: Nonzeros, carry: Nonzeros, elements: Nonzeros) -> tuple[Body, Nonzeros, Nonzeros]:
    """The body on values and tangents, and which of its carry, and of what it writes, have tangents.

    Its constants are those of the body, then their tangents; so are its carry, its elements, and what it writes.
    """
    jaxpr, n_carry = body.jaxpr, body.n_carry
    carry = fixed_point(lambda nz: jvp(jaxpr, (*consts, *nz, *elements))[1][:n_carry], carry)
    wanted = (*carry, *(False,) * body.n_written)
    program, nonzeros = jvp(jaxpr, (*consts, *carry, *elements), wanted)
    inputs, primals, dots = _Inputs(), [], []
    for avals, flags in zip(body.parts(jaxpr.in_avals), (consts, carry, elements), strict=True):
        primals += inputs.add(avals)
        dots += inputs.add([avals[i] for i in _numbers(flags)])
    n_outs, n_dots, written = len(jaxpr.outs), sum(carry), nonzeros[n_carry:]
    order = [
        *range(n_carry),
        *range(n_outs, n_outs + n_dots),
        *range(n_carry, n_outs),
        *range(n_outs + n_dots, n_outs + sum(nonzeros)),
    ]
    doubled = rearranged(program, inputs.avals, [*primals, *dots], order)
    return Body(doubled, body.n_consts + sum(consts), n_carry + n_dots), carry, written


# --------------------------------------------------------------------------------------------------------------------
# Linearization


class LinearizedBody(NamedTuple):
    """A body split into one that keeps residuals and a linear one that reads them."""

    primal: Body
    """The body that writes, after what it wrote before, more tapes."""
    linear: Body
    """From tangents to tangents. Its constants are residuals, then tangents; so are its elements."""
    carry: Nonzeros
    """Which parts of the carry have a tangent."""
    written: Nonzeros
    """Which of the things written before have one."""
    const_residuals: list[int]
    """The numbers of the constants that are residuals."""
    tapes: list[int]
    """The tapes that the linear body reads: `-1 - i` for one that the body reads itself, else the number among those
    that it writes."""


def linearized_body(body: Body, consts: Nonzeros, carry: Nonzeros, elements: Nonzeros) -> LinearizedBody:
    """Split a body, where some of its inputs have tangents."""
    jaxpr, n_carry, n_outs = body.jaxpr, body.n_carry, len(body.jaxpr.outs)
    carry = fixed_point(lambda nz: linearize(jaxpr, (*consts, *nz, *elements)).nonzeros[:n_carry], carry)
    lin = linearize(jaxpr, (*consts, *carry, *elements), (*carry, *(False,) * body.n_written))
    outs: list[int] = list(range(n_outs))  # of the new body, as places in the linearized one
    const_residuals: list[int] = []
    tapes: list[int] = []
    for place in lin.residuals:
        if place < 0 and -1 - place < body.n_consts:
            const_residuals.append(-1 - place)
        elif place < 0 and -1 - place >= body.n_consts + n_carry:
            tapes.append(place + body.n_consts + n_carry)
        else:
            if place < n_carry or place >= n_outs:
                outs.append(place)
                tapes.append(len(outs) - 1 - n_carry)
            else:
                tapes.append(place - n_carry)
    own = [-1 - i for i in range(len(jaxpr.in_avals))]
    primal = Body(rearranged(lin.primal, jaxpr.in_avals, own, outs), body.n_consts, n_carry)
    linear = _linear_body(body, lin, (consts, carry, elements))
    return LinearizedBody(primal, linear, carry, lin.nonzeros[n_carry:], const_residuals, tapes)


def _linear_body(body: Body, lin: Any, nonzeros: tuple[Nonzeros, Nonzeros, Nonzeros]) -> Body:
    counts = [sum(flags) for flags in nonzeros]
    avals = lin.linear.in_avals
    n_dots = sum(counts)
    is_const = [place < 0 and -1 - place < body.n_consts for place in lin.residuals]
    inputs = _Inputs()
    atoms: dict[int, int] = {}

    def add(numbers: Sequence[int]) -> None:
        atoms.update(zip(numbers, inputs.add([avals[i] for i in numbers]), strict=True))

    starts = [0, counts[0], counts[0] + counts[1], n_dots]
    dots = [range(starts[i], starts[i + 1]) for i in range(3)]
    residuals = range(n_dots, len(avals))
    add([i for i, const in zip(residuals, is_const, strict=True) if const])
    add(dots[0])
    add(dots[1])
    add([i for i, const in zip(residuals, is_const, strict=True) if not const])
    add(dots[2])
    program = rearranged(lin.linear, inputs.avals, [atoms[i] for i in range(len(avals))], range(len(lin.linear.outs)))
    return Body(program, sum(is_const) + counts[0], counts[1])


# --------------------------------------------------------------------------------------------------------------------
# Transposition


class TransposedBody(NamedTuple):
    """The transpose of a body that is linear in its carry, and in some of its constants and elements."""

    body: Body
    """Constants: those that are not linear. Carry: sums of cotangents of linear constants, then cotangents of the
    carry. Elements: those that are not linear, then cotangents of what was written. It writes those of elements."""
    consts: Nonzeros
    """Which of the linear constants get a cotangent."""
    carry: Nonzeros
    """Which parts of the carry have one."""
    elements: Nonzeros
    """Which of the linear elements get one."""


def transposed_body(
    body: Body, linear: tuple[Nonzeros, Nonzeros], carry_cts: Sequence[Any], written_cts: Sequence[Any]
) -> TransposedBody:
    """Transpose a body.

    Args:
        body: linear in its whole carry.
        linear: which of its constants, and of its elements, it is linear in.
        carry_cts, written_cts: the cotangents with which the loop begins; None for zero.
    """
    jaxpr, n_carry = body.jaxpr, body.n_carry
    is_linear = (*linear[0], *(True,) * n_carry, *linear[1])
    first = sum(linear[0])
    written = tuple([ct is not None for ct in written_cts])

    def step(carry: Nonzeros) -> Nonzeros:
        return transpose(jaxpr, is_linear, (*carry, *written))[1][first : first + n_carry]

    carry = fixed_point(step, tuple([ct is not None for ct in carry_cts]))
    masked = masked_in_loop(jaxpr, is_linear, (*carry, *written), [*carry_cts, *written_cts])
    key = ("transposed body", body[1:], linear, carry, written, masked, config.nan_safe_gradients)
    return derived(jaxpr, key, lambda: _transpose_body(body, linear, carry, written, masked))


def _transpose_body(
    body: Body, linear: tuple[Nonzeros, Nonzeros], carry: Nonzeros, written: Nonzeros, masked: tuple[bool, ...]
) -> TransposedBody:
    jaxpr, n_carry = body.jaxpr, body.n_carry
    is_linear = (*linear[0], *(True,) * n_carry, *linear[1])
    n_linear_consts = sum(linear[0])
    program, nonzeros = transpose(jaxpr, is_linear, (*carry, *written), masked=masked)
    const_nonzeros = nonzeros[:n_linear_consts]
    element_nonzeros = nonzeros[n_linear_consts + n_carry :]
    consts, carries, elements = body.parts(jaxpr.in_avals)
    outs_written = jaxpr.out_avals[n_carry:]
    linear_consts = [a for a, is_lin in zip(consts, linear[0], strict=True) if is_lin]
    groups = [
        [a for a, is_lin in zip(consts, linear[0], strict=True) if not is_lin],
        [linear_consts[i] for i in _numbers(const_nonzeros)],
        [carries[i] for i in _numbers(carry)],
        [a for a, is_lin in zip(elements, linear[1], strict=True) if not is_lin],
        [outs_written[i] for i in _numbers(written)],
    ]
    with stage("transpose", [aval.strong for group in groups for aval in group]) as recording:
        remaining = iter(recording.inputs())
        fixed, sums, cts, fixed_elements, written_cts = [[next(remaining) for _ in group] for group in groups]
        results = fill_zeros(eval_jaxpr(program, [*fixed, *fixed_elements, *cts, *written_cts], recording), nonzeros)
        added = [t for t in results[:n_linear_consts] if t is not None]
        sums = [add_tangents(a, t) for a, t in zip(sums, added, strict=True)]
        following = with_zeros(results[n_linear_consts : n_linear_consts + n_carry], carry, carries)
        out = [t for t in results[n_linear_consts + n_carry :] if t is not None]
        new, _ = recording.close([*sums, *following, *out])
    return TransposedBody(
        Body(new, len(groups[0]), len(groups[1]) + len(groups[2])), const_nonzeros, carry, element_nonzeros
    )
