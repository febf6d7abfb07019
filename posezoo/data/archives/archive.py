"""The members of a benchmark's archive, every one checked before a byte is written.

    with Archive(path, Budget(path)) as archive:
        for member in archive.members:
            for chunk in archive.chunks(member): ...

zip, tar and tar.gz, recognised by their first bytes. An archive is not trusted: one member that is not a regular file,
whose name leaves the folder, or that appears twice refuses it as a whole, and so does a size far larger unpacked than
packed. What cannot be read is a DataError that names archive and member.

Nothing of this is left to the standard library: tarfile's `data` filter accepts links and makes an absolute path a
relative one, zipfile removes `..` from a path. Here each of them refuses the archive.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import os
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from posezoo.base.errors import DataError
from posezoo.base.paths import printable_path

WORK = ".posezoo"
"""The folder beside the data in which unpacking keeps its records; no archive may write there."""
NESTED = (".zip", ".tar", ".tar.gz", ".tgz")
RATIO, FREELY = 100, 16_000_000  # an archive may become 100 times its size, or 16 MB: pictures become about as large
MOST_MEMBERS = 1_000_000
LONGEST_NAME, LONGEST_PATH, DEEPEST = 255, 2000, 32
CHUNK = 1 << 20
AGAIN = "fetch it again, from the official page"
OTHERWISE = "unpack it with another program, then posezoo data prepare again"
_DAMAGE = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, struct.error, EOFError, ValueError, OverflowError,
    RecursionError, NotImplementedError, RuntimeError, OSError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Member:
    """One file of an archive: its path, relative, with slashes; its size in bytes, as the archive claims."""

    path: str
    size: int
    entry: Any


class Budget:
    """How many bytes one archive may become, including the archives inside it."""

    def __init__(self, path: Path) -> None:
        self.name, self.packed = path.name, path.stat().st_size
        self.limit = max(FREELY, RATIO * self.packed)
        self.claimed = self.written = 0

    def count(self, claimed: int = 0, written: int = 0) -> None:
        """Add bytes that its table claims, or that it gave. Raises DataError beyond the limit."""
        self.claimed += claimed
        self.written += written
        if max(self.claimed, self.written) > self.limit:
            what = f"{self.packed / 1e6:.1f} MB would become over {self.limit / 1e6:.0f} MB"
            raise DataError(f"archive {printable_path(self.name)} is too large unpacked: {what}", AGAIN)


class Archive:
    """An open archive whose `members` (files only) have all been checked. `name`: what messages call it."""

    def __init__(self, path: Path, budget: Budget, name: str = "") -> None:
        self.path, self.name, self._budget = path, printable_path(name or path.name), budget
        self.members: list[Member] = []
        self._is_file: dict[str, bool] = {}  # of each path, folders included
        self._open: Any = None  # opens a member
        self._closing = contextlib.ExitStack()

    def __enter__(self) -> Archive:
        with contextlib.ExitStack() as closing, self._reading():
            file: Any = closing.enter_context(self.path.open("rb"))
            head = file.read(512)
            file.seek(0)
            if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
                packed = closing.enter_context(zipfile.ZipFile(file))
                self._open = packed.open
                for info in packed.infolist():
                    self._add_zip(info)
            elif head[:2] == b"\x1f\x8b" or head[257:262] == b"ustar":
                if head[:2] == b"\x1f\x8b":
                    file = closing.enter_context(gzip.GzipFile(fileobj=file))
                file = _Bounded(file)
                tar = closing.enter_context(
                    tarfile.open(fileobj=file, mode="r:", encoding="utf-8", errors="surrogateescape")
                )
                self._open = tar.extractfile
                for entry in tar:
                    self._add_tar(entry)
                if file.last != bytes(tarfile.BLOCKSIZE):
                    raise tarfile.ReadError("it ends too early")  # if cut between two members, tarfile reports nothing
            else:
                begins = ascii(head[:16].decode("latin-1"))
                raise DataError(f"{self.name} is not a zip, tar or tar.gz: it begins with {begins}", AGAIN)
            self._closing = closing.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._closing.close()

    def chunks(self, member: Member) -> Iterator[bytes]:
        """The member's bytes, exactly as many as it claims. Raises DataError for more, for fewer, for damage."""
        left = member.size
        with self._reading(member.path), self._open(member.entry) as file:
            while chunk := file.read(CHUNK):
                left -= len(chunk)
                if left < 0:
                    raise self._refused(member.path, f"is larger than the {member.size} bytes it claims")
                self._budget.count(written=len(chunk))
                yield chunk
        if left:
            raise self._refused(member.path, f"is {left} bytes shorter than it claims")

    def _add_zip(self, info: zipfile.ZipInfo) -> None:
        name = info.orig_filename  # `filename` ends at the first NUL
        kind = stat.S_IFMT(info.external_attr >> 16)
        folder = name.endswith(("/", "\\")) or kind == stat.S_IFDIR
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise self._refused(name, "is a link" if kind == stat.S_IFLNK else "is not a regular file")
        if info.flag_bits & 1 and not folder:
            raise self._refused(name, "is encrypted", OTHERWISE)
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) and not folder:
            raise self._refused(name, f"is packed by method {info.compress_type}, unknown here", OTHERWISE)
        self._add(name, info.file_size, None if folder else info)

    def _add_tar(self, entry: tarfile.TarInfo) -> None:
        if not entry.isdir() and not entry.isreg():
            raise self._refused(entry.name, "is a link" if entry.issym() or entry.islnk() else "is not a regular file")
        self._add(entry.name, entry.size, None if entry.isdir() else entry)

    def _add(self, name: str, size: int, entry: Any) -> None:
        """Add the member, a folder if `entry` is None. Raises DataError for a name or size it must not have."""
        path, problem = safe_path(name)
        if entry is not None and not problem:
            problem = "has no name" if not path else f"claims {size} bytes" if size < 0 else ""
        if problem:
            raise self._refused(name, problem)
        parts = path.split("/")
        for folder in ["/".join(parts[:n]) for n in range(1, len(parts))] + [path] * (entry is None):
            if self._is_file.setdefault(folder, False):
                raise self._refused(folder, "is both a file and a folder")
        if entry is None:
            return
        if path in self._is_file:
            twice = self._is_file[path]
            raise self._refused(path, "appears twice" if twice else "is both a file and a folder")
        self._is_file[path] = True
        self._budget.count(claimed=size)
        self.members.append(Member(path, size, entry))
        if len(self.members) > MOST_MEMBERS:
            raise DataError(f"{self.name} has over {MOST_MEMBERS} members", AGAIN)

    def _refused(self, member: str, problem: str, hint: str = AGAIN) -> DataError:
        member = printable_path(member if len(member) <= 100 else member[:97] + "...")
        return DataError(f"{self.name}: member {member} {problem}", hint)

    @contextlib.contextmanager
    def _reading(self, member: str = "") -> Iterator[None]:
        try:
            yield
        except _DAMAGE as error:
            # an error with a number is the disk's fault, except EINVAL: a seek before the file's start
            if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
                raise
            reason = f"({printable_path(str(error) or type(error).__name__)})"
            if member:
                raise self._refused(member, f"is damaged {reason}") from error
            after = f" at or after member {printable_path(self.members[-1].path)}" if self.members else ""
            raise DataError(f"{self.name} is damaged{after} {reason}", AGAIN) from error


