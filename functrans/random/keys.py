"""Keys: the state of random numbers as a value.

A key is two 32-bit words. Nothing changes it: the same key gives the same numbers, and new keys are made by `split` and
`fold_in`. Keys and the bits drawn from them are those of JAX under its defaults (Threefry-2x32, partitionable).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from operator import index
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from functrans.config import config
from functrans.core.aval import aval_of
from functrans.core.key_reuse import use_key
from functrans.errors import hide_frames
from functrans.ops.conversion import convert_element_type
from functrans.ops.families import constant_like
from functrans.ops.joining import concatenate
from functrans.ops.random_bits import random_clone, random_fold_in, random_split
from functrans.ops.shape import expand_dims
from functrans.tree_util import register_pytree_with_keys_class

__all__ = [
    "KeyArray",
    "PRNGKey",
    "clone",
    "fold_in",
    "key",
    "key_data",
    "key_impl",
    "single_key",
    "split",
    "wrap_key_data",
]

_IMPLEMENTATIONS = (None, "threefry2x32")


@register_pytree_with_keys_class
class KeyArray:
    """An array of keys. Its last axis, of the two words of each key, is hidden.

    It is a pytree node, so keys go through `jit`, `vmap` (along axis 0) and `scan`. It can be indexed and iterated
    over.

    >>> import functrans as ft
    >>> ft.random.key(0)
    KeyArray((), overlaying [0 0])
    """

    __slots__ = ("_data",)

    def __init__(self, data: Any) -> None:
        self._data = data

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array of keys."""
        return tuple(self._data.shape[:-1])

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """How many keys there are."""
        return prod(self.shape)

    def reshape(self, *shape: Any) -> KeyArray:
        """The same keys in another shape."""
        wanted = shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
        return KeyArray(self._data.reshape(*wanted, 2))

    def ravel(self) -> KeyArray:
        """The keys along one axis."""
        return self.reshape(self.size)

    flatten = ravel

    def transpose(self, *axes: Any) -> KeyArray:
        """The same keys with the axes in another order: reversed if none is given."""
        order = axes[0] if len(axes) == 1 and isinstance(axes[0], (tuple, list)) else axes
        places = [normalize_axis_index(axis, self.ndim) for axis in order] or list(reversed(range(self.ndim)))
        return KeyArray(self._data.transpose(*places, self.ndim))

    T = property(transpose)

    def squeeze(self, axis: int | tuple[int, ...] | None = None) -> KeyArray:
        """The same keys without axes of length 1: all of them, or those that are given."""
        given = [i for i, n in enumerate(self.shape) if n == 1] if axis is None else np.atleast_1d(axis).tolist()
        return KeyArray(self._data.squeeze(tuple([normalize_axis_index(i, self.ndim) for i in given])))

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise hide_frames(
            TypeError(
                "NumPy's functions do not take keys: functrans.random.key_data(keys) has their words. To join keys, "
                "functrans.tree.map(lambda *words: np.stack(words), *keys)."
            )
        )

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a single key has no length")
        return self.shape[0]

    def __iter__(self) -> Iterator[KeyArray]:
        if not self.shape:
            raise TypeError("a single key cannot be iterated over; split(key) gives two")
        return (self[i] for i in range(len(self)))

    def __getitem__(self, places: Any) -> KeyArray:
        indices = places if isinstance(places, tuple) else (places,)
        if any([i is Ellipsis for i in indices]):
            return KeyArray(self._data[(*indices, slice(None))])
        if len([i for i in indices if i is not None]) > self.ndim:
            raise IndexError(f"too many indices for keys of shape {self.shape}")
        return KeyArray(self._data[indices])

    def __eq__(self, other: object) -> Any:
        if not isinstance(other, KeyArray):
            return NotImplemented
        return (self._data == other._data).all(axis=-1)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"KeyArray({self.shape}, overlaying {self._data})"

    def tree_flatten_with_keys(self) -> tuple[Any, None]:
        """The words, as the only child."""
        return (("words", self._data),), None

    def tree_flatten(self) -> tuple[Any, None]:
        """The words, as the only child."""
        return (self._data,), None

    @classmethod
    def tree_unflatten(cls, aux: None, children: Sequence[Any]) -> KeyArray:
        """From the words."""
        return cls(children[0])


Keys = Any
"""A `KeyArray`, or an array of uint32 whose last axis has length 2."""


def key(seed: Any, *, impl: str | None = None, dtype: str | None = None) -> KeyArray:
    """A key from a seed.

    Args:
        seed: an integer, which may be a tracer. Of a number beyond 32 bits the lower 32 count, as in JAX by default.
        impl: None or "threefry2x32", the only generator.
        dtype: the same, under JAX's newer name.

    >>> import functrans as ft
    >>> ft.random.uniform(ft.random.key(7))
    np.float64(0.8441069450823528)
    """
    _check_impl(dtype)
    return KeyArray(PRNGKey(seed, impl=impl))


