"""Poses in the forms of other tools, read back: image names, positions, quaternions (w, x, y, z)."""

from __future__ import annotations

import csv
import io

import numpy as np
from command_line import strict_json

from posezoo.base.rotation import rotation_matrix


def parse_csv(text: str) -> tuple[list[str], np.ndarray, np.ndarray]:
    rows = list(csv.DictReader(io.StringIO(text)))
    numbers = np.array([[float(row[key]) for key in ("x", "y", "z", "qw", "qx", "qy", "qz")] for row in rows])
    return [row["image"] for row in rows], numbers[:, :3], numbers[:, 3:]


def parse_tum(text: str) -> tuple[list[str], np.ndarray, np.ndarray]:
    rows = [line.split() for line in text.splitlines()]
    numbers = np.array([[float(value) for value in row[1:]] for row in rows])
    return [row[0] for row in rows], numbers[:, :3], numbers[:, [6, 3, 4, 5]]


def parse_json(text: str) -> tuple[list[str], np.ndarray, np.ndarray]:
    rows = strict_json(text)
    position, quaternion = (np.array([row[key] for row in rows]) for key in ("position", "quaternion"))
    return [row["image"] for row in rows], position, quaternion


def parse_colmap(text: str) -> tuple[list[str], np.ndarray, np.ndarray]:
    """World-to-camera, two lines an image."""
    lines = [line for line in text.split("\n")[:-1] if not line.startswith("#")]
    assert all(line == "" for line in lines[1::2])
    rows = [line.split(maxsplit=9) for line in lines[::2]]
    assert [int(row[0]) for row in rows] == list(range(1, len(rows) + 1))
    numbers = np.array([[float(value) for value in row[1:8]] for row in rows])
    to_camera = rotation_matrix(numbers[:, :4])
    position = -np.einsum("nji,nj->ni", to_camera, numbers[:, 4:])
    return [row[9] for row in rows], position, numbers[:, :4] * [1, -1, -1, -1]


PARSERS = {"csv": parse_csv, "tum": parse_tum, "json": parse_json, "colmap": parse_colmap}
