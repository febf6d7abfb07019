"""A .npz from anywhere: plain arrays come out as they are, everything else is one line."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.lib import format as npy

from posezoo.base.errors import DataError
from posezoo.base.files import arrays

GOOD = {
    "images": np.random.default_rng(0).random((2, 3, 4, 5), dtype=np.float32),
    "order": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "scene": np.array([1, 0]),
    "text": np.array("abc"),
    "nothing": np.zeros((0, 3)),
    "flags": np.array([True, False]),
}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_plain_arrays(tmp_path: Path, save: Callable[..., None]) -> None:
    save(tmp_path / "x.npz", **GOOD)
    found = arrays.read(tmp_path / "x.npz")
    assert list(found) == list(GOOD)
    for key, value in GOOD.items():
        assert found[key].dtype == value.dtype
        assert np.array_equal(found[key], value)


def member(content: bytes, name: str = "a.npy", **more: Any) -> Callable[[Path], None]:
    """A file with this one member."""

    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w", **more) as archive:
            archive.writestr(name, content)

    return write


def header(shape: str, kind: str = "<f4", data: bytes = b"\0" * 8) -> bytes:
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return npy.magic(1, 0) + struct.pack("<H", len(text)) + text + data


def twice(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", header("(2,)"))
        with pytest.warns(UserWarning):
            archive.writestr("a.npy", header("(2,)"))


def cut(path: Path) -> None:
    np.savez(path, **GOOD)
    path.write_bytes(path.read_bytes()[:-30])


def flipped(path: Path) -> None:
    np.savez_compressed(path, a=np.random.default_rng(0).random(1000))
    content = bytearray(path.read_bytes())
    content[200:260] = bytes(60)
    path.write_bytes(content)


def objects(path: Path) -> None:
    np.savez(path, a=np.array([{"x": 1}], dtype=object))


def records(path: Path) -> None:
    np.savez(path, a=np.zeros(2, dtype=[("x", "f4"), ("y", "O")]))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: None, "no such file"),
        (Path.mkdir, "not a file"),
        (os.mkfifo, "not a file"),
        (Path.touch, "not a .npz"),
        (lambda path: path.write_bytes(b"\x80\x04garbage"), "not a .npz"),
        (lambda path: path.write_bytes(header("(2,)")), "not a .npz"),
        (cut, "not a .npz"),
        (flipped, "damaged"),
        (twice, "two arrays of one name"),
        (objects, "Python objects"),
        (records, "Python objects"),
        (member(b"hello"), "damaged"),
        (member(b""), "damaged"),
        (member(header("(3,)")), "claims"),
        (member(header("(1000000000, 1000000000, 1000000000)")), "claims"),
        (member(header("(-1, -2)")), "damaged"),
        (member(header("(2,)", data=b"\0" * 9)), "claims"),
        (member(header("(2,)", kind="|O8", data=b"\0" * 16)), "Python objects"),
        (member(header("__import__('os')")), "damaged"),
        (member(npy.magic(9, 0) + b"\0" * 20), "damaged"),
        (member(header("(2,)"), compression=zipfile.ZIP_BZIP2), "compressed"),
    ],
)
def test_everything_else_is_told_in_one_line(tmp_path: Path, spoil: Callable[[Path], object], words: str) -> None:
    spoil(tmp_path / "x.npz")
    with pytest.raises(DataError, match=words) as error:
        arrays.read(tmp_path / "x.npz")
    assert "\n" not in str(error.value)
    assert "x.npz" in str(error.value)
    assert error.value.hint


def bits_flipped(content: bytes, first: int, last: int) -> Iterator[bytes]:
    """The content with each single bit of a part flipped."""
    for at in range(8 * first, 8 * last):
        changed = bytearray(content)
        changed[at // 8] ^= 1 << at % 8
        yield bytes(changed)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # some are old spellings
def test_any_bit_of_a_header(tmp_path: Path) -> None:
    """numpy reads a header as Python: its parser's errors are damage too. Zip's sums would hide it."""
    path = tmp_path / "x.npz"
    for content in bits_flipped(header("(2,)", data=b"\0" * 16), 0, 80):
        member(content)(path)
        with contextlib.suppress(DataError):
            arrays.read(path)


def test_sizes_are_checked_before_anything_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez_compressed(tmp_path / "x.npz", a=np.zeros(1_000_000))  # a kilobyte as it lies there
    monkeypatch.setattr(arrays, "MAX_BYTES", 7_999_999)
    with pytest.raises(DataError, match="unpacks to"):
        arrays.read(tmp_path / "x.npz")
    many = io.BytesIO()
    with zipfile.ZipFile(many, "w") as archive:
        for n in range(arrays.MAX_ARRAYS + 1):
            archive.writestr(f"a{n}.npy", b"")
    (tmp_path / "y.npz").write_bytes(many.getvalue())
    with pytest.raises(DataError, match=str(arrays.MAX_ARRAYS)):
        arrays.read(tmp_path / "y.npz")


def test_a_member_that_lies_about_its_size(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez_compressed(path, a=np.zeros(100_000))
    content = path.read_bytes()
    directory = content.rindex(b"PK\x01\x02")
    short = content[: directory + 24] + struct.pack("<I", 500) + content[directory + 28 :]
    path.write_bytes(short)
    with pytest.raises(DataError):
        arrays.read(path)
