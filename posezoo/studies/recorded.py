"""A window of one recorded test sequence: errors frame by frame, where something really passed (Figure 5 a).

Frames of a sequence are counted from 0, in the order in which they were taken. Outside are all its other test frames.
Of each model, its errors averaged over its trainings: the largest error in the window, as a multiple of the median
outside; and how many frames later the error is below 1.5 times that median and stays there to the window's end.

Nobody knows what is hidden in a real window, and one that is chosen because a model fails in it says little of others.

Legend: M frames of the sequence, C colours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from posezoo.base.errors import UsageError, unknown_name
from posezoo.data.splits import runs
from posezoo.data.table import Frames
from posezoo.evaluation.compare import UNITS
from posezoo.evaluation.intervals import Floats, Index
from posezoo.studies import drawing
from posezoo.studies.measure import Album, Errors
from posezoo.studies.medians import short
from posezoo.studies.paired import mean_errors, ranked
from posezoo.studies.study import Found

PICTURES = 5
PEAK = "at the peak"
"""The heading of the study's table: a median with its interval, or of a recorded window one error."""


@dataclass(frozen=True)
class Stretch:
    """The window FIRST-LAST of a sequence."""

    name: str
    """As it was typed: SEQUENCE:FIRST-LAST."""
    sequence: Index
    """(M,) the test frames of the sequence, in the order in which they were taken."""
    first: int
    last: int
    """Places in the sequence; both belong to the window."""

    @property
    def inside(self) -> Index:
        """The test frames of the window."""
        return self.sequence[self.first : self.last + 1]

    @property
    def outside(self) -> Index:
        """The other test frames of the sequence."""
        return np.concatenate([self.sequence[: self.first], self.sequence[self.last + 1 :]])


def stretch(frames: Frames, text: str) -> Stretch:
    """What SEQUENCE:FIRST-LAST names; SCENE/SEQUENCE where several scenes have one of that name. Raises UsageError."""
    known: dict[str, Index] = {}
    for index in runs(frames):
        scene, sequence = frames.scenes[frames.scene[index[0]]], str(frames.sequence[index[0]])
        several = len(set(frames.scene[frames.sequence == sequence].tolist())) > 1
        known[f"{scene}/{sequence}" if several else sequence] = index
    name, _, numbers = text.rpartition(":")
    found = re.fullmatch(r"(\d+)-(\d+)", numbers)
    example = f"for example study.window={next(iter(known))}:0-{max(1, len(next(iter(known.values()))) // 4)}"
    if found is None:
        raise UsageError(f"study.window={text}: not SEQUENCE:FIRST-LAST", example)
    if name not in known:
        raise unknown_name("test sequence", name, known, f"known: {', '.join(list(known)[:8])}")
    first, last, count = int(found[1]), int(found[2]), len(known[name])
    if not first < last < count or last - first + 1 == count:
        what = f"study.window={text}: {name} has the frames 0 to {count - 1}, and some must be outside"
        raise UsageError(what, example)
    return Stretch(text, known[name], first, last)


def numbers(album: Album, window: Stretch, found: Mapping[str, Sequence[Errors]]) -> dict[str, Any]:
    """What study.json says of the window; `found`: model -> for each training the errors of all test frames."""
    inside = window.inside
    parts = {name: [(one[0][inside], one[1][inside]) for one in each] for name, each in found.items()}
    first, frames = next(iter(found)), album.results(inside)
    return {
        **{"window": window.name, "num_inside": len(inside), "num_outside": len(window.outside)},
        "models": {name: _of_model(window, mean_errors(each)) for name, each in found.items()},
        "against_first": {name: ranked(frames, parts[first], each) for name, each in parts.items() if name != first},
    }


def _of_model(window: Stretch, errors: Errors) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for error_N, (error, unit) in zip(errors, UNITS.items(), strict=True):
        plain, inside = float(np.median(error_N[window.outside])), error_N[window.inside]
        peak = int(inside.argmax())
        row |= {
            f"median_outside_{unit}": plain,
            f"peak_{unit}": float(inside[peak]),
            f"peak_frame_{error}": window.first + peak,
            f"peak_over_outside_{error}": float(inside[peak]) / plain,
            f"frames_until_back_{error}": until_back(inside[peak:], plain),
        }
    return row


