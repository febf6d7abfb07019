"""Scans of iPhones and iPads, whose poses are ARKit's: `arkit:PATH`, a folder that Polycam or Record3D has exported.

Polycam, "raw data": keyframes/images/TIME.jpg and keyframes/cameras/TIME.json; corrected_images and corrected_cameras,
    where Polycam has optimised them, are preferred. t_00 to t_23 is camera-to-world.
Record3D, "RGBD" or a .r3d file unpacked: metadata.json (or metadata) and rgb/N.jpg (or rgbd/N.jpg). `poses` are qx, qy,
    qz, qw, x, y, z, camera-to-world; `K` holds the intrinsics by columns.

ARKit's camera has OpenGL's axes (x right, y up, z backward), and its world has y up, in metres. Here z is up: the
world's axes are ARKit's z, x, y. Images without a pose, and poses without an image, are left out and counted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from posezoo.plugin import DataError, Finding, Frame, ReadRequest, ReadResult
from posezoo.plugin.reading import natural, read_text
from posezoo_benchmarks.matrices import not_rigid, quaternions
from posezoo_benchmarks.nerf import OPENGL, is_number
from posezoo_benchmarks.options import only

WORLD = np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])  # ARKit's axes to z up
KEYFRAMES = (("corrected_images", "corrected_cameras"), ("images", "cameras"))
IMAGES = (".jpg", ".jpeg", ".png")


class Seen(NamedTuple):
    """An image as the app describes it: camera-to-world in ARKit's axes."""

    image: str
    matrix_44: np.ndarray | None
    intrinsics: tuple[float, float, float, float] | None
    size: tuple[int, int] | None
    timestamp: int
    source: str


def read(request: ReadRequest) -> ReadResult:
    """The frames of the export, in natural order of their images."""
    only(request, "arkit", ())
    result = ReadResult()
    if request.root.suffix.lower() == ".r3d":
        raise DataError(f"{request.root} is packed", "unpack it as a zip file into a folder, and give that")
    if (request.root / "keyframes").is_dir():
        found = _polycam(request.root, result)
    elif any((request.root / name).is_file() for name in ("metadata.json", "metadata")):
        found = _record3d(request.root, result)
    else:
        what = f"{request.root}: neither keyframes/ (Polycam) nor metadata.json (Record3D) is here"
        raise DataError(what, "export raw data with Polycam's developer mode, or RGBD with Record3D; else posezoo map")
    scene = request.scene or request.root.resolve().name or "scene"
    for seen in found:
        problem = "no pose of finite numbers" if seen.matrix_44 is None else not_rigid(seen.matrix_44)
        if seen.matrix_44 is None or problem:
            result.findings.append(Finding(seen.source, 0, f"{problem} ({seen.image[:60]!a})"))
        elif request.images is None or seen.image in request.images:
            result.frames.append(_frame(seen, seen.matrix_44, scene))
    return result


def _frame(seen: Seen, matrix_44: np.ndarray, scene: str) -> Frame:
    position, rotation = WORLD @ matrix_44[:3, 3], WORLD @ matrix_44[:3, :3] @ OPENGL
    return Frame(
        seen.image,
        tuple(position.tolist()),
        tuple(quaternions(rotation[None])[0].tolist()),
        scene,
        timestamp=seen.timestamp,
        intrinsics=seen.intrinsics,
        source=(seen.source, 0),
        camera_size=seen.size,
    )


