"""Find, load and guard plugins: one broken plugin is named and switched off, everything else works.

`pluggy.PluginManager.load_setuptools_entrypoints` is not used: its first broken plugin ends everything, and it skips a
second entry point of the same name without a word. Discovery imports only the plugins' top modules (no torch).

Environment: `POSEZOO_PLUGINS` limits what is loaded (empty: nothing; `a,b`: only these entry points);
`POSEZOO_STRICT_PLUGINS=1` re-raises instead of switching off.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import pluggy

from posezoo import hooks
from posezoo.errors import PluginError, unknown_name
from posezoo.spec import API, CatalogueSpec, ModelSpec, ModifierSpec, ReaderSpec

KINDS: dict[str, type] = {
    "posezoo_models": ModelSpec,
    "posezoo_modifiers": ModifierSpec,
    "posezoo_readers": ReaderSpec,
    "posezoo_catalogues": CatalogueSpec,
}


@dataclass(frozen=True)
class Plugin:
    """A plugin that was found: its entry point, the distribution that brings it, why it is off (empty: it is on)."""

    name: str
    module: str
    distribution: str
    version: str
    error: str = ""

    def __str__(self) -> str:
        return f"{self.name} ({self.distribution} {self.version})"


@dataclass(frozen=True)
class Loaded:
    """The result of one discovery: specs by hook and name, their plugins, and every plugin found."""

    specs: Mapping[str, Mapping[str, Any]]
    owners: Mapping[tuple[str, str], Plugin]
    plugins: tuple[Plugin, ...]


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


def plugins() -> tuple[Plugin, ...]:
    """Every plugin found, those that are switched off included."""
    return manager().plugins


def get(hook: str, kind: str, name: str) -> Any:
    """The spec called `name`. Raises UsageError with near names, or PluginError if the plugin that brings it is off."""
    specs = manager().specs[hook]
    if name in specs:
        return specs[name]
    for plugin in plugins():
        if plugin.error and name in (plugin.name, plugin.module.removeprefix("posezoo_").replace("_", "-")):
            raise PluginError(f"plugin {plugin} is off: {plugin.error}", "posezoo doctor shows every plugin")
    raise unknown_name(kind, name, specs, hint=f"known: {', '.join(sorted(specs)) or 'none'}")


@cache
def manager() -> Loaded:
    """Load every plugin once per process. Tests call `manager.cache_clear()`."""
    pm = pluggy.PluginManager(hooks.GROUP)
    pm.add_hookspecs(hooks)
    specs: dict[str, dict[str, Any]] = {hook: {} for hook in KINDS}
    owners: dict[tuple[str, str], Plugin] = {}
    found = []
    for entry in _entry_points():
        distribution = entry.dist.name if entry.dist else "?"
        plugin = Plugin(entry.name, entry.value, distribution, entry.dist.version if entry.dist else "?")
        try:
            offered = _load(pm, entry)
            for hook, spec in offered:
                if (hook, spec.name) in owners:
                    raise PluginError(f'"{spec.name}" is already offered by {owners[hook, spec.name]}')
        except (Exception, SystemExit) as error:  # a plugin may fail in any way; KeyboardInterrupt stays the user's
            if os.environ.get("POSEZOO_STRICT_PLUGINS") == "1":
                raise
            message = str(error) or type(error).__name__
            plugin = Plugin(plugin.name, plugin.module, plugin.distribution, plugin.version, message)
        else:
            for hook, spec in offered:
                specs[hook][spec.name] = spec
                owners[hook, spec.name] = plugin
        found.append(plugin)
    return Loaded(specs, owners, tuple(found))


def _entry_points() -> list[EntryPoint]:
    entries = sorted(entry_points(group=hooks.GROUP), key=lambda e: (not _is_ours(e), e.name))
    allowed = os.environ.get("POSEZOO_PLUGINS")
    if allowed is None:
        return entries
    names = {name.strip() for name in allowed.split(",")}
    return [entry for entry in entries if entry.name in names]


def _is_ours(entry: EntryPoint) -> bool:
    return entry.dist is not None and entry.dist.name == "posezoo"  # first, so that a built-in is never shadowed


def _load(pm: pluggy.PluginManager, entry: EntryPoint) -> list[tuple[str, Any]]:
    """The (hook, spec) pairs of one plugin, checked for type and api version. On failure nothing stays registered."""
    with contextlib.redirect_stdout(io.StringIO()):  # a plugin that prints must not spoil `--format json`
        module = entry.load()
        unknown = [n for n in dir(module) if n.startswith("posezoo_") and hasattr(getattr(module, n), "posezoo_impl")]
        unknown = [n for n in unknown if n not in KINDS]
        if unknown:
            raise PluginError(f"unknown hook {unknown[0]} (known: {', '.join(KINDS)})")
        pm.register(module, name=f"{entry.dist.name if entry.dist else ''}:{entry.name}")
        try:
            return [(hook, _checked(hook, spec)) for hook in KINDS for spec in _call(module, hook)]
        except BaseException:
            pm.unregister(module)
            raise


def _call(module: Any, hook: str) -> tuple[Any, ...]:
    implementation = getattr(module, hook, None)
    if implementation is None or not hasattr(implementation, "posezoo_impl"):
        return ()
    return tuple(implementation())


def _checked(hook: str, spec: Any) -> Any:
    kind: Any = KINDS[hook]
    if not isinstance(spec, kind):
        raise PluginError(f"{hook} returned {type(spec).__name__}, expected {kind.__name__}")
    if spec.api > API:
        raise PluginError(f"{spec.name} needs plugin api {spec.api}, this posezoo has {API}: upgrade posezoo")
    return spec
