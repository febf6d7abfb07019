"""Augmentation: exact labels, and the same for a sample whatever its batch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from posezoo.data.loader import NUM_UNIFORMS, Batch, uniforms
from posezoo.nn import geometry, transforms, views
from posezoo.nn.model import ModelConfig
from posezoo.training.appearance import with_appearance
from posezoo.training.augment import augmented, lift_of, motion_of, turns_of, with_known_intrinsics
from posezoo.training.config import AugmentSettings
from posezoo.training.jitter import coloured

CONFIG = ModelConfig(resize=160, crop=128, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
WIDTH, HEIGHT, FOCAL = 342, 256, 300.0
Sky = Callable[[torch.Tensor], torch.Tensor]


TURNS = {"yaw": 10.0, "pitch": 6.0, "roll": 8.0}  # set-up fills them in by the training cameras


def varied_by(**more: Any) -> AugmentSettings:
    """A hand's turns without colours, but for what is given."""
    return AugmentSettings(**TURNS | {"brightness": 0, "contrast": 0, "saturation": 0, "hue": 0} | more)


def sky(direction: torch.Tensor) -> torch.Tensor:
    """A smooth colour (..., 3) in [0, 1] for each direction (..., 3) in the world: a scene at infinity."""
    x, y, z = direction.unbind(-1)
    waves = [torch.sin(5 * x + 2 * y), torch.sin(4 * y - 3 * z + 1), torch.sin(6 * z + 3 * x * y)]
    return 0.5 + 0.4 * torch.stack(waves, -1)


def seen(q_B4: torch.Tensor, width: int, height: int, focal: float) -> torch.Tensor:
    """What cameras of these camera-to-world quaternions see of the sky: (B, 3, height, width) in [0, 1]."""
    u, v = torch.arange(width) + 0.5, torch.arange(height) + 0.5
    x = ((u - width / 2) / focal)[None, :].expand(height, -1)
    y = ((v - height / 2) / focal)[:, None].expand(-1, width)
    ray = torch.stack([x, y, torch.ones_like(x)], -1).double()
    ray = ray / ray.norm(dim=-1, keepdim=True)
    matrix_B33 = torch.from_numpy(Rotation.from_quat(np.roll(q_B4.numpy(), -1, axis=-1)).as_matrix())
    return sky(torch.einsum("bij,hwj->bhwi", matrix_B33, ray)).permute(0, 3, 1, 2).float()


NO_DEPTH = torch.empty(6, 0, 0)


def shown(batch: Batch, config: ModelConfig, augmentation: AugmentSettings) -> tuple[torch.Tensor, torch.Tensor]:
    """The images and quaternions of an augmented batch."""
    seen = augmented(batch, config, augmentation)
    return seen.images, seen.quaternion


@pytest.fixture
def batch() -> Batch:
    """Six views of the sky."""
    random = np.random.default_rng(0)
    q = Rotation.random(6, random_state=0).as_quat()[:, [3, 0, 1, 2]]
    q_64 = torch.from_numpy(np.where(q[:, :1] < 0, -q, q))
    images = (seen(q_64, WIDTH, HEIGHT, FOCAL) * 255).round().to(torch.uint8)
    intrinsics = torch.tensor([[FOCAL, FOCAL, WIDTH / 2, HEIGHT / 2]]).expand(6, -1).clone()
    drawn = torch.from_numpy(np.stack([uniforms(5, 1, row) for row in range(6)]))
    position = torch.from_numpy(random.normal(size=(6, 3)))
    return Batch(
        images, position, q_64, intrinsics, torch.zeros(6, dtype=torch.int64), torch.arange(6), drawn, NO_DEPTH[:6]
    )


def plain(images: torch.Tensor) -> torch.Tensor:
    """Prepared images back in [0, 1]."""
    mean, std = (torch.tensor(v)[:, None, None] for v in (CONFIG.mean, CONFIG.std))
    return images * std + mean


def test_turned_image_and_label_agree_with_the_world(batch: Batch) -> None:
    """The turned image is what a camera of the new label would see: signs and order of the rotation are right."""
    found, label = shown(batch, CONFIG, varied_by(yaw=8, pitch=5, roll=10))
    scale = CONFIG.resize / HEIGHT
    truth = seen(label, CONFIG.crop, CONFIG.crop, FOCAL * scale)
    turned = geometry.angle_deg(label, batch.quaternion)
    assert turned.min() > 0.5, "the cameras turned"
    right = (plain(found) - truth).abs().mean()
    unturned = (plain(found) - seen(batch.quaternion, CONFIG.crop, CONFIG.crop, FOCAL * scale)).abs().mean()
    assert right < 0.01
    assert unturned > 5 * right


