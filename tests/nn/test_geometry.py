"""Rotations against scipy, with the angles that uniform sampling never hits: tiny, near 180 degrees, exact axes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import get_args
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from naming import naming
from scipy.spatial.transform import Rotation
from torch import Tensor

from posezoo.base.errors import WeightsError
from posezoo.base.rotation import rotation_matrix
from posezoo.nn import geometry

F64 = torch.float64
SLOW = min(60, settings().max_examples)  # examples of tests that look at every representation
floats = st.floats(-1, 1, allow_nan=False, allow_subnormal=False)


@st.composite
def directions(draw: st.DrawFn) -> np.ndarray:
    """Unit 3-vectors, exact axes among them."""
    if draw(st.booleans()):
        return np.eye(3)[draw(st.integers(0, 2))] * draw(st.sampled_from([1.0, -1.0]))
    v = np.array([draw(floats) for _ in range(3)])
    norm = np.linalg.norm(v)
    return v / norm if norm > 1e-3 else np.array([0.6, 0.0, 0.8])


@st.composite
def quaternions(draw: st.DrawFn) -> np.ndarray:
    """Unit quaternions (w, x, y, z): generic, tiny angle, near 180 degrees, exact axes; each with either sign."""
    axis = draw(directions())
    tiny = 10 ** draw(st.floats(-12, -3))
    angle = draw(
        st.sampled_from(["generic", "tiny", "flat", "exact"]).flatmap(
            lambda kind: {
                "generic": st.floats(0, math.pi),
                "tiny": st.just(tiny),
                "flat": st.just(math.pi - tiny),
                "exact": st.sampled_from([0.0, math.pi / 2, math.pi]),
            }[kind]
        )
    )
    q = np.array([math.cos(angle / 2), *(math.sin(angle / 2) * axis)])
    return q / np.linalg.norm(q) * draw(st.sampled_from([1.0, -1.0]))


def scipy_of(q: np.ndarray | Tensor) -> Rotation:
    return Rotation.from_quat(np.asarray(q), scalar_first=True)


def apart_rad(a: np.ndarray | Tensor, b: np.ndarray | Tensor) -> float:
    return float((scipy_of(a).inv() * scipy_of(b)).magnitude())


def finite_gradient(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The value of `function`; it and the gradient of a generic combination of its numbers must be finite."""
    x = x.clone().requires_grad_()
    y = function(x)
    (y * torch.arange(1, y.numel() + 1).reshape(y.shape).to(y)).sum().backward()
    assert x.grad is not None
    assert torch.isfinite(y).all(), x
    assert torch.isfinite(x.grad).all(), x
    return y.detach()


def is_rotation(r: Tensor, tolerance: float = 1e-6) -> bool:
    orthogonal = torch.allclose(r @ r.mT, torch.eye(3, dtype=r.dtype).expand_as(r), atol=tolerance)
    return orthogonal and bool((torch.linalg.det(r) - 1).abs().max() < tolerance)


@given(quaternions())
def test_matrix_round_trip_and_scipy(q: np.ndarray) -> None:
    r = geometry.matrix_from_quaternion(torch.from_numpy(q))
    np.testing.assert_allclose(r, scipy_of(q).as_matrix(), atol=1e-14)
    np.testing.assert_allclose(r, rotation_matrix(q), atol=1e-14)
    back = geometry.quaternion_from_matrix(r)
    assert back[0] >= 0
    assert apart_rad(back, q) < 1e-7


@given(quaternions())
def test_round_trips_in_float32(q: np.ndarray) -> None:
    q32 = torch.from_numpy(q).float()
    r = geometry.matrix_from_quaternion(q32)
    assert apart_rad(geometry.quaternion_from_matrix(r), q) < 1e-3
    assert apart_rad(geometry.to_quaternion(r[:, :2].T.flatten(), "6d"), q) < 1e-3
    assert apart_rad(geometry.to_quaternion(geometry.log_quaternion(q32), "log-quaternion"), q) < 1e-3


