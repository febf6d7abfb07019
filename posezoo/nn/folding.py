"""Batch norms folded into the convolutions before them, for inference: w' = w g / s, b' = (b - m) g / s + beta.

Which norm belongs to which convolution is found by running the network once, so any network will do: a norm is folded
if it is the only reader of the convolution's output and both run once.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from timm.layers import BatchNormAct2d, Conv2dSame
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# exact types: a subclass may compute its weights anew at each call, or more than a norm
CONVOLUTIONS = (nn.Conv2d, Conv2dSame)
NORMS = (nn.BatchNorm2d, BatchNormAct2d)


class _Readers(TorchDispatchMode):
    """Counts how many operations read each tensor, by the tensor's id."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count: Counter[int] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count.update({id(leaf) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)})
        return func(*args, **(kwargs or {}))


@torch.no_grad()
def fold_batch_norms(model: nn.Module, images_BCHW: Tensor) -> int:
    """The number of batch norms folded, in place: those that `model(images_BCHW)` runs right after a convolution.

    The model must be in eval mode.
    """
    calls: Counter[nn.Module] = Counter()
    outputs: dict[int, tuple[nn.Module, Tensor]] = {}  # holds the tensors too: an id must not be used twice
    pairs: list[tuple[nn.Module, nn.Module, int]] = []
    readers = _Readers()

    def after_convolution(module: nn.Module, given: Any, output: Tensor) -> None:
        calls[module] += 1
        outputs[id(output)] = module, output
        readers.count[id(output)] = 0  # a tensor that is gone may have had this id

    def before_norm(module: nn.Module, given: tuple[Tensor, ...]) -> None:
        calls[module] += 1
        if id(given[0]) in outputs:
            pairs.append((outputs[id(given[0])][0], module, id(given[0])))

    hooks = [m.register_forward_hook(after_convolution) for m in model.modules() if type(m) in CONVOLUTIONS]
    hooks += [m.register_forward_pre_hook(before_norm) for m in model.modules() if type(m) in NORMS]
    try:
        with readers:
            model(images_BCHW)
    finally:
        for hook in hooks:
            hook.remove()
    names: dict[nn.Module, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):  # forward may use any of a module's names
        names.setdefault(module, []).append(name)
    folded = 0
    for convolution, norm, output in pairs:
        assert isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
        if calls[convolution] == calls[norm] == readers.count[output] == 1 and norm.running_mean is not None:
            rest = nn.Sequential(norm.drop, norm.act) if isinstance(norm, BatchNormAct2d) else nn.Identity()
            for old, new in ((convolution, fuse_conv_bn_eval(convolution, norm)), (norm, rest.eval())):
                for name in names[old]:
                    model.set_submodule(name, new)
            folded += 1
    return folded
