"""COLMAP models, text and binary: `colmap:PATH`, where PATH or PATH/sparse/0 or PATH/sparse holds images and cameras.

Rows hold world-to-camera poses, (qw, qx, qy, qz) and t with x_camera = R x_world + t: the camera centre is -R^T t.
COLMAP counts pixels as posezoo does, (0, 0) at the outer corner. Its models have no scale of their own.

Read here rather than by pycolmap: see docs/decisions/0012-colmap-read-here.md.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from posezoo.plugin import UNKNOWN_UNIT, Finding, Frame, Lens, ReadRequest, ReadResult
from posezoo.plugin.reading import natural, numbers, read_lines, read_text, rotation_matrix
from posezoo_benchmarks.options import only, positive

# name -> (number in binary files, parameters, of which focal lengths); those after the centre are distortion
MODELS = {
    "SIMPLE_PINHOLE": (0, 3, 1),
    "PINHOLE": (1, 4, 2),
    "SIMPLE_RADIAL": (2, 4, 1),
    "RADIAL": (3, 5, 1),
    "OPENCV": (4, 8, 2),
    "OPENCV_FISHEYE": (5, 8, 2),
    "FULL_OPENCV": (6, 12, 2),
    "FOV": (7, 5, 2),
    "SIMPLE_RADIAL_FISHEYE": (8, 4, 1),
    "RADIAL_FISHEYE": (9, 5, 1),
    "THIN_PRISM_FISHEYE": (10, 12, 2),
}
NUMBERED = {number: name for name, (number, _, _) in MODELS.items()}
PLACE = "place.json"
LONGEST_NAME = 4096
_NUMBERS = re.compile(r"[\d\s.eE+-]*", re.ASCII)
_WHOLE = re.compile(r"-1|\d{1,19}", re.ASCII)
LONGEST_POINTS = 1 << 28  # characters: an image may see a million points


class Camera(NamedTuple):
    """A camera of the model: its kind, the size of its pictures in pixels, its parameters."""

    kind: str
    size: tuple[int, int]
    parameters: list[float]


class _Image(NamedTuple):
    name: str
    pose: list[float]  # qw, qx, qy, qz, tx, ty, tz
    camera: int
    line: int


def read(request: ReadRequest) -> ReadResult:
    """The model's images in order of their names. `scale` metres are one unit of the model."""
    only(request, "colmap", ("scale",))
    scale = positive(request, "scale", 1.0)
    result = ReadResult()
    folder, suffix = _model(request.root)
    if folder is None:
        what = "no COLMAP model here: images.bin and cameras.bin, or images.txt and cameras.txt"
        result.findings.append(Finding(str(request.root), 0, f"{what} (also looked in sparse/0 and sparse)"))
        return result
    others = sum(path.is_dir() for path in (request.root / "sparse").glob("[0-9]*")) if folder.name == "0" else 1
    if others > 1:
        what = f"{others - 1} other models beside it are not read (colmap:PATH/sparse/1, root=IMAGES)"
        result.notes.append(f"{folder.relative_to(request.root)} is COLMAP's first piece, not its largest: {what}")
    shown = [str((folder / f"{name}{suffix}").relative_to(request.root)) for name in ("cameras", "images")]
    readers = (_cameras_text, _images_text) if suffix == ".txt" else (_cameras_binary, _images_binary)
    cameras = dict(readers[0](request.root / shown[0], shown[0], result.findings))
    images = list(readers[1](request.root / shown[1], shown[1], result.findings))
    prefix = _prefix(request.images_root or request.root, images)
    if request.images is not None:
        images = [image for image in images if prefix + image.name in request.images]
    images = [image for image in images if _is_good(image, cameras, shown[1], result.findings)]
    images.sort(key=lambda image: natural(image.name))
    result.frames = _frames(request, images, prefix, cameras, scale, shown[1])
    place = _place(request.root, result.findings)
    result.frames = [
        dataclasses.replace(
            frame, condition=place.conditions.get(frame.sequence, ""), timestamp=place.timestamps.get(image.name, -1)
        )
        for frame, image in zip(result.frames, images, strict=True)
    ]
    if "scale" not in request.options and place.unit != "m":
        result.unit = UNKNOWN_UNIT
        result.notes.append("a COLMAP model has no scale: positions are in scene units (scale= gives metres)")
    return result


