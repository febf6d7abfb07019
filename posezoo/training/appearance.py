"""Training images in another light, weather or season: colours change, edges stay where they are.

Each operation is drawn for each image with probability CHANCE; those drawn follow one another in an order drawn for the
image. Everything random is a hash of the image's seed, computed where the images are: a picture is a function of
(seed, epoch, index) alone, and torch's random state is left alone. Of the images of a batch, those that have the same
operation next are changed together.

- `convolved` is RandConv: Xu et al., Robust and Generalizable Visual Representation Learning via Random Convolutions
  (ICLR 2021), with 1, 3 or 5 pixels, each channel's mean and deviation kept, mixed with the image. Unlike theirs, a
  kernel is symmetric about its centre: theirs moves what it shows by up to two pixels, which a label would not tell.
- `remixed` mixes the Fourier amplitudes with others and keeps the phases, as in Xu et al., A Fourier-based Framework
  for Domain Generalization (CVPR 2021). There they come from another image of the batch; here they are drawn, like a
  photograph's: independent Rayleigh numbers falling with a power of the frequency. So the batch does not matter.

Legend: B images of the batch, G images changed together, H height, W width, O operations, N numbers, F frequencies.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import groupby
from operator import itemgetter

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

CHANCE = 0.7 * 4 / 11
"""Probability of each operation for each image."""
FEW = 24
"""Random numbers that each operation has at hand, besides fields of them."""
_REPAINTS = (  # what one tone of the picture turns into
    (0.93, 0.95, 0.99),  # snow
    (0.72, 0.42, 0.13),  # leaves
    (0.78, 0.63, 0.22),  # yellow leaves
    (0.33, 0.45, 0.18),  # grass
    (0.20, 0.21, 0.24),  # wet asphalt
    (0.47, 0.36, 0.26),  # earth
)


class Draws:
    """Random numbers for one operation on G images, the same on every device: hashes of the images' seeds.

    `few_GN`: uniform numbers, drawn together with those of other operations; `key_G1`: an int32 key for many more.
    """

    def __init__(self, few_GN: Tensor, key_G1: Tensor) -> None:
        self._few_GN, self._key_G1 = few_GN, key_G1
        self._drawn = 0

    def uniform(self, *shape: int) -> Tensor:
        """(G, *shape) float32 in [0, 1), of the few."""
        last, self._drawn = self._drawn, self._drawn + math.prod(shape)
        return self._few_GN[:, last : self._drawn].reshape(len(self._few_GN), *shape)

    def signed(self, *shape: int) -> Tensor:
        """(G, *shape) float32 in [-1, 1), of the few."""
        return self.uniform(*shape) * 2 - 1

    def field(self, *shape: int) -> Tensor:
        """(G, *shape) float32 in [0, 1), as many as you like."""
        return _uniform(hashed(self._key_G1, FEW, math.prod(shape))).view(-1, *shape)

    def noise(self, *shape: int) -> Tensor:
        """(G, *shape) float32 of mean 0 and deviation 1: near normal, the sum of a hash's four bytes."""
        bits = hashed(self._key_G1, FEW, math.prod(shape))
        pairs = (bits & 0xFF00FF) + (bits >> 8 & 0xFF00FF)
        total = ((pairs & 0xFFFF) + (pairs >> 16)).float()
        return total.sub_(510).mul_(1 / math.sqrt(4 * (256**2 - 1) / 12)).view(-1, *shape)


def hashed(key: Tensor, start: int, count: int) -> Tensor:
    """(..., count) int32, random in all bits: the numbers of keys (..., 1) int32 from the place `start` on."""
    return _mixed(torch.arange(start, start + count, dtype=torch.int32, device=key.device) ^ key)


def _uniform(bits: Tensor) -> Tensor:
    return _shifted(bits, 8).float().mul_(2.0**-24)


