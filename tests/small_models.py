"""Models small enough to build in a test."""

from __future__ import annotations

from typing import Any

import torch

from posezoo.nn.estimate import Calibration, ErrorEstimate
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
    hyper = {"hyper": HYPER} if "+hyper" in name else {}
    return create_model(name, **{**SMALL, **hyper, **overrides})


def with_estimate(model: PoseModel) -> PoseModel:
    """The model, calibrated: every image is familiar; its radii are 1.5 m and 20 deg."""
    torch.manual_seed(0)
    scenes_M = torch.arange(20) % len(model.config.scenes)
    known = ErrorEstimate.of(torch.rand(20, model.image_dim), torch.randn(20, 3), scenes_M)
    edge, metres, degrees = (torch.tensor([value]) for value in (0.0, 1.5, 20.0))
    model.estimate = known.with_radii(edge, metres, degrees, Calibration("made up", 99, 0.9))
    return model
