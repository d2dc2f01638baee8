"""From a call to the program that it runs, whether the function is transformed or not.

A jitted function has its program. Any other is run once on tracers that know their values, as under `grad`: so Python
may branch on them, and the transformations inside record what they would record without anybody looking.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from types import MethodType
from typing import Any, NamedTuple

import numpy as np

from functrans.api.arguments import Arguments, flatten_arguments, name_of, parameter_name
from functrans.api.differentiation import Grad, ValueAndGrad
from functrans.api.jit import Jitted
from functrans.api.retracing import watched
from functrans.api.signatures import Change, Signature, nearest
from functrans.api.transformed import Transformed
from functrans.config import config
from functrans.core.jaxpr import Atom, Jaxpr, program_counts
from functrans.core.recording import UNKNOWN, Recording
from functrans.core.tracer import Tracer
from functrans.tree import TreeDef, flatten, leaf_path

__all__ = ["Call", "Recorded", "record_call"]


class Recorded(NamedTuple):
    """Whether a call is recorded, and why."""

    anew: bool
    """Whether the function's Python runs at this call."""
    reason: str
    changes: tuple[Change, ...] = ()
    """In what the call differs from the nearest one that has a program."""
    kept: int = 0
    """How many programs the function has."""


class Call(NamedTuple):
    """A call of a function, and the program that it runs."""

    name: str
    recorded: Recorded
    jaxpr: Jaxpr
    values: list[Any] | None
    """Of the program's inputs; None if there are arguments without a value."""
    arguments: tuple[str, ...]
    """What the user calls the arguments among the inputs: `params['W'][2]`."""
    outputs: tuple[str, ...]
    """What the user calls the outputs."""
    gradients: dict[int, str]
    """By their numbers, the outputs that are gradients, each with the name of its argument."""
    read: frozenset[int] = frozenset()
    """The arguments whose values Python has read while the function was recorded."""
    inside: tuple[tuple[str, Recorded], ...] = ()
    """The jitted functions that were recorded while this one was."""


