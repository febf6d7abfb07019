"""The error map: turning by hand, numbers, and its command."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import faults
import numpy as np
import pytest
from command_line import ok, strict_json
from small_runs import Train

from posezoo.base.spec import Frame
from posezoo.data.table import Frames
from posezoo.evaluation.report import Report
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


def test_the_share_improved_is_of_each_group(tmp_path: Path) -> None:
    """Better in the sun, worse in the rain; the third model finds the second half hard."""
    rows = [
        Frame(f"{n}.png", (float(n), 0, 0), (1.0, 0, 0, 0), split="test", timestamp=n, condition=["sun", "rain"][n % 2])
        for n in range(40)
    ]
    frames = Frames.from_rows(Path(), rows)

    def report(error_N: np.ndarray) -> Report:
        poses = dataclasses.replace(frames.poses(), position=frames.position + error_N[:, None] * [0, 1, 0])
        return Report("m", "data", "", "original", "test", "", {"m": poses}, frames)

    n_N = np.arange(40)
    other = np.where(n_N % 2, 3.0, np.where(n_N < 20, 1.0, 1.5))
    found = error_map.error_map(("a", "b"), report(np.full(40, 2.0)), report(other), tmp_path, report(1.0 + n_N))
    share = {(row["by"], row["group"]): row["share_improved"] for row in found["differences"] if "pos" in row["error"]}
    assert share[("overall", "overall")] == 0.5
    assert (share[("condition", "sun")], share[("condition", "rain")]) == (1, 0)
    assert all(share[("quarter", name)] == 0.5 for name in np.unique(error_map.quarters(n_N)))
    (hardest,) = [
        row for row in found["differences"] if row["group"] == "hardest quarter" and row["error"] == "position_m"
    ]
    assert (hardest["num"], hardest["median"]) == (10, 2.25), "of 30 to 39"
    assert not any(row["share_improved"] for row in found["differences"] if "orientation" in row["error"])


def test_the_command_writes_map_and_numbers(train: Train, tmp_path: Path, one_place: Path) -> None:
    first, other = (train(epochs=1, seed=seed, out=f"run{seed}").path for seed in (0, 1))
    out = tmp_path / "study"
    found = strict_json(ok("study", "error-map", str(first), str(other), "--out", str(out), "--format", "json"))
    assert found == json.loads((out / "study.json").read_text())
    assert (out / "error-map.png").read_bytes().startswith(b"\x89PNG")
    assert found["verdict"].startswith("B is ")
    errors = [report.errors[report.model][0] for report in (Report.load(run / "report") for run in (first, other))]
    assert found["share_improved"] == np.mean(errors[1] < errors[0])
    assert "another seed" in found["notes"][0]
    command = ["study", "error-map", str(first), str(first), "--out", str(out), "--difficulty", str(other)]
    printed = ok(*command)
    assert "B is" in printed
    assert "easiest quarter" in printed
    found = strict_json((out / "study.json").read_text())
    assert found["share_improved"] == 0
    parts = [row for row in found["differences"] if row["by"] == "quarter" and row["error"] == "position_m"]
    assert tuple(row["group"] for row in parts) == error_map.QUARTERS
    (whole,) = [row for row in found["differences"] if row["by"] == "overall" and row["error"] == "position_m"]
    assert sum(row["num"] for row in parts) == whole["num"]
    assert faults.in_process(["study", "error-map", str(first), str(tmp_path / "nowhere")]).code == 4


def test_scenes_that_are_left_out_are_counted() -> None:
    for count, words in ((8, "B: b"), (10, "8 of 10 scenes shown")):
        rows = [
            Frame(f"{scene}/{n}.png", (float(n), n % 2, 0), (1.0, 0, 0, 0), scene, "test")
            for scene in "abcdefghij"[:count]
            for n in range(4)
        ]
        frames = Frames.from_rows(Path(), rows)
        report = Report("m", "data", "", "original", "test", "", {"m": frames.poses()}, frames)
        figure = error_map.picture(report, np.arange(len(frames)) / 10, ("a", "b"))
        assert figure.get_suptitle().splitlines()[-1] == words
        assert len(figure.axes) == 8 + 1  # and the bar
