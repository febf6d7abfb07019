"""What an archive may hold: each way of doing harm refuses it, in one line that names archive and member."""

from __future__ import annotations

import gzip
import io
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from archive_files import entry, write_tar, write_zip
from hypothesis import example, given, settings
from hypothesis import strategies as st
from naming import naming

from posezoo.base.errors import DataError
from posezoo.data.archives import archive as archive_room
from posezoo.data.archives.archive import Archive, Budget, Member, safe_path

FILES = {"a/1.txt": b"one", "a/b/2.txt": b"two" * 1000, "empty": b""}


def content(path: Path) -> dict[str, bytes]:
    """Everything in the archive."""
    with Archive(path, Budget(path)) as archive:
        return {member.path: b"".join(archive.chunks(member)) for member in archive.members}


def refused(path: Path, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        content(path)
    assert path.name in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("form", ["zip", "stored", "tar", "tar.gz", "gnu", "no-magic"])
def test_all_forms_whatever_they_are_called(tmp_path: Path, form: str) -> None:
    path = tmp_path / "anything"
    match form:
        case "zip" | "stored":
            write_zip(path, FILES, zipfile.ZIP_STORED if form == "stored" else zipfile.ZIP_DEFLATED)
        case "tar" | "tar.gz":
            write_tar(path, FILES, "w:gz" if form == "tar.gz" else "w")
        case "gnu":
            files = {**FILES, "long/" * 25 + "x": b"x"}
            assert content(write_tar(path, files, form=tarfile.GNU_FORMAT)) == files
            return
        case "no-magic":
            path.write_bytes(b"<!DOCTYPE html><html>log in first")
            refused(path, "is not a zip, tar or tar.gz: it begins with '<!DOCTYPE html>")
            return
    assert content(path) == FILES


def test_folders_dots_and_backslashes(tmp_path: Path) -> None:
    files = {"./a/": b"", "./a/./x": b"1", "b\\c\\y": b"2", "d\\": b""}
    assert content(write_zip(tmp_path / "z", files)) == {"a/x": b"1", "b/c/y": b"2"}


NAMES = {
    "../x": "points outside",
    "a/../../x": "points outside",
    "..\\x": "points outside",
    "..": "points outside",
    "/etc/passwd": "absolute",
    "\\\\server\\share\\x": "absolute",
    "C:\\x": "absolute",
    "c:x": "absolute",
    "x" * 300: "too long",
    "a/" * 40 + "x": "too long",
    ".posezoo/x.json": "posezoo's own folder",
    "a/.PoseZoo/x": "posezoo's own folder",
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_names_that_leave_the_folder(tmp_path: Path, name: str, kind: str) -> None:
    files = {"good": b"1", name: b"2"}
    path = tmp_path / "evil"
    write_zip(path, files) if kind == "zip" else write_tar(path, files, "w:gz" if kind == "tar.gz" else "w")
    refused(path, NAMES[name])


def test_a_nul_in_a_name(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "z", {"a/goodXbad": b"1"})
    path.write_bytes(path.read_bytes().replace(b"goodXbad", b"good\0bad"))
    refused(path, r"member a/good\\x00bad has a NUL")
    assert safe_path("a\0b") == ("", "has a NUL in its name")


def test_names_that_are_no_utf8(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "t", {"caf\udce9/\U0001f600\n\u202e.txt": b"1"}, form=tarfile.GNU_FORMAT)
    assert content(path) == {"caf\udce9/\U0001f600\n\u202e.txt": b"1"}
    path = write_zip(tmp_path / "z", {"é.txt": b"1"})
    path.write_bytes(path.read_bytes().replace("é".encode(), b"\xff\xfe"))  # says that it is UTF-8
    refused(path, r"\bz\b")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (tarfile.SYMTYPE, "member bad is a link"),
        (tarfile.LNKTYPE, "member bad is a link"),
        (tarfile.CHRTYPE, "member bad is not a regular file"),
        (tarfile.BLKTYPE, "member bad is not a regular file"),
        (tarfile.FIFOTYPE, "member bad is not a regular file"),
        (b"Z", "member bad is not a regular file"),
    ],
)
def test_tar_members_that_are_no_files(tmp_path: Path, kind: bytes, words: str) -> None:
    path = tmp_path / "t"
    with tarfile.open(path, "w") as archive:
        archive.addfile(entry("good", size=1), io.BytesIO(b"1"))
        archive.addfile(entry("bad", type=kind, linkname="/etc/passwd"))
    refused(path, words)


