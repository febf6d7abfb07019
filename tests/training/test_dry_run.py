"""Models that break the contract: the dry run names the plugin before step 1, and the process is as it was."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import faults
import hostile
import pytest
import small_data
import torch
from naming import naming
from small_runs import Notes

from posezoo import api
from posezoo.catalogue import plugins

REASONS = {
    "no-model": "no-model.*PoseModel",
    "no-config": "no-config.*ModelConfig",
    "not-there": "not-there.*AttributeError",
    "empty": "the model has no parameters",
    "raising-init": "raising-init.*ValueError: no such width",
    "exiting-init": "exiting-init.*SystemExit: 3",
    "seeding-init": "building changed numpy's random state, the working folder of the process",
    "six-numbers": r"rotation.*\(2, 6\).*\(2, 4\)",
    "plain-heads": "position_head.*Linear.*posezoo.nn.heads.Head",
    "nan-weight": r"stem\.weight\b.*finite",
    "non-leaf": r"stem\.weight\b.*leaf",
    "wrong-width": r"Features\.image\b.*\(2, 8\).*\(2, 9\)",
    "nan": r"Features\.position\b.*finite",
    "no-features": r"encode\b.*Tensor.*Features",
    "one-pose": r"Features\.position\b.*\(1, 8\).*\(2, 8\)",
    "raising": "RuntimeError: tables do not fit",
    "exiting": "SystemExit: 5",
    "counting": r"\bcalls\b",
    "seeding": "forward in eval mode changed torch's random state of the process",
    "drawing": "changed Python's random state, numpy's random state of the process",
    "moving": "changed the working folder of the process",
    "threads": "changed the number of threads of the process",
    "dtype": "changed the default dtype of the process",
    "gradients": "changed the grad mode of the process",
    "signals": "changed signal handlers of the process",
}


LATE = {  # what they were doing, the step, the checkpoint that was saved
    "late": ("forward at step 3", 2),
    "late-backward": ("backward at step 3", 2),
    "late-validation": ("validating after epoch 1 (step 3)", 3),
    "late-report": ("evaluating, after training", 6),
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hostile.install_models(tmp_path_factory.mktemp("site"))


@pytest.fixture
def zoo_of_models(site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The plugin pz-zoo, found as if it were installed."""
    monkeypatch.syspath_prepend(str(site))
    plugins.manager.cache_clear()
    yield
    plugins.manager.cache_clear()


def arguments(name: str, data: Path, out: str = "run") -> list[str]:
    # these models have no backbone of the zoo's, and so none to choose
    settings = {key: value for key, value in small_data.FAST.items() if "backbone" not in key}
    words = small_data.words({**settings, "rotation": "quaternion", "out": out})
    return ["train", name, "--data", f"folder:{data}", "--format", "quiet", *words]


def process() -> list[object]:
    """What belongs to everybody in this process; generators are in tests/test_contract.py, first imports draw too."""
    torch_state = torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled()
    return [*torch_state, Path.cwd(), signal.getsignal(signal.SIGUSR1)]


def test_every_hostile_model_is_in_the_table() -> None:
    assert set(REASONS) | {"good", *LATE} == set(hostile.CLASSES)


@pytest.mark.usefixtures("zoo_of_models")
@pytest.mark.parametrize("name", REASONS)
def test_a_model_that_breaks_the_contract(name: str, one_place: Path) -> None:
    before = process()
    ended = faults.assert_fails(arguments(name, one_place), 7, REASONS[name])
    assert "plugin zoo (pz-zoo 1.0)" in ended.stderr
    assert process() == before
    assert not Path("run").exists()


@pytest.mark.usefixtures("zoo_of_models")
def test_a_model_that_keeps_it_trains(one_place: Path, no_pictures: None) -> None:
    ended = faults.in_process([*arguments("good+hyper", one_place), "hyper.rank=4"])
    assert ended.code == 0, ended


@pytest.mark.usefixtures("zoo_of_models")
@pytest.mark.parametrize("setting", [{"optim.frozen_stages": 1}, {"optim.backbone_lr": 0.0}, {}], ids=str)
def test_settings_of_a_backbone_that_is_not_there(
    setting: dict[str, object], one_place: Path, no_pictures: None, notes: Notes
) -> None:
    """Recipes freeze first stages, whatever the model: it is said."""
    for name in ("good", "posenet"):
        given = {key: value for key, value in small_data.settings("posenet").items() if key in small_data.FAST}
        if name == "good":
            given = {key: value for key, value in given.items() if "backbone" not in key} | {"rotation": "quaternion"}
        api.train(name, f"folder:{one_place}", observer=notes, **{**given, "out": name, "epochs": 1, **setting})
        told = [note for note in notes.notes if "has no backbone: optim.frozen_stages" in note]
        assert len(told) == bool(setting), "of the first alone"


@pytest.mark.usefixtures("zoo_of_models")
@pytest.mark.parametrize("name", LATE)
def test_a_model_that_raises_in_training_leaves_a_checkpoint(name: str, one_place: Path, no_pictures: None) -> None:
    doing, step = LATE[name]
    said = naming("zoo", "pz-zoo 1.0", doing, "KeyError: 'row 17'", "posezoo resume")
    ended = faults.assert_fails(arguments(name, one_place), 7, said)
    assert faults.checkpoints(Path("run"))[-1] == f"step-{step:09d}"
    assert f"step-{step:09d}" in ended.stderr or name == "late-report", "saved long before"
    (crash,) = Path("run").glob("crash-*.txt")
    assert "row 17" in crash.read_text()
    ended = faults.in_process(["resume", "run", "--format", "quiet"])
    assert ended.code == 0, ended
    steps = [line["step"] for line in faults.metrics(Path("run")) if "loss" in line]
    assert steps == [1, 2, 3, 4, 5, 6]
    assert len([line for line in faults.metrics(Path("run")) if "score" in line]) == 2


def test_the_same_from_the_shell(site: Path, one_place: Path) -> None:
    done = hostile.posezoo(*arguments("six-numbers", one_place), path=site)
    hostile.assert_fails(done, 7, "pz-zoo 1.0", "(2, 6)", "(2, 4)")
