"""while_loop and fori_loop of Python functions: loops whose length the program need not know."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from functrans.api.arguments import (
    Arguments,
    Described,
    Recorded,
    array_outputs,
    flatten_arguments,
    name_of,
    record,
    value_of_leaf,
)
from functrans.api.branches import converted, is_known
from functrans.api.closures import closed_together, structure_differences
from functrans.api.execution import strengthened
from functrans.backends.interpreter import owned
from functrans.config import config
from functrans.control.loop_bodies import Body
from functrans.control.rearranging import reordered
from functrans.control.while_loop import bind_while
from functrans.core.aval import Aval, aval_of
from functrans.core.jaxpr import Jaxpr
from functrans.core.key_reuse import Alternatives
from functrans.core.recording import UNKNOWN, staging_open
from functrans.core.tracer import Tracer, concrete
from functrans.errors import hide_frames, user_location
from functrans.ops.conversion import convert_element_type
from functrans.tree import TreeDef, leaf_path, structure, unflatten

__all__ = ["fori_loop", "while_loop"]

Predicate = Callable[[Any], Any]
_RANKS = "biufc"


def while_loop(
    cond_fun: Predicate, body_fun: Callable[[Any], Any], init_val: Any, *, checkpoint: bool | int = False
) -> Any:
    """A loop that goes on while a condition holds. It computes what this does, as one operation of a program:

        val = init_val
        while cond_fun(val):
            val = body_fun(val)
        return val

    It can be differentiated in forward and in reverse mode. Reverse mode keeps what the derivative of each iteration
    needs, as many times as there are iterations; with `checkpoint` it keeps few of the carried values, and computes the
    others again, by the schedule of Griewank and Walther (ACM TOMS 26, 2000): with s of them and r evaluations more of
    each iteration it reverses binomial(s + r, s) iterations.

    Args:
        cond_fun: from the carried value to a boolean scalar.
        body_fun: from the carried value to the next. Both are recorded; their arguments are unknown meanwhile, so
            Python cannot branch on them. They may close over arrays and tracers.
        init_val: the first value, an array, a number or a pytree of them. The structure, the shapes and the dtypes
            stay the same in all iterations; a Python number takes the dtype that `body_fun` returns.
        checkpoint: how many carried values reverse mode keeps at a time; True for 32. False: it keeps what the
            derivative of each iteration needs.

    Returns:
        The last value, in the structure of the first.

    Raises:
        TypeError: if `cond_fun` does not return a boolean scalar, or `body_fun` changes the structure or a type of the
            value (each is listed).

    >>> import functrans as ft
    >>> def root(a):
    ...     step = lambda x: (x + a / x) / 2
    ...     return ft.lax.while_loop(lambda x: abs(x * x - a) > 1e-12, step, a)
    >>> root(2.0), ft.grad(root)(2.0)
    (np.float64(1.4142135624), np.float64(0.3535533906))
    """
    try:
        return _while_loop(cond_fun, body_fun, init_val, checkpoint)
    except Exception as error:
        raise hide_frames(error)  # noqa: B904  (it is the same error)


def fori_loop(
    lower: Any,
    upper: Any,
    body_fun: Callable[[Any, Any], Any],
    init_val: Any,
    *,
    unroll: int | bool | None = None,
    checkpoint: bool | int = False,
) -> Any:
    """A loop over the integers from `lower` up to, and without, `upper`. It computes what this does:

        val = init_val
        for i in range(lower, upper):
            val = body_fun(i, val)
        return val

    The bounds are operands of the program: other bounds are no other program.

    Args:
        lower, upper: integer scalars.
        body_fun: from the integer and the carried value to the next value, recorded as that of `while_loop`.
        init_val: the first value.
        unroll: True to record each iteration apart, which needs bounds that have values; otherwise without effect.
        checkpoint: as in `while_loop`.

    Returns:
        The last value.

    Raises:
        TypeError: as `while_loop`, or if a bound is not an integer scalar.

    >>> import functrans as ft
    >>> ft.lax.fori_loop(0, 5, lambda i, total: total + i, 0)
    np.int64(10)
    >>> ft.grad(lambda x: ft.lax.fori_loop(0, 3, lambda i, y: y * x, 1.0))(2.0)
    np.float64(12.0)
    """
    try:
        return _fori_loop(lower, upper, body_fun, init_val, unroll, checkpoint)
    except Exception as error:
        raise hide_frames(error)  # noqa: B904  (it is the same error)


# --------------------------------------------------------------------------------------------------------------------
# while_loop


class _Loop(NamedTuple):
    """A call, flattened."""

    name: str
    cond_fun: Predicate
    body_fun: Callable[[Any], Any]
    arguments: Arguments
    """Of the body: the value that it carries."""
    init: Any
    checkpoint: int

    def path(self, place: int) -> str:
        """The name of a part of the carried value."""
        return leaf_path(structure(self.init), place, "init_val")


_SNAPSHOTS = 32
"""How many carried values `checkpoint=True` keeps: up to 561 iterations are evaluated twice more, 6545 three times."""


def _snapshots(name: str, checkpoint: Any) -> int:
    if isinstance(checkpoint, (bool, np.bool_)):
        return _SNAPSHOTS if checkpoint else 0
    if not _is_int(checkpoint) or checkpoint < 1:
        raise ValueError(f"{name}: checkpoint must be a bool or a positive int, got {checkpoint!r:.60}")
    return operator.index(checkpoint)


def _while_loop(cond_fun: Any, body_fun: Any, init_val: Any, checkpoint: Any) -> Any:
    snapshots = _snapshots("while_loop", checkpoint)
    for what, fun in (("cond_fun", cond_fun), ("body_fun", body_fun)):
        if not callable(fun):
            raise TypeError(f"while_loop: {what} must be a function, got {fun!r:.60} of type {type(fun).__name__}")
    if config.disable_jit:
        try:
            return _in_python(cond_fun, body_fun, init_val)
        except _UnknownPredicate:
            pass  # members of a batch leave the loop at different times
    arguments = flatten_arguments(body_fun, (init_val,), {})
    return _loop(_Loop("while_loop", cond_fun, body_fun, arguments, init_val, snapshots))


class _UnknownPredicate(Exception):  # noqa: N818  (it reaches no user)
    """A condition has no value while the function around the loop is recorded."""


def _in_python(cond_fun: Predicate, body_fun: Callable[[Any], Any], value: Any) -> Any:
    while True:
        again = cond_fun(value)
        if not is_known(again):
            raise _UnknownPredicate
        if not concrete(again):
            return value
        value = body_fun(value)


def _loop(loop: _Loop) -> Any:
    arguments = loop.arguments
    _check_leaves(loop)
    treedef = structure(loop.init)
    avals, body = _record_body(loop, treedef)
    n_carry = len(avals)
    cond = _record_cond(loop, avals)
    values = [
        x if aval.dtype == old.dtype else convert_element_type(x, aval.dtype)
        for x, aval, old in zip(arguments.values, avals, arguments.avals, strict=True)
    ]
    (body_program,), body_consts = closed_together([body], n_carry)
    (cond_program,), cond_consts = closed_together([cond], n_carry)
    body_program = converted(body_program, avals)
    return unflatten(treedef, _bind(cond_program, body_program, cond_consts, body_consts, values, loop.checkpoint))


def _bind(
    cond: Jaxpr, body: Jaxpr, cond_consts: list[Any], body_consts: list[Any], values: list[Any], checkpoint: int
) -> list[Any]:
    """Loop over what changes: a part of the carry that the body hands on as it is, is a constant."""
    n_cond, n_body, n_carry = len(cond_consts), len(body_consts), len(values)
    fixed = [i for i, out in enumerate(body.outs) if out == -1 - n_body - i]
    moving = [i for i in range(n_carry) if i not in fixed]
    if fixed:
        cond = _with_constants(cond, n_cond, fixed, moving, [0])
        body = _with_constants(body, n_body, fixed, moving, moving)
        cond_consts = [*cond_consts, *[values[i] for i in fixed]]
        body_consts = [*body_consts, *[values[i] for i in fixed]]
    cond, cond_consts = _used(cond, cond_consts)
    body, body_consts = _used(body, body_consts)
    first = [values[i] for i in moving]
    program = Body(body, len(body_consts), len(moving))
    outs, _, _ = bind_while(cond, program, cond_consts, body_consts, first, checkpoint=checkpoint)
    results = dict(zip(moving, strengthened(outs), strict=True))
    return [results[i] if i in results else owned(x) for i, x in enumerate(strengthened(values))]


def _used(program: Jaxpr, consts: list[Any]) -> tuple[Jaxpr, list[Any]]:
    """The program without those of its constants, its first inputs, that nothing reads."""
    read = {atom for eqn in program.eqns for atom in eqn.inputs}.union(program.outs)
    kept = [i for i in range(len(program.in_avals)) if i >= len(consts) or -1 - i in read]
    if len(kept) == len(program.in_avals):
        return program, consts
    return reordered(program, kept), [consts[i] for i in kept if i < len(consts)]


def _with_constants(program: Jaxpr, n_consts: int, fixed: list[int], moving: list[int], outs: Sequence[int]) -> Jaxpr:
    """The program with some parts of the carry as its last constants."""
    order = [*range(n_consts), *[n_consts + i for i in fixed], *[n_consts + i for i in moving]]
    return reordered(program, order, [program.outs[i] for i in outs])


def _check_leaves(loop: _Loop) -> None:
    arguments = loop.arguments
    if arguments.places is None:
        return
    for place, leaf in enumerate(arguments.leaves):
        if place not in arguments.places:
            raise TypeError(
                f"{loop.name}: the carried value must be made of arrays and numbers, but {loop.path(place)} is "
                f"{leaf!r:.60} of type {type(leaf).__name__}. What does not change needs not be carried: "
                f"{name_of(loop.body_fun)} may close over it."
            )


def _record_cond(loop: _Loop, avals: list[Aval]) -> Recorded:
    def one_boolean(out: Any) -> tuple[list[Any], None]:
        try:
            aval = value_of_leaf(out)[0]
        except TypeError:
            aval = None
        if aval is None or aval.shape or aval.dtype.kind != "b":
            got = f"{out!r:.60} of type {type(out).__name__}" if aval is None else f"{aval.strong}"
            raise TypeError(
                f"{loop.name}: {name_of(loop.cond_fun)} must return a boolean scalar, got {got} (at {user_location()})"
            )
        return [out], None

    arguments = loop.arguments._replace(fun=loop.cond_fun, avals=avals)
    return record(arguments, [UNKNOWN] * len(avals), one_boolean, staging=True)


def _record_body(loop: _Loop, treedef: TreeDef) -> tuple[list[Aval], Recorded]:
    """Record the body, again and again until the types of the carried value stay the same."""
    avals = loop.arguments.avals
    keys = Alternatives()
    while True:
        keys.begin()
        following: list[Aval] = []

        def outputs(out: Any, avals: list[Aval] = avals, following: list[Aval] = following) -> tuple[list[Any], None]:
            leaves, out_tree = array_outputs(loop.body_fun, out)
            if out_tree != treedef:
                names = ("init_val", f"what {name_of(loop.body_fun)} returns")
                lines = structure_differences(treedef, out_tree, names, "value")
                raise TypeError(
                    f"{loop.name}: {name_of(loop.body_fun)} must return the structure that it gets (at "
                    f"{user_location()}), but\n" + "\n".join(lines)
                )
            following.extend(_next_avals(loop, avals, [aval_of(x) for x in leaves]))
            return leaves, None

        arguments = loop.arguments._replace(avals=avals)
        recorded = record(arguments, [UNKNOWN] * len(avals), outputs, staging=True)
        if following == avals:
            keys.end()
            return avals, recorded
        avals = following


def _next_avals(loop: _Loop, old: list[Aval], new: list[Aval]) -> list[Aval]:
    avals, lines = [], []
    for place, (before, after) in enumerate(zip(old, new, strict=True)):
        if before.shape != after.shape or not _fits(before, after):
            lines.append(f"  {loop.path(place)} is {before.strong} before and {after.strong} after")
        elif before.weak and (not after.weak or before.dtype != after.dtype):
            avals.append(after)
        else:
            avals.append(before)
    if lines:
        raise TypeError(
            f"{loop.name}: all iterations need a value of the same shapes and dtypes, but {name_of(loop.body_fun)} "
            f"changes it (at {user_location()}):\n"
            + "\n".join(lines)
            + "\nStart with an array of the shape and dtype that it returns, or convert what it returns (x.astype)."
        )
    return avals


def _fits(before: Aval, after: Aval) -> bool:
    """Whether one of two dtypes can give way to the other: they are equal, or that of a Python number is lower."""
    if before.dtype == after.dtype:
        return True
    ranks = _RANKS.index(before.dtype.kind), _RANKS.index(after.dtype.kind)
    return (before.weak and ranks[0] <= ranks[1]) or (after.weak and ranks[1] <= ranks[0])


# --------------------------------------------------------------------------------------------------------------------
# fori_loop


def _fori_loop(lower: Any, upper: Any, body_fun: Any, init_val: Any, unroll: Any, checkpoint: Any) -> Any:
    snapshots = _snapshots("fori_loop", checkpoint)
    if not callable(body_fun):
        raise TypeError(
            f"fori_loop: body_fun must be a function, got {body_fun!r:.60} of type {type(body_fun).__name__}"
        )
    lower, upper, weak = _bounds(lower, upper)
    if config.disable_jit and is_known(lower) and is_known(upper):
        return _counted_in_python(lower, upper, body_fun, init_val)
    if unroll is not None and not isinstance(unroll, bool) and (not _is_int(unroll) or unroll < 1):
        raise ValueError(f"fori_loop: unroll must be a positive int or a bool, got {unroll!r:.60}")
    if unroll is True:
        if not (is_known(lower) and is_known(upper)):
            raise ValueError("fori_loop: unroll=True needs bounds that have a value; leave it away")
        return _counted_in_python(lower, upper, body_fun, init_val)

    def step(value: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
        i, last, inner = value
        # Between Python's ints i is one too, and does not decide the dtype of what it is added to.
        number = Tracer(i.recording, i.atom, Aval((), i.dtype, True)) if weak else i
        return i + i.dtype.type(1), last, body_fun(number, inner)

    step.__name__ = name_of(body_fun)
    step.body_fun = body_fun  # type: ignore[attr-defined]
    arguments = _CountedArguments(*flatten_arguments(step, ((lower, upper, init_val),), {}))
    value = _loop(_Counted("fori_loop", _not_reached, step, arguments, (lower, upper, init_val), snapshots))
    return value[2]


def _not_reached(value: tuple[Any, Any, Any]) -> Any:
    return value[0] < value[1]


class _Counted(_Loop):
    """A loop over integers, whose value is that of the user with the integer and its bound before."""

    def path(self, place: int) -> str:
        """The name of a part of the user's value."""
        return leaf_path(structure(self.init[2]), place - 2, "init_val")


