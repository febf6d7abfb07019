"""`posezoo data prepare` from the command line: archives of every benchmark, wrong ones, kills at every point."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import benchmark_trees
import faults
import pytest
from naming import naming
from posezoo_benchmarks import robotcar_images

from posezoo.cli import run

PREPARE = ["data", "prepare", "robotcar-loop", "--root", "d"]


@pytest.fixture(scope="session")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """RobotCar's twelve archives, small. Not to be changed: copy them."""
    pytest.importorskip("cv2", reason="opencv is not installed: pip install 'posezoo[robotcar]'")
    return benchmark_trees.archives("robotcar", tmp_path_factory.mktemp("rc") / "d", every=15, size=(64, 48))


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The same tree, never packed: sha256 of every file."""
    return faults.digests(benchmark_trees.robotcar(tmp_path_factory.mktemp("tree"), every=15, size=(64, 48)))


@pytest.fixture
def data(archives: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the archives in `d/`, and an image cache of its own."""
    monkeypatch.setenv("POSEZOO_CACHE", str(tmp_path / "cache"))
    shutil.copytree(archives, tmp_path / "d")
    return Path("d")


def assert_whole(data: Path, whole: dict[str, str]) -> None:
    """Every file of the tree is there, nothing else, and one image cache."""
    found = {name: digest for name, digest in faults.digests(data).items() if not name.endswith(".tar")}
    notes = {name for name in found if "/.posezoo/" in name}
    assert {name: digest for name, digest in found.items() if name not in notes} == whole
    assert sorted(Path(name).suffix for name in notes) == [""] + [".json"] * 12
    assert [path for path in Path("cache/images").iterdir() if path.name.startswith(".")] == []
    assert len([path for path in Path("cache/images").iterdir() if path.name != "digests"]) == 1


@pytest.mark.parametrize(
    ("fault", "whole_files"),
    [
        ("unpack.file:kill9:3", False),
        pytest.param("unpack.merge:kill9:2", False, marks=pytest.mark.slow),
        ("unpack.rename:kill9:3", False),
        pytest.param("unpack.note:kill9:12", True, marks=pytest.mark.slow),
        pytest.param("cache.image:kill9:4", True, marks=pytest.mark.slow),
        ("cache.rename:kill9", True),
    ],
)
def test_a_kill_at_any_point_is_made_good_by_the_same_command(
    data: Path, whole: dict[str, str], fault: str, whole_files: bool
) -> None:
    assert faults.own_process(PREPARE, fault).code == -9
    left = faults.in_process(["data", "verify", "robotcar-loop", "--root", "d"])
    if not fault.startswith("cache"):
        assert left.code == 3, "no half folder counts as whole"
        assert "unpacked: posezoo data prepare" in left.stdout
    ended = faults.in_process([*PREPARE, "--format", "json"])
    assert ended.code == 0, ended
    assert_whole(data, whole)
    answer = json.loads(ended.stdout)
    assert (sum(one["written"] for one in answer["unpacked"]) == 0) == whole_files
    assert len(answer["unpacked"]) + len(answer["unpacked_before"]) == 12


@pytest.mark.parametrize(
    "fault",
    [
        "unpack.file:sigint:9",
        *(pytest.param(one, marks=pytest.mark.slow) for one in ("unpack.rename:sigint:2", "cache.image:sigint:3")),
    ],
)
def test_ctrl_c(data: Path, whole: dict[str, str], fault: str) -> None:
    ended = faults.own_process(PREPARE, fault)
    assert (ended.code, ended.stdout) == (130, "")
    assert ended.stderr == "posezoo: stopped\n"
    assert not list(data.rglob("unpacking-*"))
    assert faults.in_process(PREPARE).code == 0
    assert_whole(data, whole)


