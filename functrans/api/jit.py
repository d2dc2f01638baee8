"""jit: record a function once for the shapes and dtypes that it meets, and run the program from then on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple
from weakref import WeakSet

import numpy as np

from functrans.api.arguments import Arguments, array_outputs, name_of, record
from functrans.api.execution import record_equations, recording_of, strengthened
from functrans.api.retracing import Retraces
from functrans.api.signatures import signature_of
from functrans.api.static_arguments import flatten_dynamic, static_parameters
from functrans.api.transformed import Transformed
from functrans.backends.interpreter import run
from functrans.caching import clear_kept
from functrans.config import config
from functrans.control.jit import bind_jit
from functrans.core.axis_names import axes_are_bound, bound_axes
from functrans.core.effects import is_effectful, without_unused_effects
from functrans.core.jaxpr import Jaxpr, clear_programs
from functrans.core.key_reuse import use_keys_of
from functrans.core.params import fingerprint
from functrans.core.recording import UNKNOWN
from functrans.core.tracer import Tracer
from functrans.forking import fork_safe_lock
from functrans.passes.inline import inline
from functrans.tree import TreeDef, unflatten

__all__ = ["clear_caches", "disable_jit", "jit"]

_PROGRAMS_MAX = 1024
"""How many programs a jitted function keeps, for different shapes and static arguments."""

_lock = fork_safe_lock()
_jitted: WeakSet[Jitted] = WeakSet()


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
        self._programs: dict[Any, _Program] = {}
        self.retraces = Retraces(fun)
        with _lock:
            _jitted.add(self)

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Transform and run."""
        if config.disable_jit:
            return self.fun(*args, **kwargs)
        arguments, static = flatten_dynamic(self.fun, args, kwargs, self._static)
        program = self._program(arguments, static)
        values = [*arguments.values, *program.consts]
        recording = recording_of(program.jaxpr, values)
        if recording is None:
            outs: Sequence[Any] = run(program.jaxpr, values)
        elif not recording.staging and is_effectful(without_unused_effects(program.jaxpr)):
            outs = strengthened(record_equations(recording, program.jaxpr, values))
        else:
            outs = strengthened(bind_jit(program.jaxpr, self.name, values))
        return unflatten(program.out_tree, outs)

    def clear_cache(self) -> None:
        """Forget all programs that were recorded."""
        with _lock:
            self._programs.clear()
        self.retraces.clear()

    def _program(self, arguments: Arguments, static: tuple[Any, ...]) -> _Program:
        key: Any = (arguments.treedef, tuple(arguments.avals), config.nan_safe_gradients)
        if static or arguments.places is not None:
            key = (*key, self._fingerprint(static, arguments))
        if axes_are_bound():
            key = (*key, bound_axes())
        program = self._programs.get(key)
        if program is None:
            program, reusable = self._record(arguments)
            self.retraces.add(signature_of(self.fun, arguments, static), reusable)
            return self._keep(key, program) if reusable else program
        if config.debug_key_reuse:
            use_keys_of(program.jaxpr, [*arguments.values, *program.consts], self.name)
        # The order of use matters only to a table that may be full soon; else looking up takes no lock.
        return program if len(self._programs) <= _PROGRAMS_MAX // 2 else self._keep(key, program)

    def _keep(self, key: Any, program: _Program) -> _Program:
        """Put a program at the end of the table; the first one there leaves a full table. The one that holds."""
        with _lock:
            program = self._programs.pop(key, program)  # another thread may have been first
            self._programs[key] = program
            if len(self._programs) > _PROGRAMS_MAX:
                del self._programs[next(iter(self._programs))]
        return program

    def _record(self, arguments: Arguments) -> tuple[_Program, bool]:
        """The program, and whether it holds for other calls too: not so if it has to do with a tracer of another."""
        unknown = [UNKNOWN] * len(arguments.avals)
        recorded = record(arguments, unknown, lambda out: array_outputs(self.fun, out), staging=True, literals=True)
        captured = recorded.values[len(unknown) :]
        consts = [x.copy() if type(x) is np.ndarray else x for x in captured]
        reusable = not recorded.reads_values and not any([type(x) is Tracer for x in consts])
        return _Program(inline(recorded.jaxpr), consts, recorded.rest), reusable

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


@contextmanager
def disable_jit(disable: bool = True) -> Iterator[None]:
    """Within it, jitted functions run as plain Python, operation by operation: to debug them, to print values.

    It holds for the thread (or asynchronous task) that enters it; `functrans.config.disable_jit = True` for all.

    Args:
        disable: whether; False turns it off within.

    >>> import functrans as ft
    >>> @ft.jit
    ... def f(x):
    ...     return x if x > 0 else -x
    >>> with ft.disable_jit():
    ...     f(-2.0)
    2.0
    """
    with config.jit_disabled(disable):
        yield


def clear_caches() -> None:
    """Forget everything that is kept for reuse: programs, what was derived from them, and what functions were recorded
    as. All that is lost is time; the next calls record and prepare again.

    >>> import functrans as ft
    >>> ft.clear_caches()
    """
    with _lock:
        functions = list(_jitted)
    for function in functions:
        function.clear_cache()
    clear_programs()
    clear_kept()
