"""The source of primitives in files that people read, where their implementations say the same at more length."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from functrans.backends.memory import aligned_shape
from functrans.backends.numpy_codegen.rules import Expression, Rule, Writer, def_source
from functrans.backends.numpy_codegen.shapes import range_text
from functrans.backends.numpy_codegen.values import C, Value
from functrans.core.jaxpr import Equation, Literal
from functrans.ops import reductions
from functrans.ops.comparison import select_n_p
from functrans.ops.constant import constant_p
from functrans.ops.iota import iota_p
from functrans.ops.joining import concatenate_p
from functrans.ops.padded_sums import place_in_sum, sum_padded_p
from functrans.ops.power import integer_pow_p
from functrans.ops.selection import clamp_p
from functrans.ops.shape import broadcast_in_dim_p, rev_p
from functrans.ops.slicing import pad_p

__all__: list[str] = []


def _for_readers(rule: Rule) -> Rule:
    return lambda writer, eqn, operands: rule(writer, eqn, operands) if writer.module.is_read else None


def _broadcast_in_dim(writer: Writer, eqn: Equation, operands: Sequence[Value]) -> Expression:
    (x,), shape = operands, eqn.params["shape"]
    aligned = aligned_shape(x.aval, **eqn.params)
    text = x.text if aligned == x.aval.shape else f"{x.text}.reshape({aligned})"
    return Expression(f"np.broadcast_to({text}, {shape})", None, True)


def _concatenate(writer: Writer, eqn: Equation, operands: Sequence[Value]) -> Expression:
    return Expression(f"np.concatenate([{', '.join([x.text for x in operands])}], {eqn.params['dimension']})")


def _integer_pow(writer: Writer, eqn: Equation, operands: Sequence[Value]) -> Expression | None:
    (x,), power = operands, eqn.params["y"]
    if power not in (3, 4):
        return None
    square = f"np.square({x.text})"
    return Expression(f"np.square({square})" if power == 4 else f"np.multiply({x.text}, {square})")


def _select_n(writer: Writer, eqn: Equation, operands: Sequence[Value]) -> Expression | None:
    which, *cases = [x.text for x in operands]
    if len(cases) != 2 or eqn.in_avals[0].dtype.kind != "b":
        return None
    return Expression(f"np.where({which}, {cases[1]}, {cases[0]})")


def _clamp(writer: Writer, eqn: Equation, operands: Sequence[Value]) -> Expression:
    low, x, high = [x.text for x in operands]
    return Expression(f"np.clip({x}, {low}, {high})")


def _iota(writer: Writer, eqn: Equation, operands: Sequence[Value]) -> Expression | None:
    shape = eqn.params["shape"]
    dtype = writer.module.dtype(eqn.params["dtype"])
    return Expression(f"np.arange({shape[0]}, dtype={dtype})") if len(shape) == 1 else None


def _rev(writer: Writer, eqn: Equation, operands: Sequence[Value]) -> Expression:
    (x,), dimensions = operands, eqn.params["dimensions"]
    items = ["::-1" if d in dimensions else ":" for d in range(x.aval.ndim)]
    while items[-1] == ":":
        items.pop()
    return Expression(f"{x.text}[{', '.join(items)}]", None, True)


def _pad(writer: Writer, eqn: Equation, operands: Sequence[Value]) -> Expression | None:
    """Zeros around an array, and none inside."""
    config, value = eqn.params["padding_config"], eqn.inputs[1]
    is_zero = type(value) is Literal and value.scalar.tobytes() == np.zeros((), value.dtype).tobytes()
    if not is_zero or not config or any([low < 0 or high < 0 or inside for low, high, inside in config]):
        return None
    # Not np.pad, which keeps the order of Fortran.
    (x, _), (out,), name = operands, eqn.out_avals, writer.name()
    writer.line(f"{name} = np.zeros({out.shape}, {writer.module.dtype(out.dtype)})", out)
    items = [
        range_text(low, low + n, 1, whole)
        for (low, _, _), n, whole in zip(config, x.aval.shape, out.shape, strict=True)
    ]
    writer.line(f"{name}[{', '.join(items)}] = {x.text}")
    return Expression(name, C, is_written=True)


def _sum_padded(writer: Writer, eqn: Equation, operands: Sequence[Value]) -> Expression | None:
    """Each array added to its place among zeros; not where all of them meet, to which no zero is added."""
    (out,), configs = eqn.out_avals, eqn.params["padding_configs"]
    places = [place_in_sum(x.aval.shape, config) for x, config in zip(operands, configs, strict=True)]
    if not any([max([at.start for at in axis]) >= min([at.stop for at in axis]) for axis in zip(*places, strict=True)]):
        return None
    name = writer.name()
    writer.line(f"{name} = np.zeros({out.shape}, {writer.module.dtype(out.dtype)})", out)
    for x, place in zip(operands, places, strict=True):
        items = [range_text(at.start, at.stop, at.step, n) for at, n in zip(place, out.shape, strict=True)]
        writer.line(f"{name}[{', '.join(items)}] += {x.text}")
    return Expression(name, C, is_written=True)


def _constant(writer: Writer, eqn: Equation, operands: Sequence[Value]) -> Expression:
    array = eqn.params["value"].array
    return Expression(f"{writer.module.constant(array, 'k', eqn.params['value'])}.copy()")


def _reduction(name: str) -> Rule:
    def rule(writer: Writer, eqn: Equation, operands: Sequence[Value]) -> Expression | None:
        (x,), axes = operands, eqn.params["axes"]
        if eqn.out_avals[0].dtype.itemsize < 4 and eqn.out_avals[0].dtype.kind in "iu":
            return None  # NumPy widens small integers
        return Expression(f"np.{name}.reduce({x.text}, {axes[0] if len(axes) == 1 else axes})")

    return rule


def_source(broadcast_in_dim_p, _for_readers(_broadcast_in_dim))
def_source(concatenate_p, _for_readers(_concatenate))
def_source(integer_pow_p, _for_readers(_integer_pow))
def_source(select_n_p, _for_readers(_select_n))
def_source(clamp_p, _for_readers(_clamp))
def_source(iota_p, _for_readers(_iota))
def_source(rev_p, _for_readers(_rev))
def_source(pad_p, _for_readers(_pad))
def_source(sum_padded_p, _for_readers(_sum_padded))
def_source(constant_p, _for_readers(_constant))
def_source(reductions.reduce_max_p, _for_readers(_reduction("maximum")))
def_source(reductions.reduce_min_p, _for_readers(_reduction("minimum")))
