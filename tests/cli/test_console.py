"""What a person sees."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import subprocess
import sys
import termios
import time
from pathlib import Path

import faults
import pytest
import small_data
from small_runs import Notes

from posezoo.api import train
from posezoo.cli import console


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, one_place: Path) -> Path:
    """A finished run."""
    out = tmp_path_factory.mktemp("runs") / "run"
    more = small_data.settings("posenet", out=str(out), epochs=1)
    return train("posenet", f"folder:{one_place}", observer=Notes(), **more).path


def test_train_for_people(one_place: Path, no_pictures: None) -> None:
    argv = small_data.words(small_data.settings("posenet", epochs=1, out="run"))
    ended = faults.in_process(["train", "posenet", "--data", f"folder:{one_place}", *argv])
    assert ended.code == 0
    for word in ("mean training pose", "nearest pose", "report: run/report/report.html", "next: posezoo predict run"):
        assert word.lower() in " ".join(ended.stdout.lower().split()), ended.stdout
    assert "18 training and 6 validation images" in " ".join(ended.stderr.split())
    assert "\x1b" not in ended.stdout + ended.stderr


def test_debug_adds_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    for argv in (["info", "posnet", "--debug"], ["--debug", "info", "posnet"]):
        ended = faults.in_process(argv)
        assert ended.code == 2
        assert "Traceback" in ended.stderr
    monkeypatch.setenv("POSEZOO_DEBUG", "1")
    assert "Traceback" in faults.in_process(["info", "posnet"]).stderr


@pytest.mark.parametrize("form", ["json", "human"])
def test_closed_output_is_no_error(form: str) -> None:
    """`posezoo list | head -1`."""
    ended = _with_nobody_at("stdout", "-m", "posezoo", "list", "--format", form)
    assert ended.returncode == 0, ended
    assert ended.stderr == ""


def test_full_output_is_said() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    command = f"{sys.executable} -m posezoo list --format json > /dev/full"
    ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, timeout=300)
    assert ended.returncode == 6, ended
    assert ended.stderr.count("\n") == 1
    assert ended.stderr.startswith("posezoo: error:")


@pytest.mark.parametrize(
    ("name", "code"), [("weights-of-a-network-that-nobody-has", 2), ("local-dir:" + "/".join(["a-long-folder"] * 9), 4)]
)
def test_error_lines_break_between_words_in_a_terminal_alone(
    name: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one of 80 columns; a path that is longer stays whole. Into a pipe, for colours too, goes one line."""
    environment = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")}
    monkeypatch.setenv("FORCE_COLOR", "1")
    piped = faults.in_process(["info", name])
    seen, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 80))
    command, environment["TERM"] = [sys.executable, "-m", "posezoo", "info", name], "xterm"
    ended = subprocess.run(command, stdin=terminal, stderr=terminal, check=False, timeout=300, env=environment)
    os.close(terminal)
    lines = os.read(seen, 65536).decode().splitlines()
    os.close(seen)
    assert ended.returncode == piped.code == code
    assert piped.stderr.count("\n") == 1
    assert len(lines) > 1
    path = name.removeprefix("local-dir:")
    assert max(len(line) for line in lines if path not in line) <= 80
    assert any(path in line for line in lines)
    assert " ".join(lines) == piped.stderr.rstrip("\n")


def test_closed_errors_change_no_exit_code() -> None:
    """`posezoo info atlock 2>&1 >file | head -0`."""
    assert _with_nobody_at("stderr", "-m", "posezoo", "info", "atlock").returncode == 2


def test_errors_closed_from_the_start_change_no_exit_code_and_are_not_printed_elsewhere() -> None:
    """`posezoo info atlock 2>&-`: Python has no sys.stderr then."""
    command = ["sh", "-c", 'exec "$@" 2>&-', "sh", sys.executable, "-m", "posezoo", "info", "atlock"]
    ended = subprocess.run(command, capture_output=True, timeout=120)
    assert (ended.returncode, ended.stdout) == (2, b"")


