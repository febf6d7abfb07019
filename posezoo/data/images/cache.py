"""The image cache: every image once as uint8 RGB with short edge 256, back to back in one file.

    <cache>/images/<key>/pixels.u8      all images, row by row, channels last
    <cache>/images/<key>/index.npy      offset, size, size of the stored image, sha256 of it, and crc32 of the pixels
    <cache>/images/digests/*.json       sha256 of files seen before, by path, size and time: hashing 30 GB is slow

`key` is a sha256 over the format's version, the short edge, how files that are not ordinary pictures are decoded, which
distortion is corrected, and the sha256 of every source file in order, so a changed image makes a new cache and an old
one is never wrong. A cache is built in a folder of its own and renamed into place: it exists completely or not at all.
Pixels are read with preadv, not mapped: the memory a process holds stays flat over an epoch, a fork or pickle costs
nothing, and a file cut short is an error instead of a bus error. What a process reads of an image for the first time
must have its crc32.

Legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import stat
import threading
import weakref
import zlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from posezoo.base.errors import Finding, ResourceError
from posezoo.base.files import lenses
from posezoo.base.files.pictures import CACHE_SHORT_EDGE
from posezoo.base.observe import Progress, parallel
from posezoo.base.paths import printable_path, user_path
from posezoo.data.images.build import PASSING, PIXELS, VERSION, build_cache, unreadable_error, valid_index
from posezoo.data.images.digests import Digests
from posezoo.data.table import Frames

CHUNK = 64  # files


class ImageCache:
    """The decoded images of a table of frames, read-only. Safe to fork, spawn and pickle."""

    def __init__(self, folder: Path, index: np.ndarray, intrinsics: np.ndarray) -> None:
        self.folder = folder
        self._index = index
        scale_N4 = np.stack([index["width"] / index["stored_width"], index["height"] / index["stored_height"]] * 2, 1)
        self._intrinsics_N4 = intrinsics * scale_N4
        self._file: int | None = None
        self._lock = threading.Lock()
        self._seen_N = np.zeros(len(index), dtype=bool)

    @staticmethod
    def open(frames: Frames, progress: Progress | None = None) -> ImageCache:
        """The cache of these frames, built first if it is missing or damaged.

        Raises DataError that names every unreadable image, ResourceError if the disk is full or cannot be written.
        """
        home = cache_folder() / "images"
        digests = file_digests(frames, home, progress)
        decode = f" {frames.decode.key}" if frames.decode else ""
        what = f"{VERSION} {CACHE_SHORT_EDGE}{decode}{_lenses(frames)}\n"
        key = hashlib.sha256(what.encode() + b"\n".join(digests)).hexdigest()
        index = valid_index(home / key, digests)
        if index is None:
            build_cache(frames, digests, home, key, progress)
            index = valid_index(home / key, digests)
        if index is None:  # another process may be clearing the cache at this moment
            raise ResourceError(f"image cache {home / key} vanished while it was built", "start again")
        return ImageCache(home / key, index, frames.intrinsics)

    def __len__(self) -> int:
        return len(self._index)

    @cached_property
    def one_shape(self) -> bool:
        """Whether all images have the same height and width."""
        return len(np.unique(self._index[["height", "width"]])) <= 1

    def shapes(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """(height, width) of each of these images, (B, 2)."""
        rows = self._index[np.asarray(indices, dtype=np.int64)]
        return np.stack([rows["height"], rows["width"]], axis=1)

    def stored_sizes(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """(width, height) of each of these images before it was made smaller, (B, 2)."""
        rows = self._index[np.asarray(indices, dtype=np.int64)]
        return np.stack([rows["stored_width"], rows["stored_height"]], axis=1)

    def focal_lengths(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """fx of each of these images in short edges, (B,); NaN: unknown."""
        index_B = np.asarray(indices, dtype=np.int64)
        found: np.ndarray = self._intrinsics_N4[index_B, 0] / self.shapes(index_B).min(axis=1)
        return found

    def batch(self, indices: Sequence[int] | np.ndarray) -> tuple[Tensor, np.ndarray]:
        """Images (B, 3, H, W) uint8 and intrinsics (B, 4) in their pixels (NaN: unknown).

        The tensor is channels-last in memory. Images smaller than the largest of the batch lie in its top left corner,
        black beside and below: `shapes` tells where they end, and what resizes or crops must not see more.
        """
        index_B = np.asarray(indices, dtype=np.int64)
        rows = self._index[index_B]
        intrinsics_B4 = self._intrinsics_N4[index_B]
        height, width = (int(rows[side].max(initial=0)) for side in ("height", "width"))
        pixels_BHWC = np.empty((len(rows), height, width, 3), dtype=np.uint8)
        for n, (offset, h, w) in enumerate(rows[["offset", "height", "width"]].tolist()):
            if (h, w) == (height, width):
                self._read(pixels_BHWC[n], offset)
                self._check(int(index_B[n]), pixels_BHWC[n])
                continue
            image_HWC = np.empty((h, w, 3), dtype=np.uint8)
            self._read(image_HWC, offset)
            self._check(int(index_B[n]), image_HWC)
            pixels_BHWC[n] = 0
            pixels_BHWC[n, :h, :w] = image_HWC
        return torch.from_numpy(pixels_BHWC).permute(0, 3, 1, 2), intrinsics_B4

    def _open_pixels(self) -> int:
        """The file descriptor, opened at first use in this process."""
        with self._lock:
            if self._file is None:
                try:
                    self._file = os.open(self.folder / PIXELS, os.O_RDONLY)
                except OSError as error:
                    raise ResourceError(f"image cache {self.folder}: {error.strerror}", "start again") from error
                weakref.finalize(self, os.close, self._file)
            return self._file

    def _read(self, target: np.ndarray, offset: int) -> None:
        """Fill `target` from the file. preadv moves no shared position, so threads and forks may read at once."""
        view, file, again = memoryview(target.data).cast("B"), self._open_pixels(), True
        while len(view):
            try:
                count = os.preadv(file, [view], offset)
            except OSError as error:
                if again and error.errno in PASSING:
                    with self._lock:
                        self._file = None  # the old one is closed with the cache: another thread may be reading it
                    file, again = self._open_pixels(), False
                    continue
                raise ResourceError(f"image cache {self.folder}: {error.strerror}", "start again") from error
            if count == 0:
                raise ResourceError(f"image cache {self.folder / PIXELS} was cut short while in use", "start again")
            view, offset = view[count:], offset + count

    def _check(self, number: int, image_HWC: np.ndarray) -> None:
        """Raise ResourceError if the pixels are not those that were written; the cache is then built anew next time."""
        if self._seen_N[number]:
            return
        if zlib.crc32(image_HWC.data) != int(self._index["crc32"][number]):
            with contextlib.suppress(OSError):
                (self.folder / "index.npy").unlink(missing_ok=True)
            what = f"image cache {self.folder / PIXELS}: the pixels of image {number} have changed on the disk"
            raise ResourceError(what, "start again, which builds it anew; check the disk if it comes back")
        self._seen_N[number] = True

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "index": self._index, "intrinsics": self._intrinsics_N4}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.folder, self._index, self._intrinsics_N4 = state["folder"], state["index"], state["intrinsics"]
        self._file, self._lock, self._seen_N = None, threading.Lock(), np.zeros(len(self._index), dtype=bool)


def _lenses(frames: Frames) -> str:
    """What the correction of distortion depends on; empty where there is none."""
    if not len(frames.lens):
        return ""
    digest = hashlib.sha256(repr(frames.lenses).encode())
    digest.update(frames.lens.astype("<i4").tobytes() + frames.intrinsics.astype("<f8").tobytes())
    return f" lenses {lenses.VERSION} {digest.hexdigest()}"


def cache_folder() -> Path:
    """POSEZOO_CACHE, else $XDG_CACHE_HOME/posezoo, else ~/.cache/posezoo."""
    if os.environ.get("POSEZOO_CACHE"):
        return user_path(os.environ["POSEZOO_CACHE"])
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        return (base if base.is_absolute() else Path.home() / ".cache") / "posezoo"
    except RuntimeError as error:  # no HOME
        raise ResourceError("no home folder for the image cache", "set POSEZOO_CACHE to a folder") from error


def file_digests(frames: Frames, home: Path, progress: Progress | None) -> list[bytes]:
    """The sha256 of each image file, in hexadecimal. Raises DataError for files that cannot be read."""
    memo = Digests(home / "digests", frames.root)
    found: list[bytes] = []
    findings = []
    # many at once: files seen before need only a stat, which takes less time than handing one to a thread
    chunks = (range(start, min(start + CHUNK, len(frames))) for start in range(0, len(frames), CHUNK))
    try:
        results = parallel(lambda chunk: [_digest(frames, i, memo) for i in chunk], chunks)
        for n, result in enumerate(itertools.chain.from_iterable(results), 1):
            if isinstance(result, Finding):
                findings.append(result)
            else:
                found.append(result)
            if progress and memo.new:  # silent when nothing has to be read
                progress(n, len(frames))
    finally:  # a run stopped after an hour of reading need not begin again
        memo.save()
    if findings:
        raise unreadable_error(findings)
    return found


def _digest(frames: Frames, i: int, memo: Digests) -> bytes | Finding:
    name = frames.name(i)
    path = f"{frames.root}{os.sep}{name}"
    try:
        status = os.stat(path)  # noqa: PTH116 (a Path takes longer to make than its file to look at)
        if not stat.S_ISREG(status.st_mode):  # a pipe would never end
            return Finding(printable_path(name), 0, "not a regular file")
        if not status.st_size:
            return Finding(printable_path(name), 0, "empty file")
        return memo.get(name, path, status)
    except OSError as error:
        return Finding(printable_path(name), 0, "no such image" if error.errno == 2 else error.strerror or str(error))
