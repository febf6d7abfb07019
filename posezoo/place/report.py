"""What a map is worth: in numbers, in plain advice, from above, and its worst frames."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from posezoo.base.files.write import replacement, write_whole, writing
from posezoo.base.paths import natural
from posezoo.base.rotation import axes_from_above
from posezoo.place.sources import Recording
from posezoo.place.structure import names_of
from posezoo.place.world import World

WORST = 12  # frames that are shown
GOOD_SHARE = 0.9
FEW_POINTS = 50  # of the map in a frame: its pose is weak
GOOD_PIXELS = 1.5  # mean reprojection error


@dataclass(frozen=True)
class PlaceReport:
    """A finished map. `folder` is a data set at once: `colmap:FOLDER`."""

    folder: Path
    images: int
    registered: int
    components: tuple[int, ...]
    """Images of the largest component, which alone is the map, and those that each other has and no larger one."""
    points: int
    reprojection_px: float
    unit: str
    scale_from: str
    residual_m: float | None
    recordings: tuple[dict[str, Any], ...]
    """Of each its name, condition, images and how many are registered."""
    cameras: tuple[dict[str, Any], ...]
    worst: tuple[dict[str, Any], ...]
    unregistered: tuple[str, ...]
    advice: tuple[str, ...] = field(default=())
    gravity_from: str = ""
    """What measured where up is; empty: z is up by the cameras' mean, or by the positions that were given."""
    gravity_degrees: float | None = None

    @property
    def share(self) -> float:
        """Of the images, how many are in the map."""
        return self.registered / max(1, self.images)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in vars(self).items()} | {
            "folder": str(self.folder), "share": self.share,
        }  # fmt: skip

    def lines(self) -> list[str]:
        """The same in words."""
        fit = f", {self.residual_m:.3g} m off at half of the positions" if self.residual_m is not None else ""
        unit = f"metres from {self.scale_from}{fit}" if self.unit == "m" else f"{self.unit}: --scale-from gives metres"
        parts = f", in {len(self.components)} parts ({', '.join(map(str, self.components))})"
        lines = [
            f"{self.registered} of {self.images} frames placed ({100 * self.share:.0f} %)"
            + (parts if len(self.components) > 1 else ""),
            f"{self.points} points, {self.reprojection_px:.2f} px reprojection error",
            f"positions in {unit}",
        ]
        if self.gravity_from:
            lines.append(
                f"z is up by {self.gravity_from}: half of the frames within {self.gravity_degrees:.1f} degrees"
            )
        for one in self.recordings:
            condition = f" ({one['condition']})" if one["condition"] else ""
            lines.append(f"{one['name']}{condition}: {one['registered']} of {one['images']} frames placed")
        for camera in self.cameras:
            size, numbers = "x".join(map(str, camera["size"])), ", ".join(f"{v:.4g}" for v in camera["parameters"])
            lines.append(f"camera of {camera['images']} frames, {size}: {camera['model']} {numbers}")
        return [*lines, *(f"advice: {line}" for line in self.advice)]


def _parts(models: Sequence[Any]) -> tuple[int, ...]:
    """Frames of the largest component, and of each other those that no larger one has; a part of it is no part."""
    seen: set[str] = set()
    counts = []
    for model in models:
        own = set(names_of(model)) - seen
        seen |= own
        counts.append(len(own))
    return tuple(count for count in counts if count)


