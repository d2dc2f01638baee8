"""Jacobians and Hessians: all directions at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from functrans.api.arguments import flatten_arguments, name_of, output_path, value_of_leaf
from functrans.api.differentiation import aux_outputs, normalize_argnums
from functrans.api.linear import jvp, vjp
from functrans.api.transformed import Transformed
from functrans.api.vmap import vmap
from functrans.core.aval import aval_of
from functrans.ops.shape import reshape
from functrans.ops.slicing import slice_in_dim
from functrans.tree import flatten, unflatten
from functrans.tree import map as tree_map

__all__ = ["hessian", "jacfwd", "jacrev"]

Argnums = int | Sequence[int]


def jacfwd(
    fun: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False, holomorphic: bool = False
) -> Callable[..., Any]:
    """A function that computes the Jacobian of `fun` by forward mode: one direction for each element of the arguments.

    Args:
        fun: a function of arrays and pytrees.
        argnums: with respect to which positional arguments.
        has_aux: whether `fun` returns a pair, of which the second part is handed on.
        holomorphic: whether `fun` is a holomorphic function from complex to complex.

    Returns:
        A function with the arguments of `fun`. For each output leaf it gives the structure of the arguments named, with
        arrays of the output's shape followed by the argument's.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.jacfwd(lambda x: x**2)(np.array([1.0, 2.0]))
    array([[2., 0.],
           [0., 4.]])
    """
    return Jacfwd(fun, argnums=normalize_argnums(argnums), has_aux=has_aux, holomorphic=holomorphic)


def jacrev(
    fun: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False, holomorphic: bool = False
) -> Callable[..., Any]:
    """A function that computes the Jacobian of `fun` by reverse mode: one pass for each element of the output.

    Arguments and result are those of `jacfwd`.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.jacrev(np.sum)(np.array([1.0, 2.0]))
    array([1., 1.])
    """
    return Jacrev(fun, argnums=normalize_argnums(argnums), has_aux=has_aux, holomorphic=holomorphic)


def hessian(
    fun: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False, holomorphic: bool = False
) -> Callable[..., Any]:
    """A function that computes the Hessian of `fun`, forward over reverse. The arguments are those of `jacfwd`.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.hessian(lambda x: x[0] ** 2 * x[1])(np.array([1.0, 2.0]))
    array([[4., 2.],
           [2., 0.]])
    """
    inner = jacrev(fun, argnums, has_aux, holomorphic)
    return jacfwd(inner, argnums, has_aux, holomorphic)


class _Partial(NamedTuple):
    """A function of the arrays alone with respect to which it is differentiated."""

    fun: Callable[..., Any]
    leaves: list[Any]
    """Their values."""
    rebuild: Callable[[list[Any]], Any]
    """From something for each of them to the structure of the arguments named; static leaves have None."""


class _Jacobian(Transformed):
    def _partial(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Partial:
        argnums: int | tuple[int, ...] = self.options["argnums"]
        positions = []
        for i in (argnums,) if isinstance(argnums, int) else argnums:
            if not -len(args) <= i < len(args):
                raise ValueError(
                    f"argnums={i} is out of range for the {len(args)} positional arguments of {name_of(self.fun)}"
                )
            positions.append(i % len(args))
        self._check(args, kwargs, positions)
        leaves, treedef = flatten(tuple([args[p] for p in positions]))
        places = [i for i, leaf in enumerate(leaves) if value_of_leaf(leaf)[0] is not None]

        def with_arrays(arrays: Sequence[Any], others: list[Any]) -> tuple[Any, ...]:
            filled = list(others)
            for place, x in zip(places, arrays, strict=True):
                filled[place] = x
            return unflatten(treedef, filled)

        def of_arrays(*arrays: Any) -> Any:
            whole = list(args)
            for position, x in zip(positions, with_arrays(arrays, leaves), strict=True):
                whole[position] = x
            return self.fun(*whole, **kwargs)

        def rebuild(parts: list[Any]) -> Any:
            trees = with_arrays(parts, [None] * len(leaves))
            return trees[0] if isinstance(argnums, int) else trees

        of_arrays.__name__ = name_of(self.fun)
        return _Partial(of_arrays, [leaves[i] for i in places], rebuild)

    def _check(self, args: tuple[Any, ...], kwargs: dict[str, Any], positions: list[int]) -> None:
        arguments = flatten_arguments(self.fun, args, kwargs)
        starts = [0]
        for child in arguments.treedef.children()[0].children():
            starts.append(starts[-1] + child.num_leaves)
        chosen = {i for p in positions for i in range(starts[p], starts[p + 1])}
        places = range(len(arguments.leaves)) if arguments.places is None else arguments.places
        for number, place in enumerate(places):
            aval = arguments.avals[number]
            if place in chosen and aval.dtype.kind != self._kind:
                wanted = "real floats" if self._kind == "f" else "complex arguments (holomorphic=True)"
                raise TypeError(
                    f"a Jacobian is taken with respect to {wanted}, but {arguments.path(number)} of "
                    f"{name_of(self.fun)} is {aval.strong}: convert it, or choose other arguments (argnums=...)"
                )

    def _check_outputs(self, out: Any) -> None:
        leaves, treedef = flatten(out)
        for place, leaf in enumerate(leaves):
            aval = aval_of(leaf)
            if aval.dtype.kind != self._kind:
                raise TypeError(
                    f"a Jacobian needs {'real' if self._kind == 'f' else 'complex'} outputs, but "
                    f"{output_path(self.fun, treedef, place)} is {aval.strong}"
                )

    @property
    def _kind(self) -> str:
        return "c" if self.options["holomorphic"] else "f"


class Jacfwd(_Jacobian):
    """The function that `jacfwd` returns."""

    transformation = "jacfwd"

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Transform and run."""
        partial = self._partial(args, kwargs)
        aux_rebuild: list[Any] = []

        def push(*tangents: Any) -> Any:
            out, out_dot, *aux = jvp(partial.fun, partial.leaves, tangents, has_aux=self.options["has_aux"])
            self._check_outputs(out)
            leaves, rebuild = aux_outputs(aux)
            aux_rebuild[:] = [rebuild]
            return out_dot, leaves

        columns, aux_leaves = vmap(push, out_axes=(-1, None))(*_basis(partial.leaves))
        jacobian = tree_map(lambda column: partial.rebuild(_split(column, -1, partial.leaves)), columns)
        return (jacobian, aux_rebuild[0](aux_leaves)[0]) if self.options["has_aux"] else jacobian