def _mixed(number: Tensor) -> Tensor:
    """Each int32, taken as unsigned, mixed in place: a bijection by Wellons' hash-prospector (public domain)."""
    number.bitwise_xor_(_shifted(number, 15)).mul_(0x2C1B3C6D)  # int32: products modulo 2^32, and fast
    number.bitwise_xor_(_shifted(number, 12)).mul_(0x297A2D39)
    return number.bitwise_xor_(_shifted(number, 15))


def _shifted(number: Tensor, places: int) -> Tensor:
    """number >> places of an int32 taken as unsigned."""
    return (number >> places).bitwise_and_(2 ** (32 - places) - 1)


def gamma(images_G3HW: Tensor, draws: Draws, amount: float) -> Tensor:
    """Brighter or darker, black and white kept: x^exp(+-0.9)."""
    power_G111 = (0.9 * amount * draws.signed(1, 1, 1)).exp()
    return (images_G3HW.clamp_min(0).log() * power_G111).exp()  # a fifth of the time of a power


def toned(images_G3HW: Tensor, draws: Draws, amount: float) -> Tensor:
    """Each channel through a rising curve of its own: a quartic in Bernstein's form, whose coefficients rise."""
    step_G34 = (amount * (0.9 * draws.signed(1, 4) + 0.5 * draws.signed(3, 4))).exp()
    step_G34 = step_G34 / step_G34.sum(-1, keepdim=True)
    low_G31, high_G31 = 0.15 * amount * draws.uniform(3, 1) ** 2, 1 - 0.25 * amount * draws.uniform(3, 1) ** 2
    rise_G31 = high_G31 - low_G31
    # B'(x) has the coefficients 4 (b_k+1 - b_k): summed and integrated, power by power
    first, second, third, fourth = (4 * rise_G31 * step_G34).split(1, -1)
    powers = (
        (fourth - first) / 4 + (second - third) * 0.75,
        first - 2 * second + third,
        (second - first) * 1.5,
        first,
        low_G31,
    )
    curve_G3HW = torch.zeros_like(images_G3HW)
    for power in powers:
        curve_G3HW = curve_G3HW * images_G3HW + power[..., None]
    return curve_G3HW


def greyed(images_G3HW: Tensor, draws: Draws, amount: float) -> Tensor:
    """Less colour, down to none."""
    return torch.lerp(images_G3HW, _luma(images_G3HW), min(1.0, amount) * draws.uniform(1, 1, 1))


def tinted(images_G3HW: Tensor, draws: Draws, amount: float) -> Tensor:
    """Channels mixed by a matrix near the identity that keeps grey, then a cast of up to a quarter a channel."""
    mix_G33 = 0.3 * amount * draws.signed(3, 3)
    mix_G33 = mix_G33 - mix_G33.mean(-1, keepdim=True) + torch.eye(3, device=images_G3HW.device)
    mix_G33 = mix_G33 * (1 + 0.25 * amount * draws.signed(3, 1))
    return (mix_G33 @ images_G3HW.flatten(2)).view_as(images_G3HW)


def lit(images_G3HW: Tensor, draws: Draws, amount: float) -> Tensor:
    """In a smooth, tinted light that is mostly darker: a random 4x4 field of its logarithm, enlarged."""
    field_G1HW = F.interpolate(draws.signed(1, 4, 4), images_G3HW.shape[-2:], mode="bilinear", align_corners=True)
    dark_G111, tint_G311 = draws.uniform(1, 1, 1), draws.signed(3, 1, 1)
    return images_G3HW * (amount * (0.7 * field_G1HW - 0.9 * dark_G111 + 0.2 * tint_G311)).exp()


