"""scan, map and associative_scan of Python functions: loops with a known number of iterations."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from functrans.api.arguments import Arguments, array_outputs, flatten_arguments, name_of, record, value_of_leaf
from functrans.api.vmap import vmap
from functrans.config import config
from functrans.control.rearranging import reordered
from functrans.core.aval import Aval, aval_of
from functrans.core.jaxpr import Jaxpr, Literal
from functrans.core.key_reuse import Alternatives
from functrans.core.recording import UNKNOWN
from functrans.dtypes import result_type
from functrans.errors import hide_frames
from functrans.ops.conversion import convert_element_type
from functrans.ops.identity import copy
from functrans.ops.joining import concatenate
from functrans.ops.scan import bind_scan, row_of
from functrans.ops.shape import expand_dims, reshape, rev
from functrans.ops.slicing import index_in_dim, slice_in_dim
from functrans.passes.inline import inline
from functrans.tree import TreeDef, flatten, leaf_path, structure, unflatten
from functrans.tree import map as map_tree

__all__ = ["associative_scan", "map", "scan"]


def scan(
    f: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
    unroll: int | bool = 1,
) -> tuple[Any, Any]:
    """A loop that carries a value along and reads and writes arrays row by row.

    It computes what this does, as one operation of the program that records it:

        carry, ys = init, []
        for x in xs:
            carry, y = f(carry, x)
            ys.append(y)
        return carry, np.stack(ys)

    Args:
        f: from the carry and a row of `xs` to the next carry and a row of the result, a pair. It is recorded once; its
            arguments are unknown meanwhile, so Python cannot branch on them. It may close over arrays and tracers.
        init: the first carry, an array, a number or a pytree of them. The structure, the shapes and the dtypes stay the
            same in all iterations; a Python number takes the dtype that `f` returns.
        xs: an array or a pytree of arrays of one length, which are read along axis 0; None if there are none.
        length: the number of iterations, needed where there is no array in `xs`.
        reverse: whether the iterations go from the last row to the first. Row i of the result belongs to row i of `xs`.
        unroll: accepted for code that was written for JAX, without effect.

    Returns:
        The last carry, and the stacked rows, in the structures that `f` returns.

    Raises:
        TypeError: if `f` does not return a pair, or changes the structure or a type of the carry (each is listed).
        ValueError: if the lengths of `xs` differ from each other or from `length` (each is listed).

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.lax.scan(lambda total, x: (total + x, total), 0.0, np.array([1.0, 2.0, 3.0]))
    (np.float64(6.0), array([0., 1., 3.]))
    """
    try:
        return _scan(f, init, xs, length, reverse, unroll)
    except Exception as error:
        raise hide_frames(error)  # noqa: B904  (it is the same error)


def map(f: Callable[[Any], Any], xs: Any, *, batch_size: int | None = None) -> Any:
    """`f` applied to each row of an array, or of the arrays of a pytree, one after the other; the results stacked.

    It needs the memory of one call of `f` at a time, where `vmap` needs that of all. With a `batch_size` so many rows
    are computed at once, as under `vmap`.

    Args:
        f: a function of a row; see `scan` for what it may do.
        xs: an array or a pytree of arrays of one length.
        batch_size: how many rows to compute at once.

    Raises:
        ValueError: if the lengths differ (each is listed), or there is no array in `xs`.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.lax.map(lambda x: x * x, np.array([1.0, 2.0, 3.0]))
    array([1., 4., 9.])
    """
    try:
        return _map(f, xs, batch_size)
    except Exception as error:
        raise hide_frames(error)  # noqa: B904  (it is the same error)


def associative_scan(fn: Callable[[Any, Any], Any], elems: Any, reverse: bool = False, axis: int = 0) -> Any:
    """What an associative operation joins the elements up to each to, along an axis: `cumsum` for any operation.

    Element i of the result is `fn(...fn(fn(x[0], x[1]), x[2])..., x[i])`. It is computed in about 2 log2(n) steps over
    whole arrays, by joining neighbours, then neighbours of those (Blelloch, Prefix sums and their applications, 1990).

    Args:
        fn: from two arrays of elements, or pytrees of arrays, to what joins them element by element. It must be
            associative; it need not commute. It gets arrays of various lengths along the axis.
        elems: an array or a pytree of arrays, of one length along the axis.
        reverse: whether to join the elements from each on instead: `fn(...fn(x[n-1], x[n-2])..., x[i])`.
        axis: the axis.

    Returns:
        Arrays like those of `elems`.

    Raises:
        ValueError: if the lengths along the axis differ (each is listed).
        TypeError: if `fn` returns another structure, shape or dtype than it gets, naming the leaf.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.lax.associative_scan(np.maximum, np.array([1.0, 3.0, 2.0, 4.0]))
    array([1., 3., 3., 4.])
    """
    try:
        return _associative_scan(fn, elems, reverse, axis)
    except Exception as error:
        raise hide_frames(error)  # noqa: B904  (it is the same error)


# --------------------------------------------------------------------------------------------------------------------
# Checks


def _check_options(name: str, f: Any, unroll: Any = 1) -> None:
    if not callable(f):
        raise TypeError(f"{name} needs a function, got {f!r:.80} of type {type(f).__name__}")
    if isinstance(unroll, bool):
        return
    if _index(unroll) is None or unroll < 1:
        raise ValueError(f"{name}: unroll must be a positive int or a bool, got {unroll!r}")


def _index(x: Any) -> int | None:
    """An int for what serves as one, None for anything else."""
    try:
        return None if isinstance(x, bool) else operator.index(x)
    except TypeError:
        return None


def _check_carry(arguments: Arguments, init: Any) -> None:
    """Check that all leaves of the carry are inputs."""
    n_leaves = structure(init).num_leaves
    places = range(n_leaves) if arguments.places is None else arguments.places[:n_leaves]
    for place in range(n_leaves):
        if place >= len(places) or places[place] != place:
            leaf = arguments.leaves[place]
            raise TypeError(
                f"scan: the carry must be made of arrays and numbers, but init{leaf_path(structure(init), place)} is "
                f"{leaf!r:.60} of type {type(leaf).__name__}. What does not change needs no carry: "
                f"{name_of(arguments.fun)} may close over it."
            )


def _length(name: str, arguments: Arguments, n_carry: int, given: Any) -> int:
    """The number of iterations."""
    if given is not None and (_index(given) is None or given < 0):
        raise TypeError(f"{name}: length must be an int that is not negative, got {given!r:.60}")
    lengths = {}
    for number in range(n_carry, len(arguments.avals)):
        aval = arguments.avals[number]
        if not aval.ndim:
            raise TypeError(
                f"{name} of {name_of(arguments.fun)}: each array of xs is read along axis 0, but "
                f"{arguments.path(number)} is the scalar {aval.strong}, which has no axis. Make a list of numbers an "
                f"array (np.array), and let the function close over what all iterations share."
            )
        lengths[number] = aval.shape[0]
    if given is None and not lengths:
        remedy = "pass length=" if name == "scan" else "pass an array"
        others = [] if arguments.places is None else arguments.static_leaves()
        if others:
            remedy = f"{others[0]!r:.60} of type {type(others[0]).__name__} is none (np.array makes one of a list)"
        raise ValueError(
            f"{name} of {name_of(arguments.fun)}: there is no array in xs to take the length from; {remedy}"
        )
    length = next(iter(lengths.values())) if given is None else operator.index(given)
    if any([n != length for n in lengths.values()]):
        lines = [f"  {arguments.path(i)} is {arguments.avals[i].strong}, of length {n}" for i, n in lengths.items()]
        expected = f" (length={length})" if given is not None else ""
        raise ValueError(
            f"{name} of {name_of(arguments.fun)}: the arrays of xs must have one length{expected}, but\n"
            + "\n".join(lines)
        )
    return length


# --------------------------------------------------------------------------------------------------------------------
# scan


class _Loop(NamedTuple):
    """A call of `scan` or `map`, flattened."""

    name: str
    arguments: Arguments
    """Those of the body, with whole stacks in the place of their rows."""
    carry_tree: TreeDef
    length: int
    reverse: bool

    @property
    def n_carry(self) -> int:
        """How many of the inputs are parts of the carry; the others are stacks."""
        return self.carry_tree.num_leaves


class _Body(NamedTuple):
    """A recorded body."""

    jaxpr: Jaxpr
    """From what it captured, the carry, and rows, to the carry and rows."""
    captured: list[Any]
    carry: list[Aval]
    """The avals of the carry."""
    ys_tree: TreeDef


Outputs = Callable[[Any], tuple[list[Any], list[Any], TreeDef]]
"""From what a function returns to the leaves of the carry, those of the rows, and the structure of the rows."""


def _scan(f: Any, init: Any, xs: Any, length: Any, reverse: Any, unroll: Any) -> tuple[Any, Any]:
    _check_options("scan", f, unroll)
    arguments = flatten_arguments(f, (init, xs), {})
    _check_carry(arguments, init)
    carry_tree = structure(init)
    n = _length("scan", arguments, carry_tree.num_leaves, length)
    loop = _Loop("scan", arguments, carry_tree, n, bool(reverse))
    carry, ys, ys_tree = _run(loop, lambda out: _pair(f, out, carry_tree))
    return unflatten(carry_tree, carry), unflatten(ys_tree, ys)


def _pair(f: Any, out: Any, carry_tree: TreeDef) -> tuple[list[Any], list[Any], TreeDef]:
    if not isinstance(out, (tuple, list)) or len(out) != 2:
        what = "nothing (is a return missing?)" if out is None else f"{out!r:.60} of type {type(out).__name__}"
        raise TypeError(f"scan: {name_of(f)} must return a pair, the next carry and a row of the result, got {what}")
    leaves, treedef = array_outputs(f, tuple(out))
    found, ys_tree = treedef.children()
    if found != carry_tree:
        raise TypeError(
            f"scan: {name_of(f)} must return a carry of the structure that it gets, {carry_tree}, but returned {found}"
        )
    n_carry = carry_tree.num_leaves
    return leaves[:n_carry], leaves[n_carry:], ys_tree


def _run(loop: _Loop, outputs: Outputs) -> tuple[list[Any], list[Any], TreeDef]:
    """The last carry and the stacked rows of a loop."""
    if config.disable_jit and loop.length:
        return _run_in_python(loop, outputs)
    body = _record_body(loop, outputs)
    arguments, n_carry = loop.arguments, loop.n_carry
    init = [_as_dtype(x, aval.dtype) for x, aval in zip(arguments.values, body.carry, strict=False)]
    outs = bind_scan(body.jaxpr, body.captured, init, arguments.values[n_carry:], loop.length, loop.reverse)
    return list(outs[:n_carry]), list(outs[n_carry:]), body.ys_tree


def _as_dtype(x: Any, dtype: Any) -> Any:
    """A value, which may be a Python number, in a dtype."""
    if aval_of(x).dtype == dtype:
        return x
    return convert_element_type(x, dtype) if hasattr(x, "dtype") else np.asarray(x, dtype)


def _record_body(loop: _Loop, outputs: Outputs) -> _Body:
    """Record the body, again and again until the types of the carry stay the same."""
    arguments, n_carry = loop.arguments, loop.n_carry
    carry = arguments.avals[:n_carry]
    rows = [row_of(aval) for aval in arguments.avals[n_carry:]]
    keys = Alternatives()
    while True:
        keys.begin()
        members = arguments._replace(avals=[*carry, *rows])
        found: list[Aval] = []

        def closed(out: Any, carry: Sequence[Aval] = carry, found: list[Aval] = found) -> tuple[list[Any], TreeDef]:
            carry_out, ys, ys_tree = outputs(out)
            found += _next_carry(loop, carry, [aval_of(x) for x in carry_out])
            carry_out = [_as_dtype(x, aval.dtype) for x, aval in zip(carry_out, found, strict=True)]
            return carry_out + ys, ys_tree

        recorded = record(members, [UNKNOWN] * len(members.avals), closed, staging=True)
        if found == carry:
            break
        carry = found
    keys.end()
    captured = recorded.values[len(members.avals) :]
    n_args, n_in = len(members.avals), len(recorded.jaxpr.in_avals)
    body = reordered(inline(recorded.jaxpr), [*range(n_args, n_in), *range(n_args)])
    return _Body(body, captured, carry, recorded.rest)


def _next_carry(loop: _Loop, old: Sequence[Aval], new: Sequence[Aval]) -> list[Aval]:
    """The avals of the carry with which the body may be the same in all iterations.

    Raises:
        TypeError: if there are none, naming the parts of the carry that change.
    """
    avals, lines = [], []
    for number, (before, after) in enumerate(zip(old, new, strict=True)):
        aval = _joined(before, after)
        if aval is None:
            lines.append(f"  {loop.arguments.path(number)} is {before.strong} before and {after.strong} after")
        else:
            avals.append(aval)
    if lines:
        raise TypeError(
            f"scan: all iterations need a carry of the same shapes and dtypes, but {name_of(loop.arguments.fun)} "
            "changes it:\n"
            + "\n".join(lines)
            + "\nStart with an array of the shape and dtype that it returns, or convert what it returns (x.astype)."
        )
    return avals


def _joined(before: Aval, after: Aval) -> Aval | None:
    """The aval of a part of the carry that is `before` in one iteration and becomes `after`; None if they differ."""
    if before.shape != after.shape:
        return None
    if before.dtype == after.dtype:
        return before
    if not before.weak and not after.weak:
        return None
    dtype, weak = result_type(Literal(0, before), Literal(0, after), return_weak_type_flag=True)
    if not before.weak and dtype != before.dtype:
        return None
    return Aval(before.shape, dtype, weak)


def _run_in_python(loop: _Loop, outputs: Outputs) -> tuple[list[Any], list[Any], TreeDef]:
    """The loop as Python, where nothing is recorded: `print` and debuggers see the values."""
    arguments, n_carry = loop.arguments, loop.n_carry
    # A Python number stays one, so that it takes the dtype of what it meets.
    carry = [
        leaf if aval.weak else x
        for leaf, x, aval in zip(arguments.leaves, arguments.values[:n_carry], arguments.avals, strict=False)
    ]
    stacks = arguments.values[n_carry:]
    rows: list[list[Any]] = [[]] * loop.length
    places = range(loop.length)
    for i in reversed(places) if loop.reverse else places:
        args, kwargs = arguments.rebuild([*carry, *[index_in_dim(x, i, keepdims=False) for x in stacks]])
        carry, rows[i], ys_tree = outputs(arguments.fun(*args, **kwargs))
    ys = [_stack(column) for column in zip(*rows, strict=True)]
    return [_plain(x) for x in carry], ys, ys_tree


def _stack(rows: Sequence[Any]) -> Any:
    strong = [aval.dtype for aval in [aval_of(row) for row in rows] if not aval.weak]
    dtype = np.result_type(*strong) if strong else np.result_type(*[_plain(row).dtype for row in rows])
    return concatenate([expand_dims(_as_dtype(_plain(row), dtype), (0,)) for row in rows], 0)


def _plain(x: Any) -> Any:
    return value_of_leaf(x)[1]


# --------------------------------------------------------------------------------------------------------------------
# map


def _map(f: Any, xs: Any, batch_size: Any) -> Any:
    _check_options("map", f)
    arguments = flatten_arguments(f, (xs,), {})
    n = _length("map", arguments, 0, None)
    if batch_size is not None:
        if _index(batch_size) is None or batch_size < 1:
            raise ValueError(f"map: batch_size must be a positive int, got {batch_size!r:.60}")
        return _map_in_chunks(f, arguments, n, operator.index(batch_size))
    loop = _Loop("map", arguments, structure(()), n, False)

    def outputs(out: Any) -> tuple[list[Any], list[Any], TreeDef]:
        leaves, treedef = array_outputs(f, out)
        return [], leaves, treedef

    _, ys, ys_tree = _run(loop, outputs)
    return unflatten(ys_tree, ys)


def _map_in_chunks(f: Any, arguments: Arguments, n: int, size: int) -> Any:
    chunks, rest = divmod(n, size)
    whole = chunks * size
    members = vmap(f)
    parts = []
    if chunks:
        stacks = [_reshaped(x, 0, whole, (chunks, size)) for x in arguments.values]
        (stack,), _ = arguments.rebuild(stacks)
        parts.append(map_tree(lambda y: reshape(y, (whole, *y.shape[2:])), _map(members, stack, None)))
    if rest or not chunks:
        (args, _) = arguments.rebuild([slice_in_dim(x, whole, n) for x in arguments.values])
        parts.append(members(*args))
    return parts[0] if len(parts) == 1 else map_tree(lambda *ys: concatenate(ys, 0), *parts)


def _reshaped(x: Any, start: int, stop: int, lengths: tuple[int, int]) -> Any:
    return reshape(slice_in_dim(x, start, stop), (*lengths, *x.shape[1:]))


# --------------------------------------------------------------------------------------------------------------------
# associative_scan


def _associative_scan(fn: Any, elems: Any, reverse: Any, axis: Any) -> Any:
    _check_options("associative_scan", fn)
    leaves, treedef = flatten(elems)
    arrays = [_element(treedef, place, leaf) for place, leaf in enumerate(leaves)]
    if not arrays:
        raise ValueError("associative_scan: there is no array in elems")
    along = _common_axis(arrays, treedef, axis)

    def join(xs: list[Any], ys: list[Any]) -> list[Any]:
        out, found = flatten(fn(unflatten(treedef, xs), unflatten(treedef, ys)))
        if found != treedef:
            raise TypeError(
                f"associative_scan: {name_of(fn)} must return a value of the structure that it gets, {treedef}, but "
                f"returned {found}"
            )
        return [
            _joined_element(fn, treedef, place, x, like) for place, (x, like) in enumerate(zip(out, xs, strict=True))
        ]

    if arrays[0].shape[along] < 2:
        return unflatten(treedef, [copy(x) for x in arrays])
    if reverse:
        arrays = [rev(x, (along,)) for x in arrays]
    arrays = _prefixes(join, arrays, along)
    return unflatten(treedef, [rev(x, (along,)) for x in arrays] if reverse else arrays)


def _element(treedef: TreeDef, place: int, leaf: Any) -> Any:
    aval, value = value_of_leaf(leaf)
    if aval is None or not aval.ndim:
        what = f"{leaf!r:.60} of type {type(leaf).__name__}" if aval is None else f"the scalar {aval.strong}"
        raise TypeError(f"associative_scan: elems{leaf_path(treedef, place)} must be an array with an axis, got {what}")
    return value


def _common_axis(arrays: Sequence[Any], treedef: TreeDef, axis: Any) -> int:
    along = operator.index(axis)
    lines = [f"  elems{leaf_path(treedef, place)} is {aval_of(x).strong}" for place, x in enumerate(arrays)]
    if along < 0:
        along += arrays[0].ndim
    if any([not 0 <= along < x.ndim for x in arrays]):
        raise ValueError(f"associative_scan: axis {axis} is out of range for one of\n" + "\n".join(lines))
    if any([x.shape[along] != arrays[0].shape[along] for x in arrays]):
        raise ValueError(
            f"associative_scan: the arrays of elems must have one length along axis {along}, but\n" + "\n".join(lines)
        )
    return along


def _joined_element(fn: Any, treedef: TreeDef, place: int, x: Any, like: Any) -> Any:
    aval, value = value_of_leaf(x)
    if aval is None or aval.shape != like.shape or (aval.dtype != like.dtype and not aval.weak):
        raise TypeError(
            f"associative_scan: {name_of(fn)} must return arrays of the shape and dtype that it gets, but for "
            f"elems{leaf_path(treedef, place)}, given {aval_of(like).strong}, it returned "
            f"{x if aval is None else aval.strong!r:.60}"
        )
    return value if aval.dtype == like.dtype else convert_element_type(value, like.dtype)


def _prefixes(join: Callable[[list[Any], list[Any]], list[Any]], elems: list[Any], axis: int) -> list[Any]:
    n = elems[0].shape[axis]
    if n < 2:
        return elems

    def part(xs: Sequence[Any], start: int, stop: int, stride: int = 1) -> list[Any]:
        return [slice_in_dim(x, start, max(stop, start), stride, axis) for x in xs]

    odd = _prefixes(join, join(part(elems, 0, n - 1, 2), part(elems, 1, n, 2)), axis)
    first = part(elems, 0, 1)
    if n == 2:
        return [concatenate(pair, axis) for pair in zip(first, odd, strict=True)]
    n_later = (n - 1) // 2
    later = join(part(odd, 0, n_later), part(elems, 2, n, 2))
    even = [concatenate(pair, axis) for pair in zip(first, later, strict=True)]
    return [_interleaved(x, y, axis) for x, y in zip(even, odd, strict=True)]


def _interleaved(even: Any, odd: Any, axis: int) -> Any:
    """The elements of two arrays in turns; the first may have one more."""
    n = odd.shape[axis]
    pairs = [expand_dims(slice_in_dim(x, 0, n, axis=axis), (axis + 1,)) for x in (even, odd)]
    shape = (*odd.shape[:axis], 2 * n, *odd.shape[axis + 1 :])
    joined = reshape(concatenate(pairs, axis + 1), shape)
    if even.shape[axis] == n:
        return joined
    return concatenate([joined, slice_in_dim(even, n, n + 1, axis=axis)], axis)
