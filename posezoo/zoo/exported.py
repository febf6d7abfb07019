"""Models read from one file: `.onnx`, run by onnxruntime, and `.pt2`, run by torch. The same `predict` as the model's.

The file carries a JSON text, `posezoo`, with everything needed to use it: name, conventions' version and the fields of
`ModelConfig`. No plugin is needed to read one.

A `.onnx` file holds numbers and operations. It is passed as bytes, so that it cannot refer to other files. A `.pt2`
file is different: `torch.export.load` unpickles what the archive marks as pickled and evaluates expressions in it as
Python. It is opened only if the caller trusts its author.
"""

from __future__ import annotations

import hashlib
import json
import warnings
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from posezoo.base.errors import PosezooError, UsageError, WeightsError
from posezoo.base.files.arrays import UNREADABLE
from posezoo.base.observe import Note
from posezoo.base.paths import user_path
from posezoo.base.poses import CONVENTIONS, ESTIMATES, Poses
from posezoo.base.version import __version__
from posezoo.catalogue import settings
from posezoo.nn.inputs import Picture
from posezoo.nn.model import ModelConfig, predict_files
from posezoo.nn.outputs import PoseOutput

KEY, SUM = "posezoo", "posezoo-sha256"  # of the JSON text in the file, and of the sha256 over all else
NO_SUM = "0" * 64
POSE, SCENE = ("position", "quaternion"), ("scene",)
MAX_TEXT = 1 << 20  # bytes of JSON
Run = Callable[[Tensor], Sequence[Tensor]]


class ExportedModel:
    """A model read from a file, on the CPU: `predict`, or call it with prepared images (B, 3, crop, crop)."""

    def __init__(self, name: str, config: ModelConfig, run: Run) -> None:
        self.name, self.config, self._run = name, config, run

    def __call__(self, images_BCHW: Tensor) -> PoseOutput:
        """Positions (m, float64) and unit quaternions (w, x, y, z); `rotation` is the quaternion too."""
        size = (3, self.config.crop, self.config.crop)
        if images_BCHW.shape[1:] != size:
            given = tuple(images_BCHW.shape)
            raise UsageError(
                f"{self.name}: images of shape {given}, expected (B, {size})", "posezoo.nn.model.network_input"
            )
        values = self._run(images_BCHW)
        found = dict(zip(outputs(len(values)), values, strict=True))
        return PoseOutput(rotation=found["quaternion"], **found)

    def predict(
        self,
        images: Picture | Sequence[Picture],
        batch_size: int = 32,
        note: Note = warnings.warn,
        exif: bool | None = None,
    ) -> Poses:
        """As `PoseModel.predict`. Raises DataError for a file that is not a readable image."""
        return predict_files(self, images, self.config, "cpu", batch_size, note, exif=exif)


def outputs(count: int) -> tuple[str, ...]:
    """The names of a file's outputs by their number: the pose, the scene where it is chosen, and estimates if any."""
    return POSE + (SCENE if count % len(ESTIMATES) == 0 else ()) + (ESTIMATES if count > len(ESTIMATES) else ())


def load(path: str | Path, trust: bool = False) -> ExportedModel:
    """The model in a `.onnx` or `.pt2` file that `posezoo.export` wrote.

    `trust`: open a `.pt2` file, which can run its author's code. Raises WeightsError for other or damaged files.
    """
    path = user_path(path)
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise WeightsError(f"{path}: {error.strerror}", "give a file that posezoo export wrote") from None
    return _load_onnx(path) if path.suffix == ".onnx" else _load_pt2(path, trust)


def require(*packages: str) -> None:
    """Raise UsageError if one of the packages of the extra `export` is not installed."""
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        raise UsageError(f".onnx files need {', '.join(missing)}", "pip install 'posezoo[export]'")


