"""Unpack a benchmark's archives beside them: after a kill at any moment, the same call continues.

    <folder>/.posezoo/lock                  held while unpacking: a second process waits, then finds the work done
    <folder>/.posezoo/unpacking-<archive>/  an archive is unpacked here as a whole, then renamed into its place
    <folder>/.posezoo/<archive>.renaming    exists during the renaming: until it is done, the data count as incomplete
    <folder>/.posezoo/<archive>.json        what an archive held: size and time of the archive, paths, sizes

The archive is never changed, and no existing file is ever replaced: it must equal the archive's, byte for byte, and is
then kept. So an archive that was unpacked by hand, or whose renaming was cut short, is compared and completed. Archives
inside an archive (`NESTED`) are unpacked in their own place, one level deep.
What an archive may hold: posezoo.data.archives.archive.
"""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, unquote

from posezoo.base.errors import DataError, Finding, ResourceError
from posezoo.base.files.lock import lock
from posezoo.base.files.write import is_full, replacement
from posezoo.base.observe import Note, Stages
from posezoo.base.paths import printable_path
from posezoo.catalogue import forms
from posezoo.data.archives.archive import AGAIN, NESTED, WORK, Archive, Budget, Member

UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS)


@dataclass(frozen=True)
class Packed:
    """An archive of a data set: its file, the data set's folder, the folder (relative) that it is unpacked to."""

    path: Path
    folder: Path
    to: str = "."

    @property
    def name(self) -> str:
        """Its path relative to the data set's folder."""
        return self.path.relative_to(self.folder).as_posix()

    def beside(self, suffix: str) -> Path:
        """A file of ours about this archive."""
        return self.folder / WORK / f"{quote(self.name, safe='')}.{suffix}"


@dataclass(frozen=True)
class Unpacked:
    """What unpacking one archive did: files written, files that existed already."""

    name: str
    written: int
    kept: int


def archives_of(card: forms.DataCard, folder: Path, wanted: Callable[[str], bool]) -> tuple[list[Packed], list[str]]:
    """(the card's archives in `folder`, the patterns that match no file) of the parts (scenes, sequences) `wanted`."""
    found: dict[Path, Packed] = {}
    absent = []
    for entry in card.archives:
        if entry.part and not wanted(entry.part):
            continue
        paths = sorted(path for path in folder.glob(entry.file) if path.is_file())
        absent += [] if paths else [entry.file]
        for path in paths:
            found.setdefault(path, Packed(path, folder, entry.to))
    return list(found.values()), absent


