"""The lens of the training pictures, for a model that will read others of the same camera. Legend: N frames, M some."""

from __future__ import annotations

from collections import Counter

import numpy as np

from posezoo.base.files import lenses
from posezoo.base.observe import Note
from posezoo.base.spec import Lens
from posezoo.data.table import Frames

DIGITS = 4  # of intrinsics in units of the picture's sides: pictures of one camera in several sizes are rounded


def training_lenses(frames: Frames, sizes_N2: np.ndarray, note: Note) -> tuple[str, ...]:
    """For each shape of the pictures (width, height) the camera of most of them, where it has distortion.

    In a shape that no camera has most pictures of nobody can say which one took another picture: a note says so.
    """
    found, unknown = [], 0
    scaled_N4 = (frames.intrinsics / np.concatenate([sizes_N2, sizes_N2], axis=1)).round(DIGITS)
    shape_N = (sizes_N2[:, 0] / sizes_N2[:, 1]).round(2)
    for shape in np.unique(shape_N):
        rows_M = np.flatnonzero(shape_N == shape)
        cameras: list[tuple[Lens | None, tuple[float, ...]]] = []
        for n in rows_M.tolist():
            lens = frames.lens_of(n)
            cameras.append((lens, tuple(scaled_N4[n].tolist()) if lens else ()))
        (most, count), *_ = Counter(cameras).most_common(1)
        if 2 * count <= len(rows_M) and any(lens for lens, _ in cameras):
            unknown += len(set(cameras))
        elif most[0] is not None:
            first = rows_M[cameras.index(most)]
            width, height = sizes_N2[first].tolist()
            fx, fy, cx, cy = frames.intrinsics[first].tolist()
            found.append(lenses.text(most[0], (fx, fy, cx, cy), (width, height)))
    if unknown:
        note(f"pictures of {unknown} cameras with distortion: posezoo predict will read photographs as they are")
    return tuple(found)
