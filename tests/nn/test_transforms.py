"""Image files of every kind to pixels, and the pose-true rotation against projected points."""

from __future__ import annotations

import os
import struct
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from another_python import run_python
from hypothesis import given, settings
from hypothesis import strategies as st
from naming import naming
from PIL import Image
from torch import Tensor

from posezoo.base.errors import DataError
from posezoo.base.files import pictures
from posezoo.base.files.pictures import read_image
from posezoo.nn import geometry
from posezoo.nn.transforms import prepare, resized, rotate_cameras

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def photograph(width: int = 300, height: int = 200) -> Image.Image:
    """Smooth colours with some noise: a JPEG of it is long enough to cut."""
    y, x = np.mgrid[:height, :width]
    noise = np.random.default_rng(0).integers(0, 40, (height, width))
    rgb = np.stack([x * 255 // width, y * 255 // height, 100 + noise], -1)
    return Image.fromarray(rgb.astype(np.uint8))


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims to be this large and has hardly any data."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    )


# files that are read


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "YCbCr", "I;16", "I", "F"])
def test_every_mode_becomes_three_bytes(tmp_path: Path, mode: str) -> None:
    name, base = (
        ("a.jpg", "RGB") if mode in ("CMYK", "YCbCr") else ("a.tif" if mode in ("F", "I", "LA") else "a.png", mode)
    )
    image = photograph().convert("I" if mode == "I;16" else mode)
    if mode == "I;16":
        image = Image.fromarray((np.asarray(image, dtype=np.uint32) * 257).astype(np.uint16))
    image.save(tmp_path / name)
    pixels = read_image(tmp_path / name)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (256, 384, 3)
    assert pixels.std() > (0 if base == "I" else 5)


def test_inverted_cmyk_keeps_its_colours(tmp_path: Path) -> None:
    """Adobe's programs store CMYK inverted and say so in a marker of the file."""
    Image.new("RGB", (64, 48), (200, 40, 40)).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    assert b"Adobe" in (tmp_path / "a.jpg").read_bytes()
    assert np.abs(read_image(tmp_path / "a.jpg")[128, 128].astype(int) - (200, 40, 40)).max() < 12


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "ppm", "bmp"])
def test_content_decides_not_the_name(tmp_path: Path, suffix: str) -> None:
    photograph().save(tmp_path / f"a.{suffix}")
    (tmp_path / f"a.{suffix}").rename(tmp_path / "a.jpeg")
    expected = np.asarray(photograph().resize((384, 256), Image.Resampling.BILINEAR), dtype=float)
    assert np.abs(read_image(tmp_path / "a.jpeg") - expected).mean() < 6  # lossy formats differ a little


@settings(max_examples=40)
@given(st.sampled_from(["1", "L", "RGB", "RGBA", "P"]), st.integers(1, 64), st.integers(1, 64))
def test_shape_for_any_size(tmp_path_factory: pytest.TempPathFactory, mode: str, width: int, height: int) -> None:
    path = tmp_path_factory.getbasetemp() / f"{mode}-{width}-{height}.png"
    Image.new(mode, (width, height)).save(path)
    pixels = read_image(path, short_edge=32)
    assert min(pixels.shape[:2]) == 32
    assert pixels.shape[2] == 3
    assert max(pixels.shape[:2]) == max(32, round(max(width, height) * 32 / min(width, height)))


def test_a_16_bit_ramp_stays_a_ramp(tmp_path: Path) -> None:
    ramp = np.tile(np.linspace(0, 65535, 256).round().astype(np.uint16), (256, 1))
    for name in ("ramp.png", "ramp.tif"):
        Image.fromarray(ramp).save(tmp_path / name)
        pixels = read_image(tmp_path / name).astype(int)
        np.testing.assert_allclose(pixels[..., 0], ramp / 257, atol=0.51)
        assert (np.diff(pixels[128, :, 0]) == 1).all()
        assert (pixels == pixels[..., :1]).all()


def test_float_images_are_scaled(tmp_path: Path) -> None:
    for top in (1.0, 1000.0):
        values = np.tile(np.linspace(0, top, 256, dtype=np.float32), (256, 1))
        values[0, 0] = np.nan
        Image.fromarray(values).save(tmp_path / "a.tif")
        np.testing.assert_allclose(read_image(tmp_path / "a.tif")[1, :, 1], np.arange(256), atol=1)


