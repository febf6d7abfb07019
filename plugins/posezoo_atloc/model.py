"""AtLoc: Attention Guided Camera Localization (Wang et al., AAAI 2020).

* pooled ResNet-34 (512) -> Linear 2048 -> ReLU -> attention -> Dropout(0.5) -> Linear 3 and Linear 3 (log-quaternion)
* attention on the vector x in R^2048: theta, phi, g are linear 2048 -> 256; A_ij = softmax_j(phi_i theta_j);
  z = W_{256->2048}(A g) + x
* new layers kaiming-normal with zero bias
* the dropout is one mask for both heads; a hypernetwork taps the attended feature before it

The dropout is off in evaluation: the reference calls functional dropout without the training flag, so its stays on.

Legend: B batch, H height, W width, D feature width, K attention width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from posezoo.backbones import Backbone
from posezoo.geometry import NUMBERS, Representation
from posezoo.heads import MLPHead
from posezoo.model import ModelConfig, PoseModel
from posezoo.types import Features


@dataclass(frozen=True)
class AtLocConfig(ModelConfig):
    """Defaults: the published single-image model."""

    backbone: str = "resnet34.tv_in1k"
    rotation: Representation = "log-quaternion"
    feature: int = 2048
    dropout: float = 0.5
    resize: int = 256
    crop: int = 256


class Attention(nn.Module):
    """Self-attention over the entries of one feature vector (AtLoc, section 3.2): z = W(A g) + x."""

    def __init__(self, width: int, reduced: int) -> None:
        super().__init__()
        self.g, self.theta, self.phi = (nn.Linear(width, reduced) for _ in range(3))
        self.W = nn.Linear(reduced, width)

    def forward(self, x_BD: Tensor) -> Tensor:
        g_BK, theta_BK, phi_BK = self.g(x_BD), self.theta(x_BD), self.phi(x_BD)
        attention_BKK = torch.softmax(phi_BK[:, :, None] * theta_BK[:, None, :], dim=-1)
        y_BK = torch.bmm(attention_BKK, g_BK[:, :, None]).squeeze(-1)
        return self.W(y_BK) + x_BD


class AtLoc(PoseModel):
    """Pooled backbone with self-attention over the feature vector, two linear heads."""

    def __init__(self, config: AtLocConfig) -> None:
        super().__init__(config)
        self.backbone = Backbone(config.backbone)
        self.feature = nn.Sequential(nn.Linear(self.backbone.width, config.feature), nn.ReLU())
        self.attention = Attention(config.feature, config.feature // 8)
        self.dropout = nn.Dropout(config.dropout)
        self.image_dim = config.feature
        self.position_head = MLPHead((config.feature, 3))
        self.orientation_head = MLPHead((config.feature, NUMBERS[config.rotation]))
        for part in (self.feature, self.attention, self.position_head, self.orientation_head):
            for module in part.modules():
                if isinstance(module, nn.Linear):
                    nn.init.kaiming_normal_(module.weight)
                    nn.init.zeros_(module.bias)

    def encode(self, images_BCHW: Tensor, scene_B: Tensor | None = None) -> Features:
        pooled_BE, _ = self.backbone(images_BCHW)
        attended_BD = self.attention(self.feature(pooled_BE))
        dropped_BD = self.dropout(attended_BD)
        return Features(position=dropped_BD, orientation=dropped_BD, image=attended_BD)
