"""What training prepares: frames, the position's scale, loss, optimiser, precision; bad data left out.

Long: it mirrors one module, and each of its choices is wiring that nothing else would miss.
"""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import seen_room
import small_data
import torch
from naming import naming
from PIL import Image
from small_runs import Notes, Train, changed, job, weights
from torch import Tensor, nn

from posezoo.base.errors import (
    DataError,
    UsageError,
)
from posezoo.catalogue import resolve, settings
from posezoo.data.images.depths import DepthMaps
from posezoo.data.loader import BatchOrder, epoch_loader
from posezoo.nn.backbones import Backbone
from posezoo.nn.model import ModelConfig
from posezoo.nn.outputs import PoseOutput
from posezoo.training import setup
from posezoo.training.again import evaluate
from posezoo.training.augment import UNVARIED, augmented, motion_of
from posezoo.training.config import OptimSettings, PhaseSettings, configure
from posezoo.zoo.build import create_model
from posezoo.zoo.find import read_config
from posezoo.zoo.saved import load

UTM = (5_735_800.0, 620_000.0)
UNCOLOURED = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}


def moved(folder: Path, target: Path) -> Path:
    """The data set with its origin at UTM coordinates."""
    shutil.copytree(folder, target)
    with (folder / "poses.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row |= {"x": repr(float(row["x"]) + UTM[0]), "y": repr(float(row["y"]) + UTM[1])}
    with (target / "poses.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return target


def flattened(folder: Path, target: Path, factor: float) -> Path:
    """The data set with its z coordinates made small."""
    shutil.copytree(folder, target)
    with (folder / "poses.csv").open(newline="", encoding="utf-8") as file:
        rows = [{**row, "z": repr(float(row["z"]) * factor)} for row in csv.DictReader(file)]
    with (target / "poses.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return target


def losses(run: Path) -> list[float]:
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [line["loss"] for line in lines if "loss" in line]


def test_utm_coordinates_train_and_predict_like_small_ones(train: Train, one_place: Path, tmp_path: Path) -> None:
    here = train(out=str(tmp_path / "here"))
    there = train(data=moved(one_place, tmp_path / "utm"), out=str(tmp_path / "there"))
    np.testing.assert_allclose(losses(there.path), losses(here.path), rtol=1e-5)
    offset = np.array([*UTM, 0.0])
    found, expected = (result.report.methods["posenet"].position for result in (there, here))
    np.testing.assert_allclose(found - offset, expected, atol=1e-4)
    image = str(one_place / "yard/30.png")
    one, other = (
        load(f"local-dir:{result.path}").predict(image, note=lambda text: None).position for result in (there, here)
    )
    np.testing.assert_allclose(one - offset, other, atol=1e-4)
    table = (there.path / "report/predictions.csv").read_text().splitlines()[1].split(",")
    assert any(cell.startswith("57358") and len(cell.partition(".")[2]) > 5 for cell in table)


def test_pixels_normalised_by_the_data(train: Train, one_place: Path) -> None:
    config = read_config(train(normalise_pixels="data", epochs=1).path / "best")["config"]
    ready = job(one_place)
    pixels = ready.cache.batch(ready.train_rows)[0].double() / 255
    np.testing.assert_allclose(config["mean"], pixels.mean((0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(config["std"], pixels.std((0, 2, 3), unbiased=False), rtol=1e-6)


def test_a_mean_of_ones_own_wins(train: Train) -> None:
    result = train(normalise_pixels="data", epochs=1, mean=[0.1, 0.2, 0.3], std=[0.4, 0.5, 0.6])
    config = read_config(result.path / "best")["config"]
    assert (config["mean"], config["std"]) == ([0.1, 0.2, 0.3], [0.4, 0.5, 0.6])


def test_bad_data_left_out_are_recorded_in_run_and_report(
    train: Train, one_place: Path, tmp_path: Path, notes: Notes
) -> None:
    shutil.copytree(one_place, tmp_path / "d")
    (tmp_path / "d/yard/05.png").write_text("hello")
    result = train(data=tmp_path / "d", epochs=1, **{"data.skip_bad": True})
    line = "yard/05.png: not an image"
    assert (result.path / "skipped.txt").read_text().startswith(line)
    assert any("bad data left out as asked: 1 problem " in note for note in notes.notes)
    assert any("bad data left out as asked" in note for note in result.report.notes)
    stored = json.loads((result.path / "report/report.json").read_text())
    assert stored["settings"]["skipped"][0].startswith(line)

    assert len(evaluate(result.path).frames) == 8


# What learns


TWO_PHASES = [{"epochs": 1}, {"train": "position", "epochs": 1}]


def moved_tensors(train: Train, data: Path, **more: object) -> set[str]:
    """What a run has changed of the weights that it started from; the seed draws the same start again."""
    start = {name: tensor.clone() for name, tensor in job(data, **more).model.state_dict().items()}
    end = load(f"local-dir:{train(data=data, selection='last', **more).path}").state_dict()
    assert start.keys() == end.keys()
    return {name for name, tensor in start.items() if not torch.equal(tensor, end[name])}


@pytest.mark.parametrize("more", [{"epochs": 2}, {"phases": TWO_PHASES}])
def test_a_backbone_of_rate_zero_stays_as_it_is_to_the_last_bit(
    train: Train, one_place: Path, more: dict[str, object]
) -> None:
    moved = moved_tensors(train, one_place, **{"optim.backbone_lr": 0, **more})
    assert {name.partition(".")[0] for name in moved} == {"hidden", "position_head", "orientation_head"}


def test_without_a_rate_of_its_own_the_backbone_learns(train: Train, one_place: Path) -> None:
    moved = moved_tensors(train, one_place, epochs=1)
    assert "backbone.net.conv_stem.weight" in moved
    assert "backbone.net.bn1.running_mean" in moved


@pytest.mark.parametrize("train_what", ["all", "position", "orientation"])
def test_a_frozen_backbone_is_in_evaluation_mode_and_nothing_else(one_place: Path, train_what: str) -> None:
    ready = job(one_place, **{"optim.backbone_lr": 0})
    phase = PhaseSettings(train=train_what, epochs=1)
    setup.set_trainable(ready.model, phase, OptimSettings())
    others = {n for n, m in ready.model.named_modules() if m.training and not n.startswith("backbone")}
    setup.set_trainable(ready.model, phase, ready.config.optim)
    backbone = next(module for module in ready.model.modules() if isinstance(module, Backbone))
    assert not any(module.training for module in backbone.modules())
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    assert {n for n, m in ready.model.named_modules() if m.training} == others
    assert any(parameter.requires_grad for parameter in ready.model.parameters())


@pytest.mark.parametrize(("rate", "rates"), [(0, {1e-3}), (None, {1e-3}), (0.02, {1e-3, 0.02})])
def test_rates_of_the_balance(one_place: Path, rate: float | None, rates: set[float]) -> None:
    ready = job(one_place, **{"loss.balance_lr": rate, "optim.lr": 1e-3})
    loss = setup.make_loss(ready, ready.config.plan[0])
    optimiser = setup.make_optimiser(ready, loss)
    assert {group["lr"] for group in optimiser.param_groups} == rates
    learns = any(parameter is loss.balance for group in optimiser.param_groups for parameter in group["params"])
    assert learns == (rate != 0)


def test_a_balance_of_rate_zero_stays_at_its_start(train: Train) -> None:
    run = train(epochs=1, **{"loss.balance_lr": 0, "loss.start": (0.5, -3.0)}).path
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    assert {tuple(line["balance"]) for line in lines if "balance" in line} == {(0.5, -3.0)}


# Loss and optimiser


@pytest.mark.parametrize("unit", ["spread", "metre"])
def test_what_counts_as_one_in_the_position_term(one_place: Path, unit: str) -> None:
    ready = job(one_place, **{"loss.unit": unit})
    position_N3 = ready.dataset.frames.position[ready.train_rows]
    from_mean_N = np.linalg.norm(position_N3 - position_N3.mean(axis=0), axis=1)
    one_m = np.sqrt((from_mean_N**2).mean()) if unit == "spread" else 1.0
    assert unit == "metre" or abs(one_m - 1) > 0.01, "else both are alike"
    true_B3 = torch.from_numpy(position_N3[:2])
    same_B4 = torch.tensor([[1.0, 0.0, 0.0, 0.0]]).expand(2, 4)
    output = PoseOutput(true_B3 + torch.tensor([0.0, 3.0, 4.0]), same_B4, same_B4, None, None)
    terms = setup.make_loss(ready, PhaseSettings(epochs=1))(output, true_B3, same_B4.double())
    assert terms.position.item() == pytest.approx(5.0 / one_m, rel=1e-5)


@pytest.mark.parametrize("normalise", [True, False])
def test_each_axis_counts_by_its_own_deviation(one_place: Path, tmp_path: Path, normalise: bool) -> None:
    """As published: a flat axis too, which else counts as little as a hundredth of the longest one."""
    flat = flattened(one_place, tmp_path / "flat", 0.01)
    ready = job(flat, **{"loss.unit": "deviation", "loss.position": "l1-mean", "normalise_position": normalise})
    position_N3 = ready.dataset.frames.position[ready.train_rows]
    std_3 = position_N3.std(axis=0)
    assert std_3.min() < 0.01 * std_3.max()
    true_B3 = torch.from_numpy(position_N3[:2])
    same_B4 = torch.tensor([[1.0, 0.0, 0.0, 0.0]]).expand(2, 4)
    output = PoseOutput(true_B3 + torch.tensor([0.1, -0.2, 0.3]), same_B4, same_B4, None, None)
    terms = setup.make_loss(ready, PhaseSettings(epochs=1))(output, true_B3, same_B4.double())
    assert terms.position.item() == pytest.approx(float(np.mean([0.1, 0.2, 0.3] / std_3)), rel=1e-5)
    config = ready.model.config
    assert config.position_std == pytest.approx(std_3.tolist() if normalise else (1, 1, 1), rel=1e-9)


def test_settings_of_the_loss_arrive(one_place: Path) -> None:
    """Each differs from its default, and the loss with it: rotation, position, start, and the phase's weights."""
    more = {"loss.rotation": "log", "loss.position": "l1", "loss.start": (0.5, -1.0), "loss.unit": "metre"}
    ready = job(one_place, rotation="quaternion", **more)
    same_B4 = torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    turned_B4 = torch.tensor([[np.cos(0.3), np.sin(0.3), 0.0, 0.0]])  # its logarithm is (0.3, 0, 0)
    output = PoseOutput(torch.tensor([[1.0, 2.0, 0.0]]), turned_B4.float(), turned_B4.float(), None, None)
    given = output, torch.zeros(1, 3), same_B4.double()
    terms = setup.make_loss(ready, PhaseSettings(epochs=1))(*given)
    assert (terms.position.item(), terms.rotation.item()) == pytest.approx((3.0, 0.3), rel=1e-5)
    assert terms.total.item() == pytest.approx(3.0 * np.exp(-0.5) + 0.5 + 0.3 * np.exp(1.0) - 1.0, rel=1e-5)
    fixed = setup.make_loss(ready, PhaseSettings(epochs=1, weights=(10.0, 100.0)))(*given)
    assert fixed.total.item() == pytest.approx(60.0 / 2 + 30.0, rel=1e-5)


def after_a_step_without_gradient(ready: setup.Job) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]:
    """The parameters (all made one) before and after a step with zero gradients, and the balance after it."""
    loss = setup.make_loss(ready, PhaseSettings(epochs=1))
    with torch.no_grad():
        for parameter in (*ready.model.parameters(), *loss.parameters()):
            parameter.fill_(1.0)
            parameter.grad = torch.zeros_like(parameter)
    before = {name: parameter.detach().clone() for name, parameter in ready.model.named_parameters()}
    setup.make_optimiser(ready, loss).step()
    return before, {name: p.detach() for name, p in ready.model.named_parameters()}, loss.balance.detach()


@pytest.mark.parametrize("backbone_lr", [None, 0.05])
def test_adamw_shrinks_matrices_and_nothing_else(one_place: Path, backbone_lr: float | None) -> None:
    more = {"optim.name": "adamw", "optim.lr": 0.1, "optim.weight_decay": 0.5, "optim.backbone_lr": backbone_lr}
    before, after, balance = after_a_step_without_gradient(job(one_place, **more))
    shrunk = {name for name in before if not torch.equal(before[name], after[name])}
    assert shrunk == {name for name, parameter in before.items() if parameter.dim() > 1}
    for name in shrunk:
        rate = backbone_lr if backbone_lr and name.startswith("backbone.") else 0.1
        torch.testing.assert_close(after[name], before[name] * (1 - rate * 0.5))
    assert torch.equal(balance, torch.ones_like(balance))


@pytest.mark.parametrize("decays", [False, True])
def test_adam_shrinks_everything_and_the_balance_where_asked(one_place: Path, decays: bool) -> None:
    """As published: the decay is part of the gradient, of biases and norms too, and of the balance."""
    more = {"optim.name": "adam", "optim.lr": 0.1, "loss.balance_decay": decays}
    before, after, balance = after_a_step_without_gradient(job(one_place, **more))
    assert all((after[name] < before[name]).all() for name in before)
    assert bool((balance < 1).all()) == decays
    assert torch.equal(balance, torch.ones_like(balance)) != decays


def test_scenes_are_equalised(tmp_path: Path) -> None:
    table = small_data.rows("yard") + small_data.rows("hall", 40.0)[16:]
    few = small_data.write(tmp_path / "few", table)
    ready = job(few, "ms-transformer", equalise_scenes=True, selection="test")
    scene_N = ready.dataset.frames.scene[ready.train_rows]
    assert sorted(np.bincount(scene_N)) == [8, 24]
    assert ready.steps_per_epoch == 2 * 24 / 8
    seen = np.concatenate([[scene_N[sample % len(scene_N)] for sample in batch] for batch in ready.order(epoch=1)])
    assert np.bincount(seen).tolist() == [24, 24]
    assert job(few, "ms-transformer", selection="test").steps_per_epoch == 4


def test_an_epoch_of_few_images_has_as_many_as_asked(one_place: Path) -> None:
    plain = job(one_place)
    more = job(one_place, min_epoch_images=2 * len(plain.train_rows) + 1)
    assert more.steps_per_epoch == np.ceil(3 * len(plain.train_rows) / plain.config.batch_size) > plain.steps_per_epoch
    rows = [more.batches(0)[places].rows for places in more.order(epoch=0)]
    counts = np.bincount(np.concatenate(rows), minlength=len(plain.dataset.frames))
    assert set(counts[more.train_rows]) <= {2, 3}  # a lonely last one is left out
    assert job(one_place, min_epoch_images=10).steps_per_epoch == plain.steps_per_epoch, "enough already"


# Precision


class Paced(nn.Module):
    """A model that takes its time in one of the two precisions, and next to none in the other."""

    def __init__(self, config: ModelConfig, slow: str) -> None:
        super().__init__()
        self.config, self.slow = config, slow
        self.weight = nn.Parameter(torch.ones(1, 4))

    def forward(self, images_BCHW: Tensor) -> PoseOutput:
        if ("bf16" if torch.is_autocast_enabled("cpu") else "fp32") == self.slow:
            time.sleep(0.1)
        return PoseOutput(self.weight[:, :3], self.weight, self.weight, None, None)


@pytest.mark.parametrize(("slow", "chosen"), [("fp32", "bf16"), ("bf16", "fp32")])
def test_the_faster_precision_is_chosen(one_place: Path, slow: str, chosen: str) -> None:
    ready = job(one_place)
    ready.model = Paced(ready.model.config, slow)  # type: ignore[assignment]
    assert setup.measured_precision(ready) == chosen


def test_the_measured_precision_is_said_and_kept(train: Train, notes: Notes) -> None:
    run = train(precision="auto", epochs=1).path
    (said,) = [note for note in notes.notes if note.startswith("precision ")]
    assert read_config(run / "best")["training"]["precision"] in said


def test_backbone_has_its_own_rate(one_place: Path) -> None:
    ready = job(one_place, **{"optim.backbone_lr": 1e-6, "optim.lr": 1e-3, "loss.balance_lr": 0.02})
    optimiser = setup.make_optimiser(ready, setup.make_loss(ready, ready.config.plan[0]))
    own = {id(parameter) for parameter in ready.model.backbone.parameters()}  # type: ignore[union-attr]
    assert {group["lr"] for group in optimiser.param_groups} == {1e-6, 1e-3, 0.02}
    slow = [parameter for group in optimiser.param_groups if group["lr"] == 1e-6 for parameter in group["params"]]
    assert {id(parameter) for parameter in slow} == own
    together = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    assert len(together) == len({id(p) for p in together}) == len(list(ready.model.parameters())) + 1


@pytest.mark.parametrize(("model", "told"), [("posenet", 1), ("ms-transformer", 0)])
def test_scenes_that_are_taken_for_one_frame_are_told(two_places: Path, notes: Notes, model: str, told: int) -> None:
    job(two_places, model, notes)
    assert sum("2 scenes for one coordinate frame" in note for note in notes.notes) == told


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


@pytest.mark.parametrize("fit", ["crop", "stretch", "pad"])
@pytest.mark.parametrize("geometry", ["rotate", "crop", "centre"])
def test_an_image_is_prepared_alike_whatever_shapes_share_its_batch(tmp_path: Path, geometry: str, fit: str) -> None:
    data = small_data.write(tmp_path / "data", small_data.rows("yard"))
    for n in range(1, 32, 3):  # upright pictures and wide ones among the others
        name = data / f"yard/{n:02d}.png"
        with Image.open(name) as image:
            image.resize((72, 96) if n % 2 else (128, 72)).save(name)
    ready = job(data, crop=48, selection="last", fit=fit)
    varied = ready.augmentation.model_copy(update={"geometry": geometry})
    frames, config = ready.batches(1), ready.model.config
    batch = frames[list(range(12))]
    assert len({tuple(shape) for shape in ready.cache.shapes(batch.rows.numpy()).tolist()}) == 3
    whole = setup.augmented_batch(ready, batch, varied)
    for n in range(12):
        alone = frames[[n]]
        one = augmented(alone, config, varied)
        torch.testing.assert_close(whole.images[n], one.images[0], atol=1e-5, rtol=0)
        assert torch.equal(whole.quaternion[n], one.quaternion[0])
        assert torch.equal(whole.position[n], one.position[0])
        if geometry == "centre":
            plain = setup.augmented_batch(ready, alone, UNVARIED).images
            torch.testing.assert_close(plain, ready.model.prepare(alone.images), atol=1e-5, rtol=0)
        if geometry == "rotate":  # by nothing: training and evaluation see one camera
            still = ready.augmentation.model_copy(update={"yaw": 0.0, "pitch": 0.0, "roll": 0.0} | UNCOLOURED)
            found = augmented(alone, config, still).images
            torch.testing.assert_close(found, ready.model.prepare(alone.images), atol=2e-3, rtol=0)


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
    assert setup.set_up(config, plan, place, notes).augmentation.geometry == "crop"
    assert any("no intrinsics" in note and "augment.fov_deg" in note for note in notes.notes)
    assert any("and no motion" in note for note in notes.notes)
    assert job(data, **{"augment.fov_deg": 60.0}).augmentation.geometry == "rotate"


def test_no_gpu_here(train: Train) -> None:
    with pytest.raises(UsageError, match=naming("device", "gpu", "auto", "cpu", "cuda")):
        train(device="gpu")
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match=naming("device=cuda")):
            train(device="cuda")


def test_a_mac_trains_on_its_cpu() -> None:
    """accelerate, left to itself, takes Apple's GPU, which holds no float64. In a process: it remembers."""
    text = """
from types import SimpleNamespace

import torch

from posezoo.nn.device import torch_device
from posezoo.training.setup import _accelerator

torch.backends.mps.is_available = torch.backends.mps.is_built = lambda: True
torch.cuda.is_available = lambda: False
print(_accelerator(SimpleNamespace(device="auto", compile=False)).device, torch_device("auto"))
"""
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout.split() == ["cpu", "cpu"], done.stderr


def test_too_few_images(tmp_path: Path, train: Train) -> None:
    table = small_data.rows("yard")
    one = small_data.write(tmp_path / "one", [table[0], table[30]])
    with pytest.raises(DataError, match=naming("1")):
        train(data=one, out=str(tmp_path / "a"))
    with pytest.raises(DataError, match=naming("train")):
        train(data=small_data.write(tmp_path / "none", table[24:]), out=str(tmp_path / "b"))
    with pytest.raises(DataError, match=naming("test")):
        train(data=small_data.write(tmp_path / "untested", table[:24]), out=str(tmp_path / "c"))


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
        setup.set_trainable(model, PhaseSettings(train=branch, epochs=1), OptimSettings())
        learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        assert {name.partition(".")[0] for name in learning} == {f"{branch}_head"}
        assert any(name.startswith("position_head.generated") for name in learning) == generators


# First stages, and turns


def test_frozen_stages_stay_to_the_last_bit_and_nothing_else(train: Train, one_place: Path) -> None:
    """Parameters and batch norms of the first two stages; all others learn."""
    frozen = ("conv_stem.", "bn1.", "blocks.0.", "blocks.1.")
    start = job(one_place).model.state_dict()
    moved = moved_tensors(train, one_place, epochs=1, **{"optim.frozen_stages": 2})
    stayed = {name for name in start if name not in moved}
    expected = {name for name in start if name.startswith(tuple(f"backbone.net.{layer}" for layer in frozen))}
    assert expected <= stayed
    assert not [name for name in stayed - expected if not name.endswith("num_batches_tracked")]
    assert any(name.endswith("running_mean") for name in expected)


def test_frozen_stages_include_tokens_and_position_tables() -> None:
    small = {"pretrained_backbone": False, "resize": 64, "crop": 64}
    model = create_model("posenet", backbone="test_vit.r160_in1k", **small)
    for stages in (2, 0):
        setup.set_trainable(model, PhaseSettings(epochs=1), OptimSettings(frozen_stages=stages))
        learning = {name for name, parameter in model.backbone.net.named_parameters() if parameter.requires_grad}
        first = {"cls_token", "pos_embed", "patch_embed.proj.weight"}
        assert learning & first == (set() if stages else first) and len(learning) > 10


def test_too_many_frozen_stages_leave_no_folder(train: Train, tmp_path: Path) -> None:
    """Else it would hold a run that nothing can resume."""
    with pytest.raises(UsageError):
        train(**{"optim.frozen_stages": 9})
    assert not (tmp_path / "run").exists()


def test_biases_do_not_decay_in_banks_either(two_places: Path) -> None:
    ready = job(two_places, "ms-transformer", shared_heads=False, **{"optim.weight_decay": 0.1})
    optimiser = setup.make_optimiser(ready, setup.make_loss(ready, PhaseSettings(epochs=1)))
    decayed = {id(p) for group in optimiser.param_groups if group["weight_decay"] for p in group["params"]}
    banks = {name: p for name, p in ready.model.named_parameters() if name.endswith("bias") and p.dim() > 1}
    assert banks
    assert not [name for name, p in ready.model.named_parameters() if name.endswith("bias") and id(p) in decayed]


def test_pixels_are_those_of_the_data_where_nothing_else_is_given(one_place: Path) -> None:
    whole = job(one_place, normalise_pixels="data").model.config
    part = job(one_place, normalise_pixels="data", std=[0.2, 0.2, 0.2]).model.config
    assert (part.mean, part.std) == (whole.mean, (0.2, 0.2, 0.2))
    part = job(one_place, normalise_pixels="data", mean=[0.4, 0.4, 0.4]).model.config
    assert (part.mean, part.std) == ((0.4, 0.4, 0.4), whole.std)


def test_cameras_that_no_phase_turned_are_not_said_to_turn(one_place: Path) -> None:
    turned = {"augment.geometry": "rotate", "augment.yaw": 5.0}
    assert job(one_place, **turned).model.config.turns_deg is not None
    still = [{"train": "all", "epochs": 1, "augment": False}]
    assert job(one_place, phases=still, **turned).model.config.turns_deg is None


@pytest.mark.parametrize("train_what", ["all", "position"])
def test_frozen_stages_are_in_evaluation_mode(one_place: Path, train_what: str) -> None:
    ready, phase = job(one_place, **{"optim.frozen_stages": 1}), PhaseSettings(train=train_what, epochs=1)
    setup.set_trainable(ready.model, phase, OptimSettings())
    before = {name for name, module in ready.model.named_modules() if module.training}
    setup.set_trainable(ready.model, phase, ready.config.optim)
    after = {name for name, module in ready.model.named_modules() if module.training}
    early = ("backbone.net.conv_stem", "backbone.net.bn1", "backbone.net.blocks.0")
    assert before - after == {name for name in before if f"{name}.".startswith(tuple(f"{layer}." for layer in early))}
    assert after <= before


def test_more_stages_than_there_are(train: Train) -> None:
    with pytest.raises(UsageError, match=naming("test_efficientnet", 5)) as error:
        train(**{"optim.frozen_stages": 6})
    assert "optim.frozen_stages=5" in error.value.hint


def test_turns_are_those_of_the_training_cameras_and_given_ones_are_kept(one_place: Path) -> None:
    """The small data's cameras stand upright, so that the least is chosen."""
    assert {key: getattr(job(one_place).augmentation, key) for key in ("yaw", "pitch", "roll")} == {
        "yaw": 4.0, "pitch": 2.0, "roll": 2.0
    }  # fmt: skip
    varied = job(one_place, **{"augment.yaw": 9.0, "augment.roll": 0.0}).augmentation
    assert (varied.yaw, varied.pitch, varied.roll) == (9.0, 2.0, 0.0)
    further = job(one_place, **{"augment.yaw": 9.0, "augment.turn_scale": 1.5}).augmentation
    assert (further.yaw, further.pitch, further.roll) == (9.0, 3.0, 3.0)
    assert job(one_place, **{"augment.geometry": "crop"}).augmentation.yaw is None


def test_the_model_knows_the_training_cameras_where_they_turn(one_place: Path, train: Train) -> None:
    ready = job(one_place)
    frames = ready.dataset.frames.select(ready.train_rows)
    width, height = ready.cache.stored_sizes(ready.train_rows).T
    focal = float(np.median(frames.intrinsics[:, 0] / np.minimum(width, height)))
    assert 0.5 < focal < 3
    config = ready.model.config
    assert config.focal == pytest.approx(focal, rel=1e-2)  # resized pictures have whole numbers of pixels
    assert config.turns_deg == (4.0, 2.0, 2.0)
    little = {"augment.pitch": 0.5, "augment.roll": 0}
    assert load(train(epochs=1, **little).path).config.turns_deg == (4.0, 0.5, 0.0)
    for still in ({"augment.geometry": "crop"}, dict.fromkeys(("augment.yaw", "augment.pitch", "augment.roll"), 0)):
        config = job(one_place, **still).model.config
        assert (config.focal, config.turns_deg) == (None, None)


def test_the_assumed_field_of_view_is_a_focal_length(tmp_path: Path) -> None:
    table = [{k: v for k, v in row.items() if k not in ("fx", "fy", "cx", "cy")} for row in small_data.rows("yard")]
    ready = job(small_data.write(tmp_path / "data", table), **{"augment.fov_deg": 60.0})
    width, height = ready.cache.stored_sizes([0])[0]
    expected = width / 2 / np.tan(np.deg2rad(30)) / min(width, height)
    assert ready.model.config.focal == pytest.approx(expected, rel=1e-2)


def test_cameras_move_where_there_are_depths(tmp_path: Path) -> None:
    data = small_data.with_depths(tmp_path / "data", slice(None))
    ready = job(data, selection="last", **{"augment.motion": 0.4})
    assert ready.depths is not None
    batch = ready.batches(1)[[3, 7]]
    names = [Path(ready.dataset.frames.name(row)).stem for row in batch.rows.tolist()]
    expected = [100 / (200 + int(name)) for name in names]
    torch.testing.assert_close(batch.inverse_depth[:, 30, 40], torch.tensor(expected), atol=1e-3, rtol=0)
    # the cameras of the small data stand upright; their heights, along y, deviate by more than 0.4 m / 3
    assert ready.augmentation.lift == 0.4
    assert job(data, **{"augment.motion": 0.4, "augment.lift": 0.1}).augmentation.lift == 0.1
    moved = setup.augmented_batch(ready, batch, ready.augmentation)
    assert ((moved.position - batch.position).norm(dim=-1) > 0.05).all()
    assert ready.inputs_digest != job(data, selection="last").inputs_digest, "a resumed run has the same depths"


def test_depths_of_the_images_themselves(tmp_path: Path, notes: Notes) -> None:
    data = seen_room.write(tmp_path / "room", 12)
    swept = {"augment.motion": "auto", "augment.depth": "sweep", "selection": "last"}
    ready = job(data, observer=notes, **swept)
    assert ready.depths is not None
    position = torch.from_numpy(ready.dataset.frames.position[ready.train_rows])
    assert ready.augmentation.motion == motion_of(position) > 0
    known = (ready.depths.share[ready.train_rows] > 0).sum()
    assert known >= 9
    assert any(f"depths from images: of {known} of 12 training images" in note for note in notes.notes)
    inverse = ready.batches(1)[list(range(12))].inverse_depth
    assert inverse.isfinite().flatten(1).any(1).sum() == known
    inner = inverse[inverse.isfinite()]
    assert 1 / 10 < inner.median() < 1 / 2, "walls of a room of 8 by 5 by 12 m"
    assert ready.inputs_digest != job(data, selection="last").inputs_digest
    assert job(data, **{**swept, "augment.motion": 0.0}).depths is None
    assert job(data, **{**swept, "augment.depth": "maps"}).depths is None


def test_maps_that_come_with_the_data_are_read_where_depths_may_be_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DepthMaps, "sweep", lambda *given: pytest.fail("swept"))
    data = small_data.with_depths(tmp_path / "data", slice(0, 5))
    assert job(data, **{"augment.motion": 0.4, "augment.depth": "sweep"}).depths is not None


def test_training_sees_moved_cameras(tmp_path: Path, train: Train, notes: Notes) -> None:
    data = small_data.with_depths(tmp_path / "data", slice(0, 20))
    for name, motion in (("moved", 0.4), ("again", 0.4), ("still", 0.0)):
        train(data=data, selection="last", out=str(tmp_path / name), **{"augment.motion": motion})
    assert "4 of 24 training images have no depths: their cameras only turn" in notes.notes
    moved, again, still = (weights(tmp_path / name, 6) for name in ("moved", "again", "still"))
    assert changed(moved, still)
    assert not changed(moved, again)


def test_motion_without_depths(tmp_path: Path, one_place: Path) -> None:
    with pytest.raises(UsageError) as error:
        job(one_place, **{"augment.motion": 0.4})
    assert "depth map" in error.value.message
    assert "augment.motion=0" in str(error.value.hint)
    assert "augment.depth=sweep" in str(error.value.hint)
    blind = shutil.copytree(one_place, tmp_path / "blind")
    table = [{**row, "fx": "", "fy": "", "cx": "", "cy": ""} for row in small_data.rows("yard")]
    small_data.write(blind, table)
    with pytest.raises(UsageError) as error:
        job(blind, **{"augment.motion": 0.4, "augment.depth": "sweep", "augment.fov_deg": 60.0})
    assert (error.value.hint, "intrinsics" in error.value.message) == ("augment.motion=0", True)
    with pytest.raises(UsageError) as error:
        job(one_place, **{"augment.motion": 0.4, "augment.geometry": "centre"})
    assert "augment.geometry=rotate" in str(error.value.hint)
    assert job(one_place, **{"augment.motion": "auto", "augment.geometry": "centre"}).depths is None
    assert job(one_place, **{"augment.motion": "auto"}).depths is None
    some = small_data.with_depths(tmp_path / "some", slice(0, 5))
    by_itself = job(some, **{"augment.motion": "auto"})
    position = torch.from_numpy(by_itself.dataset.frames.position[by_itself.train_rows])
    assert by_itself.augmentation.motion == motion_of(position) > 0
    assert by_itself.depths is not None
    ready = job(some, selection="last", **{"augment.motion": 0.4})
    assert ready.batches(1)[list(range(24))].inverse_depth.isfinite().flatten(1).any(1).sum() == 5


def test_motion_that_is_asked_for_is_not_dropped_for_one_image_without_intrinsics(tmp_path: Path) -> None:
    """Random crops would keep the labels of all others, and config.toml would speak of motion."""
    data = small_data.with_depths(tmp_path / "data", slice(None))
    table = list(csv.DictReader((data / "poses.csv").read_text().splitlines()))
    small_data.write(data, [*table[:-9], {**table[-9], "fx": "", "fy": "", "cx": "", "cy": ""}, *table[-8:]])
    with pytest.raises(UsageError) as error:
        job(data, selection="last", **{"augment.motion": 0.4})
    assert "1 training images have no intrinsics" in error.value.message
    assert "augment.fov_deg" in str(error.value.hint)
    crops = job(data, selection="last", **{"augment.motion": "auto"})
    assert (crops.augmentation.geometry, crops.depths) == ("crop", None)
    assert job(data, selection="last", **{"augment.motion": 0.4, "augment.fov_deg": 60.0}).depths is not None


def test_cameras_are_not_lifted_that_do_not_move(tmp_path: Path) -> None:
    data = small_data.with_depths(tmp_path / "data", slice(None))
    with pytest.raises(UsageError) as error:
        job(data, **{"augment.motion": 0.0, "augment.lift": 1.0})
    assert ("augment.lift=1" in error.value.message, error.value.hint) == (True, "augment.motion=METRES")
    assert job(data, **{"augment.motion": 0.0, "augment.lift": 0.0}).depths is None


def test_where_nothing_compiles_no_run_begins(train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*given: object) -> None:
        raise RuntimeError("no compiler found")

    monkeypatch.setattr(torch, "compile", lambda function: fail)
    with pytest.raises(UsageError, match="compile=true"):
        train(compile=True)
    assert not (tmp_path / "run").exists()
