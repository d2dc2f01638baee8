"""custom_vmap and sequential_vmap: functions that say themselves how they are batched."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from functrans.api.arguments import array_outputs, flatten_arguments, name_of, record, value_of_leaf
from functrans.api.execution import strengthened
from functrans.api.function_structure import structure_of
from functrans.api.scans import map as map_rows
from functrans.api.transformed import Transformed
from functrans.core.aval import Aval
from functrans.core.evaluation import stage
from functrans.core.functions import FunctionParameter
from functrans.core.jaxpr import Jaxpr
from functrans.ops.constant import eval_closed
from functrans.ops.custom_batching import custom_vmap_p
from functrans.passes.inline import inline
from functrans.tree import TreeDef, broadcast_prefix, check_prefix, flatten, leaf_path, unflatten
from functrans.tree import map as tree_map

__all__ = ["custom_vmap", "sequential_vmap"]


class custom_vmap(Transformed):  # noqa: N801  (JAX's name; used as a function)
    """A function whose batches are computed by a rule of its own.

    The rule is given by `def_vmap`. Derivatives are those of the function itself; those of a batch (`grad` of `vmap`)
    are the rule's.

    Args:
        fun: a function of arrays, numbers and pytrees.

    Raises:
        AttributeError: when called, if no rule was given.
        TypeError: when called, if the arguments are not those of the function.

    >>> import numpy as np
    >>> import functrans as ft
    >>> @ft.custom_batching.custom_vmap
    ... def total(x):
    ...     return np.sum(x)
    >>> @total.def_vmap
    ... def total_of_rows(axis_size, in_batched, x):
    ...     return np.sum(x, axis=1), True
    >>> ft.vmap(total)(np.ones((2, 3)))
    array([3., 3.])
    """

    transformation = "custom_vmap"

    def __init__(self, fun: Callable[..., Any]) -> None:
        super().__init__(fun)
        self.vmap_rule: Callable[..., Any] | None = None

    def __reduce__(self) -> str | tuple[Any, ...]:
        found = super().__reduce__()
        return found if isinstance(found, str) else (_with_rule, (self.fun, self.vmap_rule))

    @property
    def rules(self) -> tuple[Any, ...]:
        """The rule, if there is one: part of what the function is."""
        return (self.vmap_rule,)

    def def_vmap(self, vmap_rule: Callable[..., Any]) -> Callable[..., Any]:
        """Give the rule: `vmap_rule(axis_size, in_batched, *args) -> (out, out_batched)`. To be used as a decorator.

        Args:
            vmap_rule: it gets the number of members; a list with, for each argument, a pytree of bools, whether that
                leaf is stacked, and then along axis 0; and the arguments. It returns the result, and a pytree of bools
                of the same structure, or a prefix of it. It is recorded once for each combination of shapes and
                dtypes, with what it closes over as it was then: what changes must be an argument.

        Raises:
            TypeError: if it is no function.
        """
        if not callable(vmap_rule):
            raise TypeError(f"def_vmap needs a function, got {vmap_rule!r:.80} of type {type(vmap_rule).__name__}")
        self.vmap_rule = vmap_rule
        return vmap_rule

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Record the function, with its rule."""
        name = name_of(self.fun)
        if self.vmap_rule is None:
            raise AttributeError(f"{name} has no batching rule: give it one, @{name}.def_vmap")
        arguments = flatten_arguments(self.fun, _positional(self.fun, args, kwargs), {})
        _check_static(name, arguments.static_leaves())
        recorded = record(arguments, arguments.values, partial(array_outputs, self.fun), staging=True)
        rule = _UserRule(
            FunctionParameter(self.vmap_rule, structure_of(self.vmap_rule).key),
            name,
            arguments.treedef.children()[0],
            None if arguments.places is None else tuple(arguments.places),
            tuple(arguments.static_leaves()),
            recorded.rest,
        )
        outs = custom_vmap_p.bind(*recorded.values, jaxpr=inline(recorded.jaxpr), rule=rule)
        return unflatten(recorded.rest, strengthened(outs))


def _check_static(name: str, leaves: Sequence[Any]) -> None:
    for leaf in leaves:
        try:
            hash(leaf)
        except TypeError:
            raise TypeError(
                f"custom_vmap: {name} got {leaf!r:.60} of type {type(leaf).__name__}, which is no array and therefore "
                "part of the program: it must be hashable"
            ) from None


def _with_rule(fun: Callable[..., Any], rule: Callable[..., Any] | None) -> custom_vmap:
    made = custom_vmap(fun)
    made.vmap_rule = rule
    return made


