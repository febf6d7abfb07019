"""A data set in numbers, before any training: how far, how dense, how hard, what the mean pose alone would reach.

Legend: N frames, 3 position (m), 4 quaternion (w, x, y, z).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from posezoo.base.errors import DataError
from posezoo.base.files.pictures import image_size
from posezoo.base.observe import Progress, parallel
from posezoo.data.open import Dataset, open_dataset
from posezoo.data.splits import WORDS, runs
from posezoo.data.table import Frames
from posezoo.evaluation import baselines
from posezoo.evaluation.metrics import angle_deg, pose_errors

NEAR_METRES = (0.1, 0.25, 1.0, 5.0)
"""Distances to the nearest training frame whose shares are reported."""
Row = dict[str, Any]


def dataset_statistics(
    name: str, *, root: str | Path | None = None, split: str | Path | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """The data set in numbers, as plain data. Image sizes are read from the files' headers.

    Keys: name, kind, ground_truth, unit, frames, splits, image_sizes, intrinsics, scenes, sequences, conditions, and
    test_beside_training, notes. Metres, degrees, frames; a number without any frame is None.
    Raises DataError, UsageError.
    """
    dataset = open_dataset(name, root=root, split=split)
    frames = dataset.frames
    if not len(frames):
        raise DataError(f'"{name}" has no frames', "posezoo data verify shows why")
    steps = _Steps.of(frames)
    known = int(np.sum(~np.isnan(frames.intrinsics).any(axis=1)))
    return {
        "name": name,
        "kind": dataset.kind,
        "ground_truth": frames.ground_truth,
        "frames": len(frames),
        "splits": {word: count for word in WORDS if (count := int(np.sum(frames.split == word)))},
        "image_sizes": _sizes(frames, progress),
        "intrinsics": f"known for {known} of {len(frames)} frames",
        "unit": dataset.unit,
        "scenes": _in_unit([row for word in WORDS for row in _scenes(frames, word, steps)], dataset.unit),
        "sequences": _in_unit(_sequences(frames, steps), dataset.unit),
        "conditions": _conditions(frames),
        "test_beside_training": _in_unit(_tests(dataset), dataset.unit),
        "notes": [*dataset.notes, *dataset.remarks],
    }


def _sizes(frames: Frames, progress: Progress | None) -> dict[str, int]:
    """WIDTHxHEIGHT -> frames, the most frequent first."""
    found: Counter[str] = Counter()
    for n, size in enumerate(parallel(lambda i: image_size(frames.path(i), frames.decode), range(len(frames))), 1):
        found["x".join(map(str, size))] += 1
        if progress:
            progress(n, len(frames))
    return dict(found.most_common())


def _in_unit(rows: list[Row], unit: str) -> list[Row]:
    """The rows with the unit of the data in place of metres."""
    return [
        {key.replace("(m)", f"({unit})").replace(" m (", f" {unit} ("): v for key, v in row.items()} for row in rows
    ]


@dataclass(frozen=True)
class _Steps:
    """For each frame the one taken next in its sequence (-1: none), the distance to it and the turn."""

    following: np.ndarray  # (N,)
    metres: np.ndarray  # (N,)
    degrees: np.ndarray  # (N,)

    @staticmethod
    def of(frames: Frames) -> _Steps:
        """Found once for all frames: a frame that another split holds out is then no jump of this one's path."""
        next_N = np.full(len(frames), -1)
        for index in runs(frames):
            next_N[index[:-1]] = index[1:]
        metres_N = np.linalg.norm(frames.position[next_N] - frames.position, axis=1)
        return _Steps(next_N, metres_N, angle_deg(frames.quaternion, frames.quaternion[next_N]))

    def path(self, rows: np.ndarray) -> Row:
        """Length of the paths of these frames, and the spacing of those that were taken one after the other."""
        inside_N = np.zeros(len(self.following), dtype=bool)
        inside_N[rows] = True
        steps = rows[(self.following[rows] >= 0) & inside_N[self.following[rows]]]
        step_N = self.metres[steps]
        return {
            "path (m)": _rounded(step_N.sum()),
            "median spacing (m)": _median(step_N),
            "largest spacing (m)": _rounded(step_N.max()) if len(step_N) else None,
            "median turn (deg)": _median(self.degrees[steps]),
        }


