"""The cells of a grid beside one another: errors, what they cost, and how each differs from the first.

Errors are those of the reports that the trainings wrote; several scenes are averaged, unweighted, as the papers do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from posezoo.base.errors import UsageError, WeightsError
from posezoo.evaluation.compare import BETTER, SAME, WORSE
from posezoo.evaluation.report import Report
from posezoo.evaluation.results import AVERAGE
from posezoo.studies.paired import contrast, short
from posezoo.studies.subjects import Subject
from posezoo.training.again import evaluate, stored_report


@dataclass(frozen=True)
class Entry:
    """A model of a grid with the reports of its trainings."""

    name: str
    reports: tuple[Report, ...]

    @property
    def parameters(self) -> int:
        """Of the model."""
        return int(self._cost["parameters"])

    @property
    def milliseconds(self) -> float:
        """For one image, the median; the least of the trainings, as others may have used the machine."""
        costs = [one.settings["cost"][one.model] for one in self.reports]
        return min(float(cost["latency_ms_p50"]) for cost in costs)

    @property
    def _cost(self) -> Mapping[str, Any]:
        return self.reports[0].settings["cost"][self.reports[0].model]

    def medians(self, key: str) -> list[float]:
        """The headline's number of each training."""
        return [float(one.headline[one.model][key]) for one in self.reports]


def cells(subjects: Sequence[Subject], data: str, root: str | None) -> list[Entry]:
    """The models with their reports; what has none of these data is evaluated. Raises UsageError for other images."""
    found = [Entry(one.name, tuple(_report(run, data, root) for run in one.runs)) for one in subjects]
    first = found[0].reports[0].frames
    for cell in found:
        for report in cell.reports:
            if not np.array_equal(report.frames.images, first.images):
                raise UsageError(f"{cell.name} was evaluated on other images", "another --out")
    return found


def table(found: Sequence[Entry]) -> list[dict[str, Any]]:
    """A row for each cell: medians with their range over trainings, cost, and the difference to the first cell."""
    frames = found[0].reports[0]
    by = "scene" if len(frames.groups("scene")) > 1 else "overall"
    group = AVERAGE if by == "scene" else "overall"
    errors = [[one.errors[one.model] for one in cell.reports] for cell in found]
    rows = []
    for cell, own in zip(found, errors, strict=True):
        row: dict[str, Any] = {"name": cell.name, "model": cell.reports[0].model, "trainings": len(cell.reports)}
        for key in ("median_position_m", "median_orientation_deg"):
            values = cell.medians(key)
            row |= {key: float(np.mean(values)), f"{key}_seeds": [min(values), max(values)]}
        row |= {"parameters": cell.parameters, "milliseconds": cell.milliseconds}
        against = [] if cell is found[0] else [r for r in contrast(frames, by, errors[0], own) if r["group"] == group]
        rows.append(row | {"against_first": against})
    return rows


def shown(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """The rows to print."""
    printed = []
    for row in rows:
        cell = {"cell": row["name"]}
        for key, unit in (("median_position_m", "m"), ("median_orientation_deg", "deg")):
            low, high = row[f"{key}_seeds"]
            cell[f"median {unit}"] = short(row[key]) + (f" ({short(low)} to {short(high)})" if low < high else "")
        cell |= {"parameters": f"{row['parameters']:,}", "ms": f"{row['milliseconds']:.1f}"}
        words = [one["verdict"] for one in row["against_first"]]
        cell["against the first"] = (
            ", ".join(dict.fromkeys(words))
            if len(set(words)) == 1
            else ", ".join(f"{one['error'].partition('_')[0]} {one['verdict']}" for one in row["against_first"])
        )
        printed.append(cell)
    return printed


def told_apart(rows: Sequence[Mapping[str, Any]]) -> str:
    """Which cells differ from the first, in one sentence."""
    first, parts = rows[0]["name"], []
    for error in ("position", "orientation"):
        words = {row["name"]: one["verdict"] for row in rows for one in row["against_first"] if error in one["error"]}
        by_word = {word: [name for name, verdict in words.items() if verdict == word] for word in (BETTER, WORSE)}
        parts += [
            f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} {word} than {first} in {error}"
            for word, names in by_word.items()
            if names
        ]
        if words and set(words.values()) == {SAME}:
            parts.append(f"none is distinguishable from {first} in {error}")
    return "; ".join(parts)


def _report(run: str, data: str, root: str | None) -> Report:
    try:
        found = stored_report(run)[1]
    except WeightsError:
        return evaluate(run, data, root=root)
    return found
