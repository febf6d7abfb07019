"""Image files: their pixels, size and orientation, and whether they hold several pictures. No torch.

The EXIF orientation of a JPEG photograph says which way up its pixels are to be displayed. posezoo reads pixels as they
are stored, because poses refer to those. The data option `exif=true` turns them; the model's configuration then records
it (`decode`), and its predictions turn photographs too.
"""

from __future__ import annotations

import contextlib
import io
import stat
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, UnidentifiedImageError

from posezoo.base.errors import DataError
from posezoo.base.files.lenses import LensOf, corrected
from posezoo.base.spec import Decode, load_object

# by content, not by name; keeps PostScript (which starts a program) and forty rare parsers away
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "PPM", "BMP")
TAG = 0x0112  # of the EXIF orientation
UPRIGHT = Decode("posezoo.base.files.pictures:exif_transposed", "exif 1", turns=True)
"""Pictures turned as their EXIF orientation says."""
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_DAMAGE: tuple[type[Exception], ...] = (
    *(OSError, SyntaxError, ValueError, struct.error, EOFError),
    *(TypeError, LookupError, AttributeError, ArithmeticError),  # of a damaged TIFF's tags, for one
)
"""What Pillow raises for a damaged file."""
Source = str | Path | bytes | Image.Image
"""Where a picture is: a file, its bytes, or in memory."""
Camera = tuple[float, float, float, float]
"""(fx, fy, cx, cy) in pixels, (0, 0) at the outer corner of the top-left pixel."""


@contextlib.contextmanager
def _open_image(path: str | Path, formats: Sequence[str] = FORMATS) -> Iterator[Image.Image]:
    """The image as `Image.open` gives it, without the warning that it is large.

    Warning filters belong to the whole process, and pictures are read in threads. Raises what is in `_DAMAGE`.
    """
    path = Path(path)
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # a pipe or a device would never end
        raise OSError("not a regular file")
    if not status.st_size:
        raise OSError("empty file")
    with path.open("rb") as file, _opened(file, str(path), formats) as image:
        yield image


@contextlib.contextmanager
def _opened(file: IO[bytes], name: str, formats: Sequence[str] = FORMATS) -> Iterator[Image.Image]:
    """As `_open_image`, of a file that is open."""
    Image.init()
    start = file.read(16)
    for factory, accept in (Image.OPEN[name] for name in formats):
        try:
            if accept is not None and accept(start) is not True:
                continue
            file.seek(0)
            image = factory(file, name)
        except (SyntaxError, IndexError, TypeError, struct.error):  # as Image.open: perhaps another format
            continue
        with image:
            yield image
        return
    raise UnidentifiedImageError(f"cannot identify image file {name!r}")


def exif_transposed(image: Image.Image, options: Mapping[str, str] = {}) -> Image.Image:
    """The image turned, and mirrored, as its EXIF orientation says."""
    tag = orientation(image)
    return image.transpose(_TURNS[tag]) if tag in _TURNS else image


def orientation(image: Image.Image) -> int:
    """The EXIF orientation of a JPEG image, 1 to 8; 1 (as stored) where there is none or it cannot be read.

    Other formats count as stored: Pillow turns TIFF by itself, and PNG reveals it only after all pixels are decoded.
    """
    if image.format not in ("JPEG", "MPO"):
        return 1
    try:
        tag = image.getexif().get(TAG, 1)
    except _DAMAGE:
        return 1
    return tag if tag in _TURNS else 1


def image_size(path: str | Path, decode: Decode | None = None) -> tuple[int, int]:
    """(width, height) of the stored image, from its header only; of the turned one if `decode` turns it.

    Raises DataError that names the file.
    """
    try:
        with _open_image(path) as image:
            turned = decode is not None and decode.turns and orientation(image) >= 5
            return image.size[::-1] if turned else image.size
    except _DAMAGE as error:
        raise DataError(f"{path}: {error or 'damaged image'}") from error


def orientation_of(path: str | Path) -> int:
    """As `orientation`; 1 for a file that cannot be opened."""
    try:
        with _open_image(path, ("JPEG",)) as image:
            return orientation(image)
    except _DAMAGE:
        return 1


def is_animated(path: str | Path) -> bool:
    """Whether the file holds several pictures, of which the first is read; a camera's preview (MPO) does not count."""
    try:
        with _open_image(path) as image:
            return image.format != "MPO" and getattr(image, "is_animated", False)
    except _DAMAGE:
        return False


def turned_camera(path: str | Path, camera: Camera) -> Camera:
    """The intrinsics of the stored image at `path`, in the image turned upright."""
    try:
        with _open_image(path, ("JPEG",)) as image:
            tag, (width, height) = orientation(image), image.size
    except _DAMAGE:
        return camera
    fx, fy, cx, cy = camera
    if tag in (2, 3, 7, 8):  # what is stored from left to right is shown backwards
        cx = width - cx
    if tag in (3, 4, 6, 7):
        cy = height - cy
    return (fy, fx, cy, cx) if tag >= 5 else (fx, fy, cx, cy)


CACHE_SHORT_EDGE = 256
MAX_PIXELS = 64_000_000
_STRIP = 64  # rows
DEPTH_MODES = ("L", "I", "I;16", "I;16B")


def resized_size(width: int, height: int, short_edge: int) -> tuple[int, int]:
    """(width, height) of a picture resized to this short edge; the long one is cut off, as by torchvision's Resize."""
    short = min(width, height)
    return short_edge * width // short, short_edge * height // short


