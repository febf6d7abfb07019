"""Run posezoo in processes of its own, hurt them, and look at what they leave.

A server process imports torch once and forks each process from there: real processes with real signals, without five
seconds of imports each.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import multiprocessing
import os
import re
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PRELOAD = ["posezoo.api", "posezoo.training.train", "posezoo.cli.console", "posezoo.cli.commands", "matplotlib.figure"]
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # as the command line does, before torch is imported there
UNEQUAL = ("images_per_s", "time")  # what two runs with the same numbers may differ in


@dataclass(frozen=True)
class Ended:
    """How a command ended; `code` is negative for a signal that killed it, `group` its process group."""

    code: int
    stdout: str
    stderr: str
    group: int = 0


def in_process(argv: Sequence[str]) -> Ended:
    """The command line run here, in this process."""
    from posezoo import cli

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.run(list(argv))
    return Ended(code, out.getvalue(), err.getvalue())


def own_process(argv: Sequence[str], fault: str = "", timeout: float = 540) -> Ended:
    """The command line in a process and process group of its own; `fault` as in tests/fault_points.py."""
    return _ended(argv, [(fault, {})], timeout)[0]


def several_processes(argv: Sequence[str], faults_of: Sequence[str], timeout: float = 120) -> list[Ended]:
    """The command line in as many processes that train together as there are faults, told of each other as by torchrun.

    One that waits for another for longer than `timeout` seconds fails the test.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "GLOO_SOCKET_IFNAME": "lo"}
        meeting["OMP_NUM_THREADS"] = "1"  # as torchrun sets it
    size = str(len(faults_of))
    places = [
        {"RANK": str(n), "LOCAL_RANK": str(n), "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size}
        for n in range(len(faults_of))
    ]
    meetings = [{**meeting, **place} for place in places]
    return _ended(argv, list(zip(faults_of, meetings, strict=True)), timeout)


def _ended(argv: Sequence[str], processes: Sequence[tuple[str, Mapping[str, str]]], timeout: float) -> list[Ended]:
    """How the command line ended in a process for each (fault, environment); all of them run at once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    deadline, ended = time.monotonic() + timeout, []
    with tempfile.TemporaryDirectory() as folder:
        started = []
        for n, (fault, more) in enumerate(processes):
            environment = {**os.environ, **more}
            files = [str(Path(folder) / f"{name}-{n}") for name in ("stdout", "stderr")]
            process = context.Process(target=_run, args=(list(argv), fault, environment, files, str(Path.cwd())))
            process.start()
            started.append((process, files))
        for process, _ in started:
            process.join(max(0.0, deadline - time.monotonic()))
        late = [process for process, _ in started if process.is_alive()]
        for process in late:
            process.kill()
            process.join()
        for process, files in started:
            texts = [Path(file).read_text(encoding="utf-8", errors="replace") for file in files]
            assert process.exitcode is not None
            ended.append(Ended(process.exitcode, *texts, group=process.pid or 0))
    if late:
        raise AssertionError(f"{argv}: {len(late)} still ran after {timeout} s: {[end.stderr for end in ended]}")
    return ended


def _run(argv: list[str], fault: str, environment: dict[str, str], files: list[str], folder: str) -> None:
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in a shell's background
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for number, name in enumerate(files, 1):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT), number)
    import fault_points
    import torch

    from posezoo import cli

    torch.set_num_threads(1)
    with fault_points.at(fault):
        sys.exit(cli.run(argv))


def assert_fails(
    argv: Sequence[str], code: int, pattern: str, protected: Iterable[Path] = (), ended: Ended | None = None
) -> Ended:
    """Run (or take `ended`) and check: the exit code, one error line that fits `pattern`, no traceback, files kept."""
    protected = list(protected)
    before = [digests(path) for path in protected]
    ended = ended or in_process(argv)
    lines = [line for line in ended.stderr.splitlines() if line.startswith("posezoo: error:")]
    assert ended.code == code, ended
    assert len(lines) == 1, ended
    assert ended.stderr.splitlines()[-1] == lines[0], ended
    assert re.search(pattern, lines[0]), lines[0]
    assert "Traceback" not in ended.stdout + ended.stderr, ended
    assert [digests(path) for path in protected] == before
    return ended


def assert_nobody_left(ended: Ended, seconds: float = 20) -> None:
    """No process of the command's group lives on."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            os.killpg(ended.group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    raise AssertionError(f"processes of group {ended.group} still run {seconds} s after their parent ended")


def digests(path: Path) -> dict[str, str]:
    """sha256 of each file below `path`, by relative name."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return {str(file.relative_to(path)): sha256(file) for file in files}


def sha256(path: Path) -> str:
    """The file's sha256 in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def metrics(run: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl without their sums; none if there is no such file."""
    path = run / "metrics.jsonl"
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
    return [{key: value for key, value in line.items() if key != "crc"} for line in lines]


def numbers(run: Path) -> list[Mapping[str, Any]]:
    """All lines of metrics.jsonl to the last bit, without times."""
    return [{k: _exact(v) for k, v in line.items() if k not in UNEQUAL} for line in metrics(run)]


def checkpoints(run: Path) -> list[str]:
    """The names in the checkpoint folder, leftovers included."""
    return sorted(path.name for path in (run / "ckpt").glob("*")) + sorted(p.name for p in (run / "ckpt").glob(".*"))


def _exact(value: Any) -> Any:
    if isinstance(value, float):
        return value.hex()
    return [_exact(item) for item in value] if isinstance(value, list) else value
