"""The same program with its inputs and outputs in other places."""

import numpy as np

import functrans as ft
from functrans import lax
from functrans.backends.running import run
from functrans.control.rearranging import rearranged, reordered
from functrans.core.jaxpr import Literal


def program():
    return ft.make_jaxpr(lambda x, y, z: (lax.sub(x, y), lax.sin(z)))(1.0, 2.0, 3.0).jaxpr


def test_inputs_in_another_order_and_other_outputs():
    jaxpr = program()
    assert run(reordered(jaxpr, (1, 0, 2)), [1.0, 2.0, 3.0]) == [1.0, np.sin(3.0)]
    # What no output needs may be missing, and is not computed.
    smaller = reordered(jaxpr, (1, 0), jaxpr.outs[:1])
    assert len(smaller) == 1
    assert run(smaller, [1.0, 5.0]) == [4.0]
    assert reordered(jaxpr, (1, 0), jaxpr.outs[:1]) is smaller


def test_inputs_that_are_literals_or_the_same():
    jaxpr = program()
    aval = jaxpr.in_avals[0]
    new = rearranged(jaxpr, [aval], (-1, -1, Literal(0.0, aval)), (1, -1, 0))
    assert run(new, [np.float64(7.0)]) == [0.0, 7.0, 0.0]
