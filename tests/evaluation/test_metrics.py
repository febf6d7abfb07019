"""Errors against scipy, summaries against numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation

from posezoo.evaluation import metrics

quaternions = arrays(np.float64, 4, elements=st.floats(-1, 1)).filter(lambda q: np.linalg.norm(q) > 1e-2)
axes = arrays(np.float64, 3, elements=st.floats(-1, 1)).filter(lambda v: np.linalg.norm(v) > 1e-2)


def orientation_error(a: np.ndarray, b: np.ndarray) -> float:
    zero_13 = np.zeros((1, 3))
    return float(metrics.pose_errors(zero_13, a[None], zero_13, b[None])[1][0])


@given(quaternions, quaternions)
def test_orientation_error_is_the_magnitude_of_the_relative_rotation(a: np.ndarray, b: np.ndarray) -> None:
    relative = Rotation.from_quat(a, scalar_first=True).inv() * Rotation.from_quat(b, scalar_first=True)
    assert orientation_error(a, b) == pytest.approx(np.rad2deg(relative.magnitude()), abs=1e-9)


@given(quaternions, axes, st.sampled_from([1e-12, 1e-9, 1e-6, 1e-3, 1.0, 179.0, 179.999999, 180.0]))
def test_tiny_and_half_turn_angles_keep_their_digits(a: np.ndarray, axis: np.ndarray, angle_deg: float) -> None:
    turn = Rotation.from_rotvec(axis / np.linalg.norm(axis) * np.deg2rad(angle_deg))
    b = (Rotation.from_quat(a, scalar_first=True) * turn).as_quat(scalar_first=True)
    assert orientation_error(a, b) == pytest.approx(angle_deg, abs=1e-9)


@given(quaternions, quaternions, st.floats(0.1, 10))
def test_sign_and_length_of_quaternions_do_not_matter(a: np.ndarray, b: np.ndarray, length: float) -> None:
    assert orientation_error(-a, length * b) == pytest.approx(orientation_error(a, b), abs=1e-9)
    assert orientation_error(a, b) == pytest.approx(orientation_error(b, a), abs=1e-9)
    assert orientation_error(a, a) < 1e-9


def test_position_error_keeps_millimetres_far_from_the_origin() -> None:
    true_13 = np.array([[5_735_000.0, 620_000.0, 110.0]])
    identity_14 = np.array([[1.0, 0, 0, 0]])
    moved_13 = true_13 + np.array([0.003, 0.004, 0])
    position, _ = metrics.pose_errors(moved_13, identity_14, true_13, identity_14)
    assert position[0] == pytest.approx(0.005, abs=1e-6)


@pytest.mark.parametrize(
    ("position", "quaternion"),
    [
        ([np.nan, 0, 0], [1, 0, 0, 0]),
        ([0, np.inf, 0], [1, 0, 0, 0]),
        ([0, 0, 0], [np.nan] * 4),
        ([0, 0, 0], [0, -np.inf, 0, 0]),
        ([0, 0, 0], [0, 0, 0, 0]),
    ],
)
def test_a_failed_prediction_is_infinitely_wrong(position: list[float], quaternion: list[float]) -> None:
    true_N3, true_N4 = np.zeros((2, 3)), np.tile([1.0, 0, 0, 0], (2, 1))
    position_N3, quaternion_N4 = np.array([position, [0, 0, 1]]), np.array([quaternion, [1, 0, 0, 0]])
    with np.errstate(all="raise"):
        errors = metrics.pose_errors(position_N3, quaternion_N4, true_N3, true_N4)
    assert errors[0].tolist() == [np.inf, 1.0]
    assert errors[1].tolist() == [180.0, 0.0]
    summary = metrics.summarise(*errors)
    assert (summary["num"], summary["num_failed"]) == (2, 1)
    assert summary["mean_position_m"] == np.inf


@given(arrays(np.float64, st.integers(1, 60), elements=st.floats(0, 100)))
def test_summary_agrees_with_numpy(error_N: np.ndarray) -> None:
    summary = metrics.summarise(error_N, error_N[::-1].copy())
    assert summary["median_position_m"] == np.median(error_N)
    assert summary["median_orientation_deg"] == np.median(error_N)
    assert summary["mean_position_m"] == np.mean(error_N)
    assert summary["p90_position_m"] in error_N


def test_recalls_need_both_errors_strictly_below() -> None:
    position = np.array([0.05, 0.049, 0.049, 0.3, 4.9, 5.0])
    orientation = np.array([1.0, 5.0, 4.9, 4.9, 9.9, 1.0])
    summary = metrics.summarise(position, orientation)
    found = [summary[f"recall_{name}"] * 6 for name in ("5cm_5deg", "0.25m_2deg", "0.5m_5deg", "5m_10deg")]
    assert found == pytest.approx([1, 1, 3, 5])


def test_average_is_the_unweighted_mean_of_scenes() -> None:
    few = metrics.summarise(np.full(2, 1.0), np.full(2, 10.0))
    many = metrics.summarise(np.full(50, 3.0), np.full(50, 20.0))
    mean = metrics.average([few, many])
    assert (mean["median_position_m"], mean["median_orientation_deg"]) == (2.0, 15.0)
    assert (mean["num"], mean["num_failed"]) == (52, 0)
