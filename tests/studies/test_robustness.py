"""Curves by severity and the picture of all changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_studies import study

from posezoo.base.spec import Frame
from posezoo.data.table import Frames
from posezoo.evaluation.results import Results
from posezoo.studies import robustness
from posezoo.studies.measure import Condition

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


def test_who_is_better_under_what_by_hand() -> None:
    """As they are both are 1 m off; in fog 3 m and 2 m."""
    rows = [Frame(f"{n}.png", (float(n), 0, 0), (1.0, 0, 0, 0), split="test", timestamp=n) for n in range(40)]
    frames = Results("", "data", "", "original", "test", "", {}, Frames.from_rows(Path(), rows))
    conditions = [Condition(name, np.arange(40)) for name in ("original", "fog-3")]
    one, two, three = ((np.full(40, m), np.full(40, m)) for m in (1.0, 2.0, 3.0))
    table = robustness._table(frames, conditions, {"one": [[one, three]], "other": [[one, two]]})
    assert [(row["kind"], row["model"], [one["difference"] for one in row["against_first"]]) for row in table] == [
        *(("original", "one", []), ("original", "other", [0.0, 0.0])),
        *(("fog", "one", []), ("fog", "other", [-1.0, -1.0])),
    ]
    told = robustness._verdict(table, ["one", "other"], robustness.Options(severities=(3,)))
    assert told.startswith("one goes from 1.00 m to 3.00 m under fog of severity 3. other against one in position:")
    assert "better in 1 of 1; worse in 0 of 1" in told
    last = robustness._shown(table)[-1]
    assert list(last.values()) == ["fog-3", "other", "2.00 (2.00 to 2.00) m\n2.00 (2.00 to 2.00) deg", "better"]
