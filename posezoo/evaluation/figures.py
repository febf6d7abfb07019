"""The two figures of a report, drawn without a display: where the model is wrong, and how often by how much.

Also the figure of a data set, to look at before training.

Colours keep their order and contrast in the common kinds of colour blindness (Okabe and Ito 2008; plasma).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import ListedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, PercentFormatter

from posezoo.base.errors import DataError, UsageError
from posezoo.base.files.write import replacement, writing
from posezoo.base.poses import axes_from_above, rotation_matrix
from posezoo.data.open import Dataset
from posezoo.data.table import Frames
from posezoo.evaluation import baselines

if TYPE_CHECKING:
    from posezoo.evaluation.results import Results

DPI = 150
MAX_PANELS = 8
"""Seven scenes are the largest common benchmark."""

Index = npt.NDArray[np.int64]
Vector = npt.NDArray[np.float64]

# without the yellow end, which vanishes on white
_ERROR_COLOURS = ListedColormap(matplotlib.colormaps["plasma"](np.linspace(0.0, 0.86, 256)), "error")
_TRAIN, _TRUE, _JOIN = "0.82", "0.15", "0.55"
_STYLES = {
    baselines.MEAN: ("#D55E00", (0, (1, 1.5))),
    baselines.RETRIEVAL: ("#009E73", (0, (5, 2))),
    baselines.ORACLE: ("0.35", (0, (6, 2, 1, 2))),
}
_MODEL, _OTHER = "#0072B2", ("#CC79A7", (0, (3, 1)))
_SPLITS = {"train": "#999999", "val": "#E69F00", "test": "#0072B2"}
_GROUP_COLOURS = ("#56B4E9", "#CC79A7", "#E69F00", "#882255", "#117733", "#332288", "#999933", "#661100")
_GRID = ((1, 1), (1, 2), (1, 3), (2, 2), (2, 3), (2, 3), (2, 4), (2, 4))  # rows, columns of 1, 2, ... panels


def trajectory(report: Results) -> Figure:
    """The paths seen from above: training (grey), true (black), predicted (coloured by error).

    One panel a scene, or a condition where there is one scene. All panels share the colours, which stop at the 5th
    and 95th percentile; predictions far outside are counted in the panel's title.
    """
    panels = _panels(report)
    shown = dict(list(panels.items())[:MAX_PANELS])
    rows, columns = _GRID[len(shown) - 1]
    views = _views(report, shown)
    width = 6.5 if columns == 1 else 4.2 if columns < 4 else 3.6
    tall = max((view.high[1] - view.low[1]) / (view.high[0] - view.low[0]) for view in views.values())
    height = rows * (width * min(max(tall, 0.4), 1.2) + 0.6) + 0.9
    figure = Figure(figsize=(width * columns + 1.2, height), layout="compressed")
    norm = _error_norm(report.errors[report.model][0])
    for place, (name, view) in enumerate(views.items(), 1):
        title = name or "(none)" if len(panels) > 1 else f"{len(shown[name])} image{'s' * (len(shown[name]) > 1)}"
        points = _trajectory_panel(figure.add_subplot(rows, columns, place), report, shown[name], view, title, norm)
    bar = figure.colorbar(points, ax=figure.axes, extend="both", shrink=0.85, aspect=28, pad=0.015)
    bar.set_label(f"position error ({report.unit})")
    _plain_log(bar.ax.yaxis)
    left_out = f", {len(shown)} of {len(panels)} shown" if len(shown) < len(panels) else ""
    figure.suptitle(f"{report.model} on {report.data} ({report.split}{left_out})")
    figure.legend(handles=_trajectory_legend(report), loc="outside lower center", ncols=4, frameon=False)
    return figure


def errors(report: Results) -> Figure:
    """The share of images with less than an error, for position and orientation: model, its parts, baselines."""
    figure = Figure(figsize=(10.5, 5.2), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    parts = _panels(report)
    labels = f"position error ({report.unit})", "orientation error (degrees)"
    for axes, which, label in ((left, 0, labels[0]), (right, 1, labels[1])):
        drawn = [report.errors[method][which] for method in report.methods]
        low, high = _log_limits(drawn, floor=(2e-3, 0.05)[which])
        for method in report.methods:
            if method != report.model:
                colour, dashes = _STYLES.get(method, _OTHER)
                _cumulative(
                    axes, report.errors[method][which], low, high, color=colour, ls=dashes, lw=1.6, label=method
                )
        error_N = report.errors[report.model][which]
        if len(parts) > 1:
            for (name, index), colour in zip(parts.items(), _GROUP_COLOURS, strict=False):
                _cumulative(axes, error_N[index], low, high, color=colour, lw=1.0, label=f"{report.model}: {name}")
        _cumulative(axes, error_N, low, high, color=_MODEL, lw=3.0, label=report.model, zorder=5)
        axes.set(xscale="log", xlim=(low, high), ylim=(0, 1.01), xlabel=label)
        axes.grid(True, color="0.92", lw=0.6)
        _plain_log(axes.xaxis)
        axes.hlines(0.5, low, high, color="0.6", lw=0.8, zorder=0)
    left.set_ylabel("images with a smaller error")
    left.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    left.annotate("median", (0.01, 0.5), xycoords=("axes fraction", "data"), va="bottom", color="0.4", fontsize=8)
    figure.suptitle(f"{report.model} on {report.data} ({report.split}, {len(report.frames)} images)")
    # the model first, although it is drawn last
    handles: list[Line2D] = sorted(left.lines[:-1], key=lambda line: not str(line.get_label()).startswith(report.model))
    figure.legend(
        handles=[left.lines[-1], *handles], loc="outside lower center", ncols=min(4, len(handles) + 1), frameon=False
    )
    return figure


@dataclass(frozen=True)
class _View:
    """What a panel shows: the two world axes, their limits in metres, and the training frames of its scene."""

    pair: list[int]
    low: Vector
    high: Vector
    train: Frames | None


def _views(report: Results, panels: dict[str, Index]) -> dict[str, _View]:
    """The view of each panel; panels of one scene share one, so that they can be compared."""
    views: dict[str, _View] = {}
    by_scene: dict[int, _View] = {}
    for name, index in panels.items():
        scene = int(report.frames.scene[index[0]])
        if scene not in by_scene:
            of_scene = report.frames.scene == scene
            true_N3 = report.frames.position[of_scene]
            train = report.train.of_scene(report.frames.scenes[scene]) if report.train is not None else None
            pair = list(axes_from_above(true_N3, report.frames.quaternion[of_scene]))
            known = np.concatenate([true_N3, train.position]) if train is not None else true_N3
            predicted_N3 = report.methods[report.model].position[of_scene]
            by_scene[scene] = _View(pair, *_limits(known[:, pair], predicted_N3[:, pair]), train)
        views[name] = by_scene[scene]
    return views


def dataset_paths(dataset: Dataset) -> Figure:
    """The true paths of a data set seen from above, a panel a scene; arrows show where cameras look."""
    frames = dataset.frames
    scenes = [frames.of_scene(name) for number, name in enumerate(frames.scenes) if (frames.scene == number).any()]
    rows, columns = _GRID[min(len(scenes), MAX_PANELS) - 1]
    figure = Figure(figsize=(max(6.5, 4.0 * columns), 4.0 * rows + 1.0), layout="compressed")
    for place, scene in enumerate(scenes[:MAX_PANELS], 1):
        axes = figure.add_subplot(rows, columns, place)
        pair = list(axes_from_above(scene.position, scene.quaternion))
        for split, colour in _SPLITS.items():
            part = scene.of_split(split)
            if not len(part):
                continue
            for path in _pieces(part.position, part.sequence):
                axes.plot(*path[:, pair].T, color=colour, lw=1.5, marker="." if len(path) == 1 else "", ms=4)
            step = slice(None, None, max(1, len(part) // 40))
            forward_N3 = rotation_matrix(part.quaternion[step])[:, :, 2]  # the camera's z axis
            start_N2 = part.position[step][:, pair]
            axes.quiver(*start_N2.T, *forward_N3[:, pair].T, color=colour, width=0.004, alpha=0.8)
        _metre_axes(axes, _View(pair, *_limits(scene.position[:, pair], scene.position[:, pair]), None), dataset.unit)
        axes.set_title(f"{scene.scenes[scene.scene[0]]}: {len(scene)} images", fontsize=10)
    counts = {split: int((frames.split == split).sum()) for split in _SPLITS}
    handles = [Line2D([], [], color=_SPLITS[s], lw=2, label=f"{s} ({count})") for s, count in counts.items() if count]
    left_out = f", {MAX_PANELS} of {len(scenes)} scenes shown" if len(scenes) > MAX_PANELS else ""
    figure.suptitle(f"{dataset.name} ({frames.ground_truth} ground truth{left_out})")
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
    return figure


def save_dataset_plot(dataset: Dataset, path: Path) -> Path:
    """`path`, with the figure of the data set written to it. Raises DataError if there is nothing to draw."""
    if not len(dataset.frames):
        raise DataError(f'"{dataset.name}" has no images', "posezoo data verify shows why")
    save(dataset_paths(dataset), path)
    return path


def save(figure: Figure, path: Path) -> None:
    """Write the figure in the format of the path's suffix. Raises UsageError, ResourceError."""
    kind = path.suffix[1:].lower()
    if kind not in figure.canvas.get_supported_filetypes():
        raise UsageError(f"{path}: unknown picture format", "end it in .png, .pdf or .svg")
    with writing(path), replacement(path) as temporary:
        figure.savefig(temporary, format=kind, dpi=DPI, bbox_inches="tight")


