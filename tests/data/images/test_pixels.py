"""The mean and deviation of the pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import small_data
from own_folder import picture

from posezoo.base.spec import Frame
from posezoo.data.images.cache import ImageCache
from posezoo.data.images.pixels import BATCH, pixel_statistics
from posezoo.data.open import open_dataset
from posezoo.data.table import Frames


def test_mean_and_deviation_of_all_pixels(tmp_path: Path) -> None:
    cache = ImageCache.open(open_dataset(f"folder:{small_data.one_place(tmp_path / 'one')}").frames)
    rows = np.arange(20)
    mean, std = pixel_statistics(cache, rows)
    pixels = cache.batch(rows)[0].double() / 255
    np.testing.assert_allclose(mean, pixels.mean((0, 2, 3)), rtol=1e-9)
    np.testing.assert_allclose(std, pixels.std((0, 2, 3), unbiased=False), rtol=1e-9)


def test_margins_of_mixed_shapes_do_not_count_and_progress_is_told(tmp_path: Path) -> None:
    """Wide and upright pictures share a batch only with margins; more of them than are read at once."""
    sizes = [(64, 48), (48, 64)] * (BATCH // 2) + [(64, 48)]
    for n, (width, height) in enumerate(sizes):
        picture(tmp_path / f"{n}.png", width, height, seed=n % 5)
    rows = [Frame(f"{n}.png", (n, 0, 0), (1, 0, 0, 0)) for n in range(len(sizes))]
    cache = ImageCache.open(Frames.from_rows(tmp_path, rows))
    told: list[tuple[int, int]] = []
    mean, std = pixel_statistics(cache, np.arange(len(sizes)), lambda done, total: told.append((done, total)))
    alone = [cache.batch([n])[0][0].double().flatten(1).numpy() / 255 for n in range(len(sizes))]
    every = np.concatenate(alone, axis=1)
    np.testing.assert_allclose(mean, every.mean(1), rtol=1e-9)
    np.testing.assert_allclose(std, every.std(1), rtol=1e-9)
    assert told == [(BATCH, BATCH + 1), (BATCH + 1, BATCH + 1)]


def test_one_colour_is_never_divided_by_zero(tmp_path: Path) -> None:
    small_data.write(tmp_path / "grey", small_data.rows("yard")[:2])
    for path in (tmp_path / "grey").rglob("*.png"):
        from PIL import Image

        Image.new("RGB", (96, 72), (255, 0, 128)).save(path)
    cache = ImageCache.open(open_dataset(f"folder:{tmp_path / 'grey'}").frames)
    mean, std = pixel_statistics(cache, np.arange(2))
    np.testing.assert_allclose(mean, (1, 0, 128 / 255), atol=1e-9)
    assert std == (1 / 255, 1 / 255, 1 / 255)
