"""Arrays and a record in an `.npz` file: written plainly, and read with suspicion."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import struct
import zipfile
from contextlib import suppress
from math import prod
from typing import Any, BinaryIO, NamedTuple

import numpy as np

__all__ = ["KINDS", "FileFormatError", "read_archive", "write_archive"]

KINDS = "biufcSUmM"
"""The kinds of dtypes that can be saved: those that no code belongs to."""

_FORMAT = "functrans.io"
_VERSION = 1
_STRUCTURE = "structure.npy"
_MAX_STRUCTURE = 256 << 20
_DIGEST = hashlib.sha256
_FAULTS = (
    zipfile.BadZipFile,
    EOFError,
    struct.error,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OverflowError,
    OSError,
)


class FileFormatError(ValueError):
    """A file is not one that `functrans.io.save` has written, or is damaged. The message names the file and the fault.

    Restore it from a copy, or save it again.
    """


def _dtype_text(dtype: np.dtype[Any]) -> str:
    return str(np.lib.format.dtype_to_descr(dtype))


def _header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """What an array's entry begins with, by version 1.0 of NumPy's format, always the same."""
    text = repr({"descr": _dtype_text(dtype), "fortran_order": False, "shape": shape})
    text += " " * (-(len(text) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode("ascii")


def _digest(array: np.ndarray) -> str:
    return _DIGEST(_bytes_of(array)).hexdigest()


def _bytes_of(array: np.ndarray) -> memoryview:
    """The memory of an array in C order."""
    return memoryview(array.reshape(-1).view(np.uint8).data) if array.nbytes else memoryview(bytearray())


def write_archive(file: BinaryIO, tree: Any, leaves: list[np.ndarray]) -> None:
    """Write the record of a tree, and its arrays, which are in C order."""
    arrays = [{"dtype": _dtype_text(x.dtype), "shape": list(x.shape), "sha256": _digest(x)} for x in leaves]
    record = {"format": _FORMAT, "version": _VERSION, "arrays": arrays, "tree": tree}
    content = json.dumps(record, allow_nan=False, separators=(",", ":")).encode("ascii")
    blocks = [np.frombuffer(_DIGEST(content).digest() + content, np.uint8), *leaves]
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for number, array in enumerate(blocks):
            name = _STRUCTURE if number == 0 else f"leaf{number - 1}.npy"
            info = zipfile.ZipInfo(name)  # with a fixed date: equal trees give equal files
            with archive.open(info, "w", force_zip64=True) as entry:
                entry.write(_header(array.dtype, array.shape))
                entry.write(_bytes_of(array))


# --------------------------------------------------------------------------------------------------------------------
# Reading


class _Entry(NamedTuple):
    """An array in a file."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    sha256: str

    @property
    def nbytes(self) -> int:
        """The size of the array."""
        return prod(self.shape) * self.dtype.itemsize


