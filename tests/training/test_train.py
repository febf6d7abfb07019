"""Training: what a run leaves, phases, rates, validation, the choice of the best epoch, and faults on the way.

Long because it mirrors the training loop, which is one file.
"""

from __future__ import annotations

import csv
import json
import math
import multiprocessing
import os
import shutil
import signal
import tomllib
from pathlib import Path
from typing import Any

import fault_points
import faults
import numpy as np
import pytest
import safetensors.torch
import small_data
import torch
from naming import naming
from small_runs import Notes, Train, job

from posezoo import api
from posezoo.api import resume
from posezoo.base.errors import (
    DataError,
    Interrupted,
    LockedError,
    NotFiniteError,
    PosezooError,
    ResourceError,
    UsageError,
    WeightsError,
)
from posezoo.catalogue import resolve, settings
from posezoo.data.loader import BatchOrder, epoch_loader
from posezoo.training import setup
from posezoo.training.again import evaluate
from posezoo.training.config import PhaseSettings, configure
from posezoo.training.run import RunFolder
from posezoo.zoo.build import create_model
from posezoo.zoo.saved import load


def weights(run: Path, step: int) -> dict[str, torch.Tensor]:
    """The model's tensors in a checkpoint."""
    return safetensors.torch.load_file(run / "ckpt" / f"step-{step:09d}" / "model.safetensors")


def changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize("model", ["posenet", "atloc+hyper=two", "ms-transformer+hyper=single"])
def test_run_leaves_everything(train: Train, two_places: Path, notes: Notes, model: str) -> None:
    result = train(model, two_places)
    run = result.path
    names = {path.name for path in run.iterdir()}
    assert names == {"config.toml", "metrics.jsonl", "ckpt", "best", "report", "run.lock"}
    assert {path.name for path in (run / "best").iterdir()} == {"config.json", "model.safetensors", "README.md"}
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
    poses = loaded.predict([two_places / row["image"] for row in rows])
    found = np.array([[float(row[key]) for key in ("x", "y", "z", "qw", "qx", "qy", "qz")] for row in rows])
    np.testing.assert_allclose(poses.position, found[:, :3], atol=1e-6)
    np.testing.assert_allclose(poses.quaternion, found[:, 3:], atol=1e-6)
    if model.startswith("ms"):
        assert list(poses.scenes) == [row["scene_predicted"] for row in rows]


def test_evaluation_again_gives_the_same(train: Train) -> None:
    result = train()
    again = evaluate(result)
    assert again.data_digest == result.report.data_digest
    assert again.headline == result.report.headline
    assert again.selection == result.report.selection


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


# Phases


def test_phase_trains_its_head_and_nothing_else(train: Train) -> None:
    phases = [{"train": "position", "epochs": 1}, {"train": "orientation", "epochs": 1}, {"train": "all", "epochs": 1}]
    run = train(phases=phases, **{"checkpoint.every_steps": 1, "checkpoint.keep": 100}).path
    for first, last, head in ((1, 3, "position_head."), (4, 6, "orientation_head.")):
        moved = changed(weights(run, first), weights(run, last))
        assert moved
        assert all(name.startswith(head) for name in moved), moved
    moved = changed(weights(run, 6), weights(run, 9))
    assert any("running_mean" in name for name in moved), "batch norm learns again"
    assert {name.partition(".")[0] for name in moved} >= {"position_head", "orientation_head", "backbone", "hidden"}
    assert [line["phase"] for line in faults.metrics(run) if "loss" in line] == [0] * 3 + [1] * 3 + [2] * 3


def test_frozen_parts_are_those_of_the_start(one_place: Path, train: Train) -> None:
    ready = job(one_place)
    start = {name: tensor.clone() for name, tensor in ready.model.state_dict().items()}
    run = train(phases=[{"train": "position", "epochs": 2, "weights": (1.0, 0.0)}]).path
    moved = changed(start, weights(run, 6))
    assert moved == {name for name in start if name.startswith("position_head.")}


