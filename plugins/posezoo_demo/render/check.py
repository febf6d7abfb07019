"""Proves poses and intrinsics of the written data against rendered pixels.

Quaternions are turned into matrices by their definition, and points are projected by the pinhole formula with the
numbers read back from ``poses.csv``; the code that wrote the poses has no part in what they are compared with.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from appearance import LOOKS, Renderer
from gbuffer import GBuffer
from numpy.typing import NDArray
from paths import COLUMNS, Sequence, View, pose_fields
from PIL import Image
from scene import Placement, Scene
from scipy.ndimage import gaussian_filter, map_coordinates

Array = NDArray[np.float64]
Row = dict[str, str]


def matrix(row: Row) -> Array:
    """Camera-to-world rotation from a row's quaternion."""
    w, x, y, z = (float(row[k]) for k in ("qw", "qx", "qy", "qz"))
    return np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ])  # fmt: skip


def intrinsics(row: Row) -> Array:
    """The camera matrix of a row."""
    fx, fy, cx, cy = (float(row[k]) for k in ("fx", "fy", "cx", "cy"))
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]])


def project(row: Row, points: Array) -> tuple[Array, Array]:
    """Pixels (n, 2) and depths of world points, by the row's numbers alone."""
    centre = np.array([float(row[k]) for k in "xyz"])
    local = (points - centre) @ matrix(row)
    image = local @ intrinsics(row).T
    return image[:, :2] / image[:, 2:], local[:, 2]


