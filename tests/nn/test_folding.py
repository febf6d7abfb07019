"""Folded batch norms: every one that can be folded is, none that must not, and the numbers stay."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from posezoo.nn import folding
from posezoo.nn.backbones import Backbone


def lively(model: nn.Module) -> nn.Module:
    """The model in eval mode with norms that do something."""
    torch.manual_seed(0)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 2)
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.1)
    return model.eval()


def num_norms(model: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())


class Odd(nn.Module):
    """Norms that must stay: of an output that is read twice, of a convolution that runs twice, of no convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.read_twice, self.run_twice, self.good = (nn.Conv2d(4, 4, 3, padding=1) for _ in range(3))
        self.norm1, self.norm2, self.norm3, self.norm4 = (nn.BatchNorm2d(4) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        y = self.read_twice(x)
        y = self.norm1(y) + y
        y = self.norm2(self.run_twice(y)) + self.run_twice(x)
        return self.norm4(torch.relu(self.norm3(self.good(y))))


def test_only_what_may_be_folded_is() -> None:
    odd, x = lively(Odd()), torch.randn(2, 4, 8, 8)
    with torch.no_grad():
        expected = odd(x)
        assert folding.fold_batch_norms(odd, x) == 1
        assert isinstance(odd.norm3, nn.Identity)
        assert num_norms(odd) == 3
        torch.testing.assert_close(odd(x), expected, rtol=1e-4, atol=1e-5)


class Twice(nn.Module):
    """A convolution and a norm that have a second name each: forward uses one, `net` has the other."""

    def __init__(self, uses: str) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.uses, self.same = uses, self.net
        self.convolution, self.norm = self.net[0], self.net[1]

    def forward(self, x: Tensor) -> Tensor:
        match self.uses:
            case "net":
                return self.net(x)
            case "convolution":
                return self.net[1](self.convolution(x))
        return self.norm(self.same[0](x))


@pytest.mark.parametrize("uses", ["net", "convolution", "norm"])
def test_a_second_name_is_folded_too(uses: str) -> None:
    twice, x = lively(Twice(uses)), torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        expected = twice(x)
        assert folding.fold_batch_norms(twice, x) == 1
        torch.testing.assert_close(twice(x), expected, rtol=1e-4, atol=1e-5)
    assert num_norms(twice) == 0


def test_every_norm_of_common_backbones_is_folded() -> None:
    for name in ("resnet10t", "tf_efficientnet_lite0", "mobilenetv3_small_050"):
        net, x = lively(Backbone(name)), torch.randn(2, 3, 64, 64)
        count = num_norms(net)
        with torch.no_grad():
            expected = net(x)[0]
            assert folding.fold_batch_norms(net, x) == count > 10
            size = float(expected.abs().max())
            torch.testing.assert_close(net(x)[0], expected, rtol=0, atol=1e-5 * size)
        assert num_norms(net) == 0
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())