def test_fixed_weights_of_a_phase(train: Train) -> None:
    run = train(phases=[{"train": "all", "epochs": 1, "weights": (2.0, 3.0)}]).path
    for line in faults.metrics(run):
        if "loss" in line:
            assert line["loss"] == pytest.approx(2 * line["position_loss"] + 3 * line["rotation_loss"], rel=1e-6)
            assert line["balance"] == [0, 0]


def test_learned_balance_moves(train: Train) -> None:
    lines = [line for line in faults.metrics(train(epochs=1).path) if "loss" in line]
    assert lines[0]["balance"] != lines[-1]["balance"]


# Learning rates


def rates(run: Path) -> list[float]:
    return [line["lr"] for line in faults.metrics(run) if "loss" in line]


def test_cosine_with_warmup(train: Train) -> None:
    run = train(epochs=4, **{"optim.lr": 1e-3, "optim.warmup_epochs": 1}).path
    warm = [1e-3 * (n + 1) / 3 for n in range(3)]
    fall = [1e-3 * 0.5 * (1 + math.cos(math.pi * n / 9)) for n in range(9)]
    np.testing.assert_allclose(rates(run), warm + fall, rtol=1e-12)


def test_cosine_starts_again_in_each_phase(train: Train) -> None:
    phases = [{"train": "all", "epochs": 2}, {"train": "position", "epochs": 1}]
    run = train(phases=phases, **{"optim.lr": 1e-3, "optim.warmup_epochs": 0}).path
    expected = [1e-3 * 0.5 * (1 + math.cos(math.pi * n / total)) for total in (6, 3) for n in range(total)]
    np.testing.assert_allclose(rates(run), expected, rtol=1e-12)


def test_steps_and_constant(train: Train, tmp_path: Path) -> None:
    more = {"optim.warmup_epochs": 0, "optim.lr": 1e-3}
    steps = {"optim.schedule": "step", "optim.step_epochs": 1, "optim.gamma": 0.5}
    run = train(epochs=3, out=str(tmp_path / "a"), **more, **steps).path
    np.testing.assert_allclose(rates(run), [1e-3] * 3 + [5e-4] * 3 + [2.5e-4] * 3, rtol=1e-12)
    run = train(epochs=1, out=str(tmp_path / "b"), **more, **{"optim.schedule": "constant"}).path
    np.testing.assert_allclose(rates(run), [1e-3] * 3, rtol=1e-12)


def test_backbone_has_its_own_rate(one_place: Path) -> None:
    ready = job(one_place, **{"optim.backbone_lr": 1e-6, "optim.lr": 1e-3, "loss.balance_lr": 0.02})
    optimiser = setup.make_optimiser(ready, setup.make_loss(ready, ready.config.plan[0]))
    own = {id(parameter) for parameter in ready.model.backbone.parameters()}  # type: ignore[union-attr]
    assert {group["lr"] for group in optimiser.param_groups} == {1e-6, 1e-3, 0.02}
    slow = [parameter for group in optimiser.param_groups if group["lr"] == 1e-6 for parameter in group["params"]]
    assert {id(parameter) for parameter in slow} == own
    together = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    assert len(together) == len({id(p) for p in together}) == len(list(ready.model.parameters())) + 1


# Which frames


@pytest.mark.parametrize("selection", ["validation", "test", "last"])
def test_frames_of_training_and_validation(two_places: Path, selection: str) -> None:
    ready = job(two_places, selection=selection)
    split = ready.dataset.frames.split
    train_rows, held = ready.train_rows.tolist(), ready.validation_rows.tolist()
    assert set(split[train_rows]) == {"train"}
    if selection == "test":
        assert set(split[held]) == {"test"}
        assert len(train_rows) == 48
    elif selection == "last":
        assert held == []
    else:
        assert set(split[held]) == {"train"}
        assert sorted(train_rows + held) == np.flatnonzero(split == "train").tolist()
        assert not set(train_rows) & set(held)
        assert set(ready.dataset.frames.scene[held]) == {0, 1}
    order = BatchOrder(len(train_rows), 8, 0, 0)
    used = [row for batch in epoch_loader(ready.batches(0), order, 0) for row in batch.rows.tolist()]
    assert sorted(used) == train_rows, "training sees its own frames and no other"


