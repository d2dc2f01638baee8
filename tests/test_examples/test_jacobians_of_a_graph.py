"""examples/jacobians_of_a_graph.py: Jacobians, shared weights and training against NumPy by hand."""

import numpy as np
import pytest

import functrans as ft
from tests.test_examples.example import example

jacobians = example("jacobians_of_a_graph")

RNG = np.random.default_rng(0)
INPUTS = {
    **jacobians.dense_params(ft.random.key(0), w1=(6, 5), w2=(5, 3)),
    "x": RNG.normal(size=6),
    "y": np.eye(3)[1],
}


def by_hand():
    z = INPUTS["x"] @ INPUTS["w1"] + INPUTS["b1"]
    h = np.maximum(z, 0)
    logits = h @ INPUTS["w2"] + INPUTS["b2"]
    p = np.exp(logits) / np.exp(logits).sum()
    dlogits = p - INPUTS["y"]
    return {
        ("p", "logits"): np.diag(p) - np.outer(p, p),
        ("logits", "h"): INPUTS["w2"].T,
        ("h", "z"): np.diag((z > 0).astype(float)),
        ("z", "x"): INPUTS["w1"].T,
        ("z", "b1"): np.eye(5),
        ("cost", "logits"): dlogits,
        ("cost", "w2"): np.outer(h, dlogits),
        ("cost", "w1"): np.outer(INPUTS["x"], (INPUTS["w2"] @ dlogits) * (z > 0)),
        ("p", "x"): (np.diag(p) - np.outer(p, p)) @ INPUTS["w2"].T @ np.diag((z > 0) * 1.0) @ INPUTS["w1"].T,
        ("p", "p"): np.eye(3),
        ("z", "y"): np.zeros((5, 3)),
    }


@pytest.mark.parametrize(("of", "wrt"), list(by_hand()))
def test_jacobians(of, wrt):
    found = jacobians.jacobian(jacobians.PERCEPTRON, INPUTS, of, wrt)
    np.testing.assert_allclose(found, by_hand()[of, wrt], rtol=1e-10, atol=1e-12)


def test_any_function_is_a_node_and_what_several_read_sums_their_parts():
    network = {
        "dot": (np.dot, "x", "w"),
        "add": (np.add, "dot", "b"),
        "logistic": (jacobians.nn.sigmoid, "add"),
        "relu": (jacobians.nn.relu, "dot"),
        "sum": (np.add, "logistic", "relu"),
    }
    x, w, b = RNG.normal(size=4), RNG.normal(size=(4, 3)), RNG.normal(size=3)
    z = x @ w
    p = 1 / (1 + np.exp(-(z + b)))
    inputs = {"x": x, "w": w, "b": b}
    by_dot = np.diag(p * (1 - p) + (z > 0))
    np.testing.assert_allclose(jacobians.jacobian(network, inputs, "sum", "dot"), by_dot, rtol=1e-12)
    np.testing.assert_allclose(jacobians.jacobian(network, inputs, "sum", "x"), by_dot @ w.T, rtol=1e-12)
    np.testing.assert_array_equal(jacobians.jacobian(network, inputs, "relu", "b"), np.zeros((3, 3)))


def test_quarters():
    image = np.arange(16.0).reshape(1, 16)
    np.testing.assert_array_equal(
        jacobians.quarters(image)[0], [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]
    )


def test_shared_weights():
    w, x, y = RNG.normal(size=4), RNG.normal(size=(5, 4, 4)), np.eye(2)[[0, 1, 1, 0, 1]]
    params = {"w": w, "b": np.full((), 0.2), "w2": RNG.normal(size=(4, 2)), "b2": np.zeros(2)}
    grads = ft.grad(lambda p: jacobians.evaluate(jacobians.SHARED, {**p, "x": x, "y": y}, "cost"))(params)
    z = x @ w + 0.2
    logits = np.maximum(z, 0) @ params["w2"]
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    dz = (p - y) / 5 @ params["w2"].T * (z > 0)
    np.testing.assert_allclose(grads["w"], np.einsum("ni,nij->j", dz, x), rtol=1e-10)
    np.testing.assert_allclose(grads["b"], dz.sum(), rtol=1e-10)


def test_extreme_logits_need_no_clipping():
    logits, y = np.array([1000.0, -1000.0, 0.0]), np.eye(3)[0]
    assert jacobians.cross_entropy(logits, y) == 0
    assert np.all(np.isfinite(ft.grad(jacobians.cross_entropy)(logits, y)))


def test_adam_by_hand():
    x, y = RNG.normal(size=(8, 10)), np.eye(3)[RNG.integers(3, size=8)]
    params = {"w": np.zeros((10, 3)), "b": np.zeros(3)}
    found, costs = jacobians.train(
        jacobians.REGRESSION, params, x, y, optimizer=jacobians.optim.adam(0.05, b1=0.9, b2=0.99), epochs=5, batch=8,
        key=ft.random.key(0), name="test",
    )  # fmt: skip
    w, m, v = np.zeros((10, 3)), 0.0, 0.0
    b, mb, vb = np.zeros(3), 0.0, 0.0
    for t in range(1, 6):
        p = np.exp(x @ w + b)
        d = (p / p.sum(1, keepdims=True) - y) / 8
        m, v = 0.9 * m + 0.1 * x.T @ d, 0.99 * v + 0.01 * (x.T @ d) ** 2
        mb, vb = 0.9 * mb + 0.1 * d.sum(0), 0.99 * vb + 0.01 * d.sum(0) ** 2
        w = w - 0.05 * m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.99**t)) + 1e-8)
        b = b - 0.05 * mb / (1 - 0.9**t) / (np.sqrt(vb / (1 - 0.99**t)) + 1e-8)
    np.testing.assert_allclose(found["w"], w, rtol=1e-6)
    np.testing.assert_allclose(found["b"], b, rtol=1e-6, atol=1e-12)
    assert costs == sorted(costs, reverse=True)


def test_gradients_of_single_examples_accumulate_to_those_of_a_batch():
    x, y = RNG.normal(size=(8, 10)), np.eye(3)[RNG.integers(3, size=8)]
    params = {"w": np.zeros((10, 3)), "b": np.zeros(3)}
    optim, settings = jacobians.optim, {"epochs": 3, "key": ft.random.key(0), "name": "test"}
    for make in (lambda: optim.sgd(0.5), lambda: optim.rmsprop(0.01, decay=0.9)):
        single = jacobians.train(
            jacobians.REGRESSION, params, x, y, optimizer=optim.MultiSteps(make(), 8), batch=1, **settings
        )[0]
        whole = jacobians.train(jacobians.REGRESSION, params, x, y, optimizer=make(), batch=8, **settings)[0]
        for a, b in zip(ft.tree.leaves(single), ft.tree.leaves(whole), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-11)


def test_short_run(tmp_path, capsys):
    paths = ["--out", str(tmp_path / "report.png"), "--graph", str(tmp_path / "graph.svg")]
    found = jacobians.main(["--epochs", "4", "--small-epochs", "12", *paths])
    text = capsys.readouterr().out
    assert "precision" in text
    assert "dp/dlogits: (10, 10)" in text
    assert found["accuracy"] > 0.9
    assert found["shared"] > 0.9
    assert min(found["wines"].values()) > 0.9
    assert found["matrix"].sum() == 599
    np.testing.assert_allclose(np.trace(found["matrix"]) / 599, found["accuracy"])
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")
    assert ">jit s0<" in (tmp_path / "graph.svg").read_text()
