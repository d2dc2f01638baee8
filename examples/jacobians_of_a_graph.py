"""A computational graph of vectors: the Jacobian of any node with respect to any other, and three classifiers.

    python examples/jacobians_of_a_graph.py

trains a softmax regression (10 features of scikit-learn's wines, 3 classes) with three optimisers, a multilayer
perceptron on digits with a report for each class, and a network whose four parts share their weights. The picture has
the confusion matrix; `--graph` is a drawing of the third network.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import matplotlib
import numpy as np
from digit_data import add_data_option, load
from graph_of_nodes import evaluate, in_order, named
from sklearn.datasets import load_wine
from sklearn.metrics import ConfusionMatrixDisplay, classification_report, confusion_matrix
from tqdm import trange

import functrans as ft
from functrans import data, nn, optim

matplotlib.use("Agg")
from matplotlib import pyplot as plt

# Jacobians of any node with respect to any other


def jacobian(network, inputs, of, wrt):
    """The derivatives of a node with respect to another one, which counts as an input: `of.shape + wrt.shape`."""
    start = inputs[wrt] if wrt in inputs else evaluate(network, inputs, wrt)
    return ft.jacrev(lambda value: evaluate(network, {**inputs, wrt: value}, of))(start)


def cross_entropy(logits, target):
    """Of the softmax of the logits, in nats, averaged over the rows. Large logits are no danger: nothing is clipped."""
    return -np.mean(np.sum(target * nn.log_softmax(logits), axis=-1))


def dense(x, w, b):
    return x @ w + b


REGRESSION = {"logits": (dense, "x", "w", "b"), "p": (nn.softmax, "logits"), "cost": (cross_entropy, "logits", "y")}

PERCEPTRON = {
    "z": (dense, "x", "w1", "b1"),
    "h": (nn.relu, "z"),
    "logits": (dense, "h", "w2", "b2"),
    "p": (nn.softmax, "logits"),
    "cost": (cross_entropy, "logits", "y"),
}

# Four sub-arrays of the input meet the same weights: a small convolution. `vectorize` makes one vector of scalars.


def vectorize(*scalars):
    return ft.numpy.stack(scalars, axis=-1)


SHARED = {
    **{f"s{i}": (lambda x, w, b, i=i: x[..., i, :] @ w + b, "x", "w", "b") for i in range(4)},
    "z": (vectorize, "s0", "s1", "s2", "s3"),
    "h": (nn.relu, "z"),
    "logits": (dense, "h", "w2", "b2"),
    "p": (nn.softmax, "logits"),
    "cost": (cross_entropy, "logits", "y"),
}


def quarters(x):
    """Four sub-arrays of each square image, as rows of an axis of their own."""
    side = round(x.shape[-1] ** 0.5)
    half = side // 2
    parts = x.reshape(-1, 2, half, 2, side - half).transpose(0, 1, 3, 2, 4)
    return parts.reshape(len(x), 4, -1)


# Training


def train(network, params, x, y, *, optimizer, epochs, batch, key, name):
    """Mini-batches through any optimiser; the parameters, and the cost of the graph after each epoch."""

    def cost(params, x, y):
        return evaluate(network, {**params, "x": x, "y": y}, "cost")

    @ft.jit
    def step(params, state, x, y):
        updates, state = optimizer.update(ft.grad(cost)(params, x, y), state, params)
        return optim.apply_updates(params, updates), state

    state, costs = optimizer.init(params), []
    progress = trange(epochs, desc=name, unit="epoch")
    for _, batches in zip(progress, data.epochs(key, (x, y), batch), strict=False):
        for some_x, some_y in batches:
            params, state = step(params, state, some_x, some_y)
        costs.append(float(cost(params, x, y)))
        progress.set_postfix(cost=f"{costs[-1]:.4f}")
    return params, costs


def classify(network, params, x):
    return np.argmax(evaluate(network, {**params, "x": x}, "p"), axis=-1)


def dense_params(key, **shapes):
    """Weights by He's rule, with a bias of zeros for each: `w2` has `b2`."""
    keys, he_normal = ft.random.split(key, len(shapes)), nn.initializers.he_normal()
    weights = {name: he_normal(k, shape) for k, (name, shape) in zip(keys, shapes.items(), strict=True)}
    return weights | {name.replace("w", "b"): np.zeros(shape[1]) for name, shape in shapes.items()}


def regress_wines(epochs, key):
    """Softmax regression by each optimiser of the article, which accumulates the gradients of 32 single examples for
    each of its steps: the accuracies."""
    wine = load_wine()
    x, y = wine.data[:, :10], nn.one_hot(wine.target, 3)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    optimizers = {
        "gradient descent": optim.sgd(0.5),
        "RMSProp": optim.rmsprop(0.01, decay=0.9),
        "Adam": optim.adam(0.05, b1=0.9, b2=0.99),
    }
    found = {}
    for name, optimizer in optimizers.items():
        params = {"w": np.zeros((10, 3)), "b": np.zeros(3)}
        settings = {"optimizer": optim.MultiSteps(optimizer, 32), "epochs": epochs, "batch": 1}
        params, _ = train(REGRESSION, params, x, y, **settings, key=key, name=name)
        found[name] = float(np.mean(classify(REGRESSION, params, x) == wine.target))
    return found


