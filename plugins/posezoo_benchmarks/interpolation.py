"""Poses between measured ones: positions linearly, rotations along the shortest arc, all in float64.

Legend: M measured poses, N requested.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Track(NamedTuple):
    """Poses measured at rising times."""

    stamp: np.ndarray  # (M,) int64 microseconds, strictly rising
    position: np.ndarray  # (M, 3) metres
    quaternion: np.ndarray  # (M, 4) (w, x, y, z), unit


def track(stamp: np.ndarray, position: np.ndarray, quaternion: np.ndarray) -> Track:
    """The poses in order of time; of several at one time the first."""
    stamp_M, first = np.unique(np.asarray(stamp, dtype=np.int64), return_index=True)
    position_M3, quaternion_M4 = np.reshape(position, (-1, 3))[first], np.reshape(quaternion, (-1, 4))[first]
    return Track(stamp_M, position_M3.astype(np.float64), quaternion_M4.astype(np.float64))


def interpolated(known: Track, at_N: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(positions (N, 3), quaternions (N, 4), seconds (N,) between the two measured poses around each).

    A time before the first or after the last measured pose has infinite seconds and NaN numbers.
    """
    at_N = np.asarray(at_N, dtype=np.int64)
    position_N3, quaternion_N4 = np.full((len(at_N), 3), np.nan), np.full((len(at_N), 4), np.nan)
    seconds_N = np.full(len(at_N), np.inf)
    if not len(known.stamp):
        return position_N3, quaternion_N4, seconds_N
    inside = np.flatnonzero((at_N >= known.stamp[0]) & (at_N <= known.stamp[-1]))
    after = np.searchsorted(known.stamp, at_N[inside])
    before = np.where(known.stamp[after] == at_N[inside], after, after - 1)
    span = known.stamp[after] - known.stamp[before]  # 0 at a measured time
    share = (at_N[inside] - known.stamp[before]) / np.maximum(span, 1)
    a_n3, b_n3 = known.position[before], known.position[after]
    position_N3[inside] = a_n3 + share[:, None] * (b_n3 - a_n3)
    quaternion_N4[inside] = slerp(known.quaternion[before], known.quaternion[after], share)
    seconds_N[inside] = span / 1e6
    return position_N3, quaternion_N4, seconds_N


def slerp(a_N4: np.ndarray, b_N4: np.ndarray, share_N: np.ndarray) -> np.ndarray:
    """Unit quaternions at `share` (0..1) of the shortest turn from a to b (Shoemake, SIGGRAPH 1985)."""
    b_N4 = np.where(np.sum(a_N4 * b_N4, axis=1, keepdims=True) < 0, -b_N4, b_N4)
    # atan2 of the chord: acos of a dot product near 1 would lose half of the digits
    angle_N = 2 * np.arctan2(np.linalg.norm(b_N4 - a_N4, axis=1), np.linalg.norm(b_N4 + a_N4, axis=1))
    still_N = angle_N < 1e-12
    sine_N = np.where(still_N, 1.0, np.sin(angle_N))
    a_share_N = np.where(still_N, 1 - share_N, np.sin((1 - share_N) * angle_N) / sine_N)
    b_share_N = np.where(still_N, share_N, np.sin(share_N * angle_N) / sine_N)
    between_N4 = a_share_N[:, None] * a_N4 + b_share_N[:, None] * b_N4
    return between_N4 / np.linalg.norm(between_N4, axis=1, keepdims=True)
