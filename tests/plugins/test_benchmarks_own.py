"""COLMAP models, transforms.json, TUM and KITTI files of one's own images.

Long: four formats, each with its true files and its damaged ones.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naming import naming
from PIL import Image
from posezoo_benchmarks import colmap, nerf, own_data
from scipy.spatial.transform import Rotation

from posezoo.base.errors import DataError, UsageError
from posezoo.base.files import lenses
from posezoo.base.spec import Lens, ReadRequest, ReadResult
from posezoo.data.images.cache import ImageCache
from posezoo.data.open import inspect_dataset, open_dataset

# four cameras by hand: camera-to-world rotations and centres
ROTATION = Rotation.from_euler("ZYX", [[0, 0, 0], [90, 0, 0], [30, -40, 50], [0, 180, 0]], degrees=True)
CENTRE = np.array([[0.0, 0, 0], [1, 2, 3], [-4, 5.5, 0.25], [10, 0, -2]])
NAMES = ["a.png", "b c.png", "sub/d.png", "sub/é.png"]


def pictures(folder: Path, names: list[str] = NAMES) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 48), (10, 20, 30)).save(folder / name)
    return folder


def check(result_or_frames: object, names: list[str] = NAMES) -> None:
    """The frames are the four cameras."""
    frames = sorted(getattr(result_or_frames, "frames", result_or_frames), key=lambda frame: frame.image)
    assert [frame.image for frame in frames] == names
    np.testing.assert_allclose([frame.position for frame in frames], CENTRE, atol=1e-9)
    found = Rotation.from_quat(np.array([frame.quaternion for frame in frames])[:, [1, 2, 3, 0]])
    assert (found.inv() * ROTATION).magnitude().max() < 1e-7


# COLMAP ------------------------------------------------------------------------------------------------------------


def world_to_camera() -> list[list[float]]:
    inverse = ROTATION.inv()
    quaternion = inverse.as_quat()[:, [3, 0, 1, 2]]
    return np.hstack([quaternion, -inverse.apply(CENTRE)]).tolist()


def text_model(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    cameras = "# comment\n1 SIMPLE_RADIAL 64 48 50 32 24 0.1\n2 PINHOLE 64 48 51 52 31.5 24.5\n"
    (folder / "cameras.txt").write_text(cameras)
    lines = ["# comment"]
    for n, (name, pose) in enumerate(zip(NAMES, world_to_camera(), strict=True)):
        lines += [f"{n + 1} {' '.join(map(repr, pose))} {1 + n % 2} {name}", "1.0 2.0 -1 3.5 4.5 7" if n % 2 else ""]
    (folder / "images.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def binary_model(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    cameras = struct.pack("<Q", 2) + struct.pack("<iiQQ4d", 1, 2, 64, 48, 50, 32, 24, 0.1)
    (folder / "cameras.bin").write_bytes(cameras + struct.pack("<iiQQ4d", 2, 1, 64, 48, 51, 52, 31.5, 24.5))
    images = struct.pack("<Q", 4)
    for n, (name, pose) in enumerate(zip(NAMES, world_to_camera(), strict=True)):
        images += struct.pack("<i7di", n + 1, *pose, 1 + n % 2) + name.encode() + b"\0"
        images += struct.pack("<Q", n) + struct.pack("<ddq", 1.5, 2.5, -1) * n
    (folder / "images.bin").write_bytes(images)
    return folder


@pytest.mark.parametrize("make", [text_model, binary_model])
def test_colmap(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    result = colmap.read(ReadRequest(make(pictures(tmp_path))))
    assert result.findings == []
    check(result)
    assert [frame.intrinsics for frame in result.frames[:2]] == [(50, 50, 32, 24), (51, 52, 31.5, 24.5)]
    assert [frame.sequence for frame in result.frames] == ["", "", "sub", "sub"]
    assert [frame.lens for frame in result.frames[:2]] == [Lens("SIMPLE_RADIAL", (0.1,)), None]
    assert any("no scale" in note for note in result.notes)


def test_colmap_in_its_own_layout(tmp_path: Path) -> None:
    pictures(tmp_path / "images")
    binary_model(tmp_path / "sparse/0")
    dataset = open_dataset(f"colmap:{tmp_path}?scale=2")
    assert [dataset.frames.name(n) for n in range(4)] == [f"images/{name}" for name in NAMES]
    np.testing.assert_allclose(dataset.frames.position, 2 * CENTRE, atol=1e-9)
    assert not any("piece" in note for note in dataset.notes)
    binary_model(tmp_path / "sparse/1")
    assert any("1 other" in note and "sparse/1" in note for note in open_dataset(f"colmap:{tmp_path}?scale=2").notes)
    assert open_dataset(f"colmap:{tmp_path / 'sparse/0'}", root=tmp_path / "images").frames.name(0) == "a.png"


def test_pycolmap_reads_the_same(tmp_path: Path) -> None:
    pycolmap = pytest.importorskip("pycolmap", reason="pycolmap is not installed")
    text_model(tmp_path)
    (tmp_path / "points3D.txt").write_text("")
    images = pycolmap.Reconstruction(str(tmp_path)).images
    centres = {image.name: image.projection_center() for image in images.values()}
    known = [n for n, name in enumerate(NAMES) if " " not in name]  # its text reader ends a name there
    np.testing.assert_allclose([centres[NAMES[n]] for n in known], CENTRE[known], atol=1e-9)


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("cameras.txt", "1 WIDE 64 48 50 32 24\n", "cameras.txt:1: not a camera of a known model"),
        ("cameras.txt", "1 PINHOLE 64 48 50 32 nan 3\n", "cameras.txt:1: value 6 is not a finite number"),
        ("images.txt", "1 1 0 0 0 0 0 0 1\n\n", "images.txt:1: expected 10 columns, got 9"),
        ("images.txt", "1 1 0 0 0 0 0 inf 1 a.png\n\n", "images.txt:1: value 8 is not a finite number"),
        ("images.txt", "1 0 0 0 0 0 0 0 1 a.png\n\n", "images.txt:1: not a pose: 'a.png'"),
        ("images.txt", "1 1 0 0 0 0 0 0 9 a.png\n\n", "images.txt:1: camera 9 is not among the cameras"),
        ("images.txt", "1 1 0 0 0 0 0 0 1 a.png\n2 1 0 0 0 0 0 0 1 b.png\n", "images.txt:2: not the points"),
        ("images.txt", "1 1 0 0 0 0 0 0 1 a.png\n2 1 0 0 0 0 0 0 1 my photo 7.png\n", "images.txt:2: not the points"),
        ("images.txt", "1 1 0 0 0 0 0 0 1 a.png\n2 1 0 0 0 0 0 0 1 my photo 7\n", "images.txt:2: not the points"),
    ],
)
def test_bad_colmap_text(tmp_path: Path, file: str, text: str, words: str) -> None:
    text_model(pictures(tmp_path))
    (tmp_path / file).write_text(text)
    assert any(words in str(finding) for finding in colmap.read(ReadRequest(tmp_path)).findings)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_damaged_colmap_files_are_findings(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    make = data.draw(st.sampled_from([text_model, binary_model]))
    folder = make(tmp_path_factory.mktemp("colmap", numbered=True))
    path = data.draw(st.sampled_from(sorted(folder.iterdir())))
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content)))]
    for _ in range(data.draw(st.integers(0, 3)) if content else 0):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    assert isinstance(colmap.read(ReadRequest(folder)), ReadResult)


def test_no_model(tmp_path: Path) -> None:
    assert "no COLMAP model here" in str(colmap.read(ReadRequest(tmp_path)).findings[0])
    with pytest.raises(UsageError, match=naming("scale", "-2")):
        colmap.read(ReadRequest(tmp_path, options={"scale": "-2"}))


# transforms.json ---------------------------------------------------------------------------------------------------


def transforms() -> dict[str, object]:
    """The four cameras with OpenGL's axes: y up, z backward."""
    frames = []
    for name, rotation, centre in zip(NAMES, ROTATION, CENTRE, strict=True):
        matrix = np.eye(4)
        matrix[:3, :3] = rotation.as_matrix() @ np.diag([1, -1, -1])
        matrix[:3, 3] = centre
        frames.append({"file_path": f"./{name}", "transform_matrix": matrix.tolist()})
    return {"fl_x": 50.0, "fl_y": 51.0, "cx": 32.0, "cy": 24.0, "w": 64, "h": 48, "frames": frames}


