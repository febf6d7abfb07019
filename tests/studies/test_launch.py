"""Jobs: submitit's own executor for this machine, with real processes."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("submitit", reason="extra: cluster")

from posezoo.base.errors import DataError, FailedElsewhere, Interrupted, ResourceError, UsageError
from posezoo.studies import launch as launching
from posezoo.studies.launch import Work, launch


def write(path: str) -> None:
    """A job."""
    Path(path).write_text(str(os.getpid()))


def refuse(path: str) -> None:
    """A job that finds bad data."""
    raise DataError(f"{path}: bad", "look")


def vanish(path: str) -> None:
    """A job that is killed."""
    os.kill(os.getpid(), signal.SIGKILL)


def fail_elsewhere(path: str) -> None:
    """A job of several processes, another of which found bad data."""
    raise FailedElsewhere("process 1 failed: bad data", 3)


def wait(path: str) -> None:
    """A job that saves when it is asked to stop."""

    def stop(*_: object) -> None:
        Path(path).write_text("saved")
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, stop)
    Path(path).with_suffix(".begun").touch()
    time.sleep(60)


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs import this module by its name, tests.studies.test_launch, wherever posezoo is installed."""
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    )


def work(call: object, *names: Path) -> list[Work]:
    return [Work(path.name, call, (str(path),)) for path in names]  # type: ignore[arg-type]


def test_every_job_is_done(tmp_path: Path) -> None:
    notes: list[str] = []
    launch(work(write, tmp_path / "a", tmp_path / "b"), tmp_path / "jobs", {}, notes.append, here=True)
    assert len({(tmp_path / name).read_text() for name in "ab"} | {str(os.getpid())}) == 3, "processes of their own"
    assert [note.partition(": ")[2] for note in notes] == ["a", "b"]


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"timeout": 5}, "'timeout'"),
        ({"timeout_min": "abc"}, "timeout_min"),
        ({"gpus_per_node": "abc"}, "gpus_per_node"),
    ],
)
def test_parameters_that_submitit_refuses(tmp_path: Path, parameters: dict[str, object], told: str) -> None:
    with pytest.raises(UsageError, match=rf"submitit refuses the job's parameters: .*{told}") as error:
        launch(work(write, tmp_path / "a"), tmp_path / "jobs", parameters, lambda note: None, here=True)
    assert "\n" not in str(error.value)
    assert "timeout_min=60" in error.value.hint
    assert not (tmp_path / "a").exists()


def test_one_of_whose_processes_another_failed(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match=r"a: process 1 failed: bad data") as error:
        launch(work(fail_elsewhere, tmp_path / "a"), tmp_path / "jobs", {}, lambda note: None, here=True)
    assert error.value.exit_code == 3
    assert str(tmp_path / "jobs") in error.value.hint


@pytest.mark.slow
def test_one_that_fails_does_not_keep_others(tmp_path: Path) -> None:
    jobs = work(refuse, tmp_path / "a") + work(vanish, tmp_path / "b") + work(write, tmp_path / "c")
    with pytest.raises(DataError, match=r"2 of 3 jobs failed, the first: a: .*bad") as error:
        launch(jobs, tmp_path / "jobs", {}, lambda note: None, here=True)
    assert str(tmp_path / "jobs") in error.value.hint
    assert (tmp_path / "c").exists()
    with pytest.raises(ResourceError, match="without a result"):
        launch(jobs[1:2], tmp_path / "jobs", {}, lambda note: None, here=True)


@pytest.mark.slow
def test_a_signal_lets_the_jobs_save(tmp_path: Path) -> None:
    def kill() -> None:
        while not (tmp_path / "a.begun").exists():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=kill).start()
    with pytest.raises(Interrupted) as error:
        launch(work(wait, tmp_path / "a"), tmp_path / "jobs", {}, lambda note: None, here=True)
    assert error.value.exit_code == 143
    assert (tmp_path / "a").read_text() == "saved"


def test_without_submitit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launching, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="submitit"):
        launch([], tmp_path, {}, lambda note: None)
    assert not list(tmp_path.iterdir())
