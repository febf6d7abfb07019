"""Poses as text that grows: each batch's lines as they come, in the forms of other tools."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from posezoo.base.errors import DataError, PosezooError
from posezoo.base.files.write import growing
from posezoo.base.paths import fits_a_line, printable_path
from posezoo.base.poses import Poses
from posezoo.zoo.stream import joined

FORMS = ("csv", "tum", "kitti", "colmap", "labels", "json", "jsonl", "nerf")
HEADERS = {"csv": 1, "labels": 1, "colmap": 2}  # lines that begin the file, once
WHOLE = ("json", "nerf")  # one object: written at the end, or where it comes to one


def texts(form: str, batches: Iterable[Poses]) -> Iterator[str]:
    """The text of all batches in one form, piece by piece, each as soon as its batch is there.

    Where one cannot be had, that of those before it comes first, whatever the form.
    """
    if form in WHOLE:
        for poses in whole(batches):
            yield str(getattr(poses, f"to_{form}")())
        return
    text = Growing(form)
    for poses in batches:
        yield text.add(poses)
    yield text.end()


def whole(batches: Iterable[Poses]) -> Iterator[Poses]:
    """All poses, once; where a batch cannot be had, those before it, if there are any, and then its error."""
    parts: list[Poses] = []
    try:
        for poses in batches:
            parts.append(poses)  # noqa: PERF402 (those before an error stay)
    except PosezooError:
        if parts:
            yield joined(parts)
        raise
    yield joined(parts)


def to_file(path: Path, form: str, batches: Iterable[Poses]) -> None:
    """Write the text to a file that grows. Raises ResourceError."""
    with growing(path) as append:
        for text in texts(form, batches):
            append(text)


class Growing:
    """The text of poses in a form of lines, a batch at a time."""

    def __init__(self, form: str) -> None:
        assert form in FORMS and form not in WHOLE
        self._form = form
        self._count = 0
        self._timed: bool | None = None

    def add(self, poses: Poses) -> str:
        """The lines of these poses, which follow the earlier ones.

        TUM's times are seconds or the images' numbers, by the first batch. Raises DataError for a time that is missing,
        and for a name that COLMAP's lines cannot hold.
        """
        first, self._count = self._count, self._count + len(poses)
        if self._form == "tum":
            if self._timed is None:
                self._timed = poses.timed
            if self._timed and not poses.timed:
                name = next((n for n, t in zip(poses.images, poses.timestamps, strict=False) if t < 0), poses.images[0])
                raise DataError(f"{name} has no time, and those before it have", "--to csv, or predict them apart")
            return (poses if self._timed else replace(poses, timestamps=())).to_tum(first=first)  # one clock in a file
        if self._form == "colmap":
            for name in poses.images:
                if not fits_a_line(name):
                    what = f"{printable_path(name)}: a line of COLMAP's images.txt cannot hold its name"
                    raise DataError(what, "rename it (a line break, or a space at an end), or --to csv")
            text = poses.to_colmap(first=first)
        else:
            text = str(getattr(poses, f"to_{self._form}")())
        return text if first == 0 else text.split("\n", HEADERS.get(self._form, 0))[-1]

    def end(self) -> str:
        """What is left to be written: where there was no pose, the file's head."""
        return "" if self._count else str(getattr(joined([]), f"to_{self._form}")())
