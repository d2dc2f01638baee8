"""One's own primitives.

The short way is `primitive`, which makes one of a function on arrays:

>>> import numpy as np
>>> import functrans as ft
>>> @ft.extend.primitive
... def softplus(x):
...     return np.logaddexp(x, 0.0)
>>> @softplus.def_vjp
... def _(ct, out, x):
...     return ct / (1.0 + np.exp(-x))
>>> ft.grad(softplus)(0.0), ft.jvp(softplus, (0.0,), (2.0,))[1]
(np.float64(0.5), np.float64(1.0))

A JVP or a VJP is enough; the other is derived. `functrans.test_util.check_grads` tells whether it is right.

The long way is a `Primitive` and the functions `def_...`, with which functrans's own primitives are made.
`functrans.core.rules` has the signatures of all rules.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from itertools import count
from pickle import PicklingError
from typing import Any

import numpy as np

from functrans.caching import kept
from functrans.core.aval import Aval, aval_of
from functrans.core.evaluation import eval_jaxpr, stage
from functrans.core.jaxpr import Literal, jaxprs_in
from functrans.core.params import Params
from functrans.core.primitive import Primitive, registered_primitives
from functrans.core.recording import no_staging, recording_for
from functrans.core.references import name_in_module
from functrans.core.rules import (
    BatchAxis,
    UndefinedPrimal,
    declare_absent,
    def_abstract,
    def_batch,
    def_constant,
    def_general_jvp,
    def_impl,
    def_jvp,
    def_linear,
    def_linearize,
    def_multilinear,
    def_program_batch,
    def_specialized_impl,
    def_transpose,
    def_vjp,
    zeros_like,
)
from functrans.extend import core
from functrans.numpy.promotion import broadcast_to
from functrans.numpy.ufuncs import register_ufunc
from functrans.ops.constant import Constant, constant_p, eval_closed
from functrans.ops.conversion import convert_element_type
from functrans.ops.elementwise import add
from functrans.ops.families import batch_elementwise
from functrans.passes.inline import inline
from functrans.transforms.linearize import linearize

__all__ = [
    "BatchAxis",
    "ExtendedPrimitive",
    "Primitive",
    "UndefinedPrimal",
    "core",
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
    "primitive",
    "register_ufunc",
    "zeros_like",
]

Rule = Callable[..., Any]


def primitive(fun: Callable[..., Any] | None = None, *, name: str | None = None, elementwise: bool = False) -> Any:
    """A primitive of a function on arrays.

    Its positional parameters are operands, arrays or numbers; parameters that are keyword-only are static: hashable
    values that are part of the program. It may return a tuple of arrays. Any Python may be inside; it never sees a
    tracer, always runs on arrays, and must be pure and not write to its operands.

    Shape and dtype of the result are found by calling the function on ones, once for each combination of the operands'
    shapes and dtypes; give them with `def_abstract` if it does not take that.

    Args:
        fun: the function. Without it a decorator is returned.
        name: what printed programs call it; the name of the function if not given.
        elementwise: whether it works element by element and for every shape, so that `vmap` is the function itself.
            Otherwise give `def_batch`; without it `vmap` loops, and warns once.

    Returns:
        An `ExtendedPrimitive`: a function like `fun` that takes part in all transformations, with methods that give the
        rules.

    >>> import numpy as np
    >>> import functrans as ft
    >>> @ft.extend.primitive(elementwise=True)
    ... def scaled_sin(x, *, k):
    ...     return np.sin(k * x)
    >>> @scaled_sin.def_jvp
    ... def _(t, out, x, *, k):
    ...     return t * k * np.cos(k * x)
    >>> ft.grad(lambda x: scaled_sin(x, k=3.0))(0.0)
    np.float64(3.0)
    """
    if fun is None:
        return lambda f: ExtendedPrimitive(f, name, elementwise)
    return ExtendedPrimitive(fun, name, elementwise)


class ExtendedPrimitive:
    """The function that `primitive` returns. Its methods give the rules; each can be used as a decorator.

    Rules compute with tracers: with operators, plain `numpy` functions and those of functrans. What they return is
    broadcast and converted to what is needed, if it is smaller. A rule is recorded once for each combination of shapes
    and dtypes, with what it closes over as it was then: what changes must be an operand, or a keyword.

    Attributes:
        primitive: the `Primitive` itself.
    """

    def __init__(self, fun: Callable[..., Any], name: str | None = None, elementwise: bool = False) -> None:
        if not callable(fun):
            raise TypeError(f"primitive needs a function of arrays, got {fun!r:.80} of type {type(fun).__name__}")
        functools.update_wrapper(self, fun)
        self.fun = fun
        self.primitive = Primitive(_unused_name(name or str(getattr(fun, "__name__", type(fun).__name__))))
        self.primitive.decorated = str(getattr(fun, "__name__", self.primitive.name))
        self.primitive.owner = self
        self.__module__ = self.primitive.__module__
        self._signature, self._defaults = _signature(fun)
        self._given_abstract: Rule | None = None
        self._found = kept("results of user primitives", 1024)(self._probe)
        def_abstract(self.primitive, self._abstract)
        def_specialized_impl(self.primitive, self._specialize)
        if elementwise:
            def_batch(self.primitive, batch_elementwise(self.primitive))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        operands, params = self._bound(args, kwargs) if kwargs else (args, self._defaults)
        operands = tuple([x if hasattr(x, "dtype") else np.asarray(x)[()] for x in operands])
        if recording_for(operands) is None:
            return self.fun(*operands, **params)
        return self.primitive.bind(*operands, **params)

    def __repr__(self) -> str:
        return f"<primitive {self.primitive.name}>"

    def __reduce__(self) -> str | tuple[Any, ...]:
        name = name_in_module(self, self.__module__, getattr(self, "__qualname__", None))
        if name is not None:
            return name
        raise PicklingError(
            f"primitive {self.primitive.name!r} cannot be pickled: it is not a global of module {self.__module__!r}. "
            "What is pickled is where it is found, since it has rules; make it at the top level of a module."
        )

    def __copy__(self) -> ExtendedPrimitive:
        return self

    def __deepcopy__(self, memo: Any) -> ExtendedPrimitive:
        return self

    def _bound(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The operands in their order, and the static parameters."""
        if self._signature is None:
            return args, kwargs
        bound = self._signature.bind(*args, **kwargs)
        return bound.args, {**self._defaults, **bound.kwargs}

    # ---- value and type

    def def_abstract(self, rule: Rule) -> Rule:
        """Give shape and dtype: `rule(*avals, **params)` returns something with `.shape` and `.dtype`
        (`functrans.ShapeDtypeStruct`), or a tuple of such. The avals have both.
        """
        self._given_abstract = rule
        return rule

    def _abstract(self, *avals: Aval, **params: Any) -> Any:
        given = self._given_abstract
        types = self._found(avals, Params.of(params)) if given is None else given(*avals, **params)
        several = isinstance(types, (tuple, list))
        self.primitive.multiple_results = several
        outs = [Aval(tuple(t.shape), np.dtype(t.dtype)) for t in (types if several else (types,))]
        return tuple(outs) if several else outs[0]

    def _probe(self, avals: tuple[Aval, ...], params: Params) -> Any:
        """What the function gives for ones."""
        try:
            with no_staging(), np.errstate(all="ignore"):
                out = self.fun(*[np.ones(aval.shape, aval.dtype)[()] for aval in avals], **params)
        except Exception as error:
            raise TypeError(
                f"{self.primitive.name}: shape and dtype of the result could not be found by a call on ones, "
                f"{', '.join(map(str, avals))}: {type(error).__name__}: {error}. If the function is right, give both: "
                f"@{self.primitive.name}.def_abstract."
            ) from error
        if isinstance(out, (tuple, list)):
            return tuple([aval_of(self._array(x)) for x in out])
        return aval_of(self._array(out))

    def _array(self, out: Any) -> Any:
        if not isinstance(out, (np.ndarray, np.generic)):
            out = np.asarray(out)[()]
        if out.dtype.kind not in "biufc":
            raise TypeError(f"{self.primitive.name} must return an array, or a tuple of arrays, got {out!r:.60}")
        return out

    def _specialize(self, *avals: Aval, **params: Any) -> Callable[..., Any]:
        fun, types, name = self.fun, self._abstract(*avals, **params), self.primitive.name

        def checked(out: Any, aval: Aval, operands: Sequence[Any]) -> Any:
            out = self._array(out)
            if out.shape != aval.shape or out.dtype != aval.dtype:
                raise TypeError(
                    f"{name} returned {aval_of(out)}, and {aval} was expected: for ones, or by def_abstract"
                )
            # What is, or lies in, somebody else's memory must not become a result.
            return out.copy() if any([out is x for x in operands]) or getattr(out, "base", None) is not None else out

        def run(*operands: Any) -> Any:
            out = fun(*operands, **params)
            if not isinstance(types, tuple):
                return checked(out, types, operands)
            return tuple([checked(x, aval, operands) for x, aval in zip(out, types, strict=True)])

        return run

    # ---- derivatives

    def def_jvp(self, *rules: Rule | None) -> Any:
        """Give the JVP, one rule for each operand: `rule(t, out, *operands, **params)` is the tangent of the result,
        where `t` is that operand's tangent. None where there is no derivative. With multiple results `out` is a tuple,
        and so is what the rule returns.
        """

        def jvp(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
            if len(rules) != len(primals):
                raise TypeError(
                    f"{self.primitive.name} was called with {len(primals)} operands, but def_jvp was given "
                    f"{len(rules)} rules: it needs one for each operand (None: no derivative)"
                )
            out = self.primitive.bind(*primals, **params)
            total: list[Any] | None = None
            for rule, t in zip(rules, tangents, strict=True):
                if rule is not None and t is not None:
                    dots = self._tangents(rule, t, out, primals, params)
                    total = dots if total is None else [add(a, b) for a, b in zip(total, dots, strict=True)]
            if total is None:
                total = [None] * (len(out) if isinstance(out, tuple) else 1)
            return out, total if isinstance(out, tuple) else total[0]

        def_general_jvp(self.primitive, jvp)
        return rules[0] if len(rules) == 1 else None

    def _tangents(self, rule: Rule, t: Any, out: Any, primals: Sequence[Any], params: dict[str, Any]) -> list[Any]:
        outs = out if isinstance(out, tuple) else (out,)

        def tangents_of(*inputs: Any) -> list[Any]:
            *rest, t = inputs
            own, operands = rest[: len(outs)], rest[len(outs) :]
            dots = rule(t, own if isinstance(out, tuple) else own[0], *operands, **params)
            return _fitted_all(
                dots,
                [aval_of(x) for x in outs],
                f"the JVP rule of primitive {self.primitive.name!r}",
                "tangent",
                "result",
            )

        return _staged(tangents_of, (*outs, *primals, t), f"the JVP rule of primitive {self.primitive.name!r}", 1)

    def def_general_jvp(self, rule: Rule) -> Rule:
        """Give the JVP at once: `rule(primals, tangents, **params)` returns results and their tangents; None is a
        tangent of zero.
        """

        def jvp(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
            found: list[bool] = []

            def results_of(*inputs: Any) -> list[Any]:
                given = iter(inputs[len(primals) :])
                filled = [None if t is None else next(given) for t in tangents]
                outs, dots = rule(inputs[: len(primals)], filled, **params)
                found.append(isinstance(outs, (tuple, list)))
                return [*outs, *dots] if found[0] else [outs, dots]

            inputs = (*primals, *[t for t in tangents if t is not None])
            avals = self._abstract(*[aval_of(x) for x in primals], **params)
            n_outs = len(avals) if isinstance(avals, tuple) else 1
            what, n_linear = f"the JVP rule of primitive {self.primitive.name!r}", len(inputs) - len(primals)
            outs = _staged(results_of, inputs, what, n_linear)
            return (outs[:n_outs], outs[n_outs:]) if found[0] else (outs[0], outs[1])

        def_general_jvp(self.primitive, jvp)
        return rule

    def def_vjp(self, rule: Rule) -> Rule:
        """Give the VJP: `rule(ct, out, *operands, **params)` returns the cotangent of the operand, or a tuple with one
        for each (None is zero), where `ct` is that of the result. With multiple results `ct` and `out` are tuples.
        """
        what = f"the VJP rule of primitive {self.primitive.name!r}"

        def vjp(ct: Any, out: Any, *primals: Any, **params: Any) -> list[Any]:
            several = isinstance(out, (tuple, list))
            cts, outs = (tuple(ct), tuple(out)) if several else ((ct,), (out,))
            avals = [aval_of(x) for x in primals]

            def cotangents_of(*inputs: Any) -> list[Any]:
                n = len(outs)
                given = inputs[:n], inputs[n : 2 * n]
                pulled = rule(*[x if several else x[0] for x in given], *inputs[2 * n :], **params)
                return _fitted_all(pulled, avals, what, "cotangent", "operand")

            return _staged(cotangents_of, (*cts, *outs, *primals), what)

        def_vjp(self.primitive, vjp)
        return rule

    def def_linear(self, rule: Rule) -> Rule:
        """Declare the function linear in all of its operands together, with its transpose: `rule(ct, *operands,
        **params)` returns the cotangent of the operand, or a tuple with one for each. The operands have a shape and a
        dtype there, and no value. It is its own JVP.
        """
        def_linear(self.primitive, self._transpose_by(rule))
        return rule

    def def_transpose(self, rule: Rule) -> Rule:
        """Give the transpose, for a function that is linear in some operands and whose JVP or VJP rule calls the
        function itself on tangents or cotangents. In `rule(ct, *operands, **params)` those operands are
        `UndefinedPrimal`s, with a shape and a dtype and no value; it returns a cotangent for each operand, None for
        those that have a value.
        """
        def_transpose(self.primitive, self._transpose_by(rule))
        return rule

    def _transpose_by(self, rule: Rule) -> Rule:
        what = f"the transpose rule of primitive {self.primitive.name!r}"

        def transpose(ct: Any, *operands: Any, **params: Any) -> list[Any]:
            avals = [aval_of(x) for x in operands]
            outs = self._abstract(*avals, **params)
            several = isinstance(outs, tuple)
            cts = [
                zeros_like(aval) if c is None else c
                for c, aval in zip(ct if several else (ct,), outs if several else (outs,), strict=True)
            ]
            defined = [x for x in operands if type(x) is not UndefinedPrimal]

            def cotangents_of(*inputs: Any) -> list[Any]:
                given, rest = inputs[: len(cts)], iter(inputs[len(cts) :])
                whole = [x if type(x) is UndefinedPrimal else next(rest) for x in operands]
                pulled = rule(given if several else given[0], *whole, **params)
                return _fitted_all(pulled, avals, what, "cotangent", "operand")

            return _staged(cotangents_of, (*cts, *defined), what)

        return transpose

    # ---- batches

    def def_batch(self, rule: Rule) -> Rule:
        """Give the batching rule: `rule(size, operands, axes, **params)` returns the stacked result and its axis (with
        multiple results, a tuple of each), where `axes[i]` is the axis along which operand i is stacked, or None.
        """

        def batch(size: int, operands: Sequence[Any], axes: Sequence[int | None], **params: Any) -> tuple[Any, Any]:
            found: list[Any] = []

            def stacked_of(*given: Any) -> list[Any]:
                outs, out_axes = rule(size, given, tuple(axes), **params)
                several = isinstance(outs, (tuple, list))
                found.extend([several, out_axes])
                return list(outs) if several else [outs]

            outs = _staged(stacked_of, tuple(operands), f"the batching rule of primitive {self.primitive.name!r}")
            several, out_axes = found
            return outs if several else outs[0], out_axes

        def_batch(self.primitive, batch)
        return rule


def _unused_name(name: str) -> str:
    """The name, with a number if it is taken: a cell of a notebook runs more than once."""
    taken = registered_primitives()
    return name if name not in taken else next(f"{name}_{i}" for i in count(2) if f"{name}_{i}" not in taken)


def _signature(fun: Callable[..., Any]) -> tuple[inspect.Signature | None, dict[str, Any]]:
    """The signature of a function, and the defaults of its keyword-only parameters: the rules are to get them too."""
    if not inspect.isfunction(fun):  # what is not Python has a signature for people to read
        return None, {}
    signature = inspect.signature(fun)
    given = [p for p in signature.parameters.values() if p.kind is p.KEYWORD_ONLY and p.default is not p.empty]
    return signature, {p.name: p.default for p in given}


# --------------------------------------------------------------------------------------------------------------------
# Running rules that users write


def _staged(function: Callable[..., Sequence[Any]], inputs: tuple[Any, ...], what: str, n_linear: int = 0) -> list[Any]:
    """What a rule computes, recorded by itself and then run on the inputs, with the arrays that it closes over as
    constants of the program: a program has no other place for them.

    Of a loop or a branch in it, through which values and tangents go together, the values are computed apart: the last
    `n_linear` inputs are tangents, in which the results are linear or which they do not read.
    """
    with stage(what, [aval_of(x) for x in inputs]) as recording:
        outs = list(function(*recording.inputs()))
        present = [x for x in outs if x is not None]
        program, values = recording.close(present)
    program, closed_over = inline(program), values[len(inputs) :]
    if n_linear and any([True for eqn in program.eqns for value in eqn.params.values() for _ in jaxprs_in(value)]):
        n_fixed = len(inputs) - n_linear
        lin = linearize(program, (False,) * n_fixed + (True,) * n_linear + (False,) * len(closed_over))
        at_zero = (*inputs[:n_fixed], *[zeros_like(x) for x in inputs[n_fixed:]])
        found = eval_closed(lin.primal, at_zero, closed_over, what)
        constants = [constant_p.bind(value=Constant(x)) for x in closed_over]
        residuals = lin.read_residuals([*at_zero, *constants], found)
        dots = iter(eval_jaxpr(lin.linear, [*inputs[n_fixed:], *residuals]))
        found = [next(dots) if nonzero else x for x, nonzero in zip(found, lin.nonzeros, strict=False)]
    else:
        found = eval_closed(program, inputs, closed_over, what)
    results = iter(found)
    return [None if x is None else next(results) for x in outs]


def _fitted_all(given: Any, avals: Sequence[Aval], what: str, kind: str, of: str) -> list[Any]:
    values = list(given) if isinstance(given, (tuple, list)) else [given]
    if len(values) != len(avals):
        raise TypeError(
            f"{what} must return {len(avals)} {kind}s, one for each {of} (None for zero), and returned {len(values)}"
        )
    return [
        _fitted(x, aval, what, kind, f"{of} {i}" if len(avals) > 1 else f"the {of}")
        for i, (x, aval) in enumerate(zip(values, avals, strict=True))
    ]


def _fitted(x: Any, aval: Aval, what: str, kind: str, of: str) -> Any:
    """A tangent or cotangent in the shape and the dtype that it must have; None for an integer."""
    if x is None or not aval.inexact:
        return None
    have = aval_of(x)
    if have.strong is aval.strong:
        return x
    fits = have.ndim <= aval.ndim and all(
        [n in (1, m) for n, m in zip(have.shape[::-1], aval.shape[::-1], strict=False)]
    )
    if not fits or (have.dtype.kind == "c" and aval.dtype.kind != "c"):
        raise TypeError(f"{what} gave a {kind} {have.strong} for {of}, which is {aval.strong}")
    if not hasattr(x, "dtype"):
        return Literal(x, aval.strong)
    return broadcast_to(convert_element_type(x, aval.dtype), aval.shape)
