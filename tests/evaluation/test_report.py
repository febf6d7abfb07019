"""A report's rows, warnings, tables, files and figures."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from naming import naming

from posezoo.base.errors import DataError, ResourceError, UsageError
from posezoo.data.open import Dataset
from posezoo.data.table import Frames
from posezoo.evaluation import baselines, figures, report
from posezoo.evaluation.files import trajectories

MakeFrames = Callable[..., Frames]
MakeReport = Callable[..., report.Report]


def test_rows_have_every_method_and_group(make_frames: MakeFrames, make_report: MakeReport) -> None:
    found = make_report(make_frames(("fire", "chess"), ("sun", "rain")))
    assert [row["method"] for row in found.rows()] == list(found.methods)
    assert {row["group"] for row in found.rows("condition")} == {"sun", "rain"}
    assert {row["group"] for row in found.rows("scene")} == {"chess", "fire", report.AVERAGE}
    assert list(found.groups("sequence")) == [
        *("chess/test-rain12", "chess/test-sun11", "fire/test-rain2", "fire/test-sun1")
    ]
    with pytest.raises(UsageError, match="condition"):
        found.rows("conditions")


def test_average_is_over_scenes_not_images(make_frames: MakeFrames, make_report: MakeReport) -> None:
    frames = make_frames(("chess", "fire"))
    # all of chess's test frames, a quarter of fire's
    keep = (frames.split == "train") | (frames.scene == 0) | (np.arange(len(frames)) % 4 == 0)
    found = make_report(frames.select(keep))
    rows = [row for row in found.rows("scene") if row["method"] == found.model]
    assert rows[0]["num"] == 4 * rows[1]["num"]
    assert rows[2]["num"] == rows[0]["num"] + rows[1]["num"]
    expected = (rows[0]["median_position_m"] + rows[1]["median_position_m"]) / 2
    assert rows[2]["median_position_m"] == pytest.approx(expected)


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


def test_scene_accuracy(make_frames: MakeFrames, make_report: MakeReport) -> None:
    frames = make_frames(("chess", "fire"))
    scene_N = frames.of_split("test").scene.astype(np.int64)
    scene_N[:15] = -1
    found = make_report(frames, scene_predicted=scene_N)
    assert found.scene_accuracy == pytest.approx(105 / 120)
    rows = {row["group"]: row for row in found.rows("scene") if row["method"] == found.model}
    assert rows["chess"]["scene_accuracy"] == 0.75
    assert rows["fire"]["scene_accuracy"] == 1.0
    title, header, lines = found.table_rows()[1]
    assert header[-1] == "scene found"
    assert lines[0][-1] == "75.0 %"


def test_tables_are_rectangular_text(make_frames: MakeFrames, make_report: MakeReport) -> None:
    def titles(found: report.Report) -> list[str]:
        for _, header, rows in found.table_rows():
            assert all(len(row) == len(header) and all(isinstance(cell, str) for cell in row) for row in rows)
        return [title.partition(":")[0] for title, _, _ in found.table_rows()[1:]]

    assert titles(make_report(make_frames())) == []
    assert titles(make_report(make_frames(conditions=("sun", "rain")))) == ["by condition"]
    assert titles(make_report(make_frames(("chess", "fire")))) == ["by scene"]
    assert titles(make_report(make_frames(("chess", "fire"), ("", "")))) == ["by scene", "by sequence"]


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


def test_tum_files_are_tum(make_frames: MakeFrames, make_report: MakeReport, tmp_path: Path) -> None:
    found = make_report(make_frames(("a b", "../c")), failures=5)
    folder = found.save(tmp_path)
    names = sorted(path.name for path in (folder / "tum").iterdir())
    assert len(names) == 4
    assert all(re.fullmatch(r"[A-Za-z0-9][\w.-]*_(true|predicted)\.txt", name) for name in names)
    numbers = [np.loadtxt(folder / "tum" / name) for name in names]
    assert sorted(len(n) for n in numbers) == [55, 60, 60, 60]
    for lines in numbers:
        assert lines.shape[1] == 8
        assert np.isfinite(lines).all()
        assert (np.diff(lines[:, 0]) > 0).all()
    test = found.frames.of_scene("a b")
    true = np.loadtxt(folder / "tum" / next(n for n in names if n.startswith("a_b") and "true" in n))
    np.testing.assert_array_equal(true[:, 1:4], test.position)
    np.testing.assert_array_equal(true[:, [7, 4, 5, 6]], test.quaternion)


def test_groups_whose_file_names_agree_keep_their_own_files(make_frames: MakeFrames, make_report: MakeReport) -> None:
    found = make_report(make_frames(("a b", "a_b", "a?b")))
    assert len(trajectories(found)) == 6


def test_a_folder_that_cannot_be_written(make_frames: MakeFrames, make_report: MakeReport, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match=naming(tmp_path / "file")):
        make_report(make_frames()).save(tmp_path / "file" / "report")


@pytest.mark.parametrize("kind", report.FIGURES)
@pytest.mark.parametrize(
    ("scenes", "conditions", "failures"),
    [
        (("loop",), ("",), 0),
        (("loop",), ("sun", "rain", "night", "snow", "dusk"), 3),
        (tuple("abcdefghi"), ("",), 0),
        (("loop",), ("",), 60),
    ],
)
def test_figures_are_not_blank(
    make_frames: MakeFrames,
    make_report: MakeReport,
    tmp_path: Path,
    kind: str,
    scenes: tuple[str, ...],
    conditions: tuple[str, ...],
    failures: int,
) -> None:
    figure = make_report(make_frames(scenes, conditions), failures=failures).plot(kind, tmp_path / "figure.png")
    pixels_HWC = matplotlib.image.imread(tmp_path / "figure.png")
    assert pixels_HWC[..., :3].std() > 0.05
    expected = 2 if kind == "errors" else min(8, max(len(scenes), len(conditions))) + 1  # and the colour bar
    assert len(figure.axes) == expected


def test_picture_formats(make_frames: MakeFrames, make_report: MakeReport, tmp_path: Path) -> None:
    found = make_report(make_frames())
    found.plot("errors", tmp_path / "errors.svg")
    assert "<svg" in (tmp_path / "errors.svg").read_text()
    with pytest.raises(UsageError, match=r"errors\.xyz"):
        found.plot("errors", tmp_path / "errors.xyz")
    with pytest.raises(ResourceError, match=naming(tmp_path / "absent")):
        found.plot("errors", tmp_path / "absent" / "errors.png")
    assert [path.name for path in tmp_path.iterdir()] == ["errors.svg"]


def test_the_figure_of_a_data_set(make_frames: MakeFrames, tmp_path: Path) -> None:
    data = Dataset("three", "indoor", make_frames(("a", "b", "c")))
    path = figures.save_dataset_plot(data, tmp_path / "three.png")
    assert matplotlib.image.imread(path)[..., :3].std() > 0.05
    with pytest.raises(DataError, match=naming("none")):
        figures.save_dataset_plot(Dataset("none", "indoor", data.frames.of_split("val")), path)


def test_one_image_is_enough(make_frames: MakeFrames, make_report: MakeReport, tmp_path: Path) -> None:
    make_report(make_frames(num=1)).save(tmp_path)
    with pytest.raises(UsageError, match="trajectory"):
        make_report(make_frames(num=1)).plot("trajectoy")


def test_a_thousand_scenes_stay_readable(make_frames: MakeFrames, make_report: MakeReport) -> None:
    """The printed tables are cut and say so; the report's rows have every scene."""
    found = make_report(make_frames(tuple(f"s{n:03d}" for n in range(200)), num=2))
    tables = {title: rows for title, _, rows in found.table_rows()}
    (title,) = [title for title in tables if title.startswith("by scene")]
    assert title.endswith("(the first 25 of 200: report.json has all)")
    assert [row[0] for row in tables[title]] == [*(f"s{n:03d}" for n in range(25)), report.AVERAGE]
    assert len(found.to_dict()["results"]["scene"]) == 201 * len(found.methods)
    assert all(len(rows) <= 26 for rows in tables.values())


@pytest.mark.parametrize("form", ["csv", "tum", "kitti", "labels"])
def test_the_models_poses_in_the_forms_of_other_tools(
    make_frames: MakeFrames, make_report: MakeReport, tmp_path: Path, form: str
) -> None:
    found = make_report(make_frames(), failures=7)
    (path, *_) = found.export(form, tmp_path / form)
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    assert len(lines) == 53 + (form in ("csv", "labels"))
    x, y, z = found.methods[found.model].position[7]
    assert all(repr(float(value)) in lines[-53] for value in (x, y, z))
    assert found.export(form, tmp_path / form)[0] == path  # a report may be written again