@given(quaternions())
def test_log_is_half_the_rotation_vector_and_comes_back(q: np.ndarray) -> None:
    u = geometry.log_quaternion(torch.from_numpy(q))
    np.testing.assert_allclose(u, scipy_of(q).as_rotvec() / 2, atol=1e-9)
    assert apart_rad(geometry.exp_quaternion(u), q) < 1e-7


@given(quaternions())
def test_6d_round_trip(q: np.ndarray) -> None:
    first_two = scipy_of(q).as_matrix()[:, :2].T.flatten()
    x = torch.from_numpy(np.ascontiguousarray(first_two))
    assert apart_rad(geometry.to_quaternion(x, "6d"), q) < 1e-7
    scaled = x * torch.tensor([3.0] * 3 + [0.2] * 3, dtype=F64)
    assert apart_rad(geometry.to_quaternion(scaled, "6d"), q) < 1e-7


@given(quaternions(), st.floats(0.1, 10))
def test_9d_round_trip(q: np.ndarray, scale: float) -> None:
    x = torch.from_numpy(scipy_of(q).as_matrix().flatten() * scale)
    # the fixed diagonal that keeps the gradient finite costs at most 3e-5 / scale
    assert apart_rad(geometry.to_quaternion(x, "9d"), q) < 4e-5 / scale


@given(arrays(np.float64, 9, elements=st.floats(-3, 3)))
def test_9d_as_it_is_exported_is_the_same_without_a_singular_value_decomposition(numbers_9: np.ndarray) -> None:
    values = np.linalg.svd(numbers_9.reshape(3, 3), compute_uv=False)
    assume(values[1] - values[2] > 0.1)  # else the nearest rotation is not one
    x_9 = torch.from_numpy(numbers_9)
    with mock.patch.object(torch.compiler, "is_exporting", lambda: True):
        exported = geometry.to_quaternion(x_9, "9d")
    assert apart_rad(exported, geometry.to_quaternion(x_9, "9d").numpy()) < 1e-5


@given(quaternions(), quaternions(), st.tuples(st.floats(2, 3), st.floats(1, 1.5), st.floats(-0.5, 0.5)))
def test_9d_is_the_nearest_rotation(a: np.ndarray, b: np.ndarray, values: tuple[float, float, float]) -> None:
    left, right = scipy_of(a).as_matrix(), scipy_of(b).as_matrix()
    m = left @ np.diag(values) @ right  # a negative third value: the determinant has to be mended
    r = geometry.matrix_from_9d(torch.from_numpy(m.flatten()))
    np.testing.assert_allclose(r, left @ right, atol=1e-3)


@given(quaternions(), quaternions())
def test_compose_is_scipys_product(a: np.ndarray, b: np.ndarray) -> None:
    product = geometry.compose(torch.from_numpy(a), torch.from_numpy(b))
    assert apart_rad(product, (scipy_of(a) * scipy_of(b)).as_quat(scalar_first=True)) < 1e-12


@given(quaternions(), quaternions())
def test_angle_agrees_with_scipy(a: np.ndarray, b: np.ndarray) -> None:
    angle = float(geometry.angle_deg(torch.from_numpy(a), torch.from_numpy(b)))
    assert angle == pytest.approx(math.degrees(apart_rad(a, b)), abs=1e-9)
    assert 0 <= angle <= 180


