"""The forms of catalogue entries: what is no entry is refused, by its file and key."""

from __future__ import annotations

from pathlib import Path

import pytest
from naming import naming

from posezoo.base.errors import PluginError
from posezoo.base.spec import CatalogueSpec
from posezoo.catalogue import entries, forms, plugins

OURS = {"seed": 0, "commit": "a" * 40, "data_digest": "b" * 64}


@pytest.mark.parametrize("missing", [*OURS, ""])
def test_results_of_ours_say_how_they_can_be_had_again(missing: str) -> None:
    row = {"method": "ours", "model": "posenet", "data": "demo-loop", "position_m": 1.0, "orientation_deg": 2.0}
    table = {"source": "ours", "origin": "posezoo train posenet --data demo-loop", "rows": [row], **OURS}
    if missing:
        with pytest.raises(ValueError, match=naming("seed", "commit", "data_digest")):
            forms.ResultTable.model_validate({key: value for key, value in table.items() if key != missing})
    else:
        assert forms.ResultTable.model_validate(table).rows[0].model == "posenet"
        with pytest.raises(ValueError, match="commit"):
            forms.ResultTable.model_validate({**table, "commit": "main"})


@pytest.fixture
def catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a catalogue that a plugin brings."""
    (tmp_path / "datasets").mkdir()
    spec = CatalogueSpec("mine", tmp_path)
    monkeypatch.setattr(plugins, "catalogues", lambda: {"mine": spec})
    return tmp_path


GOOD = 'summary = "s"\nreader = "folder"\nfolder = "x"\nkind = "indoor"\nlicence = "MIT"\n'


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"[demo-loop]\n{GOOD}", "demo-loop"),
        (f"[a]\n{GOOD}colour = 3\n", "colour"),
        (f"[a]\n{GOOD}".replace("indoor", "cellar"), "kind"),
        ("[a]\nsummary = 3\n", "summary"),
        ("[a\n", "not valid"),
        ("a = 3\n", "not valid"),
    ],
)
def test_mistakes_in_a_catalogue_name_the_file(catalogue: Path, text: str, reason: str) -> None:
    path = catalogue / "datasets" / "mine.toml"
    path.write_text(text)
    with pytest.raises(PluginError, match=reason) as error:
        entries.data_cards()
    assert str(path) in error.value.message


def test_a_grid_compares_rows_of_one_column() -> None:
    rows = {"base": {"model": "posenet"}, "wide": {"model": "posenet", "columns": ["a"], "against": ["base"]}}
    grid = forms.Grid.model_validate({"summary": "s", "rows": rows, "columns": {"a": {}, "b": {}}})
    assert grid.against() == {"base, a": [], "base, b": [], "wide, a": ["base, a"]}
    rows["wide"]["against"] = ["bse"]
    with pytest.raises(ValueError, match="bse"):
        forms.Grid.model_validate({"summary": "s", "rows": rows, "columns": {"a": {}}})
