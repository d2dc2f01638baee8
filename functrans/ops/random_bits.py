"""Pseudo-random bits by counting: the Threefry hash of a key and a counter, and the bits of numbers as other numbers.

Threefry-2x32 with 20 rounds is from J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, "Parallel random numbers: as
easy as 1, 2, 3", SC 2011: a bijection of 64 bits for each key, random enough at the counters 0, 1, 2, ...

The words of keys have the shape (..., 2). What is drawn from them has the axes of the keys first, then its own: in a
program that draws with one key there are none of the former, `vmap` puts them there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from functrans.core.aval import Aval
from functrans.core.primitive import Primitive
from functrans.core.rules import def_abstract, def_batch, def_constant, def_impl, def_specialized_impl
from functrans.ops.families import align
from functrans.ops.shape import moveaxis

__all__ = [
    "batch_draw",
    "bitcast_convert_type",
    "bitcast_convert_type_p",
    "check_words",
    "draw",
    "drawing",
    "hashed",
    "random_bits",
    "random_bits_p",
    "random_clone",
    "random_clone_p",
    "random_fold_in",
    "random_fold_in_p",
    "random_split",
    "random_split_p",
    "threefry2x32",
    "threefry2x32_p",
    "wide",
]

Words = np.ndarray[Any, np.dtype[np.uint32]]
Shape = tuple[int, ...]

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = np.uint32(0x1BD11BDA)
_BLOCK = 32_768
"""Elements worked on at a time, so that they stay in the cache through all rounds."""
_FEW = 4
"""Up to so many draws are made one by one."""
_MASK = 0xFFFFFFFF

# --------------------------------------------------------------------------------------------------------------------
# The hash, on arrays


def _mixed(y0: Words, y1: Words, spare: Words, keys: Sequence[Any], first: bool = False) -> None:
    """All rounds, in place, of counters to which the key has been added.

    Args:
        y0, y1: the two words; with `first`, y0 holds nothing yet, and what it should is a number, `keys[3]`.
        spare: memory of the same size.
        keys: the two words of the key, and their parity.
        first: see above.
    """
    injected = [keys[(i + 2) % 3] + np.uint32(i + 1) for i in range(5)]
    started = not first
    for i in range(5):
        for rotation in _ROTATIONS[i % 2]:
            np.add(y0 if started else keys[3], y1, out=y0)
            started = True
            np.right_shift(y1, _SHIFTS[32 - rotation], out=spare)
            np.left_shift(y1, _SHIFTS[rotation], out=y1)
            np.bitwise_or(y1, spare, out=y1)
            np.bitwise_xor(y0, y1, out=y1)
        np.add(y0, keys[(i + 1) % 3], out=y0)
        np.add(y1, injected[i], out=y1)


_SHIFTS = [np.array(n, np.uint32) for n in range(32)]


def hashed(k0: Any, k1: Any, x0: Any, x1: Any) -> tuple[Words, Words]:
    """The hash of the counters (x0, x1) under the keys (k0, k1): uint32 arrays or scalars, broadcast together."""
    shape = np.broadcast_shapes(*[np.shape(x) for x in (k0, k1, x0, x1)])
    if prod(shape) <= _FEW:
        columns = [np.broadcast_to(x, shape).ravel().tolist() for x in (k0, k1, x0, x1)]
        few = np.array([_hash_of_numbers(*row) for row in zip(*columns, strict=True)], np.uint32).reshape(-1, 2)
        return few[:, 0].reshape(shape), few[:, 1].reshape(shape)
    flat = [x if x.ndim == 0 else np.broadcast_to(x, shape).reshape(-1) for x in map(np.asarray, (k0, k1, x0, x1))]
    y0, y1 = np.empty(shape, np.uint32), np.empty(shape, np.uint32)
    whole0, whole1 = y0.reshape(-1), y1.reshape(-1)
    spare = np.empty(min(_BLOCK, whole0.size), np.uint32)
    with np.errstate(over="ignore"):  # where keys are scalars, which warn
        for start in range(0, whole0.size, _BLOCK):
            part = slice(start, start + _BLOCK)
            k0, k1, x0, x1 = [x if x.ndim == 0 else x[part] for x in flat]
            block0, block1 = whole0[part], whole1[part]
            np.add(x0, k0, out=block0)
            np.add(x1, k1, out=block1)
            _mixed(block0, block1, spare[: block0.size], (k0, k1, k0 ^ k1 ^ _PARITY))
    return y0, y1


def wide(high: Words, low: Words) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """Two words as one of 64 bits."""
    out = high.astype(np.uint64)
    out <<= np.uint64(32)
    out |= low
    return out


Finish = Callable[[Words, Words, Any], None]
"""`finish(high, low, out)`: writes what is drawn from two words of hash into `out`; it may overwrite the words."""


def draw(words: Words, size: int, out: np.ndarray[Any, Any], finish: Finish) -> None:
    """Fill `out`, of shape (keys, size, ...), with what `finish` makes of the hashes of the counters 0, 1, ...

    Args:
        words: the keys, of shape (keys, 2).
        size: how many counters there are for each key.
        out: the array to fill.
        finish: what is made of the hashes, block by block.
    """
    if len(words) * size <= _FEW:
        _draw_few(words, size, out, finish)
        return
    with np.errstate(over="ignore"):
        if size >= _BLOCK // 8 or len(words) == 1:
            for key, row in zip(words, out, strict=True):
                _draw_from_one(key, size, row, finish)
        elif size:
            _draw_from_many(words, size, out, finish)


def _draw_few(words: Words, size: int, out: np.ndarray[Any, Any], finish: Finish) -> None:
    hashes = [_hash_of_numbers(k0, k1, 0, number) for k0, k1 in words.tolist() for number in range(size)]
    if hashes:
        high, low = np.array(hashes, np.uint32).T
        drawn = np.empty((len(hashes), *out.shape[2:]), out.dtype)
        finish(np.ascontiguousarray(high), np.ascontiguousarray(low), drawn)
        out[...] = drawn.reshape(out.shape)


def _hash_of_numbers(k0: int, k1: int, x0: int, x1: int) -> tuple[int, int]:
    """The hash of one counter, on Python's integers: for a few, that is less than the calls of NumPy."""
    keys = (k0, k1, k0 ^ k1 ^ int(_PARITY))
    y0, y1 = (x0 + k0) & _MASK, (x1 + k1) & _MASK
    for i in range(5):
        for rotation in _ROTATIONS[i % 2]:
            y0 = (y0 + y1) & _MASK
            y1 = ((y1 << rotation) | (y1 >> (32 - rotation))) & _MASK ^ y0
        y0 = (y0 + keys[(i + 1) % 3]) & _MASK
        y1 = (y1 + keys[(i + 2) % 3] + i + 1) & _MASK
    return y0, y1


