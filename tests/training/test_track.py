"""Trackers: the numbers of metrics.jsonl, elsewhere too; one that fails ends nothing."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import faults
import pytest
import small_data
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


def _of_wandb(folder: Path, run: Path) -> list[str]:
    (file,) = run.glob("wandb/offline-run-*/*.wandb")
    return [key for key in ("position_m", "validation/median_position_m") if key.encode() in file.read_bytes()]


def _of_mlflow(folder: Path, run: Path) -> list[str]:
    assert not list(folder.glob("mlflow*")) + list(folder.glob("mlruns")), "nothing beside the run folder"
    with sqlite3.connect(run / "mlflow.db") as database:
        return [key for (key,) in database.execute("select distinct key from metrics")]


def _of_trackio(folder: Path, run: Path) -> list[str]:
    with sqlite3.connect(folder / "trackio/posezoo.db") as database:
        return [key for (text,) in database.execute("select metrics from metrics") for key in json.loads(text)]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "stored"), [("wandb", _of_wandb), ("mlflow", _of_mlflow), ("trackio", _of_trackio)])
def test_the_others_have_the_numbers_too(one_place: Path, tmp_path: Path, kind: str, stored: Any) -> None:
    """Offline, in a process of its own: they change the one they are in. stdout stays posezoo's."""
    pytest.importorskip(kind, reason=f"pip install {kind}")
    words = small_data.words(small_data.settings("posenet", epochs=1, track=kind))
    command = ["train", "posenet", "--data", f"folder:{one_place}", *words, "--out", "run", "--format", "json"]
    offline = {"WANDB_MODE": "offline", "HF_HUB_OFFLINE": "1", "TRACKIO_DIR": str(tmp_path / "trackio")}
    ended = subprocess.run(
        [sys.executable, "-m", "posezoo", *command],
        cwd=tmp_path, env=os.environ | offline, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "the tracker is off" not in ended.stderr
    assert json.loads(ended.stdout)["data"]
    assert {"position_m", "validation/median_position_m"} <= set(stored(tmp_path, tmp_path / "run"))


@pytest.mark.slow
def test_mlflow_keeps_to_the_place_that_the_user_has_set(one_place: Path, tmp_path: Path) -> None:
    pytest.importorskip("mlflow", reason="pip install mlflow")
    words = small_data.words(small_data.settings("posenet", epochs=1, track="mlflow"))
    command = ["train", "posenet", "--data", f"folder:{one_place}", *words, "--out", "run", "--format", "quiet"]
    place = {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path / 'mine.db'}"}
    subprocess.run([sys.executable, "-m", "posezoo", *command], cwd=tmp_path, env=os.environ | place, check=True)
    assert (tmp_path / "mine.db").exists()
    assert not list(tmp_path.rglob("mlflow.db"))


def test_mlflow_s_place_is_set_for_the_run_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """mlflow keeps it for the whole process; above it is the real one, in a process of its own."""
    places: list[str | None] = []
    mine = ModuleType("mlflow")
    vars(mine).update(is_tracking_uri_set=lambda: bool(places and places[-1]), set_tracking_uri=places.append)
    monkeypatch.setitem(sys.modules, "mlflow", mine)
    for _ in range(2):
        tracker = Tracker(None, tmp_path, {}, pytest.fail)
        tracker._keep_mlflow_in(tmp_path / "run")
        assert places[-1] == f"sqlite:///{tmp_path}/run/mlflow.db"
        tracker.finish()
        assert places[-1] is None


def test_one_that_is_not_installed_is_an_error_before_step_1(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("posezoo.training.track.find_spec", lambda name: None)
    with pytest.raises(UsageError, match="wandb") as error:
        train(track="wandb")
    assert error.value.hint.startswith("pip install wandb,")
    with pytest.raises(UsageError, match="tensorboard") as error:
        Tracker("tensorboard", Path("run"), {}, pytest.fail)
    assert error.value.hint.startswith("pip install 'posezoo[track]',")
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
