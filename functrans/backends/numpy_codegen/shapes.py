"""The source of primitives that look at an array in another way, move it or sum it up."""

from __future__ import annotations

from collections.abc import Sequence

from functrans.backends.numpy_codegen.rules import Expression, Rule, Writer, def_source
from functrans.backends.numpy_codegen.values import C, Value, is_linear
from functrans.core.jaxpr import Equation
from functrans.ops import shape as shapes
from functrans.ops.complex import imag_p, real_p
from functrans.ops.conversion import convert_element_type_p
from functrans.ops.guarded import guarded_dot_general_p
from functrans.ops.identity import copy_p, stop_gradient_p
from functrans.ops.linear_algebra import dot_general_p
from functrans.ops.slicing import slice_p

__all__ = ["range_text"]


def _reshape(writer: Writer, eqn: Equation, operands: Sequence[Value]) -> Expression:
    """`reshape`, `squeeze`, `expand_dims`: the same elements in C order."""
    (x,), (out,) = operands, eqn.out_avals
    return Expression(f"{x.text}.reshape({out.shape})", C if x.layout is C else None, True)


def _transpose(writer: Writer, eqn: Equation, operands: Sequence[Value]) -> Expression:
    permutation = eqn.params["permutation"]
    is_reverse = permutation == tuple(range(len(permutation)))[::-1]
    return Expression(f"{operands[0].text}{'.T' if is_reverse else f'.transpose({permutation})'}", None, True)


def _slice(writer: Writer, eqn: Equation, operands: Sequence[Value]) -> Expression:
    (x,), params = operands, eqn.params
    items = [
        range_text(start, limit, step, n)
        for start, limit, step, n in zip(
            params["start_indices"], params["limit_indices"], params["strides"], x.aval.shape, strict=True
        )
    ]
    while len(items) > 1 and items[-1] == ":":
        items.pop()
    # Along the first axis alone, what is in C order stays so.
    return Expression(f"{x.text}[{', '.join(items)}]", C if x.layout is C and len(items) == 1 else None, True)


def range_text(start: int, limit: int, step: int, n: int) -> str:
    """A slice of an axis of length n, as it is written."""
    return f"{start or ''}:{limit if limit != n else ''}{f':{step}' if step != 1 else ''}"


def _reduce_sum(writer: Writer, eqn: Equation, operands: Sequence[Value]) -> Expression:
    (x,), (out,), axes = operands, eqn.out_avals, eqn.params["axes"]
    product = shapes.sum_as_product(x.aval, axes)
    if product is not None:
        return Expression(_sum_as_product(writer, x, product), C)
    axis = axes[0] if len(axes) == 1 else axes
    dtype = "" if out.dtype.kind in "fc" else f", {writer.module.dtype(out.dtype)}"  # NumPy widens small integers
    return Expression(f"np.add.reduce({x.text}, {axis}{dtype})", C if x.layout is C or is_linear(out) else None)


def _sum_as_product(writer: Writer, x: Value, product: shapes.SumAsProduct) -> str:
    def ones(n: int) -> str:
        return writer.module.constant(shapes.ones_for_sums(x.aval.dtype)[:n], "ones", (x.aval.dtype, n))

    n_rows, row, kept = product
    text, ndim = x.text, x.aval.ndim
    if row > 1:
        text = f"{text if n_rows == 1 and ndim == 2 else f'{text}.reshape(-1, {row})'}.dot({ones(row)})"
    if n_rows > 1:
        text = f"{ones(n_rows)}.dot({text if row == 1 and ndim == 2 else f'{text}.reshape({n_rows}, -1)'})"
    return text if ndim == 2 else f"{text}.reshape({kept})"


def _convert(writer: Writer, eqn: Equation, operands: Sequence[Value]) -> Expression:
    (x,), dtype = operands, eqn.params["new_dtype"]
    real = ".real" if x.aval.dtype.kind == "c" and dtype.kind not in "cb" else ""
    return Expression(f"{x.text}{real}.astype({writer.module.dtype(dtype)})", C if is_linear(x.aval) else x.layout)


def _alias(writer: Writer, eqn: Equation, operands: Sequence[Value]) -> Expression:
    return Expression(operands[0].text, operands[0].layout, True)


def _copy(writer: Writer, eqn: Equation, operands: Sequence[Value]) -> Expression:
    return Expression(f"{operands[0].text}.copy()", C)


def _part(name: str) -> Rule:
    def rule(writer: Writer, eqn: Equation, operands: Sequence[Value]) -> Expression | None:
        return Expression(f"{operands[0].text}.{name}", None, True) if operands[0].aval.dtype.kind == "c" else None

    return rule


def _dot_general(writer: Writer, eqn: Equation, operands: Sequence[Value]) -> Expression | None:
    """Products of matrices and vectors, as the implementation computes them; the rest is left to it."""
    (x, y), (out,) = operands, eqn.out_avals
    if not _is_of_matrices(eqn):
        return None
    (x_summed, y_summed), _ = eqn.params["dimension_numbers"]
    left = x.text if x_summed[0] == x.aval.ndim - 1 else f"{x.text}.T"
    right = y.text if y_summed[0] == 0 else f"{y.text}.T"
    free = writer.take_free(out) if out.ndim == 2 else None
    if free is None:
        return Expression(f"{left}.dot({right})", C)
    writer.line(f"{left}.dot({right}, out={free.name})", out)
    return Expression(free.name, C, is_written=True)


def _guarded_dot_general(writer: Writer, eqn: Equation, operands: Sequence[Value]) -> Expression | None:
    """A call of the implementation, which gives what a product of matrices gives, in C order."""
    if not _is_of_matrices(eqn):
        return None
    return Expression(f"{writer.module.implementation(eqn.operation)}({operands[0].text}, {operands[1].text})", C)


def _is_of_matrices(eqn: Equation) -> bool:
    """Whether a product is one of matrices and vectors, by BLAS."""
    (x, y), ((x_summed, _), (x_batch, _)) = eqn.in_avals, eqn.params["dimension_numbers"]
    return not x_batch and len(x_summed) == 1 and max(x.ndim, y.ndim) <= 2 and x.dtype.kind in "fc"


def_source(shapes.reshape_p, _reshape)
def_source(shapes.squeeze_p, _reshape)
def_source(shapes.expand_dims_p, _reshape)
def_source(shapes.transpose_p, _transpose)
def_source(slice_p, _slice)
def_source(shapes.reduce_sum_p, _reduce_sum)
def_source(convert_element_type_p, _convert)
def_source(stop_gradient_p, _alias)
def_source(copy_p, _copy)
def_source(real_p, _part("real"))
def_source(imag_p, _part("imag"))
def_source(dot_general_p, _dot_general)
def_source(guarded_dot_general_p, _guarded_dot_general)
