"""The pictures of README and docs, drawn from the shipped model's poses of the demo: `python docs/make.py`.

Each is written for light and for dark pages, without a background. The weights that it shows are named in the file
(`Weights`), so that a test can tell an old picture.

Legend: N test images.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import matplotlib.image
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Polygon
from PIL import Image, PngImagePlugin

from posezoo.base.picture import Picture, Theme, grey, themed
from posezoo.base.plan import COLOURS, View, draw_path, metre_axes
from posezoo.base.rotation import rotation_matrix
from posezoo.catalogue import entries
from posezoo.data.appearance.corrupt import corrupt
from posezoo.data.images.cache import ImageCache
from posezoo.data.images.depths import DepthMaps
from posezoo.data.open import open_dataset
from posezoo.data.plot import dataset_paths
from posezoo.evaluation.report import Report
from posezoo.nn.views import moved_cameras

IMAGES = Path(__file__).parent / "images"
SHOWN = "posenet-anchors-demo"
WEATHERS = ("overcast", "sunny", "evening", "winter")
KINDS, SEVERITIES = ("fog", "snow", "night", "rain", "blur", "occlusion"), (1, 3, 5)
_COLOURS = dict(zip(WEATHERS, COLOURS[:4], strict=True))


def draw_all(report: Report, folder: Path = IMAGES) -> list[Path]:
    """Every picture, written; `report` is that of SHOWN on demo-loop."""
    paths = []
    for name, draw in DRAWN.items():
        for theme in get_args(Theme):
            with themed(theme):
                paths.append(draw_figure(draw(report, theme), folder / f"{name}-{theme}.png"))
    return [*paths, *(draw_sheet(folder / f"{draw_sheet.__name__}.jpg") for draw_sheet in SHEETS)]


def draw_figure(figure: Picture, path: Path) -> Path:
    """The path, with the figure without a background, and the digest of the weights as a text in it."""
    figure.save(path, transparent=True)
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Weights", entries.published()[SHOWN].sha256)
    with Image.open(path) as image:
        image.load()
        small = image.resize((image.width * 2 // 3, image.height * 2 // 3), Image.Resampling.LANCZOS)
    small.save(path, optimize=True, pnginfo=texts)
    return path


def typical(report: Report) -> list[int]:
    """A test image of each weather: of one quarter of its drive, another for each, the one with the median error."""
    chosen = []
    for number, weather in enumerate(WEATHERS):
        index = report.groups("condition")[weather]
        quarter = np.array_split(index, len(WEATHERS))[number]
        error_N = report.errors[report.model][0][quarter]
        chosen.append(int(quarter[np.argsort(error_N)[len(quarter) // 2]]))
    return chosen


def where(report: Report) -> Picture:
    """Four photographs and, on the map, the cameras that the model predicts for them."""
    frames, poses = report.frames, report.methods[report.model]
    assert report.train is not None
    figure = Picture(figsize=(11.5, 4.7), layout="constrained")
    grid = figure.add_gridspec(2, 4)
    view = View.of(report.train.position, report.train.quaternion)
    plan = figure.add_subplot(grid[:, 2:])
    draw_path(plan, view, report.train.position, report.train.sequence, color=grey(0.82), lw=3)
    for number, (weather, row) in enumerate(zip(WEATHERS, typical(report), strict=True)):
        colour = _COLOURS[weather]
        photo = figure.add_subplot(grid[number // 2, number % 2])
        photo.imshow(matplotlib.image.imread(frames.path(row)))
        photo.set(xticks=[], yticks=[])
        photo.spines[:].set(color=colour, linewidth=4)
        position, degrees = (float(error_N[row]) for error_N in report.errors[report.model])
        photo.set_title(f"{weather}: {position:.1f} m, {degrees:.1f}° off", fontsize=10)
        true_2 = frames.position[row][view.pair]
        _camera(plan, view, poses.position[row], poses.quaternion[row], color=colour)
        plan.plot(*true_2, "o", ms=9, mfc="none", mec=grey(0.15), mew=1.2, zorder=8)
        behind_2 = -rotation_matrix(poses.quaternion[row])[:, 2][view.pair] * (32, 16)  # points; words are wide
        plan.annotate(weather, true_2, behind_2, textcoords="offset points", ha="center", va="center", fontsize=10)
    metre_axes(plan, view, report.unit)
    plan.plot([], [], color=grey(0.82), lw=3, label="training path")
    plan.plot([], [], color=grey(0.15), lw=0, marker="o", mfc="none", ms=9, label="true position")
    plan.plot([], [], color=grey(0.4), lw=0, marker=(3, 0, -90), ms=11, label="predicted camera")
    plan.legend(loc="center", frameon=False)
    plan.set_title(f"{SHOWN}: a photograph in, the camera on the map out", fontsize=11)
    return figure


def _camera(axes: Axes, view: View, position_3: np.ndarray, quaternion_4: np.ndarray, **style: Any) -> None:
    """A camera from above: a triangle that opens where it looks, its tip at the centre."""
    forward_2 = rotation_matrix(quaternion_4)[:, 2][view.pair]
    aside_2 = np.array([-forward_2[1], forward_2[0]])
    reach = 0.09 * float((view.high - view.low).max())
    tip_2 = position_3[view.pair]
    ends = [tip_2 + reach * (forward_2 + side * 0.5 * aside_2) for side in (-1, 1)]
    axes.add_patch(Polygon([tip_2, *ends], closed=True, alpha=0.85, lw=0, zorder=7, **style))


def corruptions(path: Path) -> Path:
    """The path, with a sheet of one frame in six kinds and three severities, in full colour."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "weather"
        corrupt("demo-loop", out=out, kinds=KINDS, severities=SEVERITIES, subset="test", limit=1)
        found = open_dataset(f"folder:{out}").frames
        by = {str(found.condition[n]): found.path(n) for n in range(len(found))}
        figure = Picture(figsize=(12, 5.1), layout="constrained")
        for number, severity in enumerate(SEVERITIES):
            for column, kind in enumerate(KINDS):
                axes = figure.add_subplot(len(SEVERITIES), len(KINDS), number * len(KINDS) + column + 1)
                axes.imshow(matplotlib.image.imread(by[f"{kind}-{severity}"]), interpolation="lanczos")
                axes.set(xticks=[], yticks=[], title=kind if number == 0 else "")
                axes.set_ylabel(f"severity {severity}" if column == 0 else "")
                axes.spines[:].set_visible(False)
        figure.savefig(path, dpi=100, pil_kwargs={"quality": 82, "optimize": True})
    return path


