"""Poses as text that grows: each batch's lines as they come, in the forms of other tools."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

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

    def add(self, poses: Poses) -> str:
        """The lines of these poses, which follow the earlier ones; empty for a form that is written at the end."""
        first, self._count = self._count, self._count + len(poses)
        if self._form in WHOLE:
            self._kept.append(poses)
            return ""
        if self._form == "tum":
            return poses.to_tum(first=first)
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