def test_nerf(tmp_path: Path) -> None:
    content = transforms()
    content["frames"].append({"file_path": "gone.png", "transform_matrix": np.eye(4).tolist()})  # type: ignore[attr-defined]
    content["test_filenames"] = ["./sub/d.png"]
    content["train_filenames"] = [f"./{name}" for name in NAMES if name != "sub/d.png"]
    (pictures(tmp_path) / "transforms.json").write_text(json.dumps(content))
    for place in (tmp_path, tmp_path / "transforms.json"):
        result = nerf.read(ReadRequest(place))
        assert result.findings == []
        check(result)
        assert result.frames[0].intrinsics == (50, 51, 32, 24)
        assert {frame.image: frame.split for frame in result.frames}["sub/d.png"] == "test"
        assert "1 of 5 listed images are missing: left out" in result.notes
    assert len(open_dataset(f"nerf:{tmp_path}?scale=0.5").frames) == 4


def test_nerf_with_a_file_for_each_split(tmp_path: Path) -> None:
    pictures(tmp_path)
    content = {"camera_angle_x": 2 * np.arctan(32 / 50), "frames": transforms()["frames"]}
    for frame in content["frames"]:  # type: ignore[attr-defined]
        frame["file_path"] = frame["file_path"].removesuffix(".png")
    (tmp_path / "transforms_train.json").write_text(json.dumps({**content, "frames": content["frames"][:3]}))
    (tmp_path / "transforms_test.json").write_text(json.dumps({**content, "frames": content["frames"][3:]}))
    result = nerf.read(ReadRequest(tmp_path))
    check(result)
    assert [frame.split for frame in result.frames] == ["train"] * 3 + ["test"]
    np.testing.assert_allclose(result.frames[0].intrinsics, (50, 50, 32, 24))
    content |= {"camera_angle_y": 2 * np.arctan(24 / 60)}
    (tmp_path / "transforms_train.json").write_text(json.dumps(content))
    np.testing.assert_allclose(nerf.read(ReadRequest(tmp_path)).frames[0].intrinsics, (50, 60, 32, 24))