@pytest.mark.parametrize(("fit", "rows"), [("stretch", slice(0, 128)), ("pad", slice(42, 85))])
def test_intrinsics_follow_the_fit_of_wide_pictures(batch: Batch, fit: transforms.Fit, rows: slice) -> None:
    """As above, of pictures three times as wide as high: the turned image is what a camera of the new label shows."""
    config = dataclasses.replace(CONFIG, fit=fit, resize=128, crop=128)
    camera_B4 = torch.tensor([[FOCAL, FOCAL, 384.0, 128.0]]).expand(6, -1)
    images = (seen(batch.quaternion, 768, 256, FOCAL) * 255).round().to(torch.uint8)
    given = batch._replace(images=images, intrinsics=camera_B4)
    found, label = shown(given, config, varied_by(yaw=10, pitch=2, roll=3))
    assert geometry.angle_deg(label, batch.quaternion).min() > 0.5, "the cameras turned"
    truth = transforms.resized(seen(label, 768, 256, FOCAL), 128, fit)
    inner = (..., slice(9, -9), slice(20, -20))  # what is seen beyond the picture is mirrored
    assert (plain(found)[..., rows, :][inner] - truth[inner]).abs().mean() < 0.01
    still, _ = shown(given, config, varied_by(geometry="centre"))
    assert (plain(still)[..., rows, :][inner] - truth[inner]).abs().mean() > 0.05
    beside = torch.ones(128, dtype=torch.bool)
    beside[rows] = False
    assert not found[..., beside, :].any() and not still[..., beside, :].any()


@pytest.mark.parametrize("size", [(259, 256), (256, 260)])
def test_intrinsics_are_scaled_by_their_own_sides(size: tuple[int, int]) -> None:
    """A resized side is a whole number of pixels, so the two sides are scaled a little differently, 1 % here."""
    width, height = size
    config = dataclasses.replace(CONFIG, resize=32, crop=32)
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 3, height, width), dtype=np.uint8))
    small = transforms.resized(images, 32)
    x, y = small.shape[-1] / width, small.shape[-2] / height
    assert abs(x / y - 1) > 0.01
    q_B4 = torch.tensor([[1.0, 0.0, 0.0, 0.0]], dtype=torch.float64).expand(3, 4)
    uniform_BK = torch.full((3, NUM_UNIFORMS), 0.9)
    camera_B4 = torch.tensor([[200.0, 230.0, 140.0, 120.0]]).expand(3, 4)
    scene_B, rows = torch.zeros(3).long(), torch.arange(3)
    given = Batch(images, torch.zeros(3, 3), q_B4, camera_B4, scene_B, rows, uniform_BK, NO_DEPTH[:3])
    varied = varied_by(yaw=10, pitch=5, roll=20)
    found, label = shown(given, config, varied)
    angles = torch.tensor([[8.0, 4.0, 16.0]], dtype=torch.float64).expand(3, 3)
    rotation_B33 = geometry.rotation_from_euler_deg(*angles.unbind(-1))
    focal_B2 = torch.tensor([[200.0 * x, 230.0 * y]]).expand(3, 2)
    centre_B2 = torch.tensor([[140.0 * x, 120.0 * y]]).expand(3, 2)
    expected = transforms.rotate_cameras(small.float() / 255, focal_B2, centre_B2, rotation_B33, 32)
    torch.testing.assert_close(plain(found), expected, atol=2e-4, rtol=0)
    swapped = transforms.rotate_cameras(small.float() / 255, focal_B2 * (y / x), centre_B2, rotation_B33, 32)
    assert (swapped - expected).abs().max() > 0.002, "else nothing is said"


