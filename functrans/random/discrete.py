"""Samplers of integers and booleans. None of them has a derivative."""

from __future__ import annotations

from typing import Any

import numpy as np

import functrans.numpy as fnp
from functrans.core.aval import aval_of
from functrans.lax import scan
from functrans.numpy.promotion import broadcast_to
from functrans.ops.bitwise import bitwise_and
from functrans.ops.comparison import gt, select
from functrans.ops.conversion import convert_element_type
from functrans.ops.elementwise import add, mul, rem, sub
from functrans.ops.families import constant_like
from functrans.ops.random_bits import random_bits, random_split
from functrans.ops.random_counts import random_binomial, random_poisson
from functrans.ops.selection import clamp
from functrans.ops.slicing import index_in_dim
from functrans.random.arguments import (
    Dtype,
    Shape,
    broadcast_shape,
    dtype_of_floats,
    dtype_of_integers,
    fitted,
    number,
    sample,
    sample_shape,
    sampler,
)
from functrans.random.continuous import signs_from
from functrans.random.uniform import several, uniform_from

__all__ = [
    "bernoulli",
    "binomial",
    "geometric",
    "multinomial",
    "poisson",
    "rademacher",
    "randint",
    "randint_from",
]

Lengths = tuple[int, ...]


def _float_of(x: Any) -> Dtype:
    """The dtype of a parameter that says in which precision is drawn."""
    dtype = aval_of(x).dtype
    return dtype if dtype.kind == "f" else np.dtype(np.float64)


# --------------------------------------------------------------------------------------------------------------------
# Uniform


@sampler
def randint(key: Any, shape: Shape, minval: Any, maxval: Any, dtype: Any = int) -> Any:
    """Integers that are uniform between `minval` (included) and `maxval` (excluded).

    Args:
        key: a key.
        shape: the shape of the result, into which the bounds broadcast.
        minval, maxval: the bounds, integers or arrays of them. Where `maxval` is not above `minval`, the result is
            `minval`. A bound beyond the dtype stands for the last number of it; a `maxval` beyond includes that.
        dtype: an integer type.

    >>> import functrans as ft
    >>> ft.random.randint(ft.random.key(0), (5,), 0, 10)
    array([5, 1, 5, 7, 3])
    """
    found = dtype_of_integers(dtype, "randint")
    low, high = number(minval, "minval", "randint", "biu"), number(maxval, "maxval", "randint", "biu")
    wanted = sample_shape(shape, "randint")
    broadcast_shape(wanted, "randint", minval=low, maxval=high)
    return sample(randint_from, "randint", key, _integer(low), _integer(high), static=(wanted, found))


def _integer(x: Any) -> Any:
    """An integer as an array, whose dtype has room for it."""
    return np.asarray(x) if isinstance(x, int) else x


def randint_from(words: Any, low: Any, high: Any, shape: Lengths, dtype: Dtype) -> Any:
    """Integers from the words of a key, by the remainder of twice the bits that are needed, at least 32."""
    if dtype.itemsize < 4:
        limits = np.iinfo(dtype)
        low, high = [
            clamp(constant_like(x, int(limits.min)), x, constant_like(x, int(limits.max) + more))
            for x, more in ((_clipped(low, _INT32), 0), (_clipped(high, _INT32), 1))
        ]
        return convert_element_type(randint_from(words, low, high, shape, _INT32), dtype)
    limits = np.iinfo(dtype)
    beyond = broadcast_to(_exceeds(high, int(limits.max)), shape)
    low, high = [broadcast_to(_clipped(x, dtype), shape) for x in (low, high)]
    unsigned = np.dtype(f"u{dtype.itemsize}")
    drawn = [random_bits(part, 8 * dtype.itemsize, shape) for part in several(words)]
    span = convert_element_type(sub(high, low), unsigned)
    any_at_all = gt(high, low)
    span = select(any_at_all, span, constant_like(span, 1))
    span = select(bitwise_and(beyond, any_at_all), add(span, constant_like(span, 1)), span)
    # Where the span is all of the numbers of the dtype, it is 0 by now: NumPy's remainder by that is 0.
    whole = fnp.equal(span, 0)
    divisor = select(whole, constant_like(span, 1), span)
    half = rem(constant_like(span, 2 ** (4 * dtype.itemsize)), divisor)
    multiplier = rem(mul(half, half), divisor)
    offset = rem(add(mul(rem(drawn[0], divisor), multiplier), rem(drawn[1], divisor)), divisor)
    offset = select(whole, drawn[1], offset)
    return add(low, convert_element_type(offset, dtype))


_INT32 = np.dtype(np.int32)