FRAME = '{"frames": [{"file_path": "a.png", "transform_matrix": [[%s,0,0,0],[0,1,0,0],[0,0,1,0],[0,0,0,1]]}]}'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "transforms.json:1: not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", 'not an object with "frames"'),
        ('{"frames": 3}', "frames is not a list"),
        ('{"frames": [3]}', "frame 0 has no file_path"),
        ('{"frames": [{"file_path": "a.png"}]}', "frame 0 ('a.png'): transform_matrix is not 4x4"),
        (FRAME % "NaN", "4x4"),
        (FRAME % "-1", "mirror"),
    ],
)
def test_bad_transforms(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "transforms.json").write_text(text)
    assert any(words in str(finding) for finding in nerf.read(ReadRequest(tmp_path)).findings)


KEYS = st.sampled_from(["file_path", "transform_matrix", "frames", "fl_x", "w", "h", "camera_angle_x"])
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8) | st.just("a.png"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None)
@given(JSON)
def test_any_json_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    folder = tmp_path_factory.mktemp("nerf", numbered=True)
    (folder / "transforms.json").write_text(json.dumps({"frames": value, "fl_x": value, "w": value}))
    assert isinstance(nerf.read(ReadRequest(folder)), ReadResult)


# TUM and KITTI -----------------------------------------------------------------------------------------------------


def folder_of(root: Path, **options: str) -> ReadResult:
    return own_data.read_folder(ReadRequest(root, options=options))


