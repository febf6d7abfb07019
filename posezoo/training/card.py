"""The model card of a run: what it was trained on, how, how good it is, and how to use it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from huggingface_hub import EvalResult, ModelCardData

from posezoo.training.config import TrainConfig
from posezoo.training.setup import Job
from posezoo.version import __version__

if TYPE_CHECKING:
    from posezoo.evaluation.report import Report


def facts(job: Job, best: dict[str, Any]) -> dict[str, Any]:
    """What config.json says about the training."""
    return {
        "training": {
            "data": job.dataset.name,
            "data_digest": job.dataset.digest,
            "ground_truth": job.dataset.frames.ground_truth,
            "recipe": job.config.recipe,
            "seed": job.config.seed,
            "precision": job.config.precision,
            "selection": selection_note(job.config, best),
            "backbone_weights": [{"source": f.source, "sha256": f.sha256} for f in job.backbone_files],
        }
    }


def selection_note(config: TrainConfig, best: dict[str, Any]) -> str:
    """How the weights were chosen, in words for every table."""
    if config.selection == "last":
        return "last epoch"
    return f"best epoch on {config.selection} frames (epoch {best['epoch']})"


def text(job: Job, best: dict[str, Any], report: Report | None) -> str:
    """The card in Markdown with the hub's metadata; without a report it says that the run is not evaluated yet."""
    name, data = str(job.blueprint.name), job.dataset.name
    results = []
    if report is not None:
        row = report.headline[report.model]
        for key, words in (
            ("median_position_m", "median position (m)"),
            ("median_orientation_deg", "median orientation (deg)"),
        ):
            results.append(
                EvalResult(
                    task_type="camera-pose-regression",
                    dataset_type=data,
                    dataset_name=data,
                    metric_type=key,
                    metric_name=words,
                    metric_value=round(row[key], 4),
                )
            )
    metadata = ModelCardData(
        library_name="posezoo",
        tags=["camera-localisation", "absolute-pose-regression", name],
        model_name=f"{name} on {data}",
        eval_results=results or None,
    )
    sections = [
        f"---\n{metadata.to_yaml()}\n---",
        f"# {name} on {data}",
        _training(job, best),
        _evaluation(report),
        _USE,
    ]
    return "\n\n".join(sections) + "\n"


def _training(job: Job, best: dict[str, Any]) -> str:
    card = job.dataset.card
    rows = {
        "trained by": f"posezoo {__version__}, recipe `{job.config.recipe}`, seed {job.config.seed}",
        "data": f"{job.dataset.name} ({len(job.train_rows)} training images), digest `{job.dataset.digest[:16]}`",
        "licence of the data": card.licence if card else "not stated",
        "backbone weights": ", ".join(f.source for f in job.backbone_files) or "none (random start)",
        "weights chosen by": selection_note(job.config, best),
    }
    return "| | |\n|---|---|\n" + "\n".join(f"| {key} | {value} |" for key, value in rows.items())


def _evaluation(report: Report | None) -> str:
    if report is None:
        return "Not evaluated yet: the run has not come to its end."
    parts = ["## Evaluation"]
    for title, header, rows in report.table_rows():
        table = [
            "| " + " | ".join(header) + " |",
            "|" + "---|" * len(header),
            *("| " + " | ".join(r) + " |" for r in rows),
        ]
        parts += [f"**{title}**", "\n".join(table)]
    return "\n\n".join([*parts, *(f"Note: {note}." for note in report.notes)])


_USE = """## Use

```python
import posezoo

model = posezoo.load("local-dir:PATH-OF-THIS-FOLDER")
poses = model.predict(["image.jpg"])  # camera-to-world, metres, quaternion (w, x, y, z)
```"""
