"""Medians over trainings as they are printed, and what is said of their intervals; numbers: test_paired.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from posezoo.base.spec import Frame
from posezoo.data.table import Frames
from posezoo.evaluation.results import Results
from posezoo.studies import medians


def results(scenes: str = "a", sequences: str = "x") -> Results:
    """Forty images of each scene and sequence."""
    rows = [
        Frame(f"{s}/{q}/{n}.png", (float(n), 0, 0), (1.0, 0, 0, 0), s, "test", sequence=q, timestamp=n)
        for s in scenes
        for q in sequences
        for n in range(40)
    ]
    return Results("", "data", "", "original", "test", "", {}, Frames.from_rows(Path(), rows))


def test_a_cell_has_both_medians_with_their_intervals() -> None:
    error_N = np.linspace(0, 2, 40)
    row = medians.spread(results(), [(error_N, 10 * error_N), (error_N + 0.5, 10 * error_N)])
    low, high = row["median_position_m_ci95"]
    metres, degrees = medians.shown(row).splitlines()
    assert metres == f"{1.25:.2f} ({medians.short(low)} to {medians.short(high)}) m"
    assert low < 1.25 < high and degrees.startswith("10.00 (") and degrees.endswith(") deg")
    assert medians.ranges(row).splitlines() == ["1.00 to 1.50", "10.00 to 10.00"]
    assert not medians.ranges(medians.spread(results(), [(error_N, error_N)]))


def test_what_has_no_interval_is_a_number() -> None:
    assert medians.with_ends(0.256, None) == "0.26"
    assert medians.with_ends(0.256, (0.1, 3)) == "0.26 (0.1 to 3.00)"


@pytest.mark.parametrize(
    ("scenes", "sequences", "trainings", "said", "unsaid"),
    [
        ("a", "x", 1, ["this training", "neighbouring"], ["sequences too", "scene", "mean"]),
        ("a", "xy", 3, ["sequences too", "mean over a model's trainings"], ["scene"]),
        ("ab", "x", 1, ["each scene by itself"], []),
    ],
)
def test_what_the_intervals_are_over(
    scenes: str, sequences: str, trainings: int, said: list[str], unsaid: list[str]
) -> None:
    text = medians.note(results(scenes, sequences), trainings)
    assert all(words in text for words in [*said, "another seed"])
    assert not any(words in text for words in unsaid)
