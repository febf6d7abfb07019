"""Where models say that the camera was: Figure 2 of HyperPose's supplement, several models on the same axes.

A panel for each test sequence and model; true path black, predictions red, a star at the start, no alignment. The axes
are those of the ground, the same for all panels of a scene; what lies far outside is counted, and so are failed poses,
which count as infinitely far. The title has mean and median, as is the custom on RobotCar.

Legend: N images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from posezoo.base.errors import unknown_name
from posezoo.base.observe import Observer
from posezoo.base.plan import View, metre_axes
from posezoo.data.splits import runs
from posezoo.evaluation.intervals import Index
from posezoo.evaluation.metrics import pose_errors
from posezoo.studies import changes
from posezoo.studies.measure import Album, Answers, answers, errors, open_album
from posezoo.studies.medians import MEDIAN, note, short, shown, spread
from posezoo.studies.paired import ranked, training_notes, words
from posezoo.studies.study import Found
from posezoo.studies.subjects import Request, subjects

RED, BLACK = "#D55E00", "0.1"
MOST = 4
"""Sequences that are drawn."""


@dataclass(frozen=True)
class Options:
    """Of the study itself."""

    sequences: tuple[str, ...] = ()
    """Which test sequences are drawn; none: the first four. The numbers are of all."""


def study(request: Request, options: Options, observer: Observer) -> Found:
    """The study; the picture shows each model's first training."""
    album = open_album(request, observer)
    known = np.unique(album.frames.sequence).tolist()
    for name in options.sequences:
        if name not in known:
            raise unknown_name("sequence", name, known, f"{request.data} has {', '.join(known[:5])}")
    everything = [changes.original(np.arange(len(album.frames)))]
    models = subjects(request)
    predicted = answers(models, album, everything, request.folder, observer)
    found = {
        name: [run[0] for run in each]
        for name, each in errors(models, album, everything, request.folder, observer).items()
    }
    frames, first = album.results(everything[0].index), models[0].name
    rows = [_row(frames, name, each) for name, each in found.items()]
    against = {name: ranked(frames, found[first], each) for name, each in found.items() if name != first}
    verdict = ". ".join(words(one, name, first) for name, one in against.items())
    return Found(
        verdict=verdict
        or f"{first}: median {short(rows[0]['median_position_m'])} m, mean {short(rows[0]['mean_position_m'])} m",
        rows=[_shown(row) for row in rows],
        numbers={"models": {one.name: one.runs for one in models}, "errors": rows, "against_first": against},
        figures={"trajectory.png": _figure(album, {n: each[0][0] for n, each in predicted.items()}, options)},
        notes=[note(frames, max(len(one.runs) for one in models)), *training_notes(models)],
    )


def _row(frames: Any, name: str, trainings: Sequence[tuple[np.ndarray, np.ndarray]]) -> dict[str, Any]:
    means = [float(np.mean([np.mean(one[which]) for one in trainings])) for which in (0, 1)]
    return {"model": name, **spread(frames, trainings), "mean_position_m": means[0], "mean_orientation_deg": means[1]}


def _shown(row: Mapping[str, Any]) -> dict[str, str]:
    mean = f"{short(row['mean_position_m'])} m\n{short(row['mean_orientation_deg'])} deg"
    return {"model": row["model"], MEDIAN: shown(row), "mean": mean}


def _figure(album: Album, predicted: Mapping[str, Answers], options: Options) -> Figure:
    """Sequences below one another, models beside one another."""
    frames = album.frames
    parts = [
        part for part in runs(frames) if not options.sequences or str(frames.sequence[part[0]]) in options.sequences
    ]
    parts = parts[:MOST]
    width, columns = 3.0, len(predicted)
    figure = Figure(figsize=(width * columns + 0.4, 2.5 * len(parts) + 0.4), layout="constrained")
    grid = figure.subplots(len(parts), columns, squeeze=False)
    for line, part in enumerate(parts):
        scene = np.flatnonzero(frames.scene == frames.scene[part[0]])
        view = View.of(frames.position[scene], frames.quaternion[scene])
        for column, (name, poses) in enumerate(predicted.items()):
            _panel(grid[line][column], album, part, poses, view)
            if not line:
                grid[line][column].text(
                    0.5, 1.16, name, transform=grid[line][column].transAxes, ha="center", fontsize=9
                )
    return figure


def _panel(axes: Axes, album: Album, part: Index, poses: Answers, view: View) -> None:
    true_N3, predicted_N3 = album.frames.position[part], poses.position[part]
    error_N, _ = pose_errors(predicted_N3, poses.quaternion[part], true_N3, album.frames.quaternion[part])
    failed_N = np.isinf(error_N)
    shown_N2 = predicted_N3[:, view.pair]
    inside_N = view.inside(shown_N2) & ~failed_N
    x_N, y_N = true_N3[:, view.pair].T
    axes.plot(x_N, y_N, color=BLACK, lw=1.2, zorder=2)
    axes.plot(*shown_N2[inside_N].T, ".", color=RED, ms=3.5, zorder=3)
    axes.plot(x_N[:1], y_N[:1], "*", color=BLACK, ms=11, mec="w", zorder=4)
    metre_axes(axes, view, album.dataset.unit)
    axes.tick_params(labelsize=7)
    axes.xaxis.label.set_fontsize(8)
    axes.yaxis.label.set_fontsize(8)
    counts = {"outside": int(np.sum(~inside_N & ~failed_N)), "failed": int(failed_N.sum())}
    away = "".join(f", {count} {word}" for word, count in counts.items() if count)
    sequence = album.frames.sequence[part[0]] or "sequence"
    mean, median = short(float(np.mean(error_N))), short(float(np.median(error_N)))
    axes.set_title(f"{sequence}: mean {mean}, median {median} {album.dataset.unit}{away}", fontsize=8)
