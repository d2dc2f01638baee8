"""grad and value_and_grad of Python functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from functrans.api.arguments import Again, Arguments, flatten_arguments, name_of, record
from functrans.api.guards import MISS, guard_for
from functrans.api.static_arguments import DeclaredParameters
from functrans.api.tape import run_gradient
from functrans.api.transformed import Transformed
from functrans.caching import kept
from functrans.config import config
from functrans.core.aval import aval_of
from functrans.core.effects import is_effectful
from functrans.core.jaxpr import Jaxpr, axis_names_in
from functrans.core.recording import staging_open
from functrans.core.tracer import Tracer
from functrans.dtypes import float0
from functrans.errors import hide_frames
from functrans.transforms.reverse import gradient
from functrans.tree import TreeDef, flatten, treedef_tuple, unflatten
from functrans.tree.treedef import LEAF

__all__ = ["aux_outputs", "grad", "normalize_argnums", "value_and_grad"]

Argnums = int | Sequence[int]


def value_and_grad(
    fun: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
) -> Callable[..., Any]:
    """A function that computes both `fun` and its gradient.

    Args:
        fun: a function of arrays, numbers and pytrees of them that returns a scalar.
        argnums: with respect to which positional arguments, one or several; negative ones count from the end.
        has_aux: whether `fun` returns a pair of the scalar and other results, which are handed on.
        holomorphic: whether `fun` is a holomorphic function from complex to complex.
        allow_int: whether integer leaves are allowed; their gradient is of dtype `float0`, that is empty.

    Returns:
        A function with the arguments of `fun` that returns `(value, gradient)`, or `((value, aux), gradient)`. The
        gradient has the structure, the shapes and the dtypes of the arguments named, a tuple for several of them.

    Raises:
        TypeError: when called, if `fun` does not return a scalar, or an argument cannot be differentiated.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.value_and_grad(lambda x: np.sum(x**2))(np.array([1.0, 2.0]))
    (np.float64(5.0), array([2., 4.]))
    """
    return ValueAndGrad(
        fun, argnums=normalize_argnums(argnums), has_aux=has_aux, holomorphic=holomorphic, allow_int=allow_int
    )


def grad(
    fun: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
) -> Callable[..., Any]:
    """A function that computes the gradient of `fun`.

    The arguments are those of `value_and_grad`. While `fun` is recorded its arguments have values, so it may branch on
    them, loop, recurse and print.

    Returns:
        A function with the arguments of `fun` that returns the gradient, or `(gradient, aux)`.

    >>> import functrans as ft
    >>> ft.grad(lambda x: x**3 if x > 0 else -x)(2.0)
    np.float64(12.0)
    >>> ft.grad(ft.grad(lambda x: x**3))(2.0)
    np.float64(12.0)
    """
    return Grad(fun, argnums=normalize_argnums(argnums), has_aux=has_aux, holomorphic=holomorphic, allow_int=allow_int)


def normalize_argnums(argnums: Any) -> int | tuple[int, ...]:
    if isinstance(argnums, (int, np.integer)) and not isinstance(argnums, bool):
        return int(argnums)
    if isinstance(argnums, (tuple, list)) and all([isinstance(i, (int, np.integer)) for i in argnums]):
        return tuple([int(i) for i in argnums])
    raise TypeError(f"argnums must be an int or a sequence of ints, got {argnums!r}")


_Guard = Callable[[tuple[Any, ...], dict[str, Any]], Any]
_NOTHING_STATIC = DeclaredParameters(frozenset(), frozenset())

_KEPT = frozenset({str, bytes})
"""The types of leaves that are part of a short way, which keeps them alive."""
_MOST_GUARDS = 4
"""For so many kinds of calls there are short ways; there is one for the last that has been common."""


class ValueAndGrad(Transformed):
    """The function that `value_and_grad` returns."""

    transformation = "value_and_grad"

    with_value = True

    def __init__(self, fun: Callable[..., Any], **options: Any) -> None:
        super().__init__(fun, **options)
        self.argnums: int | tuple[int, ...] = options["argnums"]
        self.has_aux: bool = options["has_aux"]
        self.holomorphic: bool = options["holomorphic"]
        self.allow_int: bool = options["allow_int"]
        self._kind = "c" if self.holomorphic else "f"
        """That of the dtype which the function's value must have."""
        self._short_ways: tuple[object, tuple[_Guard, ...]] = object(), ()
        """The state of the settings for which they hold, and the short ways of calls like the latest."""
        self._long_ways = 0
        """How many calls went the long way."""

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        try:
            state, guards = self._short_ways
            if state is config.state:
                for guard in guards:
                    out = guard(args, kwargs)
                    if out is not MISS:
                        return out
            return self.call(args, kwargs)
        except Exception as error:
            raise hide_frames(error)  # noqa: B904  (it is the same error)

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Transform and run."""
        value, aux, grads = self.compute(args, kwargs)
        return ((value, aux), grads) if self.has_aux else (value, grads)

    def _learn(
        self,
        state: object,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        arguments: Arguments,
        chosen: _Chosen,
        wrt: tuple[int, ...],
    ) -> None:
        """Make a guard for calls like this one, at the second, fourth, eighth ... call that goes the long way."""
        self._long_ways = n = self._long_ways + 1
        if n == 1 or n & (n - 1) or state is None or chosen.leaves != wrt:
            return
        if not _KEPT.issuperset(map(type, arguments.static_leaves())):  # an instance, a function: it must not stay
            return
        again, n_inputs, with_value = Again(arguments, wrt), len(arguments.avals), self.with_value
        key = "direct gradient", wrt, with_value

        def run(*values: Any) -> Sequence[Any]:
            program, known, aux = again.record(values, self._outputs)
            direct = program.memo.get(key) or _direct_gradient(program, key) if type(program) is Jaxpr else None
            captures_tracers = len(known) > n_inputs and Tracer in map(type, known[n_inputs:])
            if direct is None or config.state is not state or staging_open() or captures_tracers:
                outs = run_gradient(program, wrt, with_value, known)
            else:
                outs = direct(*known)
            if aux is None:
                return outs
            n_values = len(outs) - len(wrt)
            rest, grads = aux(outs[with_value:n_values]), outs[n_values:]
            return (outs[0], rest, *grads) if with_value else (*grads, rest)

        guard = guard_for(args, kwargs, _NOTHING_STATIC, run, (), self._result_tree(chosen.treedef))
        if guard is not None:
            before, guards = self._short_ways
            self._short_ways = state, (guard, *(guards[: _MOST_GUARDS - 1] if before is state else ()))

    def _result_tree(self, grads: TreeDef) -> TreeDef:
        """The structure of what `call` returns, with the other results as one leaf."""
        if self.with_value:
            return treedef_tuple([treedef_tuple([LEAF, LEAF]) if self.has_aux else LEAF, grads])
        return treedef_tuple([grads, LEAF]) if self.has_aux else grads

    def compute(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any, Any]:
        """The value, what the function returned besides, and the gradient."""
        state = config.state
        arguments = flatten_arguments(self.fun, args, kwargs)
        chosen = _chosen(arguments, self.argnums)
        wrt = self._differentiable(arguments, chosen.inputs)
        program, values, aux, _ = record(
            arguments, arguments.values, self._outputs, differentiated=wrt, may_be_fresh=True
        )
        outs = run_gradient(program, wrt, self.with_value, values)
        n_values = len(outs) - len(wrt)
        grads = _fill(chosen, wrt, outs[n_values:], arguments)
        value = outs[0] if self.with_value else None
        self._learn(state, args, kwargs, arguments, chosen, wrt)
        return value, (aux(outs[self.with_value : n_values]) if aux else None), grads

    def _outputs(self, out: Any) -> tuple[list[Any], Any]:
        if not self.has_aux:
            if type(out) is Tracer and not out.aval.shape and out.aval.dtype.kind == self._kind:
                return [out], None
            return [self._scalar(out)], None
        if not isinstance(out, tuple) or len(out) != 2:
            raise TypeError(f"with has_aux=True, {name_of(self.fun)} must return a pair (value, aux), got {_kind(out)}")
        leaves, rebuild = aux_outputs(out[1])
        return [self._scalar(out[0]), *leaves], rebuild

    def _scalar(self, out: Any) -> Any:
        name = name_of(self.fun)
        try:
            aval = aval_of(out)
        except TypeError:
            raise TypeError(f"grad needs a function that returns a scalar, but {name} returned {_kind(out)}") from None
        if aval.shape != ():
            raise TypeError(
                f"grad needs a function that returns a scalar, but {name} returned an array {aval.strong}. Reduce it "
                "(np.sum, np.mean), or use functrans.jacrev for all derivatives of all outputs."
            )
        if self.holomorphic and aval.dtype.kind != "c":
            raise TypeError(f"grad with holomorphic=True needs a complex result, but {name} returned {aval.strong}")
        if not self.holomorphic and aval.dtype.kind != "f":
            remedy = "take the real part, or pass holomorphic=True" if aval.dtype.kind == "c" else "return a float"
            raise TypeError(f"grad needs a real scalar, but {name} returned {aval.strong}: {remedy}")
        return out

    def _differentiable(self, arguments: Arguments, inputs: tuple[int, ...]) -> tuple[int, ...]:
        if not inputs and arguments.leaves and self.argnums != () and _chosen(arguments, self.argnums).leaves:
            raise TypeError(
                f"grad of {name_of(self.fun)} has nothing to differentiate: no array or number is in the arguments "
                f"that argnums={self.argnums} names"
            )
        for number in inputs:
            aval = arguments.avals[number]
            if self.holomorphic and aval.dtype.kind != "c":
                raise TypeError(
                    f"grad with holomorphic=True needs complex arguments, but {arguments.path(number)} of "
                    f"{name_of(self.fun)} is {aval.strong}: convert it, x.astype(complex)"
                )
            if not aval.inexact and not self.allow_int:
                raise TypeError(
                    f"grad cannot differentiate with respect to {arguments.path(number)} of {name_of(self.fun)}, "
                    f"which is {aval.strong}: only floats have a derivative. Convert it (x.astype(float)), choose "
                    "other arguments (argnums=...), or pass allow_int=True."
                )
        if self.allow_int:
            return tuple([i for i in inputs if arguments.avals[i].inexact])
        return inputs


def _direct_gradient(jaxpr: Jaxpr, key: tuple[str, tuple[int, ...], bool]) -> Callable[..., Sequence[Any]] | None:
    """The function of arrays that `run_gradient` comes to in the end; None if it has not been generated yet, or if it
    is not all that is to be done. It is kept under the key, whose other parts are those of the gradient.
    """
    program = gradient(jaxpr, *key[1:])
    found: Callable[..., Sequence[Any]] | None = program.memo.get("compiled")
    if found is None or is_effectful(program) or axis_names_in(program):
        return None
    jaxpr.memo[key] = found
    return found


class Grad(ValueAndGrad):
    """The function that `grad` returns."""

    transformation = "grad"

    with_value = False

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Transform and run."""
        _, aux, grads = self.compute(args, kwargs)
        return (grads, aux) if self.has_aux else grads


