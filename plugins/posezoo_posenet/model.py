"""PoseNet: A Convolutional Network for Real-Time 6-DOF Camera Relocalization (Kendall et al., ICCV 2015), in the form
that HyperPose (Ferens and Keller, CVPR 2025) uses as its baseline.

* pooled backbone f (EfficientNet-B0: E = 1280), run once an image; or its class logits (GoogLeNet: E = 1000)
* h = Dropout(0.1)(ReLU(L_{E->1024} f)), shared by both heads, one dropout mask
* position = L_{1024->3} h; orientation = L_{1024->4} h, an unnormalised quaternion
* a hypernetwork taps f, before the dropout
* beyond the papers: `pool` gives the heads another vector than f, which may keep what stands where in the picture, and
  `image_embedding` gives modifiers one

Legend: B batch, H height, W width, E embedding width, D hidden width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from posezoo.nn.backbones import Backbone
from posezoo.nn.geometry import NUMBERS
from posezoo.nn.heads import MLPHead
from posezoo.nn.model import ModelConfig, PoseModel
from posezoo.nn.outputs import Features
from posezoo.nn.pooling import LAST, Cells, ImageEmbedding, Pool, Pooling
from posezoo.nn.ranges import Count, Probability


@dataclass(frozen=True)
class PoseNetConfig(ModelConfig):
    """Defaults: the baseline APR of HyperPose."""

    embedding: Literal["pooled", "logits"] = "pooled"
    """The backbone's output that is read: its pooled features, or its 1000 class logits."""
    hidden: Count = 1024
    """D, the width of the layer that both heads share."""
    dropout: Probability = 0.1
    """After that layer."""
    pool: Pool = "backbone"
    """What the heads read: the backbone's pooled feature, mean or gem of its last map, or a grid of it."""
    grid: Count = 4
    """Cells a side with pool=grid and grid+mean, of 64 channels each."""
    image_embedding: ImageEmbedding = "own"
    """What modifiers read, hypernetworks and anchors: f, or the backbone's last map in 2 x 4 cells."""
    init: Literal["default", "published"] = "default"
    """Start of the three linear layers: torch's default, or kaiming-normal weights as the published code has them."""


class PoseNet(PoseModel):
    """Pooled backbone, one shared hidden layer, two linear heads."""

    def __init__(self, config: PoseNetConfig) -> None:
        super().__init__(config)
        taps = () if config.pool == "backbone" and config.image_embedding == "own" else LAST
        self.backbone = Backbone(config.backbone, taps, logits=config.embedding == "logits", size=config.crop)
        channels = sum(self.backbone.tap_widths)  # of the one map, if any
        self.cells = Cells(channels) if config.image_embedding == "cells" else None
        self.image_dim = self.cells.width if self.cells else self.backbone.width
        self.pooling = Pooling(config.pool, self.backbone.width, channels, side=config.grid)
        self.hidden = nn.Sequential(nn.Linear(self.pooling.width, config.hidden), nn.ReLU(), nn.Dropout(config.dropout))
        self.position_head = MLPHead((config.hidden, 3))
        self.orientation_head = MLPHead((config.hidden, NUMBERS[config.rotation]))
        if config.init == "published":
            for part in (self.hidden, self.position_head, self.orientation_head):
                for module in part.modules():
                    if isinstance(module, nn.Linear):
                        nn.init.kaiming_normal_(module.weight)

    def encode(self, images_BCHW: Tensor, scene_B: Tensor | None = None) -> Features:
        pooled_BE, maps = self.backbone(images_BCHW)
        hidden_BD = self.hidden(self.pooling(pooled_BE, *maps or (None,)))
        image_BE = self.cells(maps) if self.cells else pooled_BE
        return Features(position=hidden_BD, orientation=hidden_BD, image=image_BE)
