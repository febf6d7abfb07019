"""The models of a study: those of its grid, or those that are named, trained with each seed where that is missing.

A name is a trained model (a run folder, an alias, hf-hub:OWNER/REPO), which is taken as it is, or an architecture,
which is trained in the first column of the study's grid. Studies of one folder share their runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from posezoo.base.errors import UsageError
from posezoo.base.paths import user_path
from posezoo.catalogue import entries
from posezoo.catalogue.forms import Grid, GridRow
from posezoo.catalogue.names import SCHEMES
from posezoo.studies import grid
from posezoo.studies.grid import Cell


@dataclass(frozen=True)
class Subject:
    """A model with its trainings."""

    name: str
    runs: tuple[str, ...]
    """A run folder, or what else names a trained model, for each seed."""


@dataclass(frozen=True)
class Request:
    """What a study is asked: which models, on what, with which settings."""

    models: tuple[str, ...]
    data: str
    out: Path
    seeds: tuple[int, ...] = ()
    root: str | None = None
    given: Mapping[str, Any] = field(default_factory=dict)
    """`{"epochs": 5}`: settings of all trainings."""
    grid: str = "study"
    """The grid that is trained where no models are named, and with whose settings others are."""
    train: Callable[[Sequence[Cell]], object] = lambda plan: None
    """Trains what is missing of some cells."""
    name: str = ""
    """The study's."""

    @property
    def folder(self) -> Path:
        """Where the study writes."""
        return self.out / self.name


def subjects(request: Request, least: int = 1) -> list[Subject]:
    """The models in the order in which they are named, trained.

    Raises UsageError if there are fewer than `least`, or one twice.
    """
    names = request.models
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageError(f"{twice} is named twice", "name each model once")
    if 0 < len(request.models) < least:
        what = f"study {request.name} compares at least {least} models"
        raise UsageError(what, f"posezoo study {request.name} MODEL_A MODEL_B --data {request.data}")
    standard = entries.grid(request.grid)
    wanted = [name for name in request.models if not is_trained(name)]
    plan: list[Cell] = []
    chosen = _of_models(standard, wanted) if wanted else standard
    if wanted or not request.models:
        # rows of question/posenet and question/anchors may be called the same and be others
        place = request.out / "runs" / (request.grid if "/" in request.grid else "")
        plan = grid.cells_of(chosen, request.grid, request.data, place, request.seeds, request.root, request.given)
    found: dict[str, list[str]] = {name: [name] if is_trained(name) else [] for name in request.models}
    for cell in plan:
        found.setdefault(chosen.cell(cell.row, cell.column), []).append(str(cell.path))
    request.train(plan)
    return [Subject(name, tuple(runs)) for name, runs in found.items()]


def is_trained(name: str) -> bool:
    """Whether it names a trained model: an alias, something with a scheme, or a folder."""
    return name in entries.weights_cards() or name.partition(":")[0] in SCHEMES or user_path(name).is_dir()


def _of_models(standard: Grid, models: Sequence[str]) -> Grid:
    column = next(iter(standard.columns))
    return Grid(
        summary=standard.summary,
        seeds=standard.seeds,
        settings=standard.settings,
        demo=standard.demo,
        rows={name: GridRow(model=name) for name in models},
        columns={column: standard.columns[column]},
    )
