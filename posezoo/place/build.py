"""`posezoo map`: recordings to a place, a folder that is a data set at once (`colmap:PLACE`).

    PLACE/images/<recording>/...   the frames that were taken
    PLACE/sparse/0/                the map, as COLMAP writes it: cameras, images, points
    PLACE/place.json               unit, recordings with conditions, times of frames, the report
    PLACE/report.md, above.png, worst.jpg
    PLACE/work/                    features and matches: what another call continues with; may be deleted

It can be stopped at any moment and called again: frames, features and matches are not made twice. Called with more
sources, it adds their frames to the same map.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from posezoo.base.errors import DataError, UsageError
from posezoo.base.files.videos import require
from posezoo.base.files.write import replacement, write_whole, writing
from posezoo.base.observe import Stages
from posezoo.base.paths import user_path
from posezoo.base.signals import StopFlag
from posezoo.place import frames, structure, world
from posezoo.place.report import PlaceReport, measure, save
from posezoo.place.sources import Recording, recordings

FACTS = "place.json"
FORMAT = 1
LIMIT = 300  # frames of a video
LEAST = 3  # images that can make a map


def map_place(
    sources: Sequence[str | Path],
    out: str | Path,
    *,
    conditions: Sequence[str] = (),
    scale_from: str = "",
    gravity_from: str = "",
    limit: int = LIMIT,
    progress: Stages = lambda what, done, total: None,
) -> PlaceReport:
    """Map the place that videos and folders of photographs show; the report, written to the folder `out` too.

    `conditions`: one for each recording, such as sun, rain. `scale_from`: see posezoo.place.world; without it positions
    are in scene units. `gravity_from`: a file of the phone's accelerometer during the first source, a video (columns t,
    ax, ay, az; see posezoo.place.gravity): z is up by it. `limit`: most frames of a video. Raises UsageError, DataError
    if nothing can be placed, ResourceError, Interrupted for a signal; then everything is left to continue with.
    """
    require("pycolmap")
    place = user_path(out)
    found = recordings(sources, conditions)
    world.check(scale_from, gravity_from)  # now, not when everything is computed
    _check_mine(place)
    _check_all(place, found)
    import pycolmap  # noqa: F401  (it takes SIGTERM for itself when it is imported: ours comes after)

    with StopFlag() as stop, stop.at_once("mapping", "the same command continues"):
        return _mapped(place, found, (scale_from, gravity_from), limit, progress)


def _mapped(
    place: Path, found: Sequence[Recording], measured: tuple[str, str], limit: int, progress: Stages
) -> PlaceReport:
    """`measured`: what metres and what the vertical come from."""
    images, work = place / "images", place / "work"
    with writing(place):
        work.mkdir(parents=True, exist_ok=True)
    taken = {one.name: _taken(one, images, work, limit, progress) for one in found}
    names = {recording: [frame.name for frame in frames] for recording, frames in taken.items()}
    every = [name for one in names.values() for name in one]
    if len(every) < LEAST:
        raise DataError(f"{len(every)} images are too few to map a place", "some dozens, each overlapping the next")
    database = work / "database.db"
    structure.features(database, images, structure.camera_groups(images, every), progress)
    videos = frozenset(one.name for one in found if one.is_video)
    photographs = [name for recording, one in names.items() if recording not in videos for name in one]
    alike = None
    if len(photographs) > structure.ALL_PAIRS:
        from posezoo.place import likeness  # torch and a network, which videos do without

        alike = likeness.alike(images, photographs, progress)
    structure.match(database, structure.pairs(every, videos, alike), progress)
    models = structure.reconstruct(database, images, work, len(every), progress)
    times = {frame.name: frame.timestamp for one in taken.values() for frame in one}
    scans = {one.name: one.path for one in found}
    chosen = world.world_of(models[0], measured[0], images, times, scans, measured[1])
    chosen.apply(models[0])
    report = measure(place, models, chosen, found, names)
    _write(place, models[0], report, found, times)
    return report


def _check_mine(place: Path) -> None:
    """Raise UsageError for a folder that holds something else."""
    if place.exists() and not place.is_dir():
        raise UsageError(f"{place} is a file", "give another --out")
    if place.is_dir() and any(place.iterdir()) and not ((place / "work").is_dir() or (place / FACTS).is_file()):
        raise UsageError(f"{place} is not empty, and no map", "give another --out")


def _check_all(place: Path, found: Sequence[Recording]) -> None:
    """Raise UsageError where an earlier call had recordings that are not among these: the map would lose them."""
    known = {path.stem for path in (place / "work").glob("*.json")}
    if missing := sorted(known - {one.name for one in found}):
        what = f"{place} was mapped of {', '.join(missing)} too"
        raise UsageError(what, "name all recordings each time, new ones after the others, or give another --out")


def _taken(recording: Recording, images: Path, work: Path, limit: int, progress: Stages) -> list[frames.Taken]:
    """The recording's frames, from the file that an earlier call left if it was made of the same."""
    record = work / f"{recording.name}.json"
    key = _key(recording, limit)
    try:
        stored = json.loads(record.read_text())
        made = [frames.Taken(str(name), int(timestamp)) for name, timestamp in stored["frames"]]
        if stored["key"] == key and all((images / frame.name).is_file() for frame in made):
            return made
        if stored["key"] != key:
            raise UsageError(
                f"{images.parent} has a recording {recording.name} made of another file, or with other --frames",
                "give another --out",
            )
    except (OSError, ValueError, KeyError, TypeError):
        pass
    made = frames.take(
        recording, images, limit, lambda done, total: progress(f"taking frames of {recording.name}", done, total)
    )
    write_whole(record, json.dumps({"key": key, "frames": made}))
    return made


def _key(recording: Recording, limit: int) -> str:
    """What the frames were made of."""
    paths = recording.photos or (recording.path,)
    stats = [(path.name, path.stat().st_size) for path in paths]
    return hashlib.sha256(json.dumps([stats, limit if recording.is_video else 0]).encode()).hexdigest()


def _write(place: Path, model: Any, report: PlaceReport, found: Sequence[Recording], times: dict[str, int]) -> None:
    """The map, its facts and its report. The old map is replaced as a whole."""
    with writing(place), replacement(place / "sparse" / "0", folder=True) as temporary:
        model.write(str(temporary))
    facts = {
        "format": FORMAT,
        "unit": report.unit,
        "conditions": {one.name: one.condition for one in found},
        "timestamps": {name: stamp for name, stamp in times.items() if stamp >= 0},
        "report": report.as_dict(),
    }
    write_whole(place / FACTS, json.dumps(facts, indent=1) + "\n")
    save(report, model)