def _panels(report: Results) -> dict[str, Index]:
    scenes = report.groups("scene")
    return scenes if len(scenes) > 1 else report.groups("condition")


def _trajectory_panel(
    axes: Axes, report: Results, index: Index, view: _View, title: str, norm: LogNorm
) -> PathCollection:
    frames, pair = report.frames, view.pair
    true_N2, predicted_N2 = frames.position[index][:, pair], report.methods[report.model].position[index][:, pair]
    error_N = report.errors[report.model][0][index]
    if view.train is not None:
        for path in _pieces(view.train.position, view.train.sequence):
            axes.plot(*path[:, pair].T, color=_TRAIN, lw=2.2, solid_capstyle="round", marker=".", ms=2.5, zorder=1)
    with np.errstate(invalid="ignore"):
        inside_N = np.all((predicted_N2 >= view.low) & (predicted_N2 <= view.high), axis=1)  # false for nan
    joins = np.stack([true_N2, predicted_N2], axis=1)[inside_N]
    axes.add_collection(LineCollection(list(joins), colors=_JOIN, linewidths=0.4, alpha=0.5, zorder=2))
    for path in _pieces(frames.position[index], frames.sequence[index]):
        axes.plot(*path[:, pair].T, color=_TRUE, lw=1.1, marker="." if len(path) == 1 else "", ms=3, zorder=5)
    # the worst on top: they are what the figure is for
    order = np.argsort(error_N)
    order = order[inside_N[order]]
    size = float(np.clip(4000 / len(index), 5, 20))
    x_N, y_N = predicted_N2[order].T
    points = axes.scatter(x_N, y_N, c=error_N[order], cmap=_ERROR_COLOURS, norm=norm, s=size, lw=0, zorder=4)
    _metre_axes(axes, view, report.unit)
    failed, lost = int(np.isinf(error_N).sum()), int((~inside_N).sum())
    counts = [f"{lost - failed} outside"] * (lost > failed) + [f"{failed} failed"] * (failed > 0)
    axes.set_title(", ".join([f"{title}: median {np.median(error_N):.3g} {report.unit}", *counts]), fontsize=10)
    return points


