"""A perceptron whose forward pass is written out, operation by operation, and whose gradients come from `grad`.

    python examples/forward_by_hand_digits.py

trains a perceptron 784-256-128-10 on digits by plain gradient descent. The step is a pure function and still updates
the parameters in place: it is jitted with its parameters donated. It prints the loss every 100 steps and saves the
curve of the loss over the epochs.
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path

import matplotlib
import numpy as np
from digit_data import add_data_option, load
from tqdm import tqdm, trange

import functrans as ft
from functrans import data, nn

matplotlib.use("Agg")
from matplotlib import pyplot as plt


def initial_params(key, *sizes):
    """Normal numbers of standard deviation 0.1, cut off at two of them; zero biases."""
    keys = ft.random.split(key, len(sizes) - 1)
    return [
        (0.1 * ft.random.truncated_normal(k, -2.0, 2.0, shape), np.zeros(shape[1]))
        for k, shape in zip(keys, pairwise(sizes), strict=True)
    ]


def forward(params, x):
    (w1, b1), (w2, b2), (w3, b3) = params
    h1 = nn.relu(x @ w1 + b1)
    h2 = nn.relu(h1 @ w2 + b2)
    return h2 @ w3 + b3


def loss_fn(params, x, labels):
    """The mean over all of (one_hot(labels) - out)^2."""
    return np.mean((nn.one_hot(labels, 10) - forward(params, x)) ** 2)


@ft.jit(donate_argnums=0)
def descend(params, x, labels, rate):
    """A step of gradient descent: the loss before it, and the new parameters, in the memory of the old ones."""
    loss, grads = ft.value_and_grad(loss_fn)(params, x, labels)
    return loss, ft.tree.map(lambda p, g: p - rate * g, params, grads)


def train(params, x, labels, *, epochs, batch, rate, key):
    """The trained parameters, in the memory of the initial ones, and the mean loss of each epoch."""
    losses, step = [], 0
    progress = trange(epochs, unit="epoch")
    for _, batches in zip(progress, data.epochs(key, (x, labels), batch), strict=False):
        total = 0.0
        for some_x, some_labels in batches:
            loss, params = descend(params, some_x, some_labels, rate)
            if step % 100 == 0:
                tqdm.write(f"step {step:5}   loss {loss:.4f}")
            total += float(loss) * len(some_x) / len(x)
            step += 1
        losses.append(total)
        progress.set_postfix(loss=f"{total:.4f}")
    return params, losses


def save_picture(path, losses):
    figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
    axes.semilogy(range(1, len(losses) + 1), losses)
    axes.set(xlabel="epoch", ylabel="mean squared error", title="Loss")
    figure.savefig(path, dpi=80)
    plt.close(figure)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_data_option(parser)
    parser.add_argument("--epochs", type=int, help="20 with MNIST as in the article, else 100")
    parser.add_argument("--hidden", type=int, nargs=2, default=[256, 128], help="sizes of the hidden layers")
    parser.add_argument("--batch", type=int, help="digits in a batch: 200 with MNIST as in the article, else 50")
    parser.add_argument("--rate", type=float, help="learning rate: 0.001 with MNIST as in the article, else 0.1")
    parser.add_argument("--seed", type=int, default=0, help="of the split, the weights and the batches")
    parser.add_argument("--out", type=Path, default=Path("forward_by_hand_digits.png"), help="where to save the curve")
    options = parser.parse_args(argv)
    usual = {"epochs": 20, "batch": 200, "rate": 0.001} if options.data else {"epochs": 100, "batch": 50, "rate": 0.1}
    settings = {name: getattr(options, name) for name in usual}
    settings = {name: usual[name] if value is None else value for name, value in settings.items()}

    digits = load(options.data, options.seed)
    init_key, train_key = ft.random.split(ft.random.key(options.seed))
    params = initial_params(init_key, digits.x.shape[1], *options.hidden, 10)
    params, losses = train(params, digits.x, digits.y, **settings, key=train_key)
    read = np.argmax(forward(params, digits.x_test), axis=1)
    accuracy = float(np.mean(read == digits.y_test))
    save_picture(options.out, losses)
    print(f"loss of the last epoch {losses[-1]:.5f}, of the first {losses[0]:.5f}")
    print(f"test accuracy {accuracy:.2%} on {len(read)} digits never seen; picture in {options.out}")
    return accuracy, losses


if __name__ == "__main__":
    main()
