"""named_scope and named_call, disable_jit, ensure_compile_time_eval, clear_caches."""

import numpy as np
import pytest

import functrans as ft
from functrans.core.jaxpr import cached_equations
from functrans.errors import ConcretizationTypeError, describe_line
from functrans.test_util import check_grads


class TestNamedScope:
    def test_equations_know_their_scopes(self):
        @ft.named_scope("block")
        def block(x):
            with ft.named_scope("inner"):
                y = np.sin(x)
            return y + 1

        program = ft.make_jaxpr(lambda x: block(x) * 2)(0.5)
        assert [eqn.scopes for eqn in program.eqns] == [("block", "inner"), ("block",), ()]

    def test_derivatives_keep_them(self):
        def f(x):
            with ft.named_scope("square for scopes"):
                return np.tanh(x) ** 2 * 43.5

        program = ft.make_jaxpr(ft.grad(f))(0.5)
        assert {eqn.scopes[0] for eqn in program.eqns} == {"square for scopes"}

    def test_operations_of_several_equations(self):
        with ft.named_scope("a"):
            program = ft.make_jaxpr(lambda x, y: x * 41.5 + y)(np.ones(3), np.ones((2, 3)))
        assert [eqn.scopes for eqn in program.eqns] == [("a",)] * len(program.eqns)
        again = ft.make_jaxpr(lambda x, y: (x * 1.75) + y)(np.ones(3), np.ones((2, 3)))
        assert [eqn.scopes for eqn in again.eqns] == [()] * len(again.eqns)

    def test_messages_show_them(self):
        program = ft.make_jaxpr(f_scoped)(1.0)
        assert describe_line(*program.eqns[0].source).endswith("(in f_scoped, scope encoder/head)")

    def test_they_end_with_an_error(self):
        with pytest.raises(ZeroDivisionError), ft.named_scope("a"):
            _ = 1 / 0
        assert ft.make_jaxpr(lambda x: np.cos(x) * 31)(1.0).eqns[0].scopes == ()

    def test_one_object_entered_again(self):
        scope = ft.named_scope("again")
        with scope, scope:
            assert ft.make_jaxpr(lambda x: np.cos(x) * 32)(1.0).eqns[0].scopes == ("again", "again")
        assert repr(scope) == "named_scope('again')"

    @pytest.mark.parametrize(("name", "error"), [(3, TypeError), (None, TypeError), ("", ValueError)])
    def test_wrong_names(self, name, error):
        with pytest.raises(error, match="named_scope needs a name, got"):
            ft.named_scope(name)


def f_scoped(x):
    with ft.named_scope("encoder"), ft.named_scope("head"):
        return np.exp(x) * 77


class TestNamedCall:
    def layer(self, x, scale=1.0):
        return {"y": np.tanh(x) * scale, "z": (x**2,)}

    def test_one_equation_with_the_name(self):
        layer = ft.named_call(self.layer, name="my layer")
        (eqn,) = ft.make_jaxpr(layer)(0.5).eqns
        assert (eqn.primitive.name, eqn.params["name"]) == ("jit", "my layer")
        assert ft.named_call(self.layer).name == "layer"

    def test_it_is_the_function(self):
        layer = ft.named_call(self.layer, name="l")
        x = np.array([0.2, 0.4])
        assert str(layer(x, scale=2.0)) == str(self.layer(x, scale=2.0))
        loss = lambda f: lambda x: np.sum(f(x)["y"] * f(x, scale=x)["z"][0])
        for transform in (ft.grad, ft.hessian, lambda f: ft.vmap(ft.grad(f)), lambda f: ft.jit(ft.grad(f))):
            given = x[:, None] if transform not in (ft.grad, ft.hessian) else x
            np.testing.assert_allclose(transform(loss(layer))(given), transform(loss(self.layer))(given))
        check_grads(loss(layer), (x,), order=2)

    def test_python_may_branch_inside_where_it_could_outside(self):
        absolute = ft.named_call(lambda x: x if x > 0 else -x)
        assert ft.grad(absolute)(-2.0) == -1.0
        assert ft.grad(lambda x: absolute(x - 5.0))(2.0) == -1.0
        with pytest.raises(ConcretizationTypeError, match="the truth of a tracer"):
            ft.jit(absolute)(1.0)

    def test_closures_over_tracers(self):
        assert ft.grad(lambda x: ft.named_call(lambda y: x * y)(x))(3.0) == 6.0
        assert ft.grad(lambda x: ft.named_call(lambda y: x * y)(2.0))(3.0) == 2.0

    def test_a_new_function_at_each_call_makes_no_new_program(self):
        f = lambda x: ft.named_call(lambda y: np.sin(y) * 2.5, name="n")(x)
        ft.grad(f)(1.0)
        before = cached_equations()
        for _ in range(3):
            ft.grad(f)(2.0)
        assert cached_equations() == before

    def test_wrong_uses(self):
        with pytest.raises(TypeError, match="named_call needs a function, got 3"):
            ft.named_call(3)
        with pytest.raises(TypeError, match="named_call needs a name, got 3"):
            ft.named_call(np.sin, name=3)
        with pytest.raises(TypeError, match=r"output\['s'\] of <lambda> must be an array or a number, got 'text'"):
            ft.grad(ft.named_call(lambda x: {"s": "text"}))(1.0)


