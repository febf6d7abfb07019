"""Test-time augmentation that is true to the pose: the mean over rolled cameras, each answer rolled back.

A roll by a about the optical axis is an image warp, whatever the depth and the focal length, where the principal point
is in the middle of the picture, as it is after the centre crop: R' = R R_z(a), t' = t. So each answer gives
R = R' R_z(-a). Radii and familiarity stay those of the picture as it is: they were calibrated for it.

Legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from posezoo.nn import geometry, transforms
from posezoo.nn.outputs import PoseOutput

ANGLES_DEG = (-4.0, -2.0, 2.0, 4.0)


@contextmanager
def rolled(model: nn.Module, angles_deg: Sequence[float] = ANGLES_DEG) -> Iterator[None]:
    """While it lasts, the model in eval mode answers with the mean over each picture and its copies rolled by these.

    `model` is a PoseModel, whose room imports this one. Work grows with their number. The scene is that chosen for the
    picture as it is.
    """

    def mean(model: nn.Module, given: tuple[Any, ...], named: dict[str, Any], output: PoseOutput) -> PoseOutput:
        return output if model.training else _mean(model, (*given, *named.values())[0], output, angles_deg)

    hook = model.register_forward_hook(mean, with_kwargs=True)
    try:
        yield
    finally:
        hook.remove()


def _mean(model: nn.Module, images_BCHW: torch.Tensor, output: PoseOutput, angles_deg: Sequence[float]) -> PoseOutput:
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
