"""What the report says of a map, and what it advises."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from own_folder import picture
from PIL import Image

from posezoo.place.report import measure, save
from posezoo.place.sources import Recording
from posezoo.place.world import World, upright

pycolmap = pytest.importorskip("pycolmap", reason="the extra map")


@pytest.fixture(scope="module")
def model() -> Any:
    pycolmap.set_random_seed(1)
    return pycolmap.synthesize_dataset(
        pycolmap.SyntheticDatasetOptions(num_rigs=1, num_cameras_per_rig=1, num_frames_per_rig=6, num_points3D=80)
    )


def names_of(model: Any) -> list[str]:
    return sorted(model.images[n].name for n in model.reg_image_ids())


def test_what_is_not_placed_is_counted_and_advised_on(model: Any, tmp_path: Path) -> None:
    every = names_of(model)
    recordings = [Recording("a", tmp_path, condition="sun"), Recording("b", tmp_path, left_out=2)]
    world = upright(model, 1.0, "scene units", "")
    other = copy.deepcopy(model)
    other.images[next(iter(other.reg_image_ids()))].name = "b/0.jpg"
    report = measure(tmp_path, [model, other, model], world, recordings, {"a": every, "b": ["b/1.jpg", "b/0.jpg"]})
    assert (report.images, report.registered) == (8, 6)
    assert report.components == (6, 1), "frames that a larger part has do not make a part"
    assert report.unregistered == ("b/0.jpg", "b/1.jpg")
    assert [one["registered"] for one in report.recordings] == [6, 0]
    advice = " ".join(report.advice)
    for words in ("2 frames are not placed", "parts", "nothing of b", "HEIC", "--scale-from"):
        assert words in advice
    assert sum(camera["images"] for camera in report.cameras) == 6
    assert report.as_dict()["share"] == 0.75


def test_a_good_map_needs_no_advice(model: Any, tmp_path: Path) -> None:
    found = upright(model, 1.0, "m", "gps")
    world = World(1.0, found.rotation, found.translation, "m", "gps", 0.5)
    report = measure(tmp_path, [model], world, [Recording("a", tmp_path)], {"a": names_of(model)})
    assert (report.share, report.advice) == (1.0, ())
    assert any("0.5 m" in line for line in report.lines())


def test_the_files_of_the_report(model: Any, tmp_path: Path) -> None:
    for name in names_of(model):
        picture(tmp_path / "images" / name)
    world = upright(model, 1.0, "scene units", "")
    report = measure(tmp_path, [model], world, [Recording("a", tmp_path)], {"a": names_of(model)})
    save(report, model)
    text = (tmp_path / "report.md").read_text()
    assert all(one["image"] in text for one in report.worst)
    for file in ("above.png", "worst.jpg"):
        with Image.open(tmp_path / file) as image:
            assert min(image.size) > 200
