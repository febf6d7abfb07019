"""Poses as text that grows: each batch's lines as they come, in the forms of other tools."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from posezoo.base.errors import DataError
from posezoo.base.files.write import growing
from posezoo.base.poses import Poses
from posezoo.zoo.stream import joined

FORMS = ("csv", "tum", "kitti", "colmap", "labels", "json", "jsonl", "nerf")
HEADERS = {"csv": 1, "labels": 1, "colmap": 2}  # lines that begin the file, once
WHOLE = ("json", "nerf")  # one object: written at the end


def texts(form: str, batches: Iterable[Poses]) -> Iterator[str]:
    """The text of all batches in one form, piece by piece, each as soon as its batch is there."""
    text = Growing(form)
    for poses in batches:
        yield text.add(poses)
    yield text.end()


def to_file(path: Path, form: str, batches: Iterable[Poses]) -> None:
    """Write the text to a file that grows. Raises ResourceError."""
    with growing(path) as append:
        for text in texts(form, batches):
            append(text)


class Growing:
    """The text of poses in one form, a batch at a time."""

    def __init__(self, form: str) -> None:
        assert form in FORMS
        self._form = form
        self._count = 0
        self._kept: list[Poses] = []
        self._timed: bool | None = None

    def add(self, poses: Poses) -> str:
        """The lines of these poses, which follow the earlier ones; empty for a form that is written at the end.

        TUM's times are seconds or the images' numbers, by the first batch. Raises DataError for a time that is missing.
        """
        first, self._count = self._count, self._count + len(poses)
        if self._form in WHOLE:
            self._kept.append(poses)
            return ""
        if self._form == "tum":
            if self._timed is None:
                self._timed = poses.timed
            if self._timed and not poses.timed:
                name = next((n for n, t in zip(poses.images, poses.timestamps, strict=False) if t < 0), poses.images[0])
                raise DataError(f"{name} has no time, and those before it have", "--to csv, or predict them apart")
            return (poses if self._timed else replace(poses, timestamps=())).to_tum(first=first)  # one clock in a file
        if self._form == "colmap":
            text = poses.to_colmap(first=first)
        else:
            text = str(getattr(poses, f"to_{self._form}")())
        return text if first == 0 else text.split("\n", HEADERS.get(self._form, 0))[-1]

    def end(self) -> str:
        """What is left to be written; the whole for a form that is one object, or where there was no pose."""
        if self._form in WHOLE or not self._count:
            return str(getattr(joined(self._kept), f"to_{self._form}")())
        return ""
