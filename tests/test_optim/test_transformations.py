"""functrans.optim: clipping, masking, accumulation, averaging, hyperparameters, lookup, and the messages of errors."""

import functools
import traceback

import numpy as np
import pytest

import functrans as ft
from functrans import optim

from .test_optimizers import PARAMS, assert_same, stepped


def apply(transformation, updates, params=None):
    return transformation.update(updates, transformation.init(updates if params is None else params), params)[0]


def norm(tree):
    return np.sqrt(sum(float(np.sum(np.abs(x) ** 2)) for x in ft.tree.leaves(tree)))


# Clipping


@pytest.mark.parametrize("bound", [0.1, 1.0, 100.0])
def test_clip_by_global_norm(bound):
    clipped = apply(optim.clip_by_global_norm(bound), PARAMS)
    factor = min(1.0, bound / norm(PARAMS))
    assert_same(clipped, ft.tree.map(lambda x: (x * np.float32(factor)).astype(x.dtype), PARAMS))
    assert_same(ft.jit(lambda x: apply(optim.clip_by_global_norm(bound), x))(PARAMS), clipped)


def test_clipping_of_zeros_and_empty_arrays():
    zeros = {"a": np.zeros(3), "b": np.zeros((0, 2))}
    for transformation in (
        optim.clip(1.0),
        optim.clip_by_global_norm(1.0),
        optim.clip_by_block_rms(1.0),
        optim.centralize(),
        optim.adaptive_grad_clip(0.1),
        optim.scale_by_trust_ratio(),
    ):
        assert_same(apply(transformation, zeros, zeros), zeros)
    total = ft.grad(lambda x: np.sum(apply(optim.clip_by_global_norm(1.0), [x])[0]))(np.zeros(2))
    np.testing.assert_array_equal(total, [1, 1])


def test_clip_by_block_rms_and_centralize():
    x = np.array([[3.0, -4.0], [0.5, 0.5]])
    rms = np.sqrt(np.mean(x**2))
    np.testing.assert_allclose(apply(optim.clip_by_block_rms(0.5), x), x / max(1, rms / 0.5))
    np.testing.assert_allclose(apply(optim.clip_by_block_rms(50.0), x), x)
    np.testing.assert_allclose(apply(optim.centralize(), x), x - x.mean(axis=1, keepdims=True))
    np.testing.assert_allclose(apply(optim.centralize(), x[0]), x[0])


@pytest.mark.parametrize("shape", [(), (3,), (3, 2), (2, 3, 2), (2, 2, 3, 4)])
def test_adaptive_grad_clip(shape):
    rng = np.random.default_rng(0)
    g, p = rng.normal(size=shape), rng.normal(size=shape)
    axes = None if len(shape) < 2 else 0 if len(shape) < 4 else (0, 1, 2)
    keep = len(shape) > 1
    g_norm = np.sqrt(np.sum(g**2, axis=axes, keepdims=keep))
    p_norm = np.maximum(np.sqrt(np.sum(p**2, axis=axes, keepdims=keep)), 1e-3)
    expected = np.where(g_norm < 0.3 * p_norm, g, 0.3 * p_norm * g / g_norm)
    np.testing.assert_allclose(apply(optim.adaptive_grad_clip(0.3), g, p), expected)


def test_zero_nans_and_nonnegative():
    out, state = optim.zero_nans().update([np.array([1.0, np.nan]), 2.0], None)
    assert_same(out, [np.array([1.0, 0.0]), np.float64(2.0)])
    assert state == [True, False]
    kept = apply(optim.keep_params_nonnegative(), np.array([-3.0, 1.0]), np.array([1.0, 2.0]))
    np.testing.assert_array_equal(kept, [-1.0, 1.0])


# Masks and labels


def test_masked_and_partition_agree_with_parts():
    grads = ft.grad(lambda p: np.sum(p["w"] ** 2) + np.sum(p["b"][0] ** 2) + p["b"][1] ** 2)(PARAMS)
    adam, sgd = optim.adam(0.1), optim.sgd(0.1)
    both = optim.multi_transform({"a": adam, "s": sgd}, lambda tree: {"w": "a", "b": ["s", "a"]})
    updates, state = both.update(grads, both.init(PARAMS), PARAMS)
    assert_same(updates["w"], apply(adam, grads["w"]))
    assert_same(updates["b"], [apply(sgd, grads["b"][0]), apply(adam, grads["b"][1])])
    assert set(state.inner_states) == {"a", "s"}
    masked = optim.masked(adam, {"w": True, "b": [False, True]})
    assert_same(apply(masked, grads, PARAMS)["b"], [grads["b"][0], apply(adam, grads["b"][1])])
    assert len(ft.tree.leaves(masked.init(PARAMS))) == 5  # the count, and two averages of two arrays


