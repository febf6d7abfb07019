"""The street's centre line, the camera trajectories along it and in the three places, and the form of their poses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

Array = NDArray[np.float64]

# Corners of the closed street (metres, counter-clockwise) and the radius that rounds each of them.
CORNERS = [(0, 0), (55, -6), (112, 4), (124, 44), (96, 72), (58, 66), (14, 84), (-12, 50)]
RADII = [12.0, 40.0, 14.0, 13.0, 14.0, 26.0, 12.0, 16.0]

COLUMNS = ["image", "x", "y", "z", "qw", "qx", "qy", "qz", "scene", "split", "sequence", "timestamp", "condition",
           "fx", "fy", "cx", "cy", "depth", "depth_scale"]  # fmt: skip


class Street:
    """The closed centre line by arc length."""

    def __init__(self) -> None:
        corners = np.asarray(CORNERS, dtype=np.float64)
        points: list[Array] = []
        count = len(corners)
        for i in range(count):
            before = corners[i - 1] - corners[i]
            after = corners[(i + 1) % count] - corners[i]
            before, after = before / np.linalg.norm(before), after / np.linalg.norm(after)
            half = np.arccos(np.clip(before @ after, -1, 1)) / 2
            reach = RADII[i] / np.tan(half)
            start, end = corners[i] + before * reach, corners[i] + after * reach
            middle = before + after
            centre = corners[i] + middle / np.linalg.norm(middle) * RADII[i] / np.sin(half)
            a0 = np.arctan2(*(start - centre)[::-1])
            turn = (np.arctan2(*(end - centre)[::-1]) - a0 + np.pi) % (2 * np.pi) - np.pi
            angles = a0 + np.linspace(0, turn, 40)
            points.extend(centre + RADII[i] * np.column_stack([np.cos(angles), np.sin(angles)]))
        # The circuit starts where the first long straight ends.
        points = points[40:] + points[:40]
        closed = np.asarray([*points, points[0]])
        self._s = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))])
        self._points = closed
        self.length = float(self._s[-1])
        self.corners = CORNERS
        self._dense = np.arange(0.0, self.length, 0.1)
        self._tree = cKDTree(self._centre(self._dense))

    def at(self, s: float | Array, right: float | Array = 0.0) -> Array:
        """Points (..., 2) at arc length ``s``, moved ``right`` metres off the centre line."""
        heading = self.heading(s)
        side = np.stack([np.sin(heading), -np.cos(heading)], axis=-1)
        return self._centre(s) + side * np.asarray(right)[..., None]

    def nearest(self, points: Array) -> tuple[Array, Array]:
        """Arc length of the nearest centre-line points, and the distance from them."""
        distance, number = self._tree.query(points)
        return self._dense[number], distance

    def _centre(self, s: float | Array) -> Array:
        t = np.mod(s, self.length)
        return np.stack([np.interp(t, self._s, self._points[:, k]) for k in (0, 1)], axis=-1)

    def heading(self, s: float | Array) -> Array:
        """Direction of travel in radians, smoothed over two metres as a driver would take the bend."""
        step = np.asarray(self._centre(np.asarray(s) + 1.0) - self._centre(np.asarray(s) - 1.0))
        return np.arctan2(step[..., 1], step[..., 0])


@dataclass(frozen=True)
class View:
    """One camera placement in Panda3D's terms: position and heading, pitch, roll in degrees."""

    position: tuple[float, float, float]
    hpr: tuple[float, float, float]


@dataclass(frozen=True)
class Sequence:
    """One camera run with its labels."""

    name: str
    scene: str
    split: str
    condition: str
    look: str
    seed: int
    views: list[View]
    step_us: int


def _sway(rng: np.random.Generator, t: Array, waves: tuple[float, ...], strength: float) -> Array:
    """Smooth noise: a sum of sines with random phases; ``t`` in metres or seconds, waves in the same unit."""
    total = np.zeros_like(t)
    for wave in waves:
        total += np.sin(2 * np.pi * t / wave + rng.uniform(0, 2 * np.pi)) / len(waves) ** 0.5
    return strength * total


def drive(street: Street, count: int, lane: float, start: float, seed: int) -> list[View]:
    """A car's camera, evenly spaced along the circuit, ``lane`` metres right of the centre line."""
    rng = np.random.default_rng(seed)
    s = start + np.arange(count) * street.length / count
    right = lane + _sway(rng, s, (31.0, 57.0), 0.12)
    xy = street.at(s, right)
    z = 1.6 + _sway(rng, s, (7.3, 19.0), 0.03)
    yaw = np.degrees(street.heading(s + 2.0)) - 90.0 + _sway(rng, s, (23.0, 41.0), 1.6)
    pitch = 0.5 + _sway(rng, s, (5.9, 17.0), 0.9)
    roll = _sway(rng, s, (8.7, 27.0), 0.9)
    return [
        View((float(p[0]), float(p[1]), float(h)), (float(a), float(b), float(c)))
        for p, h, a, b, c in zip(xy, z, yaw, pitch, roll, strict=True)
    ]


@dataclass(frozen=True)
class Volume:
    """Where a hand-held camera may go: an oval ring around ``centre`` and the heading it looks around."""

    centre: tuple[float, float]
    yaw: float
    radii: tuple[float, float]
    facing: float


def wander(volume: Volume, count: int, test: bool, seed: int) -> list[View]:
    """A hand-held walk inside the volume; test walks go another way round on other radii."""
    rng = np.random.default_rng(seed)
    t = np.arange(count) / count
    turns, size = (-1.0, 0.74) if test else (2.0, 1.0)
    angle = 2 * np.pi * (turns * t + (0.37 if test else 0.0))
    wobble = size * (0.86 + 0.14 * np.sin(2 * np.pi * (3.3 * t + 0.2)))
    a, b = volume.radii[0] * wobble * np.cos(angle), volume.radii[1] * wobble * np.sin(angle)
    c, s = np.cos(volume.yaw), np.sin(volume.yaw)
    x, y = volume.centre[0] + c * a - s * b, volume.centre[1] + s * a + c * b
    swings = 1.1 if test else 3.3
    yaw = volume.facing + 88 * np.sin(2 * np.pi * swings * t + (0.9 if test else 0.0)) + _sway(rng, t, (0.31, 0.17), 7)
    pitch = 3.0 + 9 * np.sin(2 * np.pi * 3.1 * t + 0.4) + _sway(rng, t, (0.13, 0.07), 2.5)
    roll = _sway(rng, t, (0.21, 0.09), 3.0)
    z = 1.5 + 0.05 * np.sin(2 * np.pi * 24 * t) + _sway(rng, t, (0.5, 0.3), 0.06)
    return [
        View((float(i), float(j), float(k)), (float(d), float(e), float(f)))
        for i, j, k, d, e, f in zip(x, y, z, yaw, pitch, roll, strict=True)
    ]


def pose_fields(position: Array, rotation: Array) -> list[str]:
    """x, y, z, qw, qx, qy, qz of a camera-to-world pose, with w >= 0."""
    x, y, z, w = Rotation.from_matrix(rotation).as_quat()
    quaternion = np.array([w, x, y, z]) * (-1.0 if w < 0 else 1.0)
    return [repr(float(v)) for v in (*position, *quaternion)]
