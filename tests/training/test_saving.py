"""When a run saves, and what it leaves if it cannot."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import fault_points
import faults
import pytest
from small_runs import Notes, Train

from posezoo.api import resume
from posezoo.base.errors import PosezooError, UsageError
from posezoo.training.again import evaluate
from posezoo.training.config import CheckpointSettings
from posezoo.training.saving import Saver, State


def test_damaged_checkpoint_is_replaced_when_its_step_comes_again(train: Train) -> None:
    run = train(**{"checkpoint.every_steps": 2}).path
    newest = run / "ckpt" / "step-000000006"
    before = faults.sha256(newest / "model.safetensors")
    (newest / "model.safetensors").write_bytes(b"x")
    resume(run, observer=Notes())
    assert faults.sha256(newest / "model.safetensors") == before


@pytest.mark.parametrize("point", ["checkpoint.weights", "checkpoint.manifest", "checkpoint.rename"])
def test_disk_full(train: Train, tmp_path: Path, point: str) -> None:
    full = fault_points.at(f"{point}:full:2")
    with full, pytest.raises(PosezooError) as error:
        train(**{"checkpoint.every_steps": 2})
    assert error.value.exit_code == 6
    run = tmp_path / "run"
    assert faults.checkpoints(run) == ["step-000000002"]
    resume(run, observer=Notes())
    assert faults.numbers(run) == faults.numbers(train(out=str(tmp_path / "whole")).path)


def test_a_setting_that_an_older_version_did_not_know_has_its_default(train: Train) -> None:
    run = train(epochs=1, **{"checkpoint.every_steps": 2}).path
    config = run / "config.toml"
    lines = config.read_text().splitlines(keepends=True)

    def without(*keys: str) -> str:
        kept = [line for line in lines if line.partition(" =")[0] not in keys]
        assert len(kept) == len(lines) - len(keys)
        return "".join(kept)

    config.write_text(without("lift", "drop_path"))
    for _ in range(2):  # the checkpoint of the first has all of today's settings
        resume(run, observer=Notes())
    assert evaluate(run).headline
    config.write_text(without("batch_size"))
    with pytest.raises(UsageError, match="batch_size"):
        resume(run, observer=Notes())
    with pytest.raises(UsageError, match="batch_size"):
        evaluate(run)


def test_saved_when_enough_seconds_have_passed(train: Train, tmp_path: Path) -> None:
    often = train(epochs=1, **{"checkpoint.every_seconds": 1e-6, "checkpoint.keep": 100}).path
    assert faults.checkpoints(often) == [f"step-00000000{step}" for step in (1, 2, 3)]
    never = {"checkpoint.every_seconds": 1e6, "checkpoint.keep": 100, "out": str(tmp_path / "seldom")}
    assert faults.checkpoints(train(epochs=1, **never).path) == ["step-000000003"], "the end of a phase always"


def test_slow_saves_are_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one takes two seconds, a hundred pass until the next."""
    saver = Saver.__new__(Saver)
    saver.state, saver.saved_at, saver.took = State(step=7), 0.0, 2.0
    for wanted, now, due in ((60, 61, False), (60, 101, True), (200, 150, False), (200, 201, True), (5, 6, True)):
        checkpoints = CheckpointSettings(every_seconds=wanted)
        saver.job = SimpleNamespace(config=SimpleNamespace(checkpoint=checkpoints))  # type: ignore[assignment]
        monkeypatch.setattr("posezoo.training.saving.time.monotonic", lambda now=now: now)
        assert saver._due() == due, (wanted, now)
