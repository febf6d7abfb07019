"""Folders of own data made on the spot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from own_folder import MakeFolder, Row, picture, pose_row, write_csv


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder that no other test knows."""
    monkeypatch.setenv("POSEZOO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    """`make_folder(rows)`: a folder with poses.csv and pictures; without rows ten frames, two of them test."""

    def make(rows: Sequence[Row] | None = None, pictures: bool = True) -> Path:
        folder = tmp_path / "photos"
        if rows is None:
            rows = [pose_row(f"a/{n:02d}.png", n, split="test" if n >= 8 else "train") for n in range(10)]
        write_csv(folder / "poses.csv", rows)
        for n, row in enumerate(rows):
            image = str(row["image"])
            if pictures and image and not image.startswith(("/", "..")):
                picture(folder / image, seed=n)
        return folder

    return make
