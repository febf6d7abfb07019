"""Killed, stopped and resumed runs are the same, to the last bit, as runs that nothing happened to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import faults
import pytest
import small_data
from naming import naming
from small_runs import Notes

from posezoo.api import resume, train

ARCHITECTURES = ("posenet", "atloc", "ms-transformer")
MODELS = (*ARCHITECTURES, "atloc.plus", *(f"{name}+hyper" for name in ARCHITECTURES))
STEPS = 6  # of the whole run: 2 epochs of 3
MIDDLE, EDGE = "step:kill9:4", "step:kill9:5"  # with checkpoints at step 2, and at 3: the end of an epoch


class Undisturbed:
    """Finished runs that nothing happened to, one for each setting."""

    def __init__(self, folder: Path, data: dict[str, Path]) -> None:
        self.folder, self.data = folder, data
        self.known: dict[str, Path] = {}

    def run(self, model: str, **more: Any) -> Path:
        """The run folder of `model`; workers and checkpoints change nothing."""
        key = f"{model}-{sorted(more.items())}"
        if key not in self.known:
            path = self.folder / str(len(self.known))
            settings = small_data.settings(model, out=str(path), **more)
            train(model, f"folder:{self.data_of(model)}", observer=Notes(), **settings)
            self.known[key] = path
        return self.known[key]

    def data_of(self, model: str) -> Path:
        """Two scenes for the multi-scene model."""
        return self.data["two" if model.startswith("ms") else "one"]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, one_place: Path, two_places: Path) -> Undisturbed:
    return Undisturbed(tmp_path_factory.mktemp("undisturbed"), {"one": one_place, "two": two_places})


@pytest.fixture(autouse=True)
def without_pictures(no_pictures: None) -> None:
    """No test here looks at figures."""


def disturbed(
    undisturbed: Undisturbed, model: str, fault: str, out: Path, code: int, every_steps: int = 2, **more: Any
) -> faults.Ended:
    """Train in a process of its own under `fault`."""
    more = {"out": str(out), "checkpoint.every_steps": every_steps, **more}
    settings = small_data.words(small_data.settings(model, **more))
    data = f"folder:{undisturbed.data_of(model)}"
    ended = faults.own_process(["train", model, "--data", data, *settings, "--format", "quiet"], fault)
    assert ended.code == code, ended
    return ended


def assert_same(run: Path, whole: Path) -> None:
    """Every number of every step and epoch, the best weights and the final poses are the same."""
    assert faults.numbers(run) == faults.numbers(whole)
    assert len([line for line in faults.metrics(run) if "loss" in line]) >= STEPS
    for name in ("best/model.safetensors", "report/predictions.csv"):
        assert faults.sha256(run / name) == faults.sha256(whole / name), name
    assert not list(run.rglob(".*")), "leftovers"


def killed_and_resumed(undisturbed: Undisturbed, model: str, workers: int, fault: str, run: Path) -> None:
    at = 2 if fault == MIDDLE else 3
    faults.assert_nobody_left(disturbed(undisturbed, model, fault, run, -9, at, workers=workers))
    assert faults.metrics(run)[-1]["step"] == int(fault[-1]) - 1
    notes = Notes()
    resume(run, observer=notes)
    assert f"resumed from step {at}" in notes.notes
    assert notes.first == at
    assert_same(run, undisturbed.run(model))


@pytest.mark.parametrize(
    ("model", "workers", "fault"),
    [
        *(("posenet", 0, MIDDLE), ("posenet+hyper", 0, EDGE), ("atloc+hyper", 2, MIDDLE), ("atloc.plus", 0, MIDDLE)),
    ],
)
def test_killed_run_continues_identically(
    undisturbed: Undisturbed, tmp_path: Path, model: str, workers: int, fault: str
) -> None:
    killed_and_resumed(undisturbed, model, workers, fault, tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("fault", [MIDDLE, EDGE], ids=["middle", "edge"])
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("model", MODELS)
def test_killed_run_continues_identically_everywhere(
    undisturbed: Undisturbed, tmp_path: Path, model: str, workers: int, fault: str
) -> None:
    killed_and_resumed(undisturbed, model, workers, fault, tmp_path / "run")


@pytest.mark.parametrize("kind", ["weather", pytest.param("photo", marks=pytest.mark.slow)])
def test_appearance_continues_identically(undisturbed: Undisturbed, tmp_path: Path, kind: str) -> None:
    """Read ahead by two workers, killed and resumed, against one process that nothing happened to."""
    run, more = tmp_path / "run", {"augment.appearance": kind}
    disturbed(undisturbed, "posenet", MIDDLE, run, -9, workers=2, **more)
    resume(run, observer=Notes())
    whole = undisturbed.run("posenet", **more)
    assert_same(run, whole)
    assert faults.numbers(whole) != faults.numbers(undisturbed.run("posenet"))


def test_appearance_without_strength_is_none(undisturbed: Undisturbed) -> None:
    more = {"augment.appearance": "weather", "augment.appearance_strength": 0}
    assert_same(undisturbed.run("posenet", **more), undisturbed.run("posenet"))


PHASES = ({"train": "all", "epochs": 1}, {"train": "position", "epochs": 1}, {"train": "orientation", "epochs": 1})


@pytest.mark.parametrize(("every", "kill"), [(1000, 4), (1000, 7), (3, 4), (2, 6)])
def test_phases_continue_identically(
    undisturbed: Undisturbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: int, kill: int
) -> None:
    """A phase starts with a fresh optimiser, also where it starts by a resume."""
    run = tmp_path / "run"
    toml = "[" + ", ".join(f'{{train = "{p["train"]}", epochs = 1}}' for p in PHASES) + "]"
    disturbed(undisturbed, "posenet", f"step:kill9:{kill}", run, -9, every, phases=toml)
    resume(run, observer=Notes())
    assert_same(run, undisturbed.run("posenet", phases=PHASES))


@pytest.mark.parametrize(
    "place", ["checkpoint.weights", "checkpoint.state", "checkpoint.manifest", "checkpoint.rename"]
)
def test_killed_while_saving(undisturbed: Undisturbed, tmp_path: Path, place: str) -> None:
    run = tmp_path / "run"
    disturbed(undisturbed, "posenet", f"{place}:kill9:2", run, -9)
    good = faults.digests(run / "ckpt" / "step-000000002")
    assert any(name.startswith(".tmp-step-000000004") for name in faults.checkpoints(run))
    notes = Notes()
    resume(run, observer=notes)
    assert notes.first == 2
    assert [note for note in notes.notes if "ignored incomplete checkpoint .tmp-step-000000004" in note]
    assert good != {}
    assert_same(run, undisturbed.run("posenet"))


@pytest.mark.parametrize("kill", [2, 5])
def test_killed_before_the_first_checkpoint(undisturbed: Undisturbed, tmp_path: Path, kill: int) -> None:
    """Also with a best model saved already: the run begins again, and ends the same."""
    run = tmp_path / "run"
    disturbed(undisturbed, "posenet", f"step:kill9:{kill}", run, -9, 1000)
    assert faults.checkpoints(run) == []
    notes = Notes()
    resume(run, observer=notes)
    assert "no checkpoint saved yet: starting again from step 0" in notes.notes
    assert_same(run, undisturbed.run("posenet"))


@pytest.mark.parametrize("fault", ["best:kill9:1", "best:kill9:2"])
def test_killed_after_saving_the_best_model(undisturbed: Undisturbed, tmp_path: Path, fault: str) -> None:
    run = tmp_path / "run"
    ended = faults.own_process(_argv(undisturbed, "posenet", run), fault)
    if ended.code == 0 and fault.endswith(":2"):  # the first comes always
        pytest.skip("the second epoch was no better than the first")
    assert ended.code == -9, ended
    resume(run, observer=Notes())
    assert_same(run, undisturbed.run("posenet"))


def _argv(undisturbed: Undisturbed, model: str, run: Path, **more: Any) -> list[str]:
    settings = small_data.settings(model, **{"out": str(run), "checkpoint.every_steps": 2, **more})
    words = small_data.words(settings)
    return ["train", model, "--data", f"folder:{undisturbed.data_of(model)}", *words, "--format", "quiet"]


@pytest.mark.parametrize(
    ("fault", "code", "workers"),
    [
        ("sigterm", 143, 0),
        ("sigint", 130, 2),
        pytest.param("group-sigterm", 143, 2, marks=pytest.mark.slow),
        ("group-sigint", 130, 2),
        pytest.param("sigterm", 143, 2, marks=pytest.mark.slow),
        pytest.param("sigint", 130, 0, marks=pytest.mark.slow),
        pytest.param("group-sigterm", 143, 0, marks=pytest.mark.slow),
        pytest.param("group-sigint", 130, 0, marks=pytest.mark.slow),
    ],
)
def test_signal_saves_and_loses_nothing(
    undisturbed: Undisturbed, tmp_path: Path, fault: str, code: int, workers: int
) -> None:
    run = Path("run")  # a short path, so that the whole line is seen
    ended = disturbed(undisturbed, "posenet", f"step:{fault}:4", run, code, 1000, workers=workers)
    name = "SIGTERM" if code == 143 else "SIGINT"
    faults.assert_fails([], code, naming(name, "run/ckpt/step-000000004", "posezoo resume run"), ended=ended)
    assert faults.checkpoints(run) == ["step-000000004"]
    notes = Notes()
    resume(run, observer=notes)
    assert notes.first == 4, "no step is lost"
    assert_same(run, undisturbed.run("posenet"))


def test_signal_at_the_last_step_of_an_epoch(undisturbed: Undisturbed, tmp_path: Path) -> None:
    run = Path("run")
    disturbed(undisturbed, "posenet", "best:sigterm:1", run, 143, 1000)
    resume(run, observer=Notes())
    assert_same(run, undisturbed.run("posenet"))


@pytest.mark.parametrize(
    ("fault", "code", "steps"),
    [
        ("report:sigterm", 143, 6),
        ("embed:sigusr1:1", 143, 3),  # the first validation
        pytest.param("baselines:sigint:2", 130, 6, marks=pytest.mark.slow),
        pytest.param("embed:sigterm:3", 143, 6, marks=pytest.mark.slow),  # the report's
        pytest.param("step:sigusr2:4", 143, 4, marks=pytest.mark.slow),
    ],
)
def test_every_stage_listens(undisturbed: Undisturbed, tmp_path: Path, fault: str, code: int, steps: int) -> None:
    """So that `train && export` does not go on; and nothing is lost."""
    run = Path("run")
    ended = disturbed(undisturbed, "posenet", fault, run, code, 1000)
    faults.assert_fails([], code, naming(fault.split(":")[1].upper(), "posezoo resume run"), ended=ended)
    assert faults.checkpoints(run)[-1] == f"step-{steps:09d}"
    resume(run, observer=Notes())
    assert_same(run, undisturbed.run("posenet"))


@pytest.mark.parametrize("moment", ["cache.image", "cache.rename"])
def test_a_signal_while_the_image_cache_is_built(
    one_place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    monkeypatch.setenv("POSEZOO_CACHE", str(tmp_path / "cache"))
    settings = small_data.words(small_data.settings("posenet", out="run"))
    ended = faults.own_process(["train", "posenet", "--data", f"folder:{one_place}", *settings], f"{moment}:sigterm")
    faults.assert_fails([], 143, "SIGTERM.*before step 1", ended=ended)
    assert not list((tmp_path / "cache").rglob(".tmp-*"))
    assert not Path("run").exists()


def test_second_interrupt_stops_at_once(undisturbed: Undisturbed, tmp_path: Path) -> None:
    run = Path("run")
    ended = disturbed(undisturbed, "posenet", "step:sigint-twice:4", run, 130)
    assert "Traceback" not in ended.stderr
    assert "stopped" in ended.stderr
    assert faults.checkpoints(run) == ["step-000000002"], "nothing is saved any more, nothing is lost"
    resume(run, observer=Notes())
    assert_same(run, undisturbed.run("posenet"))


def test_finished_run_is_evaluated_again(undisturbed: Undisturbed) -> None:
    run = undisturbed.run("posenet")
    before = faults.numbers(run), faults.digests(run / "best")["model.safetensors"]
    for _ in range(2):
        result = resume(run, observer=Notes())
        assert result.path == run
        assert (faults.numbers(run), faults.digests(run / "best")["model.safetensors"]) == before


def test_workers_and_checkpoints_change_nothing(undisturbed: Undisturbed) -> None:
    whole = undisturbed.run("posenet")
    assert_same(undisturbed.run("posenet", **{"workers": 2, "checkpoint.every_steps": 1}), whole)
