"""Two processes train together: the numbers of one process, and a stop that all of them follow.

Real processes that meet over gloo on this machine, told of each other as torchrun tells them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import faults
import numpy as np
import pytest
import small_data
from small_runs import Notes, Train

from posezoo.api import resume

STILL = {f"augment.{name}": 0 for name in ("brightness", "contrast", "saturation", "hue")}


def arguments(data: Path, **more: object) -> list[str]:
    settings = small_data.words(small_data.settings("posenet", out="run", **more))
    return ["train", "posenet", "--data", f"folder:{data}", *settings, "--format", "quiet"]


def test_two_processes_learn_what_one_learns(one_place: Path, train: Train, tmp_path: Path) -> None:
    """Half a batch each and gradients averaged: the head's and the balance's. A step of Adam does not grow with the
    gradient, and would hide a sum, but for an eps beside which the gradient is nothing: that makes it plain descent.
    The backbone is frozen, because batch norm sees other batches.
    """
    plain = {"optim.name": "adam", "optim.eps": 1e4, "optim.lr": 1e4, "loss.balance_lr": 1e4, "optim.clip": 0.5}
    more = {
        "phases": '[{train = "position", epochs = 1, augment = true}]',
        "optim.weight_decay": 0,
        "batch_size": 6,
        "optim.schedule": "constant",
        "optim.warmup_epochs": 0,
        "optim.betas": "[0.0, 0.0]",
        **{"augment.geometry": "centre", **STILL, **plain},
    }
    ended = faults.several_processes(arguments(one_place, **more), ["", ""])
    assert [end.code for end in ended] == [0, 0], ended
    more |= {"phases": [{"train": "position", "epochs": 1, "augment": True}], "optim.betas": (0.0, 0.0)}
    together, alone = faults.metrics(Path("run")), faults.metrics(train(out=str(tmp_path / "alone"), **more).path)
    steps = [[line["balance"] for line in run if "loss" in line] for run in (together, alone)]
    assert len(steps[0]) == 3, "only one of them writes"
    assert np.abs(steps[1][-1]).max() > 0.1, "the balance moves far"
    np.testing.assert_allclose(*steps, rtol=1e-3, atol=1e-4)
    scores = [[line["median_position_m"] for line in run if "score" in line] for run in (together, alone)]
    np.testing.assert_allclose(*scores, rtol=1e-3)


@pytest.mark.parametrize(
    ("told", "signal", "code"),
    [(1, "sigint", 130), pytest.param(0, "sigterm", 143, marks=pytest.mark.slow)],
)
def test_one_is_told_to_stop_and_all_stop(one_place: Path, told: int, signal: str, code: int) -> None:
    fault = ["", ""]
    fault[told] = f"step:{signal}:2"
    ended = faults.several_processes(arguments(one_place), fault)
    assert [end.code for end in ended] == [code, code], ended
    for end in ended:
        faults.assert_fails([], code, signal.upper(), ended=end)
    run = Path("run")
    assert faults.checkpoints(run) == ["step-000000002"]
    assert [line["step"] for line in faults.metrics(run)] == [1, 2]
    notes = Notes()
    resume(run, observer=notes)
    assert notes.first == 2


@pytest.mark.slow
def test_started_by_torchrun(one_place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    words = arguments(one_place, epochs=1, batch_size=6)
    done = subprocess.run([*launch, "-m", "posezoo", *words], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done
    assert [line["step"] for line in faults.metrics(tmp_path / "run") if "loss" in line] == [1, 2, 3]
    assert (tmp_path / "run" / "report" / "report.json").exists()
    assert "LOCAL_RANK" not in os.environ