def hazed(images_G3HW: Tensor, draws: Draws, amount: float) -> Tensor:
    """Behind haze: up to 0.9 of the light above a horizon, fading to a share of that towards the ground."""
    air_G311 = 0.5 + 0.45 * draws.uniform(1, 1, 1) + 0.05 * draws.signed(3, 1, 1)
    horizon_G111, width_G111 = 0.2 + 0.5 * draws.uniform(1, 1, 1), 0.05 + 0.25 * draws.uniform(1, 1, 1)
    ground_G111, density_G111 = 0.4 * draws.uniform(1, 1, 1), amount * (0.2 + 0.7 * draws.uniform(1, 1, 1))
    down_H1 = torch.linspace(0, 1, images_G3HW.shape[-2], device=images_G3HW.device)[:, None]
    height_G1H1 = torch.sigmoid((horizon_G111 - down_H1) / width_G111)
    veil_G1H1 = (density_G111 * torch.lerp(ground_G111, torch.ones_like(ground_G111), height_G1H1)).clamp_max(1)
    return torch.lerp(images_G3HW, air_G311, veil_G1H1)


def convolved(images_G3HW: Tensor, draws: Draws, amount: float) -> Tensor:
    """Mixed with a random convolution over 1, 3 or 5 pixels and all channels, mean and deviation kept (RandConv)."""
    height = images_G3HW.shape[-2]
    axis_5 = torch.arange(-2, 3, device=images_G3HW.device).abs()
    away_55 = torch.maximum(axis_5[:, None], axis_5)
    reach_G111 = (3 * draws.uniform(1, 1, 1, 1)).floor()
    kernel_G3355 = draws.noise(3, 3, 5, 5) * (away_55 <= reach_G111)
    kernel_G5335 = (kernel_G3355 + kernel_G3355.flip(-1, -2)).movedim(3, 1)
    # five products with rows of pixels and their neighbours: half the time of a grouped convolution on a CPU
    near = F.pad(images_G3HW, (2, 2, 2, 2), mode="reflect").unfold(3, 5, 1).movedim(-1, 2).flatten(1, 2)
    made_G3N = torch.zeros_like(images_G3HW).flatten(2)
    for down in range(5):
        rows_GN = near[:, :, down : down + height].flatten(2)
        made_G3N.baddbmm_(kernel_G5335[:, down].flatten(2), rows_GN)
    made_G3HW = made_G3N.view_as(images_G3HW)
    mean_G311, deviation_G311 = _moments(images_G3HW)
    made_mean_G311, made_deviation_G311 = _moments(made_G3HW)
    scale_G311 = deviation_G311 / made_deviation_G311.clamp_min(1e-6)
    made_G3HW = made_G3HW.sub_(made_mean_G311).mul_(scale_G311).add_(mean_G311)
    return torch.lerp(images_G3HW, made_G3HW, min(1.0, amount) * draws.uniform(1, 1, 1))


def remixed(images_G3HW: Tensor, draws: Draws, amount: float) -> Tensor:
    """Mixed with up to 0.7 of random Fourier amplitudes, as strong in total as the image's own; the phases are kept."""
    height, width = images_G3HW.shape[-2:]
    spectrum_G3HF = torch.fft.rfft2(images_G3HW)
    device = images_G3HW.device
    down_H1, across_F = torch.fft.fftfreq(height, device=device)[:, None], torch.fft.rfftfreq(width, device=device)
    frequency_HF = (down_H1**2 + across_F**2).sqrt()
    frequency_HF[0, 0] = math.inf  # of the mean nothing is drawn here
    rayleigh_G1HF = (-(1 - draws.field(1, *frequency_HF.shape)).log()).sqrt()
    drawn_G1HF = rayleigh_G1HF * (-(0.8 + 0.8 * draws.uniform(1, 1, 1)) * frequency_HF.log()).exp()
    own_G3HF = (spectrum_G3HF.real.square() + spectrum_G3HF.imag.square()).sqrt_()  # half the time of abs()
    own_G3HF[..., 0, 0] = 0
    strength_G311 = own_G3HF.square().sum((-2, -1), keepdim=True) / drawn_G1HF.square().sum((-2, -1), keepdim=True)
    strength_G311 = strength_G311.sqrt() * (0.4 * draws.signed(3, 1, 1)).exp()
    share_G111 = min(1.0, 0.7 * amount) * draws.uniform(1, 1, 1)
    ratio_G3HF = 1 + share_G111 * (strength_G311 * drawn_G1HF / own_G3HF.clamp_min(1e-4) - 1)
    ratio_G3HF[..., 0, 0] = 1 + 0.25 * share_G111[..., 0, 0] * draws.signed(3)
    return torch.fft.irfft2(spectrum_G3HF * ratio_G3HF, s=(height, width))


