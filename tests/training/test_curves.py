"""Learning curves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from posezoo.training import curves

LINES = [
    *({"step": n, "loss": 3 - n / 20, "position_m": 9 / n, "orientation_deg": 90 / n} for n in range(1, 41)),
    *({"step": n, "score": 1.0, "median_position_m": 5 / n, "median_orientation_deg": 50 / n} for n in (20, 40)),
]


def test_what_is_drawn() -> None:
    figure = curves.draw(LINES)
    assert [panel.get_ylabel() for panel in figure.axes] == ["loss", "position (m)", "orientation (deg)"]
    each, mean, validated = figure.axes[1].lines
    np.testing.assert_allclose(each.get_ydata(), [9 / n for n in range(1, 41)])
    begins = [max(n - 2, 0) for n in range(1, 41)]  # a twentieth of 40 steps are two: the one before and itself
    np.testing.assert_allclose(mean.get_ydata(), [np.mean([9 / (n + 1), 9 / (n + 2)]) for n in begins])
    assert each.get_color() == mean.get_color() != validated.get_color()
    assert validated.get_xydata().tolist() == [[20, 0.25], [40, 0.125]]
    assert len(figure.axes[0].lines) == 2, "the loss of validation is not computed"


@pytest.mark.parametrize("lines", [[], LINES[:1], [{**line, "position_m": 0.0} for line in LINES[:3]]])
def test_a_run_of_few_steps(lines: list[dict[str, float]], tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    curves.save(tmp_path / "metrics.jsonl", tmp_path / "a.png", tmp_path / "b.png")
    with Image.open(tmp_path / "a.png") as one, Image.open(tmp_path / "b.png") as other:
        assert one.size == other.size
