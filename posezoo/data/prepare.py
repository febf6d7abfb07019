"""From a benchmark's untouched archives to data that training can start on: unpacked, checked, in the image cache.

It can be stopped at any moment and called again: finished work is not repeated.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from posezoo.base.errors import DataError
from posezoo.base.observe import Note, Progress, Stages, silent
from posezoo.catalogue import resolve
from posezoo.data.archives import unpack
from posezoo.data.images.cache import ImageCache
from posezoo.data.open import open_dataset
from posezoo.data.source import archives
from posezoo.data.splits import WORDS


@dataclass(frozen=True)
class Prepared:
    """A data set that is ready: its folder, what its archives held, its frames by split, its image cache."""

    name: str
    folder: Path
    unpacked: tuple[unpack.Unpacked, ...]
    """The archives that were unpacked now."""
    before: tuple[str, ...]
    """The archives that were unpacked already."""
    frames: dict[str, int]
    cache: Path
    notes: tuple[str, ...]

    def lines(self) -> list[str]:
        """The same in words."""
        lines = [f"unpacked: {one.name}: {one.written} new files, {one.kept} kept" for one in self.unpacked]
        lines += [f"unpacked before: {name}" for name in self.before]
        lines += [f"note: {note}" for note in self.notes]
        counts = ", ".join(f"{count} {split}" for split, count in self.frames.items())
        lines.append(f"{self.name}: {counts} frames in {self.folder}")
        return [*lines, f"image cache: {self.cache}"]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        archives = [{"archive": one.name, "written": one.written, "kept": one.kept} for one in self.unpacked]
        return {
            "name": self.name,
            "folder": str(self.folder),
            "unpacked": archives,
            "unpacked_before": list(self.before),
            "frames": self.frames,
            "cache": str(self.cache),
            "notes": list(self.notes),
        }


def prepare(
    name: str,
    *,
    root: str | Path | None = None,
    split: str | Path | None = None,
    skip_bad: bool = False,
    progress: Stages = lambda what, done, total: None,
    note: Note = silent,
) -> Prepared:
    """The data set called `name`, its archives unpacked, checked as training does, its image cache built.

    Raises DataError for an archive that is damaged or unsafe and for everything wrong with the data, ResourceError for
    a disk that is too small or cannot be written.
    """
    known = resolve.data(name)
    folder, packed, absent = archives(known, root)
    before = [one for one in packed if unpack.is_unpacked(one)]
    done = _unpacked(folder, [one for one in packed if one not in before], progress, note)
    progress("reading poses", 0, 1)
    try:
        dataset = open_dataset(known, root=root, split=split, skip_bad=skip_bad, progress=_images(progress))
    except DataError as error:
        if absent:
            more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
            error.hint = f"no archive {absent[0]}{more} here: posezoo data how-to {name.partition('?')[0]}"
        raise
    cache = ImageCache.open(dataset.frames, _images(progress))
    counts = {word: int(np.sum(dataset.frames.split == word)) for word in WORDS}
    return Prepared(
        name,
        folder,
        tuple(done),
        tuple(one.name for one in before),
        {word: count for word, count in counts.items() if count},
        cache.folder,
        (*dataset.notes, *dataset.remarks),
    )


def _unpacked(folder: Path, packed: list[unpack.Packed], progress: Stages, note: Note) -> list[unpack.Unpacked]:
    """Unpack all of them. Nothing is written before every archive is checked and the disk is large enough."""
    if not packed:
        return []
    with unpack.unpack_lock(folder, note):
        packed = [one for one in packed if not unpack.is_unpacked(one)]  # another process may have done it meanwhile
        unpack.check_free(
            folder,
            unpack.required_bytes(packed, progress),
            packed[0].name if len(packed) == 1 else f"{len(packed)} archives",
        )
        return [unpack.unpack(one, progress) for one in packed]


def _images(progress: Stages) -> Progress:
    return lambda done, total: progress("reading images", done, total)
