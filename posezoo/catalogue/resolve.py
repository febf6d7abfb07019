"""Names, resolved once on entry: everything the catalogue knows about a model or a data set, as one frozen value.

The value is passed down; nothing below parses the name or queries the plugins again. Imports no torch: a wrong name is
an error before anything heavy is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from posezoo.base.errors import UsageError
from posezoo.catalogue import entries, names, plugins
from posezoo.catalogue.forms import DataCard, ModelCard
from posezoo.catalogue.guard import Offer, Plugin


@dataclass(frozen=True)
class KnownModel:
    """An architecture with its modifiers: the plugins that offer them, and what the catalogue says about them."""

    name: names.ModelName
    architecture: Offer
    modifiers: tuple[Offer, ...]
    """In the order of `name.modifiers`."""
    published: tuple[ModelCard, ...] = ()
    """The catalogue's entries of the architecture and of the combination."""
    variant: tuple[ModelCard, ...] = ()
    """The entries of the tag."""

    @property
    def owners(self) -> list[Plugin]:
        """The plugins that bring the architecture and the modifiers."""
        return [offer.owner for offer in (self.architecture, *self.modifiers)]


@dataclass(frozen=True)
class KnownData:
    """A data set of the catalogue, or the user's own data in a known format."""

    text: str
    """The name as it was typed."""
    name: names.DataName
    reader: Offer
    card: DataCard | None = None

    def absolute(self) -> KnownData:
        """The same from any folder: all paths in its name are absolute."""
        name = self.name.absolute(self.reader.spec.paths)
        return replace(self, text=str(name), name=name)


def model(text: str) -> KnownModel:
    """What a model's name refers to. Raises UsageError with near names, PluginError if its plugin is off."""
    parsed = names.parse_model(text)
    if parsed.scheme or text in entries.weights_cards():
        raise UsageError(f"{text} is a trained model, not an architecture", "posezoo list shows the architectures")
    architecture, *modifiers = offers(parsed)
    combined = [offer.spec.name for offer in modifiers if not offer.spec.keeps_pose]
    published, variant = entries.cards_of(parsed.arch, combined, parsed.tag)
    return KnownModel(parsed, architecture, tuple(modifiers), tuple(published), tuple(variant))


def offers(name: names.ModelName) -> list[Offer]:
    """The offers of the architecture and of each modifier. Raises as `model`."""
    return [
        plugins.get("posezoo_models", "model", name.arch),
        *(plugins.get("posezoo_modifiers", "modifier", modifier) for modifier, _ in name.modifiers),
    ]


def data(text: str) -> KnownData:
    """What a data set's name refers to. Raises UsageError with near names, PluginError if its plugin is off."""
    parsed = names.parse_data(text)
    card = None if parsed.reader else entries.data_card(parsed.name)
    reader = plugins.get("posezoo_readers", "data format", card.reader if card else parsed.reader)
    return KnownData(text, parsed, reader, card)
