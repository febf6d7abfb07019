"""Appearance: a function of (seed, epoch, index) alone, of colours and not of places; each operation by itself.

Long: eleven operations, each with what it must change and what it must not.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from posezoo.data.loader import uniforms
from posezoo.training.appearance import (
    CHANCE,
    FEW,
    KINDS,
    PHOTO,
    WEATHER,
    Draws,
    Operation,
    convolved,
    focused,
    gamma,
    greyed,
    hashed,
    hazed,
    lit,
    noisy,
    remixed,
    repainted,
    tinted,
    toned,
    turns,
    with_appearance,
)

LUMA = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
each_operation = pytest.mark.parametrize("operation", WEATHER, ids=lambda operation: operation.__name__)


def seeds(count: int, seed: int = 0, epoch: int = 0) -> Tensor:
    """What the loader hands on for `count` samples."""
    return torch.from_numpy(np.stack([uniforms(seed, epoch, row) for row in range(count)])[:, 8:10])


def draws(count: int, seed: int = 0, **few: float) -> Draws:
    """Numbers for one operation on `count` images; `few`: n3=0.5 sets the fourth of the few for all of them."""
    random = np.random.default_rng(seed)
    few_BN = torch.from_numpy(random.random((count, FEW), np.float32))
    for place, value in few.items():
        few_BN[:, int(place[1:])] = value
    return Draws(few_BN, torch.from_numpy(random.integers(-(2**31), 2**31, (count, 1)).astype(np.int32)))


def scenes(count: int, height: int = 48, width: int = 64, seed: int = 0) -> Tensor:
    """Pictures of boxes before a gradient, (count, 3, height, width) in 0.2 to 0.8: edges, and flat places."""
    random = np.random.default_rng(seed)
    images = np.empty((count, 3, height, width), np.float32)
    images[:] = 0.35 + 0.15 * np.linspace(0, 1, width, dtype=np.float32)
    for image in images:
        for _ in range(8):
            top, left = random.integers(0, height - 8), random.integers(0, width - 8)
            high, wide = random.integers(6, height // 2), random.integers(6, width // 2)
            image[:, top : top + high, left : left + wide] = random.uniform(0.2, 0.8, (3, 1, 1))
    return torch.from_numpy(images)


def edges(images: Tensor) -> Tensor:
    """How fast the brightest-changing channel changes around each inner pixel: (B, H - 2, W - 2)."""
    across = (images[..., 1:-1, 2:] - images[..., 1:-1, :-2]).abs()
    down = (images[..., 2:, 1:-1] - images[..., :-2, 1:-1]).abs()
    return (across + down).amax(1)


def shift_of(one: Tensor, other: Tensor) -> tuple[int, int]:
    """By how many pixels (down, across) the edges of `other` fit those of `one` best: phase correlation."""
    spectrum = torch.fft.rfft2(one - one.mean()).conj() * torch.fft.rfft2(other - other.mean())
    fit = torch.fft.irfft2(spectrum / spectrum.abs().clamp_min(1e-9), s=one.shape)
    place = int(fit.argmax())
    down, across = divmod(place, one.shape[1])
    return (down + one.shape[0] // 2) % one.shape[0] - one.shape[0] // 2, (across + one.shape[1] // 2) % one.shape[
        1
    ] - one.shape[1] // 2


def test_hash_is_that_of_unsigned_numbers() -> None:
    """The same on every device, in vectorised loops and their remainders."""

    def mixed(number: int) -> int:
        for shift, factor in ((15, 0x2C1B3C6D), (12, 0x297A2D39)):
            number = (number ^ number >> shift) * factor % 2**32
        return number ^ number >> 15

    key = torch.tensor([[0], [-1], [123456789], [-(2**31)]], dtype=torch.int32)
    found = hashed(key, 5, 77)
    expected = [[mixed((5 + place) ^ (int(one) % 2**32)) for place in range(77)] for one in key[:, 0]]
    assert (found.long() % 2**32).tolist() == expected


def test_fields_are_random() -> None:
    given, again = draws(5), draws(5)
    uniform, noise = given.field(3, 40, 50), again.noise(3, 40, 50)
    assert uniform.shape == noise.shape == (5, 3, 40, 50)
    assert uniform.min() >= 0
    assert uniform.max() < 1
    assert abs(uniform.mean() - 0.5) < 0.01
    assert abs(uniform.var() - 1 / 12) < 0.002
    assert abs(noise.mean()) < 0.02
    assert abs(noise.var() - 1) < 0.03
    assert noise.abs().max() > 2.5
    for values in (uniform, noise):
        rows = values.flatten(1).numpy()
        assert np.abs(np.corrcoef(rows) - np.eye(5)).max() < 0.06, "of one image as of another"
        assert abs(np.corrcoef(rows[0, 1:], rows[0, :-1])[0, 1]) < 0.06, "from pixel to pixel"
        assert abs(np.corrcoef(rows[0, 50:], rows[0, :-50])[0, 1]) < 0.06, "from row to row"


def test_too_few_numbers_are_an_error() -> None:
    given = draws(2)
    given.uniform(FEW)
    with pytest.raises(RuntimeError):
        given.uniform()


@given(
    st.sampled_from(sorted(KINDS)), st.floats(0, 2), st.integers(0, 2**32 - 1), st.integers(0, 1000),
    st.integers(8, 40), st.integers(8, 40), st.sampled_from(["black", "white", "grey", "noise", "boxes", "bits"]),
)  # fmt: skip
def test_values_stay_in_range(
    kind: str, strength: float, seed: int, epoch: int, height: int, width: int, what: str
) -> None:
    random = torch.from_numpy(np.random.default_rng(seed).random((4, 3, height, width), np.float32))
    images = {
        "black": torch.zeros_like(random), "white": torch.ones_like(random), "grey": torch.full_like(random, 0.5),
        "noise": random, "boxes": scenes(4, 32, 32), "bits": random.round(),
    }[what]  # fmt: skip
    kept = images.clone()
    found = with_appearance(images, seeds(4, seed, epoch), kind, strength)
    assert found.shape == images.shape
    assert torch.isfinite(found).all()
    assert found.min() >= 0
    assert found.max() <= 1
    assert torch.equal(images, kept), "the given images are left alone"


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_depends_on_seed_epoch_and_index_alone(kind: str) -> None:
    images, numbers = scenes(9), seeds(9)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    found = with_appearance(images, numbers, kind, 1.0)
    assert torch.equal(found, with_appearance(images, numbers, kind, 1.0))
    assert torch.equal(state, torch.get_rng_state()), "else a resumed run would drop out other units"
    order = torch.tensor([4, 0, 8, 5, 2])
    mixed = with_appearance(images[order], numbers[order], kind, 1.0)
    torch.testing.assert_close(mixed, found[order], atol=1e-5, rtol=0)
    for n in range(9):
        alone = with_appearance(images[n : n + 1], numbers[n : n + 1], kind, 1.0)
        torch.testing.assert_close(alone[0], found[n], atol=1e-5, rtol=0)
    layout = with_appearance(images.contiguous(memory_format=torch.channels_last), numbers, kind, 1.0)
    assert torch.equal(layout, found)
    same = with_appearance(images[:1].expand(200, -1, -1, -1), seeds(200), kind, 1.0)
    changed = same[(same - images[0]).flatten(1).abs().amax(1) > 0]
    assert len(changed) > 150
    assert len(changed.flatten(1).unique(dim=0)) == len(changed), "no two are the same"


def test_other_epochs_and_seeds_give_other_pictures() -> None:
    images = scenes(12)
    found = [
        with_appearance(images, seeds(12, seed, epoch), "weather", 1.0) for seed, epoch in ((0, 0), (0, 1), (1, 0))
    ]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        differ = (found[one] - found[other]).flatten(1).abs().amax(1) > 0.01
        assert differ.sum() >= 10


def test_strength() -> None:
    images, numbers = scenes(40), seeds(40)
    assert with_appearance(images, numbers, "weather", 0.0) is images
    away = [
        (with_appearance(images, numbers, "weather", strength) - images).abs().mean()
        for strength in (1e-4, 0.5, 1.0, 2.0)
    ]
    assert away[0] < 1e-4
    assert away[0] < away[1] < away[2] < away[3]
    photo = with_appearance(images, numbers, "photo", 1.0)
    assert (photo - images).abs().mean() < away[2], "the milder one"


@each_operation
def test_no_amount_changes_nothing(operation: Operation) -> None:
    images = scenes(6)
    torch.testing.assert_close(operation(images, draws(6), 0.0), images, atol=2e-6, rtol=0)
    images = torch.rand(6, 3, 33, 47, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(operation(images, draws(6), 0.0), images, atol=2e-6, rtol=0)


@each_operation
def test_an_amount_changes_something(operation: Operation) -> None:
    images = scenes(24)
    away = (operation(images, draws(24), 1.0) - images).abs().mean((1, 2, 3))
    assert away.max() > 0.01
    assert away.median() > 0.002
    less = (operation(images, draws(24), 0.3) - images).abs().mean((1, 2, 3))
    assert less.mean() < away.mean()


@each_operation
def test_edges_stay_where_they_are(operation: Operation) -> None:
    """Nothing turns, moves, stretches or mirrors: what was an edge is one, there."""
    images = scenes(20, 64, 64, seed=3)
    before, after = edges(images), edges(operation(images, draws(20, seed=4), 1.0).clamp(0, 1))
    moved = edges(operation(images.roll(5, -1), draws(20, seed=4), 1.0).clamp(0, 1))
    reach = 2 if operation is convolved else 0  # an edge may become two, one on either side
    for expected, found in ((0, after), (5, moved)):
        shifts = [shift_of(one, other) for one, other in zip(before, found, strict=True)]
        assert sum(max(abs(down), abs(across - expected)) <= reach for down, across in shifts) >= 17, shifts


def test_random_convolution_does_not_move_the_picture() -> None:
    """It does to the picture upside down what it does to the picture: its kernels are symmetric."""
    images = scenes(20)
    found = convolved(images, draws(20), 1.0)
    turned = convolved(images.flip(-1, -2), draws(20), 1.0)
    torch.testing.assert_close(turned.flip(-1, -2), found, atol=1e-5, rtol=0)
    assert (convolved(images.flip(-1), draws(20), 1.0).flip(-1) - found).abs().max() > 0.01, "or not at all"


def test_how_many_operations_are_drawn() -> None:
    few_BN = torch.from_numpy(np.random.default_rng(0).random((4000, FEW), np.float32))
    found = turns(few_BN, WEATHER)
    counts, of_each = np.zeros(4000), np.zeros(len(WEATHER))
    for number, rows in found:
        counts[rows] += 1
        of_each[number] += len(rows)
    np.testing.assert_allclose(of_each / 4000, CHANCE, atol=0.025)
    shares = np.bincount(counts.astype(int), minlength=12) / 4000
    expected = [math.comb(11, k) * CHANCE**k * (1 - CHANCE) ** (11 - k) for k in range(12)]
    np.testing.assert_allclose(shares, expected, atol=0.025)


def test_each_image_has_an_order_of_its_own() -> None:
    few_BN = torch.from_numpy(np.random.default_rng(1).random((3000, FEW), np.float32))
    orders: list[list[int]] = [[] for _ in range(3000)]
    for number, rows in turns(few_BN, WEATHER):
        assert len(set(rows)) == len(rows)
        for row in rows:
            orders[row].append(number)
    for row, order in enumerate(orders):
        wanted = [n for n in range(11) if few_BN[row, n] < CHANCE]
        assert order == sorted(wanted, key=lambda n: float(few_BN[row, 11 + n]))
    first = np.bincount([order[0] for order in orders if order], minlength=11)
    np.testing.assert_allclose(first / first.sum(), 1 / 11, atol=0.03)
    alone = turns(few_BN[7:8], WEATHER)
    assert [number for number, _ in alone] == orders[7]
    milder = [number for number, _ in turns(few_BN[7:8], PHOTO)]
    assert milder == [number for number in orders[7] if WEATHER[number] in PHOTO]


def test_gamma_is_a_power() -> None:
    images = scenes(30)
    images[:, :, 0, 0], images[:, :, 0, 1] = 0, 1
    found = gamma(images, draws(30), 1.0)
    assert (found[:, :, 0, 0] == 0).all()
    assert (found[:, :, 0, 1] == 1).all()
    power = (found[..., 1:, :].log() / images[..., 1:, :].log()).flatten(1)
    torch.testing.assert_close(power, power[:, :1].expand_as(power), atol=1e-4, rtol=1e-4)
    assert math.exp(-0.9) <= power.min() < 0.7
    assert math.exp(0.9) >= power.max() > 1.4
    assert gamma(torch.full((3, 3, 8, 8), -1e-9), draws(3), 1.0).abs().max() == 0, "not a number otherwise"


@given(st.integers(0, 2**32 - 1), st.floats(0, 2))
def test_tones_keep_their_order(seed: int, amount: float) -> None:
    ramp = torch.linspace(0, 1, 240).view(1, 1, 15, 16).expand(4, 3, -1, -1)
    found = toned(ramp, draws(4, seed), amount).flatten(2)
    assert found.diff().min() >= -1e-6
    assert found.min() >= -1e-6
    assert found.max() <= 1 + 1e-6
    assert (found[..., -1] - found[..., 0]).min() >= 0.2, "never flat"


def test_tones_differ_by_channel() -> None:
    ramp = torch.linspace(0, 1, 64).view(1, 1, 8, 8).expand(20, 3, -1, -1)
    found = toned(ramp, draws(20), 1.0)
    assert ((found[:, 0] - found[:, 1]).abs().amax((1, 2)) > 0.03).sum() > 15


def test_grey_keeps_brightness_and_lessens_colour() -> None:
    images = scenes(20)
    found = greyed(images, draws(20), 1.0)
    torch.testing.assert_close((found * LUMA).sum(1), (images * LUMA).sum(1), atol=1e-5, rtol=0)
    share = (found.amax(1) - found.amin(1)).mean((1, 2)) / (images.amax(1) - images.amin(1)).mean((1, 2))
    assert share.min() < 0.15
    assert 0.85 < share.max() <= 1


def test_tint_is_linear_and_leaves_grey_with_a_cast() -> None:
    images = scenes(20)
    found, half = tinted(images, draws(20), 1.0), tinted(images / 2, draws(20), 1.0)
    torch.testing.assert_close(half, found / 2, atol=1e-6, rtol=1e-5)
    grey = tinted(torch.full((20, 3, 8, 8), 0.6), draws(20), 1.0) / 0.6
    assert grey.min() >= 0.75 - 1e-5
    assert grey.max() <= 1.25 + 1e-5
    assert (grey[:, 0] - grey[:, 2]).abs().amax((1, 2)).max() > 0.2
    torch.testing.assert_close(grey, grey[:, :, :1, :1].expand_as(grey), atol=1e-6, rtol=0)
    assert (tinted(images, draws(20), 1.0) / grey[:, :, :1, :1] - images).abs().max() > 0.05, "channels are mixed"


def test_light_is_smooth_and_mostly_darker() -> None:
    images = scenes(40)
    light = (lit(images, draws(40), 1.0) / images).log()
    assert light.diff(dim=-1).abs().max() < 0.12
    assert light.diff(dim=-2).abs().max() < 0.16
    assert (light.amax((1, 2, 3)) - light.amin((1, 2, 3))).median() > 0.5
    assert light.mean() < -0.3
    tint = light - light.mean(1, keepdim=True)
    torch.testing.assert_close(tint, tint[..., :1, :1].expand_as(tint), atol=1e-4, rtol=0)
    assert 0.1 < tint.abs().max() < 0.4


def test_haze_is_thicker_above() -> None:
    black, white = torch.zeros(30, 3, 40, 8), torch.ones(30, 3, 40, 8)
    dark, bright = hazed(black, draws(30), 1.0), hazed(white, draws(30), 1.0)
    kept = (bright - dark)[..., 0]  # (30, 3, 40): the share of the scene's own light
    torch.testing.assert_close(kept, kept[:, :1].expand_as(kept), atol=1e-5, rtol=0)
    assert kept.diff(dim=-1).min() >= -1e-6, "clearer from row to row downwards"
    assert (kept[..., -1] - kept[..., 0]).median() > 0.15
    assert kept.min() >= 0.1 - 1e-5
    air = dark[..., 0] / (1 - kept)
    assert air.min() > 0.44
    assert air.max() < 1.01


def test_random_convolution_keeps_mean_and_deviation() -> None:
    images = 0.45 + 0.1 * scenes(30)
    wholly = convolved(images, draws(30, n1=1.0), 1.0)
    torch.testing.assert_close(wholly.mean((2, 3)), images.mean((2, 3)), atol=1e-4, rtol=0)
    torch.testing.assert_close(wholly.std((2, 3)), images.std((2, 3)), atol=0, rtol=1e-2)
    assert (wholly - images).abs().mean() > 0.01
    half = convolved(images, draws(30, n1=0.5), 1.0)
    torch.testing.assert_close(half, (wholly + images) / 2, atol=1e-6, rtol=0)
    flat = torch.full((4, 3, 16, 16), 0.3)
    torch.testing.assert_close(convolved(flat, draws(4), 1.0), flat, atol=1e-3, rtol=0)


@pytest.mark.parametrize(("drawn", "reach"), [(0.0, 0), (0.4, 1), (0.99, 2)])
def test_random_convolution_reaches_two_pixels_at_most(drawn: float, reach: int) -> None:
    images = torch.full((6, 3, 21, 21), 0.5)
    images[:, 1, 10, 10] = 0.6
    images[:, 0, 0, 0] = 0.4
    found = convolved(images, draws(6, n0=drawn, n1=1.0), 1.0)
    away = (found - found[:, :, 5:6, 15:16]).abs().amax((0, 1))
    changed = (away > 1e-5).nonzero()
    near = changed[(changed > 5).all(1)]
    assert near.min() == 10 - reach
    assert near.max() == 10 + reach
    assert len(near) == (2 * reach + 1) ** 2


def test_amplitudes_change_and_phases_stay() -> None:
    images = scenes(20)
    found = remixed(images, draws(20, n4=1.0), 1.0)
    before, after = torch.fft.rfft2(images), torch.fft.rfft2(found)
    strong = (before.abs() > 0.5) & (after.abs() > 0.5)
    strong[..., 0] = strong[..., -1] = False  # where a real image's amplitudes come in pairs
    turned = torch.angle(after * before.conj())[strong]
    assert turned.abs().max() < 1e-2
    ratio = (after.abs() / before.abs())[strong]
    assert ratio.log().std() > 0.2
    power = [spectrum.abs().square().sum((2, 3)) - spectrum.abs().square()[..., 0, 0] for spectrum in (before, after)]
    assert (power[1] / power[0]).log().abs().max() < 1.5
    whole = (found.mean((2, 3)) / images.mean((2, 3)) - 1).abs()
    assert 0.05 < whole.max() < 0.25


def test_one_tone_is_repainted() -> None:
    images = torch.empty(60, 3, 48, 48)
    images[:, :, :16], images[:, :, 16:] = 0.1, torch.tensor([0.7, 0.5, 0.6])[:, None, None]
    found = repainted(images, draws(60), 1.0)
    ground = (found - images)[:, :, 20:].abs().amax(1).flatten(1)
    assert (ground.amin(1) > 0.02).float().mean() > 0.9
    assert ground.amax() > 0.3
    torch.testing.assert_close(found[:, :, :12], images[:, :, :12], atol=0.02, rtol=0)
    kinds = found[:, :, 30, 30]
    assert (kinds.amin(1) > 0.75).any(), "snow"
    assert (kinds[:, 0] - kinds[:, 2] > 0.3).any(), "leaves"


def test_noise_is_of_each_pixel_and_channel() -> None:
    images = torch.full((12, 3, 40, 40), 0.5)
    noise = noisy(images, draws(12), 1.0) - images
    deviation = noise.flatten(1).std(1)
    assert 0.04 < deviation.max() < 0.062
    assert deviation.min() < 0.02
    assert (noise.flatten(1).mean(1).abs() < 0.05 * deviation).all()
    rows = (noise / deviation[:, None, None, None]).flatten(2)
    assert (rows[:, 0] * rows[:, 1]).mean().abs() < 0.03
    assert (rows[..., 1:] * rows[..., :-1]).mean().abs() < 0.03


def test_focus_blurs_or_sharpens() -> None:
    images = scenes(30)
    steepness = edges(images).square().mean((1, 2))
    blurred, sharpened = focused(images, draws(30, n1=0.99), 1.0), focused(images, draws(30, n1=0.01), 1.0)
    assert (edges(blurred).square().mean((1, 2)) < 0.9 * steepness).all()
    assert (edges(sharpened).square().mean((1, 2)) > 1.1 * steepness).float().mean() > 0.8
    for found in (blurred, sharpened):
        torch.testing.assert_close(found.mean((2, 3)), images.mean((2, 3)), atol=0.02, rtol=0)
    strength = [edges(focused(images, draws(30, n0=width, n1=0.99), 1.0)).amax((1, 2)).mean() for width in (0, 0.5, 1)]
    assert strength[0] > strength[1] > strength[2]
