"""The rules of `custom_vmap`: batched by the user's rule, differentiated as the program that it is.

After batching the program of the rule is all there is, and it is differentiated. The JVP of a custom_vmap is a
custom_vmap again, whose rule is the JVP of the rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from functrans.backends.running import run_inner
from functrans.control.calls import jvp_of_call, linearized_call, transposed_call
from functrans.core.evaluation import eval_jaxpr, stage
from functrans.core.jaxpr import Jaxpr, derived
from functrans.core.rules import (
    BatchAxis,
    def_general_jvp,
    def_linearize,
    def_program_batch,
    def_specialized_impl,
    def_transpose,
)
from functrans.ops.custom_batching import custom_vmap_p
from functrans.ops.families import stacked
from functrans.transforms.jvp import jvp
from functrans.transforms.tangents import Nonzeros, fill_zeros, nonzeros_of

__all__ = ["BatchRule"]


class BatchRule(Protocol):
    """How the batches of a program are computed. Hashable: a parameter of an equation."""

    def batched(self, jaxpr: Jaxpr, size: int, are_stacked: tuple[bool, ...]) -> tuple[Jaxpr, tuple[bool, ...]]:
        """The program on operands of which some are stacked along axis 0, and which outputs are stacked, along 0."""
        ...


def _batched(rule: BatchRule, jaxpr: Jaxpr, size: int, are_stacked: tuple[bool, ...]) -> tuple[Jaxpr, tuple[bool, ...]]:
    key = ("custom_vmap", rule, size, are_stacked)
    return derived(jaxpr, key, lambda: rule.batched(jaxpr, size, are_stacked))


@dataclass(frozen=True)
class _JvpRule:
    """The rule of the JVP of a program: the JVP of its rule."""

    rule: BatchRule
    jaxpr: Jaxpr
    """The program itself."""
    nonzeros: Nonzeros
    """Which of its inputs have a tangent."""

    def __str__(self) -> str:
        return f"jvp of {self.rule}"

    def batched(self, jaxpr: Jaxpr, size: int, are_stacked: tuple[bool, ...]) -> tuple[Jaxpr, tuple[bool, ...]]:
        """The JVP of the program of the rule, in which a tangent that is stacked makes its primal so."""
        n = len(self.nonzeros)
        tangents = fill_zeros(are_stacked[n:], self.nonzeros)
        wanted = tuple([a or bool(b) for a, b in zip(are_stacked[:n], tangents, strict=True)])
        dots_wanted = tuple([w for w, nonzero in zip(wanted, self.nonzeros, strict=True) if nonzero])
        program, outs_stacked = _batched(self.rule, self.jaxpr, size, wanted)
        out_nonzeros = jvp(self.jaxpr, self.nonzeros)[1]
        both, have = jvp(program, self.nonzeros, out_nonzeros)
        avals = [
            aval.with_shape((size, *aval.shape)) if is_stacked else aval
            for aval, is_stacked in zip(jaxpr.in_avals, are_stacked, strict=True)
        ]
        with stage("custom_vmap", avals) as recording:
            given = zip(recording.inputs(), are_stacked, wanted + dots_wanted, strict=True)
            results = eval_jaxpr(
                both, [x if is_in or not is_out else stacked(x, size, None, 0) for x, is_in, is_out in given]
            )
            dots = fill_zeros(results[len(have) :], have)
            kept = [t for t, nonzero in zip(dots, out_nonzeros, strict=True) if nonzero]
            whole, _ = recording.close(results[: len(have)] + kept)
        return whole, outs_stacked + tuple(
            [s for s, nonzero in zip(outs_stacked, out_nonzeros, strict=True) if nonzero]
        )


def _jvp(primals: Sequence[Any], tangents: Sequence[Any], *, jaxpr: Jaxpr, rule: BatchRule) -> tuple[Any, Any]:
    jvp_rule = _JvpRule(rule, jaxpr, nonzeros_of(tangents))
    return jvp_of_call(
        jaxpr, primals, tangents, lambda program, operands: custom_vmap_p.bind(*operands, jaxpr=program, rule=jvp_rule)
    )


def _linearize(primals: Sequence[Any], tangents: Sequence[Any], *, jaxpr: Jaxpr, rule: BatchRule) -> tuple[Any, Any]:
    return linearized_call(jaxpr, primals, tangents, eval_jaxpr)


def _transpose(cts: Sequence[Any], *operands: Any, jaxpr: Jaxpr, rule: BatchRule) -> list[Any]:
    return transposed_call(jaxpr, cts, operands, eval_jaxpr)


def _batch(
    axis: BatchAxis, operands: Sequence[Any], axes: Sequence[int | None], *, jaxpr: Jaxpr, rule: BatchRule
) -> tuple[list[Any], list[int | None]]:
    program, are_stacked = _batched(rule, jaxpr, axis.size, tuple([along is not None for along in axes]))
    given = [x if along is None else stacked(x, axis.size, along, 0) for x, along in zip(operands, axes, strict=True)]
    return eval_jaxpr(program, given), [0 if is_stacked else None for is_stacked in are_stacked]


def_specialized_impl(custom_vmap_p, run_inner)
def_general_jvp(custom_vmap_p, _jvp)
def_linearize(custom_vmap_p, _linearize)
def_transpose(custom_vmap_p, _transpose)
def_program_batch(custom_vmap_p, _batch)
