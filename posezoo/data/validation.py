"""Checks on a reader's rows. Each check drops what is wrong and adds a finding: all problems are reported at once.

Whether an image can be decoded is found when the image cache is built, which is before the first training step.
"""

from __future__ import annotations

import dataclasses
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from posezoo.base.errors import DataError, Finding, UsageError
from posezoo.base.files import lenses, pictures
from posezoo.base.observe import parallel
from posezoo.base.paths import printable_path
from posezoo.base.spec import Decode, DepthMap, Frame, Lens, ReadResult

FARTHEST_METRES = 1e8  # farther than any place on Earth from any origin in use; also keeps squares finite
UNIT_ERROR = 1e-3  # | |q| - 1 | above this is not rounding: a finding, unless normalising was requested
OUTSIDE = "points outside the data set"
LINKED = " (follow-symlinks=true follows links)"
NARROW = 0.5
SAMPLED = 200  # from twice as many images on, only a sample is opened for a note
UNIT_NOTE = 1e-6  # above this a note says that quaternions were normalised

# of what a reader hands over: the class of each field, or of its parts in a tuple
NUMBER, WHOLE = int | float | np.number, int | np.integer
CLASSES: dict[type, dict[str, tuple[Any, ...]]] = {
    ReadResult: {
        **dict.fromkeys(("frames", "findings", "notes"), (list,)),
        **{"left_out": (dict,), "ground_truth": (str,), "decode": (Decode,), "unit": (str,)},
    },
    Frame: {
        **dict.fromkeys(("image", "scene", "split", "sequence", "condition"), (str,)),
        **{"position": (NUMBER,) * 3, "quaternion": (NUMBER,) * 4, "intrinsics": (NUMBER,) * 4},
        **{"timestamp": (WHOLE,), "source": (str, int), "camera_size": (WHOLE,) * 2},
        **{"lens": (Lens,), "depth": (DepthMap,)},
    },
    Lens: {"kind": (str,)},
    DepthMap: {"path": (str,), "per_metre": (NUMBER,), "intrinsics": (NUMBER,) * 4, "pose": (NUMBER,) * 7},
}
OPTIONAL = ("intrinsics", "camera_size", "lens", "depth", "decode")  # or None


def misfit(values: Sequence[Any]) -> str:
    """`a Frame whose split is None`: the first of values of one class with a field of another; empty if none has."""
    for field, kinds in CLASSES[type(values[0])].items() if values else ():
        good: set[Any] = {type(None)} if field in OPTIONAL else set()
        for value in values:
            found = getattr(value, field)
            key = tuple(map(type, found)) if isinstance(found, tuple) else type(found)
            long = isinstance(found, int) and found.bit_length() > 63
            if long or key not in good:  # there may be 1e5: each combination of classes is judged once
                parts = found if isinstance(found, tuple) and len(kinds) > 1 else (found,)
                if long or len(parts) != len(kinds) or not all(map(isinstance, parts, kinds)):
                    pose = ": a pose is tuples of 3 + 4 numbers" if field in ("position", "quaternion") else ""
                    return f"a {type(value).__name__} whose {field} is {ascii(found)[:60]}{pose}"
                good.add(key)
    return ""


def inside_root(rows: Sequence[Frame], root: Path, follow_symlinks: bool, findings: list[Finding]) -> list[Frame]:
    """The rows whose image is a regular, non-empty file inside `root`, with normalised paths."""
    place = _Place(str(root), os.path.realpath(root), follow_symlinks)
    kept = []
    for row in rows:
        # tables are UTF-8 whatever the locale: under LC_ALL=C Python would not find "é.png" by its name
        name = row.image if row.image.isascii() else os.fsdecode(row.image.encode("utf-8", "surrogateescape"))
        image = os.path.normpath(name) if name else ""
        problem = place.problem(image)
        if problem:
            way = LINKED if problem == OUTSIDE and not image.startswith(("/", "..")) else ""
            findings.append(Finding(*row.source, f"{problem}: {printable_path(row.image)}{way}"))
        else:
            kept.append(row if image == row.image else dataclasses.replace(row, image=image))
    return kept


