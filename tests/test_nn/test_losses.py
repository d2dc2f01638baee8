"""Losses against formulas in plain NumPy."""

import numpy as np
import pytest

import functrans as ft
from functrans import nn
from functrans.passes.pipeline import finalize
from functrans.test_util import check_grads

rng = np.random.default_rng(1)
P, T = rng.normal(size=(4, 5)) * 2, rng.normal(size=(4, 5))
Q = rng.random((4, 5))
Q /= Q.sum(1, keepdims=True)
LABELS = np.array([0, 4, 2, 2])
LOG_P = P - np.log(np.exp(P).sum(1, keepdims=True))
SIGN = np.where(T > 0, 1.0, -1.0)
prob = 1 / (1 + np.exp(-P))
BITS = (T > 0).astype("int8")
entropy = -BITS * np.log(prob) - (1 - BITS) * np.log(1 - prob)
right = prob * BITS + (1 - prob) * (1 - BITS)

ROWS = {
    "squared_error": (nn.squared_error, (P, T), (P - T) ** 2),
    "l2_loss": (nn.l2_loss, (P, T), (P - T) ** 2 / 2),
    "l2_loss-alone": (nn.l2_loss, (P,), P**2 / 2),
    "huber_loss": (
        lambda p, t: nn.huber_loss(p, t, 1.3),
        (P, T),
        np.where(abs(P - T) < 1.3, (P - T) ** 2 / 2, 1.3 * (abs(P - T) - 0.65)),
    ),
    "log_cosh": (nn.log_cosh, (P, T), np.log(np.cosh(P - T))),
    "cosine_similarity": (
        nn.cosine_similarity,
        (P, T),
        (P * T).sum(1) / np.sqrt((P**2).sum(1) * (T**2).sum(1)),
    ),
    "cosine_distance": (
        lambda p, t: nn.cosine_distance(p, t, axis=0),
        (P, T),
        1 - (P * T).sum(0) / np.sqrt((P**2).sum(0) * (T**2).sum(0)),
    ),
    "binary": (nn.sigmoid_binary_cross_entropy, (P, Q), -Q * np.log(prob) - (1 - Q) * np.log(1 - prob)),
    "focal": (lambda p: nn.sigmoid_focal_loss(p, BITS), (P,), entropy * (1 - right) ** 2),
    "focal-alpha": (
        lambda p, a, g: nn.sigmoid_focal_loss(p, BITS, a, g),
        (P, np.array(0.3), np.array(1.7)),
        entropy * (1 - right) ** 1.7 * (0.3 * BITS + 0.7 * (1 - BITS)),
    ),
    "hinge": (nn.hinge_loss, (P, SIGN), np.maximum(0, 1 - P * SIGN)),
    "perceptron": (nn.perceptron_loss, (P, SIGN), np.maximum(0, -P * SIGN)),
    "softmax": (nn.softmax_cross_entropy, (P, Q), -(Q * LOG_P).sum(1)),
    "softmax-axis": (lambda p, q: nn.softmax_cross_entropy(p.T, q.T, axis=0), (P, Q), -(Q * LOG_P).sum(1)),
    "labels": (
        lambda p: nn.softmax_cross_entropy_with_integer_labels(p, LABELS),
        (P,),
        -LOG_P[np.arange(4), LABELS],
    ),
    "labels-axis": (
        lambda p: nn.softmax_cross_entropy_with_integer_labels(p.T, LABELS, axis=0),
        (P,),
        -LOG_P[np.arange(4), LABELS],
    ),
    "labels-where": (
        lambda p: nn.softmax_cross_entropy_with_integer_labels(p, LABELS, where=np.arange(5) != 1),
        (P,),
        np.log(np.exp(np.delete(P, 1, 1)).sum(1)) - P[np.arange(4), LABELS],
    ),
    "kl": (nn.kl_divergence, (LOG_P, Q), (Q * (np.log(Q) - LOG_P)).sum(1)),
    "kl-log": (nn.kl_divergence_with_log_targets, (LOG_P, np.log(Q)), (Q * (np.log(Q) - LOG_P)).sum(1)),
    "smooth": (lambda q: nn.smooth_labels(q, 0.1), (Q,), 0.9 * Q + 0.02),
    "multiclass_hinge": (
        lambda p: nn.multiclass_hinge_loss(p, LABELS),
        (P,),
        [max(P[i, j] + (j != k) for j in range(5)) - P[i, k] for i, k in enumerate(LABELS)],
    ),
}


