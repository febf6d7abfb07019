"""The choice of the best epoch."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import fault_points
import faults
import numpy as np
import pytest
import safetensors.torch
import torch
from small_runs import Notes, Train, changed, job, weights

from posezoo.api import resume
from posezoo.base.errors import Interrupted, WeightsError
from posezoo.evaluation.baselines import mean_training_pose
from posezoo.evaluation.metrics import pose_errors
from posezoo.training.processes import Processes
from posezoo.training.run import RunFolder
from posezoo.training.selection import Selection


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


PHASES = [{"epochs": 3}, {"train": "position", "epochs": 1}, {"train": "orientation", "epochs": 1}]
STILL = {"augment.geometry": "centre"}  # the same on pictures looked up in another way
UNSTEADY = {"optim.lr": 1e-2, "optim.warmup_epochs": 0, "optim.schedule": "constant", **STILL}  # the first is the best
EVERY = {"checkpoint.every_steps": 1, "checkpoint.keep": 100}


def start_of(run: Path, step: int, frozen: str) -> dict[str, Any]:
    """What a phase that trains one head began with, but for that head: its checkpoint at `step` has it unchanged."""
    return {name: tensor for name, tensor in weights(run, step).items() if not name.startswith(frozen)}


def test_a_phase_starts_from_the_best_epoch_so_far(train: Train) -> None:
    run = train(phases=PHASES, **UNSTEADY, **EVERY).path
    scores = [line["score"] for line in epochs_of(run)]
    best = int(np.argmin(scores[:3])) + 1
    assert best < 3, "else the last epoch would do"
    second = start_of(run, 12, "position_head.")
    assert changed(second, weights(run, 3 * best)) == set()
    assert changed(second, weights(run, 9)) != set()
    third = start_of(run, 15, "orientation_head.")
    best = int(np.argmin(scores[:4])) + 1
    assert changed(third, weights(run, 3 * best)) == set()


def test_without_validation_a_phase_starts_from_the_last_epoch(train: Train) -> None:
    run = train(phases=PHASES, selection="last", **UNSTEADY, **EVERY).path
    assert changed(start_of(run, 12, "position_head."), weights(run, 9)) == set()
    assert changed(start_of(run, 15, "orientation_head."), weights(run, 12)) == set()


@pytest.mark.parametrize("at", [5, 10, 13])
def test_a_resumed_run_starts_its_phases_from_the_same_epochs(train: Train, tmp_path: Path, at: int) -> None:
    """Also where `best/` holds a later epoch, or a later phase's, when it is resumed from a checkpoint far behind."""
    whole = train(phases=PHASES, out=str(tmp_path / "whole"), **UNSTEADY, **EVERY).path
    run = train(phases=PHASES, out=str(tmp_path / "run"), **UNSTEADY, **EVERY).path
    for folder in (run / "ckpt").iterdir():
        if int(folder.name.removeprefix("step-")) > at:
            shutil.rmtree(folder)
    resume(run, observer=Notes())
    assert faults.numbers(run) == faults.numbers(whole)
    for step in (9, 12, 15):
        assert changed(weights(run, step), weights(whole, step)) == set()
    assert faults.sha256(run / "best/model.safetensors") == faults.sha256(whole / "best/model.safetensors")


@pytest.mark.parametrize("content", [None, b"x"])
def test_the_best_weights_of_a_phase_are_gone(train: Train, tmp_path: Path, content: bytes | None) -> None:
    with fault_points.at("step:sigterm:9"), pytest.raises(Interrupted):
        train(phases=PHASES, **UNSTEADY)
    path = tmp_path / "run/phases/0.safetensors"
    assert path.exists()
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"phases/0\.safetensors"):  # the third epoch is not the best
        resume(tmp_path / "run", observer=Notes())


def test_all_processes_validate_with_the_main_one_s_statistics(one_place: Path) -> None:
    """Those of its batch norms. tests/training/test_processes.py does it in two processes."""

    class Second(Processes):
        def copy_buffers(self, model: torch.nn.Module) -> None:
            for name, buffer in model.named_buffers():
                if name.endswith("running_var"):
                    buffer.fill_(1e4)

    scores = []
    for main_says in (False, False, True):
        ready = job(one_place, selection="test")
        if main_says:
            ready.processes = Second(ready.processes.stop)
        scores.append(Selection(ready, RunFolder(Path("run"), locked=False)).validate(1)["median_position_m"])
    assert scores[0] == scores[1] != scores[2]
