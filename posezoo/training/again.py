"""Evaluate a run, a saved model or an alias again, on the run's own data unless others are named; compare several."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from posezoo.base.errors import DataError, HubError, PosezooError, UsageError
from posezoo.base.observe import Note, Observer
from posezoo.base.paths import user_path, without_folders
from posezoo.catalogue import names
from posezoo.data.open import Dataset, open_dataset
from posezoo.data.splits import ALL_TEST, BLOCKS, Method, stretch_of_test, validation_blocks
from posezoo.evaluation import named
from posezoo.evaluation.compare import Comparison
from posezoo.evaluation.compare import compare as compare_reports
from posezoo.evaluation.evaluate import as_known_scenes
from posezoo.evaluation.evaluate import evaluate as run
from posezoo.evaluation.report import Report
from posezoo.evaluation.retrieval import retrieval_features
from posezoo.nn.device import torch_device
from posezoo.nn.model import PoseModel
from posezoo.training.checkpoint import stored_config
from posezoo.training.config import DataSettings
from posezoo.training.loop import Result
from posezoo.training.reports import current_report
from posezoo.training.rows import as_trained
from posezoo.training.run import CONFIG, read_config
from posezoo.training.saving import require_same
from posezoo.zoo.find import find, full_name
from posezoo.zoo.saved import load_found


# Long: half are its arguments and what they mean
def evaluate(
    model: str | Path | PoseModel | Result,
    data: str | None = None,
    *,
    root: str | Path | None = None,
    split: str | Path | None = None,
    subset: str = "test",
    scene: str | None = None,
    skip_bad: bool = False,
    tta: bool = False,
    device: str | torch.device = "auto",
    observer: Observer | None = None,
) -> Report:
    """The report of a model, a run folder, `local-dir:PATH`, `hf-hub:OWNER/REPO` or an alias, with the baselines.

    Or of a baseline itself: `baseline:mean`, `baseline:retrieval?backbone=NAME&top=K`, `baseline:oracle`.

    `data` None: what the run was trained on, split as in training unless `split` (as of `open_dataset`) is given.
    Own data (`folder:NEW`) other than those are a new recording of the place: without a split of their own all frames
    are test, one scene is taken for the model's only one (or for `scene`), and the baselines are made of the run's
    training frames, if these are still there. Without the backbone's pretrained weights the retrieval baseline is left
    out, with a note. `subset`: which part of the split. `skip_bad`: leave out what is wrong with the data (a run's own
    setting holds too). `tta`: each pose is the median over the picture and turned copies (`posezoo.nn.tta`); the
    report says so.
    """
    watch = observer or Observer()
    if named.is_named(model):
        if tta:
            raise UsageError(f"{model} with tta: it has no network whose answers could be averaged", "without tta")
        if scene:
            raise UsageError(f"{model} with scene={scene}: a baseline knows the scenes of the data", "without scene")
        return _baseline(str(model), DataChoice(data, root, split, skip_bad), subset, device, watch)
    subject = _subject(model, DataChoice(data, root, split, skip_bad), device, watch)
    if subject.choice.data is None:
        raise UsageError("no data set given", "--data NAME, see posezoo data list")
    dataset, training = _opened(subject, watch)
    whole = dataset if data is None else training
    if subject.part is not None and subject.part[0].fraction < 1 and whole is not None:
        training = as_trained(whole, *subject.part)
    if subset == "val" and data is None and subject.held_out is not None:
        dataset = with_validation(dataset, subject.held_out)
    dataset = as_known_scenes(dataset, subject.model.config.scenes, scene)
    for remark in dataset.remarks:
        watch.note(remark)
    return run(
        subject.model,
        dataset,
        training=training,
        split=subset,
        embed=_retrieval_features(subject.model, subject.backbone, watch.note),
        selection=subject.facts.get("selection", ""),
        trained=subject.facts,
        progress=watch.progress,
        tta=tta,
    )


def compare(
    *models: str | Path | PoseModel | Result | Report,
    data: str | None = None,
    root: str | Path | None = None,
    split: str | Path | None = None,
    subset: str = "test",
    skip_bad: bool = False,
    device: str | torch.device = "auto",
    observer: Observer | None = None,
) -> Comparison:
    """Each model compared with the first on the same images: better, not distinguishable or worse, and where.

    Without these choices, a run or model folder's stored report is read and nothing is computed; what has none is
    evaluated on its own data. With `data` all are evaluated on it. Raises UsageError for fewer than two
    models, and where images or labels differ.
    """
    if len(models) < 2:
        raise UsageError("one model is nothing to compare", "posezoo compare RUN_A RUN_B")
    names, reports = [], []
    more: dict[str, Any] = {"root": root, "split": split, "subset": subset, "skip_bad": skip_bad}
    chosen = data or root or split or skip_bad or subset != "test"
    for model in models:
        found = None if chosen else _stored(model)
        if found is None:
            if isinstance(model, Report):
                raise UsageError("a report is of its own data", "compare(model, ..., data=NAME) with models")
            found = evaluate(model, data, **more, device=device, observer=observer)
        given = model.path if isinstance(model, Result) else model
        names.append(str(given) if isinstance(given, str | Path) else found.model)
        reports.append(found)
    return compare_reports(names, reports)


def _stored(model: str | Path | PoseModel | Result | Report) -> Report | None:
    """The report of a finished run or an evaluated folder, if it was stored and its weights are still those."""
    if isinstance(model, Report):
        return model
    if isinstance(model, Result):
        return model.report
    return None if isinstance(model, PoseModel) else current_report(model)


def opened(choice: DataChoice, watch: Observer, unsplit: Method = BLOCKS) -> Dataset:
    """The data chosen."""
    assert choice.data is not None
    return open_dataset(
        choice.data,
        root=choice.root,
        split=choice.split,
        skip_bad=choice.skip_bad,
        unsplit=unsplit,
        progress=lambda done, total: watch.progress("reading images", done, total),
    )


def _opened(subject: Subject, watch: Observer) -> tuple[Dataset, Dataset | None]:
    """The data to evaluate on and, if they are a new recording of the trained place, those that it was trained on."""
    if not subject.is_new_recording:
        return opened(subject.choice, watch), None
    if digest := subject.facts.get("data_digest"):  # a model folder names no path, but it knows what the frames were
        dataset = opened(subject.choice, watch)
        if dataset.digest == digest:
            return dataset, None
    dataset = opened(subject.choice, watch, ALL_TEST)
    trained = subject.trained
    if trained is not None:
        try:
            training = opened(trained, watch)
            note = f"baselines are made of the training frames of {names.parse_data(str(trained.data)).public}"
            return dataclasses.replace(dataset, notes=(*dataset.notes, note)), training
        except PosezooError as error:
            why = f"the data that it was trained on cannot be read: {without_folders(error.message)}"
    else:
        why = "it is not known what it was trained on"
    # nothing of the new recording may stand in for training frames
    frames = dataset.frames.select(dataset.frames.split != "train")
    return dataclasses.replace(dataset, frames=frames, notes=(*dataset.notes, f"no baselines: {why}")), None


class DataChoice(NamedTuple):
    """Which data to evaluate on, and how to read them."""

    data: str | None
    root: str | Path | None
    split: str | Path | None
    skip_bad: bool


class Subject(NamedTuple):
    """What is evaluated, and on what."""

    model: PoseModel
    choice: DataChoice
    backbone: bool | str | None
    """The source of its backbone's pretrained weights, for image retrieval."""
    facts: Mapping[str, Any] = {}
    """What its config.json says of the training."""
    trained: DataChoice | None = None
    """What it was trained on, as far as that is known."""
    found: bool = False
    """Whether it was found by name: a model built in memory has not been trained on anything that is known."""
    held_out: float | None = None
    """Of a run: the fraction of its training frames that it held apart, to choose the epoch or to calibrate."""
    part: tuple[DataSettings, int] | None = None
    """Of a run: which part of the training frames it trained on, and its seed."""

    @property
    def is_new_recording(self) -> bool:
        """Whether own data are evaluated that are not those it was trained on."""
        data, known = str(self.choice.data), str(self.trained.data) if self.trained else ""
        return self.found and bool(names.parse_data(data).reader) and not same_place(data, known)