@pytest.mark.parametrize("terminal", [False, True])
def test_a_view_that_nobody_sees_ends_no_run(terminal: bool) -> None:
    """It stops drawing, and leaves stdout and sys.stderr as they are."""
    code = """
import sys
from posezoo.cli.console import TrainView
own, view = sys.stderr, TrainView()
view.console._force_terminal = "TERMINAL" == sys.argv[1]
view.console.file.isatty = lambda: "TERMINAL" == sys.argv[1]
facts = dict.fromkeys(("model", "data", "precision", "device", "backbone", "run"), "x")
facts |= dict.fromkeys(("train_images", "validation_images", "epochs", "parameters", "seed"), 1)
view.note("one")
view.progress("reading", 1, 2)
view.start(2, 0, facts)
view.step({"step": 1, "epoch": 0, "loss": 1.0, "position_m": 1.0, "orientation_deg": 1.0, "images_per_s": 1.0})
view.end()
view.note("two")
print("the run went on" if sys.stderr is own and view.console.quiet else "no")
"""
    ended = _with_nobody_at("stderr", "-c", code, "TERMINAL" if terminal else "")
    assert ended.stdout == "the run went on\n", ended


def _with_nobody_at(stream: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python, with a pipe that nobody reads as its stdout or stderr."""
    reader, writer = os.pipe()
    os.close(reader)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: writer}
    try:
        return subprocess.run([sys.executable, *arguments], **streams, text=True, check=False, timeout=300)  # type: ignore[call-overload]
    finally:
        os.close(writer)


def test_a_line_an_epoch_stays_with_the_best_marked(capsys: pytest.CaptureFixture[str]) -> None:
    from posezoo.cli.console import TrainView

    view = TrainView()
    facts = dict.fromkeys(("model", "data", "precision", "device", "backbone", "run"), "x")
    view.start(
        4, 0, facts | dict.fromkeys(("train_images", "validation_images", "parameters", "seed"), 1) | {"epochs": 3}
    )
    numbers = {"loss": 1.0, "position_m": 1.5, "orientation_deg": 2.5, "images_per_s": 9.0, "lr": 5e-4}
    for epoch, error in enumerate((3.0, 2.0, 2.5)):
        view.step({"step": epoch + 1, "epoch": epoch, **numbers})
        view.epoch({"epoch": epoch + 1, "median_position_m": error, "median_orientation_deg": 1.0})
    view.end()
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("epoch ")]
    assert [line.split()[1] for line in lines] == ["1/3", "2/3", "3/3"]
    assert ["*best" in line for line in lines] == [True, True, False]
    assert all("1.5 m 2.5 deg" in line and "lr 0.0005" in line for line in lines)


def test_the_first_line_comes_before_torch(one_place: Path) -> None:
    code = """
import sys
from posezoo.cli import run
from posezoo.cli.console import TrainView
TrainView.say = lambda self, text: (print("torch" in sys.modules, text), sys.exit(0))
run(["train", "posenet", "--data", "demo-yard", "epochs=1"])
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert ended.stdout.startswith("False posezoo 0."), ended


def test_the_epochs_before_a_resume_are_shown_again(capsys: pytest.CaptureFixture[str]) -> None:
    step = {"loss": 1.0, "position_m": 2.0, "orientation_deg": 3.0, "lr": 1e-3, "images_per_s": 9.0}
    history = []
    for number, metres in enumerate((3.0, 2.0, 2.5), 1):
        history.append({**step, "step": number, "epoch": number - 1})
        history.append({"step": number, "epoch": number, "median_position_m": metres, "median_orientation_deg": 4.0})
    facts = dict.fromkeys(("model", "data", "device", "precision", "backbone", "run"), "x")
    facts |= {"train_images": 8, "validation_images": 2, "parameters": 1e6, "epochs": 4, "seed": 0, "history": history}
    view = console.TrainView()
    view.start(4, 3, facts)
    view.epoch({"step": 4, "epoch": 4, "median_position_m": 2.2, "median_orientation_deg": 4.0})
    view.end()
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("epoch ")]
    assert [line.split()[1] for line in lines] == ["1/4", "2/4", "3/4", "4/4"]
    assert ["*best" in line for line in lines] == [True, True, False, False], "2.2 m is no better than 2 m before"
    assert ["; before" in line for line in lines] == [True, True, True, False]


@pytest.mark.parametrize("terminal", [False, True])
def test_a_bar_is_drawn_on_terminals_alone_and_never_into_what_catches_stderr(
    terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`posezoo plugins check` catches what a model prints while its own bar turns; FORCE_COLOR makes no terminal."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    view, caught = console.TrainView(), io.StringIO()
    view.progress("checking", 0, 3)
    with contextlib.redirect_stderr(caught):
        view.progress("checking", 1, 3)
        time.sleep(0.3)  # the bar is drawn ten times a second
    view.end()
    assert caught.getvalue() == ""
    assert ("checking" in capsys.readouterr().err) is terminal
