"""Radii against crepes and a count by hand; their coverage on simulated images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from crepes import ConformalRegressor
from crepes.extras import binning
from naming import naming
from small_models import small

import posezoo
from posezoo.base.errors import DataError
from posezoo.data.images.cache import ImageCache
from posezoo.data.open import open_dataset
from posezoo.evaluation import calibration
from posezoo.evaluation.calibration import Images, binned_radii, calibrated, least_images, radius
from posezoo.evaluation.evaluate import predict_frames
from posezoo.evaluation.metrics import pose_errors
from posezoo.nn.estimate import Calibration


def simulated(count: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Familiarity and errors of images: the less familiar, the larger and the wilder the error."""
    familiarity_N = random.beta(5, 2, count)
    return familiarity_N, random.exponential(size=count) * (1 + 8 * (1 - familiarity_N) ** 2)


def test_a_radius_by_hand() -> None:
    error_N = np.arange(1.0, 20.0)[::-1]  # 19 errors: the ceil(20 x 0.9) = 18th smallest
    assert radius(error_N, 0.9) == 18.0
    assert radius(np.append(error_N[:-1], np.inf), 0.9) == 19.0  # a failure counts as the largest
    assert radius(error_N[:8], 0.9) == np.inf
    assert [least_images(coverage) for coverage in (0.5, 0.8, 0.9, 0.95)] == [1, 4, 9, 19]
    for coverage in (0.5, 0.8, 0.9, 0.95):
        count = least_images(coverage)
        assert np.isfinite(radius(np.ones(count), coverage))
        assert np.isinf(radius(np.ones(count - 1), coverage))


def test_radii_are_those_of_crepes() -> None:
    """Mondrian conformal regression with the same bins, of another package."""
    random = np.random.default_rng(0)
    familiarity_N, error_N = simulated(400, random)
    edges_K, (metres_K, degrees_K) = binned_radii(familiarity_N, (error_N, 2 * error_N), 0.9)
    assert len(edges_K) == 4
    kept_N = familiarity_N >= edges_K[0]
    assert np.sum(~kept_N) == 20  # the least familiar twentieth
    bin_N = np.searchsorted(edges_K, familiarity_N, side="right") - 1
    oracle = ConformalRegressor().fit(residuals=error_N[kept_N], bins=bin_N[kept_N])
    ends_K2 = oracle.predict_int(np.zeros(4), bins=np.arange(4), confidence=0.9)
    np.testing.assert_allclose(metres_K, ends_K2[:, 1])
    np.testing.assert_allclose(degrees_K, 2 * metres_K)
    # their cuts of the same values lie where ours do
    cuts = binning(familiarity_N[kept_N], bins=4)[1]
    np.testing.assert_allclose(cuts[1:-1], edges_K[1:], atol=0.01)


