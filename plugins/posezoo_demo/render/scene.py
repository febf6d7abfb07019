"""Polygon store of the town: planar polygons with a texture, a tint, a material and optional emission.

The renderer (see ``gbuffer.py``) draws every polygon twice, once with its texture and once with a colour that encodes
its number.  Because each polygon is planar, the number gives the exact world point behind every pixel, so
lighting, shadows, snow and fog are computed afterwards in numpy (``appearance.py``) without any OpenGL.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

Colour = tuple[float, float, float]
WHITE: Colour = (1.0, 1.0, 1.0)


class Material(IntEnum):
    """What a polygon is made of; decides how snow, noise and light act on it."""

    SKY = 0
    WALL = 1
    ROOF = 2
    ROAD = 3
    PAVEMENT = 4
    GRASS = 5
    LEAF = 6
    BARK = 7
    PAINT = 8
    HILL = 9


def above(point: ArrayLike, height: float) -> NDArray[np.float64]:
    """The point ``height`` metres above another."""
    return np.asarray(point, dtype=np.float64) + np.array([0.0, 0.0, height])


@dataclass(frozen=True)
class Placement:
    """A local frame: x to the right, y away from the viewer, z up, turned by ``yaw`` about the world's z axis."""

    origin: tuple[float, float, float]
    yaw: float = 0.0

    def __call__(self, points: ArrayLike) -> NDArray[np.float64]:
        """Local points (..., 3) in world coordinates."""
        p = np.asarray(points, dtype=np.float64)
        c, s = np.cos(self.yaw), np.sin(self.yaw)
        turn = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
        return p @ turn.T + np.asarray(self.origin)

    def at(self, x: float, y: float, z: float = 0.0, turn: float = 0.0) -> Placement:
        """A placement given in this one's local frame."""
        x_w, y_w, z_w = self([x, y, z])
        return Placement((float(x_w), float(y_w), float(z_w)), self.yaw + turn)


@dataclass
class Polygon:
    """One planar convex polygon."""

    points: NDArray[np.float64]
    uv: NDArray[np.float64]
    texture: str | None
    tint: Colour
    material: Material
    emission: str | Colour | None
    normal: NDArray[np.float64]
    shade_normal: NDArray[np.float64]
    layer: str


@dataclass
class Scene:
    """All polygons, textures and lamps of the town."""

    polygons: list[Polygon] = field(default_factory=list)
    textures: dict[str, NDArray[np.uint8]] = field(default_factory=dict)
    lamps: list[tuple[float, float, float]] = field(default_factory=list)
    layer: str = "solid"

    def add(
        self,
        points: ArrayLike,
        texture: str | None = None,
        tint: Colour = WHITE,
        material: Material = Material.WALL,
        uv: ArrayLike | None = None,
        repeat: tuple[float, float] = (1.0, 1.0),
        emission: str | Colour | None = None,
        shade_normal: ArrayLike | None = None,
    ) -> None:
        """Add a polygon whose points start at the bottom left and run counter-clockwise as seen from outside."""
        p = np.asarray(points, dtype=np.float64)
        normal = np.cross(p[1] - p[0], p[2] - p[0])
        length = float(np.linalg.norm(normal))
        if length < 1e-9:
            return
        normal = normal / length
        if uv is None:
            corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], dtype=np.float64)[: len(p)]
            uv = corners * np.asarray(repeat) if len(p) <= 4 else np.zeros((len(p), 2))
        shade = normal if shade_normal is None else np.asarray(shade_normal, dtype=np.float64)
        self.polygons.append(
            Polygon(p, np.asarray(uv, dtype=np.float64), texture, tint, material, emission, normal, shade, self.layer)
        )

    def box(
        self,
        place: Placement,
        x: tuple[float, float],
        y: tuple[float, float],
        z: tuple[float, float],
        tint: Colour = WHITE,
        texture: str | None = None,
        material: Material = Material.WALL,
        emission: str | Colour | None = None,
        tile: float = 0.0,
        front_only: str | None = None,
    ) -> None:
        """An axis-aligned box of the local frame; ``tile`` is the texture's size in metres (0: once per face).

        With ``front_only`` the front face alone wears that texture, as a sign board does.
        """
        (x0, x1), (y0, y1), (z0, z1) = x, y, z
        faces = [
            [(x0, y0, z0), (x1, y0, z0), (x1, y0, z1), (x0, y0, z1)],
            [(x1, y0, z0), (x1, y1, z0), (x1, y1, z1), (x1, y0, z1)],
            [(x1, y1, z0), (x0, y1, z0), (x0, y1, z1), (x1, y1, z1)],
            [(x0, y1, z0), (x0, y0, z0), (x0, y0, z1), (x0, y1, z1)],
            [(x0, y0, z1), (x1, y0, z1), (x1, y1, z1), (x0, y1, z1)],
            [(x0, y1, z0), (x1, y1, z0), (x1, y0, z0), (x0, y0, z0)],
        ]
        for number, face in enumerate(faces):
            if number == 5 and z0 < 0.3:
                continue
            p = place(face)
            size = (float(np.linalg.norm(p[1] - p[0])), float(np.linalg.norm(p[3] - p[0])))
            repeat = (size[0] / tile, size[1] / tile) if tile else (1.0, 1.0)
            if number == 0 and front_only:
                self.add(p, front_only, WHITE, material, emission=emission)
            else:
                glow = emission if front_only is None else None
                self.add(p, texture, tint, material, repeat=repeat, emission=glow)

    def beam(
        self,
        start: ArrayLike,
        end: ArrayLike,
        radius: tuple[float, float],
        sides: int = 6,
        tint: Colour = WHITE,
        texture: str | None = None,
        material: Material = Material.PAINT,
        cap: bool = False,
    ) -> None:
        """A tapered prism between two world points (posts, trunks, branches, pipes)."""
        a, b = np.asarray(start, dtype=np.float64), np.asarray(end, dtype=np.float64)
        axis = (b - a) / max(float(np.linalg.norm(b - a)), 1e-9)
        side = np.cross(axis, [1.0, 0.0, 0.0] if abs(axis[0]) < 0.8 else [0.0, 1.0, 0.0])
        side /= np.linalg.norm(side)
        other = np.cross(axis, side)
        turn = np.arange(sides) * 2 * np.pi / sides
        ring = np.cos(turn)[:, None] * side + np.sin(turn)[:, None] * other
        low, high = a + radius[0] * ring, b + radius[1] * ring
        for i in range(sides):
            j = (i + 1) % sides
            if radius[1] > 1e-6:
                self.add([low[i], low[j], high[j], high[i]], texture, tint, material, repeat=(0.4, 1.0))
            else:
                self.add([low[i], low[j], b], texture, tint, material)
        if cap:
            self.add(high, None, tint, material)
