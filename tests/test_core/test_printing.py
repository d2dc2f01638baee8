"""Programs as text."""

import numpy as np

import functrans as ft
from functrans import lax


def test_a_program() -> None:
    text = str(
        ft.make_jaxpr(lambda x, y: lax.reduce_sum(lax.mul(lax.sin(x), y), (1,)))(np.ones((2, 3)), np.ones((2, 3)))
    )
    assert text == (
        "{ lambda ; a:f64[2,3] b:f64[2,3]. let\n"
        "    c:f64[2,3] = sin a\n"
        "    d:f64[2,3] = mul c b\n"
        "    e:f64[2] = reduce_sum[axes=(1,)] d\n"
        "  in (e,) }"
    )


def test_constants_come_first() -> None:
    closed = ft.make_jaxpr(lambda x: lax.mul(x, np.ones(3, "float32")))(np.ones(3, "float32"))
    assert str(closed) == "{ lambda a:f32[3] ; b:f32[3]. let\n    c:f32[3] = mul b a\n  in (c,) }"


def test_dtypes_and_literals() -> None:
    closed = ft.make_jaxpr(lambda b, i, u, c: (b, i, u, c, 2.5, 3))(True, np.int8(1), np.uint16(2), np.complex64(1))
    assert str(closed) == ("{ lambda ; a:bool[] b:i8[] c:u16[] d:c64[]. let  in (a, b, c, d, 2.5:f64[], 3:i64[]) }")


def test_no_equations() -> None:
    assert str(ft.make_jaxpr(lambda x: x)(1.0)) == "{ lambda ; a:f64[]. let  in (a,) }"
    assert str(ft.make_jaxpr(lambda: ())()) == "{ lambda ; . let  in () }"


def test_programs_inside_of_programs() -> None:
    inner = ft.jit(lambda x: lax.sin(x))
    text = str(ft.make_jaxpr(lambda x: lax.cos(inner(x)))(1.0))
    assert text == (
        "{ lambda ; a:f64[]. let\n"
        "    b:f64[] = jit[\n"
        "      jaxpr={ lambda ; a:f64[]. let\n"
        "          b:f64[] = sin a\n"
        "        in (b,) }\n"
        "      name=<lambda>\n"
        "    ] a\n"
        "    c:f64[] = cos b\n"
        "  in (c,) }"
    )


def test_many_names() -> None:
    def f(x: float) -> float:
        for _ in range(30):
            x = lax.sin(x)
        return x

    text = str(ft.make_jaxpr(f)(1.0))
    assert "    z:f64[] = sin y\n    aa:f64[] = sin z\n    ab:f64[] = sin aa\n" in text
    assert len(text.split("\n")) == 32
