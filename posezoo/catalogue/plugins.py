"""Find, load and guard plugins: one broken plugin is named and switched off, everything else works.

`pluggy.PluginManager.load_setuptools_entrypoints` is not used: the first broken plugin ends everything, and it silently
skips a second entry point of the same name. Discovery imports only the plugins' top modules (no torch).

Environment: `POSEZOO_PLUGINS` limits what is loaded (empty: nothing; `a,b`: only these entry points or distributions);
`POSEZOO_PLUGIN_PATH` names folders with a pyproject.toml that are used as if they were installed;
`POSEZOO_STRICT_PLUGINS=1` re-raises instead of switching off.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import sys
import threading
import time
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import pluggy

from posezoo.base import hooks, paths
from posezoo.base.errors import PluginError, unknown_name
from posezoo.base.spec import API, CatalogueSpec, ModelSpec, ModifierSpec, ReaderSpec
from posezoo.catalogue import files, names
from posezoo.catalogue.guard import OURS, Offer, Plugin, deadline, short, silent, strict

IMPORT_S = 30.0  # a plugin that takes longer hangs: its module imports next to nothing, specs name classes by strings
KINDS: dict[str, type] = {
    "posezoo_models": ModelSpec,
    "posezoo_modifiers": ModifierSpec,
    "posezoo_readers": ReaderSpec,
    "posezoo_catalogues": CatalogueSpec,
}
OBJECTS = ("build", "config", "apply", "read")  # fields of specs that name an object
_LOADING = threading.RLock()


@dataclass(frozen=True)
class Loaded:
    """The result of one discovery.

    `specs` by hook and name, their `owners`, every plugin found, and the names that two third-party plugins offer:
    such a name belongs to neither, in whatever order they are found.
    """

    specs: Mapping[str, Mapping[str, Any]]
    owners: Mapping[tuple[str, str], Plugin]
    plugins: tuple[Plugin, ...]
    clashes: Mapping[tuple[str, str], tuple[Plugin, ...]]


def models() -> Mapping[str, ModelSpec]:
    """All architectures by name."""
    return manager().specs["posezoo_models"]


def modifiers() -> Mapping[str, ModifierSpec]:
    """All modifiers by name."""
    return manager().specs["posezoo_modifiers"]


def readers() -> Mapping[str, ReaderSpec]:
    """All data formats by name."""
    return manager().specs["posezoo_readers"]


def catalogues() -> Mapping[str, CatalogueSpec]:
    """All registry folders that plugins bring, by name."""
    return manager().specs["posezoo_catalogues"]


def catalogue_folders() -> list[Path]:
    """The catalogue folders: posezoo's own first, then those of plugins."""
    return [files.own_folder(), *(Path(spec.folder) for spec in catalogues().values())]


def plugins() -> tuple[Plugin, ...]:
    """Every plugin found, those that are switched off included."""
    return manager().plugins


def get(hook: str, kind: str, name: str) -> Offer:
    """The offer called `name`.

    Raises PluginError if the plugin that brings it is off or two bring it, else UsageError: with the install line if
    the catalogue knows which plugin brings it, or with near names.
    """
    found = manager()
    if name in found.specs[hook]:
        return Offer(found.specs[hook][name], found.owners[hook, name])
    if (hook, name) in found.clashes:
        owners = found.clashes[hook, name]
        both, chosen = " and ".join(map(str, owners)), f"POSEZOO_PLUGINS={OURS},{owners[0].distribution}"
        hint = f"pip uninstall one of them, or choose one: {chosen}"
        raise PluginError(f'{kind} "{name}" is offered by {both}', hint)
    for plugin in found.plugins:
        if plugin.error and ((hook, name) in plugin.brings or name.replace("_", "-") in _likely_names(plugin)):
            raise PluginError(f"plugin {plugin} is off: {short(plugin.error)}", "posezoo plugins shows every plugin")
    files.raise_if_external(hook, kind, name, catalogue_folders())
    hint = f"known: {', '.join(sorted(found.specs[hook])) or 'none'}"
    raise unknown_name(kind, name, found.specs[hook], hint=hint)


def manager() -> Loaded:
    """Every plugin, loaded once per process. Tests call `manager.cache_clear()`."""
    with _LOADING:  # the other threads wait: what is silent while plugins load is the process's only output
        return _discovered()


