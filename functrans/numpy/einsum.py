"""einsum: NumPy's notation for sums of products, as products of two arrays at a time.

Every axis of an operand has a label. Two arrays are combined by `dot_general`: labels that both have, and that somebody
still needs, are batch axes; those that nobody needs are summed over. The order is the one of `numpy.einsum_path`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from operator import index
from typing import Any

import numpy as np

from functrans.numpy.promotion import broadcast_to, same_dtype
from functrans.numpy.registry import dtype_of, implements, lengths_of, record
from functrans.numpy.shapes import diagonal_of
from functrans.ops.linear_algebra import dot_general
from functrans.ops.shape import reduce_sum, squeeze, transpose

__all__ = ["einsum", "einsum_path"]

Labels = tuple[str, ...]

_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


@implements(np.einsum)
def einsum(*operands: Any, out: Any = None, optimize: Any = "greedy", dtype: Any = None) -> Any:
    """`numpy.einsum`: sums of products, in Einstein's notation (`"ij,jk->ik"`), with `...` and the form with lists.

    Raises:
        ValueError: if the subscripts do not fit the operands.
    """
    subscripts, arrays = _separated(operands)
    shapes = [lengths_of(x) for x in arrays]
    inputs, output = _parsed(subscripts, shapes)
    path = optimize if isinstance(optimize, (list, tuple)) else None
    given = None if path is None else tuple([tuple(map(index, step)) for step in path if not isinstance(step, str)])
    return record(_einsum, arrays, inputs, output, dtype_of(dtype), given)


@implements(np.einsum_path)
def einsum_path(*operands: Any, optimize: Any = "greedy", einsum_call: bool = False) -> Any:
    """`numpy.einsum_path`: the order in which `einsum` combines its operands."""
    subscripts, arrays = _separated(operands)
    dummies = [np.broadcast_to(np.float64(0), lengths_of(x)) for x in arrays]
    return np.einsum_path(subscripts, *dummies, optimize=optimize)


def _separated(operands: Sequence[Any]) -> tuple[str, list[Any]]:
    """The subscripts as one string, and the arrays."""
    if isinstance(operands[0], str):
        return operands[0].replace(" ", ""), list(operands[1:])
    arrays, lists = list(operands[0 : 2 * (len(operands) // 2) : 2]), list(operands[1::2])
    names: dict[int, str] = {
        i: _LETTERS[rank]
        for rank, i in enumerate(
            sorted({index(i) for labels in [*lists, *_final(operands)] for i in labels if i is not Ellipsis})
        )
    }
    parts = ["".join(["..." if i is Ellipsis else names[index(i)] for i in labels]) for labels in lists]
    result = ["".join(["..." if i is Ellipsis else names[index(i)] for i in labels]) for labels in _final(operands)]
    return ",".join(parts) + ("->" + result[0] if result else ""), arrays


def _final(operands: Sequence[Any]) -> list[Any]:
    return [operands[-1]] if len(operands) % 2 else []


def _parsed(subscripts: str, shapes: Sequence[tuple[int, ...]]) -> tuple[tuple[Labels, ...], Labels]:
    """The labels of each operand's axes, and those of the result; the axes of `...` are labelled by numbers."""
    left, arrow, right = subscripts.partition("->")
    terms = left.split(",")
    if len(terms) != len(shapes):
        raise ValueError(f"einsum: {subscripts!r} names {len(terms)} operands, {len(shapes)} were given")
    hidden = max([len(s) - len(t.replace("...", "")) for t, s in zip(terms, shapes, strict=True) if "..." in t] + [0])
    inputs = tuple([_labels(t, len(s)) for t, s in zip(terms, shapes, strict=True)])
    if arrow:
        output = _labels(right, hidden + len(right.replace("...", "")))
    else:
        counts = Counter("".join(terms).replace(".", ""))
        output = (*[str(i) for i in range(-hidden, 0)], *sorted([c for c, n in counts.items() if n == 1]))
    known = {label for labels in inputs for label in labels}
    if not set(output) <= known or len(set(output)) != len(output):
        raise ValueError(f"einsum: the output {right!r} of {subscripts!r} has a label twice, or one that no input has")
    _check_lengths(subscripts, inputs, shapes)
    return inputs, output


def _labels(term: str, ndim: int) -> Labels:
    before, dots, behind = term.partition("...")
    hidden = ndim - len(before) - len(behind)
    if hidden < 0 or (hidden and not dots) or (not (before + behind).isalpha() and before + behind):
        raise ValueError(f"einsum: the subscripts {term!r} do not fit an operand with {ndim} axes")
    return (*before, *[str(i) for i in range(-hidden, 0)], *behind)


