"""vmap: a function of single arrays as a function of stacks of them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any

import numpy as np

from functrans.api.arguments import (
    Arguments,
    Described,
    array_outputs,
    flatten_arguments,
    name_of,
    output_path,
    parameter_name,
    record,
)
from functrans.api.chunks import batch_in_chunks
from functrans.api.execution import run_program
from functrans.api.transformed import Transformed
from functrans.core.aval import Aval
from functrans.core.jaxpr import Jaxpr
from functrans.core.recording import UNKNOWN
from functrans.transforms.batch import Axes, BatchAxis, batch, batch_to, collective_over
from functrans.tree import TreeDef, check_prefix, leaves, structure, unflatten

__all__ = ["checked_chunk_size", "vmap"]


def vmap(
    fun: Callable[..., Any],
    in_axes: Any = 0,
    out_axes: Any = 0,
    axis_name: Hashable = None,
    axis_size: int | None = None,
    spmd_axis_name: Hashable = None,
    *,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """A function that applies `fun` to each member of stacked arguments, all at once.

    Args:
        fun: a function of arrays, numbers and pytrees.
        in_axes: along which axis each positional argument is stacked: an int for all, or a tuple with one entry for
            each, which may be a pytree prefix of the argument; None for an argument that all members share. Keyword
            arguments are stacked along axis 0. Leaves that are not arrays or numbers are shared.
        out_axes: along which axis the outputs are to be stacked, a pytree prefix of the output; None for an output that
            is the same for all members.
        axis_name: a name for what is mapped over, which collectives (`functrans.lax.psum`) take.
        axis_size: the number of members, needed only where no argument is stacked.
        spmd_axis_name: of JAX's devices; nothing but None here.
        chunk_size: how many members are computed at once, all of them if None. A smaller number bounds the memory that
            intermediate results take.

    Returns:
        A function of the stacked arguments. Shared arguments have values while `fun` is recorded.

    Raises:
        ValueError: when called, if the stacked axes differ in length (each is listed), or `in_axes` or `out_axes` do
            not fit; if a collective works over an axis that is computed in chunks.
        TypeError: if an axis, a size or a name is of the wrong type.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.vmap(np.dot, in_axes=(0, None))(np.eye(2), np.array([3.0, 4.0]))
    array([3., 4.])
    """
    if spmd_axis_name is not None:
        raise ValueError(
            f"vmap: spmd_axis_name={spmd_axis_name!r} is about the devices of JAX's meshes, which functrans has not; "
            "leave it away"
        )
    return Vmapped(
        fun,
        in_axes=_checked_in_axes(in_axes),
        out_axes=out_axes,
        axis_name=_checked_name(axis_name),
        axis_size=axis_size,
        chunk_size=checked_chunk_size("vmap", chunk_size),
    )


class Vmapped(Transformed):
    """The function that `vmap` returns."""

    transformation = "vmap"

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Transform and run."""
        arguments = flatten_arguments(self.fun, args, kwargs)
        axes = self._axes_of_inputs(arguments, args)
        axis = BatchAxis(self._size(arguments, axes), self.options["axis_name"])
        members = arguments._replace(avals=[_member(a, along) for a, along in zip(arguments.avals, axes, strict=True)])
        known = [v if along is None else UNKNOWN for v, along in zip(arguments.values, axes, strict=True)]
        jaxpr, values, out_tree, _ = record(
            members,
            known,
            lambda out: array_outputs(self.fun, out),
            axis_env=() if axis.name is None else ((axis.name, axis.size),),
        )
        values = [*arguments.values, *values[len(axes) :]]
        axes += [None] * (len(values) - len(axes))
        return unflatten(out_tree, run_program(self._program(jaxpr, axis, tuple(axes), out_tree), values))

    def _program(self, jaxpr: Jaxpr, axis: BatchAxis, axes: Axes, out_tree: TreeDef) -> Jaxpr:
        """The program on the stacks."""
        chunk: int | None = self.options["chunk_size"]
        if chunk is not None and axis.name is not None:
            self._refuse_collectives(jaxpr, axis, chunk)
        wanted = self._axes_of_outputs(out_tree, batch(jaxpr, axis, axes)[1], jaxpr.out_avals)
        if chunk is None:
            return batch_to(jaxpr, axis, axes, wanted)
        return batch_in_chunks(jaxpr, axis.size, axes, wanted, chunk)

    def _refuse_collectives(self, jaxpr: Jaxpr, axis: BatchAxis, chunk: int) -> None:
        collective = collective_over(jaxpr, axis.name)
        if collective is not None:
            raise ValueError(
                f"vmap of {name_of(self.fun)}: {collective} works over all members along {axis.name!r}, which "
                f"chunk_size={chunk} computes one chunk after the other. Leave chunk_size away, or the collective."
            )

    def _axes_of_inputs(self, arguments: Arguments, args: tuple[Any, ...]) -> list[int | None]:
        in_axes = self.options["in_axes"]
        if isinstance(in_axes, tuple) and len(in_axes) != len(args):
            raise ValueError(
                f"vmap in_axes must have one entry for each positional argument of {name_of(self.fun)}: "
                f"it has {len(in_axes)}, and {len(args)} were passed"
            )
        entries = in_axes if isinstance(in_axes, tuple) else (in_axes,) * len(args)
        positional, keywords = arguments.treedef.children()
        by_leaf: list[Any] = []
        for number, (entry, child) in enumerate(zip(entries, positional.children(), strict=True)):
            if entry is None or type(entry) is int:
                by_leaf += [entry] * child.num_leaves
            else:
                by_leaf += self._axes_of_leaves(entry, args[number], number)
        by_leaf += [0] * keywords.num_leaves
        places = range(len(by_leaf)) if arguments.places is None else arguments.places
        n_positional = len(by_leaf) - keywords.num_leaves
        return [
            _checked_axis(
                by_leaf[place],
                arguments.avals[number],
                Described(partial(_described, arguments, number)),
                "None in in_axes shares it" if place < n_positional else "pass it by position to share it",
            )
            for number, place in enumerate(places)
        ]

    def _axes_of_leaves(self, entry: Any, arg: Any, number: int) -> list[Any]:
        name = parameter_name(self.fun, number)
        try:
            subtrees = check_prefix(entry, arg, f"in_axes[{number}]", name, is_leaf=_is_none)
        except ValueError as error:
            raise ValueError(f"vmap of {name_of(self.fun)}: {error}") from None
        return _repeated(entry, subtrees)

    def _size(self, arguments: Arguments, axes: list[int | None]) -> int:
        sizes = {number: arguments.avals[number].shape[axis] for number, axis in enumerate(axes) if axis is not None}
        given: int | None = self.options["axis_size"]
        if given is not None and (isinstance(given, bool) or not isinstance(given, (int, np.integer)) or given < 0):
            raise TypeError(
                f"vmap of {name_of(self.fun)}: axis_size must be an int that is not negative, got {given!r}"
            )
        if given is None and not sizes:
            raise ValueError(
                f"vmap of {name_of(self.fun)}: no argument is stacked; name one in in_axes, or give axis_size"
            )
        size = next(iter(sizes.values())) if given is None else int(given)
        if any([n != size for n in sizes.values()]):
            lines = [
                f"  {arguments.path(i)} is {arguments.avals[i].strong}, of length {n} along axis {axes[i]}"
                for i, n in sizes.items()
            ]
            expected = f" (axis_size={given})" if given is not None else ""
            raise ValueError(
                f"vmap of {name_of(self.fun)}: the stacked axes must have one length{expected}, but\n"
                + "\n".join(lines)
            )
        return size

    def _axes_of_outputs(self, out_tree: TreeDef, have: Axes, avals: tuple[Aval, ...]) -> Axes:
        out_axes = self.options["out_axes"]
        if type(out_axes) is int:
            given: list[Any] = [out_axes] * out_tree.num_leaves
        else:
            template = unflatten(out_tree, list(range(out_tree.num_leaves)))
            try:
                subtrees = check_prefix(out_axes, template, "out_axes", "output", is_leaf=_is_none)
            except ValueError as error:
                raise ValueError(f"vmap of {name_of(self.fun)}: {error}") from None
            given = _repeated(out_axes, subtrees)
        return tuple(
            [
                _checked_out_axis(
                    axis, have[number], avals[number], Described(partial(output_path, self.fun, out_tree, number))
                )
                for number, axis in enumerate(given)
            ]
        )


