"""Structure from motion by pycolmap: features, pairs, matching, incremental mapping. Each step continues where it was.

Everything found is kept in one database: images that have features, and pairs that are matched, are not done again, so
a stopped map continues and another recording may be added later.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from posezoo.base.errors import DataError
from posezoo.base.files.pictures import image_size
from posezoo.base.files.write import write_whole
from posezoo.base.observe import Stages
from posezoo.base.paths import natural

ALL_PAIRS = 60  # images up to which every pair is matched
OVERLAP = 10  # neighbours of a frame that it is matched with, in a recording of more
KEY_FRAMES = 60  # frames over all recordings, evenly spread, that are matched with each other: loops, other days
CHUNK = 8  # images whose features are found between two reports of progress
PAIRS = 50  # pairs matched between two reports of progress; a signal waits for them
LONGEST_SIDE = 1600  # pixels: larger photographs are made smaller for their features
MODEL = "SIMPLE_RADIAL"  # one focal length, one distortion: what an unknown phone can be found by


def features(database: Path, images: Path, groups: Sequence[Sequence[str]], progress: Stages) -> None:
    """Find SIFT features of all images that have none. Images of a group share one camera."""
    import pycolmap

    options = pycolmap.FeatureExtractionOptions(use_gpu=bool(pycolmap.has_cuda), max_image_size=LONGEST_SIDE)
    cameras = {image.name: image.camera_id for image in _stored(database)}
    total, done = sum(map(len, groups)), len(cameras)
    for group in groups:
        camera = next((cameras[name] for name in group if name in cameras), -1)
        missing = [name for name in group if name not in cameras]
        while missing:
            # the first one alone: it makes the camera that the others get
            names, missing = (missing[:CHUNK], missing[CHUNK:]) if camera >= 0 else (missing[:1], missing[1:])
            reader = pycolmap.ImageReaderOptions(camera_model=MODEL)
            if camera >= 0:
                reader.existing_camera_id = camera
            _run(pycolmap.extract_features, database, images, names, pycolmap.CameraMode.SINGLE, reader, options)
            if camera < 0:
                stored = {image.name: image.camera_id for image in _stored(database)}
                camera = stored.get(names[0], -1)
            done += len(names)
            progress("finding features", min(done, total), total)


def camera_groups(images: Path, names: Sequence[str]) -> list[list[str]]:
    """The images by recording and size: pictures of one phone, held one way, share a camera."""
    groups: dict[tuple[str, tuple[int, int]], list[str]] = {}
    for name in names:
        groups.setdefault((name.partition("/")[0], image_size(images / name)), []).append(name)
    return list(groups.values())


def pairs(
    names: Sequence[str], videos: frozenset[str], alike: Sequence[tuple[str, str]] | None = None
) -> list[tuple[str, str]]:
    """Which images are matched: all pairs of few; else neighbours in time, and key frames of all with each other.

    Photographs in a folder follow each other in any order: those that look `alike` are matched besides
    (posezoo.place.likeness), and where that is not known, ten times as many neighbours.
    """
    if len(names) <= ALL_PAIRS:
        return list(itertools.combinations(names, 2))
    found: dict[tuple[str, str], None] = {}
    runs: dict[str, list[str]] = {}
    for name in names:
        runs.setdefault(name.partition("/")[0], []).append(name)
    for recording, run in runs.items():
        overlap = OVERLAP if recording in videos or alike is not None else 10 * OVERLAP
        for n, name in enumerate(run):
            far = [n + 2**power for power in range(overlap.bit_length(), 8)]
            for other in [*range(n + 1, n + 1 + overlap), *far]:
                if other < len(run):
                    found[name, run[other]] = None
    step = max(1, -(-len(names) // KEY_FRAMES))
    found |= dict.fromkeys([*itertools.combinations(names[::step], 2), *(alike or ())])
    return list(found)


def match(database: Path, wanted: Sequence[tuple[str, str]], progress: Stages) -> None:
    """Match the pairs and verify their geometry; those matched before are skipped."""
    import pycolmap

    lists = database.with_suffix(".pairs.txt")
    for start in range(0, len(wanted), PAIRS):
        part = wanted[start : start + PAIRS]
        write_whole(lists, "".join(f"{a} {b}\n" for a, b in part))
        options = pycolmap.FeatureMatchingOptions(use_gpu=bool(pycolmap.has_cuda))
        pairing = pycolmap.ImportedPairingOptions(match_list_path=str(lists))
        _run(pycolmap.match_image_pairs, database, options, pairing)
        progress("matching pairs", start + len(part), len(wanted))
    lists.unlink(missing_ok=True)


def reconstruct(database: Path, images: Path, work: Path, total: int, progress: Stages) -> list[Any]:
    """The components found (pycolmap.Reconstruction), the largest first. Raises DataError if there is none.

    Those of the last time are read again if the database says what it said: only metres or the vertical are new then.
    """
    import pycolmap

    folder = work / "models"
    made_from, digest = folder / "made_from", _digest(database)
    if made_from.is_file() and made_from.read_text() == digest:
        parts = sorted(folder.glob("*/images.bin"), key=lambda path: natural(str(path)))
        return sorted(
            (pycolmap.Reconstruction(str(p.parent)) for p in parts), key=lambda model: -model.num_reg_images()
        )
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    registered = 0

    def one_more() -> None:
        nonlocal registered
        registered += 1
        progress("placing cameras", min(registered + 2, total), total)

    options = pycolmap.IncrementalPipelineOptions(random_seed=0, min_model_size=min(10, max(3, total // 4)))
    found = _run(pycolmap.incremental_mapping, database, images, folder, options=options, next_image_callback=one_more)
    models = sorted(found.values(), key=lambda model: -model.num_reg_images())
    if not models:
        raise DataError(
            f"no two of {total} images show enough of the same to begin with",
            "walk slower, in good light, with the camera to the side you walk along; plain walls show nothing",
        )
    write_whole(made_from, digest)  # the last: a map that was stopped has none
    return models


def names_of(model: Any) -> list[str]:
    """The names of the images that a component places, in natural order."""
    return sorted((model.images[number].name for number in model.reg_image_ids()), key=natural)


def _stored(database: Path) -> list[Any]:
    """The images of the database that have features."""
    import pycolmap

    if not database.is_file():
        return []
    with _opened(pycolmap, database) as found:
        return [image for image in found.read_all_images() if found.exists_keypoints(image.image_id)]


def _digest(database: Path) -> str:
    """sha256 of what cameras are placed by: images, their points, the matches of each pair.

    Not of the file, whose bytes may change when it is opened.
    """
    import pycolmap

    with _opened(pycolmap, database) as found:
        images = [(one.name, one.camera_id, found.num_keypoints_for_image(one.image_id)) for one in _stored(database)]
        pairs = found.read_two_view_geometry_num_inliers()
    return hashlib.sha256(repr((images, pairs)).encode()).hexdigest()


@contextlib.contextmanager
def _opened(pycolmap: Any, path: Path) -> Iterator[Any]:
    """The database, open, and closed again."""
    found = pycolmap.Database.open(str(path))
    try:
        yield found
    finally:
        found.close()


def _run(function: Callable[..., Any], *given: Any, **named: Any) -> Any:
    """The function's result, computed in a thread, so that a signal is heard and stops it; it keeps what it has."""
    import pycolmap

    token = pycolmap.CancellationToken()
    words = [str(word) if isinstance(word, Path) else word for word in given]

    def computed() -> Any:
        with _quiet(pycolmap):  # in the thread: a signal while it starts leaves it to itself
            return function(*words, **named, cancellation_token=token)

    # a pool: an interrupted Thread.join takes a thread that still computes for ended, and exit would crash in it
    with ThreadPoolExecutor(1, "posezoo-map") as pool:
        try:
            future = pool.submit(computed)
            while not future.done():
                wait([future], 0.1)
        except BaseException:
            token.cancel()
            raise
    if error := future.exception():
        raise DataError(f"structure from motion failed: {error}"[:200], "remove the folder's work/ and start again")
    return future.result()


@contextlib.contextmanager
def _quiet(pycolmap: Any) -> Iterator[None]:
    """Without pycolmap's lines on stderr: its errors are raised."""
    before, pycolmap.logging.minloglevel = pycolmap.logging.minloglevel, 3
    try:
        yield
    finally:
        pycolmap.logging.minloglevel = before
