"""The command line as a test types it, and what it prints."""

from __future__ import annotations

import json
from typing import Any

import faults


def ok(*argv: str) -> str:
    """What a command that succeeds prints."""
    ended = faults.in_process(argv)
    assert ended.code == 0, ended
    return ended.stdout


def strict_json(text: str) -> Any:
    """Parsed, with NaN and infinity refused."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)
