"""Which way is up, as a phone felt it: from a file of its accelerometer, or from the poses of a scan.

A file has the columns t, ax, ay, az: seconds from the beginning of the video, and what the accelerometer read, in m/s^2
and in the axes of the phone, as Android and phyphox have them: x to the right of the screen, y to its top, z out of it.
A phone at rest reads what holds it up: +9.8 on z when it lies on its back. The video is the rear camera's, and shown
as the phone was held, so that its pictures are the sensor's by a quarter turn, the one with which they stand upright.

Legend: N samples, F frames, 3 axes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from posezoo.base.errors import DataError, Finding
from posezoo.base.files.tables import numbers, read_csv

COLUMNS = ("t", "ax", "ay", "az")
AROUND_SECONDS = 0.25  # of a frame: samples that are averaged
AT_REST = (8.0, 12.0)  # m/s^2, the median of what a hand-held phone feels
DISAGREE_DEGREES = 10.0  # the median frame from the mean of all: axes, sign or times are wrong
PHONE_TO_CAMERA = np.diag([1.0, -1.0, -1.0])  # of the rear camera, the phone held upright
QUARTER_TURN = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])  # about the line of sight


def felt(path: Path, timestamps: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Up in the axes of each frame's camera (x right, y down, z forward), in m/s^2, by an accelerometer's file.

    `timestamps`: of the frames of one video, in microseconds from its beginning; those without samples are left out.
    Raises DataError for a file that cannot be this, with all that is wrong in it.
    """
    findings: list[Finding] = []
    rows = [
        values
        for line, row in read_csv(path, path.name, COLUMNS, findings)
        if (values := numbers([row[key] for key in COLUMNS], path.name, line, findings)) is not None
    ]
    if findings:
        raise DataError(f"{len(findings)} problems in {path} (first: {findings[0]})", findings=findings)
    table_N4 = np.array(sorted(rows)).reshape(-1, 4)
    usual = float(np.median(np.linalg.norm(table_N4[:, 1:], axis=1))) if rows else 0.0
    if not AT_REST[0] <= usual <= AT_REST[1]:
        raise DataError(
            f"{path}: the accelerometer reads {usual:.2g} at the median, not the 9.8 m/s^2 of gravity",
            "with gravity and in m/s^2; iOS writes g, pointing down: multiply by -9.81",
        )
    found = {}
    for name, stamp in timestamps.items():
        low, high = np.searchsorted(table_N4[:, 0], [stamp / 1e6 - AROUND_SECONDS, stamp / 1e6 + AROUND_SECONDS])
        if stamp >= 0 and high > low:
            found[name] = PHONE_TO_CAMERA @ table_N4[low:high, 1:].mean(axis=0)
    if not found:
        raise DataError(
            f"{path}: t from {table_N4[0, 0]:g} to {table_N4[-1, 0]:g} has none of the {len(timestamps)} frames",
            "t is in seconds from the beginning of the first source, which must be a video",
        )
    mean_3 = np.mean(list(found.values()), axis=0)
    turns = [np.linalg.matrix_power(QUARTER_TURN, n) for n in range(4)]
    turn_33 = min(turns, key=lambda turn: float((turn @ mean_3)[1]))  # y of a picture points down
    return {name: turn_33 @ up_3 for name, up_3 in found.items()}


def up(felt_by_name: Mapping[str, np.ndarray], rotations: Mapping[str, np.ndarray]) -> tuple[np.ndarray, float]:
    """Up in the map (3,), of length 1, and how many degrees the median frame is from it.

    `felt_by_name`: up in the cameras' axes; `rotations`: camera to map (3, 3), of the placed images. Raises DataError
    where the frames contradict each other. The mean is of accelerations, not of directions: over a walk that begins and
    ends at rest those of the hand add up to nothing.
    """
    found = [rotations[name] @ up_3 for name, up_3 in felt_by_name.items() if name in rotations]
    if not found:
        raise DataError("gravity is known of none of the placed images", "film longer, or map without --gravity-from")
    up_F3 = np.array(found)
    mean_3 = up_F3.mean(axis=0)
    mean_3 = mean_3 / max(1e-12, float(np.linalg.norm(mean_3)))
    cosine_F = (up_F3 @ mean_3) / np.maximum(np.linalg.norm(up_F3, axis=1), 1e-12)
    degrees = float(np.degrees(np.median(np.arccos(np.clip(cosine_F, -1, 1)))))
    if degrees > DISAGREE_DEGREES:
        raise DataError(
            f"the frames disagree about up, by {degrees:.0f} degrees at the median",
            "axes, sign or times are wrong: x right, y top, z out of the screen, t from the beginning of the video",
        )
    return mean_3, degrees
