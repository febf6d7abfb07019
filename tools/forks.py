"""Work in forks of this process, each in a temporary copy of the tree, in which one file may be changed.

A fork starts with whatever this process has imported. When its time is up it is ended, with the processes it started.
"""

from __future__ import annotations

import compileall
import contextlib
import os
import py_compile
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mutants import Mutant

SOURCES = ("posezoo", "plugins")
BROKEN = 70  # the exit code of a fork whose task raised


@dataclass
class Job:
    """Work for a fork: `task(folder)` in a copy of the tree, with the change of `mutant` if there is one."""

    task: Callable[[Path], int]
    limit_s: float
    mutant: Mutant | None = None
    later: Job | None = None
    """What is left to do if the task finds nothing wrong."""
    spent_s: float = 0.0


def noted(folder: Path) -> Path:
    """Where a task notes the first test that failed."""
    return folder.with_suffix(".failed")


def copied(root: Path, folder: Path) -> Path:
    """A copy of the tree as git sees it, compiled so that a changed file is noticed whatever its time and length."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, capture_output=True, check=True).stdout
    for name in filter(None, listed.decode().split("\0")):
        if (root / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, folder / name)
    for source in SOURCES:
        mode = py_compile.PycInvalidationMode.CHECKED_HASH
        compileall.compile_dir(folder / source, quiet=2, invalidation_mode=mode)
    return folder


def forked(root: Path, jobs: deque[Job], folders: list[Path]) -> Iterator[tuple[Job, int | None, str]]:
    """(job, exit code, the test that failed) as jobs end, one at a time in each folder; no code: the time was up."""
    free = list(folders)
    running: dict[int, tuple[Job, Path, float]] = {}
    original: dict[Path, str] = {}  # by folder, of the file that is changed
    while jobs or running:
        while jobs and free:
            job, folder = jobs.popleft(), free.pop()
            if job.mutant:
                target = folder / job.mutant.file
                original[folder] = target.read_text(encoding="utf-8")
                target.write_text(job.mutant.applied(original[folder]), encoding="utf-8")
            sys.stdout.flush()
            pid = os.fork()
            if not pid:
                _child(job.task, folder, root)
            running[pid] = job, folder, time.monotonic()
        time.sleep(0.02)
        for pid, (job, folder, begun) in list(running.items()):
            seconds = time.monotonic() - begun
            ended, status = os.waitpid(pid, os.WNOHANG)
            if not ended and seconds < job.limit_s:
                continue
            _end(pid)
            if not ended:
                os.waitpid(pid, 0)
            del running[pid]
            free.append(folder)
            job.spent_s += seconds
            if job.mutant:
                (folder / job.mutant.file).write_text(original[folder], encoding="utf-8")
            code = os.waitstatus_to_exitcode(status) if ended else None
            note = noted(folder)
            by = note.read_text(encoding="utf-8") if note.exists() else ""
            if code == BROKEN:
                raise RuntimeError(f"the fork for {job.mutant} could not run pytest: {by}")
            note.unlink(missing_ok=True)
            yield job, code, by


def _end(pid: int) -> None:
    """End what is left of a fork and of the processes it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _child(task: Callable[[Path], int], folder: Path, root: Path) -> None:
    """Run the task in the copy, as a process of its own with nothing of the work tree on its path; never returns."""
    code = BROKEN
    try:
        os.setsid()
        quiet = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(quiet, stream)
        own = [str(folder), str(folder / "plugins")]
        sys.path[:] = [*own, *(path for path in sys.path if not Path(path).is_relative_to(root))]
        temporary = folder.with_suffix(".tmp")
        temporary.mkdir(exist_ok=True)
        os.environ.update(PYTHONPATH=os.pathsep.join(own), TMPDIR=str(temporary), PYTHONDONTWRITEBYTECODE="1")
        tempfile.tempdir, sys.dont_write_bytecode = None, True
        del sys.modules["__main__"].__file__  # else processes that tests start would import it, and its path is gone
        os.chdir(folder)
        code = task(folder)
    except BaseException:
        noted(folder).write_text(traceback.format_exc(), encoding="utf-8")
    finally:
        os._exit(code)
