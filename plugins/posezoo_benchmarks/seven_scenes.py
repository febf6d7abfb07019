"""7Scenes (Shotton et al., "Scene Coordinate Regression Forests for Camera Relocalization in RGB-D Images", CVPR 2013).

    <root>/<scene>/{TrainSplit,TestSplit}.txt      lines `sequence1`, which is the folder seq-01
    <root>/<scene>/seq-01/frame-000000.color.png   640x480 (JPEG copies are read where no PNG is)
    <root>/<scene>/seq-01/frame-000000.pose.txt    4x4, row-major, camera-to-world, metres
    <root>/<scene>/seq-01/frame-000000.depth.png   640x480, millimetres, 0 and 65535 unknown; where it is there

What is special:
- the published pose files differ in style: tabs, CRLF, exponents with three digits (`e-001`);
- a pose that is not finite marks a frame on which the tracking was lost;
- three sets of poses are in use, depth-camera tracking (`original`) and two later ones; errors against different ones
  must not be compared. The files do not say which they are: `ground-truth=sfm` does, and every report then states it;
- two cameras: the poses and the often quoted f = 585 are the depth sensor's. The colour images, which are read
  here, have f = 525, c = (320, 240) at 640x480, the same in all scenes, as the authors of DSAC*, ACE and the pseudo
  ground truth have it (docs/decisions/0019-7scenes-colour-camera.md); scaled for other sizes.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from posezoo.plugin import DataError, DepthMap, Finding, Frame, ReadRequest, ReadResult
from posezoo.plugin.reading import image_size, natural, numbers, read_lines
from posezoo_benchmarks.matrices import problems, quaternions
from posezoo_benchmarks.options import choice, only

SPLITS = {"TrainSplit.txt": "train", "TestSplit.txt": "test"}
GROUND_TRUTH = ("original", "calibrated", "sfm")
FRAMES_PER_SECOND = 30
FOCAL, CENTRE, SIZE = 525.0, (320.0, 240.0), (640, 480)  # of the colour camera
DEPTH_FOCAL = 585.0
# the depth sensor in the colour camera: https://projet.liris.cnrs.fr/voir/activities-dataset/kinect-calibration.html
DEPTH_POSE = (-0.025559, 0.000101, 0.002032, 0.999983, 0.004081, -0.003947, -0.001354)
_SEQUENCE = re.compile(r"(?:sequence|seq-?)\s*(\d{1,4})", re.ASCII | re.IGNORECASE)
_IMAGE = re.compile(r"(frame-(\d{1,9}))\.color\.(?:png|jpg|jpeg)", re.ASCII | re.IGNORECASE)
_POSE = re.compile(r"(frame-\d{1,9})\.pose\.txt", re.ASCII | re.IGNORECASE)
_MAX_POSE_FILE = 1 << 16  # bytes; a pose is 300


def read(request: ReadRequest) -> ReadResult:
    """The frames of the requested scenes (none: all that are there), in the order of sequence and number."""
    only(request, "7scenes", ("ground-truth",))
    result = ReadResult(ground_truth=choice(request, "ground-truth", GROUND_TRUTH))
    rows = _listed(request, result) if request.images is not None else _all(request, result)
    frames, found = [], []
    for image, split in rows:
        text = _pose_text(request.root, image, result.findings)
        values = None if text is None else _values(text, _pose_name(image), result.findings)
        if values is not None:
            frames.append((image, split))
            found.append(values)
    matrix_N44 = np.array(found, dtype=np.float64).reshape(-1, 4, 4)
    wrong = problems(matrix_N44)
    matrix_N44[[bool(problem) for problem in wrong]] = np.eye(4)
    quaternion_N4 = quaternions(matrix_N44[:, :3, :3])
    cameras: dict[str, tuple[float, float, float, float] | None] = {}
    for (image, split), position, q_4, problem in zip(
        frames, matrix_N44[:, :3, 3].tolist(), quaternion_N4.tolist(), wrong, strict=True
    ):
        if problem:
            result.findings.append(Finding(_pose_name(image), 0, problem))
        else:
            result.frames.append(_frame(request.root, image, split, position, q_4, cameras))
    return result


def _all(request: ReadRequest, result: ReadResult) -> Iterator[tuple[str, str]]:
    """(image relative to the root, split) of every frame of the sequences that the split files name."""
    for scene in request.scenes or _scenes(request.root, result.findings):
        folder = Path() if scene == "." else Path(scene)
        if not (request.root / folder).is_dir():
            result.findings.append(Finding(scene, 0, "no such scene folder"))
            continue
        for sequence, split in _sequences(request, folder, result.findings):
            yield from ((image, split) for image in _images(request.root, sequence, result))


def _listed(request: ReadRequest, result: ReadResult) -> Iterator[tuple[str, str]]:
    """The requested images, without a split: the split file has it."""
    for name in sorted(request.images or (), key=natural):
        image = Path(name)
        scene = image.parts[-3] if len(image.parts) > 2 else request.root.resolve().name
        if request.scenes and scene not in request.scenes:
            result.findings.append(Finding(name, 0, f"not an image of {', '.join(request.scenes)}"))
        elif not _IMAGE.fullmatch(image.name):
            result.findings.append(Finding(name, 0, "not a 7Scenes image: frame-NUMBER.color.png expected"))
        else:
            yield str(image), ""


def _scenes(root: Path, findings: list[Finding]) -> list[str]:
    """The scene folders below the root, or "." if the root is itself one."""
    if any((root / name).exists() for name in SPLITS):
        return ["."]
    scenes = sorted(path.name for path in root.iterdir() if any((path / name).exists() for name in SPLITS))
    if not scenes:
        findings.append(Finding(str(root), 0, "no scene here: a scene folder holds TrainSplit.txt and TestSplit.txt"))
    return scenes


def _sequences(request: ReadRequest, scene: Path, findings: list[Finding]) -> list[tuple[Path, str]]:
    """(folder relative to the root, split) of each requested sequence that the scene's split files name."""
    root = request.root
    found: dict[Path, tuple[str, str]] = {}
    for name, split in SPLITS.items():
        shown = str(scene / name)
        for line, raw in read_lines(root / scene / name, shown, findings):
            text = raw.partition("#")[0].strip()
            match = _SEQUENCE.fullmatch(text)
            if not text:
                continue
            if not match:
                findings.append(Finding(shown, line, f"not a sequence: {text[:60]!a}"))
                continue
            folder = scene / f"seq-{int(match[1]):02d}"
            if not request.wants_sequence(folder.name):
                continue
            if folder in found:
                findings.append(Finding(shown, line, f"{text} is already listed in {found[folder][1]}"))
            elif not (root / folder).is_dir():
                findings.append(Finding(shown, line, f"{text}: no folder {folder}"))
            else:
                found[folder] = (split, f"{shown}:{line}")
    return [(folder, split) for folder, (split, _) in sorted(found.items())]


