"""Training in a notebook's cell: one output that is drawn again, not a line a step or an epoch."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import small_data

from posezoo.cli import notebook


def test_it_draws_in_place_and_not_too_often(monkeypatch: pytest.MonkeyPatch) -> None:
    display = pytest.importorskip("IPython.display", reason="pip install '.[docs]'")
    drawn: list[dict[str, str]] = []

    class Handle:
        def update(self, content: dict[str, str], raw: bool) -> None:
            drawn.append(content)

    def first(content: dict[str, str], raw: bool, display_id: bool) -> Handle:
        assert not drawn, "one output"
        drawn.append(content)
        return Handle()

    monkeypatch.setattr(display, "display", first)
    view = notebook.CellView()
    view.work(1, 3, "reading images")
    for step in range(1, 101):
        view.bar(step, 100, f"loss < {step}")
    assert len(drawn) < 10
    view.end()
    assert drawn[0]["text/plain"] == "1/3 reading images"
    assert drawn[-1]["text/plain"] == "100/100 loss < 100"
    assert "loss &lt; 100" in drawn[-1]["text/html"]
    assert 'value="100" max="100"' in drawn[-1]["text/html"]


@pytest.mark.slow
def test_training_in_a_cell(one_place: Path, tmp_path: Path) -> None:
    """In a real kernel: 18 steps in 2 epochs, resumed too."""
    client = pytest.importorskip("nbclient", reason="pip install '.[docs]'")
    nbformat = pytest.importorskip("nbformat")
    settings = small_data.settings("posenet", out="run", batch_size=2, selection="validation")
    cells = [
        f"import posezoo\nrun = posezoo.train('posenet', 'folder:{one_place}', **{settings!r})",
        "again = posezoo.resume('run')",
    ]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    client.NotebookClient(book, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs: list[Any] = book.cells[0].outputs
    assert all(output.output_type == "display_data" for output in outputs), outputs
    texts = [output.data["text/plain"] for output in outputs]
    (bar,) = [text for text, output in zip(texts, outputs, strict=True) if "<progress" in output.data["text/html"]]
    words = r"(\d+)/\1 epoch 2/2; took .*loss \d.*; validation \d.* m .* deg, best \d.* m; \d+ images/s; [\d.]+ GB"
    assert re.match(words, bar), bar
    assert len(texts) <= 8, texts
    assert not [text for text in texts if text.startswith("epoch")]
    assert len(book.cells[1].outputs) <= 8, book.cells[1].outputs
