"""Convolution of any number of dimensions, with strides, padding, dilations and groups.

It is a cross-correlation, as everywhere in machine learning: out[n, p, o] is the sum over the window's places k and the
input features i of lhs[n, s p + d k, i] rhs[k, i, o]. It is linear in both operands; both transposes are convolutions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite, prod
from typing import Any, NamedTuple

import numpy as np

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
# features) and a kernel (window, input features, output features), and give (batch, places, output features).

_BLOCK_BYTES = 1_048_576
"""How large a copy of parts of the input should be: so much stays in the cache."""
_LARGEST_BLOCK = 8 * _BLOCK_BYTES
"""Up to what size the windows of one member of the batch are copied at once."""

Form = Callable[[Any, Any], Any]
"""`form(input, kernel)`, made for their shapes."""


def _specialize(lhs: Aval, rhs: Aval, **params: Any) -> Callable[..., Any]:
    conv = _Convolution(**params)
    lhs_spec, rhs_spec, out_spec = conv.dimension_numbers
    channels_last = (lhs_spec[0], *lhs_spec[2:], lhs_spec[1])
    window_first = (*rhs_spec[2:], rhs_spec[1], rhs_spec[0])
    order = tuple(np.argsort((out_spec[0], *out_spec[2:], out_spec[1])).tolist())
    dtype = np.dtype(np.float32) if lhs.dtype == np.float16 else lhs.dtype  # halves are summed in single precision
    input_shape, kernel_shape = [
        tuple([operand.shape[d] for d in axes]) for operand, axes in ((lhs, channels_last), (rhs, window_first))
    ]
    sizes = _Sizes(input_shape, kernel_shape, _out_spatial(lhs.shape, rhs.shape, conv), dtype)
    form = _form(sizes, conv)

    def run(x: Any, w: Any) -> Any:
        return form(x.transpose(channels_last), w.transpose(window_first)).transpose(order)

    if dtype == lhs.dtype:
        return run
    return lambda x, w: run(x.astype(dtype), w.astype(dtype)).astype(lhs.dtype)


class _Sizes(NamedTuple):
    """The shapes of channels-last operands."""

    input: Shape
    kernel: Shape
    out_spatial: Shape
    dtype: np.dtype[Any]

    @property
    def window(self) -> Shape:
        """The lengths of the window."""
        return self.kernel[:-2]


def _form(sizes: _Sizes, conv: _Convolution) -> Form:
    groups, batches = conv.feature_group_count, conv.batch_group_count
    out_shape = (sizes.input[0] // batches, *sizes.out_spatial, sizes.kernel[-1])
    if not prod(out_shape):
        return lambda x, w: np.empty(out_shape, sizes.dtype)
    if groups > 1 or batches > 1:
        return _by_groups(sizes, conv)
    if not prod(sizes.input) or not prod(sizes.kernel):
        return lambda x, w: np.zeros(out_shape, sizes.dtype)
    if not sizes.window:
        return np.matmul
    if max(conv.lhs_dilation) > 1 and max(conv.window_strides) == 1:
        return _by_inputs(sizes, conv)
    if prod(sizes.out_spatial) < prod(sizes.window):
        return _tiled(_by_outputs, sizes, conv)
    return _tiled(_by_windows, sizes, conv)


def _tiled(form: Callable[[_Sizes, _Convolution, int], Form], sizes: _Sizes, conv: _Convolution) -> Form:
    """The form with as many windows in a tile as is best. The matrices that multiply tiles have zeros, which make NaNs
    of what is infinite: a result that has either is computed anew, window by window.
    """
    members = _best_tile(form is _by_outputs, sizes, conv)
    singly = form(sizes, conv, 1)
    if members == 1:
        return singly
    together = form(sizes, conv, members)

    def run(x: Any, w: Any) -> Any:
        with np.errstate(over="ignore", invalid="ignore"):
            out = together(x, w)
            flat = out.ravel("K")
            finite = isfinite(flat.dot(flat))
        return out if finite else singly(x, w)

    return run


# ---- The copy of the windows


# Neighbouring windows along the last axis are copied as one, a tile, so that less is copied, and multiplied with a band
# of kernels, so that matrices are wider: tiny products leave most of the arithmetic units idle.


def _best_tile(by_outputs: bool, sizes: _Sizes, conv: _Convolution) -> int:
    """How many windows a tile should have: the number that costs the least."""
    if sizes.dtype.kind != "f":
        return 1
    n, window = sizes.out_spatial[-1], sizes.window[-1]
    stride, apart, inputs = conv.window_strides[-1], conv.rhs_dilation[-1], sizes.kernel[-2]
    lanes = 64 // sizes.dtype.itemsize
    if by_outputs:
        n, window, stride, apart, inputs = window, n, apart, stride, sizes.input[0]

    def cost(members: int) -> float:
        span = _span(members, window, apart, stride)
        together = inputs * (span if members > 1 or apart == 1 else 1)
        columns = -(-members * sizes.kernel[-1] // lanes) * lanes  # so many are computed
        return span / members * (_COPY * (1 + 4 / together) + columns)

    return min([members for members in range(1, 9) if n % members == 0], key=cost)


_COPY = 40
"""What it costs to copy an element, in units of multiplying and adding it; more by 4 / (elements that lie together)."""


def _span(members: int, window: int, apart: int, stride: int) -> int:
    """How many places of the input are copied for a tile."""
    return window if members == 1 else (members - 1) * stride + (window - 1) * apart + 1


def _windows(
    padded: Shape, window: Shape, counts: Shape, steps: Shape, apart: Shape, dtype: np.dtype[Any], places: int = 1
) -> Any:
    """A function of a contiguous input that gives all its windows: (batch, counts, window, features), where the
    features are those of so many places.
    """
    strides = [dtype.itemsize * prod(padded[d + 1 :]) for d in range(len(padded))]
    moved = [s * stride for s, stride in zip(steps, strides[1:], strict=False)]
    within = [d * stride for d, stride in zip(apart, strides[1:], strict=False)]
    tail, all_strides = (*counts, *window, places * padded[-1]), (strides[0], *moved, *within, strides[-1])
    return lambda x: np.ndarray((len(x), *tail), dtype, x, 0, all_strides)


def _blocks(n: int, bytes_of_one: int) -> list[slice]:
    step = max(1, _BLOCK_BYTES // max(1, bytes_of_one))
    return [slice(start, min(n, start + step)) for start in range(0, n, step)]


def _spreader(shape: Shape, conv: _Convolution) -> tuple[Shape, Callable[[Any], Any]]:
    """How the input is made contiguous, with the zeros of dilation and padding written out; its shape after that."""
    pads, dilation = conv.padding, conv.lhs_dilation
    spatial = shape[1:-1]
    if all([d == 1 for d in dilation]) and all([pad == (0, 0) for pad in pads]):
        return shape, np.ascontiguousarray
    lengths = [dilated_length(n, d) for n, d in zip(spatial, dilation, strict=True)]
    whole = [max(0, n + low + high) for n, (low, high) in zip(lengths, pads, strict=True)]
    into, out_of = [slice(None)], [slice(None)]
    for n, d, (low, _), room in zip(spatial, dilation, pads, whole, strict=True):
        first = max(0, -(low // d))  # the first element that is not cropped away
        start = low + first * d
        count = max(0, min(n - first, -(-(room - start) // d)))
        into.append(slice(start, start + (count - 1) * d + 1, d) if count else slice(0, 0))
        out_of.append(slice(first, first + count))
    target, source, tail = tuple(into), tuple(out_of), (*whole, shape[-1])

    def spread(x: Any) -> Any:
        out = np.zeros((len(x), *tail), x.dtype)
        out[target] = x[source]
        return out

    return (shape[0], *tail), spread


# ---- Windows are copied, as the rows of a matrix, for one product


def _by_windows(sizes: _Sizes, conv: _Convolution, members: int) -> Form:
    padded, spread = _spreader(sizes.input, conv)
    inputs, outputs = sizes.kernel[-2:]
    *others, last = sizes.out_spatial
    stride, apart = conv.window_strides[-1], conv.rhs_dilation[-1]
    span, columns = _span(members, sizes.window[-1], apart, stride), members * outputs
    tile = (*sizes.window[:-1], span)
    steps = (*conv.window_strides[:-1], stride * members)
    distances = (*conv.rhs_dilation[:-1], 1 if members > 1 else apart)
    view = _windows(padded, tile, (*others, last // members), steps, distances, sizes.dtype)
    inner = prod(tile) * inputs
    band = _band(sizes.kernel, span, [t * stride for t in range(members)], apart)
    out_shape = (sizes.input[0], *sizes.out_spatial, outputs)
    of_one = prod(sizes.out_spatial) // members * inner * sizes.dtype.itemsize
    parts = _blocks(sizes.input[0], of_one)
    rows = [slice(None)] if of_one <= _LARGEST_BLOCK else _blocks(sizes.out_spatial[0], of_one // sizes.out_spatial[0])

    def run(x: Any, w: Any) -> Any:
        out, kernel = np.empty(out_shape, sizes.dtype), w.reshape(inner, outputs) if members == 1 else band(w)
        for part in parts:
            windows = view(spread(x[part]))
            for some in rows:
                target = out[part, some].reshape(-1, columns)
                np.matmul(windows[:, some].reshape(len(target), inner), kernel, out=target)
        return out

    return run


def _band(kernel: Shape, span: int, starts: Sequence[int], apart: int) -> Callable[[Any], Any]:
    """The matrix that multiplies a tile: kernel beside kernel, each further down."""
    *leading, length, inputs, outputs = kernel
    shape = (prod(leading), span, inputs, len(starts), outputs)
    places = [slice(start, start + (length - 1) * apart + 1, apart) for start in starts]

    def make(w: Any) -> Any:
        out = np.zeros(shape, w.dtype)
        w = w.reshape(shape[0], length, inputs, outputs)
        for t, place in enumerate(places):
            out[:, place, :, t] = w
        return out.reshape(-1, len(starts) * outputs)

    return make


# ---- The result has fewer places than the window (a derivative by a kernel): the windows that the places of the result
# make are multiplied, transposed, with the kernel


def _by_outputs(sizes: _Sizes, conv: _Convolution, members: int) -> Form:
    # The features are the batch here, and the batch is summed over as features are.
    features = (sizes.input[-1], *sizes.input[1:-1], sizes.input[0])
    padded, spread = _spreader(features, conv)
    inputs, outputs = sizes.input[0], sizes.kernel[-1]
    *others, last = sizes.window
    stride, apart = conv.window_strides[-1], conv.rhs_dilation[-1]
    length = sizes.out_spatial[-1]
    span, columns = _span(members, length, stride, apart), members * outputs
    tile = (*sizes.out_spatial[:-1], span)
    steps = (*conv.rhs_dilation[:-1], apart * members)
    distances = (*conv.window_strides[:-1], 1 if members > 1 else stride)
    view = _windows(padded, tile, (*others, last // members), steps, distances, sizes.dtype)
    inner = prod(tile) * inputs
    of_one = prod(sizes.window) // members * inner * sizes.dtype.itemsize
    parts = _blocks(features[0], of_one)
    rows = [slice(None)] if of_one <= _LARGEST_BLOCK else _blocks(sizes.window[0], of_one // sizes.window[0])
    n = len(sizes.window)
    input_order, kernel_order = (n + 1, *range(1, n + 1), 0), (n, *range(n), n + 1)
    result_order = (n, *range(n), n + 1)
    split = (prod(sizes.out_spatial[:-1]), span, inputs, members, outputs)
    diagonals = [slice(t * apart, t * apart + (length - 1) * stride + 1, stride) for t in range(members)]

    def run(x: Any, w: Any) -> Any:
        x, w = x.transpose(input_order), w.transpose(kernel_order)
        total: Any = None
        for part in parts:
            windows = view(spread(x[part]))
            for some in rows:
                factor = w[part, some].reshape(-1, columns)
                found = windows[:, some].reshape(len(factor), inner).transpose().dot(factor)
                total = found if total is None else np.add(total, found, total)
        if members > 1:
            band = total.reshape(split)
            total = band[:, diagonals[0], :, 0].copy()
            for t, diagonal in enumerate(diagonals[1:], 1):
                total += band[:, diagonal, :, t]
        return total.reshape(*sizes.out_spatial, inputs, outputs).transpose(result_order)

    return run


# ---- The input has gaps (a derivative by the input of a convolution with strides): each of its elements is multiplied
# by the whole window, and the products are added to where they belong in the result


def _by_inputs(sizes: _Sizes, conv: _Convolution) -> Form:
    inputs, outputs = sizes.kernel[-2:]
    spatial, window = sizes.input[1:-1], sizes.window
    out_shape = (sizes.input[0], *sizes.out_spatial, outputs)
    products_shape = (-1, *spatial, *window, outputs)
    n = len(window)
    inputs_first = (n, *range(n), n + 1)
    parts = _blocks(sizes.input[0], prod(spatial) * prod(window) * outputs * sizes.dtype.itemsize)
    places = []
    for place in np.ndindex(*window):
        into, taken = [slice(None)], [slice(None)]
        for axis, k in enumerate(place):
            low, apart = conv.padding[axis][0], conv.lhs_dilation[axis]
            start = low - k * conv.rhs_dilation[axis]  # where the first element of the input goes
            first = max(0, -(start // apart))
            count = max(0, min(spatial[axis] - first, -(-(sizes.out_spatial[axis] - start) // apart) - first))
            begin = start + first * apart
            into.append(slice(begin, begin + (count - 1) * apart + 1, apart) if count else slice(0, 0))
            taken.append(slice(first, first + count))
        places.append((tuple(into), (*taken, *place)))

    def run(x: Any, w: Any) -> Any:
        kernel = w.transpose(inputs_first).reshape(inputs, -1)
        out = np.zeros(out_shape, sizes.dtype)
        for part in parts:
            products = np.matmul(x[part].reshape(-1, inputs), kernel).reshape(products_shape)
            target = out[part]
            for into, taken in places:
                target[into] += products[taken]
        return out

    return run


# ---- Group by group


def _by_groups(sizes: _Sizes, conv: _Convolution) -> Form:
    groups, batches = conv.feature_group_count, conv.batch_group_count
    inputs, outputs = sizes.kernel[-2], sizes.kernel[-1] // (groups * batches)
    if groups > 1 and inputs == 1 and outputs == 1 and sizes.window:
        return _depthwise(sizes, conv)
    members = sizes.input[0] // batches
    small = _Sizes((members, *sizes.input[1:-1], inputs), (*sizes.kernel[:-1], outputs), sizes.out_spatial, sizes.dtype)
    form = _form(small, conv._replace(feature_group_count=1, batch_group_count=1))
    out_shape = (members, *sizes.out_spatial, sizes.kernel[-1])

    def run(x: Any, w: Any) -> Any:
        out = np.empty(out_shape, sizes.dtype)
        for i in range(groups * batches):
            chosen = slice(i * outputs, (i + 1) * outputs)
            part = x[..., i * inputs : (i + 1) * inputs] if groups > 1 else x[i * members : (i + 1) * members]
            out[..., chosen] = form(part, w[..., chosen])
        return out

    return run


def _depthwise(sizes: _Sizes, conv: _Convolution) -> Form:
    """Each feature has a kernel of its own: shifted inputs are multiplied by the places of the window, and added."""
    padded, spread = _spreader(sizes.input, conv)
    *others, last = sizes.out_spatial
    features, stride = sizes.kernel[-1], conv.window_strides[-1]
    together = last if stride == 1 else 1  # places that lie together in a row: NumPy is slow where rows are short
    steps = (*conv.window_strides[:-1], stride * together)
    counts = (*others, last // together)
    view = _windows(padded, sizes.window, counts, steps, conv.rhs_dilation, sizes.dtype, together)
    tail = (*counts, together * features)
    parts = _blocks(sizes.input[0], 4 * prod(tail) * sizes.dtype.itemsize)
    n = len(sizes.window)
    places = [(slice(None),) * (n + 1) + place for place in np.ndindex(*sizes.window)]

    def run(x: Any, w: Any) -> Any:
        kernel = np.tile(w.reshape(*sizes.window, features), together)
        out = np.empty((sizes.input[0], *tail), sizes.dtype)
        term = np.empty_like(out[parts[0]])
        for part in parts:
            windows, target = view(spread(x[part])), out[part]
            np.multiply(windows[places[0]], kernel[places[0][n + 1 :]], target)
            for place in places[1:]:
                target += np.multiply(windows[place], kernel[place[n + 1 :]], term[: len(target)])
        return out.reshape(sizes.input[0], *sizes.out_spatial, features)

    return run


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
