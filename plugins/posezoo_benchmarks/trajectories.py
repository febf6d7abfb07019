"""TUM and KITTI pose files of a folder without poses.csv.

TUM    groundtruth.txt, lines `time tx ty tz qx qy qz qw` in seconds, camera-to-world. Images and their times are in
       rgb.txt (`time file`), else the images' own names are times. Poses are interpolated at the images' times.
KITTI  poses.txt, twelve numbers a line: the upper 3x4 of the camera-to-world matrix. Line n is the n-th image by name,
       in natural order: 2.png before 10.png.

`poses=FILE` names another file, `images=FOLDER` the images' folder below the root. A file with eight columns is TUM,
with twelve KITTI.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from posezoo.plugin import Finding, Frame, ReadRequest, ReadResult
from posezoo.plugin.reading import natural, numbers, read_lines
from posezoo_benchmarks.interpolation import interpolated, track
from posezoo_benchmarks.matrices import problems, quaternions
from posezoo_benchmarks.options import positive

NAMES = ("groundtruth.txt", "poses.txt")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".ppm", ".bmp")
Row = tuple[int, list[str], list[float]]


def file(request: ReadRequest) -> Path | None:
    """The TUM or KITTI file, relative to the root: the named one, else the first there if there is no poses.csv."""
    named = request.options.get("poses")
    if named:
        return Path(named)
    if not request.root.is_dir() or (request.root / "poses.csv").exists():
        return None
    return next((Path(name) for name in NAMES if (request.root / name).is_file()), None)


def read(request: ReadRequest, path: Path, scene: str) -> ReadResult:
    """The frames of the file's poses."""
    result = ReadResult()
    rows = _rows(request.root / path, str(path), (8, 12), result.findings)
    widths = {len(row[2]) for row in rows}
    if widths == {8}:
        _tum(request, str(path), rows, scene, result)
    elif widths == {12}:
        _kitti(request, str(path), rows, scene, result)
    elif not result.findings:
        result.findings.append(Finding(str(path), 0, "neither TUM (8 columns) nor KITTI (12 columns) poses"))
    return result


def _tum(request: ReadRequest, name: str, rows: list[Row], scene: str, result: ReadResult) -> None:
    values_M8 = np.array([row[2] for row in rows])
    quaternion_M4 = values_M8[:, [7, 4, 5, 6]]
    length_M = np.linalg.norm(quaternion_M4, axis=1)
    for bad in np.flatnonzero(~(np.abs(length_M - 1) < 1e-2)):
        result.findings.append(Finding(name, rows[bad][0], f"quaternion is not unit: |q| = {length_M[bad]:.6g}"))
    good_M = np.abs(length_M - 1) < 1e-2
    stamp_M = np.array([_microseconds(row[1][0]) for row in rows])
    known = track(stamp_M[good_M], values_M8[good_M, 1:4], quaternion_M4[good_M] / length_M[good_M, None])
    images = _timed_images(request, result)
    position_N3, quaternion_N4, seconds_N = interpolated(
        known, np.array([stamp for stamp, _ in images], dtype=np.int64)
    )
    max_gap = positive(request, "max-gap", 1.0)
    for n, (stamp, image) in enumerate(images):
        if seconds_N[n] <= max_gap and (request.images is None or image in request.images):
            pose = tuple(position_N3[n].tolist()), tuple(quaternion_N4[n].tolist())
            result.frames.append(Frame(image, *pose, scene, timestamp=stamp, source=(name, 0)))
    dropped = int(np.sum(~(seconds_N <= max_gap)))
    if dropped:
        result.left_out[scene, "", ""] = dropped
        where = f"outside the poses or in gaps of more than {max_gap:g} s (max-gap=)"
        result.notes.append(f"{dropped} of {len(images)} images dropped: {where}")


def _timed_images(request: ReadRequest, result: ReadResult) -> list[tuple[int, str]]:
    """(microseconds, image) by rgb.txt, else by the images' names."""
    if (request.root / "rgb.txt").is_file():
        images = []
        for line, raw in read_lines(request.root / "rgb.txt", "rgb.txt", result.findings):
            tokens = raw.split(maxsplit=1)
            if not tokens or raw.startswith("#"):
                continue
            if len(tokens) == 2 and numbers(tokens[:1], "rgb.txt", line, result.findings) is not None:
                images.append((_microseconds(tokens[0]), tokens[1].strip()))
            elif len(tokens) != 2:
                result.findings.append(Finding("rgb.txt", line, f"not a time and a file: {raw[:60]!a}"))
        return sorted(images)
    found = [(path, re.fullmatch(r"\d+(\.\d+)?", Path(path).stem, re.ASCII)) for path in _images(request)]
    timed = sorted((_microseconds(Path(path).stem), path) for path, match in found if match)
    if not timed:
        result.findings.append(Finding("rgb.txt", 0, "no such file, and no image whose name is a time"))
    return timed


def _kitti(request: ReadRequest, name: str, rows: list[Row], scene: str, result: ReadResult) -> None:
    images = _images(request)
    if len(images) != len(rows):
        result.findings.append(Finding(name, 0, f"{len(rows)} poses, but {len(images)} images (images=FOLDER)"))
        return
    matrix_N44 = np.tile(np.eye(4), (len(rows), 1, 1))
    matrix_N44[:, :3] = np.reshape([values for _, _, values in rows], (-1, 3, 4))
    wrong = problems(matrix_N44)
    matrix_N44[[bool(problem) for problem in wrong]] = np.eye(4)
    quaternion_N4 = quaternions(matrix_N44[:, :3, :3])
    for n, image in enumerate(images):
        if wrong[n]:
            result.findings.append(Finding(name, rows[n][0], wrong[n]))
        elif request.images is None or image in request.images:
            pose = tuple(matrix_N44[n, :3, 3].tolist()), tuple(quaternion_N4[n].tolist())
            result.frames.append(Frame(image, *pose, scene, source=(name, rows[n][0])))


def _images(request: ReadRequest) -> list[str]:
    """All images below `images=` (else below the root), relative to the root, by name."""
    root = request.images_root or request.root
    base = root / request.options.get("images", ".")
    if not base.resolve().is_relative_to(root.resolve()):
        return []
    found = (str(path.relative_to(root)) for path in base.rglob("*") if path.suffix.lower() in SUFFIXES)
    return sorted(found, key=natural)


def _rows(path: Path, shown: str, widths: tuple[int, ...], findings: list[Finding]) -> list[Row]:
    """(line, words, numbers) of the lines that are not comments."""
    rows = []
    for line, raw in read_lines(path, shown, findings):
        tokens = raw.partition("#")[0].split()
        if not tokens:
            continue
        if len(tokens) not in widths:
            findings.append(
                Finding(shown, line, f"expected {' or '.join(map(str, widths))} columns, got {len(tokens)}")
            )
            continue
        found = numbers(tokens, shown, line, findings)
        if found is not None:
            rows.append((line, tokens, found))
    return rows


def _microseconds(seconds: str) -> int:
    """A time in seconds, as text, in microseconds: digits beyond a double's are kept."""
    match = re.fullmatch(r"(\d{1,12})(?:\.(\d*))?", seconds, re.ASCII)
    if match is None:
        return int(min(max(float(seconds) * 1e6, -1e18), 1e18))
    return int(match[1]) * 1_000_000 + int(((match[2] or "") + "000000")[:6])
