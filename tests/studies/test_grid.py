"""A grid trains every row in every column with every seed, goes on where it was, and tells means over the seeds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import small_data
from naming import naming
from small_runs import Notes

from posezoo import cli
from posezoo.base.errors import UsageError
from posezoo.catalogue import entries, resolve, settings
from posezoo.evaluation.report import Report
from posezoo.studies import grid, medians
from posezoo.training.config import configure

GRID = """
[small]
summary = "a test"
seeds = [0, 1]
[small.columns]
published = { "augment.geometry" = "crop" }
pose-true = { "augment.geometry" = "rotate" }
[small.rows]
base = { model = "posenet" }
[small.rows.full]
model = "posenet+hyper"
settings = { "hyper.rank" = "none", "hyper.code_position" = 8, "hyper.code_orientation" = 8 }
columns = ["pose-true"]
"""
SETTINGS = {**small_data.FAST, **small_data.SLIM["posenet"], "epochs": 1}


@pytest.fixture(autouse=True)
def without_pictures(no_pictures: None) -> None:
    """No test here looks at figures."""


@pytest.fixture(autouse=True)
def catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of the catalogue with one grid."""
    folder = tmp_path / "catalogue" / "grids"
    folder.mkdir(parents=True)
    (folder / "small.toml").write_text(GRID)
    folders = [*entries.folders(), folder.parent]
    monkeypatch.setattr(entries, "folders", lambda: folders)


def test_grid_trains_once_and_tells_means(one_place: Path, tmp_path: Path) -> None:
    data, trained = f"folder:{one_place}", []

    def watch(cell: grid.Cell) -> Notes:
        trained.append(f"{cell.row} {cell.column} {cell.seed}")
        return Notes()

    plan = grid.cells("small", data, tmp_path / "out", given=SETTINGS)
    assert len(plan) == 6
    assert {cell.config.augment.geometry for cell in plan if cell.column == "published"} == {"crop"}
    assert grid.run(plan[:1], watch)[0]["seeds"] == [0]
    rows = grid.run(plan, watch)
    assert trained == ["base published 0", "base pose-true 0", "full pose-true 0"] + [
        f"{name} 1" for name in ("base published", "base pose-true", "full pose-true")
    ]
    assert [(row["row"], row["training"]) for row in rows][:3] == [
        ("base", "published"),
        ("base", "pose-true"),
        ("full", "pose-true"),
    ]
    assert {row["row"] for row in rows[3:]} >= {"mean training pose"}
    assert rows[0]["parameters"] == rows[1]["parameters"] < rows[2]["parameters"]
    low, high = rows[0]["median_position_m_seeds"]
    assert low < rows[0]["median_position_m"] < high
    assert rows[0]["median_position_m"] == (low + high) / 2


def test_on_demo_data_a_published_grid_is_small(tmp_path: Path) -> None:
    """The backbone in the package and few epochs; on the benchmarks nothing changes, and what is typed wins."""
    paper = [name for name in entries.grids() if name.startswith("paper/")]
    for name in paper:
        demo, published = (grid.cells(name, data, tmp_path, [0]) for data in ("demo-loop", "cambridge"))
        assert {cell.blueprint.config.backbone for cell in demo} == {"tf_efficientnet_lite0"}
        assert all(cell.config.epochs <= 20 and cell.config.batch_size == 8 for cell in demo)
        assert all(cell.config.epochs >= 30 and cell.blueprint.config.crop == 224 for cell in published)
        card = entries.grid(name)
        assert grid.demo_notes(card, "cambridge", {}) == []
        assert "not the published" in grid.demo_notes(card, "demo-loop", {})[0]
    (cell, *_) = grid.cells("paper/table-5", "demo-places", tmp_path, [0], given={"epochs": 2, "crop": 64})
    assert (cell.config.epochs, cell.blueprint.config.crop) == (2, 64)
    assert dict(cell.blueprint.modifiers)["hyper"].hidden_orientation == (512, 512), "a row's own settings stay"
    (note,) = grid.demo_notes(entries.grid("paper/table-5"), "demo-places", {"epochs": 2})
    assert "crop=96" in note and "epochs" not in note
    assert not grid.demo_settings(entries.grid("size"), resolve.data("demo-loop"))


