"""examples/graph_of_nodes.py: the article's network against one by hand."""

import numpy as np
import pytest

import functrans as ft
from functrans.test_util import check_grads
from tests.test_examples.example import example

graph = example("graph_of_nodes")

X, Y = np.array([[1.0, 2.0, 3.0]]), np.array([[-0.85, 0.75]])


def train_by_hand(epochs, rate):
    p = {name: value.copy() for name, value in graph.initial_params().items()}
    outputs = []
    for _ in range(epochs):
        h = 1 / (1 + np.exp(-(X @ p["W1"] + p["b1"])))
        out = np.tanh(h @ p["W2"] + p["b2"])
        outputs.append(out)
        dz2 = 2 * (out - Y) * (1 - out**2)
        dz1 = dz2 @ p["W2"].T * h * (1 - h)
        p = {
            "W1": p["W1"] - rate * X.T @ dz1,
            "b1": p["b1"] - rate * dz1[0],
            "W2": p["W2"] - rate * h.T @ dz2,
            "b2": p["b2"] - rate * dz2[0],
        }
    return p, outputs


def test_numbers_of_the_article(tmp_path, capsys):
    picture = tmp_path / "network.png"
    history = graph.main(["--out", str(picture), "--graph", str(tmp_path / "graph.svg")])
    assert "26 parameters (the article: 26), in order: z1 h z2 out cost" in capsys.readouterr().out
    params, outputs = train_by_hand(10, 0.1)
    for step, out in zip(history, outputs, strict=False):
        np.testing.assert_allclose(step["out"], out, rtol=1e-10)
    for name, value in params.items():
        np.testing.assert_allclose(history[-1][name], value, rtol=1e-10)
    np.testing.assert_allclose(history[0]["out"], [[0.72, -0.88]], atol=0.005)
    assert np.sum((history[-1]["out"] - Y) ** 2) < 0.03
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert ">jit z1<" in (tmp_path / "graph.svg").read_text()


def test_the_training_is_a_function():
    rates, params = np.array([0.05, 0.1]), graph.initial_params()
    after = lambda rate: graph.error_after(rate, params, X, Y, 10)
    by_hand = [np.sum((graph.train(params, X, Y, epochs=10, rate=r)[-1]["out"] - Y) ** 2) for r in rates]
    np.testing.assert_allclose(ft.vmap(after)(rates), by_hand, rtol=1e-12)
    slope = (after(0.1 + 1e-6) - after(0.1 - 1e-6)) / 2e-6
    np.testing.assert_allclose(ft.grad(after)(0.1), slope, rtol=1e-6)


@pytest.mark.parametrize(
    ("node", "shapes"),
    [("linear", [(2, 3), (3, 4), (4,)]), ("sigmoid", [(3,)]), ("tanh", [(3,)]), ("mse", [(3, 2), (3, 2)])],
)
def test_rules_of_nodes(node, shapes):
    rng = np.random.default_rng(0)
    check_grads(getattr(graph, node), tuple(rng.normal(size=shape) for shape in shapes), order=2)


def test_order_does_not_matter():
    params = graph.initial_params()
    reversed_network = dict(reversed(graph.NETWORK.items()))
    assert graph.in_order(reversed_network) == graph.in_order(graph.NETWORK) == ["z1", "h", "z2", "out", "cost"]
    values = {**params, "x": X, "y": Y}
    assert graph.evaluate(reversed_network, values, "cost") == graph.cost(params, X, Y)


def test_a_known_node_is_not_computed():
    assert graph.part_for(graph.NETWORK, {"h": 0, "y": 0}, "cost").keys() == {"cost", "out", "z2"}
    params = graph.initial_params()
    assert graph.evaluate(graph.NETWORK, {**params, "out": Y, "y": Y}, "cost") == 0
    grads = ft.grad(lambda h: graph.evaluate(graph.NETWORK, {**params, "h": h, "y": Y}, "cost"))(np.ones((1, 4)))
    assert grads.shape == (1, 4)
