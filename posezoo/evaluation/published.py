"""Published numbers of the model that is evaluated, to stand beside its own."""

from __future__ import annotations

from posezoo.base.errors import PosezooError
from posezoo.catalogue import entries, names, settings
from posezoo.catalogue.forms import Result
from posezoo.data.open import Dataset
from posezoo.data.table import Frames
from posezoo.zoo.blueprint import Blueprint, blueprint


def published(model: str, dataset: Dataset, frames: Frames, split: str) -> list[str]:
    """A line for each source with numbers of this model on these data; none unless all of the card's frames are here.

    A row of its ablations counts where it is the model as published: its settings change nothing of that. A variant
    for some data (`NAME.7scenes`) is the model too.
    """
    if dataset.card is None or dataset.card.frames.get(split) != len(frames):
        return []
    try:
        known = names.parse_model(model)
        own = blueprint(str(names.ModelName(known.arch, known.modifiers)))
    except PosezooError:  # a class of the user's, which has no name here, or a plugin's that is off now
        return []
    lines: dict[str, dict[str, None]] = {}  # what a source gives twice is said once
    for table in entries.results().values():
        if table.source == "paper" and table.ground_truth == frames.ground_truth:
            origin = "; ".join(filter(None, (table.origin, table.note)))
            for row in table.rows:
                if row.data == dataset.name and _is_published(row, own):
                    lines.setdefault(origin, {})[_figure(row)] = None
    return [f"published for {model} on {dataset.name}: {'; '.join(rows)} ({origin})" for origin, rows in lines.items()]


def _is_published(row: Result, own: Blueprint) -> bool:
    """Whether the row is of the model `own` with its published settings, whatever the row says of them."""
    try:
        if not row.model or names.parse_model(row.model).arch != own.name.arch:
            return False
        found = blueprint(row.model, settings.nested(row.settings))
    except PosezooError:  # of a plugin that is off
        return False
    return (found.config, found.modifiers) == (own.config, own.modifiers)


def _figure(row: Result) -> str:
    degrees = "" if row.orientation_deg is None else f", {row.orientation_deg} deg"
    return " ".join(filter(None, (row.scene, row.sequence, f"{row.statistic} {row.position_m} m{degrees}")))
