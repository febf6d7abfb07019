"""Tables that fit the terminal: numbers, names and addresses stay in one piece, long text ends in an ellipsis.

One mechanism for every command. What is too wide is, in this order: shortened after a whole word (`whole`: wrapped
between words), turned so that its few rows become columns, shown without its last columns of words (said below it), or
written as a block of lines for each row. Where the output is no terminal nothing is shortened or wrapped. Tables of
studies and grids are whole, and their models become letters with a legend before anything else is done but wrapping.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from posezoo.base.errors import redacted
from posezoo.catalogue.settings import setting_text

SHORTEST = 24  # characters that are left of a long text, at the least
PHRASE = 16  # of one that is wrapped
LONGEST_NUMBER = 32  # characters: `5.832 (5.656 to 6.967)`; what begins with a digit and is longer is text
NO_EDGE = 1_000_000
MOST_TURNED = 6  # rows that may become columns
NAMES = ("model", "cell")  # columns whose names may become letters

Row = Sequence[str]


class Output(Console):
    """rich's console, but a closed pipe is an ordinary error: rich would end the process and close stdout."""

    def on_broken_pipe(self) -> None:
        raise  # the BrokenPipeError that is being handled


class Fitted(NamedTuple):
    """A table that fits."""

    header: Row
    rows: Sequence[Row]
    widths: Sequence[int]
    hidden: Row = ()
    """The names of columns that are left out."""


def print_table(title: str, header: Row, rows: Sequence[Row], whole: bool = False, letters: bool = False) -> None:
    """One table on stdout, numbers right-aligned. `whole`: nothing is shortened. `letters`: may stand for models."""
    console = Output()
    header = [safe(name) for name in header]
    rows = [[safe(cell) for cell in row] for row in rows]
    _print_title(title, console)
    width = line_width(console)
    if letters and _widths(header, rows, width, whole) is None:
        rows, legend = with_letters(header, rows)
        print_lines(*(f"{letter}: {name}" for name, letter in legend.items()))
    fitted = fit(header, rows, width, whole)
    if fitted is None:
        for row in rows:
            print_facts("", {name: cell for name, cell in zip(header, row, strict=True) if cell}, whole, console)
            console.print()
        return
    table = Table()
    for place, name in enumerate(fitted.header):
        right = bool(rows) and all(is_number(row[place]) for row in fitted.rows)
        table.add_column(Text(name), width=fitted.widths[place], justify="right" if right else "left")
    for row in fitted.rows:
        cells = (_shortened(cell, fitted.widths[n]) if n and not whole else cell for n, cell in enumerate(row))
        table.add_row(*map(Text, cells))
    console.width = max(console.width, sum(fitted.widths) + 3 * len(fitted.widths) + 1)
    console.print(table)
    if fitted.hidden:
        console.print(Text(f"not shown: {', '.join(fitted.hidden)} (--no-truncate shows all)"), soft_wrap=True)


def fit(header: Row, rows: Sequence[Row], width: int, whole: bool = False) -> Fitted | None:
    """The table in at most `width` characters; None if only a block for each row keeps its names and numbers whole."""
    widths = _widths(header, rows, width, whole)
    if widths is not None:
        return Fitted(header, rows, widths)
    if 0 < len(rows) <= MOST_TURNED:
        first, *others = zip(header, *rows, strict=True)
        widths = _widths(first, others, width, whole=True)
        if widths is not None:
            return Fitted(first, others, widths)
    kept = list(range(len(header)))
    while not whole and (text := [n for n in kept[1:] if not all(is_number(row[n]) for row in rows)]):
        kept.remove(text[-1])
        part = [[row[n] for n in kept] for row in (header, *rows)]
        widths = _widths(part[0], part[1:], width, whole)
        if widths is not None:
            return Fitted(part[0], part[1:], widths, [name for n, name in enumerate(header) if n not in kept])
    return None


def with_letters(header: Row, rows: Sequence[Row]) -> tuple[list[list[str]], dict[str, str]]:
    """The rows with a letter for each name in their columns NAMES, and name -> letter."""
    places = [place for place, name in enumerate(header) if name in NAMES]
    names = dict.fromkeys(row[place] for row in rows for place in places)
    legend = {name: chr(ord("A") + n) if n < 26 else str(n) for n, name in enumerate(names)}
    return [[legend[cell] if n in places else cell for n, cell in enumerate(row)] for row in rows], legend


def print_lines(*lines: str) -> None:
    """Lines of words on stdout, in a terminal broken between words alone."""
    console = Output()
    for line in lines:
        console.print(Text(words_within(line, console)), soft_wrap=True, highlight=False)


def words_within(text: str, console: Console) -> str:
    """The text with breaks between words where the terminal would break it anywhere; as it is where there is none."""
    width = line_width(console)
    return text if width == NO_EDGE else "\n".join(part for line in text.split("\n") for part in _wrapped(line, width))


def line_width(console: Console) -> int:
    """Of a terminal its width. A pipe that FORCE_COLOR colours has no edge, unless COLUMNS says where."""
    has_edge = console.is_terminal and (console.file.isatty() or "COLUMNS" in os.environ)
    return console.width if has_edge else NO_EDGE


