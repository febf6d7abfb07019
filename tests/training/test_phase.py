"""A phase: what learns, the loss, rates, clipping, and numbers that are not finite."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import fault_points
import faults
import numpy as np
import pytest
import safetensors.torch
import torch
from small_runs import Notes, Train, changed, job, weights

from posezoo.api import resume
from posezoo.base.errors import Interrupted, NotFiniteError, UsageError
from posezoo.data.loader import Batch
from posezoo.nn.model import PoseModel
from posezoo.training import frozen
from posezoo.training.phase import Phase, _Network, parts_of


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


@pytest.mark.parametrize(
    ("model", "learning"),
    [
        ("posenet+spread", ("position_head.", "orientation_head.", "spread.")),
        ("ms-transformer", ("position_head.", "orientation_head.", "position.query", "orientation.query")),
    ],
)
def test_a_phase_of_heads(
    train: Train, two_places: Path, model: str, learning: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both heads, the spread, and queries of scenes: every one of these moves in six steps, and nothing else."""
    seen: list[bool] = []
    kept = frozen.FrozenFeatures
    monkeypatch.setattr(frozen, "FrozenFeatures", lambda job: seen.append(True) or kept(job))
    data = two_places if model.startswith("ms") else None
    phases = [{"train": "all", "epochs": 1}, {"train": "heads", "epochs": 1, "augment": False}]
    run = train(model, data, phases=phases, **{"checkpoint.every_steps": 1, "checkpoint.keep": 100}).path
    first, last = (max(line["step"] for line in faults.metrics(run) if line.get("phase") == n) for n in (0, 1))
    moved = changed(weights(run, first), weights(run, last))
    assert all(name.startswith(learning) for name in moved), moved
    assert all(any(name.startswith(part) for name in moved) for part in learning), moved
    # features are computed once unless a query of the encoder learns
    assert bool(seen) == (model == "posenet+spread")


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


def test_a_phase_has_steps_of_its_own(train: Train) -> None:
    steps = {"optim.schedule": "step", "optim.step_epochs": 2, "optim.gamma": 0.5, "optim.warmup_epochs": 0}
    phases = [{"epochs": 3}, {"epochs": 2, "step_epochs": 1}, {"epochs": 2, "step_epochs": 1, "gamma": 0.1}]
    run = train(phases=phases, **steps, **{"optim.lr": 1e-3}).path
    expected = [1, 1, 0.5, 1, 0.5, 1, 0.1]
    np.testing.assert_allclose(rates(run), [1e-3 * factor for factor in expected for _ in range(3)], rtol=1e-12)


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


def steps_of(run: Path) -> list[dict[str, Any]]:
    """The lines of the steps."""
    return [line for line in faults.metrics(run) if "loss" in line]


@pytest.mark.parametrize("model", ["ms-transformer", "ms-transformer+hyper"])
def test_the_scene_is_learned(train: Train, two_places: Path, model: str) -> None:
    """Fixed weights leave of the loss, beside position and rotation, the cross entropy of the scenes."""
    phases = [{"train": "all", "epochs": 1, "weights": (2.0, 3.0)}]
    run = train(model, two_places, phases=phases, **{"checkpoint.every_steps": 1, "checkpoint.keep": 100}).path
    lines = steps_of(run)
    scene = [line["loss"] - 2 * line["position_loss"] - 3 * line["rotation_loss"] for line in lines]
    assert np.mean(scene) == pytest.approx(np.log(2), abs=0.2), "two scenes, and nothing known yet"
    assert only_of_scenes(job(two_places, model).model) <= changed(weights(run, 1), weights(run, len(lines)))


def only_of_scenes(model: PoseModel) -> set[str]:
    """The parameters that no pose depends on, but the scenes' scores do."""
    output = model(torch.randn(2, 3, 64, 64), torch.tensor([0, 1]))
    named = dict(model.named_parameters())
    parts = output.position.sum() + output.rotation.sum(), output.scene_logits.sum()
    pose, scenes = (
        torch.autograd.grad(part, list(named.values()), allow_unused=True, retain_graph=True) for part in parts
    )
    found = {name for name, g, h in zip(named, pose, scenes, strict=True) if g is None and h is not None}
    assert found
    return found


