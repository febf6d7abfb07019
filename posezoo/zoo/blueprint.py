"""A model name with all its settings, checked: what `posezoo.zoo.build` builds and config.json holds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from posezoo.base.errors import UsageError, WeightsError
from posezoo.catalogue import names, plugins, resolve, settings
from posezoo.catalogue.resolve import KnownModel
from posezoo.nn.model import ModelConfig

PLACE_FIELDS = ("scenes", "position_mean", "position_std", "label_frame", "decode", "lenses", "focal", "turns_deg")
"""What training sets, not the user."""

BACKBONE_FIELDS = ("backbone", "pretrained_backbone", "drop_path", "batch_norm_momentum")  # of a model that has one


@dataclass(frozen=True)
class Blueprint:
    """A known model with all its settings: what `build` needs, and what config.json holds."""

    known: KnownModel
    config: ModelConfig
    modifiers: tuple[tuple[str, Any], ...] = ()
    asked: frozenset[str] = field(default=frozenset(), compare=False)
    """Which of BACKBONE_FIELDS the user gave: a model without a backbone refuses them."""

    @property
    def name(self) -> names.ModelName:
        """The model's name."""
        return self.known.name

    def with_place(self, **fields: Any) -> Blueprint:
        """The blueprint for another place: scenes, position_mean, position_std."""
        return dataclasses.replace(self, config=dataclasses.replace(self.config, **fields))

    def as_dict(self) -> dict[str, Any]:
        """Plain data for config.json and config.toml."""
        return {
            "name": str(self.name),
            "config": dataclasses.asdict(self.config),
            "modifiers": {name: dataclasses.asdict(config) for name, config in self.modifiers},
        }


def blueprint(name: str, *layers: Mapping[str, Any]) -> Blueprint:
    """The blueprint of a model by its name; see `with_settings`. Raises UsageError with near names."""
    return with_settings(resolve.model(name), *layers)


def with_settings(known: KnownModel, *layers: Mapping[str, Any], recipe: Sequence[Mapping[str, Any]] = ()) -> Blueprint:
    """The blueprint of the model with its settings.

    Later ones win: the plugin's defaults, the published settings, the layers of the `recipe`, the variant's (named by
    the user as `NAME.TAG`, it overrides the recipe), `layers`. A layer holds the architecture's fields and one table
    for each modifier: `{"crop": 160, "hyper": {"rank": 256}}`.
    Raises UsageError for unknown settings, and for those of a modifier that the name lacks (a recipe's are left out).
    """
    published, variant = (
        [{**card.model, **card.modifiers} for card in cards] for cards in (known.published, known.variant)
    )
    values = settings.merged(known.architecture.spec.modifiers, *published, *recipe, *variant, *layers)
    chosen = []
    for (modifier, value), offer in zip(known.name.modifiers, known.modifiers, strict=True):
        own = values.pop(modifier, {})
        if not isinstance(own, Mapping):
            hint = f"+{modifier}={own} in the model's name, or" if own in offer.spec.values else "write"
            raise UsageError(f"{modifier}={ascii(own)[:40]}: not a table", f"{hint} {modifier}.KEY=VALUE")
        own = dict(own)
        if value is not None:
            if offer.spec.values and value not in offer.spec.values:
                raise UsageError(f"unknown +{modifier}={value}", f"one of {', '.join(offer.spec.values)}")
            own[offer.spec.value_field] = value
        chosen.append((modifier, settings.validated(offer.load("config"), own, f"{modifier}.")))
    for modifier in [key for key in plugins.modifiers() if key in values]:
        if any(modifier in layer for layer in layers):
            raise UsageError(f"setting {modifier}.* needs the modifier", f"write +{modifier} after the model's name")
        del values[modifier]  # from a recipe, which gives them for every model
    architecture = known.architecture.load("config", ModelConfig)
    asked = frozenset(key for layer in layers for key in layer if key in BACKBONE_FIELDS)
    return Blueprint(known, settings.validated(architecture, values), tuple(chosen), asked)


def blueprint_from(config: Mapping[str, Any], source: Path) -> Blueprint:
    """The blueprint that `Blueprint.as_dict` described.

    Raises WeightsError for names and settings unknown here, PluginError if the plugin that brings them is off.
    """
    try:
        name = names.parse_model(config["name"])
        architecture, *modifiers = resolve.offers(name)
    except UsageError as error:  # the fault is not in what the user typed, but in what the folder needs
        raise WeightsError(f"{source}: it needs a plugin that is not installed: {error.message}", error.hint) from None
    offers = {offer.spec.name: offer for offer in modifiers}
    try:
        if set(config["modifiers"]) != set(offers):
            what = f"settings of {', '.join(config['modifiers']) or 'no modifier'}, which is not what {name} has"
            raise WeightsError(f"{source}: {what}", "train or fetch it again")
        own = settings.validated(architecture.load("config", ModelConfig), config["config"])
        infused = tuple(
            (key, settings.validated(offer.load("config"), config["modifiers"][key])) for key, offer in offers.items()
        )
    except UsageError as error:
        raise WeightsError(f"{source}: {error.message}", "another version of the plugin wrote it") from None
    return Blueprint(KnownModel(name, architecture, tuple(modifiers)), own, infused)
