"""Leaf by leaf: how a function of arrays is applied to gradients, states and parameters that belong together.

All trees of an update have one structure, and at each place one shape. That is checked here, once for all optimisers:
NumPy would broadcast a gradient of shape (3, 1) against a momentum of shape (3,) without a word.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from functrans.api.arguments import value_of_leaf
from functrans.core.aval import Aval, aval_of
from functrans.core.tracer import Tracer
from functrans.lax import cond, while_loop
from functrans.tree import TreeDef, flatten, leaf_path, subtrees_at_leaves

__all__ = [
    "abs_square",
    "branch",
    "chosen",
    "each_leaf",
    "float_leaves",
    "in_dtype_of",
    "increment",
    "loop",
    "not_negative",
    "real_dtype",
    "root",
    "scalar",
    "zeros_of",
]

_LAST_COUNT = np.iinfo(np.int32).max - 1

_REAL = {
    np.dtype(t): np.dtype(r)
    for t, r in [
        (np.float16, np.float16),
        (np.float32, np.float32),
        (np.float64, np.float64),
        (np.complex64, np.float32),
        (np.complex128, np.float64),
    ]
}


def float_leaves(name: str, tree: Any, what: str = "updates") -> tuple[list[Any], TreeDef]:
    """The leaves of a tree of floating-point arrays and numbers, each with a shape and a dtype, and its structure.

    Raises:
        TypeError: if a leaf is no number or not of a floating-point or complex dtype, naming its path.
    """
    leaves, treedef = flatten(tree)
    for place, leaf in enumerate(leaves):
        if type(leaf) is not np.ndarray or not leaf.dtype.isnative:
            leaves[place] = leaf = value_of_leaf(leaf)[1] if type(leaf) is not Tracer else leaf
        if getattr(leaf, "dtype", None) not in _REAL:
            raise TypeError(_not_a_float(name, what + leaf_path(treedef, place), leaf))
    return leaves, treedef


def _not_a_float(name: str, path: str, leaf: Any) -> str:
    aval = getattr(leaf, "aval", None)
    if isinstance(leaf, (np.ndarray, np.generic)):
        aval = Aval(leaf.shape, leaf.dtype)
    if isinstance(aval, Aval):
        return (
            f"{name}: {path} is {aval.strong}, and optimisers change floating-point numbers only. Leave it out of "
            "what is optimised, or freeze it with optim.masked or optim.partition."
        )
    return f"{name}: {path} must be an array or a number, got {leaf!r:.60} of type {type(leaf).__name__}"


def each_leaf(
    name: str, f: Callable[..., Any], tree: Any, *others: Any, outs: int = 1, what: str = "updates", of: str = "state"
) -> Any:
    """Apply a function to each leaf of a tree, together with the leaves of others at the same place.

    Args:
        name: of the transformation, for messages.
        f: from a leaf of each tree to an array, or to a tuple of arrays.
        tree: the first tree, of floating-point arrays and numbers.
        others: trees of the same structure and shapes.
        outs: how many arrays `f` returns.
        what, of: what messages call the first tree and the others.

    Returns:
        A tree, or a tuple of `outs` trees.

    Raises:
        TypeError: if a leaf is no floating-point array or number.
        ValueError: if structures or shapes differ.
    """
    leaves, treedef = float_leaves(name, tree, what)
    columns = [_column(name, leaves, treedef, other, what, of) for other in others]
    results = [f(*row) for row in zip(leaves, *columns, strict=True)]
    if outs == 1:
        return treedef.unflatten(results)
    return tuple([treedef.unflatten([result[i] for result in results]) for i in range(outs)])


def _column(name: str, leaves: list[Any], treedef: TreeDef, other: Any, what: str, of: str) -> list[Any]:
    column, found = float_leaves(name, other, of)
    if found is not treedef and found != treedef:
        problem = f"{name}: the {what} do not have the structure of the {of}"
        subtrees_at_leaves(found, treedef.unflatten(leaves), problem, f"the {of}", f"the {what}")
        raise ValueError(f"{problem}: {treedef} and {found}")
    for place, (x, y) in enumerate(zip(leaves, column, strict=True)):
        if x.shape != y.shape:
            path = leaf_path(treedef, place)
            raise ValueError(
                f"{name}: {what}{path} is {aval_of(x).strong}, but the {of} at {path or 'the root'} is "
                f"{aval_of(y).strong}. Gradients, parameters and the state, which init(params) makes, belong together."
            )
    return column


def scalar(x: Any, leaf: Any) -> Any:
    """A hyperparameter as a factor of a leaf, such that the leaf keeps its dtype.

    Raises:
        TypeError: if it is not a number.
        ValueError: if it has axes.
    """
    if type(x) is float or type(x) is int:
        return x
    dtype = getattr(x, "dtype", None)
    if dtype is None or dtype.kind not in "biuf":
        raise TypeError(f"a hyperparameter of an optimiser must be a real number, got {x!r:.60}")
    if x.ndim:
        raise ValueError(
            f"a hyperparameter of an optimiser must be a scalar, got {aval_of(x).strong}. For one optimiser to each "
            "of its elements use vmap; for parts of the parameters, optim.partition."
        )
    wanted = real_dtype(leaf.dtype)
    return x if dtype == wanted else x.astype(wanted)


def not_negative(name: str, what: str, x: Any, below: float = np.inf) -> None:
    """Check a hyperparameter, if it is a plain number.

    Raises:
        ValueError: if it is negative, not below the bound, or NaN.
    """
    if isinstance(x, (int, float)) and not 0 <= x < below:
        bound = "" if below == np.inf else f" and below {below:g}"
        raise ValueError(f"{name}: {what} must not be negative{bound}, got {x!r}")


def real_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype of the absolute value."""
    return _REAL[dtype]