@settings(max_examples=SLOW)
@given(quaternions(), quaternions(), quaternions())
def test_angle_is_a_metric_of_rotations(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> None:
    a_4, b_4, c_4 = map(torch.from_numpy, (a, b, c))
    angle = geometry.angle_deg
    assert float(angle(a_4, a_4)) == float(angle(a_4, -a_4)) == 0.0
    assert float(angle(a_4, b_4)) == float(angle(-a_4, b_4)) == float(angle(a_4, -b_4))
    assert float(angle(a_4, b_4)) == pytest.approx(float(angle(b_4, a_4)), abs=1e-12)
    assert float(angle(a_4, c_4)) <= float(angle(a_4, b_4) + angle(b_4, c_4)) + 1e-9
    world = float(angle(geometry.compose(c_4, a_4), geometry.compose(c_4, b_4)))
    assert world == pytest.approx(float(angle(a_4, b_4)), abs=1e-6)


def test_angle_in_float32_has_no_floor() -> None:
    q = torch.nn.functional.normalize(torch.randn(10_000, 4, generator=torch.Generator().manual_seed(0)), dim=-1)
    assert geometry.angle_deg(q, q).max() < 1e-5


@settings(max_examples=SLOW)
@given(quaternions())
def test_every_representation_has_finite_gradients_at_rotations(q: np.ndarray) -> None:
    q_4 = torch.from_numpy(q)
    r = geometry.matrix_from_quaternion(q_4)
    numbers = {
        "quaternion": q_4,
        "log-quaternion": geometry.log_quaternion(q_4),
        "6d": r[:, :2].T.flatten(),
        "9d": r.flatten(),
    }
    for representation, x in numbers.items():
        for dtype in (torch.float32, F64):
            y = finite_gradient(lambda v, name=representation: geometry.to_quaternion(v, name), x.to(dtype))
            assert y[0] >= 0
            finite_gradient(lambda v, name=representation: geometry.to_matrix(v, name), x.to(dtype))
    finite_gradient(geometry.log_quaternion, q_4)
    finite_gradient(geometry.quaternion_from_matrix, r)


@settings(max_examples=SLOW)
@given(
    st.lists(st.one_of(st.sampled_from([0.0, 1.0, -1.0, 1e-12, 1e3, -1e3]), st.floats(-2, 2)), min_size=9, max_size=9)
)
def test_any_numbers_are_a_rotation(numbers: list[float]) -> None:
    for representation, count in geometry.NUMBERS.items():
        for dtype, tolerance in ((torch.float32, 1e-4), (F64, 1e-6)):
            x = torch.tensor(numbers[:count], dtype=dtype)
            r = finite_gradient(lambda v, name=representation: geometry.to_matrix(v, name), x)
            assert is_rotation(r, tolerance), (representation, x)
            q = finite_gradient(lambda v, name=representation: geometry.to_quaternion(v, name), x)
            assert abs(float(q.norm()) - 1) < tolerance
            assert q[0] >= 0


@given(directions(), st.sampled_from([0.0, 1e-12, 1e-6, 1.0, 30.0, 1e3]), st.sampled_from([0.0, -1.0, 1.0, 7.0, 1e3]))
def test_6d_of_zero_and_collinear_vectors(direction: np.ndarray, length: float, ratio: float) -> None:
    for dtype, tolerance in ((torch.float32, 1e-4), (F64, 1e-6)):
        a = torch.from_numpy(direction * length).to(dtype)
        r = finite_gradient(geometry.matrix_from_6d, torch.cat([a, a * ratio]))
        assert is_rotation(r, tolerance), r


def test_nothing_but_zeros() -> None:
    for representation, count in geometry.NUMBERS.items():
        q = finite_gradient(lambda v, name=representation: geometry.to_quaternion(v, name), torch.zeros(2, count))
        torch.testing.assert_close(q.norm(dim=-1), torch.ones(2))
    assert (finite_gradient(geometry.unit, torch.zeros(2, 4)) == 0).all()
    torch.testing.assert_close(geometry.to_quaternion(torch.zeros(4), "quaternion"), torch.tensor([1.0, 0, 0, 0]))
    torch.testing.assert_close(geometry.to_quaternion(torch.zeros(3), "log-quaternion"), torch.tensor([1.0, 0, 0, 0]))


def test_unknown_representation_is_our_own_mistake() -> None:
    with pytest.raises(AssertionError, match="euler"):
        geometry.to_quaternion(torch.zeros(3), "euler")


@given(*(st.floats(-180, 180) for _ in range(3)))
def test_euler_is_yaw_pitch_roll_about_the_cameras_own_axes(yaw: float, pitch: float, roll: float) -> None:
    angles = [torch.tensor([a], dtype=F64) for a in (yaw, pitch, roll)]
    expected = Rotation.from_euler("YXZ", [yaw, pitch, roll], degrees=True).as_matrix()
    np.testing.assert_allclose(geometry.rotation_from_euler_deg(*angles)[0], expected, atol=1e-12)


def test_yaw_looks_right_and_pitch_looks_up() -> None:
    angle, zero = torch.tensor(90.0, dtype=F64), torch.tensor(0.0, dtype=F64)
    right = geometry.rotation_from_euler_deg(angle, zero, zero)[:, 2]
    up = geometry.rotation_from_euler_deg(zero, angle, zero)[:, 2]
    np.testing.assert_allclose(right, [1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(up, [0, -1, 0], atol=1e-12)  # y is down


def test_batches_of_any_shape() -> None:
    q = geometry.unit(torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(1), dtype=F64))
    r = geometry.matrix_from_quaternion(q)
    assert r.shape == (2, 3, 3, 3)
    assert geometry.quaternion_from_matrix(r).shape == (2, 3, 4)
    assert geometry.log_quaternion(q).shape == (2, 3, 3)
    assert geometry.matrix_from_6d(torch.zeros(2, 3, 6)).shape == (2, 3, 3, 3)
    assert geometry.matrix_from_9d(torch.zeros(2, 3, 9)).shape == (2, 3, 3, 3)
    assert geometry.angle_deg(q, q).shape == (2, 3)
    assert (geometry.canonical(q)[..., 0] >= 0).all()


@given(quaternions())
@pytest.mark.parametrize("frame", get_args(geometry.LabelFrame))
def test_label_frames_are_rotations_of_the_camera_and_back(frame: str, q: np.ndarray) -> None:
    q_4 = geometry.canonical(torch.from_numpy(q))
    label = geometry.to_label_frame(q_4, frame)
    assert label[0] >= 0
    torch.testing.assert_close(
        geometry.matrix_from_quaternion(geometry.from_label_frame(label, frame)), geometry.matrix_from_quaternion(q_4)
    )
    r_33, label_33 = rotation_matrix(q_4.numpy()), rotation_matrix(label.numpy())
    # the body's axes in the world are the camera's z (forward), x (right) and y (down)
    expected = {"camera-to-world": r_33, "world-to-camera": r_33.T, "body-to-world": r_33[:, [2, 0, 1]]}[frame]
    np.testing.assert_allclose(label_33, expected, atol=1e-12)


def test_camera_to_world_labels_are_not_touched() -> None:
    q_4 = torch.tensor([0.1, 0.7, 0.7, 0.1])
    assert geometry.from_label_frame(q_4, "camera-to-world") is q_4
    assert geometry.to_label_frame(q_4, "camera-to-world") is q_4


def test_a_representation_by_its_numbers() -> None:
    assert [geometry.representation_of(n) for n in (4, 3, 6, 9)] == list(geometry.NUMBERS)
    with pytest.raises(WeightsError, match=naming("5")):
        geometry.representation_of(5)


@pytest.mark.parametrize("size", [1.0, 500.0, 1e3, 1e6, 1e20])
def test_large_9d_numbers_have_a_finite_gradient(size: float) -> None:
    """Singular values that are all equal, beside which a small diagonal would be lost."""
    quaternion_B4 = geometry.unit(torch.tensor([[1.0, 0.2, -0.3, 0.1]]))
    for numbers_9 in (torch.ones(9), torch.eye(3).flatten(), torch.arange(9.0)):
        x_B9 = (size * numbers_9)[None].requires_grad_(True)
        loss = (geometry.matrix_from_9d(x_B9) - geometry.matrix_from_quaternion(quaternion_B4)).square().sum()
        loss.backward()
        assert loss.isfinite() and x_B9.grad is not None and x_B9.grad.isfinite().all()