@pytest.mark.parametrize("listed", [True, False])
def test_tum(tmp_path: Path, listed: bool) -> None:
    stamps = [f"1305031102.{175304 + 100000 * n}" for n in range(4)]
    names = NAMES if listed else [f"rgb/{stamp}.png" for stamp in stamps]
    pictures(tmp_path, names)
    quaternion = ROTATION.as_quat()
    rows = [
        f"{s} {' '.join(map(repr, [*t, *q]))}"
        for s, t, q in zip(stamps, CENTRE.tolist(), quaternion.tolist(), strict=True)
    ]
    (tmp_path / "groundtruth.txt").write_text("# time tx ty tz qx qy qz qw\n" + "\n".join(rows) + "\n")
    if listed:
        lines = [f"{stamp} {name}\n" for stamp, name in zip(stamps, names, strict=True)]
        (tmp_path / "rgb.txt").write_text("# time file\n" + "".join(lines), encoding="utf-8")
    result = folder_of(tmp_path)
    assert result.findings == []
    check(result, names)
    assert result.frames[0].timestamp == 1305031102175304


def test_tum_poses_are_interpolated_and_holes_dropped(tmp_path: Path) -> None:
    pictures(tmp_path, ["0.5.png", "1.png", "1.25.png", "4.png", "9.png"])
    (tmp_path / "groundtruth.txt").write_text("1 0 0 0 0 0 0 1\n2 4 0 0 0 0 0 1\n6 8 0 0 0 0 0 1\n")
    result = folder_of(tmp_path)
    assert {frame.image: frame.position[0] for frame in result.frames} == {"1.png": 0, "1.25.png": 1}
    assert "3 of 5 images dropped" in result.notes[0]
    assert len(folder_of(tmp_path, **{"max-gap": "5"}).frames) == 3


@pytest.mark.parametrize("digits", [10, 13, 16, 19])
@pytest.mark.parametrize("listed", [True, False])
def test_tum_times_in_other_units(tmp_path: Path, digits: int, listed: bool) -> None:
    """ROS and EuRoC write nanoseconds, others milli- or microseconds: their digits tell."""
    stamps = [str(1403636579 * 10 ** (digits - 10) + n * 10 ** (digits - 10)) for n in range(4)]
    names = [f"rgb/{n}.png" if listed else f"{stamp}.png" for n, stamp in enumerate(stamps)]
    pictures(tmp_path, names)
    lines = [f"{stamp} {n} 0 0 0 0 0 1\n" for n, stamp in enumerate(stamps)]
    (tmp_path / "groundtruth.txt").write_text("".join(lines))
    if listed:
        text = "".join(f"{stamp} ./{name}\n" for stamp, name in zip(stamps, names, strict=True))
        (tmp_path / "rgb.txt").write_text(text)
    frames = open_dataset(f"folder:{tmp_path}", split="test").frames
    assert frames.position[:, 0].tolist() == [0, 1, 2, 3]
    assert frames.timestamp.tolist() == [(1403636579 + n) * 1_000_000 for n in range(4)]
    if listed:
        (tmp_path / "split.csv").write_text("image,split\n" + "".join(f"{name},train\n" for name in names))
        assert len(open_dataset(f"folder:{tmp_path}", split=tmp_path / "split.csv").frames) == 4


def test_tum_times_of_no_unit_and_poses_of_one_time(tmp_path: Path) -> None:
    pictures(tmp_path, ["1.png", "2.png"])
    (tmp_path / "groundtruth.txt").write_text(
        "1 0 0 0 0 0 0 1\n2 1 0 0 0 0 0 1\n2 5 0 0 0 0 0 1\n" + "12345678901234567 0 0 0 0 0 0 1\n"
    )
    result = folder_of(tmp_path)
    assert [finding.line for finding in result.findings] == [4]
    assert [frame.position[0] for frame in result.frames] == [0, 1]
    assert any(note.startswith("1 poses have the time of an earlier one") for note in result.notes)


