"""Own data: a folder with poses.csv, and the label CSV files that multi-scene papers share.

`folder:PATH`  PATH/poses.csv: image, x, y, z, qw, qx, qy, qz and, where known, scene, split, sequence, timestamp (us),
               condition, fx, fy, cx, cy, lens (its distortion: a kind of COLMAP's, then its numbers after the centre),
               depth (a 16-bit picture), depth_scale (its numbers to a metre; 1000).
               Camera-to-world, metres, (w, x, y, z). Without it: see trajectories.py.
`csv:PATH`     scene, split, seq, img_path, t1, t2, t3, q1, q2, q3, q4; t = camera centre, q = (w, x, y, z) in a
               convention that the file does not state: `?convention=camera-to-world` (as in 7Scenes files) or
               `?convention=world-to-camera` (as in Cambridge files: only q is, t is still the camera centre).
"""

from __future__ import annotations

import operator
import os
import re

from posezoo.plugin import DepthMap, Finding, Frame, Lens, ReadRequest, ReadResult, UsageError
from posezoo.plugin.reading import numbers, read_csv
from posezoo_benchmarks import trajectories
from posezoo_benchmarks.options import only

POSE = ("x", "y", "z", "qw", "qx", "qy", "qz")
INTRINSICS = ("fx", "fy", "cx", "cy")
LABEL_POSE = ("t1", "t2", "t3", "q1", "q2", "q3", "q4")
_pose, _label_pose = operator.itemgetter(*POSE), operator.itemgetter(*LABEL_POSE)
_TIMESTAMP = re.compile(r"-1|\d{1,18}", re.ASCII)
CONVENTIONS = ("camera-to-world", "world-to-camera")


def read_folder(request: ReadRequest) -> ReadResult:
    """The frames that poses.csv lists, in its order; without it those of a TUM or KITTI file."""
    only(request, "folder", ("poses", "images", "max-gap"))
    path = request.root / "poses.csv" if request.root.is_dir() else request.root
    scene = request.scene or path.resolve().parent.name or "scene"
    other = trajectories.file(request)
    if other is not None:
        return trajectories.read(request, other, scene)
    if path.exists():
        only(request, "a folder with poses.csv", ())
    result = ReadResult()
    for line, row in read_csv(path, path.name, ("image", *POSE), result.findings):
        frame = _own_frame(row, path.name, line, scene, result.findings)
        if frame is not None and _wanted(frame, request):
            result.frames.append(frame)
    return result


def _own_frame(row: dict[str, str], name: str, line: int, scene: str, findings: list[Finding]) -> Frame | None:
    pose = numbers(_pose(row), name, line, findings)
    if pose is None:
        return None
    timestamp = row.get("timestamp") or "-1"
    if not _TIMESTAMP.fullmatch(timestamp):
        findings.append(Finding(name, line, f"timestamp is not a number of microseconds: {timestamp[:60]!a}"))
        return None
    intrinsics = None
    if any(row.get(column) for column in INTRINSICS):
        intrinsics = numbers([row.get(column, "") for column in INTRINSICS], name, line, findings)
        if intrinsics is None:
            return None
    lens = None
    if row.get("lens"):
        kind, *words = row["lens"].split()
        given = numbers(words, name, line, findings)
        if given is None:
            return None
        lens = Lens(kind, tuple(given))
    depth = None
    if row.get("depth"):
        scale = numbers([row.get("depth_scale") or "1000"], name, line, findings)
        if scale is None:
            return None
        depth = DepthMap(os.path.normpath(row["depth"]), scale[0])
    return Frame(
        image=os.path.normpath(row["image"]) if row["image"] else "",
        position=(pose[0], pose[1], pose[2]),
        quaternion=(pose[3], pose[4], pose[5], pose[6]),
        scene=row.get("scene") or scene,
        split=row.get("split", ""),
        sequence=row.get("sequence", ""),
        timestamp=int(timestamp),
        condition=row.get("condition", ""),
        intrinsics=(intrinsics[0], intrinsics[1], intrinsics[2], intrinsics[3]) if intrinsics else None,
        source=(name, line),
        lens=lens,
        depth=depth,
    )


def read_labels(request: ReadRequest) -> ReadResult:
    """The frames of a label CSV, in its order. Raises UsageError unless the convention of its quaternions is given."""
    only(request, "csv", ("convention",))
    convention = request.options.get("convention")
    if convention not in CONVENTIONS:
        problem = f"unknown convention {convention[:60]!a}" if convention else "the convention is not given"
        choices = " or ".join(f"?convention={word}" for word in CONVENTIONS)
        raise UsageError(f"csv:{request.root.name}: {problem}", f"add {choices}")
    sign = 1 if convention == "camera-to-world" else -1  # the conjugate is the inverse rotation
    result = ReadResult()
    name = request.root.name
    for line, row in read_csv(request.root, name, ("scene", "split", "img_path", *LABEL_POSE), result.findings):
        pose = numbers(_label_pose(row), name, line, result.findings)
        if pose is None:
            continue
        x, y, z, w, a, b, c = pose
        image = os.path.normpath(row["img_path"]) if row["img_path"] else ""
        quaternion = (w, sign * a, sign * b, sign * c)
        scene = row["scene"] or "scene"
        sequence = row.get("seq", "")
        frame = Frame(image, (x, y, z), quaternion, scene, row["split"], sequence, source=(name, line))
        if _wanted(frame, request):
            result.frames.append(frame)
    return result


def _wanted(frame: Frame, request: ReadRequest) -> bool:
    if request.scenes and frame.scene not in request.scenes:
        return False
    return request.images is None or frame.image in request.images
