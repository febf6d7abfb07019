"""Drops between looks of the same views: partners by name, poses checked, weather painted where there are no looks."""

from __future__ import annotations

import csv
from pathlib import Path

import faults
import numpy as np
import pytest
from command_line import ok
from small_studies import study

from posezoo.base.errors import DataError
from posezoo.base.observe import Observer
from posezoo.base.spec import Frame
from posezoo.data.table import Frames
from posezoo.evaluation.compare import BETTER
from posezoo.evaluation.results import Results
from posezoo.studies import appearance
from posezoo.studies.appearance import Options, looks, partners
from posezoo.studies.measure import Condition, open_album
from posezoo.studies.subjects import Request

pytest.importorskip("kornia", reason="extra: weather")
pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.fixture
def looked(one_place: Path, tmp_path: Path) -> Path:
    """The test frames of one place as they are, at night and in fog."""
    out = tmp_path / "looks"
    ok("data", "corrupt", f"folder:{one_place}", "--out", str(out), "--kind", "original,night,fog")
    return out


def test_drops_by_hand() -> None:
    """In fog the first model loses 2 m, the other 1 m."""
    rows = [Frame(f"{n}.png", (float(n), 0, 0), (1.0, 0, 0, 0), split="test", timestamp=n) for n in range(40)]
    frames = Results("", "data", "", "original", "test", "", {}, Frames.from_rows(Path(), rows))
    one, two, three = ((np.full(40, m), np.full(40, m)) for m in (1.0, 2.0, 3.0))
    models = {"one": [[one, three]], "other": [[one, two]]}
    found = appearance._rows(frames, Condition("fog", np.arange(40)), 1, models)
    assert [(row["model"], row["drop"], row["drop_verdict"], row["drop_ratio"]) for row in found[::2]] == [
        ("one", 2.0, "costs", None),
        ("other", 1.0, "costs", 0.5),
    ]
    printed = appearance._shown(found)[2]
    assert printed["median (95 %)"] == "2.00 m\n2.00 to 2.00" and printed["drop (95 %)"] == "1.00 m\n1.00 to 1.00"
    against = found[2]["against_first"]
    assert (against["difference"], against["verdict"]) == (-1.0, BETTER)


def test_looks_are_aligned_by_name(looked: Path, tmp_path: Path) -> None:
    album = open_album(Request((), f"folder:{looked}", tmp_path), Observer())
    found = looks(album, Options())
    assert [one.name for one in found] == ["original", "fog-3", "night-3"]
    names = [[Path(album.frames.name(int(n))).name.split("_")[0] for n in one.index] for one in found]
    assert names[0] == names[1] == names[2] and len(names[0]) == 8


def test_partners_with_another_pose_are_refused(looked: Path, tmp_path: Path) -> None:
    path = looked / "poses.csv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    rows[-1]["x"] = "77"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    ended = faults.in_process(
        ["study", "appearance", "posenet-anchors-demo", "atloc-anchors-hyper-demo", "--data", f"folder:{looked}"]
    )
    assert ended.code == 3 and "fog-3" in ended.stderr, ended


@pytest.mark.parametrize("turned", [False, True])
def test_partners_are_found_below_folders_and_turned_ones_refused(looked: Path, tmp_path: Path, turned: bool) -> None:
    """Two folders a look, with the same names in them."""
    path = looked / "poses.csv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    doubled = []
    for row in rows:
        for day in ("day1", "day2"):
            name = f"{day}/cam/{Path(row['image']).name}"
            (looked / name).parent.mkdir(parents=True, exist_ok=True)
            (looked / name).write_bytes((looked / row["image"]).read_bytes())
            doubled.append(row | {"image": name})
    if turned:
        doubled[-1] |= {"qw": doubled[-1]["qz"], "qz": doubled[-1]["qw"]}
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(doubled)
    album = open_album(Request((), f"folder:{looked}", tmp_path), Observer())
    if turned:
        with pytest.raises(DataError, match="pose"):
            looks(album, Options())
    else:
        assert [len(one.index) for one in looks(album, Options())] == [16, 16, 16]


def test_looks_in_trees_of_their_own() -> None:
    """As the Extended Cambridge Landmarks lie beside Cambridge's."""
    names = {
        "cambridge/Shop/seq1/frame0.png": "original",
        "cambridge/Shop/seq2/frame0.png": "original",
        "ecl/winter/Shop/seq2/frame0_winter.png": "winter",
        "ecl/winter/Shop/seq1/frame0_winter.png": "winter",
    }
    rows = [Frame(name, (0, 0, 0), (1.0, 0, 0, 0), condition=look, split="test") for name, look in names.items()]
    found = partners(Frames.from_rows(Path(), rows))
    assert {key: (n, found["winter"][key]) for key, n in found["original"].items()} == {
        ("scene", "seq1", "frame0"): (0, 3),
        ("scene", "seq2", "frame0"): (1, 2),
    }
    with pytest.raises(DataError, match="name"):
        partners(Frames.from_rows(Path(), [*rows, rows[0]]))


def test_the_study_on_small_models(one_place: Path, tmp_path: Path) -> None:
    more = {"study.severity": 5, "hyper.rank": 4}
    found = study("appearance", "posenet", "posenet+hyper", data=one_place, out=tmp_path, **more)
    rows = found["conditions"]
    assert {row["condition"] for row in rows} == {"fog-5", "snow-5", "night-5", "rain-5"}
    assert len(rows) == 4 * 2 * 2
    assert all((row["against_first"] is None) == (row["model"] == "posenet") for row in rows)
    first = found["original"]["posenet"]["median_position_m"]
    row = next(row for row in rows if row["model"] == "posenet" and row["error"] == "position_m")
    assert row["drop_ci95"][0] <= row["drop"] <= row["drop_ci95"][1]
    assert first > 0 and any("painted" in note for note in found["notes"])
