"""The commands that show what there is."""

from __future__ import annotations

import faults
import pytest
from command_line import ok, strict_json
from naming import naming


def test_they_are_commands_of_posezoo_itself() -> None:
    assert all(word in ok("--help") for word in ("list", "info", "settings", "doctor"))
    assert strict_json(ok("doctor", "--format", "json"))["posezoo"]


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (["list", "--pretrained", "--data", "demo-loop"], 2, naming("--pretrained", "--data")),
        (["info", "posenet-anchors-demo", "hidden=3"], 2, naming("posenet-anchors-demo")),
        (["info", "demo-loop", "foo=3"], 2, naming("demo-loop")),
        (["info", "local-dir:nowhere"], 4, naming("no such folder")),
        (["info", "outputs/nowhere/run"], 4, naming("no such folder")),
        (["info", "./nowhere"], 4, naming("no such folder")),
    ],
)
def test_what_is_wrong_is_said(argv: list[str], code: int, words: str) -> None:
    faults.assert_fails(argv, code, words)
