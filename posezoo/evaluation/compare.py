"""Models compared on the same images: paired differences of their errors, with intervals, and a word for each.

The difference of an image is the other model's error minus the first one's; its median, with an interval by blocks of
neighbouring frames, is below zero where the other is better. Pairing removes what both find hard, so that two models
whose own intervals overlap may well be told apart. Two failures on one image are no difference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from posezoo.base.errors import UsageError
from posezoo.evaluation.intervals import FEWEST, Floats, Interval, average_interval, median_interval
from posezoo.evaluation.results import AVERAGE, GROUPINGS, MOST_INTERVALS, Results

UNITS = {"position": "m", "orientation": "deg"}
BETTER, SAME, WORSE = "better", "not distinguishable", "worse"
OF_ALL, OF_SCENES = ("overall", "overall"), ("scene", AVERAGE)
"""Groupings with the groups by which models are ranked: a condition may be called overall."""
SHOWN = 25  # groups of a printed table


class Difference(NamedTuple):
    """How one model's errors differ from the first one's in a group of images."""

    by: str
    group: str
    num: int
    error: str
    """position (metres) or orientation (degrees)"""
    first: float
    other: float
    """The medians of both."""
    difference: Interval
    """The median over the images of the other's error minus the first's."""
    fewest: int
    """Images of the smallest part: of an average of scenes the smallest scene's."""

    @property
    def verdict(self) -> str:
        """What the other model is, compared with the first; of too few images for an interval nothing can be said."""
        if self.fewest < FEWEST:
            return SAME
        return BETTER if self.difference.high < 0 else WORSE if self.difference.low > 0 else SAME

    def to_dict(self) -> dict[str, Any]:
        """As plain data; infinite numbers are text."""
        found = self.difference
        return {
            **{"by": self.by, "group": self.group, "num": self.num, "error": f"{self.error}_{UNITS[self.error]}"},
            **{"median_first": _safe(self.first), "median": _safe(self.other)},
            "difference": _safe(found.median),
            "difference_ci95": [_safe(found.low), _safe(found.high)],
            **{"block": found.block, "num_sequences": found.sequences, "verdict": self.verdict},
        }


@dataclass(frozen=True)
class Comparison:
    """The first of some models compared with each other one, on the same images."""

    data: str
    split: str
    names: tuple[str, ...]
    models: tuple[str, ...]
    differences: Mapping[str, tuple[Difference, ...]]
    """Name of each other model -> overall, then by condition, scene and sequence."""
    units: Mapping[str, str] = field(default_factory=lambda: dict(UNITS))
    """Of each error."""
    num: int = 0
    """Images."""
    notes: tuple[str, ...] = ()
    """What the reader must know."""
    facts: tuple[Mapping[str, Any], ...] = ()
    """Of each model: the labels that it was measured by, its training data's digest, its seed, its selection."""

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {
            **{"data": self.data, "split": self.split, "num": self.num, "notes": list(self.notes)},
            "models": [
                {"name": n, "model": m, **facts}
                for n, m, facts in zip(self.names, self.models, self.facts, strict=True)
            ],
            "comparisons": [
                {"model": name, "against": self.names[0], "rows": [one.to_dict() for one in found]}
                for name, found in self.differences.items()
            ],
        }

    def sentences(self) -> list[str]:
        """One line for each other model: is it better, by the average of scenes where there are several."""
        lines = []
        averaged = any((one.by, one.group) == OF_SCENES for found in self.differences.values() for one in found)
        group = OF_SCENES if averaged else OF_ALL
        for letter, found in zip(_letters(self.names)[1:], self.differences.values(), strict=True):
            parts = []
            for error, one in {one.error: one for one in found if (one.by, one.group) == group}.items():
                parts.append(f"{one.verdict} in {error} ({ends(one.difference)} {self.units[error]})")
            lines.append(f"{letter} is {', '.join(parts)} compared with A")
        return lines

    def table_rows(self) -> list[tuple[str, list[str], list[list[str]]]]:
        """(title, header, rows) to print, at most 80 columns wide; letters stand for the models, A is the first."""
        tables = []
        for letter, found in zip(_letters(self.names)[1:], self.differences.values(), strict=True):
            for error, unit in self.units.items():
                rows = [one for one in found if one.error == error]
                kinds = [by for by in GROUPINGS if any(one.by == by for one in rows)]
                if "condition" in kinds:  # as in a report's tables: sequences add little then
                    kinds = [by for by in kinds if by != "sequence"]
                cut = [n for by in kinds for n in _shown([one for one in rows if one.by == by])]
                body = [
                    [one.group or "(none)", number(one.first), number(one.other), ends(one.difference), one.verdict]
                    for one in cut
                ]
                more = "" if len(cut) == len(rows) else "; all groups: --format json"
                header = ["images", "A", letter, f"{letter} - A, 95 %", f"{letter} is"]
                tables.append((f"{letter} against A: median {error} ({unit}){more}", header, body))
        return tables


