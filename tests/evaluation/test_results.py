"""What an evaluation measured: rows, groups, averages."""

from __future__ import annotations

import dataclasses
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


def test_every_median_has_its_interval(make_frames: MakeFrames, make_report: MakeReport) -> None:
    found = make_report(make_frames(("chess", "fire"), ("sun", "rain")))
    for by in ("overall", "condition", "scene", "sequence"):
        for row in found.rows(by):
            for key in ("median_position_m", "median_orientation_deg"):
                low, high = row[f"{key}_ci95"]
                assert low <= row[key] <= high, (by, row["group"], row["method"])
                assert row[f"{key}_block"] >= 5
    assert [row["num_sequences"] for row in found.rows("scene")[:: len(found.methods)]] == [2, 2, 4]
    assert found.rows()[0]["num_sequences"] == 4
    assert "4 sequences" in found.intervals_note
    assert "one sequence" in make_report(make_frames()).intervals_note


def test_time_orders_the_frames_of_a_sequence_not_their_rows(make_frames: MakeFrames, make_report: MakeReport) -> None:
    frames = make_frames(("chess",), ("sun", "rain"))
    order_N = np.random.default_rng(0).permutation(len(frames.of_split("test")))
    found = make_report(frames)
    mixed = dataclasses.replace(
        found,
        frames=found.frames.select(order_N),
        methods={
            name: dataclasses.replace(poses, position=poses.position[order_N], quaternion=poses.quaternion[order_N])
            for name, poses in found.methods.items()
        },
    )
    for before, after in zip(found.rows("condition"), mixed.rows("condition"), strict=True):
        assert before.keys() == after.keys()
        for key in ("median_position_m_ci95", "median_position_m_block", "median_orientation_deg_ci95"):
            assert before[key] == after[key]
