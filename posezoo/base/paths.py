"""Paths that people type, and names of files fit for messages."""

from __future__ import annotations

import re
from pathlib import Path


def shown(name: str) -> str:
    """A file name fit for a message: control characters and undecodable bytes are escaped."""
    return name if name.isprintable() else ascii(name)[1:-1]


COMMIT = re.compile(r"[0-9a-f]{40}")


def user_path(path: str | Path) -> Path:
    """The path with ~ as the home folder; the ~name of an unknown user stays as it is, to be not found."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def without_folders(text: str) -> str:
    """The text with the last part only of an absolute path that it is, or of those that stand in it."""
    if text.startswith(("/", "~")):
        return Path(text).name
    return re.sub(r"(?<![\w:/.~])~?/(?:[^\s/:]+/)*(?=[^\s/])", "", text)
