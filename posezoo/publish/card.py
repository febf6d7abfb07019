"""The card of a trained model, made again from what lies beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from posezoo import registry, trained
from posezoo.errors import UsageError, WeightsError
from posezoo.training import card

REPORT = "report.json"


def text(model: str | Path) -> str:
    """The card of a run folder, `local-dir:PATH`, `hf-hub:OWNER/REPO` or an alias; with its report if there is one."""
    name = str(model)
    found = trained.find(trained.full_name(name))
    alias = registry.weights_cards().get(name)
    load_as = name if alias else found.origin if found.folder is None else card.HERE
    return card.text(found.config, _report(found.folder), load_as=load_as, licence=alias.licence if alias else "")


def write(path: Path, content: str) -> None:
    """Write the card there. Raises UsageError if a hand-written one stands there."""
    if card.is_handwritten(path):
        raise UsageError(f"{path} is hand-written and stays as it is", "remove it, or write to another file")
    path.write_text(content, encoding="utf-8")


def _report(folder: Path | None) -> dict[str, Any] | None:
    """The report of a run or of a built model."""
    if folder is None:
        return None
    for path in (folder / REPORT, folder.parent / "report" / REPORT):
        if path.is_file():
            try:
                return json.loads(path.read_text(encoding="utf-8"))
            except ValueError:
                raise WeightsError(f"{path} is damaged", "posezoo eval writes it again") from None
    return None
