"""jit: record a function once for the shapes and dtypes that it meets, and run the program from then on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from operator import index
from typing import Any, NamedTuple
from weakref import WeakSet

import numpy as np

from functrans.api.arguments import Arguments, array_outputs, name_of, record
from functrans.api.donation import Donation, donation_of, run_donated
from functrans.api.execution import record_equations, recording_of, strengthened
from functrans.api.guards import MISS, guard_for
from functrans.api.lowering import Lowered, Traced
from functrans.api.retracing import Retraces
from functrans.api.signatures import Signature, signature_of
from functrans.api.static_arguments import declared_parameters, flatten_dynamic
from functrans.api.transformed import Transformed
from functrans.backends.running import compiled
from functrans.caching import clear_kept
from functrans.config import config
from functrans.control.jit import bind_jit
from functrans.core.axis_names import axes_are_bound, bound_axes
from functrans.core.effects import is_effectful, without_unused_effects
from functrans.core.jaxpr import ClosedJaxpr, Jaxpr, clear_programs, gc_paused
from functrans.core.key_reuse import use_keys_of
from functrans.core.opened import opened
from functrans.core.params import fingerprint
from functrans.core.recording import UNKNOWN
from functrans.core.tracer import Tracer
from functrans.errors import hide_frames
from functrans.forking import fork_safe_lock
from functrans.passes.inline import inline as inlined
from functrans.tree import TreeDef, unflatten

__all__ = ["clear_caches", "disable_jit", "jit", "jitted_functions"]

PROGRAMS_MAX = 1024
"""How many programs a jitted function keeps, for different shapes and static arguments."""

_GUARDS_MAX = 4
"""How many guards a jitted function keeps."""

_LEAVES_PER_CALL = 32
"""For how many leaves of arguments and results a guard is made, for each call that has gone the long way: to make it
costs some 20 us a leaf, and saves less than one."""

_lock = fork_safe_lock()
_jitted: WeakSet[Jitted] = WeakSet()


def jit(
    fun: Callable[..., Any] | None = None,
    *,
    static_argnums: int | Sequence[int] | None = None,
    static_argnames: str | Iterable[str] | None = None,
    donate_argnums: int | Sequence[int] | None = None,
    donate_argnames: str | Iterable[str] | None = None,
    keep_unused: bool = False,
    inline: bool = False,
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
        donate_argnums: positional arguments that the caller gives away: a result of the shape and dtype of a donated
            array is that array, with new contents. Tracers and arrays that something else may see are left alone.
        donate_argnames: the same by name.
        keep_unused: accepted for JAX's sake: arguments that the function does not use cost nothing here.
        inline: whether, inside of other recordings, its equations take the place of the call.

    Returns:
        A function with the arguments of `fun`.

    Raises:
        ConcretizationTypeError: when called, if `fun` asks an argument for its value.
        ValueError: when called, if a static argument is not hashable.

    >>> import functrans as ft
    >>> ft.jit(lambda x, y: x * y + 1)(2.0, 3.0)
    np.float64(7.0)
    """
    options: dict[str, Any] = {
        "static_argnums": _numbers("static_argnums", static_argnums),
        "static_argnames": _names("static_argnames", static_argnames),
        "donate_argnums": _numbers("donate_argnums", donate_argnums),
        "donate_argnames": _names("donate_argnames", donate_argnames),
        "keep_unused": bool(keep_unused),
        "inline": bool(inline),
    }
    if fun is None:
        return lambda f: Jitted(f, **options)
    return Jitted(fun, **options)


def _numbers(option: str, given: Any) -> tuple[int, ...]:
    try:
        return tuple(map(index, () if given is None else given if isinstance(given, Iterable) else (given,)))
    except TypeError:
        raise TypeError(f"{option} must be an int or several, got {given!r:.80}") from None


def _names(option: str, given: Any) -> tuple[str, ...]:
    names = () if given is None else (given,) if isinstance(given, str) or not isinstance(given, Iterable) else given
    names = tuple(names)
    if not all([isinstance(name, str) for name in names]):
        raise TypeError(f"{option} must be a name or several, got {given!r:.80}")
    return names


