"""Depths of a picture from others of the same place whose poses are known too: a plane sweep.

Were all that the reference camera sees at one inverse depth w, a source picture drawn into its view would look like its
own. Where it does, w is right (Collins, CVPR 1996). Likeness is the zero-mean normalised cross-correlation of windows,
of several sources the mean of the better half: what is in the way in some is seen by others (Kang, Szeliski and Chai,
CVPR 2001). Between neighbouring pixels inverse depths change little, but where the picture does: semi-global matching
(Hirschmueller, TPAMI 2008) along rows and columns.

With R the turn from the axes of the reference camera to those of a source, and m the reference camera's centre in the
source's axes, metres, a ray d of the reference camera at inverse depth w is the ray R d + w m of the source.

Legend: S sources, K inverse depths, H height, W width, 3 camera axes (right, down, ahead).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from posezoo.nn.transforms import rays

WINDOW = 5
"""Pixels to a side of what is compared."""
FLAT = 1e-5  # variance of a window in which nothing is to be seen, of brightness from 0 to 1
UNLIKE = 0.5  # correlation below which no inverse depth is right
STEP, JUMP = 0.1, 0.6  # costs of one step to the neighbouring pixel's inverse depth, and of any jump
EDGE = 20.0  # how much less a jump costs where the picture changes, per brightness
BEHIND = 0.05  # of the distance: what is nearer to a source is not looked up


def swept_depths(
    reference_HW: Float[Tensor, "H W"],
    sources_SHW: Float[Tensor, "S H W"],
    camera_4: Float[Tensor, " 4"],
    cameras_S4: Float[Tensor, "S 4"],
    rotation_S33: Float[Tensor, "S 3 3"],
    move_S3: Float[Tensor, "S 3"],
    inverse_K: Float[Tensor, " K"],
) -> Float[Tensor, "H W"]:
    """Inverse depths, 1 / m along the optical axis of the reference camera, NaN where no source looks alike.

    All is float32. Pictures are grey, 0 to 1; `camera_4` and `cameras_S4` fx, fy, cx, cy in their pixels; `inverse_K`
    the inverse depths to try, ascending in equal steps.
    """
    drawn = zip(sources_SHW, cameras_S4, rotation_S33, move_S3, strict=True)
    like_SKHW = torch.stack([_likeness(reference_HW, camera_4, inverse_K, *source) for source in drawn])
    cost_KHW = 1 - like_SKHW.topk(-(-len(sources_SHW) // 2), dim=0).values.mean(0)
    total_KHW = _matched(cost_KHW, reference_HW) + _matched(cost_KHW.mT, reference_HW.mT).mT
    best_HW = total_KHW.argmin(0)
    alike_HW = cost_KHW.gather(0, best_HW[None])[0] < 1 - UNLIKE
    return torch.where(alike_HW, _between_steps(total_KHW, best_HW, inverse_K), torch.nan)


def _likeness(
    reference_HW: Tensor,
    camera_4: Tensor,
    inverse_K: Tensor,
    source_HW: Tensor,
    source_camera_4: Tensor,
    rotation_33: Tensor,
    move_3: Tensor,
) -> Tensor:
    """(K, H, W) correlations of windows of the reference and of one source drawn at each inverse depth; -1 outside."""
    height, width = reference_HW.shape
    x_1HW, y_1HW = rays((height, width), (0, 0), camera_4[None, :2], camera_4[None, 2:])
    old_3HW = torch.cat([x_1HW, y_1HW, torch.ones_like(x_1HW)])
    seen_K3HW = (rotation_33 @ old_3HW.flatten(1)).view(3, height, width) + (inverse_K[:, None] * move_3)[
        ..., None, None
    ]
    ahead_KHW = seen_K3HW[:, 2].clamp_min(BEHIND)
    fx, fy, cx, cy = source_camera_4.tolist()
    u_KHW = (seen_K3HW[:, 0] / ahead_KHW * fx + cx) * (2 / source_HW.shape[1]) - 1
    v_KHW = (seen_K3HW[:, 1] / ahead_KHW * fy + cy) * (2 / source_HW.shape[0]) - 1
    grid_KHW2 = torch.stack([u_KHW, v_KHW], dim=-1)
    source_K1HW = source_HW.expand(len(inverse_K), 1, *source_HW.shape)
    drawn_KHW = F.grid_sample(source_K1HW, grid_KHW2, padding_mode="border", align_corners=False)[:, 0]
    own_HW, own_variance_HW = _moments(reference_HW)
    mean_KHW, variance_KHW = _moments(drawn_KHW)
    together_KHW = _mean(drawn_KHW * reference_HW) - mean_KHW * own_HW
    inside_KHW = (grid_KHW2.abs() <= 1).all(-1) & (seen_K3HW[:, 2] > BEHIND)
    return torch.where(inside_KHW, together_KHW / (own_variance_HW * variance_KHW).sqrt(), -1.0)


def _moments(grey: Tensor) -> tuple[Tensor, Tensor]:
    mean = _mean(grey)
    return mean, (_mean(grey.square()) - mean.square()).clamp_min(FLAT)


def _mean(grey: Tensor) -> Tensor:
    """Over windows of (H, W) or (K, H, W)."""
    whole = grey.view(-1, 1, *grey.shape[-2:])
    return F.avg_pool2d(whole, WINDOW, 1, WINDOW // 2, count_include_pad=False).view_as(grey)


def _matched(cost_KHW: Tensor, picture_HW: Tensor) -> Tensor:
    """(K, H, W) least costs of paths down and up the columns that end at each pixel and inverse depth, summed."""
    both_H2KW = torch.stack([cost_KHW, cost_KHW.flip(1)]).permute(2, 0, 1, 3).contiguous()
    change_HW = (picture_HW[1:] - picture_HW[:-1]).abs()
    jump_H2W = (JUMP / (1 + EDGE * torch.stack([change_HW, change_HW.flip(0)], dim=1))).clamp_min(1.5 * STEP)
    path_2KW = both_H2KW[0]
    paths = [path_2KW]
    for cost_2KW, jump_2W in zip(both_H2KW[1:], jump_H2W, strict=True):
        least_21W = path_2KW.amin(1, keepdim=True)
        from_2KW = torch.minimum(path_2KW, least_21W + jump_2W[:, None])
        from_2KW[:, 1:] = torch.minimum(from_2KW[:, 1:], path_2KW[:, :-1] + STEP)
        from_2KW[:, :-1] = torch.minimum(from_2KW[:, :-1], path_2KW[:, 1:] + STEP)
        path_2KW = cost_2KW + from_2KW - least_21W
        paths.append(path_2KW)
    both_2KHW = torch.stack(paths).permute(1, 2, 0, 3)
    return both_2KHW[0] + both_2KHW[1].flip(1)


def _between_steps(cost_KHW: Tensor, best_HW: Tensor, inverse_K: Tensor) -> Tensor:
    """(H, W) inverse depths at the lowest point of a parabola through the best step's cost and its neighbours'."""
    middle_HW = best_HW.clamp(1, len(inverse_K) - 2)
    below_HW, least_HW, above_HW = (cost_KHW.gather(0, middle_HW[None] + step)[0] for step in (-1, 0, 1))
    bend_HW = (below_HW + above_HW - 2 * least_HW).clamp_min(1e-6)
    offset_HW = ((below_HW - above_HW) / (2 * bend_HW)).clamp(-0.5, 0.5)
    return inverse_K[0] + (middle_HW + offset_HW) * (inverse_K[1] - inverse_K[0])
