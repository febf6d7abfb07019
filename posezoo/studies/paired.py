"""Two models on the same images over several trainings: the difference, its interval, and a word that minds both.

The difference of an image is between the means of its errors over the trainings of each model; its median has an
interval by blocks of neighbouring frames (posezoo.evaluation.intervals), which speaks of these trainings. So that
chance between trainings is not taken for a difference, a model is called better or worse only if the interval excludes
zero and, besides, each of its trainings is so against each of the other's. With one training each the word says nothing
about the next one, which `seeds` tells.

Legend: N images, S trainings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from posezoo.evaluation.compare import BETTER, SAME, UNITS, WORSE, Difference, differences_of
from posezoo.evaluation.intervals import Floats, Interval, median_interval, trainings_interval
from posezoo.evaluation.results import AVERAGE, Results
from posezoo.studies.measure import Errors


def contrast(frames: Results, by: str, first: Sequence[Errors], other: Sequence[Errors]) -> list[dict[str, Any]]:
    """A row for each group and error: how `other`, one entry a training, differs from `first` (negative: better)."""
    rows = differences_of(frames, by, mean_errors(first), mean_errors(other))
    groups = frames.groups(by)
    found = []
    for row in rows:
        parts = list(groups.values()) if row.group == AVERAGE else [groups[row.group]]
        which = list(UNITS).index(row.error)
        apart = [
            float(np.mean([np.median(_minus(b[which][index], a[which][index])) for index in parts]))
            for a in first
            for b in other
        ]
        verdict = row.verdict if _agree(row, apart) else SAME
        seeds = {"first": len(first), "other": len(other), "lowest": min(apart), "highest": max(apart)}
        found.append({**row.to_dict(), "unit": frames.units[row.error], "seeds": seeds, "verdict": verdict})
    return found


def mean_errors(trainings: Sequence[Errors]) -> Errors:
    """Each image's errors, averaged over the trainings."""
    return np.mean([one[0] for one in trainings], axis=0), np.mean([one[1] for one in trainings], axis=0)


def spread(frames: Results, trainings: Sequence[Errors]) -> dict[str, Any]:
    """The medians of a model over all images: mean over the trainings, their range, and its interval by blocks."""
    found: dict[str, Any] = {}
    sequences = frames.sequences(np.arange(len(frames.frames)))
    for which, (error, unit) in enumerate(UNITS.items()):
        medians = [float(np.median(one[which])) for one in trainings]
        interval = trainings_interval([one[which] for one in trainings], sequences)
        key = f"median_{error}_{unit}"
        found |= {
            key: float(np.mean(medians)),
            f"{key}_seeds": [min(medians), max(medians)],
            f"{key}_ci95": [interval.low, interval.high],
            f"{key}_block": interval.block,
        }
    return found


def words(rows: Sequence[Mapping[str, Any]], what: str, than: str) -> str:
    """`same-size is worse in position (0.12 to 0.3 m), not distinguishable in orientation (...) compared with base`."""
    parts = []
    for row in rows:
        low, high = row["difference_ci95"]
        error = row["error"].rpartition("_")[0]
        parts.append(f"{row['verdict']} in {error} ({short(low)} to {short(high)} {row['unit']})")
    return f"{what} is {', '.join(parts)} compared with {than}"


def seeds_note(subjects: Mapping[str, int]) -> str:
    """What the number of trainings allows to say; `subjects`: name -> trainings."""
    least = min(subjects.values())
    if least == 1:
        return "one training of a model: another seed may reverse the difference"
    if least < 3:
        return f"{least} trainings of a model: few to tell the models from their seeds"
    return f"{least} trainings of each model: a word holds for every pair of them"


def short(value: float | str) -> str:
    """A number in few digits."""
    return str(value) if isinstance(value, str) else f"{value:.2g}" if abs(value) < 1 else f"{value:.2f}"


def _agree(row: Difference, apart: Sequence[float]) -> bool:
    """Whether every pair of trainings differs in the direction of the verdict."""
    sign = {BETTER: -1, WORSE: 1}.get(row.verdict, 0)
    return all(sign * one > 0 for one in apart) if sign else True


def _minus(other_N: Floats, first_N: Floats) -> Floats:
    with np.errstate(invalid="ignore"):
        return np.where(other_N == first_N, 0.0, other_N - first_N)


def interval_of(frames: Results, value_N: Floats) -> Interval:
    """The median of some values of all images, with its interval."""
    return median_interval(value_N, frames.sequences(np.arange(len(frames.frames))))
