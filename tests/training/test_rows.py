"""Which frames are trained on, and which are watched. Validation blocks: tests/data/test_validation.py."""

from __future__ import annotations

import json
from pathlib import Path

from small_runs import Notes, Train, job

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
