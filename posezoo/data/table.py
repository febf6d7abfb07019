"""The table of frames: N images with their poses, as columns. Legend: N frames."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from posezoo.base.poses import Poses
from posezoo.base.spec import Decode, DepthMap, Frame, Lens


@dataclass(frozen=True)
class Frames:
    """N images with their camera-to-world poses, as columns. `images` are relative to `root`, as file-system bytes."""

    root: Path
    images: np.ndarray  # (N,) 'S': 1e5 paths in one block that data workers share, any file name
    scene: np.ndarray  # (N,) int32 index into `scenes`
    scenes: tuple[str, ...]
    split: np.ndarray  # (N,) train, val, test
    sequence: np.ndarray  # (N,)
    condition: np.ndarray  # (N,)
    timestamp: np.ndarray  # (N,) int64 microseconds, -1 unknown
    position: np.ndarray  # (N, 3) float64
    quaternion: np.ndarray  # (N, 4) float64
    intrinsics: np.ndarray  # (N, 4) float64, NaN unknown
    ground_truth: str = "original"
    decode: Decode | None = None
    """How files that are not ordinary pictures are read."""
    lens: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.int32))  # (N,), or empty: no distortion
    lenses: tuple[Lens | None, ...] = ()
    """What `lens` counts."""
    depth: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.bytes_))
    """(N,) paths of depth maps as those of images, empty where there is none; or no entries at all."""
    depth_camera: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros((0, 12)))
    """(N, 12), or none: numbers to a metre, the map's own intrinsics (NaN: as the image's), its pose in the image's."""

    def lens_of(self, i: int) -> Lens | None:
        """The distortion of image i that is corrected."""
        return self.lenses[self.lens[i]] if len(self.lens) else None

    def correction(self, i: int) -> tuple[Lens, tuple[float, float, float, float]] | None:
        """The distortion of image i that is corrected, and the intrinsics that it is for."""
        lens, (fx, fy, cx, cy) = self.lens_of(i), self.intrinsics[i].tolist()
        return None if lens is None or np.isnan([fx, fy, cx, cy]).any() else (lens, (fx, fy, cx, cy))

    def __len__(self) -> int:
        return len(self.images)

    def name(self, i: int) -> str:
        """The path of image i relative to the root (undecodable bytes as surrogates, as Python's os does)."""
        return os.fsdecode(self.images[i])

    def path(self, i: int) -> Path:
        """The file of image i."""
        return self.root / self.name(i)

    def select(self, which: np.ndarray | Sequence[int] | slice) -> Frames:
        """The frames that a mask, a slice or indices pick, in that order; `scenes` stay the same."""
        index = which if isinstance(which, slice) else np.asarray(which)
        if not isinstance(index, slice) and index.dtype != bool:
            index = index.astype(np.int64)  # an empty list is float
        columns: dict[str, Any] = {name: value for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        return dataclasses.replace(self, **{name: column[index] for name, column in columns.items() if len(column)})

    def of_split(self, split: str) -> Frames:
        """The frames of one split: train, val or test."""
        return self.select(self.split == split)

    def of_scene(self, scene: str) -> Frames:
        """The frames of one scene."""
        return self.select(self.scene == (self.scenes.index(scene) if scene in self.scenes else -1))

    def poses(self) -> Poses:
        """The poses with image names, scenes and timestamps."""
        images = tuple(map(os.fsdecode, self.images))
        scenes = tuple(self.scenes[s] for s in self.scene)
        return Poses(images, self.position, self.quaternion, scenes, tuple(self.timestamp.tolist()))

    @staticmethod
    def from_rows(
        root: Path, rows: Sequence[Frame], ground_truth: str = "original", decode: Decode | None = None
    ) -> Frames:
        """The columns of a reader's rows; scenes in alphabetical order."""
        scenes = tuple(sorted({row.scene for row in rows}))
        index = {scene: n for n, scene in enumerate(scenes)}
        unknown = (np.nan,) * 4
        lenses = tuple(dict.fromkeys(row.lens for row in rows))
        number = {lens: n for n, lens in enumerate(lenses)}
        bent = lenses not in ((), (None,))
        depths = [row.depth for row in rows] if any(row.depth for row in rows) else []
        return Frames(
            root=root,
            images=np.array([os.fsencode(row.image) for row in rows], dtype=np.bytes_),
            scene=np.array([index[row.scene] for row in rows], dtype=np.int32),
            scenes=scenes,
            split=np.array([row.split for row in rows], dtype=np.str_),
            sequence=np.array([row.sequence for row in rows], dtype=np.str_),
            condition=np.array([row.condition for row in rows], dtype=np.str_),
            timestamp=np.array([row.timestamp for row in rows], dtype=np.int64),
            position=np.array([row.position for row in rows], dtype=np.float64).reshape(-1, 3),
            quaternion=np.array([row.quaternion for row in rows], dtype=np.float64).reshape(-1, 4),
            intrinsics=np.array([row.intrinsics or unknown for row in rows], dtype=np.float64).reshape(-1, 4),
            ground_truth=ground_truth,
            decode=decode,
            lens=np.array([number[row.lens] for row in rows] if bent else [], dtype=np.int32),
            lenses=lenses if bent else (),
            depth=np.array([os.fsencode(depth.path) if depth else b"" for depth in depths], dtype=np.bytes_),
            depth_camera=np.array(
                [
                    (depth.per_metre, *(depth.intrinsics or unknown), *depth.pose)
                    for depth in (depth or DepthMap("") for depth in depths)
                ],
                dtype=np.float64,
            ).reshape(-1, 12),
        )
