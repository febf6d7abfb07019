"""The memory of digests saves reading, and is never trusted."""

from __future__ import annotations

import json

import pytest

from posezoo.data.images import build
from posezoo.data.images.cache import ImageCache, cache_folder
from posezoo.data.table import Frames


def test_second_open_reads_no_image(frames: Frames, monkeypatch: pytest.MonkeyPatch) -> None:
    ImageCache.open(frames)
    (memory,) = (cache_folder() / "images/digests").glob("*.json")
    assert len(json.loads(memory.read_text())) == 6

    def fail(*_: object) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr("hashlib.file_digest", fail)
    monkeypatch.setattr(build, "read_sized", fail)
    assert len(ImageCache.open(frames)) == 6


def test_damaged_memory_of_digests(frames: Frames) -> None:
    folder = ImageCache.open(frames).folder
    (memory,) = (cache_folder() / "images/digests").glob("*.json")
    for text in ("", "[]", '{"0.png": 3}', '{"0.png": [1, 2, "x"]}', "[" * 100_000):
        memory.write_text(text)
        assert ImageCache.open(frames).folder == folder
