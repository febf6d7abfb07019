"""Wrap both heads of a model in a `HyperHead` (posezoo.nn.hyperhead has the mathematics)."""

from __future__ import annotations

from posezoo.nn.heads import Head
from posezoo.nn.hyperhead import HyperConfig, HyperHead
from posezoo.nn.model import PoseModel
from posezoo.plugin import PluginError


def infuse(model: PoseModel, config: HyperConfig) -> None:
    """Replace the model's two heads with infused ones."""
    position, orientation = model.position_head, model.orientation_head
    if not isinstance(position, Head) or not isinstance(orientation, Head):
        raise PluginError(
            f"{type(model).__name__}: the heads are not posezoo.nn.heads.Head", "see docs: write a plugin"
        )
    first = config.code_position, config.hidden_position
    second = first if config.shared else (config.code_orientation, config.hidden_orientation)
    extra = orientation.out_dim if config.shared else 0
    model.position_head = HyperHead(position, model.image_dim, config, *first, extra=extra)
    owner = model.position_head if config.shared else None
    model.orientation_head = HyperHead(orientation, model.image_dim, config, *second, sharing=owner)
