"""The place, shown before step 1: what modules see, stopped and resumed runs, several processes, frozen phases.

Long: each way in which what is learned of a place and losses of its own meet the rest of training.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fault_points
import faults
import numpy as np
import pytest
import small_data
import torch
from naming import naming
from PIL import Image
from scipy.spatial.transform import Rotation
from small_runs import Notes, Train, changed, job, weights
from torch import nn

from posezoo.api import resume
from posezoo.base.errors import Interrupted, PluginError
from posezoo.nn.backbones import Backbone
from posezoo.nn.outputs import Features, PoseOutput
from posezoo.nn.place import Place, Target
from posezoo.nn.views import moved_cameras
from posezoo.training import loop, setup
from posezoo.training import place as showing
from posezoo.training.config import OptimSettings, PhaseSettings
from posezoo.training.phase import Phase
from posezoo.zoo.build import create_model
from posezoo.zoo.find import read_config
from posezoo.zoo.saved import load

FEW = {"anchors.count": 6, "anchors.images": 2, "anchors.key_dim": 8}
MODELS = ("posenet+anchors", "atloc+anchors", "ms-transformer+anchors", "posenet+anchors+hyper")


class Curious(nn.Module):
    """Keeps what it is shown, and asks for three embeddings."""

    shown: Place
    asked: torch.Tensor

    def learn_place(self, place: Place) -> None:
        self.shown, self.asked = place, place.embed([3, 0, 3])


def curious(data: Path, model: str = "posenet", **more: Any) -> tuple[setup.Job, Curious]:
    ready = job(data, model, **more)
    ready.model.learner = learner = Curious()
    return ready, learner


def test_what_is_shown(two_places: Path) -> None:
    """The training frames alone, in their order, and embeddings as the model computes them of images not augmented."""
    ready, learner = curious(two_places, "ms-transformer")
    ready.model.train()
    drawn = torch.get_rng_state()
    showing.learn_place(ready, lambda *_: None)
    frames = ready.dataset.frames.select(ready.train_rows)
    assert 0 < len(frames) < 48
    np.testing.assert_array_equal(learner.shown.position, frames.position)
    np.testing.assert_array_equal(learner.shown.quaternion, frames.quaternion)
    np.testing.assert_array_equal(learner.shown.scene, frames.scene)
    np.testing.assert_array_equal(learner.shown.intrinsics, frames.intrinsics)
    assert learner.shown.position.dtype == learner.shown.quaternion.dtype == np.float64
    assert learner.shown.scene.dtype == np.int64
    assert set(learner.shown.scene.tolist()) == {0, 1}
    assert ready.model.training, "the mode is as it was"
    assert torch.equal(drawn, torch.get_rng_state())
    ready.model.eval()
    images_BCHW = torch.cat([ready.cache.batch([int(ready.train_rows[n])])[0] for n in (3, 0, 3)])
    with torch.no_grad():
        expected = ready.model.encode(ready.model.prepare(images_BCHW)).image
    torch.testing.assert_close(learner.asked, expected, atol=1e-5, rtol=0)
    assert not learner.asked.requires_grad


def test_views_from_beside_are_shown_where_cameras_move(tmp_path: Path) -> None:
    """Positions as far as drawn, in the cameras' own axes, and embeddings of what is seen from there."""
    data = small_data.with_depths(tmp_path / "data", slice(0, 20))
    ready = job(data, selection="last", **{"augment.motion": 0.4, "augment.lift": 0.1})
    asked = [0, 24, 24 + 7 * 20 + 3]

    class Asking(Curious):
        def learn_place(self, place: Place) -> None:
            self.shown, self.asked = place, place.embed(asked)

    ready.model.learner = learner = Asking()
    showing.learn_place(ready, lambda *_: None)
    frames, shown = ready.dataset.frames.select(ready.train_rows), learner.shown
    assert len(shown.position) == len(shown.quaternion) == len(shown.scene) == len(shown.intrinsics) == 24 + 8 * 20
    np.testing.assert_array_equal(shown.position[:24], frames.position)
    of_M = np.tile(np.flatnonzero(frames.depth != b""), 8)
    np.testing.assert_array_equal(shown.quaternion[24:], frames.quaternion[of_M])
    axes = Rotation.from_quat(np.roll(frames.quaternion[of_M], -1, axis=-1))
    move_M3 = axes.inv().apply(shown.position[24:] - frames.position[of_M])
    assert (np.abs(move_M3).max(axis=0) <= [0.4, 0.1, 0.4]).all()
    assert (np.abs(move_M3).max(axis=0) > [0.35, 0.08, 0.35]).all()
    assert len(np.unique(move_M3.round(6), axis=0)) == len(of_M), "each is drawn for itself"
    ready.model.eval()
    for number, embedding in zip(asked, learner.asked, strict=True):
        row = int(ready.train_rows[number if number < 24 else of_M[number - 24]])
        images, camera = ready.cache.batch([row])
        if number >= 24:
            focal, centre = torch.from_numpy(camera).float().split(2, -1)
            move, inverse = torch.from_numpy(move_M3[[number - 24]]), ready.depths.batch(np.array([row]))
            moved = moved_cameras(images / 255, inverse, focal, centre, torch.eye(3)[None], move, None)
            assert (moved * 255 - images).abs().mean() > 5
            images = (moved.clamp(0, 1) * 255).round().to(torch.uint8)
        with torch.no_grad():
            expected = ready.model.encode(ready.model.prepare(images)).image[0]
        torch.testing.assert_close(embedding, expected, atol=1e-3, rtol=0)