def same_place(data: str, other: str) -> bool:
    """Whether two data names read one folder, or one data set of the catalogue."""
    return _place(data) == _place(other)


def found_subject(
    model: str | Path,
    data: str | None,
    root: str | Path | None,
    skip_bad: bool,
    device: str | torch.device,
    watch: Observer,
) -> Subject:
    """A trained model by its name, and the data chosen or else those that it was trained on."""
    return _subject(model, DataChoice(data, root, None, skip_bad), device, watch)


def _place(data: str) -> str:
    """Which folder, or data set of the catalogue, a data name reads."""
    if not data:
        return ""
    name = names.parse_data(data)
    return str(name.path.absolute()) if name.path else name.name


def _baseline(name: str, choice: DataChoice, subset: str, device: str | torch.device, watch: Observer) -> Report:
    """The report of a baseline, by its name."""
    named.parse(name)
    if choice.data is None:
        raise UsageError("no data set given", "--data NAME, see posezoo data list")
    dataset = open_dataset(
        choice.data,
        root=choice.root,
        split=choice.split,
        skip_bad=choice.skip_bad,
        progress=lambda done, total: watch.progress("reading images", done, total),
    )
    for remark in dataset.remarks:
        watch.note(remark)
    return named.evaluate(
        name,
        dataset,
        split=subset,
        device=torch_device(device),
        progress=watch.progress,
    )


