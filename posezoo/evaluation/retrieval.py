"""Features of a pretrained backbone for the retrieval baseline: the nearest training image's pose."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from posezoo.nn.backbones import Backbone, load_pretrained
from posezoo.nn.model import PoseModel
from posezoo.zoo import pretrained


def retrieval_features(model: PoseModel, given: bool | str | None = None) -> Callable[[Tensor], Tensor] | None:
    """Features of the model's frozen, pretrained backbone: uint8 (B, 3, H, W) -> (B, E).

    None for a model without a backbone, or one configured to start without pretrained weights.

    `given`: their source, if not the model's own `pretrained_backbone`. Raises HubError, WeightsError.
    """
    own = next((module for module in model.modules() if isinstance(module, Backbone)), None)
    given = model.config.pretrained_backbone if given is None else given
    if own is None or given is False:
        return None
    backbone = Backbone(own.name).eval()
    file = pretrained.find_backbone(own.name, given)
    load_pretrained(backbone, pretrained.read_state(file), file.by_order, file.source)
    backbone.to(model.device)
    return lambda images_BCHW: backbone(model.prepare(images_BCHW))[0]
