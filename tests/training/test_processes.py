"""Several processes are one run: the numbers of one process, one word, one end.

Real processes that meet over gloo on this machine, told of each other as torchrun tells them.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import faults
import numpy as np
import pytest
import small_data
from small_runs import Notes, Train

from posezoo.api import resume
from posezoo.training import processes
from posezoo.training.again import evaluate
from posezoo.training.phase import step_seed

STILL = {f"augment.{name}": 0 for name in ("brightness", "contrast", "saturation", "hue")}


def arguments(data: Path, **more: object) -> list[str]:
    settings = small_data.words(small_data.settings("posenet", out="run", **more))
    return ["train", "posenet", "--data", f"folder:{data}", *settings, "--format", "quiet"]


def test_two_processes_learn_what_one_learns(one_place: Path, train: Train, tmp_path: Path) -> None:
    """Half a batch each and gradients averaged: the head's and the balance's. A step of Adam does not grow with the
    gradient, and would hide a sum, but for an eps beside which the gradient is nothing: that makes it plain descent.
    The backbone is frozen, because batch norm sees other batches.
    """
    plain = {"optim.name": "adam", "optim.eps": 1e4, "optim.lr": 1e4, "loss.balance_lr": 1e4, "optim.clip": 0.5}
    more = {
        "phases": '[{train = "position", epochs = 1, augment = true}]',
        "optim.weight_decay": 0,
        "batch_size": 6,
        "optim.schedule": "constant",
        "optim.warmup_epochs": 0,
        "optim.betas": "[0.0, 0.0]",
        **{"augment.geometry": "centre", **STILL, **plain},
    }
    ended = faults.several_processes(arguments(one_place, **more), ["", ""])
    assert [end.code for end in ended] == [0, 0], ended
    more |= {"phases": [{"train": "position", "epochs": 1, "augment": True}], "optim.betas": (0.0, 0.0)}
    together, alone = faults.metrics(Path("run")), faults.metrics(train(out=str(tmp_path / "alone"), **more).path)
    steps = [[line["balance"] for line in run if "loss" in line] for run in (together, alone)]
    assert len(steps[0]) == 3, "only one of them writes"
    assert np.abs(steps[1][-1]).max() > 0.1, "the balance moves far"
    np.testing.assert_allclose(*steps, rtol=1e-3, atol=1e-4)
    scores = [[line["median_position_m"] for line in run if "score" in line] for run in (together, alone)]
    np.testing.assert_allclose(*scores, rtol=1e-3)


PLAIN = {
    "optim.name": "adam",
    "optim.eps": 1e4,
    "optim.lr": 1e3,
    "loss.balance_lr": 1e3,
    "optim.clip": float("inf"),
    "optim.weight_decay": 0,
    "optim.schedule": "constant",
    "optim.warmup_epochs": 0,
    "optim.betas": "[0.0, 0.0]",
    "dropout": 0.0,
    "augment.geometry": "centre",
    "epochs": 1,
    **STILL,
}


@pytest.mark.parametrize(
    ("count", "size"), [(2, 7), pytest.param(3, 8, marks=pytest.mark.slow)], ids=["2-of-7", "3-of-8"]
)
def test_uneven_parts_are_weighted_and_batch_norms_see_the_whole(
    one_place: Path, train: Train, tmp_path: Path, count: int, size: int
) -> None:
    """Everything learns, batch norms too, and numbers are those of the batch. By plain descent, as above."""
    ended = faults.several_processes(arguments(one_place, batch_size=size, **PLAIN), [""] * count)
    assert [end.code for end in ended] == [0] * count, ended
    more = {**PLAIN, "optim.betas": (0.0, 0.0)}
    alone = faults.metrics(train(batch_size=size, out=str(tmp_path / "alone"), **more).path)
    steps = [[line for line in run if "loss" in line] for run in (faults.metrics(Path("run")), alone)]
    assert len(steps[0]) >= 2
    for number, (both, one) in enumerate(zip(*steps, strict=False)):
        for key in ("loss", "position_m", "orientation_deg", "position_loss"):
            assert both[key] == pytest.approx(one[key], rel=1e-4 if number else 1e-6), (number, key)
    assert steps[0][1]["loss"] != pytest.approx(steps[0][0]["loss"], rel=1e-2), "it learns"
    if count == 2:  # of three, the last batch is left out
        scores = [[line["score"] for line in run if "score" in line] for run in (faults.metrics(Path("run")), alone)]
        assert scores[0] == pytest.approx(scores[1], rel=1e-3)


def test_all_validate_with_the_batch_norms_that_are_saved(one_place: Path) -> None:
    """Each process's batch norms have seen other images; the frames are shared, and the main process's are saved."""
    apart = {"sync_batch_norm": False, "selection": "test", "optim.lr": 1e-2, "batch_norm_momentum": 0.9}
    ended = faults.several_processes(arguments(one_place, batch_size=4, epochs=1, **apart, **STILL), ["", ""])
    assert [end.code for end in ended] == [0, 0], ended
    (line,) = (line for line in faults.metrics(Path("run")) if "score" in line)
    saved = evaluate(Path("run"))
    for key, errors in zip(("mean_position_m", "mean_orientation_deg"), saved.errors[saved.model], strict=True):
        assert errors.mean() == pytest.approx(line[key], rel=1e-5), key


def test_more_processes_than_images_for_them(one_place: Path) -> None:
    ended = faults.several_processes(arguments(one_place, batch_size=3), ["", ""])
    assert [end.code for end in ended] == [2, 2], ended
    (line,) = told(ended)
    assert "batch_size=4" in line
    assert not Path("run").exists()


@pytest.mark.parametrize(
    ("told", "name", "code"),
    [
        (1, "sigint", 130),
        pytest.param(0, "sigterm", 143, marks=pytest.mark.slow),
        pytest.param(1, "sigusr2", 143, marks=pytest.mark.slow),
    ],
)
def test_one_is_told_to_stop_and_all_stop(one_place: Path, told: int, name: str, code: int) -> None:
    fault = ["", ""]
    fault[told] = f"step:{name}:2"
    ended = faults.several_processes(arguments(one_place), fault)
    assert [end.code for end in ended] == [code, code], ended
    faults.assert_fails([], code, name.upper(), ended=ended[0])
    assert ended[1].stderr == "", "the main process alone prints"
    run = Path("run")
    assert faults.checkpoints(run) == ["step-000000002"]
    assert [line["step"] for line in faults.metrics(run)] == [1, 2]
    notes = Notes()
    resume(run, observer=notes)
    assert notes.first == 2


def told(ended: list[faults.Ended]) -> list[str]:
    """The error lines of all processes."""
    return [line for end in ended for line in end.stderr.splitlines() if line.startswith("posezoo: error:")]


@pytest.mark.parametrize(
    ("fault", "codes", "word"),
    [
        (["", "step:kill9:3"], [10, -9], "lost"),
        pytest.param(["step:nan:3", ""], [8, 8], "not finite at step 3", marks=pytest.mark.slow),
        pytest.param(["", "step:nan:3"], [8, 8], "not finite at step 3", marks=pytest.mark.slow),
        pytest.param(["checkpoint.state:full:2", ""], [6, 6], "disk full", marks=pytest.mark.slow),
        pytest.param(["", "step:raise:3"], [1, 1], "RuntimeError", marks=pytest.mark.slow),
        pytest.param(["", "embed:raise:1"], [1, 1], "RuntimeError", marks=pytest.mark.slow),
        pytest.param(["cache.rename:full", ""], [6, 6], "image cache", marks=pytest.mark.slow),
        pytest.param(["", "step:kill9:3", ""], [10, -9, 10], "lost", marks=pytest.mark.slow),
    ],
    ids=lambda value: "+".join(map(str, value)) if isinstance(value, list) else str(value)[:8],
)
def test_what_ends_one_ends_all(
    one_place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: list[str], codes: list[int], word: str
) -> None:
    if "cache" in fault[0]:
        monkeypatch.setenv("POSEZOO_CACHE", str(tmp_path / "cache"))
    words = arguments(one_place, batch_size=8, **{"checkpoint.every_steps": 2})
    ended = faults.several_processes(words, fault)
    assert [end.code for end in ended] == codes, ended
    lines = told(ended)
    assert len(lines) == 1, ended
    assert word in lines[0]
    if "cache" in fault[0]:
        return
    assert bool(list(Path("run").glob("crash-*"))) == (1 in codes), "a lost process is no bug"
    assert faults.checkpoints(Path("run"))[0] == "step-000000002"
    notes = Notes()
    resume("run", observer=notes)
    assert notes.first == 2 or "embed" in fault[1]
    assert any("processes 2 -> 1" in note or "processes 3 -> 1" in note for note in notes.notes)


@pytest.mark.slow
@pytest.mark.parametrize("whose", [0, 1])
def test_a_data_worker_of_one_of_them_dies(one_place: Path, whose: int) -> None:
    """The other is in an exchange of gradients then, or on its way there, and ends with it."""
    words = arguments(one_place, workers=1, batch_size=4, **{"checkpoint.every_steps": 2})
    whole = faults.several_processes([w.replace("out=run", "out=whole") for w in words], ["", ""])
    assert [end.code for end in whole] == [0, 0], whole
    fault = ["", ""]
    fault[whose] = "step:workers:5"
    ended = faults.several_processes(words, fault)
    heard_at = time.time()
    assert [end.code for end in ended] == [6, 6], ended
    (line,) = told(ended)
    assert re.search(rf"data worker of process {whose} .* \(worker \d+ was killed by SIGKILL\)", line)
    assert ("checkpoint saved" in line) == (whose == 0), "the main process alone saves"
    assert ended[1 - whose].stderr == "", "the other prints nothing"
    assert "bug" not in ended[whose].stderr
    assert heard_at - Path("run/metrics.jsonl").stat().st_mtime < 15
    resumed = faults.several_processes(["resume", "run", "--format", "quiet"], ["", ""])
    assert [end.code for end in resumed] == [0, 0], resumed
    assert faults.numbers(Path("run")) == faults.numbers(Path("whole"))


@pytest.mark.slow
def test_each_process_draws_its_own_numbers(one_place: Path) -> None:
    """Dropout: a resumed run draws the same again; the processes' draws differ."""
    assert len({step_seed(0, step, rank) for step in (1, 2) for rank in (0, 1, 2)}) == 6
    words = arguments(one_place, batch_size=7, dropout=0.5, epochs=1)
    whole = faults.several_processes([w.replace("out=run", "out=whole") for w in words], ["", ""])
    assert [end.code for end in whole] == [0, 0], whole
    ended = faults.several_processes(words, ["", "step:sigterm:2"])
    assert [end.code for end in ended] == [143, 143], ended
    ended = faults.several_processes(["resume", "run", "--format", "quiet"], ["", ""])
    assert [end.code for end in ended] == [0, 0], ended
    assert faults.numbers(Path("run")) == faults.numbers(Path("whole"))