@pytest.mark.parametrize(("kind", "words"), [(stat.S_IFLNK, "is a link"), (stat.S_IFIFO, "is not a regular file")])
def test_zip_members_that_are_no_files(tmp_path: Path, kind: int, words: str) -> None:
    info = zipfile.ZipInfo("bad")
    info.external_attr = (kind | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "z", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    refused(tmp_path / "z", f"member bad {words}")


def test_twice_the_same(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "z", "w") as archive:
        archive.writestr("a/x", "1")
        archive.writestr("a/./x", "2")
    refused(tmp_path / "z", r"\ba/x\b")
    refused(write_tar(tmp_path / "t", {"a": b"", "a/x": b"1"}), r"\ba\b")


def test_encrypted_and_unknown_packing(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "z", {"secret": b"1"})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    data[6] |= 1
    (tmp_path / "e").write_bytes(data)
    refused(tmp_path / "e", "secret")
    refused(write_zip(tmp_path / "b", {"x": b"1" * 999}, zipfile.ZIP_BZIP2), r"\bx\b.*\b12\b")


# sizes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_a_bomb_is_refused_by_what_it_claims(tmp_path: Path, kind: str) -> None:
    path, zeros = tmp_path / "bomb", {"x": bytes(40_000_000)}
    write_zip(path, zeros) if kind == "zip" else write_tar(path, zeros, "w:gz")
    refused(path, r"\b0\.0 MB\b.*\b16 MB\b")


def test_a_member_that_is_larger_than_it_claims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_zip(tmp_path / "z", {"x": bytes(5_000_000)})
    data = bytearray(path.read_bytes())
    data[(at := data.index(b"PK\x01\x02") + 24) : at + 4] = struct.pack("<I", 10)
    path.write_bytes(data)
    refused(path, r"member x is (damaged|larger than)")  # zipfile reads ten bytes, and the checksum is another
    path = write_zip(tmp_path / "y", {"x": bytes(5_000_000)})
    with Archive(path, Budget(path)) as archive:
        (member,) = archive.members
        smaller = Member(member.path, 10, member.entry)
        with pytest.raises(DataError, match=naming("x", "10")):
            list(archive.chunks(smaller))
        with pytest.raises(DataError, match=naming("x", "1")):
            list(archive.chunks(Member(member.path, member.size + 1, member.entry)))
        budget = Budget(path)
        budget.limit = 4_000_000
        archive._budget = budget
        with pytest.raises(DataError, match=naming("y")):
            list(archive.chunks(member))


def test_a_header_that_asks_for_all_memory(tmp_path: Path) -> None:
    block = entry("x", type=tarfile.XHDTYPE, size=10**9).tobuf(tarfile.USTAR_FORMAT)
    with gzip.open(tmp_path / "t", "wb") as file:
        file.write(block + bytes(30_000_000))
    refused(tmp_path / "t", "t is damaged .a header of 1000000")


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.DIRTYPE])
def test_negative_sizes(tmp_path: Path, kind: bytes) -> None:
    """Of such a tar, tarfile reads the same header for ever."""
    block = bytearray(entry("x", type=kind).tobuf(tarfile.GNU_FORMAT))
    block[124:136] = b"\xff" * 10 + struct.pack(">h", -1024)
    block[148:156] = b" " * 8
    block[148:156] = f"{sum(block):06o}\0 ".encode()
    (tmp_path / "t").write_bytes(bytes(block) + bytes(4096))
    if kind == tarfile.DIRTYPE:  # it has no content
        assert content(tmp_path / "t") == {}
    else:
        refused(tmp_path / "t", "claims -1024 bytes|damaged")


def test_too_many_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_room, "MOST_MEMBERS", 3)
    refused(write_zip(tmp_path / "z", {str(n): b"" for n in range(4)}), r"\b3\b")


# damage ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95])
def test_an_archive_cut_short(tmp_path: Path, kind: str, share: float) -> None:
    path = tmp_path / "cut"
    noise = {f"{n}.bin": bytes((n * k * k) % 251 for k in range(3000)) for n in range(8)}
    write_zip(path, noise) if kind == "zip" else write_tar(path, noise, "w:gz" if kind == "tar.gz" else "w")
    whole = path.read_bytes()
    end = len(whole) if kind != "tar" else whole.rindex(noise["7.bin"]) + 3072
    path.write_bytes(whole[: int(share * end)])
    refused(path, "damaged")


def test_a_tar_cut_between_two_members(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "t", {"a": b"1", "b": b"2"})
    path.write_bytes(path.read_bytes()[:1024])
    refused(path, "t is damaged at or after member a .it ends too early")


def test_a_wrong_checksum_names_the_member(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "z", {"good": b"1", "sub/bad": b"abcdefgh"}, zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b"abcdefgh", b"abcdefgX"))
    refused(path, "sub/bad.*CRC-32")


FORMS: tuple[Callable[[Path], Path], ...] = (
    lambda path: write_zip(path, FILES),
    lambda path: write_tar(path, FILES),
    lambda path: write_tar(path, FILES, "w:gz"),
)


@settings(max_examples=150)
@example(0, [(1.0, b"\x01\0\0")])  # the list of members is said to stand 16 MB on: they come to stand before the start
@given(st.sampled_from(range(3)), st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=12)), max_size=4))
def test_damaged_archives_raise_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, form: int, changes: list[tuple[float, bytes]]
) -> None:
    path = FORMS[form](tmp_path_factory.mktemp("fuzz") / "a")
    data = bytearray(path.read_bytes())
    for place, new in changes:
        at = int(place * (len(data) - len(new)))
        data[at : at + len(new)] = new
    path.write_bytes(data)
    try:
        found = content(path)
    except DataError:
        return
    assert all(safe_path(name) == (name, "") for name in found)


@given(st.lists(st.sampled_from(["..", "/", "\\", "a", ".", "C:", "\0", "", "\udcff", ".posezoo"])).map("".join))
def test_a_safe_path_stays_inside(name: str) -> None:
    path, problem = safe_path(name)
    if not problem:
        inside = Path("/data/set", path)
        assert ".." not in inside.parts
        assert inside.is_relative_to("/data/set")
