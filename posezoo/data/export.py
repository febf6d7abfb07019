"""Frames in other tools' file formats. Images stay where they are: names are relative to the data's root.

    csv      poses.csv with every column that `folder:` reads
    tum      groundtruth.txt and rgb.txt             } a folder for each sequence,
    kitti    poses.txt and times.txt, poses in order } where there are several
    colmap   cameras.txt, images.txt, points3D.txt (empty): world-to-camera     } a folder for each scene,
    nerf     transforms.json: OpenGL axes (y up, z backward)                    } where there are several
    labels   labels.csv of the multi-scene papers, camera-to-world

Every number is written with all its digits: what is read back is the same, except for rounding where a form holds
matrices or the inverse. The poses' own text is that of `Poses.to_csv` and the like, which `posezoo predict` writes too.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from posezoo.base.errors import DataError, UsageError
from posezoo.base.files.lenses import general
from posezoo.base.files.pictures import image_size
from posezoo.base.files.write import write_whole, writing
from posezoo.base.observe import Progress
from posezoo.base.paths import fits_a_line, natural, printable_path
from posezoo.base.spec import Lens
from posezoo.data.splits import WORDS, runs
from posezoo.data.table import Frames

INTRINSICS = ("fx", "fy", "cx", "cy")


def export(
    frames: Frames,
    form: str,
    out: Path,
    progress: Progress = lambda done, total: None,
    replace: bool = False,
) -> list[Path]:
    """The files written to `out` in one of FORMS. Raises UsageError before it would replace a file unasked."""
    if form not in FORMS:
        raise UsageError(f"unknown form {form!r}", "one of " + ", ".join(FORMS))
    if frames.decode and frames.decode.turns:
        raise UsageError("pose files are for the stored images", "leave exif=true out, and set it when reading them")
    if form in LINES:
        _check_names(frames)
    paths = {out / name: text for name, text in FORMS[form](frames, progress).items()}
    taken = next((path for path in paths if path.exists()), None)
    if taken is not None and not replace:
        raise UsageError(f"{taken} exists already", "choose another --out")
    for path, text in paths.items():
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text.encode("utf-8", "surrogateescape"))
    return list(paths)


def _check_names(frames: Frames) -> None:
    """Raise DataError for a name that a line of text cannot hold: with a line break, or a space at an end."""
    bad = [name for name in map(frames.name, range(len(frames))) if not fits_a_line(name)]
    if bad:
        what = f"{len(bad)} image names have a line break, or a space at an end (first: {printable_path(bad[0])})"
        raise DataError(what, "rename them, or export to nerf or kitti")


def _csv(frames: Frames, progress: Progress) -> dict[str, str]:
    known_N = ~np.isnan(frames.intrinsics).any(axis=1)
    more = {word: getattr(frames, word).tolist() for word in ("split", "sequence", "timestamp", "condition")}
    for name, value_N in zip(INTRINSICS, frames.intrinsics.T.tolist(), strict=True):
        more[name] = [repr(value) if known else "" for value, known in zip(value_N, known_N, strict=True)]
    if len(frames.lens):
        lenses = [frames.lens_of(n) for n in range(len(frames))]
        more["lens"] = ["" if lens is None else " ".join([lens.kind, *map(repr, lens.parameters)]) for lens in lenses]
    if len(frames.depth):
        # a map of another camera would be taken for one of the image's
        same_N = np.isnan(frames.depth_camera[:, 1:5]).all(axis=1)
        maps = [os.fsdecode(path) if same else "" for path, same in zip(frames.depth.tolist(), same_N, strict=True)]
        more |= {"depth": maps, "depth_scale": [repr(scale) for scale in frames.depth_camera[:, 0].tolist()]}
    return {"poses.csv": frames.poses().to_csv(more)}


def _labels(frames: Frames, progress: Progress) -> dict[str, str]:
    return {"labels.csv": frames.poses().to_labels(frames.split.tolist(), frames.sequence.tolist())}


def _tum(frames: Frames, progress: Progress) -> dict[str, str]:
    texts = {}
    for folder, part in _sequences(frames):
        poses = part.poses()
        if len(set(poses.stamps())) < len(poses):
            what = (
                f"images of {printable_path(str(part.sequence[0])) or 'the sequence'} have one time and several poses"
            )
            raise DataError(what, "give each camera a sequence of its own, or export to csv, colmap or nerf")
        texts[f"{folder}groundtruth.txt"] = "# time tx ty tz qx qy qz qw\n" + poses.to_tum()
        lines = [f"{stamp} {image}\n" for stamp, image in zip(poses.stamps(), poses.images, strict=True)]
        texts[f"{folder}rgb.txt"] = "# time file\n" + "".join(lines)
    return texts


def _kitti(frames: Frames, progress: Progress) -> dict[str, str]:
    texts = {}
    for folder, part in _sequences(frames):
        poses = part.poses()
        texts[f"{folder}poses.txt"] = poses.to_kitti()
        texts[f"{folder}times.txt"] = "".join(f"{stamp}\n" for stamp in poses.stamps())
    return texts


def _colmap(frames: Frames, progress: Progress) -> dict[str, str]:
    texts: dict[str, str] = {}
    for folder, part in _scenes(frames):
        numbers: dict[str, int] = {}
        cameras, camera_of = ["# CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]"], []
        for n, camera in enumerate(_cameras(part, progress)):
            lens = part.lens_of(n)
            kind, distortion = ("PINHOLE", ()) if lens is None else _of_colmap(lens)
            width, height, *pinhole = camera
            parameters = " ".join(map(repr, (*pinhole, *distortion)))
            line = f"{kind} {int(width)} {int(height)} {parameters}"
            if line not in numbers:
                numbers[line] = len(numbers) + 1
                cameras.append(f"{numbers[line]} {line}")
            camera_of.append(numbers[line])
        images = part.poses().to_colmap(camera_of)
        texts |= {f"{folder}cameras.txt": "\n".join(cameras) + "\n", f"{folder}images.txt": images}
        texts[f"{folder}points3D.txt"] = ""
    return texts


def _nerf(frames: Frames, progress: Progress) -> dict[str, str]:
    texts = {}
    for folder, part in _scenes(frames):
        content = json.loads(part.poses().to_nerf())
        for n, (width, height, fx, fy, cx, cy) in enumerate(_cameras(part, progress)):
            entry, lens = content["frames"][n], part.lens_of(n)
            distortion = {} if lens is None else _of_nerfstudio(lens)
            entry |= {"w": int(width), "h": int(height), "fl_x": fx, "fl_y": fy, "cx": cx, "cy": cy, **distortion}
        for word in WORDS:
            names = [part.name(n) for n in np.flatnonzero(part.split == word).tolist()]
            content |= {f"{word}_filenames": names} if names else {}
        texts[f"{folder}transforms.json"] = json.dumps(content, indent=1) + "\n"
    return texts


def _of_colmap(lens: Lens) -> tuple[str, tuple[float, ...]]:
    """A kind of COLMAP's with two focal lengths, and the numbers after the centre."""
    kind, numbers = (found := general(lens)).kind, found.parameters
    if kind != "POLYNOMIAL":
        return kind, numbers
    k1, k2, k3, k4, p1, p2 = numbers
    if k4:
        raise UsageError("COLMAP has no lens with k4", "export to csv or nerf")
    return ("FULL_OPENCV", (k1, k2, p1, p2, k3, 0.0, 0.0, 0.0)) if k3 else ("OPENCV", (k1, k2, p1, p2))


