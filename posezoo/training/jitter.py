"""Colour jitter on batches, the same numbers as torchvision's ColorJitter on float images.

Brightness, contrast, saturation and hue are varied one after another, in an order drawn for each image, and clamped to
[0, 1] after each of the first three. Contrast mixes with the mean of the grey image, saturation with the grey image,
and the hue is turned in HSV. What an image gets is a function of its own numbers alone, whatever shares its batch.
Published code varies pictures of whole grey levels, to which each step returns; here nothing is rounded in between.

Legend: B batch, N images of it, H height, W width, 4 steps.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from posezoo.training.config import AugmentSettings

GREY = (0.2989, 0.587, 0.114)  # torchvision's and OpenCV's weights: their sum is 0.9999
ORDERS = tuple(itertools.permutations(range(4)))


def coloured(
    images_BCHW: Float[Tensor, "B 3 H W"], uniforms_B5: Float[Tensor, "B 5"], augmentation: AugmentSettings
) -> Float[Tensor, "B 3 H W"]:
    """Brightness, contrast, saturation and hue varied for each image; images in [0, 1].

    `uniforms_B5`, on the CPU and in [0, 1), draws the four factors (brightness, contrast, saturation, turn of the hue)
    and their order.
    What `augmentation` does not vary is left out.
    """
    limits = (augmentation.brightness, augmentation.contrast, augmentation.saturation, augmentation.hue)
    if not any(limits):
        return images_BCHW
    low = torch.tensor([*(max(0.0, 1 - limit) for limit in limits[:3]), -limits[3]])
    high = torch.tensor([*(1 + limit for limit in limits[:3]), limits[3]])
    factor_B4 = low + uniforms_B5[:, :4] * (high - low)
    # numbers of the host, so that no step waits for the device; planar, because each step reads whole channels
    drawn = (uniforms_B5[:, 4] * len(ORDERS)).long().clamp(max=len(ORDERS) - 1).numpy()
    device = images_BCHW.device
    result_BCHW = images_BCHW.clone(memory_format=torch.contiguous_format)
    for step in range(4):
        for change, vary in enumerate(STEPS):
            rows = [n for n, order in enumerate(drawn) if ORDERS[order][step] == change]
            if rows and limits[change]:
                rows_N = torch.tensor(rows).to(device, non_blocking=True)
                factor_N11 = factor_B4[rows, change, None, None].to(device, non_blocking=True)
                varied_N3HW = vary(result_BCHW.index_select(0, rows_N), factor_N11)
                result_BCHW.index_copy_(0, rows_N, varied_N3HW)
    return result_BCHW


def _brightness(image_N3HW: Tensor, factor_N11: Tensor) -> Tensor:
    return image_N3HW.mul_(factor_N11[:, None]).clamp_(0, 1)


def _contrast(image_N3HW: Tensor, factor_N11: Tensor) -> Tensor:
    mean_N = image_N3HW.mean(dim=(2, 3)) @ torch.tensor(GREY, device=image_N3HW.device)
    return _blended(image_N3HW, mean_N[:, None, None, None], factor_N11[:, None])


def _saturation(image_N3HW: Tensor, factor_N11: Tensor) -> Tensor:
    red_NHW, green_NHW, blue_NHW = image_N3HW.unbind(1)
    grey_NHW = red_NHW.mul(GREY[0]).add_(green_NHW, alpha=GREY[1]).add_(blue_NHW, alpha=GREY[2])
    return _blended(image_N3HW, grey_NHW[:, None], factor_N11[:, None])


def _blended(image_N3HW: Tensor, other_N1HW: Tensor, factor_N111: Tensor) -> Tensor:
    return image_N3HW.mul_(factor_N111).add_(other_N1HW * (1 - factor_N111)).clamp_(0, 1)


def _hue(image_N3HW: Tensor, turn_N11: Tensor) -> Tensor:
    """The hue turned by a fraction of the circle, in sixths: red is at 0, green at 2, blue at 4."""
    red_NHW, green_NHW, blue_NHW = image_N3HW.unbind(1)
    # pairwise: torch.aminmax over three channels takes ten times as long
    low_NHW = torch.minimum(red_NHW, green_NHW).minimum(blue_NHW)
    high_NHW = torch.maximum(red_NHW, green_NHW).maximum(blue_NHW)
    range_NHW = high_NHW - low_NHW
    of_red, of_green, of_blue = green_NHW - blue_NHW, blue_NHW - red_NHW, red_NHW - green_NHW
    # a grey pixel has no hue: any will do, as its colours then have no range
    safe_NHW = range_NHW.clamp_min(1e-9)
    hue_NHW = torch.where(high_NHW == green_NHW, of_green.div_(safe_NHW).add_(2), of_blue.div_(safe_NHW).add_(4))
    hue_NHW = torch.where(high_NHW == red_NHW, of_red.div_(safe_NHW), hue_NHW).add_(6 * turn_N11)
    hue_NHW.sub_(hue_NHW.div(6).floor_(), alpha=6)
    share_red = hue_NHW.sub(3).abs_().sub_(1)
    share_green = hue_NHW.sub(2).abs_().neg_().add_(2)
    share_blue = hue_NHW.sub_(4).abs_().neg_().add_(2)
    for channel, share_NHW in enumerate((share_red, share_green, share_blue)):
        image_N3HW[:, channel] = share_NHW.clamp_(0, 1).mul_(range_NHW).add_(low_NHW)
    return image_N3HW


STEPS: tuple[Callable[[Tensor, Tensor], Tensor], ...] = (_brightness, _contrast, _saturation, _hue)
"""By their places in a drawn order; the last changes the hue."""
