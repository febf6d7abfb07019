"""A place seen from above: what the pictures of poses, of data sets and of reports share.

Legend: N cameras, 2 the axes that are shown, 3 those of the world.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.quiver import Quiver
from matplotlib.ticker import FuncFormatter, MaxNLocator

from posezoo.base.picture import Picture, grey
from posezoo.base.rotation import axes_from_above, rotation_matrix

MAX_PANELS = 8
"""Seven scenes are the largest common benchmark."""
MOST_HEADINGS = 60
"""Arrows in a panel; more would hide each other."""
COLOURS = ("#56B4E9", "#CC79A7", "#E69F00", "#882255", "#117733", "#332288", "#999933", "#661100")
"""Of groups, told apart in the common kinds of colour blindness."""
_GRID = ((1, 1), (1, 2), (1, 3), (2, 2), (2, 3), (2, 3), (2, 4), (2, 4))  # rows, columns of 1, 2, ... panels

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class View:
    """What a panel shows: the two world axes, right and up, and their limits in metres."""

    pair: list[int]
    low: Vector
    high: Vector

    @classmethod
    def of(
        cls, position_N3: Vector, quaternion_N4: Vector, known: Sequence[Vector] = (), predicted: Any = None
    ) -> View:
        """All of the cameras and of what is `known` fits in, and all but the farthest of what is predicted."""
        pair = list(axes_from_above(position_N3, quaternion_N4))
        all_M2 = np.concatenate([position_N3, *known])[:, pair]
        return cls(pair, *limits(all_M2, all_M2 if predicted is None else predicted[:, pair]))

    def inside(self, position_N2: Vector) -> npt.NDArray[np.bool_]:
        """Which positions are within the limits; false for nan."""
        with np.errstate(invalid="ignore"):
            return np.all((position_N2 >= self.low) & (position_N2 <= self.high), axis=1)


def panels(count: int, width: float, height: float) -> tuple[Picture, list[Axes]]:
    """A picture of 1 to 8 panels of at least this size, inches."""
    rows, columns = _GRID[count - 1]
    figure = Picture(figsize=(max(6.5, width * columns + 1.2), rows * height + 0.9), layout="compressed")
    return figure, [figure.add_subplot(rows, columns, place) for place in range(1, count + 1)]


def columns_of(count: int) -> int:
    """How many panels stand side by side."""
    return _GRID[count - 1][1]


def metre_axes(axes: Axes, view: View, unit: str) -> None:
    """Equal scales; for coordinates like UTM northings the ticks omit a round number that the label names."""
    axes.set(xlim=(view.low[0], view.high[0]), ylim=(view.low[1], view.high[1]), aspect="equal")
    for n, axis in enumerate((axes.xaxis, axes.yaxis)):
        far = max(abs(view.low[n]), abs(view.high[n])) > 9999
        start = float(np.floor(view.low[n] / 100) * 100) if far else 0.0
        axis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10], min_n_ticks=3))
        axis.set_major_formatter(FuncFormatter(lambda value, _, start=start: f"{round(value - start, 6):g}"))
        letter = "xyz"[view.pair[n]]
        axis.set_label_text(f"{letter} - {start:.0f} ({unit})" if start else f"{letter} ({unit})")
    axes.grid(True, color=grey(0.93), lw=0.6)
    axes.set_axisbelow(True)


def pieces(position_N3: Vector, sequence_N: npt.NDArray[np.str_]) -> Iterator[Vector]:
    """The path in pieces without jumps: a line between two sequences or over a left-out block was never driven."""
    for name in dict.fromkeys(sequence_N.tolist()):
        path = position_N3[sequence_N == name]
        step = np.linalg.norm(np.diff(path, axis=0), axis=1)
        usual = float(np.median(step)) if len(step) else 0.0
        yield from np.split(path, np.flatnonzero(step > 12 * usual) + 1 if usual > 0 else [])


def draw_path(axes: Axes, view: View, position_N3: Vector, sequence_N: npt.NDArray[np.str_], **style: Any) -> None:
    """The pieces of a path as lines; a piece of one camera is a dot."""
    for piece in pieces(position_N3, sequence_N):
        alone = {"marker": "."} if len(piece) == 1 else {}
        axes.plot(*piece[:, view.pair].T, **{"solid_capstyle": "round", **style, **alone})


def draw_headings(
    axes: Axes, view: View, position_N3: Vector, quaternion_N4: Vector, value_N: Vector | None = None, **style: Any
) -> Quiver:
    """Where cameras look: the z axis of every camera, or of evenly chosen ones, an arrow that starts at its position.

    All arrows of a level camera are equally long; `value_N` colours them.
    """
    step = slice(None, None, -(-len(position_N3) // MOST_HEADINGS) or 1)
    forward_N3 = rotation_matrix(quaternion_N4[step])[:, :, 2]
    given = [] if value_N is None else [value_N[step]]
    shape = {"angles": "xy", "scale_units": "width", "scale": 28, "width": 0.0045, "headwidth": 3.5, "zorder": 6}
    start_N2 = position_N3[step][:, view.pair]
    return axes.quiver(*start_N2.T, *forward_N3[:, view.pair].T, *given, **{**shape, **style})


def limits(known_M2: Vector, predicted_N2: Vector) -> tuple[Vector, Vector]:
    """(low, high) of both axes: all true positions fit in, and all but the farthest predictions."""
    low, high = known_M2.min(axis=0), known_M2.max(axis=0)
    finite_N = np.isfinite(predicted_N2).all(-1)
    reach = 0.3 * max(float((high - low).max()), 1e-3)
    if finite_N.any():
        inner = np.percentile(predicted_N2[finite_N], [1, 99], axis=0)
        low = np.minimum(low, np.maximum(inner[0], low - reach))
        high = np.maximum(high, np.minimum(inner[1], high + reach))
    # a straight path still gets some width; an arrow at its end still fits in
    longest = float((high - low).max())
    margin = 0.05 * longest + 1e-3 + np.maximum(0.0, 0.25 * longest - (high - low)) / 2
    return low - margin, high + margin


def plan_of_poses(
    scenes: dict[str, npt.NDArray[np.int64]], position_N3: Vector, quaternion_N4: Vector, unit: str = "m"
) -> Picture:
    """What Poses.plot shows: a panel for each scene with path and headings; poses that are not finite are counted."""
    figure, places = panels(max(1, min(len(scenes), MAX_PANELS)), 5.0, 4.4)
    for axes, (name, index) in zip(places, scenes.items(), strict=False):
        known = index[np.isfinite(position_N3[index]).all(-1) & np.isfinite(quaternion_N4[index]).all(-1)]
        words = f"{len(index)} pose{'s' * (len(index) != 1)}" + (f", {len(index) - len(known)} not finite") * (
            len(known) < len(index)
        )
        axes.set_title(f"{name}: {words}" if name else words, fontsize=10)
        if len(known):
            view = View.of(position_N3[known], quaternion_N4[known])
            path = np.zeros(len(known), np.str_)
            draw_path(axes, view, position_N3[known], path, color=grey(0.7), lw=1.2, marker=".", ms=3)
            draw_headings(axes, view, position_N3[known], quaternion_N4[known], color="#0072B2")
            metre_axes(axes, view, unit)
    left_out = f" ({MAX_PANELS} of {len(scenes)} scenes shown)" if len(scenes) > MAX_PANELS else ""
    figure.suptitle(f"Cameras seen from above{left_out}", fontsize=11)
    return figure
