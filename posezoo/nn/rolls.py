"""Test-time augmentation that is true to the pose: the mean over rolled cameras, each answer rolled back.

A roll by a about the optical axis is an image warp, whatever the depth and the focal length, where the principal point
is in the middle of the picture, as it is after the centre crop: R' = R R_z(a), t' = t. So each answer gives
R = R' R_z(-a). Radii and familiarity stay those of the picture as it is: they were calibrated for it.

Legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from posezoo.nn import geometry, transforms
from posezoo.nn.outputs import PoseOutput

ANGLES_DEG = (-4.0, -2.0, 2.0, 4.0)


def average_rolls(model: nn.Module, angles_deg: Sequence[float] = ANGLES_DEG) -> RemovableHandle:
    """Let the model in eval mode answer with the mean over each picture and its copies rolled by these, until removed.

    `model` is a PoseModel, whose room imports this one. Work grows with their number. The scene is that chosen for the
    picture as it is.
    """
    return model.register_forward_hook(partial(_mean_pose, tuple(angles_deg)), with_kwargs=True)  # can be pickled


@contextmanager
def rolled(model: nn.Module, angles_deg: Sequence[float] = ANGLES_DEG) -> Iterator[None]:
    """`average_rolls`, while it lasts."""
    averaged = average_rolls(model, angles_deg)
    try:
        yield
    finally:
        averaged.remove()


def _mean_pose(
    angles_deg: tuple[float, ...],
    model: nn.Module,
    given: tuple[Any, ...],
    named: Mapping[str, Any],
    output: PoseOutput,
) -> PoseOutput:
    """A forward hook."""
    if model.training:
        return output
    images_BCHW = given[0] if given else named["images_BCHW"]
    batch, _, _, side = images_BCHW.shape
    focal_B2 = images_BCHW.new_full((batch, 2), side)  # any: a roll does not depend on it
    positions, quaternions = [output.position], [output.quaternion]
    for angle in angles_deg:
        roll_33 = geometry.rotation_from_euler_deg(*focal_B2.new_tensor([0, 0, angle]))
        rolled_BCHW = transforms.rotate_cameras(images_BCHW, focal_B2, focal_B2 / 2, roll_33.expand(batch, 3, 3), side)
        answer = model.forward(rolled_BCHW, output.scene)  # past the hooks
        quaternion_B4 = geometry.compose(answer.quaternion, geometry.quaternion_from_matrix(roll_33.T).expand(batch, 4))
        positions.append(answer.position)
        # q and -q are one rotation: the sign that is nearer to the first answer
        agrees_B1 = (quaternion_B4 * output.quaternion).sum(-1, keepdim=True) >= 0
        quaternions.append(torch.where(agrees_B1, quaternion_B4, -quaternion_B4))
    mean_B4 = geometry.canonical(geometry.unit(torch.stack(quaternions).mean(0)))
    return output._replace(position=torch.stack(positions).mean(0), quaternion=mean_B4)
