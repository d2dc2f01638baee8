"""NumPy's functions, for plain arrays and for tracers: `functrans.numpy` is to NumPy what `jax.numpy` is to XLA.

Outside of any recording each function is NumPy's own. Inside it records one equation. Plain `numpy` functions do the
same when they meet a tracer; this package is for what NumPy does not hand over (lists of tracers, the creation of
arrays in a program), and for who likes to say `import functrans.numpy as np`.
"""

import sys

from numpy import (
    e,
    euler_gamma,
    inf,
    nan,
    newaxis,
    pi,
    bool,
    bool_,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
    float16,
    float32,
    float64,
    complex64,
    complex128,
    intp,
    uint,
    int_,
    uintp,
    single,
    double,
    csingle,
    cdouble,
    longlong,
    number,
    integer,
    signedinteger,
    unsignedinteger,
    inexact,
    floating,
    complexfloating,
    generic,
    dtype,
    ndarray,
    finfo,
    iinfo,
    can_cast,
    promote_types,
    issubdtype,
    isdtype,
    isscalar,
    set_printoptions,
    printoptions,
    errstate,
    index_exp,
    s_,
    ix_,
    unravel_index,
    ravel_multi_index,
    tril_indices,
    triu_indices,
    diag_indices,
    save,
    load,
    frombuffer,
    fromiter,
    fromfunction,
    hamming,
    hanning,
    bartlett,
    blackman,
    kaiser,
    iterable,
    broadcast,
)

from functrans.numpy import norms  # noqa: F401  (numpy.linalg.norm)
from functrans.numpy.choosing import (
    allclose, array_equal, array_equiv, choose, clip, fix, isclose, isneginf, isposinf, nan_to_num,
    piecewise, round, select, sinc, where,
)  # fmt: skip
from functrans.numpy.creation import (
    angle, arange, array, asanyarray, asarray, ascontiguousarray, astype, copy, empty, empty_like, eye,
    full, full_like, geomspace, identity, imag, indices, iscomplex, iscomplexobj, isreal, isrealobj,
    linspace, logspace, meshgrid, ones, ones_like, real, tri, vander, zeros, zeros_like,
)  # fmt: skip
from functrans.numpy.einsum import einsum, einsum_path
from functrans.numpy.joining import (
    append, array_split, block, column_stack, concat, concatenate, delete, dsplit, dstack, hsplit, hstack,
    insert, pad, repeat, split, stack, tile, unstack, vsplit, vstack,
)  # fmt: skip
from functrans.numpy.linear import cross, dot, inner, kron, outer, tensordot, trace, vdot
from functrans.numpy.numerics import (
    convolve, correlate, diff, ediff1d, gradient, interp, poly, polyadd, polyder, polyint, polymul, polysub,
    polyval, trapezoid, unwrap,
)  # fmt: skip
from functrans.numpy.reductions import (
    all, amax, amin, any, argmax, argmin, count_nonzero, cumprod, cumsum, cumulative_prod, cumulative_sum,
    max, min, nancumprod, nancumsum, nanmax, nanmin, nanprod, nansum, prod, ptp, sum,
)  # fmt: skip
from functrans.numpy.shapes import (
    atleast_1d, atleast_2d, atleast_3d, broadcast_arrays, broadcast_shapes, broadcast_to, diag, diagflat,
    diagonal, expand_dims, flip, fliplr, flipud, matrix_transpose, moveaxis, ndim, permute_dims, ravel,
    reshape, resize, result_type, roll, rollaxis, rot90, shape, size, squeeze, swapaxes, transpose, tril,
    triu,
)  # fmt: skip
from functrans.numpy.sorting import (
    argpartition, argsort, bincount, digitize, lexsort, partition, searchsorted, sort, sort_complex,
)  # fmt: skip
from functrans.numpy.statistics import (
    average, corrcoef, cov, mean, median, nanmean, nanmedian, nanpercentile, nanquantile, nanstd, nanvar,
    percentile, quantile, std, var,
)  # fmt: skip
from functrans.numpy.taking import (
    argwhere, compress, extract, flatnonzero, nonzero, put_along_axis, take, take_along_axis,
)  # fmt: skip
from functrans.numpy.universal import (
    abs, absolute, acos, acosh, add, arccos, arccosh, arcsin, arcsinh, arctan, arctan2, arctanh, asin,
    asinh, atan, atan2, atanh, bitwise_and, bitwise_count, bitwise_invert, bitwise_left_shift, bitwise_not,
    bitwise_or, bitwise_right_shift, bitwise_xor, cbrt, ceil, conj, conjugate, copysign, cos, cosh, deg2rad,
    degrees, divide, divmod, equal, exp, exp2, expm1, fabs, float_power, floor, floor_divide, fmax, fmin,
    fmod, frexp, greater, greater_equal, heaviside, hypot, invert, isfinite, isinf, isnan, ldexp,
    left_shift, less, less_equal, log, log10, log1p, log2, logaddexp, logaddexp2, logical_and, logical_not,
    logical_or, logical_xor, matmul, matvec, maximum, minimum, mod, modf, multiply, negative, nextafter,
    not_equal, positive, pow, power, rad2deg, radians, reciprocal, remainder, right_shift, rint, sign,
    signbit, sin, sinh, spacing, sqrt, square, subtract, tan, tanh, true_divide, trunc, vecdot, vecmat,
)  # fmt: skip
from functrans.numpy.methods import install_methods
from functrans.numpy.operators import install_operators
from functrans.numpy.protocols import install_protocols