def PRNGKey(seed: Any, *, impl: str | None = None) -> Any:  # noqa: N802  (JAX's name)
    """A key as a plain array of two uint32 words; for what `key` does with a type of its own.

    >>> import functrans as ft
    >>> ft.random.PRNGKey(7)
    array([0, 7], dtype=uint32)
    """
    _check_impl(impl)
    if isinstance(seed, int) and not isinstance(seed, bool):
        return np.array([0, seed & 0xFFFFFFFF], np.uint32)
    aval = aval_of(seed)
    if aval.shape or aval.dtype.kind not in "iu":
        raise TypeError(f"a seed must be one integer, got {aval.strong}")
    return _seeded(seed)


def _seeded(seed: Any) -> Any:
    word = convert_element_type(seed, np.uint32)
    return concatenate([constant_like(expand_dims(word, (0,)), 0), expand_dims(word, (0,))], 0)


def _check_impl(impl: str | None) -> None:
    if impl not in _IMPLEMENTATIONS:
        raise ValueError(f"the generator is threefry2x32, the only one there is; got {impl!r}")


def words_of(keys: Keys) -> Any:
    """The words of keys, uint32 of shape (..., 2).

    Raises:
        TypeError: for what is not a key.
    """
    words = keys._data if isinstance(keys, KeyArray) else keys
    try:
        aval = aval_of(words)
    except TypeError:
        aval = None
    if aval is None or aval.dtype != np.uint32 or aval.shape[-1:] != (2,):
        got = f"{keys!r:.60} of type {type(keys).__name__}" if aval is None else f"an array {aval.strong}"
        raise TypeError(
            f"a random key is needed, got {got}. Make one, functrans.random.key(seed), and a new one for each use: "
            "key, subkey = functrans.random.split(key)."
        )
    return words


def one_key(keys: Keys, name: str) -> Any:
    """The two words of one key.

    Raises:
        TypeError: for what is not a key.
        ValueError: for an array of keys.
    """
    words = words_of(keys)
    if words.ndim != 1:
        raise ValueError(
            f"random.{name} takes a single key, got keys of shape {tuple(words.shape[:-1])}: "
            f"functrans.vmap(lambda k: random.{name}(k, ...))(keys) draws with each"
        )
    return words


def single_key(keys: Keys, name: str) -> Any:
    """The two words of one key, for a function that draws from it.

    Raises:
        TypeError: for what is not a key.
        ValueError: for an array of keys.
        KeyReuseError: with `config.debug_key_reuse`, if it has been drawn from before.
    """
    words = one_key(keys, name)
    if config.debug_key_reuse:
        use_key(words, f"random.{name}")
    return words


def _like(keys: Keys, words: Any) -> Any:
    return KeyArray(words) if isinstance(keys, KeyArray) else words


def split(key: Keys, num: int | tuple[int, ...] = 2) -> Any:
    """New keys from one.

    Args:
        key: a key, which should not be used any more after this.
        num: how many, or the shape of an array of them.

    Returns:
        Keys of the kind of `key`.

    >>> import functrans as ft
    >>> carried, drawn = ft.random.split(ft.random.key(0))
    >>> carried
    KeyArray((), overlaying [1797259609 2579123966])
    """
    try:
        shape = (index(num),) if not isinstance(num, (tuple, list)) else tuple([index(n) for n in num])
    except TypeError as error:
        raise hide_frames(TypeError(f"random.split: num must be an int or a tuple of ints: {error}")) from None
    if any([n < 0 for n in shape]):
        raise hide_frames(ValueError(f"random.split: the number of keys cannot be negative, got {num}"))
    return _like(key, random_split(single_key(key, "split"), shape))


def fold_in(key: Keys, data: Any) -> Any:
    """A new key from a key and an integer, such as the number of a step.

    >>> import functrans as ft
    >>> ft.random.fold_in(ft.random.key(0), 1)
    KeyArray((), overlaying [ 928981903 3453687069])
    """
    words = one_key(key, "fold_in")
    aval = aval_of(data)
    if aval.shape or aval.dtype.kind not in "iu":
        raise TypeError(f"fold_in takes one integer, got {aval.strong}")
    if isinstance(data, int):
        data = np.uint32(data & 0xFFFFFFFF)
    return _like(key, random_fold_in(words, convert_element_type(data, np.uint32)))


def key_data(keys: Keys) -> Any:
    """The words of keys: uint32 of shape (..., 2)."""
    return words_of(keys)


def wrap_key_data(key_bits_array: Any, *, impl: str | None = None, dtype: str | None = None) -> KeyArray:
    """Keys from their words, the inverse of `key_data`."""
    _check_impl(impl)
    _check_impl(dtype)
    return KeyArray(words_of(key_bits_array))


def key_impl(keys: Keys) -> str:
    """The name of the generator."""
    words_of(keys)
    return "threefry2x32"


def clone(key: Keys) -> Any:
    """The same key, for another use of it on purpose."""
    return _like(key, random_clone(words_of(key)))
