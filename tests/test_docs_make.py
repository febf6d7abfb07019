"""What `python docs/make.py` writes is what is there: the code and the catalogue have not moved on."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

from posezoo.api import list_models
from posezoo.catalogue import entries

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def make() -> Iterator[ModuleType]:
    """docs/make.py as a module."""
    sys.path.insert(0, str(ROOT / "docs"))  # where it stands when it is run
    spec = importlib.util.spec_from_file_location("make", ROOT / "docs" / "make.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(ROOT / "docs"))


def test_keys_are_current(make: ModuleType) -> None:
    assert make.KEYS.read_text(encoding="utf-8") == make.keys_text()


def test_sizes_are_current(make: ModuleType) -> None:
    """Of two models; the slow test below looks at all."""
    cards = entries.size_cards()
    assert set(cards) == set(list_models())
    for name in ("posenet+hyper", "atloc.4d"):
        assert cards[name].parameters == make.parameters(name)


@pytest.mark.slow
def test_all_sizes_are_current(make: ModuleType) -> None:
    speeds = {name: card.ms for name, card in entries.size_cards().items()}
    assert make.SIZES.read_text(encoding="utf-8") == make.sizes_text(list_models(), speeds)


def test_the_gallery_is_current(make: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POSEZOO_DATA", raising=False)
    assert make.GALLERY.read_text(encoding="utf-8") == make.gallery_text()


def test_results_are_current(make: ModuleType) -> None:
    assert make.RESULTS.read_text(encoding="utf-8") == make.results.page_text()
    assert make.README.read_text(encoding="utf-8") == make.readme_text()


def test_the_page_on_the_hypernetwork_is_current(make: ModuleType) -> None:
    assert make.question.PAGE.read_text(encoding="utf-8") == make.question.page_text()
    stored = make.question.read()
    for grids in stored.values():
        for name, found in grids.items():
            grid = entries.grid(name)
            assert {cell["name"] for cell in found["cells"]} == set(grid.against()), (
                f"{name} has moved on: run it again"
            )
            assert {cell["trainings"] for cell in found["cells"]} == {len(grid.seeds)}


def test_pictures_on_the_hypernetwork_are_drawn_of_what_is_stored(make: ModuleType, tmp_path: Path) -> None:
    paths = make.question_pictures.draw_all(tmp_path)
    page = make.question.PAGE.read_text(encoding="utf-8")
    assert paths
    for path in paths:
        assert f"images/{path.name}" in page
        with Image.open(path) as new, Image.open(make.question.IMAGES / path.name) as old:
            assert new.size == old.size, f"{path.name}: python docs/make.py question"
            assert old.info["Question"] == make.question_pictures.digest(), f"{path.name}: python docs/make.py question"


def test_stored_results_are_those_of_the_shipped_weights(make: ModuleType) -> None:
    """As their cards state them; the slow test below evaluates again."""
    for alias in make.results.SHIPPED:
        table = entries.results()[f"demo-loop-{alias}"]
        card = (ROOT / "plugins/posezoo_demo/weights" / alias / "README.md").read_text(encoding="utf-8")
        stated = dict(re.findall(r"type: (median_\w+)\n +value: ([\d.]+)", card))
        (row,) = (row for row in table.rows if row.model and not row.sequence)
        assert row.position_m == pytest.approx(float(stated["median_position_m"]), abs=0.006)
        assert row.orientation_deg == pytest.approx(float(stated["median_orientation_deg"]), abs=0.011)
        assert table.commit in entries.published()[alias].provenance


def test_pictures_are_shown_and_of_the_shipped_weights(make: ModuleType) -> None:
    weights = entries.published()[make.pictures.SHOWN].sha256
    pages = "".join(path.read_text(encoding="utf-8") for path in (make.README, *(ROOT / "docs").rglob("*.md")))
    for name in make.pictures.NAMES:
        assert f"images/{name}" in pages, f"no page shows {name}"
        with Image.open(make.pictures.IMAGES / name) as image:
            drawn_of = image.info.get("Weights")
            assert drawn_of == (weights if name.endswith(".png") else None), f"{name}: python docs/make.py"


@pytest.mark.slow
def test_the_pictures_are_drawn_again_alike(make: ModuleType, tmp_path: Path) -> None:
    """The models evaluated again give the stored results, and pictures that look the same."""
    import numpy as np

    import posezoo

    alias = make.pictures.SHOWN
    report = posezoo.evaluate(alias, data="demo-loop")
    stored = entries.results()[f"demo-loop-{alias}"]
    again = make.results.entry(report.to_dict(), stored.origin, alias)
    for row, old in zip(again["rows"], stored.rows, strict=True):
        assert row["position_m"] == pytest.approx(old.position_m, rel=0.02), row
        if old.orientation_deg is not None:
            assert row["orientation_deg"] == pytest.approx(old.orientation_deg, rel=0.02), row
    paths = make.pictures.draw_all(report, tmp_path)
    assert {path.name for path in paths} == set(make.pictures.NAMES)
    for path in paths:
        with Image.open(path) as new, Image.open(make.pictures.IMAGES / path.name) as old:
            small = [np.asarray(image.convert("RGB").resize((200, 100)), float) for image in (new, old)]
        assert np.abs(small[0] - small[1]).mean() < 8, f"{path.name}: python docs/make.py"


NOTEBOOKS = sorted(path.stem for path in (ROOT / "docs" / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_pages_of_notebooks_are_current(make: ModuleType, name: str) -> None:
    import notebooks

    assert (notebooks.FOLDER / f"{name}.md").read_text(encoding="utf-8") == notebooks.page(name)
    text = (notebooks.FOLDER / f"{name}.ipynb").read_text(encoding="utf-8")
    assert str(ROOT) not in text and "Traceback" not in text


@pytest.mark.slow  # minutes: they train
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebooks_run(make: ModuleType, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every cell, in a real kernel, and the same kinds of output as are stored."""
    pytest.importorskip("nbclient", reason="pip install '.[docs]'")
    import nbformat
    import notebooks

    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    stored = nbformat.read(notebooks.FOLDER / f"{name}.ipynb", as_version=4)
    again = notebooks.executed(name)
    assert len(list(notebooks.pictures(again))) == len(list(notebooks.pictures(stored)))
    assert [bool(c.get("outputs")) for c in again.cells] == [bool(c.get("outputs")) for c in stored.cells]
