"""Data sets by name: checks, splits, digests, and the real 7Scenes frames.

Long because it mirrors the one table that every reader fills.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naming import naming
from own_folder import MakeFolder, picture, pose_row, write_csv
from PIL import Image

from posezoo.base.errors import DataError, PluginError, UsageError
from posezoo.base.spec import Frame, ReadResult
from posezoo.data import validation
from posezoo.data.images.cache import ImageCache
from posezoo.data.open import Dataset, inspect_dataset, open_dataset
from posezoo.data.splits import default_blocks, runs, validation_blocks
from posezoo.data.table import Frames


def frames_of(sequences: dict[str, int], scene: str = "s") -> Frames:
    """Frames 1 cm apart in sequences of the given lengths."""
    rows = [
        Frame(f"{name}/{n:05d}.png", (n / 100, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0), scene, "train", name)
        for name, count in sequences.items()
        for n in range(count)
    ]
    return Frames.from_rows(Path(), rows)


def findings_of(name: str, **options: Any) -> list[str]:
    with pytest.raises(DataError) as caught:
        open_dataset(name, **options)
    assert "\n" not in str(caught.value)
    return [str(finding) for finding in caught.value.findings]


def test_importing_the_package_imports_no_torch() -> None:
    code = "import sys; from posezoo.data.open import open_dataset; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_own_folder(make_folder: MakeFolder) -> None:
    folder = make_folder()
    dataset = open_dataset(f"folder:{folder}")
    frames = dataset.frames
    assert (len(frames), frames.scenes, dataset.kind) == (10, ("photos",), "indoor")
    assert frames.images.dtype.kind == "S"
    assert frames.path(3) == folder / "a/03.png"
    assert np.isnan(frames.intrinsics).all()
    assert [len(dataset.require(split)) for split in ("train", "test")] == [8, 2]
    assert frames.poses().images[9] == "a/09.png"
    assert pickle.loads(pickle.dumps(frames)).name(2) == "a/02.png"  # noqa: S301


def test_select() -> None:
    frames = frames_of({"a": 5, "b": 3})
    assert [frames.select([7, 0]).name(i) for i in range(2)] == ["b/00002.png", "a/00000.png"]
    assert len(frames.select([])) == 0
    assert len(frames.select(frames.sequence == "b")) == 3
    assert len(frames.of_scene("s")) == 8
    assert len(frames.of_scene("elsewhere")) == 0


def test_empty_split_is_an_error_only_when_asked_for(make_folder: MakeFolder) -> None:
    dataset = open_dataset(f"folder:{make_folder([pose_row('a.png', split='train')])}")
    with pytest.raises(DataError, match=naming("test", "0")):
        dataset.require("test")


def test_wide_data_are_outdoor(make_folder: MakeFolder) -> None:
    assert open_dataset(f"folder:{make_folder([pose_row(f'{n}.png', 10 * n) for n in range(12)])}").kind == "outdoor"


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (pose_row("gone.png"), "poses.csv:3: no such image: gone.png"),
        (pose_row("../a.png"), "points outside the data set: ../a.png"),
        (pose_row("/etc/hosts"), "points outside the data set: /etc/hosts"),
        (pose_row("b/../../photos/../x.png"), "points outside the data set"),
        (pose_row("C:\\x.png"), "points outside the data set"),
        (pose_row(""), "not a file name"),
        (pose_row("."), "not a file name"),
        (pose_row("x" * 300), "too long"),
        (pose_row("empty.png"), "empty file: empty.png"),
        (pose_row("folder"), "not a regular file: folder"),
        (pose_row("pipe"), "not a regular file: pipe"),
        (pose_row("link-out.png"), "points outside the data set: link-out.png"),
        (pose_row("linked/hosts"), "points outside the data set: linked/hosts"),
        (pose_row("loop.png"), "loop.png"),
        (pose_row("a.png", qw=0), "zero quaternion"),
        (pose_row("a.png", qw=1.01), "quaternion is not unit (option normalise=true): |q| = 1.01"),
        (pose_row("a.png", qw=1e200), "quaternion has no finite length"),
        (pose_row("a.png", n=10**9), "over 1e8 m away"),
        (pose_row("a.png", fx=0, fy=1, cx=1, cy=1), "focal length is not positive"),
        (pose_row("a.png", fx=1, fy="", cx=1, cy=1), "value 2 is not a finite number"),
        (pose_row("a.png", timestamp="1.5"), "timestamp is no number of microseconds"),
        (pose_row("a.png", split="tset"), "split 'tset' is none of train, val, test (did you mean test?)"),
        (pose_row("a.png", split=""), "no split, though other rows have one"),
        (pose_row("ok.png", 5, split="train"), "another pose for ok.png stands in poses.csv:2"),
        (pose_row("./ok.png", split="test"), "another entry for ok.png stands in poses.csv:2"),
    ],
)
def test_bad_rows(tmp_path: Path, row: dict[str, object], words: str) -> None:
    folder = tmp_path / "photos"
    write_csv(folder / "poses.csv", [pose_row("ok.png", split="train"), {"split": "train", **row}])
    for name in ("ok.png", "a.png", "b/x.png"):
        picture(folder / name)
    picture(tmp_path / "a.png")
    (folder / "empty.png").touch()
    (folder / "folder").mkdir()
    os.mkfifo(folder / "pipe")
    (folder / "link-out.png").symlink_to(tmp_path / "a.png")
    (folder / "linked").symlink_to("/etc")
    (folder / "loop.png").symlink_to("loop.png")
    found = findings_of(f"folder:{folder}")
    if row.get("fx") is None and "timestamp" not in row:
        assert len(found) == 1
    assert any(words in finding for finding in found), found
    assert any(finding.startswith("poses.csv:3: ") for finding in found)


def test_all_problems_come_at_once(make_folder: MakeFolder) -> None:
    rows = [pose_row("a.png", qw=0), pose_row("b.png"), pose_row("c.png", x="nan"), pose_row("d.png")]
    folder = make_folder(rows)
    (folder / "d.png").unlink()
    with pytest.raises(DataError, match=naming("3", "poses.csv:4")) as e:
        open_dataset(f"folder:{folder}")
    assert len(e.value.findings) == 3
    assert e.value.exit_code == 3
    dataset, findings = inspect_dataset(f"folder:{folder}")
    assert (len(dataset.frames), len(findings)) == (1, 3)


def test_links_inside_are_fine_and_outside_on_request(make_folder: MakeFolder, tmp_path: Path) -> None:
    folder = make_folder([pose_row("a.png"), pose_row("b.png", 1), pose_row("c.png", 2)])
    picture(tmp_path / "elsewhere.png")
    for name, target in (("b.png", folder / "a.png"), ("c.png", tmp_path / "elsewhere.png")):
        (folder / name).unlink()
        (folder / name).symlink_to(target)
    assert findings_of(f"folder:{folder}") == ["poses.csv:4: points outside the data set: c.png"]
    assert len(open_dataset(f"folder:{folder}?follow-symlinks=true").frames) == 3


def test_quaternions_are_normalised_and_counted(make_folder: MakeFolder) -> None:
    folder = make_folder([pose_row("a.png", qw=-1.0005), pose_row("b.png"), pose_row("c.png", qw=1 + 1e-8)])
    dataset = open_dataset(f"folder:{folder}")
    np.testing.assert_allclose(dataset.frames.quaternion, [[1, 0, 0, 0]] * 3, atol=1e-15)
    assert any("1 of 3 quaternions normalised" in note for note in dataset.notes)
    folder = make_folder([pose_row("a.png", qw=2), pose_row("b.png")])
    dataset = open_dataset(f"folder:{folder}?normalise=true")
    assert dataset.frames.quaternion[0].tolist() == [1, 0, 0, 0]
    assert any("1 of 2 quaternions normalised" in note for note in dataset.notes)


def test_turned_photographs_are_counted(make_folder: MakeFolder) -> None:
    folder = make_folder([pose_row(f"{n}.jpg", n) for n in range(4)])
    for n, tag in ((1, 6), (2, 1)):
        exif = Image.Exif()
        exif[0x0112] = tag
        Image.new("RGB", (40, 30)).save(folder / f"{n}.jpg", exif=exif)
    (folder / "3.jpg").write_bytes(b"\xff\xd8\xff\xe1\x00\x10Exif\0\0MM\0*\xff\xff\xff\xff")
    notes = open_dataset(f"folder:{folder}").notes
    ignored = "1 of 4 images have an EXIF orientation: ignored, poses refer to the stored pixels (exif=true turns them)"
    assert ignored in notes


def test_turned_on_request(make_folder: MakeFolder) -> None:
    rows = [pose_row(f"{n}.jpg", n, fx=50, fy=30, cx=11, cy=5) for n in range(3)]
    folder = make_folder([*rows, pose_row("3.jpg", 3)], pictures=False)
    exif = Image.Exif()
    exif[0x0112] = 6
    for n in range(4):
        Image.new("RGB", (40, 24)).save(folder / f"{n}.jpg", exif=Image.Exif() if n == 1 else exif)
    dataset = open_dataset(f"folder:{folder}?exif=true")
    np.testing.assert_array_equal(dataset.frames.intrinsics[:2], [[30, 50, 24 - 5, 11], [50, 30, 11, 5]])
    assert np.isnan(dataset.frames.intrinsics[3]).all()
    assert "3 of 4 images are turned by their EXIF orientation, their intrinsics too" in dataset.notes
    assert not any("ignored" in note for note in dataset.notes)
    cache = ImageCache.open(dataset.frames)
    images, intrinsics = cache.batch([0])
    assert images.shape == (1, 3, 427, 256)
    x, y = 256 / 24, 427 / 40
    np.testing.assert_allclose(intrinsics[0], [30 * x, 50 * y, 19 * x, 11 * y])
    stored = ImageCache.open(open_dataset(f"folder:{folder}").frames)
    assert stored.folder != cache.folder
    assert stored.batch([0])[0].shape == (1, 3, 256, 427)
    with pytest.raises(UsageError, match=naming("exif", "yes")):
        open_dataset(f"folder:{folder}?exif=yes")


def test_animations_are_told(make_folder: MakeFolder) -> None:
    folder = make_folder([pose_row("a.png"), pose_row("b.png", 1)])
    Image.new("RGB", (16, 16)).save(folder / "a.png", save_all=True, append_images=[Image.new("RGB", (16, 16), "red")])
    notes = open_dataset(f"folder:{folder}").notes
    assert "1 of 2 images hold several pictures: the first of each is read" in notes


def test_repeated_rows_are_dropped_and_counted(make_folder: MakeFolder) -> None:
    dataset = open_dataset(f"folder:{make_folder([pose_row('a.png'), pose_row('a.png'), pose_row('b.png')])}")
    assert len(dataset.frames) == 2
    assert "1 repeated rows dropped" in dataset.notes


@pytest.mark.parametrize("name", [b"caf\xe9.png", "日本 😀.png".encode(), b"new\nline.png"[:3] + b" x.png", b"a,b.png"])
def test_any_file_name(tmp_path: Path, name: bytes) -> None:
    text = os.fsdecode(name)
    write_csv(tmp_path / "photos/poses.csv", [pose_row(text)])
    picture(tmp_path / "photos/ok.png")
    (tmp_path / "photos/ok.png").rename(tmp_path / "photos" / text)
    dataset = open_dataset(f"folder:{tmp_path / 'photos'}")
    assert dataset.frames.name(0) == text
    assert dataset.frames.path(0).exists()
    assert len(dataset.digest) == 64


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("nowhere", UsageError, r"\bnowhere\b"),
        ("7scenes-ches", UsageError, "7scenes-chess"),
        ("floder:x", UsageError, r"\bfolder\b"),
        ("folder:/no/such/place", DataError, "/no/such/place"),
        ("7scenes-chess", DataError, "chess.zip.*POSEZOO_DATA"),
        ("folder:.?colour=red", UsageError, "colour"),
        ("folder:.?normalise=yes", UsageError, "normalise=true"),
        ("csv:.", UsageError, "convention"),
    ],
)
def test_names(name: str, error: type[Exception], words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POSEZOO_DATA", raising=False)
    with pytest.raises(error, match=words):
        open_dataset(name)


def test_absent_benchmark_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSEZOO_DATA", str(tmp_path))
    with pytest.raises(DataError, match=naming("7scenes", tmp_path / "7scenes")):
        open_dataset("7scenes")


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (None, PluginError, "NoneType"),
        (ReadResult(["a.png"]), PluginError, r"\bstr\b"),  # type: ignore[list-item]
        (ReadResult([Frame("a/00.png", (0, 0), (1, 0, 0, 0))]), PluginError, r"\b3 \+ 4\b"),  # type: ignore
        (ZeroDivisionError("division by zero"), PluginError, "folder.*ZeroDivisionError"),
        (PermissionError(13, "Permission denied", "x.csv"), DataError, "x.csv: Permission denied"),
    ],
)
def test_reader_that_breaks_the_contract(
    make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch, answer: Any, error: type[Exception], words: str
) -> None:
    def read(_: object) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr("posezoo_benchmarks.own_data.read_folder", read)
    with pytest.raises(error, match=words):
        open_dataset(f"folder:{make_folder()}")


def test_digest_sees_poses_splits_and_names(make_folder: MakeFolder) -> None:
    def digest(*rows: dict[str, object]) -> str:
        return open_dataset(f"folder:{make_folder(rows)}").digest

    a, b = pose_row("a.png", split="train"), pose_row("b.png", split="test")
    first = digest(a, b)
    assert first == digest({**a, "qw": -1}, b)
    others = {digest({**a, "x": 0.001}, b), digest({**a, "split": "val"}, b), digest({**a, "image": "c.png"}, b)}
    assert len(others | {first}) == 4


# splits ------------------------------------------------------------------------------------------------------------


def test_split_file_beside_the_images_or_in_the_root(make_folder: MakeFolder, tmp_path: Path) -> None:
    folder = make_folder()
    picks = [("00.png", "train"), ("01.png", "val"), ("09.png", "test")]
    beside = write_csv(folder / "a/pick.csv", [{"image": image, "split": split} for image, split in picks])
    root = [{"image": f"a/{image}", "split": split} for image, split in picks]
    away = write_csv(tmp_path / "pick.csv", root)
    for path in (beside, away):
        frames = open_dataset(f"folder:{folder}", split=path).frames
        assert [frames.name(i) for i in range(3)] == ["a/00.png", "a/01.png", "a/09.png"]
        assert frames.split.tolist() == ["train", "val", "test"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "pick.csv: empty file"),
        ("image,split\n", "pick.csv: lists no image"),
        ("image\na/00.png\n", "pick.csv:1: column split is missing"),
        ("image,split\na/00.png,train\na/77.png,test\n", "pick.csv:3: no such image: a/77.png"),
        ("image,split\na/00.png,training\n", "pick.csv:2: split 'training' is none of"),
        ("image,split\na/00.png,validation\n", "(did you mean val?)"),
        ("image,split\na/00.png\n", "pick.csv:2: expected 2 columns, got 1"),
        ("image,split\na/00.png,train\n./a/00.png,test\n", "pick.csv:3: a/00.png is already listed on line 2"),
        ("image,split\n../pick.csv,train\n", "pick.csv:2: no such image: ../pick.csv"),
        ("image,split\n/etc/hosts,train\n", "no such image: /etc/hosts"),
        ("image,split\nposes.csv,train\n", "pick.csv:2: no usable pose for poses.csv"),
    ],
)
def test_bad_split_files(make_folder: MakeFolder, tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "pick.csv").write_text(text)
    assert any(words in finding for finding in findings_of(f"folder:{make_folder()}", split=tmp_path / "pick.csv"))


def test_missing_split_file(make_folder: MakeFolder, tmp_path: Path) -> None:
    assert "no such file" in findings_of(f"folder:{make_folder()}", split=tmp_path / "none.csv")[0]


def test_default_blocks_are_whole_blocks(make_folder: MakeFolder) -> None:
    dataset = open_dataset(f"folder:{make_folder([pose_row(f'{n:03d}.png', n) for n in range(50)])}")
    assert np.flatnonzero(dataset.frames.split == "test").tolist() == [*range(20, 25), *range(45, 50)]
    assert any("every fifth block of 5 consecutive frames is test (10 of 50)" in note for note in dataset.notes)


def test_default_blocks_of_short_sequences_are_the_sequences() -> None:
    split = default_blocks(frames_of({f"{n:02d}": 4 for n in range(20)}), [])
    assert np.flatnonzero(split == "test").tolist() == [4 * s + n for s in (4, 9, 14, 19) for n in range(4)]


def test_runs_follow_the_timestamps_where_known() -> None:
    rows = [Frame(f"{n}.png", (0, 0, 0), (1, 0, 0, 0), timestamp=t) for n, t in enumerate([30, 10, 20])]
    assert [run.tolist() for run in runs(Frames.from_rows(Path(), rows))] == [[1, 2, 0]]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 400), min_size=1, max_size=8), st.floats(0.02, 0.4))
def test_validation_blocks(lengths: list[int], fraction: float) -> None:
    frames = frames_of({f"{n}": length for n, length in enumerate(lengths)})
    held = validation_blocks(frames, fraction)
    assert np.array_equal(held, validation_blocks(frames, fraction))
    total = len(frames)
    if total < 2:
        assert not held.any()
        return
    assert 0 < held.sum() < total
    assert held.sum() <= max(1, fraction * total) + 25
    if total >= 100 and min(lengths) >= 50:
        assert held.sum() >= 0.5 * fraction * total
        ends = np.flatnonzero(np.diff(held.astype(int), prepend=0, append=0))
        # a run of held frames is a block, or blocks that touch where sequences meet
        assert np.diff(ends)[::2].min() >= min(10, int(fraction * total))


def test_validation_blocks_of_real_sizes() -> None:
    held = validation_blocks(frames_of({"a": 1000}), 0.1)
    assert held.sum() == 100
    assert np.sum(np.diff(held.astype(int)) == 1) == 4
    assert not validation_blocks(frames_of({"a": 1000}), 0).any()


# real data ---------------------------------------------------------------------------------------------------------


def test_red_kitchen_blocks(real_data: Path) -> None:
    split = real_data / "7scenes/redkitchen/blocks.csv"
    dataset = open_dataset("7scenes-redkitchen", root=real_data / "7scenes", split=split)
    assert [len(dataset.require(word)) for word in ("train", "test")] == [800, 200]
    assert dataset.kind == "indoor"
    assert dataset.frames.intrinsics[0].tolist() == [525, 525, 320, 240]
    assert dataset.frames.name(0) == "redkitchen/seq-01/frame-000000.color.jpg"
    for root in (real_data / "7scenes/redkitchen", real_data):
        assert open_dataset("7scenes-redkitchen", root=root, split=split).digest == dataset.digest
    by_path = open_dataset(f"7scenes:{real_data / '7scenes'}", split=split)
    assert by_path.digest == dataset.digest
    step = np.linalg.norm(np.diff(dataset.frames.position, axis=0), axis=1)
    assert np.median(step) < 0.05  # metres between neighbours at 30 frames a second


def test_red_kitchen_without_its_other_sequences(real_data: Path) -> None:
    dataset, findings = inspect_dataset("7scenes-redkitchen", root=real_data / "7scenes")
    assert len(findings) == 11  # the split files name 12 of the 14 sequences
    assert str(findings[0]) == "redkitchen/TrainSplit.txt:2: sequence2: no folder redkitchen/seq-02"
    assert len(dataset.frames) == 1000
    assert any("train: 1000 frames here, 7000 in the complete data set" in note for note in dataset.notes)


def test_stairs_sample(real_data: Path) -> None:
    dataset: Dataset = open_dataset("7scenes-stairs", root=real_data / "7scenes-sample")
    frames = dataset.frames
    assert (len(frames.of_split("train")), len(frames.of_split("test"))) == (6, 6)
    assert set(frames.of_split("test").sequence) == {"seq-01", "seq-04"}
    assert frames.timestamp[:3].tolist() == [0, 33333, 66667]


# parts of a data set, on purpose -----------------------------------------------------------------------------------


def test_scenes_and_sequences_in_the_name(make_folder: MakeFolder) -> None:
    rows = [
        pose_row(f"{scene}{sequence}{n}.png", n, scene=scene, sequence=f"seq-{sequence:02d}")
        for scene in ("hall", "yard")
        for sequence in (1, 2, 11)
        for n in range(2)
    ]
    folder = make_folder(rows)

    def names(query: str) -> set[str]:
        frames = open_dataset(f"folder:{folder}?{query}").frames
        return {f"{frames.scenes[s]}/{q}" for s, q in zip(frames.scene, frames.sequence, strict=True)}

    assert names("scenes=yard") == {"yard/seq-01", "yard/seq-02", "yard/seq-11"}
    assert names("sequences=1") == {"hall/seq-01", "yard/seq-01"}
    assert names("scenes=hall&sequences=seq-11,2") == {"hall/seq-02", "hall/seq-11"}
    assert findings_of(f"folder:{folder}?sequences=7")[0].endswith("no frames of sequence '7'")
    assert findings_of(f"folder:{folder}?scenes=attic")[0].endswith("no frames of scene 'attic'")


def test_parts_of_a_card(tmp_path: Path) -> None:
    frames = open_dataset("demo-places?scenes=yard").frames
    assert frames.scenes == ("yard",)
    ride = open_dataset("demo-loop?sequences=train-1,test-sunny")
    assert set(ride.frames.sequence) == {"train-1", "test-sunny"}
    assert not any("in the complete data set" in note for note in ride.notes)
    with pytest.raises(UsageError, match=naming("yard")):
        open_dataset("demo-places?scenes=yad")
    with pytest.raises(UsageError, match=naming("folder", "colour")):
        open_dataset("demo-loop?colour=red")


def test_the_red_kitchens_first_sequence_in_blocks(real_data: Path) -> None:
    name = "7scenes-redkitchen?sequences=1"
    whole = open_dataset(name, root=real_data / "7scenes", split="blocks")
    by_file = open_dataset(
        "7scenes-redkitchen", root=real_data / "7scenes", split=real_data / "7scenes/redkitchen/blocks.csv"
    )
    assert whole.digest == by_file.digest
    with pytest.raises(DataError, match=naming("11")):
        open_dataset("7scenes-redkitchen", root=real_data / "7scenes")


def test_splits_made_whatever_the_data_say(make_folder: MakeFolder) -> None:
    rows = [pose_row(f"{s}-{n}.png", n, split="train", sequence=f"s{s}") for s in range(6) for n in range(10)]
    folder = make_folder(rows)
    frames = open_dataset(f"folder:{folder}", split="sequences").frames
    assert set(frames.sequence[frames.split == "test"]) == {"s4"}
    assert open_dataset(f"folder:{folder}", split="sequences").remarks == ()
    blocks = open_dataset(f"folder:{folder}", split="blocks")
    assert int(np.sum(blocks.frames.split == "test")) == 10
    one = make_folder([pose_row(f"{n}.png", n) for n in range(5)])
    with pytest.raises(DataError, match=naming("1", "split=blocks")):
        open_dataset(f"folder:{one}", split="sequences")


def test_test_frames_beside_training_frames_are_told(make_folder: MakeFolder) -> None:
    words = ["train", "test", "train", "train", "train", "test", "test"]
    rows = [pose_row(f"{n}.png", n, split=word, sequence="a") for n, word in enumerate(words)]
    rows += [pose_row("b.png", 9, split="test", sequence="b")]
    dataset = open_dataset(f"folder:{make_folder(rows)}")
    assert dataset.remarks == ("2 of 4 test frames are next to a training frame of their own sequence",)


def test_of_many_photographs_some_are_looked_at(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (4, 3)).save(tmp_path / "turned.jpg", exif=exif)
    rows = [Frame("turned.jpg", (n, 0, 0), (1, 0, 0, 0)) for n in range(2 * validation.LOOKED_AT)]
    notes: list[str] = []
    validation.photographs(rows, tmp_path, False, notes)
    (note,) = notes
    assert note.startswith("200 of 200 images that were looked at have an EXIF orientation")
