"""What counts as a recording."""

from __future__ import annotations

from pathlib import Path

import pytest
from naming import naming
from own_folder import picture

from posezoo.base.errors import DataError, UsageError
from posezoo.place.sources import recordings


def test_a_folder_of_photographs_is_one_recording_in_natural_order(tmp_path: Path) -> None:
    for n in (10, 9, 1):
        picture(tmp_path / f"my trip/{n}.png")
    (tmp_path / "my trip/a.heic").touch()
    (one,) = recordings([tmp_path / "my trip"])
    assert (one.name, one.is_video, one.left_out) == ("my-trip", False, 1)
    assert [path.stem for path in one.photos] == ["1", "9", "10"]


def test_a_folder_of_videos_is_one_recording_each_and_names_differ(tmp_path: Path) -> None:
    for name in ("b/walk.mp4", "b/run.MOV", "walk.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = recordings([tmp_path / "b", tmp_path / "walk.mp4"], ["sun", "rain", "night"])
    assert [(one.name, one.condition) for one in found] == [("run", "sun"), ("walk", "rain"), ("walk-2", "night")]
    assert all(one.is_video for one in found)
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "walk-2.mp4").touch()
    found = recordings([tmp_path / "b" / "walk.mp4", tmp_path / "walk.mp4", tmp_path / "c" / "walk-2.mp4"])
    assert [one.name for one in found] == ["walk", "walk-2", "walk-2-2"]


def test_what_is_no_source(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "phone").mkdir()
    (tmp_path / "phone/a.HEIC").touch()
    for source, words in (("none.mp4", "none.mp4"), ("empty", "empty"), ("phone", "JPEG")):
        with pytest.raises(DataError, match=naming(words)):
            recordings([tmp_path / source])
    picture(tmp_path / "ok/1.png")
    with pytest.raises(UsageError, match=naming("2", "1", "ok")):
        recordings([tmp_path / "ok"], ["sun", "rain"])
