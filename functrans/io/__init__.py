"""Pytrees in files: `save` and `load`.

>>> import os, tempfile
>>> import numpy as np
>>> from functrans import io
>>> path = os.path.join(tempfile.mkdtemp(), 'training.npz')
>>> io.save(path, {'params': [np.ones(2), np.float32(0.5)], 'step': 7, 'name': 'run'})
>>> io.load(path)
{'params': [array([1., 1.]), np.float32(0.5)], 'step': 7, 'name': 'run'}

The file is an `.npz`, so `numpy.load` reads its arrays too. Beside `leaf0`, `leaf1`, ... it has `structure`, a record
in JSON of the tree and of each array's dtype, shape and SHA-256. It is written in a temporary file beside it, synced to
the disk, and then takes the place of the old one at once: whoever reads the path, at whatever moment the writer is
killed, finds a whole file, the old or the new one.

Nothing in a file is executed or imported when it is loaded, no name in it becomes a path, and no array is allocated
before its size has been held against that of the file.
"""

from __future__ import annotations

import os
from typing import Any

from functrans.errors import hide_frames
from functrans.io.archives import FileFormatError, read_archive, write_archive
from functrans.io.records import TreeReader, TreeWriter
from functrans.io.replacing import replacing

__all__ = ["FileFormatError", "load", "save"]

_PathLike = str | os.PathLike[str]


def save(path: _PathLike, tree: Any) -> None:
    """Write a pytree to a file, which takes the place of an older one at once or not at all.

    Args:
        path: the file; its folder must exist.
        tree: any nesting of dicts, lists, tuples, `OrderedDict`, `deque`, None, named tuples and registered classes,
            with leaves that are arrays (of numbers, strings, bytes, dates), NumPy's or Python's scalars or strings.
            Keys of dicts are strings, numbers, bools, None, or tuples of them.

    Raises:
        TypeError: for a leaf or key that cannot be saved, naming its path.
        ValueError: for a tree that is nested too deeply, or contains itself.
        OSError: from the operating system. The old file is then as it was.
    """
    try:
        writer = TreeWriter()
        node = writer.node(tree, "tree", 0)
        with replacing(os.path.realpath(os.fspath(path))) as file:
            write_archive(file, node, writer.leaves)
    except Exception as error:
        raise hide_frames(error)  # noqa: B904  (it is the same error)


def load(path: _PathLike, like: Any = None) -> Any:
    """Read a pytree that `save` has written.

    Args:
        path: the file.
        like: a tree of the same structure, such as `optimizer.init(params)`. Nodes are then made as those of `like`,
            and its arrays must agree in shape and dtype with those in the file. Trees with named tuples or nodes of
            registered classes need it, since a file cannot bring code along. They are told by the name of the class;
            what a node holds besides its children is taken from `like`.

    Returns:
        The tree. Its arrays are new, writable, of the dtype and byte order that were saved, in C order.

    Raises:
        FileFormatError: if the file is damaged, truncated, of another format or version.
        ValueError: if the file does not agree with `like`, or has nodes that need it; the message names the place.
        OSError: if the file cannot be opened.

    >>> import os, tempfile
    >>> from functrans import io, optim
    >>> path = os.path.join(tempfile.mkdtemp(), 'state.npz')
    >>> optimizer = optim.adam(0.1)
    >>> io.save(path, optimizer.init({'w': 1.0}))
    >>> io.load(path, like=optimizer.init({'w': 1.0}))[0]
    ScaleByAdamState(count=array(0, dtype=int32), mu={'w': array(0.)}, nu={'w': array(0.)})
    """
    try:
        shown = os.fspath(path)
        node, leaves = read_archive(shown)
        reader = TreeReader(shown, leaves)
        tree = reader.node(node, "tree", 0) if like is None else reader.node_like(node, like, "tree")
        if reader.unused:
            raise FileFormatError(f"{shown}: damaged: {len(reader.unused)} of its arrays are not part of the tree")
        return tree
    except Exception as error:
        raise hide_frames(error)  # noqa: B904  (it is the same error)
