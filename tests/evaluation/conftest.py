"""Hand-made frames, and reports over them; small data sets and runs (tests/small_runs.py)."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from small_runs import cache_home, no_pictures, notes, one_place, quiet_place, train, two_places

from posezoo.base.poses import Poses
from posezoo.base.spec import Frame
from posezoo.data.table import Frames
from posezoo.evaluation import baselines
from posezoo.evaluation.report import Report

__all__ = ["cache_home", "no_pictures", "notes", "one_place", "quiet_place", "train", "two_places"]

MakeFrames = Callable[..., Frames]
MakeReport = Callable[..., Report]


def path_rows(scene: str, split: str, num: int, condition: str = "", seed: int = 0, size: float = 4.0) -> list[Frame]:
    """Frames along a closed curve, looking along it."""
    random = np.random.default_rng(seed)
    rows = []
    for n in range(num):
        turn = 2 * np.pi * n / num
        wobble = random.normal(scale=0.02 * size, size=3)
        x, y, z = size * np.cos(turn) + wobble[0], 0.1 * wobble[1], 0.6 * size * np.sin(2 * turn) + wobble[2]
        rows.append(
            Frame(
                image=f"{scene}/{split}-{condition}{seed}/{n:04d}.png",
                position=(float(x), float(y), float(z)),
                quaternion=(abs(math.cos(turn / 2)), 0.0, math.copysign(math.sin(turn / 2), math.cos(turn / 2)), 0.0),
                scene=scene,
                split=split,
                sequence=f"{split}-{condition or 'a'}{seed}",
                timestamp=n * 100_000,
                condition=condition,
            )
        )
    return rows


@pytest.fixture
def make_frames() -> MakeFrames:
    """`make_frames(("chess", "fire"), conditions=("sun", "rain"), num=60)`: train and test frames of each scene."""

    def make(scenes: tuple[str, ...] = ("loop",), conditions: tuple[str, ...] = ("",), num: int = 60) -> Frames:
        rows = []
        for number, scene in enumerate(scenes):
            rows += path_rows(scene, "train", 2 * num, seed=10 * number, size=4.0 + number)
            for place, condition in enumerate(conditions, 1):
                rows += path_rows(scene, "test", num, condition, seed=10 * number + place, size=4.0 + number)
        return Frames.from_rows(Path("images"), rows)

    return make


@pytest.fixture
def make_report() -> MakeReport:
    """`make_report(frames, spread=0.2)`: a report on a model whose error is normal with that spread (metres)."""

    def make(frames: Frames, spread: float = 0.2, failures: int = 0, scene_predicted: object = None) -> Report:
        random = np.random.default_rng(1)
        train, test = frames.of_split("train"), frames.of_split("test")
        scale_N1 = spread * random.exponential(size=(len(test), 1))
        position_N3 = test.position + scale_N1 * random.normal(size=test.position.shape)
        position_N3[:failures] = np.nan
        quaternion_N4 = test.quaternion + 0.3 * spread * random.normal(size=test.quaternion.shape)
        true = test.poses()
        features = [f.position.astype(np.float32) + random.normal(size=f.position.shape) for f in (train, test)]
        methods = {
            "posenet+hyper": Poses(true.images, position_N3, quaternion_N4, true.scenes, true.timestamps),
            baselines.MEAN: baselines.mean_training_pose(train, test),
            baselines.RETRIEVAL: baselines.nearest_training_image(train, test, features[0], features[1]),
            baselines.ORACLE: baselines.oracle_nearest_pose(train, test),
        }
        return Report(
            model="posenet+hyper",
            data="demo-loop",
            data_digest="0" * 64,
            ground_truth="original",
            split="test",
            selection="lowest validation median position",
            methods=methods,
            frames=test,
            train=train,
            scene_predicted=scene_predicted,  # type: ignore[arg-type]
        )

    return make
