"""What the figures of studies share: a colour for each model, and an axis of errors.

Colours keep their order and contrast in the common kinds of colour blindness (Okabe and Ito 2008). Figures are small:
they stand in pages that are read on a phone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "0.35")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
WIDTH = 6.4
"""Inches."""
BARS = "bars are 95 % intervals, rings the lowest and highest training"


def styles(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """(colour, marker) of each model."""
    return dict(zip(names, zip(cycle(COLOURS), cycle(MARKERS), strict=False), strict=False))


def panels(count: int, height: float = 2.9, width: float = WIDTH) -> tuple[Figure, list[Axes]]:
    """A figure with panels above one another."""
    figure = Figure(figsize=(width, height * count), layout="constrained")
    return figure, list(figure.subplots(count, 1, squeeze=False)[:, 0])


def legend(figure: Figure, axes: Axes) -> None:
    """The names of what `axes` shows, below the figure."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(3, len(labels)), frameon=False)


def medians(
    axes: Axes,
    rows: Sequence[Mapping[str, Any]],
    key: str,
    places: Sequence[float] | npt.NDArray[Any],
    colour: str,
    marker: str,
    across: bool = False,
    **look: Any,
) -> None:
    """Rows of posezoo.studies.medians at their `places`: see BARS. `across`: errors along x. `look`: of errorbar."""
    middle = np.array([row[key] for row in rows], dtype=np.float64)
    bars = np.abs(np.array([row[f"{key}_ci95"] for row in rows], dtype=np.float64).T - middle)
    look = {"fmt": marker, "ms": 5, "lw": 1.4, "capsize": 2, **look, "xerr" if across else "yerr": bars}
    axes.errorbar(*((middle, places) if across else (places, middle)), color=colour, **look)
    for row, place in zip(rows, places, strict=True):
        ends = sorted(set(row[f"{key}_seeds"]))
        if len(ends) > 1:
            where = (ends, [place, place]) if across else ([place, place], ends)
            axes.plot(*where, "o", mfc="w", mec=colour, mew=1, ms=4, zorder=4)


def plain(axes: Axes, ylabel: str) -> None:
    """A quiet grid, and errors from zero on."""
    axes.grid(True, axis="y", color="0.92", lw=0.6)
    axes.set_axisbelow(True)
    axes.set_ylabel(ylabel)
    axes.spines[["top", "right"]].set_visible(False)