class TestDisableJit:
    def test_plain_python(self):
        runs = []
        f = ft.jit(lambda x: runs.append(type(x)) or (x if x > 0 else -x))
        with ft.disable_jit():
            assert f(-2.0) == 2.0
            assert ft.jit(f)(-3.0) == 3.0
            assert ft.grad(f)(-3.0) == -1.0
            with ft.disable_jit(False), pytest.raises(ConcretizationTypeError):
                f(1.0)
            assert f(-2.0) == 2.0
        assert runs[0] is float
        with pytest.raises(ConcretizationTypeError):
            f(1.0)

    def test_the_setting_for_all_threads(self, monkeypatch):
        f = ft.jit(lambda x: x if x > 0 else -x)
        ft.config.disable_jit = True
        try:
            assert f(-2.0) == 2.0
            with ft.disable_jit(False):
                assert not ft.config.disable_jit
        finally:
            ft.config.disable_jit = False
        assert not ft.config.disable_jit

    def test_as_a_decorator_and_after_an_error(self):
        f = ft.jit(lambda x: 1 / 0 if x > 0 else x)
        with pytest.raises(ZeroDivisionError):
            ft.disable_jit()(f)(1.0)
        assert not ft.config.disable_jit


class TestCompileTimeEval:
    def test_arrays_are_computed(self):
        seen = []

        @ft.jit
        def f(x):
            with ft.ensure_compile_time_eval():
                table = ft.numpy.cumsum(np.arange(4.0))
                seen.append(type(table))
                if table[-1] > 5:
                    table = table * 2
            return table * x

        np.testing.assert_array_equal(f(2.0), [0.0, 4.0, 12.0, 24.0])
        assert seen == [np.ndarray]

    def test_what_hangs_on_an_argument_is_recorded(self):
        def f(x):
            with ft.ensure_compile_time_eval():
                return x * ft.numpy.sum(np.ones(3))

        assert ft.jit(f)(2.0) == 6.0
        assert len(ft.make_jaxpr(f)(2.0).eqns) == 1
        assert ft.jit(ft.grad(f))(2.0) == 3.0

    def test_a_value_of_an_outer_tracer_is_not_kept(self):
        held = {}

        def f(x):
            held["x"] = x
            return shared(x)

        @ft.jit
        def shared(y):
            with ft.ensure_compile_time_eval():
                return y * held["x"].item()

        assert [float(ft.grad(f)(x)) for x in (2.0, 3.0)] == [2.0, 3.0]

    def test_jit_within(self):
        @ft.jit
        def f(x):
            with ft.ensure_compile_time_eval():
                n = ft.jit(lambda a: np.sum(a) * 2)(np.ones(3))
                assert isinstance(n, np.float64)
            return x * n

        assert f(1.0) == 6.0


def test_clear_caches():
    runs = []
    f = ft.jit(lambda x: runs.append(1) or x * 2)
    f(1.0), f(2.0)
    ft.clear_caches()
    assert cached_equations() == 0
    assert f(3.0) == 6.0
    assert len(runs) == 2
