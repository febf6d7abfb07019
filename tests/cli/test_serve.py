"""posezoo serve as a process: it answers, and ends when it is told."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import faults
import pytest

pytest.importorskip("fastapi", reason="the extra serve")
pytest.importorskip("uvicorn", reason="the extra serve")

from served import asked, jpeg, small_model

from posezoo.zoo.saved import save


def test_it_answers_and_ends_on_ctrl_c(tmp_path: Path) -> None:
    save(small_model(), tmp_path / "m", "a card")
    words = [sys.executable, "-m", "posezoo", "serve", str(tmp_path / "m"), "--port", "0"]

    def heard() -> None:  # a job in the background of a shell ignores Ctrl-C
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, preexec_fn=heard) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)/pose", line)
        assert found, line
        for _ in range(100):
            try:
                status, _answer = asked(int(found[1]), body=jpeg())
                break
            except ConnectionError:
                continue
        assert status == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert "Traceback" not in process.stderr.read()


def test_its_options_are_the_servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Megabytes become bytes, and nothing is left out."""
    given: list[Any] = []
    monkeypatch.setattr("posezoo.serving.server.serve", lambda model, *where, note, **more: given.append((where, more)))
    save(small_model(), tmp_path / "m", "a card")
    more = ["--host", "127.0.0.9", "--port", "1", "--max-mb", "0.5", "--timeout", "7", "--batch", "3"]
    assert faults.in_process(["serve", str(tmp_path / "m"), *more]).code == 0
    assert given == [(("127.0.0.9", 1), {"max_bytes": 500_000, "timeout_s": 7.0, "batch": 3})]