def repainted(images_G3HW: Tensor, draws: Draws, amount: float) -> Tensor:
    """What is as bright and coloured as a place of the lower picture becomes snow, leaves, grass, asphalt or earth."""
    height, width = images_G3HW.shape[-2:]
    half_G3hw = F.interpolate(images_G3HW, (height // 2, width // 2), mode="bilinear", align_corners=False)
    coarse_G3NN = F.adaptive_avg_pool2d(half_G3hw, 12)
    down_G, across_G = (4 + 8 * draws.uniform()).long(), (12 * draws.uniform()).long()
    each_G = torch.arange(len(images_G3HW), device=images_G3HW.device)
    tone_G311 = coarse_G3NN[each_G, :, down_G, across_G][..., None, None]
    away_G1hw = (half_G3hw - tone_G311).square_().sum(1, keepdim=True)
    mask_G1hw = (away_G1hw / (-2 * (0.06 + 0.12 * draws.uniform(1, 1, 1)) ** 2)).exp_()
    mask_G1HW = F.interpolate(mask_G1hw, (height, width), mode="bilinear", align_corners=False)
    palette_N3 = torch.tensor(_REPAINTS, device=images_G3HW.device)
    paint_G311 = palette_N3[(len(_REPAINTS) * draws.uniform()).long()][..., None, None] + 0.08 * draws.signed(3, 1, 1)
    new_G3HW = paint_G311 + 0.7 * (_luma(images_G3HW) - _luma(tone_G311))
    return torch.lerp(images_G3HW, new_G3HW, mask_G1HW * min(1.0, amount) * (0.4 + 0.6 * draws.uniform(1, 1, 1)))


def noisy(images_G3HW: Tensor, draws: Draws, amount: float) -> Tensor:
    """With near normal noise in each pixel and channel, of a deviation up to 0.06."""
    return images_G3HW + 0.06 * amount * draws.uniform(1, 1, 1) * draws.noise(*images_G3HW.shape[1:])


def focused(images_G3HW: Tensor, draws: Draws, amount: float) -> Tensor:
    """Blurred by a Gaussian of 0.4 to 1.6 pixels, or sharpened by as much as that would blur."""
    height, width = images_G3HW.shape[-2:]
    axis_9 = torch.arange(-4, 5, device=images_G3HW.device)
    weight_G9 = (-0.5 * (axis_9 / (0.4 + 1.2 * draws.uniform(1))) ** 2).exp()
    weight_N9 = (weight_G9 / weight_G9.sum(1, keepdim=True))[:, None].expand(-1, 3, -1).flatten(0, 1)
    soft = F.pad(images_G3HW, (4, 4, 4, 4), mode="reflect").reshape(1, -1, height + 8, width + 8)
    soft = F.conv2d(soft, weight_N9[:, None, None, :], groups=len(weight_N9))
    soft = F.conv2d(soft, weight_N9[:, None, :, None], groups=len(weight_N9)).view(images_G3HW.shape)
    return torch.lerp(images_G3HW, soft, (amount * draws.signed(1, 1, 1)).clamp_max(1))


def _luma(images_G3HW: Tensor) -> Tensor:
    """How bright each pixel is, (G, 1, H, W)."""
    weight_311 = torch.tensor([0.299, 0.587, 0.114], device=images_G3HW.device)[:, None, None]
    return (images_G3HW * weight_311).sum(1, keepdim=True)


def _moments(images_G3HW: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each channel, (G, 3, 1, 1)."""
    mean_G311 = images_G3HW.mean((-2, -1), keepdim=True)
    return mean_G311, (images_G3HW - mean_G311).square_().mean((-2, -1), keepdim=True).sqrt()


Operation = Callable[[Tensor, Draws, float], Tensor]
"""(images (G, 3, H, W) in [0, 1], their random numbers, amount) -> the new ones, before they are clamped to [0, 1].

An amount of 0 changes nothing.
"""

WEATHER: tuple[Operation, ...] = (
    gamma, toned, greyed, tinted, lit, hazed, convolved, remixed, repainted, noisy, focused,
)  # fmt: skip
PHOTO: tuple[Operation, ...] = (gamma, toned, tinted, lit, noisy, focused)
KINDS = {"weather": (WEATHER, 1.0), "photo": (PHOTO, 0.6)}
"""Kind -> its operations and their amount at strength 1."""


def with_appearance(
    images_B3HW: Float[Tensor, "B 3 H W"], uniforms_B2: Float[Tensor, "B 2"], kind: str, strength: float
) -> Float[Tensor, "B 3 H W"]:
    """New images in [0, 1], each changed by the operations it draws. `uniforms_B2` on the CPU, in [0, 1): its seed.

    `kind`: weather or photo. `strength` multiplies amounts; 0 changes nothing.
    """
    if not strength:
        return images_B3HW
    operations, amount = KINDS[kind]
    key_BO, few_BON = _drawn(uniforms_B2)
    images_B3HW = images_B3HW.clone(memory_format=torch.contiguous_format)
    device = images_B3HW.device
    for number, rows in turns(few_BON[:, -1], operations):
        rows_G = torch.tensor(rows).to(device, non_blocking=True)
        few_GN, key_G1 = few_BON[rows, number], key_BO[rows, number, None]
        draws = Draws(few_GN.to(device, non_blocking=True), key_G1.to(device, non_blocking=True))
        changed_G3HW = WEATHER[number](images_B3HW.index_select(0, rows_G), draws, amount * strength)
        images_B3HW.index_copy_(0, rows_G, changed_G3HW.clamp_(0, 1))
    return images_B3HW


def turns(few_BN: Tensor, operations: tuple[Operation, ...]) -> list[tuple[int, list[int]]]:
    """What to do, in order: (number in WEATHER, rows of the batch). First what is first for any image, and so on."""
    count = len(WEATHER)
    offered_O = torch.tensor([operation in operations for operation in WEATHER], device=few_BN.device)
    chosen_BO = (few_BN[:, :count] < CHANCE) & offered_O
    order_BO = torch.where(chosen_BO, few_BN[:, count : 2 * count], 2).argsort(dim=1, stable=True)
    # on the CPU: the host has to know which images go together
    order = torch.where(chosen_BO.gather(1, order_BO), order_BO, count).numpy().tolist()
    places = [(turn, numbers[turn], row) for row, numbers in enumerate(order) for turn in range(count)]
    groups = groupby(sorted(place for place in places if place[1] < count), itemgetter(0, 1))
    return [(number, [row for *_, row in group]) for (_, number), group in groups]


def _drawn(uniforms_B2: Tensor) -> tuple[Tensor, Tensor]:
    """For each image and operation, and one more for their choice: a key, and the few numbers uniform in [0, 1)."""
    seed_B2 = (uniforms_B2 * 2**24).int()  # exact: a float32 has 24 random bits
    stream_O = _mixed(torch.arange(len(WEATHER) + 1, dtype=torch.int32, device=seed_B2.device))
    key_BO = _mixed(seed_B2[:, :1] ^ _mixed(seed_B2[:, 1:] ^ stream_O))
    return key_BO, _uniform(hashed(key_BO[..., None], 0, FEW))
