"""Models small enough to build in a test."""

from __future__ import annotations

from typing import Any

import torch

from posezoo.nn.model import PoseModel
from posezoo.zoo.build import create_model

SMALL: dict[str, Any] = {
    "backbone": "mobilenetv3_small_050",
    "pretrained_backbone": False,
    "hidden": 16,
    "crop": 96,
    "resize": 128,
}


HYPER = {"code_position": 4, "code_orientation": 4, "init": "paper"}


def small(name: str = "posenet+hyper", **overrides: Any) -> PoseModel:
    torch.manual_seed(0)
    return create_model(name, **{**SMALL, "hyper": HYPER, **overrides})