def test_label_is_the_old_rotation_times_the_drawn_one(batch: Batch) -> None:
    varied = AugmentSettings(yaw=12, pitch=7, roll=20)
    _, label = shown(batch, CONFIG, varied)
    angle = (batch.uniforms[:, :3].double().numpy() * 2 - 1) * np.array([12, 7, 20])
    drawn = geometry.rotation_from_euler_deg(*torch.from_numpy(angle).unbind(-1)).numpy()
    old, new = (Rotation.from_quat(np.roll(q.numpy(), -1, -1)).as_matrix() for q in (batch.quaternion, label))
    np.testing.assert_allclose(new, old @ drawn, atol=1e-12)
    np.testing.assert_allclose(label.norm(dim=-1), 1, atol=1e-12)
    assert label.dtype == torch.float64
    assert (label[:, 0] >= 0).all()


@pytest.mark.parametrize("kind", ["rotate", "crop", "centre"])
def test_a_sample_does_not_depend_on_its_batch(batch: Batch, kind: str) -> None:
    varied = AugmentSettings(geometry=kind, **TURNS)
    images, labels = shown(batch, CONFIG, varied)
    order = torch.tensor([4, 0, 5, 2, 1, 3])
    mixed = shown(Batch(*(tensor[order] for tensor in batch)), CONFIG, varied)
    torch.testing.assert_close(mixed[0], images[order], atol=1e-5, rtol=0)
    torch.testing.assert_close(mixed[1], labels[order], atol=1e-15, rtol=0)
    for n in range(6):
        alone = shown(Batch(*(tensor[n : n + 1] for tensor in batch)), CONFIG, varied)
        torch.testing.assert_close(alone[0][0], images[n], atol=1e-5, rtol=0)
        torch.testing.assert_close(alone[1][0], labels[n], atol=1e-15, rtol=0)


def test_centre_is_what_evaluation_reads(batch: Batch) -> None:
    images, labels = shown(batch, CONFIG, varied_by(geometry="centre"))
    expected = transforms.preprocess(batch.images, CONFIG.resize, CONFIG.crop, CONFIG.mean, CONFIG.std)
    # the same pixels; one scales to [0, 1] before the colours, the other after: the last bit of a float32
    torch.testing.assert_close(images, expected, atol=1e-6, rtol=1e-6)
    assert torch.equal(labels, batch.quaternion)


