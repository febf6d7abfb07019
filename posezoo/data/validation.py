"""Checks on a reader's rows. Each check drops what it finds wrong and adds a finding: all problems come out at once.

Whether an image can be decoded is found when the image cache is built, which is before the first training step.
"""

from __future__ import annotations

import dataclasses
import os
import stat
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from posezoo.errors import Finding, PluginError
from posezoo.spec import Frame

FARTHEST_METRES = 1e8  # farther than any place on Earth from any origin in use; also keeps squares finite
UNIT_ERROR = 1e-3  # | |q| - 1 | above this is no rounding: a finding, unless normalising was asked for
ORIENTATION = 0x0112  # the EXIF tag
UNIT_NOTE = 1e-6  # above this it is said that quaternions were normalised


def shown(name: str) -> str:
    """A file name fit for a message: control characters and undecodable bytes are escaped."""
    return name if name.isprintable() else ascii(name)[1:-1]


def placed(rows: Sequence[Frame], root: Path, follow_symlinks: bool, findings: list[Finding]) -> list[Frame]:
    """The rows whose image is a regular, non-empty file inside `root`, with normalised paths."""
    real_root = os.path.realpath(root)
    folders: dict[Path, bool] = {}  # folder -> inside the root after following links; one look-up a folder
    kept = []
    for row in rows:
        image = os.path.normpath(row.image) if row.image else ""
        problem = _misplaced(image, root, real_root, folders, follow_symlinks)
        if problem:
            findings.append(Finding(*row.source, f"{problem}: {shown(row.image)}"))
        else:
            kept.append(row if image == row.image else dataclasses.replace(row, image=image))
    return kept


def _misplaced(image: str, root: Path, real_root: str, folders: dict[Path, bool], follow_symlinks: bool) -> str:
    """What is wrong with an image's path or file; empty if nothing is."""
    if not image or image == "." or "\0" in image:
        return "not a file name"
    outside = "points outside the data set"
    if Path(image).is_absolute() or image.startswith(".." + os.sep) or image == ".." or image[1:3] == ":\\":
        return outside
    path = root / image
    try:
        if not follow_symlinks:
            if path.parent not in folders:
                folders[path.parent] = _inside(os.path.realpath(path.parent), real_root)
            is_link = stat.S_ISLNK(path.lstat().st_mode)
            if not folders[path.parent] or (is_link and not _inside(os.path.realpath(path), real_root)):
                return outside
        status = path.stat()
    except FileNotFoundError:
        return "no such image"
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or "not a file name"
    if not stat.S_ISREG(status.st_mode):
        return "not a regular file"
    return "" if status.st_size else "empty file"


def _inside(path: str, real_root: str) -> bool:
    return path == real_root or path.startswith(real_root.rstrip(os.sep) + os.sep)


def normalised(rows: Sequence[Frame], normalise: bool, findings: list[Finding], notes: list[str]) -> list[Frame]:
    """The rows with finite positions and unit quaternions, w >= 0. Lengths off by more than 1e-3 need `normalise`."""
    if not rows:
        return []
    try:
        position_N3 = np.array([row.position for row in rows], dtype=np.float64).reshape(len(rows), 3)
        quaternion_N4 = np.array([row.quaternion for row in rows], dtype=np.float64).reshape(len(rows), 4)
        intrinsics_N4 = np.array([row.intrinsics or (1.0,) * 4 for row in rows], dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise PluginError(f"a reader gave frames whose poses are not 3 + 4 numbers: {error}") from error
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
    kept = []
    for n, row in enumerate(rows):
        problem = next((text for mask_N, text in wrong if mask_N[n]), "")
        if not problem:
            kept.append(dataclasses.replace(row, quaternion=tuple(unit_N4[n].tolist())))
        elif "not unit" in problem:
            findings.append(Finding(*row.source, f"{problem}: |q| = {length_N[n]:.6g}"))
        else:
            findings.append(Finding(*row.source, f"{problem} ({shown(row.image)})"))
    changed_N = (error_N > UNIT_NOTE) & np.isfinite(length_N) & (length_N >= 1e-9)
    count = int(np.sum(changed_N & (normalise | (error_N <= UNIT_ERROR))))
    if count:
        notes.append(f"{count} of {len(rows)} quaternions normalised (|q| off by up to {error_N[changed_N].max():.2g})")
    return kept


def turned(rows: Sequence[Frame], root: Path, notes: list[str]) -> None:
    """A note if JPEG files ask to be shown turned: poses refer to the stored pixels, so the tag is ignored."""
    count = sum(_is_turned(root / row.image) for row in rows if row.image.lower().endswith((".jpg", ".jpeg")))
    if count:
        notes.append(
            f"{count} of {len(rows)} images have an EXIF orientation: ignored, poses refer to the stored pixels"
        )


def _is_turned(path: Path) -> bool:
    try:
        with Image.open(path, formats=("JPEG",)) as image:
            return image.getexif().get(ORIENTATION, 1) != 1
    except (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError):
        return False  # what cannot be read is found when the image cache is built


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
        findings.append(Finding(*row.source, f"another {what} for {shown(row.image)} stands in {where}"))
    if repeats:
        notes.append(f"{repeats} repeated rows dropped")
    return list(first.values())
