"""The running average of the weights: its formula, what is validated and saved, and a resumed run with it."""

from __future__ import annotations

import math
from pathlib import Path

import fault_points
import faults
import numpy as np
import pytest
import torch
from small_models import small
from small_runs import Notes, Train, changed, job, weights

from posezoo.api import resume
from posezoo.base.errors import Interrupted
from posezoo.training import setup
from posezoo.training.average import averaged, model_of
from posezoo.zoo.saved import load


def test_the_formula_by_numpy() -> None:
    """The first update copies; then a += (1 - d) (w - a) with d = min(decay, (1 + n) / (10 + n))."""
    model = small("posenet")
    average = averaged(model, 0.25)
    bias = model.position_head.layers[0].bias  # type: ignore[union-attr]
    statistic = next(value for name, value in model.named_buffers() if name.endswith("running_mean"))
    counter = next(value for name, value in model.named_buffers() if name.endswith("num_batches_tracked"))
    expected: dict[str, np.ndarray] = {}
    for n in range(6):
        with torch.no_grad():
            bias.copy_(torch.tensor([n, -n, n * n], dtype=torch.float32))
            statistic.fill_(10.0 * n)
            counter.fill_(n)
        average.update_parameters(model)
        decay = min(0.25, (1 + n) / (10 + n)) if n else 0.0
        for name, value in (("bias", bias), ("statistic", statistic)):
            value_N = value.detach().double().numpy()
            expected[name] = decay * expected.get(name, value_N) + (1 - decay) * value_N
    own = dict(
        zip(
            (*dict(model.named_parameters()), *dict(model.named_buffers())),
            (*average.module.parameters(), *average.module.buffers()),
            strict=True,
        )
    )
    names = {id(value): name for name, value in (*model.named_parameters(), *model.named_buffers())}
    np.testing.assert_allclose(own[names[id(bias)]].detach().numpy(), expected["bias"], rtol=1e-6)
    np.testing.assert_allclose(own[names[id(statistic)]].numpy(), expected["statistic"], rtol=1e-6)
    assert int(own[names[id(counter)]]) == 5, "counters are copied"
    assert model_of(average) is average.module
    assert bias.tolist() == [5, -5, 25], "the model itself learns on"


def test_what_does_not_change_is_kept_to_the_last_bit() -> None:
    model = small("posenet+anchors", anchors={"count": 5})
    average = averaged(model, 0.9)
    for _ in range(5):
        average.update_parameters(model)
    assert changed(model.state_dict(), model_of(average).state_dict()) == set()


def test_what_is_infinite_is_as_in_the_model() -> None:
    """A mask of attention stays, a running minimum that began at infinity becomes the model's; the rest is averaged."""
    model = small("posenet")
    mask_LL = torch.full((3, 3), -math.inf).triu(1)
    model.register_buffer("mask", mask_LL.clone(), persistent=False)
    model.register_buffer("least", torch.tensor([math.inf, 2.0]))
    average = averaged(model, 0.25)
    found = dict(model_of(average).named_buffers())
    average.update_parameters(model)
    average.update_parameters(model)
    assert torch.equal(found["mask"], mask_LL)
    model.get_buffer("least").copy_(torch.tensor([5.0, 6.0]))
    average.update_parameters(model)
    assert torch.equal(found["mask"], mask_LL)
    torch.testing.assert_close(found["least"], torch.tensor([5.0, 0.75 * 6 + 0.25 * 2]))


def test_the_average_is_saved_and_the_model_goes_on(train: Train) -> None:
    keep = {"checkpoint.every_steps": 1, "checkpoint.keep": 100, "selection": "last", "epochs": 2}
    run = train(**keep, **{"optim.average": 0.5}).path
    steps = [weights(run, step) for step in range(1, 7)]
    found = load(f"local-dir:{run}").state_dict()
    name = "position_head.layers.0.weight"
    value = steps[0][name].double()
    for n in range(1, 6):
        decay = min(0.5, (1 + n) / (10 + n))
        value = decay * value + (1 - decay) * steps[n][name].double()
    torch.testing.assert_close(found[name].double(), value, rtol=1e-6, atol=1e-7)
    assert not torch.equal(found[name], steps[-1][name])


def test_without_it_the_last_weights_are_saved(train: Train, one_place: Path) -> None:
    run = train(selection="last", epochs=1, **{"checkpoint.every_steps": 1}).path
    assert changed(weights(run, 3), load(f"local-dir:{run}").state_dict()) == set()
    ready = job(one_place)
    assert ready.judged is ready.model


@pytest.mark.parametrize("kill", [2, 4])
def test_a_resumed_run_goes_on_with_its_average(train: Train, tmp_path: Path, kill: int) -> None:
    """Stopped at a step; phases that start from the best epoch start with a new average."""
    more = {"optim.average": 0.9, "phases": [{"epochs": 1}, {"train": "position", "epochs": 1}], "epochs": 2}
    whole = train(out=str(tmp_path / "whole"), **more).path
    with fault_points.at(f"step:sigterm:{kill}"), pytest.raises(Interrupted):
        train(out=str(tmp_path / "cut"), **more)
    cut = resume(tmp_path / "cut", observer=Notes()).path
    assert faults.numbers(cut) == faults.numbers(whole)
    for name in ("best/model.safetensors", "report/predictions.csv"):
        assert faults.sha256(cut / name) == faults.sha256(whole / name), name


def test_what_is_validated_is_the_average(train: Train, tmp_path: Path) -> None:
    plain = train(out=str(tmp_path / "plain")).path
    average = train(out=str(tmp_path / "average"), **{"optim.average": 0.999}).path
    steps = [[line["loss"] for line in faults.metrics(run) if "loss" in line] for run in (plain, average)]
    assert steps[0] == steps[1], "training is the same"
    scores = [[line["score"] for line in faults.metrics(run) if "score" in line] for run in (plain, average)]
    assert scores[0] != scores[1]


def test_what_is_judged(one_place: Path) -> None:
    ready = job(one_place, **{"optim.average": 0.9})
    assert isinstance(ready, setup.Job)
    assert ready.judged is ready.model, "no average before training starts"
    ready.average = averaged(ready.model, 0.9)
    assert ready.judged is model_of(ready.average)
