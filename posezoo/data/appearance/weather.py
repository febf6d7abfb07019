"""Weather and camera faults applied to a picture, without any generative model: six kinds in five severities.

The kinds and their grading follow Hendrycks and Dietterich, Benchmarking Neural Network Robustness to Common
Corruptions and Perturbations (ICLR 2019), rewritten with kornia's operators: a diamond-square plasma is the fog's
density, flakes and drops are sparse noise stretched by a motion blur. What differs: lengths are in units of 1/256 of
the short edge, so that a severity looks the same at any size; night, rain and occlusion are ours.

Legend: C colours (RGB in 0..1), H height, W width, G grid, S longer side, 1 one sample. Only a picture's colours
change: its size, and with it poses and intrinsics, stay.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
SEVERITIES = (1, 2, 3, 4, 5)
# what each severity sets; docs/guides/data.md says it in words
FOG = (0.35, 0.5, 0.62, 0.72, 0.82)  # mean share of the light that comes from the fog
SNOW = ((0.2, 0.006), (0.3, 0.012), (0.4, 0.02), (0.5, 0.03), (0.6, 0.045))  # (whitening, share of flake pixels)
NIGHT = (0.3, 0.2, 0.13, 0.08, 0.05)  # share of the light that is left
RAIN = ((0.002, 10), (0.004, 13), (0.007, 16), (0.011, 20), (0.016, 25))  # (share of drop pixels, length of a streak)
BLUR = (1.0, 1.7, 2.6, 3.8, 5.5)  # standard deviation of the Gaussian
OCCLUSION = (0.05, 0.1, 0.2, 0.3, 0.4)  # share of the picture that is covered


def corrupted(image_HWC: np.ndarray, kind: str, severity: int, seed: int) -> np.ndarray:
    """The uint8 picture (H, W, 3) with one of KINDS applied; the same seed gives the same picture."""
    generator = torch.Generator().manual_seed(seed)
    image_1CHW = torch.from_numpy(np.array(image_HWC)).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        changed_1CHW = KINDS[kind](image_1CHW, severity - 1, generator)
    return (changed_1CHW[0].permute(1, 2, 0).clamp(0, 1) * 255).round().byte().numpy()


def fog(image_1CHW: Tensor, level: int, generator: torch.Generator) -> Tensor:
    """Light scattered by a fog of uneven density: every colour moves towards a light grey."""
    from kornia.contrib import diamond_square

    height, width = image_1CHW.shape[-2:]
    random = partial(torch.rand, generator=generator)
    # one grid for all sizes, enlarged to a square over the picture: fog has no finer detail
    plasma_11GG = diamond_square((1, 1, 257, 257), roughness=0.55, random_fn=random, normalize_range=(-1, 1))
    plasma_11SS = F.interpolate(plasma_11GG, [max(height, width)] * 2, mode="bilinear", align_corners=True)
    density_11HW = (FOG[level] + 0.16 * plasma_11SS[..., :height, :width]).clamp(0, 0.97)
    return image_1CHW * (1 - density_11HW) + 0.85 * density_11HW


def snow(image_1CHW: Tensor, level: int, generator: torch.Generator) -> Tensor:
    """A pale scene, and flakes falling before it at three distances."""
    whitening, share = SNOW[level]
    unit = _unit(image_1CHW)
    image_1CHW = image_1CHW * (1 - whitening) + (0.4 * _grey(image_1CHW) + 0.55) * whitening
    angle = 75 + 30 * torch.rand(1, generator=generator).item()  # degrees; 90 falls straight down
    for size, weight in ((1.1, 0.5), (1.8, 0.3), (2.8, 0.2)):  # far flakes are small and many
        seeds = share * weight / size**2
        flakes_11HW = _sparse(image_1CHW, seeds, generator, size * unit)
        flakes_11HW = _streaked(flakes_11HW, 2.2 * size * unit, angle)
        image_1CHW = image_1CHW + (1 - image_1CHW) * flakes_11HW.clamp(0, 1)
    return image_1CHW


def night(image_1CHW: Tensor, level: int, generator: torch.Generator) -> Tensor:
    """Little light, bluish and with less colour, and the noise of a sensor that amplifies it."""
    light_1CHW = image_1CHW**2.2 * NIGHT[level]  # to linear light
    light_1CHW = 0.6 * light_1CHW + 0.4 * _grey(light_1CHW)
    light_1CHW = light_1CHW * torch.tensor([0.75, 0.85, 1.15])[None, :, None, None]
    noise_1CHW = torch.randn(image_1CHW.shape, generator=generator)
    # photons come one by one: the variance grows with the light, and the darker it is, the fewer there are
    light_1CHW = light_1CHW + noise_1CHW * (light_1CHW.clamp(min=0) * 2e-4 + (2e-3 + 6e-4 * level) ** 2).sqrt()
    return light_1CHW.clamp(0, 1) ** (1 / 2.2)


def rain(image_1CHW: Tensor, level: int, generator: torch.Generator) -> Tensor:
    """A dull, slightly veiled scene behind slanting streaks."""
    share, length = RAIN[level]
    unit = _unit(image_1CHW)
    dull_1CHW = 0.7 * image_1CHW + 0.3 * _grey(image_1CHW)
    veil = 0.06 * (level + 1)
    image_1CHW = dull_1CHW * (0.92 - 0.05 * level) * (1 - veil) + 0.55 * veil
    angle = 65 + 50 * torch.rand(1, generator=generator).item()
    drops_11HW = _sparse(image_1CHW, share / length * 4, generator, 0.9 * unit)
    streaks_11HW = _streaked(drops_11HW, length * unit, angle) * length * 0.45
    return image_1CHW + (0.95 - image_1CHW) * streaks_11HW.clamp(0, 0.75)


def blur(image_1CHW: Tensor, level: int, generator: torch.Generator) -> Tensor:
    """Out of focus: a Gaussian."""
    from kornia.filters import gaussian_blur2d

    sigma = BLUR[level] * _unit(image_1CHW)
    return gaussian_blur2d(image_1CHW, _odd(6 * sigma, image_1CHW), (sigma, sigma))


def occlusion(image_1CHW: Tensor, level: int, generator: torch.Generator) -> Tensor:
    """Dark upright boxes in front of the scene, like people and vehicles, until the share is covered."""
    height, width = image_1CHW.shape[-2:]
    image_1CHW, covered_HW = image_1CHW.clone(), torch.zeros(height, width, dtype=torch.bool)
    while covered_HW.float().mean() < OCCLUSION[level]:
        across, up, x, y, *colour = torch.rand(7, generator=generator).tolist()
        w = max(1, round(width * (0.06 + 0.12 * across)))
        h = max(1, round(height * (0.2 + 0.4 * up)))
        left, top = round(x * (width - w)), round(y * (height - h))
        covered_HW[top : top + h, left : left + w] = True
        tone_311 = 0.08 + 0.25 * torch.tensor(colour)[:, None, None]
        image_1CHW[0, :, top : top + h, left : left + w] = tone_311
    return image_1CHW


KINDS: Mapping[str, Callable[[Tensor, int, torch.Generator], Tensor]] = {
    "fog": fog,
    "snow": snow,
    "night": night,
    "rain": rain,
    "blur": blur,
    "occlusion": occlusion,
}


def _unit(image_1CHW: Tensor) -> float:
    """1/256 of the short edge, in pixels."""
    return min(image_1CHW.shape[-2:]) / 256


def _grey(image_1CHW: Tensor) -> Tensor:
    return (image_1CHW * torch.tensor(LUMA)[None, :, None, None]).sum(1, keepdim=True)


def _sparse(image_1CHW: Tensor, share: float, generator: torch.Generator, size: float) -> Tensor:
    """A (1, 1, H, W) layer of round spots of about `size` pixels, peak 1, seeded at that share of unit squares."""
    from kornia.filters import gaussian_blur2d

    height, width = image_1CHW.shape[-2:]
    unit = _unit(image_1CHW)
    layer_11HW = torch.zeros(1, 1, height, width)
    count = round(share * height * width / unit**2)
    rows, columns = (torch.rand(2, count, generator=generator) * torch.tensor([[height], [width]])).long()
    layer_11HW[0, 0, rows, columns] = 0.5 + 0.5 * torch.rand(count, generator=generator)
    sigma = max(0.45, size / 2)
    spots_11HW = gaussian_blur2d(layer_11HW, _odd(6 * sigma, image_1CHW), (sigma, sigma))
    return (spots_11HW * 2 * torch.pi * sigma**2).clamp(0, 1)


def _streaked(layer_11HW: Tensor, length: float, angle: float) -> Tensor:
    from kornia.filters import motion_blur

    return motion_blur(layer_11HW, _odd(length, layer_11HW)[0], angle, 0.0, mode="bilinear")


def _odd(length: float, image_1CHW: Tensor) -> tuple[int, int]:
    """An odd kernel size, at least 3 and small enough to be reflected at the border."""
    most = min(image_1CHW.shape[-2:])
    size = min(max(3, 2 * round(length / 2) + 1), most - 1 + most % 2)
    return size, size
