"""What `import posezoo` offers beside the zoo: the same steps as the command line, in Python."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posezoo import names, plugins, registry, settings
from posezoo.download import Note, silent
from posezoo.errors import HubError, UsageError
from posezoo.names import user_path

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from posezoo.convert import Converted
    from posezoo.data.prepare import Prepared
    from posezoo.evaluation.report import Report
    from posezoo.exported import ExportedModel
    from posezoo.model import PoseModel
    from posezoo.training.observe import Observer
    from posezoo.training.train import Result


def list_models(pattern: str = "*") -> list[str]:
    """The names of all architectures, each with every modifier, and their variants, that match `pattern` (`atloc*`)."""
    found = []
    for model in sorted(plugins.models()):
        for name in (model, *(f"{model}+{modifier}" for modifier in sorted(plugins.modifiers()))):
            found += [name, *registry.variants(name)]
    return fnmatch.filter(found, pattern)


def list_datasets(pattern: str = "*") -> list[str]:
    """The names of the data sets of the catalogue that match `pattern`."""
    return fnmatch.filter(sorted(registry.data_cards()), pattern)


def prepare_dataset(
    name: str,
    *,
    root: str | Path | None = None,
    split: str | Path | None = None,
    skip_bad: bool = False,
    observer: Observer | None = None,
) -> Prepared:
    """Unpack the archives of a benchmark, check everything, build its image cache: `prepare_dataset("7scenes-chess")`.

    The archives stay as they are, and nothing that is there is replaced. It may be stopped at any moment and called
    again. Own data (`folder:PATH`) get their image cache. Raises DataError, ResourceError.
    """
    from posezoo.data.prepare import prepare
    from posezoo.training.observe import Observer

    watch = observer or Observer()
    return prepare(name, root=root, split=split, skip_bad=skip_bad, progress=watch.progress, tell=watch.note)


def list_weights(pattern: str = "*") -> list[str]:
    """The aliases of the catalogue's trained models that match `pattern`; `posezoo.load` takes the published ones."""
    return fnmatch.filter(sorted(registry.weights_cards()), pattern)


def pull(name: str) -> str:
    """Fetch a trained model into the hub's cache, checked; says what it is: a folder, or hf-hub:OWNER/REPO@COMMIT."""
    from posezoo import trained

    found = trained.find(trained.full_name(name))
    found.read()
    return found.origin


def push(model: str | Path, repository: str, *, private: bool = False) -> str:
    """Push a run folder or `local-dir:PATH` to OWNER/REPO of the hub; returns the commit. See posezoo.publish.push."""
    from posezoo.publish.push import push as push_model

    return push_model(model, repository, private=private)


def list_plugins() -> tuple[plugins.Plugin, ...]:
    """Every plugin found, those that are switched off included, each with the reason."""
    return plugins.plugins()


def load(
    name: str | Path, device: str | torch.device = "cpu", *, trust: bool = False, note: Note = silent
) -> PoseModel | ExportedModel:
    """A trained model in eval mode: an alias of `list_weights()`, `hf-hub:OWNER/REPO[@REV]` or `local-dir:PATH`.

    Or a `.onnx` or `.pt2` file that `export` wrote, on the CPU; `trust`: open a `.pt2` file, which can run code of
    whoever wrote it. `note` is told what a branch or tag was resolved to. Raises UsageError, WeightsError, HubError.
    """
    text = str(name)
    if text.endswith((".onnx", ".pt2")):
        from posezoo import exported

        if str(device) != "cpu":
            raise UsageError(f"{text!a} on {device}: posezoo runs exported files on the cpu", "device cpu")
        return exported.load(text, trust)
    from posezoo import zoo

    return zoo.load(name, device, note)


def train(
    model: str, data: str, *, root: str | Path | None = None, observer: Observer | None = None, **overrides: Any
) -> Result:
    """Train `model` on `data`: `train("atloc+hyper", data="demo-loop", epochs=5, **{"hyper.rank": 64})`.

    Returns the run folder (`.path`) and the report of its best model (`.report`). Raises the errors of posezoo.errors.
    """
    parsed, reader = names.parse_model(model), names.parse_data(data).reader
    if not parsed.scheme and model not in registry.weights_cards():  # a wrong name is told before torch is imported
        plugins.check_known(parsed)
    if reader:
        plugins.get("posezoo_readers", "data format", reader)
    from posezoo.console import TrainView
    from posezoo.training.config import configure
    from posezoo.training.train import train as run

    config, blueprint = configure(model, data, settings.nested(overrides), root)
    return run(config, blueprint, observer or TrainView())


def resume(run: str | Path, *, observer: Observer | None = None) -> Result:
    """Continue a run that was stopped or killed, from its newest complete checkpoint."""
    from posezoo.console import TrainView
    from posezoo.training.train import resume as continue_run

    return continue_run(run, observer or TrainView())


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
    from posezoo import trained, zoo
    from posezoo.data.skip import opened
    from posezoo.evaluation.evaluate import evaluate as run
    from posezoo.model import PoseModel
    from posezoo.training.run import CONFIG, read_config
    from posezoo.training.train import Result

    given = model.path if isinstance(model, Result) else model
    selection = ""
    backbone = given.config.pretrained_backbone if isinstance(given, PoseModel) else None
    if not isinstance(given, PoseModel):
        found = trained.find(trained.full_name(given), observer.note if observer else silent)
        path = user_path(str(given).removeprefix("local-dir:"))
        if data is None and (path / CONFIG).is_file():
            run_config = read_config(path)
            trained_on, backbone = run_config["train"]["data"], run_config["model"]["config"]["pretrained_backbone"]
            data, root, split = trained_on["name"], root or trained_on.get("root"), split or trained_on.get("split")
            skip_bad = skip_bad or trained_on.get("skip_bad", False)
        facts = found.config.get("training", {})
        data, selection = data or _catalogued(facts.get("data")), facts.get("selection", "")
        given = zoo.load_found(found, device)
    if data is None:
        raise UsageError("which data set?", "give --data NAME, see posezoo data list")
    watch = observer.progress if observer else lambda what, done, total: None
    dataset = opened(
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
    from posezoo.training.setup import pretrained_features

    source = model.config.pretrained_backbone
    if isinstance(source, str) and not (isinstance(given, str) and user_path(given).is_file()):
        note(f"no image retrieval: the backbone's weights were {source}, a file of its trainer")
        return None
    try:
        return pretrained_features(model, given)
    except HubError as error:
        note(f"no image retrieval: {error.message}")
        return None


def convert_weights(
    file: str | Path,
    source: str,
    data: str,
    out: str | Path,
    *,
    trust: bool = False,
    observer: Observer | None = None,
    **overrides: Any,
) -> Converted:
    """Make a model folder `out` of an authors' checkpoint: `convert_weights("x.pth", "hyperpose", "7scenes", "x")`.

    `source` is its format, `data` names the labels it was trained on, `overrides` are settings that the file cannot
    tell. `trust` reads a pickle of whole objects too. Then `posezoo.load("local-dir:x")`.
    """
    from posezoo.convert import convert

    given = settings.nested(overrides)
    if observer is None:
        return convert(file, source, data, out, trust=trust, overrides=given)
    return convert(file, source, data, out, trust=trust, overrides=given, progress=observer.progress)
