"""The device to compute on."""

from __future__ import annotations

import torch

from posezoo.base.errors import UsageError


def torch_device(device: str | torch.device) -> torch.device:
    """The device of that name; auto: the GPU if torch sees one. Raises UsageError if it is unknown or absent.

    auto leaves Apple's GPU alone (mps): it has no float64, and positions are float64. Training goes by this too.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        place = torch.device(device)
    except RuntimeError:
        raise UsageError(f"unknown device {ascii(device)[:40]}", "auto, cpu or cuda") from None
    if place.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"device {place}, but torch sees no GPU", "cpu, or install a torch build for your GPU")
    if place.type == "mps":
        raise UsageError("Apple's GPU has no float64, which positions are in", "device auto or cpu")
    if place.type not in ("cpu", "cuda"):
        raise UsageError(f"posezoo does not compute on device {ascii(str(place))[:40]}", "auto, cpu or cuda")
    return place


def require_compiler(device: torch.device) -> None:
    """Raise UsageError if `torch.compile` does not work here: it needs a C++ compiler, on a GPU Triton too."""
    try:
        torch.compile(lambda x_N: x_N.sin() + 1)(torch.zeros(8, device=device))
    except RuntimeError as error:  # torch's own are, and those of what it calls
        why = str(error).strip().partition("\n")[0]
        raise UsageError(
            f"compile=true: torch.compile does not work here: {why}", "a C++ compiler, or compile=false"
        ) from error
