"""Predictions on the same axes: numbers as the reports have them, and a picture of every model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from small_studies import study

from posezoo.base.observe import Observer
from posezoo.base.plan import View
from posezoo.data.splits import runs
from posezoo.evaluation.report import Report
from posezoo.studies import trajectory
from posezoo.studies.measure import Album, Answers, open_album
from posezoo.studies.subjects import Request

pytestmark = pytest.mark.usefixtures("no_pictures")


def test_the_study_on_small_models(one_place: Path, tmp_path: Path) -> None:
    found = study("trajectory", "posenet", "posenet+hyper", data=one_place, out=tmp_path, **{"hyper.rank": 4})
    for row in found["errors"]:
        (run,) = found["models"][row["model"]]
        report = json.loads((Path(run) / "report" / "report.json").read_text())
        stored = next(one for one in report["results"]["overall"] if one["method"] == report["model"])
        for key in ("median_position_m", "mean_position_m", "median_orientation_deg", "mean_orientation_deg"):
            np.testing.assert_allclose(row[key], stored[key], rtol=1e-5)
    assert list(found["against_first"]) == ["posenet+hyper"]
    reports = [Report.load(Path(found["models"][name][0]) / "report") for name in ("posenet", "posenet+hyper")]
    first_N, other_N = (report.errors[report.model][0] for report in reports)
    told = found["against_first"]["posenet+hyper"][0]["difference"]
    assert told == pytest.approx(np.median(other_N - first_N), rel=1e-4)
    assert "compared with posenet" in found["verdict"]


def test_one_model_alone(one_place: Path, tmp_path: Path) -> None:
    found = study("trajectory", "posenet", data=one_place, out=tmp_path)
    assert found["against_first"] == {} and "median" in found["verdict"]


def test_titles_have_the_errors_of_the_table(one_place: Path, tmp_path: Path) -> None:
    """Indoor errors keep their digits; a failed pose is infinitely far and counted, not outside and not nan."""
    album = open_album(Request((), f"folder:{one_place}", tmp_path), Observer())
    (part,) = runs(album.frames)
    position = album.frames.position.copy()
    position[:, 1] += 0.052
    poses = Answers(position, album.frames.quaternion.copy())
    assert "mean 0.052, median 0.052 m" in title(album, poses, part)
    position[part[0]] = np.nan
    assert title(album, poses, part).endswith("mean inf, median 0.052 m, 1 failed")
    position[part[1]] = 1e6
    poses.quaternion[part[2]] = 0
    assert title(album, poses, part).endswith("mean inf, median 0.052 m, 1 outside, 2 failed")


def title(album: Album, poses: Answers, part: np.ndarray) -> str:
    axes = Figure().add_subplot()
    trajectory._panel(axes, album, part, poses, View.of(album.frames.position, album.frames.quaternion))
    return axes.get_title()
