"""Baselines on scenes small enough to know the answer."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from posezoo.base.spec import Frame
from posezoo.data.table import Frames
from posezoo.evaluation import baselines, metrics

TURN = (np.sqrt(0.5), 0.0, np.sqrt(0.5), 0.0)  # 90 degrees about y
SAME = (1.0, 0.0, 0.0, 0.0)


def frames_of(*rows: tuple[str, str, tuple[float, float, float], tuple[float, ...]]) -> Frames:
    return Frames.from_rows(
        Path(),
        [
            Frame(f"{n}.png", position, q, scene=scene, split=split)
            for n, (scene, split, position, q) in enumerate(rows)
        ],  # type: ignore[arg-type]
    )


@pytest.fixture
def two_scenes() -> tuple[Frames, Frames]:
    frames = frames_of(
        ("a", "train", (0, 0, 0), SAME),
        ("a", "train", (2, 0, 0), TURN),
        ("b", "train", (10, 0, 0), SAME),
        ("a", "test", (1.9, 0, 0), SAME),
        ("b", "test", (1.9, 0, 0), SAME),
    )
    return frames.of_split("train"), frames.of_split("test")


def test_mean_training_pose_is_the_scene_s_own(two_scenes: tuple[Frames, Frames]) -> None:
    poses = baselines.mean_training_pose(*two_scenes)
    assert poses.images == ("3.png", "4.png")
    np.testing.assert_allclose(poses.position, [[1, 0, 0], [10, 0, 0]])
    half = np.array([np.cos(np.pi / 8), 0, np.sin(np.pi / 8), 0])
    np.testing.assert_allclose(poses.quaternion, [half, SAME], atol=1e-12)


def test_mean_quaternion_ignores_signs() -> None:
    random = np.random.default_rng(0)
    q_N4 = np.array([1.0, 0.2, -0.1, 0.3]) + 0.05 * random.normal(size=(40, 4))
    q_N4 /= np.linalg.norm(q_N4, axis=1, keepdims=True)
    sign_N1 = random.choice([-1.0, 1.0], size=(40, 1))
    mean_4 = baselines.mean_quaternion(q_N4)
    np.testing.assert_allclose(baselines.mean_quaternion(sign_N1 * q_N4), mean_4, atol=1e-12)
    assert mean_4[0] > 0
    assert np.linalg.norm(mean_4) == pytest.approx(1)
    theirs_4 = Rotation.from_quat(q_N4, scalar_first=True).mean().as_quat(canonical=True, scalar_first=True)
    np.testing.assert_allclose(mean_4, theirs_4, atol=1e-12)


def test_oracle_is_the_nearest_position_of_the_same_scene(two_scenes: tuple[Frames, Frames]) -> None:
    poses = baselines.oracle_nearest_pose(*two_scenes)
    np.testing.assert_allclose(poses.position, [[2, 0, 0], [10, 0, 0]])
    np.testing.assert_allclose(poses.quaternion, [TURN, SAME])


def test_oracle_is_exact_far_from_the_origin() -> None:
    random = np.random.default_rng(0)
    origin_3 = np.array([5_735_000.0, 620_000.0, 100.0])
    rows = [("a", "train", tuple(origin_3 + p), SAME) for p in random.normal(scale=100, size=(700, 3))]
    rows += [("a", "test", tuple(origin_3 + p), SAME) for p in random.normal(scale=100, size=(600, 3))]
    frames = frames_of(*rows)
    train, test = frames.of_split("train"), frames.of_split("test")
    poses = baselines.oracle_nearest_pose(train, test)
    distance_NM = np.linalg.norm(test.position[:, None] - train.position, axis=-1)
    np.testing.assert_array_equal(poses.position, train.position[distance_NM.argmin(axis=1)])


def test_retrieval_searches_all_scenes_by_cosine(two_scenes: tuple[Frames, Frames]) -> None:
    train, test = two_scenes
    train_ME = np.array([[1, 0], [0, 5], [3, 3]], np.float32)
    test_NE = np.array([[4, 3.9], [-1, 9]], np.float32)
    poses = baselines.nearest_training_image(train, test, train_ME, test_NE)
    np.testing.assert_allclose(poses.position, [[10, 0, 0], [2, 0, 0]])


def test_a_feature_that_is_not_finite_is_never_the_nearest(two_scenes: tuple[Frames, Frames]) -> None:
    train, test = two_scenes
    train_ME = np.array([[np.nan, 1], [1, 1], [np.inf, 0]], np.float32)
    poses = baselines.nearest_training_image(train, test, train_ME, np.ones((2, 2), np.float32))
    np.testing.assert_allclose(poses.position, [[2, 0, 0], [2, 0, 0]])


def test_a_scene_without_training_frames_counts_as_failed(two_scenes: tuple[Frames, Frames]) -> None:
    train, test = two_scenes
    only_a = train.of_scene("a")
    for poses in (baselines.mean_training_pose(only_a, test), baselines.oracle_nearest_pose(only_a, test)):
        errors = metrics.pose_errors(poses.position, poses.quaternion, test.position, test.quaternion)
        assert np.isfinite(errors[0]).tolist() == [True, False]


def test_scenes_are_matched_by_name(two_scenes: tuple[Frames, Frames]) -> None:
    train, test = two_scenes
    turned = dataclasses.replace(train, scenes=("b", "a"), scene=1 - train.scene)
    expected = baselines.oracle_nearest_pose(train, test)
    np.testing.assert_array_equal(baselines.oracle_nearest_pose(turned, test).position, expected.position)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_in_a_feature_counts_as_zero(two_scenes: tuple[Frames, Frames], value: float) -> None:
    train, test = two_scenes
    train_ME = np.array([[value, 1], [1, 1], [1, 0]], np.float32)
    poses = baselines.nearest_training_image(train, test, train_ME, np.array([[0.1, 9], [0.1, 9]], np.float32))
    np.testing.assert_allclose(poses.position, train.position[[0, 0]])


def test_the_nearest_images_count_by_their_cosines(two_scenes: tuple[Frames, Frames]) -> None:
    """Cosines of 1 and 0.95: weights of 1 and 1 / e; the third image is of another scene."""
    train, test = two_scenes
    other = [0.95, np.sqrt(1 - 0.95**2)]
    train_ME = np.array([[1, 0], other, [1, 0]], np.float32)
    poses = baselines.nearest_training_images(train, test, train_ME, np.array([[1, 0], [1, 0]], np.float32), top=3)
    np.testing.assert_allclose(poses.position[0], [2 / (1 + np.e), 0, 0], rtol=1e-5)


@pytest.mark.slow
def test_ten_thousand_training_images_are_searched_in_a_minute() -> None:
    """2,000 test images, features of 1280 numbers; processor time, so that other work does not count."""
    random = np.random.default_rng(0)
    rows = [Frame(f"{n}.png", (float(n), 0.0, 0.0), (1.0, 0.0, 0.0, 0.0)) for n in range(12_000)]
    frames = Frames.from_rows(Path(), rows)
    features_NE = random.normal(size=(12_000, 1280)).astype(np.float32)
    features_NE[10_000:] = features_NE[:2000] + 0.1 * features_NE[10_000:]
    train, test = frames.select(np.arange(10_000)), frames.select(np.arange(10_000, 12_000))
    begin = time.process_time()
    for find in (baselines.nearest_training_image, lambda *given: baselines.nearest_training_images(*given, top=5)):
        found = find(train, test, features_NE[:10_000], features_NE[10_000:])
        assert np.abs(found.position[:, 0] - np.arange(2000)).max() < 1  # its own image is the nearest by far
    seconds = (time.process_time() - begin) / 2
    print(f"{seconds:.1f} s for 2,000 among 10,000")
    assert seconds < 60
