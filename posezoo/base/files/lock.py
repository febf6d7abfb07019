"""A lock on a file, for one process at a time; freed however its holder ends, kill -9 included."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filelock import BaseFileLock


def lock(path: Path, wait: Callable[[], object] | None = None) -> BaseFileLock | None:
    """The lock, held until its `release()`. Raises OSError if the file cannot be written.

    If another process holds it: None; or, with `wait`, that is called once and the lock is waited for.
    """
    from filelock import FileLock, Timeout  # takes 40 ms

    found = FileLock(path, fallback_to_soft=False)  # without flock, a mere marker file would outlive a kill
    try:
        found.acquire(blocking=False)
    except Timeout:
        if wait is None:
            return None
        wait()
        found.acquire()
    return found
