"""What image files say beside their pixels: which way up they are shown, whether they hold several pictures. No torch.

The EXIF orientation of a JPEG photograph is which way up the camera says that its pixels are to be shown. posezoo reads
pixels as they are stored, because poses refer to those. The data option `exif=true` turns them; the model then says so
in its configuration (`decode`), and its predictions turn photographs too.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from posezoo.errors import DataError
from posezoo.spec import Decode

# by content, not by name; keeps PostScript (which starts a program) and forty rare parsers away
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "PPM", "BMP")
TAG = 0x0112  # of the EXIF orientation
UPRIGHT = Decode("posezoo.pictures:upright", "exif 1")
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
_DAMAGE = (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError)
Camera = tuple[float, float, float, float]
"""(fx, fy, cx, cy) in pixels, (0, 0) at the outer corner of the top-left pixel."""


def upright(image: Image.Image, options: Mapping[str, str] = {}) -> Image.Image:
    """The image turned, and mirrored, as its EXIF orientation says."""
    tag = orientation(image)
    return image.transpose(_TURNS[tag]) if tag in _TURNS else image


def orientation(image: Image.Image) -> int:
    """The EXIF orientation of a JPEG image, 1 to 8; 1, as it is stored, where there is none or it cannot be read.

    Other formats count as stored: Pillow turns TIFF by itself, and PNG says it only after all pixels are decoded.
    """
    if image.format not in ("JPEG", "MPO"):
        return 1
    try:
        tag = image.getexif().get(TAG, 1)
    except _DAMAGE:
        return 1
    return tag if tag in _TURNS else 1


def image_size(path: str | Path, decode: Decode | None = None) -> tuple[int, int]:
    """(width, height) of the stored image, from its header only; of the turned one if `decode` is UPRIGHT.

    Raises DataError that names the file.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            return image.size[::-1] if decode == UPRIGHT and orientation(image) >= 5 else image.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: {error or 'damaged image'}") from error


def orientation_of(path: str | Path) -> int:
    """As `orientation`; 1 for a file that cannot be opened."""
    try:
        with Image.open(path, formats=("JPEG",)) as image:
            return orientation(image)
    except _DAMAGE:
        return 1


def is_animated(path: str | Path) -> bool:
    """Whether the file holds several pictures, of which the first is read; a camera's preview (MPO) does not count."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            return image.format != "MPO" and getattr(image, "is_animated", False)
    except _DAMAGE:
        return False


def turned_camera(path: str | Path, camera: Camera) -> Camera:
    """The intrinsics of the stored image at `path`, in the image turned upright."""
    try:
        with Image.open(path, formats=("JPEG",)) as image:
            tag, (width, height) = orientation(image), image.size
    except _DAMAGE:
        return camera
    fx, fy, cx, cy = camera
    if tag in (2, 3, 7, 8):  # what is stored from left to right is shown backwards
        cx = width - cx
    if tag in (3, 4, 6, 7):
        cy = height - cy
    return (fy, fx, cy, cx) if tag >= 5 else (fx, fy, cx, cy)
