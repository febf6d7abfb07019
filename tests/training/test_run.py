"""The run folder: one process at a time, never overwritten, metrics that a kill cannot spoil."""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import time
from datetime import UTC, datetime
from pathlib import Path

import faults
import pytest
from naming import naming
from other_process import hold_run_folder

from posezoo.base.errors import LockedError, ResourceError, UsageError
from posezoo.training.run import RunFolder, differences, new_run_path, newest_run, read_config, utc_now


def test_one_process_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("posezoo.training.run.time.sleep", lambda seconds: pytest.fail("waits"))
    with RunFolder(tmp_path / "run"):
        with pytest.raises(LockedError, match=naming(os.getpid(), platform.node())) as error:
            RunFolder(tmp_path / "run")
        assert error.value.exit_code == 9
        (tmp_path / "run/run.lock").write_text("")  # locked, and not written yet
        with pytest.raises(LockedError, match="another process"):
            RunFolder(tmp_path / "run")
    with RunFolder(tmp_path / "run"):
        pass


def test_it_waits_as_long_as_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = RunFolder(tmp_path / "run")
    monkeypatch.setattr("posezoo.training.run.time.sleep", lambda seconds: first.__exit__(None, None, None))
    with RunFolder(tmp_path / "run", patience=60.0):
        pass


