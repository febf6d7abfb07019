"""Errors of models on a data set's test images, as they are and changed: what most studies measure.

A condition is a choice of test images with, perhaps, a change that is made to each of their pictures on the way from
the image cache to the network. What was measured of a run is kept in the study's folder and read again, so that a study
that was stopped continues; it is measured anew when weights, images or conditions are others.

Legend: N images of a condition, H height, W width, C colours.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from posezoo.base.files.arrays import UNREADABLE
from posezoo.base.files.write import write_whole, writing
from posezoo.base.observe import Observer
from posezoo.data.images.cache import ImageCache
from posezoo.data.open import Dataset, open_dataset
from posezoo.data.table import Frames
from posezoo.evaluation import metrics
from posezoo.evaluation.evaluate import as_known_scenes, check_scenes, predict_frames
from posezoo.evaluation.intervals import Floats, Index
from posezoo.evaluation.results import Results
from posezoo.nn.device import torch_device
from posezoo.nn.model import PoseModel
from posezoo.studies.subjects import Request, Subject
from posezoo.zoo.find import find, full_name
from posezoo.zoo.saved import load_found

Errors = tuple[Floats, Floats]
"""Of the position in metres and of the orientation in degrees, each (N,)."""


class Answers(NamedTuple):
    """What a model predicts for N images, camera-to-world."""

    position: Floats  # (N, 3) metres
    quaternion: Floats  # (N, 4) (w, x, y, z)


Change = Callable[[np.ndarray, int], np.ndarray]
"""A uint8 picture (H, W, 3) and the number of its frame among the test frames -> the changed picture."""


@dataclass(frozen=True)
class Condition:
    """Some test images, as they are or with a change."""

    name: str
    index: Index
    """Which of the test frames, in the order in which conditions are compared image by image."""
    change: Change | None = None
    key: str = ""
    """What the change depends on, in words."""


@dataclass(frozen=True)
class Album:
    """The test images of a data set."""

    dataset: Dataset
    frames: Frames
    cache: ImageCache

    def results(self, index: Index) -> Results:
        """The frames `index` as results of no method yet: for their groups and sequences."""
        frames, data = self.frames.select(index), self.dataset
        return Results("", data.name, data.digest, frames.ground_truth, "test", "", {}, frames, unit=data.unit)

    def picture(self, n: int) -> np.ndarray:
        """Test image n as the cache has it, uint8 (H, W, 3)."""
        return np.ascontiguousarray(self.cache.batch([n])[0][0].permute(1, 2, 0).numpy())


def open_album(request: Request, observer: Observer) -> Album:
    """The test images of the study's data. Raises DataError."""
    dataset = opened(request)
    frames = dataset.require("test")
    cache = ImageCache.open(frames, lambda done, total: observer.progress("reading images", done, total))
    return Album(dataset, frames, cache)


def opened(request: Request) -> Dataset:
    """The study's data, split as its trainings' are. Raises DataError."""
    split, skip_bad = request.given.get("data.split"), bool(request.given.get("data.skip_bad"))
    return open_dataset(request.data, root=request.root, split=split, skip_bad=skip_bad)


class Changed:
    """The pictures of an image cache with a change made to each."""

    def __init__(self, cache: ImageCache, change: Change) -> None:
        self.cache, self.change = cache, change

    def batch(self, indices: Sequence[int] | np.ndarray) -> tuple[Tensor, np.ndarray]:
        """One picture, changed."""
        (n,) = (int(one) for one in indices)
        images_1CHW, intrinsics_14 = self.cache.batch([n])
        changed_HWC = self.change(np.ascontiguousarray(images_1CHW[0].permute(1, 2, 0).numpy()), n)
        return torch.from_numpy(np.ascontiguousarray(changed_HWC)).permute(2, 0, 1)[None], intrinsics_14


def errors(
    subjects: Sequence[Subject], album: Album, conditions: Sequence[Condition], folder: Path, observer: Observer
) -> dict[str, list[list[Errors]]]:
    """Subject -> for each of its runs, for each condition, the errors of its `answers`."""
    found = answers(subjects, album, conditions, folder, observer)
    return {
        name: [[_errors(one, album, c) for one, c in zip(run, conditions, strict=True)] for run in runs]
        for name, runs in found.items()
    }


def answers(
    subjects: Sequence[Subject], album: Album, conditions: Sequence[Condition], folder: Path, observer: Observer
) -> dict[str, list[list[Answers]]]:
    """Subject -> for each of its runs, for each condition, the predicted poses. Kept in `folder`."""
    runs = [(subject, run) for subject in subjects for run in subject.runs]
    found: dict[str, list[list[Answers]]] = {subject.name: [] for subject in subjects}
    total = len(runs) * len(conditions)
    for number, (subject, run) in enumerate(runs):
        trained = find(full_name(run))
        key = _key(trained.config, album, conditions)
        path = folder / "measured" / f"{key[:24]}.npz"
        stored = _read(path, len(conditions))
        if stored is None:
            model = load_found(trained, torch_device("auto"))
            stored = []
            for count, condition in enumerate(conditions):
                stored.append(_answers_in(model, album, condition))
                observer.progress("measuring", number * len(conditions) + count + 1, total)
            _write(path, stored)
        found[subject.name].append(stored)
    return found


def _answers_in(model: PoseModel, album: Album, condition: Condition) -> Answers:
    dataset = as_known_scenes(album.dataset, model.config.scenes, None)
    frames = dataset.require("test").select(condition.index)
    check_scenes(model, frames)
    pictures = album.cache if condition.change is None else Changed(album.cache, condition.change)
    poses, _ = predict_frames(model, pictures, condition.index, frames, device=model.device)
    return Answers(poses.position, poses.quaternion)


def _errors(found: Answers, album: Album, condition: Condition) -> Errors:
    true = album.frames.select(condition.index)
    return metrics.pose_errors(found.position, found.quaternion, true.position, true.quaternion)


def _key(config: Mapping[str, Any], album: Album, conditions: Sequence[Condition]) -> str:
    """What the errors depend on; `config` is a trained model's config.json."""
    # the same weights see something else with another crop
    model = json.dumps([config[key] for key in ("name", "config", "modifiers")], sort_keys=True)
    digest = hashlib.sha256(
        f"3 {model} {config['weights']['sha256']} {album.dataset.digest} {album.cache.folder.name}".encode()
    )
    for condition in conditions:
        digest.update(f"\0{condition.name}\0{condition.key}\0".encode() + condition.index.astype("<i8").tobytes())
    return digest.hexdigest()


def _read(path: Path, count: int) -> list[Answers] | None:
    """What was kept, if it is whole."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
            return [Answers(arrays[f"{n}/position"], arrays[f"{n}/quaternion"]) for n in range(count)]
    except UNREADABLE:
        return None


def _write(path: Path, found: Sequence[Answers]) -> None:
    arrays: dict[str, np.ndarray] = {}
    for n, poses in enumerate(found):
        arrays |= {f"{n}/position": poses.position, f"{n}/quaternion": poses.quaternion}
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)  # type: ignore[arg-type]
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, content.getvalue())