def test_tum_quaternions_are_judged_as_all_others(tmp_path: Path) -> None:
    """By the row about each image that is farther from length 1; `normalise` takes them."""
    pictures(tmp_path, ["1.png", "2.png", "2.5.png"])
    rows = ["1 0 0 0 0 0 0 1.0001", "2 1 0 0 0 0 0 1.05", "3 2 0 0 0 0 0 1"]
    (tmp_path / "groundtruth.txt").write_text("\n".join(rows) + "\n")
    dataset, findings = inspect_dataset(f"folder:{tmp_path}")
    assert [(finding.line, "1.05" in str(finding)) for finding in findings] == [(2, True), (2, True)]
    assert dataset.frames.name(0) == "1.png" and any("1 of 3 quaternions normalised" in n for n in dataset.notes)
    frames = open_dataset(f"folder:{tmp_path}?normalise=true", split="test").frames
    assert np.linalg.norm(frames.quaternion, axis=1).tolist() == pytest.approx([1, 1, 1])


@pytest.mark.parametrize(
    ("file", "text", "option"),
    [
        ("rgb.txt", "1 a.png\n", "images"),
        ("poses.csv", "image,x,y,z,qw,qx,qy,qz\na.png,0,0,0,1,0,0,0\n", "images"),
        ("poses.csv", "image,x,y,z,qw,qx,qy,qz\na.png,0,0,0,1,0,0,0\n", "max-gap"),
        ("poses.txt", "1 0 0 0 0 1 0 0 0 0 1 0\n", "max-gap"),
    ],
)
def test_an_option_that_the_folder_has_no_use_for(tmp_path: Path, file: str, text: str, option: str) -> None:
    (pictures(tmp_path, ["a.png"]) / file).write_text(text)
    if file == "rgb.txt":
        (tmp_path / "groundtruth.txt").write_text("1 0 0 0 0 0 0 1\n")
    assert len(folder_of(tmp_path).frames) == 1
    with pytest.raises(UsageError, match=naming(option)):
        folder_of(tmp_path, **{option: "1"})


def test_kitti(tmp_path: Path) -> None:
    pictures(tmp_path)
    rows = [np.hstack([r.as_matrix(), t[:, None]]).ravel().tolist() for r, t in zip(ROTATION, CENTRE, strict=True)]
    (tmp_path / "poses.txt").write_text("".join(" ".join(map(repr, row)) + "\n" for row in rows))
    check(folder_of(tmp_path))
    (tmp_path / "sub/é.png").unlink()
    assert "poses.txt: 4 poses, but 3 images" in str(folder_of(tmp_path).findings[0])
    assert "poses.txt: 4 poses, but 1 images" in str(folder_of(tmp_path, images="sub").findings[0])


@pytest.mark.parametrize("bad", [" ".join(["nan"] * 12), "1 0 0 2", "1 0 0\0", "9 0 0 2 0 1 0 0 0 0 1 0"])
def test_a_bad_line_of_kitti_has_its_image_too(tmp_path: Path, bad: str) -> None:
    pictures(tmp_path, [f"{n}.png" for n in range(6)])
    rows = [f"1 0 0 {n} 0 1 0 0 0 0 1 0" for n in range(6)]
    (tmp_path / "poses.txt").write_text("# a comment has none\n" + "\n".join([*rows[:2], bad, *rows[3:]]) + "\n")
    dataset = open_dataset(f"folder:{tmp_path}", skip_bad=True, split="test")
    assert [finding.line for finding in dataset.skipped] == [4]
    found = {dataset.frames.name(n): dataset.frames.position[n, 0] for n in range(5)}
    assert found == {f"{n}.png": n for n in (0, 1, 3, 4, 5)}
    (tmp_path / "5.png").unlink()
    assert "poses.txt: 6 poses, but 5 images" in str(folder_of(tmp_path).findings[-1])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1 2 3\n", "poses.txt:1: expected 8 or 12 or 16 columns, got 3"),
        ("", "neither TUM (8 columns) nor KITTI (12 columns)"),
        ("1 0 0 0 0 0 0 1\n1 0 0 0 0 1 0 0 0 0 1 0\n1\n", "neither TUM (8 columns) nor KITTI (12 columns)"),
        ("1 0 0 0 0 0 0 0\n", "poses.txt:1: quaternion is not unit: |q| = 0"),
        ("1 0 0 0 0 1 0 0 0 0 1 nan\n", "poses.txt:1: value 12 is not a finite number"),
        ("2 0 0 0 0 1 0 0 0 0 1 0\n", "poses.txt:1: rotation is not orthogonal"),
    ],
)
def test_bad_pose_files(tmp_path: Path, text: str, words: str) -> None:
    pictures(tmp_path, ["1.png"])
    (tmp_path / "poses.txt").write_text(text)
    assert any(words in str(finding) for finding in folder_of(tmp_path).findings)


