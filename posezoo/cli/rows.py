"""Descriptions of models, data sets and this installation as plain rows, for tables and JSON.

`models`, `data_sets` import no torch; `one` and `doctor` do where they must.
"""

from __future__ import annotations

import fnmatch
import os
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from posezoo.base import paths
from posezoo.base.errors import UsageError, WeightsError
from posezoo.base.files import hub
from posezoo.catalogue import entries, forms, plugins
from posezoo.zoo.find import CONFIG, find, full_name

if TYPE_CHECKING:
    from posezoo.base.poses import Poses


def models(pattern: str = "*") -> list[dict[str, str]]:
    """One row for each architecture, each combination with a modifier, and their variants."""
    rows = []
    cards = entries.model_cards()
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
    found = entries.variants(name).items()
    return [{"name": key, "summary": card.summary, "paper": card.paper, "from": owner} for key, card in found]


def weights(pattern: str = "*") -> list[dict[str, str]]:
    """One row for each trained model of the catalogue: where its weights are, or how to get them."""
    rows = []
    known = entries.published()
    for alias, card in sorted(entries.weights_cards().items()):
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
    """As `weights`, with one row for a model and a family of data (7scenes, cambridge, ...) in one state."""
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
    """One row for each trained model given (none: every published alias): whether the local copy is the pinned one.

    Uses no network. An alias that is not fetched is not an error.
    """
    known = entries.published()
    rows = []
    for name in names_given or sorted(known):
        if name.startswith("hf-hub:"):
            raise UsageError(f"{name} is checked when it is fetched", f"posezoo weights pull {name}")
        entry = known.get(name)
        try:
            if entry and not entry.in_package:
                state = _state_here(entry)
            else:
                found = find(full_name(name))
                found.read()
                state = f"good: {found.origin}"
        except WeightsError as error:
            state = f"bad: {error.message}"
        rows.append({"name": name, "state": state})
    return rows


def _state_here(entry: forms.Published) -> str:
    """What the hub's cache holds of an entry; uses no network."""
    for file, size, sha256 in ((CONFIG, None, entry.config_sha256), (entry.file, entry.size, entry.sha256)):
        path = hub.cached(entry.full_repository, file, entry.revision)
        if path is None:
            return "not fetched"
        _, problem = hub.checked_content(path, size, sha256)
        if problem:
            return f"bad: {file}: {problem}"
    return f"good: hf-hub:{entry.full_repository}@{entry.revision}"


def data_sets(pattern: str = "*") -> list[dict[str, Any]]:
    """One row for each data set of the catalogue."""
    rows = []
    for name, card in sorted(entries.data_cards().items()):
        counts = ", ".join(f"{count} {split}" for split, count in card.frames.items())
        rows.append(
            {"name": name, "summary": card.summary, "frames": counts, "here": _presence(card), "licence": card.licence}
        )
    return [row for row in rows if fnmatch.fnmatch(row["name"], pattern)]


def installed_plugins() -> list[dict[str, Any]]:
    """One row for each plugin found: its distribution, what it brings, why it is off or which name clashes."""
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


def poses(found: Poses) -> list[dict[str, str]]:
    """One row for each pose, rounded for reading."""
    rows = []
    for image, t_3, q_4, scene in zip(found.images, found.position, found.quaternion, found.scenes, strict=True):
        numbers = {k: f"{v:.3f}" for k, v in zip(("x (m)", "y (m)", "z (m)"), t_3, strict=True)}
        numbers |= {k: f"{v:.4f}" for k, v in zip(("qw", "qx", "qy", "qz"), q_4, strict=True)}
        rows.append({"image": image, **numbers, "scene": scene})
    return rows


def _state(entry: forms.Published | None) -> str:
    """Where the weights of an entry are."""
    if entry is None:
        return "not published"
    if entry.in_package:
        return "in the package"
    here = hub.cached(entry.full_repository, entry.file, entry.revision)
    return "in the cache" if here else "on the hub"


def _presence(card: forms.DataCard) -> str:
    if card.package:
        root = card.embedded_root() if find_spec(card.package) else None
        return "yes, embedded" if root is not None and root.is_dir() else "no"
    base = os.environ.get("POSEZOO_DATA")
    if base is None:
        return "POSEZOO_DATA is not set"
    what = ", ".join(card.needs) or card.folder
    return "yes" if card.is_complete_in(paths.user_path(base) / card.folder) else f"no ({what} is not in POSEZOO_DATA)"
