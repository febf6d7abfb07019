"""The pictures of docs/results/hypernetwork.md, for light and for dark pages: `python docs/make.py question`.

Each names the digest of registry/results/question.json in it (`Question`), so that a test can tell an old picture.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from itertools import cycle
from pathlib import Path
from typing import Any, get_args

import question
from PIL import Image, PngImagePlugin
from question import BASE, ERRORS, IMAGES, SAME_SIZE, SEEN, STORE

from posezoo.base.picture import Picture, Theme, grey, themed
from posezoo.base.plan import COLOURS
from posezoo.evaluation.compare import SAME


def digest() -> str:
    """Of what is stored."""
    return hashlib.sha256(STORE.read_bytes()).hexdigest()


def draw_all(folder: Path = IMAGES) -> list[Path]:
    """Pictures of each data set, for light and for dark pages."""
    paths = []
    for data, grids in question.read().items():
        drawn = {data: (_pairs, SAME_SIZE), f"{data}-base": (_pairs, BASE)}
        drawn |= {f"{data}-drives": (_drives, SEEN[data])} if data in SEEN else {}
        for name, (draw, how) in drawn.items():
            for theme in get_args(Theme):
                with themed(theme):
                    figure = draw(grids, how)
                    paths.append(figure.save(folder / question.picture_name(name, theme), transparent=True))
                _sign(paths[-1])
    return paths


def _sign(path: Path) -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Question", digest())
    with Image.open(path) as image:
        image.load()
        image.save(path, optimize=True, pnginfo=texts, dpi=image.info.get("dpi"))


def _pairs(grids: Mapping[str, Any], than: str) -> Picture:
    """Paired differences to bases of this kind, with intervals."""
    groups = {
        name: list(dict.fromkeys(row["name"] for row in question.pairs_of({name: found}, than)))
        for name, found in grids.items()
    }
    order = [(name, cell) for name, cells in groups.items() for cell in cells]
    figure = Picture(figsize=(9, 0.27 * len(order) + 1.2), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    colours = dict(zip(groups, cycle((COLOURS[0], COLOURS[2])), strict=False))  # seen on light and on dark
    for axes, (error, (noun, unit)) in zip(panels, ERRORS.items(), strict=True):
        for y, (name, cell) in enumerate(order):
            (row,) = (
                row
                for row in question.pairs_of({name: grids[name]}, than)
                if (row["name"], row["error"]) == (cell, error)
            )
            colour, (low, high) = colours[name], row["difference_ci95"]
            axes.plot([low, high], [y, y], color=colour, lw=2)
            face = "none" if row["verdict"] == SAME else colour
            axes.plot([row["difference"]], [y], "o", ms=6, mec=colour, mfc=face, zorder=3)
        _plain(axes, f"{noun}: better  ←  {unit}  →  worse")
    panels[0].set_yticks(range(len(order)), [f"{name.removeprefix('question/')}: {cell}" for name, cell in order])
    panels[0].set_ylim(len(order) - 0.4, -0.6)
    return figure


def _drives(grids: Mapping[str, Any], seen: str) -> Picture:
    """The change of the median error, a dot a comparison, by form and drive; first the drive in training's light."""
    rows = question.drives(grids)
    names = sorted({row["group"] for row in rows}, key=lambda name: (name != seen, name))
    order = [(form, name) for form in question.forms(rows) for name in names]
    figure = Picture(figsize=(9, 0.3 * len(order) + 1.2), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (error, (noun, _)) in zip(panels, ERRORS.items(), strict=True):
        for y, (form, name) in enumerate(order):
            colour = COLOURS[0] if name == seen else COLOURS[2]
            for row in rows:
                if row["name"].startswith(form) and (row["group"], row["error"]) == (name, error):
                    face = "none" if row["verdict"] == SAME else colour
                    axes.plot([100 * question.gain(row)], [y], "o", ms=6, mec=colour, mfc=face, zorder=3)
        _plain(axes, f"median {noun} error: better  ←  %  →  worse")
    panels[0].set_yticks(range(len(order)), [f"{form}, {name}" for form, name in order])
    panels[0].set_ylim(len(order) - 0.4, -0.6)
    return figure


def _plain(axes: Any, words: str) -> None:
    axes.axvline(0, color=grey(0.6), lw=1)
    axes.set_xlabel(words)
    axes.grid(True, axis="x", color=grey(0.9), lw=0.6)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