def _exceeds(x: Any, limit: int) -> Any:
    if x.dtype.kind == "b" or limit >= np.iinfo(x.dtype).max:
        return constant_like(fnp.equal(x, x), False)
    return gt(x, constant_like(x, limit))


def _clipped(x: Any, dtype: Dtype) -> Any:
    if x.dtype.kind != "b":
        own, limits = np.iinfo(x.dtype), np.iinfo(dtype)
        low, high = max(int(own.min), int(limits.min)), min(int(own.max), int(limits.max))
        x = clamp(constant_like(x, low), x, constant_like(x, high))
    return convert_element_type(x, dtype)


@sampler
def bernoulli(key: Any, p: Any = 0.5, shape: Any = None, mode: str = "low") -> Any:
    """Booleans, each True with probability `p`.

    Args:
        key: a key.
        p: the probabilities, a number or an array of floats, in the precision of which is drawn.
        shape: the shape of the result, into which `p` broadcasts; that of `p` if not given.
        mode: "low", or "high" for twice as many random bits, so that small probabilities are kept more exactly.

    >>> import functrans as ft
    >>> ft.random.bernoulli(ft.random.key(0), 0.5, (4,))
    array([ True,  True, False, False])
    """
    if mode not in ("low", "high"):
        raise ValueError(f"random.bernoulli: mode must be 'low' or 'high', got {mode!r:.60}")
    p = number(p, "p", "bernoulli")
    wanted = broadcast_shape(shape, "bernoulli", p=p)
    return sample(_bernoulli, "bernoulli", key, p, static=(wanted, _float_of(p), mode == "high"))


def _bernoulli(words: Any, p: Any, shape: Lengths, dtype: Dtype, high: bool) -> Any:
    p = fitted(p, shape, dtype)
    if not high:
        return uniform_from(words, shape, dtype) < p
    coarse, fine = [index_in_dim(uniform_from(words, (2, *shape), dtype), i, 0, keepdims=False) for i in (0, 1)]
    return fine * (2.0 ** -np.finfo(dtype).nmant) < p - coarse


@sampler
def rademacher(key: Any, shape: Shape = (), dtype: Any = int) -> Any:
    """1 and -1 with equal probability.

    Args:
        key: a key.
        shape: the shape of the result.
        dtype: an integer or float type. With one of 32 bits the numbers are those of JAX by default.

    >>> import functrans as ft
    >>> ft.random.rademacher(ft.random.key(0), (4,))
    array([ 1,  1, -1, -1])
    """
    found = np.dtype(int if dtype is None else dtype)
    if found.kind not in "iufc":
        raise ValueError(f"random.rademacher gives numbers, not {found.name}")
    return sample(signs_from, "rademacher", key, static=(sample_shape(shape, "rademacher"), found))


# --------------------------------------------------------------------------------------------------------------------
# Counts


@sampler
def geometric(key: Any, p: Any, shape: Any = None, dtype: Any = int) -> Any:
    """How many trials it takes to the first success, of probability `p`: 1, 2, ...

    Args:
        key: a key.
        p: the probabilities, a number or an array of floats, in the precision of which is drawn.
        shape: the shape of the result, into which `p` broadcasts; that of `p` if not given.
        dtype: an integer type.

    >>> import functrans as ft
    >>> ft.random.geometric(ft.random.key(0), 0.2, (4,))
    array([4, 7, 1, 3])
    """
    found, p = dtype_of_integers(dtype, "geometric"), number(p, "p", "geometric")
    wanted = broadcast_shape(shape, "geometric", p=p)
    return sample(_geometric, "geometric", key, p, static=(wanted, found, _float_of(p)))


def _geometric(words: Any, p: Any, shape: Lengths, dtype: Dtype, drawn_in: Dtype) -> Any:
    u = uniform_from(words, shape, drawn_in)
    u = fnp.where(u == 0, 1, u)
    p = fitted(p, shape, drawn_in)
    within = fnp.clip(p, float(np.finfo(drawn_in).tiny), float(np.nextafter(drawn_in.type(1), drawn_in.type(0))))
    trials = fnp.where(p == 1, 1, fnp.floor(fnp.log(u) / fnp.log1p(-within)) + 1)
    most = np.nextafter(drawn_in.type(np.iinfo(dtype).max), drawn_in.type(0)).item()
    return convert_element_type(fnp.minimum(trials, most), dtype)


