"""examples/static_and_dynamic.py: both ways agree with each other, and with NumPy by hand."""

import numpy as np
import pytest

import functrans as ft
from tests.test_examples.example import example

ways = example("static_and_dynamic")

RNG = np.random.default_rng(0)
KEY = ft.random.key(0)


def train_by_hand(weights, x, y, steps, rate, limit):
    (w1, w2), flat, losses = weights, x.reshape(len(x), -1), []
    for _ in range(steps):
        z = flat @ w1
        h = np.maximum(z, 0)
        error = h @ w2 - y
        losses.append(np.mean(error**2))
        d = 2 * error / error.size
        g2 = h.T @ d
        g1 = flat.T @ (d @ w2.T * (z > 0))
        length = np.sqrt(np.sum(g1**2) + np.sum(g2**2))
        scale = limit / length if length > limit else 1.0
        w1, w2 = w1 - rate * scale * g1, w2 - rate * scale * g2
    return [w1, w2], losses


@pytest.mark.parametrize("limit", [0.05, 1e6])
@pytest.mark.parametrize("way", ["train_static", "train_dynamic"])
def test_training_by_hand(way, limit):
    weights = ways.initial_weights(KEY, [(12, 5), (5, 3)])
    x, y = RNG.normal(size=(4, 2, 2, 3)), RNG.normal(size=(4, 3))
    found, losses = getattr(ways, way)(ways.two_layer_fc, weights, x, y, 4, 0.1, limit)[:2]
    expected, by_hand = train_by_hand(weights, x, y, 4, 0.1, limit)
    np.testing.assert_allclose(losses, by_hand, rtol=1e-10)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def convolve_by_hand(x, w, pad):
    x = np.pad(x, [(0, 0), (pad, pad), (pad, pad), (0, 0)])
    n, m = w.shape[:2]
    rows, columns = x.shape[1] - n + 1, x.shape[2] - m + 1
    out = np.zeros((len(x), rows, columns, w.shape[3]))
    for i in range(rows):
        for j in range(columns):
            out[:, i, j] = np.tensordot(x[:, i : i + n, j : j + m], w, 3)
    return out


def test_convnet_by_hand():
    weights = ways.initial_weights(KEY, [(5, 5, 3, 6), (3, 3, 6, 9), (8 * 8 * 9, 10)])
    x = RNG.normal(size=(2, 8, 8, 3))
    h = np.maximum(convolve_by_hand(x, weights[0], 2), 0)
    h = np.maximum(convolve_by_hand(h, weights[1], 1), 0)
    np.testing.assert_allclose(ways.three_layer_convnet(weights, x), h.reshape(2, -1) @ weights[2], rtol=1e-10)


def test_convnet_gradient():
    weights = ways.initial_weights(KEY, [(5, 5, 3, 2), (3, 3, 2, 2), (4 * 4 * 2, 3)])
    x, y = RNG.normal(size=(2, 4, 4, 3)), RNG.normal(size=(2, 3))
    loss_fn = ways.loss_of(ways.three_layer_convnet)
    grads = ft.grad(loss_fn)(weights, x, y)
    directions = [RNG.normal(size=w.shape) for w in weights]
    ends = [loss_fn([w + e * d for w, d in zip(weights, directions, strict=True)], x, y) for e in (1e-6, -1e-6)]
    slope = sum(np.sum(g * d) for g, d in zip(grads, directions, strict=True))
    np.testing.assert_allclose(slope, (ends[0] - ends[1]) / 2e-6, rtol=1e-5)


def test_xavier():
    (weights,) = ways.initial_weights(KEY, [(3, 3, 20, 30)])
    assert np.abs(weights).max() < (6 / (9 * 50)) ** 0.5
    np.testing.assert_allclose(weights.var(), 2 / (9 * 50), rtol=0.1)


def test_programs_come_from_shapes_and_run_many_times():
    loss_fn = ways.loss_of(ways.two_layer_fc)
    weights = ways.initial_weights(KEY, [(12, 5), (5, 3)])
    x, y = RNG.normal(size=(4, 2, 2, 3)), RNG.normal(size=(4, 3))
    shapes = [ft.ShapeDtypeStruct(a.shape, a.dtype) for a in (*weights, x, y)]
    closed, run = ways.program(loss_fn, shapes[:2], *shapes[2:])
    assert not closed.consts
    for images in (x, -x):
        np.testing.assert_allclose(run(weights, images, y)[0], loss_fn(weights, images, y), rtol=1e-12)
    by_program = ft.grad(lambda w: run(w, x, y)[0])(weights)
    for a, b in zip(by_program, ft.grad(loss_fn)(weights, x, y), strict=True):
        np.testing.assert_array_equal(a, b)


def test_short_run(tmp_path, capsys):
    paths = ["--out", str(tmp_path / "losses.png"), "--graph", str(tmp_path / "program.svg")]
    found = ways.main(["--steps", "3", "--batch", "4", *paths])
    assert list(found) == ["two_layer_fc", "three_layer_convnet"]
    for result in found.values():
        assert result["difference"] < 1e-10
        np.testing.assert_allclose(result["static"], result["dynamic"], rtol=1e-10)
        assert result["static"][-1] < result["static"][0]
    printed = capsys.readouterr().out
    lines = [line for line in printed.splitlines() if line.startswith("asked for")]
    loss, scores, gradients, updated = [int(line.split(": ")[1].split()[0]) for line in lines]
    assert loss == scores < gradients < updated  # an update that nobody asks for is not run
    assert lines[1].endswith("results (), (4, 10)")
    assert lines[3].endswith("results (), (3072, 42), (42, 10)")
    assert "    scan around 40 operations\n      cond around 6 operations" in printed
    assert (tmp_path / "losses.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "program.svg").read_text()