def _metre_axes(axes: Axes, view: _View, unit: str) -> None:
    """Equal scales; for coordinates like UTM northings the ticks omit a round number that the label names."""
    axes.set(xlim=(view.low[0], view.high[0]), ylim=(view.low[1], view.high[1]), aspect="equal")
    for n, axis in enumerate((axes.xaxis, axes.yaxis)):
        far = max(abs(view.low[n]), abs(view.high[n])) > 9999
        start = float(np.floor(view.low[n] / 100) * 100) if far else 0.0
        axis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10], min_n_ticks=3))
        axis.set_major_formatter(FuncFormatter(lambda value, _, start=start: f"{round(value - start, 6):g}"))
        letter = "xyz"[view.pair[n]]
        axis.set_label_text(f"{letter} - {start:.0f} ({unit})" if start else f"{letter} ({unit})")
    axes.grid(True, color="0.93", lw=0.6)
    axes.set_axisbelow(True)


def _pieces(position_N3: Vector, sequence_N: npt.NDArray[np.str_]) -> Iterator[Vector]:
    """The path in pieces without jumps: a line between two sequences or over a left-out block was never driven."""
    for name in dict.fromkeys(sequence_N.tolist()):
        path = position_N3[sequence_N == name]
        step = np.linalg.norm(np.diff(path, axis=0), axis=1)
        usual = float(np.median(step)) if len(step) else 0.0
        yield from np.split(path, np.flatnonzero(step > 12 * usual) + 1 if usual > 0 else [])


