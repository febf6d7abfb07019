"""The medians of a model over its trainings, with their range and the interval by blocks, and as they are printed.

Legend: N images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from posezoo.evaluation.compare import OF_SCENES, UNITS, ranking
from posezoo.evaluation.intervals import DRAWS, Floats, Index, Interval, median_interval, trainings_interval
from posezoo.evaluation.results import Results

MEDIAN = "median (95 %)"
"""The heading of what `shown` gives."""


def spread(frames: Results, trainings: Sequence[tuple[Floats, Floats]]) -> dict[str, Any]:
    """The medians of a model, of several scenes their average: mean over trainings, range, interval by blocks.

    Of each training the errors (N,) of position and orientation.
    """
    found: dict[str, Any] = {}
    parts = list(frames.groups(ranking(frames)[0]).values())
    for which, (error, unit) in enumerate(UNITS.items()):
        medians = [float(np.mean([np.median(one[which][index]) for index in parts])) for one in trainings]
        interval = interval_of(frames, [one[which] for one in trainings], parts)
        key = f"median_{error}_{unit}"
        found |= {
            key: float(np.mean(medians)),
            f"{key}_seeds": [min(medians), max(medians)],
            f"{key}_ci95": [max(0.0, interval.low), interval.high],  # an error is never negative
            f"{key}_block": interval.block,
        }
    return found


def interval_of(frames: Results, trainings: Sequence[Floats], parts: Sequence[Index]) -> Interval:
    """Of the median of errors (N,) of each training, averaged over them and the parts; of one as a report has it."""
    if len(parts) == 1 and len(trainings) == 1:
        return median_interval(trainings[0][parts[0]], frames.sequences(parts[0]))
    return trainings_interval([([one[index] for one in trainings], frames.sequences(index)) for index in parts])


def untrained(row: Mapping[str, Any]) -> dict[str, Any]:
    """The medians of a report's row of what needs no training, under the keys of `spread`."""
    found: dict[str, Any] = {}
    for key in (f"median_{error}_{unit}" for error, unit in UNITS.items()):
        found |= {key: row[key], f"{key}_seeds": [row[key]] * 2, f"{key}_ci95": row[f"{key}_ci95"]}
        found[f"{key}_block"] = row[f"{key}_block"]
    return found


def shown(row: Mapping[str, Any]) -> str:
    """Both medians of a row of `spread` with their intervals, a line each, for a cell of a table."""
    keys = {f"median_{error}_{unit}": unit for error, unit in UNITS.items()}
    return "\n".join(f"{with_ends(row[key], row[f'{key}_ci95'])} {unit}" for key, unit in keys.items())


def ranges(row: Mapping[str, Any]) -> str:
    """The lowest and the highest training of a row of `spread`, a line for each error; empty for one training."""
    ends = [row[f"median_{error}_{unit}_seeds"] for error, unit in UNITS.items()]
    return "\n".join(f"{short(low)} to {short(high)}" for low, high in ends) if any(a < b for a, b in ends) else ""


def with_ends(value: float, ends: Sequence[float] | None) -> str:
    """`0.26 (0.21 to 0.34)`; the value alone where no interval was made."""
    return short(value) if ends is None else f"{short(value)} ({short(ends[0])} to {short(ends[1])})"


def note(frames: Results, trainings: int) -> str:
    """What the intervals of a table are over; `trainings`: the most that a model has."""
    parts = [f"95 % intervals of medians: images resampled {DRAWS} times in blocks of neighbouring frames"]
    if len(frames.groups("sequence")) > 1:
        parts.append("sequences too")
    if ranking(frames) == OF_SCENES:
        parts.append("each scene by itself, for the average of scenes")
    alone = "of the mean over a model's trainings" if trainings > 1 else "of this training"
    return f"{', '.join(parts)}; {alone}: another seed may lie outside"


def short(value: float | str) -> str:
    """A number in few digits."""
    if isinstance(value, str):
        return value
    return f"{value:.2g}" if abs(value) < 1 else f"{value:.2f}" if abs(value) < 100 else f"{value:.0f}"
