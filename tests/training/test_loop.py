"""The training loop: what is learned in each phase, the rates, clipping, and the choice of the best epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import faults
import numpy as np
import pytest
import safetensors.torch
import torch
from small_runs import Train, job

from posezoo.evaluation.baselines import mean_training_pose
from posezoo.evaluation.metrics import pose_errors
from posezoo.nn.model import PoseModel


def weights(run: Path, step: int) -> dict[str, torch.Tensor]:
    """The model's tensors in a checkpoint."""
    return safetensors.torch.load_file(run / "ckpt" / f"step-{step:09d}" / "model.safetensors")


def changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    """The names of the tensors that differ."""
    return {name for name in before if not torch.equal(before[name], after[name])}


def steps_of(run: Path) -> list[dict[str, Any]]:
    """The lines of the steps."""
    return [line for line in faults.metrics(run) if "loss" in line]


def epochs_of(run: Path) -> list[dict[str, Any]]:
    """The lines of the epochs."""
    return [line for line in faults.metrics(run) if "score" in line]


# The loss


@pytest.mark.parametrize("model", ["ms-transformer", "ms-transformer+hyper"])
def test_the_scene_is_learned(train: Train, two_places: Path, model: str) -> None:
    """Fixed weights leave of the loss, beside position and rotation, the cross entropy of the scenes."""
    phases = [{"train": "all", "epochs": 1, "weights": (2.0, 3.0)}]
    run = train(model, two_places, phases=phases, **{"checkpoint.every_steps": 1, "checkpoint.keep": 100}).path
    lines = steps_of(run)
    scene = [line["loss"] - 2 * line["position_loss"] - 3 * line["rotation_loss"] for line in lines]
    assert np.mean(scene) == pytest.approx(np.log(2), abs=0.2), "two scenes, and nothing known yet"
    assert only_of_scenes(job(two_places, model).model) <= changed(weights(run, 1), weights(run, len(lines)))


def only_of_scenes(model: PoseModel) -> set[str]:
    """The parameters that no pose depends on, but the scenes' scores do."""
    output = model(torch.randn(2, 3, 64, 64), torch.tensor([0, 1]))
    named = dict(model.named_parameters())
    parts = output.position.sum() + output.rotation.sum(), output.scene_logits.sum()
    pose, scenes = (
        torch.autograd.grad(part, list(named.values()), allow_unused=True, retain_graph=True) for part in parts
    )
    found = {name for name, g, h in zip(named, pose, scenes, strict=True) if g is None and h is not None}
    assert found
    return found


def test_one_scene_has_no_scene_loss(train: Train) -> None:
    phases = [{"train": "all", "epochs": 1, "weights": (2.0, 3.0)}]
    for line in steps_of(train("ms-transformer", phases=phases).path):
        assert line["loss"] == pytest.approx(2 * line["position_loss"] + 3 * line["rotation_loss"], rel=1e-6)


# Clipping


def gradient_norm(run: Path) -> float:
    """The norm of the first step's gradient, as Adam's first moment keeps it: fixed weights, so the model's alone."""
    state = torch.load(run / "ckpt" / "step-000000001" / "state.pt", weights_only=True)
    moments = [moment["exp_avg"] for moment in state["optimiser"]["state"].values()]
    return 10 * float(torch.stack([moment.norm() for moment in moments]).norm())  # its beta is 0.9


def test_gradients_are_clipped(train: Train, tmp_path: Path) -> None:
    phases = [{"train": "all", "epochs": 1, "weights": (1.0, 1.0)}]
    norms = {}
    for clip in (0.125, float("inf")):
        more = {"optim.clip": clip, "checkpoint.every_steps": 1, "checkpoint.keep": 9}
        norms[clip] = gradient_norm(train(phases=phases, out=str(tmp_path / str(clip)), **more).path)
    assert norms[float("inf")] > 0.2, "else there is nothing to clip"
    assert norms[0.125] == pytest.approx(0.125, rel=1e-3)


# The best epoch


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
