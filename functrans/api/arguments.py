"""From a call of a Python function to a recording of it: arguments flattened, named, and given avals.

Leaves that are not arrays or numbers (strings, functions, ...) are static: the function gets them as they are.
"""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable, Hashable, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import numpy as np

from functrans.api.generators import GeneratorWatch
from functrans.core.aval import Aval, aval_of, aval_of_array
from functrans.core.axis_names import bind_axes
from functrans.core.jaxpr import Fresh, Jaxpr
from functrans.core.opened import opened
from functrans.core.predictions import Prediction, prediction_for, remember
from functrans.core.recording import UNKNOWN, Recording
from functrans.core.tracer import Tracer
from functrans.errors import (
    CapturedArrayMutatedError,
    ConcretizationTypeError,
    DetachedTracerError,
    describe_line,
    is_internal,
)
from functrans.tree import TreeDef, flatten, leaf_path, unflatten

__all__ = [
    "Again",
    "Arguments",
    "Recorded",
    "array_outputs",
    "flatten_arguments",
    "name_of",
    "parameter_name",
    "record",
    "value_of_leaf",
]


class Described:
    """A text for messages, made only when it is printed."""

    __slots__ = ("_describe",)

    def __init__(self, describe: Callable[[], str]) -> None:
        self._describe = describe

    def __str__(self) -> str:
        return self._describe()


class Arguments(NamedTuple):
    """A call `fun(*args, **kwargs)`, flattened."""

    fun: Callable[..., Any]
    leaves: list[Any]
    """All leaves; those that are arrays or numbers are the inputs of the program, in their order."""
    treedef: TreeDef
    """The structure of `(args, kwargs)`."""
    avals: list[Aval]
    """The avals of the inputs."""
    values: list[Any]
    """The values of the inputs: arrays, NumPy scalars or tracers."""
    places: list[int] | None
    """The number of the leaf of each input; None if all leaves are inputs."""

    def path(self, number: int) -> Described:
        """The name of an input in the user's words: `params['W'][2]`."""
        place = number if self.places is None else self.places[number]
        return Described(lambda: argument_path(self.fun, self.treedef, place))

    def rebuild(self, inputs: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """args and kwargs with other values in the place of the inputs."""
        if self.places is None:
            return self.treedef.unflatten(inputs)
        leaves = list(self.leaves)
        for place, x in zip(self.places, inputs, strict=True):
            leaves[place] = x
        return unflatten(self.treedef, leaves)

    def static_leaves(self) -> list[Any]:
        """The leaves that are not inputs."""
        if self.places is None:
            return []
        dynamic = set(self.places)
        return [leaf for i, leaf in enumerate(self.leaves) if i not in dynamic]


def flatten_arguments(
    fun: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], shapes: bool = False
) -> Arguments:
    """Flatten the arguments of a call.

    Args:
        fun, args, kwargs: the call.
        shapes: whether `ShapeDtypeStruct`s may stand for arrays; their value is `UNKNOWN`.

    Raises:
        TypeError: for arrays of objects or strings, naming the argument.
    """
    leaves, treedef = flatten((args, kwargs))
    avals: list[Aval] = []
    values: list[Any] = []
    places: list[int] | None = None
    aval: Any
    for place, leaf in enumerate(leaves):
        kind = type(leaf)
        if kind is np.ndarray:
            try:
                aval = aval_of_array(leaf)
            except TypeError as error:
                raise _with_path(error, fun, treedef, place) from None
            value = leaf if leaf.dtype is aval.dtype else leaf.astype(aval.dtype)
        elif kind is Tracer:
            aval, value = leaf.aval, leaf
        else:
            aval, value = _unusual_leaf(fun, treedef, place, leaf)
            if value is UNKNOWN and not shapes:
                raise TypeError(
                    f"argument {argument_path(fun, treedef, place)} of {name_of(fun)} must have a value; "
                    "a ShapeDtypeStruct is for eval_shape, make_jaxpr and linear_transpose"
                )
            if aval is None:
                places = list(range(len(avals))) if places is None else places
                continue
        avals.append(aval)
        values.append(value)
        if places is not None:
            places.append(place)
    return Arguments(fun, leaves, treedef, avals, values, places)


def _unusual_leaf(fun: Callable[..., Any], treedef: TreeDef, place: int, leaf: Any) -> tuple[Any, Any]:
    try:
        return value_of_leaf(leaf)
    except TypeError as error:
        raise _with_path(error, fun, treedef, place) from None


def _with_path(error: TypeError, fun: Callable[..., Any], treedef: TreeDef, place: int) -> TypeError:
    return TypeError(f"argument {argument_path(fun, treedef, place)} of {name_of(fun)}: {error}")


