"""Trackers: the numbers of metrics.jsonl, elsewhere too; one that fails ends nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import faults
import pytest
from small_runs import Notes, Train

from posezoo.base.errors import UsageError
from posezoo.training.track import Tracker


def test_tensorboard_has_the_numbers_of_the_metrics(train: Train) -> None:
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", reason="extra: track")
    run = train(epochs=1, track="auto").path
    events = reading.EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    steps = [line for line in faults.metrics(run) if "loss" in line]
    (epoch,) = [line for line in faults.metrics(run) if "score" in line]
    assert [event.step for event in events.Scalars("loss")] == [line["step"] for line in steps]
    assert [event.value for event in events.Scalars("position_m")] == pytest.approx([s["position_m"] for s in steps])
    (found,) = events.Scalars("validation/median_position_m")
    assert found.value == pytest.approx(epoch["median_position_m"])


def test_one_that_is_not_installed_is_an_error_before_step_1(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("posezoo.training.track.find_spec", lambda name: None)
    with pytest.raises(UsageError, match="wandb"):
        train(track="wandb")
    assert Tracker("auto", Path("run"), {}, pytest.fail)._tracker is None


def test_one_that_fails_is_switched_off(tmp_path: Path) -> None:
    class Broken:
        name = "tensorboard"

        def log(self, values: dict[str, Any], step: int) -> None:
            raise OSError("no network")

    notes = Notes()
    tracker = Tracker(None, tmp_path, {}, notes.note)
    tracker._tracker = Broken()
    for step in (1, 2):
        tracker.log({"step": step, "loss": 1.0})
    tracker.finish()
    assert len(notes.notes) == 1
    assert "no network" in notes.notes[0]
