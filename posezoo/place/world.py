"""Metres, up and origin of a map: structure from motion knows none of them.

The world of a map has z up and its origin at the first camera, which looks along x as far as it looks level. Up is the
mean of what the cameras have over their heads. `--scale-from` gives metres:

    known-distance:A,B=3.2        the cameras of the images A and B are 3.2 m apart
    two-points:A:X,Y:X,Y=1.8      two points of the image A, in pixels, are 1.8 m apart
    gps                           the photographs' EXIF positions; the world is then east, north, up
    FILE.csv                      columns image, x, y, z: the world is the file's
    FILE.txt                      TUM lines `time x y z ...`: as above, at the frames' times in the recording
    arkit                         the poses that came with a scan of Polycam or Record3D, given as a source; z is up

Where gravity was measured, z is up by it and not by the cameras: `--gravity-from FILE.csv` (posezoo.place.gravity), and
`arkit`, whose poses know it. Positions then only turn the world about z; a straight walk has no other way to be level.

Legend: N cameras, 3 axes; s, R, t map a map's point p to s R p + t.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from posezoo.base.errors import DataError, Finding, UsageError
from posezoo.base.files.tables import numbers, read_csv, read_lines
from posezoo.base.paths import shortened, user_path
from posezoo.base.rotation import rotation_matrix
from posezoo.base.spec import UNKNOWN_UNIT
from posezoo.place import gravity

EARTH_M = 6_378_137.0
GPS = 0x8825  # of EXIF
NEAR_PIXELS = 12.0  # of a point of the map to a point that the user names
_NUMBER = r"(\d+\.?\d*)"
_FORMS = {
    "known-distance": rf"([^,=]+),([^,=]+)={_NUMBER}",
    "two-points": rf"([^:=]+):{_NUMBER},{_NUMBER}:{_NUMBER},{_NUMBER}={_NUMBER}",
}
"""What follows the colon; metres are the last."""
_WAYS = "known-distance:A,B=METRES, two-points:A:X,Y:X,Y=METRES, gps, arkit, FILE.csv (image, x, y, z), FILE.txt (TUM)"


@dataclass(frozen=True)
class World:
    """A similarity into the world, its unit, and how well it fits what it was made from."""

    scale: float
    rotation: np.ndarray  # (3, 3)
    translation: np.ndarray  # (3,)
    unit: str
    source: str
    residual_m: float | None = None
    """The median distance that is left, where several positions were given."""
    gravity: str = ""
    """What measured where up is; empty: nothing did."""
    gravity_degrees: float | None = None
    """How far the median frame is from what is taken for up."""

    def apply(self, model: Any) -> None:
        """Move a pycolmap.Reconstruction into the world."""
        import pycolmap

        rotation = pycolmap.Rotation3d(self.rotation)
        model.transform(pycolmap.Sim3d(self.scale, rotation, self.translation))


def world_of(
    model: Any,
    scale_from: str,
    images: Path,
    timestamps: Mapping[str, int],
    scans: Mapping[str, Path] = {},
    gravity_from: str = "",
) -> World:
    """The world of a map. Raises UsageError for what is not understood, DataError for what does not fit.

    `scans`: the folder of each recording, by its name; the file of `gravity_from`, and one with times of `scale_from`,
    are the first one's.
    """
    check(scale_from, gravity_from)
    timestamps = _of_one_clock(timestamps, next(iter(scans), ""))
    felt: Mapping[str, np.ndarray] = {}
    scanned: Mapping[str, np.ndarray] = {}
    if scale_from == "arkit":
        scanned, felt = _scanned(_centres(model), scans)
    if gravity_from:
        felt = gravity.felt(user_path(gravity_from), timestamps)
    if not felt:
        return _scaled(model, scale_from, images, timestamps, scanned, None)
    up_3, degrees = gravity.up(felt, {image.name: _rotation(image) for image in _placed(model)})
    found = _scaled(model, scale_from, images, timestamps, scanned, up_3)
    return replace(found, gravity=Path(gravity_from).name or scale_from, gravity_degrees=degrees)


def check(scale_from: str, gravity_from: str = "") -> None:
    """Raise UsageError for what no map could understand: another word or form, or a file that is not there."""
    kind, _, rest = scale_from.partition(":")
    if kind in _FORMS:
        match = re.fullmatch(_FORMS[kind], rest, re.ASCII)
        if match is None or float(match[match.lastindex or 0]) <= 0:
            raise UsageError(f"{kind}:{rest[:60]!a} is not understood", _WAYS)
    elif scale_from not in ("", "gps", "arkit"):
        path = user_path(scale_from)
        if path.suffix not in (".csv", ".txt") or not path.is_file():
            raise UsageError(f"--scale-from {scale_from[:60]!a} is neither a way nor a file that is there", _WAYS)
    if gravity_from and not user_path(gravity_from).is_file():
        raise UsageError(f"--gravity-from {shortened(gravity_from)}: no such file", "a CSV with columns t, ax, ay, az")


def _of_one_clock(timestamps: Mapping[str, int], first: str) -> dict[str, int]:
    """The times of the recording `first`, and of those that were not taken meanwhile: each video begins at 0."""
    spans: dict[str, tuple[int, int]] = {}
    for name, stamp in timestamps.items():
        begin, end = spans.get(name.partition("/")[0], (stamp, stamp))
        spans[name.partition("/")[0]] = min(begin, stamp), max(end, stamp)
    begin, end = spans.get(first, (1, 0))
    return {
        name: stamp
        for name, stamp in timestamps.items()
        if (of := name.partition("/")[0]) == first or spans[of][1] < begin or spans[of][0] > end
    }


def _scaled(
    model: Any,
    scale_from: str,
    images: Path,
    timestamps: Mapping[str, int],
    scanned: Mapping[str, np.ndarray],
    up_3: np.ndarray | None,
) -> World:
    centres = _centres(model)
    if not scale_from:
        return upright(model, 1.0, UNKNOWN_UNIT, "", up_3)
    kind, _, rest = scale_from.partition(":")
    if kind == "known-distance":
        return upright(model, *_known_distance(rest, centres), up_3)
    if kind == "two-points":
        return upright(model, *_two_points(rest, model), up_3)
    if scale_from == "gps":
        return _fitted(centres, gps_positions(images, list(centres)), "gps", up_3)
    if scale_from == "arkit":
        return _fitted(centres, scanned, "arkit", up_3)
    return _fitted(centres, _trajectory(user_path(scale_from), centres, timestamps), Path(scale_from).name, up_3)


def upright(model: Any, scale: float, unit: str, source: str, up_3: np.ndarray | None = None) -> World:
    """z up by `up_3`, or by the cameras' mean up vector; origin at the first camera, x where it looks."""
    placed = sorted(_placed(model), key=lambda image: image.name)
    rotations = [_rotation(image) for image in placed]
    if up_3 is None:
        up_3 = -np.mean([rotation[:, 1] for rotation in rotations], axis=0)  # y of a camera points down
    forward_3 = rotations[0][:, 2]
    if np.linalg.norm(up_3) < 1e-6:
        up_3 = -rotations[0][:, 1]
    z_3 = up_3 / np.linalg.norm(up_3)
    x_3 = forward_3 - z_3 * (forward_3 @ z_3)
    if np.linalg.norm(x_3) < 1e-6:  # it looks straight up or down
        x_3 = np.cross(z_3, rotations[0][:, 0])
    x_3 = x_3 / np.linalg.norm(x_3)
    rotation_33 = np.stack([x_3, np.cross(z_3, x_3), z_3])
    return World(scale, rotation_33, -scale * rotation_33 @ placed[0].projection_center(), unit, source)


