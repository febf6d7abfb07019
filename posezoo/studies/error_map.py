"""Where one model is better than another: the paired difference of position errors along the path, as map and numbers.

The figure is that of HyperPose's supplement (Figure 4), for any two models of one data set: each image at its true
position, coloured by the other model's error minus the first one's. The numbers say what the eye may not: the median
difference with its interval, overall and by condition, the share of images improved, and whether it is better where the
path turns (Spearman's correlation with the turn over 5 m of path).

Legend: N images.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from posezoo.base.files.write import write_whole, writing
from posezoo.base.rotation import axes_from_above
from posezoo.data.splits import runs
from posezoo.data.table import Frames
from posezoo.evaluation import figures
from posezoo.evaluation.compare import compare
from posezoo.evaluation.metrics import angle_deg
from posezoo.evaluation.report import Report
from posezoo.evaluation.uncertainty import spearman

TURN_METRES = 5.0


def error_map(names: tuple[str, str], first: Report, other: Report, out: Path) -> dict[str, Any]:
    """The study as plain data; study.json and error-map.png are written to `out`. Raises UsageError, ResourceError."""
    comparison = compare(names, [first, other])
    before_N, after_N = first.errors[first.model][0], other.errors[other.model][0]
    with np.errstate(invalid="ignore"):
        difference_N = np.where(before_N == after_N, 0.0, after_N - before_N)
    (rows,) = comparison.differences.values()
    found = {
        "study": "error-map",
        "data": first.data,
        "models": list(names),
        "differences": [row.to_dict() for row in rows],
        "share_improved": float(np.mean(difference_N < 0)),
        "spearman_with_turning": _spearman(difference_N, turning(first.frames)),
        "verdict": comparison.sentences()[0],
    }
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    write_whole(out / "study.json", json.dumps(found, indent=1, allow_nan=False) + "\n")
    figures.save(picture(first, difference_N, names), out / "error-map.png")
    return found


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
