"""Strict numbers and tables: what Python would accept and a pose file must not hold is a finding with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from posezoo.base.errors import Finding
from posezoo.base.files.tables import numbers, read_csv, read_text

NO_NUMBERS = [
    "nan",
    "NaN",
    "-nan",
    "inf",
    "-Infinity",
    "1e400",
    "-1e999",
    "1_000",
    "٣",
    "٣.٥",
    "１",
    "-1.#IND",
    "1.#QNAN",
]
NO_NUMBERS += ["1,5", "0x10", "1e", "e5", "--1", "+-1", "1 2", "", " ", ".", "-", "1..2", "1.2.3", "True", "None", "1j"]
NO_NUMBERS += ["1\0", "\ufeff1", "1f", "½", "²", "1e1e1", "\udcff", "NULL", "#REF!", '"1"']


@pytest.mark.parametrize("text", NO_NUMBERS, ids=ascii)
def test_no_number(text: str) -> None:
    findings: list[Finding] = []
    assert numbers(["1.0", text], "poses.csv", 17, findings) is None
    assert str(findings[0]).startswith("poses.csv:17: value 2 is not a finite number: ")
    assert str(findings[0]).isprintable()


@pytest.mark.parametrize("text", ["1", "-0", "+2.5", ".5", "5.", "1e-001", "1E+3", " 7 ", "0" * 400, "1e-400", "\t3"])
def test_numbers(text: str) -> None:
    findings: list[Finding] = []
    assert numbers([text], "poses.csv", 2, findings) == [float(text)]
    assert findings == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a,b\n1\n", "t.csv:2: expected 2 columns, got 1: '1'"),
        (b"a,b\n1,2,3\n", "t.csv:2: expected 2 columns, got 3"),
        (b"a;b\n1;2\n", "t.csv:1: column a, b is missing (header: 'a;b')"),
        (b"a,b\n1,\0\n", "t.csv:2: not a line of text"),
        (b"a,b\n" + b"1" * 10_000_000 + b",2\n", "t.csv:2: not a line of text"),
        (b'a,b\n"1,2\n', "t.csv:2: unexpected end of data"),
        (b"a,b,a\n1,2,3\n", "t.csv:1: column 'a' stands there twice"),
        (b"a," + b"b" * 200_000 + b"\n1,2\n", "t.csv:1: field larger than"),
        (b"", "t.csv: empty file"),
        (b"\xef\xbb\xbf\r\n", "t.csv: empty file"),
        (None, "t.csv: no such file"),
    ],
)
def test_bad_tables(tmp_path: Path, content: bytes | None, words: str) -> None:
    if content is not None:
        (tmp_path / "t.csv").write_bytes(content)
    findings: list[Finding] = []
    assert list(read_csv(tmp_path / "t.csv", "t.csv", ("a", "b"), findings)) == []
    assert str(findings[0]).startswith(words)
    assert len(str(findings[0])) < 160


@pytest.mark.parametrize("content", [b"\xef\xbb\xbfa,b\n1,2\n", b"a,b\r\n1,2\r\n", b"a , b\n 1,2 ", b"a,b\n\n1,2\n\n"])
def test_good_tables(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    findings: list[Finding] = []
    ((line, row),) = read_csv(tmp_path / "t.csv", "t.csv", ("a", "b"), findings)
    assert (row, findings) == ({"a": "1", "b": "2"}, [])
    assert line in (2, 3)


def test_what_is_no_file_is_a_finding(tmp_path: Path) -> None:
    findings: list[Finding] = []
    assert read_text(tmp_path, "folder", findings) is None
    assert [str(finding) for finding in findings] == ["folder: not a regular file"]
