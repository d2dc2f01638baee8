"""functrans.optim: each optimiser against the formula of its paper, on trees that hypothesis draws, and transformed."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes

import functrans as ft
from functrans import io, optim

from . import formulas

CASES = {
    "sgd": (optim.sgd(0.1), formulas.sgd, {}),
    "momentum": (optim.sgd(0.1, 0.9), formulas.sgd, {"momentum": 0.9}),
    "nesterov": (optim.sgd(0.1, 0.9, nesterov=True), formulas.sgd, {"momentum": 0.9, "nesterov": True}),
    "adam": (optim.adam(0.1), formulas.adam, {}),
    "adam_b": (optim.adam(0.3, b1=0.5, b2=0.6, eps=0.1), formulas.adam, {"lr": 0.3, "b1": 0.5, "b2": 0.6, "eps": 0.1}),
    "adam_zero": (optim.adam(0.1, b1=0.0, b2=0.0), formulas.adam, {"b1": 0.0, "b2": 0.0}),
    "adamw": (optim.adamw(0.1, weight_decay=0.2), formulas.adam, {"weight_decay": 0.2}),
    "nadam": (optim.nadam(0.1), formulas.nadam, {}),
    "nadamw": (optim.nadamw(0.1, weight_decay=0.2), formulas.nadam, {"weight_decay": 0.2}),
    "amsgrad": (optim.amsgrad(0.1, b2=0.5), formulas.amsgrad, {"b2": 0.5}),
    "adamax": (optim.adamax(0.1, b2=0.5), formulas.adamax, {"b2": 0.5}),
    "adamaxw": (optim.adamaxw(0.1, weight_decay=0.2), formulas.adamax, {"weight_decay": 0.2}),
    "adabelief": (optim.adabelief(0.1, eps=1e-6, eps_root=1e-6), formulas.adabelief, {"eps": 1e-6}),
    "radam": (optim.radam(0.1, b2=0.7), formulas.radam, {"b2": 0.7}),
    "radam_slow": (optim.radam(0.1), formulas.radam, {}),
    "rmsprop": (optim.rmsprop(0.1), formulas.rmsprop, {}),
    "centered": (optim.rmsprop(0.1, centered=True, eps=1e-3), formulas.rmsprop, {"centered": True, "eps": 1e-3}),
    "rms_momentum": (optim.rmsprop(0.1, momentum=0.5), formulas.rmsprop, {"momentum": 0.5}),
    "rms_nesterov": (
        optim.rmsprop(0.1, momentum=0.5, nesterov=True),
        formulas.rmsprop,
        {"momentum": 0.5, "nesterov": True},
    ),
    "rms_torch": (optim.rmsprop(0.1, eps_in_sqrt=False, bias_correction=True), formulas.rmsprop_of_torch, {}),
    "adagrad": (optim.adagrad(0.1), formulas.adagrad, {}),
    "adadelta": (optim.adadelta(), formulas.adadelta, {}),
    "adadelta_w": (optim.adadelta(0.5, weight_decay=0.2), formulas.adadelta, {"lr": 0.5, "weight_decay": 0.2}),
    "lion": (optim.lion(0.1), formulas.lion, {}),
    "sign_sgd": (optim.sign_sgd(0.1), formulas.sign_sgd, {}),
}

NUMBERS = st.floats(-10, 10, allow_nan=False).filter(lambda x: x == 0 or abs(x) > 1e-3)


@st.composite
def trees(draw):
    """A tree of shapes, as a nest of dicts, lists, tuples and None."""
    shapes = array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3)
    leaves = shapes.map(lambda shape: np.zeros(shape))
    inner = draw(
        st.recursive(
            leaves | st.none(),
            lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=2),
            max_leaves=4,
        )
    )
    return [inner]  # None alone would be no parameters


def filled(tree, rng, low=0.01):
    """Numbers of both signs, not too near to zero."""

    def fill(x):
        return np.asarray(rng.uniform(low, 3, x.shape) * rng.choice([-1, 1], x.shape))

    return ft.tree.map(fill, tree)


def run(optimizer, params, gradients):
    """The parameters after each step."""
    state = optimizer.init(params)
    seen = []
    for grads in gradients:
        updates, state = optimizer.update(grads, state, params)
        params = optim.apply_updates(params, updates)
        seen.append(params)
    return seen


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=max(8, settings.default.max_examples // 3))
@given(tree=trees(), seed=st.integers(0, 1000))
def test_agrees_with_the_paper(name, tree, seed):
    optimizer, formula, options = CASES[name]
    rng = np.random.default_rng(seed)
    params, gradients = filled(tree, rng), [filled(tree, rng) for _ in range(7)]
    seen = [ft.tree.leaves(p) for p in run(optimizer, params, gradients)]
    columns = [ft.tree.leaves(g) for g in gradients]
    for place, x in enumerate(ft.tree.leaves(params)):
        for index in np.ndindex(x.shape):
            expected = formula(float(x[index]), [float(g[place][index]) for g in columns], **options)
            got = [float(leaves[place][index]) for leaves in seen]
            np.testing.assert_allclose(got, list(expected), rtol=1e-9, atol=1e-12)
    assert ft.tree.structure(params) == ft.tree.structure(tree)


PARAMS = {"w": np.float32([[0.5, -1.0], [2.0, 0.25]]), "b": [np.array([0.1, -0.2]), np.float64(0.3)]}


def loss(params, scale=1.0):
    return np.sum(np.tanh(params["w"] * scale) ** 2) + np.sum(params["b"][0] ** 3) * params["b"][1]


ALL = {
    **{name: case[0] for name, case in CASES.items()},
    "lamb": optim.lamb(0.1, weight_decay=0.1),
    "lars": optim.lars(0.1, weight_decay=0.1),
    "noisy_sgd": optim.noisy_sgd(0.1),
    "clipped": optim.chain(optim.clip_by_global_norm(0.1), optim.clip_by_block_rms(0.05), optim.adam(0.1)),
    "agc": optim.chain(optim.adaptive_grad_clip(0.1), optim.centralize(), optim.trace(0.9), optim.scale(-0.1)),
    "multi": optim.MultiSteps(optim.adam(0.1), 2).gradient_transformation(),
    "finite": optim.apply_if_finite(optim.adam(0.1), 2),
    "every": optim.chain(optim.apply_every(2), optim.sgd(0.1)),
    "masked": optim.masked(optim.adam(0.1), {"w": True, "b": False}),
    "partition": optim.partition({0: optim.adam(0.1), 1: optim.sgd(0.1, 0.9)}, {"w": 0, "b": 1}),
    "injected": optim.inject_hyperparams(optim.adam)(learning_rate=optim.linear_schedule(0.1, 0.0, 5)),
    "ema": optim.chain(optim.ema(0.9), optim.sgd(0.1), optim.params_ema(0.9)),
}


def stepped(optimizer, params, state):
    updates, state = optimizer.update(ft.grad(loss)(params), state, params)
    return optim.apply_updates(params, updates), state


def assert_same(a, b, **tolerances):
    assert ft.tree.structure(a) == ft.tree.structure(b)
    for x, y in zip(ft.tree.leaves(a), ft.tree.leaves(b), strict=True):
        assert np.asarray(x).dtype == np.asarray(y).dtype
        np.testing.assert_allclose(x, y, **{"rtol": 1e-6, "atol": 1e-7, **tolerances})


@pytest.mark.parametrize("name", ALL)
def test_under_transformations(name):
    optimizer = ALL[name]
    eager = PARAMS, optimizer.init(PARAMS)
    before = ft.tree.map(np.copy, PARAMS)
    jitted = ft.jit(lambda params, state: stepped(optimizer, params, state))
    compiled = eager
    first = eager
    for _ in range(3):
        eager, compiled = stepped(optimizer, *eager), jitted(*compiled)
    assert_same(eager, compiled)
    assert_same(PARAMS, before, rtol=0, atol=0)
    assert_same(eager[0], ft.lax.scan(lambda c, _: (stepped(optimizer, *c), None), first, None, length=3)[0][0])
    for x, y in zip(ft.tree.leaves(first), ft.tree.leaves(eager), strict=True):
        assert (x.dtype, x.shape) == (y.dtype, y.shape)

    several = ft.tree.map(lambda x: np.stack([x, 2 * x]), PARAMS)
    states = ft.vmap(optimizer.init)(several) if name != "noisy_sgd" else None
    if states is not None:
        both = ft.vmap(lambda p, s: stepped(optimizer, p, s))(several, states)[0]
        for i in range(2):
            alone = ft.tree.map(lambda x, i=i: x[i], several)
            assert_same(ft.tree.map(lambda x, i=i: x[i], both), stepped(optimizer, alone, optimizer.init(alone))[0])


@pytest.mark.parametrize("name", [n for n in ALL if n not in ("sign_sgd", "lion")])
def test_derivative_through_steps(name):
    optimizer = ALL[name]

    def after(scale):
        params, state = {"w": np.float64([[0.5, -1.0], [2.0, 0.25]]), "b": PARAMS["b"]}, None
        state = optimizer.init(params)
        for _ in range(3):
            grads = ft.grad(loss)(params, scale)
            updates, state = optimizer.update(grads, state, params)
            params = optim.apply_updates(params, updates)
        return loss(params)

    h = 1e-5
    expected = (after(0.7 + h) - after(0.7 - h)) / (2 * h)
    np.testing.assert_allclose(ft.grad(after)(0.7), expected, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(ft.jit(ft.grad(after))(0.7), expected, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(ft.jvp(after, (0.7,), (1.0,))[1], expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("name", ["adam", "sgd", "rmsprop", "lamb", "adadelta", "adabelief"])
def test_hypergradients(name):
    make = optim.inject_hyperparams(getattr(optim, name))

    def after(lr):
        optimizer = make(learning_rate=lr)
        params, state = PARAMS, optimizer.init(PARAMS)
        for _ in range(2):
            params, state = stepped(optimizer, params, state)
        return loss(params)

    exact = ft.grad(after)(0.05)
    np.testing.assert_allclose(exact, (after(0.05 + 1e-3) - after(0.05 - 1e-3)) / 2e-3, rtol=1e-2)
    np.testing.assert_allclose(ft.vmap(after)(np.array([0.05, 0.1])), [after(0.05), after(0.1)], rtol=1e-6)


def test_lamb_and_lars_by_hand():
    x, g = np.array([3.0, 4.0]), np.array([1.0, -2.0])
    updates, _ = optim.lamb(0.1, eps=1e-6, weight_decay=0.5).update(g, optim.lamb(0.1).init(x), x)
    r = g / (np.abs(g) + 1e-6) + 0.5 * x
    np.testing.assert_allclose(updates, -0.1 * 5 / np.linalg.norm(r) * r, rtol=1e-12)
    lars = optim.lars(0.1, weight_decay=0.5, trust_coefficient=0.01, momentum=0.0)
    updates, _ = lars.update(g, lars.init(x), x)
    d = g + 0.5 * x
    np.testing.assert_allclose(updates, -0.1 * 0.01 * 5 / np.linalg.norm(d) * d, rtol=1e-12)


def test_noise_has_its_variance_and_repeats():
    optimizer = optim.add_noise(0.5, 0.55, key=3)
    x = np.zeros(20_000)
    state = optimizer.init(x)
    for count in (1, 2):
        noise, state = optimizer.update(x, state)
        np.testing.assert_allclose(np.var(noise), 0.5 / count**0.55, rtol=0.05)
    again, _ = optimizer.update(x, optimizer.init(x))
    np.testing.assert_array_equal(again, optim.add_noise(0.5, 0.55, ft.random.key(3)).update(x, optimizer.init(x))[0])


def test_complex_parameters():
    target = np.array([1 + 2j, -1j])
    for optimizer in (optim.adam(0.1), optim.sgd(0.1, 0.9), optim.rmsprop(0.05), optim.adadelta(30.0)):
        x = np.zeros(2, complex)
        state = optimizer.init(x)
        for _ in range(300):
            grads = np.conj(ft.grad(lambda x: np.sum(np.abs(x - target) ** 2))(x))
            updates, state = optimizer.update(grads, state, x)
            x = optim.apply_updates(x, updates)
        assert x.dtype == np.complex128
        np.testing.assert_allclose(x, target, atol=0.1)


def test_dtypes():
    params = {"h": np.zeros(2, np.float16), "f": np.zeros(2, np.float32), "c": np.zeros(2, np.complex64), "d": 0.0}
    grads = {"h": np.ones(2, np.float16), "f": np.ones(2), "c": np.ones(2, np.complex64), "d": 1.0}
    optimizer = optim.adam(optim.cosine_decay_schedule(0.1, 10), mu_dtype=None)
    state = optimizer.init(params)
    for _ in range(2):
        updates, state = optimizer.update(grads, state, params)
        params = optim.apply_updates(params, updates)
    assert [params[k].dtype for k in "hfcd"] == [np.float16, np.float32, np.complex64, np.float64]
    assert state[0].nu["c"].dtype == np.float32
    low = optim.adam(0.1, mu_dtype=np.float16)
    updates, state = low.update(np.ones(2), low.init(np.ones(2)))
    assert state[0].mu.dtype == np.float16
    assert updates.dtype == np.float64


def test_empty_trees():
    for optimizer in (optim.adam(0.1), optim.lbfgs(linesearch=None), optim.clip_by_global_norm(1.0)):
        updates, _ = optimizer.update({}, optimizer.init({}), {})
        assert updates == {}
    assert optim.global_norm({}) == 0


def test_options_that_contradict():
    with pytest.raises(ValueError, match="no bias_correction with centered"):
        optim.rmsprop(0.1, centered=True, bias_correction=True)


@pytest.mark.parametrize("name", ALL)
def test_states_that_are_pickled_or_saved_go_on_with_the_same_bits(name, tmp_path):
    optimizer = ALL[name]
    carry = stepped(optimizer, PARAMS, optimizer.init(PARAMS))
    expected = stepped(optimizer, *carry)
    io.save(tmp_path / "state", carry)
    assert_same(stepped(optimizer, *io.load(tmp_path / "state", like=carry)), expected, rtol=0, atol=0)
    assert_same(stepped(optimizer, *pickle.loads(pickle.dumps(carry))), expected, rtol=0, atol=0)


def test_threads_train_as_if_they_were_alone():
    optimizer = ALL["clipped"]
    jitted = ft.jit(lambda params, state: stepped(optimizer, params, state))

    def train(seed):
        params = ft.tree.map(lambda x: x * (1 + seed), PARAMS)
        carry = params, optimizer.init(params)
        for _ in range(20):
            carry = jitted(*carry) if seed % 2 else stepped(optimizer, *carry)
        return carry

    alone = [train(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(train, range(4)))
    assert_same(together, alone, rtol=0, atol=0)