def _images(root: Path, sequence: Path, result: ReadResult) -> list[str]:
    """The images of one sequence by number, no JPEG copies of PNGs. An image or a pose alone is a finding."""
    findings, copies = result.findings, 0
    images: dict[str, str] = {}
    poses: dict[str, str] = {}
    names = os.listdir(root / sequence)  # noqa: PTH208 (1e5 Paths cost a second)
    for name in sorted(names, key=lambda name: (not name.lower().endswith(".png"), name)):
        if match := _IMAGE.fullmatch(name):
            copies += match[1] in images
            images.setdefault(match[1], f"{sequence}/{name}")
        elif match := _POSE.fullmatch(name):
            poses[match[1]] = f"{sequence}/{name}"
    if copies:
        result.notes.append(f"{sequence}: {copies} copies of images in another format are passed over")
    findings += [Finding(poses[frame], 0, "no image beside this pose") for frame in sorted(poses.keys() - images)]
    findings += [Finding(images[frame], 0, "no pose beside this image") for frame in sorted(images.keys() - poses)]
    if not images and not poses:
        findings.append(Finding(str(sequence), 0, "no frames in this folder"))
    return [images[frame] for frame in sorted(images.keys() & poses, key=natural)]


def _pose_name(image: str) -> str:
    folder, slash, name = image.rpartition("/")
    return f"{folder}{slash}{name.partition('.')[0]}.pose.txt"


