"""What training prepares: positions of millions of metres, pixel statistics, bad data left out."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import small_data
import torch
from small_runs import Notes, Train

from posezoo.catalogue import resolve
from posezoo.catalogue.settings import nested
from posezoo.data.images.cache import ImageCache
from posezoo.data.images.pixels import pixel_statistics
from posezoo.data.open import open_dataset
from posezoo.nn.backbones import Backbone
from posezoo.training import setup
from posezoo.training.config import PhaseSettings, configure
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


# What learns


TWO_PHASES = [{"epochs": 1}, {"train": "position", "epochs": 1}]


def job(data: Path, model: str = "posenet", **more: object) -> setup.Job:
    """The run that these settings ask for, before its first step."""
    known, place = resolve.model(model), resolve.data(f"folder:{data}")
    config, plan = configure(known, place, nested(small_data.settings(model, **more)))
    return setup.prepare(config, plan, place, Notes())


def moved_tensors(train: Train, data: Path, **more: object) -> set[str]:
    """What a run has changed of the weights that it started from; the seed draws the same start again."""
    start = {name: tensor.clone() for name, tensor in job(data, **more).model.state_dict().items()}
    end = load(f"local-dir:{train(data=data, selection='last', **more).path}").state_dict()
    assert start.keys() == end.keys()
    return {name for name, tensor in start.items() if not torch.equal(tensor, end[name])}


@pytest.mark.parametrize("more", [{"epochs": 2}, {"phases": TWO_PHASES}])
def test_a_backbone_of_rate_zero_stays_as_it_is_to_the_last_bit(
    train: Train, one_place: Path, more: dict[str, object]
) -> None:
    moved = moved_tensors(train, one_place, **{"optim.backbone_lr": 0, **more})
    assert {name.partition(".")[0] for name in moved} == {"hidden", "position_head", "orientation_head"}


def test_without_a_rate_of_its_own_the_backbone_learns(train: Train, one_place: Path) -> None:
    moved = moved_tensors(train, one_place, epochs=1)
    assert "backbone.net.conv_stem.weight" in moved
    assert "backbone.net.bn1.running_mean" in moved


@pytest.mark.parametrize("train_what", ["all", "position", "orientation"])
def test_a_frozen_backbone_is_in_evaluation_mode_and_nothing_else(one_place: Path, train_what: str) -> None:
    ready = job(one_place, **{"optim.backbone_lr": 0})
    phase = PhaseSettings(train=train_what, epochs=1)
    setup.set_trainable(ready.model, phase)
    others = {n for n, m in ready.model.named_modules() if m.training and not n.startswith("backbone")}
    setup.set_trainable(ready.model, phase, ready.config.optim.backbone_learns)
    backbone = next(module for module in ready.model.modules() if isinstance(module, Backbone))
    assert not any(module.training for module in backbone.modules())
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    assert {n for n, m in ready.model.named_modules() if m.training} == others
    assert any(parameter.requires_grad for parameter in ready.model.parameters())


@pytest.mark.parametrize(("rate", "rates"), [(0, {1e-3}), (None, {1e-3}), (0.02, {1e-3, 0.02})])
def test_rates_of_the_balance(one_place: Path, rate: float | None, rates: set[float]) -> None:
    ready = job(one_place, **{"loss.balance_lr": rate, "optim.lr": 1e-3})
    loss = setup.make_loss(ready, ready.config.plan[0])
    optimiser = setup.make_optimiser(ready, loss)
    assert {group["lr"] for group in optimiser.param_groups} == rates
    learns = any(parameter is loss.balance for group in optimiser.param_groups for parameter in group["params"])
    assert learns == (rate != 0)


def test_a_balance_of_rate_zero_stays_at_its_start(train: Train) -> None:
    run = train(epochs=1, **{"loss.balance_lr": 0, "loss.start": (0.5, -3.0)}).path
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    assert {tuple(line["balance"]) for line in lines if "balance" in line} == {(0.5, -3.0)}
