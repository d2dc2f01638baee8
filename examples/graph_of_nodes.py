"""A network as a graph of nodes, each a forward and a backward rule, trained on one sample.

    python examples/graph_of_nodes.py

The nodes (linear, sigmoid, tanh, mse) are functions with their own derivative rules. A network is a dict that says
which node reads which others, in any order; Kahn's topological sort puts them in order, and `grad` does the rest. Since
nothing is kept in objects, the training is a function too, to be mapped over learning rates and differentiated. The
picture has the output and the weights over the epochs.
"""

from __future__ import annotations

import argparse
from functools import partial
from graphlib import TopologicalSorter
from pathlib import Path

import matplotlib
import numpy as np

import functrans as ft

matplotlib.use("Agg")
from matplotlib import pyplot as plt

# Nodes: what each computes, what it keeps for its backward pass, and how it sends a cotangent back


@ft.custom_vjp
def linear(x, w, b):
    return x @ w + b


linear.defvjp(
    lambda x, w, b: (x @ w + b, (x, w)),
    lambda kept, ct: (ct @ kept[1].T, kept[0].T @ ct, np.sum(ct, axis=0)),
)


@ft.custom_vjp
def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def sigmoid_forward(x):
    z = sigmoid(x)
    return z, z


sigmoid.defvjp(sigmoid_forward, lambda z, ct: (ct * (1 - z) * z,))


@ft.custom_vjp
def tanh(x):
    return np.tanh(x)


def tanh_forward(x):
    z = np.tanh(x)
    return z, z


tanh.defvjp(tanh_forward, lambda z, ct: (ct * (1 - z**2),))


@ft.custom_vjp
def mse(y, out):
    """Squared errors, summed over the outputs and averaged over the rows."""
    return np.sum((y - out) ** 2) / y.shape[0]


mse.defvjp(
    lambda y, out: (mse(y, out), y - out),
    lambda error, ct: (2 * ct / error.shape[0] * error, -2 * ct / error.shape[0] * error),
)

# Graphs of nodes

NETWORK = {
    "cost": (mse, "y", "out"),
    "out": (tanh, "z2"),
    "z2": (linear, "h", "W2", "b2"),
    "h": (sigmoid, "z1"),
    "z1": (linear, "x", "W1", "b1"),
}
"""For each node its function and the nodes that it reads. What is not in it is an input."""


def in_order(network):
    """The nodes of a network, each after those that it reads."""
    sources = {name: reads for name, (_, *reads) in network.items()}
    return [name for name in TopologicalSorter(sources).static_order() if name in network]


def part_for(network, known, wanted):
    """The nodes that must be computed for one of them, if the values of others are known."""
    part, pending = {}, [wanted]
    while pending:
        name = pending.pop()
        if name in network and name not in known:
            part[name] = network[name]
            pending.extend(network[name][1:])
    return part


def evaluate(network, inputs, wanted):
    """The value of a node. Any node's value may be among the inputs; it is not computed then."""
    values, part = dict(inputs), part_for(network, inputs, wanted)
    for name in in_order(part):
        function, *reads = part[name]
        values[name] = function(*[values[source] for source in reads])
    return values[wanted]


def named(network):
    """The same network, each of whose nodes is one operation with its name in programs: to look at."""
    return {name: (ft.named_call(function, name=name), *reads) for name, (function, *reads) in network.items()}


# The article's network


def initial_params():
    """The 26 parameters of the article."""
    return {
        "W1": np.arange(1, 13).reshape(3, 4) / 10,
        "b1": np.array([-2.0, -6.0, -1.0, -7.0]),
        "W2": np.arange(13, 21).reshape(4, 2) / 10,
        "b2": np.array([-2.5, -5.0]),
    }


def cost(params, x, y):
    return evaluate(NETWORK, {**params, "x": x, "y": y}, "cost")


def train(params, x, y, *, epochs, rate):
    """Gradient descent on one sample, and what the parameters and the output were before each epoch and at the end."""
    history = []
    for epoch in range(epochs + 1):
        history.append({**params, "out": evaluate(NETWORK, {**params, "x": x}, "out")})
        if epoch < epochs:
            grads = ft.grad(cost)(params, x, y)
            params = ft.tree.map(lambda p, g: p - rate * g, params, grads)
    return history


def error_after(rate, params, x, y, epochs):
    """The squared error that a training with a learning rate ends with."""
    return np.sum((train(params, x, y, epochs=epochs, rate=rate)[-1]["out"] - y) ** 2)


def save_picture(path, history, y):
    figure, axes = plt.subplots(1, 3, figsize=(11, 4), layout="constrained")
    panels = {
        "output (last row: target)": [*[step["out"].ravel() for step in history], y.ravel()],
        "W1": [step["W1"].ravel() for step in history],
        "W2": [step["W2"].ravel() for step in history],
    }
    for cell, (title, rows) in zip(axes, panels.items(), strict=True):
        image = cell.imshow(np.array(rows), aspect="auto", cmap="RdBu" if "output" in title else "viridis")
        cell.set(title=title, xlabel="element", ylabel="epoch", xticks=range(len(rows[0])))
        figure.colorbar(image, ax=cell)
    figure.savefig(path, dpi=80)
    plt.close(figure)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=10, help="steps, each on the one sample")
    parser.add_argument("--rate", type=float, default=0.1, help="learning rate")
    parser.add_argument("--out", type=Path, default=Path("graph_of_nodes.png"), help="where to save the picture")
    parser.add_argument("--graph", type=Path, help="where to save a drawing of the graph, if anywhere")
    options = parser.parse_args(argv)

    params, x, y = initial_params(), np.array([[1.0, 2.0, 3.0]]), np.array([[-0.85, 0.75]])
    print(
        f"{sum(p.size for p in params.values())} parameters (the article: 26), in order: {' '.join(in_order(NETWORK))}"
    )
    history = train(params, x, y, epochs=options.epochs, rate=options.rate)
    for epoch, step in enumerate(history):
        error = float(np.sum((step["out"] - y) ** 2))
        print(f"epoch {epoch:3}   output {np.array2string(step['out'][0], precision=4)}   squared error {error:.4f}")
    print("the article: the output moves from about [0.72, -0.88] towards [-0.85, 0.75]")
    after = partial(error_after, params=params, x=x, y=y, epochs=options.epochs)
    rates = options.rate * np.array([0.5, 1.0, 2.0])
    print("the training is a function as well: errors for learning rates", end=" ")
    print(", ".join(f"{rate:g}: {error:.4f}" for rate, error in zip(rates, ft.vmap(after)(rates), strict=True)))
    print(f"and the derivative of the error by the learning rate: {ft.grad(after)(options.rate):.4f}")
    save_picture(options.out, history, y)
    if options.graph:
        values = {**params, "x": x, "y": y}
        ft.draw(lambda **values: evaluate(named(NETWORK), values, "cost"), **values, depth=0).save(
            options.graph, dpi=90
        )
    print(f"picture in {options.out}")
    return history


if __name__ == "__main__":
    main()
