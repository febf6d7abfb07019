"""Training: what a run leaves, phases, rates, validation, the choice of the best epoch, and faults on the way.

Long because it mirrors the training loop, which is one file.
"""

from __future__ import annotations

import csv
import json
import math
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import faults
import numpy as np
import pytest
import small_data
import torch
from naming import naming
from small_runs import Notes, Train

from posezoo import api
from posezoo.api import resume
from posezoo.base.errors import (
    DataError,
    LockedError,
    ResourceError,
    UsageError,
    WeightsError,
)
from posezoo.base.observe import Observer
from posezoo.catalogue import resolve, settings
from posezoo.training import train as training
from posezoo.training.again import evaluate
from posezoo.training.config import configure
from posezoo.training.phase import Phase
from posezoo.training.run import RunFolder
from posezoo.training.setup import set_up
from posezoo.training.train import tried
from posezoo.zoo.saved import load


@pytest.mark.parametrize("model", ["posenet", "atloc+hyper=two", "ms-transformer+hyper=single"])
def test_run_leaves_everything(train: Train, two_places: Path, notes: Notes, model: str) -> None:
    result = train(model, two_places)
    run = result.path
    names = {path.name for path in run.iterdir()}
    assert names == {"config.toml", "metrics.jsonl", "ckpt", "best", "report", "run.lock"}
    saved = {path.name for path in (run / "best").iterdir()}
    # the validation frames also tell how far off poses may be
    (estimate,) = saved - {"config.json", "model.safetensors", "README.md"}
    assert len(saved) == 4 and estimate.startswith("estimate-")
    config = tomllib.loads((run / "config.toml").read_text())
    assert config["train"]["precision"] == "fp32"
    assert config["model"]["name"] == model
    steps = [line for line in faults.metrics(run) if "loss" in line]
    epochs = [line for line in faults.metrics(run) if "median_position_m" in line]
    assert [line["step"] for line in steps] == list(range(1, len(steps) + 1))
    assert [line["epoch"] for line in epochs] == [1, 2]
    assert all(math.isfinite(line["loss"]) for line in steps)
    assert notes.facts["train_images"] + notes.facts["validation_images"] == 48
    card = (run / "best" / "README.md").read_text()
    assert "Not evaluated" not in card
    assert f"{result.report.headline[model]['median_position_m']:.4f}"[:4] in card
    report = json.loads((run / "report" / "report.json").read_text())
    assert report["data"] == f"folder:{two_places}"


