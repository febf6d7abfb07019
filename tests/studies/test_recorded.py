"""A window of a recorded sequence: which frames it has, what is told of it, and the study with it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from naming import naming
from small_studies import SETTINGS, study

from posezoo.base.errors import UsageError
from posezoo.base.spec import Frame
from posezoo.data.table import Frames
from posezoo.evaluation.results import Results
from posezoo.studies import recorded
from posezoo.studies.study import run

pytestmark = pytest.mark.usefixtures("no_pictures")


def frames(scenes: tuple[str, ...] = ("hall",), count: int = 12) -> Frames:
    """Two sequences a scene, each stored from its last frame to its first."""
    rows = [
        Frame(f"{scene}/{name}/{n}.png", (float(n), 0, 0), (1.0, 0, 0, 0), scene=scene, split="test", sequence=name,
              timestamp=n)
        for scene in scenes
        for name in ("a", "b:2")
        for n in reversed(range(count))
    ]  # fmt: skip
    return Frames.from_rows(Path(), rows)


def album(of: Frames) -> Any:
    """What the numbers need of the test images."""
    return SimpleNamespace(frames=of, results=lambda index: Results("", "x", "", "", "test", "", {}, of.select(index)))


def test_frames_are_counted_as_they_were_taken() -> None:
    window = recorded.stretch(frames(), "b:2:3-6")
    assert window.inside.tolist() == [20, 19, 18, 17]
    assert window.outside.tolist() == [23, 22, 21, *range(16, 11, -1)]
    found = recorded.stretch(frames(("attic", "hall")), "hall/a:0-1")
    assert found.inside.tolist() == [35, 34]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("a", "SEQUENCE:FIRST-LAST"),
        ("a:3", "SEQUENCE:FIRST-LAST"),
        ("a:-1-3", "SEQUENCE:FIRST-LAST"),
        ("c:1-3", "known: a, b:2"),
        ("a:6-3", "0 to 11"),
        ("a:3-12", "0 to 11"),
        ("a:0-11", "outside"),
    ],
)
def test_windows_that_are_none(text: str, named: str) -> None:
    with pytest.raises(UsageError, match=naming(*named.split(", "))):
        recorded.stretch(frames(), text)


def test_a_sequence_of_several_scenes_is_named_with_its_scene() -> None:
    with pytest.raises(UsageError, match=naming("hall/a")):
        recorded.stretch(frames(("attic", "hall")), "a:0-1")


def test_the_numbers_by_hand() -> None:
    """Outside the median is 1 m; in the window errors rise to 8 m at frame 5 and are below 1.5 m from frame 8 on."""
    of = frames()
    window = recorded.stretch(of, "a:4-9")
    metres = np.full(24, 99.0)
    metres[window.sequence] = [1, 1, 1, 2, 3.0, 8, 1, 1.5, 1.4, 1, 1, 1]
    degrees = metres[::-1].copy()
    degrees[window.sequence] = [2, 2, 2, 2, 1.0, 1, 1, 1, 1, 3, 2, 2]
    said = recorded.numbers(album(of), window, {"one": [(metres, degrees)], "other": [(metres + 1, degrees)]})
    assert (said["num_inside"], said["num_outside"]) == (6, 6)
    assert said["models"]["one"] == {
        **{"median_outside_m": 1.0, "peak_m": 8.0, "peak_frame_position": 5},
        **{"peak_over_outside_position": 8.0, "frames_until_back_position": 3},
        **{"median_outside_deg": 2.0, "peak_deg": 3.0, "peak_frame_orientation": 9},
        **{"peak_over_outside_orientation": 1.5, "frames_until_back_orientation": None},
    }
    (position, orientation) = said["against_first"]["other"]
    assert (position["difference"], orientation["difference"]) == (1.0, 0.0)
    assert position["num"] == 6
    assert "a:4-9" in recorded.sentence(said) and "8.00 m, 8.0 times" in recorded.sentence(said)
    assert [row["frames until back"] for row in recorded.rows(said)] == ["3", "1"]


def test_until_back_is_for_good() -> None:
    assert recorded.until_back(np.array([9, 1, 9, 1, 1.0]), 1.0) == 3
    assert recorded.until_back(np.array([1.4, 1]), 1.0) == 0
    assert recorded.until_back(np.array([9, 1, 9.0]), 1.0) is None


def test_pictures_stand_around_the_peak() -> None:
    window = recorded.stretch(frames(count=40), "a:10-29")
    assert recorded.around(window, 20) == [16, 18, 20, 22, 24]
    assert recorded.around(window, 1) == [0, 0, 1, 3, 5]


def test_the_study_with_a_window(one_place: Path, tmp_path: Path) -> None:
    more = {"study.frames": 4, "study.covers": [0.6], "study.window": "s2:2-5", "hyper.rank": 4}
    found = study("occlusion", "posenet", "posenet+hyper", data=one_place, out=tmp_path, **more)
    assert found["figures"] == ["occlusion.png", "window.png"]
    said = found["recorded"]
    assert (said["window"], said["num_inside"], said["num_outside"]) == ("s2:2-5", 4, 4)
    assert set(said["models"]) == {"posenet", "posenet+hyper"} and set(said["against_first"]) == {"posenet+hyper"}
    for row in said["models"].values():
        assert 2 <= row["peak_frame_position"] <= 5
        assert row["peak_over_outside_position"] == pytest.approx(row["peak_m"] / row["median_outside_m"])
    assert "s2:2-5" in found["verdict"] and any("s2:2-5" in note for note in found["notes"])
    # the errors are those of the study without it, which reads them again
    same = study(
        "occlusion", "posenet", "posenet+hyper", data=one_place, out=tmp_path, **{**more, "study.window": "s2:3-5"}
    )
    assert same["passages"] == found["passages"]


def test_a_wrong_window_is_refused_before_anything_is_trained(one_place: Path, tmp_path: Path) -> None:
    given = {**SETTINGS, "study.window": "s9:0-3"}
    with pytest.raises(UsageError, match=naming("s9", "s2")):
        run("occlusion", ["posenet"], data=f"folder:{one_place}", out=tmp_path / "out", given=given)
    assert not (tmp_path / "out" / "runs").exists()
