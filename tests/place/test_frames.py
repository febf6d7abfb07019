"""Frames of a video: sharp, and as far apart as the camera moves; photographs as they are."""

from __future__ import annotations

from pathlib import Path

import demo_video
import numpy as np
import pytest
from naming import naming
from own_folder import picture
from PIL import Image

from posezoo.base.errors import DataError
from posezoo.place.frames import Scores, choose, take
from posezoo.place.sources import Recording


def scores(motion: list[float], sharpness: list[float] | None = None, rate: float = 30) -> Scores:
    return Scores(np.arange(len(motion)) / rate, np.array(sharpness or [1.0] * len(motion)), np.array(motion))


def test_the_sharpest_of_each_window_is_taken() -> None:
    # 2 % of the width a frame: a window is two frames long, counted from the last of the one before
    assert choose(scores([0.0] + [0.02] * 8, [1, 1, 2, 3, 1, 5, 4, 1, 9]), 99) == [2, 3, 5, 8]


def test_a_fast_camera_gives_every_frame_and_one_at_rest_none() -> None:
    assert choose(scores([0.0] + [0.2] * 4), 99) == [0, 2, 3, 4]
    assert choose(scores([0.0] * 300), 99) == [0]
    assert choose(scores([]), 99) == []


def test_no_more_than_the_limit_and_the_whole_path() -> None:
    chosen = choose(scores([0.0] + [0.1] * 999), 50)
    assert len(chosen) <= 50 and chosen[0] < 50 and chosen[-1] > 950


def test_frames_of_a_video_and_their_times(tmp_path: Path) -> None:
    pytest.importorskip("av", reason="the extra map")
    demo_video.video(tmp_path / "a.mp4", 6, rate=10, repeat=5)
    taken = take(Recording("a", tmp_path / "a.mp4"), tmp_path / "images", 99)
    numbers = [int(Path(one.name).stem) for one in taken]
    assert numbers == sorted(set(numbers)) and len({number // 5 for number in numbers}) >= 3
    assert [one.timestamp for one in taken] == [number * 100_000 for number in numbers]
    with Image.open(tmp_path / "images" / taken[0].name) as image:
        assert image.size == (340, 256)


def test_what_is_no_video_or_does_not_move(tmp_path: Path) -> None:
    pytest.importorskip("av", reason="the extra map")
    (tmp_path / "a.mp4").write_bytes(b"hello" * 100)
    with pytest.raises(DataError, match=naming("a.mp4")):
        take(Recording("a", tmp_path / "a.mp4"), tmp_path / "images", 9)
    demo_video.video(tmp_path / "still.mp4", 1, repeat=20)
    with pytest.raises(DataError, match=naming("still.mp4", "20")):
        take(Recording("a", tmp_path / "still.mp4"), tmp_path / "images", 9)


def test_photographs_keep_their_bytes_and_lose_their_spaces(tmp_path: Path) -> None:
    photos = tuple(tmp_path / name for name in ("b c.png", "a.png"))
    for n, photo in enumerate(photos):
        picture(photo, seed=n)
    taken = take(Recording("trip", tmp_path, photos), tmp_path / "images", 1)
    assert [one.name for one in taken] == ["trip/00000-b_c.png", "trip/00001-a.png"]
    for one, photo in zip(taken, photos, strict=True):
        assert (tmp_path / "images" / one.name).read_bytes() == photo.read_bytes()
