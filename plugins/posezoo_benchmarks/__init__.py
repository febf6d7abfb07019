"""Readers of benchmarks (7Scenes, Cambridge, ECL, RobotCar) and of own data (folder, csv, colmap, nerf, arkit)."""

from __future__ import annotations

from posezoo.plugin import ReaderSpec, hookimpl
from posezoo_benchmarks import layouts


@hookimpl
def posezoo_readers() -> tuple[ReaderSpec, ...]:
    """The data formats, by the name before the colon in `READER:PATH`."""
    here = "posezoo_benchmarks"
    robotcar = "Oxford RobotCar, the centre camera's raw images"
    return (
        ReaderSpec("7scenes", f"{here}.seven_scenes:read", "7Scenes in its official layout", layouts.SEVEN_SCENES),
        ReaderSpec(
            "cambridge", f"{here}.cambridge:read", "Cambridge Landmarks in its official layout", layouts.CAMBRIDGE
        ),
        ReaderSpec("ecl", f"{here}.cambridge:read_ecl", "a folder with cambridge and its extension ecl", layouts.ECL),
        ReaderSpec("robotcar", f"{here}.robotcar:read", robotcar, layouts.ROBOTCAR, ("undistort",)),
        ReaderSpec(
            "folder", f"{here}.own_data:read_folder", "images with poses.csv, TUM or KITTI poses", layouts.FOLDER
        ),
        ReaderSpec("csv", f"{here}.own_data:read_labels", "a label CSV; needs ?convention=...", layouts.LABELS),
        ReaderSpec("colmap", f"{here}.colmap:read", "a COLMAP model, text or binary", layouts.COLMAP),
        ReaderSpec("nerf", f"{here}.nerf:read", "transforms.json of nerfstudio and others", layouts.NERF),
        ReaderSpec("arkit", f"{here}.arkit:read", "scans of Polycam and Record3D", layouts.ARKIT),
    )
