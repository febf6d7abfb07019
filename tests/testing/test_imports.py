"""Which imports a plugin may have, and that the suites say so."""

from __future__ import annotations

from pathlib import Path

import pytest

from posezoo.base.errors import PluginError
from posezoo.catalogue.guard import Plugin
from posezoo.testing.imports import private_imports, require_public


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import posezoo\nimport torch", []),
        ("from posezoo import PoseModel, create_model, hookimpl", []),
        ("from posezoo.plugin import ModelSpec\nfrom posezoo.plugin.reading import numbers", []),
        ("from posezoo.nn.model import PoseModel\nimport posezoo.testing", []),
        ("from posezoo_other.data import x\nfrom .data import y", []),
        ("import posezoo.data.open", [(1, "posezoo.data.open")]),
        ("\nfrom posezoo import data", [(2, "posezoo.data")]),
        ("def f():\n    from posezoo.base.spec import Frame", [(2, "posezoo.base.spec")]),
    ],
)
def test_private_imports(source: str, found: list[tuple[int, str]]) -> None:
    assert private_imports(source) == found


def test_the_file_and_line_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "posezoo_nosy").mkdir()
    (tmp_path / "posezoo_nosy" / "__init__.py").write_text("")
    (tmp_path / "posezoo_nosy" / "model.py").write_text("import posezoo.zoo.build\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(PluginError, match=r"model\.py, line 1: posezoo\.zoo\.build"):
        require_public([Plugin("nosy", "posezoo_nosy", "posezoo-nosy", "1")])
