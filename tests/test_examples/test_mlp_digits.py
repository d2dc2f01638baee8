"""examples/mlp_digits.py: its gradient against one by hand, and the accuracy that it promises."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import functrans as ft

for needed in ("sklearn", "matplotlib", "tqdm"):
    pytest.importorskip(needed)

EXAMPLE = Path(__file__).parents[2] / "examples" / "mlp_digits.py"


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("mlp_digits", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_gradient_by_hand(example):
    rng = np.random.default_rng(0)
    params = example.init_params(rng, 6, 5, 3)
    x, y = rng.normal(size=(4, 6)), np.array([0, 2, 1, 2])
    loss, grads = ft.value_and_grad(example.loss_fn)(params, x, y)

    (v, c), (w, b) = params
    h = np.maximum(x @ v + c, 0)
    z = h @ w + b
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    dz = (p - np.eye(3)[y]) / 4
    dh = dz @ w.T * (h > 0)
    np.testing.assert_allclose(loss, -np.mean(np.log(p[np.arange(4), y])), rtol=1e-12)
    for got, expected in zip(ft.tree.leaves(grads), (x.T @ dh, dh.sum(0), h.T @ dz, dz.sum(0)), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-14)


def test_accuracy(example, tmp_path):
    picture = tmp_path / "digits.png"
    accuracy, losses = example.main(["--out", str(picture)])
    assert accuracy >= 0.97
    assert losses[-1] < 0.2 < 1.0 < losses[0]
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_short_run(example, tmp_path):
    accuracy, losses = example.main(["--epochs", "2", "--hidden", "8", "8", "--out", str(tmp_path / "digits.png")])
    assert 0.2 < accuracy < 0.97
    assert len(losses) == 2
