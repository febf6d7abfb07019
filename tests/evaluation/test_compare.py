"""Verdicts of paired differences: what is known by hand, what pairing finds, and what cannot be compared."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable

import numpy as np
import pytest

from posezoo.base.errors import UsageError
from posezoo.data.table import Frames
from posezoo.evaluation.compare import BETTER, SAME, WORSE, Comparison, compare, number
from posezoo.evaluation.report import Report
from posezoo.evaluation.results import AVERAGE

MakeFrames = Callable[..., Frames]
MakeReport = Callable[..., Report]


def with_errors(report: Report, metres_N: np.ndarray) -> Report:
    """The report of a model that is wrong by so many metres, each time along x."""
    poses = report.methods[report.model]
    position_N3 = report.frames.position + np.outer(metres_N, [1.0, 0.0, 0.0])
    moved = dataclasses.replace(poses, position=position_N3, quaternion=report.frames.quaternion)
    return dataclasses.replace(report, methods={**report.methods, report.model: moved})


def verdicts(found: Comparison, error: str = "position") -> dict[tuple[str, str], str]:
    (rows,) = found.differences.values()
    return {(one.by, one.group): one.verdict for one in rows if one.error == error}


@pytest.fixture
def report(make_frames: MakeFrames, make_report: MakeReport) -> Report:
    return make_report(make_frames(("loop",), ("sun", "rain"), num=100))


def test_a_model_is_not_distinguishable_from_itself(report: Report) -> None:
    found = compare(["a", "a"], [report, report])
    assert set(verdicts(found).values()) == {SAME}
    (rows,) = found.differences.values()
    assert all(one.difference[:3] == (0.0, 0.0, 0.0) for one in rows)
    assert list(found.differences) == ["a (2)"]


def test_five_images_say_nothing(make_frames: MakeFrames, make_report: MakeReport) -> None:
    report = make_report(make_frames(num=5))
    both = [with_errors(report, np.full(5, metres)) for metres in (2.0, 1.0)]
    assert set(verdicts(compare(["a", "b"], both)).values()) == {SAME}
    report = make_report(make_frames(num=6))
    both = [with_errors(report, np.full(6, metres)) for metres in (2.0, 1.0)]
    assert set(verdicts(compare(["a", "b"], both)).values()) == {BETTER}


def test_each_model_has_its_labels_and_training(report: Report) -> None:
    settings = {"trained": {"data_digest": "a" * 64, "seed": 3}}
    both = [report, dataclasses.replace(report, settings=settings, selection="the last epoch")]
    first, other = compare(["a", "b"], both).to_dict()["models"]
    assert (other["trained_on"], other["seed"], other["selection"]) == ("a" * 64, 3, "the last epoch")
    assert first["ground_truth"] == other["ground_truth"] == report.ground_truth
    assert (first["name"], first["trained_on"], first["seed"]) == ("a", None, None)
    assert first["selection"] == report.selection


def test_scene_units_are_said(report: Report) -> None:
    both = [dataclasses.replace(report, unit="scene units")] * 2
    found = compare(["a", "b"], both)
    assert "0 to 0 scene units)" in found.sentences()[0].replace("0.000", "0"), found.sentences()
    assert "(scene units)" in found.table_rows()[0][0]
    assert "scene units, " in repr(both[0])


def test_pairing_finds_what_intervals_of_each_model_cannot(report: Report) -> None:
    """One is 2 cm better on every image, and images differ by metres."""
    hard_N = np.random.default_rng(0).exponential(3.0, len(report.frames)) + 0.1
    first, other = with_errors(report, hard_N), with_errors(report, hard_N - 0.02)
    found = compare(["first", "other"], [first, other])
    assert set(verdicts(found).values()) == {BETTER}
    assert set(verdicts(compare(["other", "first"], [other, first])).values()) == {WORSE}
    one = found.differences["other"][0]
    assert one.difference.median == pytest.approx(-0.02)
    assert one.other - one.first == pytest.approx(-0.02)
    low, high = first.rows()[0]["median_position_m_ci95"]
    assert low < one.other < high, "not to be seen in the intervals of each"
    assert set(verdicts(found, "orientation").values()) == {SAME}


def test_verdicts_may_differ_by_condition(report: Report) -> None:
    random = np.random.default_rng(1)
    hard_N, sun_N = random.exponential(1.0, len(report.frames)) + 1, report.frames.condition == "sun"
    other_N = hard_N + np.where(sun_N, -0.5, 0.5) + random.normal(scale=0.1, size=len(hard_N))
    found = verdicts(compare(["a", "b"], [with_errors(report, hard_N), with_errors(report, other_N)]))
    assert found["condition", "sun"] == BETTER
    assert found["condition", "rain"] == WORSE
    assert found["overall", "overall"] == SAME


def test_noise_alone_is_seldom_a_difference(report: Report) -> None:
    """Two models of the same spread, one of whose advantages lasts 20 frames: at most one in ten is told apart."""
    random, told = np.random.default_rng(2), 0
    for _ in range(40):
        slow_N = np.repeat(random.normal(size=len(report.frames) // 20), 20)
        pair = [with_errors(report, 5 + noise_N) for noise_N in (slow_N, np.roll(slow_N, 20) * 0)]
        told += verdicts(compare(["a", "b"], pair))["overall", "overall"] != SAME
    assert told <= 6


def test_failures_count_as_infinite(report: Report) -> None:
    good_N = np.full(len(report.frames), 1.0)
    failing_N = np.where(np.arange(len(good_N)) % 4 > 0, np.nan, 0.5)
    found = compare(["good", "failing"], [with_errors(report, good_N), with_errors(report, failing_N)])
    assert verdicts(found)["overall", "overall"] == WORSE
    both = compare(["failing", "too"], [with_errors(report, failing_N), with_errors(report, failing_N)])
    assert verdicts(both)["overall", "overall"] == SAME
    rows = json.loads(json.dumps(found.to_dict(), allow_nan=False))["comparisons"][0]["rows"]
    assert rows[0]["difference"] == "inf"


def test_scenes_are_averaged_and_rank(make_frames: MakeFrames, make_report: MakeReport) -> None:
    report = make_report(make_frames(("chess", "fire")))
    hard_N = np.random.default_rng(0).exponential(1.0, len(report.frames)) + 1
    worse_N = hard_N + np.where(report.frames.scene == 0, 0.1, 0.3)
    found = compare(["a", "b"], [with_errors(report, hard_N), with_errors(report, worse_N)])
    (rows,) = found.differences.values()
    (average,) = [one for one in rows if one.group == AVERAGE and one.error == "position"]
    assert average.difference.median == pytest.approx(0.2)
    assert average.other - average.first == pytest.approx(0.2)
    assert found.sentences()[0].startswith("B is worse in position")


def test_what_cannot_be_compared(report: Report, make_frames: MakeFrames, make_report: MakeReport) -> None:
    other = make_report(make_frames(("loop",), ("sun", "rain"), num=99))
    with pytest.raises(UsageError, match="--data"):
        compare(["a", "b"], [report, other])
    moved = dataclasses.replace(report, frames=dataclasses.replace(report.frames, position=report.frames.position + 1))
    with pytest.raises(UsageError, match="labels"):
        compare(["a", "b"], [report, moved])


def test_tables_fit_eighty_columns(report: Report) -> None:
    found = compare(["a", "b", "c"], [report, report, report])
    assert len(found.table_rows()) == 4
    for _, header, rows in found.table_rows():
        widest = [max(len(row[place]) for row in [header, *rows]) for place in range(len(header))]
        assert sum(widest) + 3 * len(widest) + 1 <= 80


def test_an_average_of_scenes_of_few_images_says_nothing(make_frames: MakeFrames, make_report: MakeReport) -> None:
    """Seven scenes of one image: each median is that image's error, and its interval has no width."""
    places = tuple(f"place{n}" for n in range(7))
    for num, verdict in ((1, SAME), (6, BETTER)):
        report = make_report(make_frames(places, num=num))
        both = [with_errors(report, np.full(len(report.frames), metres)) for metres in (2.0, 1.0)]
        assert verdicts(compare(["a", "b"], both))["scene", AVERAGE] == verdict