@sampler
def poisson(key: Any, lam: Any, shape: Any = None, dtype: Any = int) -> Any:
    """Numbers of the Poisson distribution: how often something happens that happens `lam` times on average.

    As in JAX, the rates are taken and the uniform numbers are drawn in single precision; what is done with them is
    done in double precision here, so that for rates above 1000 some numbers differ from those of JAX.

    Args:
        key: a key.
        lam: the rates, a number or an array; -1 is drawn where one is negative or NaN.
        shape: the shape of the result, into which `lam` broadcasts; that of `lam` if not given.
        dtype: an integer or float type.

    >>> import functrans as ft
    >>> ft.random.poisson(ft.random.key(0), 3.0, (4,))
    array([0, 0, 4, 4])
    """
    found, lam = dtype_of_integers(dtype, "poisson", "iuf"), number(lam, "lam", "poisson")
    wanted = broadcast_shape(shape, "poisson", lam=lam)
    return sample(_poisson, "poisson", key, lam, static=(wanted, found))


def _poisson(words: Any, lam: Any, shape: Lengths, dtype: Dtype) -> Any:
    return random_poisson(words, fitted(lam, shape, np.dtype(np.float32)), dtype)


@sampler
def binomial(key: Any, n: Any, p: Any, shape: Any = None, dtype: Any = float) -> Any:
    """How many of `n` trials succeed, each with probability `p`: floats that are whole numbers.

    Args:
        key: a key.
        n: the numbers of trials, rounded down.
        p: the probabilities, in the precision of which is drawn. NaN is drawn where one is not between 0 and 1.
        shape: the shape of the result, into which `n` and `p` broadcast; theirs if not given.
        dtype: a float type.

    >>> import functrans as ft
    >>> ft.random.binomial(ft.random.key(0), 10, 0.3, (4,))
    array([4., 1., 3., 4.])
    """
    found = dtype_of_floats(dtype, "binomial")
    n, p = number(n, "n", "binomial"), number(p, "p", "binomial")
    wanted = broadcast_shape(shape, "binomial", n=n, p=p)
    return sample(_binomial, "binomial", key, n, p, static=(wanted, found, _float_of(p)))


def _binomial(words: Any, n: Any, p: Any, shape: Lengths, dtype: Dtype, drawn_in: Dtype) -> Any:
    n, p = fitted(n, shape, drawn_in), fitted(p, shape, drawn_in)
    return convert_element_type(random_binomial(words, n, p), dtype)


@sampler
def multinomial(key: Any, n: Any, p: Any, *, shape: Any = None, dtype: Any = float, unroll: int | bool = 1) -> Any:
    """How many of `n` trials have each of several outcomes: floats that are whole numbers.

    Args:
        key: a key.
        n: the numbers of trials, which broadcast to the shape of the result without its last axis.
        p: the probabilities of the outcomes along the last axis; they need not sum to 1.
        shape: the shape of the result with that axis, into which `p` broadcasts; that of `p` if not given.
        dtype: a float type.
        unroll: how many outcomes are computed in one iteration of the loop over them.

    >>> import numpy as np
    >>> import functrans as ft
    >>> ft.random.multinomial(ft.random.key(0), 10, np.array([0.2, 0.3, 0.5])).sum()
    np.float64(10.0)
    """
    found = dtype_of_floats(dtype, "multinomial")
    n, p = number(n, "n", "multinomial"), number(p, "p", "multinomial")
    lengths = getattr(p, "shape", ())
    if not lengths:
        raise ValueError("random.multinomial: p must have an axis of outcomes, got a scalar")
    wanted = broadcast_shape(lengths if shape is None else shape, "multinomial", p=p)
    broadcast_shape(wanted[:-1], "multinomial", n=n)
    weak = aval_of(n).weak and aval_of(p).dtype.kind == "f"
    precise = _float_of(p) if weak else np.result_type(_float_of(n), _float_of(p))
    return sample(_multinomial, "multinomial", key, n, p, static=(wanted, found, precise, unroll))


def _multinomial(words: Any, n: Any, p: Any, shape: Lengths, dtype: Dtype, drawn_in: Dtype, unroll: int | bool) -> Any:
    left, p = fitted(n, shape[:-1], drawn_in), fnp.moveaxis(fitted(p, shape, drawn_in), -1, 0)
    rest = fnp.flip(fnp.cumsum(fnp.flip(p, 0), axis=0), 0)
    ratios = fnp.clip(p / fnp.where(rest == 0, 1, rest), 0, 1)

    def draw(left: Any, ratio_and_words: tuple[Any, Any]) -> tuple[Any, Any]:
        ratio, words = ratio_and_words
        count = random_binomial(words, left, ratio)
        return left - count, count

    _, counts = scan(draw, left, (ratios, random_split(words, (shape[-1],))), unroll=unroll)
    return convert_element_type(fnp.moveaxis(counts, 0, -1), dtype)
