"""Cases of `functrans.ops.slicing`, `functrans.ops.dynamic_slicing` and `functrans.ops.joining`."""

import numpy as np

from functrans.ops import dynamic_slicing, joining, slicing
from tests.cases.case import ANY, Case, Operand

START = Operand((), -3, 6, dtype="int64")


def _pad(x, value, config):
    """Padding by its definition, one axis at a time: spread the elements, then extend or crop both ends."""
    for axis, (low, high, interior) in enumerate(config):
        x = np.moveaxis(x, axis, 0)
        spread = np.full((x.shape[0] + max(x.shape[0] - 1, 0) * interior, *x.shape[1:]), value, x.dtype)
        spread[:: interior + 1] = x
        for n, front in ((low, True), (high, False)):
            more = np.full((max(n, 0), *x.shape[1:]), value, x.dtype)
            spread = np.concatenate((more, spread) if front else (spread, more))
            if n < 0:
                spread = spread[-n:] if front else spread[:n]
        x = np.moveaxis(spread, 0, axis)
    return x


def _place(shape, sizes, starts):
    index = []
    for n, size, start in zip(shape, sizes, starts, strict=True):
        begin = min(max(int(start) + n if start < 0 else int(start), 0), n - size)
        index.append(slice(begin, begin + size))
    return tuple(index)


def _updated(x, update, *starts):
    out = np.array(x)
    out[_place(x.shape, update.shape, starts)] = update
    return out


def _pad_case(config, shape, name):
    return Case(
        slicing.pad_p,
        lambda x, value: slicing.pad(x, value, config),
        lambda x, value: _pad(x, value, config),
        (Operand(shape), Operand(())),
        ANY,
        name=name,
    )


def _dynamic_cases(shape, sizes, name):
    starts = (START,) * len(shape)
    return [
        Case(
            dynamic_slicing.dynamic_slice_p,
            lambda x, *starts: dynamic_slicing.dynamic_slice(x, starts, sizes),
            lambda x, *starts: x[_place(shape, sizes, starts)],
            (Operand(shape), *starts),
            ANY,
            name=name,
        ),
        Case(
            dynamic_slicing.dynamic_update_slice_p,
            lambda x, update, *starts: dynamic_slicing.dynamic_update_slice(x, update, starts),
            _updated,
            (Operand(shape), Operand(sizes), *starts),
            ANY,
            name=name,
        ),
    ]


CASES = [
    Case(slicing.slice_p, lambda x: slicing.slice(x, (1, 0, 2), (2, 3, 4)), lambda x: x[1:2, :3, 2:4],
         (Operand((2, 3, 5)),), ANY),
    Case(slicing.slice_p, lambda x: slicing.slice(x, (1, 0), (8, 3), (3, 2)), lambda x: x[1:8:3, :3:2],
         (Operand((9, 4)),), ANY, name="strided"),
    Case(slicing.slice_p, lambda x: slicing.slice(x, (2, 0), (2, 3)), lambda x: x[2:2, :3],
         (Operand((4, 3)),), ANY, name="empty"),
    _pad_case(((1, 2, 0), (0, 1, 3)), (3, 2), "outside"),
    _pad_case(((0, 0, 2),), (3,), "interior"),
    _pad_case(((-1, 2, 1), (3, -2, 0)), (4, 2), "negative"),
    _pad_case(((-4, -5, 3),), (4,), "inside out"),
    _pad_case(((1, 1, 1),), (0,), "of empty"),
    _pad_case(((-2, -1, 0),), (3,), "to empty"),
    *_dynamic_cases((5, 4), (2, 4), ""),
    *_dynamic_cases((4, 3, 2), (1, 2, 1), "three axes"),
    *_dynamic_cases((3,), (0,), "empty"),
    *_dynamic_cases((), (), "0-d"),
    Case(joining.concatenate_p, lambda *xs: joining.concatenate(xs, 1), lambda *xs: np.concatenate(xs, 1),
         (Operand((2, 3)), Operand((2, 0)), Operand((2, 1))), ANY),
    Case(joining.concatenate_p, lambda *xs: joining.concatenate(xs, 0), lambda *xs: np.concatenate(xs, 0),
         (Operand((1,)), Operand((2,))), ANY, name="one axis"),
    Case(joining.split_p, lambda x: joining.split(x, (1, 0, 3), 1), lambda x: np.split(x, (1, 1), 1),
         (Operand((2, 4)),), ANY),
]  # fmt: skip
