"""The two figures of a report, drawn without a display: where the model is wrong, and how often by how much.

Colours keep their order and contrast in the common kinds of colour blindness (Okabe and Ito 2008; plasma).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap, LogNorm
from matplotlib.lines import Line2D
from matplotlib.quiver import Quiver
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, PercentFormatter

from posezoo.base.picture import DPI, Picture, grey, is_dark, save
from posezoo.base.plan import COLOURS, MAX_PANELS, View, columns_of, draw_headings, draw_path, metre_axes, panels
from posezoo.data.table import Frames
from posezoo.evaluation import baselines

if TYPE_CHECKING:
    from posezoo.evaluation.results import Results

__all__ = ["DPI", "MAX_PANELS", "errors", "save", "trajectory"]

Index = npt.NDArray[np.int64]
Vector = npt.NDArray[np.float64]

_JOIN = "0.55"
_STYLES = {
    baselines.MEAN: ("#D55E00", (0, (1, 1.5))),
    baselines.RETRIEVAL: ("#009E73", (0, (5, 2))),
    baselines.ORACLE: ("0.45", (0, (6, 2, 1, 2))),
}
_MODEL, _OTHER = ("#0072B2", "#56B4E9"), ("#CC79A7", (0, (3, 1)))


def trajectory(report: Results) -> Picture:
    """The paths seen from above: training (grey), true (black), predicted headings (coloured by position error).

    One panel a scene, or a condition where there is one scene. All panels share the colours, which stop at the 5th
    and 95th percentile; predictions far outside are counted in the panel's title and drawn as crosses at its edge.
    """
    groups = _groups(report)
    shown = dict(list(groups.items())[:MAX_PANELS])
    grounds = _grounds(report, shown)
    columns = columns_of(len(shown))
    width = 6.5 if columns == 1 else 4.2 if columns < 4 else 3.6
    spans = [ground.view.high - ground.view.low for ground in grounds.values()]
    tall = max(high / wide for wide, high in spans)
    figure, places = panels(len(shown), width, width * min(max(tall, 0.4), 1.2) + 0.6)
    norm = _error_norm(report.errors[report.model][0])
    lost = 0
    for axes, (name, ground) in zip(places, grounds.items(), strict=True):
        title = name or "(none)" if len(groups) > 1 else f"{len(shown[name])} image{'s' * (len(shown[name]) > 1)}"
        arrows, outside = _trajectory_panel(axes, report, shown[name], ground, title, norm)
        lost += outside
    bar = figure.colorbar(arrows, ax=figure.axes, extend="both", shrink=0.85, aspect=28, pad=0.015)
    bar.set_label(f"position error ({report.unit})")
    _plain_log(bar.ax.yaxis)
    left_out = f", {len(shown)} of {len(groups)} shown" if len(shown) < len(groups) else ""
    figure.suptitle(f"{report.model} on {report.data} ({report.split}{left_out})")
    figure.legend(handles=_trajectory_legend(report, lost > 0), loc="outside lower center", ncols=5, frameon=False)
    return figure


def errors(report: Results) -> Picture:
    """The share of images with less than an error, for position and orientation: model, its parts, baselines."""
    figure = Picture(figsize=(10.5, 5.2), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    parts = _groups(report)
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
            for (name, index), colour in zip(parts.items(), COLOURS, strict=False):
                _cumulative(axes, error_N[index], low, high, color=colour, lw=1.0, label=f"{report.model}: {name}")
        _cumulative(axes, error_N, low, high, color=_MODEL[is_dark()], lw=3.0, label=report.model, zorder=5)
        axes.set(xscale="log", xlim=(low, high), ylim=(0, 1.01), xlabel=label)
        axes.grid(True, color=grey(0.92), lw=0.6)
        _plain_log(axes.xaxis)
        axes.hlines(0.5, low, high, color=grey(0.6), lw=0.8, zorder=0)
    left.set_ylabel("images with a smaller error")
    left.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    left.annotate("median", (0.01, 0.5), xycoords=("axes fraction", "data"), va="bottom", color=grey(0.4), fontsize=8)
    figure.suptitle(f"{report.model} on {report.data} ({report.split}, {len(report.frames)} images)")
    # the model first, although it is drawn last
    handles: list[Line2D] = sorted(left.lines[:-1], key=lambda line: not str(line.get_label()).startswith(report.model))
    figure.legend(
        handles=[left.lines[-1], *handles], loc="outside lower center", ncols=min(4, len(handles) + 1), frameon=False
    )
    return figure


@dataclass(frozen=True)
class _Ground:
    """What lies under the predictions of a panel."""

    view: View
    train: Frames | None


def _grounds(report: Results, groups: dict[str, Index]) -> dict[str, _Ground]:
    """The ground of each panel; panels of one scene share one, so that they can be compared."""
    grounds: dict[str, _Ground] = {}
    by_scene: dict[int, _Ground] = {}
    for name, index in groups.items():
        scene = int(report.frames.scene[index[0]])
        if scene not in by_scene:
            true = report.frames.of_scene(report.frames.scenes[scene])
            train = report.train.of_scene(report.frames.scenes[scene]) if report.train is not None else None
            known = [train.position] if train is not None else []
            predicted_N3 = report.methods[report.model].position[report.frames.scene == scene]
            by_scene[scene] = _Ground(View.of(true.position, true.quaternion, known, predicted_N3), train)
        grounds[name] = by_scene[scene]
    return grounds


def _groups(report: Results) -> dict[str, Index]:
    scenes = report.groups("scene")
    return scenes if len(scenes) > 1 else report.groups("condition")


def _trajectory_panel(
    axes: Axes, report: Results, index: Index, ground: _Ground, title: str, norm: LogNorm
) -> tuple[Quiver, int]:
    """(the predicted headings, how many predictions are outside)."""
    frames, view, poses = report.frames, ground.view, report.methods[report.model]
    true_N2, predicted_N2 = frames.position[index][:, view.pair], poses.position[index][:, view.pair]
    error_N = report.errors[report.model][0][index]
    if ground.train is not None:
        style: dict[str, Any] = {"color": grey(0.82), "lw": 2.2, "marker": ".", "ms": 2.5, "zorder": 1}
        draw_path(axes, view, ground.train.position, ground.train.sequence, **style)
    inside_N = view.inside(predicted_N2)
    joins = np.stack([true_N2, predicted_N2], axis=1)[inside_N]
    axes.add_collection(LineCollection(list(joins), colors=_JOIN, linewidths=0.4, alpha=0.6, zorder=2))
    draw_path(axes, view, frames.position[index], frames.sequence[index], color=grey(0.15), lw=1.1, zorder=5)
    colours: dict[str, Any] = {"cmap": _error_colours(), "norm": norm}
    # the worst on top: they are what the figure is for
    order = np.argsort(error_N)
    order = order[inside_N[order]]
    size = float(np.clip(1600 / len(index), 3, 12))
    x_N, y_N = predicted_N2[order].T
    axes.scatter(x_N, y_N, c=error_N[order], s=size, lw=0, zorder=4, **colours)
    seen = index[np.sort(order)]  # evenly along the path where not all have an arrow
    values_N = report.errors[report.model][0][seen]
    arrows = draw_headings(axes, view, poses.position[seen], poses.quaternion[seen], values_N, **colours)
    lost_N = ~inside_N & np.isfinite(error_N)
    x_N, y_N = np.clip(predicted_N2[lost_N], view.low, view.high).T
    axes.scatter(x_N, y_N, c=error_N[lost_N], marker="x", s=26, lw=1.4, zorder=7, clip_on=False, **colours)
    metre_axes(axes, view, report.unit)
    lost, failed = int(lost_N.sum()), int(np.isinf(error_N).sum())
    counts = [f"{lost} outside"] * (lost > 0) + [f"{failed} failed"] * (failed > 0)
    axes.set_title(", ".join([f"{title}: median {np.median(error_N):.3g} {report.unit}", *counts]), fontsize=10)
    return arrows, lost


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


def _error_colours() -> ListedColormap:
    """Plasma without the end that vanishes on the page."""
    ends = (0.25, 1.0) if is_dark() else (0.0, 0.86)
    return ListedColormap(matplotlib.colormaps["plasma"](np.linspace(*ends, 256)), "error")


def _trajectory_legend(report: Results, lost: bool) -> list[Line2D]:
    def line(label: str, **style: object) -> Line2D:
        return Line2D([], [], **{"label": label, **style})  # type: ignore[arg-type]

    mark = {"color": _error_colours()(0.5), "lw": 0}
    return [
        *[line("training path", color=grey(0.82), lw=2.2)] * (report.train is not None),
        line("true path", color=grey(0.15), lw=1.1),
        line("predicted, with its heading", marker=r"$\bullet\!\rightarrow$", ms=13, mew=0, **mark),
        line("true to predicted", color=_JOIN, lw=0.8),
        *[line("outside: farther than shown", marker="x", ms=5, mew=1.4, **mark)] * lost,
    ]
