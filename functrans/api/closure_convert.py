"""closure_convert: what a function closes over as arguments of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from functrans.api.arguments import Arguments, array_outputs, flatten_arguments, name_of, record
from functrans.api.execution import run_program
from functrans.core.aval import Aval
from functrans.core.jaxpr import Jaxpr
from functrans.core.recording import UNKNOWN
from functrans.core.tracer import Tracer
from functrans.errors import hide_frames
from functrans.passes.inline import inline
from functrans.tree import TreeDef, unflatten

__all__ = ["closure_convert"]


def closure_convert(fun: Callable[..., Any], *example_args: Any) -> tuple[Callable[..., Any], list[Any]]:
    """A function with the values that `fun` closes over as further arguments, and those values.

    For functions that take functions and have a derivative of their own (`custom_jvp`, `custom_vjp`): it must get all
    that it is to differentiate by as an argument. A value counts if `fun` reads it while it runs, wherever it comes
    from, and if it may carry a derivative: floats of transformations that are under way. What else is read stays in
    the closure.

    Args:
        fun: a pure function of arrays, numbers and pytrees.
        example_args: arguments of it, whose structure, shapes and dtypes count.

    Returns:
        `converted(*args, *consts)`, which takes arguments of the types of the example alone, and the list `consts`.

    Raises:
        TypeError: when `converted` is called with arguments of another structure, shape or dtype.
        ConcretizationTypeError: if `fun` asks an argument for its value.

    >>> import functrans as ft
    >>> def f(y):
    ...     converted, consts = ft.closure_convert(lambda x: x * y, 1.0)
    ...     return converted(2.0, *consts), len(consts)
    >>> ft.grad(f, has_aux=True)(3.0)
    (np.float64(2.0), 1)
    """
    try:
        arguments = flatten_arguments(fun, example_args, {}, shapes=True)
        unknown = [UNKNOWN] * len(arguments.avals)
        recorded = record(arguments, unknown, partial(array_outputs, fun), staging=True, literals=True)
        converted = Converted(arguments, inline(recorded.jaxpr), recorded.values, recorded.rest)
    except Exception as error:
        raise hide_frames(error)  # noqa: B904  (it is the same error)
    return converted, converted.hoisted


class Converted:
    """The function that `closure_convert` returns."""

    def __init__(self, arguments: Arguments, jaxpr: Jaxpr, values: Sequence[Any], out_tree: TreeDef) -> None:
        self.__name__ = name_of(arguments.fun)
        self._example = arguments
        self._jaxpr = jaxpr
        self._values = [x.copy() if type(x) is np.ndarray else x for x in values]
        self._out_tree = out_tree
        captured = range(len(arguments.avals), len(values))
        self._places = [i for i in captured if type(values[i]) is Tracer and jaxpr.in_avals[i].inexact]
        self.hoisted = [values[i] for i in self._places]
        """The values that have become arguments."""

    def __call__(self, *args: Any) -> Any:
        """The function, of its own arguments and then the hoisted values."""
        try:
            return self._call(args)
        except Exception as error:
            raise hide_frames(error)  # noqa: B904  (it is the same error)

    def _call(self, args: tuple[Any, ...]) -> Any:
        n_hoisted = len(self._places)
        own, consts = args[: len(args) - n_hoisted], args[len(args) - n_hoisted :]
        arguments = flatten_arguments(self._example.fun, own, {})
        if len(args) < n_hoisted or arguments.treedef != self._example.treedef:
            raise TypeError(
                f"{self.__name__} was converted by closure_convert for arguments of structure "
                f"{self._example.treedef.children()[0]}, followed by {n_hoisted} values that it closed over, and got "
                f"{arguments.treedef.children()[0]} and {len(consts)} such values"
            )
        if arguments.static_leaves() != self._example.static_leaves():
            raise TypeError(
                f"{self.__name__} was converted by closure_convert for the arguments {self._example.static_leaves()}, "
                f"which are no arrays, and got {arguments.static_leaves()}"
            )
        given = [
            self._fitted(f"argument {arguments.path(number)}", x, have, aval)
            for number, (x, have, aval) in enumerate(
                zip(arguments.values, arguments.avals, self._example.avals, strict=True)
            )
        ]
        hoisted = flatten_arguments(self, tuple(consts), {})
        if len(hoisted.avals) != n_hoisted:
            raise TypeError(f"{self.__name__}: each of the {n_hoisted} values that it closed over must be an array")
        values = [*given, *self._values[len(given) :]]
        for number, (place, x) in enumerate(zip(self._places, hoisted.values, strict=True)):
            aval = self._jaxpr.in_avals[place]
            values[place] = self._fitted(f"the value {number} that it closed over", x, hoisted.avals[number], aval)
        return unflatten(self._out_tree, list(run_program(self._jaxpr, values)))

    def _fitted(self, what: str, x: Any, given: Aval, aval: Aval) -> Any:
        if given.weak and type(x) is not Tracer and not aval.shape and aval.inexact and given.dtype.kind != "c":
            return aval.dtype.type(x)
        if given.strong is not aval.strong:
            raise TypeError(
                f"{self.__name__} was converted by closure_convert for {aval.strong} as {what}, and got {given.strong}"
            )
        return x
