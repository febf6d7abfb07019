"""The passing object: where it is, what it hides, and what is told of it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from small_studies import study

from posezoo.base.errors import DataError, UsageError
from posezoo.base.spec import Frame
from posezoo.data.table import Frames
from posezoo.evaluation.results import Results
from posezoo.studies import occlusion
from posezoo.studies.measure import Album
from posezoo.studies.occlusion import Options, Window
from posezoo.studies.study import run

pytestmark = pytest.mark.usefixtures("no_pictures")

WHITE, BLACK = np.full((200, 300, 3), 255, np.uint8), np.zeros((200, 300, 3), np.uint8)


@pytest.mark.parametrize("leftwards", [False, True])
@pytest.mark.parametrize("cover", [0.15, 0.6])
def test_a_block_enters_covers_its_share_and_leaves(cover: float, leftwards: bool) -> None:
    window = Window(np.arange(9), 0, leftwards)
    hidden = [(occlusion.with_block(WHITE, BLACK, window, place, cover) == 0).mean() for place in range(9)]
    assert hidden[4] == pytest.approx(cover, abs=0.01)
    assert hidden == pytest.approx(hidden[::-1], abs=0.01)
    assert hidden[:5] == sorted(hidden[:5])
    assert 0 < hidden[0] < cover / 2
    columns = (occlusion.with_block(WHITE, BLACK, window, 0, cover) == 0).all(-1).any(0)
    assert columns[-1] == leftwards and columns[0] != leftwards


@pytest.mark.parametrize("leftwards", [False, True])
@pytest.mark.parametrize(
    "frames, cover", [(3, 0.6), (4, 0.15), (4, 0.6), (5, 0.6), (6, 0.85), (12, 0.6), (12, 0.85), (13, 0.85)]
)
def test_at_the_peak_the_block_is_wholly_in_the_picture(frames: int, cover: float, leftwards: bool) -> None:
    window = Window(np.arange(frames), 0, leftwards)
    hidden = [(occlusion.with_block(WHITE, BLACK, window, place, cover) == 0).mean() for place in range(frames)]
    assert len(window.peak) == (1 if frames % 2 else 2)
    assert [hidden[place] for place in window.peak] == pytest.approx([cover] * len(window.peak), abs=0.01)
    assert hidden == pytest.approx(hidden[::-1], abs=0.01)


def album(count: int) -> Album:
    """So many test frames of one sequence, without pictures."""
    rows = [Frame(f"{n}.png", (float(n), 0, 0), (1.0, 0, 0, 0), split="test", timestamp=n) for n in range(count)]
    frames = Frames.from_rows(Path(), rows)
    return cast(
        "Album",
        SimpleNamespace(
            results=lambda index: Results("", "data", "", "original", "test", "", {}, frames.select(index))
        ),
    )


@pytest.mark.parametrize("frames, peak", [(3, [20]), (4, [20, 30]), (5, [30]), (12, [60, 70])])
def test_what_is_told_of_the_peak_is_of_its_frames_alone(frames: int, peak: list[float]) -> None:
    error_M = 10.0 * np.arange(1, frames + 1)
    windows = [Window(np.arange(frames), frames, False)]
    plain = (np.ones(frames + 1), np.ones(frames + 1))
    rows = occlusion._numbers(
        *(album(frames + 1), [[plain]], [[(error_M, error_M), (error_M, error_M)]]),
        *(windows, np.array([frames]), Options((0.3,), frames)),
    )
    assert [row["median_at_peak_m"] for row in rows] == [np.median(peak)] * 2
    # of fewer than six images the interval is their range
    assert [row["median_at_peak_m_ci95"] for row in rows] == [[min(peak), max(peak)]] * 2
    assert [row["largest_over_outside_position"] for row in rows] == [10.0 * frames] * 2


def test_the_area_under_the_curve_by_hand() -> None:
    """1, 3 and 5 m behind 0, 20 and 40 % against twice as much: means over the shares of 3 and 6 m."""
    rows = [Frame(f"{n}.png", (float(n), 0, 0), (1.0, 0, 0, 0), split="test", timestamp=n) for n in range(8)]
    frames = Frames.from_rows(Path(), rows)
    album: Any = SimpleNamespace(results=lambda index: Results("", "x", "", "", "test", "", {}, frames.select(index)))
    one, twice = ([[(np.full(4, times * m), np.full(4, times * m)) for m in (1.0, 3.0, 5.0)]] for times in (1, 2))
    found = occlusion._compared(album, np.arange(2, 6), {"one": one, "other": twice}, [0.2, 0.4])
    assert {name: [row["difference"] for row in rows] for name, rows in found.items()} == {
        "other": pytest.approx([3.0, 3.0])
    }


def test_the_default_passage_is_as_it_was() -> None:
    """A block of the default settings is wholly in the picture at the peak by itself: nothing holds it there."""
    window = Window(np.arange(12), 0, False)
    for cover in Options().covers:
        width = cover / occlusion.HEIGHT
        passing = [-width + (place + 0.5) / 12 * (1 + width) for place in range(12)]
        assert [window.left(place, width) for place in range(12)] == passing


def test_a_seed_below_zero_is_refused_before_anything_is_trained(one_place: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"study\.seed"):
        run("occlusion", ["posenet"], data=f"folder:{one_place}", out=tmp_path, given={"study.seed": -1})
    assert not list(tmp_path.iterdir())


def test_windows_leave_room_between_them() -> None:
    rows = [
        Frame(f"{name}/{n}.png", (float(n), 0, 0), (1.0, 0.0, 0.0, 0.0), split="test", sequence=name, timestamp=n)
        for name in ("a", "b")
        for n in range(30)
    ]
    frames = Frames.from_rows(Path(), rows)
    found = occlusion.passages(frames, Options(frames=6))
    assert [window.index[[0, -1]].tolist() for window in found] == [[3, 8], [15, 20], [33, 38], [45, 50]]
    assert all(window.texture not in window.index for window in found)
    with pytest.raises(DataError, match="60"):
        occlusion.passages(frames, Options(frames=40))


def test_back_for_good() -> None:
    """Windows of six frames, the peak in the fourth; the level is 1.5 times 2."""
    back, at_once, never = [1, 1, 9, 1, 9, 1.0], [1, 9, 9, 1, 1, 1.0], [1, 1, 9, 9, 9, 9.0]
    assert occlusion._back(np.array([back]), 2) == 2
    assert occlusion._back(np.array([at_once]), 2) == 0
    assert occlusion._back(np.array([back, at_once, never]), 2) == 2
    assert occlusion._back(np.array([back, never, never]), 2) is None


def test_the_study_on_small_models(one_place: Path, tmp_path: Path) -> None:
    more = {"study.frames": 4, "study.covers": [0.2, 0.6]}
    found = study("occlusion", "posenet", "posenet+hyper", data=one_place, out=tmp_path, **more, **{"hyper.rank": 4})
    assert (found["windows"], found["num_inside"], found["num_outside"]) == (1, 4, 4)
    assert [row["cover"] for row in found["passages"]["posenet"]] == [0.0, 0.2, 0.6]
    (position, orientation) = found["mean_over_covers_against_first"]["posenet+hyper"]
    assert position["error"] == "position_m" and position["num"] == 4
    assert position["verdict"] in found["verdict"]
    more |= {"hyper.rank": 4, "study.seed": 1}
    other = study("occlusion", "posenet", "posenet+hyper", data=one_place, out=tmp_path, **more)
    plain, *hidden = (a == b for a, b in zip(other["passages"]["posenet"], found["passages"]["posenet"], strict=True))
    assert plain
    assert not any(hidden), "another block is measured anew"
