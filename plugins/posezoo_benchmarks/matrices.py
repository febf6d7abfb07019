"""Rotation matrices from files, checked and turned into quaternions."""

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


def problems(matrix_N44: np.ndarray) -> list[str]:
    """`not_rigid` of each matrix: one pass over all, then a single check of those that fail it."""
    # a product may be rounded differently in a batch: the single check decides
    return ["" if good else not_rigid(matrix_44) for good, matrix_44 in zip(rigid(matrix_N44), matrix_N44, strict=True)]


def not_rigid(matrix_44: np.ndarray) -> str:
    """What keeps a matrix from being a rigid motion; empty if nothing does."""
    if np.abs(matrix_44[3] - (0, 0, 0, 1)).max() > TOLERANCE:
        return "last row is not 0 0 0 1"
    rotation_33 = matrix_44[:3, :3]
    if np.abs(rotation_33).max() > 2 or np.abs(rotation_33.T @ rotation_33 - np.eye(3)).max() > TOLERANCE:
        return "rotation is not orthogonal"
    return "determinant -1 (mirror): wrong axis convention?" if np.linalg.det(rotation_33) < 0 else ""


def quaternions(rotation_N33: np.ndarray) -> np.ndarray:
    """The unit quaternions (N, 4), (w, x, y, z) with w >= 0, of rotation matrices.

    Shepperd, "Quaternion from Rotation Matrix", 1978, as `posezoo.nn.geometry` has it; in numpy, because a table of
    poses needs no torch, which takes seconds and half a gigabyte.
    """
    r = np.asarray(rotation_N33, dtype=np.float64)
    trace_N = np.trace(r, axis1=1, axis2=2)
    diagonal_N3 = np.diagonal(r, axis1=1, axis2=2)
    # the outer product of (w, x, y, z) with itself, times four: its row of the largest diagonal entry is exact
    product_N44 = np.empty((len(r), 4, 4))
    product_N44[:, 0, 0] = 1 + trace_N
    product_N44[:, [1, 2, 3], [1, 2, 3]] = 1 - trace_N[:, None] + 2 * diagonal_N3
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        product_N44[:, 0, i + 1] = product_N44[:, i + 1, 0] = r[:, k, j] - r[:, j, k]
        product_N44[:, i + 1, j + 1] = product_N44[:, j + 1, i + 1] = r[:, j, i] + r[:, i, j]
    best_N = np.diagonal(product_N44, axis1=1, axis2=2).argmax(1)
    q_N4 = product_N44[np.arange(len(r)), best_N]
    q_N4 = q_N4 / np.linalg.norm(q_N4, axis=1, keepdims=True)
    return np.where(q_N4[:, :1] < 0, -q_N4, q_N4)
