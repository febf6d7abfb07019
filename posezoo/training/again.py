"""Evaluate a run, a saved model or an alias again, with the run's own data where none are named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from posezoo.base.errors import HubError, UsageError
from posezoo.base.files.hub import Note, silent
from posezoo.base.observe import Observer
from posezoo.base.paths import user_path
from posezoo.catalogue import names
from posezoo.data.open import open_dataset
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
    """The report of a model, a run folder, `local-dir:PATH`, `hf-hub:OWNER/REPO` or an alias, baselines beside it.

    `data` None: what the run was trained on. Without the backbone's pretrained weights at hand the retrieval baseline
    is left out, and noted. `split`: `blocks`, `sequences` or a split file (image, split).
    `subset`: which of its splits. `skip_bad`: leave out what is wrong with the data (a run's own setting holds too).
    """
    given = model.path if isinstance(model, Result) else model
    selection = ""
    backbone = given.config.pretrained_backbone if isinstance(given, PoseModel) else None
    if not isinstance(given, PoseModel):
        found = find(full_name(given), observer.note if observer else silent)
        path = user_path(str(given).removeprefix("local-dir:"))
        if data is None and (path / CONFIG).is_file():
            run_config = read_config(path)
            trained_on, backbone = run_config["train"]["data"], run_config["model"]["config"]["pretrained_backbone"]
            data, root, split = trained_on["name"], root or trained_on.get("root"), split or trained_on.get("split")
            skip_bad = skip_bad or trained_on.get("skip_bad", False)
        facts = found.config.get("training", {})
        data, selection = data or _catalogued(facts.get("data")), facts.get("selection", "")
        given = load_found(found, device)
    if data is None:
        raise UsageError("which data set?", "give --data NAME, see posezoo data list")
    watch = observer.progress if observer else lambda what, done, total: None
    dataset = open_dataset(
        data,
        root=root,
        split=split,
        skip_bad=skip_bad,
        progress=lambda done, total: watch("reading images", done, total),
    )
    if observer:
        for remark in dataset.remarks:
            observer.note(remark)
    return run(
        given,
        dataset,
        split=subset,
        embed=_retrieval_features(given, backbone, observer.note if observer else silent),
        selection=selection,
        progress=lambda done, total: watch("evaluating", done, total),
    )


def _catalogued(data: str | None) -> str | None:
    """The data set that a model folder names, if it has a name everywhere: own data are somewhere else elsewhere."""
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
