"""`+spread`: a small network that says of each image how far off its pose is likely to be, in metres and in degrees.

* reads     both latents and the image embedding, each detached and normalised to mean 0 and deviation 1
* answers   s_m and s_deg, within bounds: log s = log low + (log high - log low) sigmoid(z), z one of two numbers
* loss      log s + e / s for each of the two, e the pose's own error, detached: minus the log-likelihood of a Laplace
            distribution whose scale is s, up to a constant. Its optimum is s = E[e | image]

The pose learns nothing from it: a learned weight in the pose's own loss lets a model call its hard images uncertain
instead of learning them, and is known to be unstable. Training therefore changes the pose's weights as without it.

Legend: B batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from posezoo.nn import geometry
from posezoo.nn.model import PoseModel
from posezoo.nn.outputs import Features, PoseOutput
from posezoo.nn.place import Target
from posezoo.nn.ranges import Count
from posezoo.plugin import UsageError

METRES = (1.0, 1.0, 1.0)  # the scale of a model that does not know how far its place reaches
UNKNOWN_M = 2500.0
HALF_TURN = 180.0  # degrees: no rotation is further off


@dataclass(frozen=True)
class SpreadConfig:
    """The settings of `+spread`."""

    hidden: Count = 32
    """Width of its hidden layer."""
    floor_m: Annotated[float, Field(gt=0, le=1000)] = 0.01
    """Least spread in metres; the largest is four times the deviation of the training positions, at least 100 times
    this, and 10 km where positions are learned in metres (`normalise_position=false`)."""
    floor_deg: Annotated[float, Field(gt=0, le=90)] = 0.1
    """Least spread in degrees; the largest is 180."""


def add_spread(model: PoseModel, config: SpreadConfig) -> None:
    """Let the model's outputs carry spreads. Raises UsageError if they do already."""
    if model.spread is not None:
        raise UsageError("the model has spreads already", "write +spread once")
    model.spread = SpreadHead(model, config)


class SpreadHead(nn.Module):
    """Features of images to the error to expect of their poses."""

    log_low_2: Tensor  # of metres and degrees; they follow from the configuration and are not saved
    log_high_2: Tensor

    def __init__(self, model: PoseModel, config: SpreadConfig) -> None:
        super().__init__()
        widths = (model.position_head.in_dim, model.orientation_head.in_dim, model.image_dim)
        self.layers = nn.Sequential(nn.Linear(sum(widths), config.hidden), nn.GELU(), nn.Linear(config.hidden, 2))
        low = torch.tensor([config.floor_m, config.floor_deg])
        deviation_m = math.hypot(*model.config.position_std) if model.config.position_std != METRES else UNKNOWN_M
        high = torch.tensor([max(4 * deviation_m, 100 * config.floor_m), HALF_TURN])
        self.register_buffer("log_low_2", low.log(), persistent=False)
        self.register_buffer("log_high_2", high.log(), persistent=False)

    def forward(self, features: Features) -> tuple[Tensor, Tensor]:
        """(spread in metres (B,), spread in degrees (B,)), float32, positive."""
        read = (features.position, features.orientation, features.image)
        read_BF = torch.cat([F.layer_norm(part.detach().float(), part.shape[-1:]) for part in read], dim=-1)
        share_B2 = self.layers(read_BF).float().sigmoid()
        spread_B2 = (self.log_low_2 + (self.log_high_2 - self.log_low_2) * share_B2).exp()
        return spread_B2[:, 0], spread_B2[:, 1]

    def extra_losses(self, features: Features, output: PoseOutput, target: Target) -> dict[str, Tensor]:
        """log s + e / s, the mean over the batch: of positions (metres) and of rotations (degrees)."""
        assert output.spread_m is not None and output.spread_deg is not None
        error_m = torch.linalg.vector_norm(output.position.detach() - target.position, dim=-1)
        error_deg = geometry.angle_deg(output.quaternion.detach().double(), target.quaternion.double())
        return {
            "spread_position": laplace(error_m, output.spread_m),
            "spread_orientation": laplace(error_deg, output.spread_deg),
        }


def laplace(error_B: Tensor, spread_B: Tensor) -> Tensor:
    """The mean of log s + e / s, float32: least where each s is the mean of its errors."""
    return (spread_B.log() + error_B.to(spread_B.dtype) / spread_B).mean()
