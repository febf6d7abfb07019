"""Which images share a camera, and which are matched; what cannot be mapped is said."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from naming import naming
from PIL import Image

from posezoo.base.errors import DataError
from posezoo.place import structure


def names(recording: str, count: int) -> list[str]:
    return [f"{recording}/{n}.jpg" for n in range(count)]


def test_few_images_are_all_matched() -> None:
    assert len(structure.pairs(names("a", 20), frozenset())) == 20 * 19 // 2


def test_of_many_neighbours_and_key_frames_are_matched() -> None:
    every = [*names("a", 200), *names("b", 100)]
    found = set(structure.pairs(every, frozenset("ab")))
    assert {("a/50.jpg", f"a/{50 + n}.jpg") for n in (*range(1, 11), 16, 32, 64, 128)} <= found
    assert ("a/50.jpg", "a/62.jpg") not in found
    assert ("a/0.jpg", "b/0.jpg") in found, "another day is tied to the first by key frames"
    assert ("a/0.jpg", "a/195.jpg") in found, "and so is the end of a loop to its beginning"
    assert len(found) < 300 * 14 + 60 * 60 / 2
    photos = set(structure.pairs(every, frozenset()))
    assert ("a/50.jpg", "a/62.jpg") in photos


def test_pictures_of_one_recording_and_size_share_a_camera(tmp_path: Path) -> None:
    for name, size in (("a/1.jpg", (64, 48)), ("a/2.jpg", (48, 64)), ("a/3.jpg", (64, 48)), ("b/1.jpg", (64, 48))):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", size).save(tmp_path / name)
    groups = structure.camera_groups(tmp_path, ["a/1.jpg", "a/2.jpg", "a/3.jpg", "b/1.jpg"])
    assert groups == [["a/1.jpg", "a/3.jpg"], ["a/2.jpg"], ["b/1.jpg"]]


def test_plain_walls_cannot_be_mapped(tmp_path: Path) -> None:
    pytest.importorskip("pycolmap", reason="the extra map")
    images, database = tmp_path / "images", tmp_path / "database.db"
    (images / "a").mkdir(parents=True)
    for n in range(4):
        Image.new("RGB", (64, 48), (n, n, n)).save(images / f"a/{n}.png")
    every = [f"a/{n}.png" for n in range(4)]
    said: list[str] = []
    structure.features(database, images, [every], lambda what, done, total: said.append(f"{done}/{total}"))
    assert said[-1] == "4/4"
    structure.match(database, structure.pairs(every, frozenset()), lambda *given: None)
    with pytest.raises(DataError, match=naming("4")):
        structure.reconstruct(database, images, tmp_path / "work", 4, lambda *given: None)


def test_a_signal_while_the_thread_starts_stops_it_and_brings_no_lines_of_the_library(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pycolmap = pytest.importorskip("pycolmap", reason="the extra map")
    cancelled, levels = threading.Event(), []

    def computes(cancellation_token: Any) -> None:
        while not cancellation_token.is_cancelled:
            time.sleep(0.01)
        cancelled.set()
        time.sleep(0.2)  # what it still does, after the command has said that it stops
        levels.append(pycolmap.logging.minloglevel)

    def interrupted(pool: ThreadPoolExecutor, *given: Any) -> None:
        submit(pool, *given)
        pool._threads.clear()  # type: ignore[attr-defined]  # as where the signal comes before it is entered
        raise KeyboardInterrupt

    submit, before = ThreadPoolExecutor.submit, pycolmap.logging.minloglevel
    monkeypatch.setattr(ThreadPoolExecutor, "submit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        structure._run(computes)
    assert cancelled.wait(10)
    for thread in threading.enumerate():
        if thread.name.startswith("posezoo-map"):
            thread.join(10)
    assert levels == [3]
    assert pycolmap.logging.minloglevel == before
