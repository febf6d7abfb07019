"""The commands that show what there is."""

from __future__ import annotations

from command_line import ok, strict_json


def test_they_are_commands_of_posezoo_itself() -> None:
    assert all(word in ok("--help") for word in ("list", "info", "settings", "doctor"))
    assert strict_json(ok("doctor", "--format", "json"))["posezoo"]
