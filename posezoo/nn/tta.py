"""Test-time augmentation that is true to the pose: a mean over turned cameras, each answer turned back.

A turn about the camera's centre is an image warp, whatever the depth: R' = R R_d, t' = t (`transforms.rotate_cameras`).
So each answer gives R = R' R_d^T. Turned cameras look at the whole picture, of which the network otherwise reads the
middle: what stands at its sides counts too. They need the focal length, and turn within what the model was trained
with (`ModelConfig.focal`, `turns_deg`). Where these are unknown, cameras roll: a roll about the optical axis needs no
focal length, because the principal point is in the middle of the picture.

Turned cameras see other things, and some answers are far off, so theirs is no arithmetic mean but the point with the
least sum of distances (geometric median, Weiszfeld's iteration) and the rotation with the least sum of angles (L1
mean; Hartley, Aftab and Trumpf, CVPR 2011). Radii and familiarity stay those of the picture as it is: they were
calibrated for it.

Legend: B batch, C channels, H height, W width, V views.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from posezoo.nn import geometry, transforms
from posezoo.nn.outputs import PoseOutput

ROLLS_DEG = (-4.0, -2.0, 2.0, 4.0)
CROSS, CORNERS = 0.7, 0.5
"""Of the ranges of turns in training: how far cameras turn along one of yaw and pitch, and along both."""
ROUNDS = 20
NEAREST = 0.01  # of the mean distance: a nearer answer counts no more
TINY = 1e-12


class Reads(Protocol):
    """What of a ModelConfig counts here; its room imports this one."""

    @property
    def resize(self) -> int: ...
    @property
    def crop(self) -> int: ...
    @property
    def fit(self) -> transforms.Fit: ...
    @property
    def mean(self) -> tuple[float, float, float] | None: ...
    @property
    def std(self) -> tuple[float, float, float] | None: ...
    @property
    def focal(self) -> float | None: ...
    @property
    def turns_deg(self) -> tuple[float, float, float] | None: ...


def turns(config: Reads) -> Tensor:
    """How the cameras turn whose answers are averaged, (V, 3, 3): R_d of each; the first stays as it is."""
    angles: list[Any]
    if not turned(config):
        angles = [(0.0, 0.0, roll) for roll in ROLLS_DEG]
    else:
        cross = [(1, 0, 1), (-1, 0, -1), (0, 1, 0), (0, -1, 0)]
        corners = [(1, 1, 1), (-1, 1, -1), (1, -1, -1), (-1, -1, 1)]
        shares = [(CROSS, signs) for signs in cross] + [(CORNERS, signs) for signs in corners]
        assert config.turns_deg is not None
        most = config.turns_deg
        angles = [tuple(share * sign * deg for sign, deg in zip(signs, most, strict=True)) for share, signs in shares]
    yaw_V, pitch_V, roll_V = torch.tensor([(0.0, 0.0, 0.0), *angles]).T
    return geometry.rotation_from_euler_deg(yaw_V, pitch_V, roll_V)


def turned(config: Reads) -> bool:
    """Whether cameras turn to the sides; else they roll."""
    return config.focal is not None and config.turns_deg is not None and config.fit == "crop"


def described(config: Reads) -> str:
    """What is averaged, in words."""
    copies = len(turns(config)) - 1
    if turned(config):
        return f"tta: each pose is the median over its image and {copies} copies turned within the range of training"
    return f"tta: each pose is the mean over its image and {copies} rolled copies"


def averaged(model: Callable[..., PoseOutput], images: Sequence[Tensor], config: Reads) -> PoseOutput:
    """The mean answer for uint8 pictures, each (b, 3, H, W) and of a shape of its own; B is the sum of all b.

    `model` is a PoseModel in eval mode; each view is one pass of it. The scene is that chosen for the pictures as they
    are.
    """
    assert config.mean is not None and config.std is not None
    wholes = [transforms.resized(image_bCHW, config.resize).float() / 255 for image_bCHW in images if turned(config)]
    size = config.resize, config.crop
    plain = [transforms.preprocess(image_bCHW, *size, config.mean, config.std, fit=config.fit) for image_bCHW in images]
    output: PoseOutput = model(torch.cat(plain))
    positions, quaternions = [output.position], [output.quaternion.double()]
    # stretched pixels are not square
    shapes = [image_bCHW.shape[-2:] if config.fit == "stretch" else (1, 1) for image_bCHW in images]
    for turn_33 in turns(config)[1:].to(output.position.device):
        views = [
            _look(picture_bCHW, config, turn_33, width / height)
            for picture_bCHW, (height, width) in zip(wholes or plain, shapes, strict=True)
        ]
        answer = model(torch.cat(views), output.scene)
        back_4 = geometry.quaternion_from_matrix(turn_33.double().T)
        positions.append(answer.position)
        quaternions.append(geometry.compose(answer.quaternion.double(), back_4.expand(len(answer.quaternion), 4)))
    rounds = ROUNDS if turned(config) else 0
    quaternion_B4 = mean_rotation(torch.stack(quaternions, dim=1), rounds).to(output.quaternion)
    position_B3 = mean_position(torch.stack(positions, dim=1), rounds)
    return output._replace(position=position_B3, quaternion=geometry.canonical(quaternion_B4))


def _look(image_bCHW: Tensor, config: Reads, turn_33: Tensor, squeezed: float = 1.0) -> Tensor:
    """What the network reads through cameras that turn: of whole pictures in 0..1; where they roll, of its input.

    `squeezed`: how many times as wide as high what a pixel shows is.
    """
    assert config.mean is not None and config.std is not None
    batch, _, height, width = image_bCHW.shape
    focal = config.focal or 1.0  # a roll does not depend on it
    focal_B2 = (focal * min(height, width)) * image_bCHW.new_tensor([1.0, squeezed]).expand(batch, 2)
    centre_B2 = image_bCHW.new_tensor([width / 2, height / 2]).expand(batch, 2)
    seen = transforms.rotate_cameras(image_bCHW, focal_B2, centre_B2, turn_33.expand(batch, 3, 3), config.crop)
    return transforms.normalised(seen.clamp(0, 1), config.mean, config.std) if turned(config) else seen


def mean_position(position_BV3: Tensor, rounds: int = ROUNDS) -> Tensor:
    """The point with the least sum of distances to the V answers, (B, 3); with no rounds, their mean."""
    mean_B3 = position_BV3.mean(1)
    for _ in range(rounds):
        weight_BV1 = _weights(torch.linalg.vector_norm(position_BV3 - mean_B3[:, None], dim=-1))
        mean_B3 = (weight_BV1 * position_BV3).sum(1)
    return mean_B3


def mean_rotation(quaternion_BV4: Tensor, rounds: int = ROUNDS) -> Tensor:
    """The rotation with the least sum of angles to the V answers, (B, 4) unit; with no rounds, of squared chords.

    NaN where one of the answers is no rotation: an eigenvector of that would be an error for the whole batch.
    """
    known_B1 = quaternion_BV4.isfinite().all(2).all(1)[:, None]
    quaternion_BV4 = geometry.unit(torch.where(known_B1[..., None], quaternion_BV4, 1.0))
    mean_B4 = _chordal(quaternion_BV4, quaternion_BV4.new_full((*quaternion_BV4.shape[:2], 1), 1.0))
    for _ in range(rounds):
        cosine_BV = (quaternion_BV4 * mean_B4[:, None]).sum(-1).abs().clamp(max=1)
        mean_B4 = _chordal(quaternion_BV4, _weights(torch.acos(cosine_BV)))
    return torch.where(known_B1, mean_B4, torch.nan)


def _chordal(quaternion_BV4: Tensor, weight_BV1: Tensor) -> Tensor:
    """The weighted mean whose sign is no question (Markley et al. 2007): the first eigenvector of sum w q q^T."""
    outer_B44 = (weight_BV1 * quaternion_BV4).mT @ quaternion_BV4
    first_B4: Tensor = torch.linalg.eigh(outer_B44).eigenvectors[..., -1]
    return first_B4


def _weights(distance_BV: Tensor) -> Tensor:
    """One over each distance, summing to 1, (B, V, 1)."""
    least_B1 = NEAREST * distance_BV.mean(1, keepdim=True) + TINY
    weight_BV = 1 / torch.maximum(distance_BV, least_B1)
    return (weight_BV / weight_BV.sum(1, keepdim=True))[..., None]
