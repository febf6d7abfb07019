"""`posezoo bench` as a user types it; what is measured is tested in tests/bench."""

from __future__ import annotations

from pathlib import Path

import faults
import pytest
import small_data
from command_line import ok, strict_json
from naming import naming


@pytest.mark.slow
def test_startup() -> None:
    rows = strict_json(ok("bench", "startup", "--format", "json"))
    rows = rows if isinstance(rows, list) else [rows]
    assert [(row["posezoo --help imports torch"], row["posezoo list imports torch"]) for row in rows] == [
        (False, False)
    ]
    assert ok("bench", "startup", "--format", "quiet") == ""


def test_loading(one_place: Path) -> None:
    found = strict_json(ok("bench", "loading", "--data", f"folder:{one_place}", "--format", "json"))
    assert found["images"] == 32


def test_seeds_that_are_none(one_place: Path) -> None:
    words = small_data.words({**small_data.FAST, "epochs": 1})
    argv = ["bench", "grid", "hypernetwork", "--data", f"folder:{one_place}", "--seeds", "x", *words]
    faults.assert_fails(argv, 2, naming("x"))


def test_wrong_names_come_with_near_ones() -> None:
    faults.assert_fails(["bench", "speed", "posnet"], 2, naming("posenet"))
    faults.assert_fails(["bench", "grid", "hypernetwrk", "--data", "demo-loop"], 2, naming("hypernetwork"))
