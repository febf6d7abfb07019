"""Depths of training images, each as a coarse grid of inverse depths over its whole image, all in one file.

    <cache>/depths/<key>.npy    (M, ROWS, COLUMNS) float16, 1 / m along the optical axis; NaN: unknown

They are read from maps that come with the data, or follow from the images themselves (`neighbours`).

`key` is a sha256 over everything that the grids follow from. The file is written beside its place and renamed: it
exists whole or not at all.

Legend: N frames, M those with depths, B batch, H height, W width of a map.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from posezoo.base.errors import DataError, Finding, ResourceError
from posezoo.base.files.arrays import UNREADABLE
from posezoo.base.files.pictures import read_depths
from posezoo.base.files.write import replacement, writing
from posezoo.base.observe import Observer, Progress, parallel
from posezoo.base.paths import printable_path
from posezoo.base.rotation import rotation_matrix
from posezoo.data.images import neighbours
from posezoo.data.images.build import unreadable_error
from posezoo.data.images.cache import ImageCache, cache_folder, file_digests
from posezoo.data.table import Frames

ROWS, COLUMNS = 72, 96
UNKNOWN = (0, 65535)  # the numbers that stand for no depth: the second is that of 7Scenes
STEPS = 4  # looks for what a camera beside the map's sees; along a wall two are enough
VERSION = 2  # raise it when what is read or written changes


class DepthMaps:
    """Inverse depths of the images of a table of frames, read-only. Safe to fork, spawn and pickle."""

    def __init__(self, path: Path, place_N: np.ndarray) -> None:
        self._path, self._place_N = path, place_N
        self._maps: np.ndarray | None = None

    @staticmethod
    def find(
        frames: Frames, rows: np.ndarray, cache: ImageCache, device: torch.device, observer: Observer
    ) -> DepthMaps:
        """Depths of the frames `rows`: those that come with the data (`open`), or else the images' own (`sweep`)."""
        if (frames.select(rows).depth != b"").any():
            return DepthMaps.open(frames, rows, cache, partial(observer.progress, "depth maps"))
        found = DepthMaps.sweep(frames, rows, cache, device, partial(observer.progress, "depths from images"))
        share_M = found.share[rows][found.share[rows] > 0]
        percent = f", {100 * share_M.mean():.0f} % of each" if len(share_M) else ""
        observer.note(f"depths from images: of {len(share_M)} of {len(rows)} training images{percent}")
        return found

    @staticmethod
    def open(frames: Frames, rows: np.ndarray, cache: ImageCache, progress: Progress | None = None) -> DepthMaps:
        """The maps of the frames `rows`, of which at least one has one; read first if they are not cached.

        Raises DataError that names every map that cannot be read, ResourceError if the disk is full or cannot be
        written.
        """
        home = cache_folder() / "depths"
        index_M = rows[frames.depth[rows] != b""]
        chosen = frames.select(index_M)
        maps = dataclasses.replace(chosen, images=chosen.depth)
        digests = file_digests(maps, home, progress)
        cameras = np.hstack([chosen.depth_camera, chosen.intrinsics, cache.stored_sizes(index_M)])
        what = f"{VERSION} {ROWS}x{COLUMNS}\n".encode() + b"\n".join(digests) + cameras.astype("<f8").tobytes()
        return _cached(what, len(frames), index_M, lambda: _grids(maps, cameras, progress))

    @staticmethod
    def sweep(
        frames: Frames, rows: np.ndarray, cache: ImageCache, device: torch.device, progress: Progress | None = None
    ) -> DepthMaps:
        """Depths of the frames `rows` with known intrinsics from each other's images; computed first if not cached.

        Raises ResourceError if the disk is full or cannot be written.
        """
        index_M = rows[np.isfinite(frames.intrinsics[rows]).all(axis=1)]
        chosen = frames.select(index_M)
        numbers = [index_M.astype("<i8"), *(part.astype("<f8") for part in (chosen.position, chosen.quaternion))]
        groups = [
            chosen.scene.astype("<i8"),
            chosen.intrinsics.astype("<f8"),
            np.char.encode(chosen.condition, "utf-8"),
        ]
        what = f"sweep {neighbours.VERSION} {ROWS}x{COLUMNS} {cache.folder.name}\n".encode()
        what += b"\n".join(part.tobytes() for part in (*numbers, *groups))

        def build() -> np.ndarray:
            return neighbours.inverse_depths(chosen, index_M, cache, (ROWS, COLUMNS), device, progress)

        return _cached(what, len(frames), index_M, build)

    @property
    def key(self) -> str:
        """A sha256 over what the maps follow from."""
        return self._path.stem

    def batch(self, indices: np.ndarray) -> Float[Tensor, "B ROWS COLUMNS"]:
        """Inverse depths of these frames, float32 in 1 / m; NaN where none is known."""
        place_B = self._place_N[indices]
        found_BHW = np.full((len(place_B), ROWS, COLUMNS), np.nan, dtype=np.float32)
        found_BHW[place_B >= 0] = self._open()[place_B[place_B >= 0]]
        return torch.from_numpy(found_BHW)

    @cached_property
    def share(self) -> np.ndarray:
        """(N,) the share of each frame's picture whose depth is known."""
        share_N = np.zeros(len(self._place_N))
        found_N = self._place_N >= 0
        share_M = np.array([np.isfinite(grid).mean() for grid in self._open()])  # one by one: memory stays flat
        share_N[found_N] = share_M[self._place_N[found_N]]
        return share_N

    def _open(self) -> np.ndarray:
        if self._maps is None:
            try:
                self._maps = np.load(self._path, mmap_mode="r", allow_pickle=False)
            except UNREADABLE as error:
                raise ResourceError(f"depth maps {self._path}: {error}", "remove the file and start again") from error
        return self._maps

    def __getstate__(self) -> dict[str, Any]:
        return {"_path": self._path, "_place_N": self._place_N, "_maps": None}


