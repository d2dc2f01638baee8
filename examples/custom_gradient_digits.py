"""A loss with a gradient of its own that looks at values while it runs, and dropout behind a Python `if`.

    python examples/custom_gradient_digits.py

trains a perceptron 784-150-10 on digits. `softmax_loss(step, x, y)` says itself what its gradient is, softmax(x) - y
and none for the other arguments, and prints the accuracy of the batch every 500 steps: nothing is compiled, so values
are there. The picture has the loss and the accuracies.
"""

from __future__ import annotations

import argparse
from itertools import chain, pairwise
from pathlib import Path

import matplotlib
import numpy as np
from digit_data import add_data_option, load
from tqdm import tqdm

import functrans as ft
from functrans import data, nn, optim

matplotlib.use("Agg")
from matplotlib import pyplot as plt

ARTICLE = {0: 0.078, 500: 0.930, 1000: 0.945, 1500: 0.969, 2000: 0.953, 2500: 0.984}
"""The accuracies of batches that the article printed (MNIST, a GPU)."""
LOSSES = {0: 0.251, 500: 0.0236, 2500: 0.0030}
"""The losses that it printed."""

seen: list[tuple[int, float]] = []
"""What `softmax_loss` has seen: steps and accuracies."""


def cross_entropy(p, y):
    """The mean over batch and classes, of probabilities that are clipped away from 0 and 1."""
    p = np.clip(p, 1e-10, 1.0)
    return -np.mean(y * np.log(p))


@ft.custom_vjp
def softmax_loss(step, x, y):
    """The loss, of logits clipped to [-20, 20]."""
    return cross_entropy(nn.softmax(np.clip(x, -20, 20)), y)


def softmax_loss_forward(step, x, y):
    if step % 500 == 0:
        right = np.argmax(ft.concrete(x), axis=1) == np.argmax(ft.concrete(y), axis=1)
        seen.append((int(ft.concrete(step)), float(np.mean(right))))
        report(*seen[-1])
    return softmax_loss(step, x, y), (x, y)


def softmax_loss_backward(kept, ct):
    x, y = kept
    return None, ct * (nn.softmax(x) - y), None


softmax_loss.defvjp(softmax_loss_forward, softmax_loss_backward)


def report(step, accuracy):
    article = f"   the article: {ARTICLE[step]:.3f}" if step in ARTICLE else ""
    tqdm.write(f"step {step:4}   accuracy of the batch {accuracy:.3f}{article}")


# The model


def initial_params(key, *sizes):
    keys = ft.random.split(key, len(sizes) - 1)
    he_normal = nn.initializers.he_normal()
    return [(he_normal(k, shape), np.zeros(shape[1])) for k, shape in zip(keys, pairwise(sizes), strict=True)]


def predict(params, x, *, training, keep=0.75, key=None):
    (w1, b1), (w2, b2) = params
    h = nn.relu(x @ w1 + b1)
    if training:  # Python's own: in the program there is dropout, or there is none
        kept = ft.random.uniform(key, h.shape) < keep
        h = np.where(kept, h / keep, 0.0)
    return h @ w2 + b2


def loss_fn(params, step, x, y, key, keep):
    return softmax_loss(step, predict(params, x, training=True, keep=keep, key=key), y)


def train(params, x, y, *, steps, batch, rate, keep, key):
    """Adam on shuffled batches; the losses of all steps."""
    optimizer = optim.adam(rate)
    state, losses = optimizer.init(params), []
    order_key, dropout_key = ft.random.split(key)
    batches = chain.from_iterable(data.epochs(order_key, (x, y), batch))
    loss_and_grad = ft.value_and_grad(loss_fn)
    progress = tqdm(range(steps), unit="step")
    for step, (some_x, some_y) in zip(progress, batches, strict=False):
        loss, grads = loss_and_grad(params, step, some_x, some_y, ft.random.fold_in(dropout_key, step), keep)
        updates, state = optimizer.update(grads, state, params)
        params = optim.apply_updates(params, updates)
        losses.append(float(loss))
        if step % 100 == 0:
            progress.set_postfix(loss=f"{loss:.4f}")
    return params, losses


def save_picture(path, losses, seen):
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    left.semilogy(losses, linewidth=0.7, label="ours")
    left.plot(*zip(*LOSSES.items(), strict=True), "o", label="the article (MNIST)")
    left.set(xlabel="step", ylabel="mean over batch and classes", title="Loss")
    right.plot(*zip(*seen, strict=True), "s-", label="ours")
    right.plot(*zip(*ARTICLE.items(), strict=True), "o", label="the article (MNIST)")
    right.set(xlabel="step", title="Accuracy of the batch, seen inside of the loss")
    for cell in (left, right):
        cell.legend()
    figure.savefig(path, dpi=80)
    plt.close(figure)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_data_option(parser)
    parser.add_argument("--steps", type=int, default=3000, help="of training, a batch each")
    parser.add_argument("--hidden", type=int, default=150, help="units of the hidden layer")
    parser.add_argument("--batch", type=int, default=128, help="digits in a batch")
    parser.add_argument("--rate", type=float, default=1e-3, help="of Adam")
    parser.add_argument("--keep", type=float, default=0.75, help="probability that dropout keeps a unit")
    parser.add_argument("--seed", type=int, default=0, help="of the split, the weights, the batches and the dropout")
    parser.add_argument(
        "--out", type=Path, default=Path("custom_gradient_digits.png"), help="where to save the picture"
    )
    options = parser.parse_args(argv)

    digits = load(options.data, options.seed)
    init_key, train_key = ft.random.split(ft.random.key(options.seed))
    params = initial_params(init_key, digits.x.shape[1], options.hidden, 10)
    seen.clear()
    settings = {name: getattr(options, name) for name in ("steps", "batch", "rate", "keep")}
    params, losses = train(params, digits.x, nn.one_hot(digits.y, 10), **settings, key=train_key)
    read = np.argmax(predict(params, digits.x_test, training=False), axis=1)
    accuracy = float(np.mean(read == digits.y_test))
    for step, loss in LOSSES.items():
        if step < len(losses):
            print(f"loss at step {step}: {losses[step]:.4f}   the article: {loss}")
    save_picture(options.out, losses, seen)
    print(f"test accuracy {accuracy:.2%} on {len(read)} digits never seen; picture in {options.out}")
    return accuracy, losses, list(seen)


if __name__ == "__main__":
    main()