class _Program:
    """A recorded function.

    Args:
        jaxpr: its program.
        consts: what it captured, the values of the program's last inputs.
        out_tree: the structure of the results.
        donation: which of the inputs give their memory to outputs.
        reusable: whether it holds for other calls too: not so if it has to do with a tracer of another recording.
    """

    def __init__(
        self, jaxpr: Jaxpr, consts: list[Any], out_tree: TreeDef, donation: Donation | None, reusable: bool
    ) -> None:
        self.jaxpr = jaxpr
        self.consts = consts
        self.out_tree = out_tree
        self.donation = donation
        self.reusable = reusable
        self.is_guardable = not is_effectful(jaxpr)
        """Whether it is simply run wherever its inputs are arrays and no recording takes all."""
        self.long_ways = 0
        """How many calls have come to it the long way."""

    def runner(self) -> Callable[..., Sequence[Any]]:
        """The function of arrays, one for each input, that gives the outputs."""
        return compiled(self.jaxpr) if self.donation is None else partial(run_donated, self.jaxpr, self.donation)


_Guard = Callable[[tuple[Any, ...], dict[str, Any]], Any]


class _Guards(NamedTuple):
    """The short ways of the latest calls, the last one first, and the state of the settings for which they hold."""

    state: object
    guards: tuple[_Guard, ...]


class Lookup(NamedTuple):
    """What a jitted function has for a call."""

    arguments: Arguments
    signature: Signature
    program: _Program
    kept: bool
    """Whether the program was kept, and has not been recorded just now."""


