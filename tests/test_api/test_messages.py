"""What bad input gets, word for word; after each error the next correct call works."""

import math
import re
from pathlib import Path

import numpy as np
import pytest

import functrans as ft
from functrans import errors

HERE = str(Path(__file__))


def line_of(marker):
    """`file.py:12` for the line of this file that ends in a marker."""
    lines = Path(__file__).read_text().splitlines()
    (number,) = [i for i, line in enumerate(lines, 1) if line.endswith(f"# {marker}")]
    return f"{HERE}:{number}"


def message(kind, call):
    with pytest.raises(kind) as caught:
        call()
    assert ft.grad(lambda x: x * x)(3.0) == 6.0, "an error must not lose state"
    assert type(caught.value) is kind
    return str(caught.value)


def loss(params, x):
    return np.sum(params["W"][0] * x)


PARAMS = {"W": [np.ones(3)]}


def test_output_that_is_not_a_scalar():
    assert message(TypeError, lambda: ft.grad(np.sin)(np.ones((3, 2)))) == (
        "grad needs a function that returns a scalar, but sin returned an array float64[3,2]. Reduce it "
        "(np.sum, np.mean), or use functrans.jacrev for all derivatives of all outputs."
    )


def test_integer_parameter():
    assert message(TypeError, lambda: ft.grad(loss)({"W": [np.ones(3, int)]}, 1.0)) == (
        "grad cannot differentiate with respect to params['W'][0] of loss, which is int64[3]: only floats have a "
        "derivative. Convert it (x.astype(float)), choose other arguments (argnums=...), or pass allow_int=True."
    )


def test_integer_output():
    assert message(TypeError, lambda: ft.grad(lambda x: np.argmax(x))(np.ones(3))) == (
        "grad needs a real scalar, but <lambda> returned int64[]: return a float"
    )


def test_complex_output():
    assert message(TypeError, lambda: ft.grad(lambda x: np.sum(x * 1j))(np.ones(3))) == (
        "grad needs a real scalar, but <lambda> returned complex128[]: take the real part, or pass holomorphic=True"
    )


@pytest.mark.parametrize(
    ("out", "shown"),
    [("a", "'a' of type str"), (None, "None (is a return missing?)"), ({}, "{} of type dict")],
)
def test_grad_of_what_is_not_an_array(out, shown):
    assert message(TypeError, lambda: ft.grad(lambda x: out)(1.0)) == (
        f"grad needs a function that returns a scalar, but <lambda> returned {shown}"
    )


def test_jit_of_what_is_not_an_array():
    assert message(TypeError, lambda: ft.jit(lambda x: {"a": [x, "no"]})(1.0)) == (
        "output['a'][1] of <lambda> must be an array or a number, got 'no' of type str"
    )


def test_jvp_with_tangents_of_another_structure():
    assert message(TypeError, lambda: ft.jvp(loss, (PARAMS, 1.0), ({"V": [np.ones(3)]}, 1.0))) == (
        "primals and tangents must have the same structure: loss got primals PyTreeDef(({'W': [*]}, *)) and tangents "
        "PyTreeDef(({'V': [*]}, *))"
    )


def test_jvp_with_a_tangent_of_another_shape():
    assert message(TypeError, lambda: ft.jvp(loss, (PARAMS, 1.0), ({"W": [np.ones(2)]}, 1.0))) == (
        "the tangent of params['W'][0] must have the shape and dtype of the primal, float64[3], but is float64[2]"
    )


def test_jvp_with_a_tangent_of_another_dtype():
    assert message(TypeError, lambda: ft.jvp(loss, (PARAMS, 1.0), ({"W": [np.ones(3, "f4")]}, 1.0))) == (
        "the tangent of params['W'][0] must have the shape and dtype of the primal, float64[3], but is float32[3]"
    )


def test_jvp_without_a_tuple():
    assert message(TypeError, lambda: ft.jvp(np.sin, 1.0, 1.0)) == (
        "jvp needs a tuple or list of primals, one for each argument, got float"
    )


def test_vjp_with_a_cotangent_of_another_structure():
    _, pull = ft.vjp(lambda x: {"y": x}, 1.0)
    assert message(TypeError, lambda: pull([1.0])) == (
        "the cotangent must have the structure of the output of <lambda>, PyTreeDef({'y': *}), but has PyTreeDef([*])"
    )


def test_vjp_with_a_cotangent_of_another_shape():
    _, pull = ft.vjp(lambda x: {"y": [x, x]}, np.ones(2))
    assert message(TypeError, lambda: pull({"y": [np.ones(2), np.ones(3)]})) == (
        "the cotangent of output['y'][1] of <lambda> must have the shape and dtype of the output, float64[2], "
        "but is float64[3]"
    )


