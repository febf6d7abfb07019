"""Oxford RobotCar (Maddern et al., "1 Year, 1000km: The Oxford RobotCar Dataset", IJRR 2017), its centre camera.

    <root>/<sequence>/stereo.timestamps       lines `<microseconds> <chunk>`
    <root>/<sequence>/stereo/centre/<us>.png  raw Bayer pixels (gbrg), 1280x960
    <root>/<sequence>/gps/ins.csv             poses, some 50 a second, with a status
    <root>/<sequence>/vo/vo.csv               motions from image to image (option poses=vo)

What is special:
- the world is (northing, easting, down), right-handed, in metres: UTM, so numbers of 5.7e6 that need float64;
- R = Rz(yaw) Ry(pitch) Rx(roll) turns the car's axes (forward, right, down) into the world's. They are renamed to
  camera axes (right, down, forward); `axes=body` leaves them, as published code does. The camera's place in the car
  (some metres, a few degrees) is not applied, as in all published results;
- poses are interpolated at each image's own time. `legacy-shift=true` gives each image the pose of the image before
  it, as the public tool chain does (0.3 m on average): published numbers carry it;
- frames outside the good INS rows, or in a gap of more than `max-gap` seconds (1) between them, are dropped, counted;
- `poses=vo` chains the visual odometry, from the INS pose at the start of each unbroken chain.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path

import numpy as np
import torch

from posezoo.nn.geometry import compose
from posezoo.plugin import Finding, Frame, ReadRequest, ReadResult, UsageError
from posezoo.plugin.reading import numbers, read_csv, read_lines
from posezoo_benchmarks import robotcar_images
from posezoo_benchmarks.interpolation import Track, interpolated, track
from posezoo_benchmarks.options import choice, only, positive

OPTIONS = ("train", "test", "max-gap", "legacy-shift", "poses", "axes", "undistort")
GOOD = "INS_SOLUTION_GOOD"
INS = ("northing", "easting", "down", "roll", "pitch", "yaw")
VO = ("x", "y", "z", "roll", "pitch", "yaw")
# the data set's tags of the days in use
CONDITIONS = {"2014-06-23": "sunny", "2014-06-26": "overcast", "2014-11-28": "overcast", "2014-12-02": "overcast"}
CONDITIONS |= {"2014-12-09": "overcast", "2014-12-12": "overcast"}
CAMERA_IN_BODY = (0.5, 0.5, 0.5, 0.5)  # quaternion: camera right, down, forward = body y, z, x
_SEQUENCE = re.compile(r"\d{4}-\d{2}-\d{2}-\d{2}-\d{2}-\d{2}", re.ASCII)


def read(request: ReadRequest) -> ReadResult:
    """The frames of the sequences that the options `train` and `test` name, else of all present."""
    only(request, "robotcar", OPTIONS)
    models = os.path.expanduser(request.options.get("undistort", ""))  # noqa: PTH111 (a ~ of nobody is a name)
    ground_truth = choice(request, "poses", ("ins", "vo"))
    result = ReadResult(ground_truth=ground_truth, decode=robotcar_images.decoder(models))
    if not models:
        result.notes.append("images are not undistorted, intrinsics unknown: undistort=FOLDER of the kit's models")
    camera = robotcar_images.intrinsics(models)
    roles = dict.fromkeys(filter(None, request.options.get("train", "").split(",")), "train")
    for sequence in filter(None, request.options.get("test", "").split(",")):
        if roles.setdefault(sequence, "test") == "train":
            raise UsageError(f"sequence {sequence[:60]!a} is in train= and in test=", "name it in one of them")
    if not roles:
        roles = {path.name: "" for path in sorted(request.root.iterdir()) if _SEQUENCE.fullmatch(path.name)}
    if not roles:
        result.findings.append(Finding(str(request.root), 0, "no sequence here: a folder like 2014-06-26-08-53-56"))
    for sequence, split in roles.items():
        if request.wants_sequence(sequence):
            _read_sequence(request, sequence, split, camera, result)
    return result


def _read_sequence(
    request: ReadRequest,
    sequence: str,
    split: str,
    camera: tuple[float, float, float, float] | None,
    result: ReadResult,
) -> None:
    if not (request.root / sequence).is_dir():
        result.findings.append(Finding(sequence, 0, "no such sequence folder"))
        return
    stamps, images = _images(request, sequence, result)
    if not stamps:
        return
    known = _ins(request.root, sequence, result)
    tracks = _vo(request.root, sequence, known, result) if result.ground_truth == "vo" else [known]
    position_N3, quaternion_N4, seconds_N = _poses(request, np.array(stamps, dtype=np.int64), tracks)
    max_gap = positive(request, "max-gap", 1.0)
    outside_N, hole_N = ~np.isfinite(seconds_N), np.isfinite(seconds_N) & (seconds_N > max_gap)
    if outside_N.any() or hole_N.any():
        result.left_out["robotcar", split, sequence] = int((outside_N | hole_N).sum())
        result.notes.append(
            f"{sequence}: of {len(stamps)} frames dropped {int(outside_N.sum())} outside the measured poses and"
            f" {int(hole_N.sum())} in gaps of more than {max_gap:g} s between them (max-gap=)"
        )
    for n in np.flatnonzero(~outside_N & ~hole_N):
        result.frames.append(
            Frame(
                image=images[n],
                position=tuple(position_N3[n].tolist()),
                quaternion=tuple(quaternion_N4[n].tolist()),
                scene="robotcar",
                split=split,
                sequence=sequence,
                timestamp=stamps[n],
                condition=CONDITIONS.get(sequence[:10], ""),
                intrinsics=camera,
                source=(f"{sequence}/stereo.timestamps", 0),
            )
        )


def _images(request: ReadRequest, sequence: str, result: ReadResult) -> tuple[list[int], list[str]]:
    """(times, images relative to the root) of the requested frames. A chunk without any image here was not fetched."""
    shown = f"{sequence}/stereo.timestamps"
    chunks: dict[int, str] = {}
    lines: dict[int, int] = {}
    for line, raw in read_lines(request.root / shown, shown, result.findings):
        match = re.fullmatch(r"\s*(\d{1,18})\s+(\S+)\s*", raw, re.ASCII)
        if match:
            chunks.setdefault(int(match[1]), match[2])
            lines.setdefault(int(match[1]), line)
        elif raw.strip():
            result.findings.append(Finding(shown, line, f"not a time and a chunk: {raw[:60]!a}"))
    folder = f"{sequence}/stereo/centre"
    if request.images is not None:
        stamps = [stamp for stamp in sorted(chunks) if f"{folder}/{stamp}.png" in request.images]
        return stamps, [f"{folder}/{stamp}.png" for stamp in stamps]
    if not (request.root / folder).is_dir():
        result.findings.append(Finding(folder, 0, "no such folder"))
        return [], []
    there = {path.name for path in (request.root / folder).iterdir()}
    found = Counter(chunk for stamp, chunk in chunks.items() if f"{stamp}.png" in there)
    absent = sorted(set(chunks.values()) - found.keys())
    if absent:
        result.notes.append(f"{sequence}: no image of chunk {', '.join(absent)} is here: left out")
    stamps = [stamp for stamp in sorted(chunks) if found[chunks[stamp]]]
    for stamp in stamps:
        if f"{stamp}.png" not in there:
            result.findings.append(Finding(shown, lines[stamp], f"no such image: {folder}/{stamp}.png"))
    stamps = [stamp for stamp in stamps if f"{stamp}.png" in there]
    return stamps, [f"{folder}/{stamp}.png" for stamp in stamps]


def _ins(root: Path, sequence: str, result: ReadResult) -> Track:
    """The poses of the good INS rows: the car's axes in the world (northing, easting, down)."""
    shown = f"{sequence}/gps/ins.csv"
    stamps, values, bad = [], [], 0
    for line, row in read_csv(root / shown, shown, ("timestamp", "ins_status", *INS), result.findings):
        if row["ins_status"] != GOOD:
            bad += 1
        elif (pose := _row([row["timestamp"]], [row[key] for key in INS], shown, line, result.findings)) is not None:
            stamps.append(pose[0][0])
            values.append(pose[1])
    if bad:
        result.notes.append(f"{sequence}: {bad} INS rows without {GOOD} left out")
    if not stamps:
        result.findings.append(Finding(shown, 0, f"no row with status {GOOD}"))
    pose_M6 = np.array(values, dtype=np.float64).reshape(-1, 6)
    return track(np.array(stamps, dtype=np.int64), pose_M6[:, :3], _from_euler(pose_M6[:, 3:]))


