"""Image files of every kind to pixels, and the pose-true rotation against projected points."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import posezoo_demo
import pytest
import torch
from own_folder import picture
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as TF

from posezoo.base.files.pictures import read_image, resized_size
from posezoo.nn import geometry
from posezoo.nn.transforms import centre_corner, preprocess, resized, rotate_cameras

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


# files that are read


# files that are refused


# pixels to what the network reads


def random_images(batch: int, height: int, width: int) -> Tensor:
    return torch.randint(
        0, 256, (batch, 3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )


def by_hand(images_BCHW: Tensor) -> Tensor:
    return (images_BCHW / 255 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


def test_prepare_crops_the_centre_and_normalises() -> None:
    images = random_images(2, 256, 341)
    torch.testing.assert_close(preprocess(images, 256, 224, MEAN, STD), by_hand(images[..., 16:240, 58:282]))
    assert images.dtype == torch.uint8


def test_crop_offsets_are_x_then_y_in_each_image() -> None:
    images = random_images(5, 256, 341)
    offset_B2 = torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0], [1.0, 0.0], [0.5, 0.5]])
    out = preprocess(images, 256, 224, MEAN, STD, offset_B2)
    corners = [(0, 0), (117, 32), (0, 32), (117, 0), (59, 16)]  # left, top
    for n, (left, top) in enumerate(corners):
        torch.testing.assert_close(out[n], by_hand(images[n, :, top : top + 224, left : left + 224]))


def test_every_place_of_the_crop_is_equally_likely() -> None:
    images = torch.arange(34)[None, None, None].expand(1000, 3, 32, -1).to(torch.uint8).contiguous()
    offset_B2 = torch.stack([(torch.arange(1000) + 0.5) / 1000, torch.zeros(1000)], -1)
    left = preprocess(images, 32, 32, (0.0,) * 3, (1 / 255,) * 3, offset_B2)[:, 0, 0, 0].round().long()
    assert torch.bincount(left).tolist() == [333, 334, 333]


# torchvision's pixels: facts that hold for any size, and real files of the shapes of the benchmarks


def random_sizes(count: int) -> list[tuple[int, int, int, int]]:
    """(width, height, resize, crop), all kinds of remainders; crop at most resize."""
    random = np.random.default_rng(4)
    sides, resizes = random.integers(16, 700, (count, 2)), random.integers(16, 300, count)
    crops = [int(random.integers(8, resize + 1)) for resize in resizes]
    return [(int(w), int(h), int(r), c) for (w, h), r, c in zip(sides, resizes, crops, strict=True)]


def test_sides_and_corners_are_torchvisions() -> None:
    """What each output pixel shows, by an image of coordinates: not a pixel differs in 200 random sizes."""
    halves = 0
    for width, height, resize, crop in random_sizes(200):
        small = v2.Resize(resize)(torch.zeros(1, height, width, dtype=torch.uint8))
        assert resized_size(width, height, resize) == (small.shape[-1], small.shape[-2])
        new_width, new_height = small.shape[-1], small.shape[-2]
        rows, columns = torch.meshgrid(torch.arange(new_height), torch.arange(new_width), indexing="ij")
        expected = v2.CenterCrop(crop)(torch.stack([rows, columns]))
        top, left = centre_corner(new_height, new_width, crop)
        assert (expected[0, 0, 0], expected[1, 0, 0]) == (top, left)
        assert expected.shape[-2:] == (crop, crop)
        halves += (new_width - crop) % 4 == 3 or (new_height - crop) % 4 == 3
    assert halves > 40, "sizes at which rounding down is a pixel off"


def test_what_the_network_reads_is_torchvisions() -> None:
    """Pixels and all, from tensors: resized, cropped, normalised."""
    chain = [v2.ToDtype(torch.float32, scale=True), v2.Normalize(list(MEAN), list(STD))]
    for width, height, resize, crop in random_sizes(200)[::8]:
        images = random_images(1, height, width)
        expected = v2.Compose([v2.Resize(resize), v2.CenterCrop(crop), *chain])(images)
        torch.testing.assert_close(preprocess(images, resize, crop, MEAN, STD), expected, atol=1e-5, rtol=1e-5)


SHAPES = [(640, 480), (1920, 1080), (1080, 1920), (1280, 960), (341, 256), (1296, 968), (256, 256), (97, 413)]


@pytest.mark.parametrize("size", SHAPES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_file_of_each_shape_is_read_as_torchvision_reads_it(
    tmp_path: Path, size: tuple[int, int], suffix: str
) -> None:
    picture(path := tmp_path / f"a.{suffix}", *size, seed=3)
    with Image.open(path) as image:
        expected = v2.Compose([v2.Resize(256), v2.CenterCrop(224), v2.PILToTensor()])(image.convert("RGB"))
    stored = torch.from_numpy(read_image(path).copy()).permute(2, 0, 1)[None]
    grey_levels = preprocess(stored, 256, 224, (0.0,) * 3, (1 / 255,) * 3)[0]
    assert torch.equal(grey_levels.round(), expected.float())


@pytest.mark.parametrize("name", ["posenet-anchors-demo", "atloc-anchors-hyper-demo"])
def test_what_the_shipped_models_read(name: str) -> None:
    """Worked out by hand on the demo's pictures: 256 x 341, resized to 140 x 186, the 112 x 112 in the middle."""
    demo = Path(posezoo_demo.__file__).parent
    read = json.loads((demo / f"weights/{name}/config.json").read_text())["config"]
    assert (read["resize"], read["crop"]) == (140, 112)
    for path in (demo / "loop/images/test-winter/0000.jpg", next(iter(sorted((demo / "places").rglob("*.jpg"))))):
        stored = torch.from_numpy(read_image(path).copy()).permute(2, 0, 1)[None]
        assert stored.shape[-2:] == (256, 341)
        expected = by_hand(TF.resize(stored, [140, 186])[..., 14:126, 37:149])
        torch.testing.assert_close(preprocess(stored, 140, 112, MEAN, STD), expected)


