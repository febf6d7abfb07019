"""Cells of a grid beside one another: their reports' numbers, cost, and which are told apart."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from small_runs import Train

from posezoo.base.errors import UsageError
from posezoo.evaluation.compare import BETTER, SAME, WORSE
from posezoo.studies import cells, medians
from posezoo.studies.subjects import Request, Subject
from posezoo.training.again import evaluate
from posezoo.zoo.saved import load


def test_numbers_are_the_reports(train: Train, one_place: Path, tmp_path: Path) -> None:
    runs = [train(epochs=1, seed=seed, out=f"run{seed}") for seed in (0, 1, 2)]
    subjects = [Subject("two", (str(runs[0].path), str(runs[1].path))), Subject("one", (str(runs[2].path),))]
    found = cells.cells(subjects, Request((), f"folder:{one_place}", tmp_path))
    rows = cells.table(found)
    of_first = [run.report.headline[run.report.model]["median_position_m"] for run in runs]
    assert rows[0]["median_position_m"] == pytest.approx((of_first[0] + of_first[1]) / 2)
    assert rows[0]["median_position_m_seeds"] == [min(of_first[:2]), max(of_first[:2])]
    low, high = rows[1]["median_position_m_ci95"]
    assert (low, high) == runs[2].report.headline[runs[2].report.model]["median_position_m_ci95"]
    assert rows[0]["parameters"] == sum(p.numel() for p in load(runs[0].path).parameters())
    costs = [run.report.settings["cost"][run.report.model]["latency_ms_p50"] for run in runs]
    assert [row["milliseconds"] for row in rows] == [min(costs[:2]), costs[2]]
    assert not rows[0]["against_first"] and len(rows[1]["against_first"]) == 2
    assert rows[1]["against_first"][0]["seeds"]["first"] == 2
    printed = cells.shown(rows)
    assert [row["cell"] for row in printed] == ["two", "one"]
    assert printed[0]["median (95 %)"].count(" to ") == 2, "the intervals"
    assert printed[0]["trainings"].startswith(medians.short(min(of_first[:2]))) and not printed[1]["trainings"]
    assert "mean over a model's trainings" in cells.note(found)


def test_reports_of_other_images_are_refused(train: Train, one_place: Path, tmp_path: Path) -> None:
    runs = [str(train(epochs=1, out=str(n), **more).path) for n, more in enumerate(({}, {"data.split": "blocks:4"}))]
    with pytest.raises(UsageError):
        cells.cells([Subject(run, (run,)) for run in runs], Request((), f"folder:{one_place}", tmp_path))


def test_runs_are_measured_on_the_split_of_the_study(
    train: Train, one_place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train(epochs=1, **{"data.split": "blocks:4"})
    subject, given = Subject("run", (str(run.path),)), {"data.split": "blocks:4"}
    asked = Request((), f"folder:{one_place}", tmp_path, given=given)
    monkeypatch.chdir(one_place.parent)  # the same data by another name
    for request in (asked, dataclasses.replace(asked, data=f"folder:{one_place.name}")):
        (found,) = cells.cells([subject], request)
        assert found.reports[0].frames.images.tolist() == run.report.frames.images.tolist()
        assert found.reports[0].data == run.report.data, "the stored one: nothing is computed"


@pytest.mark.parametrize("written", [{"subset": "train"}, {"tta": True}])
def test_a_report_that_was_written_again_is_no_result(
    train: Train, one_place: Path, tmp_path: Path, written: dict[str, Any]
) -> None:
    run = train(epochs=1)
    evaluate(run, **written).save(run.path / "report")
    (found,) = cells.cells([Subject("run", (str(run.path),))], Request((), f"folder:{one_place}", tmp_path))
    assert cells.table([found])[0]["median_position_m"] == run.report.headline[run.report.model]["median_position_m"]


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


def test_a_report_of_other_data_is_not_taken(train: Train, tmp_path: Path, two_places: Path) -> None:
    run = train(epochs=1, data=two_places, out="two")
    asked = f"folder:{two_places}?scenes=hall"
    (found,) = cells.cells([Subject("two", (str(run.path),))], Request((), asked, tmp_path))
    assert found.reports[0].data == asked
    assert len(found.reports[0].frames) < len(run.report.frames)