def _draw_from_one(key: Words, size: int, out: np.ndarray[Any, Any], finish: Finish) -> None:
    k0, k1 = key
    length = min(size, _BLOCK)
    numbers = np.arange(length, dtype=np.uint32)
    memory = np.empty((3, length), np.uint32)
    for start in range(0, size, _BLOCK):
        n = min(_BLOCK, size - start)
        y0, y1, spare = memory[:, :n]
        np.add(numbers[:n], k1 + np.uint32(start & _MASK), out=y1)
        _mixed(y0, y1, spare, (k0, k1, k0 ^ k1 ^ _PARITY, k0 + np.uint32(start >> 32)), first=True)
        finish(y0, y1, out[start : start + n])


def _draw_from_many(words: Words, size: int, out: np.ndarray[Any, Any], finish: Finish) -> None:
    # The keys lie along the last axis, so that NumPy's inner loops are long where the draws of each are few.
    rows = max(1, _BLOCK // size)
    numbers = np.arange(size, dtype=np.uint32)[:, None]
    memory = np.empty((3, size * rows), np.uint32)
    for start in range(0, len(words), rows):
        k0, k1 = np.ascontiguousarray(words[start : start + rows].T)
        y0, y1, spare = memory[:, : size * len(k0)].reshape(3, size, len(k0))
        np.add(numbers, k1, out=y1)
        y0[...] = k0
        _mixed(y0, y1, spare, (k0, k1, k0 ^ k1 ^ _PARITY))
        block = out[start : start + rows]
        drawn = np.empty((size * len(k0), *block.shape[2:]), block.dtype)
        finish(y0.reshape(-1), y1.reshape(-1), drawn)
        block[...] = drawn.reshape(size, len(k0), *block.shape[2:]).swapaxes(0, 1)


# --------------------------------------------------------------------------------------------------------------------
# What primitives that draw have in common


def check_words(name: str, words: Aval) -> Shape:
    """The shape of an array of keys, from the aval of their words."""
    if words.dtype != np.uint32 or words.shape[-1:] != (2,):
        raise TypeError(f"{name} takes the words of keys, uint32 of shape (..., 2), got {words}")
    return words.shape[:-1]


def batch_draw(primitive: Primitive) -> Callable[..., Any]:
    """The batching rule of a primitive that takes the words of keys alone: the new axis becomes the first."""

    def batch(size: int, operands: Sequence[Any], axes: Sequence[int], **params: Any) -> tuple[Any, int]:
        return primitive.bind(moveaxis(operands[0], axes[0], 0), **params), 0

    return batch


def drawing(
    name: str,
    result: Callable[..., tuple[Shape, np.dtype[Any]]],
    finish: Callable[..., Finish],
    because: str = "it takes a key, an integer",
) -> Primitive:
    """A primitive that draws a number for each counter, from the words of keys.

    Args:
        name: its name.
        result: `result(**params)`: the shape of what is drawn for each counter, and the dtype.
        finish: `finish(**params)`: how it is made of the words of the hash.
        because: why it has no derivative.

    One of its parameters is the shape of what is drawn from each key.
    """
    primitive = Primitive(name)
    primitive.uses_key = True

    def abstract(words: Aval, **params: Any) -> Aval:
        tail, dtype = result(**params)
        return Aval((*check_words(name, words), *params["shape"], *tail), dtype)

    def specialize(words: Aval, **params: Any) -> Callable[[Words], Any]:
        aval, size, n_keys = abstract(words, **params), prod(params["shape"]), prod(words.shape[:-1])
        tail, write = result(**params)[0], finish(**params)

        def run(words: Words) -> Any:
            out = np.empty((n_keys, size, *tail), aval.dtype)
            draw(words.reshape(n_keys, 2), size, out, write)
            return out.reshape(aval.shape)[()]

        return run

    def_abstract(primitive, abstract)
    def_specialized_impl(primitive, specialize)
    def_constant(primitive, 1, because)
    def_batch(primitive, batch_draw(primitive))
    return primitive


# --------------------------------------------------------------------------------------------------------------------
# Bits


def random_bits(words: Any, bit_width: int, shape: Shape) -> Any:
    """Unsigned integers of 8, 16, 32 or 64 bits, independent and uniform, from the words of a key.

    >>> import numpy as np
    >>> random_bits(np.array([0, 0], np.uint32), 32, (2,))
    array([4070199207, 4202968722], dtype=uint32)
    """
    return random_bits_p.bind(words, bit_width=bit_width, shape=shape)


def _bits_result(bit_width: int, shape: Shape) -> tuple[Shape, np.dtype[Any]]:
    return (), np.dtype(f"uint{bit_width}")


def _write_bits(bit_width: int, shape: Shape) -> Finish:
    def of_both(high: Words, low: Words, out: Any) -> None:
        out[...] = wide(high, low)

    def of_one(high: Words, low: Words, out: Any) -> None:
        np.bitwise_xor(high, low, out=out)

    def of_less(high: Words, low: Words, out: Any) -> None:
        out[...] = (high ^ low).astype(out.dtype)

    return of_both if bit_width == 64 else of_one if bit_width == 32 else of_less


random_bits_p = drawing("random_bits", _bits_result, _write_bits)


def random_split(words: Any, shape: Shape) -> Any:
    """The words of new keys, in an array of the given shape and an axis of length 2, from those of a key."""
    return random_split_p.bind(words, shape=shape)


def _write_words(shape: Shape) -> Finish:
    def write(high: Words, low: Words, out: Any) -> None:
        out[:, 0] = high
        out[:, 1] = low

    return write


random_split_p = drawing("random_split", lambda shape: ((2,), np.dtype(np.uint32)), _write_words)


def random_fold_in(words: Any, data: Any) -> Any:
    """The words of a new key, from those of a key and a uint32; of arrays of keys, element by element."""
    return random_fold_in_p.bind(words, data)


def _fold_in_impl(words: Words, data: Words) -> Words:
    return np.stack(hashed(words[..., 0], words[..., 1], np.uint32(0), data), -1)


def _fold_in_abstract(words: Aval, data: Aval) -> Aval:
    if check_words("random_fold_in", words) != data.shape or data.dtype != np.uint32:
        raise TypeError(f"random_fold_in takes a uint32 for each key, got {data} for {words}")
    return words


def _fold_in_batch(size: int, operands: Sequence[Any], axes: Sequence[int | None]) -> tuple[Any, int]:
    return random_fold_in_p.bind(*align(size, operands, axes, 0)), 0


random_fold_in_p = Primitive("random_fold_in")
def_impl(random_fold_in_p, _fold_in_impl)
def_abstract(random_fold_in_p, _fold_in_abstract)
def_constant(random_fold_in_p, 2, "it takes a key, an integer")
def_batch(random_fold_in_p, _fold_in_batch)


def random_clone(words: Any) -> Any:
    """The same words, as those of a key that has not been used."""
    return random_clone_p.bind(words)


def _clone_batch(size: int, operands: Sequence[Any], axes: Sequence[int]) -> tuple[Any, int]:
    return random_clone_p.bind(moveaxis(operands[0], axes[0], 0)), 0


random_clone_p = Primitive("random_clone")
def_impl(random_clone_p, lambda words: words.copy())
def_abstract(random_clone_p, lambda words: Aval((*check_words("random_clone", words), 2), words.dtype))
def_constant(random_clone_p, 1, "it takes a key, an integer")
def_batch(random_clone_p, _clone_batch)

# --------------------------------------------------------------------------------------------------------------------
# The hash, as a primitive


def threefry2x32(k0: Any, k1: Any, x0: Any, x1: Any) -> tuple[Any, Any]:
    """The Threefry hash of the counters (x0, x1) under the keys (k0, k1), elementwise; all are uint32 of one shape.

    >>> import numpy as np
    >>> zero = np.zeros(1, np.uint32)
    >>> [hex(word[0]) for word in threefry2x32(zero, zero, zero, zero)]
    ['0x6b200159', '0x99ba4efe']
    """
    return threefry2x32_p.bind(k0, k1, x0, x1)


def _threefry_abstract(*avals: Aval) -> tuple[Aval, Aval]:
    first = avals[0]
    if len(avals) != 4 or any([a.shape != first.shape or a.dtype != np.uint32 for a in avals]):
        raise TypeError(f"threefry2x32 takes four uint32 operands of one shape, got {', '.join(map(str, avals))}")
    return first.strong, first.strong


def _threefry_impl(*operands: Any) -> tuple[Any, Any]:
    y0, y1 = hashed(*operands)
    return y0[()], y1[()]


def _threefry_batch(size: int, operands: Sequence[Any], axes: Sequence[int | None]) -> tuple[Any, tuple[int, int]]:
    axis = next(axis for axis in axes if axis is not None)
    return threefry2x32_p.bind(*align(size, operands, axes, axis)), (axis, axis)


threefry2x32_p = Primitive("threefry2x32", multiple_results=True)
threefry2x32_p.is_elementwise = True
def_impl(threefry2x32_p, _threefry_impl)
def_abstract(threefry2x32_p, _threefry_abstract)
def_constant(threefry2x32_p, 4, "integers have no derivative")
def_batch(threefry2x32_p, _threefry_batch)

# --------------------------------------------------------------------------------------------------------------------
# Bits as numbers


def bitcast_convert_type(operand: Any, new_dtype: Any) -> Any:
    """The same bits as numbers of another dtype of the same width, as `ndarray.view` reads them.

    >>> import numpy as np
    >>> bitcast_convert_type(np.array([1.0], np.float32), np.uint32)
    array([1065353216], dtype=uint32)
    """
    return bitcast_convert_type_p.bind(operand, new_dtype=np.dtype(new_dtype))


def _bitcast_abstract(operand: Aval, *, new_dtype: np.dtype[Any]) -> Aval:
    if operand.dtype.itemsize != new_dtype.itemsize or "b" in (operand.dtype.kind, new_dtype.kind):
        raise TypeError(f"bitcast_convert_type needs two dtypes of one width, got {operand} and {new_dtype.name}")
    return Aval(operand.shape, new_dtype)


def _bitcast_impl(operand: Aval, *, new_dtype: np.dtype[Any]) -> Callable[..., Any]:
    return lambda x: x.view(new_dtype)


def _bitcast_batch(size: int, operands: Sequence[Any], axes: Sequence[int], **params: Any) -> tuple[Any, int]:
    return bitcast_convert_type_p.bind(operands[0], **params), axes[0]


bitcast_convert_type_p = Primitive("bitcast_convert_type")
bitcast_convert_type_p.is_view = True
def_specialized_impl(bitcast_convert_type_p, _bitcast_impl)
def_abstract(bitcast_convert_type_p, _bitcast_abstract)
def_constant(bitcast_convert_type_p, 1, "bits have no derivative")
def_batch(bitcast_convert_type_p, _bitcast_batch)
