"""Radii for any trained model: from the frames that its run held apart, or from a new recording of the place.

Test frames of the data that it was trained on are never used, nor other pictures of the same views.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from posezoo.base.errors import DataError, UsageError, WeightsError
from posezoo.base.observe import Observer
from posezoo.base.paths import user_path
from posezoo.catalogue import names, settings
from posezoo.data.images.cache import ImageCache
from posezoo.data.open import Dataset
from posezoo.data.table import Frames
from posezoo.evaluation.calibration import calibrated
from posezoo.evaluation.evaluate import as_known_scenes
from posezoo.nn.estimate import ErrorEstimate
from posezoo.training import again
from posezoo.training.config import TrainConfig
from posezoo.training.radii import held_apart, images_of
from posezoo.training.rows import rows_of
from posezoo.training.run import CONFIG, read_config
from posezoo.zoo import card
from posezoo.zoo.find import CARD, full_name
from posezoo.zoo.find import read_config as read_model_config
from posezoo.zoo.saved import save_estimate, write_card


class Calibrated(NamedTuple):
    """A model folder that now has an error estimate."""

    folder: Path
    estimate: ErrorEstimate
    spreads: bool = False
    """Whether the radii are multiples of the spread that the model tells with each pose."""

    def rows(self) -> dict[str, Any]:
        """What the command prints."""
        found, radii = self.estimate.calibration, zip(self.estimate.metres, self.estimate.degrees, strict=True)
        units = ("spreads (m)", "spreads (deg)") if self.spreads else ("m", "deg")
        return {
            "model": str(self.folder),
            "calibrated on": f"{found.source} ({found.count} images)",
            "coverage": found.coverage,
            "familiarity from": ", ".join(f"{edge:.2f}" for edge in self.estimate.edges.tolist()),
            "radius there": ", ".join(f"{metres:.3g} {units[0]} {degrees:.3g} {units[1]}" for metres, degrees in radii),
        }


def calibrate(
    model: str | Path,
    data: str | None = None,
    *,
    root: str | Path | None = None,
    scene: str | None = None,
    skip_bad: bool = False,
    device: str | torch.device = "auto",
    observer: Observer | None = None,
) -> Calibrated:
    """Radii for a run folder or `local-dir:PATH`, from the frames it held apart, or from all frames of `data`.

    `data`: a new recording of the place, which is then no measure of the model any more. `root`, `skip_bad`: of `data`.
    The training images must be here too. Raises DataError, UsageError for a model of the hub or for its test frames.
    """
    if not full_name(model).startswith("local-dir:"):  # an alias may be a folder too, whose bytes are pinned
        raise UsageError(f"{model} is not a folder of yours", "posezoo calibrate takes a run folder or local-dir:PATH")
    watch = observer or Observer()
    found = again.found_subject(model, data, root, skip_bad, device, watch)
    folder = user_path(found.model.origin)
    trained, config = _trained(found, user_path(str(model).removeprefix("local-dir:")), watch)
    train_rows, rows, source = _parts(trained, config)
    train = images_of(trained.frames, _cache(trained, watch), train_rows)
    if data is None or again.same_place(data, str(found.trained.data if found.trained else "")):
        if not len(rows):
            what = "no frames were held apart in training"
            raise DataError(what, "give a new recording: --data folder:NEW; or train with data.calibration=0.1")
        apart = train._replace(frames=trained.frames.select(rows), rows=rows)
    else:
        new = as_known_scenes(again.opened(found.choice, watch), found.model.config.scenes, scene)
        if (same := _shared(new.frames, trained.frames)) > 0:
            what = f"{same} of these {len(new.frames)} images have poses of the data that it was trained on"
            raise UsageError(what, "a new recording; or leave out --data for the frames that were held apart")
        apart = images_of(new.frames, _cache(new, watch), np.arange(len(new.frames)))
        source = names.parse_data(data).public
    progress = lambda done, total: watch.progress("calibrating", done, total)  # noqa: E731
    estimate = calibrated(found.model, train, apart, source, device=found.model.device, progress=progress)
    write_estimate(folder, estimate)
    return Calibrated(folder, estimate, spreads=found.model.spread is not None)


def _shared(new: Frames, trained: Frames) -> int:
    """How many frames are views of both: by their poses, which no two recordings share."""
    known = {pose.tobytes() for pose in np.hstack([trained.position, trained.quaternion])}
    return sum(pose.tobytes() in known for pose in np.hstack([new.position, new.quaternion]))


def write_estimate(folder: Path, estimate: ErrorEstimate) -> None:
    """Put it into the model's folder, and what is new of it into its card, unless that is hand-written."""
    save_estimate(folder, estimate)
    path, report, config = folder / CARD, card.report_of(folder), read_model_config(folder)
    if card.is_handwritten(path):
        return
    if report is not None:
        write_card(folder, card.text(config, report))
    elif path.is_file():
        write_card(folder, card.with_facts(path.read_text(encoding="utf-8"), config))


def _trained(found: again.Subject, run: Path, watch: Observer) -> tuple[Dataset, TrainConfig | None]:
    """The data that the model was trained on, and the run's settings if it is a run."""
    if found.trained is None:
        what = f"{found.model.origin}: it is not known what it was trained on"
        raise WeightsError(what, "calibrate the run folder, which knows it")
    config = None
    if (run / CONFIG).is_file():
        config = settings.validated(TrainConfig, read_config(run)["train"])
    return again.opened(found.trained, watch), config


def _parts(trained: Dataset, config: TrainConfig | None) -> tuple[np.ndarray, np.ndarray, str]:
    """(training rows, rows held apart, in words what these are)."""
    if config is None:
        rows = np.flatnonzero(trained.frames.split == "val")
        return np.flatnonzero(trained.frames.split == "train"), rows, "the validation frames of the data"
    train, validation = rows_of(trained, config)
    return train, *held_apart(trained, config, validation)


def _cache(dataset: Dataset, watch: Observer) -> ImageCache:
    return ImageCache.open(dataset.frames, lambda done, total: watch.progress("reading images", done, total))
