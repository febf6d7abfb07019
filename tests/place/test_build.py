"""A place mapped from a made video, against its true poses; stopped, continued and extended."""

from __future__ import annotations

import contextlib
import json
import signal
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import demo_video
import numpy as np
import pytest
from naming import naming
from own_folder import picture

from posezoo import verify_dataset
from posezoo.base.errors import DataError, UsageError
from posezoo.data.open import open_dataset
from posezoo.place import structure
from posezoo.place.build import map_place

pytest.importorskip("pycolmap", reason="the extra map")
pytest.importorskip("av", reason="the extra map")
COUNT = 20


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """A video of 20 pictures of the demo's yard, and where its camera was."""
    path = tmp_path_factory.mktemp("walk") / "walk.mp4"
    return path, demo_video.video(path, COUNT)


@pytest.fixture(scope="module")
def place(walk: tuple[Path, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its map, in scene units. Not to be changed: copy it."""
    out = tmp_path_factory.mktemp("place") / "yard"
    report = map_place([walk[0]], out, conditions=["overcast"])
    assert report.share > 0.9
    return out


def test_the_map_is_a_data_set_at_once(place: Path) -> None:
    found = verify_dataset(f"colmap:{place}")
    assert found.error is None and sum(found.counts.values()) >= 0.9 * (COUNT - 1)
    dataset = open_dataset(f"colmap:{place}")
    assert dataset.unit == "scene units"
    assert (set(dataset.frames.sequence), set(dataset.frames.condition)) == ({"walk"}, {"overcast"})
    assert np.all(np.diff(dataset.frames.timestamp) > 0)
    np.testing.assert_allclose(dataset.frames.intrinsics[:, 0], demo_video.FOCAL, rtol=0.03)


def test_the_folder_holds_its_report(place: Path) -> None:
    facts = json.loads((place / "place.json").read_text())
    assert facts["report"]["registered"] == facts["report"]["recordings"][0]["registered"]
    assert {"report.md", "above.png", "worst.jpg", "sparse", "images"} <= {path.name for path in place.iterdir()}


def test_called_again_it_continues_and_gets_metres(
    place: Path, walk: tuple[Path, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is taken, found or placed twice; a trajectory gives metres, against the true positions."""
    names = sorted(path.name for path in (place / "images/walk").iterdir())
    rows = [",".join([f"walk/{name}", *map(repr, map(float, walk[1][int(Path(name).stem)]))]) for name in names]
    (tmp_path / "true.csv").write_text("image,x,y,z\n" + "\n".join(rows[::2]) + "\n")
    before = {path: path.stat().st_mtime_ns for path in (place / "images").rglob("*.jpg")}
    demo_video.accelerometer(tmp_path / "phone.csv", COUNT)
    with contextlib.closing(sqlite3.connect(place / "work/database.db")) as database:
        database.execute("VACUUM")  # other bytes, the same content
    monkeypatch.setattr(structure, "_run", _without(("extract_features", "incremental_mapping"), structure._run))
    measured = {"scale_from": str(tmp_path / "true.csv"), "gravity_from": str(tmp_path / "phone.csv")}
    report = map_place([walk[0]], place, conditions=["overcast"], **measured)
    assert {path: path.stat().st_mtime_ns for path in (place / "images").rglob("*.jpg")} == before
    assert report.unit == "m" and report.residual_m is not None and report.residual_m < 0.05
    assert report.gravity_degrees is not None and 0 < report.gravity_degrees < 2
    assert any("phone.csv" in line for line in report.lines())
    assert json.loads((place / "place.json").read_text())["report"]["gravity_from"] == "phone.csv"
    dataset = open_dataset(f"colmap:{place}")
    assert dataset.unit == "m"
    numbers = [int(Path(dataset.frames.name(n)).stem) for n in range(len(dataset.frames))]
    assert np.median(np.linalg.norm(dataset.frames.position - walk[1][numbers], axis=1)) < 0.05


def _without(names: tuple[str, ...], real: Any) -> Any:
    def run(function: Any, *given: Any, **named: Any) -> Any:
        assert function.__name__ not in names
        return real(function, *given, **named)

    return run


def test_ctrl_c_is_heard_while_it_computes() -> None:
    started = threading.Event()

    def endless(cancellation_token: Any) -> None:
        started.set()
        while not cancellation_token.is_cancelled:
            time.sleep(0.01)

    def interrupt() -> None:
        import _thread

        started.wait(5)
        _thread.interrupt_main()

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background of a shell ignores it
    threading.Thread(target=interrupt).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            structure._run(endless)
    finally:
        signal.signal(signal.SIGINT, before)


def test_what_cannot_be_mapped(tmp_path: Path, walk: tuple[Path, np.ndarray]) -> None:
    picture(tmp_path / "few/1.png")
    with pytest.raises(DataError, match=naming("1")):
        map_place([tmp_path / "few"], tmp_path / "a")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").touch()
    with pytest.raises(UsageError, match=naming("mine")):
        map_place([walk[0]], tmp_path / "mine")
    picture(tmp_path / "few/2.png")
    with pytest.raises(UsageError, match=naming("few")):
        map_place([tmp_path / "few"], tmp_path / "a")
    with pytest.raises(UsageError, match=naming("few")):  # its map would be lost
        map_place([walk[0]], tmp_path / "a")
    with pytest.raises(UsageError, match=naming("--scale-from")):  # before an hour of mapping, not after it
        map_place([walk[0]], tmp_path / "b", scale_from="arm")
    assert not (tmp_path / "b").exists()


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_red_kitchen_is_mapped_to_centimetres(real_data: Path, tmp_path: Path) -> None:
    """The even frames of its first sequence, from colour alone: at most 5 cm off, the focal length within 1 %."""
    known = open_dataset("7scenes?scenes=redkitchen&sequences=1", root=real_data / "7scenes").frames
    photos = tmp_path / "kitchen"
    photos.mkdir()
    rows = []
    for n in range(0, len(known), 2):
        (photos / f"{n:04d}.png").symlink_to(known.path(n))
        rows.append(",".join([f"{n:04d}.png", *map(repr, known.position[n].tolist())]))
    (tmp_path / "known.csv").write_text("image,x,y,z\n" + "\n".join(rows) + "\n")
    report = map_place([photos], tmp_path / "place", scale_from=str(tmp_path / "known.csv"))
    assert report.share > 0.95
    found = open_dataset(f"colmap:{tmp_path / 'place'}").frames
    numbers = [int(Path(found.name(n)).name.split("-")[1].split(".")[0]) for n in range(len(found))]
    assert np.median(np.linalg.norm(found.position - known.position[numbers], axis=1)) <= 0.05
    assert abs(report.cameras[0]["parameters"][0] / 525 - 1) <= 0.01
