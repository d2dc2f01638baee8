"""A perceptron whose forward pass is written out, operation by operation, and whose gradients come from `grad`.

    python examples/forward_by_hand_digits.py

trains it on digits by plain gradient descent, with the parameters updated in place: they are NumPy arrays. It prints
the loss every 100 steps and saves the curve of the loss over the epochs.
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path

import matplotlib
import numpy as np
from digit_data import add_data_option, load, minibatches, one_hot
from tqdm import tqdm, trange

import functrans as ft
from functrans import nn

matplotlib.use("Agg")
from matplotlib import pyplot as plt


def truncated_normal(rng, shape, stddev):
    """Normal numbers; those beyond two standard deviations are drawn again."""
    x = rng.normal(size=shape)
    while (outside := np.abs(x) > 2).any():
        x[outside] = rng.normal(size=outside.sum())
    return stddev * x


def initial_params(rng, *sizes):
    return [[truncated_normal(rng, (m, n), 0.1), np.zeros(n)] for m, n in pairwise(sizes)]


def forward(params, x):
    (w1, b1), (w2, b2), (w3, b3) = params
    h1 = nn.relu(x @ w1 + b1)
    h2 = nn.relu(h1 @ w2 + b2)
    return h2 @ w3 + b3


def loss_fn(params, x, y):
    """The mean over all of (y - out)^2, of targets that are rows with a single 1."""
    return np.mean((y - forward(params, x)) ** 2)


def train(params, x, y, *, epochs, batch, rate, rng):
    """Gradient descent; the mean loss of each epoch."""
    losses, step = [], 0
    loss_and_grad = ft.value_and_grad(loss_fn)
    progress = trange(epochs, unit="epoch")
    for _ in progress:
        total = 0.0
        for rows in minibatches(len(x), batch, rng):
            loss, grads = loss_and_grad(params, x[rows], y[rows])
            for layer, changes in zip(params, grads, strict=True):
                for p, g in zip(layer, changes, strict=True):
                    p -= rate * g
            if step % 100 == 0:
                tqdm.write(f"step {step:5}   loss {loss:.4f}")
            total += float(loss) * len(rows) / len(x)
            step += 1
        losses.append(total)
        progress.set_postfix(loss=f"{total:.4f}")
    return losses


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
    parser.add_argument("--rate", type=float, help="learning rate: 0.001 with MNIST as in the article, else 0.5")
    parser.add_argument("--seed", type=int, default=0, help="of the split, the weights and the batches")
    parser.add_argument("--out", type=Path, default=Path("forward_by_hand_digits.png"), help="where to save the curve")
    options = parser.parse_args(argv)
    usual = {"epochs": 20, "batch": 200, "rate": 0.001} if options.data else {"epochs": 100, "batch": 50, "rate": 0.5}
    settings = {name: getattr(options, name) or value for name, value in usual.items()}

    rng = np.random.default_rng(options.seed)
    digits = load(options.data, rng)
    params = initial_params(rng, digits.x.shape[1], *options.hidden, 10)
    losses = train(params, digits.x, one_hot(digits.y), **settings, rng=rng)
    read = np.argmax(forward(params, digits.x_test), axis=1)
    accuracy = float(np.mean(read == digits.y_test))
    save_picture(options.out, losses)
    print(f"loss of the last epoch {losses[-1]:.5f}, of the first {losses[0]:.5f}")
    print(f"test accuracy {accuracy:.2%} on {len(read)} digits never seen; picture in {options.out}")
    return accuracy, losses


if __name__ == "__main__":
    main()
