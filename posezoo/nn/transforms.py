"""From an image file to what a network reads: decoding, resizing, cropping, colour and the pose-true rotation.

Two stages, the same in training, evaluation and prediction, so that a saved model gives the same poses everywhere:

1. `read_image`: file -> uint8 RGB with short edge 256 (what the image cache holds).
2. `preprocess`: batch of those -> resized, cropped (or warped), normalised float tensor.

Sides and corners are torchvision's to the pixel: `Resize(256)` and `CenterCrop(224)` of a file give the same image as
both stages with `resize=256` and `crop=224`. Another `resize` starts from the picture of short edge 256.

What becomes of a picture that is not square says `fit`: `crop` gives its short edge `resize` pixels and leaves the rest
to the crop, `stretch` gives them to both edges, `pad` to the long one. Beside a picture that is smaller than the crop
the network reads zero, the mean colour.

Legend: B batch, C channels, H height, W width, 3 camera axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2 import functional as TF

from posezoo.base.files.pictures import resized_size

Fit = Literal["crop", "stretch", "pad"]


def preprocess(
    images_BCHW: Tensor,
    resize: int,
    crop: int,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    offset_B2: Tensor | None = None,
    fit: Fit = "crop",
) -> Float[Tensor, "B 3 crop crop"]:
    """What the network reads: resized by `fit`, a square crop, normalised by `mean` and `std`.

    `images_BCHW` is uint8. `offset_B2` in [0, 1] places the crop between the left/top and the right/bottom edge;
    None crops the centre.
    """
    images_BCHW = resized(images_BCHW, resize, fit)
    shown_height, shown_width = images_BCHW.shape[-2:]
    top, left = centre_corner(shown_height, shown_width, crop)
    if min(top, left) < 0:
        right, below = crop - shown_width + left, crop - shown_height + top
        images_BCHW = F.pad(images_BCHW, [max(0, side) for side in (-left, right, -top, below)])
    height, width = images_BCHW.shape[-2:]
    if offset_B2 is None:
        top, left = centre_corner(height, width, crop)
        images_BCHW = images_BCHW[..., top : top + crop, left : left + crop]
    else:
        room = torch.tensor([width - crop + 1, height - crop + 1], device=offset_B2.device)
        corner_B2 = (offset_B2 * room).long().clamp(max=room - 1)
        rows = corner_B2[:, 1, None] + torch.arange(crop, device=corner_B2.device)
        columns = corner_B2[:, 0, None] + torch.arange(crop, device=corner_B2.device)
        batch = torch.arange(len(images_BCHW), device=corner_B2.device)[:, None, None]
        images_BCHW = images_BCHW.movedim(1, -1)[batch, rows[:, :, None], columns[:, None, :]].movedim(-1, 1)
    # in place on the one new tensor, over whole rows of W C numbers: broadcasting over three channels at a time, with
    # a new tensor for each operation, would take as long as the cache saves
    floats_BHWC = images_BCHW.movedim(1, -1).to(torch.float32, memory_format=torch.contiguous_format)
    mean_3, std_3 = (torch.tensor(values, device=images_BCHW.device) for values in (mean, std))
    floats_BHWC.flatten(2).sub_((255 * mean_3).repeat(crop)).div_((255 * std_3).repeat(crop))
    return blanked(floats_BHWC.movedim(-1, 1), shown_height, shown_width)


def resized(images_BCHW: Tensor, resize: int, fit: Fit = "crop") -> Tensor:
    """The images with the edges that `fit` gives them, antialiased bilinear."""
    height, width = images_BCHW.shape[-2:]
    new_width, new_height = fitted_size(width, height, resize, fit)
    if (new_height, new_width) == (height, width):
        return images_BCHW
    resized_BCHW: Tensor = TF.resize(images_BCHW, [new_height, new_width])
    return resized_BCHW


def fitted_size(width: int, height: int, resize: int, fit: Fit) -> tuple[int, int]:
    """(width, height) of a picture before the crop."""
    if fit == "stretch":
        return resize, resize
    if fit == "pad":
        long = max(width, height)
        return max(1, round(resize * width / long)), max(1, round(resize * height / long))
    return resized_size(width, height, resize)


def centre_corner(height: int, width: int, crop: int) -> tuple[int, int]:
    """(top, left) of the centre crop as torchvision's CenterCrop: round((side - crop) / 2), halves to the even one.

    Negative where the picture is smaller than the crop; then halves go up.
    """
    top, left = (round((side - crop) / 2) if side >= crop else -((crop - side) // 2) for side in (height, width))
    return top, left


def blanked(images_BCHW: Tensor, height: int, width: int) -> Tensor:
    """Centre crops of pictures of this size, normalised: zero, in place, where the picture has ended."""
    crop = images_BCHW.shape[-1]
    top, left = centre_corner(height, width, crop)
    for axis, before, side in ((-2, -top, height), (-1, -left, width)):
        if side < crop:
            images_BCHW.narrow(axis, 0, before).zero_()
            images_BCHW.narrow(axis, before + side, crop - side - before).zero_()
    return images_BCHW


def normalised(images_BCHW: Tensor, mean: tuple[float, float, float], std: tuple[float, float, float]) -> Tensor:
    """(images - mean) / std per channel; images in [0, 1]."""
    mean_C11, std_C11 = (torch.tensor(values, device=images_BCHW.device)[:, None, None] for values in (mean, std))
    return (images_BCHW - mean_C11) / std_C11


def rotate_cameras(
    images_BCHW: Float[Tensor, "B 3 H W"],
    focal_B2: Float[Tensor, "B 2"],
    centre_B2: Float[Tensor, "B 2"],
    rotation_B33: Float[Tensor, "B 3 3"],
    crop: int,
) -> Float[Tensor, "B 3 crop crop"]:
    """The centre crop that the cameras would see after a rotation R_d about their centres: exact whatever the depth.

    Old image p = K R_d K'^-1 p'; the pose becomes R' = R_cw R_d, the position stays. K' is K moved to the centre crop,
    so that R_d = identity gives exactly the crop that evaluation reads. Corners without data are reflected.
    `focal_B2` and `centre_B2` are in pixels of `images_BCHW`, (0, 0) at the outer corner of the top-left pixel.
    """
    corner = centre_corner(images_BCHW.shape[-2], images_BCHW.shape[-1], crop)
    x_BHW, y_BHW = rays((crop, crop), corner, focal_B2, centre_B2)
    # rays of the new camera, rotated into the old one: d = R_d d'
    r = rotation_B33.float()[:, :, :, None, None]
    old_3 = [r[:, i, 0] * x_BHW + r[:, i, 1] * y_BHW + r[:, i, 2] for i in range(3)]
    return looked_up(images_BCHW, old_3, focal_B2, centre_B2)


def rays(
    size: tuple[int, int],
    corner: tuple[int, int],
    focal_B2: Float[Tensor, "B 2"],
    centre_B2: Float[Tensor, "B 2"],
) -> tuple[Float[Tensor, "B height width"], Float[Tensor, "B height width"]]:
    """x / z and y / z of the rays of a part's pixels: its (height, width) and corner (top, left) in the picture."""
    v_H, u_W = (torch.arange(side, device=focal_B2.device, dtype=torch.float32) + 0.5 for side in size)
    x_B1W = (u_W + corner[1] - centre_B2[:, :1])[:, None, :] / focal_B2[:, :1, None]
    y_BH1 = (v_H + corner[0] - centre_B2[:, 1:])[:, :, None] / focal_B2[:, 1:, None]
    x_BHW, y_BHW = torch.broadcast_tensors(x_B1W, y_BH1)
    return x_BHW, y_BHW


