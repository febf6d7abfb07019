"""The choice of the best epoch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import faults
import numpy as np
import pytest
import safetensors.torch
from small_runs import Train, changed, job, weights

from posezoo.evaluation.baselines import mean_training_pose
from posezoo.evaluation.metrics import pose_errors


def epochs_of(run: Path) -> list[dict[str, Any]]:
    """The lines of the epochs."""
    return [line for line in faults.metrics(run) if "score" in line]


@pytest.mark.parametrize("selection", ["validation", "test"])
def test_score_is_both_medians_as_fractions_of_the_mean_pose_s(train: Train, one_place: Path, selection: str) -> None:
    ready = job(one_place, selection=selection)
    frames = ready.dataset.frames.select(ready.validation_rows)
    mean = mean_training_pose(ready.dataset.frames.select(ready.train_rows), frames)
    base = pose_errors(mean.position, mean.quaternion, frames.position, frames.quaternion)
    base_m, base_deg = (float(np.median(error_N)) for error_N in base)
    assert base_m > 0.01
    assert base_deg > 0.1
    for line in epochs_of(train(selection=selection).path):
        expected = line["median_position_m"] / base_m + line["median_orientation_deg"] / base_deg
        assert line["score"] == pytest.approx(expected, rel=1e-9)


def test_best_epoch_may_be_worse_in_position(train: Train) -> None:
    """The first epoch learns the position, the second the orientation at the position's expense."""
    still = {f"augment.{name}": 0 for name in ("brightness", "contrast", "saturation", "hue")}
    phases = [
        {"train": "all", "epochs": 1, "weights": (1.0, 0.0)},
        {"train": "all", "epochs": 4, "weights": (0.0, 1.0)},
    ]
    more = {"optim.lr": 3e-3, "optim.warmup_epochs": 0, "augment.geometry": "centre", **still}
    result = train(phases=phases, selection="test", **more)
    lines = epochs_of(result.path)
    best = min(lines, key=lambda line: line["score"])
    nearest = min(lines, key=lambda line: line["median_position_m"])
    assert best["epoch"] != nearest["epoch"], lines
    assert f"(epoch {best['epoch']})" in result.report.selection


def test_best_epoch_is_the_one_with_the_lowest_score(train: Train) -> None:
    run = train(epochs=4, **{"checkpoint.every_steps": 3, "checkpoint.keep": 100}).path
    scores = {line["epoch"]: line["score"] for line in faults.metrics(run) if "score" in line}
    best = min(scores, key=lambda epoch: (scores[epoch], epoch))
    saved = safetensors.torch.load_file(run / "best" / "model.safetensors")
    assert changed(weights(run, 3 * best), saved) == set()
    facts = json.loads((run / "best" / "config.json").read_text())["training"]
    assert f"(epoch {best})" in facts["selection"]
