"""What the figures show, read back from what is drawn."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from matplotlib.quiver import Quiver
from naming import naming

from posezoo.base.errors import ResourceError, UsageError
from posezoo.base.rotation import rotation_matrix
from posezoo.data.table import Frames
from posezoo.evaluation import report

MakeFrames = Callable[..., Frames]


MakeReport = Callable[..., report.Report]


@pytest.mark.parametrize("kind", report.FIGURES)
@pytest.mark.parametrize(
    ("scenes", "conditions", "failures"),
    [
        (("loop",), ("",), 0),
        (("loop",), ("sun", "rain", "night", "snow", "dusk"), 3),
        (tuple("abcdefghi"), ("",), 0),
        (("loop",), ("",), 60),
    ],
)
def test_figures_are_not_blank(
    make_frames: MakeFrames,
    make_report: MakeReport,
    tmp_path: Path,
    kind: str,
    scenes: tuple[str, ...],
    conditions: tuple[str, ...],
    failures: int,
) -> None:
    figure = make_report(make_frames(scenes, conditions), failures=failures).plot(kind, tmp_path / "figure.png")
    pixels_HWC = matplotlib.image.imread(tmp_path / "figure.png")
    assert pixels_HWC[..., :3].std() > 0.05
    expected = 2 if kind == "errors" else min(8, max(len(scenes), len(conditions))) + 1  # and the colour bar
    assert len(figure.axes) == expected


def test_picture_formats(make_frames: MakeFrames, make_report: MakeReport, tmp_path: Path) -> None:
    found = make_report(make_frames())
    found.plot("errors", tmp_path / "errors.svg")
    assert "<svg" in (tmp_path / "errors.svg").read_text()
    assert all(path.read_bytes().startswith(b"%PDF") for path in found.draw(tmp_path, "pdf"))
    with pytest.raises(UsageError, match=r"errors\.xyz"):
        found.plot("errors", tmp_path / "errors.xyz")
    with pytest.raises(ResourceError, match=naming(tmp_path / "absent")):
        found.plot("errors", tmp_path / "absent" / "errors.png")
    assert {path.name for path in tmp_path.iterdir()} == {"errors.svg", "errors.pdf", "trajectory.pdf"}


def test_headings_are_drawn_where_the_model_looks(make_frames: MakeFrames, make_report: MakeReport) -> None:
    found = make_report(make_frames(num=20), spread=0.01)
    panel, bar = found.plot("trajectory").axes
    (arrows,) = [drawn for drawn in panel.collections if isinstance(drawn, Quiver)]
    poses = found.methods[found.model]
    axes = ["xyz".index(label[0]) for label in (panel.get_xlabel(), panel.get_ylabel())]
    looking_N3 = rotation_matrix(poses.quaternion)[:, :, 2]
    np.testing.assert_allclose(np.stack([arrows.U, arrows.V], 1), looking_N3[:, axes], atol=1e-12)
    np.testing.assert_allclose(arrows.get_offsets(), poses.position[:, axes], atol=1e-12)
    np.testing.assert_array_equal(arrows.get_array(), found.errors[found.model][0])


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_what_is_outside_is_drawn_at_the_edge_and_explained(
    make_frames: MakeFrames, make_report: MakeReport, theme: str
) -> None:
    found = make_report(make_frames(num=200), spread=0.001)
    (before,) = (text.get_text() for text in found.plot("trajectory", theme=theme).legends[0].texts[-1:])
    assert "outside" not in before
    found.methods[found.model].position[:1] = 1e4
    found.errors[found.model][0][:1] = 1e4
    figure = found.plot("trajectory", theme=theme)
    assert "outside" in figure.legends[0].texts[-1].get_text() and "1 outside" in figure.axes[0].get_title()
    crosses = figure.axes[0].collections[-1].get_offsets()
    np.testing.assert_allclose(crosses, [[figure.axes[0].get_xlim()[1], figure.axes[0].get_ylim()[1]]])


def test_names_with_a_dollar_do_not_end_an_evaluation(
    make_frames: MakeFrames, make_report: MakeReport, tmp_path: Path
) -> None:
    frames = make_frames(("$5_{a$", "fire"), ("$^$", "rain"), num=10)
    report = dataclasses.replace(make_report(frames), data="folder:$_{$")
    report.draw(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"trajectory.png", "errors.png"}