def description(name: str, config: ModelConfig) -> str:
    """The JSON text that goes into the file."""
    known = {field.name for field in fields(ModelConfig)}
    values = {key: value for key, value in asdict(config).items() if key in known}
    values["pretrained_backbone"] = False  # the weights are in the file; their first source is private to the user
    facts = {"format": 1, "posezoo": __version__, "conventions": CONVENTIONS, "name": name, "config": values}
    return json.dumps(facts)


def _load_onnx(path: Path) -> ExportedModel:
    require("onnx", "onnxruntime")
    import onnxruntime

    content = path.read_bytes()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # problems are raised anyway
    with _damaged(path):
        _refuse_other_files(path, content)
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        facts = session.get_modelmeta().custom_metadata_map
        text = facts.get(KEY)
        names = tuple(output.name for output in session.get_outputs())
    if text is None or names != outputs(len(names)) or [i.name for i in session.get_inputs()] != ["images"]:
        raise _foreign(path)
    described = _described(path, text)
    if SUM in facts and facts[SUM] != onnx_sum(content, facts[SUM]):
        raise WeightsError(f"{path} is damaged: sha256 differs from its own", "export it again")

    def run(images_BCHW: Tensor) -> list[Tensor]:
        return [torch.from_numpy(array) for array in session.run(None, {"images": images_BCHW.contiguous().numpy()})]

    return ExportedModel(*described, run)


def onnx_sum(content: bytes, stored: str = NO_SUM) -> str:
    """sha256 of an .onnx file as it was before its own sum, `stored`, was written into it."""
    return hashlib.sha256(content.replace(stored.encode(), NO_SUM.encode(), 1)).hexdigest()


def _refuse_other_files(path: Path, content: bytes) -> None:
    """Raise WeightsError for a network whose numbers are in other files, which could be any file of this machine."""
    import onnx
    from onnx.external_data_helper import _get_all_tensors, uses_external_data

    for tensor in _get_all_tensors(onnx.load_model_from_string(content)):
        if uses_external_data(tensor):
            raise WeightsError(f"{path} refers to other files for its numbers, which are not read", "export it again")


def _load_pt2(path: Path, trust: bool) -> ExportedModel:
    try:
        with zipfile.ZipFile(path) as archive:
            inside = [i for i in archive.infolist() if i.filename.endswith(f"/extra/{KEY}.json")]
            if len(inside) != 1 or inside[0].file_size > MAX_TEXT:
                raise _foreign(path)
            name, config = _described(path, archive.read(inside[0]).decode("utf-8", "replace"))
    except UNREADABLE:
        raise WeightsError(f"{path} is damaged, or not a .pt2 file", "export it again") from None
    if not trust:
        raise UsageError(
            f"{path}: opening a .pt2 file can run its author's code",
            "if you trust the author: --trust, posezoo.load(..., trust=True); else ask for .onnx",
        )
    with _damaged(path):
        network = torch.export.load(path).module()
    return ExportedModel(name, config, network)


def _described(path: Path, text: str) -> tuple[str, ModelConfig]:
    try:
        facts = json.loads(text)
        if facts["format"] > 1 or facts["conventions"] > CONVENTIONS:
            raise WeightsError(f"{path}: written by a newer posezoo", "pip install -U posezoo")
        config = settings.validated(ModelConfig, facts["config"])
        if config.mean is None or config.std is None or not isinstance(facts["name"], str):
            raise ValueError("no mean, std or name")
    except (ValueError, KeyError, TypeError, UsageError) as error:
        raise WeightsError(f"{path}: its description is damaged: {ascii(error)[:80]}", "export it again") from None
    return facts["name"], config


def _foreign(path: Path) -> WeightsError:
    return WeightsError(f"{path} was not written by posezoo", "posezoo export NAME --to onnx writes such files")


class _damaged:  # noqa: N801 (a context, used like a function)
    """Turns whatever another library's reader raises, which can be anything, into one WeightsError."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, Exception) and not isinstance(error, PosezooError):
            reason = " ".join(str(error).split())[:80]
            what = f"{self.path} is damaged, or of another version of torch or onnxruntime ({reason})"
            raise WeightsError(what, "export it again") from error
