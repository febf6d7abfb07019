"""Cambridge Landmarks (Kendall et al., ICCV 2015), and its extension ECL with other seasons and hours.

    <root>/<Scene>/dataset_train.txt, dataset_test.txt  three lines of header, then `seq1/frame00001.png X Y Z W P Q R`
    <root>/<Scene>/reconstruction.nvm                   VisualSFM's model: focal lengths
    <ecl>/<flavour>/<Scene>/<seq>/frame00001_<flavour>.png
    <ecl>/...<Scene>_test_<flavour>.csv                  label files, anywhere below

What is special:
- XYZ is the camera centre, WPQR turns the world into the camera: the pose's rotation is its conjugate;
- the published quaternions are not unit (up to 2.01 long in Street): they are normalised and counted;
- positions over 10 km away are failures of the reconstruction: dropped and counted;
- ECL's pictures are the test pictures redrawn by a generative model, with the original poses: synthetic appearance.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from posezoo.plugin import DataError, Finding, Frame, ReadRequest, ReadResult, UsageError
from posezoo.plugin.reading import image_size, natural, numbers, read_csv, read_lines
from posezoo_benchmarks.options import only

SPLITS = {"dataset_train.txt": "train", "dataset_test.txt": "test"}
HEADER_LINES = 3
FARTHEST_METRES = 10_000.0
WIDTH = 1920  # of the images that the focal lengths are for
FLAVOURS = ("original", "winter", "summer", "evening")
_LABEL_POSE = ("t1", "t2", "t3", "q1", "q2", "q3", "q4")


def read(request: ReadRequest) -> ReadResult:
    """The frames of the requested scenes (none: all that are there), each split in order of the names."""
    only(request, "cambridge", ())
    result = ReadResult(ground_truth="sfm")
    scenes = request.scenes or _scenes(request.root, result.findings)
    for scene in scenes:
        folder = Path() if scene == "." else Path(scene)
        _read_scene(request, folder, SPLITS, "", result)
    return result


def read_ecl(request: ReadRequest) -> ReadResult:
    """Cambridge's training frames and the test frames of the `flavours`, by condition. The root holds both data sets.

    `cambridge/` is needed for training and for `original`; without it there are only the others' test frames.
    """
    only(request, "ecl", ("flavours",))
    flavours = tuple(request.options.get("flavours", ",".join(FLAVOURS)).split(","))
    unknown = next((flavour for flavour in flavours if flavour not in FLAVOURS), None)
    if unknown is not None:
        raise UsageError(f"ecl has no flavour {unknown[:60]!a}", f"flavours={','.join(FLAVOURS)}")
    result = ReadResult(
        ground_truth="sfm", notes=["synthetic appearance: ECL's test pictures are redrawn by a generative model"]
    )
    original = Path("cambridge")
    roles = {name: split for name, split in SPLITS.items() if split == "train" or "original" in flavours}
    scenes = request.scenes or _ecl_scenes(request.root, flavours)
    if (request.root / original).is_dir():
        for scene in scenes:
            _read_scene(request, original / scene, roles, "original", result)
    elif "original" in flavours:
        result.findings.append(
            Finding("cambridge", 0, "no such folder: the original pictures are Cambridge Landmarks'")
        )
    else:
        result.notes.append("no folder cambridge beside ecl: no training frames")
    for flavour in flavours:
        for scene in scenes if flavour != "original" else ():
            _read_flavour(request, scene, flavour, result)
    return result


def _ecl_scenes(root: Path, flavours: Sequence[str]) -> list[str]:
    """The scenes of the first flavour that is here, else of Cambridge Landmarks, which has more."""
    redrawn = [root / "ecl" / flavour for flavour in flavours if flavour != "original"]
    for folder in (*redrawn, root / "cambridge"):
        if folder.is_dir() and (scenes := sorted(path.name for path in folder.iterdir() if path.is_dir())):
            return scenes
    return []


def _scenes(root: Path, findings: list[Finding]) -> list[str]:
    if any((root / name).exists() for name in SPLITS):
        return ["."]
    scenes = sorted(path.name for path in root.iterdir() if any((path / name).exists() for name in SPLITS))
    if not scenes:
        findings.append(
            Finding(str(root), 0, "no scene here: a scene folder holds dataset_train.txt, dataset_test.txt")
        )
    return scenes


def _read_scene(request: ReadRequest, folder: Path, files: dict[str, str], condition: str, result: ReadResult) -> None:
    if not (request.root / folder).is_dir():
        result.findings.append(Finding(str(folder), 0, "no such scene folder"))
        return
    camera = _Camera(request.root / folder)
    scene, far, lengths = folder.name or request.root.resolve().name, 0, []
    for name, split in files.items():
        rows = sorted(_rows(request.root, folder / name, result.findings), key=lambda row: natural(row[0]))
        for image, pose, line in rows:
            path, sequence = str(folder / image), str(Path(image).parent)
            if not request.wants_sequence(sequence) or (request.images is not None and path not in request.images):
                continue
            if max(map(abs, pose[:3])) > FARTHEST_METRES:
                far += 1
                place = (scene, split, sequence)
                result.left_out[place] = result.left_out.get(place, 0) + 1
                continue
            quaternion, length = _camera_to_world(pose[3:])
            lengths.append(length)
            position = (pose[0], pose[1], pose[2])
            intrinsics = camera.intrinsics(image, request.root / path)
            where = (str(folder / name), line)
            result.frames.append(
                Frame(path, position, quaternion, scene, split, sequence, -1, condition, intrinsics, where)
            )
    _add_notes(result, scene, far, lengths, camera)


def _add_notes(result: ReadResult, scene: str, far: int, lengths: list[float], camera: _Camera) -> None:
    error_N = np.abs(np.array(lengths) - 1)
    count = int(np.sum(error_N > 1e-3))
    if count:
        result.notes.append(
            f"{scene}: {count} of {len(lengths)} quaternions normalised (|q| off by up to {error_N.max():.2g})"
        )
    if far:
        result.notes.append(f"{scene}: {far} frames over {FARTHEST_METRES / 1000:g} km away left out")
    if lengths and not camera.focals:
        result.notes.append(f"{scene}: no focal lengths (reconstruction.nvm): intrinsics unknown")


def _rows(root: Path, path: Path, findings: list[Finding]) -> Iterator[tuple[str, list[float], int]]:
    """(image relative to the scene, its seven numbers, line) of each row of a label file."""
    for line, raw in read_lines(root / path, str(path), findings):
        tokens = raw.rsplit(maxsplit=7)
        if line <= HEADER_LINES or not tokens:
            continue
        if len(tokens) != 8:
            findings.append(Finding(str(path), line, f"expected 8 columns, got {len(tokens)}: {raw[:60]!a}"))
            continue
        pose = numbers(tokens[1:], str(path), line, findings)
        if pose is not None and not any(pose[3:]):
            findings.append(Finding(str(path), line, f"zero quaternion: {raw[:60]!a}"))
        elif pose is not None:
            yield tokens[0], pose, line


def _read_flavour(request: ReadRequest, scene: str, flavour: str, result: ReadResult) -> None:
    """The test frames of one scene redrawn, by their label file."""
    base = request.root / "ecl"
    found = (
        sorted(path for path in base.rglob(f"*_{scene}_test_{flavour}.csv") if path.is_file()) if base.is_dir() else []
    )
    if len(found) != 1:
        what = "no label file" if not found else f"{len(found)} label files"
        result.findings.append(Finding("ecl", 0, f"{what} like ..._{scene}_test_{flavour}.csv below it"))
        return
    shown = str(found[0].relative_to(request.root))
    camera = _Camera(request.root / "cambridge" / scene)
    for line, row in read_csv(found[0], shown, ("seq", "img_path", *_LABEL_POSE), result.findings):
        pose = numbers([row[key] for key in _LABEL_POSE], shown, line, result.findings)
        if pose is None:
            continue
        if not any(pose[3:]):
            result.findings.append(Finding(shown, line, "zero quaternion"))
            continue
        name = Path(row["img_path"]).name
        sequence = row["seq"] or Path(row["img_path"]).parent.name
        image = str(Path("ecl", flavour, scene, sequence, name))
        if not request.wants_sequence(sequence) or (request.images is not None and image not in request.images):
            continue
        quaternion, _ = _camera_to_world(pose[3:])
        original = f"{sequence}/{Path(name).stem.removesuffix(f'_{flavour}')}.png"
        intrinsics = camera.intrinsics(original, request.root / image)
        position = (pose[0], pose[1], pose[2])
        result.frames.append(
            Frame(image, position, quaternion, scene, "test", sequence, -1, flavour, intrinsics, (shown, line))
        )


def _camera_to_world(wpqr: list[float]) -> tuple[tuple[float, float, float, float], float]:
    """(the conjugate, normalised; the original length)."""
    w, x, y, z = wpqr
    length = float(np.linalg.norm(wpqr))
    return (w / length, -x / length, -y / length, -z / length), length


class _Camera:
    """The focal lengths of one scene's images and the sizes of its sequences' images."""

    def __init__(self, folder: Path) -> None:
        self.focals = dict(_focals(folder / "reconstruction.nvm"))
        self._sizes: dict[Path, tuple[int, int] | None] = {}

    def intrinsics(self, image: str, path: Path) -> tuple[float, float, float, float] | None:
        """(fx, fy, cx, cy) for the stored size of the image at `path`; the model has the centre in the middle."""
        focal = self.focals.get(Path(image).with_suffix("").as_posix())
        if focal is None:
            return None
        if path.parent not in self._sizes:  # one header a sequence: all its frames have one size
            try:
                self._sizes[path.parent] = image_size(path) if path.is_file() else None
            except DataError:  # the image cache will report it
                self._sizes[path.parent] = None
        size = self._sizes[path.parent]
        if size is None:
            return None
        scaled = focal * size[0] / WIDTH
        return scaled, scaled, size[0] / 2, size[1] / 2


def _focals(path: Path) -> Iterator[tuple[str, float]]:
    """(image without its suffix, focal length in pixels) of each camera of a VisualSFM model; damage ends the list.

    The first model's cameras: `NAME focal qw qx qy qz cx cy cz radial 0` after a line with their number. Names end with
    .jpg where the images are .png.
    """
    if not path.is_file():
        return
    with path.open(encoding="utf-8", errors="surrogateescape") as file:
        left = -1
        for raw in file:
            tokens = raw.split()
            if left < 0:
                left = int(tokens[0]) if len(tokens) == 1 and re.fullmatch(r"\d{1,7}", tokens[0], re.ASCII) else -1
                continue
            if left == 0 or len(tokens) != 11:
                return
            focal = numbers(tokens[1:2], path.name, 0, [])
            if focal is not None and focal[0] > 0:
                yield Path(tokens[0]).with_suffix("").as_posix(), focal[0]
            left -= 1