class Jacrev(_Jacobian):
    """The function that `jacrev` returns."""

    transformation = "jacrev"

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Transform and run."""
        partial = self._partial(args, kwargs)
        out, pull, *aux = vjp(partial.fun, *partial.leaves, has_aux=self.options["has_aux"])
        self._check_outputs(out)
        leaves, out_tree = flatten(out)
        rows = vmap(lambda *cts: pull(unflatten(out_tree, cts)))(*_basis(leaves))
        by_argument = [_split(row, 0, leaves) for row in rows]
        by_output = zip(*by_argument, strict=True) if by_argument else [()] * len(leaves)
        jacobian = unflatten(out_tree, [partial.rebuild(list(parts)) for parts in by_output])
        return (jacobian, *aux) if self.options["has_aux"] else jacobian


def _basis(leaves: list[Any]) -> list[Any]:
    """The unit vectors of the space of some arrays together, stacked along axis 0."""
    avals = [aval_of(leaf) for leaf in leaves]
    total, start, stacks = sum([aval.size for aval in avals]), 0, []
    for aval in avals:
        stack = np.zeros((total, aval.size), aval.dtype)
        stack[start : start + aval.size] = np.eye(aval.size, dtype=aval.dtype)
        stacks.append(stack.reshape(total, *aval.shape))
        start += aval.size
    return stacks


def _split(x: Any, axis: int, leaves: list[Any]) -> list[Any]:
    """An array cut along its first or last axis, with the shape of each leaf in the place of that axis."""
    parts, start = [], 0
    for leaf in leaves:
        aval = aval_of(leaf)
        part = slice_in_dim(x, start, start + aval.size, axis=axis)
        shape = (*aval.shape, *x.shape[1:]) if axis == 0 else (*x.shape[:-1], *aval.shape)
        part = reshape(part, shape)
        # A part of its own, and a NumPy scalar where it has no axes.
        parts.append(part.copy()[()] if type(part) is np.ndarray else part)
        start += aval.size
    return parts