def _vo(root: Path, sequence: str, ins: Track, result: ReadResult) -> list[Track]:
    """The chains of visual odometry, each from the INS pose at its start.

    A row's motion is the pose of the car at the later of its two times, in the car's axes at the earlier.
    """
    shown = f"{sequence}/vo/vo.csv"
    required = ("source_timestamp", "destination_timestamp", *VO)
    steps = []
    for line, row in read_csv(root / shown, shown, required, result.findings):
        times = [row["source_timestamp"], row["destination_timestamp"]]
        step = _row(times, [row[key] for key in VO], shown, line, result.findings)
        if step is not None and step[0][0] != step[0][1]:
            steps.append((min(step[0]), max(step[0]), step[1]))
    steps.sort(key=lambda step: step[0])
    quaternion_M4 = _from_euler(np.array([motion[3:] for *_, motion in steps]).reshape(-1, 3))
    chains: list[tuple[list[int], list[np.ndarray], list[np.ndarray]]] = []
    for (earlier, later, motion), turn_4 in zip(steps, quaternion_M4, strict=True):
        if not chains or chains[-1][0][-1] != earlier:
            start_13, start_14, seconds_1 = interpolated(ins, np.array([earlier]))
            if not np.isfinite(seconds_1[0]):
                continue
            chains.append(([earlier], [start_13[0]], [start_14[0]]))
        stamps, positions, rotations = chains[-1]
        stamps.append(later)
        positions.append(positions[-1] + _rotated(rotations[-1], np.array(motion[:3])))
        rotations.append(_product(rotations[-1], turn_4))
    result.notes.append(f"{sequence}: poses of {len(chains)} chains of visual odometry, which drift")
    return [track(np.array(stamps), np.array(t), np.array(q)) for stamps, t, q in chains]