def measure(
    folder: Path,
    models: Sequence[Any],
    world: World,
    recordings: Sequence[Recording],
    names: Mapping[str, Sequence[str]],
) -> PlaceReport:
    """The report of the components (pycolmap.Reconstruction), the largest first, already in the world."""
    model = models[0]
    frames = _frames(model)
    every = [name for one in names.values() for name in one]
    rows = tuple(
        {
            "name": one.name,
            "condition": one.condition,
            "images": len(names[one.name]),
            "registered": sum(name in frames for name in names[one.name]),
        }
        for one in recordings
    )
    cameras = [camera for camera in model.cameras.values() if _of_camera(model, camera.camera_id)]
    worst = sorted(frames.items(), key=lambda item: (item[1]["points"] >= FEW_POINTS, -item[1]["error_px"]))
    report = PlaceReport(
        folder=folder,
        images=len(every),
        registered=len(frames),
        components=_parts(models),
        points=model.num_points3D(),
        reprojection_px=float(model.compute_mean_reprojection_error()),
        unit=world.unit,
        scale_from=world.source,
        residual_m=world.residual_m,
        gravity_from=world.gravity,
        gravity_degrees=world.gravity_degrees,
        recordings=rows,
        cameras=tuple(
            {
                "model": camera.model_name,
                "size": [camera.width, camera.height],
                "parameters": [float(value) for value in camera.params],
                "images": _of_camera(model, camera.camera_id),
            }
            for camera in cameras
        ),
        worst=tuple({"image": name, **row} for name, row in worst[:WORST]),
        unregistered=tuple(sorted((name for name in every if name not in frames), key=natural)),
    )
    left_out = sum(one.left_out for one in recordings)
    return PlaceReport(**{**vars(report), "advice": tuple(_advice(report, frames, left_out))})


def _of_camera(model: Any, camera: int) -> int:
    return sum(model.images[n].camera_id == camera for n in model.reg_image_ids())


def _frames(model: Any) -> dict[str, dict[str, Any]]:
    """For each placed image how many points of the map it sees, and their mean reprojection error in pixels."""
    found = {}
    for number in model.reg_image_ids():
        image = model.images[number]
        errors = [model.points3D[point.point3D_id].error for point in image.points2D if point.has_point3D()]
        found[image.name] = {"points": len(errors), "error_px": float(np.mean(errors)) if errors else 0.0}
    return found


def _advice(report: PlaceReport, frames: Mapping[str, dict[str, Any]], left_out: int) -> list[str]:
    lines = []
    if report.share < GOOD_SHARE:
        lines.append(
            f"{report.images - report.registered} frames are not placed: too little overlap. Walk slower, turn slowly,"
            " and come back to where you began; --frames with another --out takes more of a video"
        )
    if len(report.components) > 1:
        lines.append(
            "the recordings fall into parts that share no view: film the way between them, or film the same walls again"
        )
    lost = [one["name"] for one in report.recordings if not one["registered"]]
    if lost:
        lines.append(f"nothing of {', '.join(lost)} is placed: its light or its place is too different")
    weak = sum(row["points"] < FEW_POINTS for row in frames.values())
    if weak > 0.1 * len(frames):
        lines.append(f"{weak} frames see fewer than {FEW_POINTS} points: plain walls, blur or darkness")
    if report.reprojection_px > GOOD_PIXELS:
        lines.append("the reprojection error is high: a rolling shutter, zoom, or things that moved")
    if left_out:
        lines.append(f"{left_out} photographs were left out: HEIC and raw files are not read, export them as JPEG")
    if report.unit != "m":
        lines.append("no metres are known: measure one distance and map again with --scale-from, it takes seconds")
    return lines


def save(report: PlaceReport, model: Any) -> None:
    """Write report.md, above.png and worst.jpg beside the map. Raises ResourceError."""
    folder = report.folder
    lines = [f"# {folder.name}", "", *(f"- {line}" for line in report.lines()), "", "![from above](above.png)", ""]
    if report.worst:
        lines += ["## The worst frames", "", "| frame | points | error (px) |", "|---|---|---|"]
        lines += [f"| {one['image']} | {one['points']} | {one['error_px']:.2f} |" for one in report.worst]
        lines += ["", "![worst frames](worst.jpg)", ""]
    if report.unregistered:
        lines += ["## Not placed", "", *(f"- {name}" for name in report.unregistered)]
    write_whole(folder / "report.md", "\n".join(lines) + "\n")
    above(model, report).save(folder / "above.png")
    write_whole(folder / "worst.jpg", _contact_sheet(folder / "images", [one["image"] for one in report.worst]))