def _positional(fun: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """The arguments as positional ones, which is how the rule gets them."""
    try:
        signature = inspect.signature(fun)
    except (TypeError, ValueError):
        if kwargs:
            raise TypeError(f"custom_vmap: {name_of(fun)} has no signature, so it takes no keywords") from None
        return args
    bound = signature.bind(*args, **kwargs)
    if bound.kwargs:
        raise TypeError(
            f"custom_vmap: {name_of(fun)} was called with keywords that have no position ({', '.join(bound.kwargs)}), "
            "and its rule takes positional arguments only"
        )
    if inspect.isfunction(fun):  # those of what is not Python may be no values
        bound.apply_defaults()
    return bound.args


@dataclass(frozen=True)
class _UserRule:
    """A rule that was given by `def_vmap`, for arguments of one structure."""

    function: FunctionParameter
    name: str
    in_tree: TreeDef
    places: tuple[int, ...] | None
    """The number of the leaf of each input; None if all leaves are inputs."""
    static: tuple[Any, ...]
    """The leaves that are not inputs."""
    out_tree: TreeDef

    def __str__(self) -> str:
        return str(self.function)

    def batched(self, jaxpr: Jaxpr, size: int, are_stacked: tuple[bool, ...]) -> tuple[Jaxpr, tuple[bool, ...]]:
        """The program of the rule. Its last inputs are what the function closes over, which the rule does not get."""
        n_inputs = self.in_tree.num_leaves - len(self.static)
        if any(are_stacked[n_inputs:]):
            raise TypeError(
                f"{self.name} closes over a value that differs between the members of a batch, which its batching "
                "rule does not get: make it an argument"
            )
        avals = [
            aval.with_shape((size, *aval.shape)) if is_stacked else aval
            for aval, is_stacked in zip(jaxpr.in_avals, are_stacked, strict=True)
        ]
        with stage(self._what, avals) as recording:
            args = self._arguments(recording.inputs()[:n_inputs], self.static)
            in_batched = self._arguments(are_stacked[:n_inputs], (False,) * len(self.static))
            outs, outs_stacked = self._checked(self.function(size, list(in_batched), *args), jaxpr.out_avals, size)
            program, values = recording.close(outs)
        with stage(self._what, avals) as recording:
            outs = eval_closed(inline(program), recording.inputs(), values[len(avals) :], self._what)
            return recording.close(outs)[0], outs_stacked

    @property
    def _what(self) -> str:
        return f"the batching rule {self.function} of {self.name}"

    def _arguments(self, inputs: Sequence[Any], static: Sequence[Any]) -> Any:
        """A tuple of the arguments, from the leaves that are inputs and those that are not."""
        given, rest = iter(inputs), iter(static)
        places = range(self.in_tree.num_leaves) if self.places is None else self.places
        dynamic = set(places)
        return unflatten(self.in_tree, [next(given if i in dynamic else rest) for i in range(self.in_tree.num_leaves)])

    def _checked(self, returned: Any, avals: Sequence[Aval], size: int) -> tuple[list[Any], tuple[bool, ...]]:
        if not isinstance(returned, tuple) or len(returned) != 2:
            raise TypeError(
                f"{self._what} must return a pair (out, out_batched), got {returned!r:.60} of type "
                f"{type(returned).__name__}"
            )
        out, out_batched = returned
        leaves, treedef = flatten(out)
        if treedef != self.out_tree:
            raise TypeError(
                f"{self._what} must return what {self.name} returns, of structure {self.out_tree}, and its out is of "
                f"structure {treedef}"
            )
        are_stacked = self._prefix(out_batched, out)
        for place, (leaf, aval, is_stacked) in enumerate(zip(leaves, avals, are_stacked, strict=True)):
            leaves[place] = self._leaf(leaf, f"output{leaf_path(treedef, place)}", aval, is_stacked, size)
        return leaves, tuple(are_stacked)

    def _prefix(self, out_batched: Any, out: Any) -> list[bool]:
        try:
            check_prefix(out_batched, out, "out_batched", "out")
        except ValueError as error:
            raise ValueError(f"{self._what}: {error}") from None
        are_stacked = broadcast_prefix(out_batched, out)
        for flag in are_stacked:
            if not isinstance(flag, bool):
                raise TypeError(f"{self._what}: out_batched must hold bools, got {flag!r:.60}")
        return are_stacked

    def _leaf(self, leaf: Any, path: str, aval: Aval, is_stacked: bool, size: int) -> Any:
        given, _ = value_of_leaf(leaf)
        if given is None:
            raise TypeError(f"{self._what}: {path} must be an array or a number, got {leaf!r:.60}")
        wanted = aval.with_shape((size, *aval.shape)) if is_stacked else aval
        if given.strong is not wanted.strong:
            said = f"it is stacked, with {size} members along axis 0" if is_stacked else "it is not stacked"
            raise TypeError(
                f"{self._what} returned {path} as {given.strong}, and {wanted.strong} was expected: {self.name} "
                f"returns {aval.strong}, and out_batched says that {said}"
            )
        return leaf


def sequential_vmap(f: Callable[..., Any]) -> custom_vmap:
    """A function whose batches are computed one member after the other, by `functrans.lax.map`.

    Args:
        f: a function of arrays, numbers and pytrees.

    >>> import numpy as np
    >>> import functrans as ft
    >>> f = ft.custom_batching.sequential_vmap(lambda x, y: x * y)
    >>> ft.vmap(f, in_axes=(0, None))(np.array([1.0, 2.0]), 3.0)
    array([3., 6.])
    """
    batched = custom_vmap(f)
    batched.def_vmap(_Sequential(batched))
    return batched


@dataclass(frozen=True)
class _Sequential:
    """The rule that calls the function for each member."""

    function: Callable[..., Any]

    def __call__(self, axis_size: int, in_batched: list[Any], *args: Any) -> Any:
        leaves, treedef = flatten(args)
        stacked = broadcast_prefix(tuple(in_batched), args)

        def member(rows: list[Any]) -> Any:
            own = iter(rows)
            whole = [next(own) if is_stacked else x for x, is_stacked in zip(leaves, stacked, strict=True)]
            return self.function(*unflatten(treedef, whole))

        out = map_rows(member, [x for x, is_stacked in zip(leaves, stacked, strict=True) if is_stacked])
        return out, tree_map(lambda _: True, out)

    @property
    def __name__(self) -> str:
        return "sequential_vmap"
