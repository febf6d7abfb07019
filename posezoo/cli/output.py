"""What commands print: tables, JSON, reports."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from posezoo.catalogue.settings import setting_text


def print_content(content: Any, format: str, title: str, whole: bool = False) -> None:
    """Rows (a list of dicts) as a table, a dict as names and values and a table for each list of rows in it; or JSON.

    `whole`: no cell is shortened.
    """
    from posezoo.cli.tables import print_facts, print_keys, print_table

    if format == "json":
        typer.echo(json.dumps(content, indent=1, default=str))
    elif format == "human" and _is_keys(content):
        print_keys(title, content)
    elif format == "human" and isinstance(content, list):
        header = list(content[0]) if content else ["nothing"]
        print_table(title, header, [[_cell(row[key]) for key in header] for row in content], whole)
    elif format == "human":
        tables = {key: value for key, value in content.items() if isinstance(value, list) and _is_rows(value)}
        facts = {_label(key): _shown(value) for key, value in content.items() if key not in tables}
        print_facts(title, {key: value for key, value in facts.items() if value})
        for key, value in tables.items():
            print_content(value, format, f"{title}: {_label(key)}", whole)


def print_study(rows: Sequence[Mapping[str, str]], title: str, notes: Sequence[str]) -> None:
    """The table of a study or grid, in which nothing is left out or cut, and its notes."""
    from posezoo.cli.tables import print_lines, print_table

    header = list(rows[0]) if rows else ["nothing"]
    print_table(title, header, [list(row.values()) for row in rows], whole=True, letters=True)
    print_lines(*(f"note: {line}" for line in notes))


def _label(key: str) -> str:
    return key.replace("_", " ") if key.islower() else key  # POSEZOO_DATA is one to type


def _is_rows(value: list[Any]) -> bool:
    return bool(value) and all(isinstance(row, dict) for row in value)


def _is_keys(content: Any) -> bool:
    """Whether it is rows of posezoo.cli.keys."""
    return isinstance(content, list) and _is_rows(content) and {"key", "type", "group"} <= content[0].keys()


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _shown(value: Any) -> str:
    """The value in words; nothing for one that says nothing."""
    if value is None:
        return ""
    if isinstance(value, dict):
        return "\n".join(f"{key} = {setting_text(item)}" for key, item in value.items())
    return "\n".join(map(_line, value)) if isinstance(value, (list, tuple)) else str(value)


def _line(value: Any) -> str:
    return ", ".join(f"{key} {_line(item)}" for key, item in value.items()) if isinstance(value, dict) else str(value)


def print_result(result: Any, format: str, whole: bool = False) -> None:
    """The report of a finished run, and where it is."""
    from posezoo.cli.console import duration, is_main_process

    if not is_main_process():  # torchrun started several: one table is enough
        return
    print_report(result.report, result.path / "report", result.path, format, whole)
    if format == "human":
        typer.echo(f"training took {duration(result.seconds)}")


def print_report(report: Any, folder: Path, run: Path | None, format: str, whole: bool = False) -> None:
    """The tables and notes of a report, or its JSON."""
    from posezoo.cli.tables import print_lines, print_table

    if format == "json":
        typer.echo(
            json.dumps(report.to_dict() | {"report": str(folder)} | ({"run": str(run)} if run else {}), indent=1)
        )
    if format != "human":
        return
    for title, header, rows in report.table_rows():
        print_table(title, header, rows, whole)
    print_lines(report.intervals_note, *report.cost_lines, *(f"note: {note}" for note in report.notes))
    if report.selection:
        print_lines(f"weights: {report.selection}")
    print_lines(f"report: {folder}/report.html (report.json, predictions.csv and pictures beside it)")
    if run is not None:
        print_next(f"posezoo predict {run} IMAGE...", f"posezoo eval {run}")


def print_next(*commands: str) -> None:
    """What one would type next, a line a command: to copy, so it is never broken or cut."""
    typer.echo("next: " + "\n      ".join(commands))


def print_comparison(found: Any, format: str, whole: bool = False) -> None:
    """The verdicts of a comparison and its tables, or its JSON."""
    from posezoo.base.paths import without_folders
    from posezoo.cli.tables import print_lines, print_table

    if format == "json":
        typer.echo(json.dumps(found.to_dict(), indent=1))
    if format != "human":
        return
    for number, (name, model) in enumerate(zip(found.names, found.models, strict=True)):
        print_lines(f"{chr(ord('A') + number)}: {name} ({model})")
    print_lines(f"on {without_folders(found.data)}, {found.split}: {found.num} images")
    print_lines(*(f"note: {without_folders(note)}" for note in found.notes))
    for title, header, rows in found.table_rows():
        print_table(title, header, rows, whole)
    print_lines(*found.sentences())
