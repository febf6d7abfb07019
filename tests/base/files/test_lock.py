"""A lock on a file: one process at a time, and a kill frees it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from posezoo.base.files.lock import lock

HOLD = """
import sys, time
from pathlib import Path
from posezoo.base.files.lock import lock
held = lock(Path(sys.argv[1]))
print("held" if held else "taken", flush=True)
sys.stdin.read()
"""


def holder(path: Path) -> subprocess.Popen[str]:
    """A process that asks for the lock, says what came of it, and keeps it until its input ends."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", HOLD, str(path)], text=True, **pipes)  # type: ignore[call-overload]


def test_another_process_has_to_wait_until_it_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    with holder(path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert lock(path) is None
        waited: list[str] = []

        def wait() -> None:
            waited.append("once")
            process.kill()

        held = lock(path, wait)
        assert held is not None
        assert waited == ["once"]
        held.release()


def test_a_lock_of_this_process_keeps_others_out(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    held = lock(path, lambda: pytest.fail("it is free"))
    assert held is not None
    with holder(path) as process:
        assert process.communicate("")[0] == "taken\n"
    held.release()
    with holder(path) as process:
        assert process.communicate("")[0] == "held\n"


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError):
        lock(tmp_path / "file" / "x.lock")
