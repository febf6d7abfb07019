"""Descriptions of models, data sets and this installation as plain rows, for tables and JSON.

`models`, `data_sets` import no torch; `one` and `doctor` do where they must.
"""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posezoo.base import paths
from posezoo.base.errors import UsageError, WeightsError, near, unknown_name
from posezoo.base.files import hub
from posezoo.catalogue import entries, forms, names, plugins
from posezoo.zoo.find import CONFIG, find, full_name, model_folder, parse_config

if TYPE_CHECKING:
    from posezoo.base.poses import Poses

NOT_PUBLISHED = "not published"


def models(pattern: str = "*", exclude: str = "", data: str = "", sort: str = "") -> list[dict[str, Any]]:
    """One row for each architecture, each combination with a modifier, and their variants: size, speed, what it is.

    `data`: with the best error on this data set that the catalogue knows. `sort`: by this column, what is unknown last.
    """
    rows, errors = [], entries.best_results(data) if data else {}
    sizes, known = entries.size_cards(), list(architectures())
    for name, summary, paper, owner in [*known, *_combinations(errors.keys() - {name for name, *_ in known})]:
        if not fnmatch.fnmatch(name, pattern) or (exclude and fnmatch.fnmatch(name, exclude)):
            continue
        size = sizes.get(name)
        row: dict[str, Any] = {
            "name": name,
            "params": round(size.parameters / 1e6, 1) if size else None,
            "MB": round(size.parameters * 4 / 1e6, 1) if size else None,
            "ms": size.ms if size else None,
        }
        if data:
            table, best = errors.get(name, (None, None))
            row |= {"m": best and best.position_m, "deg": best and best.orientation_deg, "by": table and table.source}
        rows.append(row | {"summary": summary, "paper": paper, "from": owner})
    return ordered(rows, sort)


def ordered(rows: list[dict[str, Any]], sort: str) -> list[dict[str, Any]]:
    """The rows by a column, ascending, those without a value last. Raises UsageError with near names."""
    if not sort or not rows:
        return rows
    if sort not in rows[0]:
        raise unknown_name("column", sort, rows[0], f"one of {', '.join(rows[0])}")
    known = [row for row in rows if row[sort] not in (None, "")]
    return sorted(known, key=lambda row: row[sort]) + [row for row in rows if row not in known]


def architectures() -> Iterator[tuple[str, str, str, str]]:
    """(name, summary, paper, owner) of every architecture, combination and variant."""
    cards, manager = entries.model_cards(), plugins.manager()

    def variants(name: str, owner: str) -> Iterator[tuple[str, str, str, str]]:
        return ((key, card.summary, card.paper, owner) for key, card in entries.variants(name).items())

    for name, spec in sorted(plugins.models().items()):
        owner = str(manager.owners["posezoo_models", name])
        yield name, spec.summary, spec.paper, owner
        yield from variants(name, owner)
        for modifier, modifier_spec in sorted(plugins.modifiers().items()):
            values = f" ({' | '.join(modifier_spec.values)})" if modifier_spec.values else ""
            combination = f"{name}+{modifier}"
            paper = cards[combination].paper if combination in cards else ""
            owner_too = str(manager.owners["posezoo_modifiers", modifier])
            yield combination, f"{modifier_spec.summary}{values}", paper, owner_too
            yield from variants(combination, owner_too)


def _combinations(others: Iterable[str]) -> Iterator[tuple[str, str, str, str]]:
    """As `architectures`, of the names among these that can be built here: further combinations that have results."""
    offered = plugins.modifiers()
    for name in sorted(others):
        parsed = names.parse_model(name)
        if parsed.arch in plugins.models() and all(modifier in offered for modifier, _ in parsed.modifiers):
            summaries = [offered[modifier].summary for modifier, _ in parsed.modifiers]
            yield name, "; ".join(summaries), "", str(plugins.manager().owners["posezoo_models", parsed.arch])


def near_names(pattern: str) -> list[str]:
    """Models and trained models that `pattern`, which matched nothing, may be a misspelling of."""
    known = [name for name, *_ in architectures()] + sorted(entries.weights_cards())
    return near(pattern.replace("*", "").replace("?", ""), known)


def weights(pattern: str = "*") -> list[dict[str, str]]:
    """One row for each trained model of the catalogue: where its weights are, or how to get them."""
    rows = []
    known = entries.published()
    for alias, card in sorted(entries.weights_cards().items()):
        how = f"posezoo.load({alias!r})" if alias in known else card.command
        if alias not in known and card.authors:
            how += f"; or posezoo weights convert --from {card.authors} FILE --data {card.data} --out FOLDER"
        rows.append(
            {
                "name": alias,
                "weights": _state(known.get(alias)),
                "how": how,
                "data": card.data,
                "model": card.model,
                "licence": card.licence,
            }
        )
    return [row for row in rows if fnmatch.fnmatch(row["name"], pattern)]


