"""What a model's radii and familiarity are worth on images whose poses are known.

    coverage            share of the familiar images whose error is within the radius
    least familiar      the same of the least familiar quarter of these, where plain intervals are too narrow
    spearman            rank correlation of unfamiliarity and error: 1 if the order is the same, 0 if there is none
    ause                area between two curves, of the mean error of what is left when a growing share of images is
                        rejected: the least familiar first, and the worst first; in units of the mean error of all
                        (Ilg et al. 2018). 0 is perfect; rejecting at random has about the area above the second curve

Images with infinite radii are unfamiliar: they count as such, and neither as covered nor as missed. Equally familiar
images are not told apart: where only some of them are rejected or kept, each counts in part, whatever their order is.

Legend: N images.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from posezoo.base.poses import Poses
from posezoo.evaluation.intervals import ranks

Floats = npt.NDArray[np.float64]
ERRORS = ("position_m", "orientation_deg")
KEPT = (1.0, 0.9, 0.75, 0.5, 0.25)
"""Shares of images kept, of which the median error is told."""
STEPS = 100


def summary(poses: Poses, errors: tuple[Floats, Floats]) -> dict[str, Any] | None:
    """The figures above for positions and orientations, `..._position_m`, `..._orientation_deg`; None without radii."""
    if poses.familiarity is None or poses.radius_m is None or poses.radius_deg is None:
        return None
    familiar_N = np.isfinite(poses.radius_m) & np.isfinite(poses.radius_deg)
    least_n = _counted(-poses.familiarity[familiar_N], -(-int(familiar_N.sum()) // 4))
    found: dict[str, Any] = {"num": len(poses), "num_unfamiliar": int(np.sum(~familiar_N))}
    for name, error_N, radius_N in zip(ERRORS, errors, (poses.radius_m, poses.radius_deg), strict=True):
        inside_N = error_N <= radius_N
        found[f"coverage_{name}"] = _share(inside_N[familiar_N], np.ones(int(familiar_N.sum()), np.int64))
        found[f"coverage_least_familiar_{name}"] = _share(inside_N[familiar_N], least_n)
        found[f"median_radius_{name}"] = float(np.median(radius_N[familiar_N])) if familiar_N.any() else None
        found[f"spearman_{name}"] = spearman(-poses.familiarity, error_N)
        found[f"ause_{name}"] = ause(-poses.familiarity, error_N)
        found[f"kept_{name}"] = kept(poses.familiarity, error_N)
    return found


def kept(familiarity_N: Floats, error_N: Floats) -> list[dict[str, float]]:
    """The median error of each share of `KEPT`: of the most familiar images, and of the best (what could be had)."""
    order_N, rows = np.argsort(error_N, kind="stable"), []
    for share in KEPT:
        count = max(1, round(share * len(error_N)))
        passed_N = np.cumsum(_counted(familiarity_N, count)[order_N])
        middle = [order_N[np.searchsorted(passed_N, passed_N[-1] / 2, side)] for side in ("left", "right")]
        medians = float(np.mean(error_N[middle])), float(np.median(error_N[order_N[:count]]))
        rows.append({"kept": share, "median": medians[0], "best": medians[1]})
    return rows


def _counted(value_N: Floats, count: int) -> npt.NDArray[np.int64]:
    """How much each image counts among those with the `count` largest values: equal ones at the limit share its rest.

    In whole numbers, so that sums are exact: one that counts in full has as many as there are images at the limit.
    """
    if not count:
        return np.zeros(len(value_N), np.int64)
    limit = np.sort(value_N)[-count]
    over_N, at_N = value_N > limit, value_N == limit
    return np.where(over_N, at_N.sum(), np.where(at_N, count - over_N.sum(), 0))


def spearman(doubt_N: Floats, error_N: Floats) -> float | None:
    """The rank correlation of doubts and errors, equal ones sharing their rank; None where either is constant."""
    both = [ranks(values_N) for values_N in (doubt_N, error_N)]
    if any(np.ptp(rank_N) == 0 for rank_N in both):
        return None
    return float(np.corrcoef(both[0], both[1])[0, 1])


def ause(doubt_N: Floats, error_N: Floats) -> float | None:
    """The area between the curves; None where an error is infinite, all are 0, or the doubt is constant."""
    if not np.isfinite(error_N).all() or not error_N.any() or np.ptp(doubt_N) == 0:
        return None
    _, tie_N = np.unique(doubt_N, return_inverse=True)
    expected_N = (np.bincount(tie_N, error_N) / np.bincount(tie_N))[tie_N]
    left_n = np.unique(np.ceil(np.linspace(1.0, 1 / STEPS, STEPS) * len(error_N)).astype(np.int64))
    ordered = expected_N[np.argsort(doubt_N, kind="stable")], np.sort(error_N)
    own_n, best_n = (np.cumsum(sorted_N)[left_n - 1] / left_n for sorted_N in ordered)
    return float(np.trapezoid((own_n - best_n) / error_N.mean(), left_n / len(error_N)))


def _share(inside_N: npt.NDArray[np.bool_], counted_N: npt.NDArray[np.int64]) -> float | None:
    return float(counted_N[inside_N].sum() / counted_N.sum()) if len(inside_N) else None
