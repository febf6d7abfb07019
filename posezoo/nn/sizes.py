"""How large a model is, part by part: parameters, bytes and floating-point operations.

A part is a top-level module of the model; what a hypernetwork adds to a head is listed apart from the head, each
generated layer separately. FLOPs are those of one image, two for a multiply-add, as torch's own counter counts them.
"""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from posezoo.nn.hyperhead import HyperHead
from posezoo.nn.model import PoseModel


class Size(NamedTuple):
    """One part of a model."""

    parameters: int
    flops: int

    def __add__(self, other: object) -> Size:
        assert isinstance(other, Size)
        return Size(self.parameters + other.parameters, self.flops + other.flops)


def sizes(model: PoseModel) -> dict[str, Size]:
    """Each part's size in the order of the model; then `all generators` and `hypernetwork` where there is one; `total`.

    The model may be on the meta device: nothing is computed.
    """
    parts: dict[str, Size] = {}
    for key, parameter in model.named_parameters():
        part = _part(model, key)
        parts[part] = parts.get(part, Size(0, 0)) + Size(parameter.numel(), 0)
    for module, flops in _own_flops(model).items():
        part = _part(model, module)
        parts[part] = parts.get(part, Size(0, 0)) + Size(0, flops)
    total = sum(parts.values(), Size(0, 0))
    sums = {}
    for word, name in ((": generator ", "all generators"), (": ", "hypernetwork")):
        if found := [size for part, size in parts.items() if word in part]:
            sums[name] = sum(found, Size(0, 0))
    return {**parts, **sums, "total": total}


def _part(model: PoseModel, path: str) -> str:
    """The part that a parameter or module belongs to."""
    top, _, rest = path.partition(".")
    head = getattr(model, top, None)
    if not isinstance(head, HyperHead) or rest.startswith("base"):
        return top
    pieces = rest.split(".")
    if pieces[0] != "generated" or "code" in pieces:
        return f"{top}: condition and codes"
    index, widths = int(pieces[1]), head.widths
    return f"{top}: generator {index + 1} ({widths[index]} -> {widths[index + 1]})"


class _Halves(nn.Module):
    """Encoder, heads, spread; without the geometry of poses, whose cost is not counted and which needs real numbers."""

    def __init__(self, model: PoseModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, images_BCHW: Tensor) -> None:
        features = self.model.encode(images_BCHW)
        self.model.position_head(features.position, features.image, features.scene)
        self.model.orientation_head(features.orientation, features.image, features.scene)
        if self.model.spread is not None:
            self.model.spread(features)


def _own_flops(model: PoseModel) -> dict[str, int]:
    """Module path -> FLOPs of its own operations, without those of the modules that it calls, whoever owns these."""
    halves, crop = _Halves(model), model.config.crop
    own: dict[str, int] = {}
    calls: list[tuple[int, int]] = []  # of each call in progress: the FLOPs before it, those of inner calls so far
    # Attention as its two products on every device and release of torch: the counter does not know fused CPU kernels.
    # With gradients, since without them attention layers leave PyTorch's own products for one fused call.
    with (
        ExitStack() as watched,
        torch.enable_grad(),
        sdpa_kernel(SDPBackend.MATH),
        FlopCounterMode(display=False) as counter,
    ):

        def enter(*_: Any) -> None:
            calls.append((counter.get_total_flops(), 0))

        def leave(path: str, *_: Any) -> None:
            before, inner = calls.pop()
            flops = counter.get_total_flops() - before
            own[path] = own.get(path, 0) + flops - inner
            if calls:
                calls[-1] = (calls[-1][0], calls[-1][1] + flops)

        for path, module in model.named_modules():
            if path:
                watched.callback(module.register_forward_pre_hook(enter).remove)
                watched.callback(module.register_forward_hook(partial(leave, path)).remove)
        halves(torch.zeros(1, 3, crop, crop, device=model.device))
    return {path: flops for path, flops in own.items() if flops}
