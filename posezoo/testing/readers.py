"""The contract of every reader of a data format, as a test class for plugins."""

from __future__ import annotations

import contextlib
import io
import math
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from posezoo.base.errors import Finding, PosezooError
from posezoo.base.paths import user_path
from posezoo.base.spec import Frame, ReadRequest, ReadResult
from posezoo.catalogue import plugins
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
    """As after the `?` of the data's name."""

    def write(self, folder: Path) -> None:
        """Write a small data set; without it an empty folder is read."""

    def read(self, **asked: Any) -> ReadResult:
        """The reader's answer for the data set; `asked` as in ReadRequest."""
        with self._place() as place:
            return self._read(place, **asked)

    def test_frames(self) -> None:
        """Frames with finite poses and image paths inside the data set, and findings; no image twice."""
        result = self.read()
        require(isinstance(result, ReadResult), f"it returned {type(result).__name__}, expected ReadResult")
        for kind, rows in ((Frame, result.frames), (Finding, result.findings)):
            strange = [type(row).__name__ for row in rows if not isinstance(row, kind)]
            require(not strange, f"{', '.join(strange[:3])} among its {kind.__name__.lower()}s")
        for frame in result.frames:
            numbers = (*frame.position, *frame.quaternion)
            require(len(numbers) == 7 and all(map(math.isfinite, numbers)), f"{frame.image}: not seven finite numbers")
            parts = PurePosixPath(frame.image).parts
            require(parts and parts[0] != "/" and ".." not in parts, f"{frame.image} is not inside the data set")
        images = [frame.image for frame in result.frames]
        require(len(set(images)) == len(images), "an image appears twice")

    def test_the_same_again(self) -> None:
        """The same folder gives the same frames and findings in the same order."""
        with self._place() as place:
            require(vars(self._read(place)) == vars(self._read(place)), "a second reading differs")

    def test_only_the_images_asked_for(self) -> None:
        """If a split file lists images, the frames are those and no others."""
        images = {frame.image for frame in self.read().frames}
        for wanted in (frozenset(sorted(images)[:1]), frozenset()):
            found = {frame.image for frame in self.read(images=wanted).frames}
            require(found == wanted, f"asked for {len(wanted)} images, it returned {len(found)}")

    def test_an_empty_folder_is_told(self) -> None:
        """No frames and a finding, or an error of posezoo."""
        with tempfile.TemporaryDirectory() as place:
            try:
                result = self._read(Path(place))
            except (PosezooError, OSError):
                return
        require(not result.frames and result.findings, "an empty folder gives no finding")

    def test_imports_are_public(self) -> None:
        """Of posezoo the plugin imports `posezoo`, `posezoo.plugin`, `posezoo.nn` and `posezoo.testing` only."""
        require_public([plugins.get("posezoo_readers", "data format", self.reader).owner])

    def test_the_process_is_left_alone(self) -> None:
        """Reading prints nothing, writes nothing into the data set and does not change the state of the process."""
        printed = io.StringIO()
        with self._place() as place, contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            before = sorted(place.rglob("*"))
            with promises.process_unchanged("reading"):
                self._read(place)
            require(sorted(place.rglob("*")) == before, "it writes into the data set")
        require(not printed.getvalue(), f"it prints: {printed.getvalue()[:60]!a}")

    def _read(self, place: Path, **asked: Any) -> ReadResult:
        read = plugins.get("posezoo_readers", "data format", self.reader).load("read")
        return read(ReadRequest(place, options=self.options, **asked))

    @contextlib.contextmanager
    def _place(self) -> Iterator[Path]:
        if self.data:
            yield user_path(self.data)
            return
        with tempfile.TemporaryDirectory() as folder:
            self.write(Path(folder))
            yield Path(folder)
