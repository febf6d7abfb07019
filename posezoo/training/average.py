"""The running average of a model's weights over the steps (Polyak averaging): what is validated and saved.

It stands for many epochs of a noisy path, so that the last epoch needs no luck and no held-out frames to choose it.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from posezoo.nn.model import PoseModel

Group = tuple[Tensor, ...] | list[Tensor]
"""Tensors of one type on one device."""


class _Average(AveragedModel):
    """Of finite numbers: what is infinite in a buffer, as in a mask of attention, is as in the model."""

    masks: tuple[int, ...] | None = None
    """Which buffers hold such numbers, asked once: a look in every step would be a wait for the device."""

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        pairs = list(zip(self.module.buffers(), model.buffers(), strict=True))
        if self.masks is None:
            self.masks = tuple(n for n, (_, other) in enumerate(pairs) if not other.isfinite().all())
        super().update_parameters(model)
        for own, other in (pairs[n] for n in self.masks):
            own.copy_(torch.where(own.isfinite(), own, other))  # between infinities there is no mean, but NaN


def averaged(model: PoseModel, decay: float) -> AveragedModel:
    """A model that follows `model` at each `update_parameters(model)`: batch-norm statistics too.

    The decay rises from 0.1 to `decay`, so that the first steps, which are the worst, are soon forgotten.
    """

    @torch.no_grad()
    def follow(mine: Group, theirs: Group, updates: Tensor | int) -> None:
        if not mine[0].is_floating_point():  # counters
            for own, other in zip(mine, theirs, strict=True):
                own.copy_(other)
            return
        step = int(average.n_averaged)  # `updates` is the same number, on the device
        torch._foreach_lerp_(mine, theirs, 1 - min(decay, (1 + step) / (10 + step)))

    average = _Average(model, multi_avg_fn=follow, use_buffers=True)
    average.n_averaged = average.n_averaged.cpu()  # counted by the host, which decides by it
    return average


def model_of(average: AveragedModel) -> PoseModel:
    """The averaged model itself."""
    return cast(PoseModel, average.module)
