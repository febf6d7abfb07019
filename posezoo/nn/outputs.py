"""What a model computes: features for its heads, and its answer.

Legend: B batch, D latent width, E embedding width, S scenes, R rotation numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor


class Features(NamedTuple):
    """What `PoseModel.encode` returns for the heads; where a hypernetwork taps."""

    position: Tensor  # (B, Dt) what the position head reads
    orientation: Tensor  # (B, Dr) what the orientation head reads
    image: Tensor  # (B, E) the embedding a hypernetwork conditions on
    scene_logits: Tensor | None = None  # (B, S) multi-scene models
    scene: Tensor | None = None  # (B,) the scene chosen: given, or arg max of the logits


class PoseOutput(NamedTuple):
    """What a model computes for a batch of images."""

    position: Tensor  # (B, 3) camera centre in the world, metres, float64
    rotation: Tensor  # (B, R) the orientation head's raw numbers, in the model's representation and label frame
    quaternion: Tensor  # (B, 4) camera-to-world, (w, x, y, z), unit, w >= 0
    scene_logits: Tensor | None = None  # (B, S)
    scene: Tensor | None = None  # (B,)
    # of calibrated models (posezoo.nn.estimate); a pose whose image is like no other has infinite radii
    familiarity: Tensor | None = None  # (B,) 0 to 1
    radius_m: Tensor | None = None  # (B,) metres
    radius_deg: Tensor | None = None  # (B,)
    # of models that expect more of one image than of another (`+spread`): the mean error of poses of such images
    spread_m: Tensor | None = None  # (B,) metres, positive
    spread_deg: Tensor | None = None  # (B,)
