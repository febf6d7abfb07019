"""The device to compute on."""

from __future__ import annotations

import torch

from posezoo.base.errors import UsageError


def torch_device(device: str | torch.device) -> torch.device:
    """The device of that name. Raises UsageError if it is unknown or absent."""
    try:
        place = torch.device(device)
    except RuntimeError:
        raise UsageError(f"unknown device {ascii(device)[:40]}", "cpu or cuda") from None
    if place.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"device {place}, but torch sees no GPU", "cpu, or install a torch build for your GPU")
    return place
