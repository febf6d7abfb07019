"""Unpack a benchmark's archives beside them: a kill at any moment, and the same call goes on.

    <folder>/.posezoo/lock                  held while unpacking: a second process waits, then finds the work done
    <folder>/.posezoo/unpacking-<archive>/  an archive comes out here, whole, and is then renamed into its place
    <folder>/.posezoo/<archive>.renaming    there while that goes on: until it is done, the data count as incomplete
    <folder>/.posezoo/<archive>.json        what came out of an archive: size and time of the archive, paths, sizes

The archive is never changed, and no file that is there is ever replaced: one that is there must hold what the archive
holds, byte for byte, and then stays. So an archive that was unpacked by hand, or whose renaming was cut short, is
compared and completed. Archives inside an archive (`NESTED`) are unpacked where they lie, one level deep.
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
from posezoo.base.files.write import is_full, whole
from posezoo.base.observe import Note, Stages
from posezoo.base.paths import shown
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
    """What unpacking one archive did: files written, files that were there already."""

    name: str
    written: int
    kept: int


def archives_of(card: forms.DataCard, folder: Path, wanted: Callable[[str], bool]) -> tuple[list[Packed], list[str]]:
    """(the card's archives in `folder`, the patterns that fit no file) of the parts (scenes, sequences) `wanted`."""
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
    """Whether the archive came out whole, and every file of it is still there in its size."""
    try:
        note = json.loads(packed.beside("json").read_text(encoding="utf-8"))
        if note["archive"] != _identity(packed) or packed.beside("renaming").exists():
            return False
        target = packed.folder / packed.to
        return all((target / path).stat().st_size == size for path, size in note["files"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False


def interrupted(card: forms.DataCard, folder: Path, wanted: Callable[[str], bool]) -> list[str]:
    """The card's archives, of the parts `wanted`, of which a killed process has put only some files in place."""
    names = sorted(unquote(path.stem) for path in (folder / WORK).glob("*.renaming"))
    patterns = [entry.file for entry in card.archives if not entry.part or wanted(entry.part)]
    return [name for name in names if any(fnmatch.fnmatch(name, pattern) for pattern in patterns)]


@contextlib.contextmanager
def held(folder: Path, tell: Note) -> Iterator[None]:
    """Only this process unpacks in `folder`; another one waits, which `tell` says. What killed ones left is removed.

    A folder that cannot be written needs no lock: in it files can only be compared.
    """
    work = folder / WORK
    held = None
    try:
        work.mkdir(exist_ok=True)
        if work.is_symlink():
            raise ResourceError(f"{work} is a link", "remove it")
        held = lock(work / "lock", lambda: tell(f"another posezoo unpacks in {folder}: waiting for it"))
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
    try:
        for leftover in work.glob("unpacking-*") if held else ():
            shutil.rmtree(leftover)
        yield
    finally:
        if held:
            held.release()


def needed(packed: Sequence[Packed], progress: Stages) -> int:
    """Bytes that unpacking these takes on the disk, at least. Every archive's table is checked on the way."""
    total = 0
    for n, one in enumerate(packed):
        progress("checking archives", n, len(packed))
        with Archive(one.path, Budget(one.path), one.name) as archive:
            total += _missing(archive.members, one.folder / one.to)
    progress("checking archives", len(packed), len(packed))
    return total


def check_free(folder: Path, need: int, what: str) -> None:
    """Raise ResourceError unless `need` bytes are free where `folder` lies."""
    free = shutil.disk_usage(folder).free
    if need > free:
        sizes = f"{_size(need)} needed, {_size(free)} free"
        raise ResourceError(f"too little disk space to unpack {what}: {sizes} in {folder}", "free space, then again")


def unpack(packed: Packed, progress: Stages) -> Unpacked:
    """Unpack one archive; call it inside `held`. Raises DataError for what is wrong with it, ResourceError."""
    temporary = packed.folder / WORK / f"unpacking-{quote(packed.name, safe='')[-200:]}"
    job = _Job(packed, temporary, progress)
    try:
        job.fill(packed.path, packed.name, PurePosixPath())
        if job.differing:
            count = f"{len(job.differing)} file{'s' * (len(job.differing) > 1)} here"
            first = f"(first: {shown(job.differing[0].path)})"
            hint = "move them away, then posezoo data prepare again"
            raise DataError(f"{count} not as in {shown(packed.name)} {first}", hint, job.differing)
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
    """One archive on its way into `temporary`. `files`: size by path; `differing`: what is there with other content."""

    def __init__(self, packed: Packed, temporary: Path, progress: Stages) -> None:
        self.packed, self.target, self.progress = packed, packed.folder / packed.to, progress
        self.files_folder, self.inner = temporary / "files", temporary / "inner"
        self.budget = Budget(packed.path)
        self.files: dict[str, int] = {}
        self.written = 0
        self.differing: list[Finding] = []
        self._parents: set[Path] = set()

    def fill(self, path: Path, name: str, base: PurePosixPath, depth: int = 0) -> None:
        """Write what the archive at `path` holds, below `base`; archives in it are unpacked too."""
        with Archive(path, self.budget, name) as archive:
            if depth and any("/" not in member.path for member in archive.members):
                base = base / PurePosixPath(name).name.partition(".")[0]  # loose files: a folder of the archive's name
            check_free(self.packed.folder, _missing(archive.members, self.target / base), shown(name))
            for member in archive.members:
                if not depth and member.path.lower().endswith(NESTED):
                    self._write(archive, member, self.inner)
                    self.fill(self.inner, f"{name}: {member.path}", (base / member.path).parent, depth + 1)
                    self.inner.unlink()
                else:
                    self._file(archive, member, str(base / member.path))

    def _file(self, archive: Archive, member: Member, path: str) -> None:
        """Write the member unless it is there; what is there otherwise is noted in `differing`."""
        if path in self.files:
            raise DataError(f"{archive.name}: member {shown(member.path)} stands there twice", AGAIN)
        self.files[path] = member.size
        place = self.target / path
        self._check_parent(place.parent)
        if not os.path.lexists(place):
            self._write(archive, member, self.files_folder / path)
            self.written += 1
        elif not self._same(archive, member, place):
            self.differing.append(Finding(path, 0, f"is not the file in {archive.name}"))

    def _same(self, archive: Archive, member: Member, place: Path) -> bool:
        """Whether the file at `place` holds what the member does."""
        if not place.is_file() or place.stat().st_size != member.size:
            return False
        with place.open("rb") as file:
            return all(file.read(len(chunk)) == chunk for chunk in self._told(archive.chunks(member)))

    def _write(self, archive: Archive, member: Member, place: Path) -> None:
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("xb") as out:
            out.writelines(self._told(archive.chunks(member)))

    def _told(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """The chunks; how far the archive is, is told of each."""
        for chunk in chunks:
            yield chunk
            done, total = self.budget.written >> 20, max(1, self.budget.claimed >> 20)
            self.progress(f"unpacking {shown(self.packed.name)}, MB", done, total)

    def _check_parent(self, parent: Path) -> None:
        """Raise DataError if `parent` can be no folder, or if a link leads it out of the data set's folder."""
        if parent in self._parents:
            return
        if not parent.resolve().is_relative_to(self.packed.folder.resolve()):
            raise DataError(f"{shown(str(parent))} is a link that leads outside the data set", "remove the link")
        above = next(path for path in (parent, *parent.parents) if os.path.lexists(path))
        if not above.is_dir():
            raise DataError(f"{shown(str(above))} is a file where the archive has a folder", "move it away")
        self._parents.add(parent)


def _missing(members: Sequence[Member], target: Path) -> int:
    """Bytes of the members that are not in `target`."""
    return sum(member.size for member in members if not (target / member.path).exists())


def _merge(source: Path, target: Path) -> None:
    """Rename everything from `source` into `target`: whole folders where there are none, else what is in them."""
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
    """Bytes for people."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def _identity(packed: Packed) -> list[Any]:
    status = packed.path.stat()
    return [status.st_size, status.st_mtime_ns, packed.to]


def _write_note(packed: Packed, files: dict[str, int]) -> None:
    """Say that the archive came out whole. Where nothing can be written, it is compared again next time."""
    try:
        with whole(packed.beside("json")) as temporary:
            temporary.write_text(json.dumps({"archive": _identity(packed), "files": files}), encoding="utf-8")
        packed.beside("renaming").unlink(missing_ok=True)
    except OSError as error:
        if error.errno not in (*UNWRITABLE, errno.ENOENT):
            raise


def _resource_error(error: OSError, packed: Packed) -> ResourceError:
    if is_full(error):
        free = shutil.disk_usage(packed.folder).free
        what = f"disk full while unpacking {shown(packed.name)} ({_size(free)} free): {packed.folder}"
        return ResourceError(what, "free space, then posezoo data prepare again")
    where = error.filename if isinstance(error.filename, str) else packed.folder
    what = f"cannot unpack {shown(packed.name)}: {shown(str(where))}: {error.strerror or error}"
    return ResourceError(what, "unpack in a folder that you may write to, and give it with --root")
