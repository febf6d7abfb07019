"""Checks of a reader's rows: what is wrong is named, what is odd is told."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from naming import naming
from own_folder import MakeFolder, findings_of, picture, pose_row, write_csv
from PIL import Image

from posezoo.base.errors import Finding, UsageError
from posezoo.base.spec import DepthMap, Frame
from posezoo.data import validation
from posezoo.data.images.cache import ImageCache
from posezoo.data.open import open_dataset


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
        (pose_row("a.png", timestamp="1.5"), "timestamp is not a number of microseconds"),
        (pose_row("a.png", split="tset"), "split 'tset' is not one of train, val, test (did you mean test?)"),
        (pose_row("a.png", split=""), "no split, though other rows have one"),
        (pose_row("ok.png", 5, split="train"), "another pose for ok.png is in poses.csv:2"),
        (pose_row("./ok.png", split="test"), "another entry for ok.png is in poses.csv:2"),
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


def test_links_inside_are_fine_and_outside_on_request(make_folder: MakeFolder, tmp_path: Path) -> None:
    folder = make_folder([pose_row("a.png"), pose_row("b.png", 1), pose_row("c.png", 2)])
    picture(tmp_path / "elsewhere.png")
    for name, target in (("b.png", folder / "a.png"), ("c.png", tmp_path / "elsewhere.png")):
        (folder / name).unlink()
        (folder / name).symlink_to(target)
    assert findings_of(f"folder:{folder}") == [
        "poses.csv:4: points outside the data set: c.png (follow-symlinks=true follows links)"
    ]
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
    assert images.shape == (1, 3, 426, 256)  # 256 * 40 / 24, cut off as torchvision does
    x, y = 256 / 24, 426 / 40
    np.testing.assert_allclose(intrinsics[0], [30 * x, 50 * y, 19 * x, 11 * y])
    stored = ImageCache.open(open_dataset(f"folder:{folder}").frames)
    assert stored.folder != cache.folder
    assert stored.batch([0])[0].shape == (1, 3, 256, 426)
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


def test_of_many_photographs_some_are_looked_at(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (4, 3)).save(tmp_path / "turned.jpg", exif=exif)
    rows = [Frame("turned.jpg", (n, 0, 0), (1, 0, 0, 0)) for n in range(2 * validation.SAMPLED)]
    notes: list[str] = []
    validation.note_photographs(rows, tmp_path, False, notes)
    (note,) = notes
    assert note.startswith("200 of 200 sampled images")


def test_wide_pictures_are_told(make_folder: MakeFolder) -> None:
    folder = make_folder([pose_row(f"{n}.png", n) for n in range(3)])
    assert not any("networks read" in note for note in open_dataset(f"folder:{folder}").notes)
    for n in range(3):
        Image.new("RGB", (124, 37)).save(folder / f"{n}.png")  # KITTI's shape
    (told,) = [note for note in open_dataset(f"folder:{folder}").notes if "networks read" in note]
    assert "30 % of their width" in told


@pytest.mark.parametrize(
    ("pose", "good"),
    [
        ((-0.03, 0, 0, 1, 0, 0, 0), True),
        ((0, 0, np.nan, 1, 0, 0, 0), False),
        ((0, 0, 0, 0, 0, 0, 0), False),
        ((0, 0, 0, 1.01, 0, 0, 0), False),
    ],
)
def test_where_a_depth_sensor_stands_is_a_pose(tmp_path: Path, pose: tuple[float, ...], good: bool) -> None:
    Image.new("I;16", (4, 3)).save(tmp_path / "depth.png")
    depth = DepthMap("depth.png", 1000.0, (5.0, 5.0, 2.0, 1.5), pose)  # type: ignore[arg-type]
    row, findings = Frame("a.png", (0.0, 0, 0), (1.0, 0, 0, 0), depth=depth), list[Finding]()
    kept = validation.with_known_depths([row], tmp_path, False, False, findings, [])
    assert (len(kept), len(findings)) == (int(good), int(not good))