install_operators()
install_protocols(sys.modules[__name__])
install_methods()

__all__ = [
    "abs", "absolute", "acos", "acosh", "add", "all", "allclose", "amax", "amin", "angle", "any", "append",
    "arange", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2", "arctanh", "argmax", "argmin",
    "argpartition", "argsort", "argwhere", "array", "array_equal", "array_equiv", "array_split",
    "asanyarray", "asarray", "ascontiguousarray", "asin", "asinh", "astype", "atan", "atan2", "atanh",
    "atleast_1d", "atleast_2d", "atleast_3d", "average", "bartlett", "bincount", "bitwise_and",
    "bitwise_count", "bitwise_invert", "bitwise_left_shift", "bitwise_not", "bitwise_or",
    "bitwise_right_shift", "bitwise_xor", "blackman", "block", "bool", "bool_", "broadcast",
    "broadcast_arrays", "broadcast_shapes", "broadcast_to", "can_cast", "cbrt", "cdouble", "ceil", "choose",
    "clip", "column_stack", "complex128", "complex64", "complexfloating", "compress", "concat",
    "concatenate", "conj", "conjugate", "convolve", "copy", "copysign", "corrcoef", "correlate", "cos",
    "cosh", "count_nonzero", "cov", "cross", "csingle", "cumprod", "cumsum", "cumulative_prod",
    "cumulative_sum", "deg2rad", "degrees", "delete", "diag", "diag_indices", "diagflat", "diagonal",
    "diff", "digitize", "divide", "divmod", "dot", "double", "dsplit", "dstack", "dtype", "e", "ediff1d",
    "einsum", "einsum_path", "empty", "empty_like", "equal", "errstate", "euler_gamma", "exp", "exp2",
    "expand_dims", "expm1", "extract", "eye", "fabs", "finfo", "fix", "flatnonzero", "flip", "fliplr",
    "flipud", "float16", "float32", "float64", "float_power", "floating", "floor", "floor_divide", "fmax",
    "fmin", "fmod", "frexp", "frombuffer", "fromfunction", "fromiter", "full", "full_like", "generic",
    "geomspace", "gradient", "greater", "greater_equal", "hamming", "hanning", "heaviside", "hsplit",
    "hstack", "hypot", "identity", "iinfo", "imag", "index_exp", "indices", "inexact", "inf", "inner",
    "insert", "int16", "int32", "int64", "int8", "int_", "integer", "interp", "intp", "invert", "isclose",
    "iscomplex", "iscomplexobj", "isdtype", "isfinite", "isinf", "isnan", "isneginf", "isposinf", "isreal",
    "isrealobj", "isscalar", "issubdtype", "iterable", "ix_", "kaiser", "kron", "ldexp", "left_shift",
    "less", "less_equal", "lexsort", "linspace", "load", "log", "log10", "log1p", "log2", "logaddexp",
    "logaddexp2", "logical_and", "logical_not", "logical_or", "logical_xor", "logspace", "longlong",
    "matmul", "matrix_transpose", "matvec", "max", "maximum", "mean", "median", "meshgrid", "min",
    "minimum", "mod", "modf", "moveaxis", "multiply", "nan", "nan_to_num", "nancumprod", "nancumsum",
    "nanmax", "nanmean", "nanmedian", "nanmin", "nanpercentile", "nanprod", "nanquantile", "nanstd",
    "nansum", "nanvar", "ndarray", "ndim", "negative", "newaxis", "nextafter", "nonzero", "not_equal",
    "number", "ones", "ones_like", "outer", "pad", "partition", "percentile", "permute_dims", "pi",
    "piecewise", "poly", "polyadd", "polyder", "polyint", "polymul", "polysub", "polyval", "positive",
    "pow", "power", "printoptions", "prod", "promote_types", "ptp", "put_along_axis", "quantile", "rad2deg",
    "radians", "ravel", "ravel_multi_index", "real", "reciprocal", "remainder", "repeat", "reshape",
    "resize", "result_type", "right_shift", "rint", "roll", "rollaxis", "rot90", "round", "s_", "save",
    "searchsorted", "select", "set_printoptions", "shape", "sign", "signbit", "signedinteger", "sin",
    "sinc", "single", "sinh", "size", "sort", "sort_complex", "spacing", "split", "sqrt", "square",
    "squeeze", "stack", "std", "subtract", "sum", "swapaxes", "take", "take_along_axis", "tan", "tanh",
    "tensordot", "tile", "trace", "transpose", "trapezoid", "tri", "tril", "tril_indices", "triu",
    "triu_indices", "true_divide", "trunc", "uint", "uint16", "uint32", "uint64", "uint8", "uintp",
    "unravel_index", "unsignedinteger", "unstack", "unwrap", "vander", "var", "vdot", "vecdot", "vecmat",
    "vsplit", "vstack", "where", "zeros", "zeros_like",
]  # fmt: skip