def read_image(
    path: str | Path, short_edge: int = CACHE_SHORT_EDGE, decode: Decode | None = None, lens_of: LensOf | None = None
) -> np.ndarray:
    """The image as uint8 RGB (H, W, 3), resized with antialiasing so that its short edge is `short_edge`.

    Orientation tags are ignored, unless `decode` turns: poses refer to the stored pixels. 16-bit images are
    scaled, not clipped; transparent ones are composited on black. `decode` turns other files, such as a sensor's raw
    pixels, into pictures; the distortion that `lens_of` knows is corrected. Raises DataError that names the file.
    """
    return read_sized(path, short_edge, decode, lens_of)[0]


def read_sized(
    path: str | Path, short_edge: int = CACHE_SHORT_EDGE, decode: Decode | None = None, lens_of: LensOf | None = None
) -> tuple[np.ndarray, tuple[int, int]]:
    """As `read_image`, and the (width, height) of the picture before it was resized."""
    with _readable(path) as image:
        return _read(image, str(path), short_edge, decode, lens_of)


def read_depths(path: str | Path) -> np.ndarray:
    """The numbers (H, W) of a depth map: a picture of one channel with 8 or 16 bits. Raises DataError with its name."""
    with _readable(path) as image:
        if image.mode not in DEPTH_MODES:
            raise DataError(f"{path}: not a depth map: {image.mode}, not one channel of 16 bits")
        if image.width * image.height > MAX_PIXELS:
            raise DataError(f"{path}: depth map too large: {image.width}x{image.height}")
        return np.asarray(image)


@contextlib.contextmanager
def _readable(path: str | Path) -> Iterator[Image.Image]:
    """The image at this path; whatever is wrong with it, in here or while it is read, is a DataError that names it."""
    path = Path(path)
    try:
        with _open_image(path) as image:
            yield image
    except FileNotFoundError:
        raise DataError(f"{path}: no such image") from None
    except UnidentifiedImageError:
        raise DataError(f"{path}: not an image ({', '.join(FORMATS)} are read)") from None
    except _DAMAGE as error:
        raise DataError(f"{path}: {error or 'damaged image'}") from error


def read_upload(
    data: bytes, short_edge: int = CACHE_SHORT_EDGE, decode: Decode | None = None, lens_of: LensOf | None = None
) -> np.ndarray:
    """As `read_image`, of a file's bytes that nobody vouches for. Raises DataError that calls them the upload."""
    if not data:
        raise DataError("the upload is empty")
    try:
        with _opened(io.BytesIO(data), "upload") as image:
            return _read(image, "the upload", short_edge, decode, lens_of)[0]
    except UnidentifiedImageError:
        raise DataError(f"the upload is not an image ({', '.join(FORMATS)} are read)") from None
    except _DAMAGE as error:
        raise DataError(f"the upload is damaged: {error or 'no image'}") from error


def _read(
    image: Image.Image, name: str, short_edge: int, decode: Decode | None, lens_of: LensOf | None
) -> tuple[np.ndarray, tuple[int, int]]:
    """The pixels at this short edge, and the (width, height) of the picture before."""
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise DataError(f"{name}: image too large: {width}x{height} (limit {MAX_PIXELS // 1_000_000} Mpx)")
    rgb = _to_rgb(load_object(decode.function)(image, decode.options) if decode else image)
    return sized(rgb, short_edge, lens_of, name), rgb.size


def sized(
    image: Image.Image, short_edge: int = CACHE_SHORT_EDGE, lens_of: LensOf | None = None, name: str = "the picture"
) -> np.ndarray:
    """As `read_image`, of a picture that is in memory already, as it is: a video's frame."""
    size = resized_size(*image.size, short_edge)
    if size[0] * size[1] > MAX_PIXELS:  # a strip of few pixels is as large as the largest picture at this short edge
        raise DataError(f"{name}: image too long for its width: {image.width}x{image.height}")
    rgb = _to_rgb(image)
    if lens_of is not None and (found := lens_of(*rgb.size)) is not None:
        lens, (fx, fy, cx, cy) = found
        # corrected at twice the size: sampling then loses nothing that the smaller picture would show
        large_HWC = sized(rgb, 2 * short_edge, name=name)
        x, y = large_HWC.shape[1] / rgb.width, large_HWC.shape[0] / rgb.height
        rgb = Image.fromarray(corrected(large_HWC, (fx * x, fy * y, cx * x, cy * y), lens))
    return np.asarray(rgb if size == rgb.size else rgb.resize(size, Image.Resampling.BILINEAR))


def is_grey(source: Source) -> bool:
    """Whether the picture has one channel; False for a file that cannot be opened, which `read_image` reports."""
    if isinstance(source, Image.Image):
        return source.mode in ("1", "L", "I", "F") or source.mode.startswith("I;")
    try:
        with _opened(io.BytesIO(source), "upload") if isinstance(source, bytes) else _open_image(source) as image:
            return is_grey(image)
    except _DAMAGE:
        return False


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        # plain convert clips 16-bit values at 255; floats are taken as 0..1 unless they are larger
        top = 65535.0 if image.mode.startswith("I") else 1.0
        if image.mode == "F":
            top = max(top, *(float(np.nanmax(strip, initial=1.0)) for _, strip in _strips(image)))
        gray = np.empty((image.height, image.width), np.uint8)
        for first, strip in _strips(image):
            gray[first : first + len(strip)] = np.nan_to_num(strip * (255.0 / top)).clip(0, 255).round()
        return Image.fromarray(gray).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "black"), rgba).convert("RGB")
    return image.convert("RGB")


def _strips(image: Image.Image) -> Iterator[tuple[int, np.ndarray]]:
    """(first row, some rows as float64): of a large picture all of them would take its memory several times."""
    for first in range(0, image.height, _STRIP):
        part = image.crop((0, first, image.width, min(first + _STRIP, image.height)))
        yield first, np.asarray(part, dtype=np.float64)
