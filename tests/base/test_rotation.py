"""Which way is up in a picture from above; matrices are compared in test_poses.py and nn/test_geometry.py."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from posezoo.base.rotation import axes_from_above

STEEP = np.array([[0.0, 0.0, 0.0], [1.0, 5.0, 9.0]])  # moves least along x


@pytest.mark.parametrize(
    ("up", "axes"),  # right x up of the picture is the world's up: a turn to the left is one to the left
    [([0, -1, 0], (0, 2)), ([0, 1, 0], (2, 0)), ([0, 0, 1], (0, 1)), ([0, 0, -1], (1, 0)), ([1, 0, 0], (1, 2))],
)
def test_from_above_is_what_the_cameras_have_over_their_heads(up: list[int], axes: tuple[int, int]) -> None:
    forward = np.roll(up, 1)
    camera = np.stack([np.cross(-np.array(up), forward), -np.array(up), forward], axis=1)
    x, y, z, w = Rotation.from_matrix(camera).as_quat()
    assert axes_from_above(STEEP, np.array([[w, x, y, z]] * 2)) == axes
    right, above = (np.eye(3)[axis] for axis in axes)
    np.testing.assert_allclose(np.cross(right, above), up)


def test_from_above_without_a_common_up_is_the_plane_of_motion() -> None:
    upside = np.array([[1.0, 0, 0, 0], [0, 0, 0, 1.0]])  # one camera on its head
    assert set(axes_from_above(STEEP, upside)) == {1, 2}
    assert axes_from_above(np.zeros((0, 3)), np.zeros((0, 4))) == (0, 1)
