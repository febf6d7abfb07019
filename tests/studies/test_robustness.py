"""Curves by severity and the picture of all changes."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_studies import study

pytest.importorskip("kornia", reason="extra: weather")
pytestmark = pytest.mark.usefixtures("no_pictures")


def test_the_study_on_small_models(one_place: Path, tmp_path: Path) -> None:
    more = {"study.kinds": ["night", "blur"], "study.severities": [1, 5], "study.images": 4}
    found = study("robustness", "posenet", data=one_place, out=tmp_path, **more)
    assert found["num_images"] == 4
    assert [(row["kind"], row["severity"]) for row in found["conditions"]] == [
        ("original", 0),
        ("night", 1),
        ("night", 5),
        ("blur", 1),
        ("blur", 5),
    ]
    assert len({row["median_position_m"] for row in found["conditions"]}) == 5
    assert "severity 5" in found["verdict"]
    assert found["figures"] == ["robustness.png", "pictures.png"]
