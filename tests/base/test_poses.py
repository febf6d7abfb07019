"""Poses in every form of other tools."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from pose_files import PARSERS
from scipy.spatial.transform import Rotation

from posezoo.base.errors import UsageError
from posezoo.base.poses import Poses, printable
from posezoo.base.rotation import axes_from_above, rotation_matrix


def test_forms_agree_on_hard_poses() -> None:
    random = np.random.default_rng(0)
    q = random.normal(size=(50, 4))
    q /= np.linalg.norm(q, axis=1, keepdims=True)
    q[q[:, 0] < 0] *= -1
    position = random.normal(size=(50, 3)) * 10.0 ** random.integers(-9, 6, size=(50, 1))
    names = tuple(f"a b/{n}.png" for n in range(50))
    poses = Poses(names, position, q)
    for kind in ("csv", "tum", "json", "colmap"):
        _, t, r = PARSERS[kind](getattr(poses, f"to_{kind}")())
        tolerance = 1e-9 if kind == "colmap" else 0  # colmap stores another vector
        np.testing.assert_allclose(t, position, rtol=1e-12, atol=tolerance)
        np.testing.assert_array_equal(r, q)


def turned(count: int = 7) -> tuple[Poses, Rotation]:
    """Poses in general position, and their rotations."""
    random, rotations = np.random.default_rng(1), Rotation.random(count, random_state=1)
    q_N4 = rotations.as_quat()[:, [3, 0, 1, 2]]
    q_N4[q_N4[:, 0] < 0] *= -1
    return Poses(tuple(f"{n}.png" for n in range(count)), random.normal(size=(count, 3)), q_N4), rotations


def test_rotation_matrices_are_scipys() -> None:
    poses, rotations = turned()
    np.testing.assert_allclose(rotation_matrix(poses.quaternion), rotations.as_matrix(), atol=1e-12)
    matrix_N44 = poses.matrix()
    np.testing.assert_allclose(matrix_N44[:, :3, :3], rotations.as_matrix(), atol=1e-12)
    np.testing.assert_array_equal(matrix_N44[:, :3, 3], poses.position)
    np.testing.assert_array_equal(matrix_N44[:, 3], [[0, 0, 0, 1]] * len(poses))


def test_kitti_and_nerf_are_the_same_cameras() -> None:
    poses, rotations = turned()
    rows_N12 = np.array([list(map(float, line.split())) for line in poses.to_kitti().splitlines()])
    np.testing.assert_allclose(rows_N12.reshape(-1, 3, 4), poses.matrix()[:, :3], atol=1e-15)
    for frame, pose_44 in zip(json.loads(poses.to_nerf())["frames"], poses.matrix(), strict=True):
        found_44 = np.array(frame["transform_matrix"])
        np.testing.assert_allclose(found_44[:3, 2], -pose_44[:3, 2], atol=1e-15)  # z looks backward
        np.testing.assert_allclose(found_44[:3, 1], -pose_44[:3, 1], atol=1e-15)
        np.testing.assert_allclose(found_44[:3, [0, 3]], pose_44[:3, [0, 3]], atol=1e-15)


def test_arrows_point_where_the_cameras_look() -> None:
    """The camera's z axis in the world: a column of the rotation, not a row."""
    poses, rotations = turned()
    axes = list(axes_from_above(poses.position, poses.quaternion))
    (arrows,) = poses.plot().axes[0].collections
    looking_N3 = rotations.apply([0.0, 0.0, 1.0])
    np.testing.assert_allclose(np.stack([arrows.U, arrows.V], 1), looking_N3[:, axes], atol=1e-12)


def test_the_picture_has_a_panel_for_each_scene_with_its_path(tmp_path: Path) -> None:
    poses, _ = turned(5)
    poses.position[4] = np.nan
    poses = dataclasses.replace(poses, scenes=("hall", "hall", "hall", "yard", "yard"))
    figure = poses.plot(tmp_path / "plan.svg", theme="dark")
    hall, yard = figure.axes
    assert "hall: 3" in hall.get_title() and "yard: 2" in yard.get_title() and "1 not finite" in yard.get_title()
    assert sum(len(line.get_xdata()) for line in hall.lines) == 3, "the path"
    assert hall.get_xlabel() and hall.xaxis.get_gridlines()[0].get_visible()
    assert "<svg" in (tmp_path / "plan.svg").read_text()
    assert len(poses[:0].plot().axes) == 1
    with pytest.raises(UsageError, match="sepia"):
        poses.plot(theme="sepia")


def test_times_in_seconds_or_numbers() -> None:
    poses, _ = turned(2)
    assert poses.stamps() == ["0", "1"]
    assert dataclasses.replace(poses, timestamps=(1_500_000, 20)).stamps() == ["1.500000", "0.000020"]
    assert dataclasses.replace(poses, timestamps=(1_500_000, -1)).stamps() == ["0", "1"], "one is not known"


def test_undecodable_names_can_be_printed() -> None:
    assert printable("caf\udce9") == "caf\\udce9"
    assert printable("é") == "é"


def test_poses_are_a_sequence_and_short_in_a_notebook() -> None:
    quaternion = np.tile([1.0, 0, 0, 0], (30, 1))
    poses = Poses(tuple(f"{n}.png" for n in range(30)), np.arange(90.0).reshape(30, 3), quaternion, ("hall",) * 30)
    assert poses[3].image == "3.png"
    assert poses[-1].position.tolist() == [87, 88, 89]
    assert [pose.image for pose in poses] == list(poses.images)
    assert poses[10:12].images == ("10.png", "11.png")
    assert poses[poses.position[:, 0] > 80].images == ("27.png", "28.png", "29.png")
    assert poses[[2, 0]].scenes == ("hall", "hall")
    with pytest.raises(IndexError):
        poses[30]
    assert len(repr(poses)) < 100 and "30 poses of hall" in repr(poses)
    shown = poses._repr_html_()
    assert shown.count("<tr>") == 11
    assert "30 poses, camera-to-world" in shown and "30 rows, the first 10 shown" in shown
    assert "<td>3.png</td><td>9.0</td><td>10.0</td><td>11.0</td><td>1.0</td>" in shown
    assert "<td>&lt;b&gt;.png</td>" in Poses(("<b>.png",), np.zeros((1, 3)), quaternion[:1])._repr_html_()
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = poses.to_dataframe()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame.columns) == ["image", "x", "y", "z", "qw", "qx", "qy", "qz", "scene"]
    assert frame.loc[3, "y"] == 10