def test_one_scene_has_no_scene_loss(train: Train) -> None:
    phases = [{"train": "all", "epochs": 1, "weights": (2.0, 3.0)}]
    for line in steps_of(train("ms-transformer", phases=phases).path):
        assert line["loss"] == pytest.approx(2 * line["position_loss"] + 3 * line["rotation_loss"], rel=1e-6)


def gradient_norm(run: Path) -> float:
    """The norm of the first step's gradient, as Adam's first moment keeps it: fixed weights, so the model's alone."""
    state = torch.load(run / "ckpt" / "step-000000001" / "state.pt", weights_only=True)
    moments = [moment["exp_avg"] for moment in state["optimiser"]["state"].values()]
    return 10 * float(torch.stack([moment.norm() for moment in moments]).norm())  # its beta is 0.9


def test_gradients_are_clipped(train: Train, tmp_path: Path) -> None:
    phases = [{"train": "all", "epochs": 1, "weights": (1.0, 1.0)}]
    norms = {}
    for clip in (0.125, float("inf")):
        more = {"optim.clip": clip, "checkpoint.every_steps": 1, "checkpoint.keep": 9}
        norms[clip] = gradient_norm(train(phases=phases, out=str(tmp_path / str(clip)), **more).path)
    assert norms[float("inf")] > 0.2, "else there is nothing to clip"
    assert norms[0.125] == pytest.approx(0.125, rel=1e-3)


def of(run: Path, key: str) -> list[float]:
    return [line[key] for line in faults.metrics(run) if "loss" in line]


def test_reading_seldom_changes_no_number(train: Train, tmp_path: Path) -> None:
    """Checkpoints included: they are only of steps that have been read."""
    whole = train(out=str(tmp_path / "each")).path
    seldom = train(out=str(tmp_path / "seldom"), **{"read_every": 4, "checkpoint.every_steps": 2}).path
    assert faults.numbers(seldom) == faults.numbers(whole)
    with fault_points.at("step:sigterm:5"), pytest.raises(Interrupted):
        train(out=str(tmp_path / "cut"), read_every=4)
    resume(tmp_path / "cut", observer=Notes())
    assert faults.numbers(tmp_path / "cut") == faults.numbers(whole)


@pytest.mark.parametrize("every", [2, 100])
def test_a_step_that_went_wrong_is_found_later_and_named(train: Train, tmp_path: Path, every: int) -> None:
    """Weights stop at the last good step; nothing of what came after is kept."""
    good = train(out=str(tmp_path / "good")).path
    with fault_points.at("step:nan:5"), pytest.raises(NotFiniteError, match="step 5"):
        train(read_every=every, **{"checkpoint.every_seconds": 1e9})
    run = tmp_path / "run"
    assert len(faults.metrics(run)[-1]["images"]) == 8
    known = of(run, "loss")
    assert known == of(good, "loss")[: len(known)]
    assert len(known) >= 3, "the first epoch's are known"
    assert faults.checkpoints(run) == []


def test_a_batch_in_parts_has_the_gradient_of_the_whole(train: Train, tmp_path: Path) -> None:
    """The backbone frozen: its batch norms would see other batches. By plain descent, which shows the gradient."""
    plain = {"optim.name": "adam", "optim.eps": 1e4, "optim.lr": 1e4, "loss.balance_lr": 1e4, "optim.clip": 0.5}
    more = {**plain, "optim.betas": (0.0, 0.0), "optim.weight_decay": 0, "dropout": 0.0, "epochs": 1, "batch_size": 7}
    more |= {"optim.backbone_lr": 0, "optim.warmup_epochs": 0, "optim.schedule": "constant"}
    runs = [train(out=str(tmp_path / str(parts)), accumulate=parts, **more).path for parts in (1, 3)]
    for key in ("loss", "position_m", "orientation_deg"):
        np.testing.assert_allclose(of(runs[0], key), of(runs[1], key), rtol=1e-5)
    np.testing.assert_allclose(of(runs[0], "balance"), of(runs[1], "balance"), rtol=1e-4, atol=1e-7)
    assert np.abs(of(runs[0], "balance")[-1]).max() > 0.1, "the balance moves far"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU; the meta device stands for one below")
