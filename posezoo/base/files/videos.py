"""Frames of videos, one at a time: memory does not grow with their length. Needs PyAV (`posezoo[map]`). No torch."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from PIL import Image

from posezoo.base.errors import DataError, UsageError

VIDEOS = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".3gp")


def require(*packages: str) -> None:
    """Raise UsageError if one of the packages of the extra `map` is not installed."""
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        raise UsageError(f"this needs {', '.join(missing)}", "pip install 'posezoo[map]'")


def frames(path: Path) -> Iterator[Any]:
    """The video's frames (av.VideoFrame). Raises DataError for a file that is no video, or damaged at its beginning."""
    require("av")
    import av

    given = 0
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise DataError(f"{path}: no video in it")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            for frame in container.decode(stream):
                given += 1
                yield frame
    except FileNotFoundError:
        raise DataError(f"{path}: no such video") from None
    except (av.FFmpegError, OSError, ValueError) as error:
        if given < 2:  # one that was cut short gives what it has
            raise DataError(f"{path}: not a video that can be read: {error}"[:200]) from None


def seconds(frame: Any, number: int) -> float:
    """When the frame is shown; where the file does not say it, as of a video of 30 frames a second."""
    return float(frame.time) if frame.time is not None else number / 30


def upright(frame: Any) -> Image.Image:
    """The frame as the phone was held."""
    picture: Image.Image = frame.to_image()
    turns = round(getattr(frame, "rotation", 0) / 90) % 4
    return picture.rotate(90 * turns, expand=True) if turns else picture