def test_two_at_once(data: Path, whole: dict[str, str]) -> None:
    ended: list[faults.Ended] = []
    threads = [threading.Thread(target=lambda: ended.append(faults.own_process(PREPARE))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.code for one in ended] == [0, 0], ended
    assert_whole(data, whole)


def test_a_full_disk(data: Path, whole: dict[str, str]) -> None:
    ended = faults.own_process(PREPARE, "unpack.file:full:4")
    pattern = (
        r"disk full while unpacking 2014-06-26-08-53-56_stereo_centre_01.tar \(.* GB free\): d/robotcar: free space"
    )
    faults.assert_fails([], 6, pattern, ended=ended)
    assert faults.in_process(PREPARE).code == 0
    assert_whole(data, whole)


def test_wrong_archives(data: Path) -> None:
    path = data / "robotcar/2014-06-26-09-24-58_gps.tar"
    good = path.read_bytes()
    for content, words in (
        (
            good[: len(good) // 2],
            r"_gps\.tar is damaged at or after member 2014-06-26-09-24-58/gps/ins\.csv \(.*\): fetch it again",
        ),
        (
            b"<html>log in</html>",
            r"_gps\.tar is not a zip, tar or tar\.gz: it begins with '<html>log in</ht': fetch it",
        ),
        (b"", r"_gps\.tar is not a zip, tar or tar\.gz: it begins with ''"),
    ):
        path.write_bytes(content)
        faults.assert_fails(PREPARE, 3, words, list(data.glob("*/*.tar")))
        assert sorted(path.name for path in (data / "robotcar").iterdir() if path.is_dir()) == [".posezoo"]
    path.unlink()
    pattern = r"no archive 2014-06-26-09-24-58_gps\.tar here: posezoo data how-to robotcar-loop"
    faults.assert_fails(PREPARE, 3, pattern)
    path.write_bytes(good)
    assert run(PREPARE) == 0


def test_nothing_here(tmp_path: Path) -> None:
    faults.assert_fails(PREPARE, 3, naming("robotcar-loop", "d", "posezoo data how-to robotcar-loop"))
    Path("d").mkdir()
    faults.assert_fails(
        PREPARE, 3, r"no archive .*_stereo_centre_\*\.tar and 7 more here: posezoo data how-to robotcar"
    )
    faults.assert_fails(["data", "prepare", "robotcar-lop"], 2, naming("robotcar-loop"))
    assert list(Path("d").iterdir()) == [], "nothing was written"


def test_seven_scenes_zips_in_a_zip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    packed = benchmark_trees.archives("7scenes", tmp_path / "packed", every=10, size=(64, 48))
    tree = benchmark_trees.seven_scenes(tmp_path / "tree", every=10, size=(64, 48))
    assert list(faults.digests(packed)) == ["7scenes/heads.zip"]
    assert run(["data", "prepare", "7scenes-heads", "--root", str(packed)]) == 0
    told = capsys.readouterr().out
    assert "unpacked: heads.zip: 28 new files, 0 kept\n" in told
    assert f"7scenes-heads: 10 train, 3 test frames in {packed}/7scenes\n" in told
    found = faults.digests(packed / "7scenes/heads")
    assert found == faults.digests(tree / "7scenes/heads")


def test_own_data_and_the_demo_get_their_image_cache(one_place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "prepare", f"folder:{one_place}", "--format", "json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["frames"], answer["unpacked"]) == ({"train": 24, "test": 8}, [])
    assert (Path(answer["cache"]) / "pixels.u8").stat().st_size
    assert not (one_place / ".posezoo").exists()
    assert run(["data", "prepare", f"folder:{one_place}", "--format", "quiet"]) == 0
    assert capsys.readouterr().out == ""


def test_without_opencv_archives_are_unpacked_all_the_same(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(robotcar_images, "find_spec", lambda name: None)
    faults.assert_fails(PREPARE, 2, naming("pip install 'posezoo[robotcar]'"))
    assert (data / "robotcar/2014-06-26-08-53-56/gps/ins.csv").exists()
