"""Convolution of any number of dimensions, with strides, padding, dilations and groups.

It is a cross-correlation, as everywhere in machine learning: out[n, p, o] is the sum over the window's places k and the
input features i of lhs[n, s p + d k, i] rhs[k, i, o]. It is linear in both operands; both transposes are convolutions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from functrans.core.aval import Aval
from functrans.core.jaxpr import Literal
from functrans.core.primitive import Primitive
from functrans.core.rules import def_abstract, def_batch, def_multilinear, def_specialized_impl
from functrans.ops.shape import moveaxis, reshape, rev

__all__ = ["ConvDimensionNumbers", "conv_general_dilated_p", "convolve", "dilated_length"]

Shape = tuple[int, ...]
Pads = tuple[tuple[int, int], ...]


class ConvDimensionNumbers(NamedTuple):
    """Which axis is which: batch, feature, then the spatial ones (in `rhs_spec`: output feature, input feature)."""

    lhs_spec: Shape
    rhs_spec: Shape
    out_spec: Shape


class _Convolution(NamedTuple):
    """The parameters of a convolution."""

    window_strides: Shape
    padding: Pads
    lhs_dilation: Shape
    rhs_dilation: Shape
    dimension_numbers: ConvDimensionNumbers
    feature_group_count: int
    batch_group_count: int


def convolve(lhs: Any, rhs: Any, **params: Any) -> Any:
    """The convolution, with all parameters in their strict form: `functrans.lax.conv_general_dilated` is for users."""
    return conv_general_dilated_p.bind(lhs, rhs, **params)


def dilated_length(length: int, dilation: int) -> int:
    """The length of an axis after `dilation - 1` places were put between its elements."""
    return 0 if length == 0 else 1 + (length - 1) * dilation


def _out_spatial(lhs: Shape, rhs: Shape, conv: _Convolution) -> Shape:
    spec = conv.dimension_numbers
    lengths = []
    for i, stride in enumerate(conv.window_strides):
        window = dilated_length(rhs[spec.rhs_spec[2 + i]], conv.rhs_dilation[i])
        room = dilated_length(lhs[spec.lhs_spec[2 + i]], conv.lhs_dilation[i]) + sum(conv.padding[i])
        lengths.append(max(0, (room - window) // stride + 1) if room >= window else 0)
    return tuple(lengths)


def _abstract(lhs: Aval, rhs: Aval, **params: Any) -> Aval:
    conv = _Convolution(**params)
    lhs_spec, rhs_spec, out_spec = conv.dimension_numbers
    _check(lhs, rhs, conv)
    shape = [0] * lhs.ndim
    shape[out_spec[0]] = lhs.shape[lhs_spec[0]] // conv.batch_group_count
    shape[out_spec[1]] = rhs.shape[rhs_spec[0]]
    for axis, length in zip(out_spec[2:], _out_spatial(lhs.shape, rhs.shape, conv), strict=True):
        shape[axis] = length
    return Aval(tuple(shape), lhs.dtype)


def _check(lhs: Aval, rhs: Aval, conv: _Convolution) -> None:
    lhs_spec, rhs_spec, _ = conv.dimension_numbers
    found = f"lhs {lhs.strong} and rhs {rhs.strong}"
    if lhs.dtype != rhs.dtype or lhs.ndim != rhs.ndim or lhs.dtype.kind not in "iufc":
        raise TypeError(f"conv_general_dilated needs numbers of one dtype and as many axes, got {found}")
    features, inputs, outputs = lhs.shape[lhs_spec[1]], rhs.shape[rhs_spec[1]], rhs.shape[rhs_spec[0]]
    groups, batch_groups = conv.feature_group_count, conv.batch_group_count
    if groups < 1 or batch_groups < 1 or (groups > 1 and batch_groups > 1):
        raise ValueError(
            "conv_general_dilated: the group counts must be positive, and one of them 1; "
            f"feature_group_count={groups}, batch_group_count={batch_groups}"
        )
    if features != inputs * groups:
        raise TypeError(
            f"conv_general_dilated: lhs has {features} features and rhs takes {inputs} in each of {groups} feature "
            f"groups: {found}, {conv.dimension_numbers}"
        )
    if outputs % (groups * batch_groups) or lhs.shape[lhs_spec[0]] % batch_groups:
        raise TypeError(
            f"conv_general_dilated: {outputs} output features must be a multiple of the {groups * batch_groups} "
            f"groups, and so must the batch of {lhs.shape[lhs_spec[0]]} of batch_group_count: {found}"
        )


# --------------------------------------------------------------------------------------------------------------------
# Value: matrix products, of which there are four forms. All work on channels-last operands: an input (batch, places,
# features) and a kernel (window, input features, output features).

_BLOCK_BYTES = 1_048_576
"""How large a copy of parts of the input may be at a time: so much stays in the cache."""

Form = Callable[[Any, Any, Any, "_Convolution"], None]
"""`form(input, kernel, result to be filled, convolution)`."""


def _specialize(lhs: Aval, rhs: Aval, **params: Any) -> Callable[..., Any]:
    conv = _Convolution(**params)
    lhs_spec, rhs_spec, out_spec = conv.dimension_numbers
    out_spatial = _out_spatial(lhs.shape, rhs.shape, conv)
    channels_last = (lhs_spec[0], *lhs_spec[2:], lhs_spec[1])
    window_first = (*rhs_spec[2:], rhs_spec[1], rhs_spec[0])
    order = np.argsort((out_spec[0], *out_spec[2:], out_spec[1])).tolist()
    half = lhs.dtype == np.float16
    out_shape = (lhs.shape[lhs_spec[0]] // conv.batch_group_count, *out_spatial, rhs.shape[rhs_spec[0]])
    window = tuple([rhs.shape[d] for d in rhs_spec[2:]])
    form = _form(window, out_spatial, conv)

    def run(x: Any, w: Any) -> Any:
        if half:  # products of halves are summed in single precision
            x, w = x.astype(np.float32), w.astype(np.float32)
        out = np.empty(out_shape, x.dtype)
        if out.size:
            x, w = x.transpose(channels_last), w.transpose(window_first)
            form(x, w, out, conv)
        out = out.transpose(order)
        return out.astype(np.float16) if half else out

    return run


def _form(window: Shape, out_spatial: Shape, conv: _Convolution) -> Form:
    if conv.feature_group_count > 1 or conv.batch_group_count > 1:
        return _grouped_product
    strided = any([s > 1 for s in conv.window_strides])
    if any([d > 1 for d in conv.lhs_dilation]) and not strided:
        return _by_inputs
    if len(window) > 1 and prod(out_spatial) < prod(window) and max(conv.rhs_dilation[:-1]) == 1:
        return _by_outputs
    if prod(window[:-1]) > 1 and max(conv.window_strides[:-1]) == 1 and conv.rhs_dilation[-1] == 1:
        return _by_rows
    return _whole_product


def _row_windows(x: Any, length: int, count: int, stride: int, dilation: int) -> Any:
    """The windows along the last spatial axis, copied: (batch, places, `count` windows, their elements)."""
    *others, step, within = x.strides
    shape = (*x.shape[:-2], count, length, x.shape[-1])
    view = as_strided(x, shape, (*others, stride * step, dilation * step, within), writeable=False)
    # A view of overlapping rows could be had without a copy, but BLAS takes none.
    return np.ascontiguousarray(view.reshape(*shape[:-2], length * x.shape[-1]))


def _blocks(n: int, bytes_of_one: int) -> list[slice]:
    step = max(1, _BLOCK_BYTES // max(1, bytes_of_one))
    return [slice(start, start + step) for start in range(0, n, step)]


def _shifted(place: Shape, apart: Shape, shape: Shape) -> list[slice]:
    """So many elements as an array of a shape has, along the axes after the first, from a place on."""
    return [slice(k * d, k * d + n) for k, d, n in zip(place, apart, shape[1:], strict=False)]


def _by_rows(x: Any, w: Any, out: Any, conv: _Convolution) -> None:
    """Windows are copied along the last axis alone; along the others, the product of each place of the window with
    its part of the input is added up.
    """
    x = _spread(x, conv)
    *leading, length = w.shape[:-2]
    inner, outputs, count = length * w.shape[-2], w.shape[-1], out.shape[-2]
    kernel = np.ascontiguousarray(w).reshape(*leading, inner, outputs)
    places = prod(out.shape[1:-1])
    for part in _blocks(x.shape[0], prod(x.shape[1:-2]) * count * inner * x.itemsize):
        rows = _row_windows(x[part], length, count, conv.window_strides[-1], conv.rhs_dilation[-1])
        target = out[part].reshape(-1, places, outputs)  # a view, since `out` is contiguous
        term = np.empty_like(target)
        for number, place in enumerate(np.ndindex(*leading)):
            shifted = _shifted(place, conv.rhs_dilation, out.shape)
            matrix = rows[(slice(None), *shifted)].reshape(len(rows), places, inner)
            np.matmul(matrix, kernel[place], out=term if number else target)
            if number:
                target += term


def _by_outputs(x: Any, w: Any, out: Any, conv: _Convolution) -> None:
    """There are fewer places of the result than of the window (a derivative by a kernel): for each along all axes but
    the last, one product that is summed over the places of the window, and over the features.
    """
    x, w = np.moveaxis(x, -1, 0), np.moveaxis(w, -2, 0)  # features first: they are the batch of the product
    x = _spread(np.moveaxis(x, 1, -1), conv)
    outputs, count, places = w.shape[-1], out.shape[-2], prod(w.shape[1:-1])
    kernel = np.ascontiguousarray(w).reshape(w.shape[0], places, outputs)
    out[...] = 0
    inner = count * x.shape[-1]
    for part in _blocks(x.shape[0], prod(x.shape[1:-2]) * w.shape[-2] * inner * x.itemsize):
        rows = _row_windows(x[part], count, w.shape[-2], conv.rhs_dilation[-1], conv.window_strides[-1])
        for place in np.ndindex(*out.shape[1:-2]):
            shifted = _shifted(place, conv.window_strides, w.shape)
            matrix = rows[(slice(None), *shifted)].reshape(len(rows), places, inner)
            found = np.matmul(matrix.transpose(0, 2, 1), kernel[part]).sum(0)
            out[(slice(None), *place)] += found.reshape(count, x.shape[-1], outputs).transpose(1, 0, 2)


def _by_inputs(x: Any, w: Any, out: Any, conv: _Convolution) -> None:
    """The input has gaps (a derivative by the input of a convolution with strides): each of its elements is multiplied
    by the whole window, and the products are added to where they belong in the result.
    """
    outputs = w.shape[-1]
    window, spatial = w.shape[:-2], x.shape[1:-1]
    kernel = np.moveaxis(w, -2, 0).reshape(w.shape[-2], -1)
    out[...] = 0
    for part in _blocks(x.shape[0], prod(spatial) * kernel.shape[1] * x.itemsize):
        matrix = x[part].reshape(-1, x.shape[-1])
        products = np.matmul(matrix, kernel).reshape(-1, *spatial, *window, outputs)
        target = out[part]
        for place in np.ndindex(*window):
            into, taken = [slice(None)], [slice(None)]
            for axis, k in enumerate(place):
                low, apart = conv.padding[axis][0], conv.lhs_dilation[axis]
                start = low - k * conv.rhs_dilation[axis]  # where the first element of the input goes
                first = max(0, -(start // apart))
                count = max(0, min(spatial[axis] - first, -(-(out.shape[1 + axis] - start) // apart) - first))
                begin = start + first * apart
                into.append(slice(begin, begin + (count - 1) * apart + 1, apart) if count else slice(0, 0))
                taken.append(slice(first, first + count))
            target[tuple(into)] += products[(*taken, *place)]


def _spread(x: Any, conv: _Convolution) -> Any:
    """The input, its spatial axes between two others, with the zeros of dilation and padding written out."""
    pads, dilation = conv.padding, conv.lhs_dilation
    spatial = x.shape[1:-1]
    if all([d == 1 for d in dilation]) and all([pad == (0, 0) for pad in pads]):
        return x
    lengths = [dilated_length(n, d) for n, d in zip(spatial, dilation, strict=True)]
    whole = [max(0, n + low + high) for n, (low, high) in zip(lengths, pads, strict=True)]
    out = np.zeros((x.shape[0], *whole, x.shape[-1]), x.dtype)
    into, out_of = [slice(None)], [slice(None)]
    for n, d, (low, _), room in zip(spatial, dilation, pads, whole, strict=True):
        first = max(0, -(low // d))  # the first element that is not cropped away
        start = low + first * d
        count = max(0, min(n - first, -(-(room - start) // d)))
        into.append(slice(start, start + (count - 1) * d + 1, d) if count else slice(0, 0))
        out_of.append(slice(first, first + count))
    out[tuple(into)] = x[tuple(out_of)]
    return out


def _windows(x: Any, w: Any, out_spatial: Shape, conv: _Convolution) -> Any:
    """A view of shape (batch, output places, window places, features)."""
    n = len(out_spatial)
    strides = x.strides
    shape = (x.shape[0], *out_spatial, *w.shape[:n], x.shape[-1])
    steps = [s * strides[1 + i] for i, s in enumerate(conv.window_strides)]
    within = [d * strides[1 + i] for i, d in enumerate(conv.rhs_dilation)]
    return as_strided(x, shape, (strides[0], *steps, *within, strides[-1]), writeable=False)


def _grouped_product(x: Any, w: Any, out: Any, conv: _Convolution) -> None:
    """Group by group."""
    windows = _windows(_spread(x, conv), w, out.shape[1:-1], conv)
    groups, batches = conv.feature_group_count, conv.batch_group_count
    inputs, outputs = w.shape[-2], w.shape[-1] // (groups * batches)
    if groups > 1 and inputs == 1 and outputs == 1:
        _depthwise(windows, w, out)
        return
    members = windows.shape[0] // batches
    for g in range(groups):
        for b in range(batches):
            chosen = slice((g + b) * outputs, (g + b + 1) * outputs)
            features = windows[b * members : (b + 1) * members, ..., g * inputs : (g + 1) * inputs]
            _product(features, w[..., chosen], out[..., chosen])


def _whole_product(x: Any, w: Any, out: Any, conv: _Convolution) -> None:
    """Whole windows are copied, as the rows of a matrix, for one product."""
    _product(_windows(_spread(x, conv), w, out.shape[1:-1], conv), w, out)


def _product(windows: Any, w: Any, out: Any) -> None:
    inner = prod(w.shape[:-1])
    matrix = w.reshape(inner, w.shape[-1])
    places = prod(out.shape[1:-1])
    for block in _blocks(out.shape[0], places * inner * out.itemsize):
        part, target = windows[block], out[block]
        rows = part.reshape(part.shape[0] * places, inner)
        if target.flags.c_contiguous:
            np.matmul(rows, matrix, out=target.reshape(len(rows), -1))
        else:
            target[...] = np.matmul(rows, matrix).reshape(target.shape)


def _depthwise(windows: Any, w: Any, out: Any) -> None:
    n = w.ndim - 2
    out[...] = 0
    for place in np.ndindex(*w.shape[:n]):
        out += windows[(slice(None),) * (n + 1) + place] * w[(*place, 0)]


# --------------------------------------------------------------------------------------------------------------------
# Transposes


def _swapped(spec: Shape) -> Shape:
    return (spec[1], spec[0], *spec[2:])


def _axis_split(x: Any, axis: int, groups: int) -> Any:
    """The axis as two: the group, then the place in it."""
    return reshape(x, (*x.shape[:axis], groups, x.shape[axis] // groups, *x.shape[axis + 1 :]))


def _axes_merged(x: Any, outer: int, into: int) -> Any:
    """The array without its axis `outer`, which becomes the slower part of the axis numbered `into` afterwards."""
    moved = moveaxis(x, outer, into)
    return reshape(moved, (*moved.shape[:into], moved.shape[into] * moved.shape[into + 1], *moved.shape[into + 2 :]))


def _spatial(shape: Shape, spec: Shape, dilation: Shape) -> list[int]:
    return [dilated_length(shape[axis], d) for axis, d in zip(spec[2:], dilation, strict=True)]


def _lhs_transpose(ct: Any, lhs: Any, rhs: Any, **params: Any) -> Any:
    conv = _Convolution(**params)
    lhs_spec, rhs_spec, out_spec = conv.dimension_numbers
    groups = conv.feature_group_count * conv.batch_group_count
    window = _spatial(rhs.shape, rhs_spec, conv.rhs_dilation)
    before = _spatial(lhs.shape, lhs_spec, conv.lhs_dilation)
    after = _spatial(ct.shape, out_spec, conv.window_strides)
    padding = []
    for k, n, m, (low, _) in zip(window, before, after, conv.padding, strict=True):
        padding.append((k - 1 - low, n + k - 1 - m - (k - 1 - low)))
    weights = rev(rhs, rhs_spec[2:])
    if groups > 1:
        weights = _axes_merged(_axis_split(weights, rhs_spec[0], groups), rhs_spec[0], rhs_spec[1])
    out = convolve(
        ct,
        weights,
        window_strides=conv.lhs_dilation,
        padding=tuple(padding),
        lhs_dilation=conv.window_strides,
        rhs_dilation=conv.rhs_dilation,
        dimension_numbers=ConvDimensionNumbers(out_spec, _swapped(rhs_spec), lhs_spec),
        feature_group_count=groups,
        batch_group_count=1,
    )
    if conv.batch_group_count > 1:
        out = _axes_merged(_axis_split(out, lhs_spec[1], groups), lhs_spec[1], lhs_spec[0])
    return out


def _rhs_transpose(ct: Any, lhs: Any, rhs: Any, **params: Any) -> Any:
    conv = _Convolution(**params)
    lhs_spec, rhs_spec, out_spec = conv.dimension_numbers
    window = _spatial(rhs.shape, rhs_spec, conv.rhs_dilation)
    before = _spatial(lhs.shape, lhs_spec, conv.lhs_dilation)
    after = _spatial(ct.shape, out_spec, conv.window_strides)
    padding = []
    for k, n, m, (low, _) in zip(window, before, after, conv.padding, strict=True):
        padding.append((low, m - n + k - low - 1))
    return convolve(
        lhs,
        ct,
        window_strides=conv.rhs_dilation,
        padding=tuple(padding),
        lhs_dilation=conv.lhs_dilation,
        rhs_dilation=conv.window_strides,
        dimension_numbers=ConvDimensionNumbers(_swapped(lhs_spec), _swapped(out_spec), _swapped(rhs_spec)),
        feature_group_count=conv.batch_group_count,
        batch_group_count=conv.feature_group_count,
    )


# --------------------------------------------------------------------------------------------------------------------
# Batches: the batch axis becomes part of a batch or a feature axis


def _batch(size: int, operands: Sequence[Any], axes: Sequence[int | None], **params: Any) -> tuple[Any, int]:
    conv = _Convolution(**params)
    lhs_spec, rhs_spec, out_spec = conv.dimension_numbers
    lhs, rhs = operands
    lhs_axis, rhs_axis = axes
    groups, batches = conv.feature_group_count, conv.batch_group_count
    if size == 0:
        return _empty_batch(lhs, rhs, axes, params), 0
    if lhs_axis is not None and rhs_axis is not None:
        # Each member is a group of its own.
        rhs = _axes_merged(rhs, rhs_axis, rhs_spec[0])
        if batches > 1:
            lhs = _axes_merged(lhs, lhs_axis, lhs_spec[0])
            params["batch_group_count"] = batches * size
        else:
            lhs = _axes_merged(lhs, lhs_axis, lhs_spec[1])
            params["feature_group_count"] = groups * size
        return _axis_split(convolve(lhs, rhs, **params), out_spec[1], size), out_spec[1]
    if lhs_axis is not None:
        lhs = _merged_within_groups(lhs, lhs_axis, lhs_spec[0], batches)
        return _axis_split(convolve(lhs, rhs, **params), out_spec[0], size), out_spec[0]
    grouped = groups * batches
    rhs = _merged_within_groups(rhs, rhs_axis or 0, rhs_spec[0], grouped)
    out = convolve(lhs, rhs, **params)
    if grouped == 1:
        return _axis_split(out, out_spec[1], size), out_spec[1]
    out = _axis_split(_axis_split(out, out_spec[1], grouped), out_spec[1] + 1, size)
    members = moveaxis(out, out_spec[1] + 1, 0)
    return _axes_merged(members, 1 + out_spec[1], 1 + out_spec[1]), 0


def _empty_batch(lhs: Any, rhs: Any, axes: Sequence[int | None], params: Any) -> Any:
    members = [
        Aval(x.shape if axis is None else (*x.shape[:axis], *x.shape[axis + 1 :]), x.dtype)
        for x, axis in zip((lhs, rhs), axes, strict=True)
    ]
    out = _abstract(*members, **params)
    return Literal(0, out.with_shape((0, *out.shape)))


def _merged_within_groups(x: Any, axis: int, into: int, groups: int) -> Any:
    """The batch axis made part of another, inside of each of its groups: (group, member, place in the group)."""
    if groups == 1:
        return _axes_merged(x, axis, into)
    members = moveaxis(x, axis, 0)
    split = _axis_split(members, 1 + into, groups)
    inside = moveaxis(split, 0, into + 1)
    own = members.shape[1:]
    return reshape(inside, (*own[:into], members.shape[0] * own[into], *own[into + 1 :]))


conv_general_dilated_p = Primitive("conv_general_dilated")
def_specialized_impl(conv_general_dilated_p, _specialize)
def_abstract(conv_general_dilated_p, _abstract)
def_multilinear(conv_general_dilated_p, _lhs_transpose, _rhs_transpose)
def_batch(conv_general_dilated_p, _batch)
