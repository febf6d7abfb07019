"""The texts of a report's files, and its poses in other tools' formats."""

from __future__ import annotations

import csv
import dataclasses
import io
import re
from pathlib import Path

import numpy as np

from posezoo.base.files.write import write_whole
from posezoo.base.poses import ESTIMATES, Poses
from posezoo.data.export import export as export_poses
from posezoo.evaluation.results import Results

COLUMNS = (
    *("image", "scene", "sequence", "condition", "timestamp"),
    *("true_x", "true_y", "true_z", "true_qw", "true_qx", "true_qy", "true_qz"),
    *("x", "y", "z", "qw", "qx", "qy", "qz", "scene_predicted"),
    *("position_error_m", "orientation_error_deg", *ESTIMATES),
)


def predictions(report: Results) -> str:
    """CSV text: one line an image with its true pose, the model's pose, both errors, and radii where there are some."""
    frames, poses = report.frames, report.methods[report.model]
    position_N, orientation_N = report.errors[report.model]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for n in range(len(frames)):
        where = [frames.scenes[frames.scene[n]], frames.sequence[n], frames.condition[n], int(frames.timestamp[n])]
        true = [*frames.position[n], *frames.quaternion[n]]
        numbers = [repr(float(value)) for value in (*true, *poses.position[n], *poses.quaternion[n])]
        errors = [repr(float(position_N[n])), repr(float(orientation_N[n]))]
        known = [repr(float(poses.estimates[name][n])) if name in poses.estimates else "" for name in ESTIMATES]
        writer.writerow([frames.name(n), *where, *numbers, _predicted_scene(report, n), *errors, *known])
    return out.getvalue()


def trajectories(report: Results) -> dict[str, str]:
    """File name -> TUM text of each sequence, true and predicted (without the poses that are not finite)."""
    files: dict[str, str] = {}
    true, predicted = report.frames.poses(), report.methods[report.model]
    for group, index in report.groups("sequence").items():
        stem = re.sub(r"[^A-Za-z0-9._-]+", "_", group).strip("._") or "all"
        number, taken = 2, stem
        while f"{taken}_true.txt" in files:
            taken, number = f"{stem}-{number}", number + 1
        files[f"{taken}_true.txt"] = _part(true, true, index).to_tum()
        lines = _part(predicted, true, index).to_tum().splitlines(keepends=True)
        # tools that read TUM files stop at a nan; the time stamps show which poses are missing
        finite_N = np.isfinite(predicted.position[index]).all(-1) & np.isfinite(predicted.quaternion[index]).all(-1)
        kept = [line for line, finite in zip(lines, finite_N, strict=True) if finite]
        files[f"{taken}_predicted.txt"] = "".join(kept)
    return files


def export(report: Results, form: str, folder: Path) -> list[Path]:
    """The files of the model's finite poses, in one of the forms of `posezoo data export`."""
    poses = report.methods[report.model]
    finite_N = np.isfinite(poses.position).all(-1) & np.isfinite(poses.quaternion).all(-1)
    predicted = dataclasses.replace(report.frames, position=poses.position, quaternion=poses.quaternion)
    return export_poses(predicted.select(finite_N), form, folder, replace=True)


def _part(poses: Poses, true: Poses, index: np.ndarray) -> Poses:
    stamps = tuple(true.timestamps[n] for n in index) if true.timestamps else ()
    return Poses(tuple(true.images[n] for n in index), poses.position[index], poses.quaternion[index], (), stamps)


def _predicted_scene(report: Results, n: int) -> str:
    if report.scene_predicted is None:
        return ""
    number = int(report.scene_predicted[n])
    return report.frames.scenes[number] if number >= 0 else "(other)"


def write_text(path: Path, text: str) -> None:
    """Write the file whole; undecodable bytes of image names are preserved."""
    write_whole(path, text.encode("utf-8", "surrogateescape"))
