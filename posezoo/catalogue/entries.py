"""Read the catalogue: TOML files about models, weights, data sets, recipes, results. Data only, no torch.

In a wheel the catalogue is `posezoo/_registry`, in a checkout `../registry`; plugins add folders of the same layout
through the hook `posezoo_catalogues`. Two entries of one name are an error that names both files. The forms of entries:
posezoo.catalogue.forms.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import tomli_w

from posezoo.base.errors import PluginError, UsageError, near, unknown_name
from posezoo.base.files.write import write_whole, writing
from posezoo.catalogue import names, plugins
from posezoo.catalogue.files import read
from posezoo.catalogue.forms import (
    AppearanceCard,
    DataCard,
    Grid,
    LabelCard,
    ModelCard,
    Published,
    Recipe,
    Result,
    ResultTable,
    SizeCard,
    WeightsCard,
)

T = TypeVar("T")


def folders() -> list[Path]:
    """The catalogue folders: posezoo's own first, then the plugins'."""
    return plugins.catalogue_folders()


def data_cards() -> dict[str, DataCard]:
    """All data sets by name."""
    return read("datasets", folders())


def model_cards() -> dict[str, ModelCard]:
    """Published settings by architecture or combination."""
    return read("models", folders())


def size_cards() -> dict[str, SizeCard]:
    """How large and fast models are, by name."""
    return read("sizes", folders())


def label_cards() -> dict[str, LabelCard]:
    """The labels of published models, by the name of the data set."""
    return read("labels", folders())


def cards_of(arch: str, modifiers: Sequence[str] = (), tag: str = "") -> tuple[list[ModelCard], list[ModelCard]]:
    """(cards of the architecture and of the combination, cards of the variant `tag` of either).

    Raises UsageError with the known variants.
    """
    cards = model_cards()
    combination = "+".join([arch, *modifiers])
    own = list(dict.fromkeys((arch, combination)))
    chosen = [cards[f"{name}.{tag}"] for name in own if f"{name}.{tag}" in cards] if tag else []
    if tag and not chosen:
        known = [f"{combination}.{variant.rpartition('.')[2]}" for name in own for variant in variants(name)]
        hint = f"known: {', '.join(known)}" if known else f"{arch} has no variants: use {combination}"
        raise unknown_name("variant", f"{combination}.{tag}", known, hint)
    return [cards[name] for name in own if name in cards], chosen


def variants(name: str) -> dict[str, ModelCard]:
    """The variants of an architecture or combination, by full name."""
    return {key: card for key, card in sorted(model_cards().items()) if key.startswith(f"{name}.")}


def recipes() -> dict[str, Recipe]:
    """All recipes by name."""
    return read("recipes", folders())


def results() -> dict[str, ResultTable]:
    """All tables of results by name."""
    return read("results", folders())


def results_of(model: str) -> list[tuple[ResultTable, Result]]:
    """Every result of an architecture or combination, whatever its settings, variant or kind of modifier."""

    def bare(name: str) -> list[str]:
        parsed = names.parse_model(name)
        return [parsed.arch, *(modifier for modifier, _ in parsed.modifiers)]

    rows = [(table, row) for table in results().values() for row in table.rows if row.model]
    return [(table, row) for table, row in rows if bare(row.model) == bare(model)]


WIDTHS = {"hidden", "feature", "width", "feedforward"}
"""Settings that make another size of a model, which our grids compare with it."""


def best_results(data: str) -> dict[str, tuple[ResultTable, Result]]:
    """The best median of each model on exactly these data: ours where there is one, else a published one.

    Ours are means over the seeds of one method, with the outermost ends of their intervals; those of another size
    (`hidden=3778`) count where there is no other.
    """
    rows: dict[Any, list[tuple[ResultTable, Result]]] = {}
    for table, row in [(owner, row) for owner in results().values() for row in owner.rows if row.model]:
        here = "-".join(filter(None, (row.data, row.scene))) == data and not row.sequence
        if here and (row.statistic, table.ground_truth) == ("median", "original"):
            one = (row.model, table.origin, table.note, row.method, str(row.settings))
            rows.setdefault(one, []).append((table, row))
    means = [(seeds[0][0], _mean([row for _, row in seeds])) for seeds in rows.values()]

    def order(pair: tuple[ResultTable, Result]) -> tuple[bool, bool, float, float]:
        (_, row), ours = pair, pair[0].source == "ours"
        degrees = 180.0 if row.orientation_deg is None else row.orientation_deg
        return ours, ours and WIDTHS.isdisjoint(row.settings), -row.position_m, -degrees

    # a later one replaces an earlier one: published, then ours, each from the worst to the best
    return {row.model: (table, row) for table, row in sorted(means, key=order)}


def _mean(rows: list[Result]) -> Result:
    degrees = [row.orientation_deg for row in rows if row.orientation_deg is not None]
    position_m, degree = sum(row.position_m for row in rows) / len(rows), sum(degrees) / max(len(degrees), 1)
    mean = {"position_m": float(f"{position_m:.4g}"), "orientation_deg": float(f"{degree:.4g}") if degrees else None}
    intervals = {}
    for key in ("position_m_ci95", "orientation_deg_ci95"):
        known = [interval for row in rows if (interval := getattr(row, key))]
        lows, highs = zip(*known, strict=True) if len(known) == len(rows) else ((), ())
        intervals[key] = (min(lows), max(highs)) if lows else None
    return rows[0].model_copy(update=mean | intervals)


def weights_cards() -> dict[str, WeightsCard]:
    """All trained models by alias."""
    return read("weights", folders())


def published(folder: Path | None = None) -> dict[str, Published]:
    """Where weights are, by alias, in all catalogues or in that of `folder`; others are not published."""
    return read("published", [folder] if folder else folders())


def weights_card(alias: str) -> WeightsCard:
    """One trained model's card. Raises UsageError with near names."""
    return _entry("trained model", alias, weights_cards(), "see posezoo weights list")