def similarity(from_N3: np.ndarray, to_N3: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """s, R, t with the least squares of to - (s R from + t) (Umeyama 1991). Raises DataError where it is not unique."""
    mean_from, mean_to = from_N3.mean(axis=0), to_N3.mean(axis=0)
    a_N3, b_N3 = from_N3 - mean_from, to_N3 - mean_to
    u_33, d_3, v_33 = np.linalg.svd(b_N3.T @ a_N3 / len(a_N3))
    spread = np.linalg.svd(a_N3, compute_uv=False)
    if len(a_N3) < 3 or spread[1] < 1e-3 * spread[0]:
        raise DataError(
            f"{len(a_N3)} positions on a line give no orientation",
            "at least three that are not in a row, or --gravity-from",
        )
    sign_3 = np.array([1.0, 1.0, np.sign(np.linalg.det(u_33) * np.linalg.det(v_33))])
    rotation_33 = u_33 @ np.diag(sign_3) @ v_33
    scale = float((d_3 * sign_3).sum() / (a_N3**2).sum() * len(a_N3))
    return scale, rotation_33, mean_to - scale * rotation_33 @ mean_from


def level_similarity(from_N3: np.ndarray, to_N3: np.ndarray, up_3: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """s, R, t as above, of those R that turn `up_3` (of length 1) to z. Raises DataError where it is not unique."""
    mean_from, mean_to = from_N3.mean(axis=0), to_N3.mean(axis=0)
    x_3 = np.eye(3)[np.abs(up_3).argmin()]
    x_3 = np.cross(x_3, up_3) / np.linalg.norm(np.cross(x_3, up_3))
    level_33 = np.stack([x_3, np.cross(up_3, x_3), up_3])
    a_N3, b_N3 = (from_N3 - mean_from) @ level_33.T, to_N3 - mean_to
    if np.abs(a_N3[:, :2]).max() < 1e-3 * max(np.abs(a_N3).max(), 1e-12):
        raise DataError(f"{len(a_N3)} positions one above the other give no direction", "at least two that are apart")
    c, s = (a_N3[:, :2] * b_N3[:, :2]).sum(), (a_N3[:, 0] * b_N3[:, 1] - a_N3[:, 1] * b_N3[:, 0]).sum()
    yaw_33 = np.array([[c, -s, 0], [s, c, 0], [0, 0, np.hypot(c, s)]]) / max(float(np.hypot(c, s)), 1e-12)
    scale = float((b_N3 * (a_N3 @ yaw_33.T)).sum() / (a_N3**2).sum())
    if scale <= 0:
        raise DataError("the positions contradict gravity: what is up in them is down in the map", "z must be up")
    rotation_33 = yaw_33 @ level_33
    return scale, rotation_33, mean_to - scale * rotation_33 @ mean_from


def _fitted(
    centres: Mapping[str, np.ndarray], given: Mapping[str, np.ndarray], source: str, up_3: np.ndarray | None
) -> World:
    common = [name for name in centres if name in given]
    if len(common) < 3:
        raise DataError(f"{source}: positions of {len(common)} of {len(centres)} placed images", "three are needed")
    from_N3, to_N3 = (np.array([table[name] for name in common]) for table in (centres, given))
    kept_N = np.ones(len(common), dtype=bool)
    for _ in range(5):  # positions of phones have gross errors: those three times worse than usual do not count
        pairs = from_N3[kept_N], to_N3[kept_N]
        found = similarity(*pairs) if up_3 is None else level_similarity(*pairs, up_3)
        scale, rotation_33, translation_3 = found
        left_N = np.linalg.norm(to_N3 - (scale * from_N3 @ rotation_33.T + translation_3), axis=1)
        good_N = left_N <= 3 * max(float(np.median(left_N)), 1e-9)
        if np.array_equal(good_N, kept_N) or good_N.sum() < 3:
            break
        kept_N = good_N
    return World(scale, rotation_33, translation_3, "m", source, float(np.median(left_N)))


def _known_distance(text: str, centres: Mapping[str, np.ndarray]) -> tuple[float, str, str]:
    match = re.fullmatch(_FORMS["known-distance"], text, re.ASCII)
    assert match is not None  # `check` came before
    names = [_one_image(word, centres) for word in match.groups()[:2]]
    apart = float(np.linalg.norm(centres[names[0]] - centres[names[1]]))
    if apart <= 0:
        raise UsageError(f"known-distance:{text[:60]!a}: both were taken at the same place", "name two that are apart")
    return float(match[3]) / apart, "m", f"known distance {names[0]}, {names[1]} = {match[3]} m"


def _two_points(text: str, model: Any) -> tuple[float, str, str]:
    match = re.fullmatch(_FORMS["two-points"], text, re.ASCII)
    assert match is not None  # `check` came before
    placed = {image.name: image for image in _placed(model)}
    image = placed[_one_image(match[1], placed)]
    seen = [(point.xy, point.point3D_id) for point in image.points2D if point.has_point3D()]
    points = []
    for x, y in ((float(match[2]), float(match[3])), (float(match[4]), float(match[5]))):
        far, number3 = min((float(np.hypot(at[0] - x, at[1] - y)), n) for at, n in seen) if seen else (np.inf, 0)
        if far > NEAR_PIXELS:
            raise DataError(f"{image.name}: the map has no point near {x:g}, {y:g}", "name corners with texture")
        points.append(model.points3D[number3].xyz)
    apart = float(np.linalg.norm(points[0] - points[1]))
    if apart <= 0:
        raise DataError(f"{image.name}: both points are the same one of the map", "name two that are apart")
    return float(match[6]) / apart, "m", f"two points of {image.name}, {match[6]} m apart"


def _one_image(word: str, known: Mapping[str, Any]) -> str:
    """The placed image that a word names, by its name or the end of it. Raises UsageError."""
    found = [name for name in known if name == word or name.endswith((f"/{word}", f"-{word}"))]
    if len(found) != 1:
        raise UsageError(f"{word[:60]!a} names {len(found)} of the placed images", f"for example {next(iter(known))}")
    return found[0]


def _trajectory(path: Path, centres: Mapping[str, np.ndarray], timestamps: Mapping[str, int]) -> dict[str, np.ndarray]:
    """The positions that a file gives for placed images. Raises DataError with all that is wrong in it."""
    findings: list[Finding] = []
    given: dict[str, np.ndarray] = {}
    if path.suffix == ".csv":
        for line, row in read_csv(path, path.name, ("image", "x", "y", "z"), findings):
            values = numbers([row[key] for key in "xyz"], path.name, line, findings)
            ends = row["image"], f"/{row['image']}", f"-{row['image']}"
            found = [name for name in centres if name == ends[0] or name.endswith(ends[1:])]
            if values is not None and len(found) == 1:
                given[found[0]] = np.array(values)
    else:
        rows = []
        for line, raw in read_lines(path, path.name, findings):
            words = raw.partition("#")[0].split()
            values = numbers(words[:4], path.name, line, findings) if len(words) >= 4 else None
            rows += [values] if values is not None else []
        table = np.array(sorted(rows)) if rows else np.zeros((0, 4))
        for name in centres if len(table) > 1 else ():
            at = timestamps.get(name, -1) / 1e6
            if table[0, 0] <= at <= table[-1, 0]:
                given[name] = np.array([np.interp(at, table[:, 0], table[:, axis]) for axis in (1, 2, 3)])
    if findings:
        raise DataError(f"{len(findings)} problems in {path} (first: {findings[0]})", findings=findings)
    return given


def _scanned(
    centres: Mapping[str, np.ndarray], scans: Mapping[str, Path]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """For placed images the position, and up in the camera's axes, by the scans' own poses.

    Raises DataError for what is no scan.
    """
    from posezoo.data.open import open_dataset  # the readers are known there

    given, felt = {}, {}
    for recording, folder in scans.items():
        frames = open_dataset(f"arkit:{folder}").frames
        rows = {Path(frames.name(n)).name: n for n in range(len(frames))}
        rotation_N33 = rotation_matrix(frames.quaternion)
        for name in centres:
            own, _, image = name.partition("/")
            n = rows.get(image.partition("-")[2])
            if own == recording and n is not None:
                given[name], felt[name] = frames.position[n], rotation_N33[n, 2]  # of camera to world: z's row
    return given, felt


def gps_positions(images: Path, names: list[str]) -> dict[str, np.ndarray]:
    """East, north, up in metres of the photographs with EXIF positions, about the first of them."""
    found: dict[str, tuple[float, float, float]] = {}
    for name in names:
        with Image.open(images / name) as picture:
            tags = picture.getexif().get_ifd(GPS)
        try:
            latitude, longitude = (
                sum(float(part) / 60**n for n, part in enumerate(tags[key]))
                * (-1 if str(tags.get(key - 1, "")) in ("S", "W") else 1)
                for key in (2, 4)
            )
            height = float(tags.get(6, 0)) * (-1 if tags.get(5) in (1, b"\x01") else 1)
        except (KeyError, TypeError, ValueError, ZeroDivisionError):
            continue
        if np.isfinite((latitude, longitude, height)).all():  # a rational of 0/0 comes as NaN
            found[name] = latitude, longitude, height
    if not found:
        return {}
    first = next(iter(found.values()))
    metres = np.radians(1) * EARTH_M
    return {
        name: np.array(
            [(lon - first[1]) * metres * np.cos(np.radians(first[0])), (lat - first[0]) * metres, up - first[2]]
        )
        for name, (lat, lon, up) in found.items()
    }


def _centres(model: Any) -> dict[str, np.ndarray]:
    return {image.name: image.projection_center() for image in _placed(model)}


def _rotation(image: Any) -> np.ndarray:
    """Camera to map (3, 3)."""
    return np.asarray(image.cam_from_world().rotation.matrix()).T


def _placed(model: Any) -> list[Any]:
    return [model.images[number] for number in model.reg_image_ids()]
