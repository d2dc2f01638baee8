"""Transformations of transformations: one after the other, for parts of the parameters, by labels."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, NamedTuple

import numpy as np

from functrans.optim.base import (
    GradientTransformation,
    GradientTransformationExtraArgs,
    hidden,
    hidden_update,
    with_extra_args_support,
)
from functrans.tree import broadcast_prefix, flatten, leaf_path, leaves, structure

__all__ = [
    "MaskedNode",
    "MaskedState",
    "PartitionState",
    "chain",
    "masked",
    "named_chain",
    "partition",
]


class MaskedNode(NamedTuple):
    """What stands in trees, as a node without leaves, where a masked transformation does not reach."""


class MaskedState(NamedTuple):
    """The state of the transformation that is masked."""

    inner_state: Any


class PartitionState(NamedTuple):
    """The state of each transformation, by its label."""

    inner_states: Any


def chain(*args: GradientTransformation) -> GradientTransformationExtraArgs:
    """Transformations one after the other. The state is the tuple of theirs.

    Args:
        *args: the transformations, from the first that sees the gradients to the last.

    Raises:
        TypeError: if one is no transformation.
        ValueError: at update, if the state is not that of this chain.

    >>> from functrans import optim
    >>> optimizer = optim.chain(optim.clip(1.0), optim.scale(-0.1))
    >>> optimizer.update([5.0], optimizer.init([0.0]))
    ([np.float64(-0.1)], (EmptyState(), EmptyState()))
    """
    transformations = [with_extra_args_support(t) for t in args]

    def init(params: Any) -> tuple[Any, ...]:
        return tuple([t.init(params) for t in transformations])

    def update(updates: Any, state: Any, params: Any = None, **extra_args: Any) -> tuple[Any, tuple[Any, ...]]:
        if not isinstance(state, (tuple, list)) or len(state) != len(transformations):
            raise ValueError(
                f"chain: the state of a chain of {len(transformations)} transformations is a tuple of as many states, "
                f"got {type(state).__name__}. Make it with init(params) of the same chain."
            )
        states = []
        for t, inner in zip(transformations, state, strict=True):
            updates, new = t.update(updates, inner, params, **extra_args)
            states.append(new)
        return updates, tuple(states)

    return GradientTransformationExtraArgs(hidden(init), hidden(update))


def named_chain(*transforms: tuple[str, GradientTransformation]) -> GradientTransformationExtraArgs:
    """A chain whose state is a dict.

    Args:
        *transforms: pairs of a name and a transformation.

    Raises:
        ValueError: if two names are the same.

    >>> from functrans import optim
    >>> optim.named_chain(('clip', optim.clip(1.0)), ('momentum', optim.trace(0.9))).init([0.0])
    {'clip': EmptyState(), 'momentum': TraceState(trace=[array(0.)])}
    """
    names = [name for name, _ in transforms]
    if len(set(names)) != len(names):
        raise ValueError(f"named_chain: each name once, got {names}")
    inner = chain(*[t for _, t in transforms])

    def init(params: Any) -> dict[str, Any]:
        return dict(zip(names, inner.init(params), strict=True))

    def update(updates: Any, state: Any, params: Any = None, **extra_args: Any) -> tuple[Any, dict[str, Any]]:
        updates, new = inner.update(updates, tuple([state[name] for name in names]), params, **extra_args)
        return updates, dict(zip(names, new, strict=True))

    return GradientTransformationExtraArgs(hidden(init), hidden(update))


# --------------------------------------------------------------------------------------------------------------------
# Parts of the parameters

Mask = Any
"""A tree of bools of which the parameters are an extension, or a function from parameters to one."""


def masked(inner: GradientTransformation, mask: Mask) -> GradientTransformationExtraArgs:
    """A transformation of some of the updates; the others pass unchanged.

    Args:
        inner: the transformation.
        mask: a prefix of the parameters with bools, or a function from the parameters (or updates) to one.

    Raises:
        TypeError, ValueError: at init or update, if the mask is no prefix, or not of Python's bools.

    >>> from functrans import optim
    >>> optimizer = optim.masked(optim.scale(-1.0), {'w': True, 'b': False})
    >>> params = {'w': [1.0], 'b': 2.0}
    >>> optimizer.update(params, optimizer.init(params), params)[0]
    {'b': 2.0, 'w': [np.float64(-1.0)]}
    """
    extended = with_extra_args_support(inner)

    def init(params: Any) -> MaskedState:
        return MaskedState(extended.init(_covered(params, _chosen(mask, params))))

    def update(updates: Any, state: MaskedState, params: Any = None, **extra_args: Any) -> tuple[Any, MaskedState]:
        chosen = _chosen(mask, updates)
        seen = None if params is None else _covered(params, chosen)
        new, state_out = extended.update(_covered(updates, chosen), state.inner_state, seen, **extra_args)
        return _uncovered(updates, new, chosen), MaskedState(state_out)

    return GradientTransformationExtraArgs(hidden(init), hidden_update(update, MaskedState))


def _chosen(mask: Mask, tree: Any) -> list[bool]:
    """For each leaf, whether it is chosen."""
    prefix = mask(tree) if callable(mask) else mask
    for place, leaf in enumerate(leaves(prefix)):
        if not isinstance(leaf, (bool, np.bool_)):
            path = leaf_path(structure(prefix), place, "mask")
            raise TypeError(f"masked: {path} must be True or False, got {leaf!r:.60} of type {type(leaf).__name__}")
    return [bool(chosen) for chosen in broadcast_prefix(prefix, tree)]


def _covered(tree: Any, chosen: list[bool]) -> Any:
    """A tree without the leaves that are not chosen."""
    found, treedef = flatten(tree)
    if len(found) != len(chosen):
        raise ValueError(
            f"masked: updates and params must have one structure, got {len(chosen)} and {len(found)} leaves"
        )
    return treedef.unflatten([x if is_chosen else MaskedNode() for x, is_chosen in zip(found, chosen, strict=True)])


def _uncovered(tree: Any, covered: Any, chosen: list[bool]) -> Any:
    """A tree with its chosen leaves from another."""
    old, treedef = flatten(tree)
    new = treedef.flatten_up_to(covered)
    return treedef.unflatten([y if is_chosen else x for x, y, is_chosen in zip(old, new, chosen, strict=True)])


def partition(
    transforms: Mapping[Hashable, GradientTransformation], param_labels: Any | Callable[[Any], Any]
) -> GradientTransformationExtraArgs:
    """Another transformation for each part of the parameters.

    Args:
        transforms: transformations by label.
        param_labels: a prefix of the parameters with labels, or a function from the parameters (or updates) to one.

    Raises:
        ValueError: at init or update, if a label has no transformation, naming its place, or the labels are no prefix.

    >>> from functrans import optim
    >>> optimizer = optim.partition({'slow': optim.sgd(0.1), 'fixed': optim.set_to_zero()}, {'w': 'slow', 'b': 'fixed'})
    >>> params = {'w': 1.0, 'b': 1.0}
    >>> optimizer.update(params, optimizer.init(params), params)[0]
    {'b': np.float64(0.0), 'w': np.float64(-0.1)}
    """
    extended = {label: with_extra_args_support(t) for label, t in transforms.items()}

    def labels_of(tree: Any) -> list[Any]:
        prefix = param_labels(tree) if callable(param_labels) else param_labels
        for place, label in enumerate(leaves(prefix)):
            if label not in extended:
                path = leaf_path(structure(prefix), place, "param_labels")
                raise ValueError(f"partition: {path} is {label!r}, but there are transformations for {list(extended)}")
        return broadcast_prefix(prefix, tree)

    def init(params: Any) -> PartitionState:
        labels = labels_of(params)
        return PartitionState(
            {k: MaskedState(t.init(_covered(params, [x == k for x in labels]))) for k, t in extended.items()}
        )

    def update(
        updates: Any, state: PartitionState, params: Any = None, **extra_args: Any
    ) -> tuple[Any, PartitionState]:
        labels, states = labels_of(updates), {}
        for k, t in extended.items():
            chosen = [x == k for x in labels]
            seen = None if params is None else _covered(params, chosen)
            inner = state.inner_states[k].inner_state
            new, inner = t.update(_covered(updates, chosen), inner, seen, **extra_args)
            updates, states[k] = _uncovered(updates, new, chosen), MaskedState(inner)
        return updates, PartitionState(states)

    return GradientTransformationExtraArgs(hidden(init), hidden_update(update, PartitionState))