@pytest.mark.parametrize(("width", "left"), [(455, 116), (341, 58), (342, 59), (343, 60), (256, 16)])
def test_half_a_pixel_goes_to_the_even_side(width: int, left: int) -> None:
    """455 is the long edge of a 16:9 picture: rounding down would be a pixel off on every one."""
    images = random_images(1, 256, width)
    expected = by_hand(images[..., 16:240, left : left + 224])
    torch.testing.assert_close(preprocess(images, 256, 224, MEAN, STD), expected)
    focal, centre = torch.tensor([[300.0, 300.0]]), torch.tensor([[width / 2, 128.0]])
    turned_by_none = rotate_cameras(images.float() / 255, focal, centre, torch.eye(3)[None], 224)
    torch.testing.assert_close(turned_by_none, images[..., 16:240, left : left + 224] / 255, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("height", "width", "expected"), [(256, 341, (192, 255)), (341, 256, (255, 192)), (256, 256, (192, 192))]
)
def test_resize_sets_the_short_edge(height: int, width: int, expected: tuple[int, int]) -> None:
    assert tuple(resized(random_images(1, height, width), 192).shape[-2:]) == expected


def test_resize_is_antialiased_and_leaves_the_right_size_alone() -> None:
    images = random_images(1, 256, 300)
    assert resized(images, 256) is images
    stripes = (torch.arange(256) % 2 * 255).to(torch.uint8).expand(1, 3, 256, 256)
    middle = resized(stripes, 64)[..., 8:-8].float()
    assert (middle - 127.5).abs().max() < 8


# pictures that are not square


@pytest.mark.parametrize(("width", "height"), [(845, 256), (256, 845), (341, 256), (256, 256)])
def test_stretched_pictures_are_read_from_edge_to_edge(width: int, height: int) -> None:
    images = random_images(2, height, width)
    expected = by_hand(TF.resize(images, [96, 96])[..., 8:88, 8:88])
    torch.testing.assert_close(preprocess(images, 96, 80, MEAN, STD, fit="stretch"), expected, atol=1e-5, rtol=1e-5)
    whole = preprocess(images, 96, 96, MEAN, STD, fit="stretch")
    torch.testing.assert_close(whole, by_hand(TF.resize(images, [96, 96])), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("width", "height"), [(845, 256), (256, 845), (341, 256), (256, 341), (256, 256)])
