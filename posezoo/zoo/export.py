"""One file to deploy: `.onnx` or `.pt2`, written from a trained model and checked against it.

In: `images`, float (B, 3, crop, crop), as from `PoseModel.prepare`, any B. Out: `position` (B, 3) float64, the
camera centre in metres in the world; `quaternion` (B, 4), camera-to-world, (w, x, y, z), unit, w >= 0; multi-scene
models also `scene` (B,), index into the scene names; calibrated ones `familiarity`, `radius_m` and `radius_deg`, each
(B,), of posezoo.nn.estimate.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from posezoo.base.errors import UsageError, WeightsError
from posezoo.base.files import pictures
from posezoo.base.files.write import TEMPORARY, replacement, writing
from posezoo.base.observe import Observer
from posezoo.base.paths import user_path
from posezoo.base.poses import ESTIMATES
from posezoo.catalogue import entries
from posezoo.nn.model import PoseModel, evaluating
from posezoo.zoo import exported
from posezoo.zoo.saved import load

TOLERANCE = 1e-4
"""Largest difference that passes the check: of a quaternion's numbers, and of positions in units of their spread
(`position_std`, at least a metre)."""
BATCHES = (1, 3)


@dataclass(frozen=True)
class Export:
    """A written file. The differences are the largest between file and model; None without a check."""

    path: Path
    bytes: int
    position_m: float | None = None
    quaternion: float | None = None

    def rows(self) -> dict[str, Any]:
        """What the command prints."""
        rows: dict[str, Any] = {"file": str(self.path), "bytes": self.bytes}
        if self.position_m is not None and self.quaternion is not None:
            rows["largest difference of positions (m)"] = float(f"{self.position_m:.2g}")
            rows["largest difference of quaternions"] = float(f"{self.quaternion:.2g}")
        return rows


class _Outputs(nn.Module):
    """The model with the outputs of the file."""

    def __init__(self, model: PoseModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        out = self.model(images)
        more = [value for value in (out.scene, *(getattr(out, name) for name in ESTIMATES)) if value is not None]
        return (out.position, out.quaternion, *more)


def export(
    model: PoseModel | str | Path,
    to: Literal["onnx", "pt2"] = "onnx",
    out: str | Path | None = None,
    check: bool = False,
    observer: Observer | None = None,
) -> Export:
    """The file for `posezoo.load`, written from a model, a run folder or `local-dir:PATH`; by default NAME.onnx here.

    `check`: run the file and the model on images of the demo data, one and three at a time; if they differ the file is
    removed and WeightsError raised. Raises UsageError if a package is missing, ResourceError if it cannot be written.
    """
    if to == "onnx":
        exported.require("onnx", "onnxscript", "onnxruntime")
    steps = iter(range(1, 4))
    progress = (observer or Observer()).progress
    progress("exporting", 0, 3)
    if not isinstance(model, PoseModel):
        model = load(f"local-dir:{model}" if isinstance(model, Path) else model)
    path = user_path(out or f"{model.name}.{to}")
    if path.suffix != f".{to}":
        raise UsageError(f"{path}: --to {to} writes a .{to} file", f"--out {path.stem}.{to}")
    if path.is_dir():
        raise UsageError(f"{path} is a folder", f"--out {path / path.name}")
    progress("exporting", next(steps), 3)
    try:
        with (
            writing(path, "free space or --out"),
            replacement(path) as temporary,
            # created before the minute of work: it shows whether the folder can be written
            tempfile.TemporaryDirectory(prefix=TEMPORARY, dir=path.parent) as folder,
        ):
            new = Path(folder) / path.name  # the libraries look at a file's suffix
            with _quiet():
                _write(model, new)
            progress("exporting", next(steps), 3)
            differences = _checked(model, new, path) if check else (None, None)
            new.rename(temporary)
    finally:
        progress("exporting", 3, 3)
    return Export(path, path.stat().st_size, *differences)


@torch.no_grad()
def _write(model: PoseModel, path: Path) -> None:
    text = exported.description(model.name, model.config)
    fast = model.optimize().cpu()
    images_BCHW = torch.zeros(2, 3, model.config.crop, model.config.crop)
    program = torch.export.export(_Outputs(fast), (images_BCHW,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    for part in program.graph_module.modules():  # torch records the source line of each operation, with its full path
        for node in part.graph.nodes if isinstance(part, torch.fx.GraphModule) else ():
            node.meta.pop("stack_trace", None)
    if path.suffix == ".pt2":
        torch.export.save(program, path, extra_files={f"{exported.KEY}.json": text})
        return
    names = list(exported.outputs(len(program.graph_signature.user_outputs)))
    file: Any = torch.onnx.export(
        program, dynamo=True, input_names=["images"], output_names=names, verbose=False, external_data=False
    )
    file.model.metadata_props[exported.KEY] = text
    file.model.metadata_props[exported.SUM] = exported.NO_SUM
    file.save(path, external_data=False)
    content = path.read_bytes()
    path.write_bytes(content.replace(exported.NO_SUM.encode(), exported.onnx_sum(content).encode(), 1))


def _checked(model: PoseModel, file: Path, path: Path) -> tuple[float, float]:
    """The largest differences in position (m) and quaternion. Raises WeightsError if they are too large."""
    again = exported.load(file, trust=True)
    device, scale = model.device, max(1.0, *model.config.position_std)
    position_m = quaternion = 0.0
    images_BCHW = _demo_images(model, max(BATCHES))
    for batch in BATCHES:
        with torch.inference_mode(), evaluating(model):
            one, other = model(images_BCHW[:batch].to(device)), again(images_BCHW[:batch])
        position_m = max(position_m, float((one.position.cpu() - other.position).abs().max()))
        quaternion = max(quaternion, float((one.quaternion.cpu() - other.quaternion).abs().max()))
        same_scene = one.scene is None or torch.equal(one.scene.cpu(), other.scene)  # type: ignore[arg-type]
        if not (position_m <= TOLERANCE * scale and quaternion <= TOLERANCE and same_scene):  # NaN fails too
            what = f"{position_m:.2g} m, {quaternion:.2g} of the quaternion" + (", scene" * (not same_scene))
            raise WeightsError(f"{path} differs from the model by {what}: not written", "please report this")
    return position_m, quaternion


def _demo_images(model: PoseModel, count: int) -> Tensor:
    """Some images of the data that come with posezoo, as the model's input."""
    roots = [card.embedded_root() for card in entries.data_cards().values() if card.package]
    found = sorted({path for root in roots if root for path in root.rglob("*") if path.suffix in (".jpg", ".png")})
    files = found[:: max(1, len(found) // count)][:count]  # spread over the whole data
    images = [torch.from_numpy(pictures.read_image(file).copy()).permute(2, 0, 1)[None] for file in files]
    return torch.cat([model.prepare(image_1CHW.to(model.device)).cpu() for image_1CHW in images])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the converters' log lines and warnings: what goes wrong is raised."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
