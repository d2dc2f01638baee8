"""Attention."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from math import sqrt
from typing import Any

import numpy as np

from functrans import lax
from functrans.core.aval import Aval, aval_of
from functrans.nn.composing import call, floating, public
from functrans.nn.softmaxes import log_total, shares
from functrans.numpy.promotion import broadcast_to, like
from functrans.numpy.registry import as_operand
from functrans.ops.conversion import convert_element_type

__all__ = ["dot_product_attention"]

Window = tuple[int, int]


def _aval(x: Any) -> Aval:
    return aval_of(as_operand(x))


@public
def dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    bias: Any = None,
    mask: Any = None,
    *,
    scale: Any = None,
    is_causal: bool = False,
    query_seq_lengths: Any = None,
    key_value_seq_lengths: Any = None,
    local_window_size: int | Window | None = None,
    implementation: str | None = None,
    return_residual: bool = False,
) -> Any:
    """Attention: means of values, weighted by the softmax of the products of queries and keys (Vaswani et al. 2017).

    In shapes, B is the batch, T the length of the queries, S that of keys and values, N the number of heads of the
    queries, K that of keys and values, H the number of features of a head.

    Args:
        query: (B, T, N, H) or (T, N, H).
        key: (B, S, K, H) or (S, K, H). K divides N: each head of keys serves N / K heads of queries (Ainslie et al.
            2023), those that follow each other.
        value: as `key`.
        bias: is added to the products; it broadcasts to (B, N, T, S).
        mask: booleans that broadcast to (B, N, T, S): which values take part.
        scale: what the products are multiplied by; one over the root of H if not given.
        is_causal: whether a query sees only the values up to its own place.
        query_seq_lengths: (B,), integers: how many of the queries count; the results of the others are 0.
        key_value_seq_lengths: (B,), integers: how many of the keys and values count.
        local_window_size: how many values before and how many after its own place a query sees: one number or two.
        implementation: for JAX's signature: None or "xla".
        return_residual: whether to return, too, the logarithms of the sums of the exponentials, (B, T, N). No
            derivative passes through them.

    Returns:
        An array of the shape of `query`; a pair with `return_residual`. Where a query sees no value, the result is 0.

    Raises:
        ValueError, TypeError: if shapes or dtypes do not fit, naming the argument.

    >>> import numpy as np
    >>> import functrans as ft
    >>> x = np.arange(3.0).reshape(3, 1, 1)
    >>> ft.nn.dot_product_attention(0 * x, x, x, is_causal=True)[:, 0, 0]
    array([0. , 0.5, 1. ])
    """
    if implementation not in (None, "xla"):
        raise ValueError(f"dot_product_attention: implementation must be None or 'xla', got {implementation!r}")
    _check_shapes(_aval(query), _aval(key), _aval(value))
    batch = _aval(query).shape[0] if _aval(query).ndim == 4 else 1
    given = [("bias", bias), ("mask", mask), ("query_seq_lengths", query_seq_lengths)]
    given += [("key_value_seq_lengths", key_value_seq_lengths), ("scale", scale)]
    for name, x in given:
        if x is not None:
            _check_option(name, _aval(x), batch)
    names = tuple([name for name, x in given if x is not None])
    operands = [query, key, value, *[x for _, x in given if x is not None]]
    return call(_attention, operands, names, bool(is_causal), _window(local_window_size), bool(return_residual))


def _check_shapes(query: Aval, key: Aval, value: Aval) -> None:
    name = "dot_product_attention"
    if query.ndim not in (3, 4) or key.ndim != query.ndim:
        raise ValueError(
            f"{name}: query and key must have the axes (batch, place, head, feature), or all but the batch, got query "
            f"{query.strong} and key {key.strong}"
        )
    if value.shape != key.shape:
        raise ValueError(f"{name}: value must have the shape of key, {key.strong}, got {value.strong}")
    if query.shape[-1] != key.shape[-1] or query.shape[:-3] != key.shape[:-3]:
        raise ValueError(
            f"{name}: query and key must have the same batch and features, got query {query.strong} and key "
            f"{key.strong}"
        )
    if not key.shape[-2] or query.shape[-2] % key.shape[-2]:
        raise ValueError(
            f"{name}: the number of heads of query, {query.shape[-2]}, must be a multiple of that of key, "
            f"{key.shape[-2]}"
        )


def _check_option(name: str, aval: Aval, batch: int) -> None:
    if name.endswith("lengths") and (aval.shape != (batch,) or aval.dtype.kind not in "iu"):
        raise ValueError(f"dot_product_attention: {name} must be {batch} integers, one a batch, got {aval.strong}")
    if name == "mask" and aval.dtype.kind != "b":
        raise TypeError(
            f"dot_product_attention: mask must be booleans, got {aval.strong}; what is added to the products is bias"
        )
    if name == "scale" and aval.shape:
        raise ValueError(f"dot_product_attention: scale must be a number, got {aval.strong}")


def _window(given: Any) -> Window | None:
    if given is None:
        return None
    pair = (given, given) if not isinstance(given, Sequence) else tuple(given)
    if len(pair) != 2 or any([operator.index(n) < 0 for n in pair]):
        raise ValueError(
            f"dot_product_attention: local_window_size must be an int that is not negative, or two, got {given!r}"
        )
    return operator.index(pair[0]), operator.index(pair[1])


# --------------------------------------------------------------------------------------------------------------------
# The composition


def _attention(*operands_and_static: Any) -> Any:
    *operands, names, is_causal, window, return_residual = operands_and_static
    query, key, value = floating("dot_product_attention", *operands[:3])
    options = dict(zip(names, operands[3:], strict=True))
    shape, single = query.shape, query.ndim == 3
    if single:
        query, key, value = [lax.reshape(x, (1, *x.shape)) for x in (query, key, value)]
    logits = _logits(query, key, options)
    heads = logits.shape[2]
    mask = _mask(logits.shape, heads, options, is_causal, window)
    weights = shares(logits, (4,), *mask, safe="bias" in options)  # a bias of -inf may be a mask
    weights = convert_element_type(weights, value.dtype)
    # (b, k, g, t, s) and (b, s, k, h) give (b, k, g, t, h).
    out = lax.dot_general(weights, value, (((4,), (1,)), ((0, 1), (0, 2))))
    out = lax.reshape(lax.transpose(out, (0, 3, 1, 2, 4)), query.shape)
    if "query_seq_lengths" in options:
        out = _without_rest(out, options["query_seq_lengths"])
    out = lax.reshape(out, shape)
    if not return_residual:
        return out
    residual = lax.stop_gradient(log_total(logits, (4,), *mask))
    residual = convert_element_type(lax.transpose(residual, (0, 3, 1, 2)), value.dtype)
    return out, lax.reshape(residual, shape[:-1])


def _logits(query: Any, key: Any, options: dict[str, Any]) -> Any:
    """The products, (b, k, g, t, s): of heads that share keys the group g. Of halves they are float32."""
    b, t, n, h = query.shape
    k = key.shape[2]
    scale = options.get("scale")
    factor = like(1 / sqrt(h or 1), query) if scale is None else _number(scale, query)
    query = lax.mul(query, factor)  # there are fewer queries than products, mostly
    grouped = lax.reshape(query, (b, t, k, n // k, h))
    wide = np.float32 if query.dtype == np.float16 else query.dtype
    grouped, key = [convert_element_type(x, wide) for x in (grouped, key)]
    logits = lax.dot_general(grouped, key, (((4,), (3,)), ((0, 2), (0, 2))))  # (b, k, t, g, s)
    logits = lax.transpose(logits, (0, 1, 3, 2, 4))
    if "bias" in options:
        bias = convert_element_type(options["bias"], logits.dtype)
        logits = lax.add(logits, _grouped("bias", bias, logits.shape))
    return logits


def _number(scale: Any, x: Any) -> Any:
    return lax.broadcast_in_dim(convert_element_type(scale, x.dtype), x.shape, ())


def _grouped(name: str, x: Any, shape: tuple[int, ...]) -> Any:
    """What broadcasts to (b, n, t, s) in the shape (b, k, g, t, s)."""
    b, k, g, t, s = shape
    try:
        if x.ndim < 3 or x.shape[-3] == 1:
            heads = (*x.shape[:-2], 1, *x.shape[-2:]) if x.ndim >= 2 else x.shape
            return broadcast_to(lax.reshape(x, heads), shape)
        whole = broadcast_to(x, (b, k * g, t, s))
    except ValueError:
        raise ValueError(
            f"dot_product_attention: {name}, {x.aval.strong}, must broadcast to batch, heads, queries and keys, "
            f"{(b, k * g, t, s)}"
        ) from None
    return lax.reshape(whole, shape)


def _mask(
    shape: tuple[int, ...], heads: int, options: dict[str, Any], is_causal: bool, window: Window | None
) -> list[Any]:
    """All that leaves values away, as one mask; no mask if nothing does."""
    t, s = shape[3:]
    masks = []
    if "mask" in options:
        masks.append(_grouped("mask", options["mask"], shape))
    if is_causal or window is not None:
        own, other = [lax.broadcasted_iota(np.int64, (t, s), axis) for axis in (0, 1)]
        if is_causal:
            masks.append(lax.ge(own, other))
        if window is not None:
            masks.append(lax.ge(lax.add(other, like(window[0], other)), own))
            masks.append(lax.ge(lax.add(own, like(window[1], own)), other))
    for name, axis, n in (("query_seq_lengths", 3, t), ("key_value_seq_lengths", 4, s)):
        if name in options:
            masks.append(lax.broadcast_in_dim(_counted(options[name], n), shape, (0, axis)))
    small = [m for m in masks if m.ndim == 2]
    large = [m for m in masks if m.ndim != 2]
    if small:
        joined = small[0]
        for m in small[1:]:
            joined = lax.bitwise_and(joined, m)
        large.append(lax.broadcast_in_dim(joined, shape, (3, 4)))
    if not large:
        return []
    out = large[0]
    for m in large[1:]:
        out = lax.bitwise_and(out, m)
    return [out]


def _counted(lengths: Any, n: int) -> Any:
    """For each of the batch, which of n places are below its length."""
    lengths = convert_element_type(lengths, np.int64)
    places = lax.broadcasted_iota(np.int64, (lengths.shape[0], n), 1)
    return lax.lt(places, lax.broadcast_in_dim(lengths, places.shape, (0,)))


def _without_rest(out: Any, lengths: Any) -> Any:
    kept = lax.broadcast_in_dim(_counted(lengths, out.shape[1]), out.shape, (0, 1))
    return lax.select(kept, out, like(0, out))
