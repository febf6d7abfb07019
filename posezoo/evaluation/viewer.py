"""Poses and errors as a rerun recording: a place to walk through, picture by picture, in rerun's viewer.

    world                     the world's axes
    world/training            the path of the training images
    world/true, .../path      the true camera of each test image, and their path
    world/predicted, ...      the model's answer, with the picture in it
    world/error               the line from the true to the predicted position
    error/position, ...       the errors (metres, degrees) over the images

The timeline `image` counts images, `time` is that of the pictures where it is known. `rerun FILE` opens it.

Legend: N images.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from posezoo.base.errors import DataError, UsageError
from posezoo.base.files import pictures
from posezoo.base.files.write import replacement, writing
from posezoo.base.poses import Poses
from posezoo.data.splits import runs
from posezoo.data.table import Frames
from posezoo.evaluation.report import Report

if TYPE_CHECKING:
    import rerun

SUFFIX = ".rrd"
NAME = f"recording{SUFFIX}"
SHORT_EDGE = 192
"""Of the pictures in the recording, pixels."""
QUALITY = 70
TRAINING, TRUE, PREDICTED, WRONG = (170, 170, 170), (40, 40, 40), (0, 114, 178), (213, 94, 0)


def record_report(report: Report, path: Path) -> Path:
    """The path, with the recording of a report. Raises UsageError without rerun, ResourceError."""
    frames, poses = report.frames, report.methods[report.model]
    position_N, orientation_N = report.errors[report.model]
    with _recording(path) as stream:
        import rerun

        for name, of, colour in (("training", report.train, TRAINING), ("true/path", frames, TRUE)):
            if of is not None:
                lines = [of.position[index] for index in runs(of)]
                stream.log(f"world/{name}", rerun.LineStrips3D(lines, colors=[colour]), static=True)
        for n in range(len(frames)):
            _at(stream, n, int(frames.timestamp[n]))
            camera = None if np.isnan(frames.intrinsics[n]).any() else frames.intrinsics[n]
            picture = _picture(frames.path(n), frames, camera)
            _log_camera(stream, "world/true", frames.position[n], frames.quaternion[n], TRUE, None, picture[1])
            _log_camera(stream, "world/predicted", poses.position[n], poses.quaternion[n], PREDICTED, *picture)
            if np.isfinite(poses.position[n]).all():
                line = np.stack([frames.position[n], poses.position[n]])
                stream.log("world/error", rerun.LineStrips3D([line], colors=[WRONG]))
            for word, value in (("position", position_N[n]), ("orientation", orientation_N[n])):
                if np.isfinite(value):
                    stream.log(f"error/{word}", rerun.Scalars(float(value)))
    return path


def recorded(batches: Iterable[Poses], path: Path) -> Iterator[Poses]:
    """The same poses, each recorded as it comes; pictures are shown where the name is that of a file.

    What has come is kept when it is stopped: no camera ends by itself. Raises UsageError for a file of another kind.
    """
    if path.suffix != SUFFIX:
        raise UsageError(f"{path} is no name of a recording", f"one that ends in {SUFFIX}, for example walk{SUFFIX}")
    return _recorded(batches, path)


def _recorded(batches: Iterable[Poses], path: Path) -> Iterator[Poses]:
    count = 0
    with _recording(path) as stream:
        for poses in batches:
            for n, image in enumerate(poses.images):
                time = poses.timestamps[n] if poses.timestamps else -1
                _at(stream, count, time)
                picture = _picture(Path(image), None, None) if Path(image).is_file() else (None, None)
                _log_camera(stream, "world/predicted", poses.position[n], poses.quaternion[n], PREDICTED, *picture)
                count += 1
            yield poses


@contextlib.contextmanager
def _recording(path: Path) -> Iterator[rerun.RecordingStream]:
    """A recording that is written whole. Raises UsageError without rerun."""
    if find_spec("rerun") is None:
        raise UsageError("--viewer needs the package rerun-sdk", "pip install 'posezoo[viewer]'")
    import rerun

    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    stopped: BaseException | None = None
    with writing(path), replacement(path) as temporary:
        stream = rerun.RecordingStream("posezoo")
        stream.save(temporary)
        try:
            stream.log("world", rerun.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
            yield stream
        except (KeyboardInterrupt, GeneratorExit, DataError) as error:  # what has come so far is worth keeping
            stopped = error
        finally:
            stream.flush()
            stream.disconnect()
    if stopped is not None:
        raise stopped


def _at(stream: rerun.RecordingStream, n: int, microseconds: int) -> None:
    stream.set_time("image", sequence=n)
    if microseconds >= 0:
        stream.set_time("time", duration=microseconds / 1e6)


def _picture(path: Path, frames: Frames | None, camera: Any) -> tuple[Any, Any]:
    """(the picture, small, its camera in pixels); what cannot be read is left out."""
    import rerun

    try:
        image_HWC = pictures.read_image(path, SHORT_EDGE, frames.decode if frames is not None else None)
        stored = pictures.image_size(path, frames.decode if frames is not None else None)
    except DataError:
        return None, None
    height, width = image_HWC.shape[:2]
    focal, centre = (0.8 * width,) * 2, (width / 2, height / 2)  # of a camera that is not known: about 64 degrees
    if camera is not None:
        scale = width / stored[0], height / stored[1]
        focal = (camera[0] * scale[0], camera[1] * scale[1])
        centre = (camera[2] * scale[0], camera[3] * scale[1])
    pinhole = rerun.Pinhole(focal_length=focal, principal_point=centre, width=width, height=height)
    return rerun.Image(image_HWC).compress(jpeg_quality=QUALITY), pinhole


def _log_camera(
    stream: rerun.RecordingStream,
    name: str,
    position_3: Any,
    quaternion_4: Any,
    colour: Any,
    picture: Any,
    pinhole: Any,
) -> None:
    """A camera where it stands (camera-to-world, (w, x, y, z)), with its picture; a failed pose is left out."""
    import rerun

    if not (np.isfinite(position_3).all() and np.isfinite(quaternion_4).all()):
        return
    w, x, y, z = (float(value) for value in quaternion_4)
    stream.log(name, rerun.Transform3D(translation=position_3, quaternion=rerun.Quaternion(xyzw=[x, y, z, w])))
    stream.log(f"{name}/place", rerun.Points3D([[0.0, 0.0, 0.0]], colors=[colour]))
    if pinhole is not None:
        stream.log(f"{name}/camera", pinhole)
    if picture is not None:
        stream.log(f"{name}/camera/picture", picture)
