"""Paths as users type them, and file names fit for messages."""

from __future__ import annotations

import re
from pathlib import Path

from posezoo.base.errors import UsageError

_DIGITS = re.compile(r"(\d{1,18})", re.ASCII)  # at most: a number is then never long to read


def natural(name: str) -> tuple[list[str | int], str]:
    """The key that sorts names as people count: 2.png before 10.png. Names that differ in zeros alone keep an order."""
    parts: list[str | int] = list(_DIGITS.split(name))
    parts[1::2] = map(int, parts[1::2])
    return parts, name


def printable_path(name: str) -> str:
    """A file name fit for a message: control characters and undecodable bytes are escaped."""
    return name if name.isprintable() else ascii(name)[1:-1]


def fits_a_line(name: str) -> bool:
    """Whether a line of text that ends in this name can be read back: no line break, no space at an end."""
    return name == name.strip() and "\n" not in name and "\r" not in name


def shortened(name: str, limit: int = 160) -> str:
    """The name fit for one line of a message: of one that is longer, how it begins and ends."""
    return name if len(name) <= limit else f"{name[: limit // 2]}…{name[1 - limit // 2 :]}"


COMMIT = re.compile(r"[0-9a-f]{40}")


def user_path(path: str | Path) -> Path:
    """The path with ~ as the home folder; the ~name of an unknown user stays as it is, and is then not found.

    Raises UsageError for an empty text, an unset variable's, which would be the current folder.
    """
    if path == "":
        raise UsageError("an empty name of a file or folder", "write . for the current folder")
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def without_folders(text: str) -> str:
    """The text with every absolute path in it, or that it is, cut to its last part."""
    if text.startswith(("/", "~")):
        return Path(text).name
    return re.sub(r"(?<![\w/.~])~?/(?:[^\s/:]+/)*(?=[^\s/])", "", text)
