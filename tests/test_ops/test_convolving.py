"""Convolutions as users ask for them, against sums over windows in plain NumPy."""

import itertools

import numpy as np
import pytest

import functrans as ft
from functrans import lax
from functrans.ops import convolution
from functrans.test_util import check_grads

rng = np.random.default_rng(6)
LAST = ("NHWC", "HWIO", "NHWC")
X, W = rng.normal(size=(3, 6, 7, 2)), rng.normal(size=(3, 2, 2, 4))


def reference(x, w, strides=(1, 1), pads=((0, 0), (0, 0)), apart=(1, 1), spread=(1, 1)):
    """Features last: each place of the result is a sum over the window."""
    dilated = np.zeros((x.shape[0], *[(n - 1) * d + 1 for n, d in zip(x.shape[1:3], spread, strict=True)], x.shape[3]))
    dilated[:, :: spread[0], :: spread[1]] = x
    x = np.pad(dilated, [(0, 0), *pads, (0, 0)])
    length = [(k - 1) * d + 1 for k, d in zip(w.shape[:2], apart, strict=True)]
    count = [(n - k) // s + 1 for n, k, s in zip(x.shape[1:3], length, strides, strict=True)]
    out = np.zeros((x.shape[0], *count, w.shape[3]))
    for i, j in np.ndindex(*count):
        rows = slice(i * strides[0], i * strides[0] + length[0], apart[0])
        columns = slice(j * strides[1], j * strides[1] + length[1], apart[1])
        out[:, i, j] = np.tensordot(x[:, rows, columns], w, 3)
    return out


ROWS = {
    "plain": ({"window_strides": 1, "padding": "VALID"}, {}),
    "same": ({"window_strides": (1, 1), "padding": "SAME"}, {"pads": ((1, 1), (0, 1))}),
    "lower": ({"window_strides": (2, 2), "padding": "SAME_LOWER"}, {"strides": (2, 2), "pads": ((1, 0), (1, 0))}),
    "strides": ({"window_strides": (1, 3), "padding": [(2, 0), (1, 2)]}, {"strides": (1, 3), "pads": ((2, 0), (1, 2))}),
    "apart": ({"window_strides": 1, "padding": "VALID", "rhs_dilation": (2, 3)}, {"apart": (2, 3)}),
    "apart-last": ({"window_strides": 1, "padding": "VALID", "rhs_dilation": (1, 3)}, {"apart": (1, 3)}),
    "spread": (
        {"window_strides": 1, "padding": [(1, 1), (1, 0)], "lhs_dilation": (2, 3)},
        {"spread": (2, 3), "pads": ((1, 1), (1, 0))},
    ),
    "both": (
        {"window_strides": (2, 1), "padding": [(1, 1), (1, 0)], "lhs_dilation": (1, 3), "rhs_dilation": (2, 1)},
        {"strides": (2, 1), "spread": (1, 3), "apart": (2, 1), "pads": ((1, 1), (1, 0))},
    ),
}


@pytest.mark.parametrize("row", ROWS)
def test_against_windows(row):
    given, meant = ROWS[row]
    function = lambda x, w: lax.conv_general_dilated(x, w, dimension_numbers=LAST, **given)
    expected = reference(X, W, **meant)
    np.testing.assert_allclose(function(X, W), expected, rtol=1e-12, atol=1e-12)
    check_grads(function, (X, W), order=1)
    first = lax.conv_general_dilated(X.transpose(0, 3, 1, 2), W.transpose(3, 2, 0, 1), **given)
    np.testing.assert_allclose(first, expected.transpose(0, 3, 1, 2), rtol=1e-12, atol=1e-12)
    mixed = lax.conv_general_dilated(
        X.transpose(3, 1, 2, 0), W.transpose(2, 0, 3, 1), dimension_numbers=("CHWN", "IHOW", "HNCW"), **given
    )
    np.testing.assert_allclose(mixed, expected.transpose(1, 0, 3, 2), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("spatial", [1, 2, 3])
@pytest.mark.parametrize("form", ["_whole_product", "_by_rows", "_by_outputs", "_by_inputs"])
def test_every_form_gives_the_same(form, spatial, monkeypatch):
    x, w = rng.normal(size=(5, *[5, 4, 6][:spatial], 3)), rng.normal(size=(*[2, 3, 2][:spatial], 3, 4))
    letters = "DHW"[:spatial]
    function = lambda: lax.conv_general_dilated(
        x, w, (1,) * spatial, [(1, 0)] * spatial, dimension_numbers=(f"N{letters}C", f"{letters}IO", f"N{letters}C")
    )
    expected = function()
    lax.conv_general_dilated_p.forget()
    monkeypatch.setattr(convolution, "_form", lambda *args: getattr(convolution, form))
    monkeypatch.setattr(convolution, "_BLOCK_BYTES", 1000)  # several blocks
    np.testing.assert_allclose(function(), expected, rtol=1e-12)
    monkeypatch.undo()
    lax.conv_general_dilated_p.forget()


@pytest.mark.parametrize("groups", [{"feature_group_count": 2}, {"batch_group_count": 3}])
def test_groups(groups):
    (n,) = groups.values()
    x, w = rng.normal(size=(3, 5, 5, 4)), rng.normal(size=(2, 2, 4 // n if n == 2 else 4, 6))
    function = lambda x, w: lax.conv_general_dilated(x, w, (1, 1), "VALID", dimension_numbers=LAST, **groups)
    parts = []
    for g in range(n):
        part = x[..., 2 * g : 2 * g + 2] if n == 2 else x[g : g + 1]
        parts.append(reference(part, w[..., g * (6 // n) : (g + 1) * (6 // n)]))
    np.testing.assert_allclose(function(x, w), np.concatenate(parts, -1), rtol=1e-12)
    check_grads(function, (x, w), order=1)
    depthwise = lax.conv_general_dilated(x, w[:, :, :1, :4], (1, 1), "VALID", dimension_numbers=LAST,
                                         feature_group_count=4)  # fmt: skip
    alone = [reference(x[..., c : c + 1], w[:, :, :1, c : c + 1]) for c in range(4)]
    np.testing.assert_allclose(depthwise, np.concatenate(alone, -1), rtol=1e-12)


def test_transformations():
    function = lambda x, w: lax.conv_general_dilated(x, w, (2, 1), "SAME", dimension_numbers=LAST)
    xs, ws = rng.normal(size=(3, *X.shape)), rng.normal(size=(3, *W.shape))
    for axes in itertools.product((0, None), repeat=2):
        if axes == (None, None):
            continue
        chosen = [(xs if axes[0] == 0 else X, ws if axes[1] == 0 else W), range(3)]
        each = [function(xs[i] if axes[0] == 0 else X, ws[i] if axes[1] == 0 else W) for i in chosen[1]]
        np.testing.assert_allclose(ft.vmap(function, axes)(*chosen[0]), np.stack(each), rtol=1e-11, atol=1e-12)
    check_grads(lambda x, w: np.sum(function(x, w) ** 2), (X[:1, :4, :4], W), order=2)
    assert function(X.astype("float32"), W.astype("float32")).dtype == np.float32
    assert function(X[:0], W).shape == (0, 3, 7, 4)
    half = function(X.astype("float16"), W.astype("float16"))
    np.testing.assert_allclose(half, function(X, W), rtol=0.05, atol=0.05)


def test_conv_transpose_is_the_gradient():
    for padding, strides in (("SAME", (2, 2)), ("VALID", (2, 3)), ("VALID", (1, 1))):
        forward = lambda x, s=strides, p=padding: lax.conv_general_dilated(x, W, s, p, dimension_numbers=LAST)
        x = rng.normal(size=(2, 6, 8, 2))
        y = forward(x)
        ct = rng.normal(size=y.shape)
        back = lax.conv_transpose(ct, W, strides, padding, transpose_kernel=True)
        whole = ft.vjp(forward, x)[1](ct)[0]
        rows, columns = np.minimum(back.shape, whole.shape)[1:3]  # where the last window ends decides their lengths
        np.testing.assert_allclose(back[:, :rows, :columns], whole[:, :rows, :columns], rtol=1e-11, atol=1e-12)


def test_conv_and_general_padding():
    first = X.transpose(0, 3, 1, 2), W.transpose(3, 2, 0, 1)
    expected = lax.conv_general_dilated(X, W, (1, 1), "SAME", dimension_numbers=LAST).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(lax.conv(*first, (1, 1), "SAME"), expected, rtol=1e-12)
    padded = lax.conv_with_general_padding(*first, (1, 1), ((1, 1), (0, 1)), None, None)
    np.testing.assert_allclose(padded, expected, rtol=1e-12)


def test_patches_and_local():
    patches = lax.conv_general_dilated_patches(X, (3, 2), (2, 1), "SAME", dimension_numbers=LAST, rhs_dilation=(1, 2))
    kernel = W.transpose(2, 0, 1, 3).reshape(12, 4)
    expected = lax.conv_general_dilated(X, W, (2, 1), "SAME", dimension_numbers=LAST, rhs_dilation=(1, 2))
    np.testing.assert_allclose(patches @ kernel, expected, rtol=1e-12)
    shared = np.broadcast_to(kernel, (*expected.shape[1:3], 12, 4))
    function = lambda x, w: lax.conv_general_dilated_local(
        x, w, (2, 1), "SAME", (3, 2), rhs_dilation=(1, 2), dimension_numbers=LAST
    )
    np.testing.assert_allclose(function(X, shared), expected, rtol=1e-12)
    check_grads(function, (X, shared + rng.normal(size=shared.shape)), order=1)


def test_names():
    numbers = lax.conv_dimension_numbers((1, 2, 3, 4), (2, 2, 2, 5), ("NCHW", "HWIO", "NHWC"))
    assert numbers == lax.ConvDimensionNumbers((0, 1, 2, 3), (3, 2, 0, 1), (0, 3, 1, 2))
    assert lax.conv_dimension_numbers((1, 2, 3), (2, 2, 2), numbers) is numbers
    assert lax.padtype_to_pads((5, 6), (3, 2), (2, 2), "same_lower") == [(1, 1), (0, 0)]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: lax.conv(X, W, (1, 1), "FULL"), "padding must be 'VALID', 'SAME', 'SAME_LOWER' or a pair of ints"),
        (lambda: lax.conv(X, W, (1, 1), [(1, 1)]), "a pair of ints for each of the 2 spatial axes"),
        (lambda: lax.conv(X, W, (1, 0), "VALID"), "window_strides must be a positive int for each of the 2 spatial"),
        (lambda: lax.conv(X, W[0], 1, "VALID"), "a convolution needs operands of as many axes"),
        (lambda: lax.conv(X, W, 1, "VALID"), "lhs has 6 features and rhs takes 2 in each of 1"),
        (lambda: lax.conv_general_dilated(X, W.astype("float32"), 1, "VALID", dimension_numbers=LAST), "one dtype"),
        (
            lambda: lax.conv_general_dilated(X, W, 1, "VALID", dimension_numbers=("NHWC", "HWIO", "NHC")),
            "must be three strings of 4 letters",
        ),
        (
            lambda: lax.conv_general_dilated(X, W, 1, "SAME", (2, 2), dimension_numbers=LAST),
            "padding by name does not go with lhs_dilation",
        ),
        (
            lambda: lax.conv_general_dilated(X, W, 1, "VALID", dimension_numbers=LAST, feature_group_count=3),
            "lhs has 2 features and rhs takes 2 in each of 3",
        ),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()
