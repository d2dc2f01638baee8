"""Samples of the Poisson and the binomial distribution, each element drawn again until it is accepted.

All elements of a sample draw with the same sequence of keys. In JAX, an element that is accepted draws on as long as
another one of the same key is not, and what was accepted last counts; to give the same numbers is to know when the last
element is done, and to look backwards from there.

Sources: D. E. Knuth, "The Art of Computer Programming", volume 2, section 3.4.1 (Poisson, small rates, in logarithms);
W. Hoermann, "The transformed rejection method for generating Poisson random variables", Insurance: Mathematics and
Economics 12 (1993), pages 39 to 45 (large rates); the same, "The generation of binomial random variates", Journal of
Statistical Computation and Simulation 46 (1993), pages 101 to 110; L. Devroye, "Non-Uniform Random Variate Generation"
(1986), page 525 (binomial, few successes, by geometric waiting times).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from functrans.core.aval import Aval
from functrans.core.primitive import Primitive
from functrans.core.rules import def_abstract, def_batch, def_constant, def_specialized_impl
from functrans.ops.families import align
from functrans.ops.gamma_functions import log_gamma
from functrans.ops.random_bits import Words, check_words, hashed
from functrans.ops.random_floats import uniform_of

__all__ = ["random_binomial", "random_binomial_p", "random_poisson", "random_poisson_p"]

Floats = np.ndarray[Any, Any]
Places = np.ndarray[Any, np.dtype[np.intp]]
Key = tuple[Words, Words]
Candidate = Callable[[Floats, Floats, Places], tuple[Floats, np.ndarray[Any, np.dtype[np.bool_]]]]


class _Streams:
    """A sequence of keys for each row of a flat array, and draws for its elements."""

    def __init__(self, words: Words, size: int) -> None:
        self.size = size
        """The elements of a row."""
        self.keys: Key = (words[:, 0], words[:, 1])

    def split(self, num: int) -> list[Key]:
        """New keys from those of the rows."""
        k0, k1 = self.keys
        high, low = hashed(k0, k1, np.uint32(0), np.arange(num, dtype=np.uint32)[:, None])
        return list(zip(high, low, strict=True))

    def uniform(self, key: Key, places: Places, dtype: np.dtype[Any]) -> Floats:
        """A float in [0, 1) for each of the places."""
        k0, k1 = key
        if len(k0) == 1:
            return uniform_of(*hashed(k0[0], k1[0], *_counters(places)), dtype)
        rows, within = np.divmod(places, self.size)
        return uniform_of(*hashed(k0[rows], k1[rows], *_counters(within)), dtype)

    def last_accepted(self, n: int, candidate: Candidate, dtype: np.dtype[Any]) -> Floats:
        """For each of n elements, the last candidate that is accepted until all of its row have been.

        Args:
            n: the number of all elements.
            candidate: `candidate(u, v, places) -> (k, accepted)`, of two uniform numbers for each place.
            dtype: that of the uniform numbers.
        """
        rounds: list[tuple[Key, Key]] = []
        done = np.zeros(n, np.intp)
        active = np.arange(n)
        while active.size:
            self.keys, for_u, for_v = self.split(3)
            u, v = [self.uniform(key, active, dtype) for key in (for_u, for_v)]
            _, accepted = candidate(u, v, active)
            done[active[accepted]] = len(rounds)
            active = active[~accepted]
            rounds.append((for_u, for_v))
        return self._backwards(rounds, np.repeat(done.reshape(-1, self.size).max(axis=1), self.size), candidate, dtype)

    def _backwards(self, rounds: Any, number: Places, candidate: Candidate, dtype: np.dtype[Any]) -> Floats:
        """What was accepted last, from the numbers of the last rounds on."""
        words = np.array(rounds)  # the number of the round, u or v, high or low, the row
        active = np.arange(number.size)
        out = np.empty(number.size)
        while active.size:
            rows, within = np.divmod(active, self.size)
            keys = words[number[active], :, :, rows]
            x0, x1 = _counters(within)
            u, v = [uniform_of(*hashed(keys[:, i, 0], keys[:, i, 1], x0, x1), dtype) for i in (0, 1)]
            k, accepted = candidate(u, v, active)
            out[active[accepted]] = k[accepted]
            active = active[~accepted]
            number[active] -= 1
        return out


def _counters(places: Places) -> Key:
    return (places >> 32).astype(np.uint32), (places & 0xFFFFFFFF).astype(np.uint32)


def _rejection(name: str, out_dtype: Callable[..., np.dtype[Any]], sample: Callable[..., Floats]) -> Primitive:
    """A primitive that draws by rejection, for parameters of shape (*keys, ...).

    Args:
        name: its name.
        out_dtype: the dtype of the result, from the avals of the parameters and the keywords.
        sample: `sample(words, size, *parameters, **params)`, on the words of the keys along one axis, parameters along
            one axis, and with the number of elements for each key.
    """
    primitive = Primitive(name)
    primitive.uses_key = True

    def abstract(words: Aval, *avals: Aval, **params: Any) -> Aval:
        keys, first = check_words(name, words), avals[0]
        fit = first.dtype.kind == "f" and first.shape[: len(keys)] == keys
        if not fit or any([x.strong != first.strong for x in avals]):
            raise TypeError(f"{name} takes floats for each key, got {', '.join(map(str, (words, *avals)))}")
        return Aval(first.shape, out_dtype(*avals, **params))

    def specialize(words: Aval, *avals: Aval, **params: Any) -> Callable[..., Any]:
        aval, n_keys = abstract(words, *avals, **params), prod(words.shape[:-1])

        def run(words: Words, *values: Floats) -> Any:
            if not aval.size:
                return np.empty(aval.shape, aval.dtype)
            flat = [x.reshape(-1) for x in values]
            with np.errstate(all="ignore"):
                out = sample(words.reshape(n_keys, 2), aval.size // n_keys, *flat, **params)
            return out.astype(aval.dtype, copy=False).reshape(aval.shape)[()]

        return run

    def batch(size: int, operands: Sequence[Any], axes: Sequence[int | None], **params: Any) -> tuple[Any, int]:
        return primitive.bind(*align(size, operands, axes, 0), **params), 0

    def_abstract(primitive, abstract)
    def_specialized_impl(primitive, specialize)
    def_batch(primitive, batch)
    return primitive


# --------------------------------------------------------------------------------------------------------------------
# Poisson


def random_poisson(words: Any, lam: Any, dtype: Any) -> Any:
    """Samples of the Poisson distribution of the rates `lam`, floats of shape (*keys, ...); -1 where a rate is none.

    The numbers that are drawn are of single precision.
    """
    return random_poisson_p.bind(words, lam, dtype=np.dtype(dtype))


_KNUTH_BELOW = 10.0
_OTHER_RATE = 1e5
"""The rate with which the elements that need no rejection take part in it."""
_SINGLE = np.dtype(np.float32)


def _poisson(words: Words, size: int, lam: Floats, *, dtype: np.dtype[Any]) -> Floats:
    out = np.zeros(lam.shape, np.float64)
    large = lam >= _KNUTH_BELOW
    few = np.flatnonzero(~large & (lam != 0))
    if few.size:
        _poisson_by_products(_Streams(words, size), few, lam.astype(np.float32), out)
    if large.any():
        rates = np.where(large & np.isfinite(lam), lam, _OTHER_RATE).astype(np.float64)
        drawn = _poisson_by_rejection(_Streams(words, size), rates)
        out = np.where(large, np.where(np.isinf(lam), lam, drawn), out)
    if dtype.kind in "iu":
        most = np.iinfo(dtype).max
        beyond = out >= most
        counts = np.where(beyond, 0, out).astype(dtype)
        counts[beyond] = most
        return counts
    return out


def _poisson_by_products(streams: _Streams, active: Places, lam: Floats, out: Floats) -> None:
    """How many uniform numbers may be multiplied until the product is below exp(-lam)."""
    least, log_product = -lam[active], np.zeros(active.size, np.float32)
    count = 0
    going = log_product > least
    while True:
        out[active[~going]] = count - 1
        active, least, log_product = active[going], least[going], log_product[going]
        if not active.size:
            return
        streams.keys, drawn = streams.split(2)
        log_product = log_product + np.log(streams.uniform(drawn, active, _SINGLE))
        count += 1
        going = log_product > least


def _poisson_by_rejection(streams: _Streams, lam: Floats) -> Floats:
    def candidate(u: Floats, v: Floats, places: Places) -> tuple[Floats, Any]:
        rate, u, v = lam[places], u.astype(np.float64) - 0.5, v.astype(np.float64)
        b = 0.931 + 2.53 * np.sqrt(rate)
        a = -0.059 + 0.02483 * b
        edge = 0.5 - np.abs(u)
        k = np.floor((2 * a / edge + b) * u + rate + 0.43)
        accepted = (edge >= 0.07) & (v <= 0.9277 - 3.6224 / (b - 2))
        open_ = np.flatnonzero(~accepted & (k >= 0) & ~((edge < 0.013) & (v > edge)))
        if open_.size:
            count, rate, b, edge = k[open_], rate[open_], b[open_], edge[open_]
            height = np.log(v[open_] * (1.1239 + 1.1328 / (b - 3.4)) / (a[open_] / (edge * edge) + b))
            accepted[open_] = height <= count * np.log(rate) - rate - log_gamma(count + 1)
        return k, accepted

    return streams.last_accepted(lam.size, candidate, _SINGLE)


random_poisson_p = _rejection("random_poisson", lambda lam, dtype: dtype, _poisson)
def_constant(random_poisson_p, 2, "counts have no derivative")

# --------------------------------------------------------------------------------------------------------------------
# Binomial


def random_binomial(words: Any, n: Any, p: Any) -> Any:
    """Samples of the binomial distribution, as floats: n trials, each with probability p; floats of shape (*keys, ...).

    NaN where a probability is none, or n is negative or NaN; infinite where n is.
    """
    return random_binomial_p.bind(words, n, p)


def _binomial(words: Words, size: int, count: Floats, prob: Floats) -> Floats:
    dtype, likely = prob.dtype, ~(prob < 0.5)
    q = np.where(likely, 1 - prob, prob)
    none = np.isnan(count) | (count < 0) | np.isnan(q) | (q < 0)
    whole = np.floor(count)
    out = np.full(prob.shape, np.nan, dtype)
    waiting = (count * q <= 10) | np.isnan(count) | (count < 0)
    few, large = np.flatnonzero(waiting & ~none), ~waiting & ~np.isinf(count)
    if few.size:
        _binomial_by_waiting(_Streams(words, size), few, whole, q, out)
    if large.any():
        trials = np.where(large, whole, dtype.type(10_000))
        q_ = np.where(large, np.where(np.isnan(q) | (q < 0), dtype.type(0.01), q), dtype.type(0.5))
        out = np.where(large & ~none, _binomial_by_rejection(_Streams(words, size), trials, q_), out).astype(dtype)
    out = np.where(likely, whole - out, out)
    return np.where(np.isinf(count) & ~none, dtype.type(np.inf), out)


def _binomial_by_waiting(streams: _Streams, active: Places, count: Floats, q: Floats, out: Floats) -> None:
    """How many successes there are, from the geometric waiting times between them."""
    dtype, successes = q.dtype, 0
    log_failure, left = np.log1p(-q[active]), count[active]
    waited = np.zeros(active.size, dtype)
    while active.size:
        drawn, streams.keys = streams.split(2)
        waited = waited + np.ceil(np.log(streams.uniform(drawn, active, dtype)) / log_failure)
        going = waited <= left
        out[active[~going]] = successes
        active, waited, left, log_failure = active[going], waited[going], left[going], log_failure[going]
        successes += 1


def _binomial_by_rejection(streams: _Streams, count: Floats, prob: Floats) -> Floats:
    dtype = prob.dtype

    def candidate(u: Floats, v: Floats, places: Places) -> tuple[Floats, Any]:
        n, p, u = count[places], prob[places], u - dtype.type(0.5)
        spread = np.sqrt(n * p * (1 - p))
        b = 1.15 + 2.53 * spread
        a = -0.0873 + 0.0248 * b + 0.01 * p
        edge = 0.5 - np.abs(u)
        k = np.floor((2 * a / edge + b) * u + (n * p + 0.5))
        accepted = (edge >= 0.07) & (v <= 0.92 - 4.2 / b)
        open_ = np.flatnonzero(~accepted & (k >= 0) & (k <= n))
        if open_.size:
            edge, b = edge[open_], b[open_]
            height = np.log(v[open_] * ((2.83 + 5.1 / b) * spread[open_]) / (a[open_] / (edge * edge) + b))
            accepted[open_] = height <= _log_ratio(k[open_], n[open_], p[open_])
        return k, accepted

    return streams.last_accepted(prob.size, candidate, dtype)


def _log_ratio(k: Floats, n: Floats, p: Floats) -> Floats:
    """The logarithm of the probability of k successes over that of the most probable number."""
    odds, mode = p / (1 - p), np.floor((n + 1) * p)
    return (
        (mode + 0.5) * np.log((mode + 1) / (odds * (n - mode + 1)))
        + (n + 1) * np.log((n - mode + 1) / (n - k + 1))
        + (k + 0.5) * np.log(odds * (n - k + 1) / (k + 1))
        + (_stirling_tail(mode) + _stirling_tail(n - mode) - _stirling_tail(k) - _stirling_tail(n - k))
    )


def _stirling_tail(k: Floats) -> Floats:
    """What Stirling's approximation of log(k!) lacks."""
    square = (k + 1) * (k + 1)
    series = (1 / 12 - (1 / 360 - 1 / 1260 / square) / square) / (k + 1)
    return np.where(k <= 9, _TAILS.astype(k.dtype)[np.clip(k, 0, 9).astype(int)], series)


_FIRST = np.arange(10.0)
_TAILS = log_gamma(_FIRST + 1) - (0.5 * np.log(2 * np.pi) + (_FIRST + 0.5) * np.log(_FIRST + 1) - (_FIRST + 1))

random_binomial_p = _rejection("random_binomial", lambda n, p: p.dtype, _binomial)
def_constant(random_binomial_p, 3, "counts have no derivative")
