"""The learning curves of a run as a picture: errors in training and validation over the steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from posezoo.evaluation import figures

PANELS = (
    ("loss", "", "loss"),
    ("position_m", "median_position_m", "position (m)"),
    ("orientation_deg", "median_orientation_deg", "orientation (deg)"),
)
"""(key of a step, key of an epoch, label)"""
_TRAIN, _VALIDATION = "#0072B2", "#D55E00"


def draw(lines: list[dict[str, Any]]) -> Figure:
    """The figure of the lines of metrics.jsonl. Each step is thin, their running mean thick; validation has dots."""
    steps = [line for line in lines if "loss" in line]
    epochs = [line for line in lines if "score" in line]
    figure = Figure(figsize=(11, 3.2), layout="constrained")
    axes: list[Axes] = list(figure.subplots(1, len(PANELS)))
    x_N = np.array([line["step"] for line in steps])
    for panel, (key, validated, label) in zip(axes, PANELS, strict=True):
        y_N = np.array([line[key] for line in steps], dtype=np.float64)
        panel.plot(x_N, y_N, color=_TRAIN, alpha=0.25, linewidth=0.8)
        panel.plot(x_N, _running_mean(y_N), color=_TRAIN, label="training (mean)")
        points = [(line["step"], line[validated]) for line in epochs if validated in line]
        if points:
            panel.plot(*zip(*points, strict=True), "o-", color=_VALIDATION, markersize=3, label="validation (median)")
        panel.set_xlabel("step")
        panel.set_ylabel(label)
        if key != "loss" and len(y_N) and y_N.min() > 0 and y_N.max() > 10 * y_N.min():
            panel.set_yscale("log")
            panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        panel.spines[["top", "right"]].set_visible(False)
    axes[-1].legend(frameon=False)
    return figure


def save(metrics: Path, *to: Path) -> None:
    """The curves of metrics.jsonl, written to each path. Raises ResourceError."""
    lines = [json.loads(text) for text in metrics.read_text(encoding="utf-8").splitlines()]
    figure = draw(lines)
    for path in to:
        figures.save(figure, path)


def _running_mean(values_N: np.ndarray) -> np.ndarray:
    """The mean of the values around each, a twentieth of them at most."""
    width = max(1, len(values_N) // 20)
    sums = np.concatenate([[0.0], np.cumsum(values_N)])
    start = np.maximum(0, np.arange(len(values_N)) - width // 2)
    end = np.minimum(len(values_N), start + width)
    return np.asarray((sums[end] - sums[start]) / np.maximum(1, end - start))
