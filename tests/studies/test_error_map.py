"""The error map: turning by hand, numbers, and its command."""

from __future__ import annotations

from pathlib import Path

import faults
import numpy as np
import pytest
from naming import naming
from small_runs import Train
from small_studies import study

from posezoo.base.spec import Frame
from posezoo.data.table import Frames
from posezoo.evaluation.report import Report
from posezoo.evaluation.results import Results
from posezoo.studies import error_map


def test_turning_by_hand() -> None:
    """Metre by metre straight on, then a quarter turn at once, then on."""
    quarter = (float(np.sqrt(0.5)), 0.0, float(np.sqrt(0.5)), 0.0)
    rows = [
        Frame(f"{n}.png", (float(n), 0.0, 0.0), (1.0, 0.0, 0.0, 0.0) if n < 8 else quarter, split="test", timestamp=n)
        for n in range(16)
    ]
    turn_N = error_map.turning(Frames.from_rows(Path(), rows))
    np.testing.assert_allclose(turn_N[:3], 0, atol=1e-6)
    np.testing.assert_allclose(turn_N[3:8], 90, atol=1e-6)
    np.testing.assert_allclose(turn_N[8:11], 0, atol=1e-6)
    assert np.isnan(turn_N[11:]).all()


def test_ranks_correlate() -> None:
    a_N = np.array([1.0, 2, 3, 4, np.nan])
    assert error_map._spearman(a_N, np.array([10.0, 200, 3000, 40000, 1])) == pytest.approx(1)
    assert error_map._spearman(a_N, np.array([4.0, 3, 2, -np.inf, 1])) == pytest.approx(-1)
    assert error_map._spearman(a_N, np.ones(5)) is None


def test_the_share_improved_is_of_each_group() -> None:
    """Better in the sun, worse in the rain; the third model finds the second half hard."""
    rows = [
        Frame(f"{n}.png", (float(n), 0, 0), (1.0, 0, 0, 0), split="test", timestamp=n, condition=["sun", "rain"][n % 2])
        for n in range(40)
    ]
    frames = Results("", "data", "", "original", "test", "", {}, Frames.from_rows(Path(), rows))
    n_N, same_N = np.arange(40), np.zeros(40)
    before, after = np.full(40, 2.0), np.where(n_N % 2, 3.0, np.where(n_N < 20, 1.0, 1.5))
    found = error_map.differences(frames, [(before, same_N)], [(after, same_N)], 1.0 + n_N)
    share = {(row["by"], row["group"]): row["share_improved"] for row in found if "pos" in row["error"]}
    assert share[("overall", "overall")] == 0.5
    assert (share[("condition", "sun")], share[("condition", "rain")]) == (1, 0)
    assert all(share[("quarter", name)] == 0.5 for name in np.unique(error_map.quarters(n_N)))
    (hardest,) = [row for row in found if row["group"] == "hardest quarter" and row["error"] == "position_m"]
    assert (hardest["num"], hardest["median"]) == (10, 2.25), "of 30 to 39"
    assert hardest["median_ci95"] == [1.5, 3] and hardest["median_first_ci95"] == [2, 2]
    assert not any(row["share_improved"] for row in found if "orientation" in row["error"])


def test_a_gain_is_of_the_means_over_trainings() -> None:
    first = [(np.array([1.0, 2.0]), np.zeros(2)), (np.array([3.0, np.inf]), np.zeros(2))]
    other = [(np.array([1.0, np.inf]), np.zeros(2))]
    np.testing.assert_array_equal(error_map.gained(first, other), [-1, 0])


def test_architectures_are_trained_and_runs_taken(train: Train, one_place: Path, tmp_path: Path) -> None:
    """As in any study: with each seed, once, on the data that are named."""
    run, out = train(epochs=1, seed=1, out="run1"), tmp_path / "out"
    found = study("error-map", "posenet", str(run.path), data=one_place, out=out)
    (trained,) = found["models"]["posenet"]
    assert Path(trained).is_relative_to(out / "runs") and found["models"][str(run.path)] == [str(run.path)]
    assert found["unit"] == "m" and found["figures"] == ["error-map.png"]
    assert found["verdict"].endswith("compared with posenet")
    reports = [Report.load(Path(one) / "report") for one in (trained, run.path)]
    errors = [report.errors[report.model][0] for report in reports]
    assert found["share_improved"] == {str(run.path): pytest.approx(np.mean(errors[1] < errors[0]))}
    assert any("another seed" in note for note in found["notes"])
    before = (Path(trained) / "config.toml").stat().st_mtime_ns
    judged = study("error-map", "posenet", str(run.path), data=one_place, out=out, **{"study.difficulty": trained})
    assert (Path(trained) / "config.toml").stat().st_mtime_ns == before
    (rows,) = judged["differences"].values()
    parts = [row for row in rows if row["by"] == "quarter" and row["error"] == "position_m"]
    assert tuple(row["group"] for row in parts) == error_map.QUARTERS
    (whole,) = [row for row in rows if row["by"] == "overall" and row["error"] == "position_m"]
    assert sum(row["num"] for row in parts) == whole["num"]


def test_what_tells_difficulty_is_a_trained_model(tmp_path: Path) -> None:
    words = ["study", "error-map", "posenet", "atloc", "study.difficulty=nowhere", "--out", str(tmp_path / "out")]
    faults.assert_fails(words, 2, naming("nowhere"))
    assert not (tmp_path / "out").exists()


def test_scenes_that_are_left_out_are_counted() -> None:
    for count, words in ((8, "B: b"), (10, "8 of 10 scenes shown")):
        rows = [
            Frame(f"{scene}/{n}.png", (float(n), n % 2, 0), (1.0, 0, 0, 0), scene, "test")
            for scene in "abcdefghij"[:count]
            for n in range(4)
        ]
        frames = Frames.from_rows(Path(), rows)
        report = Results("", "data", "", "original", "test", "", {}, frames)
        figure = error_map.picture(report, np.arange(len(frames)) / 10, ("a", "b"))
        assert figure.get_suptitle().splitlines()[-1] == words
        assert len(figure.axes) == 8 + 1  # and the bar
