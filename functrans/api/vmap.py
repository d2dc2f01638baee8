"""vmap: a function of single arrays as a function of stacks of them."""

from __future__ import annotations

from collections.abc import Callable
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
    record,
)
from functrans.api.execution import run_program
from functrans.api.transformed import Transformed
from functrans.core.aval import Aval
from functrans.core.recording import UNKNOWN
from functrans.transforms.batch import BatchAxis, batch, batch_to
from functrans.tree import TreeDef, broadcast_prefix, unflatten

__all__ = ["vmap"]


def vmap(
    fun: Callable[..., Any], in_axes: Any = 0, out_axes: Any = 0, *, axis_size: int | None = None
) -> Callable[..., Any]:
    """A function that applies `fun` to each member of stacked arguments, all at once.

    Args:
        fun: a function of arrays, numbers and pytrees.
        in_axes: along which axis each positional argument is stacked: an int for all, or a tuple with one entry for
            each, which may be a pytree prefix of the argument; None for an argument that all members share. Keyword
            arguments are stacked along axis 0.
        out_axes: along which axis the outputs are to be stacked, a pytree prefix of the output; None for an output that
            does not depend on a stacked argument.
        axis_size: the number of members, needed only where no argument is stacked.

    Returns:
        A function of the stacked arguments. Shared arguments have values while `fun` is recorded.

    Raises:
        ValueError: when called, if the stacked axes differ in length (each is listed), or `in_axes` do not fit.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.vmap(np.dot, in_axes=(0, None))(np.eye(2), np.array([3.0, 4.0]))
    array([3., 4.])
    """
    return Vmapped(fun, in_axes=in_axes, out_axes=out_axes, axis_size=axis_size)


class Vmapped(Transformed):
    """The function that `vmap` returns."""

    transformation = "vmap"

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Transform and run."""
        arguments = flatten_arguments(self.fun, args, kwargs)
        axes = self._axes_of_inputs(arguments, args, kwargs)
        size = self._size(arguments, axes)
        members = arguments._replace(avals=[_member(a, axis) for a, axis in zip(arguments.avals, axes, strict=True)])
        known = [v if axis is None else UNKNOWN for v, axis in zip(arguments.values, axes, strict=True)]
        jaxpr, values, out_tree, _ = record(members, known, lambda out: array_outputs(self.fun, out))
        values = [*arguments.values, *values[len(axes) :]]
        axes += [None] * (len(values) - len(axes))
        wanted = self._axes_of_outputs(out_tree, batch(jaxpr, BatchAxis(size), tuple(axes))[1], jaxpr.out_avals)
        return unflatten(out_tree, run_program(batch_to(jaxpr, BatchAxis(size), tuple(axes), wanted), values))

    def _axes_of_inputs(self, arguments: Arguments, args: Any, kwargs: Any) -> list[int | None]:
        in_axes = self.options["in_axes"]
        if isinstance(in_axes, list):
            in_axes = tuple(in_axes)
        if isinstance(in_axes, tuple) and len(in_axes) != len(args):
            raise ValueError(
                f"vmap in_axes must have one entry for each positional argument of {name_of(self.fun)}: "
                f"it has {len(in_axes)}, and {len(args)} were passed"
            )
        by_leaf = broadcast_prefix((in_axes, 0), (args, kwargs), is_leaf=lambda x: x is None)
        places = range(len(by_leaf)) if arguments.places is None else arguments.places
        axes = []
        for number, place in enumerate(places):
            axes.append(_checked_axis(by_leaf[place], arguments.avals[number], arguments.path(number), self.fun))
        return axes

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
        size = next(iter(sizes.values())) if given is None else given
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

    def _axes_of_outputs(
        self, out_tree: TreeDef, have: tuple[int | None, ...], avals: tuple[Aval, ...]
    ) -> tuple[int | None, ...]:
        template = unflatten(out_tree, list(range(out_tree.num_leaves)))
        given = broadcast_prefix(self.options["out_axes"], template, is_leaf=lambda x: x is None)
        wanted = []
        for number, axis in enumerate(given):
            path = Described(partial(output_path, self.fun, out_tree, number))
            if axis is None and have[number] is not None:
                raise ValueError(f"vmap: {path} depends on a stacked argument, so out_axes=None cannot be kept")
            axis = None if axis is None else _integer(axis, "out_axes", path)
            ndim = avals[number].ndim + 1
            if axis is not None and not -ndim <= axis < ndim:
                raise ValueError(
                    f"vmap: out_axes={axis} is out of range for {path}, which has {ndim} axes when stacked"
                )
            wanted.append(axis if axis is None else axis % ndim)
        return tuple(wanted)


def _member(aval: Aval, axis: int | None) -> Aval:
    if axis is None:
        return aval
    return aval.with_shape((*aval.shape[:axis], *aval.shape[axis + 1 :]))


def _checked_axis(axis: Any, aval: Aval, path: object, fun: Callable[..., Any]) -> int | None:
    if axis is None:
        return None
    axis = _integer(axis, "in_axes", Described(lambda: f"{path} of {name_of(fun)}"))
    if not -aval.ndim <= axis < aval.ndim:
        raise ValueError(
            f"vmap: in_axes={axis} is out of range for {path} of {name_of(fun)}, which is {aval.strong} "
            f"and has {aval.ndim} axes"
        )
    return axis % aval.ndim


def _integer(axis: Any, option: str, path: object) -> int:
    if isinstance(axis, (bool, np.bool_)) or not isinstance(axis, (int, np.integer)):
        raise TypeError(f"vmap {option} must be ints or None, got {axis!r} for {path}")
    return int(axis)
