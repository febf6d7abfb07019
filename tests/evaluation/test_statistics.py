"""A data set in numbers: against numbers known beforehand."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import small_data
from naming import naming

from posezoo import dataset_statistics
from posezoo.base.errors import DataError


def straight(scene: str, count: int, test_offset: float) -> list[dict[str, object]]:
    """Frames 0.5 m apart along x, each turned 2 degrees on; two test frames `test_offset` m beside the first two."""
    rows = []
    for n in range(count + 2):
        test = n >= count
        half = math.radians(2 * (n - count if test else n)) / 2
        place = (0.5 * (n - count), test_offset, 0.0) if test else (0.5 * n, 0.0, 0.0)
        rows.append(
            {
                "image": f"{scene}/{n:02d}.png",
                **dict(zip("xyz", place, strict=True)),
                **{"qw": math.cos(half), "qx": 0.0, "qy": math.sin(half), "qz": 0.0},
                **{"scene": scene, "split": "test" if test else "train", "sequence": "b" if test else "a"},
                "condition": "rain" if test else "sun",
            }
        )
    return rows


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return small_data.write(tmp_path / "d", straight("yard", 9, 0.2) + straight("hall", 5, 3.0))


def test_numbers_known_beforehand(place: Path) -> None:
    found = dataset_statistics(f"folder:{place}")
    assert json.loads(json.dumps(found)) == found
    assert (found["frames"], found["splits"], found["kind"]) == (18, {"train": 14, "test": 4}, "indoor")
    assert (found["image_sizes"], found["intrinsics"]) == ({"96x72": 18}, "known for 0 of 18 frames")
    assert found["ground_truth"] == "original"
    rows = {(row["scene"], row["split"]): row for row in found["scenes"]}
    yard = rows["yard", "train"]
    assert (yard["frames"], yard["sequences"], yard["path (m)"], yard["median spacing (m)"]) == (9, 1, 4.0, 0.5)
    assert (yard["median turn (deg)"], [yard[f"box {axis} (m)"] for axis in "xyz"]) == (2.0, [4, 0, 0])
    assert yard["position spread (m)"] == pytest.approx(0.5 * math.sqrt(60 / 9), rel=1e-3)
    assert yard["heading spread (deg)"] == pytest.approx(2 * math.sqrt(60 / 9), rel=1e-3)
    assert rows["hall", "test"]["frames"] == 2
    assert [(row["sequence"], row["frames"]) for row in found["sequences"]] == [("a", 5), ("b", 2), ("a", 9), ("b", 2)]
    assert {"condition": "sun", "split": "train", "frames": 14} in found["conditions"]


def test_distance_to_training_frames_and_the_mean_pose(place: Path) -> None:
    hall, yard = dataset_statistics(f"folder:{place}")["test_beside_training"]
    assert (hall["scene"], hall["nearest training frame (m)"], hall["its turn (deg)"]) == ("hall", 3.0, 0.0)
    assert (yard["nearest training frame (m)"], yard["within 0.1 m (%)"], yard["within 0.25 m (%)"]) == (0.2, 0, 100)
    # the mean of the yard's training poses is at x = 2, turned 8 degrees
    expected = (math.hypot(2, 0.2) + math.hypot(1.5, 0.2)) / 2
    assert yard["mean pose (m)"] == pytest.approx(expected, rel=1e-3)
    assert yard["mean pose (deg)"] == pytest.approx((8 + 6) / 2, rel=1e-3)


def test_one_frame_and_no_frame(tmp_path: Path) -> None:
    rows = straight("yard", 1, 0.2)[:1]
    found = dataset_statistics(f"folder:{small_data.write(tmp_path / 'one', rows)}")
    assert found["scenes"][0]["median spacing (m)"] is None
    assert (found["scenes"][0]["path (m)"], found["test_beside_training"]) == (0.0, [])
    (tmp_path / "one/poses.csv").write_text("image,x,y,z,qw,qx,qy,qz\n")
    with pytest.raises(DataError, match=naming(f"folder:{tmp_path / 'one'}")):
        dataset_statistics(f"folder:{tmp_path / 'one'}")


def test_the_demo_as_its_reports_have_it() -> None:
    (row,) = dataset_statistics("demo-loop")["test_beside_training"]
    assert (row["test frames"], row["nearest training frame (m)"]) == (240, pytest.approx(1.15, abs=0.01))
    assert (row["mean pose (m)"], row["mean pose (deg)"]) == pytest.approx((57.72, 85.08), abs=0.01)  # docs/LOG.md


def test_a_block_held_out_is_no_jump_of_the_path(tmp_path: Path) -> None:
    rows = straight("yard", 9, 0.2)[:9]
    for n in (3, 4, 5):
        rows[n]["split"] = "test"
    place = small_data.write(tmp_path / "d", rows)
    train, test = dataset_statistics(f"folder:{place}")["scenes"]
    assert (train["path (m)"], train["largest spacing (m)"]) == (2.0, 0.5)  # two stretches of three frames
    assert test["path (m)"] == 1.0


def test_data_without_a_metre_have_none_in_their_tables(tmp_path: Path) -> None:
    place = small_data.write(tmp_path / "d", straight("yard", 9, 0.2))
    frames = [
        {"file_path": f"yard/{n:02d}.png", "transform_matrix": [[1, 0, 0, n], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]}
        for n in range(10)
    ]
    (place / "transforms.json").write_text(json.dumps({"frames": frames, "camera_angle_x": 1.0}))
    found = dataset_statistics(f"nerf:{place}")
    assert found["unit"] == "scene units"
    assert (
        "path (scene units)" in found["scenes"][0] and "within 0.1 scene units (%)" in found["test_beside_training"][0]
    )
    assert "(m)" not in json.dumps(found) and " m " not in json.dumps(found["notes"])
    assert dataset_statistics(f"nerf:{place}?scale=2")["unit"] == "m"