def test_integers_can_be_frozen():
    params = {"w": np.ones(2), "n": np.arange(3)}
    optimizer = optim.masked(optim.adam(0.1), {"w": True, "n": False})
    updates, _ = optimizer.update(params, optimizer.init(params), params)
    np.testing.assert_allclose(updates["w"], -0.1)
    with pytest.raises(TypeError, match=r"scale_by_adam.init: params\['n'\] is int64\[3\].*optim.masked"):
        optim.adam(0.1).init(params)


def test_named_chain():
    optimizer = optim.named_chain(("clip", optim.clip(1.0)), ("adam", optim.scale_by_adam()))
    state = optimizer.init(PARAMS)
    updates, state = optimizer.update(PARAMS, state)
    assert list(state) == ["clip", "adam"]
    assert_same(updates, apply(optim.chain(optim.clip(1.0), optim.scale_by_adam()), PARAMS))


# Accumulation


@pytest.mark.parametrize("k", [1, 3])
def test_multi_steps_is_one_step_of_the_mean(k):
    rng = np.random.default_rng(0)
    grads = [ft.tree.map(lambda x: rng.normal(size=x.shape), PARAMS) for _ in range(2 * k)]
    optimizer, inner = optim.MultiSteps(optim.adamw(0.1), k), optim.adamw(0.1)
    jitted = ft.jit(optimizer.update)
    for update in (optimizer.update, jitted):
        params, state = PARAMS, optimizer.init(PARAMS)
        expected, inner_state = PARAMS, inner.init(PARAMS)
        for i, g in enumerate(grads):
            updates, state = update(g, state, params)
            params = optim.apply_updates(params, updates)
            assert bool(optimizer.has_updated(state)) == ((i + 1) % k == 0)
            if (i + 1) % k == 0:
                mean = ft.tree.map(lambda *xs: np.mean(xs, axis=0), *grads[i + 1 - k : i + 1])
                new, inner_state = inner.update(mean, inner_state, expected)
                expected = optim.apply_updates(expected, new)
            assert_same(params, expected, rtol=1e-5)


def test_multi_steps_with_a_schedule_and_skipping():
    optimizer = optim.MultiSteps(
        optim.sgd(1.0),
        lambda step: np.where(step < 1, 1, 2),
        use_grad_mean=False,
        should_skip_update_fn=optim.skip_not_finite,
    )
    for update in (optimizer.update, ft.jit(optimizer.update)):
        state = optimizer.init(0.0)
        seen = []
        for g in (1.0, 2.0, np.nan, 3.0):
            updates, state = update(g, state, 0.0)
            seen.append((float(updates), int(state.mini_step), bool(state.skip_state["should_skip"])))
        assert seen == [(-1.0, 0, False), (0.0, 1, False), (0.0, 1, True), (-5.0, 0, False)]
    large = functools.partial(optim.skip_large_updates, max_squared_norm=4.0)
    optimizer = optim.MultiSteps(optim.sgd(1.0), 1, should_skip_update_fn=large)
    assert [float(optimizer.update(g, optimizer.init(0.0))[0]) for g in (1.9, 2.1)] == [-1.9, 0.0]


def test_apply_if_finite():
    optimizer = optim.apply_if_finite(optim.sgd(1.0, momentum=0.5), max_consecutive_errors=1)
    for update in (optimizer.update, ft.jit(optimizer.update)):
        state = optimizer.init(0.0)
        seen = []
        for g in (1.0, np.inf, 1.0, np.nan, np.nan):
            updates, state = update(g, state)
            seen.append(float(updates))
        np.testing.assert_array_equal(seen, [-1.0, 0.0, -1.5, 0.0, np.nan])
        assert int(state.total_notfinite) == 3


# Averages


def test_ema_and_params_ema():
    xs = [1.0, 4.0, -2.0]
    average = optim.ema(0.8)
    state, plain = average.init(0.0), 0.0
    for t, x in enumerate(xs, 1):
        updates, state = average.update(x, state)
        plain = 0.8 * plain + 0.2 * x
        np.testing.assert_allclose(updates, plain / (1 - 0.8**t))
    optimizer = optim.chain(optim.sgd(1.0), optim.params_ema(0.8))
    p, state, plain = 1.0, optimizer.init(1.0), 0.0
    with pytest.raises(ValueError, match="no step yet"):
        optim.average_params(state)
    for t, x in enumerate(xs, 1):
        updates, state = optimizer.update(x, state, p)
        p = optim.apply_updates(p, updates)
        plain = 0.8 * plain + 0.2 * p
        np.testing.assert_allclose(optim.average_params(state), plain / (1 - 0.8**t))
    with pytest.raises(ValueError, match="params_ema in its chain"):
        optim.average_params(optim.adam(0.1).init(p))


