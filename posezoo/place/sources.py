"""What is mapped: videos and folders of photographs, each a recording with a name and a condition. No pycolmap."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from posezoo.base.errors import DataError, UsageError
from posezoo.base.files.videos import VIDEOS
from posezoo.base.paths import natural, user_path

PHOTOS = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".ppm")
UNREADABLE = (".heic", ".heif", ".dng", ".cr2", ".nef", ".arw")
"""What phones and cameras store beside JPEG, and Pillow does not read."""
SCANS = ("keyframes/corrected_images", "keyframes/images", "rgbd", "rgb")
"""Where Polycam and Record3D keep a scan's images, beside depth."""


@dataclass(frozen=True)
class Recording:
    """One video, or one folder of photographs: a sequence of the place."""

    name: str
    """Of the sequence: the file's or folder's own, fit for a path."""
    path: Path
    photos: tuple[Path, ...] = ()
    """Of a folder, in natural order; empty: a video."""
    condition: str = ""
    left_out: int = 0
    """Photographs in formats that cannot be read."""

    @property
    def is_video(self) -> bool:
        """Whether frames have to be chosen."""
        return not self.photos


def recordings(sources: Sequence[str | Path], conditions: Sequence[str] = ()) -> list[Recording]:
    """The recordings of the sources, in that order. A folder without photographs stands for the videos in it.

    `conditions`: none, or one for each recording. Raises UsageError, DataError.
    """
    found: list[Recording] = []
    for source in sources:
        path = user_path(source)
        if not path.exists():
            raise DataError(f"{path}: no such video or folder", "give a video, or a folder of photographs")
        found += _of_folder(path) if path.is_dir() else [_video(path)]
    if conditions and len(conditions) != len(found):
        names = ", ".join(one.name for one in found)
        raise UsageError(f"{len(conditions)} conditions for {len(found)} recordings ({names})", "give one for each")
    named: dict[str, Recording] = {}
    for number, one in enumerate(found):
        name, count = one.name, 1
        while name in named:
            count += 1
            name = f"{one.name}-{count}"
        condition = conditions[number] if conditions else ""
        named[name] = Recording(name, one.path, one.photos, condition, one.left_out)
    return list(named.values())


def _of_folder(folder: Path) -> list[Recording]:
    below = next((folder / scan for scan in SCANS if (folder / scan).is_dir()), folder)
    files = sorted((path for path in below.rglob("*") if path.is_file()), key=lambda path: natural(str(path)))
    photos = tuple(path for path in files if path.suffix.lower() in PHOTOS)
    closed = [path for path in files if path.suffix.lower() in UNREADABLE]
    if photos:
        return [Recording(_name(folder.resolve()), folder, photos, left_out=len(closed))]
    videos = [_video(path) for path in files if path.suffix.lower() in VIDEOS]
    if not videos:
        what = f"{len(closed)} photographs in formats that are not read" if closed else "no photographs or videos"
        raise DataError(f"{folder}: {what}", "export them as JPEG" if closed else f"read are {', '.join(PHOTOS)}")
    return videos


def _video(path: Path) -> Recording:
    if not path.is_file():
        raise DataError(f"{path}: not a regular file", "give a video, or a folder of photographs")
    return Recording(_name(path), path)


def _name(path: Path) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", path.stem if path.suffix.lower() in VIDEOS else path.name).strip("-") or "a"