class _Place:
    """The folder of a data set. Paths are text here and each image costs one system call: there may be 1e5."""

    def __init__(self, root: str, real_root: str, follow_symlinks: bool) -> None:
        self.root, self.real_root, self.follow_symlinks = root, real_root, follow_symlinks
        self._folders: dict[str, bool] = {}  # folder -> inside the root after following links; one look-up a folder

    def problem(self, image: str, what: str = "image") -> str:
        """What is wrong with the path or file of an image, or of `what`; empty if nothing is."""
        if not image or image == "." or "\0" in image:
            return "not a file name"
        outside = OUTSIDE
        if image[0] == os.sep or image.startswith(".." + os.sep) or image == ".." or image[1:3] == ":\\":
            return OUTSIDE
        path = f"{self.root}{os.sep}{image}"
        try:
            status = os.lstat(path)
            if stat.S_ISLNK(status.st_mode):
                if not self.follow_symlinks and not self._inside(os.path.realpath(path)):
                    return outside
                status = os.stat(path)  # noqa: PTH116
            if not self.follow_symlinks and not self._folder_inside(path.rpartition(os.sep)[0]):
                return outside
        except FileNotFoundError:
            return f"no such {what}"
        except (OSError, ValueError) as error:
            return getattr(error, "strerror", None) or "not a file name"
        if not stat.S_ISREG(status.st_mode):
            return "not a regular file"
        return "" if status.st_size else "empty file"

    def _folder_inside(self, folder: str) -> bool:
        if folder not in self._folders:
            self._folders[folder] = self._inside(os.path.realpath(folder))
        return self._folders[folder]

    def _inside(self, path: str) -> bool:
        return path == self.real_root or path.startswith(self.real_root.rstrip(os.sep) + os.sep)


