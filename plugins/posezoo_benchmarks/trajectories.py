"""TUM and KITTI pose files of a folder without poses.csv.

TUM    groundtruth.txt, lines `time tx ty tz qx qy qz qw`, camera-to-world. Images and their times are in rgb.txt (`time
       file`), else the images' own names are times. Poses are interpolated at the images' times. Times are seconds; of
       13, 16 or 19 digits before the point they are milli-, micro- or nanoseconds, as ROS and EuRoC have them.
KITTI  poses.txt, twelve numbers a line: the upper 3x4 of the camera-to-world matrix. Line n is the n-th image by name,
       in natural order: 2.png before 10.png; a bad line has its image too.

       Sixteen numbers are the whole 4x4 matrix, as HoloLens and RGB-D recorders write it.

`poses=FILE` names another file, `images=FOLDER` the images' folder below the root. A file with eight columns is TUM,
with twelve or sixteen KITTI. Folders of depth images and masks beside the pictures are passed over. Intrinsics are
those of KITTI's calib.txt (`P2`, else `P0`), or of calibration.txt or intrinsics.txt: `fx fy cx cy`, then perhaps
OpenCV's `k1 k2 p1 p2 [k3]`, or a 3x3 matrix.
"""

from __future__ import annotations

import dataclasses
import os
import re
from decimal import Decimal
from pathlib import Path

import numpy as np

from posezoo.plugin import Finding, Frame, Lens, ReadRequest, ReadResult
from posezoo.plugin.reading import natural, numbers, read_lines
from posezoo_benchmarks.interpolation import interpolated, track
from posezoo_benchmarks.matrices import problems, quaternions
from posezoo_benchmarks.options import only, positive

NAMES = ("groundtruth.txt", "poses.txt")
CAMERAS = ("calib.txt", "calibration.txt", "intrinsics.txt")
NO_PICTURES = ("depth", "depths", "mask", "masks", "semantic", "confidence")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".ppm", ".bmp")
UNITS = {13: Decimal(1000), 16: Decimal(1), 19: Decimal("0.001")}  # digits of a time since 1970 -> microseconds
SECONDS = 12  # digits at most, of a time in seconds
Row = tuple[int, list[str], list[float]]  # line, words, numbers: none of a bad line


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
    rows = _rows(request.root / path, str(path), (8, 12, 16), result.findings)
    widths = {len(row[2]) for row in rows if row[2]}
    if widths == {8}:
        _tum(request, str(path), [row for row in rows if row[2]], scene, result)
    elif widths in ({12}, {16}):
        _kitti(request, str(path), rows, scene, result)
    elif widths or not result.findings:
        result.findings.append(Finding(str(path), 0, "neither TUM (8 columns) nor KITTI (12 columns) poses"))
    intrinsics, lens = _camera(request.root, result.findings)
    if intrinsics is not None:
        result.frames = [dataclasses.replace(frame, intrinsics=intrinsics, lens=lens) for frame in result.frames]
    return result


def _camera(root: Path, findings: list[Finding]) -> tuple[tuple[float, float, float, float] | None, Lens | None]:
    """The intrinsics and distortion of the folder's camera file; (None, None) if there is none that is understood."""
    name = next((name for name in CAMERAS if (root / name).is_file()), None)
    lines = [words for _, raw in read_lines(root / name, name, findings) if (words := raw.split())] if name else []
    named = {words[0]: words[1:] for words in lines if words[0].endswith(":")}
    if named:
        words = next((named[key] for key in ("P2:", "P_rect_02:", "P0:", "P_rect_00:") if key in named), [])
        found = numbers(words, str(name), 0, findings) if len(words) == 12 else None
        return ((found[0], found[5], found[2], found[6]) if found else None), None
    words = [word for line in lines if not line[0].startswith("#") for word in line]
    found = numbers(words, str(name), 0, findings) if len(words) in (4, 8, 9) else None
    if not found:
        return None, None
    if len(found) == 9 and found[6:] == [0, 0, 1]:
        return (found[0], found[4], found[2], found[5]), None
    k1, k2, p1, p2, k3 = (*found[4:], 0.0, 0.0, 0.0, 0.0, 0.0)[:5]
    lens = Lens("POLYNOMIAL", (k1, k2, k3, 0.0, p1, p2)) if any(found[4:]) else None
    return (found[0], found[1], found[2], found[3]), lens


def _tum(request: ReadRequest, name: str, rows: list[Row], scene: str, result: ReadResult) -> None:
    values_M8 = np.array([row[2] for row in rows])
    quaternion_M4 = values_M8[:, [7, 4, 5, 6]]
    with np.errstate(over="ignore"):
        length_M = np.linalg.norm(quaternion_M4, axis=1)
    good_M = (length_M > 1e-9) & np.isfinite(length_M)
    for bad in np.flatnonzero(~good_M):
        result.findings.append(Finding(name, rows[bad][0], f"quaternion is not unit: |q| = {length_M[bad]:.6g}"))
    stamps = [_microseconds(row[1][0]) for row in rows]
    for n, stamp in enumerate(stamps):
        if stamp is None:
            good_M[n] = False
            result.findings.append(Finding(name, rows[n][0], _no_time(rows[n][1][0])))
    good = np.flatnonzero(good_M)
    stamp_K = np.array([stamps[m] for m in good], dtype=np.int64)
    known = track(stamp_K, values_M8[good, 1:4], quaternion_M4[good] / length_M[good, None])
    if len(known.stamp) < len(good):
        result.notes.append(f"{len(good) - len(known.stamp)} poses have the time of an earlier one: left out")
    images = _timed_images(request, result)
    at_N = np.array([stamp for stamp, _ in images], dtype=np.int64)
    position_N3, quaternion_N4, seconds_N = interpolated(known, at_N)
    row_N = _rows_about(at_N, stamp_K, good, length_M)
    max_gap = positive(request, "max-gap", 1.0)
    for n, (stamp, image) in enumerate(images):
        if seconds_N[n] <= max_gap and (request.images is None or image in request.images):
            # as long as the file has it: whether that is rounding is judged for all readers alike
            quaternion_4 = quaternion_N4[n] * length_M[row_N[n]]
            pose = tuple(position_N3[n].tolist()), tuple(quaternion_4.tolist())
            result.frames.append(Frame(image, *pose, scene, timestamp=stamp, source=(name, rows[row_N[n]][0])))
    dropped = int(np.sum(~(seconds_N <= max_gap)))
    if dropped:
        result.left_out[scene, "", ""] = dropped
        where = f"outside the poses or in gaps of more than {max_gap:g} s (max-gap=)"
        result.notes.append(f"{dropped} of {len(images)} images dropped: {where}")