@pytest.mark.parametrize("count", [40, 120, 400])
def test_coverage_of_simulated_images(count: int) -> None:
    """Nine of ten, of all images and of the least familiar quarter; one radius for all covers that far less."""
    random, covered, plain = np.random.default_rng(1), [], []
    for _ in range(400):
        edges_K, (metres_K, _) = binned_radii(*(lambda f, e: (f, (e, e)))(*simulated(count, random)), 0.9)
        familiarity_N, error_N = simulated(400, random)
        bin_N = np.searchsorted(edges_K, familiarity_N, side="right") - 1
        known_N = bin_N >= 0
        inside_N = error_N[known_N] <= metres_K[bin_N[known_N]]
        last_n = np.argsort(familiarity_N[known_N])[: known_N.sum() // 4]
        covered.append((inside_N.mean(), inside_N[last_n].mean(), known_N.mean()))
        plain.append((error_N[known_N] <= radius(simulated(count, random)[1], 0.9))[last_n].mean())
    overall, quarter, known = np.mean(covered, axis=0)
    assert 0.89 < overall < 0.93
    assert quarter > (0.88 if count >= 120 else 0.7)
    assert np.mean(plain) < quarter - 0.05 or count < 120
    assert known == pytest.approx(0.95, abs=0.03)


def test_radii_by_spread_cover_as_much_and_are_narrower() -> None:
    """Position errors, three normal numbers each, whose scale differs from image to image and is told within 30 %.

    Nine of ten are covered, the hardest quarter too, by shorter radii: one radius a bin covers that quarter far less.
    """
    random, found = np.random.default_rng(3), []
    for _ in range(200):
        scale, apart, test = 0.1, *(np.exp(random.normal(size=400)) for _ in range(2))
        errors = [scale * law_N * np.linalg.norm(random.normal(size=(400, 3)), axis=1) for law_N in (apart, test)]
        told = [scale * law_N * np.exp(0.26 * random.normal(size=400)) for law_N in (apart, test)]
        familiarity_N, of_test_N = random.beta(5, 2, 400), random.beta(5, 2, 400)
        hard_N, lengths = test > np.quantile(test, 0.75), []
        for divisor in (told, [np.ones(400)] * 2):
            edges_K, (times_K, _) = binned_radii(familiarity_N, (errors[0] / divisor[0], errors[0]), 0.9)
            bin_N = np.searchsorted(edges_K, of_test_N, side="right") - 1
            radius_N = times_K[bin_N] * divisor[1]
            kept_N = bin_N >= 0
            inside_N = errors[1] <= radius_N
            lengths += [inside_N[kept_N].mean(), inside_N[kept_N & hard_N].mean(), radius_N[kept_N].mean()]
        found.append(lengths)
    covered, of_hard, length, constant, constant_of_hard, constant_length = np.mean(found, axis=0)
    assert 0.89 < covered < 0.93 and 0.89 < constant < 0.93
    assert of_hard > 0.88 > constant_of_hard + 0.1
    assert length < 0.75 * constant_length


def test_what_is_left_out_and_how_many_bins() -> None:
    random = np.random.default_rng(2)
    for count, bins in ((9, 1), (19, 1), (60, 1), (64, 2), (100, 3), (1000, 4)):
        familiarity_N, error_N = simulated(count, random)
        edges_K, _ = binned_radii(familiarity_N, (error_N, error_N), 0.9)
        assert len(edges_K) == bins
        assert np.sum(familiarity_N < edges_K[0]) == int(0.05 * count)
        assert np.all(np.diff(edges_K) > 0)


@pytest.fixture
def images(one_place: Path) -> tuple[Images, Images]:
    frames = open_dataset(f"folder:{one_place}").frames
    cache = ImageCache.open(frames)
    train, test = (np.flatnonzero(frames.split == word) for word in ("train", "test"))
    return Images(frames.select(train[:14]), cache, train[:14]), Images(frames.select(train[14:]), cache, train[14:])


def test_a_models_radii_are_those_of_its_own_errors(images: tuple[Images, Images]) -> None:
    train, apart = images
    model = small("posenet", scenes=("yard",))
    estimate = calibrated(model, train, apart, "ten frames", coverage=0.8)
    poses, _ = predict_frames(model, apart.cache, apart.rows, apart.frames)
    error_N, _ = pose_errors(poses.position, poses.quaternion, apart.frames.position, apart.frames.quaternion)
    assert float(estimate.metres[0]) == pytest.approx(np.sort(error_N)[8])  # the ceil(11 x 0.8) = 9th of ten
    assert estimate.calibration == Calibration("ten frames", 10, 0.8)
    assert poses.radius_m is not None
    assert np.isfinite(poses.radius_m).all()
    # a training image, where the model puts it, is as familiar as can be if it is among the nearest
    own, _ = predict_frames(model, train.cache, train.rows, train.frames)
    assert own.familiarity is not None
    assert own.familiarity.max() > 0.99


def test_a_model_with_spreads_has_radii_in_them(images: tuple[Images, Images]) -> None:
    """The 9th smallest of ten errors in units of each image's own spread; without spreads nothing changes."""
    train, apart = images
    model = small("posenet+spread", scenes=("yard",))
    estimate = calibrated(model, train, apart, "ten frames", coverage=0.8)
    poses, _ = predict_frames(model, apart.cache, apart.rows, apart.frames)
    errors = pose_errors(poses.position, poses.quaternion, apart.frames.position, apart.frames.quaternion)
    radii = (poses.radius_m, poses.radius_deg), (estimate.metres, estimate.degrees)
    for error_N, radius_N, times in zip(errors, *radii, strict=True):
        assert radius_N is not None
        spread_N = radius_N / float(times[0])
        assert float(times[0]) == pytest.approx(np.sort(error_N / spread_N)[8], rel=1e-5)
        assert np.sum(error_N <= radius_N * (1 + 1e-6)) == 9
        assert spread_N.std() > 0
    model.spread = None  # the same pose, and one radius for all
    calibrated(model, train, apart, "ten frames", coverage=0.8)
    plain, _ = predict_frames(model, apart.cache, apart.rows, apart.frames)
    assert plain.radius_m is not None
    np.testing.assert_array_equal(plain.radius_m, np.full(10, np.sort(errors[0])[8], dtype=np.float32))


def test_estimates_depend_on_neither_batches_nor_order(images: tuple[Images, Images]) -> None:
    train, apart = images
    model = small("posenet", scenes=("yard",))
    calibrated(model, train, apart, "ten frames", coverage=0.8)
    order = np.random.default_rng(0).permutation(len(train.frames))
    whole, _ = predict_frames(model, train.cache, train.rows, train.frames)
    turned, _ = predict_frames(model, train.cache, train.rows[order], train.frames.select(order), batch_size=3)
    for name, values_N in whole.estimates.items():
        np.testing.assert_allclose(turned.estimates[name], values_N[order], atol=1e-5)


def test_too_few_images_are_refused(images: tuple[Images, Images]) -> None:
    train, apart = images
    model = small("posenet", scenes=("yard",))
    few = Images(apart.frames.select(np.arange(8)), apart.cache, apart.rows[:8])
    with pytest.raises(DataError, match=naming("8 images", "9")):
        calibrated(model, train, few, "eight")


def test_many_training_images_are_thinned_out(images: tuple[Images, Images], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "MOST_IMAGES", 5)
    model = small("posenet", scenes=("yard",))
    estimate = calibrated(model, *images, "ten frames", coverage=0.8)
    assert len(estimate.positions) == 5
    assert torch.equal(estimate.positions[-1], torch.from_numpy(images[0].frames.position[-1]))


SHIPPED = pytest.mark.parametrize("name", ["posenet-anchors-demo", "atloc-anchors-hyper-demo"])


@SHIPPED
def test_the_shipped_models_know_what_they_know(name: str) -> None:
    """Test images of the loop are familiar in any weather; other parts of the town, black and noise are not."""
    model, random = posezoo.load(name, device="cpu"), np.random.default_rng(0)
    loop, other = (open_dataset(data).frames.of_split("test") for data in ("demo-loop", "demo-places"))
    known = model.predict([loop.path(n) for n in range(0, len(loop), 10)], note=lambda text: None)
    new = model.predict([other.path(n) for n in range(len(other))], note=lambda text: None)
    nothing = [np.zeros((256, 341, 3), np.uint8), random.integers(0, 256, (256, 341, 3), np.uint8)]
    notes: list[str] = []
    assert model.predict(nothing, note=notes.append).unfamiliar == 2
    assert "2 of 2" in notes[0]
    assert known.unfamiliar <= 0.1 * len(known)
    assert len(new) == 90 and new.unfamiliar >= 89  # docs/guides/uncertainty.md
    errors = np.linalg.norm(known.position - loop.position[::10], axis=1)
    assert np.mean(errors <= known.radius_m) >= 0.75  # 24 images; all: docs/guides/uncertainty.md


@SHIPPED
@pytest.mark.parametrize("place", ["7scenes/redkitchen", "7scenes-sample/stairs"])
def test_photographs_of_rooms_are_unfamiliar_to_the_shipped_models(name: str, place: str, real_data: Path) -> None:
    photographs = sorted((real_data / place).rglob("*.color.*"))
    some = photographs[:: max(1, len(photographs) // 30)]
    assert some, "there are none"
    model = posezoo.load(name, device="cpu")
    assert model.predict(some, note=lambda text: None).unfamiliar >= 0.98 * len(some)
