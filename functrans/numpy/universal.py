"""NumPy's ufuncs as functions of this package, under all their names."""

import numpy as np

from functrans.numpy.ufuncs import public_ufunc

__all__ = [
    "abs",
    "absolute",
    "acos",
    "acosh",
    "add",
    "arccos",
    "arccosh",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctan2",
    "arctanh",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "bitwise_and",
    "bitwise_count",
    "bitwise_invert",
    "bitwise_left_shift",
    "bitwise_not",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "cbrt",
    "ceil",
    "conj",
    "conjugate",
    "copysign",
    "cos",
    "cosh",
    "deg2rad",
    "degrees",
    "divide",
    "divmod",
    "equal",
    "exp",
    "exp2",
    "expm1",
    "fabs",
    "float_power",
    "floor",
    "floor_divide",
    "fmax",
    "fmin",
    "fmod",
    "frexp",
    "greater",
    "greater_equal",
    "heaviside",
    "hypot",
    "invert",
    "isfinite",
    "isinf",
    "isnan",
    "ldexp",
    "left_shift",
    "less",
    "less_equal",
    "log",
    "log10",
    "log1p",
    "log2",
    "logaddexp",
    "logaddexp2",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "matmul",
    "matvec",
    "maximum",
    "minimum",
    "mod",
    "modf",
    "multiply",
    "negative",
    "nextafter",
    "not_equal",
    "positive",
    "pow",
    "power",
    "rad2deg",
    "radians",
    "reciprocal",
    "remainder",
    "right_shift",
    "rint",
    "sign",
    "signbit",
    "sin",
    "sinh",
    "spacing",
    "sqrt",
    "square",
    "subtract",
    "tan",
    "tanh",
    "true_divide",
    "trunc",
    "vecdot",
    "vecmat",
]

abs = public_ufunc(np.abs, "abs")
absolute = public_ufunc(np.absolute)
acos = public_ufunc(np.acos, "acos")
acosh = public_ufunc(np.acosh, "acosh")
add = public_ufunc(np.add)
arccos = public_ufunc(np.arccos)
arccosh = public_ufunc(np.arccosh)
arcsin = public_ufunc(np.arcsin)
arcsinh = public_ufunc(np.arcsinh)
arctan = public_ufunc(np.arctan)
arctan2 = public_ufunc(np.arctan2)
arctanh = public_ufunc(np.arctanh)
asin = public_ufunc(np.asin, "asin")
asinh = public_ufunc(np.asinh, "asinh")
atan = public_ufunc(np.atan, "atan")
atan2 = public_ufunc(np.atan2, "atan2")
atanh = public_ufunc(np.atanh, "atanh")
bitwise_and = public_ufunc(np.bitwise_and)
bitwise_count = public_ufunc(np.bitwise_count)
bitwise_invert = public_ufunc(np.bitwise_invert, "bitwise_invert")
bitwise_left_shift = public_ufunc(np.bitwise_left_shift, "bitwise_left_shift")
bitwise_not = public_ufunc(np.bitwise_not, "bitwise_not")
bitwise_or = public_ufunc(np.bitwise_or)
bitwise_right_shift = public_ufunc(np.bitwise_right_shift, "bitwise_right_shift")
bitwise_xor = public_ufunc(np.bitwise_xor)
cbrt = public_ufunc(np.cbrt)
ceil = public_ufunc(np.ceil)
conj = public_ufunc(np.conj, "conj")
conjugate = public_ufunc(np.conjugate)
copysign = public_ufunc(np.copysign)
cos = public_ufunc(np.cos)
cosh = public_ufunc(np.cosh)
deg2rad = public_ufunc(np.deg2rad)
degrees = public_ufunc(np.degrees)
divide = public_ufunc(np.divide)
divmod = public_ufunc(np.divmod)
equal = public_ufunc(np.equal)
exp = public_ufunc(np.exp)
exp2 = public_ufunc(np.exp2)
expm1 = public_ufunc(np.expm1)
fabs = public_ufunc(np.fabs)
float_power = public_ufunc(np.float_power)
floor = public_ufunc(np.floor)
floor_divide = public_ufunc(np.floor_divide)
fmax = public_ufunc(np.fmax)
fmin = public_ufunc(np.fmin)
fmod = public_ufunc(np.fmod)
frexp = public_ufunc(np.frexp)
greater = public_ufunc(np.greater)
greater_equal = public_ufunc(np.greater_equal)
heaviside = public_ufunc(np.heaviside)
hypot = public_ufunc(np.hypot)
invert = public_ufunc(np.invert)
isfinite = public_ufunc(np.isfinite)
isinf = public_ufunc(np.isinf)
isnan = public_ufunc(np.isnan)
ldexp = public_ufunc(np.ldexp)
left_shift = public_ufunc(np.left_shift)
less = public_ufunc(np.less)
less_equal = public_ufunc(np.less_equal)
log = public_ufunc(np.log)
log10 = public_ufunc(np.log10)
log1p = public_ufunc(np.log1p)
log2 = public_ufunc(np.log2)
logaddexp = public_ufunc(np.logaddexp)
logaddexp2 = public_ufunc(np.logaddexp2)
logical_and = public_ufunc(np.logical_and)
logical_not = public_ufunc(np.logical_not)
logical_or = public_ufunc(np.logical_or)
logical_xor = public_ufunc(np.logical_xor)
matmul = public_ufunc(np.matmul)
matvec = public_ufunc(np.matvec)
maximum = public_ufunc(np.maximum)
minimum = public_ufunc(np.minimum)
mod = public_ufunc(np.mod, "mod")
modf = public_ufunc(np.modf)
multiply = public_ufunc(np.multiply)
negative = public_ufunc(np.negative)
nextafter = public_ufunc(np.nextafter)
not_equal = public_ufunc(np.not_equal)
positive = public_ufunc(np.positive)
pow = public_ufunc(np.pow, "pow")
power = public_ufunc(np.power)
rad2deg = public_ufunc(np.rad2deg)
radians = public_ufunc(np.radians)
reciprocal = public_ufunc(np.reciprocal)
remainder = public_ufunc(np.remainder)
right_shift = public_ufunc(np.right_shift)
rint = public_ufunc(np.rint)
sign = public_ufunc(np.sign)
signbit = public_ufunc(np.signbit)
sin = public_ufunc(np.sin)
sinh = public_ufunc(np.sinh)
spacing = public_ufunc(np.spacing)
sqrt = public_ufunc(np.sqrt)
square = public_ufunc(np.square)
subtract = public_ufunc(np.subtract)
tan = public_ufunc(np.tan)
tanh = public_ufunc(np.tanh)
true_divide = public_ufunc(np.true_divide, "true_divide")
trunc = public_ufunc(np.trunc)
vecdot = public_ufunc(np.vecdot)
vecmat = public_ufunc(np.vecmat)
