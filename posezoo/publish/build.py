"""Build a model of the catalogue: train by its recipe, evaluate what is stored, write the card, publish, pin.

Every step first checks whether it is done, so that a killed build continues where it was:

    outputs/build/ALIAS/run     the training run (resumed from its checkpoint)
    outputs/build/ALIAS/model   the model as it is published: config.json, model.safetensors, README.md
    outputs/build/ALIAS/report  its evaluation: of the stored tensors, which may have half the bytes
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posezoo.base.observe import Observer
from posezoo.catalogue import entries, resolve, settings
from posezoo.catalogue.forms import Published, WeightsCard, package_folder
from posezoo.publish.push import push
from posezoo.training.again import evaluate
from posezoo.training.config import configure
from posezoo.training.run import CONFIG
from posezoo.training.run import read_config as read_run
from posezoo.training.saving import require_made_so
from posezoo.training.train import resume, train
from posezoo.zoo import card, find
from posezoo.zoo.card import is_handwritten, provenance
from posezoo.zoo.find import CARD, REPORT, WEIGHTS, parse_config, read_config
from posezoo.zoo.saved import load, save, write_card

WORK = Path("outputs/build")


@dataclass(frozen=True)
class Built:
    """A model that is built: its folder, and its pinned entry (None: it is in `folder` only)."""

    alias: str
    folder: Path
    entry: Published | None
    report: Mapping[str, Any]


def build(
    alias: str,
    *,
    out: Path | None = None,
    root: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    catalogue: Path | None = None,
    observer: Observer | None = None,
) -> Built:
    """The model of `alias`, built as far as that is not done already.

    Without `out` the model is pushed to the hub and its entry written into the catalogue. With `out` it is written to
    OUT/ALIAS; if that is where the alias's package keeps its weights, the entry is written too. `overrides` change the
    recipe (`epochs`, ...), `root` is the data's. Raises the errors of training, UsageError if a run with other settings
    is in the way.
    """
    observer = observer or Observer()
    wanted = entries.weights_card(alias)
    work = WORK / alias
    run = _trained_run(wanted, work / "run", root, dict(overrides or {}), observer)
    folder = (out or WORK) / alias / ("" if out else "model")
    report = _stored(alias, wanted, run, folder, work / "report", root, observer)
    content = (folder / find.CONFIG).read_bytes()
    found = parse_config(content, str(folder / find.CONFIG))
    fields = {
        "file": WEIGHTS,
        "size": found["weights"]["size"],
        "sha256": found["weights"]["sha256"],
        "config_sha256": hashlib.sha256(content).hexdigest(),
        "licence": wanted.licence,
        "provenance": provenance(found),
    }
    entry = _entry(alias, wanted, folder, out is None, fields, catalogue, observer)
    return Built(alias, folder, entry, report)


def _trained_run(
    wanted: WeightsCard, run: Path, root: str | Path | None, overrides: dict[str, Any], observer: Observer
) -> Path:
    """The finished run: trained, resumed or found."""
    given = settings.merged(wanted.settings, settings.nested(overrides))
    given |= {"recipe": wanted.recipe} if wanted.recipe else {}
    model, data = resolve.model(wanted.model), resolve.data(wanted.data)
    if (run / CONFIG).is_file():
        config, plan = configure(model, data, settings.merged(given, {"out": str(run)}), root)
        require_made_so(run, config, plan, "move it away, or give the settings it was started with")
        if (run / "report" / REPORT).is_file():
            observer.note(f"{run} is trained already")
        else:
            resume(run, observer=observer)
    else:
        train(model, data, settings.merged(given, {"out": str(run)}), root=root, observer=observer)
    return run


def _stored(
    alias: str, wanted: WeightsCard, run: Path, folder: Path, reports: Path, root: str | Path | None, observer: Observer
) -> dict[str, Any]:
    """The report of the stored model; stores, evaluates and writes the card unless that is done."""
    best = read_config(run / "best")
    source = best["weights"]["sha256"]
    done = (folder / find.CONFIG).is_file() and (reports / REPORT).is_file()
    if done and read_config(folder).get("stored_from") == source:
        observer.note(f"{folder} is stored and evaluated already")
        return _read(reports / REPORT)
    (reports / REPORT).unlink(missing_ok=True)  # of other tensors than those stored now
    written = folder / CARD
    by_hand = written.read_text(encoding="utf-8") if is_handwritten(written) else ""
    model = load(f"local-dir:{run}")
    facts = {"training": best["training"], "stored_from": source}
    save(model, folder, by_hand or card.text(best, None), wanted.dtype, **facts)
    data = read_run(run)["train"]["data"]
    found = evaluate(
        f"local-dir:{folder}", data["name"], root=root or data.get("root"), split=data.get("split"), observer=observer
    )
    text = card.text(read_config(folder), found.to_dict(), load_as=alias, licence=wanted.licence)
    write_card(folder, by_hand or text)
    if by_hand:
        observer.note(f"{written} is hand-written and is kept")
    found.save(reports)  # last: it marks that all of this is done
    return _read(reports / REPORT)


def _read(path: Path) -> dict[str, Any]:
    """A report as it was written."""
    return dict(json.loads(path.read_text(encoding="utf-8")))


def _entry(
    alias: str,
    wanted: WeightsCard,
    folder: Path,
    to_hub: bool,
    fields: dict[str, Any],
    catalogue: Path | None,
    observer: Observer,
) -> Published | None:
    """The pinned entry, published and written unless it is already; None if only the folder was wanted."""
    old = entries.published(catalogue or entries.folders()[0]).get(alias)  # in the catalogue that is written to
    if (
        old
        and old.in_package != to_hub
        and (old.sha256, old.config_sha256) == (fields["sha256"], fields["config_sha256"])
    ):
        observer.note(f"{alias} is published already")
        return old
    if to_hub:
        fields |= {"repository": alias, "revision": push(folder, alias, note=observer.note)}
    elif wanted.ships and package_folder(wanted.ships).resolve() == folder.resolve():
        fields |= {"repository": wanted.ships, "revision": ""}
    else:
        return None
    entry = Published(**fields)
    observer.note(f"entry written: {entries.write_published(alias, entry, catalogue)}")
    return entry
