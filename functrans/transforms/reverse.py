"""Reverse mode, linearize and then transpose, as one program: `vjp : (x -> y) -> ((x, ct) -> (y, ct x))`.

>>> import functrans as ft
>>> from functrans.transforms.reverse import gradient
>>> program = ft.make_jaxpr(lambda x: ft.lax.mul(ft.lax.sin(x), 3.0))(1.5).jaxpr
>>> gradient(program, (0,))
{ lambda ; a:f64[]. let
    b:f64[] = sin a
    c:f64[] = cos a
    d:f64[] = mul b 3.0:f64[]
    e:f64[] = mul 3.0:f64[] c
  in (d, e) }
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from functrans.config import config
from functrans.core.evaluation import eval_jaxpr, stage
from functrans.core.jaxpr import Jaxpr, Literal, derived
from functrans.core.rules import zeros_like
from functrans.passes.pipeline import tidied
from functrans.transforms.linearize import linearize
from functrans.transforms.tangents import Nonzeros, fill_zeros, without_zeros
from functrans.transforms.transpose import transpose

__all__ = ["gradient", "pull_back"]


def gradient(jaxpr: Jaxpr, wrt: tuple[int, ...], with_value: bool = True) -> Jaxpr:
    """The program that computes the outputs and the gradient of the first one.

    Args:
        jaxpr: a program whose first output is a scalar.
        wrt: with respect to which inputs, in ascending order.
        with_value: whether the first output itself is wanted; if not, nothing runs that only it needs.

    Returns:
        A program from the inputs to the outputs, then the gradients.
    """
    key = ("gradient", wrt, with_value, config.nan_safe_gradients)
    return derived(jaxpr, key, lambda: _gradient(jaxpr, wrt, with_value))


def _gradient(jaxpr: Jaxpr, wrt: tuple[int, ...], with_value: bool) -> Jaxpr:
    chosen = set(wrt)
    with stage("gradient", jaxpr.in_avals) as recording:
        inputs = recording.inputs()
        lin = linearize(jaxpr, tuple([i in chosen for i in range(len(inputs))]))
        results = eval_jaxpr(lin.primal, inputs, recording)
        residuals = lin.read_residuals(inputs, results)
        outs = results[: len(jaxpr.outs)]
        seed = [Literal(1, jaxpr.out_avals[0].strong)] + [None] * (len(outs) - 1)
        run = partial(eval_jaxpr, recording=recording)
        cts = pull_back(lin.linear, lin.nonzeros, len(wrt), residuals, seed, run)
        grads = [zeros_like(jaxpr.in_avals[i]) if ct is None else ct for i, ct in zip(wrt, cts, strict=True)]
        program, _ = recording.close((outs if with_value else outs[1:]) + grads, intern=False)
    return tidied(program)


def pull_back(
    linear: Jaxpr,
    nonzeros: Nonzeros,
    n_tangents: int,
    residuals: Sequence[Any],
    cts: Sequence[Any],
    run: Callable[[Jaxpr, list[Any]], Sequence[Any]],
    masked: bool = False,
) -> list[Any]:
    """The cotangents of the tangents of a linearized program, from those of its outputs; None is zero.

    Args:
        linear: the linear program, from `n_tangents` tangents and the residuals.
        nonzeros: which outputs of the whole function it gives tangents of.
        n_tangents: how many.
        residuals: their values.
        cts: the cotangents of all outputs.
        run: what runs the transposed program.
        masked: whether zeros in the cotangents mean that an element of the output does not count, and stay zero
            therefore (`functrans.transforms.masking`), as those of unit vectors do.
    """
    given, nonzero_cts = without_zeros([ct for ct, nonzero in zip(cts, nonzeros, strict=True) if nonzero])
    is_linear = (True,) * n_tangents + (False,) * len(residuals)
    transposed, nonzero_outs = transpose(linear, is_linear, nonzero_cts, masked=nonzero_cts if masked else ())
    return fill_zeros(run(transposed, [*residuals, *given]), nonzero_outs)