@pytest.mark.parametrize("model", ["posenet+hyper", "ms-transformer"])
def test_no_step_synchronises_a_gpu(one_place: Path, two_places: Path, model: str) -> None:
    """torch raises at the first operation that would wait for the device; reading the losses is one that does."""
    phase = Phase(job(two_places if model.startswith("ms") else one_place, model, device="cuda"), 0)
    phase.begin()
    given = next(phase.batches(0, 0))
    phase.step(given, 1, {})  # makes the optimiser's state
    phase.read()
    torch.cuda.set_sync_debug_mode("error")
    try:
        phase.step(given, 2, {})
        with pytest.raises(RuntimeError):
            phase.read()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize(("count", "length"), [(1, 1), (2, 1), (4, 1), (2, 3)])
def test_parts_are_whole_tuples(count: int, length: int) -> None:
    batch = Batch(*(torch.arange(4 * length) for _ in Batch._fields))
    parts = list(parts_of(batch, count, length))
    assert torch.cat([part.rows for part, _ in parts]).tolist() == list(range(4 * length))
    assert all(len(part.rows) % length == 0 for part, _ in parts)
    assert sum(share for _, share in parts) == pytest.approx(1)


@pytest.mark.parametrize("more", [{}, {"augment.appearance": "weather"}, {"augment.geometry": "crop", "accumulate": 2}])
@pytest.mark.parametrize("model", ["posenet+hyper", pytest.param("ms-transformer", marks=pytest.mark.slow)])
def test_no_step_waits_for_the_device(
    one_place: Path, two_places: Path, model: str, more: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On torch's device without numbers ("meta"): whatever would read one back fails there, as it would wait on a GPU.

    The numbers of the host (which frames, which augmentation) are on the CPU.
    """
    ready = job(two_places if model.startswith("ms") else one_place, model, **more)
    given = next(Phase(ready, 0).batches(0, 0))
    ready.model.to("meta")
    monkeypatch.setattr(torch.optim.AdamW, "__init__", unfused(torch.optim.AdamW.__init__))
    phase = Phase(ready, 0)
    phase.loss.to("meta")
    phase.optimiser = torch.optim.SGD(
        [{"params": group["params"], "base_lr": 0.1} for group in phase.optimiser.param_groups]
    )
    phase.network = _Network(ready.model)  # accelerate would move it back
    batch = given.batch.to("meta")
    assert batch.images.device.type == "meta"
    phase.step(given._replace(batch=batch), 1, {"step": 1})
    with pytest.raises((NotImplementedError, RuntimeError)):
        phase.read()


def unfused(start: Any) -> Any:
    """The optimiser's constructor without the kernel that the device lacks."""
    return lambda self, *given, **more: start(self, *given, **{**more, "fused": False})


# torch's compiler calls a deprecated function of torch
@pytest.mark.filterwarnings("ignore:.*_prims_common.check:FutureWarning")
@pytest.mark.slow
def test_compiled(train: Train, tmp_path: Path) -> None:
    """The same numbers but for rounding, and a saved model with the usual names."""
    given = {"epochs": 1, "dropout": 0.0, "drop_path": 0.0}  # compiled dropout draws other masks
    plain, compiled = (train(out=str(tmp_path / str(on)), compile=on, **given).path for on in (False, True))
    np.testing.assert_allclose(of(plain, "loss"), of(compiled, "loss"), rtol=1e-3)
    assert weights(plain, 3).keys() == weights(compiled, 3).keys()


def test_a_loss_may_come_in_some_steps_only(one_place: Path) -> None:
    """A plugin's; each step's line has what that step had."""
    ready = job(one_place, batch_size=8)
    given = next(iter(Phase(ready, 0).batches(0, 0)))
    for order in ((True, False), (False, True)):
        phase = Phase(ready, 0)
        phase.begin()
        for number, more in enumerate(order, 1):
            phase.step(given, number, {"step": number})
            if more:
                phase.unread[-1].means["aux_loss"] = torch.tensor(3.0)
        lines = phase.read()
        assert [line.get("aux_loss") for line in lines] == [3.0 if more else None for more in order]


def test_one_image_at_a_time_is_too_few_for_batch_norms(train: Train) -> None:
    with pytest.raises(UsageError, match="batch norms"):
        train(backbone="mobilenetv4_conv_small_050", batch_size=1, epochs=1)
