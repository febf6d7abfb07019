"""A study on small data as the command line runs it, and models trained for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import small_data
from command_line import ok, strict_json

SETTINGS = {**small_data.FAST, **small_data.SLIM["posenet"], "epochs": 1, "selection": "last"}


def study(name: str, *words: str, data: Path | str, out: Path, **more: object) -> dict[str, Any]:
    """What `posezoo study NAME` prints as JSON, which is what it wrote; `more` are settings."""
    place = data if isinstance(data, str) else f"folder:{data}"
    given = small_data.words({**SETTINGS, **more})
    text = ok("study", name, *words, *given, "--data", place, "--seeds", "0", "--out", str(out), "--format", "json")
    found = strict_json(text)
    stored = strict_json((out / name / "study.json").read_text())
    assert {key: value for key, value in found.items() if key != "written"} == stored
    assert stored["verdict"] and len(stored["verdict"].splitlines()) == 1
    for figure in stored["figures"]:
        assert (out / name / figure).read_bytes().startswith(b"\x89PNG")
    return stored