def until_back(error_M: Floats, plain: float, times: float = 1.5) -> int | None:
    """Frames from the first one until errors are below `times` the plain one and stay so; None: not before the end."""
    above = np.flatnonzero(error_M >= times * plain)
    count = int(above[-1]) + 1 if len(above) else 0
    return count if count < len(error_M) else None


def added(study: Found, album: Album, window: Stretch, found: Mapping[str, Sequence[Errors]]) -> Found:
    """The study with what the window shows; `found`: as of `numbers`."""
    said = numbers(album, window, found)
    return replace(
        study,
        verdict=f"{study.verdict}. {sentence(said)}",
        rows=[*study.rows, *rows(said)],
        numbers={**study.numbers, "recorded": said},
        figures={**study.figures, "window.png": figure(album, window, found, said)},
        notes=[
            *study.notes,
            f"{window.name} was chosen by whoever ran the study: other windows may say something else",
        ],
    )


def sentence(said: Mapping[str, Any]) -> str:
    """Of the verdict."""
    name, row = next(iter(said["models"].items()))
    times = f"{row['peak_over_outside_position']:.1f} times its median outside"
    return f"In {said['window']} the position error of {name} reaches {short(row['peak_m'])} m, {times}"


def rows(said: Mapping[str, Any]) -> list[dict[str, str]]:
    """A line for each model, of the study's table."""
    return [
        {
            **{"model": name, "cover": said["window"]},
            PEAK: f"{short(row['peak_m'])} m\n{short(row['peak_deg'])} deg",
            "largest / outside": f"{row['peak_over_outside_position']:.1f}",
            "frames until back": count_text(row["frames_until_back_position"]),
        }
        for name, row in said["models"].items()
    ]


def count_text(frames: int | None) -> str:
    """A count of frames until the error is back."""
    return "not in it" if frames is None else str(frames)


def figure(album: Album, window: Stretch, found: Mapping[str, Sequence[Errors]], said: Mapping[str, Any]) -> Figure:
    """Pictures about the first model's peak, then both errors of all models by frame; the window is grey."""
    page = Figure(figsize=(drawing.WIDTH, 6.2), layout="constrained")
    grid = page.add_gridspec(3, PICTURES, height_ratios=(0.62, 1, 1))
    first = next(iter(said["models"].values()))
    for column, place in enumerate(around(window, first["peak_frame_position"])):
        axes = page.add_subplot(grid[0, column])
        axes.imshow(album.picture(int(window.sequence[place])))
        axes.set(xticks=[], yticks=[], title=f"frame {place}")
        axes.title.set_fontsize(9)
    errors = {name: mean_errors(each) for name, each in found.items()}
    panels = [page.add_subplot(grid[line, :]) for line in (1, 2)]
    for which, (axes, (error, unit)) in enumerate(zip(panels, UNITS.items(), strict=True)):
        _by_frame(axes, window, {name: one[which] for name, one in errors.items()}, said, (error, unit))
    panels[-1].set_xlabel(f"frame of {window.name.rpartition(':')[0] or 'the sequence'}; grey: the window")
    drawing.legend(page, panels[0])
    return page


def around(window: Stretch, peak: int) -> list[int]:
    """Places of the pictures: the peak in the middle, others before and after it, all of the sequence."""
    step = max(1, (window.last - window.first + 1) // (2 * PICTURES))
    places = peak + step * (np.arange(PICTURES) - PICTURES // 2)
    return [int(place) for place in places.clip(0, len(window.sequence) - 1)]


def _by_frame(
    axes: Axes, window: Stretch, errors: Mapping[str, Floats], said: Mapping[str, Any], which: tuple[str, str]
) -> None:
    """One error by frame: the window and half its length before and after it; dashed, each model's median outside."""
    error, unit = which
    more = (window.last - window.first + 1) // 2
    x = np.arange(max(0, window.first - more), min(len(window.sequence), window.last + 1 + more))
    for name, (colour, marker) in drawing.styles(list(errors)).items():
        row = said["models"][name]
        axes.plot(x, errors[name][window.sequence[x]], color=colour, lw=1.6, label=name)
        axes.axhline(row[f"median_outside_{unit}"], color=colour, ls="--", lw=0.8)
        axes.plot(row[f"peak_frame_{error}"], row[f"peak_{unit}"], color=colour, marker=marker, ms=6)
    axes.axvspan(window.first - 0.5, window.last + 0.5, color="0.94", zorder=0)
    axes.set_yscale("log")
    drawing.plain(axes, f"{error} ({unit})")