def _is_none(x: Any) -> bool:
    return x is None


def _repeated(prefix: Any, subtrees: Sequence[Any]) -> list[Any]:
    """The leaves of a prefix, each as often as there are leaves in its subtree."""
    return [
        leaf
        for leaf, subtree in zip(leaves(prefix, _is_none), subtrees, strict=True)
        for _ in range(structure(subtree).num_leaves)
    ]


def _member(aval: Aval, axis: int | None) -> Aval:
    if axis is None:
        return aval
    return aval.with_shape((*aval.shape[:axis], *aval.shape[axis + 1 :]))


# --------------------------------------------------------------------------------------------------------------------
# Checks


def _checked_in_axes(in_axes: Any) -> Any:
    if isinstance(in_axes, list):
        in_axes = tuple(in_axes)
    if in_axes is None or type(in_axes) is int or (isinstance(in_axes, tuple)):
        return in_axes
    if isinstance(in_axes, np.integer):
        return int(in_axes)
    hint = "" if isinstance(in_axes, (str, float, bool)) else ". For a function of one pytree write in_axes=(axes,)"
    raise TypeError(
        "vmap in_axes must be an int, None, or a tuple with an entry for each positional argument, "
        f"got {in_axes!r:.60} of type {type(in_axes).__name__}{hint}"
    )


