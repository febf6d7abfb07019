"""Radii that hold: split conformal prediction in bins of familiarity, from images that the model was not trained on.

The images are put in order of their familiarity (posezoo.nn.estimate). The least familiar twentieth is left out: what
is less familiar than the others counts as unfamiliar, and has no finite radius. The others are cut into bins of equal
size, at most four and none of fewer than 30 images. The radius of a bin of n images is the ceil((n + 1) coverage)-th
smallest of their errors. For images drawn from the same source it covers the error with at least this probability
(Vovk, Gammerman and Shafer 2005), in each bin. One radius for all would cover too few of the less familiar images.

A model that tells a spread with each pose (`+spread`) has its errors divided by it first: its radii are multiples of
the spread, longer for one image than for another of the same bin (Papadopoulos, Gammerman and Vovk 2008).

Frames of a video are alike, so the images must be whole blocks or sequences apart from the training frames. What holds
for these images holds for later ones as far as these are seen under like conditions.

Legend: N images, K bins, M training images.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from math import ceil
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from posezoo.base.errors import DataError
from posezoo.data.images.cache import ImageCache
from posezoo.data.table import Frames
from posezoo.evaluation.evaluate import check_scenes, embed_frames, predict_frames
from posezoo.evaluation.metrics import pose_errors
from posezoo.nn.estimate import MOST_IMAGES, Calibration, ErrorEstimate
from posezoo.nn.model import PoseModel

COVERAGE = 0.9
UNFAMILIAR = 0.05
"""Share of the images held apart that counts as unfamiliar."""
MOST_BINS, LEAST_IMAGES = 4, 30
Floats = npt.NDArray[np.float64]


class Images(NamedTuple):
    """Frames and where their images are."""

    frames: Frames
    cache: ImageCache
    rows: np.ndarray
    """The place of each frame's image in the cache."""


def calibrated(
    model: PoseModel, train: Images, held_out: Images, source: str, coverage: float = COVERAGE, **running: Any
) -> ErrorEstimate:
    """The error estimate of a model: familiarity with `train`, radii from `held_out`, which it was not trained on.

    `source` says in words what these are. `running`: batch_size, device, progress, share, ... of `predict_frames`. The
    model has the estimate afterwards. Raises DataError for fewer images than the coverage needs.
    """
    count, least = len(held_out.frames), least_images(coverage)
    if count < least:
        raise DataError(f"{count} images are too few to calibrate on", f"at least {least}, better 126 and more")
    check_scenes(model, held_out.frames)
    model.estimate = None
    kept = np.linspace(0, len(train.frames) - 1, min(MOST_IMAGES, len(train.frames))).round().astype(np.int64)
    embedding_ME = embed_frames(embedding_of(model), train.cache, train.rows[kept], **running)
    frames = train.frames.select(kept)
    scene_S = np.array([_number(name, model) for name in frames.scenes], dtype=np.int64)
    known = [torch.from_numpy(array) for array in (embedding_ME, frames.position, scene_S[frames.scene])]
    familiar = ErrorEstimate.of(*known)
    edge, one = torch.zeros(1), torch.ones(1)  # every radius is one metre or degree, or one spread
    model.estimate = familiar.with_radii(edge, one, one, familiar.calibration).to(model.device)
    poses, _ = predict_frames(model, held_out.cache, held_out.rows, held_out.frames, **running)
    assert poses.familiarity is not None and poses.radius_m is not None and poses.radius_deg is not None
    error_m, error_deg = pose_errors(
        poses.position, poses.quaternion, held_out.frames.position, held_out.frames.quaternion
    )
    errors = error_m / poses.radius_m, error_deg / poses.radius_deg
    edges_K, radii = binned_radii(poses.familiarity, errors, coverage)
    metres_K, degrees_K = (torch.from_numpy(radius_K).to(model.device) for radius_K in radii)
    found = Calibration(source, count, coverage)
    model.estimate = model.estimate.with_radii(torch.from_numpy(edges_K).to(model.device), metres_K, degrees_K, found)
    return model.estimate


def binned_radii(familiarity_N: Floats, errors: tuple[Floats, Floats], coverage: float) -> tuple[Floats, list[Floats]]:
    """(the lowest familiarity of each bin (K,) ascending, the radii (K,) of each of the `errors` (N,))."""
    order_N = np.argsort(familiarity_N, kind="stable")
    left_out, kept_N = np.split(order_N, [int(UNFAMILIAR * len(order_N))])
    bins = np.array_split(kept_N, int(np.clip(len(kept_N) // LEAST_IMAGES, 1, MOST_BINS)))
    ends = [(familiarity_N[part[0]], familiarity_N[part[-1]]) for part in (left_out, *bins) if len(part)]
    # between two images, so that rounding moves none of them into another bin
    between = [(below[1] + above[0]) / 2 for below, above in pairwise(ends)]
    edges_K = np.array(between if len(left_out) else [max(0.0, ends[0][0] - 1e-3), *between])
    return edges_K, [np.array([radius(error_N[part], coverage) for part in bins]) for error_N in errors]


def radius(error_N: Floats, coverage: float) -> float:
    """The split-conformal radius: the ceil((N + 1) coverage)-th smallest error; infinite where there are too few."""
    rank = ceil(round((len(error_N) + 1) * coverage, 9))
    return float(np.sort(error_N)[rank - 1]) if rank <= len(error_N) else float("inf")


def least_images(coverage: float) -> int:
    """The fewest images from which a finite radius follows."""
    return ceil(round(coverage / (1 - coverage), 9))  # none is left out of so few


def embedding_of(model: PoseModel) -> Callable[[Tensor], Tensor]:
    """uint8 images (B, 3, H, W) -> the model's own embeddings (B, E)."""

    def embed(images_BCHW: Tensor) -> Tensor:
        return model.encode(model.prepare(images_BCHW)).image

    return embed


def _number(scene: str, model: PoseModel) -> int:
    """The model's number of a scene; a model of one scene takes any."""
    known = model.config.scenes
    return known.index(scene) if scene in known else 0