TOKENS = st.sampled_from(
    ["1", "0", "-1", "nan", "1e400", "1_0", "٣", "#", "1e19", "\n", " ", "0 0 0 0 0 0 1", "9" * 30]
)


@settings(max_examples=100, deadline=None)
@given(st.one_of(st.text(max_size=100), st.lists(TOKENS, max_size=40).map(" ".join)), st.booleans())
def test_any_pose_file_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str, listed: bool) -> None:
    folder = tmp_path_factory.mktemp("tum", numbered=True)
    (folder / "1.png").touch()
    (folder / "groundtruth.txt").write_bytes(text.encode("utf-8", "surrogateescape"))
    if listed:
        (folder / "rgb.txt").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert isinstance(folder_of(folder), ReadResult)


# Names in natural order, and intrinsics of pictures that are stored smaller ----------------------------------------


def test_kitti_poses_go_to_their_images_without_leading_zeros(tmp_path: Path) -> None:
    pictures(tmp_path, [f"image_2/{n}.png" for n in range(12)])
    (tmp_path / "poses.txt").write_text("".join(f"1 0 0 {n} 0 1 0 0 0 0 1 0\n" for n in range(12)))
    frames = folder_of(tmp_path).frames
    assert {frame.image: frame.position[0] for frame in frames} == {f"image_2/{n}.png": n for n in range(12)}


@pytest.mark.parametrize("kind", ["colmap", "nerf"])
def test_intrinsics_scale_with_the_stored_size(tmp_path: Path, kind: str) -> None:
    if kind == "colmap":
        text_model(pictures(tmp_path))
    else:
        (pictures(tmp_path) / "transforms.json").write_text(json.dumps(transforms()))
    full = open_dataset(f"{kind}:{tmp_path}").frames.intrinsics
    for name in NAMES:
        Image.new("RGB", (33, 24)).save(tmp_path / name)  # half, rounded up
    half = open_dataset(f"{kind}:{tmp_path}")
    np.testing.assert_allclose(half.frames.intrinsics, full * ([33 / 64, 0.5] * 2))
    assert any("intrinsics scaled" in note for note in half.notes)
    Image.new("RGB", (48, 64)).save(tmp_path / NAMES[2])
    with pytest.raises(DataError) as caught:
        open_dataset(f"{kind}:{tmp_path}")
    assert [str(finding) for finding in caught.value.findings if "48x64" in str(finding)]
    assert len(caught.value.findings) == 1


def test_a_linked_folder_names_the_option(tmp_path: Path) -> None:
    pictures(tmp_path / "far")
    rows = "image,x,y,z,qw,qx,qy,qz\nlink/a.png,0,0,0,1,0,0,0\n"
    (tmp_path / "here").mkdir()
    (tmp_path / "here/poses.csv").write_text(rows)
    (tmp_path / "here/link").symlink_to(tmp_path / "far")
    with pytest.raises(DataError) as caught:
        open_dataset(f"folder:{tmp_path / 'here'}")
    assert "follow-symlinks=true" in str(caught.value.findings[0])
    assert len(open_dataset(f"folder:{tmp_path / 'here'}?follow-symlinks=true").frames) == 1


# Lenses ------------------------------------------------------------------------------------------------------------