class _Chosen(NamedTuple):
    """The leaves that argnums names."""

    inputs: tuple[int, ...]
    """Their numbers among the inputs, in ascending order and without repetition."""
    leaves: tuple[int, ...]
    """Their numbers among the leaves, in the order of argnums."""
    treedef: TreeDef
    """The structure of the gradient."""


def _chosen(arguments: Arguments, argnums: int | tuple[int, ...]) -> _Chosen:
    places = None if arguments.places is None else tuple(arguments.places)
    try:
        return _choose(arguments.treedef, argnums, places)
    except IndexError as error:
        raise ValueError(f"{error} of {name_of(arguments.fun)}") from None


@kept("choices of argnums", 4096)
def _choose(treedef: TreeDef, argnums: int | tuple[int, ...], places: tuple[int, ...] | None) -> _Chosen:
    args = treedef.children()[0].children()
    starts = [0]
    for arg in args:
        starts.append(starts[-1] + arg.num_leaves)
    positions = [_position(i, len(args)) for i in ((argnums,) if isinstance(argnums, int) else argnums)]
    leaves = tuple([i for p in positions for i in range(starts[p], starts[p + 1])])
    numbers = {place: number for number, place in enumerate(places)} if places is not None else None
    inputs = sorted({i if numbers is None else numbers[i] for i in leaves if numbers is None or i in numbers})
    chosen = [args[p] for p in positions]
    return _Chosen(tuple(inputs), leaves, chosen[0] if isinstance(argnums, int) else treedef_tuple(chosen))


