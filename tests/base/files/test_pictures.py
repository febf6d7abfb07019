"""EXIF orientations: pictures and intrinsics turned by each of the eight, broken tags, animations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from posezoo.base.errors import DataError
from posezoo.base.files import pictures
from posezoo.base.files.pictures import image_size, read_image, read_sized

SPOT = (11, 5)  # column, row of the one white block of 2x2 pixels


def photograph(path: Path, tag: int, size: tuple[int, int] = (40, 24)) -> Path:
    """A black JPEG with a white block and an EXIF orientation."""
    pixels = np.zeros((size[1], size[0], 3), dtype=np.uint8)
    pixels[SPOT[1] - 1 : SPOT[1] + 1, SPOT[0] - 1 : SPOT[0] + 1] = 255
    exif = Image.Exif()
    exif[pictures.TAG] = tag
    Image.fromarray(pixels).save(path, exif=exif, quality=100, subsampling=0)
    return path


@pytest.mark.parametrize("tag", range(1, 9))
def test_picture_and_intrinsics_turn_together(tmp_path: Path, tag: int) -> None:
    path = photograph(tmp_path / "a.jpg", tag)
    assert pictures.orientation_of(path) == tag
    with Image.open(path) as image:
        turned = pictures.upright(image)
        np.testing.assert_array_equal(turned, ImageOps.exif_transpose(image))  # Pillow's own, which fails on damage
    fx, fy, cx, cy = pictures.turned_camera(path, (50.0, 30.0, float(SPOT[0]), float(SPOT[1])))
    rows, columns = np.nonzero(np.asarray(turned)[..., 1] > 128)
    assert (columns.mean() + 0.5, rows.mean() + 0.5) == pytest.approx((cx, cy), abs=0.3)
    assert (fx, fy) == ((30, 50) if tag >= 5 else (50, 30))
    assert image_size(path) == (40, 24)
    assert image_size(path, pictures.UPRIGHT) == turned.size


def test_reading_turns_only_where_it_is_asked_for(tmp_path: Path) -> None:
    path = photograph(tmp_path / "a.jpg", 6)
    assert read_image(path, 48).shape == (48, 80, 3)
    pixels, size = read_sized(path, 48, pictures.UPRIGHT)
    assert (pixels.shape, size) == ((80, 48, 3), (24, 40))
    np.testing.assert_array_equal(read_image(path, 48).swapaxes(0, 1)[:, ::-1], pixels)


@pytest.mark.parametrize("tag", [0, 9, 65535])
def test_tags_that_mean_nothing(tmp_path: Path, tag: int) -> None:
    path = photograph(tmp_path / "a.jpg", tag)
    assert pictures.orientation_of(path) == 1
    assert read_image(path, 24, pictures.UPRIGHT).shape == (24, 40, 3)


def test_broken_exif_and_other_formats_are_as_stored(tmp_path: Path) -> None:
    good = photograph(tmp_path / "a.jpg", 6).read_bytes()
    broken = good.replace(b"Exif\0\0MM\0*\0\0\0\x08", b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert broken != good
    (tmp_path / "b.jpg").write_bytes(broken)
    assert pictures.orientation_of(tmp_path / "b.jpg") == 1
    assert read_image(tmp_path / "b.jpg", 24, pictures.UPRIGHT).shape == (24, 40, 3)
    Image.new("RGB", (40, 24)).save(tmp_path / "c.png")
    (tmp_path / "d.jpg").write_text("hello")
    for name in ("c.png", "d.jpg", "absent.jpg"):
        assert pictures.orientation_of(tmp_path / name) == 1
        assert pictures.turned_camera(tmp_path / name, (1, 2, 3, 4)) == (1, 2, 3, 4)


def test_animations(tmp_path: Path) -> None:
    first, second = (Image.new("RGB", (16, 16), colour) for colour in ("red", "blue"))
    for suffix in ("png", "webp", "tif"):
        path = tmp_path / f"a.{suffix}"
        first.save(path, save_all=True, append_images=[second])
        assert pictures.is_animated(path)
        assert read_image(path, 16)[8, 8, 0] > 200, "the first picture is read"
        first.save(path)
        assert not pictures.is_animated(path)


@pytest.mark.parametrize(
    "start", [b"P", b"BM", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBPVP8 ", b"II*\0"]
)
def test_files_that_only_begin_as_pictures(tmp_path: Path, start: bytes) -> None:
    (tmp_path / "a").write_bytes(start)
    with pytest.raises(DataError, match=r"/a: ."):
        read_image(tmp_path / "a")
    with pytest.raises(DataError, match=r"/a: ."):
        image_size(tmp_path / "a")
