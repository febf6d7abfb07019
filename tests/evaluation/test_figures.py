"""What the figures show, read back from what is drawn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from matplotlib.quiver import Quiver
from naming import naming
from scipy.spatial.transform import Rotation

from posezoo.base.errors import DataError, ResourceError, UsageError
from posezoo.base.spec import Frame
from posezoo.data.open import Dataset
from posezoo.data.table import Frames
from posezoo.evaluation import figures, report


@pytest.mark.parametrize("flat", [0, 1, 2])
def test_arrows_point_where_the_cameras_look(flat: int) -> None:
    """The camera's z axis in the world, along the two axes that are shown: a column of the rotation, not a row."""
    random = np.random.default_rng(flat)
    position_N3 = random.normal(size=(6, 3)) * np.where(np.arange(3) == flat, 0.01, 5.0)
    turns = Rotation.random(6, random_state=flat)
    w_last_N4 = turns.as_quat()
    rows = [
        Frame(f"{n}.png", tuple(p), (q[3], q[0], q[1], q[2]), scene="a", split="train", timestamp=n)
        for n, (p, q) in enumerate(zip(position_N3.tolist(), w_last_N4.tolist(), strict=True))
    ]
    figure = figures.dataset_paths(Dataset("turned", "indoor", Frames.from_rows(Path(), rows)))
    (axes,) = figure.axes
    (arrows,) = [drawn for drawn in axes.collections if isinstance(drawn, Quiver)]
    shown = [axis for axis in range(3) if axis != flat]
    assert [axes.get_xlabel()[0], axes.get_ylabel()[0]] == ["xyz"[axis] for axis in shown]
    looking_N3 = turns.apply([0.0, 0.0, 1.0])
    np.testing.assert_allclose(np.stack([arrows.U, arrows.V], 1), looking_N3[:, shown], atol=1e-12)
    np.testing.assert_allclose(arrows.get_offsets(), position_N3[:, shown], atol=1e-12)


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
    with pytest.raises(UsageError, match=r"errors\.xyz"):
        found.plot("errors", tmp_path / "errors.xyz")
    with pytest.raises(ResourceError, match=naming(tmp_path / "absent")):
        found.plot("errors", tmp_path / "absent" / "errors.png")
    assert [path.name for path in tmp_path.iterdir()] == ["errors.svg"]


def test_the_figure_of_a_data_set(make_frames: MakeFrames, tmp_path: Path) -> None:
    data = Dataset("three", "indoor", make_frames(("a", "b", "c")))
    path = figures.save_dataset_plot(data, tmp_path / "three.png")
    assert matplotlib.image.imread(path)[..., :3].std() > 0.05
    with pytest.raises(DataError, match=naming("none")):
        figures.save_dataset_plot(Dataset("none", "indoor", data.frames.of_split("val")), path)
