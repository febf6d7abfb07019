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


def test_a_number_too_large_to_square_is_wrong_without_a_warning() -> None:
    identity_14 = np.array([[1.0, 0, 0, 0]])
    position_N, _ = metrics.pose_errors(np.array([[1e300, 0, 0]]), identity_14, np.zeros((1, 3)), identity_14)
    assert position_N[0] > 1e299


@given(arrays(np.float64, st.integers(1, 60), elements=st.floats(0, 100)))
def test_summary_agrees_with_numpy(error_N: np.ndarray) -> None:
    summary = metrics.summarise(error_N, error_N[::-1].copy())
    assert summary["median_position_m"] == np.median(error_N)
    assert summary["median_orientation_deg"] == np.median(error_N)
    assert summary["mean_position_m"] == np.mean(error_N)
    assert summary["p90_position_m"] in error_N


def test_ninety_of_a_hundred_are_no_worse_than_the_90th_percentile() -> None:
    error_N = np.random.default_rng(0).permutation(100).astype(float)
    assert metrics.summarise(error_N, error_N)["p90_position_m"] == 90


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


def moved(
    random: np.random.Generator, position_N3: np.ndarray, quaternion_N4: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The poses in a world that is turned and shifted; every other quaternion with its other sign."""
    turn = Rotation.random(rng=random)
    quaternion = (turn * Rotation.from_quat(quaternion_N4, scalar_first=True)).as_quat(scalar_first=True)
    return turn.apply(position_N3) + random.normal(size=3) * 1e3, quaternion * np.resize([1, -1], (len(position_N3), 1))


def test_where_the_world_s_axes_lie_does_not_matter() -> None:
    random = np.random.default_rng(0)
    poses = [
        (random.normal(size=(40, 3)), Rotation.random(40, rng=random).as_quat(scalar_first=True)) for _ in range(2)
    ]
    expected = metrics.pose_errors(*poses[0], *poses[1])
    for seed in range(5):
        elsewhere = [moved(np.random.default_rng(seed), *one) for one in poses]
        for found, error_N in zip(metrics.pose_errors(*elsewhere[0], *elsewhere[1]), expected, strict=True):
            np.testing.assert_allclose(found, error_N, rtol=1e-9, atol=1e-9)
    order = random.permutation(40)
    turned = metrics.pose_errors(*(part[order] for pose in poses for part in pose))
    for found, error_N in zip(turned, expected, strict=True):
        np.testing.assert_array_equal(found, error_N[order])
    assert metrics.summarise(*turned) == pytest.approx(metrics.summarise(*expected))


right = metrics.pose_errors


def signed(a_N4: np.ndarray, b_N4: np.ndarray) -> np.ndarray:
    """Without |w|: q and -q are 360 degrees apart."""
    product_N = (a_N4 * b_N4).sum(-1) / np.linalg.norm(a_N4, axis=1) / np.linalg.norm(b_N4, axis=1)
    return np.rad2deg(2 * np.arccos(np.clip(product_N, -1, 1)))


PLANTED = {
    "q and -q differ": ("angle_deg", signed),
    "half of the angle": ("angle_deg", lambda a, b: 0.5 * np.minimum(signed(a, b), 360 - signed(a, b))),
    "float32 angles": ("angle_deg", lambda a, b: signed(a.astype(np.float32), b.astype(np.float32))),
    "the largest coordinate": ("pose_errors", lambda t, q, u, r: (np.abs(t - u).max(-1), right(t, q, u, r)[1])),
    "in the camera's frame": ("pose_errors", lambda t, q, u, r: (np.abs((t - u).sum(-1)), right(t, q, u, r)[1])),
    "failures count as zero": ("pose_errors", lambda t, q, u, r: tuple(map(np.nan_to_num, right(t, q, u, r)))),
    "float32 positions": (
        "pose_errors",
        lambda t, q, u, r: (np.linalg.norm(t.astype(np.float32) - u.astype(np.float32), axis=-1), right(t, q, u, r)[1]),
    ),
    "mean for median": (
        "summarise",
        lambda m, d, given=metrics.summarise: given(m, d) | {"median_position_m": float(np.mean(m))},
    ),
    "either error below": (
        "summarise",
        lambda m, d, given=metrics.summarise: given(m, d) | {"recall_5m_10deg": float(np.mean((m < 5) | (d < 10)))},
    ),
}


def checks() -> None:
    """What this file says of the metrics, without hypothesis."""
    test_where_the_world_s_axes_lie_does_not_matter()
    test_position_error_keeps_millimetres_far_from_the_origin()
    test_a_failed_prediction_is_infinitely_wrong([np.nan, 0, 0], [1, 0, 0, 0])
    test_recalls_need_both_errors_strictly_below()
    test_average_is_the_unweighted_mean_of_scenes()
    axis = np.array([1.0, 2.0, -2.0])
    for angle_deg in (1e-3, 1.0, 90.0, 179.0):
        test_tiny_and_half_turn_angles_keep_their_digits.hypothesis.inner_test(np.ones(4), axis, angle_deg)
    test_summary_agrees_with_numpy.hypothesis.inner_test(np.array([1.0, 2.0, 30.0]))


def test_the_checks_pass_on_the_metrics_as_they_are() -> None:
    checks()


@pytest.mark.parametrize("bug", PLANTED)
def test_a_planted_bug_is_found(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, *PLANTED[bug])
    with pytest.raises(AssertionError):
        checks()


@pytest.mark.parametrize("length", [5e-324, 1e-300, 1e-170, 1e-3, 1e170, 1e308])
def test_the_length_of_a_quaternion_does_not_matter(length: float) -> None:
    zero_13, identity_14 = np.zeros((1, 3)), np.array([[1.0, 0.0, 0.0, 0.0]])
    for quaternion, degrees in (([0, 1, 0, 0], 180.0), ([1, 0, 1, 0], 90.0), ([-1, 0, 0, 0], 0.0)):
        _, error_1 = metrics.pose_errors(zero_13, length * np.array([quaternion]), zero_13, identity_14)
        assert error_1[0] == pytest.approx(degrees)


def test_scaling_changes_no_digit() -> None:
    random = np.random.default_rng(3)
    a_N4, b_N4 = random.normal(size=(2, 1000, 4))
    w_N = a_N4[:, 0] * b_N4[:, 0] + (a_N4[:, 1:] * b_N4[:, 1:]).sum(-1)
    v_N3 = a_N4[:, :1] * b_N4[:, 1:] - b_N4[:, :1] * a_N4[:, 1:] - np.cross(a_N4[:, 1:], b_N4[:, 1:])
    plain_N = np.rad2deg(2 * np.arctan2(np.linalg.norm(v_N3, axis=-1), np.abs(w_N)))
    np.testing.assert_array_equal(metrics.angle_deg(a_N4, b_N4), plain_N)
