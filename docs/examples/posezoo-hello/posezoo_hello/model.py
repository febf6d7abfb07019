"""The smallest architecture: a pooled backbone and two heads of two layers.

Legend: B batch, H height, W width, E embedding width.
"""

from dataclasses import dataclass

from torch import Tensor

from posezoo.nn.backbones import Backbone
from posezoo.nn.geometry import NUMBERS
from posezoo.nn.heads import MLPHead
from posezoo.nn.model import ModelConfig, PoseModel
from posezoo.nn.outputs import Features
from posezoo.nn.ranges import Count


@dataclass(frozen=True)
class HelloConfig(ModelConfig):
    """The settings of `hello`; each field is a key on the command line."""

    hidden: Count = 512
    """Width of the hidden layer of each head."""


class Hello(PoseModel):
    """Pooled backbone, two heads."""

    def __init__(self, config: HelloConfig) -> None:
        super().__init__(config)
        self.backbone = Backbone(config.backbone, size=config.crop)
        self.image_dim = self.backbone.width
        self.position_head = MLPHead((self.image_dim, config.hidden, 3))
        self.orientation_head = MLPHead((self.image_dim, config.hidden, NUMBERS[config.rotation]))

    def encode(self, images_BCHW: Tensor, scene_B: Tensor | None = None) -> Features:
        image_BE, _ = self.backbone(images_BCHW)
        return Features(position=image_BE, orientation=image_BE, image=image_BE)
