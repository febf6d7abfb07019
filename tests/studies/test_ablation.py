"""A grid as a table, cell against its first."""

from __future__ import annotations

from pathlib import Path

import pytest
import small_data
from small_studies import study

from posezoo.catalogue import entries

pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.fixture(autouse=True)
def catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of the catalogue with one grid beside the others."""
    folder = tmp_path / "catalogue" / "grids"
    folder.mkdir(parents=True)
    text = '[small]\nsummary = "a test"\nrows.base = { model = "posenet" }\n'
    text += 'rows.wide = { model = "posenet", settings = { dropout = 0.4 }, against = ["base"] }\ncolumns.one = {}\n'
    (folder / "small.toml").write_text(text)
    folders = [*entries.folders(), folder.parent]
    monkeypatch.setattr(entries, "folders", lambda: folders)


def test_a_grid_of_two_cells(one_place: Path, tmp_path: Path) -> None:
    found = study("ablation", data=one_place, out=tmp_path / "out", **{"study.grid": "small"})
    assert [cell["name"] for cell in found["cells"]] == ["base", "wide"]
    assert found["grid"] == "small" and found["verdict"].startswith("small: ")
    assert [(pair["name"], pair["than"], pair["error"]) for pair in found["pairs"]] == [
        ("wide", "base", "position_m"),
        ("wide", "base", "orientation_deg"),
    ]
    # without pretrained weights there is no retrieval
    assert {row["name"] for row in found["baselines"]} == {"mean training pose", "oracle nearest pose"}
    assert [pair["difference"] for pair in found["pairs"]] == [
        row["difference"] for row in found["cells"][1]["against_first"]
    ]


@pytest.mark.slow
def test_a_table_of_the_paper(one_place: Path, tmp_path: Path) -> None:
    slim = small_data.SLIM["ms-transformer"]
    found = study("ablation", data=one_place, out=tmp_path / "out", **slim, **{"study.table": 4})
    assert [cell["name"] for cell in found["cells"]] == ["residual", "single", "two"]
