"""examples/custom_gradient_digits.py: the gradient that the loss gives, what it sees, and dropout, against NumPy."""

import numpy as np

import functrans as ft
from tests.test_examples.example import example

digits = example("custom_gradient_digits")

RNG = np.random.default_rng(0)
LOGITS, Y = RNG.normal(size=(6, 10)) * 3, np.eye(10)[RNG.integers(10, size=6)]


def softmax(x):
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def test_the_loss_and_its_own_gradient():
    value, grad = ft.value_and_grad(digits.softmax_loss, argnums=1)(1, LOGITS, Y)
    np.testing.assert_allclose(value, -np.mean(Y * np.log(softmax(LOGITS))), rtol=1e-12)
    np.testing.assert_allclose(grad, softmax(LOGITS) - Y, rtol=1e-12)
    # Not the gradient of the mean: the rule is what counts.
    plain = ft.grad(lambda x: digits.cross_entropy(digits.nn.softmax(x), Y))(LOGITS)
    np.testing.assert_allclose(plain * Y.size, softmax(LOGITS) - Y, rtol=1e-8, atol=1e-12)
    np.testing.assert_array_equal(ft.grad(digits.softmax_loss, argnums=2)(1, LOGITS, Y), np.zeros_like(Y))


def test_logits_are_clipped():
    far = np.array([[100.0, -100.0]])
    np.testing.assert_allclose(digits.softmax_loss(1, far, np.eye(2)[[1]]), np.log1p(np.exp(40)) / 2, atol=9)
    np.testing.assert_allclose(digits.softmax_loss(1, far / 10, np.eye(2)[[1]]), np.log1p(np.exp(20)) / 2, rtol=1e-9)


def test_values_are_seen_every_500_steps():
    digits.seen.clear()
    for step in (0, 1, 499, 500):
        ft.grad(digits.softmax_loss, argnums=1)(step, LOGITS, Y)
    accuracy = np.mean(LOGITS.argmax(1) == Y.argmax(1))
    assert digits.seen == [(0, accuracy), (500, accuracy)]


def test_gradient_with_dropout_by_hand():
    params = digits.initial_params(ft.random.key(0), 7, 5, 10)
    x, key = RNG.normal(size=(6, 7)), ft.random.key(3)
    grads = ft.grad(digits.loss_fn)(params, 1, x, Y, key, 0.75)
    (w1, b1), (w2, b2) = params
    kept = ft.random.uniform(key, (6, 5)) < 0.75
    z = x @ w1 + b1
    h = np.where(kept, np.maximum(z, 0) / 0.75, 0)
    d = softmax(h @ w2 + b2) - Y
    dz = d @ w2.T * kept / 0.75 * (z > 0)
    for found, expected in zip(ft.tree.leaves(grads), (x.T @ dz, dz.sum(0), h.T @ d, d.sum(0)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


def test_dropout_is_for_training():
    params, x = digits.initial_params(ft.random.key(0), 7, 400, 10), RNG.normal(size=(50, 7))
    plain = digits.predict(params, x, training=False)
    np.testing.assert_array_equal(plain, digits.predict(params, x, training=False))
    noisy = digits.predict(params, x, training=True, key=ft.random.key(0))
    assert not np.allclose(plain, noisy)
    for training in (False, True):
        program = ft.make_jaxpr(lambda p, how=training: digits.predict(p, x, training=how, key=ft.random.key(0)))(
            params
        )
        assert ("select" in str(program)) == training


def test_training_by_hand():
    """Adam, on batches in the order of the key, without dropout."""
    x, y, key = RNG.normal(size=(6, 7)), Y, ft.random.key(5)
    params = digits.initial_params(ft.random.key(0), 7, 5, 10)
    found, losses = digits.train(params, x, y, steps=4, batch=3, rate=0.1, keep=1.0, key=key)
    order_key, _ = ft.random.split(key)
    batches = [batch for epoch in digits.data.epochs(order_key, (x, y), 3, num_epochs=2) for batch in epoch]
    p = [np.array(leaf) for leaf in ft.tree.leaves(params)]
    m, v, by_hand = [0.0] * 4, [0.0] * 4, []
    for t, (some_x, some_y) in enumerate(batches, 1):
        z = some_x @ p[0] + p[1]
        h = np.maximum(z, 0)
        s = softmax(h @ p[2] + p[3])
        by_hand.append(-np.mean(some_y * np.log(s)))
        d = s - some_y
        dz = d @ p[2].T * (z > 0)
        for i, g in enumerate((some_x.T @ dz, dz.sum(0), h.T @ d, d.sum(0))):
            m[i], v[i] = 0.9 * m[i] + 0.1 * g, 0.999 * v[i] + 0.001 * g**2
            p[i] = p[i] - 0.1 * m[i] / (1 - 0.9**t) / (np.sqrt(v[i] / (1 - 0.999**t)) + 1e-8)
    np.testing.assert_allclose(losses, by_hand, rtol=1e-9)
    for a, b in zip(ft.tree.leaves(found), p, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-10)


def test_short_run(tmp_path, capsys):
    picture = tmp_path / "loss.png"
    accuracy, losses, seen = digits.main(["--steps", "501", "--batch", "64", "--hidden", "64", "--out", str(picture)])
    assert accuracy > 0.93
    assert [step for step, _ in seen] == [0, 500]
    assert seen[0][1] < 0.4 < 0.85 < seen[1][1]
    assert losses[500] < 0.05 < 0.2 < losses[0] < 0.4
    assert "the article: 0.251" in capsys.readouterr().out
    assert picture.read_bytes().startswith(b"\x89PNG")
