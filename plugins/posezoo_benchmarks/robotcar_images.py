"""RobotCar's raw images as colour pictures: demosaic (gbrg) and undistort. Needs opencv (`posezoo[robotcar]`).

The official kit's `stereo_narrow_left_distortion_lut.bin` holds 2 H W float64: for each pixel of the straightened
image, row by row, the column of its colour in the raw image, then likewise all rows (pixel centres at whole numbers).
`stereo_narrow_left.txt` beside it begins with the straightened image's fx, fy, cx, cy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from posezoo.plugin import DataError, Decode, UsageError

VERSION = 1  # raise it when the pixels change
TABLE, CAMERA = "stereo_narrow_left_distortion_lut.bin", "stereo_narrow_left.txt"


def decoder(models: str) -> Decode:
    """How the images are read; `models` is the kit's folder with the table and the camera, empty: left distorted."""
    if find_spec("cv2") is None:
        raise UsageError("RobotCar's raw images need opencv", "pip install 'posezoo[robotcar]'")
    if not models:
        return Decode(f"{__name__}:decode", f"gbrg {VERSION} distorted")
    table = Path(models).absolute() / TABLE
    if not table.is_file():
        raise DataError(f"{table}: no such file", f"undistort=FOLDER with the kit's {TABLE} and {CAMERA}")
    with table.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Decode(f"{__name__}:decode", f"gbrg {VERSION} {digest}", {"table": str(table)})


def decode(image: Image.Image, options: Mapping[str, str]) -> Image.Image:
    """The colour picture of a raw Bayer image; one already in colour is only straightened."""
    import cv2

    pixels = np.asarray(image.convert("RGB") if image.mode != "L" else image)
    if image.mode == "L":
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BayerGBRG2RGB)
    if "table" in options:
        path = Path(options["table"])
        numbers = np.memmap(path, dtype="<f8", mode="r")  # read for each image: 20 MB that the system caches
        if numbers.size != 2 * image.width * image.height:
            size = f"{image.width}x{image.height}"
            raise ValueError(f"{path.name} is not for images of {size}: {numbers.size} numbers")
        maps = numbers.reshape(2, image.height, image.width).astype(np.float32)
        pixels = cv2.remap(pixels, maps[0], maps[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return Image.fromarray(pixels)


def intrinsics(models: str) -> tuple[float, float, float, float] | None:
    """(fx, fy, cx, cy) of the straightened image, (0, 0) at the outer corner; None without the kit's camera file."""
    path = Path(models) / CAMERA
    if not models or not path.is_file():
        return None
    try:
        fx, fy, cx, cy = (float(word) for word in path.read_text(encoding="utf-8").split()[:4])
    except ValueError as error:
        raise DataError(f"{path}: does not begin with fx, fy, cx, cy", "take the file from the official kit") from error
    return fx, fy, cx + 0.5, cy + 0.5
