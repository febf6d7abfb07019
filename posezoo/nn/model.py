"""The contract of every model: `encode` gives features, two heads give the pose. `forward` is written once, here.

The cut between the two halves is where a hypernetwork taps, so that `+hyper` works with any model.

Legend: B batch, C channels, H height, W width, R rotation numbers.
"""

from __future__ import annotations

import abc
import copy
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from posezoo.base.errors import UsageError
from posezoo.base.files import lenses, pictures
from posezoo.base.memory import raise_malloc_thresholds
from posezoo.base.observe import Note
from posezoo.base.poses import ESTIMATES, Poses
from posezoo.base.shown import html_facts
from posezoo.base.spec import Decode
from posezoo.nn import geometry, inputs, transforms
from posezoo.nn.estimate import ErrorEstimate
from posezoo.nn.folding import fold_batch_norms
from posezoo.nn.heads import Head
from posezoo.nn.hyperhead import HyperHead
from posezoo.nn.inputs import Picture
from posezoo.nn.outputs import Features, PoseOutput
from posezoo.nn.ranges import Degrees, Level, Metres, Positive, Probability, Side, Spread
from posezoo.nn.tta import averaged


@dataclass(frozen=True)
class ModelConfig:
    """What every architecture's configuration has; it carries everything needed to use the model.

    The fields from `scenes` on tie the model to a place; training fills them in.
    """

    backbone: str = "tf_efficientnet_b0.in1k"
    """Any timm name, or torchvision:NAME."""
    pretrained_backbone: bool | str = True
    """True: ImageNet weights for the start of training; a path: weights from this file; False: random, on purpose."""
    drop_path: Probability = 0.0
    """In training the backbone leaves out blocks at random, the last one this often; EfficientNet's drop-connect."""
    batch_norm_momentum: Probability | None = None
    """Weight of a new batch in the statistics of the backbone's batch norms; none: the network's own."""
    rotation: geometry.Representation = "quaternion"
    """The numbers in which the orientation head expresses a rotation."""
    resize: Side = 256
    """Edge in pixels before the crop; the short one unless `fit` says another."""
    crop: Side = 224
    """Side in pixels of the square the network reads; at most resize."""
    fit: transforms.Fit = "crop"
    """Which edge of a picture is resized to `resize`: `crop` the short one, `pad` the long one, `stretch` both."""
    mean: tuple[Level, Level, Level] | None = None
    """Pixel mean in [0, 1]; none: the backbone's own, written in when the model is created."""
    std: tuple[Spread, Spread, Spread] | None = None
    """Pixel deviation in [0, 1]; none: the backbone's own."""
    interpolation: Literal["bilinear"] = "bilinear"
    """How pictures are resized; the only method."""
    scenes: tuple[str, ...] = ("scene",)
    """Scene names in the order of the scene index."""
    position_mean: tuple[Metres, Metres, Metres] = (0.0, 0.0, 0.0)
    """World position in metres = position_mean + position_std * the head's output."""
    position_std: tuple[Metres, Metres, Metres] = (1.0, 1.0, 1.0)
    label_frame: geometry.LabelFrame = "camera-to-world"
    """The frame in which the orientation head was trained; the model's answer is camera-to-world in any case."""
    decode: str = ""
    """How the training pictures were decoded (`Decode.key`): empty, as stored; `exif 1`, turned upright."""
    lenses: tuple[str, ...] = ()
    """The training pictures' distortion, which is corrected: a camera for each shape (posezoo.base.files.lenses)."""
    focal: Positive | None = None
    """The focal length of the training cameras, in short edges of their pictures; none: unknown."""
    turns_deg: tuple[Degrees, Degrees, Degrees] | None = None
    """How far cameras turned in training, yaw, pitch and roll, to either side; none: they did not."""

    def __post_init__(self) -> None:
        if self.crop > self.resize or self.crop < 32:
            raise UsageError(
                f"crop={self.crop} must be at least 32 and at most resize={self.resize}",
                f"for example crop={max(32, self.resize)}, or a larger resize=",
            )
        if 0 in self.position_std:  # every camera would be at the mean
            raise UsageError(f"position_std={self.position_std}: not numbers but 0", "the deviation of the positions")
        try:
            for one in self.lenses:
                lenses.parsed(one)
        except (ValueError, TypeError, IndexError) as error:
            raise UsageError(f"lenses: {error}", "KIND WIDTH HEIGHT FX FY CX CY NUMBERS...") from None
        if len(set(self.scenes)) != len(self.scenes) or not self.scenes:
            what = f"scene names must differ: {', '.join(self.scenes)}" if self.scenes else "scenes: there are none"
            raise UsageError(what, "give each scene its own name")