@cache
def _discovered() -> Loaded:
    """The result of `manager`, by one thread."""
    pm = pluggy.PluginManager(hooks.GROUP)
    pm.add_hookspecs(hooks)
    specs: dict[str, dict[str, Any]] = {hook: {} for hook in KINDS}
    owners: dict[tuple[str, str], Plugin] = {}
    clashes: dict[tuple[str, str], tuple[Plugin, ...]] = {}
    found = []
    for entry, plugin in _entry_points():
        offered: dict[tuple[str, str], Any] = {}
        begun = time.monotonic()
        try:
            if plugin.error:
                raise PluginError(plugin.error)
            with deadline(IMPORT_S) if plugin.distribution != OURS else contextlib.nullcontext():
                _load(pm, entry, f"{plugin.distribution}:{plugin.name}", offered)
            for key in offered.keys() & owners.keys():
                if owners[key].distribution == OURS:
                    raise PluginError(f'"{key[1]}" is already offered by {owners[key]}')
            _check_catalogues(offered, specs["posezoo_catalogues"])
        except BaseException as error:  # a plugin may fail in any way; KeyboardInterrupt stays the user's
            if strict() or isinstance(error, KeyboardInterrupt):
                raise
            exits = f"it exits with {error.code}" if isinstance(error, SystemExit) else ""
            message = exits or str(error) or type(error).__name__
            found.append(dataclasses.replace(plugin, error=message, brings=tuple(offered)))
            continue
        plugin = dataclasses.replace(plugin, brings=tuple(offered), seconds=time.monotonic() - begun)
        found.append(plugin)
        for key, spec in offered.items():
            if key in clashes or key in owners:
                clashes[key] = (*clashes.get(key, ()), *([owners.pop(key)] if key in owners else []), plugin)
                specs[key[0]].pop(key[1], None)
            else:
                specs[key[0]][key[1]], owners[key] = spec, plugin
    return Loaded(specs, owners, tuple(found), clashes)


manager.cache_clear = _discovered.cache_clear  # type: ignore[attr-defined]


def _entry_points() -> list[tuple[EntryPoint, Plugin]]:
    """(entry point, its plugin): posezoo's own first, then by name. Nothing is imported."""
    entries = []
    for entry in entry_points(group=hooks.GROUP):
        name, version = (entry.dist.name, entry.dist.version) if entry.dist else ("?", "?")
        entries.append((entry, Plugin(entry.name, entry.value, name, version)))
    tried = _on_plugin_path()
    replaced = {plugin.distribution for _, plugin in tried}  # a folder takes precedence over its installed version
    entries = [pair for pair in entries if pair[1].distribution not in replaced] + tried
    entries.sort(key=lambda pair: (pair[1].distribution != OURS, pair[1].name, pair[1].distribution))
    allowed = os.environ.get("POSEZOO_PLUGINS")
    if allowed is None:
        return entries
    chosen = {_normalised(name.strip()) for name in allowed.split(",")}
    names_of = [{_normalised(plugin.name), _normalised(plugin.distribution)} for _, plugin in entries]
    absent = sorted(chosen - {""} - set().union(*names_of))
    reason = "POSEZOO_PLUGINS: no entry point and no distribution has this name"
    unknown = [(EntryPoint(name, "", hooks.GROUP), Plugin(name, "", "?", "?", reason)) for name in absent]
    return [pair for pair, own in zip(entries, names_of, strict=True) if own & chosen] + unknown


def _on_plugin_path() -> list[tuple[EntryPoint, Plugin]]:
    """The entry points of the folders in POSEZOO_PLUGIN_PATH, which become importable."""
    found = []
    for text in filter(None, os.environ.get("POSEZOO_PLUGIN_PATH", "").split(os.pathsep)):
        folder = paths.user_path(text).absolute()
        try:
            project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
            entries = project["entry-points"][hooks.GROUP]
            distribution, version = str(project["name"]), str(project.get("version", "0"))
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = f"POSEZOO_PLUGIN_PATH: {folder}: no pyproject.toml with [project.entry-points.posezoo] ({error!a})"
            found.append((EntryPoint(folder.name, "", hooks.GROUP), Plugin(folder.name, "", text, "?", reason)))
            continue
        for place in (folder, folder / "src"):
            if place.is_dir() and str(place) not in sys.path:
                sys.path.insert(0, str(place))
        for name, module in entries.items():
            found.append((EntryPoint(name, module, hooks.GROUP), Plugin(name, module, distribution, version)))
    return found


