"""Predictions on the same axes: numbers as the reports have them, and a picture of every model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from small_studies import study

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
    assert "compared with posenet" in found["verdict"]


def test_one_model_alone(one_place: Path, tmp_path: Path) -> None:
    found = study("trajectory", "posenet", data=one_place, out=tmp_path)
    assert found["against_first"] == {} and "median" in found["verdict"]
