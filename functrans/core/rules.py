"""The rules of a primitive, their signatures, and the functions that give them.

A primitive `foo_p` needs, at the least, a value and a type:

- `impl(*arrays, **params) -> array`: its value on NumPy arrays. Or `specialize(*avals, **params) -> function of
  arrays`, where knowing shapes and parameters beforehand makes the function faster.
- `abstract(*avals, **params) -> Aval`: shape and dtype of the result (a tuple of avals with multiple results); raises
  `TypeError` for operands that it does not take.

To be differentiated, one of:

- `def_jvp(foo_p, rule, ...)`: one rule for each operand, `rule(t, out, *primals, **params) -> tangent of out`, where
  `t` is that operand's tangent; the driver adds them up and never passes a zero. None: no derivative by this operand.
- `def_general_jvp(foo_p, rule)`: `rule(primals, tangents, **params) -> (outs, tangents)`, where None is a zero tangent,
  for what does not go operand by operand.
- `def_vjp(foo_p, rule)`: `rule(ct, out, *primals, **params) -> cotangents of the operands` (None is zero).

Where it is linear in some operands, a transpose rule, used by reverse mode:

- `def_linear(foo_p, rule)`: linear in all of its operands together (`add`, `reshape`, `concatenate`);
  `rule(ct, *operands, **params) -> cotangents`. Its JVP is the primitive itself.
- `def_multilinear(foo_p, rule, ...)`: linear in each operand while the others are fixed (`mul`, `dot_general`); one
  rule for each operand, `rule(ct, *operands, **params) -> cotangent`. None: not linear in it, no derivative by it.

In a transpose rule an operand that is transposed has no value: it is an `UndefinedPrimal`, which has just an aval.

- `def_linearize(foo_p, rule)`: as a general JVP rule, for a primitive that carries a program, which it splits into one
  that also gives residuals and a linear one that reads them.
- `def_batch(foo_p, rule)`: `rule(size, operands, axes, **params) -> (outs, axes of outs)`, where `axes[i]` is the batch
  axis of operand i, or None.
- `def_program_batch(foo_p, rule)`: the same for a primitive that carries a program, with a `BatchAxis` instead of the
  size, to be handed on to `batch`.

Where several are given, forward mode takes the first of: by operand, general, VJP; linearizing prefers a linearization,
then the VJP. Rules work on tracers: they call other primitives' functions, on whatever their operands are.

Attributes of the primitive say the rest, each with a default that is right for most:

- `effectful`: it does something besides computing its results. An equation is effectful too if a program that it
  carries is; no pass drops, merges or reorders it.
- `is_view`, `is_elementwise`: what the interpreter may do with its results and operands.
- `is_call`: in the final form it is replaced by its parameter `jaxpr`, inlined on its operands.
- `is_collective`: it works over the axis that its parameter `axis_name` names. `Operation.axis_names` has these names,
  of the programs that it carries too; a rule given by `def_program_batch` does away with that of its `BatchAxis`.
- `places_zeros(inputs, params)`, `guard(masked, params)`: where structural zeros of cotangents come from, and the
  product in which they stay zero, whatever the other factor is (`functrans.transforms.masking`).
- `narrow(operation, used)`: a smaller operation for when only some of its results are used.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple

from functrans.core.aval import Aval, HasAval
from functrans.core.jaxpr import Literal
from functrans.core.primitive import Primitive
from functrans.core.tracer import Tracer
from functrans.errors import MissingRuleError

__all__ = [
    "BatchAxis",
    "UndefinedPrimal",
    "among_zeros",
    "declare_absent",
    "def_abstract",
    "def_batch",
    "def_constant",
    "def_general_jvp",
    "def_impl",
    "def_jvp",
    "def_linear",
    "def_linearize",
    "def_multilinear",
    "def_program_batch",
    "def_specialized_impl",
    "def_transpose",
    "def_vjp",
    "is_masked",
    "zeros_like",
]

JvpRule = Callable[..., Any]
TransposeRule = Callable[..., Any]


class UndefinedPrimal(HasAval):
    """In a transpose rule, the place of an operand in which the equation is linear: it has an aval and no value."""

    __slots__ = ("aval",)

    def __init__(self, aval: Aval) -> None:
        self.aval = aval


class BatchAxis(NamedTuple):
    """What a program is batched over: so many members, and a name under which they can be asked for."""

    size: int
    name: Hashable = None


def zeros_like(x: Any) -> Literal:
    """A zero of an aval, or of that of a tracer, literal or undefined primal."""
    aval: Aval = x if type(x) is Aval else x.aval
    return Literal(0, aval.strong)


def is_masked(ct: Any) -> bool:
    """In a transpose rule, whether a cotangent may be zero in places where a selection or an index put the zero."""
    return type(ct) is Tracer and ct.atom in ct.recording.masked


def among_zeros(operands: Sequence[Any], params: Mapping[str, Any]) -> bool:
    """For `Primitive.places_zeros`: whether an operand is a zero, among the elements of which others are put."""
    return any([type(x) is Literal and x.value == 0 and x.aval.inexact for x in operands])


def def_impl(primitive: Primitive, impl: Callable[..., Any]) -> None:
    """Give the value on arrays: `impl(*arrays, **params)`."""
    primitive.impl = impl
    primitive.forget()


def def_specialized_impl(primitive: Primitive, make: Callable[..., Callable[..., Any]]) -> None:
    """Give the value on arrays as a function made for avals and parameters: `make(*avals, **params)(*arrays)`."""
    primitive.specialize = make
    primitive.forget()


def def_abstract(primitive: Primitive, rule: Callable[..., Any]) -> None:
    """Give the type: `rule(*avals, **params) -> aval`, or a tuple of avals with multiple results."""
    primitive.abstract = rule
    primitive.forget()


def def_jvp(primitive: Primitive, *rules: JvpRule | None) -> None:
    """Give the JVP operand by operand: `rule(t, out, *primals, **params)`; None where there is no derivative."""
    primitive.jvp_rules = rules
    primitive.forget()


def def_general_jvp(primitive: Primitive, rule: JvpRule) -> None:
    """Give the JVP at once: `rule(primals, tangents, **params) -> (outs, tangents)`; None is a zero tangent."""
    primitive.jvp = rule
    primitive.forget()


def def_vjp(primitive: Primitive, rule: Callable[..., Any]) -> None:
    """Give the VJP: `rule(ct, out, *primals, **params) -> cotangents`. Forward mode is derived from it when asked."""
    primitive.vjp = rule
    primitive.forget()


def def_constant(primitive: Primitive, n_operands: int, because: str = "its derivative is zero") -> None:
    """Declare that no derivative passes through the primitive."""
    primitive.jvp_rules = (None,) * n_operands
    primitive.absent["transpose"] = because
    primitive.forget()


def def_linear(primitive: Primitive, transpose: TransposeRule) -> None:
    """Declare the primitive linear in all operands together, with `transpose(ct, *operands, **params)`."""

    def jvp(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        out = primitive.bind(*primals, **params)
        filled = [zeros_like(x) if t is None else t for x, t in zip(primals, tangents, strict=True)]
        return out, primitive.bind(*filled, **params)

    primitive.jvp = jvp
    def_transpose(primitive, transpose)


def def_multilinear(primitive: Primitive, *transposes: TransposeRule | None) -> None:
    """Declare the primitive linear operand by operand, with one transpose rule each (None: not linear in it)."""

    def jvp_of(position: int) -> JvpRule:
        def jvp(t: Any, out: Any, *primals: Any, **params: Any) -> Any:
            return primitive.bind(*primals[:position], t, *primals[position + 1 :], **params)

        return jvp

    def transpose(ct: Any, *operands: Any, **params: Any) -> list[Any]:
        linear = [i for i, x in enumerate(operands) if type(x) is UndefinedPrimal]
        if len(linear) > 1:
            raise MissingRuleError(
                "the function is not linear in what is transposed: primitive "
                f"{primitive.name!r} is linear in each of its operands {linear}, not in all of them together"
            )
        return [
            rule(ct, *operands, **params) if rule is not None and type(x) is UndefinedPrimal else None
            for x, rule in zip(operands, transposes, strict=True)
        ]

    primitive.jvp_rules = tuple([None if rule is None else jvp_of(i) for i, rule in enumerate(transposes)])
    def_transpose(primitive, transpose)


def def_linearize(primitive: Primitive, rule: Callable[..., Any]) -> None:
    """Give the linearization of a primitive that carries a program: `rule(primals, tangents, **params)` computes the
    results and the residuals from the primals, and the tangents of the results from those of the operands.
    """
    primitive.linearize = rule
    primitive.forget()


def def_transpose(primitive: Primitive, rule: TransposeRule) -> None:
    """Give a transpose rule alone, for a primitive whose JVP is given apart: `rule(ct, *operands, **params)`."""
    primitive.transpose = rule
    primitive.forget()


def def_batch(primitive: Primitive, rule: Callable[..., Any]) -> None:
    """Give the batching rule: `rule(size, operands, axes, **params) -> (outs, axes of outs)`."""
    primitive.batch = rule
    primitive.batches_programs = False
    primitive.forget()


def def_program_batch(primitive: Primitive, rule: Callable[..., Any]) -> None:
    """Give the batching rule of a primitive that carries a program: `rule(axis, operands, axes, **params) -> (outs,
    axes of outs)`, with the `BatchAxis` that `batch` takes.

    Where the program has a collective over the axis, the rule is called even if no operand is stacked.
    """
    primitive.batch = rule
    primitive.batches_programs = True
    primitive.forget()


def declare_absent(primitive: Primitive, rule: str, because: str) -> None:
    """Declare that a rule is not there on purpose."""
    primitive.absent[rule] = because
