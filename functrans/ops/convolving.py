"""Convolutions as users ask for them: layouts by letters, padding by name, one number for all axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from functrans.core.aval import aval_of
from functrans.ops.convolution import ConvDimensionNumbers, convolve, dilated_length
from functrans.ops.joining import concatenate
from functrans.ops.linear_algebra import dot_general
from functrans.ops.shape import expand_dims, reshape, rev, transpose
from functrans.ops.slicing import pad
from functrans.ops.slicing import slice as slice_

__all__ = [
    "conv",
    "conv_dimension_numbers",
    "conv_general_dilated",
    "conv_general_dilated_local",
    "conv_general_dilated_patches",
    "conv_transpose",
    "conv_with_general_padding",
    "padtype_to_pads",
]

Layout = ConvDimensionNumbers | Sequence[str] | None
Padding = str | Sequence[tuple[int, int]]


def conv_dimension_numbers(lhs_shape: Sequence[int], rhs_shape: Sequence[int], layout: Layout) -> ConvDimensionNumbers:
    """Which axis is which, from three strings such as ("NHWC", "HWIO", "NHWC").

    Args:
        lhs_shape, rhs_shape: the shapes of the operands.
        layout: for the input, the kernel and the output a letter for each axis: N batch, C feature, O and I output
            and input feature of the kernel, any other letter a spatial axis. If not given, batch and features come
            first (NCHW, OIHW).

    Raises:
        ValueError: if the letters do not fit.
    """
    ndim = len(lhs_shape)
    if len(rhs_shape) != ndim or ndim < 2:
        raise ValueError(f"a convolution needs operands of as many axes, got shapes {lhs_shape} and {rhs_shape}")
    if isinstance(layout, ConvDimensionNumbers):
        return layout
    if layout is None:
        return ConvDimensionNumbers(*[tuple(range(ndim))] * 3)
    lhs, rhs, out = _letters(layout, ndim)
    spatial = [c for c in rhs if c not in "OI"]
    return ConvDimensionNumbers(
        tuple([lhs.index(c) for c in ("N", "C", *spatial)]),
        tuple([rhs.index(c) for c in ("O", "I", *spatial)]),
        tuple([out.index(c) for c in ("N", "C", *spatial)]),
    )


def _letters(layout: Any, ndim: int) -> Sequence[str]:
    wanted = f"dimension_numbers must be three strings of {ndim} letters, such as ('NHWC', 'HWIO', 'NHWC')"
    if not isinstance(layout, (tuple, list)) or len(layout) != 3 or not all([isinstance(s, str) for s in layout]):
        raise ValueError(f"{wanted}; got {layout!r}")
    for letters, needed in zip(layout, ("NC", "OI", "NC"), strict=True):
        if len(letters) != ndim or len(set(letters)) != ndim or not set(needed) <= set(letters):
            raise ValueError(f"{wanted}, each with {needed[0]} and {needed[1]} once; got {letters!r} in {layout!r}")
    spatial = [set(letters) - set(needed) for letters, needed in zip(layout, ("NC", "OI", "NC"), strict=True)]
    if not spatial[0] == spatial[1] == spatial[2]:
        raise ValueError(f"{wanted}, with the same spatial letters in each; got {layout!r}")
    return layout


def padtype_to_pads(
    in_shape: Sequence[int], window_shape: Sequence[int], window_strides: Sequence[int], padding: str
) -> list[tuple[int, int]]:
    """The padding of each axis that a name stands for.

    Args:
        in_shape, window_shape, window_strides: of the spatial axes.
        padding: "VALID": none; "SAME": so much that the output has ceil(in / stride) places, with more at the end if
            it is odd, or at the beginning for "SAME_LOWER".

    >>> padtype_to_pads((10, 10), (3, 2), (1, 1), "SAME")
    [(1, 1), (0, 1)]
    """
    name = padding.upper() if isinstance(padding, str) else padding
    if name == "VALID":
        return [(0, 0)] * len(in_shape)
    if name not in ("SAME", "SAME_LOWER"):
        raise ValueError(f"padding must be 'VALID', 'SAME', 'SAME_LOWER' or a pair of ints an axis, got {padding!r}")
    pads = []
    for n, k, stride in zip(in_shape, window_shape, window_strides, strict=True):
        total = max(0, (-(-n // stride) - 1) * stride + k - n)
        pads.append((total // 2, total - total // 2) if name == "SAME" else (total - total // 2, total // 2))
    return pads


def conv_general_dilated(
    lhs: Any,
    rhs: Any,
    window_strides: int | Sequence[int],
    padding: Padding,
    lhs_dilation: int | Sequence[int] | None = None,
    rhs_dilation: int | Sequence[int] | None = None,
    dimension_numbers: Layout = None,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
    precision: Any = None,
    preferred_element_type: Any = None,
) -> Any:
    """The convolution of an input with a kernel: a cross-correlation, as is usual in machine learning.

    Args:
        lhs: the input, an array with a batch axis, a feature axis and any number of spatial axes.
        rhs: the kernel, of the same dtype, with an axis for output features, one for input features, and the window.
        window_strides: by how much the window moves along each spatial axis.
        padding: a pair of numbers of zeros for each spatial axis (negative ones crop), or a name for
            `padtype_to_pads`.
        lhs_dilation: the distance of neighbouring elements of the input (a transposed convolution).
        rhs_dilation: the distance of neighbouring elements of the window (an atrous convolution).
        dimension_numbers: see `conv_dimension_numbers`.
        feature_group_count: into how many groups the features are divided, each with its own part of the kernel.
        batch_group_count: into how many groups the batch is divided, each with its own output features.
        precision: for JAX's signature; NumPy has one.
        preferred_element_type: the dtype of the result, to which the operands are converted before.

    Returns:
        An array in the output's layout.

    Raises:
        TypeError, ValueError: for shapes, layouts or groups that do not fit together.

    >>> import numpy as np
    >>> image, kernel = np.arange(5.0).reshape(1, 1, 5), np.array([[[1.0, 0.0, -1.0]]])
    >>> conv_general_dilated(image, kernel, (1,), "VALID")
    array([[[-2., -2., -2.]]])
    """
    if preferred_element_type is not None:
        lhs, rhs = [x.astype(preferred_element_type) for x in (lhs, rhs)]
    layout = conv_dimension_numbers(_shape(lhs), _shape(rhs), dimension_numbers)
    n = len(layout.lhs_spec) - 2
    strides = _for_each_axis("window_strides", window_strides, n)
    spread = _for_each_axis("lhs_dilation", 1 if lhs_dilation is None else lhs_dilation, n)
    apart = _for_each_axis("rhs_dilation", 1 if rhs_dilation is None else rhs_dilation, n)
    if isinstance(padding, str):
        places = [lhs.shape[axis] for axis in layout.lhs_spec[2:]]
        window = [dilated_length(rhs.shape[axis], d) for axis, d in zip(layout.rhs_spec[2:], apart, strict=True)]
        if padding.upper() != "VALID" and any([d != 1 for d in spread]):
            raise ValueError("padding by name does not go with lhs_dilation: give a pair of ints for each spatial axis")
        padding = padtype_to_pads(places, window, strides, padding)
    return convolve(
        lhs,
        rhs,
        window_strides=strides,
        padding=_pairs(padding, n),
        lhs_dilation=spread,
        rhs_dilation=apart,
        dimension_numbers=layout,
        feature_group_count=int(feature_group_count),
        batch_group_count=int(batch_group_count),
    )


def _shape(x: Any) -> tuple[int, ...]:
    return aval_of(x).shape


def _for_each_axis(name: str, given: int | Sequence[int], n: int) -> tuple[int, ...]:
    values = (given,) * n if isinstance(given, (int, np.integer)) else tuple(given)
    if len(values) != n or any([not isinstance(v, (int, np.integer)) or v < 1 for v in values]):
        raise ValueError(f"{name} must be a positive int for each of the {n} spatial axes, got {given!r}")
    return tuple([int(v) for v in values])


def _pairs(padding: Any, n: int) -> tuple[tuple[int, int], ...]:
    try:
        pairs = tuple([(int(low), int(high)) for low, high in padding])
    except (TypeError, ValueError):
        pairs = ()
    if len(pairs) != n:
        raise ValueError(f"padding must be a name or a pair of ints for each of the {n} spatial axes, got {padding!r}")
    return pairs


def conv(lhs: Any, rhs: Any, window_strides: int | Sequence[int], padding: Padding, precision: Any = None) -> Any:
    """A convolution with batch and features first (NCHW, OIHW).

    >>> import numpy as np
    >>> conv(np.ones((1, 1, 3, 3)), np.ones((1, 1, 2, 2)), (1, 1), "VALID")
    array([[[[4., 4.],
             [4., 4.]]]])
    """
    return conv_general_dilated(lhs, rhs, window_strides, padding)


def conv_with_general_padding(
    lhs: Any,
    rhs: Any,
    window_strides: int | Sequence[int],
    padding: Padding,
    lhs_dilation: int | Sequence[int] | None,
    rhs_dilation: int | Sequence[int] | None,
    precision: Any = None,
    preferred_element_type: Any = None,
) -> Any:
    """A convolution with batch and features first, with dilations."""
    return conv_general_dilated(
        lhs, rhs, window_strides, padding, lhs_dilation, rhs_dilation, preferred_element_type=preferred_element_type
    )


def conv_transpose(
    lhs: Any,
    rhs: Any,
    strides: int | Sequence[int],
    padding: Padding,
    rhs_dilation: int | Sequence[int] | None = None,
    dimension_numbers: Layout = None,
    transpose_kernel: bool = False,
    precision: Any = None,
    preferred_element_type: Any = None,
) -> Any:
    """The transposed convolution, which makes an array larger: the gradient of a convolution, or nearly so.

    Args:
        lhs: the input.
        rhs: the kernel.
        strides: by how much the output is larger along each spatial axis.
        padding: "SAME" (the output is `strides` times as long), "VALID", or pairs of ints.
        rhs_dilation: the distance of neighbouring elements of the window.
        dimension_numbers: see `conv_dimension_numbers`; if not given, features come last (NHWC, HWIO).
        transpose_kernel: whether the window is flipped and its features exchanged: then it is the gradient of the
            convolution with the same kernel.
        precision, preferred_element_type: see `conv_general_dilated`.

    >>> import numpy as np
    >>> conv_transpose(np.ones((1, 2, 1)), np.ones((2, 1, 1)), (2,), "SAME")[0, :, 0]
    array([1., 1., 1., 1.])
    """
    ndim = len(_shape(lhs))
    if dimension_numbers is None:
        spatial = "HWDEFG"[: ndim - 2]
        dimension_numbers = (f"N{spatial}C", f"{spatial}IO", f"N{spatial}C")
    layout = conv_dimension_numbers(_shape(lhs), _shape(rhs), dimension_numbers)
    n = ndim - 2
    steps = _for_each_axis("strides", strides, n)
    apart = _for_each_axis("rhs_dilation", 1 if rhs_dilation is None else rhs_dilation, n)
    window = [dilated_length(rhs.shape[axis], d) for axis, d in zip(layout.rhs_spec[2:], apart, strict=True)]
    if isinstance(padding, str):
        pads: Any = [_transposed_pads(k, s, padding) for k, s in zip(window, steps, strict=True)]
    else:
        pads = padding
    if transpose_kernel:
        rhs = rev(rhs, layout.rhs_spec[2:])
        out_feature, in_feature, *places = layout.rhs_spec
        layout = layout._replace(rhs_spec=(in_feature, out_feature, *places))
    return conv_general_dilated(
        lhs,
        rhs,
        (1,) * n,
        pads,
        lhs_dilation=steps,
        rhs_dilation=apart,
        dimension_numbers=layout,
        preferred_element_type=preferred_element_type,
    )


def _transposed_pads(k: int, stride: int, padding: str) -> tuple[int, int]:
    name = padding.upper()
    if name == "SAME":
        total = k + stride - 2
        before = k - 1 if stride > k - 1 else -(-total // 2)
    elif name == "VALID":
        total = k + stride - 2 + max(k - stride, 0)
        before = k - 1
    else:
        raise ValueError(f"padding must be 'VALID', 'SAME' or a pair of ints an axis, got {padding!r}")
    return before, total - before


def conv_general_dilated_patches(
    lhs: Any,
    filter_shape: Sequence[int],
    window_strides: int | Sequence[int],
    padding: Padding,
    lhs_dilation: int | Sequence[int] | None = None,
    rhs_dilation: int | Sequence[int] | None = None,
    dimension_numbers: Layout = None,
    precision: Any = None,
    preferred_element_type: Any = None,
) -> Any:
    """The windows that a convolution looks at, as features: of each input feature one for each place of the window.

    Args:
        lhs: the input.
        filter_shape: the lengths of the window along the spatial axes.
        window_strides, padding, lhs_dilation, rhs_dilation, dimension_numbers: see `conv_general_dilated`.
        precision, preferred_element_type: see `conv_general_dilated`.

    Returns:
        An array in the output's layout, whose features are (input feature, place of the window in C order).

    >>> import numpy as np
    >>> conv_general_dilated_patches(np.arange(4.0).reshape(1, 1, 4), (2,), (1,), "VALID")[0]
    array([[0., 1., 2.],
           [1., 2., 3.]])
    """
    if preferred_element_type is not None:
        lhs = lhs.astype(preferred_element_type)
    window = tuple([int(k) for k in filter_shape])
    n = len(window)
    layout = conv_dimension_numbers(_shape(lhs), (1, 1, *window), dimension_numbers)
    steps = _for_each_axis("window_strides", window_strides, n)
    spread = _for_each_axis("lhs_dilation", 1 if lhs_dilation is None else lhs_dilation, n)
    apart = _for_each_axis("rhs_dilation", 1 if rhs_dilation is None else rhs_dilation, n)
    lengths = [dilated_length(k, d) for k, d in zip(window, apart, strict=True)]
    x = transpose(lhs, layout.lhs_spec)
    if isinstance(padding, str):
        padding = padtype_to_pads(x.shape[2:], lengths, steps, padding)
    config = [(low, high, d - 1) for (low, high), d in zip(_pairs(padding, n), spread, strict=True)]
    x = pad(x, 0, [(0, 0, 0), (0, 0, 0), *config])
    parts = []
    for place in np.ndindex(*window):
        start = [k * d for k, d in zip(place, apart, strict=True)]
        stop = [m - length + at + 1 for m, length, at in zip(x.shape[2:], lengths, start, strict=True)]
        part = slice_(x, (0, 0, *start), (*x.shape[:2], *stop), (1, 1, *steps))
        parts.append(expand_dims(part, (2,)))
    patches = concatenate(parts, 2)
    merged = reshape(patches, (x.shape[0], x.shape[1] * len(parts), *patches.shape[3:]))
    return transpose(merged, np.argsort(layout.out_spec).tolist())


def conv_general_dilated_local(
    lhs: Any,
    rhs: Any,
    window_strides: int | Sequence[int],
    padding: Padding,
    filter_shape: Sequence[int],
    lhs_dilation: int | Sequence[int] | None = None,
    rhs_dilation: int | Sequence[int] | None = None,
    dimension_numbers: Layout = None,
    precision: Any = None,
) -> Any:
    """A convolution with a kernel of its own at each place of the output.

    Args:
        lhs: the input.
        rhs: the kernels: output features, then features as `conv_general_dilated_patches` orders them, then the
            spatial axes of the output (in the order that the layout of the kernel says).
        filter_shape: the lengths of the window along the spatial axes.
        window_strides, padding, lhs_dilation, rhs_dilation, dimension_numbers, precision: see `conv_general_dilated`.

    >>> import numpy as np
    >>> kernels = np.array([[[1.0, 1.0], [0.0, 1.0]]])
    >>> conv_general_dilated_local(np.array([[[1.0, 2.0, 3.0]]]), kernels, (1,), "VALID", (2,))
    array([[[1., 5.]]])
    """
    layout = conv_dimension_numbers(_shape(lhs), _shape(rhs), dimension_numbers)
    patches = conv_general_dilated_patches(
        lhs, filter_shape, window_strides, padding, lhs_dilation, rhs_dilation, layout
    )
    features, spatial = layout.out_spec[1], layout.out_spec[2:]
    kernel_spatial = layout.rhs_spec[2:]
    product = dot_general(patches, rhs, (((features,), (layout.rhs_spec[1],)), (spatial, kernel_spatial)))
    # Its axes are the spatial ones, batch, output features.
    order = (len(spatial), len(spatial) + 1, *range(len(spatial)))
    return transpose(product, [order[layout.out_spec.index(d)] for d in range(len(layout.out_spec))])