@pytest.mark.slow
def test_killed_inside_a_save_and_resumed_together(one_place: Path) -> None:
    """The main process alone removes what is left of it, and gives the checkpoint to the others."""
    words = arguments(one_place, **{"checkpoint.every_steps": 2})
    whole = faults.several_processes([w.replace("out=run", "out=whole") for w in words], ["", ""])
    assert [end.code for end in whole] == [0, 0], whole
    ended = faults.several_processes(words, ["checkpoint.manifest:kill9:2", ""])
    assert [end.code for end in ended] == [-9, 10], ended
    ended = faults.several_processes(["resume", "run", "--format", "quiet"], ["", ""])
    assert [end.code for end in ended] == [0, 0], ended
    assert faults.numbers(Path("run")) == faults.numbers(Path("whole"))
    assert faults.sha256(Path("run/best/model.safetensors")) == faults.sha256(Path("whole/best/model.safetensors"))


def by_torchrun(words: list[str], hurt: str = "", *options: str) -> subprocess.CompletedProcess[str]:
    """The command line in two processes that torchrun starts, again if one is killed."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *options]
    script = str(Path(__file__).parent.parent / "hurt.py")
    env = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "HURT": hurt, "OMP_NUM_THREADS": "1"}
    return subprocess.run([*launch, script, *words], capture_output=True, text=True, timeout=240, env=env)


def test_started_again_a_run_goes_on(train: Train, notes: Notes, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one of several processes that torchrun has started a second time; below it does so itself."""
    first = train()
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    monkeypatch.setattr(processes.Processes, "restarted", property(lambda one: True))
    again = train()
    assert again.path == first.path
    assert again.report.headline == first.report.headline
    assert any("started again by torchrun (1)" in note for note in notes.notes)


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_torchrun_starts_it_again(one_place: Path, rank: int) -> None:
    """A killed process, main or not: at the first try the run goes on from its newest checkpoint, without out= too."""
    words = arguments(one_place, **{"checkpoint.every_steps": 2})
    assert by_torchrun([w.replace("out=run", "out=whole") for w in words]).returncode == 0
    words = [word for word in words if rank or not word.startswith("out=")]
    done = by_torchrun(words, f"{rank}=step:kill9:4", "--max-restarts", "1")
    assert done.returncode == 0, done.stderr
    assert "bug" not in done.stderr
    (run,) = [Path("run")] if rank else Path("outputs").glob("*/*/*")
    assert faults.numbers(run) == faults.numbers(Path("whole"))
    assert faults.sha256(run / "best/model.safetensors") == faults.sha256(Path("whole/best/model.safetensors"))