def _polycam(root: Path, result: ReadResult) -> Iterator[Seen]:
    pairs = [pair for pair in KEYFRAMES if all((root / "keyframes" / name).is_dir() for name in pair)]
    if not pairs:
        names = ", ".join("keyframes/" + name for name in KEYFRAMES[1])
        raise DataError(f"{root}: not both of {names}", "export it again as raw data")
    images, cameras = (root / "keyframes" / name for name in pairs[0])
    described = {path.stem: path for path in cameras.glob("*.json")}
    pictures = _pictures(images)
    _left_out(len(pictures.keys() ^ described.keys()), len(pictures.keys() | described.keys()), result)
    for stem, picture in pictures.items():
        if stem not in described:
            continue
        name = described[stem].relative_to(root).as_posix()
        values = _content(described[stem], name, result.findings)
        numbers = [values.get(f"t_{row}{column}") for row in range(3) for column in range(4)]
        matrix_44 = np.array([*numbers, 0, 0, 0, 1], float).reshape(4, 4) if all(map(is_number, numbers)) else None
        yield Seen(
            picture.relative_to(root).as_posix(),
            matrix_44,
            _camera([values.get(key) for key in ("fx", "fy", "cx", "cy")]),
            _size(values.get("width"), values.get("height")),
            _time(values.get("timestamp"), 1),
            name,
        )


def _record3d(root: Path, result: ReadResult) -> Iterator[Seen]:
    path = next(root / name for name in ("metadata.json", "metadata") if (root / name).is_file())
    values = _content(path, path.name, result.findings)
    folder = next((root / name for name in ("rgb", "rgbd") if (root / name).is_dir()), root)
    pictures = {
        int(stem): picture for stem, picture in _pictures(folder).items() if stem.isascii() and stem.isdecimal()
    }
    poses, times, each = (_list(values.get(key)) for key in ("poses", "frameTimestamps", "perFrameIntrinsicCoeffs"))
    camera = _list(values.get("K"))
    shared = _camera([camera[n] for n in (0, 4, 6, 7)]) if len(camera) == 9 else None
    _left_out(len(pictures.keys() ^ set(range(len(poses)))), max(len(pictures), len(poses)), result)
    for number, picture in pictures.items():
        if number >= len(poses):
            continue
        own = _camera(_list(each[number])) if number < len(each) else None
        yield Seen(
            picture.relative_to(root).as_posix(),
            _from_quaternion(_list(poses[number])),
            own or shared,
            _size(values.get("w"), values.get("h")),
            _time(times[number] if number < len(times) else None, 1_000_000),
            path.name,
        )


def _from_quaternion(numbers: list[Any]) -> np.ndarray | None:
    """The matrix of x, y, z, w and a position; None for anything else."""
    if len(numbers) != 7 or not all(map(is_number, numbers)):
        return None
    length = float(np.linalg.norm(numbers[:4]))
    if not 0.99 < length < 1.01:
        return None
    x, y, z, w = (float(number) / length for number in numbers[:4])
    matrix_44 = np.eye(4)
    matrix_44[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    matrix_44[:3, 3] = numbers[4:]
    return matrix_44


def _content(path: Path, name: str, findings: list[Finding]) -> dict[str, Any]:
    text = read_text(path, name, findings)
    try:
        content = json.loads(text) if text is not None else {}
    except (ValueError, RecursionError) as error:
        findings.append(Finding(name, getattr(error, "lineno", 0), f"not JSON: {str(error)[:60]}"))
        return {}
    return content if isinstance(content, dict) else {}


def _pictures(folder: Path) -> dict[str, Path]:
    found = sorted((path for path in folder.iterdir() if path.suffix.lower() in IMAGES), key=lambda p: natural(p.name))
    return {path.stem: path for path in found}


def _left_out(count: int, total: int, result: ReadResult) -> None:
    if count:
        result.notes.append(f"{count} of {total} images and poses have no partner: left out")
        result.left_out["", "", ""] = count


def _camera(values: list[Any]) -> tuple[float, float, float, float] | None:
    if len(values) != 4 or not all(map(is_number, values)) or min(values[:2]) <= 0:
        return None
    fx, fy, cx, cy = map(float, values)
    return fx, fy, cx, cy


def _size(width: Any, height: Any) -> tuple[int, int] | None:
    given = is_number(width) and is_number(height) and min(width, height) >= 1
    return (int(width), int(height)) if given else None


def _time(value: Any, unit: int) -> int:
    """Microseconds; -1 where it is no time."""
    return round(value * unit) if is_number(value) and 0 <= value * unit < 2**63 else -1


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