def tell_zeros_from_ones(digits, epochs, key):
    """The network with shared weights on the digits 0 and 1: its accuracy on the test set, and its parameters."""
    x, y, x_test, y_test = digits
    (x, y), (x_test, y_test) = [(quarters(x[y < 2]), y[y < 2]) for x, y in ((x, y), (x_test, y_test))]
    init_key, train_key = ft.random.split(key)
    params = dense_params(init_key, w=(x.shape[2], 1), w2=(4, 2))
    params |= {"w": params["w"][:, 0], "b": np.full((), 2.0)}  # the one filter begins above the bend of the ReLU
    settings = {"optimizer": optim.adam(0.01, b1=0.9, b2=0.99), "epochs": epochs, "batch": 32}
    params, _ = train(SHARED, params, x, nn.one_hot(y, 2), **settings, key=train_key, name="shared weights")
    return float(np.mean(classify(SHARED, params, x_test) == y_test)), params


def save_picture(path, matrix, costs):
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    left.semilogy(range(1, len(costs) + 1), costs)
    left.set(xlabel="epoch", ylabel="training cost (nats per digit)", title="Multilayer perceptron")
    ConfusionMatrixDisplay(matrix).plot(ax=right, colorbar=False, cmap="Blues")
    right.set_title("Digits of the test set")
    figure.savefig(path, dpi=80)
    plt.close(figure)


def show_jacobians(params, x, y):
    """Shapes of Jacobians between nodes of the perceptron, for one digit; and the chain rule through them."""
    inputs = {**params, "x": x, "y": y}
    between = partial(jacobian, PERCEPTRON, inputs)
    for of, wrt in (("p", "logits"), ("logits", "h"), ("h", "z"), ("cost", "w1")):
        print(f"  d{of}/d{wrt}: {between(of, wrt).shape}")
    chained = between("p", "logits") @ between("logits", "h") @ between("h", "z") @ between("z", "x")
    print(f"  dp/dx by the chain of Jacobians differs by {np.max(np.abs(chained - between('p', 'x'))):.1e}")


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_data_option(parser)
    parser.add_argument("--epochs", type=int, help="of the perceptron: 6 with MNIST as in the article, else 20")
    parser.add_argument("--small-epochs", type=int, default=60, help="of the two small networks")
    parser.add_argument("--hidden", type=int, default=90, help="units of the hidden layer")
    parser.add_argument("--batch", type=int, default=32, help="digits in a mini-batch")
    parser.add_argument("--rate", type=float, default=0.01, help="of Adam; it falls to zero in the last epoch")
    parser.add_argument("--seed", type=int, default=0, help="of the split, the weights and the batches")
    parser.add_argument("--out", type=Path, default=Path("jacobians_of_a_graph.png"), help="where to save the picture")
    parser.add_argument("--graph", type=Path, default=Path("shared_weights.svg"), help="where to save the drawn graph")
    options = parser.parse_args(argv)
    usual = 6 if options.data else 20
    epochs = usual if options.epochs is None else options.epochs

    digits = load(options.data, options.seed)
    wine_key, shared_key, init_key, train_key = ft.random.split(ft.random.key(options.seed), 4)
    wines = regress_wines(options.small_epochs, wine_key)
    print(
        "softmax regression of wines, training accuracy:",
        ", ".join(f"{name} {part:.1%}" for name, part in wines.items()),
    )

    shared, shared_params = tell_zeros_from_ones(digits, options.small_epochs, shared_key)
    print(f"shared weights, 0 or 1: test accuracy {shared:.2%}")
    values = {**shared_params, "x": quarters(digits.x[:1])[0], "y": nn.one_hot(digits.y[0] % 2, 2)}
    ft.draw(lambda **values: evaluate(named(SHARED), values, "cost"), **values, depth=0).save(options.graph, dpi=90)

    n, h = digits.x.shape[1], options.hidden
    params = dense_params(init_key, w1=(n, h), w2=(h, 10))
    print(f"perceptron {n}-{h}-10, nodes: {' '.join(in_order(PERCEPTRON))}")
    show_jacobians(params, digits.x[0], nn.one_hot(digits.y[0], 10))
    rate = optim.cosine_decay_schedule(options.rate, max(1, epochs * -(-len(digits.x) // options.batch)))
    settings = {"optimizer": optim.adam(rate, b1=0.9, b2=0.99), "epochs": epochs, "batch": options.batch}
    params, costs = train(
        PERCEPTRON, params, digits.x, nn.one_hot(digits.y, 10), **settings, key=train_key, name="perceptron"
    )
    read = classify(PERCEPTRON, params, digits.x_test)
    matrix = confusion_matrix(digits.y_test, read)
    print(classification_report(digits.y_test, read, digits=3))
    accuracy = float(np.mean(read == digits.y_test))
    save_picture(options.out, matrix, costs)
    print(f"test accuracy {accuracy:.2%}; pictures in {options.out} and {options.graph}")
    return {"accuracy": accuracy, "wines": wines, "shared": shared, "matrix": matrix, "costs": costs}


if __name__ == "__main__":
    main()
