"""What `import posezoo` offers: the same as the command line, without torch until it is needed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import ok

import posezoo
from posezoo import api
from posezoo.base.errors import UsageError


def test_lists_are_those_of_the_command_line() -> None:
    for own, command in (
        (api.list_models(), "list"),
        (api.list_datasets(), "data list"),
        (api.list_weights(), "weights list"),
    ):
        rows = json.loads(ok(*command.split(), "--format", "json"))
        assert own
        assert own == [row["name"] for row in rows if row["name"] in own]


def test_lists_by_pattern() -> None:
    assert api.list_models("atloc+hyper*") == ["atloc+hyper", "atloc+hyper.3d"]
    assert api.list_datasets("7scenes-c*") == ["7scenes-chess"]
    assert api.list_models("no-such-*") == []


def test_plugins_are_listed_with_what_they_are() -> None:
    names = {plugin.name for plugin in api.list_plugins() if plugin.distribution == "posezoo"}
    assert {"posenet", "atloc", "ms-transformer", "hyper", "benchmarks"} <= names


@pytest.mark.parametrize(
    ("model", "data", "named"), [("posnet", "demo-loop", "posenet"), ("posenet", "demo-lop", "demo-loop")]
)
def test_wrong_names_are_told_before_anything_is_made(
    model: str, data: str, named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as error:
        api.train(model, data)
    assert named in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_everything_that_is_promised_is_there() -> None:
    for name in posezoo.__all__:
        assert getattr(posezoo, name) is not None


def test_importing_and_listing_imports_no_torch() -> None:
    code = "import sys, posezoo; posezoo.list_models(); posezoo.list_datasets(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_models_by_pattern_and_what_is_pretrained() -> None:
    assert posezoo.list_models("atloc*", exclude="*+*") == [
        *("atloc", "atloc.3d", "atloc.4d", "atloc.lstm", "atloc.plus", "atloc.wide")
    ]
    assert posezoo.list_models(pretrained=True) == ["atloc-anchors-hyper-demo", "posenet-anchors-demo"]
    assert posezoo.list_models("posenet*", pretrained=True) == ["posenet-anchors-demo"]