class _Place(NamedTuple):
    """What `posezoo map` writes beside a model."""

    unit: str = ""
    conditions: dict[str, str] = {}  # noqa: RUF012
    timestamps: dict[str, int] = {}  # noqa: RUF012


def _place(root: Path, findings: list[Finding]) -> _Place:
    """The facts of place.json; none where there is no such file."""
    if not (root / PLACE).is_file():
        return _Place()
    try:
        facts = json.loads(read_text(root / PLACE, PLACE, findings) or "{}")
        conditions = {str(name): str(word) for name, word in facts["conditions"].items()}
        stamps = {str(name): int(stamp) for name, stamp in facts["timestamps"].items()}
        if not all(-1 <= stamp < 2**63 for stamp in stamps.values()):
            raise ValueError("a timestamp is not in microseconds")
        return _Place(str(facts["unit"]), conditions, stamps)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError) as error:
        findings.append(Finding(PLACE, 0, f"damaged: {type(error).__name__}: {error}"[:120]))
        return _Place()


def _model(root: Path) -> tuple[Path | None, str]:
    for folder in (root, root / "sparse" / "0", root / "sparse"):
        for suffix in (".bin", ".txt"):
            if all((folder / f"{name}{suffix}").is_file() for name in ("images", "cameras")):
                return folder, suffix
    return None, ""


def _prefix(root: Path, images: list[_Image]) -> str:
    """`images/` where the model's names are relative to that folder, as in COLMAP's own layout."""
    first = images[0].name if images else ""
    try:
        return "images/" if not (root / first).exists() and (root / "images").is_dir() else ""
    except (OSError, ValueError):
        return ""


def _is_good(image: _Image, cameras: dict[int, Camera], shown: str, findings: list[Finding]) -> bool:
    length = math.hypot(*image.pose[:4])
    if not (1e-9 < length < 1e9 and all(-1e12 < value < 1e12 for value in image.pose[4:])):  # NaN is neither
        findings.append(Finding(shown, image.line, f"not a pose: {image.name[:60]!a}"))
        return False
    if image.camera not in cameras:
        findings.append(Finding(shown, image.line, f"camera {image.camera} is not among the cameras"))
        return False
    return True


def _frames(
    request: ReadRequest, images: list[_Image], prefix: str, cameras: dict[int, Camera], scale: float, shown: str
) -> list[Frame]:
    pose_N7 = np.array([image.pose for image in images], dtype=np.float64).reshape(-1, 7)
    unit_N4 = pose_N7[:, :4] / np.linalg.norm(pose_N7[:, :4], axis=1, keepdims=True) * (1, -1, -1, -1)
    centre_N3 = -(rotation_matrix(unit_N4) @ pose_N7[:, 4:, None])[..., 0] * scale
    scene = request.scene or request.root.resolve().name or "scene"
    frames = []
    for image, (x, y, z), (w, a, b, c) in zip(images, centre_N3.tolist(), unit_N4.tolist(), strict=True):
        kind, size, parameters = cameras[image.camera]
        focals = MODELS[kind][2]
        intrinsics = (parameters[0], parameters[focals - 1], parameters[focals], parameters[focals + 1])
        sequence = image.name.rpartition("/")[0]
        frames.append(
            Frame(
                prefix + image.name,
                (x, y, z),
                (w, a, b, c),
                scene,
                sequence=sequence,
                intrinsics=intrinsics,
                source=(shown, image.line),
                camera_size=size,
                lens=Lens(kind, tuple(parameters[focals + 2 :])) if parameters[focals + 2 :] else None,
            )
        )
    return frames


