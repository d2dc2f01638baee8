"""A multilayer perceptron that reads handwritten digits: pure functions of plain NumPy arrays, trained with functrans.

    python examples/mlp_digits.py

trains on two thirds of scikit-learn's 1,797 digits, tests on the rest, and saves a picture of the loss and of the
digits that were misread.
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path

import matplotlib
import numpy as np
from sklearn.datasets import load_digits
from tqdm import trange

import functrans as ft

matplotlib.use("Agg")
from matplotlib import pyplot as plt

# The model


def predict(params, x):
    *hidden, (w, b) = params
    for v, c in hidden:
        x = np.maximum(x @ v + c, 0)
    return x @ w + b


def loss_fn(params, x, y):
    z = predict(params, x)
    z = z - np.max(z, axis=1, keepdims=True)
    log_p = z - np.log(np.sum(np.exp(z), axis=1, keepdims=True))
    return -np.mean(log_p[np.arange(len(y)), y])


# Its training


def init_params(rng, *sizes):
    return [(rng.normal(size=(m, n)) * np.sqrt(2 / m), np.zeros(n)) for m, n in pairwise(sizes)]


def descend(params, grads, rate):
    return ft.tree.map(lambda p, g: p - rate * g, params, grads)


def train(params, x, y, *, epochs, batch, step, noise, rng):
    """Stochastic gradient descent on noisy images, with a step that falls to zero."""
    losses = []
    loss_and_grad = ft.value_and_grad(loss_fn)
    progress = trange(epochs, unit="epoch")
    for epoch in progress:
        total, rate = 0.0, step * (1 - epoch / epochs)
        for rows in np.array_split(rng.permutation(len(x)), len(x) // batch):
            images = x[rows] + noise * rng.normal(size=(len(rows), x.shape[1]))
            loss, grads = loss_and_grad(params, images, y[rows])
            params = descend(params, grads, rate)
            total += loss * len(rows) / len(x)
        losses.append(total)
        progress.set_postfix(loss=f"{total:.4f}")
    return params, losses


def load_data(rng):
    """Images scaled to [0, 1] and their labels, shuffled: two thirds to train on, one third to test."""
    digits = load_digits()
    order = rng.permutation(len(digits.target))
    x, y = digits.data[order] / 16.0, digits.target[order]
    held_out = len(y) // 3
    return (x[held_out:], y[held_out:]), (x[:held_out], y[:held_out])


def save_picture(path, losses, x, y, read):
    wrong = np.flatnonzero(read != y)[:18]
    figure = plt.figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subfigures(1, 2)
    axes = left.subplots()
    axes.semilogy(range(1, len(losses) + 1), losses)
    axes.set(xlabel="epoch", ylabel="training loss (nats per digit)", title="Loss")
    right.suptitle(f"Misread test digits: {np.sum(read != y)} of {len(y)}")
    for place, cell in enumerate(right.subplots(3, 6).flat):
        cell.axis("off")
        if place < len(wrong):
            i = wrong[place]
            cell.imshow(x[i].reshape(8, 8), cmap="gray_r")
            cell.set_title(f"{y[i]} as {read[i]}", fontsize=8)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=60, help="passes over the training data")
    parser.add_argument("--hidden", type=int, nargs="*", default=[256], help="sizes of the hidden layers")
    parser.add_argument("--batch", type=int, default=32, help="digits in a mini-batch")
    parser.add_argument("--step", type=float, default=0.2, help="learning rate")
    parser.add_argument("--noise", type=float, default=0.2, help="standard deviation added to the pixels")
    parser.add_argument("--seed", type=int, default=0, help="of the split, the weights and the batches")
    parser.add_argument("--out", type=Path, default=Path("mlp_digits.png"), help="where to save the picture")
    options = parser.parse_args(argv)

    rng = np.random.default_rng(options.seed)
    (x, y), (x_test, y_test) = load_data(rng)
    params = init_params(rng, x.shape[1], *options.hidden, 10)
    settings = {name: getattr(options, name) for name in ("epochs", "batch", "step", "noise")}
    params, losses = train(params, x, y, **settings, rng=rng)
    read = np.argmax(predict(params, x_test), axis=1)
    accuracy = float(np.mean(read == y_test))
    save_picture(options.out, losses, x_test, y_test, read)
    print(f"test accuracy {accuracy:.2%} on {len(y_test)} digits never seen; picture in {options.out}")
    return accuracy, losses


if __name__ == "__main__":
    main()
