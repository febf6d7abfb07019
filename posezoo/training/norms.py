"""Batch norms over the batch of all processes, as one process would have them.

Around a training step every call of `torch.nn.functional.batch_norm` in training mode is computed with the mean and
variance of the whole batch: whatever module calls it (torch's, timm's with an activation, a plugin's), unchanged in the
saved model. On a GPU it is torch's own synchronised kernel, which has no form for CPUs: there it is two sums.

Legend: C channels; N, H, W are the other dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F
from torch.nn.modules._functions import SyncBatchNorm
from torch.overrides import TorchFunctionMode


class SharedBatchNorms(TorchFunctionMode):
    """`with SharedBatchNorms(group):` around the forward pass, in all processes at the same point."""

    def __init__(self, group: dist.ProcessGroup) -> None:
        super().__init__()
        self.group = group

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is F.batch_norm:
            return _batch_norm(self.group, *args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


class _Sum(torch.autograd.Function):
    """The sum over the processes of a group. Its gradient is the sum of their gradients."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, group: dist.ProcessGroup) -> Tensor:
        """The same in all of them."""
        ctx.group, total = group, value.clone()
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Of each process's value."""
        total = gradients[0].clone()
        dist.all_reduce(total, group=ctx.group)
        return total, None


def _batch_norm(
    group: dist.ProcessGroup,
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """As F.batch_norm."""
    if not training:
        return F.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
    if input.is_cuda:
        ones, zeros = (torch.full(input.shape[1:2], value, device=input.device) for value in (1.0, 0.0))
        found: Tensor = SyncBatchNorm.apply(
            input, ones if weight is None else weight, zeros if bias is None else bias, running_mean, running_var,
            eps, momentum, group, group.size(),
        )  # fmt: skip
        return found
    others = [dim for dim in range(input.dim()) if dim != 1]
    shape = [1, -1, *[1] * (input.dim() - 2)]
    value = input.float()
    count = torch.tensor([float(value.numel() / value.shape[1])])
    dist.all_reduce(count, group=group)
    mean_C = _Sum.apply(value.sum(others), group) / count
    centred = value - mean_C.view(shape)
    var_C = _Sum.apply(centred.square().sum(others), group) / count
    with torch.no_grad():
        if running_mean is not None and running_var is not None:
            running_mean.lerp_(mean_C, momentum)
            running_var.lerp_(var_C * count / (count - 1).clamp_min(1), momentum)
    result = centred * (var_C + eps).rsqrt().view(shape)
    if weight is not None:
        result = result * weight.view(shape)
    if bias is not None:
        result = result + bias.view(shape)
    return result.to(input.dtype)
