"""Pictures and poses.csv files for tests."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

Row = dict[str, object]
MakeFolder = Callable[..., Path]


def picture(path: Path, width: int = 40, height: int = 30, seed: int = 0) -> None:
    """Write a smooth random picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    small = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    Image.fromarray(small).resize((width, height)).save(path)


def pose_row(image: str, n: int = 0, **more: object) -> Row:
    """A row of poses.csv at x = n."""
    return {"image": image, "x": n, "y": 0, "z": 0, "qw": 1, "qx": 0, "qy": 0, "qz": 0, **more}


def write_csv(path: Path, rows: Sequence[Row]) -> Path:
    """A CSV file with the columns of all rows."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    return path
