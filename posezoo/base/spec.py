"""What a plugin declares: frozen specs that carry strings for the classes, so that discovery imports no torch.

A string such as `"posezoo_atloc.model:AtLoc"` is resolved by `load_object` only when the thing is used.
Also the rows that a reader hands over (`Frame`), because a reader is a plugin and may import only the lower floors.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from posezoo.base.errors import Finding

UNKNOWN_UNIT = "scene units"
API = 1  # version of the hooks and of these specs; a plugin that declares a newer one is refused


@dataclass(frozen=True)
class ModelSpec:
    """An architecture: `build` names a `PoseModel` subclass, `config` its frozen `ModelConfig` dataclass."""

    name: str
    build: str
    config: str
    summary: str
    paper: str = ""
    modifiers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Defaults of modifiers for this architecture, e.g. `{"hyper": {"condition": "image"}}`."""
    as_published: str = ""
    """A function from a built model to one with the same outputs at the cost of the published code, with which
    `posezoo bench speed` compares; empty: the model as it is."""
    converters: Mapping[str, str] = field(default_factory=dict)
    """Format of other people's checkpoints -> the function that maps them, see `Conversion`."""
    api: int = API


@dataclass(frozen=True)
class ModifierSpec:
    """A modifier: `apply(model, config)` changes a built model; `NAME+modifier=VALUE` sets `value_field` to VALUE."""

    name: str
    apply: str
    config: str
    summary: str
    values: tuple[str, ...] = ()
    value_field: str = "value"
    converters: Mapping[str, str] = field(default_factory=dict)
    """As in ModelSpec; the function is given the tensors that the architecture's leaves over."""
    keeps_pose: bool = False
    """It changes no pose: published settings and variants are those of the name without it."""
    api: int = API


@dataclass(frozen=True)
class Conversion:
    """How a checkpoint in another project's names becomes ours.

    A converter is a function `(shapes: Mapping[str, tuple[int, ...]]) -> Conversion | None`: from the names and shapes
    of the file's tensors to this map, None if the file is not of its model. A name it needs and does not find it may
    look up in `shapes` all the same: the KeyError is reported as a missing tensor.
    """

    names: Mapping[str, str | tuple[str, int]]
    """Prefixes of their names -> ours (the longest match wins); with a number, that scene's part of a bank."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Of the architecture or modifier, as far as names and shapes reveal them."""
    unused: tuple[str, ...] = ()
    """Names of tensors that the file may have and the model does not use."""
    scenes: int = 1
    asks: tuple[str, ...] = ()
    """Settings that their code reads from a file beside the checkpoint: the user has to give them."""
    moves: Mapping[str, str] = field(default_factory=dict)
    """Modifiers: prefixes of our names of the architecture -> what they are once the modifier is applied."""


@dataclass(frozen=True)
class ReaderSpec:
    """A data format: `read(request: ReadRequest) -> ReadResult`."""

    name: str
    read: str
    summary: str
    layout: str = ""
    """Which files belong where, in some lines, for `posezoo data how-to`."""
    paths: tuple[str, ...] = ()
    """Options that are the user's paths: they are made absolute before a run records them."""
    api: int = API


@dataclass(frozen=True)
class CatalogueSpec:
    """A registry folder that a plugin brings: the same layout as posezoo's own (`models/`, `datasets/`, ...)."""

    name: str
    folder: Path
    api: int = API


@dataclass(frozen=True, slots=True)
class Lens:
    """The distortion of a camera: COLMAP's name of the kind, and the parameters that follow the centre.

    Pictures are corrected when the image cache is built; `intrinsics` hold for the corrected ones too.
    """

    kind: str
    parameters: tuple[float, ...]

    def __post_init__(self) -> None:
        # whatever sequence a reader gives: lenses are compared, and are keys
        object.__setattr__(self, "parameters", tuple(map(float, self.parameters)))