def appearance(path: Path) -> Path:
    """The path, with the sheet of `augment.appearance` (tools/appearance.py)."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "tools"))
    import appearance as sheet

    sheet.picture(path)
    return path


def motion(path: Path) -> Path:
    """The path, with three training images as cameras beside them would have seen the place (`augment.motion`)."""
    dataset = open_dataset("demo-loop")
    frames, cache = dataset.frames, ImageCache.open(dataset.frames)
    rows_B = np.flatnonzero(frames.split == "train")[list(MOVED)]
    images_BCHW, camera_B4 = cache.batch(rows_B)
    inverse_Bhw = DepthMaps.open(frames, rows_B, cache).batch(rows_B)
    focal_B2, centre_B2 = torch.from_numpy(camera_B4).float().split(2, -1)
    still_B33 = torch.eye(3).expand(len(rows_B), 3, 3)
    figure = Picture(figsize=(12, 6.2), layout="constrained")
    for column, (name, metres) in enumerate(MOVES.items()):
        move_B3 = torch.tensor(metres).expand(len(rows_B), 3)
        seen = moved_cameras(images_BCHW / 255, inverse_Bhw, focal_B2, centre_B2, still_B33, move_B3, 240)
        for row, image_3HW in enumerate(seen):
            axes = figure.add_subplot(len(rows_B), len(MOVES), row * len(MOVES) + column + 1)
            axes.imshow(image_3HW.movedim(0, -1).clamp(0, 1).numpy(), interpolation="lanczos")
            axes.set(xticks=[], yticks=[], title=name if row == 0 else "")
            axes.spines[:].set_visible(False)
    figure.savefig(path, dpi=100, pil_kwargs={"quality": 82, "optimize": True})
    return path


def depths(path: Path) -> Path:
    """The path, with training images of two places, depths from their neighbours and true ones (`augment.depth`)."""
    figure = Picture(figsize=(12, 6.2), layout="constrained")
    for half, (name, chosen) in enumerate(SWEPT.items()):
        frames = open_dataset(name).frames
        cache, train_N = ImageCache.open(frames), np.flatnonzero(frames.split == "train")
        swept = DepthMaps.sweep(frames, train_N, cache, torch.device("cpu"))
        rows_B = train_N[list(chosen)]
        known = [maps.batch(rows_B).numpy() for maps in (swept, DepthMaps.open(frames, rows_B, cache))]
        nearest = float(np.quantile(np.nan_to_num(known[1]), 0.99))
        for row in range(len(rows_B)):
            photo = cache.batch(rows_B[[row]])[0][0].movedim(0, -1).numpy()
            shown = zip(
                (name.removeprefix("demo-"), "found", "true"), (photo, known[0][row], known[1][row]), strict=True
            )
            for column, (title, picture) in enumerate(shown):
                axes = figure.add_subplot(len(rows_B), 6, row * 6 + half * 3 + column + 1)
                axes.imshow(picture, cmap="viridis", vmin=0, vmax=nearest, aspect="auto", interpolation="nearest")
                axes.set(xticks=[], yticks=[], title=title if row == 0 else "")
                axes.spines[:].set_visible(False)
    figure.savefig(path, dpi=100, pil_kwargs={"quality": 82, "optimize": True})
    return path


SHEETS = (corruptions, appearance, motion, depths)
SWEPT = {"demo-market-square": (10, 45, 80), "demo-yard": (5, 40, 70)}  # of the training images
MOVED = (10, 77, 350)  # of the training images
MOVES = {
    "as it is": (0.0, 0.0, 0.0),
    "1.5 m to the left": (-1.5, 0.0, 0.0),
    "1.5 m to the right": (1.5, 0.0, 0.0),
    "1.5 m on": (0.0, 0.0, 1.5),
    "1.5 m back": (0.0, 0.0, -1.5),
}
DRAWN: dict[str, Callable[[Report, str], Picture]] = {
    "where": lambda report, _: where(report),
    "trajectory": lambda report, theme: report.plot("trajectory", theme=theme),
    "errors": lambda report, theme: report.plot("errors", theme=theme),
    "demo-loop": lambda _, __: dataset_paths(open_dataset("demo-loop")),
}
NAMES = (
    *(f"{name}-{theme}.png" for name in DRAWN for theme in get_args(Theme)),
    *(f"{sheet.__name__}.jpg" for sheet in SHEETS),
)
