"""A report's measurements as a file, so that it can be written again, or compared, without running a model.

`measured.npz` beside report.json: the frames, the training frames and every method's poses, as plain arrays (numpy's
format, read without pickle). Texts and settings are in report.json.
"""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from posezoo.base.errors import WeightsError
from posezoo.base.files import lenses, pictures
from posezoo.base.files.arrays import DAMAGE
from posezoo.base.poses import ESTIMATES, Poses
from posezoo.base.spec import Lens
from posezoo.data.table import Frames
from posezoo.evaluation.results import Results
from posezoo.zoo.find import REPORT

FILE = "measured.npz"
DIGEST = "measured_sha256"
"""Of report.json: the file that it is of. A process that was killed while it wrote leaves another one."""
_COLUMNS = ("images", "scene", "split", "sequence", "condition", "timestamp", "position", "quaternion", "intrinsics")
_TEXTS = ("model", "data", "data_digest", "ground_truth", "split", "selection", "unit")


def dump(report: Results) -> bytes:
    """The file's content."""
    arrays = _columns("test", report.frames)
    if report.train is not None:
        arrays |= _columns("train", report.train)
    for number, poses in enumerate(report.methods.values()):
        arrays |= {f"method{number}/position": poses.position, f"method{number}/quaternion": poses.quaternion}
        arrays |= {f"method{number}/{name}": values_N for name, values_N in poses.estimates.items()}
    if report.scene_predicted is not None:
        arrays["scene_predicted"] = report.scene_predicted
    arrays["methods"] = np.array(list(report.methods), dtype=np.str_)
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)  # type: ignore[arg-type]
    return content.getvalue()


def digest(content: bytes) -> str:
    """Of the file, for report.json."""
    return hashlib.sha256(content).hexdigest()


def load(folder: Path) -> dict[str, Any]:
    """The fields of the report stored in `folder`. Raises WeightsError where there is none, or it is damaged."""
    try:
        texts, content = json.loads((folder / REPORT).read_text(encoding="utf-8")), (folder / FILE).read_bytes()
        if texts.get(DIGEST, digest(content)) != digest(content):
            raise ValueError(f"{FILE} is of another report")
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            fields = _fields(arrays)
        if texts["model"] not in fields["methods"]:
            raise ValueError("no poses of the model")
        return fields | {
            **{key: str(texts[key]) for key in _TEXTS},
            "remarks": tuple(map(str, texts["remarks"])),
            "settings": {**texts["settings"], "versions": texts["versions"]},
        }
    except OSError as error:
        raise WeightsError(f"{folder}: {error.strerror}: no report", "posezoo eval writes it") from None
    except DAMAGE as error:
        what = f"the report in {folder} is damaged: {ascii(error)[:80]}"
        raise WeightsError(what, "posezoo eval writes it again") from None


def _columns(which: str, frames: Frames) -> dict[str, np.ndarray]:
    bent = json.dumps([lens and (lens.kind, lens.parameters) for lens in frames.lenses])
    texts = {"scenes": list(frames.scenes), "root": str(frames.root), "lenses": bent}
    return {
        **{f"{which}/{name}": getattr(frames, name) for name in (*_COLUMNS, "lens")},
        **{f"{which}/{name}": np.array(value, dtype=np.str_) for name, value in texts.items()},
        f"{which}/upright": np.array(frames.decode == pictures.UPRIGHT),
    }


def _fields(arrays: Any) -> dict[str, Any]:
    frames = _frames(arrays, "test")
    true, methods = frames.poses(), {}
    for number, name in enumerate(arrays["methods"].tolist()):
        t_N3, q_N4 = arrays[f"method{number}/position"], arrays[f"method{number}/quaternion"]
        if (t_N3.shape, q_N4.shape) != ((len(frames), 3), (len(frames), 4)):
            raise ValueError(f"poses of {name} of another number than images")
        known = {one: arrays[key] for one in ESTIMATES if (key := f"method{number}/{one}") in arrays}
        if any(values_N.shape != (len(frames),) for values_N in known.values()):
            raise ValueError(f"radii of {name} of another number than images")
        methods[name] = Poses(true.images, t_N3, q_N4, true.scenes, true.timestamps, **known)
    chosen = arrays.get("scene_predicted")
    if chosen is not None and not (
        len(chosen) == len(frames) and np.all((chosen >= -1) & (chosen < len(frames.scenes)))
    ):
        raise ValueError("scenes that are not there")
    return {
        "frames": frames,
        "train": _frames(arrays, "train") if "train/images" in arrays else None,
        "methods": methods,
        "scene_predicted": chosen,
    }


def _frames(arrays: Any, which: str) -> Frames:
    columns: dict[str, Any] = {name: arrays[f"{which}/{name}"] for name in _COLUMNS}
    if len({len(column) for column in columns.values()}) != 1:
        raise ValueError("columns of different length")
    scenes = tuple(arrays[f"{which}/scenes"].tolist())
    if len(columns["scene"]) and not 0 <= columns["scene"].min() <= columns["scene"].max() < len(scenes):
        raise ValueError("a scene without a name")
    if f"{which}/lens" in arrays:  # older reports have none
        columns |= {"lens": arrays[f"{which}/lens"], "lenses": _lenses(str(arrays[f"{which}/lenses"]))}
        # what raw pictures are decoded by is a function's name, and none is called because a file says so
        columns["decode"] = pictures.UPRIGHT if arrays[f"{which}/upright"] else None
        if len(columns["lens"]) not in (0, len(columns["images"])):
            raise ValueError("lenses of another number than images")
        if len(columns["lens"]) and not 0 <= columns["lens"].min() <= columns["lens"].max() < len(columns["lenses"]):
            raise ValueError("a lens that is not there")
    return Frames(root=Path(str(arrays[f"{which}/root"])), scenes=scenes, **columns)


def _lenses(text: str) -> tuple[Lens | None, ...]:
    found = tuple(one and Lens(str(one[0]), tuple(map(float, one[1]))) for one in json.loads(text))
    if any(lens and lenses.problem(lens) for lens in found):
        raise ValueError("a lens that nobody knows")
    return found
