"""Files written whole: beside their place, then renamed."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

from posezoo.base.errors import ResourceError


def cannot_write(error: OSError, path: Path) -> ResourceError:
    """The error for a file that cannot be written."""
    hint = "free some space" if error.errno == errno.ENOSPC else "choose another folder"
    return ResourceError(f"cannot write {error.filename or path}: {error.strerror or error}", hint)


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` write a file beside `path`, then rename it to `path`."""
    temporary = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        write(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