def _cameras_text(path: Path, shown: str, findings: list[Finding]) -> Iterator[tuple[int, Camera]]:
    for line, raw in read_lines(path, shown, findings):
        tokens = raw.split()
        if not tokens or tokens[0].startswith("#"):
            continue
        kind = tokens[1] if len(tokens) > 1 else ""
        if kind not in MODELS or len(tokens) != 4 + MODELS[kind][1]:
            findings.append(Finding(shown, line, f"not a camera of a known model: {raw[:60]!a}"))
            continue
        found = numbers([tokens[0], *tokens[2:]], shown, line, findings)
        if found is not None:
            yield int(found[0]), Camera(kind, (int(found[1]), int(found[2])), found[3:])


def _images_text(path: Path, shown: str, findings: list[Finding]) -> Iterator[_Image]:
    """Every other line that is not a comment; between them are the image's points, perhaps none."""
    points = False
    for line, raw in read_lines(path, shown, findings, LONGEST_POINTS):
        if raw.startswith("#"):
            continue
        if points or not raw.strip():
            words = raw.split()  # x, y, whole number of each point; a name of several words is none
            if len(words) % 3 or not _NUMBERS.fullmatch(raw) or not all(map(_WHOLE.fullmatch, words[2::3])):
                what = f"not the points of the image above, which may be an empty line: {raw[:60]!a}"
                findings.append(Finding(shown, line, what))
                return
            points = False
            continue
        tokens = raw.split(maxsplit=9)
        if len(tokens) != 10 or len(tokens[9]) > LONGEST_NAME:
            findings.append(Finding(shown, line, f"expected 10 columns, got {len(tokens)}: {raw[:60]!a}"))
            return  # it is unknown whether the next line is an image or its points
        found = numbers(tokens[:9], shown, line, findings)
        if found is not None:
            yield _Image(tokens[9].strip(), found[1:8], int(found[8]), line)
        points = True


def _cameras_binary(path: Path, shown: str, findings: list[Finding]) -> Iterator[tuple[int, Camera]]:
    def one(data: bytes, at: int) -> tuple[tuple[int, Camera], int]:
        number, model, width, height = struct.unpack_from("<iiQQ", data, at)
        if model not in NUMBERED:
            raise ValueError(f"camera {number} has the unknown model {model}")
        count = MODELS[NUMBERED[model]][1]
        parameters = list(struct.unpack_from(f"<{count}d", data, at + 24))
        return (number, Camera(NUMBERED[model], (width, height), parameters)), at + 24 + 8 * count

    return _records(path, shown, findings, one)


def _images_binary(path: Path, shown: str, findings: list[Finding]) -> Iterator[_Image]:
    def one(data: bytes, at: int) -> tuple[_Image, int]:
        _, *pose, camera = struct.unpack_from("<i7di", data, at)
        end = data.index(b"\0", at + 64, at + 64 + LONGEST_NAME)
        name = data[at + 64 : end].decode("utf-8", "surrogateescape")
        (points,) = struct.unpack_from("<Q", data, end + 1)
        return _Image(name, pose, camera, 0), end + 9 + 24 * points

    return _records(path, shown, findings, one)


def _records(path: Path, shown: str, findings: list[Finding], one: Callable[[bytes, int], tuple]) -> Iterator:
    """The records of a binary file: their number, then each in turn; damage is a finding and ends the list."""
    try:
        data = path.read_bytes()
        (count,), at = struct.unpack_from("<Q", data), 8
        for _ in range(count):
            if at > len(data):
                raise ValueError("a record points past the end")
            record, at = one(data, at)
            yield record
    except (OSError, ValueError, struct.error, OverflowError) as error:
        findings.append(Finding(shown, 0, f"damaged, or not a COLMAP file: {error}"[:120]))