def _of_nerfstudio(lens: Lens) -> dict[str, Any]:
    """The keys of nerfstudio's camera that say its distortion."""
    found = general(lens)
    names = {"POLYNOMIAL": ("k1", "k2", "k3", "k4", "p1", "p2"), "OPENCV_FISHEYE": ("k1", "k2", "k3", "k4")}
    if found.kind not in names:
        raise UsageError(f"nerfstudio has no lens of kind {found.kind}", "export to csv or colmap")
    model = "OPENCV" if found.kind == "POLYNOMIAL" else found.kind
    return {"camera_model": model, **dict(zip(names[found.kind], found.parameters, strict=True))}


FORMS: dict[str, Callable[[Frames, Progress], dict[str, str]]] = {
    "csv": _csv,
    "tum": _tum,
    "kitti": _kitti,
    "colmap": _colmap,
    "nerf": _nerf,
    "labels": _labels,
}
LACKS = {  # what a form has no place for
    **dict.fromkeys(("tum", "kitti"), ("split", "condition")),
    **{"colmap": ("split", "sequence", "condition"), "nerf": ("sequence", "condition"), "labels": ("condition",)},
}
LINES = ("csv", "tum", "colmap", "labels")  # forms that write an image's name in a line of text
READERS = {"csv": "folder", "tum": "folder", "kitti": "folder", "colmap": "colmap", "nerf": "nerf", "labels": "csv"}


