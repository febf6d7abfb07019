"""Files and folders written whole: beside their place, synced, then renamed. A kill leaves the old one or the new one.

What is being written is called `.tmp-<name>-<random>`; only a kill leaves one, and `sweep` removes it.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from posezoo.base.errors import ResourceError

TEMPORARY = ".tmp-"


def is_full(error: OSError) -> bool:
    """Whether the disk, or the user's share of it, is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


@contextlib.contextmanager
def writing(what: Path | str, hint: str = "") -> Iterator[None]:
    """The system's errors as ResourceError: cannot write `what`. `hint`: what to do about it."""
    try:
        yield
    except OSError as error:
        hint = hint or ("free some space" if is_full(error) else "choose another folder")
        raise ResourceError(f"cannot write {what}: {error.strerror or error}", hint) from error


def write_whole(path: Path, content: bytes | str, hint: str = "") -> None:
    """Write the file, text as UTF-8. Raises ResourceError; what was there stays then."""
    with writing(path, hint), replacement(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def growing(path: Path) -> Iterator[Callable[[str], None]]:
    """A function that appends text to the new file at `path`, which can be read meanwhile. Raises ResourceError.

    Until there is some text, what was at `path` stays.
    """
    new, begun = not path.exists(), False
    # to append: what cannot be written is found now, and nothing is lost by it
    with writing(path), path.open("a", encoding="utf-8", errors="surrogateescape") as file:

        def append(text: str) -> None:
            nonlocal begun
            with writing(path):
                if text and not begun and path.is_file():  # no pipe
                    file.truncate(0)
                begun = begun or bool(text)
                file.write(text)
                file.flush()

        try:
            yield append
        finally:
            if new and not begun:
                path.unlink(missing_ok=True)


@contextlib.contextmanager
def replacement(path: Path, folder: bool = False, replaces: Callable[[], bool] = lambda: True) -> Iterator[Path]:
    """A temporary path beside `path`: what the caller writes there becomes `path`, or nothing does. Raises OSError.

    `folder`: it is an empty folder, created with its parents, and its new name is durable at the end. `replaces`:
    whether a folder that is already at `path` is then replaced.
    """
    temporary = path.with_name(f"{TEMPORARY}{path.name[-50:]}-{secrets.token_hex(4)}")
    try:
        if folder:
            temporary.mkdir(parents=True)
        yield temporary
        for part in (*temporary.rglob("*"), temporary):
            _sync(part)
        try:
            temporary.replace(path)
        except OSError:
            if not (folder and path.is_dir()):
                raise
            if replaces() and not _exchange(temporary, path):
                old = temporary.with_name(f"{temporary.name}-old")
                path.rename(old)  # two renames: a kill between them leaves the old folder under this name
                temporary.replace(path)
                _remove(old)
        if folder:
            _sync(path.parent)
    finally:
        _remove(temporary)


def sweep(folder: Path) -> list[Path]:
    """The paths removed: all that killed processes left in `folder`, which no other process may be writing to."""
    found = sorted(folder.rglob(f"{TEMPORARY}*"))
    for path in found:
        _remove(path)
    return found


def _exchange(one: Path, other: Path) -> bool:
    """Give each of two paths on one disk the other's name in one step; whether the system can (Linux, most disks)."""
    try:
        exchange = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return False
    here, both = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return bool(exchange(here, os.fsencode(one.absolute()), here, os.fsencode(other.absolute()), both) == 0)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Make a file's content, or a folder's entries, durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
