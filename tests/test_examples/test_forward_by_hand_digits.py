"""examples/forward_by_hand_digits.py: its gradient and its steps against NumPy by hand."""

import numpy as np

import functrans as ft
from tests.test_examples.example import example

digits = example("forward_by_hand_digits")


def step_by_hand(params, x, y, rate):
    (w1, b1), (w2, b2), (w3, b3) = params
    z1 = x @ w1 + b1
    h1 = np.maximum(z1, 0)
    z2 = h1 @ w2 + b2
    h2 = np.maximum(z2, 0)
    error = h2 @ w3 + b3 - y
    d3 = 2 * error / error.size
    d2 = d3 @ w3.T * (z2 > 0)
    d1 = d2 @ w2.T * (z1 > 0)
    grads = [(x.T @ d1, d1.sum(0)), (h1.T @ d2, d2.sum(0)), (h2.T @ d3, d3.sum(0))]
    return np.mean(error**2), [
        [p - rate * g for p, g in zip(*pair, strict=True)] for pair in zip(params, grads, strict=True)
    ]


def test_steps_by_hand():
    rng = np.random.default_rng(0)
    params = digits.initial_params(ft.random.key(0), 6, 5, 4, 10)
    x, labels = rng.normal(size=(8, 6)), rng.integers(10, size=8)
    expected, by_hand = params, []
    for _ in range(3):
        loss, expected = step_by_hand(expected, x, np.eye(10)[labels], 0.3)
        by_hand.append(loss)
    before = ft.tree.leaves(params)
    params, losses = digits.train(params, x, labels, epochs=3, batch=8, rate=0.3, key=ft.random.key(1))
    np.testing.assert_allclose(losses, by_hand, rtol=1e-10)
    for a, b, old in zip(ft.tree.leaves(params), ft.tree.leaves(expected), before, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-14)
        assert a is old  # updated in place


def test_initial_params():
    (w, b), _ = digits.initial_params(ft.random.key(0), 100, 100, 2)
    assert np.abs(w).max() <= 0.2
    np.testing.assert_allclose(w.std(), 0.0880, rtol=0.02)  # of a normal cut off at two standard deviations
    assert not b.any()


def test_short_run(tmp_path, capsys):
    picture = tmp_path / "loss.png"
    accuracy, losses = digits.main(["--epochs", "12", "--hidden", "64", "32", "--out", str(picture)])
    assert accuracy > 0.8
    assert losses[-1] < 0.05 < losses[0]
    assert capsys.readouterr().out.count("loss") == 2 + 3
    assert picture.read_bytes().startswith(b"\x89PNG")