@pytest.mark.parametrize("crop", [96, 80])
def test_padded_pictures_keep_their_shape_and_lie_in_the_middle_of_zeros(width: int, height: int, crop: int) -> None:
    """Against torchvision, whose CenterCrop pads too: pictures and a mask of them take the same way."""
    images = random_images(2, height, width)
    long = max(width, height)
    small = TF.resize(images, [round(96 * height / long), round(96 * width / long)])
    assert max(small.shape[-2:]) == 96
    found = preprocess(images, 96, crop, MEAN, STD, fit="pad")
    there = v2.CenterCrop(crop)(torch.ones(1, 1, *small.shape[-2:])).expand_as(found) > 0
    expected = torch.where(there, by_hand(v2.CenterCrop(crop)(small)), torch.zeros(()))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_a_random_crop_of_padded_pictures_moves_along_them() -> None:
    images = random_images(2, 256, 845)
    ends = preprocess(images, 96, 80, MEAN, STD, torch.tensor([[0.0, 0.0], [1.0, 1.0]]), "pad")
    small = by_hand(TF.resize(images, [29, 96]))
    rows = slice(25, 25 + 29)
    for n, columns in enumerate((slice(0, 80), slice(16, 96))):
        torch.testing.assert_close(ends[n, :, rows], small[n, ..., columns], atol=1e-5, rtol=1e-5)
    assert not ends[:, :, :25].any() and not ends[:, :, 54:].any()


# the pose-true rotation


def smooth_images(batch: int, height: int, width: int) -> Tensor:
    """Slow waves, another set in each image and channel."""
    y, x = torch.meshgrid(torch.arange(height) / 60, torch.arange(width) / 60, indexing="ij")
    phase = torch.arange(batch * 3).reshape(batch, 3, 1, 1).float()
    return 0.5 + 0.25 * torch.sin(x + phase) + 0.25 * torch.cos(1.3 * y - phase)


def turns(*degrees: tuple[float, float, float]) -> Tensor:
    yaw, pitch, roll = torch.tensor(degrees, dtype=torch.float64).T
    return geometry.rotation_from_euler_deg(yaw, pitch, roll)


@pytest.mark.parametrize(
    ("height", "width", "crop"), [(256, 341, 224), (341, 256, 224), (256, 256, 256), (256, 455, 128), (256, 455, 224)]
)
def test_no_rotation_is_the_centre_crop(height: int, width: int, crop: int) -> None:
    images = random_images(2, height, width).float() / 255
    focal, centre = (
        torch.tensor([[288.0, 290.0], [500.0, 480.0]]),
        torch.tensor([[160.0, 120.0], [width / 2, height / 2]]),
    )
    out = rotate_cameras(images, focal, centre, torch.eye(3).expand(2, 3, 3), crop)
    top, left = centre_corner(height, width, crop)
    expected = images[..., top : top + crop, left : left + crop]
    # white noise: a coordinate's rounding, 1e-5 of a pixel, times a step of up to 1
    assert (out - expected).abs().mean() < 1e-5
    assert (out - expected).abs().max() < 1e-4
    smooth = smooth_images(2, height, width)
    out = rotate_cameras(smooth, focal, centre, torch.eye(3).expand(2, 3, 3), crop)
    torch.testing.assert_close(out, smooth[..., top : top + crop, left : left + crop], atol=1e-5, rtol=0)


def test_a_rotation_and_its_inverse_give_the_image_back() -> None:
    images = smooth_images(3, 256, 256)
    focal, centre = torch.full((3, 2), 280.0), torch.tensor([[128.0, 128.0], [120.0, 131.0], [128.0, 140.0]])
    rotation = turns((8.0, 0.0, 0.0), (0.0, -6.0, 10.0), (5.0, 4.0, -15.0))
    there = rotate_cameras(images, focal, centre, rotation, 256)
    back = rotate_cameras(there, focal, centre, rotation.mT, 256)
    inside = (..., slice(70, 186), slice(70, 186))  # further out the mirrored corners show
    assert (there[inside] - images[inside]).abs().mean() > 0.02
    assert (back[inside] - images[inside]).abs().max() < 2e-3


def test_two_rotations_are_their_product() -> None:
    images = smooth_images(2, 256, 256)
    focal, centre = torch.full((2, 2), 300.0), torch.full((2, 2), 128.0)
    first, second = turns((6.0, 2.0, 0.0), (0.0, 5.0, 12.0)), turns((0.0, -4.0, 9.0), (-5.0, 0.0, 3.0))
    # the pose becomes R_cw R_first, then R_cw R_first R_second
    one_by_one = rotate_cameras(rotate_cameras(images, focal, centre, first, 256), focal, centre, second, 256)
    at_once = rotate_cameras(images, focal, centre, first @ second, 256)
    inside = (..., slice(70, 186), slice(70, 186))
    assert (one_by_one[inside] - at_once[inside]).abs().max() < 2e-3


