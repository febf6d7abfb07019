"""Depth maps of rendered views: what a pixel shows is where its ray meets the plane of its polygon."""

from __future__ import annotations

import numpy as np
from gbuffer import Frame
from numpy.typing import NDArray
from scene import Polygon

COLUMNS, ROWS = 96, 72
PER_METRE = 256
FARTHEST = 65534  # of 16 bits; 65535 means unknown to those who read depth maps
Array = NDArray[np.float64]


class Planes:
    """The planes of a scene's polygons."""

    def __init__(self, polygons: list[Polygon]) -> None:
        self._normal = np.zeros((len(polygons) + 1, 3))  # polygon number plus one; 0 is the sky, which has none
        self._offset = np.zeros(len(polygons) + 1)
        for number, polygon in enumerate(polygons, 1):
            points = np.asarray(polygon.points, dtype=np.float64)
            normal = np.cross(points, np.roll(points, -1, axis=0)).sum(axis=0)
            self._normal[number] = normal / max(float(np.linalg.norm(normal)), 1e-12)
            self._offset[number] = self._normal[number] @ points.mean(axis=0)

    def depth(self, frame: Frame, focal: float) -> NDArray[np.uint16]:
        """Metres along the optical axis times PER_METRE at the middles of a coarse grid's cells over the view."""
        height, width = frame.number.shape
        v = ((np.arange(ROWS) + 0.5) * height / ROWS).astype(int)
        u = ((np.arange(COLUMNS) + 0.5) * width / COLUMNS).astype(int)
        x, y = np.meshgrid((u + 0.5 - width / 2) / focal, (v + 0.5 - height / 2) / focal)
        ray = np.stack([x, y, np.ones_like(x)], axis=-1) @ frame.rotation.T
        number = frame.number[v[:, None], u]
        towards = (ray * self._normal[number]).sum(axis=-1)
        distance = self._offset[number] - self._normal[number] @ frame.position
        with np.errstate(divide="ignore", invalid="ignore"):
            depth: Array = distance / towards * PER_METRE
        depth = np.where(np.isfinite(depth) & (depth > 0), depth, FARTHEST)  # the sky, and edges seen edge on
        return depth.clip(1, FARTHEST).round().astype(np.uint16)
