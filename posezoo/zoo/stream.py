"""Poses of what people point at: files, folders, globs, videos, a camera. A batch at a time; memory stays flat.

    photo.jpg  photos/  'day*/*.jpg'  walk.mp4  camera:0  camera:rtsp://HOST/STREAM

Pictures are decoded in parallel while the network computes. Frames of a video are called `walk.mp4#000012`, with their
time in the video; times of pictures are read from names that are times.

Legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

import glob
import os
import re
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from PIL import Image

from posezoo.base.errors import DataError, UsageError
from posezoo.base.files import lenses, pictures, videos
from posezoo.base.files.lenses import LensOf
from posezoo.base.observe import Note, Progress, parallel
from posezoo.base.paths import user_path
from posezoo.base.poses import Poses
from posezoo.base.spec import Decode
from posezoo.nn import inputs
from posezoo.nn.model import (
    ModelConfig,
    PoseModel,
    answered,
    evaluating,
    note_other_lenses,
    poses_of,
    unfamiliar_note,
)

if TYPE_CHECKING:
    from posezoo.zoo.exported import ExportedModel

CAMERA = "camera:"
_TIMES = ((r"\d{9,10}\.\d{1,9}", 1e6), (r"\d{13}", 1e3), (r"\d{16}", 1.0), (r"\d{19}", 1e-3))


class Item(NamedTuple):
    """A picture to come: a file, or a frame that a video or camera has given."""

    name: str
    timestamp: int
    """Microseconds, -1: unknown."""
    source: Path | Image.Image


class _Read(NamedTuple):
    item: Item
    image: np.ndarray  # (H, W, 3) uint8, short edge 256
    turned: bool
    """It has an EXIF orientation."""
    size: tuple[int, int]
    """Width and height of the whole picture."""


def predict_stream(
    model: PoseModel | ExportedModel,
    sources: Sequence[str | Path],
    *,
    batch_size: int = 32,
    every: int = 1,
    exif: bool | None = None,
    tta: bool = False,
    note: Note = warnings.warn,
    progress: Progress | None = None,
) -> Iterator[Poses]:
    """The poses of all pictures of the sources, in order, a batch at a time.

    `every`: only every Nth frame of videos and cameras. `exif`: turn photographs as their EXIF orientation says,
    or not; None: as in training. `tta`: the median over each picture and turned copies (`posezoo.nn.tta`).
    `progress` is called where the number of pictures is known. Raises DataError for what cannot be read, UsageError for
    a package that is missing, and for `tta` of an exported file.
    """
    if tta and not isinstance(model, PoseModel):
        raise UsageError("tta needs the model itself, not an exported file", "the run or folder that was exported")
    if min(batch_size, every) < 1:
        raise UsageError(f"batch_size={batch_size}, every={every}", "both are 1 or more")
    config = model.config
    decode = pictures.UPRIGHT if (config.decode == pictures.UPRIGHT.key if exif is None else exif) else None
    items, total = _items(sources, every)
    lens_of = lenses.lens_of(config.lenses)
    turned = others = count = unfamiliar = 0
    # nothing is read ahead for one at a time: what a camera sees is wanted now
    each = map if batch_size == 1 else parallel
    failed: list[DataError] = []
    reads = _until_bad(each(lambda item: _read(item, decode, config, lens_of), items), failed)
    for batch in iter(lambda: list(islice(reads, batch_size)), []):
        poses = _poses(model, batch, tta)
        unfamiliar += poses.unfamiliar
        yield poses
        count += len(batch)
        turned += sum(read.turned for read in batch)
        others += sum(lens_of is not None and lens_of(*read.size) is None for read in batch)
        if progress and total:
            progress(count, total)
    if failed:
        raise failed[0]
    if unfamiliar:
        note(unfamiliar_note(unfamiliar, count))
    if turned and decode is None:
        what = f"{turned} of {count} images have an EXIF orientation: ignored, as in training"
        note(f"{what} (--exif turns them; data option exif=true trains on turned pictures)")
    note_other_lenses(others, count, note)


def _until_bad(reads: Iterator[_Read], failed: list[DataError]) -> Iterator[_Read]:
    """What can be read; the error of what cannot is kept until all before it is answered."""
    try:
        yield from reads
    except DataError as error:
        failed.append(error)


def predict_pictures(model: PoseModel | ExportedModel, images: Sequence[Image.Image]) -> Poses:
    """The poses of pictures that are in memory already, not turned: of a robot's camera, say."""
    lens_of = lenses.lens_of(model.config.lenses)
    for n, image in enumerate(images):
        inputs.refuse_raw(f"picture {n}", model.config.decode, image)
    return _poses(model, [_in_memory(Item(str(n), -1, image), image, lens_of) for n, image in enumerate(images)])


