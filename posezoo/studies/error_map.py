"""Where one model is better than another: the paired difference of position errors along the path, as map and numbers.

The figure is that of HyperPose's supplement (Figure 4), for any two models of one data set: each image at its true
position, coloured by the other model's error minus the first one's. The numbers say what the eye may not: the median
difference with its interval and the share of images improved, overall, by condition, scene and sequence, and by quarter
of difficulty, which a third model's position errors tell; and whether it is better where the path turns (Spearman's
correlation with the turn over 5 m of path).

Legend: N images.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from posezoo.base.files.write import write_whole, writing
from posezoo.base.rotation import axes_from_above
from posezoo.data.splits import runs
from posezoo.data.table import Frames
from posezoo.evaluation import figures
from posezoo.evaluation.compare import UNITS, Difference, compare, differences_of, require_same_images
from posezoo.evaluation.metrics import angle_deg
from posezoo.evaluation.report import Report
from posezoo.evaluation.results import AVERAGE, Results
from posezoo.evaluation.uncertainty import spearman
from posezoo.studies.measure import Errors
from posezoo.studies.paired import chosen_note, seeds_note, short

TURN_METRES = 5.0
QUARTERS = ("easiest quarter", "second quarter", "third quarter", "hardest quarter")


def error_map(
    names: tuple[str, str], first: Report, other: Report, out: Path, difficulty: Report | None = None
) -> dict[str, Any]:
    """The study as plain data; study.json and error-map.png are written to `out`. Raises UsageError, ResourceError.

    `difficulty`: of a third model, or another training of the first, on the same images; the errors of the two that are
    compared would tell which images the first was unlucky with, not which are hard.
    """
    comparison = compare(names, [first, other])
    before, after = first.errors[first.model], other.errors[other.model]
    with np.errstate(invalid="ignore"):
        difference_N = np.where(before[0] == after[0], 0.0, after[0] - before[0])
    (rows,) = comparison.differences.values()
    shares = [row.to_dict() | {"share_improved": _improved(first, row, before, after)} for row in rows]
    if difficulty is not None:
        require_same_images(names[0], first, "the run of the difficulty", difficulty)
        condition_N = quarters(difficulty.errors[difficulty.model][0])
        parted = dataclasses.replace(first, frames=dataclasses.replace(first.frames, condition=condition_N))
        shares += [
            row.to_dict() | {"by": "quarter", "share_improved": _improved(parted, row, before, after)}
            for row in sorted(
                differences_of(parted, "condition", before, after),
                key=lambda row: (list(UNITS).index(row.error), QUARTERS.index(row.group)),
            )
        ]
    found = {
        "study": "error-map",
        "data": first.data,
        "models": list(names),
        "differences": shares,
        "share_improved": float(np.mean(difference_N < 0)),
        "spearman_with_turning": _spearman(difference_N, turning(first.frames)),
        "verdict": comparison.sentences()[0],
        "notes": [
            *(*comparison.notes, seeds_note(dict.fromkeys(names, 1))),
            chosen_note({name: [one.selection] for name, one in zip(names, (first, other), strict=True)}),
        ],
    }
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    write_whole(out / "study.json", json.dumps(found, indent=1, allow_nan=False) + "\n")
    figures.save(picture(first, difference_N, names), out / "error-map.png")
    return found


def quarters(error_N: np.ndarray) -> np.ndarray:
    """The name (N,) of the quarter of difficulty that each image is in."""
    place_N = np.empty(len(error_N), dtype=np.int64)
    place_N[np.argsort(error_N, kind="stable")] = np.arange(len(error_N))
    return np.array(QUARTERS)[4 * place_N // len(error_N)]


def shown(found: Mapping[str, Any]) -> list[dict[str, str]]:
    """The rows to print: a group and error each, sequences only where there are no conditions."""
    rows, conditions = found["differences"], any(row["by"] == "condition" for row in found["differences"])
    return [
        {
            **{"of": row["group"] or "(none)", "images": str(row["num"]), "error": row["error"].rpartition("_")[2]},
            **{"A": short(row["median_first"]), "B": short(row["median"])},
            "B - A, 95 %": " to ".join(map(short, row["difference_ci95"])),
            "better": f"{100 * row['share_improved']:.0f} %",
        }
        for row in rows
        if not (conditions and row["by"] == "sequence")
    ]


def _improved(frames: Results, row: Difference, before: Errors, after: Errors) -> float:
    """The share of a group's images whose error is smaller; of an average of scenes the average of theirs."""
    groups, which = frames.groups(row.by), list(UNITS).index(row.error)
    better_N = after[which] < before[which]
    return float(
        np.mean([better_N[i].mean() for i in (groups.values() if row.group == AVERAGE else [groups[row.group]])])
    )


def turning(frames: Frames) -> np.ndarray:
    """Degrees (N,) by which the camera turns over the next 5 m of its path; NaN at the end of a sequence."""
    turn_N = np.full(len(frames), np.nan)
    for index in runs(frames):
        position_N3 = frames.position[index]
        path_N = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(position_N3, axis=0), axis=1))])
        ahead = np.searchsorted(path_N, path_N + TURN_METRES)
        inside = ahead < len(index)
        here, there = index[inside], index[ahead[inside]]
        turn_N[here] = angle_deg(frames.quaternion[here], frames.quaternion[there])
    return turn_N


def picture(report: Report, difference_N: np.ndarray, names: tuple[str, str]) -> Figure:
    """The map; a panel for each scene. Colours are symmetric and end at the 95th percentile."""
    frames = report.frames
    finite_N = difference_N[np.isfinite(difference_N)]
    limit = max(float(np.percentile(np.abs(finite_N), 95)) if len(finite_N) else 1.0, 1e-6)
    groups = report.groups("scene")
    scenes = list(groups.items())[: figures.MAX_PANELS]
    columns = min(len(scenes), 3)
    figure = Figure(figsize=(5.0 * columns + 1.5, 4.5 * -(-len(scenes) // columns) + 0.5), layout="compressed")
    for place, (name, index) in enumerate(scenes, 1):
        axes = figure.add_subplot(-(-len(scenes) // columns), columns, place)
        pair = list(axes_from_above(frames.position[index], frames.quaternion[index]))
        order = index[np.argsort(np.abs(difference_N[index]))]  # the largest on top
        shown_N = np.clip(difference_N[order], -limit, limit)
        x_N, y_N = frames.position[order][:, pair].T
        dots = axes.scatter(x_N, y_N, c=shown_N, cmap="RdBu_r", vmin=-limit, vmax=limit, s=16, ec="0.5", lw=0.3)
        axes.set(aspect="equal", xlabel=f"{'xyz'[pair[0]]} ({report.unit})", ylabel=f"{'xyz'[pair[1]]} ({report.unit})")
        axes.set_title(name, fontsize=10)
    bar = figure.colorbar(dots, ax=figure.axes, extend="both", shrink=0.85)
    bar.set_label(f"position error: B minus A ({report.unit}); blue: B is better")
    left_out = f"\n{len(scenes)} of {len(groups)} scenes shown" if len(scenes) < len(groups) else ""
    figure.suptitle(f"A: {names[0]}\nB: {names[1]}{left_out}", fontsize=10)
    return figure


def _spearman(a_N: np.ndarray, b_N: np.ndarray) -> float | None:
    """The rank correlation where both are known; None where one does not vary."""
    known_N = ~np.isnan(a_N) & ~np.isnan(b_N)
    return spearman(a_N[known_N], b_N[known_N]) if known_N.sum() >= 3 else None
