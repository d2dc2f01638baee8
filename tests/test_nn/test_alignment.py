"""The CTC loss against the sum over all alignments, one by one."""

from itertools import groupby, product

import numpy as np
import pytest

import functrans as ft
from functrans import nn
from functrans.test_util import check_grads

RNG = np.random.default_rng(0)


def by_alignments(logits, labels, blank):
    """Less the logarithm of the sum of the probabilities of what spells the labels."""
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    total = 0.0
    for said in product(range(p.shape[1]), repeat=len(p)):
        if [c for c, _ in groupby(said) if c != blank] == list(labels):
            total += np.prod(p[np.arange(len(p)), list(said)])
    return -np.log(total)


@pytest.mark.parametrize("blank", [0, 1, 2])
@pytest.mark.parametrize("labels", [[], [0], [1, 1], [0, 1], [1, 0, 1], [1, 1, 1]])
@pytest.mark.parametrize("frames", [5, 6])
def test_against_all_alignments(labels, frames, blank):
    labels = np.array([[k for k in range(3) if k != blank][label] for label in labels], int)
    logits = RNG.normal(size=(frames, 3)) * 2
    found = nn.ctc_loss(logits[None], np.zeros((1, frames)), labels[None], np.zeros((1, len(labels))), blank_id=blank)
    np.testing.assert_allclose(found, [by_alignments(logits, labels, blank)], rtol=1e-10)


def padded_batch():
    logits = RNG.normal(size=(3, 6, 4))
    frames, lengths = [6, 4, 5], [3, 2, 0]
    labels = np.array([[1, 1, 2], [3, 2, -7], [-1, 9, 0]])
    skips = (np.arange(6) >= np.array(frames)[:, None]).astype(float)
    fills = (np.arange(3) >= np.array(lengths)[:, None]).astype(float)
    expected = [by_alignments(logits[i, : frames[i]], labels[i, : lengths[i]], 0) for i in range(3)]
    return (logits, skips, labels, fills), expected


def test_padding():
    arguments, expected = padded_batch()
    np.testing.assert_allclose(nn.ctc_loss(*arguments), expected, rtol=1e-10)
    logits, skips, labels, fills = arguments
    late = np.roll(logits, 1, axis=1), np.roll(skips, 1, axis=1)  # frames that do not count may be anywhere
    np.testing.assert_allclose(nn.ctc_loss(*late, labels, fills)[1:], expected[1:], rtol=1e-10)
    grads = ft.grad(lambda z: np.sum(nn.ctc_loss(z, skips, labels, fills)))(logits)
    np.testing.assert_array_equal(grads[skips == 1], 0)


def test_transformed():
    arguments, expected = padded_batch()
    logits, *rest = arguments
    check_grads(lambda z: nn.ctc_loss(z, *rest), (logits,), order=2)
    np.testing.assert_allclose(ft.jit(nn.ctc_loss)(*arguments), expected, rtol=1e-10)
    one = lambda *parts: nn.ctc_loss(*[part[None] for part in parts])[0]
    np.testing.assert_allclose(ft.vmap(one)(*arguments), expected, rtol=1e-10)
    single = nn.ctc_loss(logits.astype(np.float32), *rest)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, expected, rtol=1e-5)


def test_too_few_frames_and_large_logits():
    labels = np.array([[1, 1]])
    loss = lambda z: nn.ctc_loss(z, np.zeros((1, 2)), labels, np.zeros((1, 2)))[0]
    assert loss(np.zeros((1, 2, 3))) > 9e4
    assert np.all(np.isfinite(ft.grad(loss)(np.zeros((1, 2, 3)))))
    far = np.zeros((1, 3, 3))
    far[0, [0, 1, 2], [1, 0, 1]] = 1e4
    np.testing.assert_allclose(nn.ctc_loss(far, np.zeros((1, 3)), labels, np.zeros((1, 2))), [0])
    assert nn.ctc_loss(np.zeros((0, 3, 2)), np.zeros((0, 3)), np.zeros((0, 1), int), np.zeros((0, 1))).shape == (0,)


@pytest.mark.parametrize(
    ("labels", "blank", "kind", "message"),
    [
        ([[3]], 0, ValueError, "one of 3 classes, and not the blank, 0; got 3"),
        ([[-1]], 0, ValueError, "got -1"),
        ([[0]], 0, ValueError, "got 0"),
        ([[1.0]], 0, TypeError, r"labels must be integers, got float64\[1, 1\]"),
        ([[1]], 3, ValueError, "blank_id must be one of the 3 classes, got 3"),
        ([[1], [1]], 0, ValueError, r"have the shapes \(1, 4, 3\), \(1, 4\), \(2, 1\) and \(2, 1\)"),
    ],
)
def test_messages(labels, blank, kind, message):
    labels = np.array(labels)
    with pytest.raises(kind, match=message):
        nn.ctc_loss(np.zeros((1, 4, 3)), np.zeros((1, 4)), labels, np.zeros(labels.shape), blank_id=blank)