def test_points_land_where_the_rotated_camera_projects_them() -> None:
    """Known 3-D points, drawn as one dot an image, seen by the turned camera."""
    height, width, crop, count = 256, 343, 224, 24
    top, left = 16, 60  # half a pixel, (343 - 224) / 2 = 59.5, goes to the even side
    random = np.random.default_rng(3)
    camera_to_world = turns((33.0, -12.0, 71.0))[0].numpy()
    position = np.array([4.0, -2.0, 10.0])
    fx, fy, cx, cy = 300.0, 310.0, 165.0, 133.0
    pixel = random.uniform((100, 70), (240, 185), (count, 2))
    depth = random.uniform(1, 40, (count, 1))
    rays = np.concatenate([(pixel - (cx, cy)) / (fx, fy), np.ones((count, 1))], -1)
    points = position + (camera_to_world @ (rays * depth)[..., None])[..., 0]
    delta = turns(*random.uniform((-8, -8, -15), (8, 8, 15), (count, 3)).tolist())
    y, x = np.mgrid[:height, :width] + 0.5
    dots = np.exp(-((x - pixel[:, 0, None, None]) ** 2 + (y - pixel[:, 1, None, None]) ** 2) / (2 * 2.5**2))
    images = torch.from_numpy(dots).float()[:, None].expand(-1, 3, -1, -1).contiguous()
    focal, centre = torch.tensor([[fx, fy]]).expand(count, 2), torch.tensor([[cx, cy]]).expand(count, 2)
    seen = rotate_cameras(images, focal, centre, delta, crop)[:, 1].numpy()
    found = 0
    for n in range(count):
        new_camera_to_world = camera_to_world @ delta[n].numpy()  # R' = R_cw R_d, the position stays
        ray = new_camera_to_world.T @ (points[n] - position)
        u = fx * ray[0] / ray[2] + cx - left
        v = fy * ray[1] / ray[2] + cy - top
        if not (15 < u < crop - 15 and 15 < v < crop - 15):
            continue
        near = (np.abs(x[:crop, :crop] - u) < 14) & (np.abs(y[:crop, :crop] - v) < 14)
        weight = seen[n] * near
        assert weight.sum() > 20
        assert abs((weight * x[:crop, :crop]).sum() / weight.sum() - u) < 0.15
        assert abs((weight * y[:crop, :crop]).sum() / weight.sum() - v) < 0.15
        found += 1
    assert found >= 10


def test_a_turned_picture_is_as_sharp_as_the_picture() -> None:
    """How much neighbouring pixels differ, of pictures whose amplitudes fall with frequency as a photograph's do."""
    spectrum = torch.fft.rfft2(torch.randn(4, 3, 512, 680, generator=torch.Generator().manual_seed(0)))
    frequency = torch.hypot(torch.fft.fftfreq(512)[:, None], torch.fft.rfftfreq(680)[None]).clamp_min(1 / 512)
    images = torch.fft.irfft2(spectrum / frequency, s=(512, 680))
    images = resized((images / images.std() * 50 + 128).clamp(0, 255).byte(), 128).float() / 255
    focal, centre = torch.full((4, 2), 140.0), torch.tensor([[85.0, 64.0]]).expand(4, 2)
    rotation = turns((8.0, 2.0, 5.0), (-5.0, 6.0, 10.0), (3.0, -4.0, -3.0), (0.0, 0.0, 1.0))
    still, turned = (
        rotate_cameras(images, focal, centre, by, 112)[..., 16:-16, 16:-16].diff(dim=-1).square().mean().sqrt()
        for by in (torch.eye(3).expand(4, 3, 3), rotation)
    )
    assert turned / still == pytest.approx(1, abs=0.1)


def test_rays_behind_the_camera_stay_finite() -> None:
    images = smooth_images(2, 128, 128)
    out = rotate_cameras(
        images, torch.full((2, 2), 60.0), torch.full((2, 2), 64.0), turns((120.0, 0, 0), (0, 90.0, 0)), 128
    )
    assert torch.isfinite(out).all()