def test_no_turn_is_what_evaluation_reads(batch: Batch) -> None:
    images, labels = shown(batch, CONFIG, varied_by(yaw=0, pitch=0, roll=0))
    expected = transforms.preprocess(batch.images, CONFIG.resize, CONFIG.crop, CONFIG.mean, CONFIG.std)
    torch.testing.assert_close(images, expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(labels, batch.quaternion, atol=1e-14, rtol=0)


def test_published_crop_moves_and_keeps_the_label(batch: Batch) -> None:
    images, labels = shown(batch, CONFIG, varied_by(geometry="crop"))
    assert torch.equal(labels, batch.quaternion)
    small = transforms.resized(batch.images, CONFIG.resize).float() / 255
    corners = set()
    for n, (across, down) in enumerate(batch.uniforms[:, :2].tolist()):
        left = int(across * (small.shape[-1] - CONFIG.crop + 1))
        top = int(down * (small.shape[-2] - CONFIG.crop + 1))
        corners.add((left, top))
        cut = small[n, :, top : top + CONFIG.crop, left : left + CONFIG.crop]
        torch.testing.assert_close(plain(images[n]), cut, atol=1e-6, rtol=0)
    assert len(corners) == 6


def test_colours_vary_by_numbers_of_their_own(batch: Batch) -> None:
    """From place 3 on: four factors and their order, whatever is cropped."""
    plainly, _ = shown(batch, CONFIG, varied_by(geometry="centre"))
    found, _ = shown(batch, CONFIG, AugmentSettings(geometry="centre", hue=0.3))
    expected = coloured(plain(plainly), batch.uniforms[:, 3:8], AugmentSettings(hue=0.3))
    torch.testing.assert_close(plain(found), expected, atol=1e-4, rtol=0)
    for place in range(8):
        uniforms_BK = batch.uniforms.clone()
        uniforms_BK[:, place] = (uniforms_BK[:, place] + 0.5) % 1
        other, _ = shown(batch._replace(uniforms=uniforms_BK), CONFIG, AugmentSettings(geometry="centre", hue=0.3))
        assert torch.equal(other, found) == (place < 3)


def test_nothing_is_ever_mirrored(batch: Batch) -> None:
    for kind in ("rotate", "crop"):
        images, _ = shown(batch, CONFIG, varied_by(geometry=kind))
        small = plain(transforms.preprocess(batch.images, CONFIG.resize, CONFIG.crop, CONFIG.mean, CONFIG.std))
        near = (plain(images) - small).abs().mean(dim=(1, 2, 3))
        far = (plain(images) - small.flip(-1)).abs().mean(dim=(1, 2, 3))
        assert near.mean() < far.mean()


def test_unknown_intrinsics_are_filled_from_the_field_of_view() -> None:
    given = torch.tensor([[300.0, 310.0, 170.0, 128.0], [float("nan")] * 4])
    filled = with_known_intrinsics(given, 342, 256, 90.0)
    assert torch.equal(filled[0], given[0])
    torch.testing.assert_close(filled[1], torch.tensor([171.0, 171.0, 171.0, 128.0]))
    assert with_known_intrinsics(given, 342, 256, None) is given


def test_number_of_uniforms_is_enough() -> None:
    # three angles or two offsets, from place 3 on four colours and their order, two for the appearance from place 8 on
    assert NUM_UNIFORMS >= 10


@pytest.mark.parametrize("kind", ["photo", "weather"])
def test_appearance_is_laid_over_the_rest_and_keeps_labels(batch: Batch, kind: str) -> None:
    plain_images, plain_labels = shown(batch, CONFIG, AugmentSettings(**TURNS))
    images, labels = shown(batch, CONFIG, AugmentSettings(appearance=kind, **TURNS))
    assert torch.equal(labels, plain_labels)
    expected = with_appearance(plain(plain_images), batch.uniforms[:, 8:10], kind, 1.0)
    torch.testing.assert_close(plain(images), expected, atol=1e-4, rtol=0)
    assert (images - plain_images).abs().max() > 0.1
    gentle, _ = shown(batch, CONFIG, AugmentSettings(appearance=kind, appearance_strength=0.1, **TURNS))
    assert 0 < (gentle - plain_images).abs().mean() < (images - plain_images).abs().mean()
    off, _ = shown(batch, CONFIG, AugmentSettings(appearance=kind, appearance_strength=0, **TURNS))
    assert torch.equal(off, plain_images)


# Turns that suit the cameras


def tilting(roll: float, pitch: float, turn: Rotation = Rotation.identity()) -> torch.Tensor:
    """Cameras of every heading, a half rolling by +-`roll`, a half nodding by +-`pitch` degrees, in a turned world."""
    tilts = [(0.0, roll), (0.0, -roll), (pitch, 0.0), (-pitch, 0.0)]
    headings = [(heading, *tilt) for heading in range(0, 360, 15) for tilt in tilts]
    q = (turn * Rotation.from_euler("YXZ", headings, degrees=True)).as_quat()
    return torch.from_numpy(np.roll(q, 1, axis=-1))


@pytest.mark.parametrize(
    ("roll", "pitch", "expected"),
    [
        (0.0, 0.0, (4.0, 2.0, 2.0)),  # a car: the least
        (0.5, 0.3, (4.0, 2.0, 2.0)),
        (20.0, 20.0, (10.0, 6.0, 8.0)),  # a hand: the most
        # deviations are 2.4 / sqrt 2 and 1.8 / sqrt 2 degrees; yaw takes their root mean square
        (2.4, 1.8, (3 * 3.0 / 2, 3 * 1.8 / np.sqrt(2), 3 * 2.4 / np.sqrt(2))),
        (0.0, 4.0, (3 * 4 / 2, 6.0, 2.0)),
    ],
)
@pytest.mark.parametrize("world", [(0, 0, 0), (90, 0, 0), (30, -80, 140)])
def test_turns_by_hand(roll: float, pitch: float, expected: tuple[float, ...], world: tuple[int, ...]) -> None:
    """Whatever axis of the world is up."""
    found = turns_of(tilting(roll, pitch, Rotation.from_euler("xyz", world, degrees=True)))
    assert found == pytest.approx(dict(zip(("yaw", "pitch", "roll"), expected, strict=True)), rel=2e-3)


def test_one_camera_does_not_tilt() -> None:
    assert turns_of(tilting(3, 3)[:1]) == {"yaw": 4.0, "pitch": 2.0, "roll": 2.0}


def with_depths(batch: Batch) -> Batch:
    """The views of the sky, as if of walls at 4 m; of the last image nothing is known."""
    inverse = torch.full((6, 72, 96), 0.25)
    inverse[5] = torch.nan
    return batch._replace(inverse_depth=inverse)


def test_a_moved_camera_s_picture_and_label(batch: Batch) -> None:
    """To the right, down and forward in the old camera's axes, as far as drawn; not where no depth is known."""
    given = with_depths(batch)
    varied = varied_by(yaw=8, pitch=5, roll=10, motion=2.0, lift=0.5)
    found = augmented(given, CONFIG, varied)
    drawn_B3 = (given.uniforms[:, 10:13].double() * 2 - 1) * torch.tensor([2.0, 0.5, 2.0])
    drawn_B3[5] = 0
    axes = Rotation.from_quat(np.roll(batch.quaternion.numpy(), -1, axis=-1))
    np.testing.assert_allclose(found.position, batch.position.numpy() + axes.apply(drawn_B3.numpy()), atol=1e-6)
    assert found.position.dtype == torch.float64
    assert (found.position - batch.position).norm(dim=-1)[:5].min() > 0.1
    still = augmented(batch, CONFIG, varied_by(yaw=8, pitch=5, roll=10))
    assert torch.equal(found.quaternion, still.quaternion)
    assert torch.equal(still.position, batch.position)
    torch.testing.assert_close(found.images[5], still.images[5], atol=1e-5, rtol=0)
    small = transforms.resized(batch.images, CONFIG.resize).float() / 255
    scale_2 = torch.tensor([small.shape[-1] / WIDTH, small.shape[-2] / HEIGHT])
    focal_B2, centre_B2 = (FOCAL * scale_2).expand(6, 2), (torch.tensor([WIDTH, HEIGHT]) / 2 * scale_2).expand(6, 2)
    angle = (given.uniforms[:, :3].double() * 2 - 1) * torch.tensor([8.0, 5.0, 10.0])
    turned_B33 = geometry.rotation_from_euler_deg(*angle.unbind(-1))
    expected = views.moved_cameras(
        small, given.inverse_depth, focal_B2, centre_B2, turned_B33, drawn_B3.float(), CONFIG.crop
    )
    torch.testing.assert_close(plain(found.images), expected, atol=1e-3, rtol=0)
    assert (plain(still.images)[:5] - expected[:5]).abs().mean() > 0.02


def test_a_moved_sample_does_not_depend_on_its_batch(batch: Batch) -> None:
    given, varied = with_depths(batch), varied_by(motion=1.0, lift=0.2, **TURNS)
    whole = augmented(given, CONFIG, varied)
    for n in range(6):
        alone = augmented(Batch(*(tensor[n : n + 1] for tensor in given)), CONFIG, varied)
        torch.testing.assert_close(alone.images[0], whole.images[n], atol=1e-5, rtol=0)
        torch.testing.assert_close(alone.position[0], whole.position[n], atol=1e-12, rtol=0)


def test_a_camera_on_a_mast_is_not_lifted_and_a_hand_s_is_as_far_as_it_moves() -> None:
    """Heights are along the cameras' own up, whatever the world's axes."""
    random = np.random.default_rng(1)
    world = Rotation.from_euler("xyz", (40, 20, 70), degrees=True)
    quaternion_N4 = tilting(1, 1, world)
    up_3 = geometry.mean_up(quaternion_N4).numpy()
    assert np.linalg.norm(up_3) == pytest.approx(1)
    flat_N3 = random.normal(size=(len(quaternion_N4), 3)) * 5
    flat_N3 -= (flat_N3 @ up_3)[:, None] * up_3
    height_N = random.normal(size=len(flat_N3))
    height_N /= height_N.std()
    for deviation, expected in ((0.0, 0.0), (0.02, 0.06), (0.5, 0.25)):
        position_N3 = torch.from_numpy(flat_N3 + deviation * height_N[:, None] * up_3)
        assert lift_of(position_N3, quaternion_N4, 0.25) == pytest.approx(expected, abs=1e-9)


def test_motion_by_the_spread_of_the_place() -> None:
    """A quarter of the root mean square distance from the mean position; along a street 1.5 m."""
    corners_43 = torch.tensor([[3.0, 4.0, 0.0], [-3.0, -4.0, 0.0], [3.0, -4.0, 0.0], [-3.0, 4.0, 0.0]]).double()
    assert motion_of(corners_43 / 2.5) == pytest.approx(0.5)
    assert motion_of(corners_43 * 10 + 100) == 1.5
