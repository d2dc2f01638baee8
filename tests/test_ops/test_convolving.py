"""Convolutions as users ask for them, against sums over windows in plain NumPy."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    args, meant = ROWS[row]
    function = lambda x, w: lax.conv_general_dilated(x, w, dimension_numbers=LAST, **args)
    expected = reference(X, W, **meant)
    np.testing.assert_allclose(function(X, W), expected, rtol=1e-12, atol=1e-12)
    check_grads(function, (X, W), order=1)
    first = lax.conv_general_dilated(X.transpose(0, 3, 1, 2), W.transpose(3, 2, 0, 1), **args)
    np.testing.assert_allclose(first, expected.transpose(0, 3, 1, 2), rtol=1e-12, atol=1e-12)
    mixed = lax.conv_general_dilated(
        X.transpose(3, 1, 2, 0), W.transpose(2, 0, 3, 1), dimension_numbers=("CHWN", "IHOW", "HNCW"), **args
    )
    np.testing.assert_allclose(mixed, expected.transpose(1, 0, 3, 2), rtol=1e-12, atol=1e-12)


@pytest.fixture
def forms(monkeypatch):
    """Sets what decides how convolutions are computed."""

    def choose(**chosen):
        for name, value in chosen.items():
            monkeypatch.setattr(convolution, name, value)
        lax.conv_general_dilated_p.forget()

    yield choose
    monkeypatch.undo()
    lax.conv_general_dilated_p.forget()


@pytest.mark.parametrize("spatial", [1, 2, 3])
@pytest.mark.parametrize("largest", [10, 1_000_000])
@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("form", ["_by_windows", "_by_outputs", "_by_inputs"])
def test_every_form_gives_the_same(form, members, largest, spatial, forms):
    x, w = rng.normal(size=(5, *[6, 8, 8][-spatial:], 3)), rng.normal(size=(*[2, 4, 2][-spatial:], 3, 4))
    letters = "DHW"[:spatial]
    function = lambda: lax.conv_general_dilated(
        x, w, (1,) * spatial, [(1, 0)] * spatial, dimension_numbers=(f"N{letters}C", f"{letters}IO", f"N{letters}C")
    )
    expected = function()

    chosen = getattr(convolution, form)
    tiled = chosen if form == "_by_inputs" else lambda *args: chosen(*args, members)
    forms(_form=tiled, _BLOCK_BYTES=1000, _LARGEST_BLOCK=largest)
    np.testing.assert_allclose(function(), expected, rtol=1e-11, atol=1e-12)


@given(data=st.data())
def test_any_convolution(data):
    def drawn(low, high):
        return data.draw(st.integers(low, high))

    window = drawn(1, 3), drawn(1, 3)
    strides, apart, spread = [(drawn(1, 3), drawn(1, 2)) for _ in range(3)]
    pads = ((drawn(0, 2), drawn(0, 2)), (drawn(0, 2), drawn(0, 2)))
    lengths = [(k - 1) * d + 1 + drawn(0, 6) for k, d in zip(window, apart, strict=True)]
    inputs, outputs = drawn(1, 3), drawn(1, 9)
    x, w = rng.normal(size=(drawn(1, 3), *lengths, inputs)), rng.normal(size=(*window, inputs, outputs))
    x, w = x[::-1, ..., ::-1], w[:, ::-1]  # views that run backwards
    dtype = data.draw(st.sampled_from(["float64", "float32", "complex128", "int64"]))
    if dtype == "int64":
        x, w = np.round(x * 9), np.round(w * 9)
    function = lambda x, w: lax.conv_general_dilated(
        x, w, strides, pads, lhs_dilation=spread, rhs_dilation=apart, dimension_numbers=LAST
    )
    expected = reference(x, w, strides, pads, apart, spread)
    tolerance = 1e-4 if dtype == "float32" else 1e-11
    np.testing.assert_allclose(function(x.astype(dtype), w.astype(dtype)), expected, rtol=tolerance, atol=tolerance)
    if dtype != "int64" and expected.size:
        ct = rng.normal(size=expected.shape)
        back = ft.vjp(function, x.astype(dtype), w.astype(dtype))[1](ct.astype(dtype))
        # By the inner product with any direction: <ct, conv(dx, w)> = <back, dx>.
        for position, direction in enumerate((rng.normal(size=x.shape), rng.normal(size=w.shape))):
            moved = reference(*((direction, w) if position == 0 else (x, direction)), strides, pads, apart, spread)
            products = np.sum(ct * moved), np.sum(back[position] * direction)
            np.testing.assert_allclose(*products, rtol=tolerance * 100, atol=tolerance * 1000)


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 1e300])
def test_what_is_infinite_stays_where_it_is(value):
    # Windows side by side are multiplied by one matrix, which has zeros where a window has no place.
    x, w = rng.normal(size=(3, 8, 8, 2)), np.abs(rng.normal(size=(3, 3, 2, 5))) + 0.1
    x[1, 4, 4, 1] = value
    with np.errstate(all="raise"):
        found = lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=LAST)
    away = np.ones(found.shape, bool)
    away[1, 3:6, 3:6] = False
    x[1, 4, 4, 1] = 0
    expected = lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=LAST)
    np.testing.assert_allclose(found[away], expected[away], rtol=1e-12)
    np.testing.assert_allclose(found[1, 3:6, 3:6], np.broadcast_to(value * w[::-1, ::-1, 1], (3, 3, 5)), rtol=1e-12)


def test_a_cotangent_that_is_infinite_stays_where_it_is():
    x, w = rng.normal(size=(3, 10, 10, 2)), np.ones((3, 3, 2, 5))
    function = lambda w: lax.conv_general_dilated(x, w, (1, 1), "VALID", dimension_numbers=LAST)
    ct = rng.normal(size=(3, 8, 8, 5))
    finite = ft.vjp(function, w)[1](ct)[0]
    ct[0, 0, 0, 2] = np.inf
    (found,) = ft.vjp(function, w)[1](ct)
    others = [0, 1, 3, 4]
    np.testing.assert_allclose(found[..., others], finite[..., others], rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(found[..., 2], np.copysign(np.inf, x[0, :3, :3]))


def test_no_spatial_axes_and_no_elements():
    numbers = lax.ConvDimensionNumbers((0, 1), (0, 1), (0, 1))
    x, w = rng.normal(size=(3, 4)), rng.normal(size=(2, 4))
    function = lambda x, w: lax.conv_general_dilated(x, w, (), (), dimension_numbers=numbers)
    np.testing.assert_allclose(function(x, w), x @ w.T, rtol=1e-12)
    check_grads(function, (x, w), order=1)
    nothing = lax.conv_general_dilated(X[..., :0], W[:, :, :0], (1, 1), "SAME", dimension_numbers=LAST)
    np.testing.assert_array_equal(nothing, np.zeros((3, 6, 7, 4)))
    padding = lax.conv_general_dilated(X[:, :0], W, (1, 1), [(3, 3), (0, 0)], dimension_numbers=LAST)
    np.testing.assert_array_equal(padding, np.zeros((3, 4, 6, 4)))


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


@given(data=st.data())
def test_depthwise(data):
    drawn = lambda low, high: data.draw(st.integers(low, high))
    window, features = (drawn(1, 3), drawn(1, 3)), drawn(2, 4)
    strides, apart = [(drawn(1, 2), drawn(1, 2)) for _ in range(2)]
    lengths = [(k - 1) * d + 1 + drawn(0, 6) for k, d in zip(window, apart, strict=True)]
    pads = ((drawn(0, 2), drawn(0, 2)), (drawn(0, 2), drawn(0, 2)))
    x, w = rng.normal(size=(drawn(1, 3), *lengths, features))[..., ::-1], rng.normal(size=(*window, 1, features))
    function = lambda x, w: lax.conv_general_dilated(
        x, w, strides, pads, rhs_dilation=apart, dimension_numbers=LAST, feature_group_count=features
    )
    parts = [reference(x[..., [c]], w[..., [c]], strides, pads, apart) for c in range(features)]
    np.testing.assert_allclose(function(x, w), np.concatenate(parts, -1), rtol=1e-11, atol=1e-12)


def test_groups_without_spatial_axes():
    numbers = lax.ConvDimensionNumbers((0, 1), (0, 1), (0, 1))
    x, w = rng.normal(size=(3, 4)), rng.normal(size=(4, 1))
    found = lax.conv_general_dilated(x, w, (), (), dimension_numbers=numbers, feature_group_count=4)
    np.testing.assert_allclose(found, x * w[:, 0], rtol=1e-12)


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
