"""Cases of `functrans.ops.padded_sums`."""

import numpy as np

from functrans.ops import padded_sums
from tests.cases.case import NUMBERS, Case, Operand
from tests.cases.slicing import _pad


def _case(shapes, configs, name):
    def reference(*xs):
        total, *more = [_pad(x, 0, config) for x, config in zip(xs, configs, strict=True)]
        for x in more:
            total = total + x
        return np.asarray(total)[()]

    return Case(
        padded_sums.sum_padded_p,
        lambda *xs: padded_sums.sum_padded(xs, configs),
        reference,
        tuple([Operand(shape) for shape in shapes]),
        NUMBERS,
        name=name,
    )


CASES = [
    _case(((2,), (1,)), (((2, 1, 0),), ((0, 4, 0),)), "apart"),
    _case(((3,), (4,), (5,)), (((0, 2, 0),), ((1, 0, 0),), ((0, 0, 0),)), "overlapping"),
    _case(((2, 1), (1, 2)), (((1, 0, 0), (0, 2, 0)), ((0, 2, 0), (1, 0, 0))), "boxes"),
    _case(((2, 3), (2, 2)), (((0, 0, 0), (0, 2, 0)), ((0, 0, 0), (3, 0, 0))), "all"),
    _case(((3,), (2,)), (((0, 0, 1),), ((1, 1, 1),)), "strided"),
    _case(((2,),), (((1, 0, 0),),), "of one"),
    _case(((0,), (2,)), (((1, 2, 0),), ((0, 1, 0),)), "with an empty one"),
    _case(((), ()), ((), ()), "0-d"),
]
