"""sha256 of files, remembered by path, size and time of the last change, so that a second start reads no image."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import time
from pathlib import Path

from posezoo.base.errors import ResourceError
from posezoo.base.files.write import write_whole

_SETTLED_NS = 2_000_000_000  # a file changed within the last two seconds may change again within one clock tick


class Digests:
    """The digests known for one data root. They only save time: they may be lost, and need not be writable."""

    def __init__(self, folder: Path, root: Path) -> None:
        self._path = folder / (hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:32] + ".json")
        self._known = _read(self._path)
        self.new: dict[str, list[int | str]] = {}

    def get(self, name: str, path: str, status: os.stat_result) -> bytes:
        """The sha256, in hexadecimal, of the file at `path`, which is called `name` below the root."""
        entry = self._known.get(name)
        if entry and entry[:2] == [status.st_size, status.st_mtime_ns]:
            return str(entry[2]).encode()
        with open(path, "rb") as file:  # noqa: PTH123
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        self.new[name] = [status.st_size, status.st_mtime_ns, digest]
        return digest.encode()

    def save(self) -> None:
        """Write the new digests, beside what others wrote meanwhile. An unwritable folder is not an error."""
        newest = time.time_ns() - _SETTLED_NS
        settled = {name: entry for name, entry in self.new.items() if int(entry[1]) < newest}
        if not settled:
            return
        with contextlib.suppress(OSError, ResourceError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self._path, json.dumps(_read(self._path) | settled))


def _read(path: Path) -> dict[str, list[int | str]]:
    """The entries of a file of digests; damaged ones are ignored."""
    try:
        entries = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return {name: entry for name, entry in entries.items() if _is_entry(entry)} if isinstance(entries, dict) else {}


def _is_entry(entry: object) -> bool:
    match entry:
        case [int(), int(), str(digest)]:
            return re.fullmatch("[0-9a-f]{64}", digest) is not None
    return False
