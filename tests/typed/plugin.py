"""A plugin's author's code: an architecture, a modifier and a data format. Checked by type checkers, not run.

Legend: B batch, C channels, H height, W width, E embedding width.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from posezoo.nn.backbones import Backbone
from posezoo.nn.geometry import NUMBERS
from posezoo.nn.heads import Head, MLPHead
from posezoo.nn.hyperhead import HyperConfig, HyperHead
from posezoo.nn.model import ModelConfig, PoseModel
from posezoo.nn.outputs import Features
from posezoo.plugin import (
    CatalogueSpec,
    Finding,
    Frame,
    ModelSpec,
    ModifierSpec,
    PosezooError,
    ReaderSpec,
    ReadRequest,
    ReadResult,
    hookimpl,
)
from posezoo.testing import ModelConformance, ReaderConformance


@hookimpl
def posezoo_models() -> tuple[ModelSpec, ...]:
    defaults = {"hyper": {"condition": "image"}}
    return (ModelSpec("plain", "plain.model:Plain", "plain.model:PlainConfig", "two plain heads", modifiers=defaults),)


@hookimpl
def posezoo_modifiers() -> tuple[ModifierSpec, ...]:
    return (ModifierSpec("wrapped", "plain.model:wrap", "plain.model:PlainConfig", "a hypernetwork", ("one", "two")),)


@hookimpl
def posezoo_readers() -> tuple[ReaderSpec, ...]:
    return (ReaderSpec("lines", "plain.reader:read", "a text file", layout="poses.txt beside the images"),)


@hookimpl
def posezoo_catalogues() -> tuple[CatalogueSpec, ...]:
    return (CatalogueSpec("plain", Path(__file__).parent / "catalogue"),)


@dataclass(frozen=True)
class PlainConfig(ModelConfig):
    """The settings of `plain`."""

    hidden: int = 512


class Plain(PoseModel):
    """Pooled backbone, two heads."""

    def __init__(self, config: PlainConfig) -> None:
        super().__init__(config)
        self.backbone = Backbone(config.backbone, size=config.crop)
        self.image_dim = self.backbone.width
        self.position_head = MLPHead((self.image_dim, config.hidden, 3))
        self.orientation_head = MLPHead((self.image_dim, config.hidden, NUMBERS[config.rotation]), activation="gelu")

    def encode(self, images_BCHW: Tensor, scene_B: Tensor | None = None) -> Features:
        image_BE, _ = self.backbone(images_BCHW)
        return Features(position=image_BE, orientation=image_BE, image=image_BE)


def wrap(model: PoseModel, config: HyperConfig) -> None:
    """Put a hypernetwork around the model's plain heads."""
    if isinstance(model.position_head, Head):
        model.position_head = HyperHead(model.position_head, model.image_dim, config, config.code_position)
    if isinstance(model.orientation_head, Head):
        model.orientation_head = HyperHead(model.orientation_head, model.image_dim, config, config.code_orientation)


def read(request: ReadRequest) -> ReadResult:
    """The frames of poses.txt; whatever is wrong becomes a finding."""
    result = ReadResult()
    try:
        text = (request.root / "poses.txt").read_text()
    except OSError as error:
        raise PosezooError(str(error), "give the folder of poses.txt") from error
    for line, row in enumerate(text.splitlines(), 1):
        image, *numbers = row.split()
        if len(numbers) != 7:
            result.findings.append(Finding("poses.txt", line, f"expected 8 columns, got {len(numbers) + 1}"))
            continue
        x, y, z, qw, qx, qy, qz = map(float, numbers)
        result.frames.append(Frame(image, (x, y, z), (qw, qx, qy, qz), source=("poses.txt", line)))
    return result


class TestPlain(ModelConformance):
    model = "plain"
    settings = {"hidden": 16}
    infusions = ("", "+hyper")


class TestLines(ReaderConformance):
    reader = "lines"
