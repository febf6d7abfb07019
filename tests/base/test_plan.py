"""A place from above: limits, pieces of paths, chosen headings."""

from __future__ import annotations

import numpy as np

from posezoo.base import plan
from posezoo.base.picture import Picture

FORWARD_Y = np.array([0.7071067811865476, -0.7071067811865476, 0.0, 0.0])  # looks along y, z is up


def test_all_that_is_true_fits_and_the_farthest_prediction_does_not() -> None:
    position_N3 = np.stack([np.arange(200.0), np.zeros(200), np.zeros(200)], axis=1)
    predicted_N3 = position_N3.copy()
    predicted_N3[7] = [0, 1e6, 0]
    predicted_N3[8] = np.nan
    view = plan.View.of(position_N3, np.tile(FORWARD_Y, (200, 1)), [position_N3 - 50], predicted_N3)
    assert view.pair == [0, 1]
    assert view.low[0] < -50 and view.high[0] > 199 and view.high[1] < 1000
    assert np.flatnonzero(~view.inside(predicted_N3[:, :2])).tolist() == [7, 8]


def test_a_line_between_two_drives_was_never_driven() -> None:
    position_N3 = np.stack([np.r_[0:5, 100:105, 0:5], np.zeros(15), np.zeros(15)], axis=1).astype(float)
    sequence_N = np.array(["a"] * 10 + ["b"] * 5)
    assert [len(piece) for piece in plan.pieces(position_N3, sequence_N)] == [5, 5, 5]


def test_headings_are_chosen_evenly() -> None:
    count = 10 * plan.MOST_HEADINGS + 1
    position_N3 = np.stack([np.arange(count), np.zeros(count), np.zeros(count)], axis=1).astype(float)
    quaternion_N4 = np.tile(FORWARD_Y, (count, 1))
    view = plan.View.of(position_N3, quaternion_N4)
    axes = Picture().add_subplot()
    arrows = plan.draw_headings(axes, view, position_N3, quaternion_N4, np.arange(count, dtype=float))
    assert len(arrows.U) <= plan.MOST_HEADINGS
    np.testing.assert_allclose(np.diff(arrows.get_offsets()[:, 0]), 11)
    np.testing.assert_allclose(arrows.V, 1)
    np.testing.assert_array_equal(arrows.get_array(), arrows.get_offsets()[:, 0])
