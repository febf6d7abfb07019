"""Errors under weather and camera faults of growing severity, against the same pictures unchanged.

The kinds and severities are those of `posezoo data corrupt`, made on the way from the image cache to the network.
Beside the curves stands a picture of one test image under each of them, in true colours.

Legend: N images, H height, W width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from posezoo.base.observe import Observer
from posezoo.data.appearance.weather import KINDS
from posezoo.evaluation.compare import BETTER, UNITS, WORSE
from posezoo.evaluation.results import Results
from posezoo.studies import changes, drawing, medians
from posezoo.studies.cells import verdict
from posezoo.studies.measure import Album, Condition, Errors, errors, open_album
from posezoo.studies.medians import short, spread
from posezoo.studies.paired import ranked, training_notes
from posezoo.studies.ranges import AtMost, Several, Severity
from posezoo.studies.study import Found
from posezoo.studies.subjects import Request, subjects


@dataclass(frozen=True)
class Options:
    """Of the study itself."""

    images: AtMost = 60
    """At most so many test images, evenly spaced; 0: all."""
    kinds: Several[str] = tuple(KINDS)
    """Of change: fog, snow, night, rain, blur, occlusion."""
    severities: Several[Severity] = (1, 3, 5)
    """How strong each is drawn."""


def study(request: Request, options: Options, observer: Observer) -> Found:
    """The study; the first model is what others are compared with."""
    album = open_album(request, observer)
    index = changes.thinned(len(album.frames), options.images)
    conditions = [changes.original(index), *changes.weathers(index, options.kinds, options.severities)]
    models = subjects(request)
    found = errors(models, album, conditions, request.folder, observer)
    frames = album.results(index)
    table = _table(frames, conditions, found)
    names = [model.name for model in models]
    return Found(
        verdict=_verdict(table, names, options),
        rows=_shown(table),
        numbers={"models": {one.name: one.runs for one in models}, "num_images": len(index), "conditions": table},
        figures={
            "robustness.png": _figure(table, names, options),
            "pictures.png": _pictures(album, conditions[1:], int(index[len(index) // 3]), options),
        },
        notes=[medians.note(frames, max(len(one.runs) for one in models)), *training_notes(models)],
    )


def _table(
    frames: Results, conditions: Sequence[Condition], found: Mapping[str, list[list[Errors]]]
) -> list[dict[str, Any]]:
    first = next(iter(found))
    rows = []
    for n, condition in enumerate(conditions):
        kind, _, severity = condition.name.partition("-")
        for name, runs in found.items():
            these = [run[n] for run in runs]
            against = ranked(frames, [run[n] for run in found[first]], these) if name != first else []
            own = {"kind": kind, "severity": int(severity or 0), "model": name}
            rows.append({**own, **spread(frames, these), "against_first": against})
    return rows


def _verdict(table: Sequence[Mapping[str, Any]], names: Sequence[str], options: Options) -> str:
    """What hurts the first model most, and where others differ from it."""
    hardest, key = max(options.severities), "median_position_m"
    last = [row for row in table if row["model"] == names[0] and row["severity"] == hardest]
    worst = max(last, key=lambda row: row[key])
    plain = next(row for row in table if row["model"] == names[0] and not row["severity"])
    under = f"under {worst['kind']} of severity {hardest}"
    found = f"{names[0]} goes from {short(plain[key])} m to {short(worst[key])} m {under}"
    for name in names[1:]:
        words = [
            (f"{row['kind']}-{row['severity']}", one["verdict"])
            for row in table
            if row["model"] == name and row["severity"]
            for one in row["against_first"]
            if one["error"] == "position_m"
        ]
        counts = {word: [where for where, verdict in words if verdict == word] for word in (BETTER, WORSE)}
        told = "; ".join(f"{word} in {len(where)} of {len(words)}" for word, where in counts.items())
        found += f". {name} against {names[0]} in position: {told}, else not distinguishable"
    return found


def _shown(table: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    return [
        {
            "condition": f"{row['kind']}-{row['severity']}" if row["severity"] else row["kind"],
            **{"model": row["model"], medians.MEDIAN: medians.shown(row)},
            "against the first": verdict(row["against_first"]),
        }
        for row in table
    ]


def _figure(table: Sequence[Mapping[str, Any]], names: Sequence[str], options: Options) -> Figure:
    """A panel for each kind, position above orientation, with intervals."""
    kinds, styles = options.kinds, drawing.styles(names)
    columns = min(3, len(kinds))
    lines = -(-len(kinds) // columns)
    figure = Figure(figsize=(2.6 * columns + 0.6, 2.0 * 2 * lines + 0.6), layout="constrained")
    grid = figure.subplots(2 * lines, columns, squeeze=False, sharex=True)
    for number, kind in enumerate(kinds):
        line, column = divmod(number, columns)
        for which, (error, unit) in enumerate(UNITS.items()):
            axes, key = grid[2 * line + which][column], f"median_{error}_{unit}"
            for name, (colour, marker) in styles.items():
                rows = [r for r in table if r["model"] == name and (r["kind"] == kind or not r["severity"])]
                x = [row["severity"] for row in rows]
                drawing.medians(axes, rows, key, x, colour, f"-{marker}", ms=4, label=name)
            axes.set_xticks([0, *options.severities])
            axes.set_ylim(0, 1.1 * axes.get_ylim()[1])
            drawing.plain(axes, f"{error} ({unit})" if not column else "")
            if not which:
                axes.set_title(kind, fontsize=10)
    for empty in range(len(kinds), lines * columns):
        for which in (0, 1):
            grid[2 * (empty // columns) + which][empty % columns].set_axis_off()
    grid[-1][columns // 2].set_xlabel("severity (0: as it is)")
    figure.suptitle(drawing.BARS, fontsize=9)
    drawing.legend(figure, grid[0][0])
    return figure


def _pictures(album: Album, conditions: Sequence[Condition], n: int, options: Options) -> Figure:
    """One image under each kind (rows) and severity (columns), the unchanged one first."""
    severities = options.severities
    image_HWC = album.picture(n)
    height, width = image_HWC.shape[:2]
    lines, columns = len(options.kinds), len(severities) + 1
    size, close = 1.75, ConstrainedLayoutEngine(w_pad=0.01, h_pad=0.01, wspace=0, hspace=0)
    figure = Figure(figsize=(size * columns + 0.2, (size * height / width + 0.1) * lines + 0.3), layout=close)
    grid = figure.subplots(lines, columns, squeeze=False)
    for line, kind in enumerate(options.kinds):
        own = [condition for condition in conditions if condition.name.partition("-")[0] == kind]
        pictures = [image_HWC, *(one.change(image_HWC, n) for one in own if one.change is not None)]
        for column, (axes, picture_HWC) in enumerate(zip(grid[line], pictures, strict=True)):
            axes.imshow(picture_HWC)
            axes.set(xticks=[], yticks=[])
            if not line:
                axes.set_title("as it is" if not column else f"severity {severities[column - 1]}", fontsize=9)
        grid[line][0].set_ylabel(kind, fontsize=9)
    return figure