def _rows_about(at_N: np.ndarray, stamp_K: np.ndarray, good: np.ndarray, length_M: np.ndarray) -> np.ndarray:
    """Of the two rows about each time, the one whose quaternion is farther from length 1; N times, K rows of M."""
    if not len(good):
        return np.zeros(len(at_N), dtype=np.int64)
    order_K = np.argsort(stamp_K, kind="stable")
    rising_K, last = stamp_K[order_K], len(order_K) - 1
    sides = np.searchsorted(rising_K, at_N, side="right") - 1, np.searchsorted(rising_K, at_N)
    before_N, after_N = (good[order_K[side_N.clip(0, last)]] for side_N in sides)
    off_M = np.abs(length_M - 1)
    return np.where(off_M[before_N] > off_M[after_N], before_N, after_N)


def _timed_images(request: ReadRequest, result: ReadResult) -> list[tuple[int, str]]:
    """(microseconds, image) by rgb.txt, else by the images' names."""
    if (request.root / "rgb.txt").is_file():
        only(request, "a folder with rgb.txt", ("poses", "max-gap"))
        images = []
        for line, raw in read_lines(request.root / "rgb.txt", "rgb.txt", result.findings):
            tokens = raw.split(maxsplit=1)
            if not tokens or raw.startswith("#"):
                continue
            if len(tokens) != 2:
                result.findings.append(Finding("rgb.txt", line, f"not a time and a file: {raw[:60]!a}"))
            elif numbers(tokens[:1], "rgb.txt", line, result.findings) is not None:
                stamp = _microseconds(tokens[0])
                if stamp is None:
                    result.findings.append(Finding("rgb.txt", line, _no_time(tokens[0])))
                else:
                    images.append((stamp, os.path.normpath(tokens[1].strip())))
        return sorted(images)
    named = [path for path in _images(request) if re.fullmatch(r"\d+(\.\d+)?", Path(path).stem, re.ASCII)]
    stamps = ((_microseconds(Path(path).stem), path) for path in named)
    timed = sorted((stamp, path) for stamp, path in stamps if stamp is not None)
    if not timed:
        result.findings.append(Finding("rgb.txt", 0, "no such file, and no image whose name is a time"))
    return timed


def _kitti(request: ReadRequest, name: str, rows: list[Row], scene: str, result: ReadResult) -> None:
    only(request, "a folder with KITTI poses", ("poses", "images"))
    images = _images(request)
    if len(images) != len(rows):
        result.findings.append(Finding(name, 0, f"{len(rows)} poses, but {len(images)} images (images=FOLDER)"))
        return
    good = [(row, image) for row, image in zip(rows, images, strict=True) if row[2]]
    rows, images = [row for row, _ in good], [image for _, image in good]
    matrix_N44 = np.tile(np.eye(4), (len(rows), 1, 1))
    values_NM = np.array([values for _, _, values in rows])
    matrix_N44[:, : values_NM.shape[1] // 4] = values_NM.reshape(len(rows), -1, 4)
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
    found = [path.relative_to(root) for path in base.rglob("*") if path.suffix.lower() in SUFFIXES]
    if "images" not in request.options:
        found = [path for path in found if not any(part.lower() in NO_PICTURES for part in path.parts[:-1])] or found
    return sorted(map(str, found), key=natural)


def _rows(path: Path, shown: str, widths: tuple[int, ...], findings: list[Finding]) -> list[Row]:
    """The lines that are not comments. A bad one keeps its place, without numbers: the next is the next image's."""
    rows: list[Row] = []
    for line, raw in read_lines(path, shown, findings):
        tokens = raw.partition("#")[0].split()
        if not tokens:
            if findings and findings[-1].line == line:  # it was not text
                rows.append((line, tokens, []))
            continue
        if len(tokens) not in widths:
            what = f"expected {' or '.join(map(str, widths))} columns, got {len(tokens)}"
            findings.append(Finding(shown, line, what))
            rows.append((line, tokens, []))
        else:
            rows.append((line, tokens, numbers(tokens, shown, line, findings) or []))
    return rows


def _microseconds(text: str) -> int | None:
    """A time as text in microseconds, digits beyond a double's kept; None if its digits are of no known unit."""
    value = Decimal(text)
    digits = value.adjusted() + 1 if value else 0
    unit = Decimal(1_000_000) if digits <= SECONDS else UNITS.get(digits)
    return None if unit is None else int(value * unit)


def _no_time(text: str) -> str:
    return f"not a time in seconds, or of {', '.join(map(str, UNITS))} digits: {text[:40]!a}"
