"""Where the camera is: the predicted path on the map from above, as one HTML file that can be watched while it grows.

The page asks nothing of anybody; while pictures still come it loads itself again every second. Of a long stream
evenly chosen poses are shown, so that neither the page nor memory grows without end. Legend: N poses, M of the map.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from markupsafe import Markup

from posezoo.base.errors import PosezooError, UsageError
from posezoo.base.files.write import write_whole
from posezoo.base.poses import Poses
from posezoo.base.rotation import axes_from_above, rotation_matrix
from posezoo.evaluation.page import read_template, template

MOST = 2000  # poses of the path that are shown
SIDE = 1000.0  # of the drawing
SECONDS = 1.0  # between two versions of a page that grows


class Path2D:
    """The path so far: at most MOST poses, evenly chosen, and the last one."""

    def __init__(self) -> None:
        self.count = 0
        self.last = ""
        self._step = 1
        self._rows: list[np.ndarray] = []  # position and quaternion, 7 numbers
        self._latest = np.zeros(0)

    def add(self, poses: Poses) -> None:
        """Poses that follow; those that are not finite are left out."""
        for name, *row in zip(poses.images, *poses.position.T, *poses.quaternion.T, strict=True):
            if not np.isfinite(row).all():
                continue
            self._latest, self.last = np.array(row, dtype=np.float64), name
            if self.count % self._step == 0:
                self._rows.append(self._latest)
                if len(self._rows) >= MOST:
                    self._rows, self._step = self._rows[::2], 2 * self._step
            self.count += 1

    @property
    def chosen(self) -> np.ndarray:
        """The chosen poses (N, 7) in order, the last one last."""
        latest = [self._latest] if self.count and self._rows[-1] is not self._latest else []
        return np.array([*self._rows, *latest]).reshape(-1, 7)


def page(path: Path2D, title: str, known: Poses | None, unit: str, growing: bool) -> str:
    """The page. `known`: poses of the map, such as those of the training images; drawn below the path."""
    poses_N7 = path.chosen
    map_M7 = np.zeros((0, 7)) if known is None else np.concatenate([known.position, known.quaternion], axis=1)
    map_M7 = map_M7[:: max(1, len(map_M7) // MOST)]
    both = np.concatenate([map_M7, poses_N7])
    right, up = axes_from_above(both[:, :3], both[:, 3:]) if len(both) else (0, 1)
    flat = both[:, [right, up]] if len(both) else np.zeros((1, 2))
    low, high = flat.min(axis=0), flat.max(axis=0)
    extent = max(float((high - low).max()), 1e-6)
    # a margin of a twentieth, and y downwards, as SVG has it
    at = (flat - (low + high) / 2) * [1, -1] * (0.9 * SIDE / extent) + SIDE / 2
    drawn, way = at[: len(map_M7)], at[len(map_M7) :] if len(both) else np.zeros((0, 2))
    look = np.zeros(2)
    if path.count:
        look = rotation_matrix(poses_N7[-1, 3:])[[right, up], 2] * [1, -1]
    facts = [f"{value:.3f}" for value in poses_N7[-1]] if path.count else []
    style = Markup(read_template("report.css"))
    return template("where.html.j2").render(
        title=title, style=style, unit=unit, growing=growing, count=path.count, last=path.last, facts=facts,
        dots=drawn.round(1).tolist(), way=" ".join(f"{x:.1f},{y:.1f}" for x, y in way.tolist()),
        points=way.round(1).tolist(), now=way[-1].round(1).tolist() if len(way) else None,
        cone=_cone(way[-1], look) if len(way) else "", axes=("xyz"[right], "xyz"[up]), extent=f"{extent / 0.9:.3g}",
        side=SIDE,
    )  # fmt: skip


def to_file(out: Path | None, batches: Iterable[Poses], title: str, known: Poses | None = None, unit: str = "m") -> int:
    """Write the page, again and again while poses come; how many came. Raises UsageError, ResourceError."""
    if out is None:
        raise UsageError("--to html is a page to be opened", "--out where.html")
    path, written = Path2D(), 0.0
    try:
        for poses in batches:
            path.add(poses)
            if time.monotonic() - written >= SECONDS:
                write_whole(out, page(path, title, known, unit, growing=True))
                written = time.monotonic()
    except PosezooError:
        if path.count:  # what came before it
            write_whole(out, page(path, title, known, unit, growing=False))
        raise
    write_whole(out, page(path, title, known, unit, growing=False))
    return path.count


def _cone(at_2: np.ndarray, look_2: np.ndarray, size: float = 60.0) -> str:
    """What the camera sees from above: a triangle; empty for one that looks straight up or down."""
    length = float(np.linalg.norm(look_2))
    if length < 0.1:
        return ""
    ahead, across = size * look_2 / length, 0.45 * size * look_2[::-1] * [-1, 1] / length
    corners = (at_2, at_2 + ahead + across, at_2 + ahead - across)
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
