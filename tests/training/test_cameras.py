"""The lens that a trained model knows: of most training pictures of a shape, and applied to what it predicts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import small_data
from PIL import Image
from small_runs import Notes

from posezoo.base.files.lenses import parsed
from posezoo.base.spec import Frame, Lens
from posezoo.catalogue import resolve, settings
from posezoo.data.export import export
from posezoo.data.open import open_dataset
from posezoo.data.table import Frames
from posezoo.evaluation.evaluate import predict_frames
from posezoo.training import setup
from posezoo.training.cameras import training_lenses
from posezoo.training.config import configure
from posezoo.zoo.stream import joined, predict_pictures, predict_stream

RADIAL = Lens("SIMPLE_RADIAL", (-0.2,))
OTHER = Lens("SIMPLE_RADIAL", (0.1,))


def frames(*cameras: tuple[Lens | None, float]) -> Frames:
    rows = [
        Frame(f"{n}.png", (0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0), "a", "train", intrinsics=(f, f, 320, 240), lens=lens)
        for n, (lens, f) in enumerate(cameras)
    ]
    return Frames.from_rows(Path(), rows)


def test_the_camera_of_most_pictures_of_a_shape(notes: Notes) -> None:
    cameras = [(RADIAL, 500.0)] * 3 + [(None, 500.0)] * 2 + [(None, 400.0), (OTHER, 500.0)]
    sizes = np.array([(640, 480)] * 5 + [(480, 640)] * 2)
    found = training_lenses(frames(*cameras), sizes, notes.note)
    assert [parsed(one) for one in found] == [(RADIAL, (500, 500, 320, 240), (640, 480))]
    assert "2 cameras" in notes.notes.pop(), "of the upright ones"
    assert training_lenses(frames(*cameras[3:6]), sizes[3:6], notes.note) == ()
    assert not notes.notes


def test_pictures_of_one_camera_in_two_sizes_are_one_camera(notes: Notes) -> None:
    table = frames((RADIAL, 500.0), (OTHER, 100.0), (RADIAL, 250.0))
    table.intrinsics[2] = (250, 250, 160, 120)
    found = training_lenses(table, np.array([(640, 480), (640, 480), (320, 240)]), notes.note)
    assert [parsed(one)[0] for one in found] == [RADIAL] and not notes.notes


def test_predictions_are_those_of_the_evaluation(tmp_path: Path, notes: Notes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of files, folders and pictures in memory: corrected like the pictures of the cache, by what the model knows."""
    data = small_data.write(tmp_path / "data", small_data.rows("yard"))
    export(open_dataset(f"folder:{data}").frames, "colmap", tmp_path / "map")
    lines = (tmp_path / "map/cameras.txt").read_text().splitlines()
    bent = [f"{line.replace(' PINHOLE ', ' OPENCV ')} -0.3 0.05 0.01 0" for line in lines if line[0] != "#"]
    (tmp_path / "map/cameras.txt").write_text("\n".join(bent) + "\n")
    place = resolve.data(f"colmap:{tmp_path / 'map'}?root={data}")
    config, plan = configure(resolve.model("posenet"), place, settings.nested(small_data.settings("posenet")))
    ready = setup.set_up(config, plan, place, notes)
    assert [parsed(one)[0].kind for one in ready.model.config.lenses] == ["OPENCV"]
    model, frames = ready.model.eval(), ready.dataset.frames
    expected, _ = predict_frames(model, ready.cache, range(6), frames.select(range(6)))
    paths = [frames.path(n) for n in range(6)]
    for found in (
        model.predict(paths),
        joined(list(predict_stream(model, paths))),
        predict_pictures(model, [Image.open(path) for path in paths]),
    ):
        np.testing.assert_allclose(found.position, expected.position, atol=1e-5)
        np.testing.assert_allclose(found.quaternion, expected.quaternion, atol=1e-5)
    lens_free = predict_stream(model, paths)
    monkeypatch.setattr("posezoo.base.files.lenses.lens_of", lambda texts: None)
    assert np.abs(joined(list(lens_free)).position - expected.position).max() > 1e-4, "else nothing is said"


def test_pictures_of_another_shape_are_told(tmp_path: Path, notes: Notes) -> None:
    from posezoo.zoo.build import create_model

    small = {"backbone": "test_efficientnet.r160_in1k", "pretrained_backbone": False, "hidden": 8, "resize": 64}
    model = create_model("posenet", **small, crop=64, lenses=("SIMPLE_RADIAL 64 48 60 60 32 24 -0.2",)).eval()
    for n, size in enumerate([(64, 48), (128, 96), (48, 64)]):
        Image.new("RGB", size, "red").save(tmp_path / f"{n}.png")
    list(predict_stream(model, [tmp_path], note=notes.note))
    model.predict(tmp_path, note=notes.note)
    assert [note[:6] for note in notes.notes] == ["1 of 3"] * 2
