"""Errors while an object of known size passes in front of the camera: Figure 5 of HyperPose's supplement.

In windows of consecutive test frames an opaque block enters at one side and leaves at the other; at its peak it covers
a chosen share of the picture. Its texture is a small patch of another picture of the data, enlarged: a whole picture
would show another place, and models then answer with that place. The pictures between the windows stay as they are.
What is told of each model: its error at the peak, a window's middle frame or its two middle ones, where the block is
wholly in the picture, against the share that it covers; the largest error of a window as a multiple of the median
outside; and how many frames after the peak the error is back below 1.5 times that median. Two models are compared by
each image's mean error over the shares, which is the area under its curve. `study.window` adds a window of a recorded
sequence, where something really passed: posezoo.studies.recorded.

Legend: N images, M frames of a window, H height, W width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pydantic import Field
from torch.nn import functional as F

from posezoo.base.errors import DataError
from posezoo.base.observe import Observer
from posezoo.base.paths import user_path
from posezoo.data.splits import runs
from posezoo.data.table import Frames
from posezoo.evaluation.compare import UNITS
from posezoo.evaluation.intervals import Floats, Index, median_interval
from posezoo.studies import changes, drawing, medians, recorded
from posezoo.studies.measure import Album, Condition, Errors, errors, open_album
from posezoo.studies.medians import with_ends
from posezoo.studies.paired import mean_errors, ranked, training_notes, words
from posezoo.studies.ranges import Several
from posezoo.studies.recorded import PEAK
from posezoo.studies.study import Found
from posezoo.studies.subjects import Request, Subject, subjects
from posezoo.training.run import CONFIG, read_config

HEIGHT = 0.85
"""Of the picture's height: the block stands on its lower edge."""
Cover = Annotated[float, Field(gt=0, le=HEIGHT)]
PATCH = 4
"""The texture is so many times smaller than the picture it is taken from."""


@dataclass(frozen=True)
class Options:
    """Of the study itself."""

    covers: Several[Cover] = (0.15, 0.3, 0.45, 0.6)
    """Shares of the picture that the block covers at its peak."""
    frames: Annotated[int, Field(ge=3)] = 12
    """Frames in which it passes."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of its texture and direction."""
    window: str = ""
    """SEQUENCE:FIRST-LAST: also the errors in these frames of a test sequence as it was recorded, counted from 0."""


