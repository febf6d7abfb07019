"""Readers of benchmarks and of own data: 7Scenes, a folder with poses.csv, label CSV files."""

from __future__ import annotations

from posezoo.hooks import hookimpl
from posezoo.spec import ReaderSpec


@hookimpl
def posezoo_readers() -> tuple[ReaderSpec, ...]:
    """The data formats, by the name that stands before the colon in `READER:PATH`."""
    return (
        ReaderSpec("7scenes", "posezoo_benchmarks.seven_scenes:read", "7Scenes in its official layout"),
        ReaderSpec("folder", "posezoo_benchmarks.own_data:read_folder", "a folder of images with poses.csv"),
        ReaderSpec("csv", "posezoo_benchmarks.own_data:read_labels", "a label CSV; needs ?convention=..."),
    )
