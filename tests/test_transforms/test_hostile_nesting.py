"""Control flow, derivative rules and transformations in each other, in ways that a single one of them is not tested."""

import numpy as np
import pytest

import functrans as ft
from functrans import lax
from functrans.errors import MissingRuleError

ROWS = np.linspace(-0.7, 1.1, 5)


def numerical_derivative(f, x, step=1e-5):
    return (f(x + step) - f(x - step)) / (2 * step)


def scanned(y, a):
    return lax.scan(lambda c, row: (np.sin(c * a) + row, c), y, ROWS)[0]


def looped(y, a):
    return lax.while_loop(lambda c: c[1] < 3, lambda c: (np.sin(c[0] * a) + 0.1, c[1] + 1), (y, 0))[0]


def chosen(y, a):
    return lax.cond(a > 0, lambda: np.sin(y * a), lambda: y)


FUNCTIONS = {
    "scan": scanned,
    "while": looped,
    "cond": chosen,
    "checkpoint": ft.checkpoint(lambda y, a: np.sin(y * a) + chosen(y, a)),
    "checkpointed scan": ft.checkpoint(scanned),
    "linearize": lambda y, a: ft.linearize(lambda q: chosen(q, a), y)[1](a),
    "vjp": lambda y, a: ft.vjp(lambda q: scanned(q, a), y)[1](a)[0],
}
DERIVATIVES = {
    "jvp": lambda f: lambda x: ft.jvp(f, (x,), (1.0,))[1],
    "grad": ft.grad,
    "jit of grad": lambda f: ft.jit(ft.grad(f)),
    "vmap of grad": lambda f: lambda x: ft.vmap(ft.grad(f))(np.array([0.2, x]))[1],
    "grad of vmap": lambda f: ft.grad(lambda x: ft.vmap(f)(np.stack([x * 0 + 0.2, x]))[1]),
}


def by_jvp(f):
    rules = ft.custom_jvp(f)
    rules.defjvp(lambda primals, tangents: (rules(*primals), ft.jvp(f, primals, tangents)[1]))
    return rules


def by_recomputing(f):
    rules = ft.custom_vjp(f)
    rules.defvjp(lambda x: (f(x), x), lambda x, ct: ft.vjp(f, x)[1](ct))
    return rules


def by_pull_back(f):
    rules = ft.custom_vjp(f)
    rules.defvjp(lambda x: ft.vjp(f, x), lambda pull_back, ct: pull_back(ct))
    return rules


def primitive_by_jvp(f):
    made = ft.extend.primitive(lambda x: f(x), name="nested_by_jvp")
    made.def_jvp(lambda t, out, x: ft.jvp(f, (x,), (t,))[1])
    return made


def primitive_by_general_jvp(f):
    made = ft.extend.primitive(lambda x: f(x), name="nested_by_general_jvp")
    made.def_general_jvp(lambda primals, tangents: ft.jvp(f, primals, tangents))
    return made


def primitive_by_vjp(f):
    made = ft.extend.primitive(lambda x: f(x), name="nested_by_vjp")
    made.def_vjp(lambda ct, out, x: ft.vjp(f, x)[1](ct)[0])
    return made


RULES = [by_jvp, by_recomputing, by_pull_back, primitive_by_jvp, primitive_by_general_jvp, primitive_by_vjp]


@pytest.mark.filterwarnings("ignore:.*has no batching rule")
@pytest.mark.parametrize("kind", FUNCTIONS)
@pytest.mark.parametrize("with_rules", RULES)
def test_rules_that_differentiate_control_flow(with_rules, kind):
    f = with_rules(lambda x: FUNCTIONS[kind](x, x))

    def nested(x):
        return lax.scan(lambda c, _: (f(c) + x, None), np.sin(x), None, length=2)[0]

    expected = numerical_derivative(nested, 0.5)
    for name, derivative in DERIVATIVES.items():
        np.testing.assert_allclose(derivative(nested)(0.5), expected, rtol=1e-5, err_msg=name)
    second = numerical_derivative(ft.grad(nested), 0.5)
    np.testing.assert_allclose(ft.grad(ft.grad(nested))(0.5), second, rtol=1e-5)
    np.testing.assert_allclose(ft.jacfwd(ft.grad(nested))(0.5), second, rtol=1e-5)


def test_direction_of_a_linearized_rule_is_differentiated():
    f = by_pull_back(lambda x: chosen(x, 2.0))

    def along_itself(x):
        return ft.linearize(f, x)[1](x)

    np.testing.assert_allclose(ft.grad(along_itself)(0.3), 2 * np.cos(0.6) - 4 * 0.3 * np.sin(0.6))


def test_direction_of_a_backward_rule_that_is_not_linear():
    f = ft.custom_vjp(lambda x: x)
    f.defvjp(lambda x: (x, None), lambda _, ct: (np.clip(ct, -0.1, 0.1),))
    assert ft.grad(lambda direction: ft.linearize(f, 0.4)[1](direction))(1.0) == 0.1


@pytest.mark.parametrize("wrap", [lambda f: f, ft.jit, ft.checkpoint])
def test_rule_that_is_not_linear_is_found_inside_of_calls(wrap):
    f = ft.custom_jvp(np.sin)
    f.defjvp(lambda primals, tangents: (f(*primals), wrap(lambda t: t * t)(tangents[0])))
    with pytest.raises(MissingRuleError, match="not linear in its tangents"):
        ft.grad(f)(0.5)


def test_primitive_that_uses_functrans_inside():
    made = ft.extend.primitive(lambda x: np.asarray(scanned(x, 0.5)), name="uses_functrans")
    assert lax.scan(lambda c, _: (made(c), None), 0.3, None, length=1)[0] == scanned(0.3, 0.5)
    assert ft.jit(made)(0.3) == scanned(0.3, 0.5)


def test_residuals_of_branches_that_share_a_slot_and_differ_in_their_tangents():
    """One branch keeps a constant where the other keeps a value that has a tangent."""

    def f(x, s, m):
        index = np.array([2, 0, 0])
        y = lax.cond(s > 0.2, lambda: np.where(x > 0.1, np.sqrt(x * x + 0.1), x * s), lambda: x[index] * np.cos(m))
        return np.sum(np.sin(y))

    x, s = np.array([0.31, -0.52, 0.83]), np.array([0.45, 0.27, -0.18])
    xs = np.stack([x, 0.6 * x, -0.4 * x])
    ms = xs[::-1].copy()
    for derivative in (ft.hessian(f), ft.jacrev(ft.jacfwd(f)), ft.jacrev(ft.grad(f))):
        expected = np.stack([derivative(*each) for each in zip(xs, s, ms, strict=True)])
        np.testing.assert_allclose(ft.vmap(derivative)(xs, s, ms), expected, atol=1e-12)


def test_while_loop_that_members_leave_at_different_times_without_jit():
    with ft.disable_jit():
        counted = ft.vmap(lambda n: lax.while_loop(lambda i: i < n, lambda i: i + 1, 0))(np.arange(4))
    np.testing.assert_array_equal(counted, np.arange(4))
