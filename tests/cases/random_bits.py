"""Cases of `functrans.ops.random_bits` and `random_floats`."""

from statistics import NormalDist

import numpy as np

from functrans.ops import random_bits as ops
from functrans.ops import random_floats as floats
from tests.cases.case import Case, Operand

WORD = Operand((2, 3), 0, 2**31 - 1, dtype="uint32")
KEY = Operand((2,), 0, 2**31 - 1, dtype="uint32")
KEYS = Operand((3, 2), 0, 2**31 - 1, dtype="uint32")


def hash_of(key, counter):
    """The hash of a counter under a key, by the definition, on Python integers."""
    a, b = counter >> 32, counter % 2**32
    keys = [int(key[0]), int(key[1])]
    keys.append(keys[0] ^ keys[1] ^ 0x1BD11BDA)
    a, b = (a + keys[0]) % 2**32, (b + keys[1]) % 2**32
    for step in range(20):
        turn = (13, 15, 26, 6, 17, 29, 16, 24)[step % 8]
        a = (a + b) % 2**32
        b = ((b << turn) | (b >> (32 - turn))) % 2**32 ^ a
        if step % 4 == 3:
            n = step // 4 + 1
            a, b = (a + keys[n % 3]) % 2**32, (b + keys[(n + 1) % 3] + n) % 2**32
    return a, b


def threefry(k0, k1, x0, x1):
    """Element by element."""
    out = [np.empty(x0.shape, np.uint32), np.empty(x0.shape, np.uint32)]
    for place in np.ndindex(x0.shape):
        pair = hash_of((k0[place], k1[place]), (int(x0[place]) << 32) + int(x1[place]))
        out[0][place], out[1][place] = pair
    return tuple(out)


def bits_of(key, counter, width):
    """Random bits of a width, as an integer."""
    high, low = hash_of(key, counter)
    return (high << 32) + low if width == 64 else (high ^ low) % 2**width


def unit_of(key, counter, dtype):
    """A uniform float: as many of the highest bits as the mantissa has."""
    width, mantissa = 8 * np.dtype(dtype).itemsize, np.finfo(dtype).nmant
    return np.dtype(dtype).type((bits_of(key, counter, width) >> (width - mantissa)) / 2**mantissa)


def normal_of(key, counter, dtype):
    """The quantile at a uniform float, which was made one of (-1, 1) before."""
    one = np.dtype(dtype).type(1)
    low = np.nextafter(-one, 0 * one)
    u = max(unit_of(key, counter, dtype) * (one - low) + low, low)
    tail = (1 - abs(float(u))) / 2  # has all its digits also where u is near 1
    return np.dtype(dtype).type(np.copysign(-NormalDist().inv_cdf(tail) if tail < 0.5 else 0.0, u))


def drawn(of_counter, shape, dtype, tail=()):
    """The reference of a primitive that draws: a number for each counter, for each key."""

    def reference(words):
        keys = words.reshape(-1, 2)
        values = [[of_counter(key, i) for i in range(int(np.prod(shape)))] for key in keys]
        return np.array(values, dtype).reshape((*words.shape[:-1], *shape, *tail))[()]

    return reference


def drawing_cases(primitive, function, of_counter, variants, tolerance=1.0):
    """Rows for one key and for several, with a few draws each and with many."""
    return [
        Case(
            primitive,
            lambda words, shape=shape, option=option: function(words, shape, option),
            drawn(lambda key, i, option=option: of_counter(key, i, option), shape, dtype),
            (operand,),
            ("uint32",),
            tolerance=tolerance,
            name=f"{name}-{option}",
        )
        for option, dtype in variants
        for name, operand, shape in (("one", KEY, (2, 3)), ("several", KEYS, (4,)), ("scalar", KEY, ()))
    ]


DTYPES = (("float32", "float32"), ("float64", "float64"), ("float16", "float16"))

CASES = [
    Case(ops.threefry2x32_p, ops.threefry2x32, threefry, (WORD,) * 4, ("uint32",)),
    *[
        Case(
            ops.random_fold_in_p,
            ops.random_fold_in,
            lambda words, data: np.array(
                [hash_of(key, int(n)) for key, n in zip(words.reshape(-1, 2), data.flat, strict=True)], np.uint32
            ).reshape(words.shape),
            (words, data),
            ("uint32",),
            name=name,
        )
        for name, words, data in (
            ("one", KEY, Operand((), 0, 2**31 - 1, dtype="uint32")),
            ("several", KEYS, Operand((3,), 0, 2**31 - 1, dtype="uint32")),
        )
    ],
    Case(ops.random_clone_p, ops.random_clone, lambda words: words, (KEYS,), ("uint32",)),
    *drawing_cases(
        ops.random_bits_p,
        lambda words, shape, width: ops.random_bits(words, width, shape),
        bits_of,
        [(width, f"uint{width}") for width in (8, 16, 32, 64)],
    ),
    *[
        Case(
            ops.random_split_p,
            lambda words: ops.random_split(words, (3,)),
            drawn(hash_of, (3,), "uint32", (2,)),
            (operand,),
            ("uint32",),
            name=name,
        )
        for name, operand in (("one", KEY), ("several", KEYS))
    ],
    *drawing_cases(floats.random_uniform_p, floats.random_uniform, unit_of, DTYPES),
    *drawing_cases(floats.random_normal_p, floats.random_normal, normal_of, DTYPES, 10.0),
    *[
        Case(
            ops.bitcast_convert_type_p,
            lambda x, new=new: ops.bitcast_convert_type(x, new),
            lambda x, new=new: x.view(new),
            (Operand((2, 3)),),
            (old,),
            name=f"{old}-{new}",
        )
        for old, new in (("float32", "uint32"), ("float64", "int64"), ("float16", "uint16"))
    ],
    Case(
        ops.bitcast_convert_type_p,
        lambda x: ops.bitcast_convert_type(x, "float64"),
        lambda x: x.view("float64"),
        (Operand((2, 3), 1, 2**62, dtype="uint64"),),
        ("uint64",),
        name="uint64-float64",
    ),
]
