"""Evaluate a run, a saved model or an alias again, on the run's own data unless others are named; compare several."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from posezoo.base.errors import HubError, UsageError
from posezoo.base.observe import Note, Observer
from posezoo.base.paths import user_path
from posezoo.catalogue import names
from posezoo.data.open import open_dataset
from posezoo.evaluation import stored
from posezoo.evaluation.compare import Comparison
from posezoo.evaluation.compare import compare as compare_reports
from posezoo.evaluation.evaluate import evaluate as run
from posezoo.evaluation.report import Report
from posezoo.evaluation.retrieval import retrieval_features
from posezoo.nn.model import PoseModel
from posezoo.training.loop import Result
from posezoo.training.run import CONFIG, read_config
from posezoo.zoo.find import find, full_name
from posezoo.zoo.saved import load_found


def evaluate(
    model: str | Path | PoseModel | Result,
    data: str | None = None,
    *,
    root: str | Path | None = None,
    split: str | Path | None = None,
    subset: str = "test",
    skip_bad: bool = False,
    device: str | torch.device = "cpu",
    observer: Observer | None = None,
) -> Report:
    """The report of a model, a run folder, `local-dir:PATH`, `hf-hub:OWNER/REPO` or an alias, with the baselines.

    `data` None: what the run was trained on. Without the backbone's pretrained weights the retrieval baseline is left
    out, with a note. `split`: `blocks`, `sequences` or a split file (image, split).
    `subset`: which of its splits. `skip_bad`: leave out what is wrong with the data (a run's own setting holds too).
    """
    watch = observer or Observer()
    subject = _subject(model, _DataChoice(data, root, split, skip_bad), device, watch)
    if subject.choice.data is None:
        raise UsageError("no data set given", "--data NAME, see posezoo data list")
    dataset = open_dataset(
        subject.choice.data,
        root=subject.choice.root,
        split=subject.choice.split,
        skip_bad=subject.choice.skip_bad,
        progress=lambda done, total: watch.progress("reading images", done, total),
    )
    for remark in dataset.remarks:
        watch.note(remark)
    return run(
        subject.model,
        dataset,
        split=subset,
        embed=_retrieval_features(subject.model, subject.backbone, watch.note),
        selection=subject.selection,
        progress=lambda done, total: watch.progress("evaluating", done, total),
    )


def compare(
    *models: str | Path | PoseModel | Result | Report,
    data: str | None = None,
    root: str | Path | None = None,
    split: str | Path | None = None,
    subset: str = "test",
    skip_bad: bool = False,
    device: str | torch.device = "cpu",
    observer: Observer | None = None,
) -> Comparison:
    """Each model compared with the first on the same images: better, not distinguishable or worse, and where.

    Without `data`, a run or model folder's stored report is read and nothing is computed; what has none is evaluated
    on its own data. With `data` all are evaluated on it. Raises UsageError where images or labels differ.
    """
    names, reports = [], []
    for model in models:
        found = None if data else _stored(model)
        more: dict[str, Any] = {"root": root, "split": split, "subset": subset, "skip_bad": skip_bad}
        if found is None:
            if isinstance(model, Report):
                raise UsageError("a report is of its own data", "compare(model, ..., data=NAME) with models")
            found = evaluate(model, data, **more, device=device, observer=observer)
        named = model.path if isinstance(model, Result) else model
        names.append(str(named) if isinstance(named, str | Path) else found.model)
        reports.append(found)
    return compare_reports(names, reports)


def _stored(model: str | Path | PoseModel | Result | Report) -> Report | None:
    """The report of a finished run or an evaluated folder, if it was stored."""
    if isinstance(model, Report):
        return model
    if isinstance(model, Result):
        return model.report
    if isinstance(model, PoseModel):
        return None
    folder = user_path(str(model).removeprefix("local-dir:"))
    for place in (folder / "report", folder, folder.parent / "report"):
        if (place / stored.FILE).is_file():
            return Report.load(place)
    return None


class _DataChoice(NamedTuple):
    """Which data to evaluate on, and how to read them."""

    data: str | None
    root: str | Path | None
    split: str | Path | None
    skip_bad: bool


class _Subject(NamedTuple):
    """What is evaluated, and on what."""

    model: PoseModel
    choice: _DataChoice
    backbone: bool | str | None
    """The source of its backbone's pretrained weights, for image retrieval."""
    selection: str = ""


def _subject(
    model: str | Path | PoseModel | Result, choice: _DataChoice, device: str | torch.device, watch: Observer
) -> _Subject:
    """The loaded model, and the data chosen or else those that it was trained on."""
    if isinstance(model, PoseModel):
        return _Subject(model, choice, model.config.pretrained_backbone)
    given, backbone = model.path if isinstance(model, Result) else model, None
    found = find(full_name(given), watch.note)
    path = user_path(str(given).removeprefix("local-dir:"))
    if choice.data is None and (path / CONFIG).is_file():
        config = read_config(path)
        own, backbone = config["train"]["data"], config["model"]["config"]["pretrained_backbone"]
        root, split = choice.root or own.get("root"), choice.split or own.get("split")
        choice = _DataChoice(own["name"], root, split, choice.skip_bad or own.get("skip_bad", False))
    facts = found.config.get("training", {})
    choice = choice._replace(data=choice.data or _if_catalogued(facts.get("data")))
    return _Subject(load_found(found, device), choice, backbone, facts.get("selection", ""))


def _if_catalogued(data: str | None) -> str | None:
    """The data set that a model folder names, if the catalogue has it: a path to own data means nothing elsewhere."""
    return None if data is None or names.parse_data(data).reader else data


def _retrieval_features(model: PoseModel, given: bool | str | None, note: Note) -> Callable[[Tensor], Tensor] | None:
    source = model.config.pretrained_backbone
    if isinstance(source, str) and not (isinstance(given, str) and user_path(given).is_file()):
        note(f"no image retrieval: the backbone's weights were {source}, a file of its trainer")
        return None
    try:
        return retrieval_features(model, given)
    except HubError as error:
        note(f"no image retrieval: {error.message}")
        return None
