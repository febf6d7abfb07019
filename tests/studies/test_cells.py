"""Cells of a grid beside one another: their reports' numbers, cost, and which are told apart."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_runs import Train

from posezoo.base.errors import UsageError
from posezoo.evaluation.compare import BETTER, SAME, WORSE
from posezoo.studies import cells
from posezoo.studies.subjects import Subject
from posezoo.zoo.saved import load


def test_numbers_are_the_reports(train: Train, one_place: Path, tmp_path: Path) -> None:
    runs = [train(epochs=1, seed=seed, out=f"run{seed}") for seed in (0, 1, 2)]
    subjects = [Subject("two", (str(runs[0].path), str(runs[1].path))), Subject("one", (str(runs[2].path),))]
    found = cells.cells(subjects, f"folder:{one_place}", None)
    rows = cells.table(found)
    medians = [run.report.headline[run.report.model]["median_position_m"] for run in runs]
    assert rows[0]["median_position_m"] == pytest.approx((medians[0] + medians[1]) / 2)
    assert rows[0]["median_position_m_seeds"] == [min(medians[:2]), max(medians[:2])]
    assert rows[0]["parameters"] == sum(p.numel() for p in load(runs[0].path).parameters())
    assert rows[0]["milliseconds"] > 0
    assert not rows[0]["against_first"] and len(rows[1]["against_first"]) == 2
    assert rows[1]["against_first"][0]["seeds"]["first"] == 2
    printed = cells.shown(rows)
    assert [row["cell"] for row in printed] == ["two", "one"] and "to" in printed[0]["median m"]


def test_reports_of_other_images_are_refused(train: Train, one_place: Path) -> None:
    runs = [str(train(epochs=1, out=str(n), **more).path) for n, more in enumerate(({}, {"data.split": "blocks:4"}))]
    with pytest.raises(UsageError):
        cells.cells([Subject(run, (run,)) for run in runs], f"folder:{one_place}", None)


def test_who_is_told_apart() -> None:
    def row(name: str, *words: str) -> dict[str, object]:
        errors = ("position_m", "orientation_deg")
        return {
            "name": name,
            "against_first": [{"error": e, "verdict": w} for e, w in zip(errors, words, strict=False)],
        }

    rows = [row("a"), row("b", WORSE, SAME), row("c", SAME, SAME), row("d", WORSE, SAME), row("e", BETTER, SAME)]
    assert cells.told_apart(rows).split("; ") == [
        "e is better than a in position",
        "b, d are worse than a in position",
        "none is distinguishable from a in orientation",
    ]


def test_a_report_of_other_data_is_not_taken(train: Train, one_place: Path, two_places: Path) -> None:
    run = train(epochs=1, data=two_places, out="two")
    asked = f"folder:{two_places}?scenes=hall"
    (found,) = cells.cells([Subject("two", (str(run.path),))], asked, None)
    assert found.reports[0].data == asked
    assert len(found.reports[0].frames) < len(run.report.frames)