def is_unpacked(packed: Packed) -> bool:
    """Whether the archive was unpacked completely, and every file of it still exists with its size."""
    try:
        note = json.loads(packed.beside("json").read_text(encoding="utf-8"))
        if note["archive"] != _identity(packed) or packed.beside("renaming").exists():
            return False
        target = packed.folder / packed.to
        return all((target / path).stat().st_size == size for path, size in note["files"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False


def interrupted(card: forms.DataCard, folder: Path, wanted: Callable[[str], bool]) -> list[str]:
    """The card's archives, of the parts `wanted`, of which a killed process moved only some files into place."""
    names = sorted(unquote(path.stem) for path in (folder / WORK).glob("*.renaming"))
    patterns = [entry.file for entry in card.archives if not entry.part or wanted(entry.part)]
    return [name for name in names if any(fnmatch.fnmatch(name, pattern) for pattern in patterns)]


@contextlib.contextmanager
def unpack_lock(folder: Path, note: Note) -> Iterator[None]:
    """Only this process unpacks in `folder`; another one waits, and `note` says so. What killed ones left is removed.

    A folder that cannot be written needs no lock: its files can only be compared.
    """
    work = folder / WORK
    locked = None
    try:
        work.mkdir(exist_ok=True)
        if work.is_symlink():
            raise ResourceError(f"{work} is a link", "remove it")
        locked = lock(work / "lock", lambda: note(f"another posezoo process is unpacking in {folder}: waiting for it"))
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
    try:
        for leftover in work.glob("unpacking-*") if locked else ():
            shutil.rmtree(leftover)
        yield
    finally:
        if locked:
            locked.release()


def required_bytes(packed: Sequence[Packed], progress: Stages) -> int:
    """Bytes that unpacking these takes on the disk, at least; every archive's table is checked on the way."""
    total = 0
    for n, one in enumerate(packed):
        progress("checking archives", n, len(packed))
        with Archive(one.path, Budget(one.path), one.name) as archive:
            total += _missing(archive.members, one.folder / one.to)
    progress("checking archives", len(packed), len(packed))
    return total


def check_free(folder: Path, need: int, what: str) -> None:
    """Raise ResourceError unless `need` bytes are free on the disk of `folder`."""
    free = shutil.disk_usage(folder).free
    if need > free:
        sizes = f"{_size(need)} needed, {_size(free)} free"
        raise ResourceError(f"too little disk space to unpack {what}: {sizes} in {folder}", "free space, and try again")


def unpack(packed: Packed, progress: Stages) -> Unpacked:
    """Unpack one archive, within `unpack_lock`. Raises DataError for what is wrong with it, ResourceError."""
    temporary = packed.folder / WORK / f"unpacking-{quote(packed.name, safe='')[-200:]}"
    job = _Job(packed, temporary, progress)
    try:
        job.fill(packed.path, packed.name, PurePosixPath())
        if job.differing:
            count = f"{len(job.differing)} file{'s' * (len(job.differing) > 1)} here"
            first = f"(first: {printable_path(job.differing[0].path)})"
            hint = "move them away, then posezoo data prepare again"
            raise DataError(f"{count} not as in {printable_path(packed.name)} {first}", hint, job.differing)
        if job.written:
            packed.beside("renaming").touch()
            _merge(job.files_folder, packed.folder / packed.to)
        _write_note(packed, job.files)
    except OSError as error:
        raise _resource_error(error, packed) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Unpacked(packed.name, job.written, len(job.files) - job.written)


class _Job:
    """One archive being unpacked into `temporary`. `files`: size by path; `differing`: existing files that differ."""

    def __init__(self, packed: Packed, temporary: Path, progress: Stages) -> None:
        self.packed, self.target, self.progress = packed, packed.folder / packed.to, progress
        self.files_folder, self.inner = temporary / "files", temporary / "inner"
        self.budget = Budget(packed.path)
        self.files: dict[str, int] = {}
        self.written = 0
        self.differing: list[Finding] = []
        self._parents: set[Path] = set()

    def fill(self, path: Path, name: str, base: PurePosixPath, depth: int = 0) -> None:
        """Write the members of the archive at `path` below `base`; archives among them are unpacked too."""
        with Archive(path, self.budget, name) as archive:
            if depth and any("/" not in member.path for member in archive.members):
                base = base / PurePosixPath(name).name.partition(".")[0]  # loose files: a folder of the archive's name
            check_free(self.packed.folder, _missing(archive.members, self.target / base), printable_path(name))
            for member in archive.members:
                if not depth and member.path.lower().endswith(NESTED):
                    self._write(archive, member, self.inner)
                    self.fill(self.inner, f"{name}: {member.path}", (base / member.path).parent, depth + 1)
                    self.inner.unlink()
                else:
                    self._file(archive, member, str(base / member.path))

    def _file(self, archive: Archive, member: Member, path: str) -> None:
        """Write the member unless its file exists; if that differs, it is added to `differing`."""
        if path in self.files:
            raise DataError(f"{archive.name}: member {printable_path(member.path)} appears twice", AGAIN)
        self.files[path] = member.size
        place = self.target / path
        self._check_parent(place.parent)
        if not os.path.lexists(place):
            self._write(archive, member, self.files_folder / path)
            self.written += 1
        elif not self._same(archive, member, place):
            self.differing.append(Finding(path, 0, f"differs from the file in {archive.name}"))

    def _same(self, archive: Archive, member: Member, place: Path) -> bool:
        """Whether the file at `place` has the member's content."""
        if not place.is_file() or place.stat().st_size != member.size:
            return False
        with place.open("rb") as file:
            return all(file.read(len(chunk)) == chunk for chunk in self._with_progress(archive.chunks(member)))

    def _write(self, archive: Archive, member: Member, place: Path) -> None:
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("xb") as out:
            out.writelines(self._with_progress(archive.chunks(member)))

    def _with_progress(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """The chunks, with progress reported after each."""
        for chunk in chunks:
            yield chunk
            done, total = self.budget.written >> 20, max(1, self.budget.claimed >> 20)
            self.progress(f"unpacking {printable_path(self.packed.name)}, MB", done, total)

    def _check_parent(self, parent: Path) -> None:
        """Raise DataError if `parent` cannot be a folder, or if a link leads it out of the data set's folder."""
        if parent in self._parents:
            return
        if not parent.resolve().is_relative_to(self.packed.folder.resolve()):
            raise DataError(
                f"{printable_path(str(parent))} is a link that leads outside the data set", "remove the link"
            )
        above = next(path for path in (parent, *parent.parents) if os.path.lexists(path))
        if not above.is_dir():
            raise DataError(f"{printable_path(str(above))} is a file where the archive has a folder", "move it away")
        self._parents.add(parent)


def _missing(members: Sequence[Member], target: Path) -> int:
    """Bytes of the members that are not in `target`."""
    return sum(member.size for member in members if not (target / member.path).exists())


def _merge(source: Path, target: Path) -> None:
    """Rename everything from `source` into `target`: a whole folder where none exists, else its entries."""
    target.mkdir(parents=True, exist_ok=True)
    for entry in sorted(source.iterdir()):
        place = target / entry.name
        if place.is_dir() and entry.is_dir():
            _merge(entry, place)
        elif os.path.lexists(place):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(place))
        else:
            entry.rename(place)


def _size(count: int) -> str:
    """Bytes in readable units."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def _identity(packed: Packed) -> list[Any]:
    status = packed.path.stat()
    return [status.st_size, status.st_mtime_ns, packed.to]


def _write_note(packed: Packed, files: dict[str, int]) -> None:
    """Record that the archive is unpacked. Where nothing can be written, it is compared again next time."""
    try:
        with replacement(packed.beside("json")) as temporary:
            temporary.write_text(json.dumps({"archive": _identity(packed), "files": files}), encoding="utf-8")
        packed.beside("renaming").unlink(missing_ok=True)
    except OSError as error:
        if error.errno not in (*UNWRITABLE, errno.ENOENT):
            raise


def _resource_error(error: OSError, packed: Packed) -> ResourceError:
    if is_full(error):
        free = shutil.disk_usage(packed.folder).free
        what = f"disk full while unpacking {printable_path(packed.name)} ({_size(free)} free): {packed.folder}"
        return ResourceError(what, "free space, then posezoo data prepare again")
    where = error.filename if isinstance(error.filename, str) else packed.folder
    what = f"cannot unpack {printable_path(packed.name)}: {printable_path(str(where))}: {error.strerror or error}"
    return ResourceError(what, "unpack in a folder that you may write to, and name it with --root")