def reads_back(form: str, frames: Frames) -> bool:
    """Whether `data_name` reads an export back: of one scene, or one sequence; KITTI's lines by names, not by time."""
    if form in ("colmap", "nerf"):
        return len(_scenes(frames)) == 1
    if form not in ("tum", "kitti"):
        return True
    parts = runs(frames)
    names = [frames.name(n) for n in parts[0].tolist()]
    return len(parts) == 1 and (form == "tum" or names == sorted(names, key=natural))


def not_held(form: str, frames: Frames) -> list[str]:
    """Of split, sequence and condition: those that differ among the frames and are not in the files of this form."""
    return [word for word in LACKS.get(form, ()) if len(set(getattr(frames, word).tolist())) > 1]


def data_name(form: str, out: Path, root: Path, unit: str = "m") -> str:
    """The data name that reads an export back (see `reads_back`); the images stay in `root`. `unit`: of positions."""
    if form in ("colmap", "nerf") and unit == "m":
        return f"{READERS[form]}:{out}?root={root}&scale=1"
    if form == "labels":
        return f"{READERS[form]}:{out}/labels.csv?convention=camera-to-world&root={root}"
    return f"{READERS[form]}:{out}?root={root}"


def _sequences(frames: Frames) -> list[tuple[str, Frames]]:
    """(folder with a slash, its frames in order of time) of each sequence; no folder where there is only one."""
    parts = [frames.select(index) for index in runs(frames)]
    if len(parts) == 1:
        return [("", parts[0])]
    return _folders([(f"{part.scenes[part.scene[0]]}-{part.sequence[0]}", part) for part in parts], "sequence")


def _scenes(frames: Frames) -> list[tuple[str, Frames]]:
    """(folder with a slash, its frames) of each scene; no folder where there is only one: its origin is its own."""
    parts = [(scene, part) for scene in frames.scenes if len(part := frames.of_scene(scene))]
    return _folders(parts, "scene") if len(parts) > 1 else [("", frames)]


def _folders(parts: list[tuple[str, Frames]], otherwise: str) -> list[tuple[str, Frames]]:
    """The parts by folders called as they are, as far as a folder can; no two are the same."""
    folders: dict[str, Frames] = {}
    for called, part in parts:
        stem = re.sub(r"[^\w.-]+", "-", called, flags=re.ASCII).strip(".-") or otherwise
        name, number = stem, 2
        while f"{name}/" in folders:
            name, number = f"{stem}-{number}", number + 1
        folders[f"{name}/"] = part
    return list(folders.items())


def _cameras(frames: Frames, progress: Progress) -> list[tuple[float, ...]]:
    """(width, height, fx, fy, cx, cy) of each stored image. Raises DataError where intrinsics are unknown."""
    unknown = int(np.isnan(frames.intrinsics).any(axis=1).sum())
    if unknown:
        raise DataError(f"{unknown} of {len(frames)} frames have no intrinsics", "export to csv, tum, kitti or labels")
    sizes = []
    for n in range(len(frames)):
        sizes.append(image_size(frames.path(n)))
        progress(n + 1, len(frames))
    return [(*size, *camera) for size, camera in zip(sizes, frames.intrinsics.tolist(), strict=True)]
