"""The frames of a recording: sharp ones, as far apart as the camera has moved; photographs as they are.

A video is read twice: once small and grey, for the sharpness of each frame and the motion since the last, then for the
chosen frames alone. Memory does not grow with its length. Needs PyAV (`posezoo[map]`) for videos.

Legend: N frames, H height, W width.
"""

from __future__ import annotations

import io
import re
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np

from posezoo.base.errors import DataError
from posezoo.base.files import videos
from posezoo.base.files.write import replacement, write_whole, writing
from posezoo.base.observe import Progress
from posezoo.place.sources import Recording

SMALL = (160, 120)  # width, height of the grey frames that are compared
SHIFT = 0.04  # of the width: the camera's motion from one chosen frame to the next
STILL = 0.003  # of the width: less in a whole window is a camera at rest
LONGEST_SECONDS = 1.0  # without a chosen frame, while the camera moves
QUALITY = 95  # of JPEG


class Taken(NamedTuple):
    """A frame that was written: its name below the place's images, and when it was taken (microseconds, -1 unknown)."""

    name: str
    timestamp: int


class Scores(NamedTuple):
    """What the first reading of a video finds."""

    seconds: np.ndarray  # (N,)
    sharpness: np.ndarray  # (N,) variance of the Laplacian
    motion: np.ndarray  # (N,) shift since the frame before, as a share of the width


def take(recording: Recording, folder: Path, limit: int, progress: Progress | None = None) -> list[Taken]:
    """Write the recording's frames to `folder`/NAME, at most `limit` of a video. Raises DataError, ResourceError."""
    if recording.is_video:
        return _from_video(recording, folder, limit, progress)
    taken = []
    target = folder / recording.name
    with writing(target):
        target.mkdir(parents=True, exist_ok=True)
        for number, photo in enumerate(recording.photos):
            name = f"{number:05d}-{re.sub(r'[^A-Za-z0-9._-]+', '_', photo.name)}"  # lists of pairs are split at spaces
            if not (target / name).exists():
                with replacement(target / name) as temporary:
                    shutil.copyfile(photo, temporary)
            taken.append(Taken(f"{recording.name}/{name}", -1))
            if progress:
                progress(number + 1, len(recording.photos))
    return taken


def choose(scores: Scores, limit: int) -> list[int]:
    """The frames to keep: of each window in which the camera moves by SHIFT, or of a second, the sharpest.

    Windows become longer until there are at most `limit`; none is taken of a camera at rest.
    """
    if not len(scores.seconds):
        return []
    path = np.cumsum(scores.motion)
    shift = max(SHIFT, float(path[-1]) / max(1, limit))
    longest = max(LONGEST_SECONDS, float(np.ptp(scores.seconds)) / max(1, limit))
    chosen: list[int] = []
    start = before = 0  # the window's first frame, and the last of the window before
    for n in range(len(path)):
        moved = path[n] - path[before]
        if moved >= shift or scores.seconds[n] - scores.seconds[before] >= longest or n == len(path) - 1:
            if moved >= STILL or not chosen:
                chosen.append(start + int(scores.sharpness[start : n + 1].argmax()))
            start, before = n + 1, n
    return [chosen[n] for n in np.linspace(0, len(chosen) - 1, min(limit, len(chosen))).round().astype(int)]


def _from_video(recording: Recording, folder: Path, limit: int, progress: Progress | None) -> list[Taken]:
    scores = _scores(recording.path, progress)
    chosen = choose(scores, limit)
    if len(chosen) < 2:
        what = f"{recording.path}: {len(scores.seconds)} frames, {len(chosen)} of them with motion between"
        raise DataError(what, "walk with the camera; a place needs some dozens of views")
    with writing(folder):
        (folder / recording.name).mkdir(parents=True, exist_ok=True)
    wanted, taken = set(chosen), []
    for number, frame in enumerate(videos.frames(recording.path)):
        if number > chosen[-1]:
            break
        if number not in wanted:
            continue
        name = f"{recording.name}/{number:06d}.jpg"
        data = io.BytesIO()
        videos.upright(frame).save(data, "JPEG", quality=QUALITY, subsampling=0)
        write_whole(folder / name, data.getvalue())
        taken.append(Taken(name, round(float(scores.seconds[number]) * 1_000_000)))
        if progress:
            progress(len(taken), len(chosen))
    return taken


def _scores(path: Path, progress: Progress | None) -> Scores:
    seconds, sharpness, motion = [], [], []
    before: np.ndarray | None = None
    for number, frame in enumerate(videos.frames(path)):
        grey_HW = frame.reformat(*SMALL, format="gray").to_ndarray().astype(np.float32)
        seconds.append(videos.seconds(frame, number))
        sharpness.append(_sharpness(grey_HW))
        motion.append(0.0 if before is None else _shift(before, grey_HW))
        before = grey_HW
        if progress and number % 50 == 0:
            progress(number, number + 50)
    return Scores(np.array(seconds), np.array(sharpness), np.array(motion))


def _sharpness(grey_HW: np.ndarray) -> float:
    inner = 4 * grey_HW[1:-1, 1:-1]
    laplacian = inner - grey_HW[:-2, 1:-1] - grey_HW[2:, 1:-1] - grey_HW[1:-1, :-2] - grey_HW[1:-1, 2:]
    return float(laplacian.var())


def _shift(before_HW: np.ndarray, after_HW: np.ndarray) -> float:
    """The shift between two frames, as a share of the width, by phase correlation."""
    a, b = (np.fft.rfft2(image - image.mean()) for image in (before_HW, after_HW))
    cross = a * np.conj(b)
    peak = np.fft.irfft2(cross / np.maximum(np.abs(cross), 1e-6), s=before_HW.shape)
    row, column = np.unravel_index(int(peak.argmax()), peak.shape)
    height, width = peak.shape
    dy, dx = ((int(n) + side // 2) % side - side // 2 for n, side in ((row, height), (column, width)))
    # motion into the picture shifts nothing on the whole: what has changed counts too
    changed = float(np.abs(before_HW - after_HW).mean()) / 255
    return max(float(np.hypot(dx, dy)) / width, 0.25 * changed)
