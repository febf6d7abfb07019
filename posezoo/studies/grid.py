"""A grid of runs: every row (a model) in every column (a way of training) with every seed, in one table.

For questions such as "is the gain the hypernetwork, or the parameters?". Each run is an ordinary run folder below
`out`; a grid that was stopped continues where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posezoo.base.errors import UsageError
from posezoo.base.observe import Observer
from posezoo.catalogue import entries, plugins, resolve, settings
from posezoo.catalogue.forms import Grid
from posezoo.catalogue.resolve import KnownData
from posezoo.studies import medians
from posezoo.studies.launch import Work, launch
from posezoo.training.again import evaluate
from posezoo.training.config import TrainConfig, configure
from posezoo.training.reports import report_of_test
from posezoo.training.run import CONFIG
from posezoo.training.saving import require_made_so
from posezoo.training.train import resume, start
from posezoo.zoo.blueprint import Blueprint
from posezoo.zoo.build import build
from posezoo.zoo.find import REPORT


@dataclass(frozen=True)
class Cell:
    """One run of a grid."""

    row: str
    column: str
    seed: int
    path: Path
    config: TrainConfig
    blueprint: Blueprint
    data: KnownData


def cells(
    name: str, data: str, out: Path, seeds: Sequence[int] = (), root: str | None = None, given: Mapping[str, Any] = {}
) -> list[Cell]:
    """The runs of the catalogue's grid `name` on `data`; `given` settings (`{"epochs": 5}`) apply to all of them.

    Raises UsageError with near names before anything is trained.
    """
    return cells_of(entries.grid(name), name, data, out, seeds, root, given)


def cells_of(
    grid: Grid,
    name: str,
    data: str,
    out: Path,
    seeds: Sequence[int] = (),
    root: str | None = None,
    given: Mapping[str, Any] = {},
) -> list[Cell]:
    """The runs of any grid, called `name` in errors; see `cells`.

    Given settings of a modifier, `hyper.rank`, apply to the rows that have it, if any has; those of the small form for
    demo data to these rows alone.
    """
    place = resolve.data(data)
    small = demo_settings(grid, place)
    known = {entry.model: resolve.model(entry.model) for entry in grid.rows.values()}
    modifiers = {key: {word for word, _ in model.name.modifiers} for key, model in known.items()}
    some = set().union(*modifiers.values())
    found = []
    for seed in seeds or grid.seeds:
        for row, entry in grid.rows.items():
            for column in entry.columns or tuple(grid.columns):
                if column not in grid.columns:
                    raise UsageError(
                        f'grid {name}: row "{row}" names an unknown column: {column}', "see registry/grids"
                    )
                path = out / _folder(data) / row / column / f"seed-{seed}"
                others = some - modifiers[entry.model]
                own = {key: value for key, value in given.items() if key.partition(".")[0] not in others}
                absent = plugins.modifiers().keys() - modifiers[entry.model]
                demo = {key: value for key, value in small.items() if key.partition(".")[0] not in absent}
                flat = {**grid.settings, **grid.columns[column], **demo, **entry.settings, **own}
                overrides = settings.merged(settings.nested(settings.from_toml(flat)), {"seed": seed, "out": str(path)})
                run = configure(known[entry.model], place, overrides, root)
                found.append(Cell(row, column, seed, path, *run, place))
    return found


def demo_settings(grid: Grid, data: KnownData) -> Mapping[str, Any]:
    """The settings of the small form that a grid has on these data; none where it is as it is published."""
    return grid.demo if data.card is not None and data.card.kind == "demo" else {}


def demo_notes(grid: Grid, data: str, given: Mapping[str, Any]) -> list[str]:
    """That these are not the published experiment, where the grid has a small form on the data, and which it is."""
    small = demo_settings(grid, resolve.data(data))
    words = [f"{key}={settings.setting_text(value)}" for key, value in small.items() if key not in given]
    return [f"a small form for demo data, not the published experiment: {', '.join(words)}"] if words else []


def _folder(data: str) -> str:
    """A folder's name for the data: `folder-a` of `folder:/data/a`."""
    kind, _, place = data.partition(":")
    return f"{kind}-{Path(place.partition('?')[0]).name}" if place else kind


