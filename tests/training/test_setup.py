"""What training prepares: positions of millions of metres, pixel statistics, bad data left out."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
from small_runs import Notes, Train

from posezoo.data.images.cache import ImageCache
from posezoo.data.images.pixels import pixel_statistics
from posezoo.data.open import open_dataset
from posezoo.zoo.find import read_config
from posezoo.zoo.saved import load

UTM = (5_735_800.0, 620_000.0)


def moved(folder: Path, target: Path) -> Path:
    """The data set with its origin at UTM coordinates."""
    shutil.copytree(folder, target)
    with (folder / "poses.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row |= {"x": repr(float(row["x"]) + UTM[0]), "y": repr(float(row["y"]) + UTM[1])}
    with (target / "poses.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return target


def losses(run: Path) -> list[float]:
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [line["loss"] for line in lines if "loss" in line]


def test_utm_coordinates_train_and_predict_like_small_ones(train: Train, one_place: Path, tmp_path: Path) -> None:
    here = train(out=str(tmp_path / "here"))
    there = train(data=moved(one_place, tmp_path / "utm"), out=str(tmp_path / "there"))
    np.testing.assert_allclose(losses(there.path), losses(here.path), rtol=1e-5)
    offset = np.array([*UTM, 0.0])
    found, expected = (result.report.methods["posenet"].position for result in (there, here))
    np.testing.assert_allclose(found - offset, expected, atol=1e-4)
    image = str(one_place / "yard/30.png")
    one, other = (load(f"local-dir:{result.path}").predict(image).position for result in (there, here))
    np.testing.assert_allclose(one - offset, other, atol=1e-4)
    table = (there.path / "report/predictions.csv").read_text().splitlines()[1].split(",")
    assert any(cell.startswith("57358") and len(cell.partition(".")[2]) > 5 for cell in table)


def test_pixels_normalised_by_the_data(train: Train, one_place: Path) -> None:
    result = train(normalise_pixels="data", epochs=1)
    config = read_config(result.path / "best")["config"]
    frames = open_dataset(f"folder:{one_place}").frames
    pixels = ImageCache.open(frames).batch(np.flatnonzero(frames.split == "train"))[0].double() / 255
    # validation blocks are no training frames, so the numbers agree but roughly
    np.testing.assert_allclose(config["mean"], pixels.mean((0, 2, 3)), atol=0.05)
    np.testing.assert_allclose(config["std"], pixels.std((0, 2, 3)), atol=0.05)
    rows = np.arange(len(frames))
    mean, std = pixel_statistics(ImageCache.open(frames), rows)
    everything = ImageCache.open(frames).batch(rows)[0].double() / 255
    np.testing.assert_allclose(mean, everything.mean((0, 2, 3)), rtol=1e-9)
    np.testing.assert_allclose(std, everything.std((0, 2, 3), unbiased=False), rtol=1e-9)


def test_a_mean_of_ones_own_wins(train: Train) -> None:
    result = train(normalise_pixels="data", epochs=1, mean=[0.1, 0.2, 0.3], std=[0.4, 0.5, 0.6])
    config = read_config(result.path / "best")["config"]
    assert (config["mean"], config["std"]) == ([0.1, 0.2, 0.3], [0.4, 0.5, 0.6])


def test_bad_data_left_out_are_recorded_in_run_and_report(
    train: Train, one_place: Path, tmp_path: Path, notes: Notes
) -> None:
    shutil.copytree(one_place, tmp_path / "d")
    (tmp_path / "d/yard/05.png").write_text("hello")
    result = train(data=tmp_path / "d", epochs=1, **{"data.skip_bad": True})
    line = "yard/05.png: not an image"
    assert (result.path / "skipped.txt").read_text().startswith(line)
    assert any("bad data left out as asked: 1 problem " in note for note in notes.notes)
    assert any("bad data left out as asked" in note for note in result.report.notes)
    stored = json.loads((result.path / "report/report.json").read_text())
    assert stored["settings"]["skipped"][0].startswith(line)
    from posezoo.training.again import evaluate

    assert len(evaluate(result.path).frames) == 8
