"""Output for people and for programs."""

from __future__ import annotations

import pytest
from command_line import ok, strict_json


@pytest.mark.parametrize(
    "argv",
    [
        ["list"],
        ["list", "no-such-*"],
        ["info", "posenet+hyper", "hyper.rank=4", "backbone=test_efficientnet"],
        ["info", "7scenes-chess"],
        ["doctor"],
        ["data", "list"],
        ["weights", "list"],
        ["weights", "verify"],
        ["info", "atloc-anchors-hyper-demo"],
    ],
)
def test_json(argv: list[str]) -> None:
    strict_json(ok(*argv, "--format", "json"))
    assert ok(*argv, "--format", "quiet") == ""
    if "no-such-*" not in argv:
        assert ok(*argv).strip()
