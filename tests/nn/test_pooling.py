"""One vector of a map: means over the picture, and grids that keep what stands where."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from posezoo.base.errors import UsageError
from posezoo.nn.pooling import CELLS, NAMES, GeM, Grid, Pooling, in_cells
from posezoo.zoo.build import create_model

SMALL = {"backbone": "mobilenetv3_small_050", "pretrained_backbone": False, "hidden": 16, "resize": 64, "crop": 64}

OF_MODEL: dict[str, dict[str, object]] = {
    "atloc": {"feature": 64},
    "ms-transformer": {"width": 32, "feedforward": 32, "position_layers": 1, "orientation_layers": 1, "hidden": 16},
}


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


def test_cells_may_be_more_than_pixels_and_keep_the_mean() -> None:
    x = torch.randn(2, 3, 4, 7)
    for rows, columns in ((2, 4), (1, 3), (5, 9)):
        cells = in_cells(x, rows, columns)
        assert cells.shape == (2, 3, rows, columns)
        torch.testing.assert_close(cells.mean((-2, -1)), x.mean((-2, -1)))
    torch.testing.assert_close(in_cells(x, 2, 7)[:, :, 1], x[:, :, 2:].mean(-2))


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


@pytest.mark.parametrize("name", ["posenet", "atloc", "ms-transformer"])
def test_modifiers_may_read_the_last_map_in_cells(name: str) -> None:
    """The heads read what they read without."""
    small = {key: value for key, value in SMALL.items() if key != "hidden"} | OF_MODEL.get(name, {})
    models = [create_model(name, image_embedding=kind, **small) for kind in ("own", "cells")]
    models[1].load_state_dict(models[0].state_dict())
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        own, cells = (model.encode(images) for model in models)
        last = models[1].backbone(images)[1][-1]
    torch.testing.assert_close(own.position, cells.position)
    assert cells.image.shape == (2, models[1].image_dim) == (2, 8 * last.shape[1])
    flat = in_cells(last, *CELLS).flatten(1)
    variance = flat.var(1, correction=0, keepdim=True) + 1e-5  # maps of random weights are small
    torch.testing.assert_close(cells.image, (flat - flat.mean(1, keepdim=True)) / variance.sqrt())
    infused = create_model(f"{name}+hyper", image_embedding="cells", **small).train()
    output = infused(images, torch.zeros(2, dtype=torch.long) if name == "ms-transformer" else None)
    (output.position.sum() + output.rotation.sum()).backward()
    read = {key: p.grad for key, p in infused.named_parameters() if p.shape[-1:] == (infused.image_dim,)}
    assert read
    assert all(grad is not None for grad in read.values())


def test_no_such_pool() -> None:
    with pytest.raises(UsageError):
        create_model("posenet", pool="max", **SMALL)