def value_of_leaf(leaf: Any) -> tuple[Aval | None, Any]:
    """The aval and the value of a leaf; no aval for a leaf that is static."""
    if isinstance(leaf, (bool, int, float, complex)) and not isinstance(leaf, np.generic):
        aval = aval_of(leaf)
        try:
            return aval, aval.dtype.type(leaf)
        except OverflowError:
            raise TypeError(f"the integer {leaf} does not fit into {aval.dtype.name}") from None
    if isinstance(leaf, (np.ndarray, np.generic)):
        aval = aval_of(leaf)
        plain = leaf if type(leaf) is np.ndarray or isinstance(leaf, np.generic) else np.asarray(leaf)
        return aval, plain if plain.dtype == aval.dtype and plain.dtype.isnative else plain.astype(aval.dtype)
    if isinstance(leaf, Tracer):
        return leaf.aval, leaf
    if isinstance(getattr(leaf, "aval", None), Aval):
        return leaf.aval, UNKNOWN
    if isinstance(leaf, type) or not hasattr(leaf, "__array__"):
        return None, leaf
    array = np.asarray(leaf)  # an array of another library
    return aval_of(array), array


def name_of(fun: Callable[..., Any]) -> str:
    """What to call a function in messages."""
    return str(getattr(fun, "__name__", None) or repr(fun))


def argument_path(fun: Callable[..., Any], treedef: TreeDef, place: int) -> str:
    """The name of a leaf of `(args, kwargs)`: the parameter's name, then the path inside of it."""
    path = leaf_path(treedef, place)
    which, rest = path[1], path[3:]
    inner, _, tail = rest[1:].partition("]")
    if which == "1":
        return inner.strip("'\"") + tail
    return parameter_name(fun, int(inner)) + tail


def parameter_name(fun: Callable[..., Any], position: int) -> str:
    """The name of the parameter that a positional argument is for."""
    try:
        parameters = list(inspect.signature(fun).parameters.values())
    except (TypeError, ValueError):
        return f"args[{position}]"
    for number, parameter in enumerate(parameters):
        if parameter.kind is parameter.VAR_POSITIONAL:
            return f"{parameter.name}[{position - number}]"
        if number == position:
            return parameter.name
    return f"args[{position}]"


def output_path(fun: Callable[..., Any], treedef: TreeDef, place: int) -> str:
    """The name of a leaf of what a function returned."""
    return f"output{leaf_path(treedef, place)} of {name_of(fun)}"


class Recorded(NamedTuple):
    """A function that has been recorded."""

    jaxpr: Any
    """The program, a `Jaxpr`; perhaps a `Fresh` one if the caller takes that."""
    values: list[Any]
    """The values of the program's inputs: the arguments', then those captured."""
    rest: Any
    """What else there is of what the function returned."""
    reads_values: bool
    """Whether Python took the value of a tracer from outside, so that the program holds for it alone."""


def record(
    arguments: Arguments,
    values: Sequence[Any],
    outputs: Callable[[Any], tuple[list[Any], Any]],
    *,
    staging: bool = False,
    literals: bool = False,
    differentiated: Any = (),
    forward: bool = False,
    reads: Sequence[Any] = (),
    axis_env: Sequence[tuple[Hashable, int]] = (),
    once: bool = False,
    may_be_fresh: bool = False,
) -> Recorded:
    """Record a call of a function.

    Args:
        arguments: the call.
        values: the values of the inputs; `UNKNOWN` for those without.
        outputs: from what the function returns to the outputs of the program, and what else it is to return.
        staging, literals, differentiated, forward: see `Recording`.
        reads: arrays besides the arguments that the program will be run on.
        axis_env: the names and lengths of axes that collectives may name.
        once: whether the function is run anew wherever its program is made, although its inputs have no values.
        may_be_fresh: whether a program that was never seen before is given as it is (`functrans.core.jaxpr.Fresh`).
    """
    code, key = code_id(arguments.fun), (id(arguments.treedef), tuple(arguments.avals), staging, opened.here.scopes)
    prediction = prediction_for(code, key)
    recording = Recording(
        name_of(arguments.fun),
        arguments.avals,
        values,
        staging=staging,
        literals=literals,
        describe_input=arguments.path,
        differentiated=differentiated,
        forward=forward,
        reads=[*arguments.values, *reads] if reads else arguments.values,
        prediction=prediction,
        predicts=True,
    )
    with recording, bind_axes(axis_env, recording) if axis_env else nullcontext():
        runs_often = staging and not once and all([value is UNKNOWN for value in values])
        watch = GeneratorWatch(arguments.fun, arguments.leaves) if runs_often else None
        out = _called(arguments, recording)
        if watch is not None:
            watch.check(name_of(arguments.fun))
        outs, rest = outputs(out)
        jaxpr, known = recording.close_fresh(outs) if may_be_fresh else recording.close(outs)
    if type(jaxpr) is Jaxpr and (prediction is None or jaxpr is not prediction.program):
        remember(code, key, jaxpr, recording)
    return Recorded(jaxpr, known, rest, recording.reads_values)