def test_lens_distortion_is_corrected_in_the_cache(tmp_path: Path) -> None:
    """A grid seen through a lens is straight in the cache, and the cache knows which lens it was made for."""
    size, focal = (640, 480), 700.0
    lens = Lens("SIMPLE_RADIAL", (-0.4,))
    straight = np.zeros((size[1], size[0], 3), dtype=np.uint8)
    straight[:, 100:110] = 255  # a wall's edge, far from the middle
    # what the lens makes of it: each pixel of its picture, brought back by fixed-point iteration
    u, v = np.meshgrid((np.arange(size[0]) + 0.5 - 320) / focal, (np.arange(size[1]) + 0.5 - 240) / focal)
    x, y = u.copy(), v.copy()
    for _ in range(50):
        a, b = lenses.distorted(lens, x, y)
        x, y = x + u - a, y + v - b
    columns = (x * focal + 320 - 0.5).round().astype(int).clip(0, size[0] - 1)
    rows = (y * focal + 240 - 0.5).round().astype(int).clip(0, size[1] - 1)
    seen = straight[rows, columns]
    Image.fromarray(seen).save(tmp_path / "a.png")
    (tmp_path / "cameras.txt").write_text(f"1 SIMPLE_RADIAL 640 480 {focal} 320 240 -0.4\n")
    (tmp_path / "images.txt").write_text("1 1 0 0 0 0 0 0 1 a.png\n\n")
    dataset = open_dataset(f"colmap:{tmp_path}", split="test")
    assert any("corrected (SIMPLE_RADIAL)" in note for note in dataset.notes)
    cache = ImageCache.open(dataset.frames)
    images, intrinsics = cache.batch([0])
    np.testing.assert_allclose(intrinsics[0], np.array([focal, focal, 320, 240]) * ([341 / 640, 256 / 480] * 2))
    lines = images[0, 0].numpy()
    bend = [int(line.argmax()) for line in lines[8:-8]]
    assert max(bend) - min(bend) <= 2, "the edge is straight"
    (tmp_path / "cameras.txt").write_text(f"1 SIMPLE_PINHOLE 640 480 {focal} 320 240\n")
    plain = ImageCache.open(open_dataset(f"colmap:{tmp_path}", split="test").frames)
    assert plain.folder != cache.folder
    bent = [int(line.argmax()) for line in plain.batch([0])[0][0, 0].numpy()[8:-8]]
    assert max(bent) - min(bent) > 3


@pytest.mark.parametrize(
    ("lens", "words"),
    [("OPENCV -0.3 0.1 0 x", "not a finite number"), ("OPENCV -0.3 0.1", "with 2 numbers"), ("BENT 1", "unknown kind")],
)
def test_bad_lenses_of_poses_csv(tmp_path: Path, lens: str, words: str) -> None:
    pictures(tmp_path, ["a.png", "b.png"])
    header, rest = "image,x,y,z,qw,qx,qy,qz,fx,fy,cx,cy,lens\n", "0,0,0,1,0,0,0,60,60,32,24"
    (tmp_path / "poses.csv").write_text(f"{header}a.png,{rest},OPENCV -0.3 0.1 0 0\nb.png,{rest},{lens}\n")
    with pytest.raises(DataError) as caught:
        open_dataset(f"folder:{tmp_path}")
    (finding,) = caught.value.findings
    assert finding.line == 3 and words in str(finding)


@pytest.mark.parametrize(
    ("lens", "straight"),
    [
        ("OPENCV 0 0 0 0", True),
        ("FOV 0", True),
        ("OPENCV_FISHEYE 0 0 0 0", False),
        ("SIMPLE_RADIAL_FISHEYE 0", False),
        ("OPENCV", None),
        ("NONSENSE 0", None),
    ],
)
def test_a_fisheye_of_zeros_is_bent(tmp_path: Path, lens: str, straight: bool | None) -> None:
    """By the angle; a polynomial of zeros is straight, and what is no lens is no good row."""
    pictures(tmp_path, ["a.png"])
    header, rest = "image,x,y,z,qw,qx,qy,qz,fx,fy,cx,cy,lens\n", "0,0,0,1,0,0,0,60,60,32,24"
    (tmp_path / "poses.csv").write_text(f"{header}a.png,{rest},{lens}\n")
    if straight is None:
        with pytest.raises(DataError, match=lens.partition(" ")[0]):
            open_dataset(f"folder:{tmp_path}", split="test")
    else:
        frames = open_dataset(f"folder:{tmp_path}", split="test").frames
        assert (not len(frames.lens) or frames.lens_of(0) is None) == straight