def _markers(points: Array, size: tuple[int, int], fov: float) -> GBuffer:
    """A scene of small cubes, each in its own colour; cubes on a grid of colours 32 apart stay distinguishable."""
    scene = Scene()
    for i, point in enumerate(points):
        code = [64 + 60 * (i % 4), 64 + 60 * (i // 4 % 4), 64 + 60 * (i // 16)]
        r = 0.05
        tint = tuple((c + 0.5) / 255 for c in code)
        scene.box(Placement(tuple(point)), (-r, r), (-r, r), (-r, r), tint)  # type: ignore[arg-type]
        # The box leaves out undersides near the ground, so they are added here.
        under = point + r * np.array([(-1, 1, -1), (1, 1, -1), (1, -1, -1), (-1, -1, -1)])
        scene.add(under, None, tint)  # type: ignore[arg-type]
    return GBuffer(scene, size, fov)


def check_markers(rows: list[Row], views: list[View], size: tuple[int, int, float], oversample: int) -> Array:
    """Distances in stored pixels between rendered marker centroids and projections, over all rows."""
    rng = np.random.default_rng(5)
    width, height, fov = size
    errors: list[float] = []
    missing = 0
    for row, view in zip(rows, views, strict=True):
        centre = np.array([float(row[k]) for k in "xyz"])
        points = centre + rng.uniform(-1, 1, (48, 3)) * [14.0, 14.0, 5.0]
        markers = _markers(points, (width * oversample, height * oversample), fov)
        picture = markers.frame(view).colour.astype(int)
        markers.close()
        expected, depth = project(row, points)
        for i in range(len(points)):
            code = np.array([64 + 60 * (i % 4), 64 + 60 * (i // 4 % 4), 64 + 60 * (i // 16)])
            v, u = np.nonzero(np.abs(picture - code).max(axis=-1) <= 2)
            inside = depth[i] > 0.5 and (expected[i] > 8).all() and (expected[i] < [width - 8, height - 8]).all()
            if len(u) == 0:
                missing += int(inside)
            elif u.min() > 0 and v.min() > 0 and u.max() < picture.shape[1] - 1 and v.max() < picture.shape[0] - 1:
                found = (np.array([u.mean(), v.mean()]) + 0.5) / oversample
                errors.append(float(np.linalg.norm(found - expected[i])))
    print(f"markers: {len(errors)} seen in {len(rows)} views, {missing} expected but hidden behind others;", end=" ")
    print(f"error mean {np.mean(errors):.3f}, median {np.median(errors):.3f}, max {np.max(errors):.3f} px")
    return np.asarray(errors)


def _shift(first: Array, second: Array) -> Array:
    """Least-squares translation between two patches (one Gauss-Newton step on smoothed pictures)."""
    gy, gx = np.gradient((first + second) / 2)
    a = np.array([[np.sum(gx * gx), np.sum(gx * gy)], [np.sum(gx * gy), np.sum(gy * gy)]])
    b = np.array([np.sum(gx * (first - second)), np.sum(gy * (first - second))])
    return np.linalg.solve(a, b)


def check_rotation(
    renderer: Renderer, row: Row, view: View, size: tuple[int, int, float]
) -> tuple[Array, float, float]:
    """Warp a turned view back by p = K R_d K^-1 p' and measure what shift is left, block by block."""
    look = LOOKS["overcast"]
    h, p, r = view.hpr
    turned = View(view.position, (h + 3.0, p - 2.0, r + 2.5))
    frame = renderer.gbuffer.frame(turned)
    second = renderer.render(frame, look).astype(float).mean(axis=-1)
    first = renderer.render(renderer.gbuffer.frame(view), look).astype(float).mean(axis=-1)
    other = {**row, **dict(zip(COLUMNS[1:8], pose_fields(frame.position, frame.rotation), strict=True))}
    k = intrinsics(row)
    homography = k @ matrix(row).T @ matrix(other) @ np.linalg.inv(k)
    width, height = size[:2]
    u, v = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    source = np.stack([u, v, np.ones_like(u)], axis=-1) @ homography.T
    su, sv = source[..., 0] / source[..., 2] - 0.5, source[..., 1] / source[..., 2] - 0.5
    warped = gaussian_filter(map_coordinates(first, [sv, su], order=1, mode="nearest"), 1.5)
    second = gaussian_filter(second, 1.5)
    left = []
    for y in range(24, height - 72, 48):
        for x in range(24, width - 88, 64):
            a, b = warped[y : y + 48, x : x + 64], second[y : y + 48, x : x + 64]
            inside = (su[y : y + 48, x : x + 64] > 2).all() and (su[y : y + 48, x : x + 64] < width - 3).all()
            inside &= (sv[y : y + 48, x : x + 64] > 2).all() and (sv[y : y + 48, x : x + 64] < height - 3).all()
            gy, gx = np.gradient(b)
            # Sky and plain walls hold no information about a shift along an edge.
            if inside and np.linalg.eigvalsh(np.cov(np.stack([gx.ravel(), gy.ravel()])))[0] > 4.0:
                left.append(float(np.linalg.norm(_shift(a, b))))
    plain = float(np.abs(gaussian_filter(first, 1.5) - second)[16:-16, 16:-16].mean())
    return np.asarray(left), float(np.abs(warped - second)[30:-30, 30:-30].mean()), plain


def check_depths(folder: Path, first: Row, second: Row) -> Array:
    """How far the second row's depth map is from the first one's points, as a share of their depth, where both see."""
    seen = []
    for row in (first, second):
        with Image.open(folder / row["depth"]) as picture:
            seen.append(np.asarray(picture).astype(float) / float(row["depth_scale"]))
    depth, other = seen
    rows, columns = depth.shape
    with Image.open(folder / first["image"]) as picture:
        width, height = picture.size
    u, v = np.meshgrid((np.arange(columns) + 0.5) * width / columns, (np.arange(rows) + 0.5) * height / rows)
    local = np.stack([u, v, np.ones_like(u)], axis=-1) @ np.linalg.inv(intrinsics(first)).T * depth[..., None]
    centre = np.array([float(first[k]) for k in "xyz"])
    pixels, distance = project(second, (local @ matrix(first).T + centre).reshape(-1, 3))
    near = (distance > 1) & (depth.ravel() < 100)
    inside = near & (pixels > 0).all(axis=-1) & (pixels < [width, height]).all(axis=-1)
    x, y = (pixels[inside] * [columns / width, rows / height]).astype(int).T
    return np.abs(other[y, x] / distance[inside] - 1)


def run_checks(
    renderer: Renderer, runs: dict[str, list[Sequence]], out: Path, size: tuple[int, int, float], oversample: int
) -> bool:
    """All checks; True where every one holds."""
    rows: list[Row] = []
    views: list[View] = []
    same: list[float] = []
    depths: list[Array] = []
    for data, sequences in runs.items():
        with (out / data / "poses.csv").open(newline="", encoding="utf-8") as stream:
            table = {row["image"]: row for row in csv.DictReader(stream)}
        for run in sequences:
            picks = np.linspace(0, len(run.views) - 1, 4).astype(int)
            for i in picks:
                row = table[f"images/{run.name}/{i:04d}.jpg"]
                rows.append(row)
                views.append(run.views[i])
                if row["depth"]:
                    beside = table[f"images/{run.name}/{i + 1 if i + 1 < len(run.views) else i - 1:04d}.jpg"]
                    depths.append(check_depths(out / data, row, beside))
            look = LOOKS[run.look]
            renderer.gbuffer.show_leaves(not look.snow)
            again = renderer.render(renderer.gbuffer.frame(views[-2], look.lamps), look)
            stored = np.asarray(Image.open(out / data / rows[-2]["image"]))
            same.append(float(np.abs(again.astype(float) - stored).mean()))
    renderer.gbuffer.show_leaves(True)
    apart = np.concatenate(depths) if depths else np.zeros(1)
    print(f"depth: {len(apart)} points of {len(depths)} maps in the next view; from its map", end=" ")
    print(f"{100 * np.median(apart):.2f} % in the median, {100 * np.mean(apart > 0.05):.1f} % hidden or over 5 % away")
    print(f"stored pictures against rendering their row's view again: mean difference up to {max(same):.2f} of 255")
    renderer.gbuffer.rest()
    errors = check_markers(rows, views, size, oversample)
    shifts, warped, plain = [], [], []
    for row, view in list(zip(rows, views, strict=True))[1::4]:
        left, after, before = check_rotation(renderer, row, view, size)
        shifts.append(left)
        warped.append(after)
        plain.append(before)
    every = np.concatenate(shifts)
    print(f"rotation: {len(every)} blocks in {len(shifts)} views; shift left after the homography mean", end=" ")
    print(f"{every.mean():.3f}, max {every.max():.3f} px; mean difference {np.mean(warped):.2f} of 255", end=" ")
    print(f"(without the warp {np.mean(plain):.2f})")
    norms = [abs(np.linalg.norm([float(r[k]) for k in ("qw", "qx", "qy", "qz")]) - 1) for r in rows]
    good = bool(
        errors.max() < 0.7 and every.max() < 0.7 and max(same) < 4.0 and np.median(apart) < 0.02 and max(norms) < 1e-9
    )
    print("all checks hold" if good else "CHECKS FAILED")
    return good
