"""Frames with a picture each."""

from __future__ import annotations

import os
from pathlib import Path

from own_folder import picture

from posezoo.base.spec import Frame
from posezoo.data.table import Frames


def make_frames(folder: Path, sizes: list[tuple[int, int]], intrinsics: bool = True) -> Frames:
    """Frames with a picture each."""
    rows = []
    for n, (width, height) in enumerate(sizes):
        picture(folder / f"{n}.png", width, height, seed=n)
        os.utime(folder / f"{n}.png", (1e9, 1e9))  # old enough to be remembered
        camera = (width / 2, width / 2, width / 2, height / 2) if intrinsics else None
        rows.append(Frame(f"{n}.png", (n, 0, 0), (1, 0, 0, 0), intrinsics=camera))
    return Frames.from_rows(folder, rows)
