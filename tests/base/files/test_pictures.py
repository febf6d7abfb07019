"""EXIF orientations: pictures and intrinsics turned by each of the eight, broken tags, animations."""

from __future__ import annotations

import os
import struct
import subprocess
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from another_python import run_python
from hypothesis import given, settings
from hypothesis import strategies as st
from naming import naming
from PIL import Image, ImageOps

from posezoo.base.errors import DataError
from posezoo.base.files import pictures
from posezoo.base.files.pictures import MAX_PIXELS, image_size, read_image, read_sized, read_upload, sized

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
        turned = pictures.exif_transposed(image)
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


def smooth_photograph(width: int = 300, height: int = 200) -> Image.Image:
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


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "YCbCr", "I;16", "I", "F"])
def test_every_mode_becomes_three_bytes(tmp_path: Path, mode: str) -> None:
    name, base = (
        ("a.jpg", "RGB") if mode in ("CMYK", "YCbCr") else ("a.tif" if mode in ("F", "I", "LA") else "a.png", mode)
    )
    image = smooth_photograph().convert("I" if mode == "I;16" else mode)
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
    smooth_photograph().save(tmp_path / f"a.{suffix}")
    (tmp_path / f"a.{suffix}").rename(tmp_path / "a.jpeg")
    expected = np.asarray(smooth_photograph().resize((384, 256), Image.Resampling.BILINEAR), dtype=float)
    assert np.abs(read_image(tmp_path / "a.jpeg") - expected).mean() < 6  # lossy formats differ a little


@settings(max_examples=40)
@given(st.sampled_from(["1", "L", "RGB", "RGBA", "P"]), st.integers(1, 64), st.integers(1, 64))
def test_shape_for_any_size(tmp_path_factory: pytest.TempPathFactory, mode: str, width: int, height: int) -> None:
    path = tmp_path_factory.getbasetemp() / f"{mode}-{width}-{height}.png"
    Image.new(mode, (width, height)).save(path)
    pixels = read_image(path, short_edge=32)
    assert min(pixels.shape[:2]) == 32
    assert pixels.shape[2] == 3
    assert max(pixels.shape[:2]) == int(32 * max(width, height) / min(width, height)), "cut off, as by torchvision"


def test_a_16_bit_ramp_stays_a_ramp(tmp_path: Path) -> None:
    ramp = np.tile(np.linspace(0, 65535, 256).round().astype(np.uint16), (256, 1))
    for name in ("ramp.png", "ramp.tif"):
        Image.fromarray(ramp).save(tmp_path / name)
        pixels = read_image(tmp_path / name).astype(int)
        np.testing.assert_allclose(pixels[..., 0], ramp / 257, atol=0.51)
        assert (np.diff(pixels[128, :, 0]) == 1).all()
        assert (pixels == pixels[..., :1]).all()


@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
def test_deep_pictures_take_little_more_memory_than_their_pixels(mode: str) -> None:
    """A file of a hundred kilobytes may hold 64 million of them."""
    large = Image.new(mode, (4000, 3000), 1 if mode == "F" else 65535)
    tracemalloc.start()
    try:
        assert sized(large).min() == 255
        assert tracemalloc.get_traced_memory()[1] < 12e6 * 6  # of numpy's; as float64 the picture has 12e6 * 8
    finally:
        tracemalloc.stop()


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
    smooth_photograph(300, 200).save(tmp_path / "a.jpg", exif=exif)
    assert read_image(tmp_path / "a.jpg").shape == (256, 384, 3)
    assert pictures.image_size(tmp_path / "a.jpg") == (300, 200)


def test_names_that_are_no_utf8(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9 \n\xf0\x9f\x98\x80.png")
    smooth_photograph().save(path)
    assert read_image(path).shape == (256, 384, 3)


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


@pytest.mark.parametrize("size", [(1, 1000), (20_000, 20)])
def test_a_strip_of_few_pixels_takes_no_more_memory_than_the_largest_picture(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    strip = Image.new("RGB", size)
    strip.save(tmp_path / "strip.png")
    for read in (read_image, lambda path: read_upload(path.read_bytes()), lambda _: sized(strip)):
        with pytest.raises(DataError, match="{}x{}".format(*size)):
            read(tmp_path / "strip.png")
    assert read_image(tmp_path / "strip.png", short_edge=8).size < 3 * MAX_PIXELS


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "bmp"])
@pytest.mark.parametrize("part", [0.3, 0.6, 0.95])
def test_truncated_files(tmp_path: Path, suffix: str, part: float) -> None:
    path = tmp_path / f"cut.{suffix}"
    smooth_photograph().save(path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
    with pytest.raises(DataError, match=f"cut.{suffix}"):
        read_image(path)


def test_a_tag_of_another_type_in_a_tiff_is_damage(tmp_path: Path) -> None:
    """StripOffsets as text: Pillow raises TypeError."""
    smooth_photograph(60, 40).save(tmp_path / "a.tif", compression="tiff_lzw")
    content = bytearray((tmp_path / "a.tif").read_bytes())
    (at,) = (n for n in range(len(content)) if content[n : n + 4] == b"\x11\x01\x04\x00")
    content[at + 2] = 2
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.tif"):
        read_image(tmp_path / "a.tif")


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
        smooth_photograph(60, 40).save(good)
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
        told = pictures.orientation_of(path), pictures.is_grey(path), pictures.is_animated(path)
        assert told == (1, False, False)
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


@pytest.mark.parametrize(
    "start", [b"P", b"BM", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBPVP8 ", b"II*\0"]
)
def test_files_that_only_begin_as_pictures(tmp_path: Path, start: bytes) -> None:
    (tmp_path / "a").write_bytes(start)
    with pytest.raises(DataError, match=r"/a: ."):
        read_image(tmp_path / "a")
    with pytest.raises(DataError, match=r"/a: ."):
        image_size(tmp_path / "a")
