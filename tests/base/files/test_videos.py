"""Frames of videos: all of them, in time, and what is no video."""

from __future__ import annotations

from pathlib import Path

import demo_video
import pytest
from naming import naming

from posezoo.base.errors import DataError, UsageError
from posezoo.base.files import videos


def test_all_frames_in_time(tmp_path: Path) -> None:
    pytest.importorskip("av", reason="the extra map")
    demo_video.video(tmp_path / "a.mp4", 4, rate=10)
    found = list(videos.frames(tmp_path / "a.mp4"))
    assert [round(videos.seconds(frame, n), 6) for n, frame in enumerate(found)] == [0, 0.1, 0.2, 0.3]
    assert videos.upright(found[0]).size == (340, 256)


def test_a_phone_held_upright_is_turned() -> None:
    class Frame:
        rotation = -90

        def to_image(self) -> object:
            from PIL import Image

            picture = Image.new("RGB", (4, 2))
            picture.putpixel((0, 0), (255, 0, 0))
            return picture

    turned = videos.upright(Frame())
    assert turned.size == (2, 4)
    assert turned.getpixel((1, 0)) == (255, 0, 0), "a quarter to the right: the top left corner is at the top right"


def test_what_is_no_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("av", reason="the extra map")
    (tmp_path / "a.mp4").write_bytes(b"hello" * 100)
    with pytest.raises(DataError, match=naming("a.mp4")):
        list(videos.frames(tmp_path / "a.mp4"))
    with pytest.raises(DataError) as raised:
        list(videos.frames(tmp_path / "none.mp4"))
    assert raised.value.message == f"{tmp_path / 'none.mp4'}: no such video"
    monkeypatch.setattr(videos, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=naming("av", "posezoo[map]")):
        list(videos.frames(tmp_path / "a.mp4"))
