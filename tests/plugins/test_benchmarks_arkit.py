"""Scans of Polycam and Record3D, made here of poses that are known; read, and used as the measure of a map."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import benchmark_trees
import numpy as np
import pytest
from naming import naming
from own_folder import picture
from PIL import Image
from scipy.spatial.transform import Rotation

from posezoo.base.errors import DataError
from posezoo.data.open import open_dataset

AXES = Rotation.from_matrix([[0, 1, 0], [0, 0, 1], [1, 0, 0]])  # our z-up world in ARKit's: y up
CAMERA = Rotation.from_matrix(np.diag([1.0, -1.0, -1.0]))  # OpenGL's camera axes in ours


def in_arkit(position: np.ndarray, quaternion: np.ndarray) -> tuple[np.ndarray, Rotation]:
    """A pose of ours, (w, x, y, z), as ARKit has it: written independently of the reader, by scipy."""
    return AXES.apply(position), AXES * Rotation.from_quat(np.roll(quaternion, -1)) * CAMERA


def record3d(folder: Path, images: list[Path], position: np.ndarray, quaternion: np.ndarray, camera: Any) -> Path:
    (folder / "rgb").mkdir(parents=True)
    poses = []
    for n, image in enumerate(images):
        with Image.open(image) as opened:
            opened.convert("RGB").save(folder / f"rgb/{n}.jpg", quality=95)
            size = opened.size
        at, turn = in_arkit(position[n], quaternion[n])
        poses.append([*turn.as_quat().tolist(), *at.tolist()])
    fx, fy, cx, cy = camera
    facts = {"w": size[0], "h": size[1], "K": [fx, 0, 0, 0, fy, 0, cx, cy, 1], "poses": poses, "fps": 60}
    (folder / "metadata.json").write_text(json.dumps(facts | {"frameTimestamps": [n / 60 for n in range(len(images))]}))
    return folder


def polycam(folder: Path, position: np.ndarray, quaternion: np.ndarray, which: str = "") -> Path:
    for name in ("images", "cameras"):
        (folder / f"keyframes/{which}{name}").mkdir(parents=True)
    for n in range(len(position)):
        at, turn = in_arkit(position[n], quaternion[n])
        matrix = np.column_stack([turn.as_matrix(), at])
        facts = {f"t_{row}{column}": float(matrix[row, column]) for row in range(3) for column in range(4)}
        facts |= {"fx": 700.0, "fy": 701.0, "cx": 512.0, "cy": 384.0, "width": 1024, "height": 768, "timestamp": 7 + n}
        (folder / f"keyframes/{which}cameras/{9 + n}.json").write_text(json.dumps(facts))
        picture(folder / f"keyframes/{which}images/{9 + n}.jpg", 512, 384, seed=n)
    return folder


def pictures(folder: Path, count: int) -> list[Path]:
    paths = [folder / f"{n}.png" for n in range(count)]
    for n, path in enumerate(paths):
        picture(path, 40, 30, seed=n)
    return paths


@pytest.fixture
def poses() -> tuple[np.ndarray, np.ndarray]:
    turns = Rotation.random(6, random_state=1).as_quat()[:, [3, 0, 1, 2]]
    return np.random.default_rng(0).normal(size=(6, 3)), np.where(turns[:, :1] < 0, -turns, turns)


def test_a_level_camera_of_arkit_looks_level_with_z_up(tmp_path: Path) -> None:
    """By hand: ARKit's camera at rest looks along its world's -z, with y up."""
    record3d(tmp_path / "a", pictures(tmp_path, 3), np.zeros((3, 3)), np.eye(4)[[0] * 3], (1,) * 4)
    facts = json.loads((tmp_path / "a/metadata.json").read_text())
    facts["poses"] = [[0, 0, 0, 1, 1, 2, 3]] * 3
    (tmp_path / "a/metadata.json").write_text(json.dumps(facts))
    frames = open_dataset(f"arkit:{tmp_path / 'a'}", split="test").frames
    np.testing.assert_allclose(frames.position[0], [3, 1, 2])
    matrix = Rotation.from_quat(np.roll(frames.quaternion[0], -1)).as_matrix()
    np.testing.assert_allclose(matrix[:, 2], [-1, 0, 0], atol=1e-12)  # forward
    np.testing.assert_allclose(-matrix[:, 1], [0, 0, 1], atol=1e-12)  # up


def test_polycam(tmp_path: Path, poses: tuple[np.ndarray, np.ndarray]) -> None:
    polycam(tmp_path / "scan", *poses)
    (tmp_path / "scan/keyframes/cameras/9.json").unlink()
    dataset = open_dataset(f"arkit:{tmp_path / 'scan'}", split="test")
    frames = dataset.frames
    np.testing.assert_allclose(frames.position, poses[0][1:])
    np.testing.assert_allclose(frames.quaternion, poses[1][1:], atol=1e-9)
    assert frames.timestamp.tolist() == [8, 9, 10, 11, 12]
    np.testing.assert_allclose(frames.intrinsics[0], [350, 350.5, 256, 192])  # stored at half the camera's size
    assert dataset.left_out == 1 and any("1 of 6" in note for note in dataset.notes) and dataset.unit == "m"
    polycam(tmp_path / "scan", poses[0] + 1, poses[1], "corrected_")
    better = open_dataset(f"arkit:{tmp_path / 'scan'}", split="test").frames
    np.testing.assert_allclose(better.position, poses[0] + 1)


def test_record3d(tmp_path: Path, poses: tuple[np.ndarray, np.ndarray]) -> None:
    record3d(tmp_path / "scan", pictures(tmp_path, 6), *poses, (33.0, 34.0, 20.0, 15.0))
    picture(tmp_path / "scan/rgb/11.jpg", 40, 30)
    dataset = open_dataset(f"arkit:{tmp_path / 'scan'}", split="test")
    np.testing.assert_allclose(dataset.frames.position, poses[0])
    np.testing.assert_allclose(dataset.frames.quaternion, poses[1], atol=1e-9)
    np.testing.assert_allclose(dataset.frames.intrinsics, np.tile([33.0, 34.0, 20.0, 15.0], (6, 1)))
    assert dataset.frames.timestamp.tolist() == [round(n / 60 * 1e6) for n in range(6)] and dataset.left_out == 1


@pytest.mark.parametrize(
    "wrong", [[1, 2], [0, 0, 0, 2, 0, 0, 0], [0, 0, 0, 1, 0, 0, None], "a", [0, 0, 0, 1, 0, 0, float("nan")]]
)
def test_bad_poses_are_named(tmp_path: Path, wrong: Any, poses: tuple[np.ndarray, np.ndarray]) -> None:
    record3d(tmp_path / "scan", pictures(tmp_path, 6), *poses, (33.0, 34.0, 20.0, 15.0))
    facts = json.loads((tmp_path / "scan/metadata.json").read_text())
    facts["poses"][2] = wrong
    (tmp_path / "scan/metadata.json").write_text(json.dumps(facts))
    with pytest.raises(DataError, match=naming("metadata.json", "rgb/2.jpg")):
        open_dataset(f"arkit:{tmp_path / 'scan'}", split="test")


def test_what_is_no_scan_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "a.r3d").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "half/keyframes/images").mkdir(parents=True)
    for name, words in (("a.r3d", "unpack"), ("empty", "Polycam"), ("half", "keyframes/cameras")):
        with pytest.raises(DataError) as caught:
            open_dataset(f"arkit:{tmp_path / name}", split="test")
        assert words in str(caught.value)


def test_a_scan_gives_a_map_its_metres_and_its_vertical(tmp_path: Path) -> None:
    pytest.importorskip("pycolmap", reason="the extra map")
    from posezoo.place.build import map_place

    ride = benchmark_trees.rides("places")["yard-train"]
    frames = open_dataset("demo-places?scenes=yard").frames
    camera = frames.intrinsics[0].tolist()
    turns = ride.rotation.as_quat()[:, [3, 0, 1, 2]]
    record3d(tmp_path / "scan", ride.images[:12], ride.position[:12], turns[:12], camera)
    (tmp_path / "scan/depth").mkdir()
    picture(tmp_path / "scan/depth/0.png")
    report = map_place([tmp_path / "scan"], tmp_path / "place", scale_from="arkit")
    assert (report.images, report.unit, report.gravity_from) == (12, "m", "arkit")
    assert report.gravity_degrees is not None and report.gravity_degrees < 1
    found = open_dataset(f"colmap:{tmp_path / 'place'}", split="test").frames
    numbers = [int(Path(found.name(n)).name.split("-")[1].split(".")[0]) for n in range(len(found))]
    assert np.median(np.linalg.norm(found.position - ride.position[numbers], axis=1)) < 0.05
    turned = Rotation.from_quat(np.roll(found.quaternion, -1, axis=1)).inv() * ride.rotation[numbers]
    assert np.degrees(np.median(turned.magnitude())) < 1