@pytest.mark.parametrize("reset", [False, True])
def test_lookahead(reset):
    optimizer = optim.lookahead(optim.sgd(0.1, momentum=0.9), 3, 0.5, reset_state=reset)
    for update in (optimizer.update, ft.jit(optimizer.update)):
        params = optim.LookaheadParams.init_synced(5.0)
        state = optimizer.init(params)
        fast = slow = 5.0
        velocity = 0.0
        for t in range(1, 8):
            updates, state = update(2 * params.fast, state, params)
            params = optim.apply_updates(params, updates)
            velocity = 0.9 * velocity + 2 * fast
            fast -= 0.1 * velocity
            if t % 3 == 0:
                slow = fast = slow + 0.5 * (fast - slow)
                velocity *= not reset
            np.testing.assert_allclose([params.fast, params.slow], [fast, slow], rtol=1e-12)


# Hyperparameters and lookup


def test_injected_hyperparameters_change_without_a_new_program():
    optimizer = optim.inject_hyperparams(optim.adamw)(learning_rate=0.1, mask=lambda p: {"w": True, "b": False})
    state = optimizer.init(PARAMS)
    assert {"learning_rate", "b1", "b2", "eps", "eps_root", "weight_decay"} == set(state.hyperparams)
    recordings = []

    @ft.jit
    def step(params, state):
        recordings.append(1)
        return stepped(optimizer, params, state)

    first = step(PARAMS, state)
    state.hyperparams["learning_rate"] = np.array(0.2)
    second = step(PARAMS, state)
    assert len(recordings) == 1
    moves = [first[0]["b"][1] - PARAMS["b"][1], second[0]["b"][1] - PARAMS["b"][1]]
    np.testing.assert_allclose(moves[1], 2 * moves[0])
    fixed = optim.adamw(0.2, mask={"w": True, "b": False})
    assert_same(second[0], stepped(fixed, PARAMS, fixed.init(PARAMS))[0])


def test_injected_schedules():
    optimizer = optim.inject_hyperparams(optim.sgd)(learning_rate=lambda count: 1.0 / (1 + count), momentum=None)
    state = optimizer.init(0.0)
    assert set(state.hyperparams) == {"learning_rate"}
    for expected in (-1.0, -0.5):
        updates, state = optimizer.update(1.0, state)
        assert updates == expected
    with pytest.raises(ValueError, match="'speed'"):
        optim.inject_hyperparams(optim.sgd, static_args="speed")


def test_lookup():
    state = optim.chain(optim.adam(0.1), optim.trace(0.9)).init([1.0])
    assert optim.tree_get(state, "nothing", "default") == "default"
    assert optim.tree_set(state, count=5)[0][0].count == 5
    with pytest.raises(KeyError, match="no 'speed'"):
        optim.tree_set(state, speed=5)
    with pytest.raises(KeyError, match="several times"):
        optim.tree_get((state, state), "count")


# Errors


