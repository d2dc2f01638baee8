"""vectorize: a function of arrays with so many axes as one that broadcasts over all further ones.

It is `vmap`, once for each axis that the arguments are broadcast over, so it costs no loop.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import numpy as np

from functrans.api.arguments import name_of, parameter_name
from functrans.api.transformed import Transformed
from functrans.api.vmap import vmap
from functrans.caching import kept
from functrans.core.aval import aval_of
from functrans.numpy.creation import asarray
from functrans.ops.shape import expand_dims, reshape
from functrans.tree import flatten, leaf_path
from functrans.tree import map as tree_map

__all__ = ["vectorize"]

Shape = tuple[int, ...]
Dimensions = tuple[str, ...]

_ARGUMENT = r"\((?:\w+(?:,\w+)*)?\)"
_ARGUMENTS = f"(?:{_ARGUMENT}(?:,{_ARGUMENT})*)?"


def vectorize(
    pyfunc: Callable[..., Any], *, excluded: Collection[int | str] = frozenset(), signature: str | None = None
) -> Callable[..., Any]:
    """A function that applies `pyfunc` to all members of arrays that are broadcast against each other, all at once.

    Args:
        pyfunc: a function of arrays, or of scalars if no signature is given. Keyword arguments that are not excluded
            are taken as arrays too, after the positional ones.
        excluded: arguments that are handed on as they are, by position or by name; they may be anything.
        signature: the axes that `pyfunc` itself works on, for each argument that is not excluded and for each result,
            as `"(n,m),(m)->(n)"`. Axes of one name have one length; one whose name is a number has that length. All
            other axes, in front, are broadcast.

    Returns:
        A function of arrays, or of nested lists of numbers.

    Raises:
        ValueError: if the signature cannot be read; when called, if the number of arguments, their axes, or the
            results' do not fit it, or the rest of the axes cannot be broadcast. The argument and the axis are named.
        TypeError: if `excluded` has something besides ints and strings, or an argument is no array.

    >>> import numpy as np
    >>> import functrans as ft
    >>> matvec = ft.numpy.vectorize(np.dot, signature="(n,m),(m)->(n)")
    >>> matvec(np.ones((5, 2, 3)), np.arange(3.0)).shape
    (5, 2)
    """
    wrong = [x for x in excluded if isinstance(x, bool) or not isinstance(x, (int, str))]
    if wrong:
        raise TypeError(f"vectorize: excluded must have positions and names of arguments, got {wrong[0]!r:.60}")
    if any([isinstance(x, int) and x < 0 for x in excluded]):
        raise ValueError(f"vectorize: positions in excluded count from 0, got {sorted(map(str, excluded))}")
    if signature is not None:
        _parsed(signature)
    return Vectorized(pyfunc, excluded=frozenset(excluded), signature=signature)


class _Signature(NamedTuple):
    """The axes of the arguments and of the results."""

    inputs: tuple[Dimensions, ...]
    outputs: tuple[Dimensions, ...]


@kept("signatures of vectorize", 256)
def _parsed(signature: str) -> _Signature:
    if not isinstance(signature, str):
        raise TypeError(f"vectorize: the signature must be a string such as '(n),(n)->()', got {signature!r:.60}")
    text = re.sub(r"\s+", "", signature)
    if not re.fullmatch(f"{_ARGUMENTS}->{_ARGUMENTS}", text):
        raise ValueError(f"vectorize: {signature!r} is not a signature; one looks like '(n,m),(m)->(n)'")
    sides = [
        tuple([tuple(re.findall(r"\w+", argument)) for argument in re.findall(_ARGUMENT, side)])
        for side in text.split("->")
    ]
    return _Signature(*sides)


class Vectorized(Transformed):
    """The function that `vectorize` returns."""

    transformation = "vectorize"

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Broadcast and run."""
        arrays, names, member = self._split(args, kwargs)
        inputs, outputs = self._dimensions(len(arrays))
        arrays = [self._array(x, name) for x, name in zip(arrays, names, strict=True)]
        sizes, loops = self._read_shapes(arrays, names, inputs)
        function = self._checked(member, sizes, outputs)
        shape = self._broadcast(loops, arrays, names)
        for axis in range(1, len(shape) + 1):
            if shape[-axis] != 1:
                in_axes = tuple([0 if len(loop) >= axis and loop[-axis] != 1 else None for loop in loops])
                function = vmap(function, in_axes)
        squeezed = [
            reshape(x, (*[n for n in loop if n != 1], *x.shape[len(loop) :]))
            for x, loop in zip(arrays, loops, strict=True)
        ]
        out = function(*squeezed)
        ones = [d for d, n in enumerate(shape) if n == 1]
        return tree_map(lambda x: expand_dims(asarray(x), ones), out) if ones else out

    def _split(self, args: Any, kwargs: dict[str, Any]) -> tuple[list[Any], list[str], Callable[..., Any]]:
        """The arguments that are broadcast, their names, and the function of them alone."""
        excluded = self.options["excluded"]
        positions = [i for i, x in enumerate(args) if i not in excluded and x is not None]
        keys = [key for key, x in kwargs.items() if key not in excluded and x is not None]

        def member(*members: Any) -> Any:
            whole, keywords = list(args), dict(kwargs)
            for position, x in zip(positions, members, strict=False):
                whole[position] = x
            keywords.update(zip(keys, members[len(positions) :], strict=True))
            return self.fun(*whole, **keywords)

        member.__name__ = name_of(self.fun)
        names = [parameter_name(self.fun, i) for i in positions] + keys
        return [args[i] for i in positions] + [kwargs[key] for key in keys], names, member

    def _dimensions(self, n_arrays: int) -> tuple[Sequence[Dimensions], Sequence[Dimensions] | None]:
        if self.options["signature"] is None:
            return [()] * n_arrays, None
        inputs, outputs = _parsed(self.options["signature"])
        if len(inputs) != n_arrays:
            raise ValueError(
                f"{self._described} takes {len(inputs)} arrays, and got {n_arrays}. What is no array is to be excluded"
            )
        return inputs, outputs

    @property
    def _described(self) -> str:
        signature = self.options["signature"]
        return f"vectorize of {name_of(self.fun)}" + ("" if signature is None else f" with signature {signature!r}")

    def _array(self, x: Any, name: str) -> Any:
        try:
            array = asarray(x)
            aval_of(array)
            return array
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"{self._described} got {x!r:.60} of type {type(x).__name__} for {name}, which is no array: {error} "
                "(excluded={...} hands an argument on as it is)"
            ) from None

    def _read_shapes(
        self, arrays: Sequence[Any], names: Sequence[str], inputs: Sequence[Dimensions]
    ) -> tuple[dict[str, int], list[Shape]]:
        """The lengths of the axes of the signature, and the other axes of each argument."""
        sizes: dict[str, int] = {}
        first: dict[str, str] = {}
        loops = []
        for x, name, dims in zip(arrays, names, inputs, strict=True):
            shown = aval_of(x).strong
            if x.ndim < len(dims):
                raise ValueError(
                    f"{self._described} needs the axes ({','.join(dims)}) of {name}, which is {shown} and has {x.ndim}"
                )
            loops.append(x.shape[: x.ndim - len(dims)])
            for dim, n in zip(dims, x.shape[x.ndim - len(dims) :], strict=True):
                expected = int(dim) if dim.isdecimal() else sizes.setdefault(dim, n)
                if n != expected:
                    raise ValueError(
                        f"{self._described}: the axis {dim} has length {expected}{first.get(dim, '')}, and length {n} "
                        f"in {name}, which is {shown}"
                    )
                first.setdefault(dim, f" in {name}, which is {shown}")
        return sizes, loops

    def _broadcast(self, loops: Sequence[Shape], arrays: Sequence[Any], names: Sequence[str]) -> Shape:
        try:
            return np.broadcast_shapes(*loops)
        except ValueError:
            lines = [
                f"  {name} is {aval_of(x).strong}, of which {loop} is broadcast"
                for name, x, loop in zip(names, arrays, loops, strict=True)
            ]
            raise ValueError(f"{self._described}: the shapes cannot be broadcast:\n" + "\n".join(lines)) from None

    def _checked(
        self, member: Callable[..., Any], sizes: dict[str, int], outputs: Sequence[Dimensions] | None
    ) -> Callable[..., Any]:
        """The function of members, whose results are checked against the signature."""

        def checked(*members: Any) -> Any:
            out = member(*members)
            if outputs is None:
                self._check_scalars(out)
                return out
            results = out if len(outputs) != 1 else (out,)
            if not isinstance(results, (tuple, list)) or len(results) != len(outputs):
                n = len(results) if isinstance(results, (tuple, list)) else 1
                raise ValueError(f"{self._described} must return {len(outputs)} results, and returned {n}")
            for number, (x, dims) in enumerate(zip(results, outputs, strict=True)):
                self._check_result(x, dims, sizes, f"output[{number}]" if len(outputs) != 1 else "the output")
            return out if len(outputs) == 1 else tuple(results)

        checked.__name__ = name_of(self.fun)
        return checked

    def _check_scalars(self, out: Any) -> None:
        leaves, treedef = flatten(out)
        for place, x in enumerate(leaves):
            if np.ndim(x) != 0:
                raise ValueError(
                    f"{self._described}: output{leaf_path(treedef, place)} is {aval_of(x).strong}; without a signature "
                    "the function must return scalars. Say what axes it has: signature='()->(n)'"
                )

    def _check_result(self, x: Any, dims: Dimensions, sizes: dict[str, int], name: str) -> None:
        aval = aval_of(x).strong
        if aval.ndim != len(dims):
            raise ValueError(f"{self._described}: {name} must have the axes ({','.join(dims)}), and is {aval}")
        for dim, n in zip(dims, aval.shape, strict=True):
            expected = int(dim) if dim.isdecimal() else sizes.setdefault(dim, n)
            if n != expected:
                raise ValueError(
                    f"{self._described}: the axis {dim} has length {expected}, and length {n} in {name}, "
                    f"which is {aval}"
                )
