"""Unpacking: what comes out, what stays, what a full disk, a hostile folder or a kill leaves behind.

Long: each hostile archive is a case of its own.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import tarfile
import tempfile
import threading
import zipfile
from collections import namedtuple
from collections.abc import Callable
from io import BytesIO
from multiprocessing import SimpleQueue
from pathlib import Path

import fault_points
import pytest
from archive_files import write_tar, write_zip
from naming import naming

from posezoo.base.errors import DataError, ResourceError
from posezoo.catalogue.forms import Archive as ArchiveEntry
from posezoo.catalogue.forms import DataCard
from posezoo.data.archives import unpack
from posezoo.data.archives.unpack import Packed, Unpacked

FILES = {"room/TestSplit.txt": b"sequence1\n", "room/seq-01/f.pose.txt": b"1 0 0 0\n" * 400}


def quiet(what: str, done: int, total: int) -> None:
    pass


def one(path: Path, to: str = ".") -> Packed:
    return Packed(path, path.parent, to)


def run(path: Path, to: str = ".") -> Unpacked:
    """Unpack one archive beside itself."""
    with unpack.unpack_lock(path.parent, lambda text: None):
        return unpack.unpack(one(path, to), quiet)


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below, but for ours and the archives."""
    files = (path for path in folder.rglob("*") if path.is_file() and unpack.WORK not in path.parts)
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
    return {name: data for name, data in found.items() if not name.endswith((".zip", ".tar"))}


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in (folder / unpack.WORK).iterdir() if not path.name.endswith(("lock", ".json"))]


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_out_and_not_again(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"room.{kind}"
    (write_zip if kind == "zip" else write_tar)(path, FILES)
    before = path.read_bytes()
    assert not unpack.is_unpacked(one(path))
    assert run(path) == Unpacked(path.name, 2, 0)
    assert tree(tmp_path) == FILES
    assert unpack.is_unpacked(one(path))
    assert path.read_bytes() == before
    assert leftovers(tmp_path) == []
    (tmp_path / "room/TestSplit.txt").unlink()
    assert not unpack.is_unpacked(one(path)), "what is gone is unpacked again"
    assert run(path) == Unpacked(path.name, 1, 1)
    os.utime(path, (1, 1))
    assert not unpack.is_unpacked(one(path)), "another archive of this name"


def test_into_a_folder(tmp_path: Path) -> None:
    run(write_zip(tmp_path / "winter.zip", FILES), to="ecl/deep")
    assert tree(tmp_path) == {f"ecl/deep/{name}": data for name, data in FILES.items()}


def zipped(files: dict[str, bytes]) -> bytes:
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return file.getvalue()


def test_archives_in_an_archive_come_out_where_they_lie(tmp_path: Path) -> None:
    deep = zipped({"x": b"1"})
    files = {
        "chess/TrainSplit.txt": b"sequence1\n",
        "chess/seq-01.zip": zipped({"seq-01/a": b"1", "seq-01/b": b"2", "seq-01/deep.zip": deep}),
        "chess/seq-02.ZIP": zipped({"a": b"3", "b": b"4"}),  # loose files get a folder
    }
    assert run(write_zip(tmp_path / "chess.zip", files)) == Unpacked("chess.zip", 6, 0)
    assert tree(tmp_path) == {
        "chess/TrainSplit.txt": b"sequence1\n",
        "chess/seq-01/a": b"1",
        "chess/seq-01/b": b"2",
        "chess/seq-02/a": b"3",
        "chess/seq-02/b": b"4",
    }
    assert (tmp_path / "chess/seq-01/deep.zip").read_bytes() == deep


@pytest.mark.parametrize(
    ("inner", "words"),
    [
        (b"PK\x03\x04 no", "room.zip.*room/seq-01.zip"),
        (b"hello", "room.zip.*room/seq-01.zip.*'hello'"),
        (zipped({"../../x/y": b"1"}), r"room.zip.*room/seq-01.zip.*\.\./\.\./x/y"),
        (zipped({"seq-01/a": b"1"}), "room.zip.*room/seq-01.zip.*seq-01/a"),
    ],
)
def test_the_archive_inside_is_named(tmp_path: Path, inner: bytes, words: str) -> None:
    path = write_zip(tmp_path / "room.zip", {"room/seq-01/a": b"1", "room/seq-01.zip": inner})
    with pytest.raises(DataError, match=words):
        run(path)
    assert tree(tmp_path) == {}
    assert leftovers(tmp_path) == []


def test_a_bomb_in_an_archive_counts_for_the_whole(tmp_path: Path) -> None:
    inner = BytesIO()
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/zeros", bytes(30_000_000))
    path = write_zip(tmp_path / "bomb.zip", {"a.zip": inner.getvalue()})
    with pytest.raises(DataError, match=naming("bomb.zip")):
        run(path)
    assert leftovers(tmp_path) == []


# what is there already ---------------------------------------------------------------------------------------------


def test_what_was_unpacked_by_hand_is_compared_and_completed(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "room.zip", FILES)
    (tmp_path / "room").mkdir()
    kept = tmp_path / "room/TestSplit.txt"
    kept.write_bytes(FILES["room/TestSplit.txt"])
    number = kept.stat().st_ino
    assert run(path) == Unpacked("room.zip", 1, 1)
    assert kept.stat().st_ino == number
    assert tree(tmp_path) == FILES


@pytest.mark.parametrize("other", [b"sequence2\n", b"seq", b""])
def test_no_file_is_ever_replaced(tmp_path: Path, other: bytes) -> None:
    path = write_zip(tmp_path / "room.zip", FILES)
    (tmp_path / "room").mkdir()
    (tmp_path / "room/TestSplit.txt").write_bytes(other)
    with pytest.raises(DataError, match=naming("1", "room.zip", "room/TestSplit.txt")) as caught:
        run(path)
    assert [str(finding) for finding in caught.value.findings] == [
        "room/TestSplit.txt: differs from the file in room.zip",
    ]
    assert tree(tmp_path) == {"room/TestSplit.txt": other}
    assert not unpack.is_unpacked(one(path))


def make_link(root: Path, outside: Path) -> None:
    (root / "room").symlink_to(outside)


def make_deep_link(root: Path, outside: Path) -> None:
    (root / "room").mkdir()
    (root / "room/seq-01").symlink_to(outside)


def make_file(root: Path, outside: Path) -> None:
    (root / "room").write_text("")


def make_folder(root: Path, outside: Path) -> None:
    (root / "room/TestSplit.txt").mkdir(parents=True)


def make_broken(root: Path, outside: Path) -> None:
    (root / "room").mkdir()
    (root / "room/TestSplit.txt").symlink_to(outside / "new")


WAYS = {
    make_link: "is a link that leads outside the data set",
    make_deep_link: "is a link that leads outside the data set",
    make_file: "is a file where the archive has a folder",
    make_folder: "first: room/TestSplit.txt",
    make_broken: "first: room/TestSplit.txt",
}


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_what_stands_in_the_way(tmp_path: Path, way: Callable[[Path, Path], None]) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "root").mkdir()
    path = write_zip(tmp_path / "root/room.zip", FILES)
    way(tmp_path / "root", tmp_path / "outside")
    with pytest.raises(DataError, match=WAYS[way]):
        run(path)
    assert list((tmp_path / "outside").iterdir()) == []
    assert leftovers(tmp_path / "root") == []


