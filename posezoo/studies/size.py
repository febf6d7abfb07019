"""Accuracy against size: what the parameters of a hypernetwork buy (HyperPose, supplement, section 8).

The grid `size` has the base at several widths and the infused model with full and factorised generators. For each
generated layer of each model: code width d, inputs, outputs, numbers and MiB. A full generator has
(d + 1) (C_in + 1) C_out numbers; the supplement's (C_in + 1) N_p agrees with that only where d = C_in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from posezoo.base.observe import Observer
from posezoo.evaluation.compare import WORSE
from posezoo.nn.generators import GeneratedLayer
from posezoo.nn.hyperhead import HyperHead
from posezoo.nn.model import PoseModel
from posezoo.studies import cells, drawing
from posezoo.studies.paired import training_notes
from posezoo.studies.study import Found
from posezoo.studies.subjects import Request, subjects
from posezoo.zoo.saved import load

MIB = 2**20


@dataclass(frozen=True)
class Options:
    """Of the study itself: none."""


def study(request: Request, options: Options, observer: Observer) -> Found:
    """The study; the first model is what others are compared with."""
    models = subjects(request)
    found = cells.cells(models, request)
    rows = cells.table(found)
    layers = [{"name": one.name, **layer} for one in models for layer in generated(load(one.runs[0]))]
    return Found(
        verdict=_verdict(rows),
        rows=cells.shown(rows),
        numbers={"models": {one.name: one.runs for one in models}, "cells": rows, "generated_layers": layers},
        figures={"size.png": _figure(rows)},
        notes=[
            cells.note(found),
            *training_notes(models),
            *(f"{name}: its generated layers have {mib:.1f} MiB" for name, mib in _sums(layers).items()),
        ],
    )


def generated(model: PoseModel) -> list[dict[str, Any]]:
    """Each generated layer of both branches, with its size."""
    rows = []
    for branch, head in (("position", model.position_head), ("orientation", model.orientation_head)):
        # shared generators belong to one of the heads
        for layer in cast("list[GeneratedLayer]", list(head.generated)) if isinstance(head, HyperHead) else ():
            inputs, outputs = layer.shape[0] - 1, layer.shape[1]
            code = layer.generator.in_features
            own = sum(p.numel() for name, p in layer.named_parameters() if not name.startswith("code."))
            sizes = {"code": code, "inputs": inputs, "outputs": outputs, "numbers": own, "mib": 4 * own / MIB}
            rows.append({"branch": branch, **sizes, "full": (code + 1) * (inputs + 1) * outputs})
    return rows


def _sums(layers: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    names = dict.fromkeys(layer["name"] for layer in layers)
    return {name: sum(layer["mib"] for layer in layers if layer["name"] == name) for name in names}


def _verdict(rows: Sequence[Mapping[str, Any]]) -> str:
    """Which is the smallest that is not worse than the largest is, told apart from the first."""
    fine = [row for row in rows if not any(one["verdict"] == WORSE for one in row["against_first"])]
    smallest = min(fine, key=lambda row: row["parameters"])
    largest = max(rows, key=lambda row: row["parameters"])
    millions = {row["name"]: f"{row['parameters'] / 1e6:.1f} M" for row in rows}
    return (
        f"the smallest that is no worse than {rows[0]['name']} is {smallest['name']} ({millions[smallest['name']]};"
        f" the largest, {largest['name']}, has {millions[largest['name']]}); {cells.told_apart(rows) or 'one model'}"
    )


def _figure(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Errors against parameters, with intervals."""
    figure, panels = drawing.panels(2, height=2.6)
    styles = drawing.styles([row["name"] for row in rows])
    for axes, key, label in zip(
        panels, ("median_position_m", "median_orientation_deg"), ("position (m)", "orientation (deg)"), strict=True
    ):
        for row in rows:
            colour, marker = styles[row["name"]]
            drawing.medians(axes, [row], key, [row["parameters"] / 1e6], colour, marker, label=row["name"])
        axes.set_xscale("log")
        for ticks in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
            ticks(FuncFormatter(lambda value, _: f"{value:g}"))
        drawing.plain(axes, f"median {label}")
    panels[-1].set_xlabel("parameters (millions)")
    figure.suptitle(drawing.BARS, fontsize=9)
    drawing.legend(figure, panels[0])
    return figure
