"""Policies of `checkpoint`: which values are kept for the backward pass, and not computed again.

A policy is a function `policy(primitive, *avals, **params) -> bool` that is asked about each equation of the program:
whether its results are kept. Two policies that are made alike are equal, so that programs are found again.

>>> import functrans as ft
>>> ft.checkpoint_policies.save_only_these_names("hidden") == ft.checkpoint_policies.save_only_these_names("hidden")
True
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = [
    "checkpoint_dots",
    "checkpoint_dots_with_no_batch_dims",
    "dots_saveable",
    "dots_with_no_batch_dims_saveable",
    "everything_saveable",
    "nothing_saveable",
    "save_any_names_but_these",
    "save_anything_except_these_names",
    "save_from_both_policies",
    "save_only_these_names",
]

_DOTS = ("dot_general", "conv_general_dilated")


def everything_saveable(primitive: Any, *avals: Any, **params: Any) -> bool:
    """Keep all that the derivative reads, as without `checkpoint`."""
    return True


def nothing_saveable(primitive: Any, *avals: Any, **params: Any) -> bool:
    """Keep the inputs alone: what `checkpoint` does without a policy."""
    return False


def dots_saveable(primitive: Any, *avals: Any, **params: Any) -> bool:
    """Keep the results of products of matrices and of convolutions, which are dear to compute."""
    return primitive.name in _DOTS


def dots_with_no_batch_dims_saveable(primitive: Any, *avals: Any, **params: Any) -> bool:
    """Keep the results of products without batch dimensions, such as those of activations and weights."""
    if primitive.name != "dot_general":
        return False
    _, (lhs_batch, rhs_batch) = params["dimension_numbers"]
    return not lhs_batch and not rhs_batch


checkpoint_dots = dots_saveable
checkpoint_dots_with_no_batch_dims = dots_with_no_batch_dims_saveable


@dataclass(frozen=True)
class _ByName:
    """Keeps by the names that `checkpoint_name` gave."""

    names: frozenset[str]
    among: bool
    """Whether those among the names are kept, or the other ones."""
    unnamed: bool
    """Whether what has no name is kept."""

    def __str__(self) -> str:
        kind = "save_only_these_names" if self.among else "save_any_names_but_these"
        kind = "save_anything_except_these_names" if self.unnamed else kind
        return f"{kind}({', '.join(sorted(self.names))})"

    def __call__(self, primitive: Any, *avals: Any, **params: Any) -> bool:
        if primitive.name != "name":
            return self.unnamed
        return (params["name"] in self.names) is self.among

    @property
    def excluded_names(self) -> frozenset[str]:
        """The names whose values are not to be kept under another name, or none, either."""
        return self.names if self.unnamed else frozenset()


@dataclass(frozen=True)
class _Both:
    """Keeps what either of two policies keeps."""

    first: Callable[..., Any]
    second: Callable[..., Any]

    def __str__(self) -> str:
        names = [getattr(policy, "__name__", str(policy)) for policy in (self.first, self.second)]
        return f"save_from_both_policies({', '.join(names)})"

    def __call__(self, primitive: Any, *avals: Any, **params: Any) -> bool:
        return bool(self.first(primitive, *avals, **params)) or bool(self.second(primitive, *avals, **params))


def save_only_these_names(*names_which_can_be_saved: str) -> Callable[..., bool]:
    """A policy that keeps the values of these names, given by `checkpoint_name`, and no others.

    Raises:
        TypeError: if a name is not a string.
    """
    return _ByName(_names(names_which_can_be_saved), among=True, unnamed=False)


def save_any_names_but_these(*names_not_to_save: str) -> Callable[..., bool]:
    """A policy that keeps the values of all names but these; what has no name is computed again.

    Raises:
        TypeError: if a name is not a string.
    """
    return _ByName(_names(names_not_to_save), among=False, unnamed=False)


def save_anything_except_these_names(*names_not_to_save: str) -> Callable[..., bool]:
    """A policy that keeps all that the derivative reads, but for the values of these names.

    Raises:
        TypeError: if a name is not a string.
    """
    return _ByName(_names(names_not_to_save), among=False, unnamed=True)


def save_from_both_policies(policy_1: Callable[..., Any], policy_2: Callable[..., Any]) -> Callable[..., bool]:
    """A policy that keeps what either of two keeps.

    Raises:
        TypeError: if one is not callable.
    """
    for policy in (policy_1, policy_2):
        if not callable(policy):
            raise TypeError(f"save_from_both_policies needs two policies, got {policy!r:.60}")
    return _Both(policy_1, policy_2)


def _names(names: tuple[Any, ...]) -> frozenset[str]:
    for name in names:
        if not isinstance(name, str):
            raise TypeError(
                f"a policy takes names as strings, each as an argument of its own, got {name!r:.60} of type "
                f"{type(name).__name__}"
            )
    return frozenset(names)