def compare(names: Sequence[str], reports: Sequence[Results]) -> Comparison:
    """Each report's model against the first one's. Raises UsageError if they are not of the same images."""
    first, names = reports[0], _unlike(names)
    for name, other in zip(names[1:], reports[1:], strict=True):
        require_same_images(names[0], first, name, other)
    errors = [report.errors[report.model] for report in reports]
    differences = {
        name: tuple(
            one
            for by in GROUPINGS
            if by == "overall" or len(first.groups(by)) > 1
            for one in differences_of(first, by, errors[0], error)
        )
        for name, error in zip(names[1:], errors[1:], strict=True)
    }
    models = tuple(report.model for report in reports)
    elsewhere = {name: other.data for name, other in zip(names, reports, strict=True) if other.data != first.data}
    notes = [f"{name}: on {data}; that its pictures are the same is not known" for name, data in elsewhere.items()]
    what = first.data, first.split, tuple(names), models, differences, first.units, len(first.frames)
    return Comparison(*what, tuple(notes), tuple(report.facts(report.model) for report in reports))


def ranking_differences(report: Results, first: str, other: str) -> list[Difference]:
    """How two methods of one report differ, in position and in orientation: over the scenes' average, or all images."""
    by, group = ranking(report)
    found = differences_of(report, by, report.errors[first], report.errors[other])
    return [one for one in found if one.group == group]


def ranking(frames: Results) -> tuple[str, str]:
    """The grouping, and the group in it, by which methods are ranked."""
    averaged = 1 < len(frames.groups("scene")) <= MOST_INTERVALS
    return OF_SCENES if averaged else OF_ALL


def differences_of(
    frames: Results, by: str, first: tuple[Floats, Floats], other: tuple[Floats, Floats]
) -> list[Difference]:
    """How two methods' errors (metres, degrees) of the images of `frames` differ in each group of a grouping."""
    found, groups = [], frames.groups(by)
    if len(groups) > MOST_INTERVALS:
        return []
    for error, first_N, other_N in zip(UNITS, first, other, strict=True):
        with np.errstate(invalid="ignore"):
            difference_N = np.where(first_N == other_N, 0.0, other_N - first_N)
        for group, index in groups.items():
            spread = median_interval(difference_N[index], frames.sequences(index))
            first_median, other_median = float(np.median(first_N[index])), float(np.median(other_N[index]))
            found.append(Difference(by, group, len(index), error, first_median, other_median, spread, len(index)))
        if by == "scene":
            parts = [(difference_N[index], frames.sequences(index)) for index in groups.values()]
            mean, other_mean = (
                float(np.mean([np.median(e_N[i]) for i in groups.values()])) for e_N in (first_N, other_N)
            )
            spread, fewest = average_interval(parts), min(map(len, groups.values()))
            found.append(Difference(by, AVERAGE, len(first_N), error, mean, other_mean, spread, fewest))
    return found


def require_same_images(name: str, first: Results, other_name: str, other: Results) -> None:
    """Raise UsageError unless both are of the same images with the same poses."""
    here, there = first.frames, other.frames
    same = len(here) == len(there) and bool(np.all(here.images == there.images))
    same = same and np.array_equal(here.position, there.position) and np.array_equal(here.quaternion, there.quaternion)
    if not same:
        what = f"{name} and {other_name} were evaluated on different images or labels"
        where = f"{first.data}, {first.split}: {len(here)} images; {other.data}, {other.split}: {len(there)} images"
        raise UsageError(f"{what} ({where})", "--data NAME evaluates both on the same")


def _shown(rows: Sequence[Difference]) -> Sequence[Difference]:
    """The first of them, and the average in any case."""
    return rows if len(rows) <= SHOWN else [*rows[:SHOWN], *(one for one in rows[SHOWN:] if one.group == AVERAGE)]


def _unlike(names: Sequence[str]) -> list[str]:
    """The names, each with a number where it occurs again: a model compared with itself is no error."""
    return [f"{name} ({n + 1})" if name in names[:n] else name for n, name in enumerate(names)]


def _letters(names: Sequence[str]) -> list[str]:
    return [chr(ord("A") + n) if n < 26 else str(n) for n in range(len(names))]


def _safe(value: float) -> float | str:
    return value if np.isfinite(value) else str(value)


def number(value: float) -> str:
    """An error in few digits; what would round to nothing keeps one."""
    if 0 < abs(value) < 0.0005:
        return f"{value:.1g}"
    return f"{value:.3f}" if abs(value) < 1 else f"{value:.2f}"


def with_interval(row: Mapping[str, Any], key: str) -> str:
    """A median of a report's row, and its interval where there is one: `0.123 (0.110 to 0.140)`."""
    found = row[f"{key}_ci95"]
    return number(row[key]) + (f" ({number(found[0])} to {number(found[1])})" if found else "")


def ends(found: Interval) -> str:
    """The ends of an interval, in few digits."""
    return f"{number(found.low)} to {number(found.high)}"
