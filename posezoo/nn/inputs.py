"""What `predict` takes: image files, folders of them, or pictures in memory.

Legend: N pictures, H height, W width.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from posezoo.base.errors import DataError
from posezoo.base.files import pictures
from posezoo.base.files.lenses import LensOf
from posezoo.base.paths import natural, user_path

Picture: TypeAlias = "str | Path | np.ndarray | Tensor | Image.Image"
"""A file or folder; or in memory, RGB: an array (H, W, 3) or (H, W), a tensor (3, H, W), both uint8; or Pillow's."""
WANTED = "a file, a folder, Pillow's, or uint8 RGB: an array (H, W, 3) or a tensor (3, H, W)"
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".tif", ".tiff")


def listed(images: Picture | Sequence[Picture]) -> list[Picture]:
    """The pictures one by one: the files of a folder and of those in it, or that a pattern (`day*/*.jpg`)
    matches, in natural order; the members of a batch.

    A batch is (N, ...). Raises DataError for a folder without images, and for what is no picture.
    """
    if isinstance(images, (np.ndarray, Tensor)):
        return list(images) if images.ndim == 4 else [images]
    if isinstance(images, (str, Path)):
        path = user_path(images)
        return [*below(path)] if path.is_dir() else [*matching(path)] or [images]
    if isinstance(images, Image.Image):
        return [images]
    if not isinstance(images, Iterable) or isinstance(images, (bytes, bytearray)):
        raise DataError(f"{type(images).__name__} is no picture", WANTED)
    return [one for image in images for one in listed(image)]


def below(folder: Path) -> list[Path]:
    """The pictures in a folder and in those in it, in natural order. Raises DataError if there are none."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and not path.is_dir())
    files = sorted(found, key=lambda path: natural(str(path)))
    if not files:
        raise DataError(f"{folder}: no images in it", f"read are {', '.join(SUFFIXES)}")
    return files


def matching(pattern: Path) -> list[Path]:
    """What a pattern (`day*/*.jpg`) matches, in natural order; nothing if it is the name of a file."""
    if os.path.lexists(pattern) or not glob.has_magic(str(pattern)):
        return []
    found = map(Path, glob.glob(str(pattern), recursive=True))  # noqa: PTH207 (Path's starts in one folder)
    return sorted((path for path in found if not path.is_dir()), key=lambda path: natural(str(path)))


def names(images: Sequence[Picture]) -> list[str]:
    """The files' paths; pictures in memory are called by their number."""
    return [str(image) if isinstance(image, (str, Path)) else f"image {n}" for n, image in enumerate(images)]


def pillow(image: np.ndarray | Tensor | Image.Image) -> Image.Image:
    """The picture as Pillow's, of one channel or as it is. Raises DataError for another shape or type."""
    if isinstance(image, Image.Image):
        return image
    wrong = DataError(f"a picture of shape {tuple(image.shape)} and type {image.dtype}", WANTED)
    if image.dtype not in (torch.uint8, np.uint8):
        raise wrong
    if isinstance(image, Tensor):
        array = image.detach().cpu().numpy()
        array = array.transpose(1, 2, 0) if array.ndim == 3 else array
    else:
        array = image
    if not array.size or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3))):
        raise wrong
    return Image.fromarray(array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array)


def in_memory(image: np.ndarray | Tensor | Image.Image, lens_of: LensOf | None = None) -> np.ndarray:
    """The picture as `pictures.read_image` gives a file. Raises DataError for another shape or type."""
    return pictures.sized(pillow(image), lens_of=lens_of)


def read(image: Picture, decode: pictures.Decode | None, lens_of: LensOf | None = None) -> Tensor:
    """The picture as uint8 (3, H, W), short edge 256, turned upright if `decode` turns files, lenses corrected."""
    if isinstance(image, (str, Path)):
        array = pictures.read_image(image, decode=decode, lens_of=lens_of)
    else:
        array = in_memory(image, lens_of)
    return torch.from_numpy(array.copy()).permute(2, 0, 1)


def refuse_raw(name: str | Path, trained: str, picture: pictures.Source | None = None) -> None:
    """Raise DataError for a raw picture where the model was trained on what a reader made of such.

    `name`: its file, or what it is called where it is in memory already. `trained`: the configuration's `decode`.
    """
    source = name if picture is None else picture
    if trained and trained != pictures.UPRIGHT.key and pictures.is_grey(source):
        what = f"{name}: one channel, but the model was trained on colour pictures from raw pixels ({trained})"
        raise DataError(what, "posezoo eval --data reads raw files; else make a colour picture of it")