def safe_path(name: str) -> tuple[str, str]:
    """(`name` as a relative path with slashes, what is wrong with it or ""). "" is the folder itself.

    Names that are not UTF-8 are kept byte for byte, as surrogates. A backslash counts as a slash, as in Windows zips.
    """
    text = name.replace("\\", "/")
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if "\0" in text:
        return "", "has a NUL in its name"
    if text.startswith("/") or re.match(r"[A-Za-z]:", text):
        return "", "has an absolute path"
    if ".." in parts:
        return "", "points outside the folder"
    if any(part.casefold() == WORK for part in parts):
        return "", f"has the name of posezoo's own folder {WORK}"
    try:
        lengths = [len(os.fsencode(part)) for part in parts]
    except UnicodeEncodeError:
        return "", "has a name that no file can have"
    if max(lengths, default=0) > LONGEST_NAME or sum(lengths) > LONGEST_PATH or len(parts) > DEEPEST:
        return "", "has too long a path"
    return "/".join(parts), ""


class _Bounded:
    """A file that reads at most 16 MB at once: no tar header can demand all memory. `last`: the last bytes read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.last = file, b""
        self.seek, self.tell, self.close = file.seek, file.tell, file.close

    def read(self, size: int) -> bytes:
        if not 0 <= size <= 16 * CHUNK:
            raise tarfile.ReadError(f"a header of {size} bytes")
        self.last = self._file.read(size)
        return self.last