def _subject(
    model: str | Path | PoseModel | Result, choice: DataChoice, device: str | torch.device, watch: Observer
) -> Subject:
    """The loaded model, and the data chosen or else those that it was trained on."""
    if isinstance(model, PoseModel):
        return Subject(model, choice, model.config.pretrained_backbone)
    given, backbone = model.path if isinstance(model, Result) else model, None
    found = find(full_name(given), watch.note)
    path = user_path(str(given).removeprefix("local-dir:"))
    trained = None
    if (path / CONFIG).is_file():
        config = read_config(path)
        require_same(path, stored_config(path), config)
        own, backbone = config["train"]["data"], config["model"]["config"]["pretrained_backbone"]
        trained = DataChoice(own["name"], own.get("root"), own.get("split"), own.get("skip_bad", False))
        if choice.data is None or same_place(choice.data, own["name"]):
            # split as in training: by another one images that it was trained on would be test images
            root, split = choice.root or trained.root, choice.split or trained.split
            choice = DataChoice(choice.data or trained.data, root, split, choice.skip_bad or trained.skip_bad)
    facts = {**found.config.get("training", {}), "weights_sha256": found.config["weights"]["sha256"]}
    catalogued = _if_catalogued(facts.get("data"))
    choice = choice._replace(data=choice.data or catalogued)
    if trained is None and catalogued:
        trained = DataChoice(catalogued, None, None, False)
    loaded = load_found(found, device)
    if not (path / CONFIG).is_file():
        return Subject(loaded, choice, backbone, facts, trained, True)
    run = config["train"]
    part = DataSettings.model_validate(run["data"])
    apart = {"validation": part.validation, "last": part.calibration}.get(run["selection"], 0.0)
    return Subject(loaded, choice, backbone, facts, trained, True, apart, (part, run["seed"]))


def with_validation(dataset: Dataset, fraction: float) -> Dataset:
    """The data set with the frames that a run held out of its training frames as `val`; its own if it has some.

    `fraction`: the run's `data.validation` or `data.calibration`; 0: it held out none. Raises DataError then.
    """
    frames = dataset.frames
    if (frames.split == "val").any():
        return dataset
    if not fraction:
        hint = "train with selection=validation or data.calibration=0.1, or --subset test"
        raise DataError("the run kept no frames for validation", hint)
    train, split = np.flatnonzero(frames.split == "train"), frames.split.copy()
    split[train[validation_blocks(frames.select(train), fraction, stretch_of_test(frames))]] = "val"
    return dataclasses.replace(dataset, frames=dataclasses.replace(frames, split=split))


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