def weights_in_short(pattern: str = "*", exclude: str = "", pretrained: bool = False) -> list[dict[str, str]]:
    """As `weights`, with one row for a model and a family of data (7scenes, cambridge, ...) in one state.

    `pretrained`: only those whose weights are published.
    """
    groups: dict[tuple[str, ...], list[str]] = {}
    for row in weights(pattern):
        if (exclude and fnmatch.fnmatch(row["name"], exclude)) or (pretrained and row["weights"] == NOT_PUBLISHED):
            continue
        family, _, place = row["data"].partition("-")
        stem = row["name"].removesuffix(f"-{place}") if place else row["name"]
        groups.setdefault((stem, row["model"], row["weights"]), []).append(place if stem != row["name"] else "")
    return [
        {"name": stem + (f"-{{{', '.join(places)}}}" if any(places) else ""), "weights": state, "model": model}
        for (stem, model, state), places in groups.items()
    ]


def verified_weights(names_given: list[str]) -> list[dict[str, str]]:
    """One row for each trained model given (none: every published alias): whether the local copy is the pinned one.

    Uses no network. An alias that is not fetched is not an error. Raises WeightsError for a folder that is none.
    """
    known = entries.published()
    rows = []
    for name in names_given or sorted(known):
        if name.startswith("hf-hub:"):
            raise UsageError(f"{name} is checked when it is fetched", f"posezoo weights pull {name}")
        entry, full = known.get(name), full_name(name)
        if full.startswith("local-dir:"):
            model_folder(Path(full.removeprefix("local-dir:")))  # what is not there is not damaged
        try:
            if entry and not entry.in_package:
                state = _state_here(entry)
            else:
                found = find(full)
                found.read()
                found.read_estimate()
                state = f"good: {found.origin}"
        except WeightsError as error:
            state = f"bad: {error.message}"
        rows.append({"name": name, "state": state})
    return rows


def _state_here(entry: forms.Published) -> str:
    """What the hub's cache holds of an entry; uses no network."""
    files: list[tuple[str, int | None, str]] = [(CONFIG, None, entry.config_sha256)]
    files.append((entry.file, entry.size, entry.sha256))
    for file, size, sha256 in files:
        path = hub.cached(entry.full_repository, file, entry.revision)
        if path is None:
            return "not fetched"
        content, problem = hub.checked_content(path, size, sha256)
        if problem:
            return f"bad: {file}: {problem}"
        if file == CONFIG and (about := parse_config(content, str(path)).get("estimate")):
            files.append((about["file"], about["size"], about["sha256"]))
    return f"good: hf-hub:{entry.full_repository}@{entry.revision}"


def data_sets(pattern: str = "*") -> list[dict[str, Any]]:
    """One row for each data set of the catalogue."""
    rows = []
    for name, card in sorted(entries.data_cards().items()):
        counts = ", ".join(f"{count} {split}" for split, count in card.frames.items())
        rows.append(
            {"name": name, "here": _presence(card), "frames": counts, "summary": card.summary, "licence": card.licence}
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
                # the first columns are the last to be left out of a narrow terminal
                "plugin": plugin.name,
                "state": state,
                "brings": ", ".join(brings),
                "version": plugin.version,
                "distribution": plugin.distribution,
                "module": plugin.module,
            }
        )
    return rows


def plugin_remarks() -> list[str]:
    """One line for each plugin that is off or slow to import."""
    return [f"plugin {plugin} is {plugin.remark}" for plugin in plugins.plugins() if plugin.remark]


def poses(found: Poses) -> list[dict[str, str]]:
    """One row for each pose, rounded for reading; the scene only where there are several, radii where known."""
    paths = [Path(image) for image in found.images]
    short = len({path.name for path in paths}) == len(paths)
    rows = []
    for path, pose in zip(paths, found, strict=True):
        position, turn = " ".join(f"{v:.3f}" for v in pose.position), " ".join(f"{v:.4f}" for v in pose.quaternion)
        row = {"image": path.name if short else str(path), "x y z (m)": position, "qw qx qy qz": turn}
        row |= {"scene": pose.scene} if len(set(found.scenes)) > 1 else {}
        if pose.radius_m is not None:
            row |= {
                "radius m, deg": f"{pose.radius_m:.2f}, {pose.radius_deg:.1f}",
                "familiar": f"{pose.familiarity:.2f}",
            }
        rows.append(row)
    return rows


def _state(entry: forms.Published | None) -> str:
    """Where the weights of an entry are."""
    if entry is None:
        return NOT_PUBLISHED
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