def test_a_scene_that_mostly_failed_does_not_decide_alone(make_frames: MakeFrames, make_report: MakeReport) -> None:
    report = make_report(make_frames(("hall", "yard", "roof"), num=20))
    failed_N = (report.frames.scene == 0) & (np.arange(len(report.frames)) % 20 < 11)
    first = with_errors(report, np.full(len(failed_N), 0.1))
    for metres, verdict in ((0.02, SAME), (2.0, WORSE)):
        other = with_errors(report, np.where(failed_N, np.nan, metres))
        (rows,) = compare(["a", "b"], [first, other]).differences.values()
        (row,) = (one for one in rows if (one.group, one.error) == (AVERAGE, "position"))
        assert row.difference.median == row.difference.high == np.inf
        assert row.difference.low == pytest.approx(metres - 0.1) and row.verdict == verdict


def test_a_condition_called_overall_is_a_condition(make_frames: MakeFrames, make_report: MakeReport) -> None:
    report = make_report(make_frames(("loop",), ("overall", "rain"), num=40))
    rain_N = report.frames.condition == "rain"
    errors = [with_errors(report, metres_N) for metres_N in (np.full(len(rain_N), 1.0), np.where(rain_N, 9.0, 0.9))]
    found = compare(["a", "b"], errors)
    assert verdicts(found)["condition", "overall"] == BETTER
    assert f"B is {verdicts(found)['overall', 'overall']} in position" in found.sentences()[0]


def test_the_average_is_in_a_table_of_many_scenes(make_frames: MakeFrames, make_report: MakeReport) -> None:
    report = make_report(make_frames(tuple(f"place{n}" for n in range(30)), num=2))
    body = compare(["a", "b"], [report, report]).table_rows()[0][2]
    assert body[-1][0] == AVERAGE or AVERAGE in [row[0] for row in body]


def test_other_data_of_the_same_names_and_poses_are_noted(report: Report) -> None:
    (note,) = compare(["a", "b"], [report, dataclasses.replace(report, data="folder:painted")]).notes
    assert "folder:painted" in note


def test_a_small_difference_has_a_side() -> None:
    assert [number(x) for x in (0.0, 0.0123, -0.0004, 0.0005, 1.5)] == ["0.000", "0.012", "-0.0004", "0.001", "1.50"]