def looked_up(
    images_BCHW: Float[Tensor, "B 3 H W"],
    rays_3BHW: Sequence[Float[Tensor, "B height width"]],
    focal_B2: Float[Tensor, "B 2"],
    centre_B2: Float[Tensor, "B 2"],
) -> Float[Tensor, "B 3 height width"]:
    """What the pictures show along rays of their cameras, by a cubic; reflected where they show nothing.

    Bilinear would take a fifth of the sharpness, and models would be trained on pictures softer than those they are
    asked about. Beside hard edges values may lie a little outside those of the picture. Cubics are linear in their
    parameter a: two thirds of torch's (a = -0.75) and a third of a = 0, which is bilinear between fractions
    f^2 (3 - 2f), are the one of a = -0.5, which keeps ramps (Keys 1981), so that a roll is of just its angle.
    """
    size_2 = (images_BCHW.shape[-1], images_BCHW.shape[-2])
    x_BHW, y_BHW, z_BHW = rays_3BHW
    depth = z_BHW.clamp_min(1e-3)  # rays beside or behind the camera end far outside, where the image is reflected
    sharp, smooth = [], []
    for i, (side, along) in enumerate(zip(size_2, (x_BHW, y_BHW), strict=True)):
        at = along / depth * focal_B2[:, i, None, None] + (centre_B2[:, i, None, None] - 0.5)  # 0: first pixel's centre
        whole = at.floor()
        f = at - whole
        sharp.append((at + 0.5) * (2 / side) - 1)
        smooth.append((whole + f * f * (3 - 2 * f) + 0.5) * (2 / side) - 1)
    bilinear, bicubic = (
        F.grid_sample(images_BCHW, torch.stack(grid, -1), mode, padding_mode="reflection", align_corners=False)
        for mode, grid in (("bilinear", smooth), ("bicubic", sharp))
    )
    return torch.lerp(bilinear, bicubic, 2 / 3)
