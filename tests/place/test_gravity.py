"""Up as a phone felt it: made walks, whose vertical is known, through the axes of phone, camera and map."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from naming import naming
from scipy.spatial.transform import Rotation

from posezoo.base.errors import DataError
from posezoo.place import gravity

LEVEL = Rotation.from_matrix([[0, 0, 1], [-1, 0, 0], [0, -1, 0]])  # camera to a z-up world: it looks along x
TILT = Rotation.from_euler("xyz", [25, -40, 10], degrees=True)  # of the map against the world
SECONDS = 20


def walk(pitch: float = 15.0) -> list[Rotation]:
    """Camera to world, once a second: looking around, a little down, never quite straight."""
    swing = np.random.default_rng(0).normal(size=(SECONDS, 2))
    return [
        Rotation.from_euler("ZYX", [18 * n, pitch + 4 * swing[n, 0], 3 * swing[n, 1]], degrees=True) * LEVEL
        for n in range(SECONDS)
    ]


def logged(path: Path, cameras: list[Rotation], quarter: int = 0, sign: float = 1.0, begin: float = 0.0) -> Path:
    """What the phone of these cameras writes 50 times a second; held `quarter` quarter turns away from portrait.

    Written from the definition of the axes, and not from the code: the screen's right and top, and out of the screen.
    """
    held = np.radians(90 * quarter)
    lines = ["t,ax,ay,az"]
    noise = np.random.default_rng(1)
    for n in range(50 * SECONDS):
        x_3, y_3, z_3 = cameras[n // 50].as_matrix().T  # the picture's right, down, and into it
        right = np.cos(held) * x_3 - np.sin(held) * y_3
        top = -np.cos(held) * y_3 - np.sin(held) * x_3
        force = sign * (np.array([0, 0, 9.81]) + noise.normal(size=3))  # a hand shakes
        read = [right @ force, top @ force, -z_3 @ force]
        lines.append(",".join(map(repr, map(float, [begin + (n - 25) / 50, *read]))))
    path.write_text("\n".join(lines) + "\n")
    return path


STAMPS = {f"walk/{n}.jpg": n * 1_000_000 for n in range(SECONDS)}


@pytest.mark.parametrize("quarter", range(4))
def test_up_is_found_however_the_phone_is_held(tmp_path: Path, quarter: int) -> None:
    cameras = walk()
    felt = gravity.felt(logged(tmp_path / "a.csv", cameras, quarter), STAMPS)
    assert set(felt) == set(STAMPS)
    rotations = {name: (TILT * cameras[n]).as_matrix() for n, name in enumerate(STAMPS)}
    up, degrees = gravity.up(felt, rotations)
    assert np.degrees(np.arccos(up @ TILT.apply([0, 0, 1]))) < 0.5 and degrees < 3
    cameras_up = -np.mean([rotation[:, 1] for rotation in rotations.values()], axis=0)
    assert np.linalg.norm(up) == pytest.approx(1) and np.linalg.norm(cameras_up) < 0.99


def test_by_hand_a_phone_on_its_back_feels_up_out_of_its_screen(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("t,ax,ay,az\n0,0,0.001,9.81\n")
    found = gravity.felt(tmp_path / "a.csv", {"0.jpg": 0})["0.jpg"]
    np.testing.assert_allclose(found, [0, -0.001, -9.81])  # the rear camera looks down: up is behind it
    (tmp_path / "a.csv").write_text("t,ax,ay,az\n0,0,9.81,0\n")
    np.testing.assert_allclose(gravity.felt(tmp_path / "a.csv", {"0.jpg": 0})["0.jpg"], [0, -9.81, 0])


def test_another_sign_or_another_walk_is_refused(tmp_path: Path) -> None:
    cameras = walk()
    rotations = {name: cameras[n].as_matrix() for n, name in enumerate(STAMPS)}
    for felt in (
        gravity.felt(logged(tmp_path / "a.csv", cameras, sign=-1), STAMPS),
        gravity.felt(logged(tmp_path / "a.csv", walk(60)), STAMPS),
    ):
        with pytest.raises(DataError, match="disagree"):
            gravity.up(felt, rotations)
    with pytest.raises(DataError, match="placed"):
        gravity.up({}, rotations)


def test_what_is_no_such_file(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    for text, *words in (
        ("t,ax,ay\n1,2,3\n", "az"),
        ("t,ax,ay,az\n1,2,x,3\n", "a.csv:2"),
        ("t,ax,ay,az\n", "a.csv"),
        ("t,ax,ay,az\n0,0,-1,0\n", "0", "9.8"),  # in g, as iOS writes
        ("t,ax,ay,az\n900,0,9.8,0\n901,0,9.8,0\n", "900", "901", "20"),  # the clock of the day
    ):
        path.write_text(text)
        with pytest.raises(DataError, match=naming("a.csv", *words[1:])) as caught:
            gravity.felt(path, STAMPS)
        assert words[0] in str(caught.value)
    with pytest.raises(DataError, match=naming("none.csv")):
        gravity.felt(tmp_path / "none.csv", STAMPS)
