"""How much of training is computing: what is counted as what."""

from __future__ import annotations

import time
from collections.abc import Generator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import faults
import pytest
import small_data
import torch
from command_line import ok, strict_json
from naming import naming

from posezoo.base.errors import UsageError
from posezoo.base.observe import Observer
from posezoo.bench import training
from posezoo.training.phase import Given, Phase
from posezoo.training.setup import Job


@pytest.fixture(scope="module")
def one_place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_data.one_place(tmp_path_factory.mktemp("place"))


@pytest.fixture(autouse=True)
def two_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "ROUNDS", 2)


def measured(place: Path, **more: Any) -> dict[str, Any]:
    overrides = {**small_data.FAST, **small_data.SLIM["posenet"], "workers": 0, **more}
    (row,) = training.training(["posenet"], f"folder:{place}", "cpu", overrides=overrides, steps=4)
    return row


def test_a_loader_that_dawdles_is_seen(one_place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = measured(one_place)
    assert (quick["model"], quick["device"], quick["batch"]) == ("posenet", "cpu", small_data.FAST["batch_size"])
    assert quick["training (images/s)"] > 0 and quick["loader wait (%)"] < 50
    assert quick["share (%)"] == pytest.approx(
        100 * quick["training (images/s)"] / quick["compute alone (images/s)"], rel=0.3
    )
    started = training._batches

    def slow(phase: Phase) -> Generator[Given, None, None]:
        for given in started(phase):
            time.sleep(0.5)
            yield given

    monkeypatch.setattr(training, "_batches", slow)
    found = measured(one_place)
    assert found["loader wait (%)"] > 50 > found["share (%)"]


def test_a_batch_larger_than_the_data_is_all_of_them(one_place: Path) -> None:
    """Every epoch is one batch then, smaller than asked for."""
    assert measured(one_place, batch_size=1000)["training (images/s)"] > 0


def test_each_row_has_the_peak_memory_of_its_own_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a counter in the place of the GPU's: a model that needs 8 GB, then one of 1 GB."""
    peak = [0.0]
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: peak[0])
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: peak.__setitem__(0, 0.0))
    given = SimpleNamespace(batch=SimpleNamespace(rows=[0]))
    config = SimpleNamespace(precision="fp32", batch_size=1)
    job = SimpleNamespace(accelerator=SimpleNamespace(device=torch.device("cuda")), config=config)
    monkeypatch.setattr(training, "learn_place", lambda *_: None)
    monkeypatch.setattr(training, "_batches", lambda phase: (given for _ in range(1000)))
    monkeypatch.setattr(training, "_synthetic", lambda given: given)
    monkeypatch.setattr(training, "Phase", lambda job, number: phase)
    found = []
    for need in (8e9, 1e9):
        begin = partial(lambda need: peak.__setitem__(0, max(peak[0], need)), need)
        phase = SimpleNamespace(begin=begin, step=lambda *_: None, read=lambda: time.sleep(1e-4))
        found.append(training._measured(cast(Job, job), Observer(), 1)["GPU memory (GB)"])
    assert found == [8, 1]


def test_from_the_command_line(one_place: Path) -> None:
    words = small_data.words({**small_data.FAST, **small_data.SLIM["posenet"], "workers": 0})
    argv = ["bench", "speed", "posenet", "--device", "cpu", "--data", f"folder:{one_place}", *words]
    found = strict_json(ok(*argv, "--format", "json"))
    row = found[0] if isinstance(found, list) else found
    assert row["model"] == "posenet" and row["wanted"] == "90 and more"
    faults.assert_fails(["bench", "speed", "posenet", "epochs=3"], 2, naming("--device"))


def test_a_device_that_is_not_there(one_place: Path) -> None:
    with pytest.raises(UsageError):
        training.training(["posenet"], f"folder:{one_place}", "tpu")