def run(plan: Sequence[Cell], observer: Callable[[Cell], Observer]) -> list[dict[str, Any]]:
    """The `table`, once the missing runs are trained. A signal saves the current run and raises Interrupted."""
    for cell in plan:
        _train(cell, observer)
    return table(plan)


def run_as_jobs(
    plan: Sequence[Cell], folder: Path, parameters: Mapping[str, Any], observer: Observer, here: bool = False
) -> list[dict[str, Any]]:
    """The `table`, once the missing runs were trained as jobs (posezoo.studies.launch): several at once."""
    for cell in plan:
        if (cell.path / CONFIG).is_file():
            _require_same(cell)
    missing = [cell for cell in plan if not (cell.path / "report" / REPORT).is_file()]
    work = [Work(f"{cell.row}, {cell.column}, seed {cell.seed}", train_quietly, (cell,)) for cell in missing]
    launch(work, folder, parameters, observer.note, here)
    return table(plan)


def train_quietly(cell: Cell) -> None:
    """Train the run, or continue it: a job."""
    _train(cell, lambda _: Observer())


def _train(cell: Cell, observer: Callable[[Cell], Observer]) -> None:
    if (cell.path / "report" / REPORT).is_file():
        _require_same(cell)
    elif (cell.path / CONFIG).is_file():
        _require_same(cell)
        resume(cell.path, observer(cell))
    else:
        start(cell.config, cell.blueprint, cell.data, observer(cell))


def table(plan: Sequence[Cell]) -> list[dict[str, Any]]:
    """One row for each row and column of the grid that has finished runs, see posezoo.studies.medians."""
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in plan:
        if (cell.path / "report" / REPORT).is_file():
            groups.setdefault((cell.row, cell.column), []).append(cell)
    rows = []
    baselines: dict[str, dict[str, Any]] = {}
    for (row, column), members in groups.items():
        # its report may have been written again, of other images
        reports = [report_of_test(cell.path) or evaluate(cell.path) for cell in members]
        for method, line in reports[0].headline.items():
            if method != reports[0].model:
                baselines.setdefault(method, medians.untrained(line))
        parameters = sum(p.numel() for p in build(members[0].blueprint).parameters())
        shown = {"row": row, "training": column, "model": str(members[0].blueprint.name), "parameters": parameters}
        own = medians.spread(reports[0], [report.errors[report.model] for report in reports])
        rows.append({**shown, **own, "seeds": [cell.seed for cell in members]})
    empty = {"training": "", "model": "", "parameters": 0}
    return rows + [{"row": name, **empty, **line, "seeds": []} for name, line in baselines.items()]


def notes(plan: Sequence[Cell]) -> list[str]:
    """What the intervals of `table` are over."""
    report = next((found for cell in plan if (found := report_of_test(cell.path)) is not None), None)
    return [] if report is None else [medians.note(report, len({cell.seed for cell in plan}))]


def parse_seeds(text: str) -> list[int]:
    """`"0,1,2"` as numbers, none of them twice: the same training again is no other. Raises UsageError."""
    try:
        seeds = [int(word) for word in text.split(",") if word.strip()]
    except ValueError:
        seeds = []
    if (not seeds and text.strip()) or len(set(seeds)) < len(seeds):
        raise UsageError(f"not seeds: {text[:40]!a}", "for example --seeds 0,1,2")
    return seeds


def announced(cell: Cell, plan: Sequence[Cell], observer: Observer) -> Observer:
    """`observer`, after a note on which run of the grid comes next."""
    place = f"run {plan.index(cell) + 1} of {len(plan)}"
    observer.note(f"{place}: {cell.row}, {cell.column}, seed {cell.seed}")
    return observer


def formatted(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """The rows of `table` as text, rounded."""
    several = len({row["training"] for row in rows if row["training"]}) > 1
    shown = []
    for row in rows:
        cell = f"{row['row']}, {row['training']}" if several and row["training"] else row["row"]
        size = f"{row['parameters'] / 1e6:.1f} M" if row["parameters"] else ""
        numbers = {medians.MEDIAN: medians.shown(row), "trainings": medians.ranges(row)}
        shown.append({"cell": cell, **numbers, "seeds": ", ".join(map(str, row["seeds"])), "size": size})
    return shown


def _require_same(cell: Cell) -> None:
    """Raise UsageError for a run that was made with other settings."""
    require_made_so(cell.path, cell.config, cell.blueprint, "another --out")