def joined(parts: Sequence[Poses]) -> Poses:
    """Poses one after another."""
    if not parts:
        return Poses((), np.zeros((0, 3)), np.zeros((0, 4)))
    return Poses(
        tuple(name for part in parts for name in part.images),
        np.concatenate([part.position for part in parts]),
        np.concatenate([part.quaternion for part in parts]),
        tuple(name for part in parts for name in part.scenes),
        tuple(stamp for part in parts for stamp in part.timestamps),
        **{name: np.concatenate([part.estimates[name] for part in parts]) for name in parts[0].estimates},
    )


def time_of(name: str) -> int:
    """The time in microseconds that a file is named by: seconds with a point, or 13, 16 or 19 digits; -1: none."""
    stem = Path(name).stem if Path(name).suffix.lower() in inputs.SUFFIXES else Path(name).name
    for pattern, scale in _TIMES:
        if re.fullmatch(pattern, stem, re.ASCII):
            whole, _, part = stem.partition(".")
            return int(whole) * 1_000_000 + int((part + "000000")[:6]) if part else round(int(stem) * scale)
    return -1


def _items(sources: Sequence[str | Path], every: int) -> tuple[Iterator[Item], int | None]:
    """(the pictures, how many; None if videos or a camera are among them). Raises DataError for what is not there."""
    found: list[list[Path] | str | Path] = []
    for source in sources:
        text, path = str(source), user_path(source)
        if text.startswith(CAMERA):
            found.append(text.removeprefix(CAMERA))
        elif os.path.isdir(path):  # noqa: PTH112 (False for a name that is too long: Path's raises)
            found.append(inputs.below(path))
        elif not os.path.lexists(path) and glob.has_magic(text):
            matches = inputs.matching(path)
            if not matches:
                raise DataError(f"{text}: matches no file")
            found += [p if p.suffix.lower() in videos.VIDEOS else [p] for p in matches]
        else:
            found.append(path if path.suffix.lower() in videos.VIDEOS else [path])
    total = sum(map(len, found)) if all(isinstance(one, list) for one in found) else None  # type: ignore[arg-type]
    return _each(found, every), total


def _each(found: Sequence[list[Path] | str | Path], every: int) -> Iterator[Item]:
    for one in found:
        if isinstance(one, list):
            yield from (Item(str(path), time_of(path.name), path) for path in one)
        elif isinstance(one, Path):
            for number, frame in enumerate(videos.frames(one)):
                if number % every == 0:
                    stamp = round(videos.seconds(frame, number) * 1_000_000)
                    yield Item(f"{one}#{number:06d}", stamp, videos.upright(frame))
        else:
            yield from _camera(one, every)


def _camera(which: str, every: int) -> Iterator[Item]:
    """Frames of a camera by its number, or of a device or stream by its address, until it ends."""
    if find_spec("cv2") is None:
        raise UsageError("a camera needs opencv", "pip install 'posezoo[camera]'")
    import cv2

    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # what is wrong is said in one line
    try:
        capture = cv2.VideoCapture(int(which) if which.isdecimal() and len(which) < 4 else which)
    finally:
        cv2.utils.logging.setLogLevel(level)
    try:
        if not capture.isOpened():
            hint = "camera:1 is the second one" if which == "0" else "camera:0 is the first one"
            raise DataError(f"{CAMERA}{which}: no such camera", hint)
        number = 0
        while True:
            there, frame = capture.read()
            if not there:
                return
            if number % every == 0:
                picture = Image.fromarray(np.ascontiguousarray(frame[:, :, ::-1]))  # it gives blue first
                yield Item(f"{CAMERA}{which}#{number:06d}", time.time_ns() // 1000, picture)
            number += 1
    finally:
        capture.release()


def _read(item: Item, decode: Decode | None, config: ModelConfig, lens_of: LensOf | None) -> _Read:
    if isinstance(item.source, Image.Image):
        return _in_memory(item, item.source, lens_of)
    inputs.refuse_raw(item.source, config.decode)
    turned = decode is None and pictures.orientation_of(item.source) != 1
    image, size = pictures.read_sized(item.source, decode=decode, lens_of=lens_of)
    return _Read(item, image, turned, size)


def _in_memory(item: Item, picture: Image.Image, lens_of: LensOf | None) -> _Read:
    return _Read(item, pictures.sized(picture, lens_of=lens_of), False, picture.size)


def _poses(model: PoseModel | ExportedModel, batch: Sequence[_Read], tta: bool = False) -> Poses:
    """The poses of one batch. The modes of torch are set here alone: between batches the caller's code runs."""
    device = model.device if isinstance(model, PoseModel) else torch.device("cpu")
    with torch.inference_mode(), ExitStack() as modes:
        if isinstance(model, PoseModel):
            modes.enter_context(evaluating(model))
        # one by one: pictures of different shapes share a batch once they are cropped
        images = [torch.from_numpy(read.image.copy()).permute(2, 0, 1)[None].to(device) for read in batch]
        output = answered(model, images, model.config, tta)
    poses = poses_of([read.item.name for read in batch], [output], model.config.scenes)
    return replace(poses, timestamps=tuple(read.item.timestamp for read in batch))
