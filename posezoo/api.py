"""What `import posezoo` offers beside the zoo: the same steps as the command line, in Python."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posezoo.catalogue import entries, guard, plugins, resolve, settings

if TYPE_CHECKING:
    from posezoo.base.observe import Observer
    from posezoo.data.prepare import Prepared
    from posezoo.training.loop import Result
    from posezoo.zoo.convert import Converted


def list_models(pattern: str = "*", *, exclude: str = "", pretrained: bool = False) -> list[str]:
    """The names of all architectures, each with every modifier, and their variants, that match `pattern` (`atloc*`).

    `exclude`: not those that match this. `pretrained`: instead, the trained models that `posezoo.load` takes by name.
    """
    found: list[str] = []
    if pretrained:
        found = sorted(entries.published())
    for model in [] if pretrained else sorted(plugins.models()):
        for name in (model, *(f"{model}+{modifier}" for modifier in sorted(plugins.modifiers()))):
            found += [name, *entries.variants(name)]
    return [name for name in fnmatch.filter(found, pattern) if not (exclude and fnmatch.fnmatch(name, exclude))]


def list_datasets(pattern: str = "*") -> list[str]:
    """The names of the data sets of the catalogue that match `pattern`."""
    return fnmatch.filter(sorted(entries.data_cards()), pattern)


def prepare_dataset(
    name: str,
    *,
    root: str | Path | None = None,
    split: str | Path | None = None,
    skip_bad: bool = False,
    observer: Observer | None = None,
) -> Prepared:
    """Unpack a benchmark's archives, check everything, build its image cache: `prepare_dataset("7scenes-chess")`.

    The archives are not changed, and no existing file is replaced. It may be stopped at any moment and called
    again. Own data (`folder:PATH`) get their image cache. Raises DataError, ResourceError.
    """
    from posezoo.base.observe import Observer
    from posezoo.data.prepare import prepare

    watch = observer or Observer()
    return prepare(name, root=root, split=split, skip_bad=skip_bad, progress=watch.progress, note=watch.note)


def list_weights(pattern: str = "*") -> list[str]:
    """The aliases of the catalogue's trained models that match `pattern`; `posezoo.load` takes the published ones."""
    return fnmatch.filter(sorted(entries.weights_cards()), pattern)


def pull(name: str) -> str:
    """The origin of a trained model fetched into the hub's cache, checked: a folder, or hf-hub:OWNER/REPO@COMMIT."""
    from posezoo.zoo.find import find, full_name

    found = find(full_name(name))
    found.read()
    found.read_estimate()
    return found.origin


def push(model: str | Path, repository: str, *, private: bool = False) -> str:
    """Push a run folder or `local-dir:PATH` to OWNER/REPO of the hub; returns the commit. See posezoo.publish.push."""
    from posezoo.publish.push import push as push_model

    return push_model(model, repository, private=private)


def list_plugins() -> tuple[guard.Plugin, ...]:
    """Every plugin found, those that are switched off included, each with the reason."""
    return plugins.plugins()


def train(
    model: str, data: str, *, root: str | Path | None = None, observer: Observer | None = None, **overrides: Any
) -> Result:
    """Train `model` on `data`: `train("atloc+hyper", data="demo-loop", epochs=5, **{"hyper.rank": 64})`.

    Returns the run folder (`.path`) and the report of its best model (`.report`). Raises PosezooError.
    """
    known, place = resolve.model(model), resolve.data(data)  # a wrong name is an error before torch is imported
    from posezoo.cli.console import TrainView
    from posezoo.training.train import train as train_model

    return train_model(known, place, settings.nested(overrides), root=root, observer=observer or TrainView())


def study(
    name: str,
    *models: str,
    data: str | None = None,
    seeds: Sequence[int] = (),
    out: str | Path = "outputs/study",
    root: str | None = None,
    observer: Observer | None = None,
    **given: Any,
) -> dict[str, Any]:
    """What a study found, as in study.json: `study("occlusion", "posenet", "atloc+hyper", seeds=[0, 1, 2], epochs=5)`.

    `data` None: the study's own. `models` are architectures, which are trained, or trained models; none: those of the
    study's grid. `given`: settings of the trainings and, `**{"study.images": 60}`, of the study. Raises PosezooError.
    """
    from posezoo.cli.console import TrainView
    from posezoo.studies.study import run

    return run(name, models, data=data, seeds=seeds, out=out, root=root, given=given, observer=observer or TrainView())


def resume(run: str | Path | None = None, *, observer: Observer | None = None) -> Result:
    """Continue a run (None: the newest below outputs/) that was stopped or killed, from its newest checkpoint."""
    from posezoo.cli.console import TrainView
    from posezoo.training.train import resume as continue_run

    return continue_run(run, observer or TrainView())


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
    """Make a model folder `out` from an authors' checkpoint: `convert_weights("x.pth", "hyperpose", "7scenes", "x")`.

    `source` is its format, `data` names the labels it was trained on, `overrides` are settings that the file does not
    contain. `trust` reads a pickle of whole objects too. Then `posezoo.load("local-dir:x")`.
    """
    from posezoo.zoo.convert import convert

    given = settings.nested(overrides)
    if observer is None:
        return convert(file, source, data, out, trust=trust, overrides=given)
    return convert(file, source, data, out, trust=trust, overrides=given, progress=observer.progress)