class _CountedArguments(Arguments):
    """The arguments of the body of such a loop, under the names that they have in the user's."""

    __slots__ = ()

    def path(self, number: int) -> Described:
        """The name of an input in the user's words."""
        lower, _, inner = unflatten(self.treedef, self.leaves)[0][0]
        place = number if self.places is None else self.places[number]
        if place == 1:
            return Described(lambda: "upper")
        user = flatten_arguments(self.fun.body_fun, (lower, inner), {}, shapes=True)  # type: ignore[attr-defined]
        return user.path(number if place == 0 else number - 1)


def _counted_in_python(lower: Any, upper: Any, body_fun: Callable[[Any, Any], Any], value: Any) -> Any:
    for i in range(int(concrete(lower)), int(concrete(upper))):
        value = body_fun(i, value)
    return value


def _bounds(lower: Any, upper: Any) -> tuple[Any, Any, bool]:
    """The bounds as integers of one dtype, and whether both are Python's."""
    values, avals = [], []
    for what, x in (("lower", lower), ("upper", upper)):
        try:
            aval, value = value_of_leaf(x)
        except TypeError:
            aval = None
        if aval is None or aval.shape or aval.dtype.kind not in "iu":
            got = f"{x!r:.60} of type {type(x).__name__}" if aval is None else f"{aval.strong}"
            raise TypeError(f"fori_loop: {what} must be an integer scalar, got {got} (at {user_location()})")
        # As an array it is an operand of the program that records the loop, as a number it would be a part of it.
        values.append(value if type(value) is Tracer or staging_open() else np.array(value))
        avals.append(aval)
    strong = [aval.dtype for aval in avals if not aval.weak]
    dtype = np.result_type(*strong) if strong else np.dtype(np.int64)
    if dtype.kind == "f":  # of int64 and uint64
        dtype = np.dtype(np.int64)
    first, last = [
        x if aval.dtype == dtype else convert_element_type(x, dtype) for x, aval in zip(values, avals, strict=True)
    ]
    return strengthened([first])[0], strengthened([last])[0], not strong


def _is_int(x: Any) -> bool:
    try:
        operator.index(x)
    except TypeError:
        return False
    return True