def in_dtype_of(x: Any, like: Any) -> Any:
    """An array in the dtype of another.

    Raises:
        TypeError: if that is real, and the array is complex.
    """
    if x.dtype == like.dtype:
        return x
    if x.dtype.kind == "c" and like.dtype.kind != "c":
        raise TypeError(
            f"complex updates, {aval_of(x).strong}, of what is real, {aval_of(like).strong}: the gradient with respect "
            "to a real array is real. Take the real part, or make the parameters complex."
        )
    return x.astype(like.dtype)


def zeros_of(name: str, params: Any, dtype: Any = None, real: bool = False) -> Any:
    """Zeros of the shapes of parameters, of their dtypes or another one; real ones for complex numbers on demand."""

    def zeros(p: Any) -> Any:
        return np.zeros(p.shape, dtype if dtype is not None else real_dtype(p.dtype) if real else p.dtype)

    return each_leaf(f"{name}.init", zeros, params, what="params")


def abs_square(x: Any) -> Any:
    """The square of the absolute value, which is real."""
    return x * x if x.dtype.kind != "c" else x.real * x.real + x.imag * x.imag


def chosen(pred: Any, yes: Any, no: Any) -> Any:
    """One of two arrays, element by element; of scalars, one of them."""
    if type(pred) is bool or type(pred) is np.bool_:
        return yes if pred else no
    return np.where(pred, yes, no)[()]


def root(x: Any) -> Any:
    """The square root, whose derivative at zero is zero."""
    if type(x) is not Tracer:
        return np.sqrt(x)
    is_more = x > 0
    return np.where(is_more, np.sqrt(np.where(is_more, x, 1)), 0)


def increment(count: Any) -> Any:
    """The next int32, or the same if it is the last one: `count` never becomes negative."""
    return np.minimum(count, _LAST_COUNT) + np.int32(1)


def branch(pred: Any, true_fun: Callable[[], Any], false_fun: Callable[[], Any]) -> Any:
    """One of two results: by Python's `if` where the predicate is a plain value, else by `lax.cond`."""
    if type(pred) is Tracer:
        return cond(pred, true_fun, false_fun)
    return true_fun() if pred else false_fun()


def loop(cond_fun: Callable[[Any], Any], body_fun: Callable[[Any], Any], value: Any) -> Any:
    """A while loop: Python's where the condition is a plain value, else `lax.while_loop`."""
    while True:
        goes_on = cond_fun(value)
        if type(goes_on) is Tracer:
            return while_loop(cond_fun, body_fun, value)
        if not goes_on:
            return value
        value = body_fun(value)
