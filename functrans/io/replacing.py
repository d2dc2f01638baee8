"""Files that take the place of others, whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # not on this platform: leftovers of killed writers stay
    fcntl = None  # type: ignore[assignment]

__all__ = ["replacing"]


@contextmanager
def replacing(path: str) -> Iterator[BinaryIO]:
    """A new file, synced to the disk, which takes the place of another if nothing fails."""
    folder, name = os.path.split(path)
    _remove_leftovers(folder, name)
    temporary, file = _temporary(folder, name)
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            if fcntl is not None:  # under its lock, so that no other writer takes it for a leftover
                os.replace(temporary, path)
        if fcntl is None:
            os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_folder(folder)


def _temporary(folder: str, name: str) -> tuple[str, BinaryIO]:
    """A new file beside another, locked as long as it is open."""
    while True:
        path = os.path.join(folder, f".{name[:100]}.{secrets.token_hex(8)}.tmp")
        try:
            file = open(path, "xb")  # noqa: SIM115  (the caller closes it)
        except FileExistsError:
            continue
        if fcntl is None:
            return path, file
        with suppress(OSError):  # a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if os.stat(path).st_ino == os.fstat(file.fileno()).st_ino:
                return path, file
        file.close()  # another writer took it for a leftover before it was locked


def _remove_leftovers(folder: str, name: str) -> None:
    """Remove the temporary files of writers that were killed: those that nobody holds a lock on."""
    if fcntl is None:
        return
    start = f".{name[:100]}."
    for found in os.listdir(folder or "."):
        if not (found.startswith(start) and found.endswith(".tmp") and len(found) == len(start) + 20):
            continue
        path = os.path.join(folder, found)
        with suppress(OSError), open(path, "rb+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(path)


def _sync_folder(folder: str) -> None:
    """Have the folder's new entry on the disk, where the system knows how."""
    with suppress(OSError):
        descriptor = os.open(folder or ".", os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
