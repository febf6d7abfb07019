"""transforms.json, as nerfstudio, instant-ngp and the NeRF data sets have it: `nerf:PATH` (a folder or the file).

`transform_matrix` is camera-to-world with OpenGL's axes: x right, y up, z backward; so y and z change sign. Intrinsics
are in the file, in each frame, or given as `camera_angle_x` and `camera_angle_y`; distortion is k1 to k4, p1, p2 of
`camera_model`, or of instant-ngp's `is_fisheye`. Splits are `train_filenames` and the like, or transforms_train.json
and transforms_test.json. Listed files are often missing: they are dropped and counted.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from posezoo.plugin import UNKNOWN_UNIT, DataError, Finding, Frame, Lens, ReadRequest, ReadResult
from posezoo.plugin.reading import image_size, read_text
from posezoo_benchmarks.matrices import not_rigid, quaternions
from posezoo_benchmarks.options import only, positive

FILES = {"transforms.json": "", "transforms_train.json": "train", "transforms_val.json": "val"}
FILES |= {"transforms_test.json": "test"}
FISHEYE = "OPENCV_FISHEYE"
PLAIN = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL")  # what is not given is 0
OPENGL = np.diag([1.0, -1.0, -1.0])  # our camera axes in OpenGL's


def read(request: ReadRequest) -> ReadResult:
    """The frames of the file, or of the files of the splits. `scale` metres are one unit of the file."""
    only(request, "nerf", ("scale",))
    scale = positive(request, "scale", 1.0)
    result = ReadResult()
    paths = {request.root: ""}
    if request.root.is_dir():
        paths = {request.root / name: split for name, split in FILES.items() if (request.root / name).is_file()}
        paths = {path: split for path, split in paths.items() if not split} or paths
    if not paths:
        result.findings.append(Finding(str(request.root), 0, "no transforms.json or transforms_train.json here"))
    missing = total = 0
    for path, split in paths.items():
        content = _content(path, result.findings)
        frames = content.get("frames") if content else []
        if not isinstance(frames, list):
            result.findings.append(Finding(path.name, 0, "frames is not a list"))
            continue
        listed = _splits(content)
        for number, entry in enumerate(frames):
            frame = _frame(request, path.name, content, number, entry, split or listed, scale, result.findings)
            if frame is None or (request.images is not None and frame.image not in request.images):
                continue
            total += 1
            if _is_file(_root(request), frame.image):
                result.frames.append(frame)
            else:
                missing += 1
    if missing:
        result.notes.append(f"{missing} of {total} listed images are missing: left out")
        result.left_out["", "", ""] = missing
    if "scale" not in request.options:
        result.unit = UNKNOWN_UNIT
        result.notes.append("transforms.json has no unit: positions are in scene units (scale= gives metres)")
    return result


def _root(request: ReadRequest) -> Path:
    return request.images_root or (request.root if request.root.is_dir() else request.root.parent)


def _content(path: Path, findings: list[Finding]) -> dict[str, Any]:
    text = read_text(path, path.name, findings)
    if text is None:
        return {}
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", 0)
        findings.append(Finding(path.name, line, f"not JSON: {str(error)[:60]}"))
        return {}
    if not isinstance(content, dict) or "frames" not in content:
        findings.append(Finding(path.name, 0, 'not an object with "frames"'))
        return {}
    return content


def _frame(
    request: ReadRequest,
    name: str,
    content: dict[str, Any],
    number: int,
    entry: Any,
    split: str | dict[str, str],
    scale: float,
    findings: list[Finding],
) -> Frame | None:
    listed = entry.get("file_path") if isinstance(entry, dict) else None
    if not isinstance(listed, str) or not listed:
        findings.append(Finding(name, 0, f"frame {number} has no file_path"))
        return None
    matrix_44 = _matrix(entry.get("transform_matrix"))
    problem = "transform_matrix is not 4x4 finite numbers" if matrix_44 is None else not_rigid(matrix_44)
    if matrix_44 is None or problem:
        findings.append(Finding(name, 0, f"frame {number} ({listed[:60]!a}): {problem}"))
        return None
    root = _root(request)
    image = os.path.normpath(listed)
    if not Path(image).suffix and not _is_file(root, image):  # the synthetic sets omit the suffix
        image += ".png"
    scene = request.scene or root.resolve().name or "scene"
    quaternion_4 = quaternions((matrix_44[:3, :3] @ OPENGL)[None])[0]
    return Frame(
        image,
        tuple((matrix_44[:3, 3] * scale).tolist()),
        tuple(quaternion_4.tolist()),
        scene,
        split if isinstance(split, str) else split.get(listed, ""),
        "",
        intrinsics=_intrinsics({**content, **entry}, root, image),
        source=(name, 0),
        camera_size=_camera_size({**content, **entry}),
        lens=_lens({**content, **entry}),
    )


def _matrix(value: Any) -> np.ndarray | None:
    rows = value if isinstance(value, list) and len(value) in (3, 4) else []
    if not rows or not all(isinstance(row, list) and len(row) == 4 and all(map(is_number, row)) for row in rows):
        return None
    return np.array([*rows, [0, 0, 0, 1]][:4], dtype=np.float64)


def _splits(content: dict[str, Any]) -> dict[str, str]:
    """Each listed file's split: the first of train, val, test that names it."""
    found: dict[str, str] = {}
    for word in ("test", "val", "train"):
        names = content.get(f"{word}_filenames")
        found |= {name: word for name in names if isinstance(name, str)} if isinstance(names, list) else {}
    return found


