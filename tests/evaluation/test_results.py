"""What an evaluation measured: rows, groups, averages."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from posezoo.base.errors import UsageError
from posezoo.data.table import Frames
from posezoo.evaluation import report

MakeFrames = Callable[..., Frames]


MakeReport = Callable[..., report.Report]


def test_rows_have_every_method_and_group(make_frames: MakeFrames, make_report: MakeReport) -> None:
    found = make_report(make_frames(("fire", "chess"), ("sun", "rain")))
    assert [row["method"] for row in found.rows()] == list(found.methods)
    assert {row["group"] for row in found.rows("condition")} == {"sun", "rain"}
    assert {row["group"] for row in found.rows("scene")} == {"chess", "fire", report.AVERAGE}
    assert list(found.groups("sequence")) == [
        *("chess/test-rain12", "chess/test-sun11", "fire/test-rain2", "fire/test-sun1")
    ]
    with pytest.raises(UsageError, match="condition"):
        found.rows("conditions")


def test_average_is_over_scenes_not_images(make_frames: MakeFrames, make_report: MakeReport) -> None:
    frames = make_frames(("chess", "fire"))
    # all of chess's test frames, a quarter of fire's
    keep = (frames.split == "train") | (frames.scene == 0) | (np.arange(len(frames)) % 4 == 0)
    found = make_report(frames.select(keep))
    rows = [row for row in found.rows("scene") if row["method"] == found.model]
    assert rows[0]["num"] == 4 * rows[1]["num"]
    assert rows[2]["num"] == rows[0]["num"] + rows[1]["num"]
    expected = (rows[0]["median_position_m"] + rows[1]["median_position_m"]) / 2
    assert rows[2]["median_position_m"] == pytest.approx(expected)


def test_scene_accuracy(make_frames: MakeFrames, make_report: MakeReport) -> None:
    frames = make_frames(("chess", "fire"))
    scene_N = frames.of_split("test").scene.astype(np.int64)
    scene_N[:15] = -1
    found = make_report(frames, scene_predicted=scene_N)
    assert found.scene_accuracy == pytest.approx(105 / 120)
    rows = {row["group"]: row for row in found.rows("scene") if row["method"] == found.model}
    assert rows["chess"]["scene_accuracy"] == 0.75
    assert rows["fire"]["scene_accuracy"] == 1.0
    title, header, lines = found.table_rows()[1]
    assert header[-1] == "scene found"
    assert lines[0][-1] == "75.0 %"
