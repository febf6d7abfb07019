"""Frames as the files of other tools. Images stay where they are: names are relative to the data's root.

    csv      poses.csv with every column that `folder:` knows
    tum      groundtruth.txt and rgb.txt             } a folder for each sequence,
    kitti    poses.txt and times.txt, poses in order } where there are several
    colmap   cameras.txt, images.txt, points3D.txt (empty): world-to-camera
    nerf     transforms.json: OpenGL axes (y up, z backward)
    labels   labels.csv of the multi-scene papers, camera-to-world

Every number is written with all its digits: what is read back is the same, but for rounding where a form holds matrices
or the inverse.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from posezoo.data.frames import Frames
from posezoo.data.splits import WORDS, runs
from posezoo.errors import DataError, UsageError
from posezoo.transforms import image_size

POSE = ("x", "y", "z", "qw", "qx", "qy", "qz")
INTRINSICS = ("fx", "fy", "cx", "cy")


def export(frames: Frames, form: str, out: Path) -> list[Path]:
    """The files written to `out` in one of FORMS. Raises UsageError before it would replace a file."""
    if form not in FORMS:
        raise UsageError(f"unknown form {form!r}", "one of " + ", ".join(FORMS))
    texts = FORMS[form](frames)
    paths = {out / name: text for name, text in texts.items()}
    taken = next((path for path in paths if path.exists()), None)
    if taken is not None:
        raise UsageError(f"{taken} is there already", "choose another --out")
    for path, text in paths.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", errors="surrogateescape", newline="")
    return list(paths)


def _csv(frames: Frames) -> dict[str, str]:
    header = ("image", *POSE, "scene", "split", "sequence", "timestamp", "condition", *INTRINSICS)
    rows = []
    for n in range(len(frames)):
        pose = [repr(float(value)) for value in (*frames.position[n], *frames.quaternion[n])]
        known = not np.isnan(frames.intrinsics[n]).any()
        camera = [repr(float(value)) if known else "" for value in frames.intrinsics[n]]
        words = (frames.scenes[frames.scene[n]], frames.split[n], frames.sequence[n])
        rows.append([frames.name(n), *pose, *words, int(frames.timestamp[n]), frames.condition[n], *camera])
    return {"poses.csv": _table(header, rows)}


def _labels(frames: Frames) -> dict[str, str]:
    header = ("scene", "split", "seq", "img_path", "t1", "t2", "t3", "q1", "q2", "q3", "q4")
    rows = []
    for n in range(len(frames)):
        pose = [repr(float(value)) for value in (*frames.position[n], *frames.quaternion[n])]
        rows.append([frames.scenes[frames.scene[n]], frames.split[n], frames.sequence[n], frames.name(n), *pose])
    return {"labels.csv": _table(header, rows)}


def _tum(frames: Frames) -> dict[str, str]:
    texts = {}
    for folder, part in _sequences(frames):
        poses = part.poses()
        stamps = [line.split(maxsplit=1)[0] for line in poses.to_tum().splitlines()]
        texts[f"{folder}groundtruth.txt"] = "# time tx ty tz qx qy qz qw\n" + poses.to_tum()
        lines = [f"{stamp} {image}\n" for stamp, image in zip(stamps, poses.images, strict=True)]
        texts[f"{folder}rgb.txt"] = "# time file\n" + "".join(lines)
    return texts


def _kitti(frames: Frames) -> dict[str, str]:
    texts = {}
    for folder, part in _sequences(frames):
        poses = part.poses()
        texts[f"{folder}poses.txt"] = poses.to_kitti()
        texts[f"{folder}times.txt"] = "".join(f"{line.split(maxsplit=1)[0]}\n" for line in poses.to_tum().splitlines())
    return texts


def _colmap(frames: Frames) -> dict[str, str]:
    numbers: dict[tuple[float, ...], int] = {}
    cameras, camera_of = ["# CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]"], []
    for camera in _cameras(frames):
        if camera not in numbers:
            numbers[camera] = len(numbers) + 1
            width, height, *pinhole = camera
            parameters = " ".join(repr(value) for value in pinhole)
            cameras.append(f"{numbers[camera]} PINHOLE {int(width)} {int(height)} {parameters}")
        camera_of.append(numbers[camera])
    images = frames.poses().to_colmap(camera_of)
    return {"cameras.txt": "\n".join(cameras) + "\n", "images.txt": images, "points3D.txt": ""}


def _nerf(frames: Frames) -> dict[str, str]:
    content = json.loads(frames.poses().to_nerf())
    for entry, (width, height, fx, fy, cx, cy) in zip(content["frames"], _cameras(frames), strict=True):
        entry |= {"w": int(width), "h": int(height), "fl_x": fx, "fl_y": fy, "cx": cx, "cy": cy}
    for word in WORDS:
        names = [frames.name(n) for n in np.flatnonzero(frames.split == word).tolist()]
        content |= {f"{word}_filenames": names} if names else {}
    return {"transforms.json": json.dumps(content, indent=1) + "\n"}


FORMS: dict[str, Callable[[Frames], dict[str, str]]] = {
    "csv": _csv,
    "tum": _tum,
    "kitti": _kitti,
    "colmap": _colmap,
    "nerf": _nerf,
    "labels": _labels,
}


def _sequences(frames: Frames) -> list[tuple[str, Frames]]:
    """(folder with a slash, its frames in order of time) of each sequence; no folder where there is only one."""
    parts = [frames.select(index) for index in runs(frames)]
    if len(parts) == 1:
        return [("", parts[0])]
    folders: dict[str, Frames] = {}
    for part in parts:
        stem = re.sub(r"[^\w.-]+", "-", f"{part.scenes[part.scene[0]]}-{part.sequence[0]}", flags=re.ASCII).strip(".-")
        name, number = stem or "sequence", 2
        while f"{name}/" in folders:
            name, number = f"{stem}-{number}", number + 1
        folders[f"{name}/"] = part
    return list(folders.items())


def _cameras(frames: Frames) -> list[tuple[float, ...]]:
    """(width, height, fx, fy, cx, cy) of each stored image. Raises DataError where intrinsics are not known."""
    unknown = int(np.isnan(frames.intrinsics).any(axis=1).sum())
    if unknown:
        raise DataError(f"{unknown} of {len(frames)} frames have no intrinsics", "export to csv, tum, kitti or labels")
    sizes = [image_size(frames.path(n)) for n in range(len(frames))]
    return [(*size, *camera) for size, camera in zip(sizes, frames.intrinsics.tolist(), strict=True)]


def _table(header: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return out.getvalue()
