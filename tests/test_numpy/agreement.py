"""What the tests of functrans.numpy share: arrays of any dtype and shape, and agreement with NumPy."""

import warnings
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import functrans as ft
import functrans.numpy as fnp

INTEGERS = ["int8", "int32", "int64", "uint8", "uint64"]
DTYPES = ["bool", *INTEGERS, "float16", "float32", "float64", "complex64", "complex128"]
FLOATS = ["float32", "float64"]
NUMBERS = [name for name in DTYPES if name != "bool"]

TOLERANCE = {"float16": 2e-2, "float32": 3e-5, "complex64": 3e-5, "float64": 1e-12, "complex128": 1e-12}


def elements(dtype: np.dtype[Any]) -> st.SearchStrategy[Any]:
    """Small numbers: what is tested is the function, not overflow."""
    if dtype.kind == "b":
        return st.booleans()
    if dtype.kind in "iu":
        return st.integers(0 if dtype.kind == "u" else -4, 5)
    halves = st.integers(-20, 20).map(lambda n: n / 8)
    if dtype.kind == "f":
        return halves
    return st.builds(complex, halves, halves)


def arrays(dtypes: list[str] = DTYPES, shape: Any = None, max_dims: int = 3) -> st.SearchStrategy[Any]:
    """Arrays with 0 to 3 axes, which may be empty."""
    shapes = npst.array_shapes(min_dims=0, max_dims=max_dims, min_side=0, max_side=3) if shape is None else shape
    return st.sampled_from(dtypes).flatmap(
        lambda name: npst.arrays(np.dtype(name), shapes, elements=elements(np.dtype(name)))
    )


def flat(result: Any) -> list[Any]:
    return [part for x in result for part in flat(x)] if isinstance(result, (tuple, list)) else [result]


def assert_agrees(function: Any, *args: Any) -> None:
    """`function(np, *args)`, jitted, has NumPy's value, dtype and shape, by way of numpy and of functrans.numpy.

    Where NumPy raises, so does the program.
    """
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the mean of an empty slice, and the like
        try:
            expected = flat(function(np, *args))
        except Exception as error:
            expected = error
        for module in (np, fnp):
            jitted = ft.jit(lambda *xs, module=module: function(module, *xs))
            if isinstance(expected, Exception):
                assert_raises(jitted, args, expected)
            else:
                assert_same(flat(jitted(*args)), expected)


def assert_raises(function: Any, args: Any, expected: Exception) -> None:
    try:
        result = function(*args)
    except Exception:
        return
    raise AssertionError(f"NumPy raised {expected!r}, the program gave {result!r}")


def assert_same(results: list[Any], expected: list[Any]) -> None:
    assert len(results) == len(expected)
    for result, wanted in zip(results, expected, strict=True):
        result, wanted = np.asarray(result), np.asarray(wanted)
        assert (result.dtype, result.shape) == (wanted.dtype, wanted.shape)
        tolerance = TOLERANCE.get(wanted.dtype.name, 0)
        np.testing.assert_allclose(result, wanted, rtol=tolerance, atol=tolerance)
