"""What a run records about itself in its model's config.json."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from posezoo.base.paths import without_folders
from posezoo.base.version import source_commit
from posezoo.catalogue import resolve
from posezoo.training.config import configure
from posezoo.training.setup import Job


def facts(job: Job, best: dict[str, Any]) -> dict[str, Any]:
    """What config.json says about the training."""
    card = job.dataset.card
    return {
        "training": {
            "data": job.data.name.public,
            "data_digest": job.dataset.digest,
            "data_licence": card.licence if card else "not stated",
            "ground_truth": job.dataset.frames.ground_truth,
            "unit": job.dataset.unit,
            "data_notes": [without_folders(note) for note in job.dataset.notes],
            "num_images": len(job.train_rows),
            "recipe": job.config.recipe,
            "changed": changed_settings(job),
            "seed": job.config.seed,
            "precision": job.config.precision,
            "selection": selection_note(job, best),
            "commit": source_commit(),
            "backbone_weights": [
                {"source": without_folders(f.source), "sha256": f.sha256, "licence": f.licence}
                for f in job.backbone_files
            ],
        }
    }


def changed_settings(job: Job) -> list[str]:
    """The settings that differ from the recipe, as words of the command line; not where and how fast it computes."""
    # by its name: the blueprint of a resumed run holds settings and none of the catalogue's entries
    recipe, plan = configure(resolve.model(job.config.model), job.data, {"recipe": job.config.recipe})
    theirs, ours = ({**_flat(c.model_dump()), **_flat(p.as_dict()["config"]), **_flat(p.as_dict()["modifiers"])}
                    for c, p in ((recipe, plan), (job.config, job.blueprint)))  # fmt: skip
    skipped = ("out", "precision", "device", "workers", "seed", "checkpoint")
    return [
        f"{key}={_public(value)}"
        for key, value in ours.items()
        if value != theirs.get(key) and key.partition(".")[0] not in skipped and key not in ("data.name", "data.root")
    ]


def _public(value: Any) -> Any:
    """A setting's value without folders. A text is one name, perhaps with a scheme: its path may have spaces."""
    if isinstance(value, (list, tuple)):
        return type(value)(map(_public, value))
    if not isinstance(value, str):
        return value
    scheme = re.match(r"(?:[a-z][a-z0-9-]*:(?!//))?", value)
    start = scheme.end() if scheme else 0
    return value[:start] + without_folders(value[start:])


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in table.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return flat


def selection_note(job: Job, best: dict[str, Any]) -> str:
    """How the weights were chosen, in words for every table."""
    config = job.config
    if config.selection == "last" or not len(job.validation_rows):
        return "last epoch"
    if not math.isfinite(best["score"]):
        return f"last epoch: none had finite errors on {config.selection} frames"
    return f"best epoch on {config.selection} frames (epoch {best['epoch']})"
