"""The loop as a whole: it learns, it repeats itself, and it ends well when it is disturbed."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import faults
import numpy as np
import pytest
import small_data
from naming import naming
from small_runs import Notes, Train

from posezoo import api
from posezoo.api import resume
from posezoo.base.errors import (
    Interrupted,
    ResourceError,
)
from posezoo.training.run import read_config


def test_same_seed_same_run_other_seed_other_run(train: Train, tmp_path: Path) -> None:
    runs = [train(out=str(tmp_path / name), seed=seed, epochs=1).path for name, seed in (("a", 1), ("b", 1), ("c", 2))]
    a, b, c = (faults.numbers(run) for run in runs)
    assert a == b
    assert a[0]["loss"] != c[0]["loss"]


def test_it_learns(train: Train) -> None:
    still = {f"augment.{name}": 0 for name in ("brightness", "contrast", "saturation", "hue")}
    run = train(epochs=25, **still, **{"augment.geometry": "centre", "optim.lr": 3e-3}).path
    lines = [line for line in faults.metrics(run) if "loss" in line]
    for key in ("position_m", "orientation_deg"):
        begin, end = (np.mean([line[key] for line in part]) for part in (lines[:3], lines[-3:]))
        assert end < 0.6 * begin, key


def test_in_a_notebook(train: Train) -> None:
    run = dataclasses.replace(train(epochs=1), path=Path("runs/<b>"))
    assert run._repr_html_() == "<p>run folder: runs/&lt;b&gt;</p>" + run.report._repr_html_()


def test_signal_before_the_final_evaluation(train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Notes, "end", lambda self: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Interrupted, match=naming("SIGTERM")) as error:
        train()
    assert error.value.exit_code == 143
    assert error.value.hint == f"posezoo resume {tmp_path / 'run'}"
    monkeypatch.undo()
    notes = Notes()
    resume(tmp_path / "run", observer=notes)
    assert notes.first == 6
    assert (tmp_path / "run" / "report" / "report.json").exists()


def test_what_is_no_lost_process_is_told_as_what_it_is(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Notes) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(Notes, "end", fail)
    with pytest.raises(RuntimeError, match="mat1"):
        train()


def test_killed_data_worker(train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the kernel does where memory runs out."""

    def kill(self: Notes, line: dict[str, Any]) -> None:
        for process in multiprocessing.active_children():
            process.kill()

    more = {"batch_size": 2, "epochs": 1}
    with monkeypatch.context() as patch:
        patch.setattr(Notes, "step", kill)
        with pytest.raises(ResourceError, match=r"ckpt/step-\d{9}\b") as error:
            train(workers=1, **more)
    assert error.value.exit_code == 6
    run = tmp_path / "run"
    steps = len([line for line in faults.metrics(run) if "loss" in line])
    assert faults.checkpoints(run) == [f"step-{steps:09d}"]
    resume(run, observer=Notes())
    assert faults.numbers(run) == faults.numbers(train(out=str(tmp_path / "whole"), **more).path)


@pytest.mark.parametrize("jump", [-7200.0, 5e8], ids=["back", "beyond 2038"])
def test_a_clock_that_jumps_changes_nothing(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    """Durations are from a clock that never jumps, checkpoints are ordered by step."""
    whole = train(out=str(tmp_path / "whole")).path
    real = time.time

    class Jump(Notes):
        def step(self, line: dict[str, Any]) -> None:
            if line["step"] == 3:
                monkeypatch.setattr(time, "time", lambda: real() + jump)

    run = tmp_path / "run"
    given = small_data.settings("posenet", out=str(run), **{"checkpoint.every_steps": 2})
    result = api.train("posenet", f"folder:{data_of(whole)}", observer=Jump(), **given)
    assert faults.numbers(run) == faults.numbers(whole)
    assert 0 < result.seconds < 600
    assert faults.checkpoints(run) == ["step-000000004", "step-000000006"]


def data_of(run: Path) -> str:
    """The folder that a run was trained on."""
    return str(read_config(run)["train"]["data"]["name"]).removeprefix("folder:")
