"""AtLoc: Attention Guided Camera Localization (Wang et al., AAAI 2020).

* pooled ResNet-34 (512) -> Linear 2048 -> ReLU -> attention -> Dropout(0.5) -> Linear 3 and Linear 3 (log-quaternion)
* attention on the vector x in R^2048: theta, phi, g are linear 2048 -> 256; A_ij = softmax_j(phi_i theta_j);
  z = W_{256->2048}(A g) + x
* AtLoc-LSTM, `attention="lstm"` (as in PoseLSTM, Walch et al., ICCV 2017): the 2048 numbers as a matrix of 32 x 64; one
  bidirectional LSTM of width 256 reads its 32 rows, another its 64 columns; their four last hidden states (1024) follow
* AtLoc+ is the same network, trained on tuples of frames (posezoo.nn.losses)
* new linear layers kaiming-normal with zero bias; in the published code all but the attention's, which start as torch
  has them: `init="published"`
* the dropout is one mask for both heads; a hypernetwork taps the attended feature before it

The dropout is off in evaluation: the reference calls functional dropout without the training flag, so its stays on.

Legend: B batch, H height, W width, D feature width, K attention width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from posezoo.nn.backbones import Backbone
from posezoo.nn.geometry import NUMBERS, Representation
from posezoo.nn.heads import MLPHead
from posezoo.nn.model import ModelConfig, PoseModel
from posezoo.nn.outputs import Features
from posezoo.nn.pooling import LAST, Cells, ImageEmbedding
from posezoo.nn.ranges import Count, Probability, Side
from posezoo.plugin import UsageError


@dataclass(frozen=True)
class AtLocConfig(ModelConfig):
    """Defaults: the published single-image model."""

    backbone: str = "resnet34.tv_in1k"
    rotation: Representation = "log-quaternion"
    feature: Count = 2048
    """D; the attention and the LSTMs are D / 8 wide. With an LSTM a multiple of 32."""
    attention: Literal["vector", "lstm"] = "vector"
    """Over the entries of the feature, or LSTMs over it as a matrix."""
    dropout: Probability = 0.5
    """Before the heads."""
    image_embedding: ImageEmbedding = "own"
    """What modifiers read, hypernetworks and anchors: the attended feature, or the backbone's last map in 2 x 4
    cells."""
    init: Literal["default", "published"] = "default"
    """Start of the attention's layers: kaiming-normal with zero bias like all others, or torch's default."""
    resize: Side = 256
    crop: Side = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.feature < 8 or (self.attention == "lstm" and self.feature % LSTM_ROWS):
            raise UsageError(
                f"feature={self.feature} must be at least 8, and a multiple of 32 for an LSTM", "feature=2048"
            )


LSTM_ROWS = 32


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


class FourDirections(nn.Module):
    """The last hidden states of two bidirectional LSTMs over the vector read as a matrix, (B, D) -> (B, D / 2)."""

    def __init__(self, width: int, reduced: int) -> None:
        super().__init__()
        self.rows = nn.LSTM(width // LSTM_ROWS, reduced, batch_first=True, bidirectional=True)
        self.columns = nn.LSTM(LSTM_ROWS, reduced, batch_first=True, bidirectional=True)

    def forward(self, x_BD: Tensor) -> Tensor:
        matrix_BRC = x_BD.unflatten(-1, (LSTM_ROWS, -1))
        last = [self.rows(matrix_BRC)[1][0], self.columns(matrix_BRC.mT)[1][0]]  # each (2 directions, B, width)
        return torch.cat([states_B for pair in last for states_B in pair], dim=-1)


class AtLoc(PoseModel):
    """Pooled backbone with self-attention over the feature vector, two linear heads."""

    def __init__(self, config: AtLocConfig) -> None:
        super().__init__(config)
        self.backbone = Backbone(config.backbone, LAST if config.image_embedding == "cells" else (), size=config.crop)
        self.feature = nn.Sequential(nn.Linear(self.backbone.width, config.feature), nn.ReLU())
        reduced, lstm = config.feature // 8, config.attention == "lstm"
        self.attention = FourDirections(config.feature, reduced) if lstm else Attention(config.feature, reduced)
        self.dropout = nn.Dropout(config.dropout)
        attended = 4 * reduced if lstm else config.feature
        self.position_head = MLPHead((attended, 3))
        self.orientation_head = MLPHead((attended, NUMBERS[config.rotation]))
        self.cells = Cells(*self.backbone.tap_widths) if config.image_embedding == "cells" else None
        self.image_dim = self.cells.width if self.cells else attended
        attention = [] if config.init == "published" else [self.attention]
        for part in (self.feature, *attention, self.position_head, self.orientation_head):
            for module in part.modules():
                if isinstance(module, nn.Linear):
                    nn.init.kaiming_normal_(module.weight)
                    nn.init.zeros_(module.bias)

    def encode(self, images_BCHW: Tensor, scene_B: Tensor | None = None) -> Features:
        pooled_BE, maps = self.backbone(images_BCHW)
        attended_BD = self.attention(self.feature(pooled_BE))
        dropped_BD = self.dropout(attended_BD)
        image_BE = self.cells(maps) if self.cells else attended_BD
        return Features(position=dropped_BD, orientation=dropped_BD, image=image_BE)
