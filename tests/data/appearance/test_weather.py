"""Each kind does what its name says, more with each severity, the same for the same seed and at any size."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("kornia", reason="kornia is not installed: pip install 'posezoo[weather]'")

from posezoo.data.appearance import weather


def scene(short: int = 256) -> np.ndarray:
    """A coloured picture, 4 to 3, with detail of a twelfth of its height."""
    small = np.random.default_rng(3).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((short * 4 // 3, short), Image.Resampling.BICUBIC))


def change(image: np.ndarray, kind: str, severity: int, seed: int = 1) -> float:
    return float(np.abs(weather.corrupted(image, kind, severity, seed).astype(float) - image).mean())


@pytest.mark.parametrize("kind", weather.KINDS)
def test_severity_grows_and_the_seed_decides(kind: str) -> None:
    image = scene()
    before = image.copy()
    changes = [change(image, kind, severity) for severity in weather.SEVERITIES]
    assert changes == sorted(changes), changes
    assert changes[0] > 0.2
    assert changes[4] > 1.5 * changes[0]
    np.testing.assert_array_equal(image, before)
    one, again, other = (weather.corrupted(image, kind, 3, seed) for seed in (5, 5, 6))
    assert (one.shape, one.dtype) == (image.shape, np.uint8)
    np.testing.assert_array_equal(one, again)
    assert np.array_equal(one, other) == (kind == "blur")  # nothing is random in it


@pytest.mark.parametrize("kind", ["fog", "snow", "rain", "blur", "occlusion"])  # a sensor's noise is by pixel
def test_a_severity_is_the_same_at_twice_the_size(kind: str) -> None:
    small, large = (np.mean([change(scene(short), kind, 3, seed) for seed in range(4)]) for short in (256, 512))
    assert 0.7 < large / small < 1.4


def test_the_names_say_what_happens() -> None:
    image = scene().astype(float)
    made = {kind: weather.corrupted(scene(), kind, 5, 1).astype(float) for kind in weather.KINDS}
    assert made["fog"].std() < 0.4 * image.std()
    assert made["fog"].mean() > image.mean() + 20
    assert made["snow"].mean() > image.mean() + 20
    assert made["night"].mean() < 0.45 * image.mean()
    assert made["night"][..., 2].mean() > made["night"][..., 0].mean()
    assert np.ptp(made["rain"], axis=2).mean() < np.ptp(image, axis=2).mean()
    assert np.abs(np.diff(made["blur"], axis=1)).mean() < 0.8 * np.abs(np.diff(image, axis=1)).mean()
    covered = (made["occlusion"] != image).any(axis=2).mean()
    assert weather.OCCLUSION[4] - 0.02 <= covered < weather.OCCLUSION[4] + 0.15  # the last box may be a large one


@pytest.mark.parametrize("kind", weather.KINDS)
@pytest.mark.parametrize("shape", [(3, 3, 3), (8, 41, 3)])
def test_no_picture_is_too_small(kind: str, shape: tuple[int, int, int]) -> None:
    assert weather.corrupted(np.full(shape, 99, np.uint8), kind, 5, 0).shape == shape
