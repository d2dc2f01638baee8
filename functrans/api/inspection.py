"""Looking at programs and shapes: make_jaxpr, eval_shape, concrete."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans.api.arguments import array_outputs, flatten_arguments, record
from functrans.api.static_arguments import flatten_dynamic, static_parameters
from functrans.api.transformed import Transformed
from functrans.core import tracer
from functrans.core.aval import Aval, HasAval
from functrans.core.jaxpr import ClosedJaxpr
from functrans.core.recording import UNKNOWN
from functrans.errors import hide_frames
from functrans.passes.inline import inline
from functrans.tree import map as tree_map
from functrans.tree import unflatten

__all__ = ["ShapeDtypeStruct", "concrete", "eval_shape", "make_jaxpr"]


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


def make_jaxpr(fun: Callable[..., Any], static_argnums: int | Sequence[int] = ()) -> Callable[..., Any]:
    """A function that gives the program of `fun` for its arguments' shapes and dtypes.

    Args:
        fun: a function of arrays, numbers and pytrees.
        static_argnums: positional arguments that are part of the program.

    Returns:
        A function with the arguments of `fun` (arrays or `ShapeDtypeStruct`s) that returns a `ClosedJaxpr`.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.make_jaxpr(lambda x: np.sin(x) * 2.0)(1.0)
    { lambda ; a:f64[]. let
        b:f64[] = sin a
        c:f64[] = mul b 2.0:f64[]
      in (c,) }
    """
    return MakeJaxpr(
        fun, static_argnums=(static_argnums,) if isinstance(static_argnums, int) else tuple(static_argnums)
    )


class MakeJaxpr(Transformed):
    """The function that `make_jaxpr` returns."""

    transformation = "make_jaxpr"

    def __init__(self, fun: Callable[..., Any], **options: Any) -> None:
        super().__init__(fun, **options)
        self._static = static_parameters(fun, options["static_argnums"], ())

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> ClosedJaxpr:
        """The program for these arguments."""
        arguments, _ = flatten_dynamic(self.fun, args, kwargs, self._static, shapes=True)
        unknown = [UNKNOWN] * len(arguments.avals)
        jaxpr, values, _, _ = record(
            arguments, unknown, lambda out: array_outputs(self.fun, out), staging=True, literals=True
        )
        consts = [x.copy() if type(x) is np.ndarray else x for x in values[len(unknown) :]]
        return ClosedJaxpr(inline(jaxpr), tuple(consts))


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
    return unflatten(out_tree, [ShapeDtypeStruct(aval.shape, aval.dtype) for aval in jaxpr.out_avals])


def concrete(x: Any) -> Any:
    """The values of the tracers in a pytree, as plain arrays without derivatives; everything else as it is.

    Raises:
        ConcretizationTypeError: if a value hangs on an unknown input, such as an argument of a jitted function.

    >>> import functrans as ft
    >>> ft.grad(lambda x: x * ft.concrete(x))(3.0)
    np.float64(3.0)
    """
    return tree_map(tracer.concrete, x)