@pytest.mark.parametrize("model", ["posenet", "ms-transformer+hyper"])
def test_saved_model_gives_the_poses_of_training(train: Train, two_places: Path, model: str) -> None:
    run = train(model, two_places).path
    with (run / "report" / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 16
    loaded = load(f"local-dir:{run}")
    assert not loaded.training
    poses = loaded.predict([two_places / row["image"] for row in rows], note=lambda text: None)
    found = np.array([[float(row[key]) for key in ("x", "y", "z", "qw", "qx", "qy", "qz")] for row in rows])
    np.testing.assert_allclose(poses.position, found[:, :3], atol=1e-6)
    np.testing.assert_allclose(poses.quaternion, found[:, 3:], atol=1e-6)
    if model.startswith("ms"):
        assert list(poses.scenes) == [row["scene_predicted"] for row in rows]


# Phases


# Learning rates


# Which frames


# Faults


def test_existing_run_is_not_touched(train: Train) -> None:
    run = train(epochs=1).path
    before = faults.digests(run)
    with pytest.raises(UsageError, match=naming(run)):
        train(epochs=1)
    assert faults.digests(run) == before


def test_run_in_use(train: Train, tmp_path: Path) -> None:
    run = train(epochs=1).path
    with RunFolder(run):
        before = {name: value for name, value in faults.digests(run).items() if name != "run.lock"}
        with pytest.raises(LockedError) as error:
            resume(run, observer=Notes())
        assert error.value.exit_code == 9
        assert {name: value for name, value in faults.digests(run).items() if name != "run.lock"} == before


def test_damaged_last_checkpoint(train: Train, tmp_path: Path) -> None:
    run = train(**{"checkpoint.every_steps": 2}).path
    whole = faults.numbers(run)
    newest = run / "ckpt" / "step-000000006"
    (newest / "state.pt").write_bytes(b"")
    notes = Notes()
    resume(run, observer=notes)
    assert [note for note in notes.notes if "damaged checkpoint: step-000000006" in note]
    assert notes.first == 4
    history = notes.facts["history"]  # what a view shows again
    assert [line["step"] for line in history if "loss" in line] == [1, 2, 3, 4]
    assert [line["epoch"] for line in history if "score" in line] == [1]
    assert faults.numbers(run) == whole
    for path in (run / "ckpt").rglob("state.pt"):
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(WeightsError, match=naming("step-000000006", "step-000000004")):
        resume(run, observer=Notes())


def change_pose(folder: Path) -> None:
    path = folder / "poses.csv"
    path.write_text(
        path.read_text().replace("\nyard/03.png,40.3", "\nyard/03.png,40.4").replace("03.png,0.3", "03.png,0.4")
    )


def change_image(folder: Path) -> None:
    small_data.write(folder, small_data.rows("yard")[5:])
    small_data.write(folder, small_data.rows("yard")[:5] + small_data.rows("yard")[5:])
    shutil.copy(folder / "yard/07.png", folder / "yard/06.png")


def change_intrinsics(folder: Path) -> None:
    path = folder / "poses.csv"
    path.write_text(path.read_text().replace("80.0", "81.0"))


@pytest.mark.parametrize("change", [change_pose, change_image, change_intrinsics])
def test_changed_data(train: Train, tmp_path: Path, change: Any) -> None:
    data = small_data.one_place(tmp_path / "data")
    run = train(data=data, epochs=1).path
    before = faults.digests(run / "ckpt"), faults.digests(run / "best")
    change(data)
    with pytest.raises(DataError, match=naming(f"folder:{data}")):
        resume(run, observer=Notes())
    assert (faults.digests(run / "ckpt"), faults.digests(run / "best")) == before


def test_other_versions_are_said(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    run = train(epochs=1).path
    manifest = next((run / "ckpt").glob("step-*/manifest.json"))
    facts = {key: value for key, value in json.loads(manifest.read_text()).items() if key != "sum"}
    manifest.write_text(json.dumps({**facts, "torch": "1.0"}))
    notes = Notes()
    resume(run, observer=notes)
    assert any("not bit-identical: torch 1.0 ->" in note for note in notes.notes)


def test_no_run_to_resume(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=naming(tmp_path / "nothing")):
        resume(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


def test_images_deleted_and_poses_edited_while_a_run_reads_them_change_nothing(
    one_place: Path, tmp_path: Path, no_pictures: None
) -> None:
    """Everything is read before step 1: the pixels into the image cache, the poses into memory."""

    class Vandal(Notes):
        def step(self, line: dict[str, Any]) -> None:
            shutil.rmtree(tmp_path / "gone", ignore_errors=True)

    losses = []
    for name, watching in (("kept", Notes()), ("gone", Vandal())):
        shutil.copytree(one_place, tmp_path / name)
        given = small_data.settings("posenet", out=str(tmp_path / f"run-{name}"), epochs=1)
        api.train("posenet", f"folder:{tmp_path / name}", observer=watching, **given)
        losses.append([line["loss"].hex() for line in faults.metrics(tmp_path / f"run-{name}") if "loss" in line])
    assert not (tmp_path / "gone").exists()
    assert losses[0] == losses[1] != []
    with pytest.raises(DataError, match=naming("gone")):
        evaluate(tmp_path / "run-gone")


def edited(run: Path, old: str, new: str) -> None:
    text = (run / "config.toml").read_text()
    assert text.count(old) == 1
    (run / "config.toml").write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("\nlr = 0.0005", "\nlr = 0.001", "train.optim.lr 0.0005 -> 0.001"),
        ("\nhidden = 64", "\nhidden = 65", "model.config.hidden 64 -> 65"),
        ('\nsplit = "none"', '\nsplit = "blocks"', "train.data.split None -> blocks"),
    ],
)
def test_an_edited_configuration_is_refused(train: Train, old: str, new: str, word: str) -> None:
    """By resume and by evaluation: what is written down would not be what was trained."""
    run = train(epochs=1, **{"optim.lr": 0.0005}).path
    before = faults.digests(run / "ckpt"), faults.digests(run / "best"), faults.numbers(run)
    edited(run, old, new)
    for again in (lambda: resume(run, observer=Notes()), lambda: evaluate(run)):
        with pytest.raises(UsageError, match=re.escape(word)) as error:
            again()
        assert "out=" in error.value.hint
    assert (faults.digests(run / "ckpt"), faults.digests(run / "best"), faults.numbers(run)) == before


def test_what_changes_no_result_may_be_edited(train: Train) -> None:
    run = train(epochs=1).path
    edited(run, "workers = 0", "workers = 1")
    edited(run, "keep = 2", "keep = 1")
    resume(run, observer=Notes())


def test_a_finished_run_without_its_checkpoints_is_not_trained_again(train: Train) -> None:
    run = train(epochs=1).path
    shutil.rmtree(run / "ckpt")
    before = faults.digests(run)
    with pytest.raises(WeightsError, match="deleted") as error:
        resume(run, observer=Notes())
    assert f"posezoo eval {run}" in error.value.hint
    assert {k: v for k, v in faults.digests(run).items() if k != "run.lock"} == {
        k: v for k, v in before.items() if k != "run.lock"
    }


def test_what_a_killed_first_save_has_left_is_removed(train: Train) -> None:
    """And a hand-written card survives, though the best model is saved again."""
    run = train(epochs=1).path
    shutil.rmtree(run / "report")
    (run / "best" / "README.md").write_text("mine")
    (run / "ckpt" / "step-000000003").rename(run / "ckpt" / ".tmp-step-000000003-1234abcd")
    resume(run, observer=Notes())
    assert faults.checkpoints(run) == ["step-000000003"]
    assert (run / "best" / "README.md").read_text() == "mine"


@pytest.mark.parametrize("key", ["model", "data", "data.name"])
def test_what_is_no_setting_is_refused(train: Train, key: str) -> None:
    plan = resolve.model("posenet"), resolve.data("demo-yard")
    with pytest.raises(UsageError, match="is not a setting"):
        configure(*plan, settings.nested({key: "x"}))


def test_the_run_folder_is_removed_while_it_trains(train: Train, tmp_path: Path) -> None:
    class Vandal(Notes):
        def step(self, line: dict[str, Any]) -> None:
            shutil.rmtree(tmp_path / "run", ignore_errors=True)

    given = small_data.settings("posenet", out=str(tmp_path / "run"), epochs=2, **{"checkpoint.every_steps": 2})
    with pytest.raises(ResourceError, match="vanished"):
        api.train("posenet", f"folder:{small_data.one_place(tmp_path / 'data')}", observer=Vandal(), **given)
    assert not (tmp_path / "run" / "ckpt").exists()


def test_a_dry_run_tells_and_writes_nothing(one_place: Path, tmp_path: Path) -> None:
    given = settings.nested(small_data.settings("posenet", out=str(tmp_path / "run")))
    found = tried(resolve.model("posenet"), resolve.data(f"folder:{one_place}"), given)
    assert (found["epochs"], found["steps"], found["test images"]) == (2, 6, 8)
    assert len(found["loss of two steps"]) == 2
    assert all(math.isfinite(loss) for loss in found["loss of two steps"])
    assert found["seconds a step"] > 0
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("where", ["> /dev/full 2> /dev/full", "2>&1 | true"])
def test_no_one_listens(one_place: Path, tmp_path: Path, where: str) -> None:
    """A full or closed terminal never ends a run."""
    words = small_data.words(small_data.settings("posenet", out="run", epochs=1))
    line = shlex.join([sys.executable, "-m", "posezoo", "train", "posenet", "--data", f"folder:{one_place}", *words])
    subprocess.run(["bash", "-c", f"{line} {where}"], timeout=200, check=False)
    assert (tmp_path / "run" / "report" / "report.json").exists()
    assert [line["step"] for line in faults.metrics(tmp_path / "run") if "loss" in line] == [1, 2, 3]


def test_a_dry_run_counts_its_own_memory(one_place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a counter in the place of the GPU's, which a larger model of the same process raised to 8 GB."""
    peak, jobs = [8e9], []

    def on_gpu(*given: Any) -> SimpleNamespace:
        jobs.append(job := set_up(*given))
        return SimpleNamespace(**vars(job) | {"accelerator": gpu, "steps_per_epoch": job.steps_per_epoch})

    gpu = SimpleNamespace(device=torch.device("cuda"))
    monkeypatch.setattr(training, "set_up", on_gpu)
    monkeypatch.setattr(training, "learn_place", lambda *_: peak.__setitem__(0, max(peak[0], 1e9)))
    monkeypatch.setattr(training, "Phase", lambda _, number: Phase(jobs[0], number))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: peak[0])
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: peak.__setitem__(0, 0.0))
    known = resolve.data(f"folder:{one_place}")
    config, plan = configure(
        resolve.model("posenet"), known, settings.nested(small_data.settings("posenet", workers=0))
    )
    assert training.dry_run(config, plan, known, Observer())["peak memory (GB)"] == 1