def normalised(rows: Sequence[Frame], normalise: bool, findings: list[Finding], notes: list[str]) -> list[Frame]:
    """The rows with finite positions and unit quaternions, w >= 0. Lengths off by more than 1e-3 need `normalise`."""
    if not rows:
        return []
    position_N3 = np.array([row.position for row in rows], dtype=np.float64)
    quaternion_N4 = np.array([row.quaternion for row in rows], dtype=np.float64)
    intrinsics_N4 = np.array([row.intrinsics or (1.0,) * 4 for row in rows], dtype=np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        length_N = np.linalg.norm(quaternion_N4, axis=1)
        error_N = np.abs(length_N - 1)
        unit_N4 = quaternion_N4 / np.where(length_N > 0, length_N, 1)[:, None]
    unit_N4 = np.where(unit_N4[:, :1] < 0, -unit_N4, unit_N4)
    wrong: list[tuple[Any, str]] = [
        (~np.isfinite(position_N3).all(1), "position is not finite"),
        (np.abs(position_N3).max(1) > FARTHEST_METRES, "position is over 1e8 m away: are these metres?"),
        (~np.isfinite(length_N), "quaternion has no finite length"),
        (length_N < 1e-9, "zero quaternion"),
        (np.full(len(rows), not normalise) & (error_N > UNIT_ERROR), "quaternion is not unit (option normalise=true)"),
        (~np.isfinite(intrinsics_N4).all(1) | (intrinsics_N4[:, :2] <= 0).any(1), "focal length is not positive"),
    ]
    bad_N = np.any([mask_N for mask_N, _ in wrong], axis=0).tolist()
    kept = []
    for n, (row, bad, q_4) in enumerate(zip(rows, bad_N, unit_N4.tolist(), strict=True)):
        if not bad:
            kept.append(row.with_quaternion((q_4[0], q_4[1], q_4[2], q_4[3])))
            continue
        problem = next(text for mask_N, text in wrong if mask_N[n])
        if "not unit" in problem:
            findings.append(Finding(*row.source, f"{problem}: |q| = {length_N[n]:.6g}"))
        else:
            findings.append(Finding(*row.source, f"{problem} ({printable_path(row.image)})"))
    changed_N = (error_N > UNIT_NOTE) & np.isfinite(length_N) & (length_N >= 1e-9)
    count = int(np.sum(changed_N & (normalise | (error_N <= UNIT_ERROR))))
    if count:
        notes.append(f"{count} of {len(rows)} quaternions normalised (|q| off by up to {error_N[changed_N].max():.2g})")
    return kept


def note_photographs(rows: Sequence[Frame], root: Path, upright: bool, notes: list[str]) -> None:
    """Notes on own photographs: orientations that are ignored (poses refer to the stored pixels), and animations.

    Of many images an evenly spread sample is opened: a camera stores all its pictures alike.
    """
    paths = [root / row.image for row in rows[:: max(1, len(rows) // SAMPLED)]]
    count = f"{len(paths)} images" if len(paths) == len(rows) else f"{len(paths)} sampled images"
    turned = 0 if upright else sum(pictures.orientation_of(path) != 1 for path in paths)
    if turned:
        notes.append(
            f"{turned} of {count} have an EXIF orientation: ignored, poses refer to the stored pixels"
            " (exif=true turns them)"
        )
    note_shape(paths, notes)
    animated = sum(pictures.is_animated(path) for path in paths)
    if animated:
        notes.append(f"{animated} of {count} hold several pictures: the first of each is read")


def with_known_lenses(rows: Sequence[Frame], exif: bool, findings: list[Finding], notes: list[str]) -> list[Frame]:
    """The rows whose distortion can be corrected, or that have none; a lens without distortion is none.

    Raises UsageError for a lens that cannot be turned together with its pictures.
    """
    kept: list[Frame] = []
    kinds: set[str] = set()
    for row in rows:
        lens = None if row.lens is None or lenses.straight(row.lens) else row.lens
        if lens is not None:
            problem = lenses.problem(lens) or ("" if row.intrinsics else "without intrinsics")
            if problem:
                where = f"({printable_path(row.image)})"
                findings.append(Finding(*row.source, f"lens {lens.kind[:40]!a} {problem} {where}"))
                continue
            if exif and not lenses.turns(lens):
                raise UsageError(f"exif=true cannot turn lenses of kind {lens.kind}", "turn and undistort the pictures")
            kinds.add(lens.kind)
        kept.append(row if lens is row.lens else dataclasses.replace(row, lens=None))
    if kinds:
        notes.append(f"lens distortion is corrected ({', '.join(sorted(kinds))})")
    return kept


def with_known_depths(
    rows: Sequence[Frame], root: Path, follow_symlinks: bool, exif: bool, findings: list[Finding], notes: list[str]
) -> list[Frame]:
    """The rows whose depth map, if they have one, is a file inside `root` with a sensible scale and pose.

    Pictures that are turned or freed of distortion are kept without: their maps are for the stored pixels.
    """
    if not any(row.depth for row in rows):
        return list(rows)
    place = _Place(str(root), os.path.realpath(root), follow_symlinks)
    kept, dropped = [], 0
    for row in rows:
        depth = row.depth
        if depth is not None and (exif or row.lens is not None):
            row, depth, dropped = dataclasses.replace(row, depth=None), None, dropped + 1
        if depth is not None:
            problem = place.problem(os.path.normpath(depth.path) if depth.path else "", "depth map")
            numbers = (depth.per_metre, *(depth.intrinsics or (1.0,)))
            if not problem and (not np.isfinite(numbers).all() or min(numbers[:3]) <= 0):
                problem = "the scale or focal length of its depth map is not positive"
            if not problem and not (
                np.isfinite(depth.pose).all() and abs(np.linalg.norm(depth.pose[3:]) - 1) < UNIT_ERROR
            ):
                problem = "the pose of its depth map is not finite, or its quaternion is not a unit"
            if problem:
                findings.append(Finding(*row.source, f"{problem}: {printable_path(depth.path)}"))
                continue
        kept.append(row)
    if dropped:
        notes.append(f"{dropped} depth maps are left out: their pictures are turned or freed of distortion")
    return kept


def note_shape(paths: Sequence[Path], notes: list[str]) -> None:
    """A note on pictures of which a square in the middle is less than half: that is what networks read."""
    if not paths:
        return
    try:
        width, height = pictures.image_size(paths[0])
    except DataError:  # the image cache reports it
        return
    share = min(width, height) / max(width, height)
    if share < NARROW:
        side = "width" if width > height else "height"
        what = f"pictures are {width}x{height}: networks read the middle {100 * share:.0f} % of their {side}"
        notes.append(f"{what} (all of it with the model's setting fit=pad or fit=stretch)")


def note_unknown_intrinsics(rows: Sequence[Frame], notes: list[str]) -> None:
    """A note on frames without intrinsics, if some are: their cameras cannot be turned in training."""
    unknown = sum(row.intrinsics is None for row in rows)
    if unknown:
        notes.append(f"no intrinsics for {unknown} of {len(rows)} frames: no pose-true rotation in training")


def with_turned_intrinsics(rows: Sequence[Frame], root: Path, notes: list[str]) -> list[Frame]:
    """The rows with the intrinsics of the pictures turned by their EXIF orientation; their poses are theirs already."""
    tags = [pictures.orientation_of(root / row.image) for row in rows]
    count = sum(tag != 1 for tag in tags)
    if count:
        notes.append(f"{count} of {len(rows)} images are turned by their EXIF orientation, their intrinsics too")
    return [
        dataclasses.replace(row, intrinsics=pictures.turned_camera(root / row.image, row.intrinsics))
        if tag != 1 and row.intrinsics
        else row
        for row, tag in zip(rows, tags, strict=True)
    ]


def scaled_to_stored(rows: Sequence[Frame], root: Path, findings: list[Finding], notes: list[str]) -> list[Frame]:
    """The rows with intrinsics for the images as they are stored, where their cameras are for another size.

    An image whose width and height differ from its camera's by two ratios is a finding: it was cropped or turned.
    """
    sizes = list(parallel(lambda row: _stored_size(row, root), rows))
    kept, ratios = [], set()
    for row, size in zip(rows, sizes, strict=True):
        camera = row.camera_size
        if size is None or camera is None or size == camera or row.intrinsics is None:
            kept.append(row)
        elif lenses.one_ratio(size, camera):
            x, y = size[0] / camera[0], size[1] / camera[1]
            fx, fy, cx, cy = row.intrinsics
            kept.append(dataclasses.replace(row, intrinsics=(fx * x, fy * y, cx * x, cy * y)))
            ratios.add(f"{x:.3g}")
        else:
            what = f"{printable_path(row.image)} is {size[0]}x{size[1]}, its camera is for {camera[0]}x{camera[1]}"
            findings.append(Finding(*row.source, f"{what}: cropped or turned?"))
    if ratios:
        by = ", ".join(sorted(ratios))
        notes.append(f"images are stored at {by} of their cameras' size: intrinsics scaled with them")
    return kept


def _stored_size(row: Frame, root: Path) -> tuple[int, int] | None:
    """The size of the row's image, if it has to be known; None too for one that the image cache will report."""
    if row.camera_size is None or row.intrinsics is None:
        return None
    try:
        return pictures.image_size(root / row.image)
    except DataError:
        return None


def unique(rows: Sequence[Frame], findings: list[Finding], notes: list[str]) -> list[Frame]:
    """The rows with each image once: exact repeats are dropped and counted, contradicting ones are findings."""
    first: dict[str, Frame] = {}
    repeats = 0
    for row in rows:
        known = first.setdefault(row.image, row)
        if known is row:
            continue
        if dataclasses.replace(row, source=known.source) == known:
            repeats += 1
            continue
        what = "pose" if (row.position, row.quaternion) != (known.position, known.quaternion) else "entry"
        where = f"{known.source[0]}:{known.source[1]}" if known.source[1] else known.source[0]
        findings.append(Finding(*row.source, f"another {what} for {printable_path(row.image)} is in {where}"))
    if repeats:
        notes.append(f"{repeats} repeated rows dropped")
    return list(first.values())