@dataclass(frozen=True)
class Window:
    """One passage."""

    index: Index
    """(M,) the test frames, in the order of time."""
    texture: int
    """The test frame whose picture the block shows."""
    leftwards: bool

    @property
    def peak(self) -> range:
        """The places of the middle frame, or of the two middle ones of an even number."""
        return range((len(self.index) - 1) // 2, len(self.index) // 2 + 1)

    def left(self, place: int, width: float) -> float:
        """Where the block's left edge is in the window's frame `place`, as a share of the picture's width."""
        passed = (place + 0.5) / len(self.index)
        x = -width + passed * (1 + width)
        if place in self.peak:  # two middle frames of a short window: a wide block would stand over either edge
            x = min(max(x, 0.0), 1 - width)
        return 1 - width - x if self.leftwards else x


def study(request: Request, options: Options, observer: Observer) -> Found:
    """The study; the first model is what others are compared with."""
    album = open_album(request, observer)
    real = recorded.stretch(album.frames, options.window) if options.window else None
    windows = passages(album.frames, options)
    inside = np.concatenate([window.index for window in windows])
    key = f"block 3, frames {options.frames}, seed {options.seed}"
    conditions = [
        changes.original(np.arange(len(album.frames))),
        *(
            Condition(f"cover {cover:g}", inside, partial(_covered, album, windows, cover), key)
            for cover in sorted(options.covers)
        ),
    ]
    models = subjects(request)
    measured = errors(models, album, conditions, request.folder, observer)
    found = {name: _aligned(each, inside) for name, each in measured.items()}
    outside = np.setdiff1d(np.arange(len(album.frames)), inside)
    rows = {name: _numbers(album, measured[name], found[name], windows, outside, options) for name in found}
    against = _compared(album, inside, found, sorted(options.covers))
    first = models[0].name
    note = medians.note(album.results(inside), max(len(one.runs) for one in models))
    passed = Found(
        verdict=". ".join(
            [_sentence(rows[first], first), *(f"{words(row, name, first)}" for name, row in against.items())]
        ),
        rows=_shown(rows),
        numbers={
            "models": {one.name: one.runs for one in models},
            **{"windows": len(windows), "frames_in_a_window": options.frames, "num_inside": len(inside)},
            **{"num_outside": len(outside), "passages": rows, "mean_over_covers_against_first": against},
        },
        figures={"occlusion.png": _figure(album, windows, measured, found, rows, options)},
        notes=[note, *training_notes(models), *_seen_in_training(models)],
    )
    plain = {name: [run[0] for run in each] for name, each in measured.items()}
    return passed if real is None else recorded.added(passed, album, real, plain)


def passages(frames: Frames, options: Options) -> list[Window]:
    """Windows in every sequence, each followed by as many frames without a block. Raises DataError if none fits."""
    drawn, found = np.random.default_rng(options.seed), []
    for index in runs(frames):
        for start in range(options.frames // 2, len(index) - options.frames + 1, 2 * options.frames):
            part = index[start : start + options.frames]
            texture = int(drawn.choice(np.setdiff1d(np.arange(len(frames)), part)))
            found.append(Window(part, texture, bool(drawn.integers(2))))
    if not found:
        what = f"no test sequence has {options.frames + options.frames // 2} frames"
        raise DataError(what, "study.frames=4, or other data")
    return found


def _covered(album: Album, windows: Sequence[Window], cover: float, image_HWC: np.ndarray, n: int) -> np.ndarray:
    """The picture of frame n with the block in front."""
    for window in windows:
        place = np.flatnonzero(window.index == n)
        if len(place):
            return with_block(image_HWC, album.picture(window.texture), window, int(place[0]), cover)
    return image_HWC


def with_block(image_HWC: np.ndarray, texture_HWC: np.ndarray, window: Window, place: int, cover: float) -> np.ndarray:
    """The picture with the block where it is in the window's frame `place`; wholly inside it hides `cover` of it."""
    height, width = image_HWC.shape[:2]
    high, wide = round(HEIGHT * height), max(1, round(cover / HEIGHT * width))
    left = round(window.left(place, wide / width) * width)
    patch_hwC = texture_HWC[-(height // PATCH) :, : width // PATCH]
    patch_1Chw = torch.from_numpy(np.array(patch_hwC)).permute(2, 0, 1)[None].float()
    block_1CHW = F.interpolate(patch_1Chw, (high, wide), mode="bilinear", align_corners=False)
    block_HWC = block_1CHW[0].permute(1, 2, 0).round().byte().numpy()
    first, last = max(0, left), min(width, left + wide)
    changed_HWC = image_HWC.copy()
    if first < last:
        changed_HWC[height - high :, first:last] = block_HWC[:, first - left : last - left]
    return changed_HWC


def _aligned(trainings: Sequence[Sequence[Errors]], inside: Index) -> list[list[Errors]]:
    """For each training, of the images inside: without a block, then with each cover."""
    return [[(run[0][0][inside], run[0][1][inside]), *run[1:]] for run in trainings]


def _compared(
    album: Album, inside: Index, found: Mapping[str, list[list[Errors]]], covers: Sequence[float]
) -> dict[str, list[dict[str, Any]]]:
    """Each other model against the first by every image's mean error over the shares, from 0 to the largest."""
    frames, x = album.results(inside), np.array([0.0, *covers])
    areas: dict[str, list[Errors]] = {}
    for name, trainings in found.items():
        of_each = [
            tuple(np.trapezoid([one[which] for one in run], x, axis=0) / x[-1] for which in (0, 1)) for run in trainings
        ]
        areas[name] = [(position_N, orientation_N) for position_N, orientation_N in of_each]
    first = next(iter(areas))
    return {name: ranked(frames, areas[first], one) for name, one in areas.items() if name != first}


def _numbers(
    album: Album,
    measured: Sequence[Sequence[Errors]],
    found: Sequence[Sequence[Errors]],
    windows: Sequence[Window],
    outside: Index,
    options: Options,
) -> list[dict[str, Any]]:
    """A row for each share: medians at the peak, the largest error of a window, and when it is back."""
    length, peak, rows = options.frames, windows[0].peak, []
    frames = album.results(np.concatenate([window.index[peak] for window in windows]))
    for n, cover in enumerate([0.0, *sorted(options.covers)]):
        row: dict[str, Any] = {"cover": cover}
        for which, (error, unit) in enumerate(UNITS.items()):
            plain = float(np.median(mean_errors([run[0] for run in measured])[which][outside]))
            of_windows_KM = mean_errors([run[n] for run in found])[which].reshape(len(windows), length)
            largest_K = of_windows_KM.max(axis=1)
            at_peak = median_interval(of_windows_KM[:, peak].ravel(), frames.sequences(np.arange(len(frames.frames))))
            row |= {
                f"median_outside_{unit}": plain,
                f"median_at_peak_{unit}": at_peak.median,
                f"median_at_peak_{unit}_ci95": [at_peak.low, at_peak.high],
                f"largest_over_outside_{error}": float(np.median(largest_K)) / plain,
                f"frames_until_back_{error}": _back(of_windows_KM, plain),
            }
        rows.append(row)
    return rows


def _back(of_windows_KM: Floats, plain: float) -> int | None:
    """Frames from the block's peak, a window's middle, until the error is back; None: not within the median window."""
    middle = of_windows_KM.shape[1] // 2
    counts = [recorded.until_back(error_M[middle:], plain) for error_M in of_windows_KM]
    ordered = sorted(counts, key=lambda count: np.inf if count is None else count)
    return ordered[len(ordered) // 2]


def _sentence(rows: Sequence[Mapping[str, Any]], name: str) -> str:
    last = rows[-1]
    times, without = (f"{row['largest_over_outside_position']:.1f}" for row in (last, rows[0]))
    hidden = f"behind a block that hides {100 * last['cover']:.0f} %"
    return f"{hidden} the largest position error of {name} is {times} times its median outside, {without} without it"


def _seen_in_training(models: Sequence[Subject]) -> list[str]:
    """A line for each model whose training changed pictures' appearance: parts of them may have been hidden then."""
    notes = []
    for model in models:
        for run in model.runs[:1]:
            folder = user_path(run.removeprefix("local-dir:"))
            config = read_config(folder)["train"] if (folder / CONFIG).is_file() else {}
            if how := config.get("augment", {}).get("appearance"):
                notes.append(f"{model.name} was trained with augment.appearance={how}, which draws over pictures too")
    return notes


def _shown(rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[dict[str, str]]:
    return [
        {
            **{"model": name, "cover": f"{100 * row['cover']:.0f} %"},
            PEAK: "\n".join(
                f"{with_ends(row[f'median_at_peak_{unit}'], row[f'median_at_peak_{unit}_ci95'])} {unit}"
                for unit in UNITS.values()
            ),
            "largest / outside": f"{row['largest_over_outside_position']:.1f}",
            "frames until back": recorded.count_text(row["frames_until_back_position"]),
        }
        for name, of_name in rows.items()
        for row in of_name
    ]


def _figure(
    album: Album,
    windows: Sequence[Window],
    measured: Mapping[str, Sequence[Sequence[Errors]]],
    found: Mapping[str, Sequence[Sequence[Errors]]],
    rows: Mapping[str, Sequence[Mapping[str, Any]]],
    options: Options,
) -> Figure:
    """Pictures of one passage; the error along its sequence with and without it; the error against the share."""
    figure = Figure(figsize=(drawing.WIDTH, 7.4), layout="constrained")
    grid = figure.add_gridspec(3, 5, height_ratios=(0.62, 1, 1))
    shown = windows[len(windows) // 2]
    largest = max(options.covers)
    for column, place in enumerate(np.linspace(0, options.frames - 1, 5).round().astype(int).tolist()):
        axes = figure.add_subplot(grid[0, column])
        n = int(shown.index[place])
        axes.imshow(with_block(album.picture(n), album.picture(shown.texture), shown, place, largest))
        axes.set(xticks=[], yticks=[], title=f"frame {place + 1}")
        axes.title.set_fontsize(9)
    along = figure.add_subplot(grid[1, :])
    _along(along, album, windows, shown, measured, found)
    curve, styles = figure.add_subplot(grid[2, :]), drawing.styles(list(rows))
    for name, of_name in rows.items():
        x, y = [100 * row["cover"] for row in of_name], [row["median_at_peak_m"] for row in of_name]
        bars = np.abs(np.array([row["median_at_peak_m_ci95"] for row in of_name]).T - y)
        colour, marker = styles[name]
        curve.errorbar(x, y, yerr=bars, color=colour, marker=marker, ms=5, lw=1.4, capsize=2, label=name)
    curve.set_xlabel("share of the picture that the block hides at its peak (%)")
    curve.set_ylim(bottom=0)
    drawing.plain(curve, "median at the peak (m), 95 %")
    drawing.legend(figure, curve)
    return figure


def _along(
    axes: Axes,
    album: Album,
    windows: Sequence[Window],
    shown: Window,
    measured: Mapping[str, Sequence[Sequence[Errors]]],
    found: Mapping[str, Sequence[Sequence[Errors]]],
) -> None:
    """The position error along the sequence of a window: thin without, thick with the largest block."""
    (sequence,) = [index for index in runs(album.frames) if shown.index[0] in index]
    number_of = {int(n): place for place, n in enumerate(sequence)}
    for name, (colour, _) in drawing.styles(list(measured)).items():
        plain_N = mean_errors([run[0] for run in measured[name]])[0]
        axes.plot(np.arange(len(sequence)), plain_N[sequence], color=colour, lw=0.8, alpha=0.7)
        hidden_N = mean_errors([run[-1] for run in found[name]])[0]
        start = 0
        for window in windows:
            part, start = hidden_N[start : start + len(window.index)], start + len(window.index)
            if int(window.index[0]) in number_of:
                x = [number_of[int(n)] for n in window.index]
                axes.plot(x, part, color=colour, lw=2.2)
                axes.axvspan(x[0] - 0.5, x[-1] + 0.5, color="0.94", zorder=0)
    axes.set_xlabel(f"frame of {album.frames.sequence[sequence[0]] or 'the sequence'}; grey: the block passes")
    axes.set_yscale("log")
    drawing.plain(axes, "position error (m)")
