"""A model name with all its settings, checked: what `posezoo.zoo.build` builds and config.json holds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posezoo.base.errors import PluginError, UsageError, WeightsError
from posezoo.catalogue import entries, guard, names, plugins, settings
from posezoo.nn.model import ModelConfig

PLACE_FIELDS = ("scenes", "position_mean", "position_std", "label_frame", "decode")  # set by training, not by the user


@dataclass(frozen=True)
class Blueprint:
    """A model name with all its settings: what `build` needs, and what config.json holds."""

    name: names.ModelName
    config: ModelConfig
    modifiers: tuple[tuple[str, Any], ...] = ()

    def with_place(self, **fields: Any) -> Blueprint:
        """The same for another place: scenes, position_mean, position_std."""
        return dataclasses.replace(self, config=dataclasses.replace(self.config, **fields))

    def as_dict(self) -> dict[str, Any]:
        """Plain data for config.json and config.toml."""
        return {
            "name": str(self.name),
            "config": dataclasses.asdict(self.config),
            "modifiers": {name: dataclasses.asdict(config) for name, config in self.modifiers},
        }


def blueprint(name: str, *layers: Mapping[str, Any], recipe: Sequence[Mapping[str, Any]] = ()) -> Blueprint:
    """Parse a model name and settle its settings.

    Later ones win: the plugin's defaults, the published settings, the layers of the `recipe`, what the variant says
    (`NAME.TAG`: whoever names it wants it whatever the recipe), `layers`. A layer holds the architecture's fields and
    one table for each modifier: `{"crop": 160, "hyper": {"rank": 256}}`.
    Raises UsageError with near names.
    """
    parsed = names.parse_model(name)
    if parsed.scheme or name in entries.weights_cards():
        raise UsageError(f"{name} is a trained model, not an architecture", "posezoo list shows the architectures")
    if parsed.revision:
        raise UsageError(f"{name}: an architecture has no revision", f"say {parsed}")
    spec = plugins.get("posezoo_models", "model", parsed.arch)
    published, variant = (
        [{**card.model, **card.modifiers} for card in cards]
        for cards in entries.cards_of(parsed.arch, [modifier for modifier, _ in parsed.modifiers], parsed.tag)
    )
    values = settings.merged(spec.modifiers, *published, *recipe, *variant, *layers)
    chosen = []
    for modifier, value in parsed.modifiers:
        modifier_spec = plugins.get("posezoo_modifiers", "modifier", modifier)
        own = dict(values.pop(modifier, {}))
        if value is not None:
            if modifier_spec.values and value not in modifier_spec.values:
                raise UsageError(f"+{modifier}={value} is not known", f"one of {', '.join(modifier_spec.values)}")
            own[modifier_spec.value_field] = value
        chosen.append((modifier, settings.validated(modifier_class(modifier), own, f"{modifier}.")))
    for modifier in [key for key in plugins.modifiers() if key in values]:
        del values[modifier]  # settings of a modifier that this name does not have, e.g. from a recipe
    return Blueprint(parsed, settings.validated(config_class(parsed.arch), values), tuple(chosen))


def config_class(arch: str) -> type[ModelConfig]:
    """The class of an architecture's configuration. Raises UsageError for a name nobody knows."""
    plugins.get("posezoo_models", "model", arch)
    return _subclass("posezoo_models", arch, "config", ModelConfig)


def modifier_class(name: str) -> type[Any]:
    """The class of a modifier's configuration. Raises as `config_class`."""
    plugins.get("posezoo_modifiers", "modifier", name)
    return plugins.load("posezoo_modifiers", name, "config")


def owners(name: names.ModelName) -> list[guard.Plugin]:
    """The plugins that bring the architecture and the modifiers of a name that is known."""
    keys = [("posezoo_models", name.arch), *(("posezoo_modifiers", modifier) for modifier, _ in name.modifiers)]
    return [plugins.manager().owners[key] for key in keys]


def blueprint_from(config: Mapping[str, Any], source: Path) -> Blueprint:
    """The blueprint that `Blueprint.as_dict` described.

    Raises WeightsError for names and settings nobody knows here, PluginError if the plugin that brings them is off.
    """
    try:
        parsed = names.parse_model(config["name"])
        classes = config_class(parsed.arch), {name: modifier_class(name) for name in config["modifiers"]}
    except UsageError as error:  # not what the user typed is wrong, but what the folder needs
        raise WeightsError(f"{source}: it needs a plugin that is not here: {error.message}", error.hint) from None
    try:
        own = settings.validated(classes[0], config["config"])
        modifiers = tuple((n, settings.validated(classes[1][n], values)) for n, values in config["modifiers"].items())
    except UsageError as error:
        raise WeightsError(f"{source}: {error.message}", "another version of the plugin wrote it") from None
    return Blueprint(parsed, own, modifiers)


def _subclass(hook: str, name: str, field: str, parent: type) -> Any:
    """The class that a spec's string names. Raises PluginError if it is no subclass of `parent`."""
    found = plugins.load(hook, name, field)
    if not (isinstance(found, type) and issubclass(found, parent)):
        owner = plugins.manager().owners[hook, name]
        raise PluginError(
            f"plugin {owner}: {field} of {name} is no subclass of {parent.__name__}", "its guide: docs, Write a plugin"
        )
    return found
