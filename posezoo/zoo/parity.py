"""Whether a model computes what another implementation computed: its outputs, stored on given images, against ours.

The file is a .npz: `images` (B, 3, H, W), normalised as that implementation reads them, and what its model returned for
them in evaluation, before anything is done to it: at least one of `position` (B, 3), `rotation` (B, R) and
`scene_logits` (B, S). `scene` (B,) if the model was given the scenes' indices; `weights`, a text: the sha256 or the
name of its checkpoint.

Legend: B batch, H height, W width, R rotation numbers, S scenes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from posezoo.base.errors import DataError, UsageError, WeightsError
from posezoo.base.files import arrays
from posezoo.base.observe import Note, silent
from posezoo.base.paths import printable_path, user_path
from posezoo.nn.device import torch_device
from posezoo.nn.model import PoseModel, evaluating
from posezoo.zoo.find import find, full_name, is_exported
from posezoo.zoo.saved import load_found

TOLERANCE = 1e-5
BATCH = 8
OUTPUTS = ("position", "rotation", "scene_logits")
HOW = "docs/parity.md shows how to write it"
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Difference:
    """The largest differences of one output; `relative` is in units of its largest number."""

    output: str
    numbers: int
    absolute: float
    relative: float
    image: int
    """Which image has it."""


@dataclass(frozen=True)
class Parity:
    """How far the outputs of two implementations are apart."""

    model: str
    file: Path
    images: int
    tolerance: float
    differences: tuple[Difference, ...]

    @property
    def equal(self) -> bool:
        """Whether every output is within the tolerance."""
        return all(found.relative <= self.tolerance for found in self.differences)

    def rows(self) -> list[dict[str, Any]]:
        """One row an output, rounded for reading."""
        return [
            {
                "output": found.output,
                "numbers an image": found.numbers,
                "largest difference": f"{found.absolute:.3g}",
                "of the largest number": f"{found.relative:.3g}",
                "in image": found.image,
                f"within {self.tolerance:g}": "yes" if found.relative <= self.tolerance else "no",
            }
            for found in self.differences
        ]

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        outputs = [{**vars(found), "equal": found.relative <= self.tolerance} for found in self.differences]
        return {**vars(self), "file": str(self.file), "differences": outputs, "equal": self.equal}


def parity(
    file: str | Path,
    model: PoseModel | str | Path,
    *,
    tolerance: float = TOLERANCE,
    device: str | torch.device = "cpu",
    note: Note = silent,
) -> Parity:
    """The differences between the outputs stored in `file` and those of `model` on the same images.

    `model`: a model, or the name of a trained one. Raises DataError for a file that does not hold what it should,
    WeightsError if its `weights` are not those that the model was converted from, UsageError for other arguments.
    """
    if not 0 <= tolerance < math.inf:
        raise UsageError(f"tolerance {tolerance} must be a number from 0", f"e.g. {TOLERANCE:g}")
    path, place = user_path(file), torch_device(device)
    stored = arrays.read(path)
    name = printable_path(path.name)
    _check(stored, name)
    if not isinstance(model, PoseModel):
        model = _loaded(model, stored, name, place, note)
    if (side := stored["images"].shape[-2:]) != (model.config.crop, model.config.crop):
        note(f"images of {side[0]}x{side[1]} pixels, the model's own are {model.config.crop}x{model.config.crop}")
    ours = _outputs(model, stored, name)
    found = []
    for output in OUTPUTS:
        if output in stored:
            if output not in ours:
                raise DataError(f"{name} has {output}, which {model.name} does not compute", "leave it out")
            found.append(_difference(output, ours[output], stored[output], name))
    return Parity(model.name, path, len(stored["images"]), tolerance, tuple(found))


def _check(stored: Arrays, name: str) -> None:
    """Raise DataError unless the arrays are what they should be, as far as the model does not matter."""
    unknown = [key for key in stored if key not in ("images", "scene", "weights", *OUTPUTS)]
    if unknown:
        raise DataError(f"{name} has {', '.join(map(printable_path, unknown))}, which is unknown", HOW)
    if "images" not in stored or not any(key in stored for key in OUTPUTS):
        raise DataError(f"{name} needs images and at least one of {', '.join(OUTPUTS)}", HOW)
    images = stored["images"]
    if images.ndim != 4 or images.shape[1] != 3 or min(images.shape) < 1 or images.dtype.kind != "f":
        what = f"{name}: images are {images.dtype} {images.shape}, not floats (B, 3, H, W)"
        raise DataError(what, "store what the network reads: resized, cropped, normalised")
    for key in OUTPUTS:
        if key in stored and (stored[key].ndim != 2 or stored[key].dtype.kind != "f"):
            raise DataError(f"{name}: {key} is {stored[key].dtype} {stored[key].shape}, not floats (B, numbers)", HOW)
    for key in ("scene", *OUTPUTS):
        if key in stored and len(np.atleast_1d(stored[key])) != len(images):
            raise DataError(f"{name}: {len(images)} images, but {key} is {stored[key].shape}", HOW)
    for key in ("images", *OUTPUTS):
        if key in stored and not np.isfinite(stored[key]).all():
            raise DataError(f"{name}: {key} has numbers that are not finite", "store them again")
    if "scene" in stored and (stored["scene"].ndim != 1 or stored["scene"].dtype.kind not in "iu"):
        raise DataError(f"{name}: scene is {stored['scene'].dtype} {stored['scene'].shape}, not integers (B,)", HOW)
    if "weights" in stored and (stored["weights"].ndim or stored["weights"].dtype.kind != "U"):
        raise DataError(f"{name}: weights is not one text", "weights=SHA256 of the checkpoint")


def _loaded(model: str | Path, stored: Arrays, name: str, place: torch.device, note: Note) -> PoseModel:
    """The trained model of that name, converted from the weights that the file names, if it names any."""
    full = full_name(model)
    if is_exported(full):
        raise UsageError(f"{full} is an exported file: its outputs are poses, not what a network returns", "local-dir:")
    found = find(full, note)
    origin = found.config.get("training", {}).get("converted", {})
    if "weights" in stored and origin:
        told, known = str(stored["weights"]), (origin.get("sha256"), origin.get("file"))
        if told not in known:
            what = f"{name} is of the weights {ascii(told)[:80]}, {full} was converted from {known[1]}"
            raise WeightsError(what, f"its sha256 is {known[0]}")
    return load_found(found, place)


@torch.inference_mode()
def _outputs(model: PoseModel, stored: Arrays, name: str) -> dict[str, Tensor]:
    """What the model's heads return, before positions become metres and rotations camera-to-world; on the CPU."""
    images, scene = torch.from_numpy(stored["images"]), None
    if "scene" in stored:
        scenes, given = len(model.config.scenes), stored["scene"]
        if given.min() < 0 or given.max() >= scenes:
            what = f"{name}: scene has {given.min()} to {given.max()}, {model.name} has scenes 0 to {scenes - 1}"
            raise DataError(what, "indices are in the order of posezoo info MODEL")
        scene = torch.from_numpy(given.astype(np.int64))
    dtype, parts = next(model.parameters()).dtype, []
    with evaluating(model):
        for start in range(0, len(images), BATCH):
            batch = images[start : start + BATCH].to(model.device, dtype)
            chosen = None if scene is None else scene[start : start + BATCH].to(model.device)
            features = model.features_for_heads(batch, chosen)
            position = model.position_head(features.position, features.image, features.scene)
            rotation = model.orientation_head(features.orientation, features.image, features.scene)
            parts.append((position, rotation, features.scene_logits))
    columns = zip(OUTPUTS, zip(*parts, strict=True), strict=True)
    return {key: torch.cat(column).cpu() for key, column in columns if column[0] is not None}


def _difference(output: str, ours: Tensor, theirs: np.ndarray, name: str) -> Difference:
    one_BN, other_BN = ours.double(), torch.from_numpy(theirs.astype(np.float64))
    if one_BN.shape != other_BN.shape:
        what = f"{name}: {output} has {other_BN.shape[1]} numbers an image, the model's has {one_BN.shape[1]}"
        raise DataError(what, "is it of another model?")
    if output == "scene_logits":  # some return the logits, some their log-softmax, which changes nothing a second time
        one_BN, other_BN = (values.log_softmax(-1) for values in (one_BN, other_BN))
    off_BN = (one_BN - other_BN).abs()
    largest = float(off_BN.max())
    if not math.isfinite(largest):
        raise WeightsError(f"the model's {output} is not finite on the images of {name}", "convert it again")
    scale = max(float(other_BN.abs().max()), torch.finfo(torch.float64).tiny)
    return Difference(output, one_BN.shape[1], largest, largest / scale, int(off_BN.amax(1).argmax()))
