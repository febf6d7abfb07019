"""A loss along the principal axes of the training positions: a metre beside a road counts more than one along it.

`learn_place` runs once, before step 1; what it makes are buffers, saved with the model. `extra_losses` runs in every
step of training; it alone sees the true poses.

Legend: B batch, N training images, S scenes.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from posezoo.nn.model import PoseModel
from posezoo.nn.outputs import Features, PoseOutput
from posezoo.nn.place import Place, Target
from posezoo.nn.ranges import Probability


@dataclass(frozen=True)
class RouteConfig:
    """The settings of `+route`; each field is a key on the command line."""

    weight: Probability = 0.1
    """Of the loss."""


class Route(nn.Module):
    """Of each scene the axes of its positions, as rows, and the deviation along each in metres."""

    def __init__(self, config: RouteConfig, scenes: int) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("axes_S33", torch.eye(3).repeat(scenes, 1, 1))
        self.register_buffer("deviation_S3", torch.ones(scenes, 3))

    def learn_place(self, place: Place) -> None:
        for scene in np.unique(place.scene):
            square_3, axes_33 = np.linalg.eigh(np.cov(place.position[place.scene == scene].T, bias=True))
            self.axes_S33[scene] = torch.from_numpy(axes_33.T)
            # at least a tenth of the longest, and a centimetre: errors are never as flat as a path
            self.deviation_S3[scene] = torch.from_numpy(np.sqrt(square_3.clip(max(square_3.max() / 100, 1e-4))))

    def extra_losses(self, features: Features, output: PoseOutput, target: Target) -> dict[str, Tensor]:
        scene_B = torch.zeros(len(target.position)).long() if target.scene is None else target.scene
        error_B31 = (output.position - target.position).float()[..., None]
        error_B3 = (self.axes_S33[scene_B] @ error_B31)[..., 0] / self.deviation_S3[scene_B]
        return {"route": self.config.weight * error_B3.norm(dim=-1).mean()}


def apply(model: PoseModel, config: RouteConfig) -> None:
    """Give the model a module that training finds by its two methods; the poses are computed as before."""
    model.path = Route(config, len(model.config.scenes))
