"""Jacobians and Hessians: all directions at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from functrans.api.arguments import flatten_arguments, name_of, output_path, value_of_leaf
from functrans.api.differentiation import aux_outputs, normalize_argnums
from functrans.api.linear import jvp, vjp
from functrans.api.transformed import Transformed
from functrans.api.vmap import checked_chunk_size, vmap
from functrans.core.aval import Aval, aval_of
from functrans.dtypes import float0
from functrans.ops.comparison import eq
from functrans.ops.conversion import convert_element_type
from functrans.ops.elementwise import sub
from functrans.ops.iota import iota
from functrans.ops.shape import broadcast_in_dim, reshape
from functrans.ops.slicing import slice_in_dim
from functrans.tree import flatten, unflatten
from functrans.tree import map as tree_map

__all__ = ["hessian", "jacfwd", "jacrev"]

Argnums = int | Sequence[int]
Shape = tuple[int, ...]


def jacfwd(
    fun: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    *,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """A function that computes the Jacobian of `fun` by forward mode: one direction for each element of the arguments.

    Args:
        fun: a function of arrays and pytrees.
        argnums: with respect to which positional arguments, one or several; negative ones count from the end.
        has_aux: whether `fun` returns a pair, of which the second part is handed on.
        holomorphic: whether `fun` is a holomorphic function from complex to complex.
        chunk_size: how many directions are computed at once, all of them if None. A smaller number bounds the memory
            that intermediate results take.

    Returns:
        A function with the arguments of `fun`. For each output leaf it gives the structure of the arguments named (a
        tuple for several), with arrays of the output's shape followed by the argument's; a pair of that and the rest
        with `has_aux=True`. Leaves that are not arrays have None.

    Raises:
        TypeError: when called, if an argument named or an output is not of real floats (or, with `holomorphic=True`,
            not complex), naming it. Real floats may have complex outputs.
        ValueError: if `argnums` is out of range.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.jacfwd(lambda x: x**2)(np.array([1.0, 2.0]))
    array([[2., 0.],
           [0., 4.]])
    """
    return Jacfwd(
        fun,
        argnums=normalize_argnums(argnums),
        has_aux=has_aux,
        holomorphic=holomorphic,
        allow_int=False,
        chunk_size=checked_chunk_size("jacfwd", chunk_size),
    )


def jacrev(
    fun: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
    *,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """A function that computes the Jacobian of `fun` by reverse mode: one pass for each element of the output.

    Arguments, result and errors are those of `jacfwd`, but that outputs must be real with real arguments.

    Args:
        allow_int: whether integer leaves are allowed; their derivative is of dtype `float0`, that is empty.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.jacrev(np.sum)(np.array([1.0, 2.0]))
    array([1., 1.])
    """
    return Jacrev(
        fun,
        argnums=normalize_argnums(argnums),
        has_aux=has_aux,
        holomorphic=holomorphic,
        allow_int=allow_int,
        chunk_size=checked_chunk_size("jacrev", chunk_size),
    )


def hessian(
    fun: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    *,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """A function that computes the Hessian of `fun`, forward over reverse. The arguments are those of `jacfwd`.

    For each output leaf it gives the structure of the arguments named twice over, with arrays of the shape of the
    output, then of the first argument, then of the second.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.hessian(lambda x: x[0] ** 2 * x[1])(np.array([1.0, 2.0]))
    array([[4., 2.],
           [2., 0.]])
    """
    checked_chunk_size("hessian", chunk_size)
    inner = jacrev(fun, argnums, has_aux, holomorphic, chunk_size=chunk_size)
    return jacfwd(inner, argnums, has_aux, holomorphic, chunk_size=chunk_size)


class _Partial(NamedTuple):
    """A function of the arrays alone with respect to which it is differentiated."""

    fun: Callable[..., Any]
    leaves: list[Any]
    """Their values."""
    rebuild: Callable[[list[Any], Shape], Any]
    """From a part for each of them to the structure of the arguments named, for an output of a shape. Static leaves
    have None, integers an array of dtype float0."""


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
        avals = [value_of_leaf(leaf)[0] for leaf in leaves]
        places = [i for i, aval in enumerate(avals) if aval is not None and aval.inexact]

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

        def rebuild(parts: list[Any], shape: Shape) -> Any:
            empty = [None if aval is None else np.zeros((*shape, *aval.shape), float0) for aval in avals]
            trees = with_arrays(parts, empty)
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
        wanted = "complex arguments (holomorphic=True)" if self._holomorphic else "real floats"
        for number, place in enumerate(places):
            aval = arguments.avals[number]
            if place not in chosen or aval.dtype.kind == ("c" if self._holomorphic else "f"):
                continue
            if aval.inexact or not self.options["allow_int"]:
                remedy = "or choose other arguments (argnums=...)"
                if aval.dtype.kind == "c":
                    remedy += "; for a holomorphic function pass holomorphic=True"
                raise TypeError(
                    f"a Jacobian is taken with respect to {wanted}, but {arguments.path(number)} of "
                    f"{name_of(self.fun)} is {aval.strong}: convert it, {remedy}"
                )

    def _check_outputs(self, out: Any, kinds: str, wanted: str) -> None:
        leaves, treedef = flatten(out)
        for place, leaf in enumerate(leaves):
            aval = aval_of(leaf)
            if aval.dtype.kind not in kinds:
                remedy = "hand on what is not to be differentiated with has_aux=True"
                if self._holomorphic:
                    remedy = "a holomorphic function returns complex numbers"
                elif aval.dtype.kind == "c":
                    remedy = "return its real and its imaginary part, or take jacfwd"
                raise TypeError(
                    f"a Jacobian needs {wanted} outputs, but {output_path(self.fun, treedef, place)} is "
                    f"{aval.strong}: {remedy}"
                )

    def _for_each(self, fun: Callable[..., Any], avals: list[Aval], out_axes: Any) -> Any:
        """A function of some arrays on each unit vector of the space of all of them together."""
        chunk: int | None = self.options["chunk_size"]
        total = sum([aval.size for aval in avals])
        if chunk is None:
            return vmap(fun, out_axes=out_axes, axis_size=total)(*_basis(avals, total))

        def of_number(number: Any) -> Any:
            return fun(*_unit_vector(number, avals))

        return vmap(of_number, out_axes=out_axes, chunk_size=chunk)(np.arange(total, dtype=np.int64))

    @property
    def _holomorphic(self) -> bool:
        return bool(self.options["holomorphic"])


class Jacfwd(_Jacobian):
    """The function that `jacfwd` returns."""

    transformation = "jacfwd"

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Transform and run."""
        partial = self._partial(args, kwargs)
        kinds, wanted = ("c", "complex") if self._holomorphic else ("fc", "real or complex")
        avals = [aval_of(leaf) for leaf in partial.leaves]
        aux_rebuild: list[Any] = []

        def push(*tangents: Any) -> Any:
            out, out_dot, *aux = jvp(partial.fun, partial.leaves, tangents, has_aux=self.options["has_aux"])
            self._check_outputs(out, kinds, wanted)
            leaves, rebuild = aux_outputs(aux)
            aux_rebuild[:] = [rebuild]
            return out_dot, leaves

        columns, aux_leaves = self._for_each(push, avals, (-1, None))
        jacobian = tree_map(lambda column: partial.rebuild(_split(column, -1, avals), column.shape[:-1]), columns)
        return (jacobian, aux_rebuild[0](aux_leaves)[0]) if self.options["has_aux"] else jacobian


