"""Names to models: build, infuse, load pretrained backbones, save and load.

A saved model is a folder: `config.json` (everything needed to use it, and the sha256 of the weights),
`model.safetensors` and a model card `README.md`.
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

import safetensors.torch
import torch
from safetensors import SafetensorError

from posezoo import backbones, hub, names, plugins, registry, settings
from posezoo.errors import PluginError, ResourceError, UsageError, WeightsError
from posezoo.model import ModelConfig, PoseModel
from posezoo.types import CONVENTIONS
from posezoo.version import __version__

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
PLACE_FIELDS = ("scenes", "position_mean", "position_std", "label_frame")  # set by training, not by the user


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
    if parsed.scheme:
        raise UsageError(f"{name} is a trained model, not an architecture", "posezoo list shows the architectures")
    if parsed.revision:
        raise UsageError(f"{name}: an architecture has no revision", f"say {parsed}")
    spec = plugins.get("posezoo_models", "model", parsed.arch)
    published, variant = (
        [{**card.model, **card.modifiers} for card in cards]
        for cards in registry.published(parsed.arch, [modifier for modifier, _ in parsed.modifiers], parsed.tag)
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


def save(model: PoseModel, folder: Path, card: str, **facts: Any) -> None:
    """Write the model as a folder that `load("local-dir:...")` reads; `facts` (data, seed, ...) go into config.json.

    Written beside and renamed, so that a folder of this name is always whole. Raises ResourceError.
    """
    if model.optimized:
        raise UsageError("an optimized model cannot be saved", "save the model it was made from, or posezoo.export it")
    content = safetensors.torch.save({k: v.contiguous() for k, v in model.state_dict().items()})
    plan: Blueprint = model.blueprint  # type: ignore[assignment]
    config = {
        "format": 1,
        "posezoo": __version__,
        "conventions": CONVENTIONS,
        **plan.as_dict(),
        "weights": {"file": WEIGHTS, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()},
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


def load(name: str | Path, device: str | torch.device = "cpu") -> PoseModel:
    """A trained model in eval mode: `load("local-dir:outputs/...")`; a run folder stands for its best model.

    The weights' sha256 is checked, then they are loaded strictly. Raises WeightsError, UsageError for no such device.
    """
    place = _device(device)
    parsed = names.parse_model(str(name))
    if parsed.scheme != "local-dir":
        raise UsageError(f"{name}: no published weights are known by this name yet", "posezoo.load('local-dir:RUN')")
    folder = model_folder(Path(parsed.location))
    config, content = _read_checked(folder)
    model = build(blueprint_from(config, folder / CONFIG))
    try:
        state = safetensors.torch.load(content)
    except SafetensorError as error:
        raise WeightsError(f"weights damaged: {folder / WEIGHTS}: {error}", "train or fetch it again") from None
    missing, extra = model.load_state_dict(state, strict=False) if _fits(model, state) else (["shapes"], [])
    if missing or extra:
        wrong = [*missing, *extra]
        raise WeightsError(
            f"{folder}: weights are not for {config['name']}: {', '.join(wrong[:3])}", "posezoo info NAME"
        )
    if not all(torch.isfinite(value).all() for value in state.values() if value.is_floating_point()):
        raise WeightsError(f"{folder / WEIGHTS}: weights are not finite", "train or fetch it again")
    return model.to(place)


def model_folder(path: Path) -> Path:
    """The folder with config.json: `path` itself, or the best model of the run `path`. Raises WeightsError."""
    path = names.user_path(path)
    for folder in (path, path / "best"):
        if (folder / CONFIG).is_file():
            return folder
    what = "no such folder" if not path.exists() else "no config.json or best/config.json in it"
    raise WeightsError(f"{path}: {what}", "give a run folder, for example outputs/atloc+hyper/demo-loop/…")


def read_config(folder: Path) -> dict[str, Any]:
    """The model's config.json. Raises WeightsError."""
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        if config["format"] > 1 or config["conventions"] > CONVENTIONS:
            raise WeightsError(f"{folder}: written by a newer posezoo ({config['posezoo']})", "pip install -U posezoo")
        tables = config["config"], config["modifiers"], config["weights"]
        if not isinstance(config["name"], str) or not all(isinstance(table, dict) for table in tables):
            raise TypeError("name is text; config, modifiers and weights are tables")
        _ = config["weights"]["sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{folder / CONFIG} is damaged: {ascii(error)[:80]}", "train or fetch it again") from None
    return config


def _read_checked(folder: Path) -> tuple[dict[str, Any], bytes]:
    config = read_config(folder)
    try:
        content = (folder / WEIGHTS).read_bytes()  # read once: what is checked is what is parsed
    except OSError as error:
        raise WeightsError(f"{folder / WEIGHTS}: {error.strerror}", "train or fetch it again") from None
    size, expected = config["weights"].get("size"), config["weights"]["sha256"]
    if size is not None and len(content) != size:
        raise WeightsError(
            f"weights damaged: {folder / WEIGHTS}: file is {len(content)} bytes, expected {size}", "fetch it again"
        )
    if hashlib.sha256(content).hexdigest() != expected:
        raise WeightsError(f"weights damaged: {folder / WEIGHTS}: sha256 differs from config.json", "fetch it again")
    return config, content


def blueprint_from(config: Mapping[str, Any], source: Path) -> Blueprint:
    """The blueprint that `Blueprint.as_dict` described. Raises WeightsError for settings nobody knows."""
    parsed = names.parse_model(config["name"])
    classes = config_class(parsed.arch), {name: modifier_class(name) for name in config["modifiers"]}
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


def _device(device: str | torch.device) -> torch.device:
    try:
        place = torch.device(device)
    except RuntimeError:
        raise UsageError(f"device {ascii(device)[:40]} is not known", "cpu or cuda") from None
    if place.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"device {place}, but torch sees no GPU", "cpu, or install a torch build for your GPU")
    return place


def _fits(model: PoseModel, state: Mapping[str, torch.Tensor]) -> bool:
    own = model.state_dict()
    return all(own[key].shape == value.shape for key, value in state.items() if key in own)
