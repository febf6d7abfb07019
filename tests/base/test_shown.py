"""How results look in a notebook."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

from posezoo.base.errors import UsageError
from posezoo.base.shown import ROWS, data_frame, html_facts, html_lines, html_table


def test_text_is_escaped_and_long_tables_are_cut() -> None:
    shown = html_table("<b>", ["<i>"], [["<script>"]] * 40)
    assert "<script>" not in shown and "<i>" not in shown and "<b><b>" not in shown
    assert shown.count("&lt;script&gt;") == ROWS
    assert "40 rows" in shown
    assert "rows" not in html_facts("", {"kind": "demo"})
    assert html_lines(["a < b", "c"]) == "<p>a &lt; b</p><p>c</p>"
    assert html_table("", ["a"], [["b"]]) == (
        "<table><thead><tr><th>a</th></tr></thead><tbody><tr><td>b</td></tr></tbody></table>"
    )


@pytest.mark.parametrize("folder", ["posezoo", "plugins"])
def test_html_is_in_templates_alone(folder: str) -> None:
    """No string of the code closes an element or breaks a line: what a template is given is escaped."""
    root = Path(__file__).parents[2]
    found = [
        f"{path.relative_to(root)}:{node.lineno}: {node.value[:60]!r}"
        for path in sorted((root / folder).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.search(r"</\w+>|<br", node.value)
    ]
    assert not found


def test_a_data_frame_has_the_columns() -> None:
    pytest.importorskip("pandas", reason="pandas is not installed")
    assert data_frame({"a": [1, 2], "b": ["x", "y"]}).to_dict("list") == {"a": [1, 2], "b": ["x", "y"]}


def test_without_pandas_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UsageError) as error:
        data_frame({})
    assert error.value.hint == "pip install pandas"
