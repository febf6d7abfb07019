"""Rotation matrices as files have them: checked, and turned into quaternions."""

from __future__ import annotations

import numpy as np

TOLERANCE = 1e-3  # of R^T R = 1 and of the last row: seven printed digits are far better than that


def rigid(matrix_N44: np.ndarray) -> np.ndarray:
    """Which (N,) matrices are rigid motions: those in which `not_rigid` finds nothing wrong."""
    rotation_N33 = matrix_N44[:, :3, :3]
    good_N = np.abs(matrix_N44[:, 3] - (0, 0, 0, 1)).max(-1, initial=0) <= TOLERANCE
    small_N = np.abs(rotation_N33).max((-2, -1), initial=0) <= 2
    rotation_N33 = np.where(small_N[:, None, None], rotation_N33, 0)  # squares of 1e300 are infinite
    product_N33 = rotation_N33.transpose(0, 2, 1) @ rotation_N33
    orthogonal_N = np.abs(product_N33 - np.eye(3)).max((-2, -1), initial=0) <= TOLERANCE
    return good_N & small_N & orthogonal_N & (np.linalg.det(rotation_N33) > 0)


def not_rigid(matrix_44: np.ndarray) -> str:
    """What keeps a matrix from being a rigid motion; empty if nothing does."""
    if np.abs(matrix_44[3] - (0, 0, 0, 1)).max() > TOLERANCE:
        return "last row is not 0 0 0 1"
    rotation_33 = matrix_44[:3, :3]
    if np.abs(rotation_33).max() > 2 or np.abs(rotation_33.T @ rotation_33 - np.eye(3)).max() > TOLERANCE:
        return "rotation is not orthogonal"
    return "determinant -1 (mirror): wrong axis convention?" if np.linalg.det(rotation_33) < 0 else ""


def quaternions(rotation_N33: np.ndarray) -> np.ndarray:
    """The unit quaternions (N, 4), (w, x, y, z) with w >= 0, of rotation matrices."""
    import torch  # takes seconds and half a gigabyte, and tables of quaternions need none

    from posezoo.geometry import quaternion_from_matrix, unit

    return unit(quaternion_from_matrix(torch.from_numpy(np.ascontiguousarray(rotation_N33, dtype=np.float64)))).numpy()
