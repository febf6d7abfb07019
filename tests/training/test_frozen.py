"""Later phases on features computed once: the losses of the long way, the cost of one pass, the same after a resume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fault_points
import faults
import pytest
import torch
from small_runs import Notes, Train, job
from torch import nn

from posezoo.api import resume
from posezoo.base.errors import Interrupted
from posezoo.nn.backbones import Backbone
from posezoo.training import frozen
from posezoo.training.config import PhaseSettings

PHASES = [
    {"train": "all", "epochs": 1},
    {"train": "position", "epochs": 2, "weights": (1.0, 0.0), "augment": False},
    {"train": "orientation", "epochs": 1, "weights": (0.0, 1.0), "augment": False},
]


def lines(run: Path) -> list[dict[str, Any]]:
    return [line for line in faults.metrics(run) if "loss" in line]


@pytest.mark.parametrize(
    ("model", "more"),
    [
        ("posenet", {}),
        ("ms-transformer+hyper", {"head_dropout": 0.2, "shared_heads": False}),
        ("atloc", {"tuple_length": 2, "tuple_gap": 1}),
    ],
)
def test_the_losses_are_those_of_the_long_way(
    train: Train, two_places: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, more: dict[str, Any]
) -> None:
    data = two_places if model.startswith("ms") else None
    short = lines(train(model, data, phases=PHASES, selection="last", out=str(tmp_path / "short"), **more).path)
    monkeypatch.setattr(frozen, "features_can_be_cached", lambda job, phase: False)
    long = lines(train(model, data, phases=PHASES, selection="last", out=str(tmp_path / "long"), **more).path)
    assert len(short) == len(long) > 8
    for one, other in zip(short, long, strict=True):
        assert one["phase"] == other["phase"]
        for key in ("loss", "position_loss", "rotation_loss", "position_m", "orientation_deg"):
            # the pass that fills the store has other batches, which moves the last digits
            assert one[key] == pytest.approx(other[key], rel=1e-4, abs=1e-5), (one, other)


def test_the_backbone_sees_each_image_once_a_phase(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def count(module: nn.Module, given: Any, output: Any) -> None:
        if isinstance(module, Backbone):
            seen.append(len(given[0]))

    watch = nn.modules.module.register_module_forward_hook(count)
    try:
        train(phases=[{"train": "position", "epochs": 5, "augment": False}], selection="last", precision="fp32")
    finally:
        watch.remove()
    # the dry run, 24 training images once, the evaluation; single images are the report's latency
    assert [count for count in seen if count > 1] == [2, 2, *[8] * 3, 8]


def test_a_stopped_phase_goes_on_to_the_last_digit(train: Train, tmp_path: Path) -> None:
    whole = lines(train(phases=PHASES, out=str(tmp_path / "whole")).path)
    with fault_points.at("step:sigterm:5"), pytest.raises(Interrupted, match="step 5"):
        train(phases=PHASES, out=str(tmp_path / "cut"))
    cut = lines(resume(tmp_path / "cut", observer=Notes()).path)
    timeless = [[{k: v for k, v in line.items() if k != "images_per_s"} for line in run] for run in (whole, cut)]
    assert timeless[0] == timeless[1]


@pytest.mark.parametrize("train_what", ["all", "position"])
def test_what_changes_between_epochs_is_not_kept(
    train: Train, monkeypatch: pytest.MonkeyPatch, train_what: str
) -> None:
    monkeypatch.setattr(frozen, "FrozenFeatures", lambda job: pytest.fail("kept"))
    augment = train_what == "position"  # the whole model changes, or the images do
    train(phases=[{"train": train_what, "epochs": 1, "augment": augment}])


HOOKS = {
    "before": lambda model: model.register_forward_pre_hook(lambda *given: None),
    "after": lambda model: model.register_forward_hook(lambda *given: None),
    "before, by name": lambda model: model.register_forward_pre_hook(lambda *given: None, with_kwargs=True),
}


@pytest.mark.parametrize("hook", HOOKS)
def test_a_model_that_is_hooked_runs_as_a_whole(one_place: Path, hook: str) -> None:
    """Features computed once would leave out what a modifier does around the whole model."""
    ready, phase = job(one_place), PhaseSettings(train="position", epochs=1, augment=False)
    assert frozen.features_can_be_cached(ready, phase)
    HOOKS[hook](ready.model)
    assert not frozen.features_can_be_cached(ready, phase)


def test_a_modifier_around_the_model_acts_in_every_phase(examples: None, train: Train) -> None:
    """+tta rolls the camera and means the answers: in the phase's loss too, where the model is in eval mode."""
    phases = [{"train": "position", "epochs": 1, "augment": False}]
    seen: list[int] = []

    def count(module: nn.Module, given: Any, output: Any) -> None:
        if isinstance(module, Backbone) and torch.is_grad_enabled():
            seen.append(len(given[0]))

    watch = nn.modules.module.register_module_forward_hook(count)
    try:
        train("posenet+tta", phases=phases, selection="last", **{"tta.angles": (3.0,)})
    finally:
        watch.remove()
    assert seen == [8, 8, 8, 8, 8, 8], "three steps, each of the picture and of its rolled copy"
