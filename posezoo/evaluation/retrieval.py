"""Features of a pretrained backbone for the retrieval baseline: the nearest training image's pose."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from torch import Tensor

from posezoo.nn.backbones import Backbone, load_pretrained, normalisation
from posezoo.nn.model import PoseModel, network_input
from posezoo.zoo import pretrained

PACKAGED = "tf_efficientnet_lite0"


def retrieval_features(model: PoseModel, given: bool | str | None = None) -> Callable[[Tensor], Tensor] | None:
    """Features of the model's frozen, pretrained backbone: uint8 (B, 3, H, W) -> (B, E).

    A model without a backbone of timm's has those of a packaged one (PACKAGED), on the same crop. None where its
    package is absent, or for a model configured to start without pretrained weights.

    `given`: their source, if not the model's own `pretrained_backbone`. Raises HubError, WeightsError.
    """
    own = next((module for module in model.modules() if isinstance(module, Backbone)), None)
    given = model.config.pretrained_backbone if given is None else given
    if given is False or (own is None and not pretrained.is_packaged(PACKAGED)):
        return None
    name, given = (own.name, given) if own else (PACKAGED, True)
    backbone = frozen_backbone(name, model.config.crop, given).to(model.device)
    if own is not None:
        return lambda images_BCHW: backbone(model.prepare(images_BCHW))[0]
    mean, std = normalisation(name)
    config = dataclasses.replace(model.config, mean=mean, std=std)
    return lambda images_BCHW: backbone(network_input(images_BCHW, config))[0]


def frozen_backbone(name: str, size: int, given: bool | str = True) -> Backbone:
    """A pretrained backbone in evaluation mode, for images of this side. Raises HubError, WeightsError."""
    backbone = Backbone(name, size=size).eval()
    file = pretrained.find_backbone(name, given)
    load_pretrained(backbone, pretrained.read_state(file), file.by_order, file.source)
    return backbone
