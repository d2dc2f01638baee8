"""Looking at programs and shapes: make_jaxpr, jaxpr_as_fun, eval_shape, concrete, ensure_compile_time_eval."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from functrans.api.arguments import array_outputs, flatten_arguments, record
from functrans.api.execution import run_program
from functrans.api.static_arguments import declared_parameters, flatten_dynamic
from functrans.api.transformed import Transformed
from functrans.core import fitting_inputs, tracer
from functrans.core.aval import Aval, HasAval
from functrans.core.jaxpr import ClosedJaxpr, Jaxpr, gc_paused
from functrans.core.recording import UNKNOWN, staging_suspended
from functrans.errors import hide_frames
from functrans.passes.inline import inline
from functrans.tree import TreeDef, unflatten
from functrans.tree import map as tree_map

__all__ = [
    "ShapeDtypeStruct",
    "concrete",
    "ensure_compile_time_eval",
    "eval_shape",
    "jaxpr_as_fun",
    "make_jaxpr",
]


class ShapeDtypeStruct(HasAval):
    """The shape and the dtype of an array, in place of the array.

    >>> import functrans as ft
    >>> ft.ShapeDtypeStruct((2, 3), "float32")
    ShapeDtypeStruct(shape=(2, 3), dtype=float32)
    """

    __slots__ = ("aval",)

    def __init__(self, shape: Sequence[int], dtype: Any) -> None:
        self.aval = Aval(tuple(shape), np.dtype(dtype))

    def __repr__(self) -> str:
        return f"ShapeDtypeStruct(shape={self.shape}, dtype={self.dtype.name})"

    def __eq__(self, other: object) -> bool:
        return type(other) is ShapeDtypeStruct and self.aval is other.aval

    def __hash__(self) -> int:
        return hash(self.aval)


def make_jaxpr(
    fun: Callable[..., Any],
    static_argnums: int | Sequence[int] = (),
    axis_env: Sequence[tuple[Hashable, int]] | None = None,
    return_shape: bool = False,
) -> Callable[..., Any]:
    """A function that gives the program of `fun` for its arguments' shapes and dtypes.

    Args:
        fun: a function of arrays, numbers and pytrees; a transformed one too.
        static_argnums: positional arguments that are part of the program.
        axis_env: names and lengths of axes that collectives in `fun` may name.
        return_shape: whether to return the shapes and dtypes of the output besides.

    Returns:
        A function with the arguments of `fun` (arrays or `ShapeDtypeStruct`s, by position or by name) that returns a
        `ClosedJaxpr`. Its inputs are the leaves of the arguments, in the order of `functrans.tree.leaves((args,
        kwargs))`, then its constants. With `return_shape=True` a pair of it and the output of `fun` with
        `ShapeDtypeStruct`s in place of arrays.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.make_jaxpr(lambda x: np.sin(x) * 2.0)(1.0)
    { lambda ; a:f64[]. let
        b:f64[] = sin a
        c:f64[] = mul b 2.0:f64[]
      in (c,) }
    """
    numbers = (static_argnums,) if isinstance(static_argnums, int) else tuple(static_argnums)
    return MakeJaxpr(fun, static_argnums=numbers, axis_env=tuple(axis_env or ()), return_shape=return_shape)


class MakeJaxpr(Transformed):
    """The function that `make_jaxpr` returns."""

    transformation = "make_jaxpr"

    def __init__(self, fun: Callable[..., Any], **options: Any) -> None:
        super().__init__(fun, **options)
        self._static = declared_parameters(fun, options["static_argnums"], ())

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The program for these arguments."""
        arguments, _ = flatten_dynamic(self.fun, args, kwargs, self._static, shapes=True)
        unknown = [UNKNOWN] * len(arguments.avals)
        with gc_paused():  # what is made is kept, as in `derived`
            jaxpr, values, out_tree, _ = record(
                arguments,
                unknown,
                lambda out: array_outputs(self.fun, out),
                staging=True,
                literals=True,
                axis_env=self.options["axis_env"],
            )
            consts = [x.copy() if type(x) is np.ndarray else x for x in values[len(unknown) :]]
            closed = ClosedJaxpr(inline(jaxpr), consts)
        return (closed, _shapes(out_tree, jaxpr)) if self.options["return_shape"] else closed


