"""What the derivative rules of users may return, and the errors where they return something else."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from functrans.api.arguments import Arguments, array_outputs, name_of
from functrans.caching import kept
from functrans.core.aval import Aval, aval_of
from functrans.core.jaxpr import Literal
from functrans.core.rules import zeros_like
from functrans.core.tracer import Tracer
from functrans.dtypes import float0
from functrans.ops.conversion import convert_element_type
from functrans.tree import TreeDef, broadcast_prefix, flatten, leaf_path, structure, unflatten

__all__ = [
    "CustomVJPPrimal",
    "OutputTypes",
    "SymbolicZero",
    "cotangents_of",
    "described",
    "output_types",
    "pair_of",
    "primal_outputs",
    "tangents_of",
]

Rule = Callable[..., Any]


class SymbolicZero:
    """A tangent or cotangent that is zero whatever the values are; rules with `symbolic_zeros=True` get it as an
    argument, and may return it. It has a shape and a dtype (float0 for integers), and no elements.

    >>> zero = SymbolicZero(Aval((3,), np.dtype("float64")))
    >>> zero, zero.shape, zero == SymbolicZero(Aval((3,), np.dtype("float64")))
    (SymbolicZero(float64[3]), (3,), True)
    """

    def __init__(self, aval: Any) -> None:
        self.aval = aval
        self.shape: tuple[int, ...] = aval.shape
        self.dtype = np.dtype(aval.dtype)
        if self.dtype != float0 and self.dtype.kind not in "fc":
            self.dtype = float0
        self.ndim = len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return int(np.prod(self.shape))

    def __eq__(self, other: object) -> bool:
        return type(other) is SymbolicZero and (self.shape, self.dtype) == (other.shape, other.dtype)

    def __hash__(self) -> int:
        return hash((self.shape, self.dtype.str))

    def __repr__(self) -> str:
        name = "float0" if self.dtype == float0 else self.dtype.name
        return f"SymbolicZero({name}[{','.join(map(str, self.shape))}])"


@dataclass
class CustomVJPPrimal:
    """An argument of a forward rule with `symbolic_zeros=True`: its value, and whether a derivative by it is asked."""

    value: Any
    perturbed: bool


class OutputTypes:
    """The structure and the avals of what a function returns; made by `output_types`."""

    def __init__(self, treedef: TreeDef, avals: tuple[Aval, ...]) -> None:
        self.treedef = treedef
        self.avals = avals

    def path(self, number: int) -> str:
        """The name of an output."""
        return f"output{leaf_path(self.treedef, number)}"


def output_types(treedef: TreeDef, avals: Sequence[Aval]) -> OutputTypes:
    """The types of outputs of a structure and with these avals, which may be weak."""
    return _output_types(treedef, tuple([aval.strong for aval in avals]))


_output_types = kept("types of outputs", 4096)(OutputTypes)


def described(rule: Rule) -> str:
    """A rule with the place of its definition: `f_bwd (model.py:12)`."""
    function: Any = rule
    while not hasattr(function, "__code__"):
        inner = getattr(function, "func", None) or getattr(function, "fun", None) or getattr(function, "__func__", None)
        if inner is None:
            return name_of(rule)
        function = inner
    return f"{name_of(function)} ({function.__code__.co_filename}:{function.__code__.co_firstlineno})"


def pair_of(out: Any, rule: Rule, name: str, wanted: str) -> Sequence[Any]:
    """What a rule returned, if it is a pair."""
    if isinstance(out, (tuple, list)) and len(out) == 2:
        return out
    came = f"a {type(out).__name__} of length {len(out)}" if isinstance(out, (tuple, list)) else f"{out!r:.60}"
    raise TypeError(f"the rule {described(rule)} of {name} must return a pair {wanted}, but returned {came}")


def primal_outputs(out: Any, rule: Rule, name: str, expected: OutputTypes | None) -> tuple[list[Any], OutputTypes]:
    """The leaves of the output that a rule gives, and their types, which must be those of the function if known."""
    leaves, treedef = array_outputs(rule, out)
    types = output_types(treedef, [leaf.aval if type(leaf) is Tracer else aval_of(leaf) for leaf in leaves])
    if expected is None or types is expected:
        return leaves, types
    if treedef != expected.treedef:
        raise TypeError(
            f"the output that the rule {described(rule)} returns must have the structure of that of {name}, "
            f"{expected.treedef}, but has {treedef}"
        )
    for number, (aval, wanted) in enumerate(zip(types.avals, expected.avals, strict=True)):
        if aval is not wanted:
            raise TypeError(
                f"{types.path(number)} that the rule {described(rule)} returns must be {wanted}, as {name} "
                f"returns it, but is {aval}"
            )
    return leaves, types


def tangents_of(given: Any, types: OutputTypes, rule: Rule, name: str) -> list[Any]:
    """The tangents of the inexact outputs that a JVP rule gives; None there is zero."""
    found, treedef = flatten(given)
    if treedef is types.treedef and _fit(found, types.avals):
        return found
    template = unflatten(types.treedef, [0] * len(types.avals))
    leaves = _leaves_by_place(given, template)
    if leaves is None:
        raise TypeError(
            f"the tangent that the rule {described(rule)} of {name} returns must have the structure of the output, "
            f"{types.treedef}, but has {flatten(given)[1]}"
        )
    tangents = []
    for number, (leaf, aval) in enumerate(zip(leaves, types.avals, strict=True)):
        if aval.inexact:
            tangents.append(_fitted(leaf, aval, functools.partial(_tangent_of, types, number, rule, name)))
        elif leaf is not None and getattr(leaf, "dtype", None) != float0:
            raise TypeError(
                f"{_tangent_of(types, number, rule, name)} must be None or zeros of dtype float0, since the "
                f"output is {aval}, but is {_type(leaf)}"
            )
    return tangents


def _fit(leaves: Sequence[Any], avals: Sequence[Aval]) -> bool:
    """Whether all leaves are tracers that can be the tangents of values of these avals."""
    for leaf, aval in zip(leaves, avals, strict=True):
        if type(leaf) is not Tracer or leaf.aval.strong is not aval.strong or not aval.inexact:
            return False
    return True


def _tangent_of(types: OutputTypes, number: int, rule: Rule, name: str) -> str:
    return f"the tangent of {types.path(number)} that the rule {described(rule)} of {name} returns"


def cotangents_of(given: Any, arguments: Arguments, rule: Rule, name: str) -> list[Any]:
    """The cotangents of the inexact arguments that a backward rule gives; None there is zero."""
    if type(given) is tuple and arguments.places is None:
        cts, treedef = flatten((given, {}))
        if treedef is arguments.treedef and _fit(cts, arguments.avals):
            return cts
    n_args = len(arguments.treedef.children()[0].children())
    if not isinstance(given, (tuple, list)) or hasattr(given, "_fields") or len(given) != n_args:
        came = f"{type(given).__name__} of length {len(given)}" if isinstance(given, (tuple, list)) else _type(given)
        hint = " (write `return (ct,)`)" if n_args == 1 and not isinstance(given, (tuple, list)) else ""
        raise TypeError(
            f"the backward rule {described(rule)} of {name} must return a tuple with one cotangent for each of the "
            f"{n_args} arguments{hint}, None for those without, but returned {came}"
        )
    template = unflatten(arguments.treedef, range(len(arguments.leaves)))[0]
    leaves: list[Any] = []
    for number, (ct, part) in enumerate(zip(given, template, strict=True)):
        found = _leaves_by_place(ct, part)
        if found is None:
            raise TypeError(
                f"the cotangent of argument {number} that the backward rule {described(rule)} of {name} returns must "
                f"have the structure of the argument, {flatten(part)[1]} (None for a part without), but has "
                f"{flatten(ct)[1]}"
            )
        leaves.extend(found)
    places = range(len(leaves)) if arguments.places is None else arguments.places
    cts = []
    for number, (place, aval) in enumerate(zip(places, arguments.avals, strict=True)):
        if aval.inexact:
            what = functools.partial(_cotangent_of, arguments, number, rule, name)
            cts.append(_fitted(leaves[place], aval.strong, what))
    return cts


def _cotangent_of(arguments: Arguments, number: int, rule: Rule, name: str) -> str:
    path = arguments.path(number)
    return f"the cotangent of argument {path} that the backward rule {described(rule)} of {name} returns"


def _leaves_by_place(given: Any, template: Any) -> list[Any] | None:
    """What stands at each leaf of the template, None for all leaves of a part that is None; None if it does not fit."""
    if type(given) is Tracer and type(template) is int:
        return [given]
    leaves, treedef = flatten(given, is_leaf=lambda x: x is None)
    if treedef == structure(template):
        return leaves
    try:
        numbers = broadcast_prefix(unflatten(treedef, range(len(leaves))), template)
    except ValueError:
        return None
    whole = [number for number, leaf in enumerate(leaves) if leaf is not None]
    if any([numbers.count(number) != 1 for number in whole]) or not _are_leaves(whole, treedef, template):
        return None
    return [leaves[number] for number in numbers]


def _are_leaves(numbers: Sequence[int], treedef: TreeDef, template: Any) -> bool:
    """Whether these leaves of a prefix stand where the template has leaves too, and not a container of one."""
    if not numbers:
        return True
    marked = set(numbers)
    paths = {leaf_path(treedef, number) for number in marked}
    whole = structure(template)
    return paths <= {leaf_path(whole, number) for number in range(whole.num_leaves)}


def _fitted(x: Any, aval: Aval, what: Callable[[], str]) -> Any:
    """A tangent or cotangent that fits an aval; None is zero."""
    if x is None or type(x) is SymbolicZero:
        if x is not None and x.shape != aval.shape:
            raise TypeError(f"{what()} must be {aval}, but is {x!r}")
        return zeros_like(aval)
    try:
        have = aval_of(x)
    except TypeError:
        raise TypeError(f"{what()} must be {aval}, but is {_type(x)}") from None
    if have.strong is aval:
        return x
    if have.shape != aval.shape or not have.weak or (have.dtype.kind == "c" and aval.dtype.kind != "c"):
        raise TypeError(f"{what()} must be {aval}, but is {have.strong}{_remedy(have, aval)}")
    return convert_element_type(x, aval.dtype) if type(x) is Tracer else Literal(x, aval)


def _remedy(have: Aval, aval: Aval) -> str:
    if have.shape != aval.shape:
        return ""
    if have.dtype.kind == "c":
        return ": take its real part"
    return f": convert it, x.astype({aval.dtype.name!r})"


def _type(x: Any) -> str:
    try:
        return str(aval_of(x).strong)
    except TypeError:
        if getattr(x, "dtype", None) == float0:
            return "an array of dtype float0"
        return f"{x!r:.60} of type {type(x).__name__}"