def _pose_text(root: Path, image: str, findings: list[Finding]) -> str | None:
    """The text of the pose file beside the image; None, with a finding, if it has none."""
    name = _pose_name(image)
    path = f"{root}{os.sep}{name}"
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116
            findings.append(Finding(name, 0, "not a regular file"))
            return None
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123
            data = file.read(_MAX_POSE_FILE + 1)
    except FileNotFoundError:
        findings.append(Finding(name, 0, "no such file"))
        return None
    except OSError as error:
        findings.append(Finding(name, 0, error.strerror or str(error)))
        return None
    if len(data) > _MAX_POSE_FILE:
        findings.append(Finding(name, 0, "too large for a pose"))
        return None
    return data.decode("utf-8-sig", "surrogateescape")


def _values(text: str, shown: str, findings: list[Finding]) -> list[float] | None:
    """The 16 numbers of a pose file, row by row; None, with one finding, if it has others."""
    rows = [tokens for line in text.splitlines() if (tokens := line.split())]
    if [len(tokens) for tokens in rows] == [4, 4, 4, 4]:
        values = numbers([token for tokens in rows for token in tokens], shown, 0, [])
        if values is not None:
            return values
    for line, raw in enumerate(text.splitlines(), 1):  # what is wrong, and where
        tokens = raw.split()
        if len(tokens) not in (0, 4):
            findings.append(Finding(shown, line, f"expected 4 columns, got {len(tokens)}: {raw[:60]!a}"))
            return None
        if any(re.fullmatch(r"[+-]?(nan|inf)(inity)?", token, re.IGNORECASE) for token in tokens):
            findings.append(Finding(shown, line, f"tracking lost, the pose is not finite: {raw[:60]!a}"))
            return None
        if tokens and numbers(tokens, shown, line, findings) is None:
            return None
    findings.append(Finding(shown, 0, f"expected 4 rows, got {len(rows)}"))
    return None


def _frame(
    root: Path,
    image: str,
    split: str,
    position: list[float],
    quaternion: list[float],
    cameras: dict[str, tuple[float, float, float, float] | None],
) -> Frame:
    folder, _, name = image.rpartition("/")
    images = f"{folder}/*{os.path.splitext(name)[1]}"  # noqa: PTH122 (1e5 frames)
    if images not in cameras:  # one header a sequence and format: all these have one size
        cameras[images] = _camera(root / image)
    match = _IMAGE.fullmatch(name)
    above, _, sequence = folder.rpartition("/")
    return Frame(
        image=image,
        position=(position[0], position[1], position[2]),
        quaternion=(quaternion[0], quaternion[1], quaternion[2], quaternion[3]),
        scene=above.rpartition("/")[2] or root.resolve().name,
        split=split,
        sequence=sequence,
        timestamp=round((int(match[2]) if match else 0) * 1_000_000 / FRAMES_PER_SECOND),
        intrinsics=cameras[images],
        source=(_pose_name(image), 0),
        depth=_depth(root, f"{folder}/{match[1]}.depth.png" if match else ""),
    )


def _depth(root: Path, path: str) -> DepthMap | None:
    """The depth sensor's picture: it stands 2.6 cm beside the colour camera, and is turned by 0.67 degrees."""
    if not os.path.isfile(f"{root}{os.sep}{path}"):  # noqa: PTH113 (1e5 frames: a Path takes longer to make)
        return None
    return DepthMap(path, 1000.0, (DEPTH_FOCAL, DEPTH_FOCAL, *CENTRE), DEPTH_POSE)


def _camera(path: Path) -> tuple[float, float, float, float] | None:
    """(fx, fy, cx, cy) for the stored size of this image; None if it is unreadable, which the image cache reports."""
    try:
        width, height = image_size(path) if path.is_file() else (0, 0)
    except DataError:
        return None
    x, y = width / SIZE[0], height / SIZE[1]
    return (FOCAL * x, FOCAL * y, CENTRE[0] * x, CENTRE[1] * y) if width else None
