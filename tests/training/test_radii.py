"""Radii that a run finds at its end, from frames that it held apart and never from test frames."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np
import pytest
import torch
from naming import naming
from small_runs import Notes, Train

import posezoo
from posezoo.base.errors import WeightsError
from posezoo.data.open import open_dataset
from posezoo.training.config import TrainConfig
from posezoo.training.radii import held_apart
from posezoo.zoo.find import CARD, read_config

APART: dict[str, Any] = {"selection": "last", "data.calibration": 0.5}


def test_a_run_finds_radii_from_what_it_held_apart(train: Train, one_place: Any) -> None:
    run = train(epochs=1, **APART)
    best = run.path / "best"
    about = read_config(best)["estimate"]
    assert (about["count"], about["coverage"]) == (12, 0.9)
    assert "12 images" in (best / CARD).read_text()
    poses = posezoo.load(run.path, device="cpu").predict(sorted(one_place.rglob("*.png"))[:3], note=lambda text: None)
    assert set(poses.estimates) == {"familiarity", "radius_m", "radius_deg"}
    reported = run.report.methods[run.report.model]
    assert reported.radius_m is not None
    assert len(reported.radius_m) == 8  # the test images
    # resumed, the finished run says the same
    again = posezoo.resume(run.path, observer=Notes())
    assert read_config(best)["estimate"] == about
    np.testing.assert_array_equal(again.report.methods["posenet"].radius_m, reported.radius_m)


@pytest.mark.parametrize(("more", "said"), [({}, False), ({"data.calibration": 0.1}, True)], ids=["not", "too-few"])
def test_without_frames_apart_there_are_none(train: Train, notes: Notes, more: dict[str, Any], said: bool) -> None:
    """A run whose recipe holds none apart says nothing of it; one that was asked to says how many there are."""
    run = train(epochs=1, selection="last", **more)
    told = [note for note in notes.notes if "radii" in note]
    assert len(told) == said
    if said:
        assert re.search(naming("data.calibration", "posezoo calibrate"), told[0])
        assert re.search(r"\b6 frames .*\b9\b", told[0])
    assert "estimate" not in read_config(run.path / "best")
    assert run.report.methods["posenet"].radius_m is None
    assert [path.name for path in (run.path / "best").glob("estimate*")] == []


@pytest.mark.parametrize(
    ("settings", "count"), [({"selection": "test"}, 0), ({"overfit": 4}, 0), ({"selection": "validation"}, 10)]
)
def test_only_frames_that_are_not_trained_or_tested_on(settings: dict[str, Any], count: int, one_place: Any) -> None:
    dataset = open_dataset(f"folder:{one_place}")
    config = TrainConfig.model_validate({"model": "posenet", "recipe": "quick", "data": {"name": "x"}, **settings})
    validation = (
        np.arange(10) if settings.get("selection") != "test" else np.flatnonzero(dataset.frames.split == "test")
    )
    rows, source = held_apart(dataset, config, validation)
    assert len(rows) == count
    assert bool(source) == bool(count)
    # whatever a reader calls them, test frames are taken out
    tested = dataclasses.replace(dataset, frames=dataclasses.replace(dataset.frames, split=np.full(32, "test")))
    assert not len(held_apart(tested, config, validation)[0])


def test_a_damaged_estimate_is_refused(train: Train) -> None:
    run = train(epochs=1, **APART)
    (file,) = (run.path / "best").glob("estimate*")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(WeightsError, match=naming(file.name)):
        posezoo.load(run.path)
    file.unlink()
    with pytest.raises(WeightsError, match=naming(file.name)):
        posezoo.load(run.path)


def test_training_is_the_same_with_and_without_what_comes_after(train: Train) -> None:
    """Embeddings and radii are found after the last step: not a bit of the weights depends on them."""
    own = [train(epochs=1, out=f"run{n}", **APART).path for n in range(2)]
    states = [posezoo.load(run, device="cpu").state_dict() for run in own]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert not any("estimate" in name for name in states[0])
