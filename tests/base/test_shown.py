"""How results look in a notebook."""

from __future__ import annotations

import sys

import pytest

from posezoo.base.errors import UsageError
from posezoo.base.shown import ROWS, data_frame, html_facts, html_table


def test_text_is_escaped_and_long_tables_are_cut() -> None:
    shown = html_table("<b>", ["<i>"], [["<script>"]] * 40)
    assert "<script>" not in shown and "<i>" not in shown and "<b><b>" not in shown
    assert shown.count("&lt;script&gt;") == ROWS
    assert "40 rows" in shown
    assert "rows" not in html_facts("", {"kind": "demo"})


def test_a_data_frame_has_the_columns() -> None:
    pytest.importorskip("pandas", reason="pandas is not installed")
    assert data_frame({"a": [1, 2], "b": ["x", "y"]}).to_dict("list") == {"a": [1, 2], "b": ["x", "y"]}


def test_without_pandas_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UsageError) as error:
        data_frame({})
    assert error.value.hint == "pip install pandas"