def test_lenses_of_transforms_json(tmp_path: Path) -> None:
    content = transforms() | {"k1": 0.1, "k2": -0.02, "k3": 0.003, "k4": 0, "p1": 0.001, "p2": 0.002}
    (pictures(tmp_path) / "transforms.json").write_text(json.dumps(content))
    frames = nerf.read(ReadRequest(tmp_path)).frames
    assert frames[0].lens == Lens("POLYNOMIAL", (0.1, -0.02, 0.003, 0, 0.001, 0.002))
    (tmp_path / "transforms.json").write_text(json.dumps(content | {"camera_model": "OPENCV_FISHEYE"}))
    assert nerf.read(ReadRequest(tmp_path)).frames[0].lens == Lens("OPENCV_FISHEYE", (0.1, -0.02, 0.003, 0))
    assert open_dataset(f"nerf:{tmp_path}").frames.lens_of(0) is not None
    (tmp_path / "transforms.json").write_text(json.dumps(content | {"is_fisheye": True}))  # instant-ngp's
    assert nerf.read(ReadRequest(tmp_path)).frames[0].lens == Lens("OPENCV_FISHEYE", (0.1, -0.02, 0.003, 0))
    (tmp_path / "transforms.json").write_text(json.dumps(transforms() | {"camera_model": "SIMPLE_RADIAL", "k1": 0.02}))
    assert open_dataset(f"nerf:{tmp_path}").frames.lens_of(0) == Lens("POLYNOMIAL", (0.02, 0, 0, 0, 0, 0))
    (tmp_path / "transforms.json").write_text(json.dumps(content | {"camera_model": "EQUIRECTANGULAR"}))
    with pytest.raises(DataError, match="EQUIRECTANGULAR"):
        open_dataset(f"nerf:{tmp_path}")
    (tmp_path / "transforms.json").write_text(json.dumps(content))
    with pytest.raises(UsageError, match="exif"):
        open_dataset(f"nerf:{tmp_path}?exif=true")


def test_whole_matrices_beside_depth_images(tmp_path: Path) -> None:
    """4x4 rows, `depth/` beside the pictures, and an intrinsics file in each of its forms."""
    pictures(tmp_path, [f"{folder}/{n}.png" for folder in ("rgb", "depth") for n in range(4)])
    rows = []
    for rotation, centre in zip(ROTATION, CENTRE, strict=True):
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = rotation.as_matrix(), centre
        rows.append(" ".join(map(repr, matrix.ravel().tolist())))
    (tmp_path / "poses.txt").write_text("\n".join(rows))
    result = folder_of(tmp_path)
    assert result.findings == []
    check(result, [f"rgb/{n}.png" for n in range(4)])
    for name, text, intrinsics, lens in (
        ("intrinsics.txt", "50 51 32 24", (50, 51, 32, 24), None),
        ("intrinsics.txt", "50 0 32\n0 51 24\n0 0 1\n", (50, 51, 32, 24), None),
        ("calibration.txt", "50 51 32 24 0.1 0.2 0.3 0.4\n", (50, 51, 32, 24), (0.1, 0.2, 0, 0, 0.3, 0.4)),
        ("calib.txt", "P0: 1 0 2 0 0 3 4 0 0 0 1 0\nP2: 50 0 32 7 0 51 24 8 0 0 1 9\nTr: 1\n", (50, 51, 32, 24), None),
    ):
        (tmp_path / name).write_text(text)
        frame = folder_of(tmp_path).frames[0]
        assert frame.intrinsics == intrinsics, name
        assert frame.lens == (Lens("POLYNOMIAL", lens) if lens else None)
        (tmp_path / name).unlink()
