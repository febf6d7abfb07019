"""Rotations in numpy, for readers, reports and pictures, which import no torch.

posezoo.nn.geometry has the same for batches of tensors.
"""

from __future__ import annotations

import numpy as np

UPRIGHT = 0.8  # of the cameras' mean up vector is along one world axis: they agree on it


def rotation_matrix(quaternion: np.ndarray) -> np.ndarray:
    """The rotation matrices (..., 3, 3) of unit quaternions (..., 4) in (w, x, y, z) order."""
    w, x, y, z = np.moveaxis(np.asarray(quaternion, dtype=np.float64), -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), (0, 1), (-2, -1))


def axes_from_above(position: np.ndarray, quaternion: np.ndarray) -> tuple[int, int]:
    """The world axes that point right and up in a picture of the place from above, which is then not mirrored.

    Above is the world axis that the cameras of poses (N, 3), (N, 4) have over their heads; where they agree on none,
    the one along which they move least, on its side where their heads are rather.
    """
    if not len(position):
        return 0, 1
    up_3 = -rotation_matrix(quaternion)[:, :, 1].mean(axis=0)  # y of a camera points down
    axis = int(np.abs(up_3).argmax())
    if abs(up_3[axis]) < UPRIGHT * max(1.0, float(np.linalg.norm(up_3))):
        axis = int(np.ptp(position, axis=0).argmin())
    right, up = (axis + 1) % 3, (axis + 2) % 3  # right x up points to the viewer if the axis does
    return (right, up) if up_3[axis] >= 0 else (up, right)
