"""Building the image cache: all that cannot be read is named, and half a cache is none."""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from naming import naming
from PIL import Image

from posezoo.base.errors import DataError, Finding, ResourceError
from posezoo.data.images.build import _decoded, unreadable_images, valid_index
from posezoo.data.images.cache import ImageCache, cache_folder
from posezoo.data.table import Frames


def caches() -> list[Path]:
    """The finished caches."""
    return [path for path in (cache_folder() / "images").iterdir() if path.name != "digests"]


def test_all_unreadable_images_are_named(frames: Frames) -> None:
    good = frames.path(0).read_bytes()
    frames.path(1).write_bytes(good[: len(good) // 2])
    frames.path(2).write_text("<html>404</html>")
    frames.path(3).write_bytes(b"GIF89a" + good)
    Image.new("1", (12000, 6000)).save(frames.path(4))
    with pytest.raises(DataError, match=naming("4", "1.png")) as caught:
        ImageCache.open(frames)
    assert [finding.path for finding in caught.value.findings] == ["1.png", "2.png", "3.png", "4.png"]
    assert "image too large: 12000x6000 (limit 64 Mpx)" in str(caught.value.findings[3])
    assert caches() == []
    assert unreadable_images(frames) == list(caught.value.findings)


def test_files_that_cannot_be_hashed_are_named(frames: Frames) -> None:
    frames.path(1).unlink()
    frames.path(2).write_bytes(b"")
    frames.path(3).unlink()
    os.mkfifo(frames.path(3))
    with pytest.raises(DataError, match=naming("3")) as caught:
        ImageCache.open(frames)
    reasons = ["no such image", "empty file", "not a regular file"]
    assert [finding.message for finding in caught.value.findings] == reasons


def test_an_image_that_a_network_disk_fails_to_give_once_is_read_again(
    frames: Frames, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = list[Path]()
    opened = Path.open

    def failing(path: Path, *more: Any, **named: Any) -> Any:
        if path.suffix == ".png" and failed.count(path) < times:
            failed.append(path)
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return opened(path, *more, **named)

    frames = frames.select([0])
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", failing)
        times = 1
        assert not isinstance(_decoded(frames, 0), Finding)
        failed.clear()
        times = 2
        found = _decoded(frames, 0)
    assert isinstance(found, Finding)
    assert found.path == frames.name(0)
    assert os.strerror(errno.ESTALE) in found.message


def test_full_disk(frames: Frames, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResourceError, match=naming("No space left on device", "POSEZOO_CACHE")) as caught:
        ImageCache.open(frames)
    assert caught.value.exit_code == 6
    assert caches() == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # some flipped headers are old spellings
def test_an_index_with_any_bit_flipped_is_built_again(frames: Frames) -> None:
    cache = ImageCache.open(frames)
    path = cache.folder / "index.npy"
    whole, digests = path.read_bytes(), np.load(path)["sha256"].tolist()
    assert valid_index(cache.folder, digests) is not None
    start = whole.index(b"{")
    for at in [*range(0, 8 * start), *range(8 * start, 8 * whole.index(b"\n"), 3)]:
        changed = bytearray(whole)
        changed[at // 8] ^= 1 << at % 8
        path.write_bytes(changed)
        valid_index(cache.folder, digests)  # raises nothing: spaces of a header may differ
    path.write_bytes(whole.replace(b"'descr'", b"'descr\""))
    assert valid_index(cache.folder, digests) is None
    np.testing.assert_array_equal(ImageCache.open(frames).batch([0])[0], cache.batch([0])[0])


def test_abandoned_builds_are_removed(frames: Frames) -> None:
    """While another process builds, what has not changed for a day; else everything."""
    images = cache_folder() / "images"
    old, young = images / ".0123456789abcdef-1-aa", images / ".0123456789abcdef-2-bb"
    for folder in (old, young):
        folder.mkdir(parents=True)
        (folder / "pixels.u8").write_bytes(b"x")
    for path in (old / "pixels.u8", old):
        os.utime(path, (time.time() - 2e5,) * 2)
    with (cache_folder() / "images.lock").open("a") as another:
        fcntl.flock(another, fcntl.LOCK_SH)
        ImageCache.open(frames)
    assert not old.exists()
    assert young.exists()
    ImageCache.open(frames.select(slice(3)))
    assert not young.exists()


def _open_at_once(frames: Frames, barrier: object, results: object) -> None:
    barrier.wait()  # type: ignore[attr-defined]
    results.put(int(ImageCache.open(frames).batch([3])[0].sum()))  # type: ignore[attr-defined]


@pytest.mark.parametrize("rounds", [5, pytest.param(20, marks=pytest.mark.slow)])
def test_two_processes_build_at_once(frames: Frames, rounds: int) -> None:
    context = multiprocessing.get_context("fork")
    for _ in range(rounds):
        shutil.rmtree(cache_folder(), ignore_errors=True)
        barrier, results = context.Barrier(2), context.Queue()
        processes = [context.Process(target=_open_at_once, args=(frames, barrier, results)) for _ in range(2)]
        for process in processes:
            process.start()
        sums = {results.get(timeout=60) for _ in processes}
        for process in processes:
            process.join()
        assert [process.exitcode for process in processes] == [0, 0]
        assert len(sums) == 1
        assert len(caches()) == 1


def test_a_build_that_is_killed_leaves_nothing_that_counts(frames: Frames) -> None:
    """kill -9 in the middle of a build, at several places: the next one is good, and nothing half-done is taken."""
    expected = ImageCache.open(frames).batch(range(6))[0]
    context = multiprocessing.get_context("fork")
    for after in (1, 3, 6):
        shutil.rmtree(cache_folder(), ignore_errors=True)
        process = context.Process(target=_killed_after, args=(frames, after))
        process.start()
        process.join(60)
        assert process.exitcode == -signal.SIGKILL
        assert not [
            path for path in (cache_folder() / "images").iterdir() if not path.name.startswith((".", "digests"))
        ]
        assert torch.equal(ImageCache.open(frames).batch(range(6))[0], expected)


def _killed_after(frames: Frames, images: int) -> None:
    written = 0

    def progress(done: int, total: int) -> None:
        nonlocal written
        written += bool(list((cache_folder() / "images").glob(".*/pixels.u8")))  # hashing comes before
        if written == images:
            os.kill(os.getpid(), signal.SIGKILL)

    ImageCache.open(frames, progress)