def _load(pm: pluggy.PluginManager, entry: EntryPoint, label: str, offered: dict[tuple[str, str], Any]) -> None:
    """Put the (hook, name) -> spec of one plugin into `offered`, checked. On failure nothing stays registered."""
    with silent():
        module = entry.load()
        unknown = [n for n in dir(module) if n.startswith("posezoo_") and hasattr(getattr(module, n), "posezoo_impl")]
        unknown = [n for n in unknown if n not in KINDS]
        if unknown:
            raise PluginError(f"unknown hook {unknown[0]} (known: {', '.join(KINDS)})")
        pm.register(module, name=label)
        try:
            for hook in KINDS:
                for spec in _call(module, hook):
                    _check_name(hook, spec)
                    if (hook, spec.name) in offered:
                        raise PluginError(f'{hook} offers "{spec.name}" twice')
                    offered[hook, spec.name] = spec
                    _check_fields(spec, KINDS[hook])
        except BaseException:
            pm.unregister(module)
            raise


def _call(module: Any, hook: str) -> tuple[Any, ...]:
    implementation = getattr(module, hook, None)
    if implementation is None or not hasattr(implementation, "posezoo_impl"):
        return ()
    return tuple(implementation())


def _check_catalogues(offered: Mapping[tuple[str, str], Any], known: Mapping[str, CatalogueSpec]) -> None:
    """Raise PluginError for a catalogue with an invalid file, or with an entry that another one has too."""
    for (hook, _), spec in offered.items():
        if hook == "posezoo_catalogues":
            files.check_catalogue(spec.folder, [files.own_folder(), *(other.folder for other in known.values())])


def _check_name(hook: str, spec: Any) -> None:
    """Raise PluginError for a spec of another type, or with a name that cannot be typed."""
    kind: Any = KINDS[hook]
    if not isinstance(spec, kind):
        raise PluginError(f"{hook} returned {type(spec).__name__}, expected {kind.__name__}")
    if not isinstance(spec.name, str) or not names.is_name(spec.name):
        raise PluginError(f"{hook}: not a name: {ascii(spec.name)[:60]} (lower case, digits, - and _)")


def _check_fields(spec: Any, kind: type) -> None:
    """Raise PluginError for a spec of a newer api, or with fields of other types, the items of tables included."""
    for name, hint in get_type_hints(kind).items():
        value: Any = getattr(spec, name)
        wanted = [(name, value, hint)]
        if not isinstance(value, get_origin(hint) or hint):
            pass  # which the first of them says
        elif isinstance(value, Mapping):
            wanted += [(f"{name}[{str(key)[:40]!a}]", item, get_args(hint)[-1]) for key, item in value.items()]
            wanted += [(f"a key of {name}", key, str) for key in value]
        elif isinstance(value, tuple):
            wanted += [(f"{name}[{n}]", item, get_args(hint)[0]) for n, item in enumerate(value)]
        for what, part, whose in wanted:
            if not isinstance(part, one := get_origin(whose) or whose):
                raise PluginError(f"{spec.name}: {what} is {type(part).__name__}, expected {one.__name__}")
        if name in OBJECTS and not all(str(value).partition(":")):
            raise PluginError(f'{spec.name}: {name}={str(value)[:60]!a} is not "package.module:Name"')
    if spec.api > API:
        raise PluginError(f"{spec.name} needs plugin api {spec.api}, this posezoo has {API}: upgrade posezoo")


def _likely_names(plugin: Plugin) -> set[str]:
    """What a plugin that could not be loaded may bring, judging by its names."""
    module = plugin.module.partition(":")[0].removeprefix("posezoo_")
    return {name.replace("_", "-") for name in (plugin.name, module, plugin.distribution.removeprefix("posezoo-"))}


def _normalised(name: str) -> str:
    """The name as pip compares distributions."""
    return re.sub(r"[-_.]+", "-", name).lower()