def _checked_name(axis_name: Any) -> Hashable:
    try:
        hash(axis_name)
    except TypeError:
        pass
    else:
        if not isinstance(axis_name, (int, float, tuple, np.generic)):
            return axis_name
    raise TypeError(
        f"vmap axis_name must be a name, such as a string, got {axis_name!r:.60} of type {type(axis_name).__name__}. "
        "(The axes along which arguments are stacked are in_axes.)"
    )


def checked_chunk_size(transformation: str, chunk_size: Any) -> int | None:
    """The number of members in a chunk, or None.

    Raises:
        TypeError, ValueError: if it is something else, or not positive.
    """
    if chunk_size is None:
        return None
    if isinstance(chunk_size, (bool, np.bool_)) or not isinstance(chunk_size, (int, np.integer)):
        raise TypeError(f"{transformation}: chunk_size must be a positive int or None, got {chunk_size!r:.60}")
    if chunk_size < 1:
        raise ValueError(f"{transformation}: chunk_size must be a positive int or None, got {chunk_size}")
    return int(chunk_size)


def _described(arguments: Arguments, number: int) -> str:
    return f"{arguments.path(number)} of {name_of(arguments.fun)}"


def _checked_axis(axis: Any, aval: Aval, path: object, remedy: str) -> int | None:
    if axis is None:
        return None
    axis = _integer(axis, "in_axes", path)
    if not -aval.ndim <= axis < aval.ndim:
        hint = f": {remedy}" if not aval.ndim else ""
        raise ValueError(
            f"vmap: in_axes={axis} is out of range for {path}, which is {aval.strong} and has {aval.ndim} axes{hint}"
        )
    return axis % aval.ndim


def _checked_out_axis(axis: Any, have: int | None, aval: Aval, path: object) -> int | None:
    if axis is None:
        if have is not None:
            raise ValueError(
                f"vmap: {path} depends on a stacked argument, so out_axes=None cannot be kept: give the axis "
                "along which it is to be stacked"
            )
        return None
    axis, ndim = _integer(axis, "out_axes", path), aval.ndim + 1
    if not -ndim <= axis < ndim:
        raise ValueError(f"vmap: out_axes={axis} is out of range for {path}, which has {ndim} axes when stacked")
    return axis % ndim


def _integer(axis: Any, option: str, path: object) -> int:
    if isinstance(axis, (bool, np.bool_)) or not isinstance(axis, (int, np.integer)):
        raise TypeError(f"vmap {option} must be ints or None, got {axis!r} for {path}")
    return int(axis)
