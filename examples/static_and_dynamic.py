"""One function as a static program, made from shapes alone, and as dynamic Python: the same numbers.

    python examples/static_and_dynamic.py

trains a fully connected network and a convolutional one (images 32 x 32 x 3, random as in the article) in both ways.
The static way records the whole training as one program: the loop (a fold), the branch and the update of the weights
are operations of it. The dynamic way runs Python's own loop and `if`. The picture has the losses, `--graph` is the
program.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from pathlib import Path

import matplotlib
import numpy as np
from tqdm import tqdm

import functrans as ft
from functrans import lax, nn, optim
from functrans.passes.pipeline import finalize  # from a program to what of it is run

matplotlib.use("Agg")
from matplotlib import pyplot as plt

# Networks, which know neither of the two ways

NHWC = ("NHWC", "HWIO", "NHWC")


def two_layer_fc(weights, x):
    w1, w2 = weights
    return nn.relu(x.reshape(len(x), -1) @ w1) @ w2


def three_layer_convnet(weights, x):
    w1, w2, w3 = weights
    h1 = nn.relu(lax.conv_general_dilated(x, w1, (1, 1), [(2, 2), (2, 2)], dimension_numbers=NHWC))
    h2 = nn.relu(lax.conv_general_dilated(h1, w2, (1, 1), [(1, 1), (1, 1)], dimension_numbers=NHWC))
    return h2.reshape(len(x), -1) @ w3


NETWORKS = {
    "two_layer_fc": (two_layer_fc, [(32 * 32 * 3, 42), (42, 10)]),
    "three_layer_convnet": (three_layer_convnet, [(5, 5, 3, 6), (3, 3, 6, 9), (32 * 32 * 9, 10)]),
}


def initial_weights(key, shapes):
    """Xavier Glorot's: uniform, of variance 2 / (fan in + fan out)."""
    keys = ft.random.split(key, len(shapes))
    return [nn.initializers.glorot_uniform()(k, shape) for k, shape in zip(keys, shapes, strict=True)]


def random_batch(key, size):
    """Images and targets, random as the article's."""
    x_key, y_key = ft.random.split(key)
    return ft.random.normal(x_key, (size, 32, 32, 3)), ft.random.normal(y_key, (size, 10))


def loss_of(network):
    def loss_fn(weights, x, y):
        return np.mean((network(weights, x) - y) ** 2)

    return loss_fn


# A static graph: programs made from shapes, in which nothing is computed


def program(function, *arguments):
    """The program of a function for the shapes of the arguments, and the function that runs it."""
    closed = ft.make_jaxpr(function)(*ft.tree.map(lambda x: ft.ShapeDtypeStruct(x.shape, x.dtype), arguments))
    run = ft.extend.core.jaxpr_as_fun(closed)
    return closed, lambda *values: run(*ft.tree.leaves(values))


def some_nodes(network, wanted, weights, x, y):
    """The values of some nodes of the graph, by their names."""
    loss, grads = ft.value_and_grad(loss_of(network))(weights, x, y)
    updated = [w - 0.1 * g for w, g in zip(weights, grads, strict=True)]
    nodes = {"scores": network(weights, x), "loss": loss, "gradients": grads, "updated": updated}
    return [nodes[name] for name in wanted]


def shrink(grads, limit):
    """Gradients of a length of at most `limit`. The branch is an operation: `cond`."""
    length = optim.global_norm(grads)
    return lax.cond(
        length > limit, lambda grads: ft.tree.map(lambda g: g * (limit / length), grads), lambda grads: grads, grads
    )


def train_static(network, weights, x, y, steps, rate, limit):
    """All of the training as one program: the weights that it begins with go in, losses and weights come out."""
    optimizer = optim.sgd(rate)

    def training(weights, x, y):
        def step(carry, _):
            weights, state = carry
            loss, grads = ft.value_and_grad(loss_of(network))(weights, x, y)
            updates, state = optimizer.update(shrink(grads, limit), state, weights)
            ft.debug.callback(progress.update)  # an effect, once in each iteration
            return (optim.apply_updates(weights, updates), state), loss

        (weights, _), losses = lax.scan(step, (weights, optimizer.init(weights)), None, length=steps)
        return losses, weights

    with tqdm(total=steps, desc=f"{network.__name__}, static", unit="step") as progress:
        closed, run = program(training, weights, x, y)
        losses, *weights = run(weights, x, y)
    return weights, losses, closed


# A dynamic graph: Python runs, and what it does is the graph


def train_dynamic(network, weights, x, y, steps, rate, limit):
    loss_and_grad = ft.value_and_grad(loss_of(network))
    losses = []
    for _ in tqdm(range(steps), desc=f"{network.__name__}, dynamic", unit="step"):
        loss, grads = loss_and_grad(weights, x, y)
        length = np.sqrt(sum(np.sum(g**2) for g in grads))
        if length > limit:
            grads = [g * (limit / length) for g in grads]
        weights = [w - rate * g for w, g in zip(weights, grads, strict=True)]
        losses.append(float(loss))
    return weights, np.array(losses)


# Both


