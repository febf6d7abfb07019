"""The picture of a data set, read back from what is drawn."""

from __future__ import annotations

from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from matplotlib.quiver import Quiver
from naming import naming
from scipy.spatial.transform import Rotation

from posezoo.base.errors import DataError
from posezoo.base.spec import Frame
from posezoo.data import plot
from posezoo.data.open import Dataset, open_dataset
from posezoo.data.table import Frames


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
    figure = plot.dataset_paths(Dataset("turned", "indoor", Frames.from_rows(Path(), rows)))
    (axes,) = figure.axes
    (arrows,) = [drawn for drawn in axes.collections if isinstance(drawn, Quiver)]
    shown = [axis for axis in range(3) if axis != flat]
    assert [axes.get_xlabel()[0], axes.get_ylabel()[0]] == ["xyz"[axis] for axis in shown]
    looking_N3 = turns.apply([0.0, 0.0, 1.0])
    np.testing.assert_allclose(np.stack([arrows.U, arrows.V], 1), looking_N3[:, shown], atol=1e-12)
    np.testing.assert_allclose(arrows.get_offsets(), position_N3[:, shown], atol=1e-12)


def test_weather_is_told_by_colour() -> None:
    figure = plot.dataset_paths(open_dataset("demo-loop"))
    words = [text.get_text() for text in figure.legends[0].texts]
    assert words == ["train, overcast (400)", *(f"test, {w} (60)" for w in ("overcast", "sunny", "evening", "winter"))]
    (axes,) = figure.axes
    arrows = [drawn for drawn in axes.collections if isinstance(drawn, Quiver)]
    colours = [tuple(drawn.get_facecolor()[0]) for drawn in arrows]
    assert len(colours) == 5 and len(set(colours)) == 4, "train and test of one weather share their colour"
    assert all(drawn.get_zorder() > line.get_zorder() for drawn in arrows for line in axes.lines)


def test_a_panel_for_each_scene(tmp_path: Path) -> None:
    frames = open_dataset("demo-places").frames
    figure = plot.dataset_paths(Dataset("demo-places", "outdoor", frames))
    assert len(figure.axes) == 3
    path = plot.save_dataset_plot(Dataset("three", "outdoor", frames), tmp_path / "three.png")
    assert matplotlib.image.imread(path)[..., :3].std() > 0.05
    with pytest.raises(DataError, match=naming("none")):
        plot.save_dataset_plot(Dataset("none", "indoor", frames.of_split("val")), path)