def _intrinsics(values: dict[str, Any], root: Path, image: str) -> tuple[float, float, float, float] | None:
    """(fx, fy, cx, cy) of the stored image, from what the frame or the file says; None if it does not."""
    given = {key: float(value) for key, value in values.items() if is_number(value)}
    width, height = given.get("w", 0.0), given.get("h", 0.0)
    if not (width > 0 and height > 0):
        try:
            width, height = image_size(root / image) if _is_file(root, image) else (0, 0)
        except DataError:
            return None
    focal = given.get("fl_x", 0.0)
    if not focal and 0 < given.get("camera_angle_x", 0.0) < math.pi:
        focal = 0.5 * width / math.tan(given["camera_angle_x"] / 2)
    if not (focal > 0 and width and height):
        return None
    fy = given.get("fl_y", 0.0)
    if not fy and "fl_x" not in given and 0 < given.get("camera_angle_y", 0.0) < math.pi:
        fy = 0.5 * height / math.tan(given["camera_angle_y"] / 2)
    fy = fy or focal
    return (focal, fy, given.get("cx", width / 2), given.get("cy", height / 2)) if fy > 0 else None


def _lens(values: dict[str, Any]) -> Lens | None:
    """The distortion by k1 to k4, p1, p2, as nerfstudio has it; another camera_model is passed on, to be refused."""
    model = values.get("camera_model", FISHEYE if values.get("is_fisheye") is True else "OPENCV")
    keys: tuple[str, ...] = ("k1", "k2", "k3", "k4")
    if model in PLAIN:
        model, keys = "POLYNOMIAL", (*keys, "p1", "p2")
    elif model != FISHEYE:
        return Lens(f"camera_model {model}"[:60], ())
    given = [values.get(key, 0.0) for key in keys]
    return Lens(model, tuple(float(value) if is_number(value) else 0.0 for value in given))


def _camera_size(values: dict[str, Any]) -> tuple[int, int] | None:
    """The (width, height) that focal lengths in pixels are for; None if the file does not say it."""
    given = [float(values[key]) for key in ("w", "h") if is_number(values.get(key))]
    return (int(given[0]), int(given[1])) if len(given) == 2 and min(given) >= 1 else None


def is_number(value: Any) -> bool:
    """Whether a value of a JSON file is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300


def _is_file(root: Path, image: str) -> bool:
    try:
        return (root / image).is_file()
    except (OSError, ValueError):
        return False
