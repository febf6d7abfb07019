"""Exports read back: every form that can hold the data gives the same frames again."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest
import small_data
from naming import naming
from own_folder import MakeFolder, picture
from scipy.spatial.transform import Rotation

from posezoo.base.errors import DataError, UsageError
from posezoo.base.files.lenses import distorted
from posezoo.base.spec import Frame, Lens
from posezoo.data.export import FORMS, READERS, data_name, export, not_held, reads_back
from posezoo.data.open import open_dataset
from posezoo.data.table import Frames


def town(root: Path, sequences: tuple[str, ...] = ("s1",), intrinsics: bool = True) -> Frames:
    """Six frames a sequence, far from the origin, with every column filled."""
    rows = []
    for number, sequence in enumerate(sequences):
        turns = Rotation.random(6, random_state=number).as_quat()
        for n in range(6):
            name = f"{sequence}/{n:02d} é.png"
            picture(root / name)
            x, y, z, w = turns[n] * (1 if turns[n][3] >= 0 else -1)
            rows.append(
                Frame(
                    name,
                    (5.7e6 + n / 3, 6.2e5 - n / 7, -0.1 * n),
                    (float(w), float(x), float(y), float(z)),
                    "town",
                    "test" if n > 3 else "train",
                    sequence,
                    1_403_772_000_123_457 + n * 62_500,
                    "sunny",
                    (30.5, 30.25, 20.0, 15.0) if intrinsics else None,
                )
            )
    return Frames.from_rows(root, rows)


@pytest.mark.parametrize("form", FORMS)
def test_round_trip(tmp_path: Path, form: str) -> None:
    frames = town(tmp_path / "data")
    assert export(frames, form, tmp_path / "out")
    name = data_name(form, tmp_path / "out", tmp_path / "data")
    found = open_dataset(name).frames
    assert found.images.tolist() == frames.images.tolist()
    exact = form in ("csv", "tum", "labels")
    np.testing.assert_allclose(found.position, frames.position, rtol=0, atol=0 if exact else 1e-8)
    np.testing.assert_allclose(found.quaternion, frames.quaternion, rtol=0, atol=1e-12)
    if form in ("csv", "colmap", "nerf"):
        np.testing.assert_array_equal(found.intrinsics, frames.intrinsics)
    if form in ("csv", "nerf", "labels"):
        assert found.split.tolist() == frames.split.tolist()
    if form in ("csv", "tum"):
        assert found.timestamp.tolist() == frames.timestamp.tolist()
    if form in ("csv", "labels"):
        assert (found.scenes, found.sequence.tolist()) == (frames.scenes, frames.sequence.tolist())
    if form == "csv":
        assert open_dataset(name).digest == open_dataset(name).digest
        assert found.condition.tolist() == frames.condition.tolist()


LENSES = {
    "SIMPLE_RADIAL": (-0.2,), "RADIAL": (-0.2, 0.05), "OPENCV": (-0.2, 0.05, 1e-3, -2e-3),
    "POLYNOMIAL": (-0.2, 0.05, 0.01, 0.0, 1e-3, -2e-3), "FULL_OPENCV": (-0.2, 0.05, 1e-3, -2e-3, 0.01, 0.1, 0.0, 0.0),
    "OPENCV_FISHEYE": (0.03, -0.02, 0.01, 0.004), "SIMPLE_RADIAL_FISHEYE": (0.03,), "RADIAL_FISHEYE": (0.03, -0.02),
    "THIN_PRISM_FISHEYE": (0.03, -0.02, 1e-3, 2e-3, 0.01, 0.004, 1e-3, 0.0), "FOV": (0.9,),
}  # fmt: skip


@pytest.mark.parametrize("kind", LENSES)
@pytest.mark.parametrize("form", ["csv", "colmap", "nerf"])
def test_a_lens_distorts_as_before(tmp_path: Path, form: str, kind: str) -> None:
    rows = [Frame(f"{n}.png", (n, 0, 0), (1, 0, 0, 0), "town", "test", intrinsics=(30, 31, 20, 15)) for n in range(3)]
    rows[:2] = [dataclasses.replace(row, lens=Lens(kind, LENSES[kind])) for row in rows[:2]]
    for row in rows:
        picture(tmp_path / "data" / row.image)
    frames = Frames.from_rows(tmp_path / "data", rows)
    if form == "nerf" and kind in ("FULL_OPENCV", "THIN_PRISM_FISHEYE", "FOV"):
        with pytest.raises(UsageError, match=naming(kind)):
            export(frames, form, tmp_path / "out")
        return
    export(frames, form, tmp_path / "out")
    found = open_dataset(data_name(form, tmp_path / "out", tmp_path / "data")).frames
    x, y = np.random.default_rng(0).uniform(-0.6, 0.6, (2, 100))
    for n in range(2):
        lens = found.lens_of(n)
        assert lens is not None
        np.testing.assert_allclose(distorted(lens, x, y), distorted(Lens(kind, LENSES[kind]), x, y), rtol=0, atol=1e-12)
    assert found.lens_of(2) is None
    np.testing.assert_array_equal(found.intrinsics, frames.intrinsics)


def test_a_lens_that_colmap_does_not_have(tmp_path: Path) -> None:
    picture(tmp_path / "0.png")
    lens = Lens("POLYNOMIAL", (0.1, 0.0, 0.0, 0.2, 0.0, 0.0))
    row = Frame("0.png", (0, 0, 0), (1, 0, 0, 0), "town", "test", intrinsics=(30, 30, 20, 15), lens=lens)
    with pytest.raises(UsageError, match="k4"):
        export(Frames.from_rows(tmp_path, [row]), "colmap", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_depth_maps_are_named(tmp_path: Path) -> None:
    data = small_data.with_depths(tmp_path / "data", slice(0, 5))
    frames = open_dataset(f"folder:{data}").frames
    export(frames, "csv", tmp_path / "out")
    found = open_dataset(data_name("csv", tmp_path / "out", data)).frames
    assert found.depth.tolist() == frames.depth.tolist() and sum(map(bool, found.depth.tolist())) == 5
    np.testing.assert_array_equal(found.depth_camera, frames.depth_camera)


HOLDS = {  # beside poses and, but for kitti, names
    "csv": {"scene", "split", "sequence", "timestamp", "condition", "intrinsics"},
    "tum": {"timestamp"},
    "kitti": set(),
    "colmap": {"intrinsics"},
    "nerf": {"split", "intrinsics"},
    "labels": {"scene", "split", "sequence"},
}


@pytest.mark.parametrize("first", FORMS)
@pytest.mark.parametrize("second", FORMS)
def test_every_pair(tmp_path: Path, first: str, second: str) -> None:
    frames = town(tmp_path / "data")
    export(frames, first, tmp_path / "1")
    middle = open_dataset(data_name(first, tmp_path / "1", tmp_path / "data")).frames
    if second in ("colmap", "nerf") and "intrinsics" not in HOLDS[first]:
        with pytest.raises(DataError, match=naming("6 of 6", "intrinsics")):
            export(middle, second, tmp_path / "2")
        return
    export(middle, second, tmp_path / "2")
    (folder,) = {path.parent for path in (tmp_path / "2").rglob("*.*")}
    found = open_dataset(data_name(second, folder, tmp_path / "data")).frames
    assert found.images.tolist() == frames.images.tolist()
    # relative to the distance: a matrix and its inverse round all coordinates alike
    assert np.abs(found.position - frames.position).max() < 1e-9 * np.abs(frames.position).max()
    turn = Rotation.from_quat(found.quaternion, scalar_first=True).inv()
    angle_N = (turn * Rotation.from_quat(frames.quaternion, scalar_first=True)).magnitude()
    assert angle_N.max() < 1e-7
    for column in HOLDS[first] & HOLDS[second]:
        np.testing.assert_array_equal(getattr(found, column), getattr(frames, column), err_msg=column)
    if "scene" in HOLDS[first] & HOLDS[second]:
        assert found.scenes == frames.scenes


ODD = [
    b"caf\xe9.png",
    b"a, b.png",
    b'say "hi".png',
    "a\u2028\x85 \u200f\U0001f600.png".encode(),
    b"#1 %s.png",
    b"'.png",
]


@pytest.mark.parametrize("form", [form for form in FORMS if form != "kitti"])  # kitti holds no names
@pytest.mark.parametrize("name", ODD)
def test_odd_names(tmp_path: Path, form: str, name: bytes) -> None:
    root = tmp_path / "data"
    picture(root / "first.png")
    try:
        (root / "first.png").rename(root / os.fsdecode(name))
    except OSError:
        pytest.skip("this file system has no such names")
    turn = (0.5, 0.5, 0.5, 0.5)
    row = Frame(os.fsdecode(name), (1, 2, 3), turn, "town", "test", "s", 5, "", (30.5, 30.25, 20.0, 15.0))
    export(Frames.from_rows(root, [row]), form, tmp_path / "out")
    found = open_dataset(data_name(form, tmp_path / "out", root)).frames
    assert found.images.tolist() == [name]
    np.testing.assert_allclose(found.position, [[1, 2, 3]], rtol=1e-9)


@pytest.mark.parametrize("name", [b"two\nlines.png", b" first.png", b"last.png ", b"r\r.png"])
def test_names_that_no_line_can_hold(tmp_path: Path, name: bytes) -> None:
    root = tmp_path / "data"
    picture(root / "first.png")
    (root / "first.png").rename(root / os.fsdecode(name))
    row = Frame(os.fsdecode(name), (1, 2, 3), (1, 0, 0, 0), intrinsics=(30.5, 30.25, 20.0, 15.0))
    frames = Frames.from_rows(root, [row])
    for form in ("csv", "tum", "colmap", "labels"):
        with pytest.raises(DataError, match=naming("1")):
            export(frames, form, tmp_path / form)
    export(frames, "nerf", tmp_path / "nerf")
    assert open_dataset(data_name("nerf", tmp_path / "nerf", root)).frames.images.tolist() == [name]


def test_an_empty_table_is_a_header(tmp_path: Path) -> None:
    (path,) = export(Frames.from_rows(tmp_path, []), "csv", tmp_path / "out")
    assert path.read_text().startswith("image,x,y,z,qw,qx,qy,qz,scene,split")
    assert FORMS.keys() == READERS.keys() == HOLDS.keys()


def test_several_sequences_get_a_folder_each(tmp_path: Path) -> None:
    frames = town(tmp_path / "data", ("s1", "s 2"))
    paths = export(frames, "tum", tmp_path / "out")
    assert {str(path.relative_to(tmp_path / "out")) for path in paths} == {
        f"{folder}/{name}" for folder in ("town-s1", "town-s-2") for name in ("groundtruth.txt", "rgb.txt")
    }
    found = open_dataset(f"folder:{tmp_path}/out/town-s-2?root={tmp_path / 'data'}").frames
    assert [found.name(n).partition("/")[0] for n in range(6)] == ["s 2"] * 6


@pytest.mark.parametrize("form", ["colmap", "nerf"])
def test_several_scenes_get_a_folder_each(tmp_path: Path, form: str) -> None:
    """Each has an origin of its own; what is read back is in metres."""
    frames = town(tmp_path / "data", ("s1", "s2", "s3"))
    scene = np.repeat([0, 1, 2], 6).astype(np.int32)
    three = dataclasses.replace(frames, scene=scene, scenes=("church square", "market", "yard"))
    export(three, form, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"church-square", "market", "yard"}
    assert (reads_back(form, three), reads_back(form, three.of_scene("market"))) == (False, True)
    name = data_name(form, tmp_path / "out/market", tmp_path / "data")
    found = open_dataset(name, split="test")
    assert (found.unit, found.frames.images.tolist()) == ("m", frames.images[6:12].tolist())
    assert open_dataset(data_name(form, tmp_path / "out/market", tmp_path / "data", "scene units")).unit != "m"
    np.testing.assert_allclose(found.frames.position, frames.position[6:12], rtol=0, atol=1e-8)
    assert not_held(form, three) == {"colmap": ["split", "sequence"], "nerf": ["sequence"]}[form]


def test_turned_pictures_have_no_files_of_poses(make_folder: MakeFolder, tmp_path: Path) -> None:
    frames = open_dataset(f"folder:{make_folder()}?exif=true").frames
    with pytest.raises(UsageError, match=naming("exif=true")):
        export(frames, "csv", tmp_path / "out")


def test_nothing_is_replaced_and_nothing_made_up(tmp_path: Path) -> None:
    frames = town(tmp_path / "data", intrinsics=False)
    export(frames, "csv", tmp_path / "out")
    with pytest.raises(UsageError, match=naming("poses.csv", "--out")):
        export(frames, "csv", tmp_path / "out")
    with pytest.raises(DataError, match=naming("6 of 6", "intrinsics")):
        export(frames, "colmap", tmp_path / "out")
    with pytest.raises(UsageError, match=naming("obj")):
        export(frames, "obj", tmp_path / "out")


def test_tum_has_one_pose_a_time(tmp_path: Path) -> None:
    """A rig's cameras take pictures at one time; its poses would be one."""
    rows = [
        Frame(f"{side}/{n}.png", (n, x, 0), (1, 0, 0, 0), "town", "test", timestamp=n * 1_000_000)
        for n in range(3)
        for x, side in enumerate(("left", "right"))
    ]
    for row in rows:
        picture(tmp_path / "data" / row.image)
    frames = Frames.from_rows(tmp_path / "data", rows)
    with pytest.raises(DataError, match="one time"):
        export(frames, "tum", tmp_path / "out")
    apart = [dataclasses.replace(row, sequence=row.image.partition("/")[0]) for row in rows]
    assert len(export(Frames.from_rows(tmp_path / "data", apart), "tum", tmp_path / "out")) == 4


def test_kitti_reads_back_where_names_follow_time(tmp_path: Path) -> None:
    names = ["a.png", "b.png", "c.png"]
    for stamps, same in ((1, 2, 3), True), ((3, 2, 1), False):
        rows = [
            Frame(name, (stamp, 0, 0), (1, 0, 0, 0), "town", "test", timestamp=stamp)
            for name, stamp in zip(names, stamps, strict=True)
        ]
        assert reads_back("kitti", Frames.from_rows(tmp_path / "data", rows)) is same
        assert reads_back("tum", Frames.from_rows(tmp_path / "data", rows))
