"""Read tables of text strictly: every problem becomes a `Finding` with path and line, none stops the reading.

Python's `float` accepts `1_000`, Arabic digits and `nan`, and `1e400` becomes infinite: pose files must not.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from posezoo.base.errors import Finding

_PLAIN = re.compile(r"[0-9+\-.eE \t]*", re.ASCII)  # of these characters `float` makes finite numbers or 1e400
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_MAX_LINE = 1 << 20  # characters; a longer line is damage, not data


def numbers(tokens: Sequence[str], path: str, line: int, findings: list[Finding]) -> list[float] | None:
    """The tokens as finite floats; None, with a finding, if one of them is not a finite number."""
    if _PLAIN.fullmatch(" ".join(tokens)):  # nearly always; all tokens at once take a third of the time
        try:
            values = list(map(float, tokens))
            if not values or (min(values) > -1e300 and max(values) < 1e300):  # such characters make no NaN
                return values
        except ValueError:
            pass
    values = []
    for place, token in enumerate(tokens, 1):
        token = token.strip()
        value = float(token) if _NUMBER.fullmatch(token) else float("nan")
        if not -1e300 < value < 1e300:
            findings.append(Finding(path, line, f"value {place} is not a finite number: {token[:60]!a}"))
            return None
        values.append(value)
    return values


def read_text(path: Path, shown: str, findings: list[Finding]) -> str | None:
    """The file's text (UTF-8, BOM accepted); None, with a finding, if it is missing or not a file."""
    try:
        if not path.is_file():
            findings.append(Finding(shown, 0, "no such file" if not path.exists() else "not a regular file"))
            return None
        return path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    except OSError as error:
        findings.append(Finding(shown, 0, error.strerror or str(error)))
        return None


def read_lines(path: Path, shown: str, findings: list[Finding], longest: int = _MAX_LINE) -> Iterator[tuple[int, str]]:
    """Yield (number, line) of a text file's lines. A line that is not text is a finding and yielded empty."""
    text = read_text(path, shown, findings) or ""
    for number, line in enumerate(text.split("\n"), 1):  # not splitlines: a file name may hold U+2028
        bad = len(line) > longest or "\0" in line
        if bad:
            findings.append(Finding(shown, number, "not a line of text"))
        yield number, "" if bad else line


def read_csv(
    path: Path, shown: str, required: Sequence[str], findings: list[Finding]
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (line number, row by column name) of a CSV file with a header.

    A missing required column, a row with another number of columns and a NUL are findings; such rows are left out.
    """
    text = read_text(path, shown, findings)
    if text is None:
        return
    if not text.strip():
        findings.append(Finding(shown, 0, "empty file"))
        return
    lines = text.split("\n")  # not splitlines: a file name may hold U+2028
    try:
        header = [name.strip() for name in next(csv.reader([lines[0]]))] if len(lines[0]) < _MAX_LINE else []
    except csv.Error as error:
        findings.append(Finding(shown, 1, f"{error}: {lines[0][:60]!a}"))
        return
    if len(set(header)) < len(header):
        twice = next(name for name in header if header.count(name) > 1)
        findings.append(Finding(shown, 1, f"column {twice[:40]!a} stands there twice"))
        return
    missing = [name for name in required if name not in header]
    if missing:
        findings.append(Finding(shown, 1, f"column {', '.join(missing)} is missing (header: {lines[0][:60]!a})"))
        return
    for line, raw in enumerate(lines[1:], 2):
        if not raw.strip():
            continue
        if "\0" in raw or len(raw) > _MAX_LINE:
            findings.append(Finding(shown, line, "not a line of text"))
            continue
        try:
            row = next(csv.reader([raw], strict=True)) if '"' in raw else raw.split(",")
        except csv.Error as error:
            findings.append(Finding(shown, line, f"{error}: {raw[:60]!a}"))
            continue
        if len(row) != len(header):
            found = f"expected {len(header)} columns, got {len(row)}: {raw[:60]!a}"
            findings.append(Finding(shown, line, found))
            continue
        if " " in raw or not raw.isprintable():  # else there is nothing to strip, and there may be 1e5 rows
            row = list(map(str.strip, row))
        yield line, dict(zip(header, row, strict=True))
