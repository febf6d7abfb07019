"""A report's rows, warnings, tables, files and figures."""

from __future__ import annotations

import csv
import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from naming import naming

from posezoo.base.errors import ResourceError, UsageError
from posezoo.cli.tables import print_table
from posezoo.data.table import Frames
from posezoo.evaluation import baselines, page, report
from posezoo.evaluation.compare import number

MakeFrames = Callable[..., Frames]
MakeReport = Callable[..., report.Report]


def test_warns_where_a_baseline_is_as_good(make_frames: MakeFrames, make_report: MakeReport) -> None:
    good, bad = make_report(make_frames(), spread=0.01), make_report(make_frames(), spread=50.0)
    assert good.notes == []
    assert any(
        re.search(r"no better than the mean training pose: median position [\d.]+ m against", n) for n in bad.notes
    )
    assert any(baselines.RETRIEVAL in note for note in bad.notes)
    assert not any(baselines.ORACLE in note for note in bad.notes)


def test_failures_are_counted_and_told(make_frames: MakeFrames, make_report: MakeReport) -> None:
    found = make_report(make_frames(), spread=0.01, failures=7)
    assert found.rows()[0]["num"] == 60
    assert found.rows()[0]["num_failed"] == 7
    assert "no finite pose for 7 of 60 images" in found.notes[0]


def test_tables_are_rectangular_text(make_frames: MakeFrames, make_report: MakeReport) -> None:
    def titles(found: report.Report) -> list[str]:
        for _, header, rows in found.table_rows():
            assert all(len(row) == len(header) and all(isinstance(cell, str) for cell in row) for row in rows)
        return list(dict.fromkeys(title.partition(",")[0] for title, _, _ in found.table_rows()[1:]))

    assert titles(make_report(make_frames())) == []
    assert titles(make_report(make_frames(conditions=("sun", "rain")))) == ["by condition"]
    assert titles(make_report(make_frames(("chess", "fire")))) == ["by scene"]
    assert titles(make_report(make_frames(("chess", "fire"), ("", "")))) == ["by scene", "by sequence"]


def test_every_table_has_the_intervals_of_its_medians(
    make_frames: MakeFrames,
    make_report: MakeReport,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Of each method and group, and a terminal of 80 columns shows them whole."""
    monkeypatch.setenv("COLUMNS", "80")
    dates = ("2014-06-23-15-41-25", "2014-06-26-09-24-58")
    for made, by in (
        (make_report(make_frames(conditions=dates)), "condition"),
        (make_report(make_frames(("OldHospital", "StMarysChurch")), scene_predicted=np.repeat([0, 1], 60)), "scene"),
    ):
        tables = {title: (header, rows) for title, header, rows in made.table_rows()}
        text = page.markdown(made)
        for method in made.methods:
            header, lines = tables[f"by {by}, {method}"]
            assert header == [by, "median m (95 %)", "median deg (95 %)"]
            own = [row for row in made.rows(by) if row["method"] == method]
            for row, line in zip(own, lines, strict=True):
                low, high = row["median_position_m_ci95"]
                cell = f"{number(row['median_position_m'])} ({number(low)} to {number(high)})"
                assert line[:2] == [row["group"], cell]
                print_table(method, header, lines)
                shown = capsys.readouterr().out
                assert cell in shown and line[2] in shown and max(map(len, shown.splitlines())) <= 80
                assert cell in text and cell in page.latex(made)
        found = ["100.0 %"] if by == "scene" else []
        assert tables[f"by {by}"][1][0] == [made.rows(by)[0]["group"], "60", *found]


def test_save_writes_valid_files_only(make_frames: MakeFrames, make_report: MakeReport, tmp_path: Path) -> None:
    found = make_report(make_frames(conditions=("sun", "rain")), failures=5)
    folder = found.save(tmp_path / "new" / "report")
    assert not list(folder.rglob(".*")), "no temporary file stays"
    # strict JSON: no NaN, no Infinity
    content = json.loads((folder / "report.json").read_text(), parse_constant=pytest.fail)
    assert content["results"]["overall"][0]["mean_position_m"] == "inf"
    assert float(content["results"]["overall"][0]["mean_position_m"]) == np.inf
    assert set(content["results"]) == {"overall", "condition", "sequence"}
    assert content["data_digest"] == found.data_digest
    assert content["versions"]["numpy"] == np.__version__
    with (folder / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(found.frames)
    for n, row in enumerate(rows):
        assert row["image"] == found.frames.name(n)
        np.testing.assert_array_equal([float(row[f"true_{c}"]) for c in "xyz"], found.frames.position[n])
        assert float(row["position_error_m"]) == found.errors[found.model][0][n]
    assert sum(row["position_error_m"] == "inf" for row in rows) == 5


def test_a_folder_that_cannot_be_written(make_frames: MakeFrames, make_report: MakeReport, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match=naming(tmp_path / "file")):
        make_report(make_frames()).save(tmp_path / "file" / "report")


def test_one_image_is_enough(make_frames: MakeFrames, make_report: MakeReport, tmp_path: Path) -> None:
    make_report(make_frames(num=1)).save(tmp_path)
    with pytest.raises(UsageError, match="trajectory"):
        make_report(make_frames(num=1)).plot("trajectoy")


def test_a_thousand_scenes_stay_readable(make_frames: MakeFrames, make_report: MakeReport) -> None:
    """The printed tables are cut and say so; the report's rows have every scene."""
    found = make_report(make_frames(tuple(f"s{n:03d}" for n in range(200)), num=2))
    tables = {title: rows for title, _, rows in found.table_rows()}
    title, *others = [title for title in tables if title.startswith("by scene")]
    assert len(others) == len(found.methods)
    assert title.endswith("(the first 25 of 200: report.json has all)")
    assert [row[0] for row in tables[title]] == [*(f"s{n:03d}" for n in range(25)), report.AVERAGE]
    assert len(found.to_dict()["results"]["scene"]) == 201 * len(found.methods)
    assert all(len(rows) <= 26 for rows in tables.values())


def test_in_a_notebook(make_frames: MakeFrames, make_report: MakeReport) -> None:
    made = make_report(make_frames())
    assert len(repr(made)) < 200 and made.model in repr(made)
    shown = dataclasses.replace(made, remarks=("<b>few</b>",))._repr_html_()
    assert 1000 > shown.count("<td>") > 5
    for title, header, _ in made.table_rows():
        assert f"<b>{title}</b>" in shown and f"<th>{header[0]}</th>" in shown
    assert "<p>note: &lt;b&gt;few&lt;/b&gt;</p>" in shown
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = made.to_dataframe()
    assert isinstance(frame, pandas.DataFrame)
    assert frame["method"].iloc[0] == made.model