def write_published(alias: str, entry: Published, folder: Path | None = None) -> Path:
    """Write the entry into the catalogue `folder` (None: posezoo's own). Raises ResourceError."""
    path = (folder or folders()[0]) / "published" / f"{alias}.toml"
    text = "# Written by posezoo weights build.\n\n" + tomli_w.dumps({alias: entry.model_dump()})
    with writing(path, hint := "choose another --registry"):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text, hint)
    return path


def data_card(name: str) -> DataCard:
    """One data set's card. Raises UsageError with near names."""
    known = data_cards()
    if name not in known and (own := names.own_data(name)):
        raise UsageError(f"unknown data set {name!r}", own)
    return _entry("data set", name, known, "see posezoo data list; own data: folder:PATH, csv:PATH")


def requested_scenes(parsed: names.DataName, card: DataCard) -> tuple[str, ...]:
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
    known: dict[str, AppearanceCard] = read("appearances", folders())
    return _entry("appearance", name, known)


def grids() -> dict[str, Grid]:
    """All experiments by name."""
    return read("grids", folders())


def grid(name: str) -> Grid:
    """One experiment. Raises UsageError with near names."""
    return _entry("grid", name, grids())


def _entry(kind: str, name: str, known: dict[str, T], hint: str = "") -> T:
    """The entry called `name`. Raises UsageError with near names; PluginError if a plugin that is off may have it."""
    if name in known:
        return known[name]
    for plugin in plugins.plugins():
        brings_some = any(hook == "posezoo_catalogues" for hook, _ in plugin.brings)
        if plugin.error and brings_some and not near(name, known):
            off = f"plugin {plugin}, which has a catalogue, is off"
            raise PluginError(f'unknown {kind} "{name[:60]}"; {off}', "posezoo plugins shows why")
    raise unknown_name(kind, name, known, hint or f"known: {', '.join(sorted(known))}")


def default_recipe(kind: str) -> str:
    """The name of the recipe that is the default for data of this kind."""
    return next(name for name, entry in sorted(recipes().items()) if kind in entry.default_for)


def backbone_pins() -> dict[str, dict[str, Any]]:
    """What is known about pretrained backbone files, by timm name."""
    path = folders()[0] / "backbones.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))


def setting_keys() -> dict[str, dict[str, dict[str, Any]]]:
    """Owner (`run`, `every model`, an architecture, `+MODIFIER`) -> key -> its values and default, for completion.

    Of the bundled plugins alone: written by `python docs/make.py`, because reading the classes imports torch.
    """
    path = folders()[0] / "keys.toml"
    return tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def target_speeds() -> dict[str, dict[str, float]]:
    """Target ratios to the published code: model -> measurement -> ratio."""
    path = folders()[0] / "speed.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))