def test_transparent_pixels_are_black(tmp_path: Path) -> None:
    image = Image.new("RGBA", (256, 256), (255, 0, 0, 0))
    image.paste((0, 255, 0, 255), (0, 0, 128, 256))
    image.paste((200, 200, 200, 128), (128, 128, 256, 256))
    for name, stored in (("a.png", image), ("p.png", image.quantize(8)), ("la.png", image.convert("LA"))):
        stored.save(tmp_path / name)
        pixels = read_image(tmp_path / name)
        assert tuple(pixels[60, 200]) == (0, 0, 0), name
        assert abs(int(pixels[200, 200, 0]) - 100) < 3, name
    assert tuple(read_image(tmp_path / "a.png")[60, 60]) == (0, 255, 0)


def test_orientation_tags_are_ignored(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    photograph(300, 200).save(tmp_path / "a.jpg", exif=exif)
    assert read_image(tmp_path / "a.jpg").shape == (256, 384, 3)
    assert pictures.image_size(tmp_path / "a.jpg") == (300, 200)


def test_names_that_are_no_utf8(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9 \n\xf0\x9f\x98\x80.png")
    photograph().save(path)
    assert read_image(path).shape == (256, 384, 3)


# files that are refused


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("zero.jpg", b"", "empty file"),
        ("text.jpg", b"this is no picture\n" * 50, "not an image"),
        ("page.png", b"<!doctype html><html><body>404</body></html>", "not an image"),
        (
            "a.gif",
            b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;",
            "not an image",
        ),
        ("a.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
        ("big.png", png_header(12000, 12000), "image too large: 12000x12000"),
        ("bomb.png", png_header(30000, 30000), "image too large"),
        ("short.png", png_header(300, 200), ""),
    ],
)
def test_bad_files_are_named(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as error:
        read_image(tmp_path / name)
    assert str(tmp_path / name) in error.value.message
    assert reason in error.value.message
    assert "\n" not in error.value.message


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "bmp"])
@pytest.mark.parametrize("part", [0.3, 0.6, 0.95])
def test_truncated_files(tmp_path: Path, suffix: str, part: float) -> None:
    path = tmp_path / f"cut.{suffix}"
    photograph().save(path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
    with pytest.raises(DataError, match=f"cut.{suffix}"):
        read_image(path)


@settings(max_examples=100)
@given(
    st.sampled_from(["jpg", "png", "tif", "webp"]),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=8),
)
def test_damage_is_an_image_or_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, flips: list[tuple[float, int]]
) -> None:
    good = tmp_path_factory.getbasetemp() / f"good.{suffix}"
    if not good.exists():
        photograph(60, 40).save(good)
    content = bytearray(good.read_bytes())
    for place, value in flips:
        content[int(place * (len(content) - 1))] = value
    bad = good.with_name(f"bad.{suffix}")
    bad.write_bytes(bytes(content))
    try:
        assert read_image(bad, 32).shape[2] == 3
    except DataError as error:
        assert str(bad) in error.message


@pytest.mark.timeout(20)
def test_what_is_no_file_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    for path in (tmp_path / "pipe.jpg", tmp_path, Path("/dev/zero")):
        with pytest.raises(DataError, match=naming(path)):
            read_image(path)
    with pytest.raises(DataError, match=naming("absent.jpg")):
        read_image(tmp_path / "absent.jpg")


def test_a_huge_image_is_not_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    def decoded(image: Image.Image) -> Image.Image:
        raise AssertionError("a huge image was decoded")

    monkeypatch.setattr(pictures, "_to_rgb", decoded)
    (tmp_path / "a.png").write_bytes(png_header(12000, 12000))
    with pytest.raises(DataError, match=naming("64")):
        read_image(tmp_path / "a.png")


def test_a_huge_image_prints_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png_header(12000, 12000))
    code = "import sys\nfrom posezoo.base.files.pictures import read_image\n"
    code += "try: read_image(sys.argv[1])\nexcept Exception as error: print(error)"
    done: subprocess.CompletedProcess[str] = run_python(code, str(tmp_path / "a.png"))
    assert "image too large" in done.stdout
    assert done.stderr == ""


