"""Warnings while a run trains."""

from __future__ import annotations

from pathlib import Path

import fault_points
import numpy as np
import pytest
from small_runs import Notes, Train, job

from posezoo.api import resume
from posezoo.base.errors import Interrupted
from posezoo.data.table import Frames
from posezoo.training.watch import Watch


@pytest.fixture
def frames(one_place: Path) -> Frames:
    ready = job(one_place)
    return ready.dataset.frames.select(ready.train_rows)


def watched(frames: Frames, errors: list[float], validated: list[float] | None = None) -> list[str]:
    """All warnings of epochs with these errors in training, in units of the mean pose's."""
    watch, found = Watch(frames, 30), []
    for n, error in enumerate(errors):
        for _ in range(3):
            watch.step({"position_m": error * watch.mean_m, "orientation_deg": error * watch.mean_deg})
        found += watch.epoch({"median_position_m": validated[n]} if validated else {})
    return found


def test_the_mean_pose_is_that_of_the_training_frames(frames: Frames) -> None:
    expected = np.linalg.norm(frames.position - frames.position.mean(axis=0), axis=1).mean()
    assert Watch(frames, 5).mean_m == pytest.approx(expected)


def test_each_warning_is_given_once_and_when_it_is_true(frames: Frames) -> None:
    falls = [0.9 * 0.8**n for n in range(9)]
    for errors, validated, words in (
        ([1.0, 0.6, 0.4, 0.3, 0.2, 0.1, 0.1], None, []),
        ([1.1] * 4, None, []),
        ([1.1] * 9, None, ["mean pose"]),
        ([1.0, 0.4, 0.3, 0.9, 2.0], None, ["diverges"]),
        ([0.01, 0.02, 0.03], None, []),
        ([1.0, 2.0], None, []),  # no more than twice the least
        ([0.125, 0.5], None, []),  # no more than half of the mean pose's
        (falls, [3, 2, 1, 2, 2, 2, 2, 2, 2], ["by heart"]),
        (falls, [3, 2, 1, 1.1, 1.1, 1.1, 1.1, 1.1, 1.1], []),
        ([0.5] * 9, [3, 2, 1, 2, 2, 2, 2, 2, 2], []),
    ):
        found = watched(frames, errors, validated)
        assert len(found) == len(words), (errors, validated, found)
        assert all(word in text for word, text in zip(words, found, strict=True))


def test_a_place_of_one_pose_has_no_mean_to_beat(frames: Frames) -> None:
    watch = Watch(frames.select(slice(0, 1)), 1)
    watch.step({"position_m": 1e-5, "orientation_deg": 140.0})
    assert watch.epoch({}) == []


def test_a_run_tells_it(train: Train, notes: Notes) -> None:
    train(epochs=5, **{"optim.lr": 1e-12, "loss.balance_lr": 0})
    assert [note for note in notes.notes if "mean pose" in note]


@pytest.mark.parametrize("at", [5, 12, 17])
def test_a_resumed_run_tells_what_the_whole_would(train: Train, notes: Notes, tmp_path: Path, at: int) -> None:
    """What was told before is not told again; epochs count from the run's start. The fifth ends with step 15."""
    more = {"epochs": 6, "optim.lr": 1e-12, "loss.balance_lr": 0}
    with fault_points.at(f"step:sigterm:{at}"), pytest.raises(Interrupted):
        train(**more)
    before = [note for note in notes.notes if "mean pose" in note]
    again = Notes()
    resume(tmp_path / "run", observer=again)
    after = [note for note in again.notes if "mean pose" in note]
    assert (len(before), len(after)) == ((0, 1) if at < 15 else (1, 0))
    assert "after 5 epochs" in (before + after)[0]
