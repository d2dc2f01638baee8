"""Jacobians and Hessians: all directions at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans.api.arguments import flatten_arguments, name_of, value_of_leaf
from functrans.api.differentiation import normalize_argnums
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


class _Jacobian(Transformed):
    def _partial(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """The function of the chosen arguments alone, and those."""
        argnums: int | tuple[int, ...] = self.options["argnums"]
        positions = []
        for i in (argnums,) if isinstance(argnums, int) else argnums:
            if not -len(args) <= i < len(args):
                raise ValueError(
                    f"argnums={i} is out of range for the {len(args)} positional arguments of {name_of(self.fun)}"
                )
            positions.append(i % len(args))
        self._check(args, kwargs, positions)

        def of_chosen(*chosen: Any) -> Any:
            whole = list(args)
            for position, x in zip(positions, chosen, strict=True):
                whole[position] = x
            return self.fun(*whole, **kwargs)

        of_chosen.__name__ = name_of(self.fun)
        return of_chosen, tuple([args[p] for p in positions])

    def _check(self, args: tuple[Any, ...], kwargs: dict[str, Any], positions: list[int]) -> None:
        arguments = flatten_arguments(self.fun, args, kwargs)
        starts = [0]
        for child in arguments.treedef.children()[0].children():
            starts.append(starts[-1] + child.num_leaves)
        chosen = {i for p in positions for i in range(starts[p], starts[p + 1])}
        places = range(len(arguments.leaves)) if arguments.places is None else arguments.places
        for number, place in enumerate(places):
            aval = arguments.avals[number]
            wrong = aval.dtype.kind != "c" if self.options["holomorphic"] else aval.dtype.kind != "f"
            if place in chosen and wrong:
                wanted = "complex arguments (holomorphic=True)" if self.options["holomorphic"] else "real floats"
                raise TypeError(
                    f"a Jacobian is taken with respect to {wanted}, but {arguments.path(number)} of "
                    f"{name_of(self.fun)} is {aval.strong}: convert it, or choose other arguments (argnums=...)"
                )


class Jacfwd(_Jacobian):
    """The function that `jacfwd` returns."""

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        fun, chosen = self._partial(args, kwargs)
        has_aux = self.options["has_aux"]
        kept: list[Any] = []

        def push(*tangents: Any) -> Any:
            results = jvp(fun, chosen, tangents, has_aux=has_aux)
            return results[1:] if has_aux else results[1]

        basis = _basis(chosen)
        columns = vmap(push, out_axes=(-1, None) if has_aux else -1)(*basis)
        if has_aux:
            columns, aux = columns
            kept.append(aux)
        jacobian = tree_map(lambda column: self._split_last(column, chosen), columns)
        return (jacobian, kept[0]) if has_aux else jacobian

    def _split_last(self, column: Any, chosen: tuple[Any, ...]) -> Any:
        """A stack of output tangents along the last axis, cut into the arguments' shapes."""
        leaves, treedef = flatten(chosen)
        parts: list[Any] = []
        start = 0
        for leaf in leaves:
            shape, size = _shape_size(leaf)
            parts.append(_cut(column, start, size, -1, (*column.shape[:-1], *shape)))
            start += size
        return _unwrap(unflatten(treedef, parts), self.options["argnums"])


class Jacrev(_Jacobian):
    """The function that `jacrev` returns."""

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        fun, chosen = self._partial(args, kwargs)
        has_aux = self.options["has_aux"]
        out, pull, *aux = vjp(fun, *chosen, has_aux=has_aux)
        leaves, out_tree = flatten(out)
        for leaf in leaves:
            if aval_of(leaf).dtype.kind != ("c" if self.options["holomorphic"] else "f"):
                raise TypeError(
                    f"a Jacobian needs {'complex' if self.options['holomorphic'] else 'real'} outputs, but "
                    f"{name_of(self.fun)} returned {aval_of(leaf).strong}"
                )
        rows = vmap(pull)(*_basis((out,)))
        cut = flatten(rows)[0]
        treedef = flatten(chosen)[1]
        jacobians = []
        start = 0
        for leaf in leaves:
            shape, size = _shape_size(leaf)
            parts = [_cut(row, start, size, 0, (*shape, *row.shape[1:])) for row in cut]
            jacobians.append(_unwrap(unflatten(treedef, parts), self.options["argnums"]))
            start += size
        jacobian = unflatten(out_tree, jacobians)
        return (jacobian, aux[0]) if has_aux else jacobian


def _basis(trees: tuple[Any, ...]) -> tuple[Any, ...]:
    """The unit vectors of a pytree, stacked along axis 0."""
    leaves, treedef = flatten(trees)
    total = sum([_shape_size(leaf)[1] for leaf in leaves])
    stacks, start = [], 0
    for leaf in leaves:
        shape, size = _shape_size(leaf)
        stack = np.zeros((total, size), aval_of(leaf).dtype)
        stack[start : start + size] = np.eye(size, dtype=stack.dtype)
        stacks.append(stack.reshape(total, *shape))
        start += size
    return unflatten(treedef, stacks)


def _shape_size(leaf: Any) -> tuple[tuple[int, ...], int]:
    aval = value_of_leaf(leaf)[0]
    return (aval.shape, aval.size) if aval is not None else ((), 0)


def _cut(x: Any, start: int, size: int, axis: int, shape: tuple[int, ...]) -> Any:
    """A part of an array or tracer along an axis, in another shape."""
    return reshape(slice_in_dim(x, start, start + size, axis=axis % x.ndim), shape)


def _unwrap(trees: tuple[Any, ...], argnums: int | tuple[int, ...]) -> Any:
    return trees[0] if isinstance(argnums, int) else trees
