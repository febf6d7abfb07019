"""Before step 1: the place, shown to what in the model learns from it (posezoo.nn.place)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from posezoo.base.observe import Progress
from posezoo.catalogue import guard
from posezoo.evaluation.evaluate import embed_frames
from posezoo.nn import place
from posezoo.nn.model import evaluating
from posezoo.training.setup import Job


def learn_place(job: Job, progress: Progress) -> None:
    """Show the training images' poses and embeddings to every module that asks for them; nothing if none does.

    A resumed run reads what was learned from its checkpoint instead. Raises PluginError for a plugin that raises.
    """
    if not place.learners(job.model):
        return
    rows, model = job.train_rows, job.model
    frames = job.dataset.frames.select(rows)

    def embed(places: Sequence[int]) -> Tensor:
        features_NE = embed_frames(
            lambda images_BCHW: model.encode(model.prepare(images_BCHW)).image,
            job.cache, rows[np.asarray(places, dtype=np.int64)], job.config.batch_size, job.accelerator.device,
            progress=progress, share=job.processes,
        )  # fmt: skip
        return torch.from_numpy(features_NE).to(job.accelerator.device)

    known = place.Place(frames.position, frames.quaternion, frames.scene.astype(np.int64), frames.intrinsics, embed)
    with evaluating(model), torch.no_grad(), guard.guarded(job.blueprint.known.owners, "learn_place"):
        place.learn_place(model, known)