class Jacrev(_Jacobian):
    """The function that `jacrev` returns."""

    transformation = "jacrev"

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Transform and run."""
        partial = self._partial(args, kwargs)
        out, pull, *aux = vjp(partial.fun, *partial.leaves, has_aux=self.options["has_aux"])
        pull.masked = True
        self._check_outputs(out, *(("c", "complex") if self._holomorphic else ("f", "real")))
        leaves, out_tree = flatten(out)
        avals = [aval_of(leaf) for leaf in leaves]
        rows = self._for_each(lambda *cts: pull(unflatten(out_tree, cts)), avals, 0)
        by_argument = [_split(row, 0, avals) for row in rows]
        by_output = zip(*by_argument, strict=True) if by_argument else [()] * len(leaves)
        jacobian = [partial.rebuild(list(parts), aval.shape) for parts, aval in zip(by_output, avals, strict=True)]
        return (unflatten(out_tree, jacobian), *aux) if self.options["has_aux"] else unflatten(out_tree, jacobian)


def _basis(avals: list[Aval], total: int) -> list[Any]:
    """The unit vectors of the space of some arrays together, stacked along axis 0."""
    start, stacks = 0, []
    for aval in avals:
        stack = np.zeros((total, aval.size), aval.dtype)
        stack[start : start + aval.size] = np.eye(aval.size, dtype=aval.dtype)
        stacks.append(stack.reshape(total, *aval.shape))
        start += aval.size
    return stacks


def _unit_vector(number: Any, avals: list[Aval]) -> list[Any]:
    """One of the unit vectors, by its number: in chunks they are made when they are needed."""
    start, parts = 0, []
    for aval in avals:
        place = broadcast_in_dim(sub(number, start), (aval.size,), ())
        hot = eq(iota(np.int64, aval.size), place)
        parts.append(reshape(convert_element_type(hot, aval.dtype), aval.shape))
        start += aval.size
    return parts


def _split(x: Any, axis: int, avals: list[Aval]) -> list[Any]:
    """An array cut along its first or last axis, with the shape of each aval in the place of that axis."""
    parts, start = [], 0
    for aval in avals:
        part = slice_in_dim(x, start, start + aval.size, axis=axis)
        shape = (*aval.shape, *x.shape[1:]) if axis == 0 else (*x.shape[:-1], *aval.shape)
        part = reshape(part, shape)
        # A part of its own, and a NumPy scalar where it has no axes.
        parts.append(part.copy()[()] if type(part) is np.ndarray else part)
        start += aval.size
    return parts
