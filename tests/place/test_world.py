"""Metres, up and origin: on reconstructions that pycolmap makes up, moved by known similarities."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from naming import naming
from PIL import Image
from PIL.TiffImagePlugin import IFDRational
from scipy.spatial.transform import Rotation

from posezoo.base.errors import DataError, UsageError
from posezoo.place import world

pycolmap = pytest.importorskip("pycolmap", reason="the extra map")
TURN = Rotation.from_euler("ZYX", [30, -50, 20], degrees=True).as_matrix()


@pytest.fixture(scope="module")
def model() -> Any:
    pycolmap.set_random_seed(1)
    options = pycolmap.SyntheticDatasetOptions(num_rigs=1, num_cameras_per_rig=1, num_frames_per_rig=8, num_points3D=60)
    return pycolmap.synthesize_dataset(options)


def centres(model: Any) -> dict[str, np.ndarray]:
    return {model.images[n].name: model.images[n].projection_center() for n in model.reg_image_ids()}


def test_a_similarity_is_found_again() -> None:
    points = np.random.default_rng(0).normal(size=(20, 3))
    scale, rotation, translation = world.similarity(points, 2.5 * points @ TURN.T + [1, 2, 3])
    assert scale == pytest.approx(2.5)
    np.testing.assert_allclose(rotation, TURN, atol=1e-12)
    np.testing.assert_allclose(translation, [1, 2, 3], atol=1e-12)
    flat = points * [1, 1, 0]  # of a level walk: no mirror image
    np.testing.assert_allclose(world.similarity(flat, flat @ TURN.T)[1], TURN, atol=1e-12)
    with pytest.raises(DataError):
        world.similarity(points * [1, 0, 0], points)


def test_the_world_has_its_origin_at_the_first_camera_and_z_up(model: Any) -> None:
    found = world.world_of(model, "", Path(), {})
    assert (found.unit, found.scale) == ("scene units", 1.0)
    first = min(centres(model))
    np.testing.assert_allclose(found.rotation @ centres(model)[first] + found.translation, 0, atol=1e-12)
    np.testing.assert_allclose(found.rotation @ found.rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(found.rotation) == pytest.approx(1)
    placed = [model.images[n] for n in model.reg_image_ids()]
    up = -np.mean([image.cam_from_world().rotation.matrix()[1] for image in placed], axis=0)
    np.testing.assert_allclose(found.rotation @ up / np.linalg.norm(up), [0, 0, 1], atol=1e-12)


def test_a_trajectory_gives_the_world_though_one_of_its_positions_is_wrong(model: Any, tmp_path: Path) -> None:
    known = {name: 0.5 * TURN @ centre + [4, 5, 6] for name, centre in centres(model).items()}
    given = [at + (100 if n == 3 else 0) for n, at in enumerate(known.values())]
    lines = [",".join([name, *map(repr, at.tolist())]) for name, at in zip(known, given, strict=True)]
    (tmp_path / "known.csv").write_text("image,x,y,z\n" + "\n".join(lines) + "\n")
    found = world.world_of(model, str(tmp_path / "known.csv"), Path(), {})
    assert (found.unit, found.scale) == ("m", pytest.approx(0.5))
    np.testing.assert_allclose(found.rotation, TURN, atol=1e-9)
    assert found.residual_m == pytest.approx(0, abs=1e-9)
    stamps = {name: n * 1_000_000 for n, name in enumerate(known)}
    rows = [f"{n} {' '.join(map(repr, map(float, at)))} 0 0 0 1" for n, at in enumerate(known.values())]
    (tmp_path / "known.txt").write_text("\n".join(rows))
    assert world.world_of(model, str(tmp_path / "known.txt"), Path(), stamps).scale == pytest.approx(0.5)
    (tmp_path / "bad.csv").write_text("image,x,y,z\na,1,2,nan\n")
    with pytest.raises(DataError, match=naming("bad.csv")):
        world.world_of(model, str(tmp_path / "bad.csv"), Path(), {})


def test_times_of_a_trajectory_are_those_of_the_first_recording(model: Any, tmp_path: Path) -> None:
    """Every video begins at 0: another one's frames have the same times, and were elsewhere."""
    names = list(centres(model))
    assert all("/" not in name for name in names)
    stamps = {f"a/{n}": n * 1_000_000 for n in range(4)} | {f"b/{n}": n * 1_000_000 for n in range(4)}
    assert world._of_one_clock(stamps, "a") == {f"a/{n}": n * 1_000_000 for n in range(4)}
    later = {f"b/{n}": (n + 10) * 1_000_000 for n in range(4)}  # photographs by one clock
    both = {name: stamp for name, stamp in stamps.items() if name.startswith("a/")} | later
    assert world._of_one_clock(both, "a") == both
    assert world._of_one_clock({"x": 5}, "") == {"x": 5}


