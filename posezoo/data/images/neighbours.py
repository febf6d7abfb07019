"""Inverse depths of training images from their neighbours, where no depth maps come with the data.

An image's neighbours are of the same scene and condition, look the same way, and stand about a *baseline* aside: far
enough for a picture to change with depth, near enough to see the same. How far that is in metres is found by trying, on
a few images, halves of halves of the spread of the cameras: the longest with which nearly as much matches as with any.

Legend: N images, S neighbours, K inverse depths, H height, W width.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from posezoo.base.observe import Progress, parallel
from posezoo.data.images.cache import ImageCache
from posezoo.data.table import Frames
from posezoo.nn import geometry
from posezoo.nn.sweep import swept_depths

HEIGHT, WIDTH = 96, 128
"""Pixels of the pictures that are compared."""
NEIGHBOURS = 5
STEPS = 56
MOST = 0.375  # the largest inverse depth that is tried, of 1 / baseline
TURN = 0.2  # of the horizontal field of view, by which neighbours look another way
AHEAD = 0.35  # what a metre ahead changes a picture, of a metre aside
OFF = 0.5  # by how much, as a logarithm, neighbours may miss the baseline
APART = 0.25  # baselines between two neighbours
LEAST = 0.05  # likelihood below which an image is no neighbour
OTHERS = 1.0, 0.5, 2.0, 0.25
"""Baselines that are tried for an image, until enough of it matches."""
PROBES, HALVINGS = 16, 7
NEARLY = 0.85
ENOUGH = 0.5  # of a picture, below which a camera that moved would see too little of what is there
VERSION = 1  # raise it when other depths come out


def inverse_depths(
    frames: Frames,
    rows: np.ndarray,
    cache: ImageCache,
    size: tuple[int, int],
    device: torch.device,
    progress: Progress | None = None,
) -> np.ndarray:
    """(N, *size) float16 inverse depths of these frames, 1 / m, NaN where unknown; `rows`: their images in the cache.

    All of an image is unknown where less than ENOUGH of it matches its neighbours, as of images with none.
    """
    grids = np.full((len(frames), *size), np.nan, dtype=np.float16)
    done = 0
    for scene, condition in sorted(set(zip(frames.scene.tolist(), frames.condition.tolist(), strict=True))):
        own = np.flatnonzero((frames.scene == scene) & (frames.condition == condition))
        for row, inverse_HW in zip(own, Neighbours(frames.select(own), rows[own], cache, device).found(), strict=True):
            if _share(inverse_HW) >= ENOUGH:
                grids[row] = F.interpolate(inverse_HW[None, None], size, mode="nearest-exact")[0, 0]
            done += 1
            if progress:
                progress(done, len(frames))
    return grids


class Neighbours:
    """The images of one scene under one condition, and which of them shows the depths of which."""

    def __init__(self, frames: Frames, rows: np.ndarray, cache: ImageCache, device: torch.device) -> None:
        """Each of the frames has known intrinsics; `rows`: their images in the cache."""
        self._rows_N, self._cache, self._device = rows, cache, device
        self._position_N3 = frames.position
        self._axes_N33 = geometry.matrix_from_quaternion(torch.from_numpy(frames.quaternion)).numpy()
        self._view_N = 2 * np.arctan(cache.stored_sizes(rows)[:, 0] / 2 / frames.intrinsics[:, 0])  # rad

    def found(self) -> Iterator[Tensor]:
        """The inverse depths of each image, as `depths`, with the baseline that suits most, or else another near it."""
        baseline_m = self.baseline_m()

        def depths(i: int) -> Tensor:
            for factor in OTHERS:
                inverse_HW = self.depths(i, factor * baseline_m)
                if _share(inverse_HW) >= ENOUGH:
                    break
            return inverse_HW

        return parallel(depths, range(len(self._rows_N)))

    def depths(self, i: int, baseline_m: float) -> Tensor:
        """(H, W) float32 inverse depths of image i, 1 / m, NaN where unknown."""
        near = self.of(i, baseline_m) if baseline_m else []
        if not near:
            return torch.full((HEIGHT, WIDTH), torch.nan)
        pictures, cameras = map(torch.stack, zip(*map(self._picture, [i, *near]), strict=True))
        to_source_S33 = self._axes_N33[near].transpose(0, 2, 1)
        rotation_S33 = to_source_S33 @ self._axes_N33[i]
        move_S3 = (to_source_S33 @ (self._position_N3[i] - self._position_N3[near])[:, :, None])[:, :, 0]
        inverse_K = torch.linspace(0, MOST / baseline_m, STEPS)
        given = [pictures[0], pictures[1:], cameras[0], cameras[1:]]
        given += [torch.from_numpy(rotation_S33).float(), torch.from_numpy(move_S3).float(), inverse_K]
        return swept_depths(*(part.to(self._device) for part in given)).cpu()

    def of(self, i: int, baseline_m: float) -> list[int]:
        """At most NEIGHBOURS images that show what image i shows from about a baseline aside, the likeliest first."""
        away_N3 = (self._position_N3 - self._position_N3[i]) @ self._axes_N33[i]
        parallax_N = np.hypot(np.linalg.norm(away_N3[:, :2], axis=1), AHEAD * away_N3[:, 2])
        turn_N = np.arccos((self._axes_N33[:, :, 2] @ self._axes_N33[i, :, 2]).clip(-1, 1))
        off_N = np.log(parallax_N.clip(1e-9) / baseline_m)
        likely_N = np.exp(-((off_N / OFF) ** 2) / 2 - (turn_N / (TURN * self._view_N[i])) ** 2)
        chosen: list[int] = []
        for j in np.argsort(-likely_N, kind="stable"):
            if likely_N[j] < LEAST or len(chosen) == NEIGHBOURS:
                break
            apart_C = np.linalg.norm(self._position_N3[[i, *chosen]] - self._position_N3[j], axis=1)
            if (apart_C > APART * baseline_m).all():
                chosen.append(int(j))
        return chosen

    def baseline_m(self) -> float:
        """The longest baseline with which nearly as much of some images matches as with any; 0 where nothing does."""
        longest = 0.5 * float(np.sqrt(self._position_N3.var(axis=0).sum()))
        if not longest:  # one image, or a camera that only turned
            return 0.0
        some = np.unique(np.linspace(0, len(self._rows_N) - 1, PROBES).round().astype(int)).tolist()
        shares: list[tuple[float, float]] = []
        for option in (longest / 2**halving for halving in range(HALVINGS)):
            found = parallel(partial(self.depths, baseline_m=option), some)
            shares.append((float(np.mean([_share(one) for one in found])), option))
            if shares[-1][0] >= NEARLY:  # no other can be much better
                break
        best = max(shares)[0]
        return next(option for share, option in shares if share >= NEARLY * best) if best else 0.0

    def _picture(self, i: int) -> tuple[Tensor, Tensor]:
        """Image i in grey, (H, W) from 0 to 1, and its fx, fy, cx, cy there."""
        images_1CHW, intrinsics_14 = self._cache.batch(self._rows_N[[i]])
        scale_4 = np.array([WIDTH / images_1CHW.shape[3], HEIGHT / images_1CHW.shape[2]] * 2)
        grey_11HW = images_1CHW.float().mean(1, keepdim=True) / 255
        small_HW = F.interpolate(grey_11HW, (HEIGHT, WIDTH), mode="area")[0, 0]
        return small_HW, torch.from_numpy(intrinsics_14[0] * scale_4).float()


def _share(inverse_HW: Tensor) -> float:
    """Of the picture, whose depth is known."""
    return float(inverse_HW.isfinite().float().mean())
