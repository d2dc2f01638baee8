"""Cases of `functrans.ops.conversion`."""

import numpy as np

from functrans.ops import conversion as ops
from tests.cases.case import COMPLEXES, REALS, Case, Operand


def _to(name: str, dtypes: tuple[str, ...], differentiable: bool = True) -> Case:
    dtype = np.dtype(name)

    def reference(x: np.ndarray) -> np.ndarray:
        return (x.real if x.dtype.kind == "c" and dtype.kind not in "cb" else x).astype(dtype)

    return Case(
        ops.convert_element_type_p,
        lambda x: ops.convert_element_type(x, dtype),
        reference,
        (Operand((2, 3)),),
        dtypes,
        differentiable=differentiable,
        name=f"to {name} from {dtypes[-1]}",
        tolerance=0,
    )


_NARROW = ("bool", "int8", "uint8", "float16", "float32")

CASES = [
    _to("float64", _NARROW),
    _to("float64", COMPLEXES),
    _to("complex128", (*_NARROW, "complex64", "float64")),
    _to("float32", (*_NARROW[:-1], "float64", "complex128"), differentiable=False),  # too coarse for differences
    _to("int32", ("bool", "float32", "float64", "complex128")),
    _to("bool", (*REALS, "complex128")),
    _to("uint8", ("bool", "int64")),
]