def test_argnums_out_of_range():
    assert message(ValueError, lambda: ft.grad(loss, argnums=2)(PARAMS, 1.0)) == (
        "argnums=2 is out of range for the 2 positional arguments of loss"
    )


def test_argnums_of_another_type():
    assert (
        message(TypeError, lambda: ft.grad(loss, argnums="x"))
        == "argnums must be an int or a sequence of ints, got 'x'"
    )


def test_tracer_that_escaped():
    kept = []

    def leaky(x):
        y = x * x
        kept.append(y + 1.0)  # LEAK
        return y

    ft.grad(leaky)(2.0)
    assert message(errors.UnexpectedTracerError, lambda: kept[0] * 2.0) == (
        f"a tracer float64[] was used after leaky had returned. It was made as a result at {line_of('LEAK')} "
        "(in leaky), and something outside of the function kept it. Return it from the function instead, or keep its "
        "value: functrans.concrete(x)."
    )


def test_argument_that_escaped():
    kept = []
    ft.grad(lambda x: kept.append(x) or x)(2.0)
    assert message(errors.UnexpectedTracerError, lambda: np.sin(kept[0])) == (
        "a tracer float64[] was used after <lambda> had returned. It was made as argument x of <lambda>, and "
        "something outside of the function kept it. Return it from the function instead, or keep its value: "
        "functrans.concrete(x)."
    )


def test_truth_of_an_unknown_tracer():
    def branch(params):
        if np.sum(params["W"][0]) > 0:  # BRANCH
            return 1.0
        return 2.0

    assert message(errors.TracerBoolConversionError, lambda: ft.jit(branch)(PARAMS)) == (
        f"the truth of a tracer bool[] was asked at {line_of('BRANCH')} (in branch), but it depends on argument "
        "params['W'][0] of branch, which has no value while the program is recorded. Choose with "
        "functrans.numpy.where(condition, x, y) or functrans.lax.cond, repeat with functrans.lax.while_loop. Of a "
        "jitted function, mark the argument static (static_argnums), or leave jit away: under grad alone the arguments "
        "are known."
    )


def test_size_from_an_unknown_tracer():
    def sized(n):
        return np.zeros(3) * range(n)[0]  # SIZE

    assert message(errors.TracerIntegerConversionError, lambda: ft.jit(sized)(3)) == (
        f"the value, as an index or a size, of a tracer int64[] was asked at {line_of('SIZE')} (in sized), but it "
        "depends on argument n of sized, which has no value while the program is recorded. Sizes and axes are part of "
        "the program; an element at a traced place is functrans.numpy.take(x, i). Of a jitted function, mark the "
        "argument static (static_argnums), or leave jit away: under grad alone the arguments are known."
    )


def test_item_of_an_unknown_tracer():
    text = message(errors.ConcretizationTypeError, lambda: ft.jit(lambda x: x.item())(1.0))
    assert text.startswith("the value of a tracer float64[] was asked at ")
    assert "but it depends on argument x of <lambda>, which has no value while the program is recorded." in text


DETACHED = (
    "{kind}() of a tracer {aval} at {line} (in {fun}) would lose the derivative with respect to argument x of {fun}. "
    "(math.sin(x) and b[0] = x call it too: write functrans.numpy.sin(x), functrans.numpy.at(b)[0].set(x).) If the "
    "number alone is wanted, say so: x.item(), functrans.concrete(x), or functrans.lax.stop_gradient(x) before."
)


def test_float_of_what_is_differentiated():
    def detached(x):
        return float(x * x)  # FLOAT

    expected = DETACHED.format(kind="float", aval="float64[]", line=line_of("FLOAT"), fun="detached")
    assert message(errors.DetachedTracerError, lambda: ft.grad(detached)(1.0)) == expected


def test_math_of_what_is_differentiated():
    def detached(x):
        return math.sin(x)  # MATH

    expected = DETACHED.format(kind="float", aval="float64[]", line=line_of("MATH"), fun="detached")
    assert message(errors.DetachedTracerError, lambda: ft.grad(detached)(1.0)) == expected


def test_assignment_into_an_array_of_what_is_differentiated():
    def detached(x):
        b = np.zeros(3)
        b[0] = np.sum(x)  # ASSIGN
        return b[0]

    expected = DETACHED.format(kind="float", aval="float64[]", line=line_of("ASSIGN"), fun="detached")
    assert message(errors.DetachedTracerError, lambda: ft.grad(detached)(np.ones(2))) == expected