class PoseModel(nn.Module, abc.ABC):
    """Abstract: an image to a camera pose. Subclasses are final; they set the attributes below and write `encode`.

    The constructor builds; it downloads nothing, seeds nothing and prints nothing.
    """

    position_head: Head | HyperHead  # latent -> 3
    orientation_head: Head | HyperHead  # latent -> R
    image_dim: int  # E, width of Features.image
    position_mean_3: Tensor  # float64 metres, from the configuration
    position_std_3: Tensor
    name: str = ""  # the full name, e.g. atloc+hyper; set by zoo
    blueprint: Any = None  # the posezoo.zoo.blueprint.Blueprint it was built of; set by zoo, which is above this module
    unused: ClassVar[tuple[str, ...]] = ()  # parameters that by design receive no gradient
    of_scenes: ClassVar[tuple[str, ...]] = ()  # parameters outside the heads with a part for each scene
    optimized: bool = False  # made by `optimize`: for inference only
    bf16: bool = False
    origin: str = ""  # where a trained model came from: a folder, or hf-hub:OWNER/REPO@COMMIT; set by zoo

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.estimate: ErrorEstimate | None = None  # of a calibrated model: how far off a pose may be
        # of a modifier: features to the error to expect, (B,) metres and (B,) degrees; no gradient reaches the pose
        self.spread: nn.Module | None = None
        # not saved with the weights: only the configuration holds them. float64, because UTM
        # coordinates of 5.7e6 m have steps of 0.5 m in float32
        for name in ("position_mean", "position_std"):
            self.register_buffer(
                f"{name}_3", torch.tensor(getattr(config, name), dtype=torch.float64), persistent=False
            )

    @abc.abstractmethod
    def encode(self, images_BCHW: Float[Tensor, "B 3 H W"], scene_B: Int[Tensor, " B"] | None = None) -> Features:
        """The features of prepared images; `scene_B`, where given, chooses the scene of multi-scene models."""

    def features_for_heads(
        self, images_BCHW: Float[Tensor, "B 3 H W"], scene_B: Int[Tensor, " B"] | None = None
    ) -> Features:
        """As `encode`; a model may leave the image embedding empty, (B, 0), and save its cost unless `reads_image`."""
        return self.encode(images_BCHW, scene_B)

    def attention_maps(self, images_BCHW: Float[Tensor, "B 3 H W"]) -> Mapping[str, Tensor]:
        """Name -> map (B, h, w) of where prepared images are looked at; none: a model without attention to show."""
        return {}

    @property
    def reads_image(self) -> bool:
        """Whether a head, or what tells the spread, reads the image embedding."""
        return self.position_head.reads_image or self.orientation_head.reads_image or self.spread is not None

    def forward(self, images_BCHW: Float[Tensor, "B 3 H W"], scene_B: Int[Tensor, " B"] | None = None) -> PoseOutput:
        """The poses of prepared images (see `prepare`): position in metres in the world, rotation camera-to-world."""
        with self._precision():
            encode = self.features_for_heads if self.estimate is None else self.encode
            features = encode(images_BCHW, scene_B)
        output = self.pose_of(features)
        return output if self.estimate is None else self.estimate(features, output)

    def pose_of(self, features: Features) -> PoseOutput:
        """The poses that the heads read from features: the second half of `forward`."""
        with self._precision():
            position_B3 = self.position_head(features.position, features.image, features.scene)
            rotation_BR = self.orientation_head(features.orientation, features.image, features.scene)
            spreads = (None, None) if self.spread is None else self.spread(features)
        position_B3 = position_B3.to(self.position_std_3.dtype) * self.position_std_3 + self.position_mean_3
        label_B4 = geometry.to_quaternion(rotation_BR.float(), self.config.rotation)
        quaternion_B4 = geometry.from_label_frame(label_B4, self.config.label_frame)
        chosen = features.scene_logits, features.scene
        return PoseOutput(
            position_B3, rotation_BR.float(), quaternion_B4, *chosen, spread_m=spreads[0], spread_deg=spreads[1]
        )

    def _precision(self) -> AbstractContextManager[object]:
        return torch.autocast(self.device.type, torch.bfloat16) if self.bf16 else nullcontext()

    @property
    def device(self) -> torch.device:
        """Where the model's weights are."""
        return next(self.parameters()).device

    def __repr__(self) -> str:
        """One line; `torch.nn.Module.__repr__(model)` shows every layer."""
        facts = self._facts()
        words = f"{facts['parameters']} parameters, crop {self.config.crop}, scenes {facts['scenes']}, {self.device}"
        return f"<{self.name or type(self).__name__}: {words}>"

    def _repr_html_(self) -> str:
        return html_facts(self.name or type(self).__name__, self._facts())

    def _facts(self) -> dict[str, str]:
        config, count = self.config, sum(parameter.numel() for parameter in self.parameters())
        return {
            "parameters": f"{count / 1e6:.1f} M",
            "modifiers": ", ".join(f"+{name}" for name, _ in getattr(self.blueprint, "modifiers", ())) or "none",
            "input": f"{config.crop} x {config.crop} pixels (resize={config.resize}, fit={config.fit})",
            "scenes": ", ".join(config.scenes[:4]) + (", ..." if len(config.scenes) > 4 else ""),
            "device": str(self.device),
        }

    def prepare(self, images_BCHW: Tensor) -> Float[Tensor, "B 3 crop crop"]:
        """What the network reads, from uint8 images (B, 3, H, W) of short edge 256: resize, centre crop, normalise."""
        return network_input(images_BCHW, self.config)

    def predict(
        self,
        images: Picture | Sequence[Picture],
        batch_size: int = 32,
        note: Note = warnings.warn,
        tta: bool = False,
        exif: bool | None = None,
    ) -> Poses:
        """The poses of pictures, in order: files, folders, arrays, tensors, Pillow images (`posezoo.nn.inputs`).

        Files are read as the training pictures were; `exif`: turned as their EXIF orientation says, or not. `note` is
        called with lines for the user. `tta`: the median over each picture and turned copies, or the mean over rolled
        ones (`posezoo.nn.tta`). Raises DataError for what is no readable picture.
        """
        with evaluating(self):
            return predict_files(self, images, self.config, self.device, batch_size, note, tta, exif)

    def optimize(self, bf16: bool = False) -> Self:
        """A copy for inference with the same poses within 1e-4: batch norms folded, channels last. See docs: export.

        `bf16`: the network runs under autocast to bfloat16: faster where the processor has it, and the poses move.
        The copy cannot be trained or saved; keep the original for that. With glibc the process keeps freed memory from
        now on, as in training.
        """
        raise_malloc_thresholds()
        model = copy.deepcopy(self).eval().requires_grad_(False)
        fold_batch_norms(model, torch.zeros(1, 3, self.config.crop, self.config.crop, device=self.device))
        model.optimized, model.bf16 = True, bf16
        return model.to(memory_format=torch.channels_last)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """In eval mode; afterwards every module is in the mode it was in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def network_input(images_BCHW: Tensor, config: ModelConfig) -> Float[Tensor, "B 3 crop crop"]:
    """What a network with this configuration reads, from uint8 images (B, 3, H, W): resize, centre crop, normalise."""
    assert config.mean is not None and config.std is not None, "zoo.create_model writes them in"
    return transforms.preprocess(images_BCHW, config.resize, config.crop, config.mean, config.std, fit=config.fit)


def answered(
    network: Callable[..., PoseOutput], images: Sequence[Tensor], config: ModelConfig, tta: bool = False
) -> PoseOutput:
    """What `network` says of uint8 pictures, each (b, 3, H, W) and of a shape of its own; `tta`: of a model alone."""
    if tta:
        return averaged(network, images, config)
    return network(torch.cat([network_input(image_bCHW, config) for image_bCHW in images]))


@torch.inference_mode()
def predict_files(
    network: Callable[[Tensor], PoseOutput],
    images: Picture | Sequence[Picture],
    config: ModelConfig,
    device: torch.device | str,
    batch_size: int,
    note: Note,
    tta: bool = False,
    exif: bool | None = None,
) -> Poses:
    """The poses that `network` (prepared images to output) gives for pictures, in order.

    `tta`: the median over turned copies (`posezoo.nn.tta`); `network` is the model itself then.
    """
    if batch_size < 1:
        raise UsageError(f"batch_size={batch_size}", "batch_size=1 or more")
    given = inputs.listed(images)
    files = [image for image in given if isinstance(image, (str, Path))]
    decode, lens_of = _decode(files, config, note, exif), lenses.lens_of(config.lenses)
    for name, image in zip(inputs.names(given), given, strict=True):
        if not isinstance(image, (str, Path)):
            inputs.refuse_raw(name, config.decode, inputs.pillow(image))
    if lens_of is not None:
        note_other_lenses(sum(lens_of(*pictures.image_size(path, decode)) is None for path in files), len(files), note)
    outputs = []
    for start in range(0, len(given), batch_size):
        # prepared one by one: photographs of different shapes share a batch once they are cropped
        batch = given[start : start + batch_size]
        read = [inputs.read(image, decode, lens_of)[None].to(device) for image in batch]
        outputs.append(answered(network, read, config, tta))
    poses = poses_of(inputs.names(given), outputs, config.scenes)
    if poses.unfamiliar:
        note(unfamiliar_note(poses.unfamiliar, len(poses)))
    return poses


def unfamiliar_note(unfamiliar: int, count: int) -> str:
    """The line for the user about images that are like no other."""
    what = "look like no training image near the predicted pose, which may be far off"
    return f"{unfamiliar} of {count} images are unfamiliar: they {what}"


def _decode(paths: Sequence[str | Path], config: ModelConfig, note: Note, exif: bool | None) -> Decode | None:
    """How the files are read: as the training pictures were. Raises DataError for raw files: only readers read them."""
    for path in paths:
        inputs.refuse_raw(path, config.decode)
    if config.decode == pictures.UPRIGHT.key if exif is None else exif:
        return pictures.UPRIGHT
    turned = sum(pictures.orientation_of(path) != 1 for path in paths)
    if turned:
        what = f"{turned} of {len(paths)} images have an EXIF orientation: ignored, as in training"
        note(f"{what} (exif=True turns them; data option exif=true trains on turned pictures)")
    return None


def note_other_lenses(others: int, count: int, note: Note) -> None:
    """A note on pictures that another camera seems to have taken than those of which the model knows the distortion."""
    if others:
        what = f"{others} of {count} images have another shape than the training cameras'"
        note(f"{what}: they are read as they are, with the distortion of their lens")


def poses_of(paths: Sequence[str | Path], outputs: list[PoseOutput], scenes: tuple[str, ...]) -> Poses:
    """The outputs of all batches as poses of these images; a model that chooses no scene is of the first."""
    if not outputs:
        return Poses((), np.zeros((0, 3)), np.zeros((0, 4)))
    position_N3 = torch.cat([output.position for output in outputs]).double().cpu().numpy()
    # unit to the last digit of float64: in COLMAP's form a camera centre of 5e6 m would otherwise move by half a metre
    quaternion_N4 = geometry.unit(torch.cat([output.quaternion for output in outputs]).double()).cpu().numpy()
    index = [output.scene for output in outputs]
    if any(scene is None for scene in index):
        names: tuple[str, ...] = (scenes[0],) * len(paths)
    else:
        names = tuple(scenes[int(i)] for i in torch.cat([scene for scene in index if scene is not None]))
    familiarity, radius_m, radius_deg = (_numbers([getattr(output, name) for output in outputs]) for name in ESTIMATES)
    images = tuple(str(path) for path in paths)
    return Poses(images, position_N3, quaternion_N4, names, (), familiarity, radius_m, radius_deg)


def _numbers(parts: Sequence[Tensor | None]) -> np.ndarray | None:
    """What all batches say of their images, one after another, float64; None where one says nothing."""
    known = [part.double().cpu().numpy() for part in parts if part is not None]
    return np.concatenate(known) if len(known) == len(parts) else None