# pixels to what the network reads


def random_images(batch: int, height: int, width: int) -> Tensor:
    return torch.randint(
        0, 256, (batch, 3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )


def by_hand(images_BCHW: Tensor) -> Tensor:
    return (images_BCHW / 255 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


def test_prepare_crops_the_centre_and_normalises() -> None:
    images = random_images(2, 256, 341)
    torch.testing.assert_close(prepare(images, 256, 224, MEAN, STD), by_hand(images[..., 16:240, 58:282]))
    assert images.dtype == torch.uint8


def test_crop_offsets_are_x_then_y_in_each_image() -> None:
    images = random_images(5, 256, 341)
    offset_B2 = torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0], [1.0, 0.0], [0.5, 0.5]])
    out = prepare(images, 256, 224, MEAN, STD, offset_B2)
    corners = [(0, 0), (117, 32), (0, 32), (117, 0), (59, 16)]  # left, top
    for n, (left, top) in enumerate(corners):
        torch.testing.assert_close(out[n], by_hand(images[n, :, top : top + 224, left : left + 224]))


def test_every_place_of_the_crop_is_equally_likely() -> None:
    images = torch.arange(34)[None, None, None].expand(1000, 3, 32, -1).to(torch.uint8).contiguous()
    offset_B2 = torch.stack([(torch.arange(1000) + 0.5) / 1000, torch.zeros(1000)], -1)
    left = prepare(images, 32, 32, (0.0,) * 3, (1 / 255,) * 3, offset_B2)[:, 0, 0, 0].round().long()
    assert torch.bincount(left).tolist() == [333, 334, 333]


@pytest.mark.parametrize(
    ("height", "width", "expected"), [(256, 341, (192, 256)), (341, 256, (256, 192)), (256, 256, (192, 192))]
)
def test_resize_sets_the_short_edge(height: int, width: int, expected: tuple[int, int]) -> None:
    assert tuple(resized(random_images(1, height, width), 192).shape[-2:]) == expected


def test_resize_is_antialiased_and_leaves_the_right_size_alone() -> None:
    images = random_images(1, 256, 300)
    assert resized(images, 256) is images
    stripes = (torch.arange(256) % 2 * 255).to(torch.uint8).expand(1, 3, 256, 256)
    middle = resized(stripes, 64)[..., 8:-8].float()
    assert (middle - 127.5).abs().max() < 8


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
    ("height", "width", "crop"), [(256, 341, 224), (341, 256, 224), (256, 256, 256), (256, 455, 128)]
)
def test_no_rotation_is_the_centre_crop(height: int, width: int, crop: int) -> None:
    images = random_images(2, height, width).float() / 255
    focal, centre = (
        torch.tensor([[288.0, 290.0], [500.0, 480.0]]),
        torch.tensor([[160.0, 120.0], [width / 2, height / 2]]),
    )
    out = rotate_cameras(images, focal, centre, torch.eye(3).expand(2, 3, 3), crop)
    top, left = (height - crop) // 2, (width - crop) // 2
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
    height, width, crop, count = 256, 341, 224, 24
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
        u = fx * ray[0] / ray[2] + cx - (width - crop) // 2
        v = fy * ray[1] / ray[2] + cy - (height - crop) // 2
        if not (15 < u < crop - 15 and 15 < v < crop - 15):
            continue
        near = (np.abs(x[:crop, :crop] - u) < 14) & (np.abs(y[:crop, :crop] - v) < 14)
        weight = seen[n] * near
        assert weight.sum() > 20
        assert abs((weight * x[:crop, :crop]).sum() / weight.sum() - u) < 0.15
        assert abs((weight * y[:crop, :crop]).sum() / weight.sum() - v) < 0.15
        found += 1
    assert found >= 10


def test_rays_behind_the_camera_stay_finite() -> None:
    images = smooth_images(2, 128, 128)
    out = rotate_cameras(
        images, torch.full((2, 2), 60.0), torch.full((2, 2), 64.0), turns((120.0, 0, 0), (0, 90.0, 0)), 128
    )
    assert torch.isfinite(out).all()