def test_gravity_sets_z_though_all_cameras_look_down(model: Any, tmp_path: Path) -> None:
    """Whatever the way to metres; positions in a row are then enough, which give no orientation alone."""
    up_3 = TURN[2]  # of the map: TURN takes it to z
    (tmp_path / "phone.csv").write_text("t,ax,ay,az\n")
    with pytest.raises(DataError, match=naming("phone.csv")):
        world.world_of(model, "", Path(), {}, gravity_from=str(tmp_path / "phone.csv"))
    for found in (world.upright(model, 1.0, "m", "", up_3), _in_a_row(model, tmp_path, up_3)):
        np.testing.assert_allclose(found.rotation @ up_3, [0, 0, 1], atol=1e-9)
        np.testing.assert_allclose(found.rotation @ found.rotation.T, np.eye(3), atol=1e-9)
        assert np.linalg.det(found.rotation) == pytest.approx(1)


def _in_a_row(model: Any, tmp_path: Path, up_3: np.ndarray) -> world.World:
    from_N3 = np.linspace(0, 1, 7)[:, None] * [3.0, 1, 2]
    with pytest.raises(DataError, match="--gravity-from"):
        world.similarity(from_N3, from_N3 @ TURN.T)
    scale, rotation, translation = world.level_similarity(from_N3, 0.5 * from_N3 @ TURN.T + [4, 5, 6], up_3)
    assert scale == pytest.approx(0.5)
    np.testing.assert_allclose(rotation, TURN, atol=1e-9)
    np.testing.assert_allclose(translation, [4, 5, 6], atol=1e-9)
    for bad in (np.linspace(0, 1, 7)[:, None] * up_3, np.linspace(0, 0, 7)[:, None] * up_3):
        with pytest.raises(DataError, match="one above the other"):
            world.level_similarity(bad, bad @ TURN.T, up_3)
    with pytest.raises(DataError, match="contradict"):
        world.level_similarity(np.eye(3)[[0, 1, 2]] @ TURN, np.eye(3) * [0.1, 0.1, -9], up_3)
    return world.World(scale, rotation, translation, "m", "")


def test_known_distances_give_metres(model: Any) -> None:
    (a, at), (b, other) = list(centres(model).items())[:2]
    found = world.world_of(model, f"known-distance:{a},{b}=3.2", Path(), {})
    assert (found.unit, found.scale * np.linalg.norm(at - other)) == ("m", pytest.approx(3.2))
    image = model.find_image_with_name(a)
    seen = [(point.xy, model.points3D[point.point3D_id].xyz) for point in image.points2D if point.has_point3D()]
    (p, x), (q, y) = seen[0], seen[-1]
    text = f"two-points:{a}:{p[0]:.1f},{p[1]:.1f}:{q[0]:.1f},{q[1]:.1f}=1.8"
    assert world.world_of(model, text, Path(), {}).scale * np.linalg.norm(x - y) == pytest.approx(1.8)


@pytest.mark.parametrize(
    "text",
    [
        "arm",
        "known-distance:",
        "known-distance:a,b=0",
        "two-points:x",
        "two-points:x:1,1=2",
        "two-points:x:1,1:2,2=0",
        "absent.csv",
    ],
)
def test_what_is_not_understood(model: Any, text: str) -> None:
    with pytest.raises(UsageError):
        world.world_of(model, text, Path(), {})
    with pytest.raises(UsageError):
        world.check(text)


def test_what_gravity_comes_from_is_looked_for_first(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=naming("phone.csv")):
        world.check("gps", str(tmp_path / "phone.csv"))
    (tmp_path / "phone.csv").touch()
    world.check("gps", str(tmp_path / "phone.csv"))


def test_exif_positions_are_metres_east_north_and_up(tmp_path: Path) -> None:
    for n, (minutes, height) in enumerate(((0.0, 10.0), (0.6, 12.0))):
        exif = Image.Exif()
        exif[world.GPS] = {1: "N", 2: (60.0, minutes, 0.0), 3: "W", 4: (10.0, minutes, 0.0), 5: b"\x00", 6: height}
        Image.new("RGB", (8, 8)).save(tmp_path / f"{n}.jpg", exif=exif)
    Image.new("RGB", (8, 8)).save(tmp_path / "none.jpg")
    exif[world.GPS][6] = IFDRational(0, 0)
    Image.new("RGB", (8, 8)).save(tmp_path / "no height.jpg", exif=exif)
    found = world.gps_positions(tmp_path, ["0.jpg", "1.jpg", "none.jpg", "no height.jpg"])
    assert set(found) == {"0.jpg", "1.jpg"}
    minute = np.radians(0.01) * world.EARTH_M  # 1113 m, half of it from west to east at 60 degrees
    np.testing.assert_allclose(found["1.jpg"], [-minute / 2, minute, 2], rtol=1e-6)