class Jitted(Transformed):
    """The function that `jit` returns."""

    transformation = "jit"

    def __init__(self, fun: Callable[..., Any], **options: Any) -> None:
        super().__init__(fun, **options)
        self.name = name_of(fun)
        self._static = declared_parameters(fun, options["static_argnums"], options["static_argnames"])
        self._donated = declared_parameters(fun, options["donate_argnums"], options["donate_argnames"], "donate")
        static, donated = self._static, self._donated
        both = sorted(map(str, (static.names & donated.names) or (static.positions & donated.positions)))
        if both:
            raise ValueError(
                f"an argument of {self.name} cannot be both static and donated: {both[0]}. A static one is part of the "
                "program, and has no memory to give"
            )
        self._programs: dict[Any, _Program] = {}
        self._short_ways = _no_guards()
        self.retraces = Retraces(fun)
        with _lock:
            _jitted.add(self)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        try:
            short_ways = self._short_ways
            state, guards = short_ways
            if state is config.state and not opened.here.stack and not axes_are_bound():
                for guard in guards:
                    out = guard(args, kwargs)
                    if out is not MISS:
                        if guard is not guards[0]:
                            self._replace(short_ways, state, guard)
                        return out
            return self.call(args, kwargs)
        except Exception as error:
            raise hide_frames(error)  # noqa: B904  (it is the same error)

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Transform and run."""
        if config.disable_jit:
            return self.fun(*args, **kwargs)
        short_ways, state = self._short_ways, config.state
        arguments, static = flatten_dynamic(self.fun, args, kwargs, self._static)
        program = self._program(arguments, static)
        values = [*arguments.values, *program.consts]
        recording = recording_of(program.jaxpr, values)
        if recording is None:
            outs = program.runner()(*values)
            if program.is_guardable:
                self._learn(short_ways, state, program, args, kwargs)
        elif self.options["inline"] or (not recording.staging and is_effectful(without_unused_effects(program.jaxpr))):
            outs = strengthened(record_equations(recording, program.jaxpr, values))
        else:
            outs = strengthened(bind_jit(program.jaxpr, self.name, values))
        return unflatten(program.out_tree, outs)

    def lookup(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Lookup:
        """The program that a call would run; one that has to be recorded for that is not kept."""
        arguments, static = flatten_dynamic(self.fun, args, kwargs, self._static, shapes=True)
        kept = self._programs.get(self._key(arguments, static))
        program = self._record(arguments, static) if kept is None else kept
        return Lookup(arguments, signature_of(self.fun, arguments, static), program, kept is not None)

    def trace(self, *args: Any, **kwargs: Any) -> Traced:
        """The function recorded for these arguments, in place of which there may be `ShapeDtypeStruct`s.

        Raises:
            TypeError: if it reads a value that is being differentiated or batched outside of it.
        """
        found = self.lookup(args, kwargs)
        program = found.program
        if not program.reusable:
            raise TypeError(
                f"{self.name} reads a value that is being differentiated or batched outside of it, so that there is no "
                "program of it alone. Pass what it reads as an argument"
            )
        closed = ClosedJaxpr(program.jaxpr, program.consts)
        return Traced(self.name, found.signature, closed, program.out_tree, program.runner)

    def lower(self, *args: Any, **kwargs: Any) -> Lowered:
        """The program for these arguments, which can be looked at and compiled: see `trace`."""
        return self.trace(*args, **kwargs).lower()

    def eval_shape(self, *args: Any, **kwargs: Any) -> Any:
        """The results for these arguments, with `ShapeDtypeStruct`s in place of arrays: see `trace`."""
        return self.trace(*args, **kwargs).out_info

    @property
    def n_programs(self) -> int:
        """How many programs are kept for it."""
        return len(self._programs)

    def _learn(
        self, before: _Guards, state: object, program: _Program, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Make a guard for calls like this one, if it seems worth it: at the second, fourth, eighth ... call that comes
        to its program the long way, later if there are many leaves. So a function that is called in many ways does not
        make one at each call.
        """
        program.long_ways = n = program.long_ways + 1
        n_leaves = len(program.jaxpr.in_avals) + len(program.jaxpr.outs)
        if n == 1 or n & (n - 1) or n * _LEAVES_PER_CALL < n_leaves or state is None or axes_are_bound():
            return
        guard = guard_for(args, kwargs, self._static, program.runner(), program.consts, program.out_tree)
        if guard is not None:
            self._replace(before, state, guard)

    def _replace(self, before: _Guards, state: object, first: _Guard) -> None:
        """Put a guard first, unless something has changed since its call began: all may have been forgotten."""
        others = [guard for guard in before.guards if guard is not first] if before.state is state else []
        with _lock:
            if self._short_ways is before and config.state is state:
                self._short_ways = _Guards(state, (first, *others[: _GUARDS_MAX - 1]))

    def clear_cache(self) -> None:
        """Forget all programs that were recorded."""
        with _lock:
            self._programs.clear()
            self._short_ways = _no_guards()
        self.retraces.clear()

    def _key(self, arguments: Arguments, static: tuple[Any, ...]) -> Any:
        key: Any = (arguments.treedef, tuple(arguments.avals), config.nan_safe_gradients)
        if static or arguments.places is not None:
            key = (*key, self._fingerprint(static, arguments))
        if axes_are_bound():
            key = (*key, bound_axes())
        return key

    def _program(self, arguments: Arguments, static: tuple[Any, ...]) -> _Program:
        key = self._key(arguments, static)
        program = self._programs.get(key)
        if program is None:
            with gc_paused():  # what is made is kept, as in `derived`
                program = self._record(arguments, static)
                if recording_of(program.jaxpr, [*arguments.values, *program.consts]) is None:
                    program.runner()  # which compiles it
            self.retraces.add(signature_of(self.fun, arguments, static), program.reusable)
            return self._keep(key, program) if program.reusable else program
        if not self.retraces.reused:
            self.retraces.reuse()
        if config.debug_key_reuse:
            use_keys_of(program.jaxpr, [*arguments.values, *program.consts], self.name)
        # The order of use matters only to a table that may be full soon; else looking up takes no lock.
        return program if len(self._programs) <= PROGRAMS_MAX // 2 else self._keep(key, program)

    def _keep(self, key: Any, program: _Program) -> _Program:
        """Put a program at the end of the table; the first one there leaves a full table. The one that holds."""
        with _lock:
            program = self._programs.pop(key, program)  # another thread may have been first
            self._programs[key] = program
            if len(self._programs) > PROGRAMS_MAX:
                del self._programs[next(iter(self._programs))]
        return program

    def _record(self, arguments: Arguments, static: tuple[Any, ...]) -> _Program:
        unknown = [UNKNOWN] * len(arguments.avals)
        recorded = record(arguments, unknown, lambda out: array_outputs(self.fun, out), staging=True, literals=True)
        captured = recorded.values[len(unknown) :]
        consts = [x.copy() if type(x) is np.ndarray else x for x in captured]
        reusable = not recorded.reads_values and not any([type(x) is Tracer for x in consts])
        jaxpr = inlined(recorded.jaxpr)
        donation = donation_of(arguments, static, self._donated, jaxpr) if any(self._donated) else None
        return _Program(jaxpr, consts, recorded.rest, donation, reusable)

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


def _no_guards() -> _Guards:
    """No guards; a new object, by which those that are about to add one see that all was forgotten."""
    return _Guards(object(), ())


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


def jitted_functions() -> list[Jitted]:
    """The jitted functions that are alive."""
    with _lock:
        return list(_jitted)


def clear_caches() -> None:
    """Forget everything that is kept for reuse: programs, what was derived from them, and what functions were recorded
    as. All that is lost is time; the next calls record and prepare again.

    >>> import functrans as ft
    >>> ft.clear_caches()
    """
    for function in jitted_functions():
        function.clear_cache()
    clear_programs()
    clear_kept()
