"""The picture of a data set, to look at before training: where its cameras are, by split and condition."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.lines import Line2D

from posezoo.base.errors import DataError
from posezoo.base.picture import Picture
from posezoo.base.plan import COLOURS, MAX_PANELS, View, draw_headings, draw_path, metre_axes, panels
from posezoo.data.open import Dataset
from posezoo.data.table import Frames

_SPLITS = {"train": "#999999", "val": "#E69F00", "test": "#0072B2"}


def dataset_paths(dataset: Dataset) -> Picture:
    """The true paths seen from above, a panel a scene; arrows show where cameras look.

    Colours are splits, or, where there are several, conditions (weather, time of day); training paths are then wide
    and pale below the others.
    """
    frames = dataset.frames
    scenes = [frames.of_scene(name) for number, name in enumerate(frames.scenes) if (frames.scene == number).any()]
    figure, places = panels(min(len(scenes), MAX_PANELS), 4.4, 4.2)
    styles = _styles(frames)
    for axes, scene in zip(places, scenes, strict=False):
        view = View.of(scene.position, scene.quaternion)
        for (split, condition), style in styles.items():
            part = scene.of_split(split)
            part = part.select(part.condition == condition) if condition is not None else part
            if len(part):
                draw_path(axes, view, part.position, part.sequence, **style)
                draw_headings(axes, view, part.position, part.quaternion, color=style["color"])
        metre_axes(axes, view, dataset.unit)
        axes.set_title(f"{scene.scenes[scene.scene[0]]}: {len(scene)} images", fontsize=10)
    left_out = f", {MAX_PANELS} of {len(scenes)} scenes shown" if len(scenes) > MAX_PANELS else ""
    figure.suptitle(f"{dataset.name} ({frames.ground_truth} ground truth{left_out})")
    handles = [
        Line2D([], [], label=_label(frames, split, condition), **style) for (split, condition), style in styles.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
    return figure


def save_dataset_plot(dataset: Dataset, path: Path) -> Path:
    """`path`, with the figure of the data set written to it. Raises DataError if there is nothing to draw."""
    if not len(dataset.frames):
        raise DataError(f'"{dataset.name}" has no images', "posezoo data verify shows why")
    return dataset_paths(dataset).save(path)


def _styles(frames: Frames) -> dict[tuple[str, str | None], dict[str, Any]]:
    """(split, condition) -> how its paths are drawn; the condition is None where there is one alone."""
    conditions = list(dict.fromkeys(frames.condition.tolist()))
    several = len(conditions) > 1
    styles = {}
    for split, colour in _SPLITS.items():
        own = frames.condition[frames.split == split]
        for number, condition in enumerate(conditions):
            if (own == condition).any():
                wide = {"lw": 5.0, "alpha": 0.35} if several and split == "train" else {"lw": 1.5}
                key = (split, condition if several else None)
                styles[key] = {"color": COLOURS[number % len(COLOURS)] if several else colour, **wide}
    return styles


def _label(frames: Frames, split: str, condition: str | None) -> str:
    """The words of the legend, with the number of images."""
    chosen_N = frames.split == split
    if condition is None:
        return f"{split} ({int(chosen_N.sum())})"
    return f"{split}, {condition or 'no condition'} ({int((chosen_N & (frames.condition == condition)).sum())})"
