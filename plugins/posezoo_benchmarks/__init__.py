"""Readers of benchmarks (7Scenes, Cambridge, ECL, RobotCar) and of own data (folder, csv, colmap, nerf)."""

from __future__ import annotations

from posezoo.hooks import hookimpl
from posezoo.spec import ReaderSpec


@hookimpl
def posezoo_readers() -> tuple[ReaderSpec, ...]:
    """The data formats, by the name that stands before the colon in `READER:PATH`."""
    return (
        ReaderSpec("7scenes", "posezoo_benchmarks.seven_scenes:read", "7Scenes in its official layout"),
        ReaderSpec("cambridge", "posezoo_benchmarks.cambridge:read", "Cambridge Landmarks in its official layout"),
        ReaderSpec("ecl", "posezoo_benchmarks.cambridge:read_ecl", "a folder with cambridge and its extension ecl"),
        ReaderSpec("robotcar", "posezoo_benchmarks.robotcar:read", "Oxford RobotCar, the centre camera's raw images"),
        ReaderSpec("folder", "posezoo_benchmarks.own_data:read_folder", "images with poses.csv, TUM or KITTI poses"),
        ReaderSpec("csv", "posezoo_benchmarks.own_data:read_labels", "a label CSV; needs ?convention=..."),
        ReaderSpec("colmap", "posezoo_benchmarks.colmap:read", "a COLMAP model, text or binary"),
        ReaderSpec("nerf", "posezoo_benchmarks.nerf:read", "transforms.json of nerfstudio and others"),
    )