def eval_shape(fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """The shapes and dtypes of what `fun` returns, without computing it.

    Args:
        fun: a function of arrays, numbers and pytrees.
        args, kwargs: its arguments; `ShapeDtypeStruct`s may stand for arrays.

    Returns:
        The output of `fun` with `ShapeDtypeStruct`s in place of arrays.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.eval_shape(np.dot, np.ones((2, 3)), ft.ShapeDtypeStruct((3, 4), "float64"))
    ShapeDtypeStruct(shape=(2, 4), dtype=float64)
    """
    try:
        arguments = flatten_arguments(fun, args, kwargs, shapes=True)
        unknown = [UNKNOWN] * len(arguments.avals)
        jaxpr, _, out_tree, _ = record(
            arguments, unknown, lambda out: array_outputs(fun, out), staging=True, literals=True
        )
    except Exception as error:
        raise hide_frames(error)  # noqa: B904  (it is the same error)
    return _shapes(out_tree, jaxpr)


def _shapes(out_tree: TreeDef, jaxpr: Jaxpr) -> Any:
    return unflatten(out_tree, [ShapeDtypeStruct(aval.shape, aval.dtype) for aval in jaxpr.out_avals])


def jaxpr_as_fun(closed_jaxpr: ClosedJaxpr) -> Callable[..., list[Any]]:
    """The function that a program is: from its inputs, without the constants, to a list of its outputs.

    It can be transformed as any function, and pickled. On arrays the program runs as that of a transformed function
    does, and its outputs share no memory with the arguments.

    Args:
        closed_jaxpr: what `make_jaxpr(f)(*args)` returns.

    Raises:
        TypeError: when called, if an argument has another shape or dtype than the program's input.

    >>> import numpy as np
    >>> import functrans as ft
    >>> f = ft.extend.core.jaxpr_as_fun(ft.make_jaxpr(lambda x: {"y": np.sin(x), "z": x * 2})(0.5))
    >>> f(0.0)
    [np.float64(0.0), np.float64(0.0)]
    >>> ft.grad(lambda x: f(x)[0])(0.0)
    np.float64(1.0)
    """
    return JaxprFunction(closed_jaxpr)


class JaxprFunction:
    """The function that `jaxpr_as_fun` returns."""

    __name__ = "jaxpr_as_fun"

    def __init__(self, closed_jaxpr: ClosedJaxpr) -> None:
        if not isinstance(closed_jaxpr, ClosedJaxpr):
            raise TypeError(f"jaxpr_as_fun needs a ClosedJaxpr, got {type(closed_jaxpr).__name__}")
        self.closed_jaxpr = closed_jaxpr

    def __call__(self, *args: Any) -> list[Any]:
        try:
            closed = self.closed_jaxpr
            return list(run_program(closed.jaxpr, fitting_inputs(closed.jaxpr, args, closed.consts)))
        except Exception as error:
            raise hide_frames(error)  # noqa: B904  (it is the same error)

    def __repr__(self) -> str:
        avals = self.closed_jaxpr.in_avals
        return f"<function of a program of {len(self.closed_jaxpr.eqns)} equations: ({', '.join(map(str, avals))})>"


@contextmanager
def ensure_compile_time_eval() -> Iterator[None]:
    """Within it, operations on arrays are computed at once, even while a jitted function is recorded.

    Operations on what hangs on an argument of the jitted function are recorded as ever.

    >>> import numpy as np
    >>> import functrans as ft
    >>> @ft.jit
    ... def f(x):
    ...     with ft.ensure_compile_time_eval():
    ...         n = int(ft.numpy.sum(ft.numpy.arange(4)))
    ...     return ft.numpy.zeros(n) + x
    >>> f(1.0).shape
    (6,)
    """
    with staging_suspended():
        yield


def concrete(x: Any) -> Any:
    """The values of the tracers in a pytree, as plain arrays without derivatives; everything else as it is.

    Raises:
        ConcretizationTypeError: if a value hangs on an unknown input, such as an argument of a jitted function.

    >>> import functrans as ft
    >>> ft.grad(lambda x: x * ft.concrete(x))(3.0)
    np.float64(3.0)
    """
    return tree_map(tracer.concrete, x)
