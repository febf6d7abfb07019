"""What tests start in processes of their own, which import it by the name of this module."""

from __future__ import annotations

import signal
from pathlib import Path

from posezoo.data.images.cache import ImageCache
from posezoo.training.run import RunFolder


def hold_run_folder(path: str, held: object) -> None:
    """Hold the run folder until the process is killed."""
    with RunFolder(Path(path)):
        held.set()  # type: ignore[attr-defined]
        signal.pause()


def pixel_sum(cache: ImageCache, i: int) -> int:
    """The sum of an image's pixels."""
    return int(cache.batch([i])[0].sum())