def test_a_kill_frees_it(tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(faults.PRELOAD)
    held = context.Event()
    process = context.Process(target=hold_run_folder, args=(str(tmp_path), held))
    process.start()
    assert held.wait(60)
    with pytest.raises(LockedError, match=naming(process.pid)):
        RunFolder(tmp_path)
    process.kill()
    process.join()
    with RunFolder(tmp_path):
        pass


def test_metrics_are_lines(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as folder:
        folder.append_metrics({"step": 1, "loss": 0.1})
        assert faults.metrics(tmp_path) == [{"step": 1, "loss": 0.1}], "there at once"
        folder.append_metrics({"step": 2, "loss": 1e-300})
    assert [line["step"] for line in faults.metrics(tmp_path)] == [1, 2]


def test_rewind(tmp_path: Path) -> None:
    lines = [
        {"step": 1, "epoch": 0, "loss": 1.0},
        {"step": 2, "epoch": 0, "loss": 1.0},
        {"step": 2, "epoch": 1, "score": 1.0},
        {"step": 3, "epoch": 1, "loss": 1.0},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    for step, epoch, kept in ((1, 0, 1), (2, 0, 2), (2, 1, 3), (3, 1, 4), (0, 0, 0)):
        (tmp_path / "metrics.jsonl").write_text(text + '{"step": 4, "lo')
        with RunFolder(tmp_path) as folder:
            folder.rewind_metrics(step, epoch)
            folder.append_metrics({"step": 9})
        assert faults.metrics(tmp_path) == [*lines[:kept], {"step": 9}]


def test_rewind_without_metrics(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as folder:
        folder.rewind_metrics(3, 1)


def test_config_round_trip(tmp_path: Path) -> None:
    """None too: a setting that was switched off must not come back with its default."""
    config = {
        "train": {"epochs": 3, "out": None, "data": {"name": 'a"b\\c\né'}},
        "model": {"name": "posenet", "config": {}, "modifiers": {}},
        "list": [1, {"x": None, "y": 2}],
    }
    with RunFolder(tmp_path) as folder:
        folder.write_config(config)
    assert read_config(tmp_path) == config


def test_no_run_here(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=naming(tmp_path)):
        read_config(tmp_path)
    (tmp_path / "config.toml").write_text("not = = toml")
    with pytest.raises(UsageError, match=r"config\.toml"):
        read_config(tmp_path)
    (tmp_path / "config.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match=r"config\.toml"):
        read_config(tmp_path)


def test_existing_run_is_refused(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as folder:
        folder.write_config({})
    with pytest.raises(UsageError, match=naming(tmp_path)) as error:
        new_run_path(str(tmp_path), "posenet", "demo-loop")
    assert "posezoo resume" in error.value.hint


def test_names_become_one_folder_each(tmp_path: Path) -> None:
    path = new_run_path(None, "atloc+hyper=two", "folder:../my photos/é", tmp_path)
    assert path.parent.parent == tmp_path / "atloc+hyper=two"
    assert "/" not in path.parent.name
    assert path.parent.name.startswith("folder-")


def test_two_runs_in_one_second_differ(tmp_path: Path) -> None:
    paths = set()
    for _ in range(3):
        path = new_run_path(None, "posenet", "demo-loop", tmp_path)
        path.mkdir(parents=True)
        paths.add(path)
    assert len(paths) == 3


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match=naming(tmp_path / "file" / "run")) as error:
        RunFolder(tmp_path / "file" / "run")
    assert error.value.exit_code == 6


def test_a_run_that_never_began_leaves_no_folder(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    for folder in (tmp_path / "outputs" / "posenet" / "demo" / "now", tmp_path / "kept" / "now"):
        with pytest.raises(UsageError), RunFolder(folder):
            raise UsageError("wrong")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert list((tmp_path / "kept").iterdir()) == []


def test_the_newest_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run below"):
        newest_run(tmp_path)
    names = ("atloc/demo-loop/20261122T101500Z", "posenet/demo-yard/20261123T101500Z")
    for name in (*names, "posenet/x/20261124T101500Z"):
        (tmp_path / name).mkdir(parents=True)
    for name in names:
        (tmp_path / name / "config.toml").touch()
    assert newest_run(tmp_path) == tmp_path / names[1], "the third folder holds no run"


def test_damaged_lines_of_the_metrics_are_told(tmp_path: Path) -> None:
    """One that a kill cut short at the end is nothing unusual."""
    with RunFolder(tmp_path / "run") as folder:
        path = tmp_path / "run" / "metrics.jsonl"
        lines = [json.dumps({"step": n, "epoch": 0, "loss": 1.0}) for n in (1, 2, 3, 4)]
        damaged = [lines[0], '{"step": "x"}', lines[1], "[1, 2]", lines[3], '{"step": 5, "lo']
        path.write_text("\n".join(damaged))
        problems = folder.rewind_metrics(10, 5)
        assert path.read_text().splitlines() == [lines[0], lines[1], lines[3]]
        assert [problem.split(": ")[1].split(" ")[:2] for problem in problems] == [
            ["line", "2"],
            ["line", "4"],
            ["step", "4"],
        ]
        assert folder.rewind_metrics(1, 5) == []


def test_a_changed_digit_of_the_metrics_is_told(tmp_path: Path) -> None:
    lines = [{"step": n, "epoch": 0, "loss": 1.25 * n, "rate": float("nan")} for n in (1, 2)]
    with RunFolder(tmp_path) as folder:
        for line in lines:
            folder.append_metrics(line)
        path = tmp_path / "metrics.jsonl"
        good = path.read_text()
        assert folder.rewind_metrics(10, 5) == []
        assert path.read_text() == good, "its sums are kept"
        assert [line["loss"] for line in folder.metrics()] == [1.25, 2.5]
        places = [place for place, sign in enumerate(good.splitlines()[0]) if sign.isdigit()]
        assert len(places) > 6
        for place in places:
            path.write_text(good[:place] + str((int(good[place]) + 1) % 10) + good[place + 1 :])
            assert folder.rewind_metrics(10, 5)[0] == "metrics.jsonl: line 1 is damaged and was dropped", place


def test_what_two_configurations_differ_in() -> None:
    then = {"train": {"optim": {"lr": 0.1, "eps": 1}, "workers": 0, "data": {"root": "a", "name": "b"}}, "model": {}}
    now = {"train": {"optim": {"lr": 0.2, "eps": 1}, "workers": 2, "data": {"root": "c", "name": "b"}}, "model": {}}
    assert differences(then, now) == ["train.optim.lr 0.1 -> 0.2"]
    assert differences(then, then) == []


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "America/New_York"])
def test_stamps_are_utc_wherever_the_machine_is(tmp_path: Path, zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        before = datetime.now(UTC)
        path, stamp = new_run_path(None, "posenet", "demo-loop", tmp_path), utc_now()
        for text, form in ((path.name, "%Y%m%dT%H%M%SZ"), (stamp, "%Y-%m-%dT%H:%M:%SZ")):
            told = datetime.strptime(text, form).replace(tzinfo=UTC)
            assert abs((told - before).total_seconds()) < 10
    finally:
        monkeypatch.undo()
        time.tzset()
