"""Differences over several trainings: the word needs the interval and every pair of trainings."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from posezoo.base.spec import Frame
from posezoo.data.table import Frames
from posezoo.evaluation.compare import BETTER, SAME, WORSE
from posezoo.evaluation.results import AVERAGE, Results
from posezoo.studies.measure import Errors
from posezoo.studies.medians import spread
from posezoo.studies.paired import contrast, interval_of, mean_errors, ranked, seeds_note, words

N = 40


@pytest.fixture
def frames() -> Results:
    rows = [Frame(f"{n}.png", (float(n), 0, 0), (1.0, 0.0, 0.0, 0.0), split="test", timestamp=n) for n in range(N)]
    table = Frames.from_rows(Path(), rows)
    return Results("", "data", "", "original", "test", "", {}, table)


def around(level: float, seed: int) -> Errors:
    noise_N = np.random.default_rng(seed).uniform(-0.1, 0.1, N)
    return level + noise_N, 10 * level + noise_N


def verdicts(frames: Results, first: list[float], other: list[float]) -> list[str]:
    pair = [[around(level, n + 10 * side) for n, level in enumerate(one)] for side, one in enumerate((first, other))]
    return [row["verdict"] for row in contrast(frames, "overall", *pair)]


def test_better_needs_every_pair_of_trainings(frames: Results) -> None:
    assert verdicts(frames, [2, 2.5], [1, 1.2]) == [BETTER, BETTER]
    assert verdicts(frames, [1, 1.2], [2, 2.5]) == [WORSE, WORSE]
    assert verdicts(frames, [2, 4], [1, 2.5]) == [SAME, SAME], "2.5 is no better than 2"
    assert verdicts(frames, [2], [2]) == [SAME, SAME]


def test_numbers_by_hand(frames: Results) -> None:
    row = contrast(frames, "overall", [(np.full(N, 3.0), np.full(N, 9.0))], [(np.full(N, 2.0), np.full(N, 9.0))])[0]
    assert (row["difference"], row["difference_ci95"]) == (-1.0, [-1.0, -1.0])
    assert row["seeds"] == {"first": 1, "other": 1, "lowest": -1.0, "highest": -1.0}
    found = spread(frames, [(np.full(N, 1.0), np.full(N, 4.0)), (np.full(N, 3.0), np.full(N, 4.0))])
    assert (found["median_position_m"], found["median_position_m_seeds"]) == (2.0, [1.0, 3.0])
    assert found["median_orientation_deg_ci95"] == [4.0, 4.0]


def test_a_failure_is_infinite_and_two_are_no_difference(frames: Results) -> None:
    lost = (np.full(N, np.inf), np.full(N, 180.0))
    assert np.isinf(mean_errors([lost, around(1, 0)])[0]).all()
    assert contrast(frames, "overall", [lost], [lost])[0]["difference"] == 0.0
    assert contrast(frames, "overall", [lost], [around(1, 0)])[0]["verdict"] == BETTER


def test_words(frames: Results) -> None:
    rows = contrast(frames, "overall", [around(2, 0)], [around(1, 1)])
    assert words(rows, "B", "A").startswith("B is better in position (-1.")
    assert len({seeds_note({"a": count, "b": 3}) for count in (1, 2, 3)}) == 3


def test_the_average_of_scenes_is_judged_by_averages() -> None:
    """Pooled, the many images of one scene would outvote the others."""
    sizes, growth = (60, 16, 16), (0.1, -2.0, -2.0)
    rows = [
        Frame(f"{scene}/{n}.png", (float(n), 0, 0), (1.0, 0, 0, 0), scene=scene, split="test", timestamp=n)
        for scene, size in zip("abc", sizes, strict=True)
        for n in range(size)
    ]
    frames = Results("", "data", "", "original", "test", "", {}, Frames.from_rows(Path(), rows))
    first_N, grown_N = np.full(sum(sizes), 5.0), np.repeat(growth, sizes)
    row, _ = ranked(frames, [(first_N, first_N)], [(first_N + grown_N, first_N)])
    assert (row["group"], row["verdict"]) == (AVERAGE, BETTER)
    assert row["seeds"]["lowest"] == row["seeds"]["highest"] == pytest.approx(-1.3)
    found = spread(frames, [(first_N + grown_N, first_N), (first_N + grown_N + 1, first_N)])
    assert found["median_position_m"] == pytest.approx(4.2)
    assert found["median_position_m_seeds"] == pytest.approx([3.7, 4.7])
    assert found["median_position_m_ci95"] == pytest.approx([4.2, 4.2])
    assert interval_of(frames, grown_N)[:3] == pytest.approx((-1.3,) * 3)


def test_words_say_scene_units(frames: Results) -> None:
    bare = dataclasses.replace(frames, unit="scene units")
    rows = contrast(bare, "overall", [around(2, 0)], [around(1, 1)])
    assert "scene units), " in words(rows, "B", "A")


def test_the_interval_is_of_the_number_beside_it(frames: Results) -> None:
    """Independent trainings: the mean of their medians is not the median of their means, but in its own interval."""
    random = np.random.default_rng(3)
    for _ in range(20):
        trainings = [(random.exponential(size=N), random.exponential(size=N)) for _ in range(5)]
        found = spread(frames, trainings)
        low, high = found["median_position_m_ci95"]
        assert low <= found["median_position_m"] <= high
        assert found["median_position_m"] == pytest.approx(np.mean([np.median(one[0]) for one in trainings]))
