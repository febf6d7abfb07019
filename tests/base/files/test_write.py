"""Written whole or not at all: kills, full disks, what stands in the way; and the lock that any end frees."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from posezoo.base.errors import ResourceError
from posezoo.base.files.lock import lock
from posezoo.base.files.write import TEMPORARY, replacement, sweep, write_whole


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fill(folder: Path, text: str) -> None:
    with replacement(folder, folder=True) as temporary:
        (temporary / "a").write_text(text)
        (temporary / "deep").mkdir()
        (temporary / "deep/b").write_text(text)


def test_text_and_bytes(tmp_path: Path) -> None:
    write_whole(tmp_path / "a", "é\r\n")
    assert (tmp_path / "a").read_bytes() == b"\xc3\xa9\r\n"
    write_whole(tmp_path / "a", b"\xff")
    assert (tmp_path / "a").read_bytes() == b"\xff"
    assert names(tmp_path) == ["a"]
    os.umask(before := os.umask(0o022))
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o666 & ~before


@pytest.mark.parametrize("name", ["x" * 251 + ".png", "\U0001f600" * 63])
def test_the_longest_names(tmp_path: Path, name: str) -> None:
    write_whole(tmp_path / name, "1")
    assert names(tmp_path) == [name]


def test_an_error_in_between_leaves_the_old_one(tmp_path: Path) -> None:
    write_whole(tmp_path / "a", "old")
    fill(tmp_path / "b", "old")
    for target, folder in (("a", False), ("b", True)):
        with pytest.raises(KeyboardInterrupt), replacement(tmp_path / target, folder) as temporary:
            (temporary / "x" if folder else temporary).write_text("new")
            raise KeyboardInterrupt
    assert (tmp_path / "a").read_text() == (tmp_path / "b/deep/b").read_text() == "old"
    assert names(tmp_path) == ["a", "b"]


def test_a_folder_takes_the_place_of_a_folder(tmp_path: Path) -> None:
    fill(tmp_path / "new/b", "old")
    (tmp_path / "new/b/gone").touch()
    fill(tmp_path / "new/b", "new")
    assert names(tmp_path / "new/b") == ["a", "deep"]
    assert (tmp_path / "new/b/deep/b").read_text() == "new"
    with replacement(tmp_path / "new/b", folder=True, replaces=lambda: False) as temporary:
        (temporary / "c").touch()
    assert names(tmp_path / "new/b") == ["a", "deep"], "the first one stays"
    assert names(tmp_path / "new") == ["b"]


def test_a_file_is_not_replaced_by_a_folder_nor_a_folder_by_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(NotADirectoryError):
        fill(tmp_path / "file", "new")
    fill(tmp_path / "folder", "old")
    with pytest.raises(ResourceError, match=r"cannot write .*folder: Is a directory: choose another folder"):
        write_whole(tmp_path / "folder", "new")
    assert (tmp_path / "file").read_text() == "mine"
    assert names(tmp_path) == ["file", "folder"]


@pytest.mark.parametrize("hint", ["", "choose another --out"])
def test_a_full_disk(small_disk: Path, hint: str) -> None:
    write_whole(small_disk / "a", "old")
    with pytest.raises(ResourceError, match=r"cannot write .*/a: No space left on device") as error:
        write_whole(small_disk / "a", bytes(1 << 20), hint)
    assert error.value.hint == (hint or "free some space")
    assert (small_disk / "a").read_text() == "old"
    assert names(small_disk) == ["a"]


def _killed_at(moment: int, target: Path) -> None:
    """kill -9 at the n-th call of the system that a new folder takes: every sync and every rename."""
    count = 0

    def counted(call: Callable[..., object]) -> Callable[..., object]:
        def counting(*given: object) -> object:
            nonlocal count
            count += 1
            if count == moment:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*given)

        return counting

    for name in ("fsync", "rename", "replace"):
        setattr(os, name, counted(getattr(os, name)))
    fill(target, "new")


def test_a_kill_at_any_moment(tmp_path: Path) -> None:
    context, found = multiprocessing.get_context("fork"), set()
    for moment in range(1, 20):
        target = tmp_path / str(moment) / "b"
        fill(target, "old")
        process = context.Process(target=_killed_at, args=(moment, target))
        process.start()
        process.join(60)
        left = [path for path in (target, *target.parent.glob(f"{TEMPORARY}*-old")) if path.exists()]
        texts = {(path / "a").read_text() + (path / "deep/b").read_text() for path in left}
        assert len(texts) == 1, "one of them is there, whole; between the two renames under its other name"
        found |= texts
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
        swept = sweep(target.parent)
        assert [path.name.startswith(f"{TEMPORARY}b-") for path in swept] == [True] * len(swept)
        assert names(target.parent) in (["b"], [])
    assert moment >= 7
    assert found == {"oldold", "newnew"}


def test_a_sweep_looks_everywhere_and_takes_nothing_else(tmp_path: Path) -> None:
    for name in (f"{TEMPORARY}a", f"deep/{TEMPORARY}b/c", "deep/kept", ".kept"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "elsewhere").symlink_to(tmp_path / "deep")
    assert [path.name for path in sweep(tmp_path)] == [f"{TEMPORARY}a", f"{TEMPORARY}b"]
    assert sorted(names(tmp_path) + names(tmp_path / "deep")) == [".kept", "deep", "elsewhere", "kept"]


def test_a_lock_that_is_held(tmp_path: Path) -> None:
    held = lock(tmp_path / "lock")
    assert held is not None
    (tmp_path / "lock").write_text("who")
    assert lock(tmp_path / "lock") is None
    assert (tmp_path / "lock").read_text() == "who", "who asks changes nothing"
    told: list[str] = []
    waiting = threading.Thread(target=lambda: lock(tmp_path / "lock", lambda: told.append("wait")).release())
    waiting.start()
    while not told:
        time.sleep(0.01)
    assert waiting.is_alive()
    held.release()
    waiting.join(60)
    assert not waiting.is_alive()
    assert told == ["wait"]
    with pytest.raises(FileExistsError):
        lock(tmp_path / "lock" / "x")


def test_a_folder_that_is_replaced_is_never_absent(tmp_path: Path) -> None:
    folder, seen, stop = tmp_path / "best", [], threading.Event()
    fill(folder, "0")

    def look() -> None:
        while not stop.is_set():
            seen.append((folder / "a").exists())

    reader = threading.Thread(target=look)
    reader.start()
    for n in range(200):
        fill(folder, str(n))
    stop.set()
    reader.join()
    assert len(seen) > 100
    assert all(seen)
    assert names(tmp_path) == ["best"]


def test_a_folder_is_replaced_where_the_system_cannot_exchange_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("posezoo.base.files.write._exchange", lambda one, other: False)
    for text in ("1", "2"):
        fill(tmp_path / "best", text)
    assert (tmp_path / "best/deep/b").read_text() == "2"
    assert names(tmp_path) == ["best"]
