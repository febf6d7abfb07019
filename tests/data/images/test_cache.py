"""The image cache: what it holds, what it survives, and how fast it gives."""

from __future__ import annotations

import errno
import multiprocessing
import os
import pickle
import re
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from naming import naming
from other_process import pixel_sum
from own_folder import MakeFolder, picture
from pictured_frames import make_frames
from PIL import Image
from torchvision.transforms import v2

from posezoo.base.errors import ResourceError
from posezoo.base.files.pictures import read_image
from posezoo.data.images import cache as cache_module
from posezoo.data.images.cache import ImageCache, cache_folder
from posezoo.data.loader import BatchOrder, FrameBatches, epoch_loader
from posezoo.data.open import open_dataset
from posezoo.data.table import Frames


def test_batch_is_what_read_image_gives(frames: Frames) -> None:
    cache = ImageCache.open(frames)
    images, intrinsics = cache.batch([4, 1, 4])
    assert (images.shape, images.dtype, len(cache)) == ((3, 3, 256, 341), torch.uint8, 6)
    assert images.is_contiguous(memory_format=torch.channels_last)
    for row, i in enumerate((4, 1, 4)):
        np.testing.assert_array_equal(images[row].permute(1, 2, 0).numpy(), read_image(frames.path(i)))
    sx, sy = 341 / 64, 256 / 48
    np.testing.assert_allclose(intrinsics, [[32 * sx, 32 * sy, 170.5, 128]] * 3)
    assert cache.batch([])[0].shape[0] == 0


def test_unknown_intrinsics_stay_unknown(tmp_path: Path) -> None:
    assert np.isnan(ImageCache.open(make_frames(tmp_path / "d", [(30, 20)], False)).batch([0])[1]).all()


def test_images_of_several_shapes_share_a_tensor_and_keep_their_pixels(tmp_path: Path) -> None:
    cache = ImageCache.open(make_frames(tmp_path / "d", [(64, 48), (48, 64), (50, 50)]))
    images, intrinsics = cache.batch([0, 1, 2])
    assert images.shape == (3, 3, 341, 341)
    assert cache.shapes([0, 1, 2]).tolist() == [[256, 341], [341, 256], [256, 256]]
    assert not cache.one_shape
    for n, (height, width) in enumerate(cache.shapes([0, 1, 2]).tolist()):
        alone, camera = cache.batch([n])
        assert torch.equal(images[n, :, :height, :width], alone[0])
        assert not images[n, :, height:].any()
        assert not images[n, :, :, width:].any()
        np.testing.assert_array_equal(intrinsics[n], camera[0])
        np.testing.assert_allclose(camera[0, 2:], (width / 2, height / 2))


def test_intrinsics_are_scaled_by_the_sides_of_the_pixels(tmp_path: Path) -> None:
    """16:9: the long edge is cut off at 455, so both directions have their own scale."""
    cache = ImageCache.open(make_frames(tmp_path / "d", [(192, 108)] * 2))
    images, intrinsics = cache.batch([0, 1])
    assert images.shape == (2, 3, 256, 455)
    assert cache.one_shape
    sx, sy = 455 / 192, 256 / 108
    np.testing.assert_allclose(intrinsics, [[96 * sx, 96 * sx * sy / sx, 227.5, 128]] * 2)


def test_another_version_of_the_pixels_is_another_cache(frames: Frames, monkeypatch: pytest.MonkeyPatch) -> None:
    """Caches whose long edge was rounded (version 1) stay on the disk and are never read."""
    now = ImageCache.open(frames).folder
    assert cache_module.VERSION > 1
    monkeypatch.setattr(cache_module, "VERSION", 1)
    assert ImageCache.open(frames).folder != now


def test_changed_image_makes_a_new_cache(frames: Frames) -> None:
    before = ImageCache.open(frames)
    old = before.batch([2])[0].clone()
    picture(frames.path(2), 64, 48, seed=99)
    after = ImageCache.open(frames)
    assert after.folder != before.folder
    assert not torch.equal(after.batch([2])[0], old)
    assert torch.equal(before.batch([2])[0], old)


def test_progress(frames: Frames) -> None:
    seen: list[tuple[int, int]] = []
    ImageCache.open(frames, lambda done, total: seen.append((done, total)))
    assert seen[-6:] == [(n, 6) for n in range(1, 7)]


@pytest.mark.parametrize("damage", ["cut", "longer", "index", "index-cut", "no-index", "file", "pickle"])
def test_damaged_cache_is_rebuilt(frames: Frames, damage: str) -> None:
    cache = ImageCache.open(frames)
    good, folder = cache.batch([0, 5])[0], cache.folder
    index, pixels = folder / "index.npy", folder / "pixels.u8"
    match damage:
        case "cut":
            os.truncate(pixels, 1000)
        case "longer":
            pixels.write_bytes(pixels.read_bytes() + b"x")
        case "index":
            index.write_bytes(index.read_bytes()[:-3] + b"xxx")
        case "index-cut":
            os.truncate(index, 40)
        case "no-index":
            index.unlink()
        case "file":
            shutil.rmtree(folder)
            folder.write_text("not a folder")
        case "pickle":
            index.write_bytes(pickle.dumps([1]))
    again = ImageCache.open(frames)
    assert torch.equal(again.batch([0, 5])[0], good)
    assert [path for path in (cache_folder() / "images").iterdir() if path.name.startswith(".")] == []


