"""What radii are worth: against scipy, against a count by hand, in tables and files."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

from posezoo.base.poses import Poses
from posezoo.data.table import Frames
from posezoo.evaluation import files, page
from posezoo.evaluation.report import Report
from posezoo.evaluation.uncertainty import ause, kept, spearman, summary

MakeFrames = Callable[..., Frames]
MakeReport = Callable[..., Report]


def poses(familiarity: list[float], metres: list[float], degrees: list[float]) -> Poses:
    count = len(familiarity)
    columns = (np.array(values, dtype=np.float64) for values in (familiarity, metres, degrees))
    names = tuple(f"{n}.png" for n in range(count))
    return Poses(names, np.zeros((count, 3)), np.zeros((count, 4)), (), (), *columns)


def test_by_hand() -> None:
    inf = np.inf
    given = poses([0.9, 0.8, 0.7, 0.6, 0.1], [1, 1, 2, 2, inf], [10, 10, 20, 20, inf])
    error_m, error_deg = np.array([0.5, 1.5, 2.0, 3.0, 50.0]), np.array([5.0, 5.0, 5.0, 25.0, 180.0])
    found = summary(given, (error_m, error_deg))
    assert found is not None
    assert (found["num"], found["num_unfamiliar"]) == (5, 1)
    assert found["coverage_position_m"] == 0.5  # the radius itself is within; the unfamiliar one counts for nothing
    assert found["coverage_orientation_deg"] == 0.75
    assert found["coverage_least_familiar_position_m"] == 0.0  # of four familiar images the last one
    assert found["median_radius_position_m"] == 1.5
    assert found["spearman_position_m"] == pytest.approx(1.0)
    assert found["ause_position_m"] == pytest.approx(0.0)
    assert [row["median"] for row in found["kept_position_m"]] == [2.0, 1.75, 1.75, 1.0, 0.5]
    assert summary(dataclasses.replace(given, radius_m=None), (error_m, error_deg)) is None


def test_rank_correlation_is_scipys() -> None:
    random = np.random.default_rng(0)
    for count in (2, 3, 10, 500):
        a, b = random.integers(0, 5, count).astype(float) + np.arange(count), random.integers(0, 4, count).astype(float)
        a[0], b[0], b[-1] = -5, -1, 9
        assert spearman(a, b) == pytest.approx(spearmanr(a, b).statistic, abs=1e-12)
    assert spearman(np.ones(3), np.arange(3.0)) is None
    assert spearman(np.arange(3.0), np.array([1.0, 2.0, np.inf])) == pytest.approx(1.0)  # a failure is the largest


def test_area_between_the_curves() -> None:
    random = np.random.default_rng(1)
    error_N = random.exponential(size=2000)
    assert ause(error_N, error_N) == pytest.approx(0.0, abs=1e-12)
    areas = [ause(error_N + noise * random.normal(size=2000), error_N) for noise in (0.3, 1.0, 100.0)]
    assert 0 < areas[0] < areas[1] < areas[2]
    # at random the upper curve stays at the mean: for an exponential the area above the lower one is
    # 1 - int_0^1 (1 + (1 - k)/k log(1 - k)) dk = int_0^1 -(1 - k)/k log(1 - k) dk = pi^2/6 - 1
    assert areas[2] == pytest.approx(np.pi**2 / 6 - 1, abs=0.06)
    assert ause(-error_N, error_N) > areas[2]
    assert ause(error_N, np.append(error_N[:-1], np.inf)) is None
    assert ause(error_N, np.zeros(2000)) is None
    # units do not matter
    assert ause(-areas[0] * error_N, 100 * error_N) == pytest.approx(ause(-error_N, error_N))


def test_what_is_kept() -> None:
    rows = kept(np.arange(8.0), np.arange(8.0)[::-1])
    assert [row["median"] for row in rows] == [row["best"] for row in rows] == [3.5, 3.0, 2.5, 1.5, 0.5]
    assert [row["median"] for row in kept(np.arange(8.0), np.arange(8.0))] == [3.5, 4.0, 4.5, 5.5, 6.5]


def test_the_order_of_equally_familiar_images_does_not_matter() -> None:
    random = np.random.default_rng(2)
    familiarity_N, error_N = random.integers(0, 3, 40) / 4, random.exponential(size=40)
    found = []
    for seed in range(6):
        order = np.random.default_rng(seed).permutation(40)
        given = poses(list(familiarity_N[order]), [1.0] * 40, [20.0] * 40)
        found.append(summary(given, (error_N[order], error_N[order])))
    for one in found[1:]:
        assert one is not None and found[0] is not None
        for key, value in found[0].items():
            assert one[key] == (pytest.approx(value) if isinstance(value, float) else value), key
    assert ause(np.ones(40), error_N) is None
    # by hand: of three equally familiar ones, 1, 2 and 6, one is kept beside 9: half of what counts is below 7.5
    (*_, half, quarter) = kept(np.array([2.0, 1, 1, 1, 0, 0, 0, 0]), np.array([9.0, 1, 2, 6, 0, 0, 0, 0]))
    assert (half["median"], quarter["median"]) == (4.0, 7.5)


@pytest.fixture
def report(make_frames: MakeFrames, make_report: MakeReport) -> Report:
    """60 images, of which five are unfamiliar; radii of 0.3 m and 20 deg."""
    plain = make_report(make_frames())
    own, count = plain.methods[plain.model], len(plain.frames)
    error_N = plain.errors[plain.model][0]
    radius_N = np.where(np.arange(count) < 5, np.inf, 0.3)
    known = dataclasses.replace(
        own, familiarity=np.exp(-error_N), radius_m=radius_N, radius_deg=np.where(radius_N > 1, np.inf, 20.0)
    )
    settings: dict[str, Any] = {"calibration": {"source": "folder:walk", "count": 77, "coverage": 0.9}}
    return dataclasses.replace(plain, methods={**plain.methods, plain.model: known}, settings=settings)


def test_in_words_tables_and_files(report: Report, tmp_path: Path) -> None:
    found = report.to_dict()["uncertainty"]
    error_N = report.errors[report.model][0]
    assert found["coverage_position_m"] == pytest.approx(np.mean(error_N[5:] <= 0.3))
    assert (found["source"], found["coverage"], found["num_unfamiliar"]) == ("folder:walk", 0.9, 5)
    titles = [title for title, _, _ in report.table_rows()]
    assert any("77 images, folder:walk" in title and "5 of 60" in title for title in titles)
    for text in (page.html(report), page.markdown(report)):
        assert "folder:walk" in text
        assert f"{100 * found['coverage_position_m']:.1f} %" in text
        assert "5 of 60 are unfamiliar" in text
    (first, *_) = csv.DictReader(io.StringIO(files.predictions(report)))
    assert (first["radius_m"], float(first["familiarity"])) == ("inf", pytest.approx(np.exp(-error_N[0])))


def test_kept_with_a_report(report: Report, tmp_path: Path, no_pictures: None) -> None:
    report.save(tmp_path / "report")
    again = Report.load(tmp_path / "report")
    assert again.to_dict() == report.to_dict()
    assert json.loads((tmp_path / "report" / "report.json").read_text())["uncertainty"]["num"] == 60


def test_a_model_without_radii_has_none(make_frames: MakeFrames, make_report: MakeReport) -> None:
    plain = make_report(make_frames())
    assert plain.uncertainty is None
    assert plain.to_dict()["uncertainty"] is None
    assert not any("radii" in title for title, _, _ in plain.table_rows())
    (first, *_) = csv.DictReader(io.StringIO(files.predictions(plain)))
    assert first["radius_m"] == ""