def print_facts(title: str, facts: Mapping[str, str], whole: bool = True, console: Console | None = None) -> None:
    """Names and values on stdout, a line each; long values are wrapped between words (not `whole`: shortened).

    A word longer than the line, such as an address, is never broken; one that fits alone has a line of its own.
    """
    console = console or Output()
    _print_title(title, console)
    indent = max(map(len, facts), default=0) + 2
    width = max(line_width(console) - indent, SHORTEST)
    for name, value in facts.items():
        lines = []
        for line in safe(value).split("\n"):
            lines += _wrapped(line, width) if whole else [_shortened(line, width)]
        if cell_len(lines[0]) > width:
            lines.insert(0, "")
        for number, line in enumerate(lines):
            label = Text(f"{'' if number else safe(name):{indent}}", style="bold")
            if cell_len(line) > width:
                label = Text(" " * min(indent, max(0, console.width - cell_len(line))))
            console.print((label + Text(line)) if line else label, soft_wrap=True, highlight=False)


def print_keys(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Settings on stdout, a table for each group. Keys and values stay whole, so all words share one column."""
    console = Output()
    _print_title(title, console)
    for group in dict.fromkeys(row["group"] for row in rows):
        own, valued = [row for row in rows if row["group"] == group], "value" in rows[0]
        cells = []
        for row in own:
            kind = f"{row['type']}; {setting_text(row['default'])}" if valued else row["type"]
            value = setting_text(row["value" if valued else "default"])
            cells.append([row["key"], value, f"{row['what']} ({kind})".lstrip()])
        header = ["key", "value", "what it is (type; default)"] if valued else ["key", "default", "what it is (type)"]
        print_table(group, header, cells, whole=True)


def print_how_to(found: Mapping[str, Any]) -> None:
    """The answer of `posezoo.data.how_to` on stdout: facts, the layout, numbered steps."""
    unknown = "unknown: see the page" if found["page"] else ""
    gigabytes = {key: f"{found[key]:g} GB" if found[key] else "" for key in ("download_gb", "disk_gb", "cache_gb")}
    facts = {
        "what": found["summary"],
        "licence": found["licence"],
        "page": found["page"],
        "frames": ", ".join(f"{count:,} {split}" for split, count in found["frames"].items()),
        "archives": "\n".join(_archive(archive) for archive in found["archives"]),
        "download": gigabytes["download_gb"] or unknown,
        "unpacked": f"images of at most {gigabytes['disk_gb']}" if gigabytes["disk_gb"] else unknown,
        "image cache": f"about {gigabytes['cache_gb']} more" if gigabytes["cache_gb"] else "",
        "folder": f"{found['folder']} ({'here' if found['here'] else 'not here yet'})",
        "layout": found["layout"],
    }
    print_facts(found["name"], {key: value for key, value in facts.items() if value})
    print_facts("", {f"{number:2}.": step for number, step in enumerate(found["steps"], 1)})


def safe(text: str) -> str:
    """The text without secrets, control characters of each line as escapes: it may come from an untrusted file."""
    return "\n".join(escaped(line) for line in redacted(text).split("\n"))


def escaped(text: str) -> str:
    """`text` with control characters and undecodable bytes as escapes."""
    text = "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def is_number(cell: str) -> bool:
    """Whether a cell is a number, a range or two of them; an empty one counts."""
    return cell in ("", "-", "—", "inf") or (cell[:1] in "0123456789-" and len(cell) <= LONGEST_NUMBER)


def _print_title(title: str, console: Console) -> None:
    for line in _wrapped(safe(title), console.width if console.is_terminal else NO_EDGE) if title else ():
        console.print(Text(line, style="italic"), soft_wrap=True)


def _widths(header: Row, rows: Sequence[Row], width: int, whole: bool) -> list[int] | None:
    """The width of each column if the table fits `width`; None if a number, a name or a first word would break."""
    least, most = [], []
    for place, name in enumerate(header):
        lines = [line for row in rows for line in row[place].split("\n")]
        longest = max(map(cell_len, lines), default=0)
        title = max(map(cell_len, name.split()), default=0)
        if _is_whole(lines):
            short = longest
        else:  # text: the first column is a name of several words, which is wrapped
            pieces = _words(lines) if whole or not place else (_shortened(line, 1) for line in lines)
            short = min(longest, max(PHRASE if whole else SHORTEST, *map(cell_len, pieces)))
        least.append(max(title, short))
        most.append(max(cell_len(name), longest))
    room = width - 3 * len(header) - 1 - sum(least)
    if room < 0:
        return None
    while room and (narrow := [place for place in range(len(least)) if least[place] < most[place]]):
        # all that can grow do, the narrowest first
        place = min(narrow, key=least.__getitem__)
        grown = min(room, most[place] - least[place]) if len(narrow) == 1 or width == NO_EDGE else 1
        least[place] += grown
        room -= grown
    return least


def _is_whole(lines: Iterable[str]) -> bool:
    """Whether these are numbers or names, which are not shortened."""
    return all(is_number(line) or " " not in line for line in lines)


def _words(lines: Iterable[str]) -> Iterable[str]:
    return (word for line in lines for word in line.split())


def _shortened(text: str, width: int) -> str:
    """Each line cut after the last whole word that fits; a first word is never cut."""
    lines = []
    for line in text.split("\n"):
        kept = line
        while cell_len(kept) + (kept != line) > width and " " in kept:
            kept = kept.rpartition(" ")[0].rstrip(" ,;:(")
        lines.append(line if kept == line else f"{kept}…")
    return "\n".join(lines)


def _wrapped(line: str, width: int) -> list[str]:
    return textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False, drop_whitespace=True) or [""]


def _archive(archive: Mapping[str, Any]) -> str:
    size = f" ({archive['size_gb']:g} GB)" if archive["size_gb"] else ""
    place = "" if archive["to"] == "." else f", unpacked to {archive['to']}"
    return f"{archive['file']}{size}{place}"
