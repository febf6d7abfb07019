"""The cells of a grid beside one another: errors, what they cost, and how each differs from the first.

Errors are those of the reports that the trainings wrote; several scenes are averaged, unweighted, as the papers do.
Medians have intervals by blocks of neighbouring images, which speak of these trainings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from posezoo.evaluation.compare import BETTER, SAME, WORSE, require_same_images
from posezoo.evaluation.report import Report
from posezoo.studies import medians
from posezoo.studies.measure import Errors, opened
from posezoo.studies.medians import spread
from posezoo.studies.paired import contrast, ranked
from posezoo.studies.subjects import Request, Subject
from posezoo.training.again import evaluate
from posezoo.training.reports import report_of_test


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


def cells(subjects: Sequence[Subject], request: Request) -> list[Entry]:
    """The models with their reports of the study's test images; what has none is evaluated.

    Raises UsageError for other images.
    """
    digest = opened(request).digest
    found = [Entry(one.name, tuple(_report(run, request, digest) for run in one.runs)) for one in subjects]
    for cell in found:
        for report in cell.reports:
            require_same_images(found[0].name, found[0].reports[0], cell.name, report)
    return found


def table(found: Sequence[Entry]) -> list[dict[str, Any]]:
    """A row for each cell: medians, see posezoo.studies.medians, cost, and the difference to the first cell."""
    rows = []
    for cell in found:
        row: dict[str, Any] = {"name": cell.name, "model": cell.reports[0].model, "trainings": len(cell.reports)}
        row |= spread(cell.reports[0], *_errors(cell))
        row |= {"parameters": cell.parameters, "milliseconds": cell.milliseconds}
        rows.append(row | {"against_first": [] if cell is found[0] else difference(found[0], cell)})
    return rows


def baselines(found: Sequence[Entry]) -> list[dict[str, Any]]:
    """What needs no training, on the same images: a row for each, as the first report has it."""
    first = found[0].reports[0]
    rows = {name: row for name, row in first.headline.items() if name != first.model}
    return [{"name": name, **medians.untrained(row)} for name, row in rows.items()]


def difference(first: Entry, other: Entry) -> list[dict[str, Any]]:
    """How `other` differs from `first` in position and in orientation, paired; see posezoo.studies.paired."""
    return ranked(first.reports[0], *_errors(first, other))


def pairs(found: Sequence[Entry], against: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """A row for each cell that the grid compares with another of its column, and each error.

    Over all images first (`by` is overall, or scene for the average of scenes), then for each of several sequences.
    """
    known = {cell.name: cell for cell in found}
    rows = []
    for cell in found:
        for other in against.get(cell.name, ()):
            both = known[other], cell
            rows += [{"name": cell.name, "than": other, **row} for row in difference(*both)]
            if len(cell.reports[0].groups("sequence")) > 1:
                of_each = contrast(known[other].reports[0], "sequence", *_errors(*both))
                rows += [{"name": cell.name, "than": other, **row} for row in of_each]
    return rows


def note(found: Sequence[Entry]) -> str:
    """What the intervals of `table` are over."""
    return medians.note(found[0].reports[0], max(len(cell.reports) for cell in found))


def shown(rows: Sequence[Mapping[str, Any]], baselines: Sequence[Mapping[str, Any]] = ()) -> list[dict[str, str]]:
    """The rows to print, of `table` and of `baselines`; trainings have a column where some model has several."""
    printed = [
        {
            **{"cell": row["name"], medians.MEDIAN: medians.shown(row), "trainings": medians.ranges(row)},
            "size, time": f"{_few(row['parameters'] / 1e6)} M\n{_few(row['milliseconds'])} ms",
            "against the first": verdict(row["against_first"]),
        }
        for row in rows
    ]
    empty = dict.fromkeys(printed[0], "")
    printed += [{**empty, "cell": row["name"], medians.MEDIAN: medians.shown(row)} for row in baselines]
    hidden = () if any(row["trainings"] for row in printed) else ("trainings",)
    return [{key: value for key, value in row.items() if key not in hidden} for row in printed]


def verdict(differences: Sequence[Mapping[str, Any]]) -> str:
    """`better`, or `position better, orientation not distinguishable`."""
    words = [one["verdict"] for one in differences]
    if len(set(words)) < 2:
        return ", ".join(dict.fromkeys(words))
    return ", ".join(f"{one['error'].partition('_')[0]} {one['verdict']}" for one in differences)


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


def _few(value: float) -> str:
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"


def _errors(*cells: Entry) -> list[list[Errors]]:
    return [[one.errors[one.model] for one in cell.reports] for cell in cells]


def _report(run: str, request: Request, digest: str) -> Report:
    split, skip_bad = request.given.get("data.split"), bool(request.given.get("data.skip_bad"))
    return report_of_test(run, digest) or evaluate(run, request.data, root=request.root, split=split, skip_bad=skip_bad)
