"""Names to models: build, infuse, load pretrained backbones, save and load.

A saved model is a folder, see posezoo.trained.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from posezoo import backbones, hub, names, plugins, registry, settings, trained, weights
from posezoo.download import Note, silent
from posezoo.errors import PluginError, ResourceError, UsageError, WeightsError
from posezoo.model import ModelConfig, PoseModel
from posezoo.trained import CARD, CONFIG, WEIGHTS
from posezoo.trained import model_folder as model_folder
from posezoo.trained import read_config as read_config
from posezoo.types import CONVENTIONS
from posezoo.version import __version__

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
    if parsed.scheme or name in registry.weights_cards():
        raise UsageError(f"{name} is a trained model, not an architecture", "posezoo list shows the architectures")
    if parsed.revision:
        raise UsageError(f"{name}: an architecture has no revision", f"say {parsed}")
    spec = plugins.get("posezoo_models", "model", parsed.arch)
    published, variant = (
        [{**card.model, **card.modifiers} for card in cards]
        for cards in registry.cards_of(parsed.arch, [modifier for modifier, _ in parsed.modifiers], parsed.tag)
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


def owners(name: names.ModelName) -> list[plugins.Plugin]:
    """The plugins that bring the architecture and the modifiers of a name that is known."""
    keys = [("posezoo_models", name.arch), *(("posezoo_modifiers", modifier) for modifier, _ in name.modifiers)]
    return [plugins.manager().owners[key] for key in keys]


def build(plan: Blueprint) -> PoseModel:
    """The model, randomly started. Nothing is downloaded. Raises PluginError for a plugin that cannot build it."""
    plugins.get("posezoo_models", "model", plan.name.arch)
    model_class = _subclass("posezoo_models", plan.name.arch, "build", PoseModel)
    config = plan.config
    if config.mean is None or config.std is None:
        mean, std = backbones.normalisation(config.backbone)
        config = dataclasses.replace(config, mean=config.mean or mean, std=config.std or std)
    arch_owner, *modifier_owners = owners(plan.name)
    with plugins.guarded(arch_owner, f"building {plan.name.arch}"):
        model = model_class(config)
    for (modifier, modifier_config), owner in zip(plan.modifiers, modifier_owners, strict=True):
        apply = plugins.load("posezoo_modifiers", modifier, "apply")
        with plugins.guarded(owner, f"applying +{modifier}"):
            apply(model, modifier_config)
    model.name = str(plan.name)
    model.blueprint = dataclasses.replace(plan, config=config)  # type: ignore[assignment]
    return model.eval()


def create_model(name: str, **overrides: Any) -> PoseModel:
    """A new model in eval mode with pretrained backbone weights: `create_model("atloc+hyper", backbone="resnet18")`.

    Settings of modifiers: `**{"hyper.rank": 256}` or `hyper={"rank": 256}`. Raises UsageError for unknown names and
    settings, HubError if the backbone's weights cannot be had (`pretrained_backbone=False` starts at random).
    """
    model = build(blueprint(name, settings.nested(overrides)))
    load_backbones(model)
    return model


def load_backbones(model: PoseModel) -> list[hub.WeightsFile]:
    """Put pretrained weights into every backbone of `model`, unless its config says `pretrained_backbone=False`."""
    given = model.config.pretrained_backbone
    if given is False:
        return []
    found = []
    for module in model.modules():
        if isinstance(module, backbones.Backbone):
            file = hub.find_backbone(module.name, given)
            backbones.load_pretrained(module, hub.read_state(file), file.by_order, file.source)
            found.append(file)
    return found


def save(model: PoseModel, folder: Path, card: str, dtype: str = "float32", **facts: Any) -> None:
    """Write the model as a folder that `load("local-dir:...")` reads; `facts` (data, seed, ...) go into config.json.

    `dtype` "float16" stores floating tensors in half the bytes; a loaded model computes in float32 all the same.
    Of the path of a backbone's file only the name is stored: the folders are the user's own, its weights in the model.
    Written beside and renamed, so that a folder of this name is always whole. Raises ResourceError.
    """
    if model.optimized:
        raise UsageError("an optimized model cannot be saved", "save the model it was made from, or posezoo.export it")
    content = weights.dump(model.state_dict(), dtype)
    plan: Blueprint = model.blueprint  # type: ignore[assignment]
    if isinstance(given := plan.config.pretrained_backbone, str):
        plan = plan.with_place(pretrained_backbone=Path(given).name)
    config = {
        "format": 1,
        "posezoo": __version__,
        "conventions": CONVENTIONS,
        **plan.as_dict(),
        "weights": {
            "file": WEIGHTS,
            "size": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "dtype": dtype,
        },
        **facts,
    }
    texts = {WEIGHTS: content, CONFIG: (json.dumps(config, indent=1) + "\n").encode(), CARD: card.encode()}
    folder = Path(folder)
    new, old = (folder.parent / f".{word}-{folder.name}-{os.getpid()}" for word in ("new", "old"))
    try:
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        for name, data in texts.items():
            with (new / name).open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        if folder.exists():  # two renames: a kill between them leaves the old folder under its other name
            folder.rename(old)
        new.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        shutil.rmtree(new, ignore_errors=True)
        raise ResourceError(f"cannot write the model to {folder}: {error.strerror}", "free space or --out") from error


def write_card(folder: Path, card: str) -> None:
    """Replace the model card of a saved model."""
    temporary = folder / f".{CARD}-{os.getpid()}"
    temporary.write_text(card, encoding="utf-8")
    temporary.replace(folder / CARD)


def load(name: str | Path, device: str | torch.device = "cpu", note: Note = silent) -> PoseModel:
    """A trained model in eval mode: an alias of the catalogue, `local-dir:PATH` or `hf-hub:OWNER/REPO[@REV]`.

    A run folder stands for its best model. The weights' sha256 is checked, then they are loaded strictly; `.origin`
    says exactly where they came from. `note` is told what a person should see. Raises WeightsError, HubError, and
    UsageError for no such device.
    """
    place = torch_device(device)  # told before anything is fetched
    return load_found(trained.find(str(name), note), place)


def load_found(found: trained.Trained, device: str | torch.device = "cpu") -> PoseModel:
    """The model that `trained.find` found; see `load`."""
    place = torch_device(device)
    model = build(blueprint_from(found.config, Path(found.origin) / CONFIG))
    state = weights.tensors(found.read(), f"{found.origin}: {WEIGHTS}")
    if misfits := _misfits(model, state):
        raise WeightsError(
            f"{found.origin}: weights are not for {found.config['name']}: {misfits}", "train, fetch or convert it again"
        )
    model.load_state_dict(state, strict=True)
    if not all(torch.isfinite(value).all() for value in state.values() if value.is_floating_point()):
        raise WeightsError(f"{found.origin}: weights are not finite", "train or fetch it again")
    model.origin = found.origin
    return model.to(place)


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


def torch_device(device: str | torch.device) -> torch.device:
    """The device of that name. Raises UsageError for one that is not known or not here."""
    try:
        place = torch.device(device)
    except RuntimeError:
        raise UsageError(f"device {ascii(device)[:40]} is not known", "cpu or cuda") from None
    if place.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"device {place}, but torch sees no GPU", "cpu, or install a torch build for your GPU")
    return place


def _misfits(model: PoseModel, state: Mapping[str, torch.Tensor]) -> str:
    """How many tensors are missing, too many or of another shape or kind, and the first of each; empty if none is."""
    own = model.state_dict()
    other = [
        key
        for key, value in state.items()
        if key in own and (own[key].shape != value.shape or own[key].is_floating_point() != value.is_floating_point())
    ]
    kinds = {
        "missing": [key for key in own if key not in state],
        "too many": [key for key in state if key not in own],
        "of another shape": other,
    }
    return "; ".join(f"{len(keys)} {kind} ({', '.join(keys[:3])})" for kind, keys in kinds.items() if keys)
