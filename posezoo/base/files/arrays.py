"""Read arrays that may come from anywhere: a .npz of plain numbers and text, checked before anything is unpacked.

numpy would allocate what a header claims, and unpack whatever it is told to; a pickle in it is never read.
"""

from __future__ import annotations

import io
import math
import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from posezoo.base.errors import DataError
from posezoo.base.paths import printable_path

MAX_BYTES = 1 << 31
"""Of all arrays together, unpacked."""
MAX_ARRAYS = 64
KINDS = "fiubU"
"""Of numpy's types: numbers, true or false, text."""
DAMAGE: tuple[type[Exception], ...] = (
    *(ValueError, TypeError, EOFError, KeyError, IndexError, RuntimeError, MemoryError, OverflowError),
    *(SyntaxError, tokenize.TokenError),  # of a header, which numpy reads as Python
    *(zlib.error, zipfile.BadZipFile),
)
"""What numpy and zipfile raise for a .npy or .npz that is damaged."""
UNREADABLE: tuple[type[Exception], ...] = (OSError, *DAMAGE)
"""The same, and what is raised for one that cannot be opened."""


def read(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a .npz file by name. Raises DataError for anything else, in one line."""
    name = printable_path(str(path))
    if not path.is_file():  # a pipe would never end
        raise DataError(f"{name}: {'not a file' if path.exists() else 'no such file'}", "give a .npz file")
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            _check(entries, name)
            return {entry.filename.removesuffix(".npy"): _array(archive, entry, name) for entry in entries}
    except zipfile.BadZipFile as error:
        raise DataError(f"{name} is damaged or not a .npz file: {error}", "write it with numpy.savez") from None
    except OSError as error:
        raise DataError(f"{name}: {error.strerror or error}", "give a .npz file that can be read") from None
    except DAMAGE as error:
        raise DataError(f"{name} is damaged: {' '.join(str(error).split())}", "write it with numpy.savez") from None


def _check(entries: list[zipfile.ZipInfo], name: str) -> None:
    hint = "write fewer arrays, or fewer images"
    if len(entries) > MAX_ARRAYS:
        raise DataError(f"{name} has {len(entries)} arrays, at most {MAX_ARRAYS} are read", hint)
    if len({entry.filename for entry in entries}) < len(entries):
        raise DataError(f"{name} has two arrays of one name", "write it with numpy.savez")
    if any(entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for entry in entries):
        raise DataError(f"{name} is not compressed as numpy does it", "write it with numpy.savez")
    total = sum(entry.file_size for entry in entries)
    if total > MAX_BYTES:
        raise DataError(f"{name} unpacks to {total / 1e9:.1f} GB, at most {MAX_BYTES / 1e9:.1f} GB are read", hint)


def _array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str) -> np.ndarray:
    """One array; its header must claim exactly the bytes that follow."""
    shown = printable_path(entry.filename)
    with archive.open(entry) as stream:
        content = io.BytesIO(stream.read(entry.file_size + 1))
    version = npy.read_magic(content)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"{shown} is of version {version}")
    header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = header(content)
    if dtype.kind not in KINDS:
        hint = "convert it to numbers: numpy.asarray(values, dtype=numpy.float32)"
        raise DataError(f"{name}: {shown} holds Python objects or other types ({dtype}), which are not read", hint)
    expected = content.tell() + math.prod(shape) * dtype.itemsize
    if content.getbuffer().nbytes != expected:
        raise ValueError(f"{shown} has {content.getbuffer().nbytes} bytes, its header claims {expected}")
    content.seek(0)
    return npy.read_array(content, allow_pickle=False)