def unreadable_depths(frames: Frames, progress: Progress | None = None) -> list[Finding]:
    """A finding for each depth map that cannot be read. Nothing is written."""
    index = np.flatnonzero(frames.depth != b"") if len(frames.depth) else np.array([], dtype=int)
    maps = frames.select(index)
    maps = dataclasses.replace(maps, images=maps.depth)
    findings = []
    for n, read in enumerate(parallel(lambda i: _read(maps, i), range(len(maps))), 1):
        findings += [read] if isinstance(read, Finding) else []
        if progress:
            progress(n, len(maps))
    return findings


def _cached(what: bytes, frames: int, index_M: np.ndarray, build: Callable[[], np.ndarray]) -> DepthMaps:
    """The depths that follow from `what`, of the frames `index_M`; built first if they are not cached."""
    path = cache_folder() / "depths" / f"{hashlib.sha256(what).hexdigest()}.npy"
    if not _is_whole(path, len(index_M)):
        grids = build()
        hint = f"set POSEZOO_CACHE to a folder with {grids.nbytes * 1e-9 + 0.01:.2f} GB free"
        with writing(f"the depth maps {path}", hint):
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacement(path) as temporary, temporary.open("wb") as file:
                np.save(file, grids, allow_pickle=False)
    place_N = np.full(frames, -1)
    place_N[index_M] = np.arange(len(index_M))
    return DepthMaps(path, place_N)


def _is_whole(path: Path, count: int) -> bool:
    try:
        maps = np.load(path, mmap_mode="r", allow_pickle=False)
    except UNREADABLE:
        return False
    return bool(maps.shape == (count, ROWS, COLUMNS) and maps.dtype == np.float16)


def _grids(maps: Frames, cameras: np.ndarray, progress: Progress | None) -> np.ndarray:
    """(M, ROWS, COLUMNS) float16. Raises DataError that names every map that cannot be read."""
    grids, findings = np.empty((len(maps), ROWS, COLUMNS), dtype=np.float16), []
    for n, read in enumerate(parallel(lambda i: _read(maps, i), range(len(maps)))):
        if isinstance(read, Finding):
            findings.append(read)
        else:
            grids[n] = inverse_grid(read, cameras[n])
        if progress:
            progress(n + 1, len(maps))
    if findings:
        raise unreadable_error(findings)
    return grids


def _read(maps: Frames, i: int) -> np.ndarray | Finding:
    try:
        return read_depths(maps.path(i))
    except DataError as error:
        return Finding(printable_path(maps.name(i)), 0, error.message.removeprefix(f"{maps.path(i)}: "))


def inverse_grid(numbers_HW: np.ndarray, camera_18: np.ndarray) -> np.ndarray:
    """(ROWS, COLUMNS) inverse depths at the middles of a grid's cells over the image, from a map of numbers.

    `camera_18`: numbers to a metre, the map's fx, fy, cx, cy (NaN: it shows what the image shows), its pose in the
    image's camera, the image's fx, fy, cx, cy, width and height.
    """
    per_metre, *own_4, fx, fy, cx, cy, width, height = np.delete(camera_18, np.s_[5:12]).tolist()
    shift_3, quaternion_4 = camera_18[5:8], camera_18[8:12]
    metres_HW = numbers_HW / per_metre
    metres_HW[np.isin(numbers_HW, UNKNOWN)] = np.nan
    rows, columns = metres_HW.shape
    if not np.isfinite([*own_4, fx, fy, cx, cy]).all():  # rays of any focal length: both cameras stand in one place
        own_4, (fx, fy, cx, cy) = [columns, rows, 0.0, 0.0], (width, height, 0.0, 0.0)
        shift_3, quaternion_4 = np.zeros(3), np.array([1.0, 0.0, 0.0, 0.0])
    u_HW, v_HW = np.meshgrid((np.arange(COLUMNS) + 0.5) / COLUMNS, (np.arange(ROWS) + 0.5) / ROWS)
    ray_HW3 = np.dstack([(u_HW * width - cx) / fx, (v_HW * height - cy) / fy, np.ones_like(u_HW)])
    apart = bool(shift_3.any() or quaternion_4[1:].any())
    turn_33 = rotation_matrix(quaternion_4) if apart else np.eye(3)
    # where the map shows what a cell shows depends on how far that is, which the map says there: found step by step
    about = float(np.nanmedian(metres_HW)) if apart and np.isfinite(metres_HW).any() else 1.0
    depth_HW = found_HW = np.full((ROWS, COLUMNS), about)
    for _ in range(STEPS if apart else 1):
        seen_HW3 = (ray_HW3 * depth_HW[..., None] - shift_3) @ turn_33
        seen_HW3 /= np.where(seen_HW3[..., 2:] > 0, seen_HW3[..., 2:], np.nan)
        u_HW, v_HW = seen_HW3[..., 0] * own_4[0] + own_4[2], seen_HW3[..., 1] * own_4[1] + own_4[3]
        inside_HW = (u_HW >= 0) & (u_HW < columns) & (v_HW >= 0) & (v_HW < rows)
        column_HW, row_HW = (np.where(inside_HW, part_HW, 0).astype(int) for part_HW in (u_HW, v_HW))
        shown_HW = np.where(inside_HW, metres_HW[row_HW, column_HW], np.nan)
        found_HW = (seen_HW3 * shown_HW[..., None] @ turn_33.T + shift_3)[..., 2]
        depth_HW = np.where(found_HW > 0, found_HW, depth_HW)
    return 1 / np.where(found_HW > 0, found_HW, np.nan)