def _check_lengths(subscripts: str, inputs: Sequence[Labels], shapes: Sequence[tuple[int, ...]]) -> None:
    lengths: dict[str, int] = {}
    for labels, shape in zip(inputs, shapes, strict=True):
        for label, n in zip(labels, shape, strict=True):
            if n != 1 and lengths.setdefault(label, n) != n:
                raise ValueError(f"einsum: the axes {label!r} of {subscripts!r} have lengths {lengths[label]} and {n}")


# --------------------------------------------------------------------------------------------------------------------
# The computation


def _einsum(*operands: Any) -> Any:
    *arrays, inputs, output, dtype, path = operands
    arrays = same_dtype(arrays, dtype)
    lengths = _lengths(inputs, arrays)
    terms = [_without_repeats(x, labels) for x, labels in zip(arrays, inputs, strict=True)]
    for step in path or _path(terms, output):
        chosen = [terms[i] for i in sorted(step)]
        terms = [term for i, term in enumerate(terms) if i not in step]
        while len(chosen) > 1:
            first, second, *chosen = chosen
            needed = {label for _, labels in [*terms, *chosen] for label in labels} | set(output)
            chosen = [_pair(first, second, needed), *chosen]
        terms += chosen
    (x, labels), *rest = terms
    for other in rest:
        x, labels = _pair((x, labels), other, set(output))
    return _finished(x, labels, output, lengths)


def _lengths(inputs: Sequence[Labels], arrays: Sequence[Any]) -> dict[str, int]:
    lengths: dict[str, int] = {}
    for labels, x in zip(inputs, arrays, strict=True):
        for label, n in zip(labels, x.shape, strict=True):
            lengths[label] = n if lengths.get(label, 1) == 1 else lengths[label]
    return lengths


def _path(terms: Sequence[tuple[Any, Labels]], output: Labels) -> list[tuple[int, ...]]:
    if len(terms) < 3:
        return [tuple(range(len(terms)))]
    names = {label: _LETTERS[i] for i, label in enumerate(sorted({label for _, labels in terms for label in labels}))}
    left = ",".join(["".join([names[label] for label in labels]) for _, labels in terms])
    right = "".join([names[label] for label in output])
    dummies = [np.broadcast_to(np.float64(0), x.shape) for x, _ in terms]
    path: list[tuple[int, ...]] = np.einsum_path(f"{left}->{right}", *dummies, optimize="greedy")[0][1:]
    return path


def _without_repeats(x: Any, labels: Labels) -> tuple[Any, Labels]:
    """An operand with each label once: of axes with the same label, the diagonal."""
    for label in dict.fromkeys(labels):
        while labels.count(label) > 1:
            i = labels.index(label)
            j = labels.index(label, i + 1)
            longest = max(x.shape[i], x.shape[j])
            x = broadcast_to(x, tuple([longest if d in (i, j) else n for d, n in enumerate(x.shape)]))
            x = diagonal_of(x, 0, i, j)
            labels = (*[name for d, name in enumerate(labels) if d not in (i, j)], label)
    return x, labels


def _summed(x: Any, labels: Labels, kept: set[str]) -> tuple[Any, Labels]:
    """The sum over the axes whose labels nobody else needs."""
    axes = [d for d, label in enumerate(labels) if label not in kept]
    if x.dtype.kind == "b" and axes:
        raise TypeError("einsum: booleans cannot be summed: convert them to a number before")
    return reduce_sum(x, axes), tuple([label for label in labels if label in kept])


def _pair(first: tuple[Any, Labels], second: tuple[Any, Labels], needed: set[str]) -> tuple[Any, Labels]:
    x, xs = _summed(*first, needed | set(second[1]))
    y, ys = _summed(*second, needed | set(first[1]))
    x, xs, y, ys = *_unstretched(x, xs, y, ys), y, ys
    y, ys = _unstretched(y, ys, x, xs)
    both = [label for label in xs if label in ys]
    batch, contract = [label for label in both if label in needed], [label for label in both if label not in needed]
    out = dot_general(x, y, (_places(xs, ys, contract), _places(xs, ys, batch)))
    rest = [label for label in (*xs, *ys) if label not in both]
    return out, (*batch, *rest)


def _places(xs: Labels, ys: Labels, labels: Sequence[str]) -> tuple[Labels, ...]:
    return tuple([tuple([names.index(label) for label in labels]) for names in (xs, ys)])  # type: ignore[misc]


def _unstretched(x: Any, xs: Labels, y: Any, ys: Labels) -> tuple[Any, Labels]:
    """x without axes of length 1 that the other operand has longer: they would be stretched."""
    axes = [d for d, label in enumerate(xs) if x.shape[d] == 1 and label in ys and y.shape[ys.index(label)] != 1]
    return squeeze(x, axes), tuple([label for d, label in enumerate(xs) if d not in axes])


def _finished(x: Any, labels: Labels, output: Labels, lengths: dict[str, int]) -> Any:
    x, labels = _summed(x, labels, set(output))
    x = transpose(x, [labels.index(label) for label in output])
    return broadcast_to(x, tuple([lengths[label] for label in output]))
