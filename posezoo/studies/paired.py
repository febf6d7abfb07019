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

from posezoo.evaluation.compare import BETTER, SAME, UNITS, WORSE, Difference, differences_of, ranking
from posezoo.evaluation.intervals import Floats, Interval, average_interval
from posezoo.evaluation.results import AVERAGE, Results
from posezoo.studies.measure import Errors
from posezoo.studies.medians import short
from posezoo.studies.subjects import Subject
from posezoo.zoo.find import find, full_name


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


def ranked(frames: Results, first: Sequence[Errors], other: Sequence[Errors]) -> list[dict[str, Any]]:
    """The rows of `contrast` by which models are ranked: of the average of several scenes, else of all images."""
    by, group = ranking(frames)
    return [row for row in contrast(frames, by, first, other) if row["group"] == group]


def mean_errors(trainings: Sequence[Errors]) -> Errors:
    """Each image's errors, averaged over the trainings."""
    return np.mean([one[0] for one in trainings], axis=0), np.mean([one[1] for one in trainings], axis=0)


def words(rows: Sequence[Mapping[str, Any]], what: str, than: str) -> str:
    """`same-size is worse in position (0.12 to 0.3 m), not distinguishable in orientation (...) compared with base`."""
    parts = []
    for row in rows:
        low, high = row["difference_ci95"]
        error = row["error"].rpartition("_")[0]
        parts.append(f"{row['verdict']} in {error} ({short(low)} to {short(high)} {row['unit']})")
    return f"{what} is {', '.join(parts)} compared with {than}"


def training_notes(models: Sequence[Subject]) -> list[str]:
    """What their number of trainings allows to say, and how weights were chosen; every study says so of its models."""
    chosen = {
        model.name: [find(full_name(run)).config.get("training", {}).get("selection") for run in model.runs]
        for model in models
    }
    return [seeds_note({model.name: len(model.runs) for model in models}), chosen_note(chosen)]


def chosen_note(chosen: Mapping[str, Sequence[str | None]]) -> str:
    """How the weights of each model's trainings were chosen; said once if it is the same for all."""
    words = {
        name: " or ".join(dict.fromkeys((one or "not stated").partition(" (")[0] for one in ways))  # (epoch 7)
        for name, ways in chosen.items()
    }
    same = set(words.values())
    said = same.pop() if len(same) == 1 else "; ".join(f"{name}: {how}" for name, how in words.items())
    return f"weights chosen by: {said}"


def seeds_note(subjects: Mapping[str, int]) -> str:
    """What the number of trainings allows to say; `subjects`: name -> trainings."""
    least = min(subjects.values())
    if least == 1:
        return "one training of a model: another seed may reverse the difference"
    if least < 3:
        return f"{least} trainings of a model: few to tell the models from their seeds"
    return f"{least} trainings of each model: a word holds for every pair of them"


def _agree(row: Difference, apart: Sequence[float]) -> bool:
    """Whether every pair of trainings differs in the direction of the verdict."""
    sign = {BETTER: -1, WORSE: 1}.get(row.verdict, 0)
    return all(sign * one > 0 for one in apart) if sign else True


def _minus(other_N: Floats, first_N: Floats) -> Floats:
    with np.errstate(invalid="ignore"):
        return np.where(other_N == first_N, 0.0, other_N - first_N)


def interval_of(frames: Results, value_N: Floats) -> Interval:
    """The median of some values of all images, of several scenes the average of theirs, with its interval."""
    parts = frames.groups(ranking(frames)[0]).values()
    return average_interval([(value_N[index], frames.sequences(index)) for index in parts])
