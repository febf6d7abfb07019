"""`posezoo plugins`: the table, a new plugin, a check; `tests/test_plugins.py` has the plugins that do wrong."""

from __future__ import annotations

import json
from pathlib import Path

import faults
import pytest
from naming import naming

from posezoo.testing import ModelConformance


def test_new_writes_and_says_what_is_next() -> None:
    ended = faults.in_process(["plugins", "new", "mine", "--kind", "model"])
    assert ended.code == 0, ended
    assert ended.stdout.splitlines() == [
        "written: posezoo-mine",
        "next: pip install -e posezoo-mine",
        "      posezoo plugins check mine",
    ]
    assert Path("posezoo-mine/posezoo_mine/model.py").is_file()
    faults.assert_fails(["plugins", "new", "mine", "--kind", "model"], 2, naming("posezoo-mine"))
    written = json.loads(faults.in_process(["plugins", "new", "b", "--kind", "reader", "--format", "json"]).stdout)
    assert "posezoo_b/catalogue/datasets/rooms.toml" in written["files"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["plugins", "new", "../x", "--kind", "model"], "cannot be a plugin's name"),
        (["plugins", "--format", "json", "new", "x", "--kind", "model"], "plugins new"),
        (["plugins", "--no-truncate", "check", "posenet"], "plugins check"),
        (["plugins", "new", "x"], "Missing option '--kind'"),
        (["plugins", "new", "x", "--kind", "thing"], "Invalid value"),
        (["plugins", "nw"], "No such command 'nw'"),
        (["plugins", "check", "zzz"], "unknown model 'zzz'"),
        (["plugins", "check", "posenet", "hiden=3"], 'did you mean "hidden"'),
    ],
)
def test_wrong_input(arguments: list[str], reason: str) -> None:
    faults.assert_fails(arguments, 2, reason)
    assert list(Path().iterdir()) == []


def test_check_passes_and_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in dir(ModelConformance) if name.startswith("test_")]:
        if name not in ("test_pose", "test_other_sides"):  # the others are run in tests/test_models.py
            monkeypatch.delattr(ModelConformance, name)
    ended = faults.in_process(["plugins", "check", "posenet", "hidden=8"])
    assert ended.code == 0, ended
    assert "+hyper=single" in ended.stdout
    rows = json.loads(faults.in_process(["plugins", "check", "posenet", "hidden=8", "--format", "json"]).stdout)
    assert len(rows) == 8
    assert {row["problem"] for row in rows} == {""}
    # a network for images of one size only
    small = ["backbone=vit_tiny_patch16_224", "resize=224", "crop=224", "hidden=8"]
    ended = faults.assert_fails(
        ["plugins", "check", "posenet+hyper", *small], 7, r"1 of 2 checks of posenet\+hyper failed"
    )
    assert "FAILS: " in ended.stdout
