"""The device that computes."""

from __future__ import annotations

import torch

from posezoo.base.errors import UsageError


def torch_device(device: str | torch.device) -> torch.device:
    """The device of that name. Raises UsageError for one that is not known or not here."""
    try:
        place = torch.device(device)
    except RuntimeError:
        raise UsageError(f"device {ascii(device)[:40]} is not known", "cpu or cuda") from None
    if place.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"device {place}, but torch sees no GPU", "cpu, or install a torch build for your GPU")
    return place