def test_validation_frames_come_in_blocks(tmp_path: Path) -> None:
    table = small_data.rows("yard")
    for n, row in enumerate(table):
        row["sequence"] = "one"
        row["timestamp"] = n
    ready = job(small_data.write(tmp_path / "data", table), **{"data.validation": 0.25})
    held = ready.validation_rows
    assert 5 <= len(held) <= 7
    assert np.sum(np.diff(held) > 1) <= 1, "consecutive frames"


def test_selection_is_said(train: Train, tmp_path: Path) -> None:
    for selection, word in (("test", "test frames"), ("validation", "validation frames"), ("last", "last epoch")):
        result = train(out=str(tmp_path / selection), epochs=1, selection=selection)
        assert word in result.report.selection
        report = json.loads((result.path / "report" / "report.json").read_text())
        assert word in report["selection"]
        assert word in (result.path / "best" / "README.md").read_text()
        assert word in evaluate(result.path).selection


def test_best_epoch_is_the_one_with_the_lowest_score(train: Train) -> None:
    run = train(epochs=4, **{"checkpoint.every_steps": 3, "checkpoint.keep": 100}).path
    scores = {line["epoch"]: line["score"] for line in faults.metrics(run) if "score" in line}
    best = min(scores, key=lambda epoch: (scores[epoch], epoch))
    saved = safetensors.torch.load_file(run / "best" / "model.safetensors")
    assert changed(weights(run, 3 * best), saved) == set()
    facts = json.loads((run / "best" / "config.json").read_text())["training"]
    assert f"(epoch {best})" in facts["selection"]


def test_position_scale_is_that_of_the_training_frames(one_place: Path) -> None:
    ready = job(one_place)
    position = ready.dataset.frames.position[ready.train_rows]
    np.testing.assert_allclose(ready.model.config.position_mean, position.mean(0))
    np.testing.assert_allclose(ready.model.config.position_std, position.std(0))
    as_it_is = job(one_place, normalise_position=False)
    assert as_it_is.model.config.position_std == (1, 1, 1)


def test_no_intrinsics_no_turning(tmp_path: Path, notes: Notes) -> None:
    table = [{k: v for k, v in row.items() if k not in ("fx", "fy", "cx", "cy")} for row in small_data.rows("yard")]
    data = small_data.write(tmp_path / "data", table)
    place = resolve.data(f"folder:{data}")
    config, plan = configure(resolve.model("posenet"), place, settings.nested(small_data.settings("posenet")))
    assert setup.prepare(config, plan, place, notes).augmentation.geometry == "crop"
    assert any("no intrinsics" in note and "augment.fov_deg" in note for note in notes.notes)
    assert job(data, **{"augment.fov_deg": 60.0}).augmentation.geometry == "rotate"


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


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_loss_that_is_not_a_number(train: Train, tmp_path: Path, precision: str) -> None:
    with (
        fault_points.at("step:nan:4"),
        pytest.raises(NotFiniteError, match=r"\b4\b.*yard/\d\d\.png") as error,
    ):
        train(precision=precision, **{"checkpoint.every_steps": 2})
    assert error.value.exit_code == 8
    run = tmp_path / "run"
    last = faults.metrics(run)[-1]
    assert last["event"] == "not finite"
    assert len(last["images"]) == 8
    assert set(last["images"]) <= {f"yard/{n:02d}.png" for n in range(24)}
    assert_finite(run)
    resume(run, observer=Notes())
    whole = train(out=str(tmp_path / "whole"), precision=precision).path
    kept = [line for line in faults.numbers(run) if "event" not in line]
    assert kept == faults.numbers(whole), "the disturbed step left nothing behind"