def test_cut_short_while_in_use_is_an_error(frames: Frames) -> None:
    cache = ImageCache.open(frames)
    cache.batch([0])
    os.truncate(cache.folder / "pixels.u8", 1000)
    with pytest.raises(ResourceError, match=naming("pixels.u8")):
        cache.batch([5])
    unopened = pickle.loads(pickle.dumps(cache))  # noqa: S301
    shutil.rmtree(cache.folder)
    with pytest.raises(ResourceError):
        unopened.batch([0])


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
def test_a_network_disk_that_fails_once_is_asked_again(
    frames: Frames, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """A stale handle needs another one; what fails twice is an error that names the file."""
    cache = ImageCache.open(frames)
    expected, read, handles = cache.batch([0, 1])[0], os.preadv, list[int]()

    def failing(file: int, *more: Any) -> int:
        handles.append(file)
        if len(handles) in fails:
            raise OSError(number, os.strerror(number))
        return read(file, *more)

    monkeypatch.setattr(os, "preadv", failing)
    fails = {1}
    torch.testing.assert_close(cache.batch([0, 1])[0], expected)
    assert handles[0] != handles[1] == handles[2]
    fails = {4, 5}
    with pytest.raises(ResourceError, match=re.escape(os.strerror(number))):
        cache.batch([0])
    torch.testing.assert_close(cache.batch([0, 1])[0], expected)


def test_cache_folder_that_is_a_file(frames: Frames, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "taken").write_text("")
    monkeypatch.setenv("POSEZOO_CACHE", str(tmp_path / "taken"))
    with pytest.raises(ResourceError, match=naming("POSEZOO_CACHE")):
        ImageCache.open(frames)


def test_place_of_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("POSEZOO_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "posezoo"
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache/posezoo"


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers(frames: Frames, method: str) -> None:
    cache = ImageCache.open(frames)
    expected = [pixel_sum(cache, i) for i in range(6)]  # opened before the fork
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.starmap(pixel_sum, [(cache, i) for i in range(6)]) == expected


def test_threads(frames: Frames) -> None:
    cache = ImageCache.open(frames)
    expected = [pixel_sum(cache, i) for i in range(6)]
    found: list[bool] = []

    def read(seed: int) -> None:
        order = np.random.default_rng(seed).integers(0, 6, 50).tolist()
        found.append(all(pixel_sum(cache, i) == expected[i] for i in order))

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 4


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_memory_is_flat_over_a_thousand_batches(frames: Frames, workers: int) -> None:
    """Less than 2 MiB of growth over 1,000 batches, in this process and in the workers; no file or thread stays."""
    cache = ImageCache.open(frames)
    data = FrameBatches(frames, cache, np.arange(6), 0, 0)

    class Endless(BatchOrder):
        def __init__(self) -> None:
            self.batches = np.random.default_rng(0).integers(0, 6, (1200, 8)).tolist()

    here = psutil.Process()
    megabytes, others = [], []
    for n, _ in enumerate(epoch_loader(data, Endless(), workers)):
        if n >= 200 and n % 50 == 0:
            family = [here, *here.children(recursive=True)]
            megabytes.append(sum(process.memory_info().rss for process in family) / 2**20)
            others.append((here.num_fds(), here.num_threads()))
    slope = float(np.polyfit(np.arange(len(megabytes)) * 50, megabytes, 1)[0]) * 1000
    print(
        f"workers {workers}: {megabytes[0]:.0f} MiB, {slope:+.2f} MiB per 1,000 batches, fds and threads {others[-1]}"
    )
    assert slope < 2
    for counts in np.array(others).T:  # a batch on its way from a worker holds some files: middles, not single counts
        assert np.median(counts[len(counts) // 2 :]) - np.median(counts[: len(counts) // 2]) <= 1


def test_file_descriptors_are_closed(frames: Frames) -> None:
    cache = ImageCache.open(frames)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        pickle.loads(pickle.dumps(cache)).batch([0])  # noqa: S301
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 1


def test_own_folder_end_to_end(make_folder: MakeFolder) -> None:
    assert len(ImageCache.open(open_dataset(f"folder:{make_folder()}").frames)) == 10


def test_real_images_come_back_in_any_order(real_data: Path) -> None:
    split = real_data / "7scenes/redkitchen/blocks.csv"
    frames = open_dataset("7scenes-redkitchen", root=real_data / "7scenes", split=split).frames.select(slice(200))
    cache = ImageCache.open(frames)
    order = np.random.default_rng(0).permutation(len(cache))[:16]
    images = cache.batch(order)[0].permute(0, 2, 3, 1).numpy()
    for row, image in zip(order, images, strict=True):
        np.testing.assert_array_equal(image, read_image(frames.path(int(row))))
        with Image.open(frames.path(int(row))) as picture_file:
            np.testing.assert_array_equal(image, v2.Resize(256)(picture_file.convert("RGB")))


def test_changed_pixels_are_told_and_built_anew(tmp_path: Path) -> None:
    """One bit: it would change every loss from there on, without a word."""
    frames = make_frames(tmp_path / "d", [(64, 48)] * 3)
    cache = ImageCache.open(frames)
    good = cache.batch([0, 1, 2])[0]
    path = cache.folder / "pixels.u8"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    damaged = pickle.loads(pickle.dumps(ImageCache.open(frames)))  # noqa: S301
    damaged.batch([0, 2])
    with pytest.raises(ResourceError, match="image 1"):
        damaged.batch([0, 1])
    assert torch.equal(ImageCache.open(frames).batch([0, 1, 2])[0], good)
