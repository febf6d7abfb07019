"""A model that reads the roll of the camera, exactly, and pictures that show it: averages over rolls are true to it."""

from __future__ import annotations

import torch
from torch import Tensor

from posezoo.nn.heads import MLPHead
from posezoo.nn.model import ModelConfig, PoseModel
from posezoo.nn.outputs import Features


class Level(PoseModel):
    """Reads the roll of the camera off a picture whose brightness grows along one direction of the world.

    As its position it gives the brightness at the top, which rolls change.
    """

    def __init__(self) -> None:
        super().__init__(ModelConfig())
        self.image_dim = 4
        self.position_head, self.orientation_head = MLPHead((4, 3)), MLPHead((4, 4))
        self.position_head.load_state_dict({"layers.0.weight": torch.eye(4)[:3], "layers.0.bias": torch.zeros(3)})
        self.orientation_head.load_state_dict({"layers.0.weight": torch.eye(4), "layers.0.bias": torch.zeros(4)})

    def encode(self, images_BCHW: Tensor, scene_B: Tensor | None = None) -> Features:
        inner_BHW = images_BCHW[:, 0, 32:96, 32:96]  # the corners have no data after a roll
        x_B = (inner_BHW[..., :, 1:] - inner_BHW[..., :, :-1]).mean((1, 2))
        y_B = (inner_BHW[..., 1:, :] - inner_BHW[..., :-1, :]).mean((1, 2))
        half_B = -torch.atan2(y_B, x_B) / 2
        zero_B = torch.zeros_like(half_B)
        q_B4 = torch.stack([half_B.cos(), zero_B, zero_B, half_B.sin()], dim=-1)
        top_B4 = inner_BHW[:, 0].mean(-1)[:, None].expand(-1, 4)
        return Features(top_B4, q_B4, q_B4)


def slopes(turns_B: Tensor) -> Tensor:
    """Pictures (B, 3, 128, 128) of cameras rolled by these radians."""
    place = torch.arange(128, dtype=torch.float32)
    images_BHW = turns_B.cos()[:, None, None] * place + turns_B.sin()[:, None, None] * place[:, None]
    return images_BHW[:, None].expand(-1, 3, -1, -1)
