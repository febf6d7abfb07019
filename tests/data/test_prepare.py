"""From archives to an image cache in Python: what is told on the way, what is checked first. Kills: tests/cli."""

from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path

import benchmark_trees
import pytest
from naming import naming

import posezoo
from posezoo.base.errors import DataError, ResourceError
from posezoo.base.observe import Observer


class Watch(Observer):
    """Keeps what is told."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, int, int]] = []

    def progress(self, what: str, done: int, total: int) -> None:
        self.steps.append((what, done, total))


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """The folder 7scenes with heads.zip."""
    return benchmark_trees.archives("7scenes", tmp_path / "packed", every=10, size=(64, 48)) / "7scenes"


def test_progress_of_everything_long(packed: Path) -> None:
    watch = Watch()
    ready = posezoo.prepare_dataset("7scenes-heads", root=packed, observer=watch)
    assert (ready.frames, ready.before, ready.unpacked[0].name) == ({"train": 10, "test": 3}, (), "heads.zip")
    assert list(dict.fromkeys(what for what, _, _ in watch.steps)) == [
        "checking archives",
        "unpacking heads.zip, MB",
        "reading poses",
        "reading images",
    ]
    assert watch.steps[-1] == ("reading images", 13, 13)
    assert all(done <= total for _, done, total in watch.steps)
    again = posezoo.prepare_dataset("7scenes-heads", root=packed)
    assert (again.unpacked, again.before, again.cache) == ((), ("heads.zip",), ready.cache)


def test_all_archives_are_looked_into_before_one_is_unpacked(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (packed / "stairs.zip").write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(DataError, match=naming("stairs.zip")):
        posezoo.prepare_dataset("7scenes", root=packed)
    assert not (packed / "heads").exists()
    (packed / "stairs.zip").unlink()
    usage = namedtuple("usage", "total used free")(9, 9, 1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(ResourceError, match=naming("heads.zip", "0.1 MB", "0.0 MB", "7scenes")):
        posezoo.prepare_dataset("7scenes", root=packed)
    assert not (packed / "heads").exists()


def test_what_cannot_be_read_and_is_left_out(packed: Path) -> None:
    posezoo.prepare_dataset("7scenes-heads", root=packed)
    bad = packed / "heads/seq-02/frame-000003.color.png"
    bad.write_bytes(bad.read_bytes()[:100])
    (packed / "heads.zip").unlink()  # else the archive and the spoilt file contradict each other
    with pytest.raises(DataError, match=naming("1", "frame-000003.color.png")):
        posezoo.prepare_dataset("7scenes-heads", root=packed)
    ready = posezoo.prepare_dataset("7scenes-heads", root=packed, skip_bad=True)
    assert ready.frames == {"train": 9, "test": 3}
