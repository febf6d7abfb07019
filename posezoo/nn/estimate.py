"""How far off a pose may be: how familiar its image is, and radii that held in tests on images as familiar.

    familiarity   largest cosine similarity of the image's embedding to those of the training images whose positions are
                  nearest to the predicted one (the 8 nearest of the predicted scene); 0 to 1
    radius_m      metres within which the true position lies with the probability `coverage`, for images as familiar
    radius_deg    the same for the rotation, in degrees

Where the model tells a spread with each pose (`PoseOutput.spread_m`, `spread_deg`), a radius is a multiple of it, and
what is stored of each bin is that multiple. Both radii are infinite for an image less familiar than every one of those
that the radii come from. How they are found: posezoo.evaluation.calibration. Similarity near the predicted pose as a
measure of trust: HR-APR (Liu et al., 2024).

Embeddings are kept in their D main directions, of which cosines are made with whole lengths: what of an image lies in
none of these directions makes it less familiar.

Legend: B batch, D directions, E embedding width, M training images kept, K bins of familiarity.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from posezoo.base.errors import WeightsError
from posezoo.nn.outputs import Features, PoseOutput

DIRECTIONS = 128
MOST_IMAGES = 2048
"""Training images kept, evenly chosen: 0.5 MB of embeddings, and as much for directions of 2048 numbers."""
NEAREST = 8


@dataclass(frozen=True)
class Calibration:
    """Where the radii come from."""

    source: str
    """Which images they were found on, in words."""
    count: int
    """How many these were."""
    coverage: float
    """The probability with which a radius holds."""


class ErrorEstimate(nn.Module):
    """Adds familiarity and radii to a model's output. Its tensors are no part of the model's weights: see `tensors`."""

    # of M, E, K: float16 (E, D); float16 (M, D); float64 (M, 3) metres; int64 (M,); float32 (K,) lowest familiarity of
    # each bin, ascending; float32 (K,) metres; float32 (K,) degrees, or multiples of the spread of each pose
    names = ("directions", "embeddings", "positions", "scenes", "edges", "metres", "degrees")
    directions: Tensor
    embeddings: Tensor
    positions: Tensor
    scenes: Tensor
    edges: Tensor
    metres: Tensor
    degrees: Tensor

    def __init__(self, tensors: Mapping[str, Tensor], calibration: Calibration) -> None:
        super().__init__()
        self.calibration = calibration
        for name in self.names:
            self.register_buffer(name, tensors[name], persistent=False)

    @classmethod
    def of(cls, embedding_ME: Tensor, positions_M3: Tensor, scenes_M: Tensor) -> ErrorEstimate:
        """Familiarity with these training images; every radius is infinite until `with_radii`."""
        unit_ME = F.normalize(embedding_ME.float(), dim=-1)
        directions_ED = torch.linalg.svd(unit_ME, full_matrices=False).Vh[:DIRECTIONS].T.half()
        none = torch.zeros(0)
        tensors = directions_ED, (unit_ME @ directions_ED.float()).half(), positions_M3.double(), scenes_M.long()
        return cls(dict(zip(cls.names, (*tensors, none, none, none), strict=True)), Calibration("", 0, 0.0))

    def with_radii(self, edges_K: Tensor, metres_K: Tensor, degrees_K: Tensor, found: Calibration) -> ErrorEstimate:
        """The same with radii: of images whose familiarity is at least `edges_K[k]` and below the next edge."""
        radii = {"edges": edges_K.float(), "metres": metres_K.float(), "degrees": degrees_K.float()}
        return ErrorEstimate({**self.tensors(), **radii}, found)

    @classmethod
    def checked(cls, tensors: Mapping[str, Tensor], calibration: Calibration, width: int, what: str) -> ErrorEstimate:
        """From the tensors of a file, for a model with embeddings of this width. Raises WeightsError."""
        shapes = {name: tuple(value.shape) for name, value in tensors.items()}
        images, bins = len(tensors.get("embeddings", ())), len(tensors.get("edges", ()))
        kept = shapes.get("directions", (0, 0))[-1]
        wanted: list[tuple[int, ...]] = [(width, kept), (images, kept), (images, 3), (images,), *[(bins,)] * 3]
        if shapes != dict(zip(cls.names, wanted, strict=True)) or not images:
            raise WeightsError(f"{what}: not an error estimate of this model", "posezoo calibrate writes it again")
        if any(tensors[name].isnan().any() for name in cls.names):
            raise WeightsError(f"{what}: not numbers", "posezoo calibrate writes it again")
        return cls(tensors, calibration)

    def tensors(self) -> dict[str, Tensor]:
        """What a file holds."""
        return {name: getattr(self, name) for name in self.names}

    @property
    def disclosure(self) -> str:
        """What it says of the training data."""
        return f"embeddings and positions of {len(self.positions)} training images are stored with it (error estimate)"

    @torch.no_grad()
    def forward(self, features: Features, output: PoseOutput) -> PoseOutput:
        """The output with familiarity and radii."""
        unit_BE = F.normalize(features.image.float(), dim=-1)
        cosine_BM = unit_BE @ self.directions.float() @ self.embeddings.float().T
        square_BM = (output.position[:, None] - self.positions).square().sum(-1)
        if output.scene is not None:
            square_BM = square_BM.masked_fill(self.scenes != output.scene[:, None], torch.inf)
        square_BN, near_BN = square_BM.topk(min(NEAREST, len(self.positions)), largest=False)
        # no image of this scene, or a position that is no number: nothing is known
        cosine_BN = cosine_BM.gather(1, near_BN).masked_fill(~square_BN.isfinite(), 0.0)
        familiarity_B = cosine_BN.amax(1).clamp(0.0, 1.0)
        bin_B = (familiarity_B[:, None] >= self.edges).sum(1)
        unknown = self.metres.new_full((1,), torch.inf)
        metres_B, degrees_B = (torch.cat([unknown, radius_K])[bin_B] for radius_K in (self.metres, self.degrees))
        radii = _times(metres_B, output.spread_m), _times(degrees_B, output.spread_deg)
        return output._replace(familiarity=familiarity_B, radius_m=radii[0], radius_deg=radii[1])


def _times(radius_B: Tensor, spread_B: Tensor | None) -> Tensor:
    """The radius, or that multiple of the spread; a spread that is no number is infinite."""
    return radius_B if spread_B is None else radius_B * spread_B.masked_fill(spread_B.isnan(), torch.inf)
