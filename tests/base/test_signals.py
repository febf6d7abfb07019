"""Signals as a flag between steps, or as an end at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from posezoo.base.errors import FailedElsewhere, Interrupted
from posezoo.base.signals import SIGNALS, StopFlag


@pytest.mark.parametrize(
    ("number", "name", "code"),
    [
        (signal.SIGINT, "SIGINT", 130),
        (signal.SIGTERM, "SIGTERM", 143),
        (signal.SIGUSR1, "SIGUSR1", 143),
        (signal.SIGUSR2, "SIGUSR2", 143),
    ],
)
def test_a_signal_is_kept_and_handlers_come_back(number: signal.Signals, name: str, code: int) -> None:
    before = [signal.getsignal(n) for n in SIGNALS]
    with StopFlag() as stop:
        assert not stop
        os.kill(os.getpid(), number)
        assert stop
        assert (stop.name, stop.exit_code) == (name, code)
    assert [signal.getsignal(n) for n in SIGNALS] == before


def test_a_second_interrupt_stops_at_once() -> None:
    with StopFlag() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        assert stop.exit_code == 130


def test_a_second_term_waits_for_the_first() -> None:
    with StopFlag() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.exit_code == 143


def test_in_another_thread_nothing_is_handled() -> None:
    seen: list[bool] = []

    def work() -> None:
        with StopFlag() as stop:
            seen.append(bool(stop))

    handler = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]
    assert signal.getsignal(signal.SIGINT) is handler


@pytest.mark.parametrize("number", SIGNALS)
def test_what_can_be_repeated_ends_at_once(number: signal.Signals) -> None:
    with StopFlag() as stop:
        with pytest.raises(Interrupted, match=f"{number.name} while counting") as error, stop.at_once("counting"):
            os.kill(os.getpid(), number)
            pytest.fail("went on")
        assert error.value.exit_code == stop.exit_code
        with pytest.raises(Interrupted), stop.at_once("beginning"):
            pytest.fail("began")


def test_a_keyboard_interrupt_of_another_origin_passes() -> None:
    with StopFlag() as stop, pytest.raises(KeyboardInterrupt), stop.at_once("counting"):
        raise KeyboardInterrupt


def test_what_another_process_has_heard_is_never_a_second_signal() -> None:
    """Ctrl-C reaches every process of a terminal: what one tells of it must not stop another at once."""
    with StopFlag() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        stop.told(signal.SIGINT)
        stop.agree(signal.SIGTERM)
        assert stop.name == "SIGINT"
    with StopFlag() as stop:
        stop.told(signal.SIGINT)
        os.kill(os.getpid(), signal.SIGUSR1)
        assert stop.name == "SIGINT"
        stop.agree(0)
        assert stop


def test_a_failure_elsewhere_ends_what_is_done() -> None:
    with StopFlag() as stop, pytest.raises(FailedElsewhere) as error, stop.at_once("counting"):
        stop.failed(FailedElsewhere("process 1 failed", 3))
        pytest.fail("went on")
    assert error.value.exit_code == 3
    assert not stop


def test_who_speaks_last_is_not_silenced() -> None:
    """Only SIGTERM, which torchrun sends to what is left of a run of several."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        with StopFlag() as stop:
            stop.speaks_last()
        os.kill(os.getpid(), signal.SIGTERM)  # it would end the tests
        assert {n for n in SIGNALS if signal.getsignal(n) != before[n]} == {signal.SIGTERM}
    finally:
        signal.signal(signal.SIGTERM, before[signal.SIGTERM])


IN_CODE_FROM_TEXT = """
import ctypes, sys
from posezoo.base.errors import Interrupted
from posezoo.base.signals import StopFlag
run = ctypes.pythonapi.PyRun_String
run.restype, run.argtypes = ctypes.py_object, [ctypes.c_char_p, ctypes.c_int, ctypes.py_object, ctypes.py_object]
with StopFlag() as stop:
    try:
        with stop.at_once("importing"):
            run(b"import signal; signal.raise_signal(signal.SIGTERM)", 257, {"__builtins__": __builtins__}, {})
    except Interrupted as error:
        sys.exit(error.exit_code)
"""


def test_the_exit_code_stays_where_a_c_module_was_running_code_from_text(tmp_path: Path) -> None:
    """PyAV, for one, while it is imported; `python -m` then asks whether a KeyboardInterrupt was seen there."""
    (tmp_path / "stopped.py").write_text(IN_CODE_FROM_TEXT)
    ended = subprocess.run([sys.executable, "-m", "stopped"], cwd=tmp_path, stderr=subprocess.PIPE)
    assert (ended.returncode, ended.stderr) == (143, b"")
