"""Colours as torchvision's ColorJitter varies them: the same numbers, in an order drawn for each image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as TF

from posezoo.training.config import AugmentSettings
from posezoo.training.jitter import ORDERS, coloured

FUNCTIONS: tuple[Callable[[Tensor, float], Tensor], ...] = (
    TF.adjust_brightness,
    TF.adjust_contrast,
    TF.adjust_saturation,
    TF.adjust_hue,
)
NAMES = ("brightness", "contrast", "saturation", "hue")


def varied_by(**more: Any) -> AugmentSettings:
    """Nothing varies but what is given."""
    return AugmentSettings(**dict.fromkeys(NAMES, 0.0) | more)


def pictures(count: int) -> Tensor:
    """Random colours, some of few levels, so that channels are often equal; grey, black, white and pure colours too."""
    images = torch.rand(count, 3, 12, 16, generator=torch.Generator().manual_seed(count))
    images[::5] = (images[::5] * 3).round() / 3
    images[1], images[2], images[3] = 0.0, 1.0, 0.3
    images[4] = torch.eye(3).repeat(1, 64).reshape(3, 12, 16)
    return images


def numbers(count: int) -> Tensor:
    """Random numbers in [0, 1) as a batch brings them."""
    return torch.rand(count, 5, generator=torch.Generator().manual_seed(7))


def by_torchvision(image: Tensor, drawn: list[float], settings: AugmentSettings) -> Tensor:
    """One image varied by torchvision's functions; what varies by 0 is left out, as ColorJitter does."""
    limits = [getattr(settings, name) for name in NAMES]
    ranges = [(max(0.0, 1 - limit), 1 + limit) for limit in limits[:3]] + [(-limits[3], limits[3])]
    for change in ORDERS[int(drawn[4] * 24)]:
        low, high = ranges[change]
        if limits[change]:
            image = FUNCTIONS[change](image, low + drawn[change] * (high - low))
    return image


@pytest.mark.parametrize(
    "settings",
    [
        AugmentSettings(),
        varied_by(brightness=0.5, contrast=0.5, saturation=0.5),
        varied_by(brightness=0.7, contrast=0.7, saturation=0.7, hue=0.5),
        varied_by(brightness=2.0, contrast=1.5, saturation=3.0, hue=0.2),
        *(varied_by(**{name: 0.4}) for name in NAMES),
    ],
)
def test_each_image_is_what_torchvision_makes_of_it(settings: AugmentSettings) -> None:
    images, drawn = pictures(96), numbers(96)
    found = coloured(images, drawn, settings)
    for n in range(96):
        expected = by_torchvision(images[n], drawn[n].tolist(), settings)
        torch.testing.assert_close(found[n], expected, atol=2e-5, rtol=0)


def test_all_orders_are_drawn_alike_and_they_matter() -> None:
    drawn = numbers(1)[:, :4].expand(2400, -1)
    place = ((torch.arange(2400) + 0.5) / 2400)[:, None]
    images = pictures(6)[:1].expand(2400, -1, -1, -1)
    found = coloured(images, torch.cat([drawn, place], 1), AugmentSettings(brightness=0.7, hue=0.3))
    kinds, counts = torch.unique((found * 1e4).round(), dim=0, return_counts=True)
    assert len(ORDERS) == len(set(ORDERS)) == 24
    assert len(kinds) > 12, "some orders give the same image, because nothing is clamped"
    assert (counts % 100 == 0).all()


def test_the_last_number_below_one_is_an_order_too() -> None:
    last = torch.tensor(1.0).nextafter(torch.tensor(0.0))
    drawn = torch.cat([numbers(3)[:, :4], last.expand(3, 1)], 1)
    images = pictures(5)[:3]
    for n, image in enumerate(coloured(images, drawn, AugmentSettings())):
        expected = by_torchvision(images[n], [*drawn[n, :4].tolist(), 0.99], AugmentSettings())
        torch.testing.assert_close(image, expected, atol=2e-5, rtol=0)


def test_a_factor_is_drawn_evenly_and_never_below_zero() -> None:
    """With a limit above 1 torchvision draws from [0, 1 + limit], not from 1 +- limit with the rest at 0."""
    grey = torch.full((1000, 3, 2, 2), 0.1)
    drawn = torch.stack([(torch.arange(1000) + 0.5) / 1000, *torch.full((4, 1000), 0.5)], 1)
    factor = coloured(grey, drawn, varied_by(brightness=2.0))[:, 0, 0, 0] / 0.1
    torch.testing.assert_close(factor, 3 * drawn[:, 0], atol=1e-5, rtol=0)


def test_a_hue_is_turned_in_hsv() -> None:
    """Pure red, a third of the circle on, is pure green; in YIQ it would not be."""
    red = torch.tensor([1.0, 0.0, 0.0])[None, :, None, None].expand(2, -1, 2, 2)
    drawn = torch.full((2, 5), 0.5)
    drawn[:, 3] = torch.tensor([(1 / 3 + 0.5), 0.5 - 1 / 3])
    found = coloured(red, drawn, varied_by(hue=0.5))[:, :, 0, 0]
    torch.testing.assert_close(found, torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]), atol=1e-6, rtol=0)


def test_an_image_does_not_depend_on_its_batch() -> None:
    images, drawn = pictures(9), numbers(9)
    together = coloured(images, drawn, AugmentSettings())
    for n in range(9):
        alone = coloured(images[n : n + 1], drawn[n : n + 1], AugmentSettings())[0]
        torch.testing.assert_close(alone, together[n], atol=1e-6, rtol=0)
    back = coloured(images.flip(0), drawn.flip(0), AugmentSettings()).flip(0)
    torch.testing.assert_close(back, together, atol=1e-6, rtol=0)


def test_colours_stay_in_range_vary_and_leave_the_images_alone() -> None:
    images = torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    kept, drawn = images.clone(), numbers(8)
    channels_last = images.contiguous(memory_format=torch.channels_last)
    found = coloured(channels_last, drawn, AugmentSettings(hue=0.5))
    assert torch.equal(channels_last, kept)
    assert found.min() >= 0
    assert found.max() <= 1
    assert (found - images).abs().mean(dim=(1, 2, 3)).min() > 1e-3
    torch.testing.assert_close(found, coloured(images, drawn, AugmentSettings(hue=0.5)), atol=1e-6, rtol=0)
    assert coloured(images, drawn, varied_by()) is images