def _scenes(frames: Frames, split: str, steps: _Steps) -> list[Row]:
    """One row for each scene of one split: how long its paths are and how far its poses spread."""
    rows = []
    order = np.flatnonzero(frames.split == split)
    order = order[np.argsort(frames.scene[order], kind="stable")]  # one pass, however many scenes there are
    ends = np.cumsum(np.bincount(frames.scene[order], minlength=len(frames.scenes)))[:-1]
    for scene, index in zip(frames.scenes, np.split(order, ends), strict=True):
        part = frames.select(index)
        if not len(part):
            continue
        mean_4 = baselines.mean_quaternion(part.quaternion)
        turn_N = angle_deg(part.quaternion, np.broadcast_to(mean_4, part.quaternion.shape))
        box_3 = np.ptp(part.position, axis=0)
        rows.append(
            {
                "scene": scene,
                "split": split,
                "frames": len(part),
                "sequences": len(runs(part)),
                **steps.path(index),
                **{f"box {axis} (m)": _rounded(side) for axis, side in zip("xyz", box_3, strict=True)},
                "position spread (m)": _rounded(np.sqrt(part.position.var(axis=0).sum())),
                "heading spread (deg)": _rounded(np.sqrt(np.mean(turn_N**2))),
            }
        )
    return rows


def _sequences(frames: Frames, steps: _Steps) -> list[Row]:
    """One row for each sequence of each scene and split."""
    rows = []
    for index in runs(frames):
        for split in dict.fromkeys(frames.split[index].tolist()):
            chosen = index[frames.split[index] == split]
            part = frames.select(chosen)
            first = {"scene": frames.scenes[part.scene[0]], "sequence": str(part.sequence[0]), "split": split}
            rows.append({**first, "frames": len(part), **steps.path(chosen)})
    return rows


def _conditions(frames: Frames) -> list[Row]:
    """Frames by condition and split; nothing where the data have no conditions."""
    found = Counter(zip(frames.condition.tolist(), frames.split.tolist(), strict=True))
    if not any(condition for condition, _ in found):
        return []
    return [{"condition": c or "-", "split": s, "frames": count} for (c, s), count in sorted(found.items())]


def _tests(dataset: Dataset) -> list[Row]:
    """One row for each scene with test frames: how near training frames are, and the errors of the mean pose."""
    train, test = dataset.frames.of_split("train"), dataset.frames.of_split("test")
    if not len(train) or not len(test):
        return []
    errors = [
        pose_errors(found.position, found.quaternion, test.position, test.quaternion)
        for found in (baselines.oracle_nearest_pose(train, test), baselines.mean_training_pose(train, test))
    ]
    (near_N, turned_N), (far_N, off_N) = errors
    rows = []
    for number, scene in enumerate(test.scenes):
        here = test.scene == number
        if not here.any():
            continue
        shares = {f"within {d:g} m (%)": _rounded(100 * np.mean(near_N[here] <= d)) for d in NEAR_METRES}
        rows.append(
            {
                "scene": scene,
                "test frames": int(here.sum()),
                "nearest training frame (m)": _median(near_N[here]),
                "its turn (deg)": _median(turned_N[here]),
                **shares,
                "mean pose (m)": _median(far_N[here]),
                "mean pose (deg)": _median(off_N[here]),
            }
        )
    return rows


def _median(values: np.ndarray) -> float | None:
    return _rounded(np.median(values)) if len(values) else None


def _rounded(value: float) -> float | None:
    """To four digits; None for what is not finite (a scene without training frames)."""
    return float(f"{value:.4g}") if np.isfinite(value) else None
