"""Runs a study: models trained where that is missing, something measured, figures drawn, one line of verdict.

    OUT/runs/...            the trainings, shared by all studies of the folder
    OUT/NAME/study.json     what was found
    OUT/NAME/*.png          the figures
    OUT/NAME/measured/      what was measured of each run, so that a study that was stopped continues

The same command continues a study that was stopped: runs that are finished and measurements that were kept are read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posezoo.base.errors import UsageError
from posezoo.base.files.write import write_whole, writing
from posezoo.base.observe import Observer
from posezoo.base.version import __version__
from posezoo.catalogue import resolve, settings
from posezoo.evaluation import figures
from posezoo.evaluation.report import json_safe
from posezoo.studies import grid
from posezoo.studies.declared import declared
from posezoo.studies.grid import Cell
from posezoo.studies.measure import opened
from posezoo.studies.subjects import Request, is_trained

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Found:
    """What a study found."""

    verdict: str
    """One line: what the numbers say, also when it is that nothing can be told."""
    rows: Sequence[Mapping[str, Any]]
    """The table that is printed, numbers as text."""
    numbers: Mapping[str, Any]
    """All numbers, for study.json."""
    figures: Mapping[str, Figure] = field(default_factory=dict)
    """File name -> figure."""
    notes: Sequence[str] = ()
    """What the reader must know."""


def run(
    name: str,
    models: Sequence[str] = (),
    *,
    data: str | None = None,
    seeds: Sequence[int] = (),
    out: str | Path = Path("outputs/study"),
    root: str | None = None,
    given: Mapping[str, Any] = {},
    launcher: str | None = None,
    job: Mapping[str, Any] = {},
    observer: Observer | None = None,
) -> dict[str, Any]:
    """What study.json has, after the study `name` of `models` (none: those of its grid) on `data` (None: its own).

    `given`: settings of all trainings, `{"epochs": 5}`, and of the study itself, `{"study.images": 60}`. `launcher`:
    trainings as jobs, see posezoo.studies.launch. Raises PosezooError before anything is trained if it can, and
    Interrupted for a signal: the same call continues.
    """
    known, watch = declared(name), observer or Observer()
    data = data or known.data
    resolve.data(data)
    flat = {key: value for key, value in given.items() if not key.startswith("study.")}
    own = {key.removeprefix("study."): value for key, value in given.items() if key.startswith("study.")}
    module, _, function = known.run.partition(":")
    place = import_module(module)
    try:
        options = settings.validated(place.Options, own, "study.")
    except UsageError as error:
        raise UsageError(error.message, f"posezoo settings --study {name} lists all of them") from None
    unused = [*sorted(flat.keys() - {"data.split", "data.skip_bad"}), *(["seeds"] if seeds else [])]
    if unused and models and not known.goes_on and all(map(is_trained, models)):
        raise UsageError(
            f"{unused[0]} is for a training, and nothing is trained", "name an architecture, or leave it out"
        )
    folder = Path(out)

    def train(plan: Sequence[Cell]) -> None:
        if launcher is None:
            grid.run(plan, lambda cell: grid.announced(cell, plan, watch))
        else:
            grid.run_as_jobs(plan, folder / "jobs", job, watch, launcher == "local")

    request = Request(tuple(models), data, folder, tuple(seeds), root, flat, known.grid, train, name)
    found: Found = getattr(place, function)(request, options, watch)
    return _written(request, options, found, opened(request).unit)


def _written(request: Request, options: Any, found: Found, unit: str) -> dict[str, Any]:
    """`unit`: of positions, whatever keys, headings and figures call it."""
    folder = request.folder
    notes = [*found.notes, *([f"m stands for {unit}: the data have no metre"] if unit != "m" else [])]
    content: dict[str, Any] = json_safe(
        {
            "study": request.name,
            "posezoo": __version__,
            "data": request.data,
            "settings": dict(request.given),
            "options": vars(options),
            "verdict": found.verdict,
            "notes": notes,
            "unit": unit,
            **found.numbers,
            "figures": list(found.figures),
        }
    )
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for name, figure in found.figures.items():
        _label_in(figure, unit)
        figures.save(figure, folder / name)
    write_whole(folder / "study.json", json.dumps(content, indent=1, allow_nan=False) + "\n")
    return content | {"rows": [dict(row) for row in found.rows], "written": str(folder)}


def _label_in(figure: Figure, unit: str) -> None:
    """Axes in the unit that positions are in instead of metres."""
    for axes in figure.axes:
        for label in (axes.xaxis.label, axes.yaxis.label):
            label.set_text(label.get_text().replace("(m)", f"({unit})"))
