"""The catalogue's TOML files, read and validated. The folders themselves: posezoo.catalogue.entries."""

from __future__ import annotations

import contextlib
import tomllib
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter

from posezoo.base.errors import PluginError, UsageError
from posezoo.catalogue.forms import (
    AppearanceCard,
    DataCard,
    External,
    Grid,
    LabelCard,
    ModelCard,
    Published,
    Recipe,
    ResultTable,
    SizeCard,
    WeightsCard,
)

SECTIONS: dict[str, type[BaseModel]] = {
    "datasets": DataCard,
    "models": ModelCard,
    "sizes": SizeCard,
    "labels": LabelCard,
    "recipes": Recipe,
    "results": ResultTable,
    "weights": WeightsCard,
    "published": Published,
    "grids": Grid,
    "appearances": AppearanceCard,
}
"""Folder of a catalogue -> the form of its entries."""


def own_folder() -> Path:
    """posezoo's own catalogue."""
    here = Path(__file__).parent.parent
    return here / "_registry" if (here / "_registry").is_dir() else here.parent / "registry"


def check_catalogue(folder: Path, beside: Sequence[Path]) -> None:
    """Raise PluginError if a file of the catalogue `folder` is invalid, or an entry is in one of `beside` too."""
    if not folder.is_dir():
        raise PluginError(f"catalogue {folder}: no such folder")
    for section in SECTIONS:
        if any((folder / section).glob("*.toml")):
            read(section, [*beside, folder])
    _externals(folder / "external.toml")


def raise_if_external(hook: str, kind: str, name: str, folders: Sequence[Path]) -> None:
    """Raise UsageError with the install line if `external.toml` in one of `folders` says which plugin brings `name`.

    Its tables are `[models.NAME]`, `[modifiers.NAME]` and `[readers.NAME]`.
    """
    for path in (folder / "external.toml" for folder in folders):
        found = _externals(path).get(hook.removeprefix("posezoo_"), {}).get(name)
        if found:
            raise UsageError(f'{kind} "{name}" is in {found.distribution} ({found.page})', found.install)


def _externals(path: Path) -> dict[str, dict[str, External]]:
    if not path.is_file():
        return {}
    with _valid(path):
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
        return TypeAdapter(dict[str, dict[str, External]]).validate_python(tables)


@contextlib.contextmanager
def _valid(path: Path) -> Iterator[None]:
    try:
        yield
    except (ValueError, RecursionError) as error:  # not TOML, not UTF-8, not of the form, endlessly nested
        first = str(error).replace("\n", " ")[:160]
        raise PluginError(f"catalogue file {path} is not valid: {first}") from error


def read(section: str, catalogues: Sequence[Path]) -> dict[str, Any]:
    """All tables of all TOML files of one section; each top-level table is an entry."""
    entries: dict[str, Any] = {}
    origin: dict[str, Path] = {}
    for folder in catalogues:
        for path in sorted((folder / section).glob("*.toml")):
            for name, entry in _entries(section, path, path.stat().st_mtime_ns).items():
                if name in entries:
                    raise PluginError(f'catalogue entry "{name}" is in both {origin[name]} and {path}')
                entries[name], origin[name] = entry, path
    return entries


@cache
def _entries(section: str, path: Path, modified_ns: int) -> dict[str, Any]:
    """The entries of one file, by name: read and validated once a process, unless the file is written again."""
    with _valid(path):
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
        return {name: SECTIONS[section].model_validate(table) for name, table in tables.items()}
