"""Pictures and poses.csv files for tests."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from posezoo.base.errors import DataError
from posezoo.base.spec import Frame
from posezoo.data.open import open_dataset
from posezoo.data.table import Frames

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


def findings_of(name: str, **options: Any) -> list[str]:
    with pytest.raises(DataError) as caught:
        open_dataset(name, **options)
    assert "\n" not in str(caught.value)
    return [str(finding) for finding in caught.value.findings]


def frames_of(sequences: dict[str, int], scene: str = "s") -> Frames:
    """Frames 1 cm apart in sequences of the given lengths."""
    rows = [
        Frame(f"{name}/{n:05d}.png", (n / 100, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0), scene, "train", name)
        for name, count in sequences.items()
        for n in range(count)
    ]
    return Frames.from_rows(Path(), rows)
