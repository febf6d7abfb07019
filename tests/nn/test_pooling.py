"""One vector of a map: means over the picture, and grids that keep what stands where."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from posezoo.base.errors import UsageError
from posezoo.nn.pooling import NAMES, GeM, Grid, Pooling
from posezoo.zoo.build import create_model

SMALL = {"backbone": "mobilenetv3_small_050", "pretrained_backbone": False, "hidden": 16, "resize": 64, "crop": 64}


def test_gem_is_the_mean_at_power_one_and_nears_the_greatest_value() -> None:
    x = torch.rand(2, 5, 3, 4) + 0.1
    torch.testing.assert_close(GeM(1.0)(x), x.mean((-2, -1)))
    torch.testing.assert_close(GeM(2.0)(x), x.square().mean((-2, -1)).sqrt())
    assert (GeM(100.0)(x) / x.amax((-2, -1)) - 1).abs().max() < 0.03
    gem = GeM()
    gem(torch.randn(2, 5, 3, 4)).sum().backward()
    assert gem.power.grad is not None
    assert gem.power.grad.isfinite()


@pytest.mark.parametrize(("height", "width"), [(8, 8), (4, 4), (12, 4)])
def test_cells_that_fit_are_torchs_average_pooling(height: int, width: int) -> None:
    grid, x = Grid(3, 6, 4), torch.randn(2, 3, height, width)
    expected = F.adaptive_avg_pool2d(F.relu(grid.project(x)), 4).flatten(1)
    torch.testing.assert_close(grid(x), expected)


def test_cells_that_cut_pixels_share_them() -> None:
    """Three pixels in two cells: the middle one counts half in each."""
    grid = Grid(1, 1, 2)
    torch.nn.init.ones_(grid.project.weight)
    torch.nn.init.zeros_(grid.project.bias)
    x = torch.tensor([[3.0, 6.0, 12.0]]).expand(3, 3)[None, None]
    expected = torch.tensor([[4.0, 10.0, 4.0, 10.0]])  # (3 + 6 / 2) / 1.5 and (6 / 2 + 12) / 1.5
    torch.testing.assert_close(grid(x), expected)


def test_a_grid_tells_where_a_mean_does_not() -> None:
    here, there = torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 4)
    here[..., 0, 0], there[..., 3, 3] = 1.0, 1.0
    mean, grid = Pooling("mean", 7, 2), Pooling("grid", 7, 2)
    pooled = torch.zeros(1, 7)
    assert torch.equal(mean(pooled, here), mean(pooled, there))
    assert (grid(pooled, here) - grid(pooled, there)).abs().max() > 0.01


@pytest.mark.parametrize("pool", NAMES)
def test_posenet_with_each(pool: str) -> None:
    torch.manual_seed(0)
    model = create_model("posenet+hyper", pool=pool, grid=2, **SMALL).train()
    images = torch.randn(3, 3, 64, 64)
    image, maps = model.backbone(images)
    channels = maps[0].shape[1] if maps else 0
    width = {"backbone": 1024, "mean": channels, "gem": channels, "grid": 64 * 4, "grid+mean": 64 * 4 + 1024}[pool]
    assert model.hidden[0].in_features == width
    assert image.shape == (3, model.image_dim) == (3, 1024)  # what a hypernetwork taps stays the pooled feature
    out = model(images)
    (out.position.sum() + out.rotation.sum()).backward()
    own = [name for name, p in model.named_parameters() if name.startswith(("pooling", "hidden")) and p.grad is None]
    assert own == []


def test_no_such_pool() -> None:
    with pytest.raises(UsageError):
        create_model("posenet", pool="max", **SMALL)