def test_our_own_folder_is_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "root").mkdir()
    (tmp_path / "root/.posezoo").symlink_to(tmp_path / "elsewhere")
    path = write_zip(tmp_path / "root/room.zip", FILES)
    with pytest.raises(ResourceError, match=naming(".posezoo")):
        run(path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"archive": 1}', "[" * 100_000, '{"archive": null, "files": 3}'])
def test_damaged_notes(tmp_path: Path, text: str) -> None:
    path = write_zip(tmp_path / "room.zip", FILES)
    run(path)
    one(path).beside("json").write_text(text)
    assert not unpack.is_unpacked(one(path))
    assert run(path) == Unpacked("room.zip", 0, 2)
    assert unpack.is_unpacked(one(path))


# disks -------------------------------------------------------------------------------------------------------------


def test_too_small_a_disk_is_told_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_zip(tmp_path / "room.zip", {"big": bytes(3_000_000)})
    usage = namedtuple("usage", "total used free")(9, 9, 2_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(ResourceError, match=naming("room.zip", "3.0 MB", "2.0 MB")) as caught:
        run(path)
    assert caught.value.exit_code == 6
    assert unpack.required_bytes([one(path)], quiet) == 3_000_000
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("fault", ["unpack.file:full:2", "unpack.rename:full", "unpack.note:full"])
def test_a_disk_that_fills_up(tmp_path: Path, fault: str) -> None:
    path = write_zip(tmp_path / "room.zip", FILES)
    with (
        fault_points.at(fault),
        pytest.raises(ResourceError, match=r"room\.zip.*\d GB"),
    ):
        run(path)
    assert not [name for name in leftovers(tmp_path) if name.startswith("unpacking")]
    run(path)
    assert tree(tmp_path) == FILES
    assert leftovers(tmp_path) == []


def as_nobody(folder: Path, path: Path) -> str:
    """What unpacking gives to a user who may not write to `folder`."""

    def child(answers: SimpleQueue[str]) -> None:
        if os.getuid() == 0:
            os.setgroups([])
            os.setresuid(65534, 65534, 65534)
        try:
            answers.put(str(run(path)))
        except Exception as error:
            answers.put(f"{type(error).__name__}: {error}")

    modes = {place: place.stat().st_mode for place in (folder, *folder.rglob("*"))}
    for place, mode in modes.items():
        place.chmod(mode & 0o555 | 0o444 | (0o111 if place.is_dir() else 0))
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    process = context.Process(target=child, args=(answers,))
    process.start()
    answer = answers.get()
    process.join()
    for place, mode in modes.items():
        place.chmod(mode)
    return answer


def test_a_folder_that_cannot_be_written() -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to others
        path = write_zip(Path(name) / "room.zip", FILES)
        assert as_nobody(path.parent, path) == (
            f"ResourceError: cannot unpack room.zip: {name}/.posezoo: Permission denied:"
            " unpack in a folder that you may write to, and name it with --root"
        )
        run(path)
        shutil.rmtree(path.parent / unpack.WORK)
        assert as_nobody(path.parent, path) == str(Unpacked("room.zip", 0, 2)), "all is there: nothing to write"


# order -------------------------------------------------------------------------------------------------------------


def test_a_second_one_waits_and_leftovers_are_swept(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "room.zip", FILES)
    left = tmp_path / unpack.WORK / "unpacking-room.zip/files/room"
    left.mkdir(parents=True)
    told: list[str] = []
    done: list[Unpacked] = []

    def second() -> None:
        with unpack.unpack_lock(tmp_path, told.append):
            done.append(unpack.unpack(one(path), quiet))

    with unpack.unpack_lock(tmp_path, told.append):
        assert not left.exists()
        thread = threading.Thread(target=second)
        thread.start()
        while not told:
            thread.join(0.01)
        assert told == [f"another posezoo process is unpacking in {tmp_path}: waiting for it"]
        assert done == []
        unpack.unpack(one(path), quiet)
    thread.join()
    assert done == [Unpacked("room.zip", 0, 2)]


CARD = DataCard(
    summary="", reader="7scenes", folder="d", kind="indoor", licence="x",
    archives=(
        ArchiveEntry(file="room.zip", part="room"),
        ArchiveEntry(file="run_*.tar", part="run"),
        ArchiveEntry(file="more/*.zip", to="more"),
    ),
)  # fmt: skip


def test_the_archives_of_a_card(tmp_path: Path) -> None:
    for name in ("room.zip", "run_1.tar", "run_2.tar", "other.zip"):
        (tmp_path / name).touch()
    found, absent = unpack.archives_of(CARD, tmp_path, lambda part: True)
    assert [(packed.name, packed.to) for packed in found] == [("room.zip", "."), ("run_1.tar", "."), ("run_2.tar", ".")]
    assert absent == ["more/*.zip"]
    found, absent = unpack.archives_of(CARD, tmp_path, lambda part: part == "room")
    assert ([packed.name for packed in found], absent) == (["room.zip"], ["more/*.zip"])


def test_a_half_unpacked_archive_is_known_by_name(tmp_path: Path) -> None:
    (tmp_path / unpack.WORK).mkdir()
    for name in ("run_1.tar", "more/winter.zip", "other.zip"):
        Packed(tmp_path / name, tmp_path).beside("renaming").touch()
    assert unpack.interrupted(CARD, tmp_path, lambda part: True) == ["more/winter.zip", "run_1.tar"]
    assert unpack.interrupted(CARD, tmp_path, lambda part: False) == ["more/winter.zip"]


def test_names_without_utf8_and_progress(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "t.tar", {"caf\udce9/a\n": b"1" * 3_000_000}, form=tarfile.GNU_FORMAT)
    seen: list[tuple[str, int, int]] = []
    with unpack.unpack_lock(tmp_path, lambda text: None):
        unpack.unpack(one(path), lambda *told: seen.append(told))
    assert (tmp_path / os.fsdecode(b"caf\xe9") / "a\n").stat().st_size == 3_000_000
    assert unpack.is_unpacked(one(path))
    assert seen[-1] == ("unpacking t.tar, MB", 2, 2)
    assert json.loads(one(path).beside("json").read_text())["files"] == {"caf\udce9/a\n": 3_000_000}
