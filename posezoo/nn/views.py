"""What a camera would see after it turned and moved, from one picture and its depths.

With R_d the turn and m the move, both in the axes of the old camera, a ray d' of the new camera at inverse depth w'
(1 / m, along the optical axis) is the ray d ~ R_d d' + w' m of the old one; without a move, or infinitely far, that is
the turn alone, which is exact whatever the depth. The new camera's inverse depths are the old ones drawn from there,
nearest last; what the old camera did not see has those around it. The pose becomes R' = R_cw R_d, t' = t + R_cw m.

Legend: B batch, H height, W width, h, w those of inverse depths, N = h w, c, d sides of the drawn ones, 3 camera axes.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from posezoo.nn.transforms import centre_corner, looked_up, rays

COARSE = 2
"""Pixels of the crop to a drawn inverse depth: the maps are coarser than pictures, and few holes are left."""
BEHIND = 0.05  # of the old distance: what is nearer to the new camera, or behind it, is not drawn
HOLE = -1.0


def moved_cameras(
    images_BCHW: Float[Tensor, "B 3 H W"],
    inverse_Bhw: Float[Tensor, "B h w"],
    focal_B2: Float[Tensor, "B 2"],
    centre_B2: Float[Tensor, "B 2"],
    rotation_B33: Float[Tensor, "B 3 3"],
    move_B3: Float[Tensor, "B 3"],
    crop: int | None,
) -> Float[Tensor, "B 3 crop crop"]:
    """The centre crop that the cameras would see after a turn R_d and a move of `move_B3` metres in their own axes.

    Without `crop` it is a whole picture of the old size.
    `inverse_Bhw` covers the whole picture at any size, in 1 / m, NaN where unknown; a picture of which nothing is known
    is turned only, as if infinitely far. Otherwise as `transforms.rotate_cameras`, which it is without a move.
    """
    old = images_BCHW.shape[-2], images_BCHW.shape[-1]
    size, corner = (old, (0, 0)) if crop is None else ((crop, crop), centre_corner(*old, crop))
    drawn_Bcd = _drawn(inverse_Bhw, old, focal_B2, centre_B2, rotation_B33, move_B3, size, corner)
    new_BHW = F.interpolate(_filled(drawn_Bcd)[:, None], size, mode="bilinear", align_corners=False)[:, 0]
    x_BHW, y_BHW = rays(size, corner, focal_B2, centre_B2)
    r, m = rotation_B33.float()[:, :, :, None, None], move_B3.float()[:, :, None, None]
    old_3 = [r[:, i, 0] * x_BHW + r[:, i, 1] * y_BHW + r[:, i, 2] + m[:, i] * new_BHW for i in range(3)]
    return looked_up(images_BCHW, old_3, focal_B2, centre_B2)


def _drawn(
    inverse_Bhw: Tensor,
    old: tuple[int, int],
    focal_B2: Tensor,
    centre_B2: Tensor,
    rotation_B33: Tensor,
    move_B3: Tensor,
    size: tuple[int, int],
    corner: tuple[int, int],
) -> Tensor:
    """(B, c, d) inverse depths for the new camera's crop, the nearest of each cell; HOLE where none falls."""
    (height, width), (h, w) = old, inverse_Bhw.shape[1:]
    device, batch, rows, columns = inverse_Bhw.device, len(inverse_Bhw), *(-(-side // COARSE) for side in size)
    u_w = (torch.arange(w, device=device) + 0.5) * (width / w)
    v_h = (torch.arange(h, device=device) + 0.5) * (height / h)
    x_Bw, y_Bh = (u_w - centre_B2[:, :1]) / focal_B2[:, :1], (v_h - centre_B2[:, 1:]) / focal_B2[:, 1:]
    x_Bhw, y_Bhw = torch.broadcast_tensors(x_Bw[:, None, :], y_Bh[:, :, None])
    inverse_BN = inverse_Bhw.flatten(1)
    known_BN = inverse_BN.isfinite()
    old_B3N = torch.stack([x_Bhw, y_Bhw, torch.ones_like(x_Bhw)], dim=1).flatten(2)
    # in units of the old depth: d' ~ R_d^T (d - w m), at the inverse depth w / d'_z
    new_B3N = rotation_B33.float().mT @ (old_B3N - inverse_BN.nan_to_num()[:, None] * move_B3.float()[:, :, None])
    ahead_BN = new_B3N[:, 2]
    u_BN = (new_B3N[:, 0] / ahead_BN * focal_B2[:, :1] + centre_B2[:, :1] - corner[1]) / COARSE
    v_BN = (new_B3N[:, 1] / ahead_BN * focal_B2[:, 1:] + centre_B2[:, 1:] - corner[0]) / COARSE
    inside_BN = (u_BN >= 0) & (u_BN < columns) & (v_BN >= 0) & (v_BN < rows)
    shown_BN = known_BN & inside_BN & (ahead_BN > BEHIND)
    last = rows * columns  # a cell for what is not shown
    cell_BN = torch.where(shown_BN, v_BN.nan_to_num().long() * columns + u_BN.nan_to_num().long(), last)
    value_BN = torch.where(shown_BN, inverse_BN / ahead_BN, HOLE)
    drawn = torch.full((batch, last + 1), HOLE, device=device).scatter_reduce_(1, cell_BN, value_BN, "amax")
    return drawn[:, :last].view(batch, rows, columns)


def _filled(inverse_Bcd: Tensor) -> Tensor:
    """Each hole with what is known around it: the mean of the smallest cell that knows any, of 2, 4, 8, ... pixels."""
    known = (inverse_Bcd >= 0).float()[:, None]
    levels = [(inverse_Bcd[:, None] * known, known)]
    while max(levels[-1][0].shape[-2:]) > 1:
        total, share = (F.avg_pool2d(one, 2, ceil_mode=True) for one in levels[-1])
        levels.append((total, share))
    value = torch.zeros_like(levels[-1][0])  # nothing is known at all: infinitely far
    for total, share in reversed(levels):
        around = F.interpolate(value, total.shape[-2:], mode="bilinear", align_corners=False)
        value = torch.where(share > 0, total / share.clamp_min(1e-12), around)
    return value[:, 0]
