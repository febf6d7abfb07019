"""Blueprints to models: build, infuse, load pretrained backbones."""

from __future__ import annotations

import dataclasses
from typing import Any

from posezoo.base.errors import UsageError
from posezoo.catalogue import guard, settings
from posezoo.nn import backbones
from posezoo.nn.model import PoseModel
from posezoo.zoo import pretrained
from posezoo.zoo.blueprint import Blueprint, blueprint


def build(plan: Blueprint) -> PoseModel:
    """The model, randomly initialised. Nothing is downloaded. Raises PluginError for a plugin that cannot build it."""
    known, config = plan.known, plan.config
    model_class = known.architecture.load("build", PoseModel)
    if config.mean is None or config.std is None:
        mean, std = backbones.normalisation(config.backbone)
        config = dataclasses.replace(config, mean=config.mean or mean, std=config.std or std)
    with guard.guarded(known.architecture.owner, f"building {plan.name.arch}"):
        model: PoseModel = model_class(config)
    for module in model.modules():
        if isinstance(module, backbones.Backbone):  # here, so that every architecture obeys
            backbones.check_size(module, config.crop)
            module.regularise(config.drop_path, config.batch_norm_momentum)
    # to start at random on purpose is what it does anyway
    asked = [key for key in sorted(plan.asked) if (key, getattr(config, key)) != ("pretrained_backbone", False)]
    if asked and not has_backbone(model):
        given = ", ".join([f"{key}={getattr(config, key)}" for key in asked])
        raise UsageError(f"{plan.name} has no backbone that could be set up", f"leave out {given}")
    for offer, (modifier, modifier_config) in zip(known.modifiers, plan.modifiers, strict=True):
        apply = offer.load("apply")
        with guard.guarded(offer.owner, f"applying +{modifier}"):
            apply(model, modifier_config)
    model.name = str(plan.name)
    model.blueprint = dataclasses.replace(plan, config=config)
    return model.eval()


def has_backbone(model: PoseModel) -> bool:
    """Whether a network of posezoo.nn.backbones is part of the model; else the settings of backbones mean nothing."""
    return any(isinstance(module, backbones.Backbone) for module in model.modules())


def create_model(name: str, **overrides: Any) -> PoseModel:
    """A new model in eval mode with pretrained backbone weights: `create_model("atloc+hyper", backbone="resnet18")`.

    Settings of modifiers: `**{"hyper.rank": 256}` or `hyper={"rank": 256}`. Raises UsageError for unknown names and
    settings, HubError if the backbone's weights are unavailable (`pretrained_backbone=False` starts at random).
    """
    model = build(blueprint(name, settings.nested(overrides)))
    load_backbones(model)
    return model


def load_backbones(model: PoseModel) -> list[pretrained.WeightsFile]:
    """The weights files put into the backbones of `model`; none with `pretrained_backbone=False`."""
    given = model.config.pretrained_backbone
    if given is False:
        return []
    found = []
    for module in model.modules():
        if isinstance(module, backbones.Backbone):
            file = pretrained.find_backbone(module.name, given)
            backbones.load_pretrained(module, pretrained.read_state(file), file.by_order, file.source)
            found.append(file)
    return found
