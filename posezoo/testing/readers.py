"""The contract of every reader of a data format, as a test class for plugins."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import math
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar
from unittest import SkipTest

from posezoo.base.errors import Finding, PluginError, PosezooError
from posezoo.base.paths import user_path
from posezoo.base.spec import ReadRequest, ReadResult
from posezoo.catalogue import plugins
from posezoo.catalogue.names import DataName
from posezoo.catalogue.resolve import KnownData
from posezoo.data import splits, validation
from posezoo.data.open import read
from posezoo.data.source import Source, find_source
from posezoo.nn import promises
from posezoo.nn.promises import require
from posezoo.testing.imports import require_public


class ReaderConformance:
    """The contract of every data format. Subclass it, name the reader, write a small data set into `folder`.

    class TestYourFormat(ReaderConformance):
        reader = "yourformat"

        def write(self, folder: Path) -> None:
            (folder / "poses.txt").write_text("...")
    """

    reader: ClassVar[str] = ""
    data: ClassVar[str] = ""
    """A folder or file in this format, instead of what `write` writes."""
    options: ClassVar[Mapping[str, str]] = {}
    """As after the `?` of the data's name; those that posezoo itself reads (`root`, `scenes`, `normalise`) too."""

    def write(self, folder: Path) -> None:
        """Write a small data set; without it and without `data` the checks that read one are skipped."""

    def read(self, **asked: Any) -> ReadResult:
        """The reader's answer for the data set; `asked` as in ReadRequest."""
        with self._place() as place:
            return self._read(place, **asked)

    def test_frames(self) -> None:
        """Frames in which posezoo finds nothing wrong: types, poses, splits, image paths; findings; no image twice."""
        with self._place() as place:
            source, result = self._source(place), self._read(place)
        told = "; ".join(map(str, [*result.findings, *result.notes][:1])) or "no finding, no note"
        require(result.frames, f"nothing was read, no frame came ({told})")
        for frame in result.frames:
            numbers = (*frame.position, *frame.quaternion)
            require(all(map(math.isfinite, numbers)), f"{frame.image}: not seven finite numbers")
            parts = PurePosixPath(frame.image).parts
            require(parts and parts[0] != "/" and ".." not in parts, f"{frame.image} is not inside the data set")
        images = [frame.image for frame in result.frames]
        require(len(set(images)) == len(images), "an image appears twice")
        found: list[Finding] = []
        # a frame need not say where it was read: findings then name its image
        named = [f if f.source[0] else dataclasses.replace(f, source=(f.image, 0)) for f in result.frames]
        rows = validation.normalised(named, source.normalise, found, [])
        splits.checked_words(rows, found)
        require(not found, f"posezoo refuses a frame: {found[0] if found else ''}")
        there = not self.data or any(os.path.lexists(source.root / image) for image in images)
        require(there, f"no image is where it says, first {images[0]}: image names are relative to the data's root")

    def test_the_same_again(self) -> None:
        """The same folder gives the same frames and findings in the same order."""
        with self._place() as place:
            require(vars(self._read(place)) == vars(self._read(place)), "a second reading differs")

    def test_only_the_images_asked_for(self) -> None:
        """If a split file lists images, the frames are those and no others."""
        images = {os.path.normpath(frame.image) for frame in self.read().frames}  # as split files give them
        for wanted in (frozenset(sorted(images)[:1]), frozenset()):
            found = {os.path.normpath(frame.image) for frame in self.read(images=wanted).frames}
            message = f"asked for {len(wanted)} images, it returned {len(found)}"
            require(found == wanted, f"{message}: give those of request.images, whose paths have no ./")

    def test_the_scene_or_sequence_asked_for(self) -> None:
        """Asked for one scene or one sequence of several, it gives all frames of it; posezoo leaves out any others."""
        whole = self.read().frames
        for key, field in (("scenes", "scene"), ("sequences", "sequence")):
            words = sorted({getattr(frame, field) for frame in whole} - {""})
            for word in words[-1:] if len(words) > 1 else ():
                # a sequence's name may be that of another one too, by its number alone
                asked = ReadRequest(Path(), sequences=(word,))
                wants = asked.wants_sequence if field == "sequence" else word.__eq__
                answers = whole, self.read(**{key: (word,)}).frames
                expected, found = ({f.image for f in frames if wants(getattr(f, field))} for frames in answers)
                message = f"asked for {field} {word}, it returned {len(found)} of its {len(expected)} frames"
                require(found == expected, f"{message}: request.{key} has the words that its frames have")

    def test_an_empty_folder_is_told(self) -> None:
        """No frames and a finding, or an error of posezoo."""
        with tempfile.TemporaryDirectory() as place:
            try:
                result = self._read(Path(place))
            except PluginError:
                raise
            except PosezooError:
                return
        require(not result.frames and result.findings, "an empty folder gives no finding")

    def test_imports_are_public(self) -> None:
        """Of posezoo the plugin imports `posezoo`, `posezoo.plugin`, `posezoo.nn` and `posezoo.testing` only."""
        require_public([plugins.get("posezoo_readers", "data format", self.reader).owner])

    def test_the_process_is_left_alone(self) -> None:
        """Reading prints nothing, writes nothing into the data set and does not change the state of the process."""
        printed, unchanged = io.StringIO(), promises.process_unchanged("reading")
        with (
            self._place() as place,
            contextlib.redirect_stdout(printed),
            contextlib.redirect_stderr(printed),
            unchanged,
        ):
            self._read(place)
        require(not printed.getvalue(), f"it prints: {printed.getvalue()[:60]!a}")

    def _source(self, place: Path) -> Source:
        """Where the data are: posezoo's own options are not the reader's."""
        offer = plugins.get("posezoo_readers", "data format", self.reader)
        name = DataName(f"{self.reader}:{place}", self.reader, place, dict(self.options))
        return find_source(KnownData(str(name), name, offer), None)

    def _read(self, place: Path, **asked: Any) -> ReadResult:
        source = self._source(place)
        request = ReadRequest(
            source.location, source.scenes, None, source.options, source.sequences, images_root=source.root
        )
        return read(source, dataclasses.replace(request, **asked))

    @contextlib.contextmanager
    def _place(self) -> Iterator[Path]:
        """The data set, which must not change: a cache may be written by the first of all readings only."""
        if not self.data and type(self).write is ReaderConformance.write:
            raise SkipTest(f"nothing was read: give data, {self.reader}:PATH, or define `write`")
        with tempfile.TemporaryDirectory() as folder:
            if not self.data:
                self.write(Path(folder))
            place = user_path(self.data or folder)
            before = _written(place)
            yield place
            changed = sorted({path.name for path, _ in _written(place) ^ before})
            require(not changed, f"it writes into the data set: {', '.join(changed[:3])}")


def _written(place: Path) -> set[tuple[Path, tuple[int, int]]]:
    """Everything in a folder, or beside a file, with the size and the time of files."""
    paths = [*(place.rglob("*") if place.is_dir() else place.parent.iterdir())]
    stats = [(path, path.lstat()) for path in paths]
    return {(path, (0, 0) if stat.S_ISDIR(s.st_mode) else (s.st_size, s.st_mtime_ns)) for path, s in stats}
