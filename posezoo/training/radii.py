"""At the end of a run: how far off its model's poses may be (posezoo.evaluation.calibration).

It is found from the frames that the run held apart: the validation frames, or those of `data.calibration`. Never from
test frames.
"""

from __future__ import annotations

import numpy as np

from posezoo.base.observe import Observer
from posezoo.data.images.cache import ImageCache
from posezoo.data.open import Dataset
from posezoo.data.table import Frames
from posezoo.evaluation.calibration import COVERAGE, Images, calibrated, least_images
from posezoo.nn.model import PoseModel
from posezoo.training.config import TrainConfig
from posezoo.training.setup import Job


def held_apart(dataset: Dataset, config: TrainConfig, validation: np.ndarray) -> tuple[np.ndarray, str]:
    """Of the frames that a run only watched, those that may calibrate (rows, in words what they are)."""
    rows = np.asarray(validation)
    if config.overfit or config.selection == "test":
        return rows[:0], ""
    rows = rows[dataset.frames.split[rows] != "test"]
    return rows, "frames held apart" if config.selection == "last" else "validation frames, which also chose the epoch"


def calibrate_run(job: Job, model: PoseModel, observer: Observer) -> bool:
    """Give the run's trained model an error estimate; False where no frames were held apart for one.

    A note says why where some were, too few of them, or where they were asked for.
    """
    rows, source = held_apart(job.dataset, job.config, job.validation_rows)
    least = least_images(COVERAGE)
    if len(rows) < least:
        if len(rows) or job.config.data.calibration:
            what = f"no radii: {len(rows)} frames were held apart, {least} are needed"
            observer.note(f"{what} (a larger data.calibration, or posezoo calibrate RUN --data NEW)")
        return False
    train, apart = (images_of(job.dataset.frames, job.cache, which) for which in (job.train_rows, rows))
    calibrated(
        model, train, apart, source, device=job.accelerator.device, batch_size=job.config.batch_size,
        progress=lambda done, total: observer.progress("calibrating", done, total), share=job.processes,
    )  # fmt: skip
    return True


def images_of(frames: Frames, cache: ImageCache, rows: np.ndarray) -> Images:
    """These rows of the frames; the cache has the images of all."""
    return Images(frames.select(rows), cache, rows)