def test_white_beside_black_stays_white_in_moved_views(tmp_path: Path) -> None:
    data = small_data.with_depths(tmp_path / "data", slice(0, 1))
    half = np.repeat(np.arange(96)[None] >= 48, 72, axis=0).astype(np.uint8) * np.uint8(255)
    Image.fromarray(half).convert("RGB").save(data / "yard" / "00.png")
    views = showing.Views(job(data, selection="last", **{"augment.motion": 0.4}))
    for number in range(24, 24 + 8):
        seen = views.batch(np.array([number]))[0][0, 0].int()
        edge = int((seen[128] > 128).int().argmax())
        assert 20 < edge < 320
        assert (seen[20:-20, edge - 12 : edge + 12].diff(dim=1) >= 0).all(), "from black to white and not back"


def test_nothing_is_read_where_nobody_learns(one_place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ready = job(one_place)
    monkeypatch.setattr(showing, "embed_frames", lambda *given, **more: pytest.fail("embedded"))
    monkeypatch.setattr(ready.model, "encode", lambda *given: pytest.fail("encoded"))
    showing.learn_place(ready, lambda *_: None)


def test_a_shape_that_changes_ends_the_run(one_place: Path) -> None:
    class Growing(nn.Module):
        def learn_place(self, place: Place) -> None:
            self.register_buffer("poses", torch.from_numpy(place.position))

    ready = job(one_place)
    ready.model.learner = Growing()
    with pytest.raises(PluginError, match=naming("learner.poses")):
        showing.learn_place(ready, lambda *_: None)


@pytest.mark.parametrize("model", MODELS)
def test_every_model_trains_with_anchors(train: Train, one_place: Path, two_places: Path, model: str) -> None:
    """The anchors are poses of training frames, their losses are in the metrics, the saved model has them."""
    data = two_places if model.startswith("ms") else one_place
    run = train(model, data, epochs=1, **FEW).path
    lines = [line for line in faults.metrics(run) if "loss" in line]
    assert len(lines) >= 3
    for line in lines:
        assert all(np.isfinite(line[f"{name}_loss"]) for name in ("anchors", "answers_position", "answers_orientation"))
    ready = job(data, model, **FEW)
    position = ready.dataset.frames.position[ready.train_rows]
    anchors = load(f"local-dir:{run}").anchors
    used = anchors.scene >= 0
    found = anchors.offset[used].numpy() + ready.model.config.position_mean
    assert len(found) == 6 * len(ready.model.config.scenes)
    assert np.linalg.norm(found[:, None] - position[None], axis=-1).min(1).max() < 1e-9
    assert read_config(run / "best")["disclosures"]
    card = (run / "best" / "README.md").read_text()
    assert anchors.disclosure in card


def test_the_loss_is_the_sum(train: Train) -> None:
    phases = [{"train": "all", "epochs": 1, "weights": (2.0, 3.0)}]
    for line in faults.metrics(train("posenet+anchors", phases=phases, epochs=1, **FEW).path):
        if "loss" in line:
            brought = sum(line[f"{name}_loss"] for name in ("anchors", "answers_position", "answers_orientation"))
            total = 2 * line["position_loss"] + 3 * line["rotation_loss"] + brought
            assert line["loss"] == pytest.approx(total, rel=1e-5)


def test_the_model_itself_may_bring_a_loss(train: Train, two_places: Path) -> None:
    """Here the one that ties queries to keys in ms-transformer."""
    small = {"width": 16, "heads": 4, "feedforward": 8, "position_layers": 1, "orientation_layers": 1}
    run = train("ms-transformer", two_places, epochs=1, position_code="sine", query_key_weight=0.1, **small).path
    losses = [line["query_key_loss"] for line in faults.metrics(run) if "loss" in line]
    assert len(losses) >= 3
    assert all(0 < loss < 1 for loss in losses)
    found = load(f"local-dir:{run}")
    assert found.config.position_code == "sine"
    assert found.query_key.weight == 0.1


class Reading(nn.Module):
    """A loss that reads the image embedding, and counts how often."""

    def __init__(self) -> None:
        super().__init__()
        self.widths: list[int] = []

    def extra_losses(self, features: Features, output: PoseOutput, target: Target) -> dict[str, torch.Tensor]:
        self.widths.append(features.image.shape[-1])
        return {"image": features.image.square().mean()}


@pytest.mark.parametrize("hooked", [False, True])
@pytest.mark.parametrize("augment", [False, True])
def test_a_loss_that_reads_the_image_embedding_finds_it(two_places: Path, hooked: bool, augment: bool) -> None:
    """The heads of ms-transformer do not read it, and a step without such a loss leaves it out; kept features too."""
    phases = [{"train": "position", "epochs": 1, "augment": augment}]
    ready = job(two_places, "ms-transformer", phases=phases)
    ready.model.learner = reading = Reading()
    if hooked:
        ready.model.register_forward_hook(lambda *given: None)
    phase = Phase(ready, 0)
    phase.prepare(lambda *given: None)
    assert (phase.features is None) == (hooked or augment)
    phase.begin()
    phase.step(next(phase.batches(0, 0)), 1, {})
    (line,) = phase.read()
    assert line["image_loss"] > 0
    assert reading.widths == [ready.model.image_dim]
    assert "features_for_heads" not in vars(ready.model)
    reading.reads_image = False
    phase = Phase(ready, 0)
    phase.prepare(lambda *given: None)
    phase.begin()
    phase.step(next(phase.batches(0, 0)), 1, {})
    assert reading.widths[-1] == 0, "it says that it does not read it"


@pytest.mark.parametrize("model", ["posenet+spread", "posenet+anchors"])
def test_a_modifier_around_a_model_that_brings_losses_changes_no_step(
    examples: None, train: Train, tmp_path: Path, model: str
) -> None:
    """+tta leaves training alone: the encoder runs once a step, so that dropout and batch norms are as without it."""
    runs = [
        train(f"{model}{more}", out=str(tmp_path / f"run{more}"), epochs=1, selection="last").path
        for more in ("", "+tta")
    ]
    assert faults.numbers(runs[0]) == faults.numbers(runs[1])
    plain, around = (load(f"local-dir:{run}").state_dict() for run in runs)
    assert changed(plain, around) == set()


# Stopped and resumed


def assert_same(run: Path, whole: Path) -> None:
    assert faults.numbers(run) == faults.numbers(whole)
    for name in ("best/model.safetensors", "report/predictions.csv"):
        assert faults.sha256(run / name) == faults.sha256(whole / name), name


@pytest.mark.parametrize(
    ("model", "fault", "more"),
    [
        ("posenet+anchors", "step:kill9:4", {}),
        ("posenet+anchors+hyper", "step:kill9:5", {"optim.average": 0.9}),
        pytest.param("ms-transformer+anchors", "step:kill9:4", {"workers": 2}, marks=pytest.mark.slow),
    ],
)
def test_a_killed_run_continues_identically_and_learns_nothing_again(
    train: Train, one_place: Path, two_places: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    model: str, fault: str, more: dict[str, Any],
) -> None:  # fmt: skip
    data, more = two_places if model.startswith("ms") else one_place, {**FEW, **more}
    whole = train(model, data, out=str(tmp_path / "whole"), **more).path
    settings = small_data.words(small_data.settings(model, out="run", **{"checkpoint.every_steps": 2, **more}))
    ended = faults.own_process(["train", model, "--data", f"folder:{data}", *settings, "--format", "quiet"], fault)
    assert ended.code == -9, ended
    monkeypatch.setattr(loop, "learn_place", lambda *given, **named: pytest.fail("learned again"))
    notes = Notes()
    resume(Path("run"), observer=notes)
    assert notes.first == int(fault[-1]) // 2 * 2 - (fault[-1] == "4") * 2
    assert_same(Path("run"), whole)


def test_killed_before_the_first_checkpoint_it_is_learned_again(train: Train, one_place: Path, tmp_path: Path) -> None:
    whole = train("posenet+anchors", out=str(tmp_path / "whole"), **FEW).path
    settings = small_data.words(small_data.settings("posenet+anchors", out="run", **FEW))
    words = ["train", "posenet+anchors", "--data", f"folder:{one_place}", *settings, "--format", "quiet"]
    assert faults.own_process(words, "step:kill9:2").code == -9
    resume(Path("run"), observer=Notes())
    assert_same(Path("run"), whole)


@pytest.mark.parametrize("signal", ["sigterm", "sigint"])
def test_stopped_while_it_is_learned(train: Train, tmp_path: Path, signal: str) -> None:
    few = {
        **FEW,
        "batch_size": 4,
        "epochs": 1,
    }  # of the six anchors' images, read four at a time, it stops at the first
    whole = train("posenet+anchors", out=str(tmp_path / "whole"), **few).path
    with fault_points.at(f"embed:{signal}:1"), pytest.raises(Interrupted, match=signal.upper()) as error:
        train("posenet+anchors", out="run", **few)
    assert error.value.exit_code == (143 if signal == "sigterm" else 130)
    assert "posezoo resume" in error.value.hint
    assert faults.checkpoints(Path("run")) == []
    assert [line for line in faults.metrics(Path("run")) if "loss" in line] == []
    resume(Path("run"), observer=Notes())
    assert_same(Path("run"), whole)


# Several processes

STILL = {f"augment.{name}": 0 for name in ("brightness", "contrast", "saturation", "hue")}


def together(data: Path, model: str, **more: Any) -> Path:
    """The run folder of two processes that train together."""
    words = small_data.words(small_data.settings(model, out="run", **more))
    ended = faults.several_processes(
        ["train", model, "--data", f"folder:{data}", *words, "--format", "quiet"], ["", ""]
    )
    assert [end.code for end in ended] == [0, 0], ended
    return Path("run")


def test_two_processes_learn_what_one_learns(
    examples: None, one_place: Path, train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only of a loss that a modifier brings, by plain descent of one head, because batch norm sees other batches."""
    plain = {"optim.name": "adam", "optim.eps": 1e4, "optim.lr": 1e3, "loss.balance_lr": 0, "optim.clip": float("inf")}
    more = {
        "optim.weight_decay": 0,
        "optim.schedule": "constant",
        "optim.warmup_epochs": 0,
        "optim.betas": (0.0, 0.0),
        "route.weight": 1.0,
        "selection": "last",
        "epochs": 1,
        **{"augment.geometry": "centre", **STILL, **plain},
    }
    phases = '[{train = "position", epochs = 1, augment = true, weights = [0.0, 0.0]}]'
    both = together(one_place, "posenet+route", **{**more, "optim.betas": "[0.0, 0.0]", "phases": phases})
    phase = {"train": "position", "epochs": 1, "augment": True, "weights": (0.0, 0.0)}
    one = train("posenet+route", out=str(tmp_path / "alone"), phases=[phase], **more).path
    start = job(one_place, "posenet+route").model.state_dict()
    found, expected = (load(f"local-dir:{run}").state_dict() for run in (both, one))
    assert torch.equal(found["path.axes_S33"], expected["path.axes_S33"])
    assert not torch.equal(found["path.axes_S33"], start["path.axes_S33"])
    name = "position_head.layers.0.bias"
    moved = expected[name] - start[name]
    assert moved.abs().max() > 1e-3, "else nothing is said"
    torch.testing.assert_close(found[name] - start[name], moved, rtol=1e-3, atol=1e-6)


def test_two_processes_have_the_anchors_of_one(one_place: Path, train: Train, tmp_path: Path) -> None:
    phases = '[{train = "position", epochs = 1}]'
    both = together(one_place, "posenet+anchors", phases=phases, epochs=1, **FEW)
    one = train(
        "posenet+anchors", out=str(tmp_path / "alone"), phases=[{"train": "position", "epochs": 1}], epochs=1, **FEW
    ).path
    found, expected = (load(f"local-dir:{run}").state_dict() for run in (both, one))
    assert {name.partition(".")[0] for name in changed(found, expected)} <= {"position_head"}
    steps = [line["step"] for line in faults.metrics(both) if "loss" in line]
    assert steps == list(range(1, len(steps) + 1)), "one of them writes"


@pytest.mark.parametrize(
    "fault", [["embed:sigterm:1", ""], ["", "embed:sigterm:1"], ["embed:sigterm:1", "built:wait"]], ids=str
)
def test_one_is_told_to_stop_while_the_place_is_learned_and_all_stop(one_place: Path, fault: list[str]) -> None:
    """Also where the other has not come so far: it leaves from an earlier point, and nobody waits for its word."""
    words = small_data.words(small_data.settings("posenet+anchors", out="run", **FEW, batch_size=4))
    ended = faults.several_processes(
        ["train", "posenet+anchors", "--data", f"folder:{one_place}", *words, "--format", "quiet"], fault
    )
    assert [end.code for end in ended] == [143, 143], ended
    assert faults.checkpoints(Path("run")) == []


# Phases


@pytest.mark.parametrize("augment", [True, False])
def test_frozen_phases_leave_the_anchors_alone(train: Train, augment: bool) -> None:
    """They train their head, its residual too; with features computed once the losses are those of the long way."""
    head = {"epochs": 1, "augment": augment}
    phases = [{"train": "position", **head}, {"train": "orientation", **head}, {"train": "all", "epochs": 1}]
    keep = {"checkpoint.every_steps": 1, "checkpoint.keep": 100, "selection": "last", "optim.lr": 1e-3}
    run = train("posenet+anchors", phases=phases, epochs=3, **FEW, **keep).path
    for first, last, part in ((1, 3, "position_head."), (4, 6, "orientation_head.")):
        moved = changed(weights(run, first), weights(run, last))
        assert {name.partition(".")[0] + "." for name in moved} == {part}
        assert any(".residual." in name for name in moved), "the residual learns with its head"
    moved = changed(weights(run, 6), weights(run, 9))
    assert {"anchors.keys", "anchors.project.weight", "anchors.tau"} <= moved
    assert not moved & {"anchors.offset", "anchors.quaternion", "anchors.scene", "anchors.scale"}


def test_features_computed_once_give_the_losses_of_the_long_way(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from posezoo.training import frozen

    more = {"phases": [{"train": "position", "epochs": 2, "augment": False}], "epochs": 2, "selection": "last", **FEW}
    short = train("posenet+anchors", out=str(tmp_path / "short"), **more).path
    monkeypatch.setattr(frozen, "features_can_be_cached", lambda job, phase: False)
    long = train("posenet+anchors", out=str(tmp_path / "long"), **more).path
    keys = ("loss", "anchors_loss", "answers_position_loss", "answers_orientation_loss", "position_loss")
    for one, other in zip(faults.metrics(short), faults.metrics(long), strict=True):
        if "loss" in one:
            assert [one[key] for key in keys] == pytest.approx([other[key] for key in keys], rel=1e-3, abs=1e-4)


def test_what_anchors_are_made_of_learns_with_the_whole_model() -> None:
    small = {"backbone": "test_efficientnet.r160_in1k", "pretrained_backbone": False, "hidden": 16}
    model = create_model("posenet+anchors", **small, anchors={"count": 4})
    for train_what in ("all", "position", "orientation"):
        setup.set_trainable(model, PhaseSettings(train=train_what, epochs=1), OptimSettings())
        learning = {name.partition(".")[0] for name, p in model.named_parameters() if p.requires_grad}
        expected = {"backbone", "hidden", "anchors", "position_head", "orientation_head"}
        assert learning == (expected if train_what == "all" else {f"{train_what}_head"})
    assert any(isinstance(module, Backbone) for module in model.modules())
