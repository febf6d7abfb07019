"""The keys of a run as rows, for `posezoo settings`, `train --print-config` and `info`: value, default, type, meaning.

A key is described at its field (posezoo.catalogue.keys); here only values are added.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posezoo.catalogue import keys
from posezoo.catalogue.resolve import KnownData, KnownModel

if TYPE_CHECKING:
    from posezoo.zoo.blueprint import Blueprint

ARGUMENTS = ("model", "data.name")  # arguments of the command, not settings


def of_run(
    model: KnownModel, data: KnownData, overrides: Mapping[str, Any], root: str | Path | None
) -> list[dict[str, Any]]:
    """Every key of the run that `posezoo train` would start: its own, the architecture's, the modifiers'.

    Nothing is opened or trained. Raises UsageError as training does.
    """
    from posezoo.training.config import configure
    from posezoo.zoo.blueprint import PLACE_FIELDS

    config, plan = configure(model, data, overrides, root)
    rows = of_training(config.model_dump(mode="json"))
    return rows + [row for row in _of_plan(plan) if row["key"] not in PLACE_FIELDS]


def of_model(model: KnownModel | None) -> list[dict[str, Any]]:
    """Every key that training this model takes, with the values of its published settings; None: every installed key.

    A recipe, chosen by the data, may set others: `of_run`.
    """
    from posezoo.catalogue import plugins, settings
    from posezoo.nn.model import ModelConfig
    from posezoo.training.config import TrainConfig
    from posezoo.zoo.blueprint import PLACE_FIELDS, with_settings

    if model is None:
        rows = _rows(TrainConfig, "", {}, "run") + _rows(ModelConfig, "", {}, "every model")
        shared = {row["key"] for row in rows}
        for name in sorted(plugins.models()):
            own = plugins.get("posezoo_models", "model", name).load("config", ModelConfig)
            rows += [row for row in _rows(own, "", {}, name) if row["key"] not in shared]
        for name in sorted(plugins.modifiers()):
            rows += _rows(plugins.get("posezoo_modifiers", "modifier", name).load("config"), f"{name}.", {}, f"+{name}")
        rows = [{key: value for key, value in row.items() if key != "value"} for row in rows]
    else:
        rows = of_training(settings.merged(*(card.train for card in model.variant))) + _of_plan(with_settings(model))
    return [row for row in rows if row["key"] not in (*PLACE_FIELDS, *ARGUMENTS)]


def of_study(name: str) -> list[dict[str, Any]]:
    """Every `study.KEY` of a study. Raises UsageError for an unknown name."""
    from posezoo.studies.declared import declared

    options = import_module(declared(name).run.partition(":")[0]).Options
    rows = _rows(options, "study.", {}, name)
    return [{key: value for key, value in row.items() if key != "value"} for row in rows]


def _of_plan(plan: Blueprint) -> list[dict[str, Any]]:
    """The keys of the architecture and of its modifiers."""
    rows = []
    for prefix, chosen in (("", plan.config), *((f"{name}.", own) for name, own in plan.modifiers)):
        rows += _rows(type(chosen), prefix, dataclasses.asdict(chosen), prefix.rstrip(".") or plan.name.arch)
    return rows


def of_training(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The run's own keys with these values (nested), else their defaults."""
    from posezoo.training.config import TrainConfig

    return [row for row in _rows(TrainConfig, "", values, "run") if row["key"] not in ARGUMENTS]


def _rows(schema: type, prefix: str, values: Mapping[str, Any], group: str) -> list[dict[str, Any]]:
    found = []
    for key in keys.keys(schema):
        value: Any = values
        for part in key.name.split("."):
            value = value.get(part, key.default) if isinstance(value, Mapping) else value
        section = key.name.rpartition(".")[0] or group
        words = {"type": key.type, "what": key.what, "group": section}
        found.append({"key": prefix + key.name, "value": _plain(value), "default": _plain(key.default), **words})
    # keys of one section are kept together, the sections in order of first appearance
    order = list(dict.fromkeys(row["group"] for row in found))
    return sorted(found, key=lambda row: order.index(row["group"]))


def _plain(value: Any) -> Any:
    """The value as JSON has it; infinity as it is typed."""
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return "inf" if isinstance(value, float) and math.isinf(value) else value
