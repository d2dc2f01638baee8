"""cond and switch of Python functions: one of several runs, the others do not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from functrans.api.arguments import array_outputs, flatten_arguments, name_of, record, value_of_leaf
from functrans.api.closures import closed_together, structure_differences
from functrans.api.execution import strengthened
from functrans.config import config
from functrans.control.cond import bind_cond
from functrans.core.aval import Aval, aval_of
from functrans.core.evaluation import eval_jaxpr, stage
from functrans.core.jaxpr import Jaxpr
from functrans.core.key_reuse import Alternatives
from functrans.core.recording import UNKNOWN
from functrans.core.tracer import Tracer, concrete
from functrans.errors import hide_frames, user_location
from functrans.ops.comparison import ne
from functrans.ops.conversion import convert_element_type
from functrans.tree import TreeDef, leaf_path, unflatten

__all__ = ["cond", "switch"]

_NOT_GIVEN: Any = object()
_RANKS = "biufc"


def cond(
    pred: Any,
    true_fun: Callable[..., Any],
    false_fun: Callable[..., Any],
    *operands: Any,
    operand: Any = _NOT_GIVEN,
    linear: Any = None,
) -> Any:
    """`true_fun(*operands)` if `pred` holds, else `false_fun(*operands)`, as one operation of a program.

    Both functions are recorded, and one of them runs: what the other does can neither raise nor put a NaN into a value
    or a derivative. Under `vmap` with a predicate of each member a function runs for those for which it holds.

    Args:
        pred: a boolean scalar; of a number, whether it is not zero.
        true_fun, false_fun: functions that return the same structure, shapes and dtypes. They may close over arrays
            and tracers.
        operands: arrays, numbers and pytrees of them. Where they have values (under `grad`, not under `jit`), the
            functions may look at them.
        operand: one operand, by keyword.
        linear: accepted for code that was written for JAX, without effect.

    Returns:
        What the functions return.

    Raises:
        TypeError: if the predicate is not a scalar, or the functions do not return the same structure, shapes and
            dtypes; each difference is listed.

    >>> import functrans as ft
    >>> f = lambda x: ft.lax.cond(x > 0, lambda: 1 / x, lambda: 3 * x)
    >>> f(2.0), ft.grad(f)(0.0)
    (np.float64(0.5), np.float64(3.0))
    """
    try:
        _check_function("cond", "true_fun", true_fun)
        _check_function("cond", "false_fun", false_fun)
        return _choose("cond", _predicate(pred), (false_fun, true_fun), _operands("cond", operands, operand))
    except Exception as error:
        raise hide_frames(error)  # noqa: B904  (it is the same error)


def switch(
    index: Any, branches: Sequence[Callable[..., Any]], *operands: Any, operand: Any = _NOT_GIVEN, linear: Any = None
) -> Any:
    """`branches[index](*operands)`, as one operation of a program. Otherwise as `cond`.

    Args:
        index: an integer scalar; it is clamped to the numbers of the branches.
        branches: functions that return the same structure, shapes and dtypes; at least one.
        operands, operand, linear: as in `cond`.

    Raises:
        TypeError: if the index is not an integer scalar, or the branches differ in what they return.
        ValueError: if there is no branch.

    >>> import functrans as ft
    >>> [ft.lax.switch(i, [lambda x: x, lambda x: x * x, lambda x: -x], 3.0) for i in (0, 1, 7)]
    [np.float64(3.0), np.float64(9.0), np.float64(-3.0)]
    """
    try:
        if callable(branches) or not isinstance(branches, Iterable):
            raise TypeError(f"switch needs a sequence of branches, got {branches!r:.60}: switch(index, [f, g], x)")
        branches = tuple(branches)
        if not branches:
            raise ValueError("switch needs at least one branch")
        for number, branch in enumerate(branches):
            _check_function("switch", f"branches[{number}]", branch)
        given = _operands("switch", operands, operand)
        return _choose("switch", _index(index), branches, given)
    except Exception as error:
        raise hide_frames(error)  # noqa: B904  (it is the same error)


# --------------------------------------------------------------------------------------------------------------------
# What is given


def _check_function(name: str, what: str, fun: Any) -> None:
    if not callable(fun):
        raise TypeError(
            f"{name}: {what} must be a function, got {fun!r:.60} of type {type(fun).__name__}. The operands come after "
            "the functions, and are handed to all of them; what only one of them needs it may close over."
        )


def _operands(name: str, operands: tuple[Any, ...], operand: Any) -> tuple[Any, ...]:
    if operand is _NOT_GIVEN:
        return operands
    if operands:
        raise TypeError(f"{name}: operands are given by position and by keyword (operand=); give them one way")
    return (operand,)


def _predicate(pred: Any) -> Any:
    aval, value = _scalar("cond: the predicate must be a boolean scalar", pred)
    if aval.dtype.kind == "b":
        return value
    return ne(value, aval.dtype.type(0))


def _index(index: Any) -> Any:
    aval, value = _scalar("switch: the index must be an integer scalar", index)
    if aval.dtype.kind not in "iu":
        raise TypeError(
            f"switch: the index must be an integer scalar, got {aval.strong} at {user_location()}; convert it, "
            "index.astype(int)"
        )
    return value


def _scalar(demand: str, x: Any) -> tuple[Aval, Any]:
    try:
        aval, value = value_of_leaf(x)
    except TypeError:
        aval = None
    if aval is None or value is UNKNOWN:
        raise TypeError(f"{demand}, got {x!r:.60} of type {type(x).__name__} at {user_location()}")
    if aval.shape:
        raise TypeError(
            f"{demand}, got {aval.strong} at {user_location()}. To choose element by element use "
            "functrans.numpy.where; to choose for each member of a batch, functrans.vmap."
        )
    return aval, value


def is_known(x: Any) -> bool:
    """Whether a value is there while a function is recorded."""
    return type(x) is not Tracer or (not x.recording.closed and x.recording.unknown_input(x.atom) is None)


# --------------------------------------------------------------------------------------------------------------------
# Recording


def _choose(name: str, index: Any, branches: Sequence[Callable[..., Any]], operands: tuple[Any, ...]) -> Any:
    if config.disable_jit and is_known(index):
        number = min(max(int(concrete(index)), 0), len(branches) - 1)
        return branches[number](*operands)
    recordings = []
    keys = Alternatives()
    for branch in branches:
        keys.begin()
        arguments = flatten_arguments(branch, operands, {})
        recordings.append(
            record(arguments, arguments.values, partial(array_outputs, branch), staging=True)  # known where they are
        )
    keys.end()
    labels = ("false_fun", "true_fun") if name == "cond" else tuple([f"branches[{i}]" for i in range(len(branches))])
    described = [f"{label} ({name_of(branch)})" for label, branch in zip(labels, branches, strict=True)]
    out_tree: TreeDef = recordings[0].rest
    for recorded, label in zip(recordings[1:], described[1:], strict=True):
        _check_structure(name, out_tree, recorded.rest, (described[0], label))
    closed = closed_together(recordings, len(arguments.avals))
    programs = _agreeing(name, closed.programs, out_tree, described)
    if len(programs) == 1:
        programs = programs * 2
    return unflatten(out_tree, strengthened(bind_cond(index, [*closed.consts, *arguments.values], programs)))


def _check_structure(name: str, first: TreeDef, second: TreeDef, names: tuple[str, str]) -> None:
    if first != second:
        lines = structure_differences(first, second, names, "output")
        raise TypeError(
            f"{name}: the functions must return the same structure (at {user_location()}), but\n" + "\n".join(lines)
        )


def _agreeing(name: str, programs: list[Jaxpr], out_tree: TreeDef, described: Sequence[str]) -> list[Jaxpr]:
    """The programs with outputs of the same avals. A Python number takes the dtype of what the others return.

    Raises:
        TypeError: listing the outputs that differ.
    """
    wanted, lines = [], []
    for place, avals in enumerate(zip(*[program.out_avals for program in programs], strict=True)):
        aval = _common_aval(avals)
        if aval is None:
            got = ", ".join([f"{aval.strong} in {label}" for aval, label in zip(avals, described, strict=True)])
            lines.append(f"  {leaf_path(out_tree, place, 'output')} is {got}")
        else:
            wanted.append(aval)
    if lines:
        raise TypeError(
            f"{name}: the functions must return the same shapes and dtypes (at {user_location()}), but\n"
            + "\n".join(lines)
            + "\nConvert what one of them returns (x.astype, functrans.numpy.broadcast_to)."
        )
    return [converted(program, wanted) for program in programs]


def _common_aval(avals: Sequence[Aval]) -> Aval | None:
    if len({aval.shape for aval in avals}) > 1:
        return None
    strong = [aval for aval in avals if not aval.weak]
    if not strong:
        return max(avals, key=lambda aval: _RANKS.index(aval.dtype.kind)).strong
    first = strong[0]
    if any([aval is not first for aval in strong]):
        return None
    fits = all([_RANKS.index(aval.dtype.kind) <= _RANKS.index(first.dtype.kind) for aval in avals])
    return first if (fits and first.dtype.kind != "b") or len(strong) == len(avals) else None


def converted(program: Jaxpr, avals: Sequence[Aval]) -> Jaxpr:
    """The program with its outputs converted to the dtypes of avals."""
    if all([have.dtype == aval.dtype for have, aval in zip(program.out_avals, avals, strict=True)]):
        return program
    with stage("convert", program.in_avals) as recording:
        outs = eval_jaxpr(program, recording.inputs(), recording)
        outs = [
            x if aval_of(x).dtype == aval.dtype else convert_element_type(x, aval.dtype)
            for x, aval in zip(outs, avals, strict=True)
        ]
        return recording.close(outs)[0]
