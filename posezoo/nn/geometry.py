"""Rotations as pure functions on batched tensors: no device, no state, no I/O.

Quaternions are (w, x, y, z); rotations are camera-to-world. roma does the work where it has the function (it is
(x, y, z, w) inside). Every function here has a finite value and a finite gradient everywhere, zero included, but for
numbers beyond 1e18, whose squares float32 does not hold.

Legend: `...` any leading axes, 3, 4, 6, 9 the numbers of a representation.
"""

from __future__ import annotations

import math
from typing import Literal, cast

import roma
import torch
from jaxtyping import Float
from torch import Tensor

from posezoo.base.errors import WeightsError

Representation = Literal["quaternion", "log-quaternion", "6d", "9d"]
NUMBERS: dict[str, int] = {"quaternion": 4, "log-quaternion": 3, "6d": 6, "9d": 9}
LabelFrame = Literal["camera-to-world", "world-to-camera", "body-to-world"]
"""What the orientations of a training set mean; `body` has axes x forward, y right, z down (an INS of a vehicle)."""
_EPS = 1e-8
_LARGEST = 10.0


def unit(x: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch n"]:
    """x / |x|. At zero the gradient is finite and the value is zero."""
    length: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp_min(_EPS)
    return x / length


def canonical(q: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 4"]:
    """The same rotation with w >= 0."""
    return torch.where(q[..., :1] < 0, -q, q)


def compose(a: Float[Tensor, "*batch 4"], b: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 4"]:
    """The product a b: rotate by b first, then by a."""
    return _wxyz(roma.quat_product(_xyzw(a), _xyzw(b)))


def from_label_frame(q: Float[Tensor, "*batch 4"], frame: str) -> Float[Tensor, "*batch 4"]:
    """Camera-to-world unit quaternions of those, unit with w >= 0, that labels in `frame` (a `LabelFrame`) hold."""
    match frame:
        case "camera-to-world":
            return q
        case "world-to-camera":
            q = conjugate(q)
        case "body-to-world":  # the camera looks forward: its x, y, z are the body's y, z, x
            q = compose(q, torch.full_like(q, 0.5))
    return canonical(q)


def to_label_frame(q: Float[Tensor, "*batch 4"], frame: str) -> Float[Tensor, "*batch 4"]:
    """The inverse of `from_label_frame`: what labels in `frame` would hold for camera-to-world quaternions."""
    match frame:
        case "camera-to-world":
            return q
        case "world-to-camera":
            q = conjugate(q)
        case "body-to-world":
            q = compose(q, conjugate(torch.full_like(q, 0.5)))
    return canonical(q)


def conjugate(q: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 4"]:
    """The inverse rotations of unit quaternions."""
    return torch.cat([q[..., :1], -q[..., 1:]], dim=-1)


def matrix_from_quaternion(q: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 3 3"]:
    """Rotation matrices of unit quaternions."""
    rotation: Tensor = roma.unitquat_to_rotmat(_xyzw(q))
    return rotation


def quaternion_from_matrix(r: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 4"]:
    """Unit quaternions, w >= 0, of rotation matrices (exact near 180 degrees too)."""
    return canonical(_wxyz(roma.rotmat_to_unitquat(r)))


def log_quaternion(q: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 3"]:
    """The log-quaternion v acos(w) / |v| (half the rotation vector) of unit quaternions; they are taken with w >= 0."""
    q = canonical(q)
    w, v = q[..., :1], q[..., 1:]
    # atan2 of a norm that is never exactly zero: acos would lose all precision, and its gradient, at w = 1
    norm = torch.sqrt((v * v).sum(-1, keepdim=True).clamp_min(_EPS**2))  # ONNX would drop an addition of 1e-16
    return v * (torch.atan2(norm, w) / norm)


def exp_quaternion(u: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 4"]:
    """The unit quaternion (cos |u|, u sin |u| / |u|) of log-quaternions."""
    norm = torch.sqrt((u * u).sum(-1, keepdim=True).clamp_min(_EPS**2))
    return unit(torch.cat([torch.cos(norm), u * (torch.sin(norm) / norm)], dim=-1))


def matrix_from_6d(x: Float[Tensor, "*batch 6"]) -> Float[Tensor, "*batch 3 3"]:
    """Gram-Schmidt of two 3-vectors, the first two columns (Zhou et al. 2019, sec. 4.2); zero or parallel ones too."""
    a, b = x[..., :3], x[..., 3:]
    first = _unit_or(a, 0)
    b = unit(b)  # its length says nothing about how nearly the two are collinear
    b = b - (first * b).sum(-1, keepdim=True) * first
    small = torch.linalg.vector_norm(b, dim=-1, keepdim=True) < 1e-6
    # any direction that is not parallel to the first column: the axis on which it is smallest
    axis = torch.nn.functional.one_hot(first.abs().argmin(-1), 3).to(x)
    b = torch.where(small, axis - (first * axis).sum(-1, keepdim=True) * first, b)
    b = unit(b)
    # once more: of nearly collinear vectors rounding leaves a part along the first column
    second = unit(b - (first * b).sum(-1, keepdim=True) * first)
    return torch.stack([first, second, torch.linalg.cross(first, second)], dim=-1)


def matrix_from_9d(x: Float[Tensor, "*batch 9"]) -> Float[Tensor, "*batch 3 3"]:
    """The nearest rotation in the Frobenius norm by SVD, determinant fixed to +1 (Levinson 2020)."""
    m: Tensor = x.unflatten(-1, (3, 3))
    rotation: Tensor = roma.special_procrustes(_separate_singular_values(m), gradient_eps=1e-5)
    return rotation


def representation_of(numbers: int) -> Representation:
    """The representation that has so many numbers. Raises WeightsError."""
    for name, count in NUMBERS.items():
        if count == numbers:
            return cast(Representation, name)
    raise WeightsError(f"no representation of orientations has {numbers} numbers", "3, 4, 6 or 9 are possible")


def to_quaternion(rotation: Float[Tensor, "*batch n"], representation: str) -> Float[Tensor, "*batch 4"]:
    """The unit quaternion, w >= 0, of a head's numbers in `representation`."""
    match representation:
        case "quaternion":
            # a zero vector has no direction: it becomes the identity
            return canonical(_unit_or(rotation, 0))
        case "log-quaternion":
            return canonical(exp_quaternion(rotation))
        case "6d":
            return quaternion_from_matrix(matrix_from_6d(rotation))
        case "9d":
            if torch.compiler.is_exporting():
                return _quaternion_from_9d_without_svd(rotation)
            return quaternion_from_matrix(matrix_from_9d(rotation))
    raise AssertionError(f"unknown rotation representation {representation}")


def to_matrix(rotation: Float[Tensor, "*batch n"], representation: str) -> Float[Tensor, "*batch 3 3"]:
    """The rotation matrix of a head's numbers in `representation`."""
    match representation:
        case "6d":
            return matrix_from_6d(rotation)
        case "9d":
            return matrix_from_9d(rotation)
    return matrix_from_quaternion(to_quaternion(rotation, representation))


def from_quaternion(q: Float[Tensor, "*batch 4"], representation: str) -> Float[Tensor, "*batch n"]:
    """Numbers in `representation` of unit quaternions: those that a head would have to give."""
    match representation:
        case "quaternion":
            return q
        case "log-quaternion":
            return log_quaternion(q)
        case "6d":
            return matrix_from_quaternion(q)[..., :2].transpose(-1, -2).flatten(-2)
        case "9d":
            return matrix_from_quaternion(q).flatten(-2)
    raise AssertionError(f"unknown rotation representation {representation}")


def angle_deg(a: Float[Tensor, "*batch 4"], b: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch"]:
    """The angle between two rotations in degrees, 0..180, the same for q and -q.

    2 atan2(|v|, |w|) of the relative quaternion: acos of a float32 dot product has a floor of 0.08 degrees.
    """
    v, u = a[..., 1:], b[..., 1:]
    # product by product: a fused cross product of a vector with itself is not exactly zero
    cross = v[..., [1, 2, 0]] * u[..., [2, 0, 1]] - v[..., [2, 0, 1]] * u[..., [1, 2, 0]]
    norm = torch.linalg.vector_norm(a[..., :1] * u - b[..., :1] * v - cross, dim=-1)
    return 2 * torch.atan2(norm, (a * b).sum(-1).abs()) * (180 / math.pi)


def mean_up(q: Float[Tensor, "N 4"]) -> Tensor:
    """(3,): the mean direction, in the world, of what cameras (camera-to-world) hold to be up."""
    return unit(-matrix_from_quaternion(q)[:, :, 1].mean(0))


def tilts_deg(q: Float[Tensor, "N 4"]) -> tuple[float, float]:
    """(roll, pitch): the deviations in degrees over cameras (camera-to-world) of their tilts out of the horizontal.

    Up is the mean of the cameras' own up; a car's tilts deviate by less than a degree, a hand's by three to ten.
    """
    axes_N33, up_3 = matrix_from_quaternion(q), mean_up(q)
    sine_N2 = torch.stack([axes_N33[:, :, 0] @ up_3, axes_N33[:, :, 2] @ up_3], dim=-1)
    roll, pitch = torch.rad2deg(torch.asin(sine_N2.clamp(-1, 1))).std(dim=0, correction=0).tolist()
    return roll, pitch


def rotation_from_euler_deg(yaw: Tensor, pitch: Tensor, roll: Tensor) -> Float[Tensor, "*batch 3 3"]:
    """Rotations of the camera about its own axes, R_y(yaw) R_x(pitch) R_z(roll): y is down, x right, z forward."""
    angles = torch.stack([yaw, pitch, roll], dim=-1)
    rotation: Tensor = roma.euler_to_rotmat("YXZ", angles, degrees=True)
    return rotation


def _separate_singular_values(m: Tensor) -> Tensor:
    """m with its singular values kept apart by a tiny diagonal: where all are equal the SVD's gradient is infinite.

    A large one is made smaller first, or the diagonal would be lost beside it; the rotation is the same.
    """
    m = m * (_LARGEST / m.detach().abs().amax((-2, -1), keepdim=True).clamp(min=_LARGEST))
    return m + torch.diag(torch.tensor([3e-5, 2e-5, 1e-5], dtype=m.dtype, device=m.device))


def _quaternion_from_9d_without_svd(x: Tensor) -> Tensor:
    """The quaternion of the same rotation as `matrix_from_9d`, by products alone: ONNX has no SVD.

    It is the largest eigenvector of Davenport's 4x4 matrix; repeated squaring leaves its projector q q^T.
    """
    m = _separate_singular_values(x.double().unflatten(-1, (3, 3)))
    a, b, c, d, e, f, g, h, i = m.flatten(-2).unbind(-1)
    rows = (
        (a + e + i, h - f, c - g, d - b),
        (h - f, a - e - i, b + d, c + g),
        (c - g, b + d, e - a - i, f + h),
        (d - b, c + g, f + h, i - a - e),
    )
    k = torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)
    norm = torch.sqrt((k * k).sum((-2, -1), keepdim=True))
    k = k + norm * torch.eye(4, dtype=k.dtype, device=k.device)  # no eigenvalue is negative
    for _ in range(24):  # eigenvalues a millionth apart are 10 to the 7 apart then
        k = k / torch.sqrt((k * k).sum((-2, -1), keepdim=True))
        k = k @ k
    column = torch.diagonal(k, dim1=-2, dim2=-1).argmax(-1)
    return canonical(unit(k.gather(-1, column[..., None, None].expand(*k.shape[:-1], 1)).squeeze(-1))).to(x.dtype)


def _unit_or(x: Tensor, axis: int) -> Tensor:
    """x / |x|, or the unit vector along `axis` where x is (nearly) zero."""
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    fallback = torch.zeros_like(x)
    fallback[..., axis] = 1
    return torch.where(norm < _EPS, fallback, x / norm.clamp_min(_EPS))


def _xyzw(q: Tensor) -> Tensor:
    return torch.roll(q, -1, -1)


def _wxyz(q: Tensor) -> Tensor:
    return torch.roll(q, 1, -1)
