"""Tables 3 to 7 of HyperPose's supplement, or any grid of the catalogue: each cell against the first one.

Beside the errors stand parameters and milliseconds, and the paired difference to the first row, which in `paper/` grids
is the default of the paper. `study.table=4` is the grid paper/table-4, `study.grid=NAME` any other. A grid may say what
else a row is compared with in its column (`against`): a base as large, for one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from posezoo.base.observe import Observer
from posezoo.catalogue import entries
from posezoo.studies import cells, drawing, grid
from posezoo.studies.paired import training_notes
from posezoo.studies.study import Found
from posezoo.studies.subjects import Request, is_trained, subjects


@dataclass(frozen=True)
class Options:
    """Of the study itself."""

    table: int = 4
    """Of HyperPose's supplement, 3 to 7."""
    grid: str = ""
    """A grid of the catalogue instead."""


def study(request: Request, options: Options, observer: Observer) -> Found:
    """The study; rows in the order of the grid."""
    name = options.grid or f"paper/table-{options.table}"
    trains = not request.models or not all(map(is_trained, request.models))
    small = grid.demo_notes(entries.grid(name), request.data, request.given) if trains else []
    for note in small:
        observer.note(note)
    models = subjects(replace(request, grid=name))
    found = cells.cells(models, request)
    rows = cells.table(found)
    pairs = [] if request.models else cells.pairs(found, entries.grid(name).against())
    baselines = cells.baselines(found)
    return Found(
        verdict=f"{name}: {cells.told_apart(rows) or 'one cell'}",
        rows=cells.shown(rows, baselines),
        numbers={
            "grid": name,
            "models": {one.name: one.runs for one in models},
            "cells": rows,
            "pairs": pairs,
            "baselines": baselines,
        },
        figures={"ablation.png": _figure(rows, name)},
        notes=[*small, *_said(pairs), cells.note(found), *training_notes(models)],
    )


def _said(pairs: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each pair of cells."""
    differences: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in (row for row in pairs if row["by"] != "sequence"):
        differences.setdefault((row["name"], row["than"]), []).append(row)
    return [f"{name}, compared with {than}: {cells.verdict(rows)}" for (name, than), rows in differences.items()]


def _figure(rows: Sequence[Mapping[str, Any]], name: str) -> Figure:
    """The median of each cell with its interval, dots for the ends of its trainings; the first cell's as a line."""
    figure = Figure(figsize=(drawing.WIDTH, 0.42 * len(rows) + 1.3), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    y = np.arange(len(rows))
    for axes, key, label in (
        (left, "median_position_m", "position (m)"),
        (right, "median_orientation_deg", "orientation (deg)"),
    ):
        axes.axvline(rows[0][key], color="0.75", lw=1, zorder=0)
        drawing.medians(axes, rows, key, y, drawing.COLOURS[0], "o", across=True)
        axes.set_xlabel(f"median {label}")
        axes.grid(True, axis="x", color="0.93", lw=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    left.set_yticks(y, [row["name"] for row in rows])
    left.invert_yaxis()
    figure.suptitle(f"{name}: {drawing.BARS}", fontsize=9)
    return figure