class above:  # noqa: N801 (a figure, used like a function)
    """The path and the points from above, with the viewing directions of the cameras."""

    def __init__(self, model: Any, report: PlaceReport) -> None:
        from matplotlib.figure import Figure

        images = sorted((model.images[n] for n in model.reg_image_ids()), key=lambda image: natural(image.name))
        rigid = [image.cam_from_world().inverse() for image in images]
        centre_N3 = np.array([pose.translation for pose in rigid])
        quaternion_N4 = np.array([pose.rotation.quat for pose in rigid])[:, [3, 0, 1, 2]]
        forward_N3 = np.array([pose.rotation.matrix()[:, 2] for pose in rigid])
        a, b = axes_from_above(centre_N3, quaternion_N4)
        point_M3 = np.array([point.xyz for point in model.points3D.values()]).reshape(-1, 3)
        self.figure = Figure(figsize=(7, 6), layout="constrained")
        axes = self.figure.add_subplot()
        low, high = _limits(centre_N3, point_M3)
        shown = point_M3[np.all((point_M3 >= low) & (point_M3 <= high), axis=1)]
        axes.scatter(shown[:, a], shown[:, b], s=1, color="0.8", lw=0, zorder=1)
        for number, one in enumerate(report.recordings):
            mine = [n for n, image in enumerate(images) if image.name.startswith(f"{one['name']}/")]
            if not mine:
                continue
            colour = f"C{number % 10}"
            axes.plot(centre_N3[mine, a], centre_N3[mine, b], ".-", color=colour, lw=0.8, ms=4, label=one["name"])
            axes.quiver(
                centre_N3[mine, a], centre_N3[mine, b], forward_N3[mine, a], forward_N3[mine, b],
                color=colour, width=0.003, zorder=3,
            )  # fmt: skip
        unit = report.unit
        axes.set(
            xlabel=f"{'xyz'[a]} ({unit})", ylabel=f"{'xyz'[b]} ({unit})", aspect="equal",
            xlim=(low[a], high[a]), ylim=(low[b], high[b]),
        )  # fmt: skip
        axes.set_title(f"{report.folder.name} from above: {report.registered} of {report.images} frames")
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="best", frameon=False)

    def save(self, path: Path) -> None:
        """Write it as PNG."""
        from posezoo.base.picture import as_written  # matplotlib takes a second to import

        with writing(path), replacement(path) as temporary, as_written(self.figure):
            self.figure.savefig(temporary, format="png", dpi=120)


def _limits(centre_N3: np.ndarray, point_M3: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is shown: all cameras and nearly all points, of which some lie anywhere."""
    inner = np.percentile(point_M3, [2, 98], axis=0) if len(point_M3) else np.stack([centre_N3[0]] * 2)
    low, high = np.minimum(centre_N3.min(0), inner[0]), np.maximum(centre_N3.max(0), inner[1])
    margin = 0.05 * float((high - low).max()) + 1e-6
    return low - margin, high + margin


def _contact_sheet(images: Path, names: Sequence[str], width: int = 240, columns: int = 4) -> bytes:
    """The pictures in rows, each under its name, as JPEG."""
    tiles = []
    for name in names:
        with Image.open(images / name) as picture:
            picture.draft("RGB", (2 * width, 2 * width))
            small = picture.convert("RGB")
        small.thumbnail((width, width))
        tile = Image.new("RGB", (width, width + 16), "white")
        tile.paste(small, ((width - small.width) // 2, 16))
        ImageDraw.Draw(tile).text((2, 2), name[-38:], fill="black")
        tiles.append(tile)
    rows = max(1, -(-len(tiles) // columns))
    sheet = Image.new("RGB", (columns * width, rows * (width + 16)), "white")
    for n, tile in enumerate(tiles):
        sheet.paste(tile, (n % columns * width, n // columns * (width + 16)))
    data = io.BytesIO()
    sheet.save(data, "JPEG", quality=85)
    return data.getvalue()