W = {"w": np.ones((3, 2))}


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: optim.adam("0.1"), TypeError, "a learning rate must be a number or a function of the step, got '0.1'"),
        (lambda: optim.adam(0.1).init({"w": "x"}), TypeError, r"params\['w'\] must be an array or a number, got 'x'"),
        (
            lambda: optim.adam(0.1).update({"w": np.ones((3, 1))}, optim.adam(0.1).init(W)),
            ValueError,
            r"scale_by_adam: updates\['w'\] is float64\[3,1\], but the state at \['w'\] is float64\[3,2\]",
        ),
        (
            lambda: optim.adam(0.1).update({"v": np.ones((3, 2))}, optim.adam(0.1).init(W)),
            ValueError,
            r"do not have the structure of the state: at the root, the state has a dict with keys \['w'\]",
        ),
        (
            lambda: optim.adamw(0.1).update(W, optim.adamw(0.1).init(W)),
            ValueError,
            "add_decayed_weights needs the param",
        ),
        (lambda: optim.adam(0.1).update(W, ()), ValueError, "a chain of 2 transformations"),
        (
            lambda: optim.scale_by_adam().update(W, optim.scale_by_rms().init(W)),
            TypeError,
            "scale_by_adam: its state is a ScaleByAdamState, got ScaleByRmsState. Make it with init",
        ),
        (lambda: optim.chain(optim.adam), TypeError, r"a gradient transformation is a pair of functions"),
        (
            lambda: optim.apply_updates(W, {"w": np.ones(2)}),
            ValueError,
            r"apply_updates: updates\['w'\] is float64\[2\]",
        ),
        (lambda: apply(optim.sgd(np.ones(2)), W), ValueError, "must be a scalar"),
        (lambda: apply(optim.sgd(0.1, momentum="a"), W), TypeError, "must be a real number, got 'a'"),
        (
            lambda: apply(optim.masked(optim.clip(1.0), {"w": 1}), W),
            TypeError,
            r"mask\['w'\] must be True or False, got 1",
        ),
        (lambda: apply(optim.masked(optim.clip(1.0), {"v": True}), W), ValueError, "not a prefix"),
        (lambda: apply(optim.partition({}, {"w": "a"}), W), ValueError, r"param_labels\['w'\] is 'a'"),
        (lambda: optim.lookahead(optim.sgd(0.1), 2, 0.5).init(W), TypeError, "must be LookaheadParams, got dict"),
        (lambda: optim.lookahead(optim.sgd(0.1), 0, 0.5), ValueError, "positive int"),
        (lambda: optim.apply_every(0), ValueError, "positive int, got 0"),
        (lambda: optim.MultiSteps(optim.sgd(0.1), 0), ValueError, "positive int or a function, got 0"),
        (lambda: optim.scale_by_schedule(0.1), TypeError, "needs a function of the step, got 0.1"),
        (lambda: optim.named_chain(("a", optim.clip(1)), ("a", optim.clip(1))), ValueError, "each name once"),
        (
            lambda: apply(optim.adaptive_grad_clip(0.1), np.ones((1,) * 5), np.ones((1,) * 5)),
            ValueError,
            "up to 4 axes",
        ),
    ],
)
def test_messages(call, kind, message):
    with pytest.raises(kind, match=message) as caught:
        call()
    frames = traceback.extract_tb(caught.value.__traceback__)
    assert kind is not ValueError or len(frames) <= 6


def test_incremental_update():
    new = optim.incremental_update({"a": np.float32([2.0])}, {"a": np.float32([1.0])}, 0.25)
    assert_same(new, {"a": np.float32([1.25])})


def test_stateless():
    double = optim.stateless(lambda updates, params: ft.tree.map(lambda u: 2 * u, updates))
    assert double.update([3.0], double.init(None)) == ([6.0], optim.EmptyState())


@pytest.mark.parametrize(
    "make",
    [
        lambda: optim.adam(0.1, b1=1.5),
        lambda: optim.adam(0.1, b2=1.0),
        lambda: optim.lion(0.1, b1=-0.1),
        lambda: optim.rmsprop(0.1, decay=1.0),
        lambda: optim.adadelta(rho=np.nan),
        lambda: optim.sgd(0.1, momentum=-0.9),
        lambda: optim.ema(1.5),
        lambda: optim.params_ema(-1.0),
        lambda: optim.clip(-0.5),
        lambda: optim.clip_by_global_norm(-1.0),
        lambda: optim.clip_by_block_rms(np.nan),
        lambda: optim.adaptive_grad_clip(-0.1),
    ],
)
def test_hyperparameters_that_make_no_sense(make):
    with pytest.raises(ValueError, match="must not be negative"):
        make()


def test_sums_of_multi_steps_in_another_dtype():
    optimizer = optim.MultiSteps(optim.sgd(1.0), 2, accumulator_dtype=np.float64)
    params = {"w": np.zeros(2, np.float16)}
    state = optimizer.init(params)
    for grad, expected in ((1.0, 0.0), (1.0 + 2**-9, -(1.0 + 2**-10))):
        updates, state = optimizer.update({"w": np.full(2, grad, np.float16)}, state, params)
        assert updates["w"].dtype == np.float16
        np.testing.assert_array_equal(updates["w"], np.full(2, expected, np.float16))
        assert state.acc_grads["w"].dtype == np.float64
    with pytest.raises(ValueError, match="must be a positive int or a function"):
        optim.MultiSteps(optim.sgd(1.0), 2.5)


@pytest.mark.parametrize("make", [optim.sgd, optim.adam, lambda rate: optim.sgd(rate, momentum=0.9), optim.lion])
def test_complex_gradients_of_real_parameters(make):
    optimizer, params = make(0.1), {"w": np.ones(2)}

    def step():
        updates, _ = optimizer.update({"w": np.ones(2) * 1j}, optimizer.init(params), params)
        return optim.apply_updates(params, updates)

    with pytest.raises(TypeError, match=r"complex updates, complex128\[2\], of what is real, float64\[2\]"):
        step()