def test_run_with_other_settings_is_refused(one_place: Path, tmp_path: Path) -> None:
    plan = grid.cells("small", f"folder:{one_place}", tmp_path / "out", [0], given=SETTINGS)[:1]
    grid.run(plan, lambda cell: Notes())
    other = grid.cells("small", f"folder:{one_place}", tmp_path / "out", [0], given={**SETTINGS, "optim.lr": 1e-2})
    with pytest.raises(UsageError, match=naming("optim")):
        grid.run(other[:1], lambda cell: Notes())


def test_seeds_from_words() -> None:
    assert grid.parse_seeds("0, 2,") == [0, 2]
    assert grid.parse_seeds("") == []
    with pytest.raises(UsageError, match=naming("seeds")):
        grid.parse_seeds("one")


def test_from_the_command_line(one_place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bench", "grid", "small", "--data", f"folder:{one_place}", "--out", str(tmp_path / "out")]
    words += ["--seeds", "0", *small_data.words(SETTINGS)]
    assert cli.run(words) == 0
    first = capsys.readouterr()
    assert "run 3 of 3: full, pose-true, seed 0" in first.err
    assert cli.run([*words, "--format", "json"]) == 0  # nothing is trained again
    again = capsys.readouterr()
    assert "run 1 of 3" not in again.err
    rows = json.loads(again.out)
    assert [row["row"] for row in rows][:3] == ["base", "base", "full"]
    assert f"{rows[0]['median_position_m']:.2f}" in first.out
    own = Report.load(tmp_path / "out" / "small" / grid._folder(f"folder:{one_place}") / "base/published/seed-0/report")
    assert rows[0]["median_position_m_ci95"] == list(own.headline[own.model]["median_position_m_ci95"])
    assert medians.shown(rows[0]).splitlines()[0] in first.out and "95 % intervals" in first.out


def test_unknown_grid_has_near_names() -> None:
    with pytest.raises(UsageError, match="smal"):
        entries.grid("smal")


def test_every_grid_of_the_catalogue_is_valid() -> None:
    for name in entries.grids():
        plan = grid.cells(name, "demo-loop", Path("out"))
        assert len({cell.path for cell in plan}) == len(plan)
    assert configure(resolve.model("posenet"), resolve.data("demo-loop"), settings.nested({"hidden": 3778}))


@pytest.mark.slow
def test_cells_as_jobs_are_those_trained_here(one_place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit", reason="extra: cluster")
    plans = [grid.cells("small", f"folder:{one_place}", tmp_path / name, [0], given=SETTINGS)[:2] for name in "ab"]
    here = grid.run(plans[0], lambda cell: Notes())
    jobs = grid.run_as_jobs(plans[1], tmp_path / "jobs", {}, Notes(), here=True)
    assert jobs == here
    monkeypatch.setattr(grid, "launch", lambda work, *given: work and pytest.fail("again"))
    assert grid.run_as_jobs(plans[1], tmp_path / "jobs", {}, Notes(), here=True) == here


def test_a_run_of_other_model_settings_is_refused(one_place: Path, tmp_path: Path) -> None:
    data, out = f"folder:{one_place}", tmp_path / "out"
    given = {**SETTINGS, "hidden": 8}
    (cell, *_) = grid.cells("small", data, out, seeds=[0], given=given)
    grid.run([cell], lambda _: Notes())
    (again, *_) = grid.cells("small", data, out, seeds=[0], given=given)
    grid.run([again], lambda _: Notes())
    (other, *_) = grid.cells("small", data, out, seeds=[0], given={**given, "hidden": 16})
    with pytest.raises(UsageError, match=naming("model.config.hidden 8 -> 16")):
        grid.run([other], lambda _: Notes())
    with pytest.raises(UsageError, match=naming("hidden")):
        grid.run_as_jobs([other], out / "jobs", {}, Notes(), here=True)


@pytest.mark.parametrize("text", ["0,0", "one", ",", "1,2,1"])
def test_seeds_are_numbers_once_each(text: str) -> None:
    with pytest.raises(UsageError, match=naming("--seeds 0,1,2")):
        grid.parse_seeds(text)
    assert grid.parse_seeds("2, 0") == [2, 0]
    assert grid.parse_seeds("") == []


def test_folders_of_own_data_are_told_apart(tmp_path: Path) -> None:
    assert grid._folder("folder:/data/a") != grid._folder("folder:/data/b")
    assert grid._folder("demo-loop") == "demo-loop"