@dataclass(frozen=True, slots=True)
class DepthMap:
    """How far what an image shows is from the camera, along the optical axis: a picture with one number a pixel.

    `path` is relative to the data set's root, as the image's. A number is a depth in metres times `per_metre` (1000:
    millimetres); 0 and 65535 are unknown. `intrinsics` are (fx, fy, cx, cy) in pixels of the map, where another camera
    took it; without them the map shows what the image shows, at any size. `pose` is where that camera stands in the
    image's, (x, y, z, qw, qx, qy, qz) in metres, map-to-image; left out, both stand in one place.
    """

    path: str
    per_metre: float = 1000.0
    intrinsics: tuple[float, float, float, float] | None = None
    pose: tuple[float, float, float, float, float, float, float] = (0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Frame:
    """One image with its pose, as a reader found it.

    `image` is relative to the data set's root. The pose is camera-to-world: `position` is the camera centre in
    metres, `quaternion` is (w, x, y, z); camera axes x right, y down, z forward. `intrinsics` are (fx, fy, cx, cy) in
    pixels of the stored image, with (0, 0) at the outer corner of its top-left pixel. `source` ("poses.csv", 17) is
    where the pose was read, for messages.
    """

    image: str
    position: tuple[float, float, float]
    quaternion: tuple[float, float, float, float]
    scene: str = "scene"
    split: str = ""
    sequence: str = ""
    timestamp: int = -1
    condition: str = ""
    intrinsics: tuple[float, float, float, float] | None = None
    source: tuple[str, int] = ("", 0)
    camera_size: tuple[int, int] | None = None
    """(width, height) of the pictures that `intrinsics` are for, where the data say it: images are often stored
    smaller, and posezoo then scales the intrinsics. None: those of the stored image."""
    lens: Lens | None = None
    """Distortion that has to be corrected; it needs `intrinsics`."""
    depth: DepthMap | None = None
    """For `augment.motion`, which moves training cameras."""

    def with_quaternion(self, quaternion: tuple[float, float, float, float]) -> Frame:
        """The frame with another quaternion. `dataclasses.replace` takes five times as long, and there may be 1e5."""
        return Frame(
            self.image, self.position, quaternion, self.scene, self.split, self.sequence, self.timestamp,
            self.condition, self.intrinsics, self.source, self.camera_size,
            self.lens, self.depth,
        )  # fmt: skip


@dataclass(frozen=True)
class ReadRequest:
    """What a reader is asked for.

    `images`: if a split file names the images that are needed, their paths relative to the images' folder; a reader
    then reads only those and must not require anything else. The same goes for `scenes` and `sequences`
    where they are not empty. `options` are the card's, overridden by the `?key=value` of the data name.
    """

    root: Path
    scenes: tuple[str, ...] = ()
    images: frozenset[str] | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    sequences: tuple[str, ...] = ()
    images_root: Path | None = None
    """The folder that image names are relative to, where it is not `root`."""
    scene: str = ""
    """What data that name no scene are called: their card's only scene. Empty: as the reader likes."""

    def wants_sequence(self, name: str) -> bool:
        """Whether a sequence is asked for: by its name, or by a number alone (`1` is seq-01, seq1 and 01)."""
        if not self.sequences or name in self.sequences:
            return True
        number = re.fullmatch(r"\D*(\d+)", name, re.ASCII)
        return number is not None and any(word.isdecimal() and int(word) == int(number[1]) for word in self.sequences)


@dataclass(frozen=True, slots=True)
class Decode:
    """How the files of a data set become pictures, where they are not ordinary ones.

    `function` names `decode(image, options) -> image` on Pillow images; the file itself has been opened and checked.
    `key` changes whenever the result can: it is a part of the image cache's key.
    """

    function: str
    key: str
    options: Mapping[str, str] = field(default_factory=dict)
    turns: bool = False
    """The files are photographs, which are only turned as their EXIF orientation says."""


@dataclass
class ReadResult:
    """A reader's answer: the frames, everything found wrong on the way, and the name of the ground-truth variant."""

    frames: list[Frame] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    ground_truth: str = "original"
    notes: list[str] = field(default_factory=list)
    """Lines for the user, e.g. how many frames were dropped and why."""
    decode: Decode | None = None
    """None: the files are ordinary pictures."""
    left_out: dict[tuple[str, str, str], int] = field(default_factory=dict)
    """(scene, split, sequence) -> frames that are listed but left out, by the format's rules or because their images
    are missing; notes say why."""
    unit: str = "m"
    """Of the positions: m, or `scene units` (UNKNOWN_UNIT) where the data have no metre."""


def load_object(path: str) -> Any:
    """The object that `"package.module:Name"` names."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)