def _poses(request: ReadRequest, stamp_N: np.ndarray, tracks: list[Track]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(positions, camera-to-world quaternions, seconds between the measured poses around each) at the images' times."""
    position_N3, quaternion_N4 = np.full((len(stamp_N), 3), np.nan), np.full((len(stamp_N), 4), np.nan)
    seconds_N = np.full(len(stamp_N), np.inf)
    for known in tracks:
        found = interpolated(known, stamp_N)
        here = np.isfinite(found[2])
        position_N3[here], quaternion_N4[here], seconds_N[here] = (values[here] for values in found)
    if choice(request, "legacy-shift", ("false", "true")) == "true":
        before = np.maximum(np.arange(len(stamp_N)) - 1, 0)
        position_N3, quaternion_N4, seconds_N = position_N3[before], quaternion_N4[before], seconds_N[before]
    if choice(request, "axes", ("camera", "body")) == "camera":
        quaternion_N4 = _product(quaternion_N4, np.broadcast_to(CAMERA_IN_BODY, quaternion_N4.shape))
    return position_N3, quaternion_N4, seconds_N


def _row(
    times: list[str], values: list[str], shown: str, line: int, findings: list[Finding]
) -> tuple[list[int], list[float]] | None:
    wrong = next((time for time in times if not re.fullmatch(r"\d{1,18}", time, re.ASCII)), None)
    if wrong is not None:
        findings.append(Finding(shown, line, f"not a time in microseconds: {wrong[:60]!a}"))
        return None
    found = numbers(values, shown, line, findings)
    return None if found is None else ([int(time) for time in times], found)


def _from_euler(rpy_M3: np.ndarray) -> np.ndarray:
    """Quaternions (M, 4) of Rz(yaw) Ry(pitch) Rx(roll); angles (roll, pitch, yaw) in radians."""
    parts = []
    for axis in range(3):
        q_M4 = np.zeros((len(rpy_M3), 4))
        q_M4[:, 0], q_M4[:, 1 + axis] = np.cos(rpy_M3[:, axis] / 2), np.sin(rpy_M3[:, axis] / 2)
        parts.append(q_M4)
    return _product(parts[2], _product(parts[1], parts[0]))


def _product(a_N4: np.ndarray, b_N4: np.ndarray) -> np.ndarray:
    """Quaternion products a b in float64."""
    return compose(torch.from_numpy(np.array(a_N4)), torch.from_numpy(np.array(b_N4))).numpy()


def _rotated(q_4: np.ndarray, x_3: np.ndarray) -> np.ndarray:
    pure_4, inverse_4 = np.concatenate([[0.0], x_3]), q_4 * (1, -1, -1, -1)
    return _product(_product(q_4, pure_4), inverse_4)[1:]