def test_array_of_tracers():
    def detached(x):
        return np.sum(np.array([x, x]))  # ARRAY

    assert message(errors.TracerArrayConversionError, lambda: ft.grad(detached)(1.0)) == (
        f"a plain array was asked of a tracer float64[] at {line_of('ARRAY')} (in detached): it would lose the "
        "derivative. Stay in the program with functrans.numpy (stack([x, y]) in place of np.array([x, y]), take(a, x) "
        "in place of a[x]), or take the value alone: functrans.concrete(x)."
    )


def test_static_argument_that_is_not_hashable():
    assert message(ValueError, lambda: ft.jit(lambda x, n: x, static_argnums=1)(1.0, [1])) == (
        "static arguments must be hashable, so that a program can be kept for each value, but <lambda> got [1] of type "
        "list. Pass a tuple instead of a list, or do not declare it static."
    )


def test_object_array():
    assert message(TypeError, lambda: ft.grad(loss)({"W": [np.array([None])]}, 1.0)) == (
        "argument params['W'][0] of loss: unsupported dtype 'object': functrans computes with booleans, integers, "
        "floats and complex. An object array holds Python objects, which have no derivative: build a numeric array, "
        "or pass a list or tuple of arrays (a pytree)."
    )


def test_string_array():
    text = message(TypeError, lambda: ft.jit(loss)(PARAMS, np.array(["a"])))
    assert text.startswith("argument x of loss: unsupported dtype 'str32'")


def test_masked_array():
    assert message(TypeError, lambda: ft.grad(loss)(PARAMS, np.ma.masked_array([1.0], [True]))) == (
        "argument x of loss: MaskedArray is not supported: its arithmetic is not that of numpy.ndarray. Pass a plain "
        "array (np.asarray(x))."
    )


def test_primitive_without_a_derivative():
    bare = ft.extend.Primitive("bare_for_test")
    ft.extend.def_impl(bare, np.sin)
    ft.extend.def_abstract(bare, lambda x: x)
    assert message(errors.MissingRuleError, lambda: ft.grad(bare.bind)(1.0)) == (
        "primitive 'bare_for_test' has no derivative rule. Give it a JVP, functrans.extend.def_jvp(bare_for_test_p, "
        "lambda t, out, *primals: ...), or a VJP, functrans.extend.def_vjp(bare_for_test_p, lambda ct, out, *primals: "
        "...); one of the two is enough."
    )


def test_primitive_without_a_type():
    bare = ft.extend.Primitive("untyped_for_test")
    assert message(errors.MissingRuleError, lambda: bare.bind(1.0)) == (
        "primitive 'untyped_for_test' has no abstract rule (the shape and dtype of its results). Give it one: "
        "`functrans.extend.def_abstract(untyped_for_test_p, rule)`."
    )


def test_function_that_is_not_linear():
    assert message(errors.MissingRuleError, lambda: ft.linear_transpose(np.tanh, 1.0)(1.0)) == (
        "the function is not linear in what is transposed: primitive 'tanh' has no transpose rule (not linear). If it "
        "is linear, give it one: functrans.extend.def_transpose(tanh_p, lambda ct, *operands: ...)."
    )


def test_function_that_is_linear_in_each_operand_alone():
    assert message(errors.MissingRuleError, lambda: ft.linear_transpose(lambda x: x * x, 1.0)(1.0)) == (
        "the function is not linear in what is transposed: primitive 'mul' is linear in each of its operands [0, 1], "
        "not in all of them together"
    )


@pytest.mark.parametrize("n", [3, 20_000])
def test_argument_written_to_while_it_is_recorded(n):
    x = np.ones(n)

    def writes(y):
        z = y * y
        x[0] = 5.0  # WRITE
        return np.sum(z)

    assert message(errors.CapturedArrayMutatedError, lambda: ft.grad(writes)(x)) == (
        f"an array that writes has read was written to at {line_of('WRITE')} (in writes), while the function was "
        "being recorded. The program runs after the function has returned, and would read the new contents. Write to "
        "a copy (x.copy()), or make a new array: functrans.numpy.at(x)[index].set(value)."
    )
    assert x.flags.writeable


def test_frames_of_functrans_are_hidden():
    with pytest.raises(ValueError, match="mine") as caught:
        ft.grad(ft.jit(lambda x: [][0] if x is None else raise_mine()))(1.0)
    files = [str(entry.path) for entry in caught.traceback]
    package = re.escape(str(Path(ft.__file__).parent))
    inside = [file for file in files if re.match(package, file)]
    assert len(inside) <= 2, "one frame for each transformation"
    assert files[-1] == HERE


def raise_mine():
    raise ValueError("mine")