def record_call(fun: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
    """The call, recorded.

    Raises:
        TypeError: if `fun` is no function, if an argument is being traced, or if the result has no array in it.
    """
    if not callable(fun):
        raise TypeError(f"explain needs a function and its arguments, got {fun!r:.80} of type {type(fun).__name__}")
    method: Any = fun
    if isinstance(method, MethodType) and isinstance(method.__func__, Jitted):
        fun, args = method.__func__, (method.__self__, *args)
    if isinstance(fun, Jitted) and not config.disable_jit:
        return _jitted_call(fun, args, kwargs)
    return _python_call(fun, args, kwargs)


def _jitted_call(fun: Jitted, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
    found = fun.lookup(args, kwargs)
    program = found.program
    _refuse_tracers(found.arguments)
    if found.kept:
        recorded = Recorded(False, "a program is kept for this call", kept=fun.n_programs)
    elif not program.reusable:
        why = "it reads a value that is being differentiated or batched outside of it: no program can be kept"
        recorded = Recorded(True, why, kept=fun.n_programs)
    else:
        recorded = _recorded_anew(found.signature, fun.retraces.signatures)
    known = _untraced(fun.name, [*found.arguments.values, *program.consts])
    outputs = [_output_name(program.out_tree, i) for i in range(program.out_tree.num_leaves)]
    names = _argument_names(found.arguments)
    values = None if any([x is UNKNOWN for x in known]) else known
    gradients = _gradients(fun.fun, args, program.out_tree, range(program.out_tree.num_leaves))
    return Call(fun.name, recorded, program.jaxpr, values, names, tuple(outputs), gradients)


def _recorded_anew(signature: Signature, others: Sequence[Signature]) -> Recorded:
    closest = nearest(signature, others)
    if closest is None:
        return Recorded(True, "no program is kept for it yet")
    among = (
        "the program that is kept" if len(others) == 1 else f"the nearest of the {len(others)} programs that are kept"
    )
    return Recorded(True, f"it differs from {among}", tuple(closest[1]), len(others))


def _python_call(fun: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
    arguments = flatten_arguments(fun, args, kwargs, shapes=True)
    _refuse_tracers(arguments)
    if isinstance(fun, Jitted) or not isinstance(fun, Transformed):
        arguments = _without_ints(arguments)
    before = program_counts()
    recording = _Watched(
        name_of(fun), arguments.avals, arguments.values, describe_input=arguments.path, reads=arguments.values
    )
    with recording, watched() as retraced:
        new_args, new_kwargs = arguments.rebuild(recording.inputs())
        out = fun(*new_args, **new_kwargs)
        leaves, treedef = flatten(out)
        places = [i for i, leaf in enumerate(leaves) if _is_value(leaf)]
        if not places:
            raise TypeError(
                f"{name_of(fun)} returned no array or number, so there is no program to explain: {out!r:.80} of type "
                f"{type(out).__name__}"
            )
        jaxpr, known = recording.close([leaves[i] for i in places], intern=False)
        _untraced(name_of(fun), known)
    after = program_counts()
    new = after.misses - before.misses
    recorded = Recorded(True, _why_python_runs(fun, new, new + after.hits - before.hits))
    values = None if any([x is UNKNOWN for x in known]) else list(known)
    outputs = tuple([_output_name(treedef, i) for i in places])
    names, gradients = _argument_names(arguments), _gradients(fun, args, treedef, places)
    inside = tuple([(name_of(x.function.fun), _recorded_anew(x.signature, x.before)) for x in retraced])
    return Call(name_of(fun), recorded, jaxpr, values, names, outputs, gradients, frozenset(recording.read), inside)


def _without_ints(arguments: Arguments) -> Arguments:
    """The arguments of plain Python, whose ints and bools are what they are: sizes, flags, keys of dicts."""
    places = range(len(arguments.leaves)) if arguments.places is None else arguments.places
    kept = [i for i, place in enumerate(places) if type(arguments.leaves[place]) not in (int, bool)]
    return arguments._replace(
        avals=[arguments.avals[i] for i in kept],
        values=[arguments.values[i] for i in kept],
        places=[places[i] for i in kept],
    )


def _why_python_runs(fun: Callable[..., Any], new: int, total: int) -> str:
    if isinstance(fun, Jitted):
        return "jit is disabled, so that its Python runs at each call"
    if not isinstance(fun, Transformed):
        return "it is plain Python, which runs at each call; the program is what functrans sees of it"
    made = "all programs of this call were kept" if not new else f"{new} of the {total} programs of this call were new"
    return f"it is not jitted, so that its Python runs at each call; {made}"


class _Watched(Recording):
    """A recording that notes which inputs Python has read."""

    __slots__ = ("read",)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.read: set[int] = set()

    def value(self, atom: Atom) -> Any:
        """The value of an atom."""
        if type(atom) is int and atom < 0 and -1 - atom < self.n_inputs:
            self.read.add(-1 - atom)
        return super().value(atom)


def _refuse_tracers(arguments: Arguments) -> None:
    for number, value in enumerate(arguments.values):
        if type(value) is Tracer:
            raise TypeError(
                f"explain runs what it explains, and argument {arguments.path(number)} of {name_of(arguments.fun)} is "
                "being traced. Call explain outside of grad, vmap and jit, on arrays"
            )


def _untraced(name: str, values: list[Any]) -> list[Any]:
    if any([type(x) is Tracer for x in values]):
        raise TypeError(
            f"explain runs what it explains, and {name} reads a value that is being traced. Call explain outside of "
            "grad, vmap and jit, on arrays"
        )
    return values


def _is_value(leaf: Any) -> bool:
    if isinstance(leaf, (np.ndarray, np.generic)):
        return leaf.dtype.kind in "biufc"
    return type(leaf) is Tracer or isinstance(leaf, (bool, int, float, complex))


def _argument_names(arguments: Arguments) -> tuple[str, ...]:
    return tuple([str(arguments.path(number)) for number in range(len(arguments.avals))])


def _output_name(treedef: TreeDef, place: int) -> str:
    return f"output{leaf_path(treedef, place)}"


def _gradients(fun: Any, args: tuple[Any, ...], out_tree: TreeDef, places: Sequence[int]) -> dict[int, str]:
    """By their numbers, the outputs of `grad` and `value_and_grad` that are gradients, with their arguments' names."""
    if not isinstance(fun, ValueAndGrad):
        return {}
    prefix = "[1]" if not isinstance(fun, Grad) else "[0]" if fun.has_aux else ""
    found = {}
    for number, place in enumerate(places):
        path = leaf_path(out_tree, place)
        if path.startswith(prefix):
            name = _argument_of_gradient(fun, len(args), path[len(prefix) :])
            if name:
                found[number] = name
    return found


def _argument_of_gradient(fun: ValueAndGrad, n_args: int, path: str) -> str:
    if isinstance(fun.argnums, int):
        return parameter_name(fun, fun.argnums % n_args) + path
    which, _, rest = path[1:].partition("]")
    with suppress(ValueError, IndexError):
        return parameter_name(fun, fun.argnums[int(which)] % n_args) + rest
    return ""
