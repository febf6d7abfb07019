"""The contract of every model: `encode` gives features, two heads give the pose. `forward` is written once, here.

The cut between the two halves is where a hypernetwork taps, so that `+hyper` works with any model.

Legend: B batch, C channels, H height, W width, R rotation numbers.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from posezoo import geometry, transforms
from posezoo.errors import UsageError
from posezoo.heads import Head
from posezoo.hyperhead import HyperHead
from posezoo.types import Features, PoseOutput, Poses


@dataclass(frozen=True)
class ModelConfig:
    """What every architecture's configuration has; it carries everything needed to use the model.

    The fields from `scenes` on tie the model to a place; training fills them in.
    """

    backbone: str = "tf_efficientnet_b0.in1k"
    pretrained_backbone: bool | str = True
    """True: ImageNet weights for the start of training; a path: weights from this file; False: random, on purpose."""
    rotation: geometry.Representation = "quaternion"
    resize: int = 256
    """Short edge in pixels before the crop."""
    crop: int = 224
    """Side of the square the network reads."""
    mean: tuple[float, float, float] | None = None
    """Pixel mean and deviation in [0, 1]; None: the backbone's own, written in when the model is created."""
    std: tuple[float, float, float] | None = None
    interpolation: Literal["bilinear"] = "bilinear"
    scenes: tuple[str, ...] = ("scene",)
    """Scene names in the order of the scene index."""
    position_mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """World position in metres = position_mean + position_std * what the head says."""
    position_std: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        if self.crop > self.resize or self.crop < 32:
            raise UsageError(f"crop={self.crop} must be at least 32 and at most resize={self.resize}", "crop=224")
        if len(set(self.scenes)) != len(self.scenes) or not self.scenes:
            raise UsageError(f"scene names must differ: {', '.join(self.scenes)}", "give each scene its own name")


class PoseModel(nn.Module, abc.ABC):
    """Abstract: an image to a camera pose. Subclasses are final; they set the attributes below and write `encode`.

    The constructor builds; it downloads nothing, seeds nothing and prints nothing.
    """

    position_head: Head | HyperHead  # latent -> 3
    orientation_head: Head | HyperHead  # latent -> R
    image_dim: int  # E, width of Features.image
    name: str = ""  # the full name, e.g. atloc+hyper; set by zoo
    origin: str = ""  # where a trained model came from: a folder, or hf-hub:OWNER/REPO@COMMIT; set by zoo

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        # not saved with the weights: the configuration is the one place they stand in. float64, because UTM
        # coordinates of 5.7e6 m have steps of 0.5 m in float32
        mean_3, std_3 = torch.tensor([config.position_mean, config.position_std], dtype=torch.float64)
        self.register_buffer("position_mean_3", mean_3, persistent=False)
        self.register_buffer("position_std_3", std_3, persistent=False)

    @abc.abstractmethod
    def encode(self, images_BCHW: Float[Tensor, "B 3 H W"], scene_B: Int[Tensor, " B"] | None = None) -> Features:
        """The features of prepared images; `scene_B`, where given, chooses the scene of multi-scene models."""

    def forward(self, images_BCHW: Float[Tensor, "B 3 H W"], scene_B: Int[Tensor, " B"] | None = None) -> PoseOutput:
        """The poses of prepared images (see `prepare`): position in metres in the world, rotation camera-to-world."""
        features = self.encode(images_BCHW, scene_B)
        position_B3 = self.position_head(features.position, features.image, features.scene)
        rotation_BR = self.orientation_head(features.orientation, features.image, features.scene)
        position_B3 = position_B3.to(self.position_std_3.dtype) * self.position_std_3 + self.position_mean_3
        quaternion_B4 = geometry.to_quaternion(rotation_BR.float(), self.config.rotation)
        return PoseOutput(position_B3, rotation_BR.float(), quaternion_B4, features.scene_logits, features.scene)

    @property
    def device(self) -> torch.device:
        """Where the model's weights are."""
        return next(self.parameters()).device

    def prepare(self, images_BCHW: Tensor) -> Float[Tensor, "B 3 crop crop"]:
        """What the network reads, from uint8 images (B, 3, H, W) of short edge 256: resize, centre crop, normalise."""
        config = self.config
        assert config.mean is not None and config.std is not None, "zoo.create_model writes them in"
        return transforms.prepare(images_BCHW, config.resize, config.crop, config.mean, config.std)

    @torch.inference_mode()
    def predict(self, images: Sequence[str | Path] | str | Path, batch_size: int = 32) -> Poses:
        """The poses of image files, in order. Raises DataError for a file that is no readable image."""
        paths = [images] if isinstance(images, (str, Path)) else list(images)
        device = self.device
        modes = [(module, module.training) for module in self.modules()]
        self.eval()
        outputs = []
        try:
            for start in range(0, len(paths), batch_size):
                # prepared one by one: photographs of different shapes share a batch once they are cropped
                tensors = [torch.from_numpy(transforms.read_image(p).copy()) for p in paths[start : start + batch_size]]
                prepared = [self.prepare(image_HWC.permute(2, 0, 1)[None].to(device)) for image_HWC in tensors]
                outputs.append(self(torch.cat(prepared)))
        finally:
            for module, mode in modes:
                module.training = mode
        return _poses(paths, outputs, self.config.scenes)


def _poses(paths: Sequence[str | Path], outputs: list[PoseOutput], scenes: tuple[str, ...]) -> Poses:
    if not outputs:
        return Poses((), np.zeros((0, 3)), np.zeros((0, 4)))
    position_N3 = torch.cat([output.position for output in outputs]).double().cpu().numpy()
    # unit to the last digit of float64: a camera centre of 5e6 m would else move by half a metre in COLMAP's form
    quaternion_N4 = geometry.unit(torch.cat([output.quaternion for output in outputs]).double()).cpu().numpy()
    index = [output.scene for output in outputs]
    if any(scene is None for scene in index):
        names: tuple[str, ...] = (scenes[0],) * len(paths)
    else:
        names = tuple(scenes[int(i)] for i in torch.cat([scene for scene in index if scene is not None]))
    return Poses(tuple(str(path) for path in paths), position_N3, quaternion_N4, names)
