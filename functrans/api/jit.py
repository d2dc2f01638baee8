"""jit: record a function once for the shapes and dtypes that it meets, and run the program from then on."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from functrans.api.arguments import Arguments, array_outputs, name_of, record
from functrans.api.execution import strengthened
from functrans.api.static_arguments import flatten_dynamic, static_parameters
from functrans.api.transformed import Transformed
from functrans.backends.interpreter import run
from functrans.control.jit import bind_jit
from functrans.core.jaxpr import Jaxpr
from functrans.core.params import fingerprint
from functrans.core.recording import UNKNOWN, recording_for
from functrans.core.tracer import Tracer
from functrans.tree import TreeDef, unflatten

__all__ = ["jit"]

_PROGRAMS_MAX = 1024
"""How many programs a jitted function keeps, for different shapes and static arguments."""


def jit(
    fun: Callable[..., Any] | None = None,
    *,
    static_argnums: int | Sequence[int] | None = None,
    static_argnames: str | Sequence[str] | None = None,
) -> Callable[..., Any]:
    """A function that runs `fun` as a program, recorded at the first call with each combination of shapes and dtypes.

    Its arguments are unknown while it is recorded: Python cannot branch on them. What `fun` reads from outside is kept
    as it was at the first call. Under other transformations the call stays one equation of the program.

    Args:
        fun: a function of arrays, numbers and pytrees; pure, since it runs only once for each combination. Without it
            a decorator is returned.
        static_argnums: positional arguments that are part of the program, such as sizes and flags; hashable. The
            function is recorded anew for each value.
        static_argnames: the same by name.

    Returns:
        A function with the arguments of `fun`.

    Raises:
        ConcretizationTypeError: when called, if `fun` asks an argument for its value.
        ValueError: when called, if a static argument is not hashable.

    >>> import functrans as ft
    >>> ft.jit(lambda x, y: x * y + 1)(2.0, 3.0)
    np.float64(7.0)
    """
    numbers = (static_argnums,) if isinstance(static_argnums, int) else tuple(static_argnums or ())
    names = (static_argnames,) if isinstance(static_argnames, str) else tuple(static_argnames or ())
    if fun is None:
        return lambda f: Jitted(f, static_argnums=numbers, static_argnames=names)
    return Jitted(fun, static_argnums=numbers, static_argnames=names)


class _Program(NamedTuple):
    """A recorded function."""

    jaxpr: Jaxpr
    consts: list[Any]
    """What it captured."""
    out_tree: TreeDef


class Jitted(Transformed):
    """The function that `jit` returns."""

    transformation = "jit"

    def __init__(self, fun: Callable[..., Any], **options: Any) -> None:
        super().__init__(fun, **options)
        self.name = name_of(fun)
        self._static = static_parameters(fun, options["static_argnums"], options["static_argnames"])
        self._programs: OrderedDict[Any, _Program] = OrderedDict()

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Transform and run."""
        arguments, static = flatten_dynamic(self.fun, args, kwargs, self._static)
        program = self._program(arguments, static)
        values = [*arguments.values, *program.consts]
        if recording_for(values) is None:
            outs: Sequence[Any] = run(program.jaxpr, values)
        else:
            outs = strengthened(bind_jit(program.jaxpr, self.name, values))
        return unflatten(program.out_tree, outs)

    def clear_cache(self) -> None:
        """Forget all programs that were recorded."""
        self._programs.clear()

    def _program(self, arguments: Arguments, static: tuple[Any, ...]) -> _Program:
        key: Any = (arguments.treedef, tuple(arguments.avals))
        if static or arguments.places is not None:
            key = (*key, self._fingerprint(static, arguments))
        program = self._programs.get(key)
        if program is not None:
            self._programs.move_to_end(key)
        else:
            program, reusable = self._record(arguments)
            if reusable:
                self._programs[key] = program
                if len(self._programs) > _PROGRAMS_MAX:
                    self._programs.popitem(last=False)
        return program

    def _record(self, arguments: Arguments) -> tuple[_Program, bool]:
        """The program, and whether it holds for other calls too: not so if it has to do with a tracer of another."""
        unknown = [UNKNOWN] * len(arguments.avals)
        recorded = record(arguments, unknown, lambda out: array_outputs(self.fun, out), staging=True, literals=True)
        captured = recorded.values[len(unknown) :]
        consts = [x.copy() if type(x) is np.ndarray else x for x in captured]
        reusable = not recorded.reads_values and not any([type(x) is Tracer for x in consts])
        return _Program(recorded.jaxpr, consts, recorded.rest), reusable

    def _fingerprint(self, static: tuple[Any, ...], arguments: Arguments) -> Any:
        leaves = [] if arguments.places is None else arguments.static_leaves()
        places = None if arguments.places is None else tuple(arguments.places)
        for value in [v for _, v in static] + leaves:
            try:
                hash(value)
            except TypeError:
                raise ValueError(
                    "static arguments must be hashable, so that a program can be kept for each value, but "
                    f"{self.name} got {value!r:.60} of type {type(value).__name__}. Pass a tuple instead of a list, "
                    "or do not declare it static."
                ) from None
        return fingerprint(static), fingerprint(leaves), places
