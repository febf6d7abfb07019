"""Decode all images of a data set in parallel and write the image cache; see `cache.py` for the layout.

Legend: N images, C channels, H height, W width.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import shutil
import time
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from posezoo.base.errors import DataError, Finding
from posezoo.base.files.arrays import UNREADABLE
from posezoo.base.files.pictures import read_sized
from posezoo.base.files.write import replacement, writing
from posezoo.base.observe import Progress, parallel
from posezoo.base.paths import printable_path
from posezoo.data.table import Frames

PIXELS = "pixels.u8"
PASSING = (errno.EIO, errno.ESTALE)  # what a network disk answers once, and not when it is asked again
VERSION = 3  # raise it when decoding, resizing or the file format changes
INDEX = np.dtype(
    {
        "names": ["offset", "height", "width", "stored_height", "stored_width", "crc32", "sha256"],
        "formats": ["<i8", "<i4", "<i4", "<i4", "<i4", "<u4", "S64"],
    }
)


def unreadable_images(frames: Frames, progress: Progress | None = None) -> list[Finding]:
    """A finding for each image that cannot be decoded. Nothing is written."""
    results = parallel(lambda i: _decoded(frames, i), range(len(frames)))
    findings = []
    for n, result in enumerate(results, 1):
        findings += [result] if isinstance(result, Finding) else []
        if progress:
            progress(n, len(frames))
    return findings


def unreadable_error(findings: Sequence[Finding]) -> DataError:
    """The error for images that cannot be read."""
    count = f"{len(findings)} unreadable image{'s' * (len(findings) > 1)}"
    return DataError(f"{count} (first: {findings[0]})", "posezoo data verify lists all of them", findings)


def build_cache(frames: Frames, digests: list[bytes], home: Path, key: str, progress: Progress | None) -> None:
    """Build the cache beside its place and rename it. The second of two processes discards its copy."""
    place = home / key
    hint = f"set POSEZOO_CACHE to a folder with {len(frames) * 0.27e-3 + 0.1:.1f} GB free"
    with (
        writing(f"the image cache {home}", hint),
        _building(home),
        replacement(place, folder=True, replaces=lambda: valid_index(place, digests) is None) as temporary,
    ):
        _write(frames, digests, temporary, progress)
        if place.is_file():
            place.unlink()  # a damaged cache


def _write(frames: Frames, digests: list[bytes], folder: Path, progress: Progress | None) -> None:
    index = np.zeros(len(frames), dtype=INDEX)
    findings: list[Finding] = []
    offset = 0
    with (folder / PIXELS).open("wb") as pixels:
        for n, result in enumerate(parallel(lambda i: _decoded(frames, i), range(len(frames)))):
            if isinstance(result, Finding):
                findings.append(result)
            elif not findings:  # after the first bad image the rest is only checked
                image_HWC, (stored_width, stored_height) = result
                height, width = image_HWC.shape[:2]
                content = np.ascontiguousarray(image_HWC).data
                index[n] = (offset, height, width, stored_height, stored_width, zlib.crc32(content), digests[n])
                pixels.write(content)
                offset += image_HWC.nbytes
            if progress:
                progress(n + 1, len(frames))
        if findings:
            raise unreadable_error(findings)
    np.save(folder / "index.npy", index, allow_pickle=False)


def valid_index(folder: Path, digests: list[bytes]) -> np.ndarray | None:
    """The index of a complete cache in `folder`; None if there is none or it is damaged."""
    try:
        index = np.load(folder / "index.npy", allow_pickle=False)
        size = (folder / PIXELS).stat().st_size
    except UNREADABLE:
        return None
    if index.dtype != INDEX or index.shape != (len(digests),) or index["sha256"].tolist() != digests:
        return None
    bytes_N = index["height"].astype(np.int64) * index["width"] * 3
    starts_N = np.concatenate([[0], np.cumsum(bytes_N)])
    good = np.array_equal(index["offset"], starts_N[:-1]) and size == starts_N[-1]
    return index if good and (index["stored_width"] > 0).all() and (index["stored_height"] > 0).all() else None


def _decoded(frames: Frames, i: int) -> tuple[np.ndarray, tuple[int, int]] | Finding:
    """Image i (H, W, 3) and the (width, height) that its intrinsics are for, or why it cannot be read."""
    path, again = frames.path(i), True
    while True:
        try:
            return read_sized(path, decode=frames.decode, lens_of=lambda width, height: frames.correction(i))
        except DataError as error:
            if again and getattr(error.__cause__, "errno", None) in PASSING:
                again = False
                continue
            return Finding(printable_path(frames.name(i)), 0, error.message.removeprefix(f"{path}: "))


@contextlib.contextmanager
def _building(home: Path) -> Iterator[None]:
    """Mark that a cache is being built, and remove what killed builds left: all of it if no other build runs."""
    home.mkdir(parents=True, exist_ok=True)
    with (home.parent / f"{home.name}.lock").open("a") as lock:
        # not filelock: builds of several processes go on beside each other, so the lock is shared
        with contextlib.suppress(OSError):  # some network disks have none
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove_abandoned(home, seconds=-1)
            fcntl.flock(lock, fcntl.LOCK_SH)
        _remove_abandoned(home, seconds=86400)
        yield


def _remove_abandoned(home: Path, seconds: float) -> None:
    """Remove unfinished builds in which nothing has changed for so long."""
    for folder in home.glob(".*-*-*"):
        with contextlib.suppress(OSError):  # another process removes it at the same moment
            if time.time() - max(path.stat().st_mtime for path in (folder, *folder.iterdir())) > seconds:
                shutil.rmtree(folder, ignore_errors=True)
