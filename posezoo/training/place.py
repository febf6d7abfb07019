"""Before step 1: the place, shown to what in the model learns from it (posezoo.nn.place).

Legend: N training images, M views from beside them, n some of both, H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from posezoo.base.observe import Progress
from posezoo.catalogue import guard
from posezoo.data.loader import uniforms
from posezoo.evaluation.evaluate import embed_frames
from posezoo.nn import geometry, place, views
from posezoo.nn.model import evaluating
from posezoo.training.augment import moves_of, with_known_intrinsics
from posezoo.training.setup import Job

BESIDE = 8
"""Views from beside each training image that has depths."""
LAST_EPOCH = 2**32 - 1  # random numbers that no training image is varied by


def learn_place(job: Job, progress: Progress) -> None:
    """Show the training images' poses and embeddings to every module that asks for them; nothing if none does.

    Where training moves cameras, views from beside are shown too. A resumed run reads what was learned from its
    checkpoint instead. Raises PluginError for a plugin that raises.
    """
    if not place.learners(job.model):
        return
    shown, model = Views(job), job.model

    def embed(numbers: Sequence[int]) -> Tensor:
        features_nE = embed_frames(
            lambda images_BCHW: model.encode(model.prepare(images_BCHW)).image,
            shown, np.asarray(numbers, dtype=np.int64), job.config.batch_size, job.accelerator.device,
            progress=progress, share=job.processes,
        )  # fmt: skip
        return torch.from_numpy(features_nE).to(job.accelerator.device)

    frames = job.dataset.frames.select(shown.rows)
    scene = frames.scene.astype(np.int64)
    known = place.Place(shown.position, frames.quaternion, scene, frames.intrinsics, embed)
    with evaluating(model), torch.no_grad(), guard.guarded(job.blueprint.known.owners, "learn_place"):
        place.learn_place(model, known)


class Views:
    """The training images, and after them views from beside those that have depths: as pictures, and where from.

    `rows` (N + M,): the frame of each. `position` (N + M, 3) float64.
    """

    def __init__(self, job: Job) -> None:
        rows, frames = job.train_rows, job.dataset.frames
        self._cache, self._depths, self._augmentation = job.cache, job.depths, job.augmentation
        beside = rows[self._depths.share[rows] > 0] if self._depths else rows[:0]
        self.rows = np.concatenate([rows, *[beside] * BESIDE])
        drawn = [uniforms(job.config.seed, LAST_EPOCH - n, int(row)) for n in range(BESIDE) for row in beside]
        move_M3 = moves_of(torch.from_numpy(np.array(drawn)), self._augmentation) if drawn else torch.zeros(0, 3)
        self._move_n3 = torch.cat([torch.zeros(len(rows), 3), move_M3])
        axes_n33 = geometry.matrix_from_quaternion(torch.from_numpy(frames.quaternion[self.rows]))
        moved_n3 = (axes_n33 @ self._move_n3.double()[:, :, None])[:, :, 0].numpy()
        self.position = frames.position[self.rows] + moved_n3

    def batch(self, numbers: Sequence[int] | np.ndarray, /) -> tuple[Tensor, np.ndarray]:
        """Pictures (1, 3, H, W) uint8 of one view, as the image cache has them, and the intrinsics (1, 4)."""
        images_BCHW, intrinsics_B4 = self._cache.batch(self.rows[numbers])
        move_B3 = self._move_n3[numbers]
        if self._depths is None or not move_B3.any():
            return images_BCHW, intrinsics_B4
        height, width = images_BCHW.shape[-2:]
        camera_B4 = torch.from_numpy(np.asarray(intrinsics_B4, dtype=np.float32))
        focal_B2, centre_B2 = with_known_intrinsics(camera_B4, width, height, self._augmentation.fov_deg).split(2, -1)
        still_B33 = torch.eye(3).expand(len(move_B3), 3, 3)
        inverse_Bhw = self._depths.batch(self.rows[numbers])
        seen = views.moved_cameras(images_BCHW / 255, inverse_Bhw, focal_B2, centre_B2, still_B33, move_B3, None)
        return (seen.clamp(0, 1) * 255).round().to(torch.uint8), intrinsics_B4  # a cubic overshoots at hard edges