def _position(argnum: int, n_args: int) -> int:
    if not -n_args <= argnum < n_args:
        raise IndexError(f"argnums={argnum} is out of range for the {n_args} positional arguments")
    return argnum % n_args


def _fill(chosen: _Chosen, wrt: tuple[int, ...], grads: Sequence[Any], arguments: Arguments) -> Any:
    """The gradients in their structure; a static leaf has None, an integer one float0."""
    if chosen.leaves == wrt:
        return unflatten(chosen.treedef, grads)
    by_input = dict(zip(wrt, grads, strict=True))
    places = range(len(arguments.leaves)) if arguments.places is None else arguments.places
    numbers = {place: number for number, place in enumerate(places)}
    leaves: list[Any] = []
    for place in chosen.leaves:
        number = numbers.get(place)
        if number is None:
            leaves.append(None)
        elif number in by_input:
            leaves.append(by_input[number])
        else:
            leaves.append(np.zeros(arguments.avals[number].shape, float0))
    return unflatten(chosen.treedef, leaves)


def _kind(out: Any) -> str:
    return f"{out!r:.60} of type {type(out).__name__}" if out is not None else "None (is a return missing?)"


def aux_outputs(aux: Any) -> tuple[list[Any], Callable[[Sequence[Any]], Any]]:
    """The tracers in an auxiliary result, and the function that puts their values in their places."""
    leaves, treedef = flatten(aux)
    places = [i for i, leaf in enumerate(leaves) if type(leaf) is Tracer]

    def rebuild(values: Sequence[Any]) -> Any:
        for place, value in zip(places, values, strict=True):
            leaves[place] = value
        return unflatten(treedef, leaves)

    return [leaves[i] for i in places], rebuild