def assert_finite(run: Path) -> None:
    """All weights on disk are finite numbers."""
    for path in run.rglob("model.safetensors"):
        for name, tensor in safetensors.torch.load_file(path).items():
            assert torch.isfinite(tensor).all(), (path, name)


def test_diverging_run_leaves_finite_weights(train: Train, tmp_path: Path) -> None:
    """A step far too long: the forward pass after it spoils batch-norm statistics before the loss is looked at."""
    with pytest.raises(NotFiniteError):
        train(epochs=8, **{"optim.lr": 1e30, "optim.warmup_epochs": 0, "optim.clip": math.inf})
    assert_finite(tmp_path / "run")


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


def test_damaged_last_checkpoint(train: Train, tmp_path: Path) -> None:
    run = train(**{"checkpoint.every_steps": 2}).path
    whole = faults.numbers(run)
    newest = run / "ckpt" / "step-000000006"
    (newest / "state.pt").write_bytes(b"")
    notes = Notes()
    resume(run, observer=notes)
    assert [note for note in notes.notes if "passed over a damaged checkpoint: step-000000006" in note]
    assert notes.first == 4
    assert faults.numbers(run) == whole
    for path in (run / "ckpt").rglob("state.pt"):
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(WeightsError, match=naming("step-000000006", "step-000000004")):
        resume(run, observer=Notes())


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
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "torch": "1.0"}))
    notes = Notes()
    resume(run, observer=notes)
    assert any("not bit-identical: torch 1.0 ->" in note for note in notes.notes)


def test_no_run_to_resume(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=naming(tmp_path / "nothing")):
        resume(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


def test_no_gpu_here(train: Train) -> None:
    with pytest.raises(UsageError, match=naming("device", "gpu", "auto", "cpu", "cuda")):
        train(device="gpu")
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match=naming("device=cuda")):
            train(device="cuda")


def test_too_few_images(tmp_path: Path, train: Train) -> None:
    table = small_data.rows("yard")
    one = small_data.write(tmp_path / "one", [table[0], table[30]])
    with pytest.raises(DataError, match=naming("1")):
        train(data=one, out=str(tmp_path / "a"))
    with pytest.raises(DataError, match=naming("train")):
        train(data=small_data.write(tmp_path / "none", table[24:]), out=str(tmp_path / "b"))
    with pytest.raises(DataError, match=naming("test")):
        train(data=small_data.write(tmp_path / "untested", table[:24]), out=str(tmp_path / "c"))


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


def test_measured_precision_leaves_no_trace(one_place: Path) -> None:
    ready = job(one_place)
    before = {name: tensor.clone() for name, tensor in ready.model.state_dict().items()}
    state = torch.get_rng_state()
    modes = [module.training for module in ready.model.modules()]
    assert setup.measured_precision(ready) in ("fp32", "bf16")
    assert changed(before, ready.model.state_dict()) == set()
    assert torch.equal(state, torch.get_rng_state())
    assert modes == [module.training for module in ready.model.modules()]
    assert all(parameter.grad is None for parameter in ready.model.parameters())


def test_shared_generators_learn_with_the_position_and_stay_in_the_orientation_phase() -> None:
    settings_of = {"backbone": "test_efficientnet.r160_in1k", "pretrained_backbone": False, "hidden": 16}
    model = create_model("posenet+hyper", **settings_of, **{"hyper.shared": True, "hyper.rank": 4})
    for branch, generators in (("position", True), ("orientation", False)):
        setup.set_trainable(model, PhaseSettings(train=branch, epochs=1))
        learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        assert {name.partition(".")[0] for name in learning} == {f"{branch}_head"}
        assert any(name.startswith("position_head.generated") for name in learning) == generators