@pytest.mark.slow
def test_a_run_that_was_warned_is_not_started_again(one_place: Path) -> None:
    """torchrun takes the end of its processes for a failure; another would use up the minutes before Slurm's end."""
    words = arguments(one_place)
    done = by_torchrun(words, "1=step:sigusr1:2", "--max-restarts", "1")
    assert done.returncode == 1, done.stderr
    assert "stopped by SIGUSR1 before torchrun started it again" in done.stderr
    assert faults.checkpoints(Path("run")) == ["step-000000002"]
    assert [line["step"] for line in faults.metrics(Path("run"))] == [1, 2]


@pytest.mark.slow
def test_started_by_torchrun(one_place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    words = arguments(one_place, epochs=1, batch_size=6)
    done = subprocess.run([*launch, "-m", "posezoo", *words], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done
    assert [line["step"] for line in faults.metrics(tmp_path / "run") if "loss" in line] == [1, 2, 3]
    assert (tmp_path / "run" / "report" / "report.json").exists()
    assert "LOCAL_RANK" not in os.environ


def test_alone_everything_is_what_it_gives() -> None:
    one = processes.alone()
    assert (one.rank, one.world, one.is_main, one.restarted) == (0, 1, True, False)
    assert one.told(lambda: 5) == 5
    assert one.told_bytes(lambda: b"xy") == b"xy"
    assert one.largest(3, -1) == [3, -1]
    assert one.gathered("x") == ["x"]
    assert one.summed(np.arange(3)).tolist() == [0, 1, 2]
    assert one.remembered("run") == ""