def read_archive(path: str) -> tuple[Any, list[np.ndarray]]:
    """The record and the arrays of a file."""
    with open(path, "rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                return _read_archive(path, archive, os.fstat(file.fileno()).st_size)
        except FileFormatError:
            raise
        except _FAULTS as error:
            if isinstance(error, OSError) and error.errno != errno.EINVAL:  # EINVAL: a place before the beginning
                raise
            raise FileFormatError(
                f"{path}: damaged, truncated, or no file of functrans.io.save: {error or 'it ends too early'}"
            ) from None


def _read_archive(path: str, archive: zipfile.ZipFile, size: int) -> tuple[Any, list[np.ndarray]]:
    infos = {}
    for info in archive.infolist():
        if info.filename in infos:
            raise FileFormatError(f"{path}: damaged: the entry {info.filename!r:.60} is there twice")
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size or info.flag_bits & 1:
            raise FileFormatError(f"{path}: not of functrans.io.save: {info.filename!r:.60} is compressed or encrypted")
        infos[info.filename] = info
    if sum([info.file_size for info in infos.values()]) > size:
        raise FileFormatError(f"{path}: damaged: its entries claim to be larger than the file, which has {size} bytes")
    if _STRUCTURE not in infos:
        raise FileFormatError(f"{path}: not of functrans.io.save: there is no entry {_STRUCTURE!r}")
    record = _read_structure(path, archive, infos.pop(_STRUCTURE))
    entries = [_entry(path, number, entry) for number, entry in enumerate(record["arrays"])]
    names = [f"leaf{number}.npy" for number in range(len(entries))]
    if missing := [name for name in names if name not in infos]:
        raise FileFormatError(f"{path}: damaged: the array {missing[0]!r} is missing")
    if foreign := set(infos) - set(names):
        raise FileFormatError(f"{path}: damaged: the entry {min(foreign)!r:.60} is not of functrans.io.save")
    return record["tree"], [_read_array(path, archive, infos[n], e) for n, e in zip(names, entries, strict=True)]


def _read_structure(path: str, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> dict[str, Any]:
    if info.file_size > _MAX_STRUCTURE:
        raise FileFormatError(f"{path}: damaged: its record of the structure has {info.file_size} bytes")
    with archive.open(info) as stream:
        data = stream.read()
    start = len(_header(np.dtype(np.uint8), (len(data),)))  # as long for any number of bytes
    header, data = data[:start], data[start:]
    if header != _header(np.dtype(np.uint8), (len(data),)):
        raise FileFormatError(f"{path}: damaged, or not of functrans.io.save: its structure is no array of bytes")
    if _DIGEST(data[32:]).digest() != data[:32]:
        raise FileFormatError(f"{path}: damaged: the checksum of its structure is wrong")
    try:
        record = json.loads(data[32:])
    except (ValueError, RecursionError):
        raise FileFormatError(f"{path}: damaged: its record of the structure is no JSON") from None
    if not isinstance(record, dict) or record.get("format") != _FORMAT:
        raise FileFormatError(f"{path}: not of functrans.io.save: no such format is recorded")
    if record.get("version") != _VERSION:
        raise FileFormatError(
            f"{path}: its format has version {record.get('version')!r:.20}, and this functrans reads version "
            f"{_VERSION}: read it with the functrans that wrote it"
        )
    if not isinstance(record.get("arrays"), list) or "tree" not in record:
        raise FileFormatError(f"{path}: damaged: its record of the structure is incomplete")
    return record


def _entry(path: str, number: int, record: Any) -> _Entry:
    match record:
        case {"dtype": str(text), "shape": list(shape), "sha256": str(digest)} if all(
            [type(n) is int and n >= 0 for n in shape]
        ):
            with suppress(TypeError, ValueError, SyntaxError):
                dtype = np.dtype(text)
                if dtype.kind in KINDS and dtype.names is None:
                    return _Entry(dtype, tuple(shape), digest)
    raise FileFormatError(
        f"{path}: damaged, or of another platform: the array leaf{number} is recorded as {record!r:.80}"
    )


def _empty(path: str, entry: _Entry) -> np.ndarray:
    try:
        return np.empty(entry.shape, entry.dtype)
    except ValueError as error:  # no elements along one axis, and too many along others
        raise FileFormatError(
            f"{path}: damaged: an array is recorded with shape {list(entry.shape)}: {error}"
        ) from None


def _read_array(path: str, archive: zipfile.ZipFile, info: zipfile.ZipInfo, entry: _Entry) -> np.ndarray:
    with archive.open(info) as opened:
        stream: Any = opened
        header = _header(entry.dtype, entry.shape)
        if info.file_size != len(header) + entry.nbytes:
            raise FileFormatError(
                f"{path}: damaged: {info.filename!r} has {info.file_size} bytes, but is recorded as "
                f"{entry.dtype}{list(entry.shape)}"
            )
        if stream.read(len(header)) != header:
            raise FileFormatError(f"{path}: damaged: the header of {info.filename!r} is not what is recorded")
        array = _empty(path, entry)
        memory = _bytes_of(array)
        filled = 0
        while filled < len(memory):
            n = stream.readinto(memory[filled : filled + (1 << 24)])
            if not n:
                raise FileFormatError(f"{path}: truncated: {info.filename!r} ends too early")
            filled += n
        stream.read(1)  # at the end the archive's own checksum is compared
    if _digest(array) != entry.sha256:
        raise FileFormatError(f"{path}: damaged: the checksum of {info.filename!r} is wrong")
    return array
