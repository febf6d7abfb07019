"""Features of the training frames, computed once, for phases in which all that computes them is frozen.

Exact where an image is the same in every epoch: the phase trains heads alone, so that backbone and batch norms do not
change and their dropout is off, and it does not augment (`augment = false` of the phase). The heads' own dropout is
drawn as usual. The features stay in memory: 4 bytes a number, 7 kB an image for MS-HyperPose.

Legend: B batch, N training frames.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from posezoo.data.loader import Batch, FrameBatches
from posezoo.nn.model import PoseModel
from posezoo.nn.outputs import Features
from posezoo.nn.place import losses_read_image
from posezoo.training.augment import UNVARIED
from posezoo.training.config import PhaseSettings
from posezoo.training.setup import Job, augmented_batch


def features_can_be_cached(job: Job, phase: PhaseSettings) -> bool:
    """Whether features computed once give the phase's outputs: not if a modifier acts on the whole model."""
    encoder_learns = phase.train == "all" or (phase.train == "heads" and job.model.of_scenes)
    return not (acts_whole(job.model) or phase.augment or encoder_learns)


def acts_whole(model: PoseModel) -> bool:
    """Whether a modifier acts on the whole `forward`, so that `pose_of(features)` is not all of it."""
    return type(model).forward is not PoseModel.forward or bool(model._forward_hooks or model._forward_pre_hooks)


class FrozenFeatures:
    """The features of all training frames, by batch."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.places = np.full(len(job.dataset.frames), -1)
        self.places[job.train_rows] = np.arange(len(job.train_rows))
        self.parts: list[Tensor | None] = []  # of Features, each (N, ...)

    def batches(self) -> list[list[int]]:
        """The arguments to call `add` with, in order: the same after a resume."""
        size = self.job.config.batch_size
        places = list(range(len(self.job.train_rows)))
        return [places[start : start + size] for start in range(0, len(places), size)]

    @torch.no_grad()
    def add(self, places: list[int], autocast: AbstractContextManager[Any]) -> None:
        """Compute the features of the next training frames."""
        job = self.job
        frames = FrameBatches(job.dataset.frames, job.cache, job.train_rows, job.config.seed, 0)
        batch = frames[places].to(job.accelerator.device)
        images_BCHW = augmented_batch(job, batch, UNVARIED).images
        with autocast:
            encode = job.model.encode if losses_read_image(job.model) else job.model.features_for_heads
            found = encode(images_BCHW, scenes_of(job.model, batch))
        if not self.parts:
            size, stores = len(job.train_rows), dict[int, Tensor]()  # what both heads read is kept once
            for part in found:
                if part is not None and id(part) not in stores:
                    stores[id(part)] = torch.empty(size, *part.shape[1:], dtype=part.dtype)
            self.parts = [None if part is None else stores[id(part)] for part in found]
        for store, part in zip(self.parts, found, strict=True):
            if store is not None and part is not None:
                store[places] = part.cpu()

    def of(self, batch: Batch) -> Features:
        """The features of a batch's frames."""
        places_B = torch.from_numpy(self.places[batch.rows.numpy()])
        device = batch.position.device
        found = (None if part is None else part[places_B].to(device, non_blocking=True) for part in self.parts)
        return Features(*found)  # type: ignore[arg-type]


def scenes_of(model: PoseModel, batch: Batch) -> Tensor | None:
    """The scenes that a multi-scene model is given in training."""
    return batch.scene if len(model.config.scenes) > 1 else None
