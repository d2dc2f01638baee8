"""Cases of `functrans.ops.convolution`, against a sum over all places of the window."""

import itertools
from functools import partial

import numpy as np

from functrans.ops import convolution as ops
from tests.cases.case import INEXACT, Case, Operand

FIRST = ops.ConvDimensionNumbers((0, 1, 2, 3), (0, 1, 2, 3), (0, 1, 2, 3))
LAST = ops.ConvDimensionNumbers((0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2))
PLAIN = {
    "window_strides": (1, 1),
    "padding": ((0, 0), (0, 0)),
    "lhs_dilation": (1, 1),
    "rhs_dilation": (1, 1),
    "dimension_numbers": FIRST,
    "feature_group_count": 1,
    "batch_group_count": 1,
}


def reference(lhs, rhs, **params):
    """out[n, o, p] as the sum over the input's places and the window's places that belong together."""
    spec = params["dimension_numbers"]
    x, w = np.transpose(lhs, spec.lhs_spec), np.transpose(rhs, spec.rhs_spec)
    groups, batches = params["feature_group_count"], params["batch_group_count"]
    spatial = []
    for i, (low, high) in enumerate(params["padding"]):
        n = 1 + (x.shape[2 + i] - 1) * params["lhs_dilation"][i] + low + high
        k = 1 + (w.shape[2 + i] - 1) * params["rhs_dilation"][i]
        spatial.append((n - k) // params["window_strides"][i] + 1)
    out = np.zeros((x.shape[0] // batches, w.shape[0], *spatial), lhs.dtype)
    per_group, members = w.shape[0] // (groups * batches), x.shape[0] // batches
    for o, place, k in itertools.product(range(w.shape[0]), np.ndindex(*spatial), np.ndindex(*w.shape[2:])):
        at = [
            s * p + d * q - low
            for s, p, d, q, (low, _) in zip(
                params["window_strides"], place, params["rhs_dilation"], k, params["padding"], strict=True
            )
        ]
        if any([a % d or not 0 <= a // d < n for a, d, n in zip(at, params["lhs_dilation"], x.shape[2:], strict=True)]):
            continue
        element = tuple([a // d for a, d in zip(at, params["lhs_dilation"], strict=True)])
        g = o // per_group
        rows = slice(g * members, (g + 1) * members) if batches > 1 else slice(None)
        first = g * w.shape[1] if groups > 1 else 0
        features = x[(rows, slice(first, first + w.shape[1]), *element)]
        out[(slice(None), o, *place)] += features @ w[(o, slice(None), *k)]
    return np.transpose(out, np.argsort(spec.out_spec))


def row(name, lhs, rhs, dtypes=("float64",), **changed):
    params = {**PLAIN, **changed}
    return Case(
        ops.conv_general_dilated_p,
        partial(ops.convolve, **params),
        partial(reference, **params),
        (Operand(lhs), Operand(rhs)),
        dtypes,
        name=name,
        tolerance=10,
    )


CASES = [
    row("plain", (2, 2, 4, 3), (3, 2, 2, 2), (*INEXACT, "int32")),
    row("half", (1, 2, 3, 3), (2, 2, 2, 2), ("float16",)),
    row("last", (2, 4, 3, 2), (2, 2, 2, 3), dimension_numbers=LAST, padding=((1, 0), (0, 2))),
    row("strides", (1, 1, 5, 4), (2, 1, 2, 2), window_strides=(2, 3), padding=((1, 1), (2, 1))),
    row("cropped", (1, 2, 5, 5), (1, 2, 2, 2), padding=((-1, 0), (1, -2))),
    row("dilations", (1, 1, 3, 3), (1, 1, 2, 2), lhs_dilation=(2, 1), rhs_dilation=(1, 2), padding=((1, 0), (1, 1))),
    row("cropped-dilation", (1, 1, 4, 3), (1, 1, 2, 1), lhs_dilation=(3, 2), padding=((-4, -2), (0, 1))),
    row("groups", (1, 4, 3, 3), (4, 2, 2, 2), feature_group_count=2),
    row("depthwise", (2, 3, 3, 3), (3, 1, 2, 2), feature_group_count=3),
    row("batch-groups", (4, 2, 3, 3), (4, 2, 2, 2), batch_group_count=2),
    row("one-place", (1, 1, 2, 2), (2, 1, 1, 1)),
]
