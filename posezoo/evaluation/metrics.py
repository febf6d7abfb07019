"""Pose errors and their summary, in numpy float64; no torch.

Position error = distance of the camera centres in metres, without any alignment. Orientation error = angle of the
relative rotation in degrees, 0..180. Both medians are taken independently. A prediction that is not finite counts as
infinitely far and 180 degrees wrong: it is never dropped.

Legend: N images, 3 position, 4 quaternion (w, x, y, z), camera-to-world.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

RECALLS: dict[str, tuple[float, float]] = {
    "5cm_5deg": (0.05, 5.0),
    "0.25m_2deg": (0.25, 2.0),
    "0.5m_5deg": (0.5, 5.0),
    "5m_10deg": (5.0, 10.0),
}
"""Name -> (metres, degrees): the share of images with both errors strictly below."""


def pose_errors(
    position_N3: FloatArray, quaternion_N4: FloatArray, true_position_N3: FloatArray, true_quaternion_N4: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """(position error in metres, orientation error in degrees), each (N,).

    Quaternions need not be unit and q = -q. A predicted pose with a number that is not finite, or with a zero
    quaternion, gives (inf, 180).
    """
    t_N3, q_N4 = np.asarray(position_N3, np.float64), np.asarray(quaternion_N4, np.float64)
    failed_N = ~(np.isfinite(t_N3).all(-1) & np.isfinite(q_N4).all(-1) & (q_N4 != 0).any(-1))
    # a placeholder avoids warnings in the arithmetic; the result is overwritten below
    t_N3 = np.where(failed_N[:, None], 0.0, t_N3)
    q_N4 = np.where(failed_N[:, None], 1.0, q_N4)
    with np.errstate(over="ignore"):
        position_N = np.linalg.norm(t_N3 - np.asarray(true_position_N3, np.float64), axis=-1)
    orientation_N = angle_deg(q_N4, np.asarray(true_quaternion_N4, np.float64))
    return np.where(failed_N, np.inf, position_N), np.where(failed_N, 180.0, orientation_N)


def angle_deg(a_N4: FloatArray, b_N4: FloatArray) -> FloatArray:
    """The angles between rotations in degrees, (N,).

    2 atan2(|v|, |w|) of the relative quaternion conj(a) b, in which lengths cancel. acos loses half of the digits at
    small angles (in float32 it cannot go below 0.08 degrees, and gives NaN where rounding exceeds 1).
    """
    # divided by powers of two their squares neither vanish nor overflow, and no digit changes
    a_N4, b_N4 = (np.ldexp(q_N4, -np.frexp(np.abs(q_N4).max(-1, keepdims=True))[1]) for q_N4 in (a_N4, b_N4))
    w_a, v_a, w_b, v_b = a_N4[:, 0], a_N4[:, 1:], b_N4[:, 0], b_N4[:, 1:]
    w_N = w_a * w_b + (v_a * v_b).sum(-1)
    v_N3 = w_a[:, None] * v_b - w_b[:, None] * v_a - np.cross(v_a, v_b)
    return np.rad2deg(2 * np.arctan2(np.linalg.norm(v_N3, axis=-1), np.abs(w_N)))


def summarise(position_m: FloatArray, orientation_deg: FloatArray) -> dict[str, Any]:
    """The summary of N > 0 images: counts, medians, means, 90th percentiles and recalls (0..1)."""
    assert len(position_m) == len(orientation_deg) > 0, "nothing to summarise"
    summary: dict[str, Any] = {"num": len(position_m), "num_failed": int(np.isinf(position_m).sum())}
    for name, error_N in (("position_m", position_m), ("orientation_deg", orientation_deg)):
        summary[f"median_{name}"] = float(np.median(error_N))
        summary[f"mean_{name}"] = float(np.mean(error_N))
        # no interpolation: it would make NaN of two infinite neighbours
        summary[f"p90_{name}"] = float(np.percentile(error_N, 90, method="higher"))
    for name, (metres, degrees) in RECALLS.items():
        summary[f"recall_{name}"] = float(np.mean((position_m < metres) & (orientation_deg < degrees)))
    return summary


def average(summaries: list[dict[str, Any]]) -> dict[str, Any]:
    """The unweighted mean of summaries (of scenes): the papers' "average". Counts are added."""
    result: dict[str, Any] = {}
    for key, value in summaries[0].items():
        values = [summary[key] for summary in summaries]
        if isinstance(value, int):
            result[key] = sum(values)
        elif isinstance(value, float):
            result[key] = float(np.mean(values))
    return result