def _called(arguments: Arguments, recording: Recording) -> Any:
    """What the function returns for the tracers of a recording."""
    args, kwargs = arguments.rebuild(recording.inputs())
    try:
        return arguments.fun(*args, **kwargs)
    except (TypeError, ValueError) as error:
        if isinstance(error.__cause__, (ConcretizationTypeError, DetachedTracerError)):
            raise error.__cause__ from None  # NumPy had wrapped it: `b[0] = x`
        if "read-only" in str(error) and recording.locks_arrays:
            raise _mutated(arguments, error) from error
        raise


def _nothing() -> None:
    return None


class Again:
    """Calls like one before, of which only the values of the inputs differ, recorded as `record` does it.

    Args:
        arguments: the call before.
        differentiated: see `Recording`.
    """

    __slots__ = ("_arguments", "_avals", "_code", "_differentiated", "_name", "_place", "_predicted", "_scopes")

    def __init__(self, arguments: Arguments, differentiated: tuple[int, ...]) -> None:
        inputs = range(len(arguments.leaves)) if arguments.places is None else arguments.places
        leaves: list[Any] = list(arguments.leaves)
        for place in inputs:
            leaves[place] = None  # which lets go of the array
        self._arguments = arguments._replace(leaves=leaves, values=[])
        self._avals = tuple(arguments.avals)
        self._differentiated = differentiated
        self._name = name_of(arguments.fun)
        self._code = code_id(arguments.fun)
        self._place = id(arguments.treedef)
        self._scopes: tuple[str, ...] = ()
        self._predicted: Callable[[], Prediction | None] = _nothing
        """What was predicted last, in these scopes, as long as it is kept."""

    def record(
        self, values: Sequence[Any], outputs: Callable[[Any], tuple[list[Any], Any]]
    ) -> tuple[Jaxpr | Fresh, list[Any], Any]:
        """The program, the values of its inputs, and what else there is of what the function returned."""
        arguments, scopes = self._arguments, opened.here.scopes
        prediction = self._predicted()
        if prediction is None or scopes != self._scopes:
            prediction = prediction_for(self._code, (self._place, self._avals, False, scopes))
            self._predicted, self._scopes = _nothing if prediction is None else weakref.ref(prediction), scopes
        # By position, which takes less time.
        recording = Recording(self._name, self._avals, values, arguments.path, self._differentiated, prediction, True)
        with recording:
            outs, rest = outputs(_called(arguments, recording))
            program, known = recording.close_fresh(outs)
        if type(program) is Jaxpr and (prediction is None or program is not prediction.program):
            key = self._place, self._avals, False, scopes
            remember(self._code, key, program, recording)
            self._predicted = _nothing
        return program, known, rest


def code_id(fun: Callable[..., Any]) -> int:
    """What tells functions apart, but not closures of one `def` or `lambda`: they nearly always do the same."""
    for _ in range(8):
        code = getattr(fun, "__code__", None)
        if code is not None:
            return id(code)
        inner = getattr(fun, "__wrapped__", None) or getattr(fun, "func", None)
        if inner is None:
            break
        fun = inner
    return id(getattr(type(fun).__call__, "__code__", type(fun)))


def _mutated(arguments: Arguments, error: Exception) -> CapturedArrayMutatedError:
    where = "an unknown line"
    traceback = error.__traceback__
    while traceback is not None:
        if not is_internal(traceback.tb_frame.f_code.co_filename):
            where = describe_line(traceback.tb_frame.f_code, traceback.tb_lasti)
        traceback = traceback.tb_next
    return CapturedArrayMutatedError(
        f"an array that {name_of(arguments.fun)} has read was written to at {where}, while the function was being "
        "recorded. The program runs after the function has returned, and would read the new contents. Write to a "
        "copy (x.copy()), or make a new array: functrans.numpy.at(x)[index].set(value)."
    )


def array_outputs(fun: Callable[..., Any], out: Any) -> tuple[list[Any], TreeDef]:
    """The leaves of what a function returned, which must be arrays or numbers, and their structure.

    Raises:
        TypeError: naming the first leaf that is something else.
    """
    leaves, treedef = flatten(out)
    for place, leaf in enumerate(leaves):
        if type(leaf) is not Tracer:
            try:
                aval, leaves[place] = value_of_leaf(leaf)
            except TypeError as error:
                raise TypeError(f"{output_path(fun, treedef, place)}: {error}") from None
            if aval is None:
                raise TypeError(
                    f"{output_path(fun, treedef, place)} must be an array or a number, "
                    f"got {leaf!r:.80} of type {type(leaf).__name__}"
                )
            if aval.weak:
                leaves[place] = leaf
    return leaves, treedef