@pytest.mark.parametrize("row", ROWS)
def test_value_and_derivatives(row):
    function, args, expected = ROWS[row]
    np.testing.assert_allclose(function(*args), expected, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(ft.jit(function)(*args), function(*args), rtol=1e-14)
    check_grads(function, args, order=2)
    single = [x.astype("float32") for x in args]
    assert function(*single).dtype == np.float32
    assert ft.grad(lambda x: np.sum(function(x, *single[1:])))(single[0]).dtype == np.float32


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_extremes(dtype):
    logits = np.array([[1e4, -1e4, 0.0], [-np.inf, 0.0, 1e4]], dtype)
    labels = np.array([0, 2])
    losses = {
        "integer": lambda x: nn.softmax_cross_entropy_with_integer_labels(x, labels),
        "one hot": lambda x: nn.softmax_cross_entropy(x, nn.one_hot(labels, 3, dtype="int8")),
    }
    for loss in losses.values():
        np.testing.assert_array_equal(loss(logits), [0, 0])
        slope = ft.grad(lambda x, f=loss: np.sum(f(x)))(logits)
        np.testing.assert_array_equal(slope, np.zeros((2, 3)))
        assert slope.dtype == dtype
        curved = ft.jvp(ft.grad(lambda x, f=loss: np.sum(f(x))), (logits,), (np.ones_like(logits),))[1]
        assert np.isfinite(curved).all()
    wrong = nn.softmax_cross_entropy_with_integer_labels(logits, np.array([1, 1]))
    np.testing.assert_array_equal(wrong, [2e4, 1e4])
    x = np.array([-1e4, 1e4], dtype)
    for loss in (nn.sigmoid_binary_cross_entropy, nn.huber_loss, nn.log_cosh, nn.sigmoid_focal_loss):
        args = (np.array([1, 0]),) if loss is not nn.huber_loss else ()
        assert np.isfinite(loss(x, *args)).all()
        assert np.isfinite(ft.grad(lambda x, f=loss, a=args: np.sum(f(x, *a)))(x)).all()
    assert nn.kl_divergence(np.array([0.0, -np.inf]), np.array([1.0, 0.0])) == 0


def test_the_gradient_of_cross_entropy_is_what_one_would_write():
    loss = lambda x: np.mean(nn.softmax_cross_entropy_with_integer_labels(x, LABELS))
    shares = np.exp(LOG_P)
    shares[np.arange(4), LABELS] -= 1
    np.testing.assert_allclose(ft.grad(loss)(P), shares / 4, rtol=1e-12)
    names = [eqn.primitive.name for eqn in finalize(ft.make_jaxpr(ft.grad(loss))(P).jaxpr).eqns]
    free = ("broadcast_in_dim", "expand_dims")
    assert [n for n in names if n not in free] == [
        "reduce_max", "sub", "exp", "reduce_sum", "div", "scatter_add", "mul",
    ]  # fmt: skip


def test_under_vmap_and_broadcast():
    function = nn.softmax_cross_entropy_with_integer_labels
    expected = np.stack([function(P, k) for k in (LABELS, LABELS[::-1])])
    np.testing.assert_allclose(ft.vmap(function, (None, 0))(P, np.stack([LABELS, LABELS[::-1]])), expected)
    np.testing.assert_allclose(function(P, np.stack([LABELS, LABELS[::-1]])), expected)
    np.testing.assert_allclose(ft.vmap(ft.grad(function))(P, LABELS), ft.grad(lambda p: np.sum(function(p, LABELS)))(P))
    assert function(P[0], 3) == pytest.approx(-LOG_P[0, 3])
    assert function(np.zeros((0, 3)), np.zeros(0, int)).shape == (0,)


@pytest.mark.parametrize("label", [5, -1])
@pytest.mark.parametrize("wrap", [lambda f: f, ft.jit, ft.grad])
def test_a_label_out_of_range_is_an_error(label, wrap):
    with pytest.raises(IndexError, match="out of bounds"):
        wrap(lambda p: np.sum(nn.softmax_cross_entropy_with_integer_labels(p, np.array([0, 1, label, 2]))))(P)


def test_bad_arguments():
    with pytest.raises(
        TypeError, match=r"labels must be integers, got float64\[4,5\]; for probabilities use softmax_c"
    ):
        nn.softmax_cross_entropy_with_integer_labels(P, Q)
    with pytest.raises(ValueError, match=r"labels, int64\[3\], must have the shape of the logits without the axis"):
        nn.softmax_cross_entropy_with_integer_labels(P, LABELS[:3])
    with pytest.raises(
        ValueError, match=r"huber_loss: the shapes of the arguments do not fit together: float64\[4,5\]"
    ):
        nn.huber_loss(P, T[:3])
    with pytest.raises(TypeError, match=r"multiclass_hinge_loss: labels must be integers of shape \(4,\)"):
        nn.multiclass_hinge_loss(P, LABELS[:2])


def test_integer_labels_do_not_widen():
    assert nn.sigmoid_binary_cross_entropy(P.astype("float32"), BITS.astype(int)).dtype == np.float32
    assert nn.squared_error(P.astype("float16"), np.ones(5, bool)).dtype == np.float16
    assert nn.cosine_similarity(np.zeros(2), np.ones(2), epsilon=1e-6) == 0
    slope = ft.grad(lambda x: nn.cosine_similarity(x, np.ones(2), epsilon=0.1))(np.zeros(2))
    np.testing.assert_allclose(slope, [10 / np.sqrt(2)] * 2)


def test_no_classes():
    logits = np.zeros((2, 0))
    np.testing.assert_array_equal(nn.softmax_cross_entropy(logits, logits), [0, 0])
    assert ft.grad(lambda z: np.sum(nn.softmax_cross_entropy(z, logits)))(logits).shape == (2, 0)
    with pytest.raises(ValueError, match=r"there are labels, int64\[2\], but no classes along axis 1"):
        nn.softmax_cross_entropy_with_integer_labels(logits, np.array([0, 1]))


@pytest.mark.parametrize("delta", [0, -1.0, np.nan, np.array([1.0, 0.0])])
def test_huber_loss_needs_a_positive_delta(delta):
    with pytest.raises(ValueError, match="huber_loss: delta must be positive, got"):
        nn.huber_loss(np.ones(2), delta=delta)


def test_elements_that_are_left_away():
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(2, 3, 4))
    where = np.array([True, True, False, True])
    kept = nn.cosine_similarity(x[:, where], y[:, where])
    np.testing.assert_allclose(nn.cosine_similarity(x, y, where=where), kept, rtol=1e-12)
    np.testing.assert_allclose(nn.cosine_distance(x, y, where=where), 1 - kept, rtol=1e-12)
    x[:, 2] = np.nan
    np.testing.assert_allclose(nn.cosine_similarity(x, y, where=where), kept, rtol=1e-12)
    labels = np.eye(4)[[0, 1, 3]]
    smooth = nn.smooth_labels(labels, 0.3, where=where)
    np.testing.assert_allclose(smooth[:, where], nn.smooth_labels(labels[:, where], 0.3), rtol=1e-12)
    np.testing.assert_array_equal(smooth[:, 2], 0)
    np.testing.assert_allclose(nn.smooth_labels(labels.T, 0.3, axis=0), nn.smooth_labels(labels, 0.3).T, rtol=1e-12)
    np.testing.assert_array_equal(nn.smooth_labels(labels, 0.3, where=np.zeros(4, bool)), 0)
