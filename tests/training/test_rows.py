"""Which frames are trained on, and which are watched. Validation blocks: tests/data/test_validation.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from small_runs import Notes, Train, job

import posezoo
from posezoo.evaluation.baselines import MEAN, ORACLE, RETRIEVAL
from posezoo.training.augment import UNVARIED


def test_overfit_trains_and_validates_on_the_same_images_as_they_are(
    train: Train, notes: Notes, one_place: Path
) -> None:
    run = train(overfit=4, epochs=1, selection="last", batch_size=4).path
    assert (notes.facts["train_images"], notes.facts["validation_images"]) == (4, 4)
    lines = [json.loads(text) for text in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["num"] for line in lines if "score" in line] == [4]
    ready = job(one_place, overfit=4)
    assert ready.augmentation == UNVARIED
    assert ready.train_rows.tolist() == ready.validation_rows.tolist()


def test_a_fraction_of_images_or_of_batches(one_place: Path) -> None:
    whole, part, few = (job(one_place, **more) for more in ({}, {"data.fraction": 0.5}, {"limit_train": 0.34}))
    assert len(part.train_rows) == round(len(whole.train_rows) / 2)
    assert set(part.train_rows) < set(whole.train_rows)
    assert part.validation_rows.tolist() == whole.validation_rows.tolist()
    assert (whole.steps_per_epoch, few.steps_per_epoch) == (3, 2)
    assert few.order(0).batches == whole.order(0).batches[:2]
    assert few.order(1, start=1).batches == whole.order(1).batches[1:2]


def test_baselines_are_made_of_the_fraction_trained_on(train: Train, tmp_path: Path) -> None:
    more: dict[str, Any] = {"selection": "last", "epochs": 1, "backbone": "tf_efficientnet_lite0"}
    more["pretrained_backbone"] = True  # retrieval is its business
    whole = train(out=str(tmp_path / "whole"), **more).report
    run = train(out=str(tmp_path / "part"), **more, **{"data.fraction": 0.5})
    part = run.report
    assert whole.train is not None and part.train is not None
    assert len(part.train) == len(whole.train) / 2
    assert not np.array_equal(part.methods[MEAN].position, whole.methods[MEAN].position)
    assert not np.array_equal(part.methods[RETRIEVAL].position, whole.methods[RETRIEVAL].position)
    known = {position.tobytes() for position in part.train.position}
    for name in (RETRIEVAL, ORACLE):
        assert {position.tobytes() for position in part.methods[name].position} <= known
    again = posezoo.evaluate(run.path)
    for name, poses in part.methods.items():
        assert np.array_equal(poses.position, again.methods[name].position), name
