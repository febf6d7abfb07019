"""The table of frames."""

from __future__ import annotations

from own_folder import frames_of


def test_select() -> None:
    frames = frames_of({"a": 5, "b": 3})
    assert [frames.select([7, 0]).name(i) for i in range(2)] == ["b/00002.png", "a/00000.png"]
    assert len(frames.select([])) == 0
    assert len(frames.select(frames.sequence == "b")) == 3
    assert len(frames.of_scene("s")) == 8
    assert len(frames.of_scene("elsewhere")) == 0
