"""What equations cost, counted by hand."""

from math import log2

import numpy as np
import pytest

import functrans as ft
from functrans.analysis.cost import _RULES, _WEIGHTS, Cost, cost_of, costs_of_equations
from functrans.core.primitive import registered_primitives
from functrans.passes.pipeline import finalize

X = np.ones((6, 5))


def cost(f, *args):
    return cost_of(ft.make_jaxpr(f)(*args).jaxpr)


F8 = 8

CASES = {
    "add": (lambda x: x + x, (X,), 30, 2 * 30 * F8 + 30 * F8),
    "a literal is not read": (lambda x: x + 1.0, (X,), 30, 2 * 30 * F8),
    "exp": (np.exp, (X,), 300, 2 * 30 * F8),
    "division": (lambda x: 2.0 / x, (X,), 120, 2 * 30 * F8),
    "float32": (lambda x: x * x, (X.astype("f4"),), 30, 3 * 30 * 4),
    "comparison": (lambda x: x > 0, (X,), 30, 30 * F8 + 30),
    "complex product": (lambda x: x * x, (X.astype(complex),), 180, 3 * 30 * 16),
    "complex sum": (lambda x: x + x, (X.astype(complex),), 60, 3 * 30 * 16),
    "sum": (np.sum, (X,), 30, 31 * F8),
    "maximum of rows": (lambda x: np.max(x, axis=1), (X,), 30, 36 * F8),
    "argmax": (lambda x: np.argmax(x, axis=1), (X,), 30, 36 * F8),
    "cumsum": (lambda x: np.cumsum(x, axis=0), (X,), 30, 60 * F8),
    "views": (lambda x: x.T.reshape(30)[3:9], (X,), 0, 0),
    "matrix product": (lambda x, y: x @ y, (X, np.ones((5, 7))), 2 * 6 * 5 * 7, (30 + 35 + 42) * F8),
    "batched product": (lambda x: x @ x, (np.ones((3, 4, 4)),), 2 * 3 * 4 * 4 * 4, 3 * 48 * F8),
    "complex matrix product": (lambda x: x @ x, (np.ones((4, 4), complex),), 8 * 64, 3 * 16 * 16),
    "inner product": (np.dot, (np.ones(9), np.ones(9)), 18, 19 * F8),
    "sort": (np.sort, (np.ones(16),), 16 * 4, 32 * F8),
    "sort of rows": (lambda x: np.sort(x, axis=0), (X,), 30 * log2(6), 60 * F8),
    "concatenate": (lambda x: np.concatenate([x, x]), (X,), 0, 4 * 30 * F8),
    "broadcast": (lambda x: np.broadcast_to(x, (100, 5)) * 2.5, (np.ones(5),), 500, (5 + 500) * F8),
    "conversion": (lambda x: x.astype("f4"), (X,), 0, 30 * 12),
    "nothing": (lambda x: x, (X,), 0, 0),
    "empty": (lambda x: np.sort(np.exp(x)) @ x.T, (np.ones((0, 5)),), 0, 0),
}


@pytest.mark.parametrize(("f", "args", "flops", "n_bytes"), CASES.values(), ids=CASES.keys())
def test_one_operation(f, args, flops, n_bytes):
    found = cost(f, *args)
    assert flops is None or found.flops == flops
    assert n_bytes is None or found.bytes == n_bytes
    assert not found.unknown
    assert not found.per_iteration


def test_a_convolution():
    x, kernel = np.ones((2, 3, 10, 10)), np.ones((4, 3, 3, 3))
    found = cost(lambda x, k: ft.lax.conv(x, k, (1, 1), "VALID"), x, kernel)
    assert found.flops == 2 * (2 * 4 * 8 * 8) * (3 * 3 * 3)
    grouped = cost(
        lambda x, k: ft.lax.conv_general_dilated(x, k, (1, 1), "VALID", feature_group_count=3), x, np.ones((6, 1, 3, 3))
    )
    assert grouped.flops == 2 * (2 * 6 * 8 * 8) * 9


def test_cotangents_of_slices_cost_what_they_are_long():
    found = cost(ft.grad(lambda x: sum(np.sum(x[i : i + 2] ** 3) for i in range(0, 8, 2))), np.ones(1000))
    assert not found.unknown
    assert found.flops < 100


def test_what_is_not_selected_is_not_read():
    program = finalize(ft.make_jaxpr(lambda x, i: x[i])(np.ones(1000), np.arange(10)).jaxpr)
    costs = zip(program.eqns, costs_of_equations(program), strict=True)
    (found,) = [c for eqn, c in costs if eqn.primitive.name == "gather"]
    assert found == Cost(0, (10 + 10 + 10) * F8)


def test_a_broadcast_operand_is_read_once():
    found = cost(lambda x, y: x * y, np.ones((100, 5)), np.ones(5))
    assert found.bytes == (500 + 500 + 5) * F8


def test_a_scan_is_its_body_so_many_times():
    def f(x, n):
        return ft.lax.scan(lambda c, _: (np.sin(c) * c, None), x, None, length=n)[0]

    one, many = (cost(lambda x, n=n: f(x, n), X) for n in (1, 7))
    assert one.flops == 30 * 11
    assert many == one.times(7)


def test_a_loop_of_unknown_length_is_one_iteration():
    found = cost(lambda x, n: ft.lax.fori_loop(0, n, lambda i, x: np.sin(x), x), X, 5)
    assert found.per_iteration
    assert 300 <= found.flops <= 310


def test_a_branch_is_the_dearest():
    found = cost(lambda p, x: ft.lax.cond(p, lambda x: np.exp(x), lambda x: x + 1, x), True, X)
    assert found.flops == 300


def test_calls_are_their_bodies():
    inner = ft.jit(lambda x: np.exp(x))
    assert cost(lambda x: ft.checkpoint(inner)(x), X).flops == 300


def test_what_has_no_rule_is_named():
    found = cost(lambda x: ft.pure_callback(np.sort, x, x) + x, X)
    assert found.unknown == ("pure_callback",)
    assert found.flops == 30
    assert found.bytes >= 5 * 30 * F8


def test_a_primitive_of_a_users_is_named():
    @ft.extend.primitive
    def halved_for_cost(x):
        return x / 2

    assert cost(halved_for_cost, X) == Cost(0, 480, False, ("halved_for_cost",))


def test_gradients_cost_what_their_products_cost():
    W, x = np.ones((8, 8)), np.ones((4, 8))
    found = cost(ft.grad(lambda W: np.sum(np.tanh(x @ W))), W)
    products = 2 * (2 * 4 * 8 * 8)
    assert products <= found.flops <= products + 32 * 16


def test_rules_are_for_primitives_that_there_are():
    names = registered_primitives()
    missing = [name for name in (*_RULES, *_WEIGHTS) if name not in names]
    assert not missing


def test_elementwise_primitives_have_a_weight():
    without = {"random_gamma_grad"}  # a series whose length depends on the values
    own = [p for p in registered_primitives().values() if p.is_elementwise and p.decorated is None]
    assert {p.name for p in own if p.name not in _WEIGHTS and not p.is_view} <= without


def test_costs_stand_beside_the_equations():
    program = finalize(ft.make_jaxpr(lambda x: np.sum(np.exp(x).T))(X).jaxpr)
    costs = costs_of_equations(program)
    assert [(eqn.primitive.name, c.flops) for eqn, c in zip(program.eqns, costs, strict=True)] == [
        ("exp", 300),
        ("transpose", 0),
        ("reduce_sum", 30),
    ]
