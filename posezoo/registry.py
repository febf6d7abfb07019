"""Read the catalogue: TOML files about models, weights, data sets, recipes, results. Data only, no torch.

In a wheel the catalogue is `posezoo/_registry`, in a checkout `../registry`; plugins add folders of the same layout
through the hook `posezoo_catalogues`. Two entries of one name are an error that names both files. What an entry says:
posezoo.cards.
"""

from __future__ import annotations

import contextlib
import os
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import BaseModel, TypeAdapter

from posezoo import names, plugins
from posezoo.cards import (
    AppearanceCard,
    DataCard,
    External,
    Grid,
    LabelCard,
    ModelCard,
    Published,
    Recipe,
    Result,
    ResultTable,
    WeightsCard,
)
from posezoo.errors import PluginError, ResourceError, UsageError, near, unknown_name

SECTIONS: dict[str, type[BaseModel]] = {
    "datasets": DataCard,
    "models": ModelCard,
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
    here = Path(__file__).parent
    return here / "_registry" if (here / "_registry").is_dir() else here.parent / "registry"


def folders() -> list[Path]:
    """The catalogue folders: posezoo's own first, then the plugins'."""
    return [own_folder(), *(Path(spec.folder) for spec in plugins.catalogues().values())]


def check(folder: Path, beside: Sequence[Path]) -> None:
    """Raise PluginError if a file of the catalogue `folder` is not valid, or an entry stands in one `beside` it too."""
    if not folder.is_dir():
        raise PluginError(f"catalogue {folder}: no such folder")
    for section in SECTIONS:
        if any((folder / section).glob("*.toml")):
            _read(section, [*beside, folder])
    _externals(folder / "external.toml")


def data_cards() -> dict[str, DataCard]:
    """All data sets by name."""
    return _read("datasets")


def model_cards() -> dict[str, ModelCard]:
    """Published settings by architecture or combination."""
    return _read("models")


def label_cards() -> dict[str, LabelCard]:
    """The labels of published models, by the name of the data set."""
    return _read("labels")


def cards_of(arch: str, modifiers: Sequence[str] = (), tag: str = "") -> tuple[list[ModelCard], list[ModelCard]]:
    """(cards of the architecture and of the combination, cards of the variant `tag` of either).

    Raises UsageError with the known variants.
    """
    cards = model_cards()
    combination = "+".join([arch, *modifiers])
    own = list(dict.fromkeys((arch, combination)))
    chosen = [cards[f"{name}.{tag}"] for name in own if f"{name}.{tag}" in cards] if tag else []
    if tag and not chosen:
        known = [variant for name in own for variant in variants(name)]
        hint = f"known: {', '.join(known)}" if known else f"{arch} has no variants: say {combination}"
        raise unknown_name("variant", f"{combination}.{tag}", known, hint)
    return [cards[name] for name in own if name in cards], chosen


def variants(name: str) -> dict[str, ModelCard]:
    """The variants of an architecture or combination, by full name."""
    return {key: card for key, card in sorted(model_cards().items()) if key.startswith(f"{name}.")}


def recipes() -> dict[str, Recipe]:
    """All recipes by name."""
    return _read("recipes")


def results() -> dict[str, ResultTable]:
    """All tables of results by name."""
    return _read("results")


def results_of(model: str) -> list[tuple[ResultTable, Result]]:
    """Every result of an architecture or combination, whatever its settings, variant or kind of modifier."""

    def bare(name: str) -> list[str]:
        parsed = names.parse_model(name)
        return [parsed.arch, *(modifier for modifier, _ in parsed.modifiers)]

    rows = [(table, row) for table in results().values() for row in table.rows if row.model]
    return [(table, row) for table, row in rows if bare(row.model) == bare(model)]


def published_results(model: str, data: str, ground_truth: str = "original") -> list[tuple[ResultTable, Result]]:
    """Published medians of exactly this model name, with its published settings, on exactly these data."""
    return [
        (table, row)
        for table in results().values()
        for row in table.rows
        if (row.model, row.data, row.statistic, table.ground_truth) == (model, data, "median", ground_truth)
        and table.source == "paper"
        and not (row.settings or row.scene or row.sequence)
    ]


def weights_cards() -> dict[str, WeightsCard]:
    """All trained models by alias."""
    return _read("weights")


def published(folder: Path | None = None) -> dict[str, Published]:
    """Where weights are, by alias, in all catalogues or in that of `folder`; what is not here is not published."""
    return _read("published", [folder] if folder else folders())


def weights_card(alias: str) -> WeightsCard:
    """One trained model's card. Raises UsageError with near names."""
    return _entry("trained model", alias, weights_cards(), "see posezoo weights list")


def write_published(alias: str, entry: Published, folder: Path | None = None) -> Path:
    """Write the entry into the catalogue `folder` (None: posezoo's own). Raises ResourceError."""
    path = (folder or folders()[0]) / "published" / f"{alias}.toml"
    text = "# Written by posezoo weights build.\n\n" + tomli_w.dumps({alias: entry.model_dump()})
    temporary = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise ResourceError(f"cannot write {path}: {error.strerror}", "choose another --registry") from None
    return path


def data_card(name: str) -> DataCard:
    """One data set's card. Raises UsageError with near names."""
    return _entry("data set", name, data_cards(), "see posezoo data list; own data: folder:PATH, csv:PATH")


def scenes_asked(parsed: names.DataName, card: DataCard) -> tuple[str, ...]:
    """The scenes of a card that `?scenes=` names; none: all. Raises UsageError with near names."""
    asked = parsed.words("scenes")
    unknown = [scene for scene in asked if card.scenes and scene not in card.scenes]
    if unknown:
        raise unknown_name("scene", unknown[0], card.scenes, f"{parsed.name} has {', '.join(card.scenes)}")
    return asked


def label_card(name: str) -> LabelCard:
    """The labels of one data set. Raises UsageError with near names."""
    return _entry("labels", name, label_cards())


def recipe(name: str) -> Recipe:
    """One recipe. Raises UsageError with near names."""
    return _entry("recipe", name, recipes())


def appearance(name: str) -> AppearanceCard:
    """One way to redraw pictures. Raises UsageError with near names."""
    return _entry("appearance", name, _read("appearances"))


def grids() -> dict[str, Grid]:
    """All experiments by name."""
    return _read("grids")


def grid(name: str) -> Grid:
    """One experiment. Raises UsageError with near names."""
    return _entry("grid", name, grids())


def _entry(kind: str, name: str, known: dict[str, Any], hint: str = "") -> Any:
    """The entry called `name`. Raises UsageError with near names; PluginError if a plugin that is off may have it."""
    if name in known:
        return known[name]
    for plugin in plugins.plugins():
        brings_some = any(hook == "posezoo_catalogues" for hook, _ in plugin.brings)
        if plugin.error and brings_some and not near(name, known):
            off = f"plugin {plugin}, which has a catalogue, is off"
            raise PluginError(f'{kind} "{name[:60]}" is not known; {off}', "posezoo plugins shows why")
    raise unknown_name(kind, name, known, hint or f"known: {', '.join(sorted(known))}")


def default_recipe(kind: str) -> str:
    """The name of the recipe that is the default for data of this kind."""
    return next(name for name, entry in sorted(recipes().items()) if kind in entry.default_for)


def backbone_pins() -> dict[str, dict[str, Any]]:
    """What is known about pretrained backbone files, by timm name."""
    path = folders()[0] / "backbones.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))


def raise_if_external(hook: str, kind: str, name: str) -> None:
    """Raise UsageError with the install line if `external.toml` of a catalogue knows who brings `name`.

    Its tables are `[models.NAME]`, `[modifiers.NAME]` and `[readers.NAME]`.
    """
    for path in (folder / "external.toml" for folder in folders()):
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
    except (ValueError, RecursionError) as error:  # no TOML, no UTF-8, not of the form, nested without end
        first = str(error).replace("\n", " ")[:160]
        raise PluginError(f"catalogue file {path} is not valid: {first}") from error


def wanted_speed() -> dict[str, dict[str, float]]:
    """Ratios to the published code that are to be reached: model -> measurement -> ratio."""
    path = folders()[0] / "speed.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))


def _read(section: str, catalogues: Sequence[Path] | None = None) -> dict[str, Any]:
    """All tables of all TOML files of one section; each top-level table is an entry."""
    entries: dict[str, Any] = {}
    origin: dict[str, Path] = {}
    for folder in folders() if catalogues is None else catalogues:
        for path in sorted((folder / section).glob("*.toml")):
            with _valid(path):
                tables = tomllib.loads(path.read_text(encoding="utf-8"))
                for name, table in tables.items():
                    if name in entries:
                        raise PluginError(f'catalogue entry "{name}" stands in {origin[name]} and in {path}')
                    entries[name] = SECTIONS[section].model_validate(table)
                    origin[name] = path
    return entries