def count(program):
    """How many operations a program has, those inside of its loops and branches too."""
    return len(program.eqns) + sum(count(inner) for eqn in program.eqns for inner in bodies(eqn))


def bodies(eqn):
    """The programs inside of an operation: the body of a loop, the branches of a `cond`."""
    return [inner for value in eqn.params.values() for inner in ft.core.jaxprs_in(value)]


def outline(program, indent="  "):
    """The loops and branches of a program, and how many other operations are in each."""
    nodes = [eqn for eqn in program.eqns if eqn.primitive.name in ("scan", "cond", "while")]
    for eqn in nodes:
        print(f"{indent}{eqn.primitive.name} around {sum(map(count, bodies(eqn)))} operations")
        for inner in bodies(eqn):
            outline(inner, indent + "  ")


def compare(name, steps, batch, rate, limit, key):
    """Train a network in both ways from the same weights; what each gave, and the time that each took."""
    network, shapes = NETWORKS[name]
    weights_key, batch_key = ft.random.split(key)
    weights, (x, y) = initial_weights(weights_key, shapes), random_batch(batch_key, batch)
    start = time.perf_counter()
    dynamic_weights, dynamic = train_dynamic(network, weights, x, y, steps, rate, limit)
    middle = time.perf_counter()
    static_weights, static, closed = train_static(network, weights, x, y, steps, rate, limit)
    end = time.perf_counter()
    difference = max(np.max(np.abs(a - b)) for a, b in zip(static_weights, dynamic_weights, strict=True))
    print(f"{name}: loss {dynamic[0]:.4f} -> {dynamic[-1]:.4f} in {steps} steps")
    print(f"  static: one program of {count(closed)} operations, {end - middle:.2f} s; dynamic: {middle - start:.2f} s")
    outline(closed, indent="    ")
    print(f"  greatest difference of a weight: {difference:.1e}")
    return {"static": static, "dynamic": dynamic, "difference": float(difference), "program": closed}


def show_graph(batch, key):
    """The static graph of the first network: printed, differentiated as a program, and run for some of its nodes."""
    network, sizes = NETWORKS["two_layer_fc"]
    weights_key, *batch_keys = ft.random.split(key, 3)
    weights, batches = initial_weights(weights_key, sizes), [random_batch(k, batch) for k in batch_keys]
    closed, run = program(loss_of(network), weights, *batches[0])
    print("The program of the loss, made from shapes:")
    print(closed)
    print("run on two batches:", *[f"{run(weights, x, y)[0]:.6f}" for x, y in batches])
    gradient, _ = program(ft.grad(lambda weights, x, y: run(weights, x, y)[0]), weights, *batches[0])
    print(f"its gradient with respect to [w1, w2], a program too, has {count(gradient)} operations:")
    print(gradient)
    for wanted in (("loss",), ("loss", "scores"), ("gradients", "loss"), ("loss", "updated")):
        asked, run = program(partial(some_nodes, network, wanted), weights, *batches[0])
        shapes = ", ".join(str(np.shape(x)) for x in run(weights, *batches[0]))
        print(f"asked for {' and '.join(wanted)}: {count(finalize(asked.jaxpr))} operations are run, results {shapes}")
    return closed


def save_picture(path, found):
    figure, cells = plt.subplots(1, len(found), figsize=(4.5 * len(found), 3.4), layout="constrained", squeeze=False)
    for cell, (name, result) in zip(cells[0], found.items(), strict=True):
        cell.plot(result["static"], linewidth=4, alpha=0.35, label="static program")
        cell.plot(result["dynamic"], "k--", linewidth=1, label="dynamic Python")
        cell.set(title=name, xlabel="step", ylabel="mean squared error")
        cell.legend()
    figure.savefig(path, dpi=80)
    plt.close(figure)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--networks",
        nargs="+",
        choices=list(NETWORKS),
        default=list(NETWORKS),
        help="which to train; both if not given",
    )
    parser.add_argument("--steps", type=int, default=30, help="of gradient descent")
    parser.add_argument("--batch", type=int, default=64, help="images")
    parser.add_argument("--rate", type=float, default=0.2, help="learning rate")
    parser.add_argument("--limit", type=float, default=0.5, help="longer gradients are shortened to this length")
    parser.add_argument("--seed", type=int, default=0, help="of images, targets and weights")
    parser.add_argument("--out", type=Path, default=Path("static_and_dynamic.png"), help="where to save the picture")
    parser.add_argument("--graph", type=Path, help="where to save a drawing of the static program, if anywhere")
    options = parser.parse_args(argv)

    graph_key, *keys = ft.random.split(ft.random.key(options.seed), 1 + len(options.networks))
    closed = show_graph(options.batch, graph_key)
    if options.graph:
        ft.draw(closed).save(options.graph, dpi=90)
    settings = {name: getattr(options, name) for name in ("steps", "batch", "rate", "limit")}
    found = {name: compare(name, **settings, key=key) for name, key in zip(options.networks, keys, strict=True)}
    save_picture(options.out, found)
    print(f"picture in {options.out}")
    return found


if __name__ == "__main__":
    main()
