"""What the figures show, read back from what is drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.quiver import Quiver
from scipy.spatial.transform import Rotation

from posezoo.base.spec import Frame
from posezoo.data.open import Dataset
from posezoo.data.table import Frames
from posezoo.evaluation import figures


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
