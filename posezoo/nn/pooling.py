"""A backbone's last map as one vector: averaged over the picture, or with what stands where kept in a grid.

Averages say what is seen; a localiser also needs where in the picture it is seen.

Legend: B batch, C channels, H height, W width, G side of the grid, E width of the vector.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

Pool = Literal["backbone", "mean", "gem", "grid", "grid+mean"]
"""backbone: its own pooled feature, after its head convolution where it has one; mean, gem: of the last map; grid: the
last map in G x G cells of `channels` channels; grid+mean: the grid beside the backbone's pooled feature."""
NAMES: tuple[str, ...] = get_args(Pool)
ImageEmbedding = Literal["own", "cells"]
"""What modifiers read of an image, hypernetworks and anchors: own, what the architecture's paper has or would have them
read; cells, the backbone's last map in CELLS of the picture, which keeps what stands where."""
CELLS = (2, 4)  # rows and columns


class GeM(nn.Module):
    """Generalised mean of a map over the picture, (mean x^p)^(1/p); p is learned (Radenovic et al., TPAMI 2019)."""

    def __init__(self, power: float = 3.0, floor: float = 1e-6) -> None:
        super().__init__()
        self.power = nn.Parameter(torch.tensor(power))
        self.floor = floor

    def forward(self, map_BCHW: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C"]:
        # floored: a power of a negative number is none, and p may pass zero in no training that converges
        return map_BCHW.clamp(min=self.floor).pow(self.power).mean((-2, -1)).pow(1 / self.power)


class Grid(nn.Module):
    """A map in G x G cells: a 1 x 1 convolution to `channels`, ReLU, the mean of each cell, flattened row by row."""

    def __init__(self, channels_in: int, channels: int, side: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(channels_in, channels, kernel_size=1)
        self.side = side
        self.width = channels * side * side

    def forward(self, map_BCHW: Float[Tensor, "B C H W"]) -> Float[Tensor, "B E"]:
        return in_cells(F.relu(self.project(map_BCHW)), self.side, self.side).flatten(1)


def in_cells(map_BCHW: Float[Tensor, "B C H W"], rows: int, columns: int) -> Float[Tensor, "B C rows columns"]:
    """The mean of a map in each of rows x columns equal cells, whatever its size: pixels on a border count in both."""
    height, width = map_BCHW.shape[-2:]
    if (height, width) == (rows, columns):
        return map_BCHW
    # the map's size is a constant in an export, and so are these two matrices
    return _shares(height, rows).to(map_BCHW) @ map_BCHW @ _shares(width, columns).to(map_BCHW).T


def _shares(count: int, cells: int) -> Float[Tensor, "cells count"]:
    """How much each of `count` equal pixels in a row counts in each of `cells` equal cells; rows sum to 1."""
    pixel, cell = torch.arange(count) / count, torch.arange(cells)[:, None] / cells
    overlap = torch.minimum(pixel + 1 / count, cell + 1 / cells) - torch.maximum(pixel, cell)
    return overlap.clamp(min=0) * cells


class Cells(nn.Module):
    """The last of a backbone's maps in CELLS, flattened, mean 0 and deviation 1: networks differ tenfold. `width` E."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.width = channels * math.prod(CELLS)

    def forward(self, maps: Sequence[Float[Tensor, "B C H W"]]) -> Float[Tensor, "B E"]:
        return F.layer_norm(in_cells(maps[-1], *CELLS).flatten(1), (self.width,))


class Pooling(nn.Module):
    """The vector that a pooled model reads, by `Pool`, of a backbone's pooled feature and its last map.

    `width` is E. Only a map is needed for all but `backbone`; `Backbone(taps=LAST)` gives one.
    """

    def __init__(self, pool: Pool, pooled: int, channels_in: int, channels: int = 64, side: int = 4) -> None:
        super().__init__()
        self.pool = pool
        self.grid = Grid(channels_in, channels, side) if "grid" in pool else None
        self.gem = GeM() if pool == "gem" else None
        self.width = {"backbone": pooled, "mean": channels_in, "gem": channels_in}.get(pool, 0)
        if self.grid is not None:
            self.width = self.grid.width + (pooled if pool == "grid+mean" else 0)

    def forward(self, pooled_BE: Tensor, map_BCHW: Tensor | None) -> Tensor:
        if self.pool == "backbone" or map_BCHW is None:
            return pooled_BE
        if self.grid is not None:
            cells_BE = self.grid(map_BCHW)
            return torch.cat([cells_BE, pooled_BE], dim=1) if self.pool == "grid+mean" else cells_BE
        return self.gem(map_BCHW) if self.gem is not None else map_BCHW.mean((-2, -1))


LAST = (32,)
"""The stride of the map that is pooled: the deepest that the networks of the field have."""
