"""What `import posezoo` offers beside the zoo: the same steps as the command line, in Python."""

from __future__ import annotations

import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posezoo import plugins, registry, settings
from posezoo.download import silent
from posezoo.names import user_path

if TYPE_CHECKING:
    import torch

    from posezoo.evaluation.report import Report
    from posezoo.model import PoseModel
    from posezoo.training.observe import Observer
    from posezoo.training.train import Result


def list_models(pattern: str = "*") -> list[str]:
    """The names of all architectures, and of each with every modifier, that match `pattern` (`atloc*`)."""
    names = []
    for model in sorted(plugins.models()):
        names += [model, *(f"{model}+{modifier}" for modifier in sorted(plugins.modifiers()))]
    return fnmatch.filter(names, pattern)


def list_datasets(pattern: str = "*") -> list[str]:
    """The names of the data sets of the catalogue that match `pattern`."""
    return fnmatch.filter(sorted(registry.data_cards()), pattern)


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


def train(
    model: str, data: str, *, root: str | Path | None = None, observer: Observer | None = None, **overrides: Any
) -> Result:
    """Train `model` on `data`: `train("atloc+hyper", data="demo-loop", epochs=5, **{"hyper.rank": 64})`.

    Returns the run folder (`.path`) and the report of its best model (`.report`). Raises the errors of posezoo.errors.
    """
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
    device: str | torch.device = "cpu",
    observer: Observer | None = None,
) -> Report:
    """The report of a model, a run folder, `local-dir:PATH`, `hf-hub:OWNER/REPO` or an alias, baselines beside it.

    `data` None: what the run was trained on. `split`: a split file (image, split). `subset`: which of its splits.
    """
    from posezoo import trained, zoo
    from posezoo.data.frames import open_dataset
    from posezoo.evaluation.evaluate import evaluate as run
    from posezoo.model import PoseModel
    from posezoo.training.run import CONFIG, read_config
    from posezoo.training.setup import pretrained_features
    from posezoo.training.train import Result

    given = model.path if isinstance(model, Result) else model
    selection = ""
    if not isinstance(given, PoseModel):
        found = trained.find(trained.full_name(given), observer.note if observer else silent)
        path = user_path(str(given).removeprefix("local-dir:"))
        if data is None and (path / CONFIG).is_file():
            trained_on = read_config(path)["train"]["data"]
            data, root, split = trained_on["name"], root or trained_on.get("root"), split or trained_on.get("split")
        facts = found.config.get("training", {})
        data, selection = data or facts.get("data"), facts.get("selection", "")
        given = zoo.load_found(found, device)
    if data is None:
        from posezoo.errors import UsageError

        raise UsageError("which data set?", "give --data NAME, see posezoo data list")
    dataset = open_dataset(data, root=root, split=split)
    watch = observer.progress if observer else lambda what, done, total: None
    return run(
        given,
        dataset,
        split=subset,
        embed=pretrained_features(given),
        selection=selection,
        progress=lambda done, total: watch("evaluating", done, total),
    )