def _limits(known_M2: Vector, predicted_N2: Vector) -> tuple[Vector, Vector]:
    """(low, high) of both axes: all true positions fit in, and all but the farthest predictions."""
    low, high = known_M2.min(axis=0), known_M2.max(axis=0)
    finite_N = np.isfinite(predicted_N2).all(-1)
    reach = 0.3 * max(float((high - low).max()), 1e-3)
    if finite_N.any():
        inner = np.percentile(predicted_N2[finite_N], [1, 99], axis=0)
        low = np.minimum(low, np.maximum(inner[0], low - reach))
        high = np.maximum(high, np.minimum(inner[1], high + reach))
    # a straight path still gets some width
    longest = float((high - low).max())
    margin = 0.04 * longest + 1e-3 + np.maximum(0.0, 0.25 * longest - (high - low)) / 2
    return low - margin, high + margin


def _error_norm(error_N: Vector) -> LogNorm:
    finite = error_N[np.isfinite(error_N)]
    low, high = np.percentile(finite, [5, 95]) if len(finite) else (0.1, 1.0)
    low = max(float(low), 1e-3)
    return LogNorm(low, max(float(high), 1.5 * low), clip=False)


def _log_limits(errors_of_methods: list[Vector], floor: float) -> tuple[float, float]:
    finite = [error_N[np.isfinite(error_N)] for error_N in errors_of_methods]
    finite = [error_N for error_N in finite if len(error_N)] or [np.array([floor, 1.0])]
    low = max(floor, min(float(np.percentile(error_N, 2)) for error_N in finite))
    return low, max(1.3 * max(float(np.percentile(error_N, 99.5)) for error_N in finite), 10 * low)


def _cumulative(axes: Axes, error_N: Vector, low: float, high: float, **style: object) -> None:
    finite = np.sort(error_N[np.isfinite(error_N)])
    share = np.arange(1, len(finite) + 1) / len(error_N)
    # from the left edge (a log axis has no place for 0) to the right one
    x = np.concatenate([[low / 10], np.maximum(finite, low / 10), [high * 10]])
    y = np.concatenate([[0.0], share, [share[-1] if len(share) else 0.0]])
    axes.plot(x, y, drawstyle="steps-post", **style)  # type: ignore[arg-type]


def _plain_log(axis: matplotlib.axis.Axis) -> None:
    """Ticks at round multiples of powers of ten, fewer on a longer axis, written as plain numbers."""
    low, high = axis.get_view_interval()
    decades = np.log10(high / low)
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades < 2.6 else (1.0, 3.0) if decades < 4 else (1.0,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _trajectory_legend(report: Results) -> list[Line2D]:
    train = [Line2D([], [], color=_TRAIN, lw=2.2, label="training path")] if report.train is not None else []
    return [
        *train,
        Line2D([], [], color=_TRUE, lw=1.1, label="true path"),
        Line2D([], [], color=_ERROR_COLOURS(0.35), lw=0, marker="o", ms=5, label="predicted"),
        Line2D([], [], color=_JOIN, lw=0.8, label="true to predicted"),
    ]
