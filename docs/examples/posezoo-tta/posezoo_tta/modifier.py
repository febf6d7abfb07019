"""Test-time augmentation that is true to the pose: the mean over rolled cameras, each answer rolled back.

A roll by a about the optical axis is an image warp, whatever the depth and the focal length, where the principal point
is in the middle of the image: R' = R R_z(a), t' = t. So each answer gives R = R' R_z(-a). Training is not changed.

Legend: B batch, C channels, H height, W width.
"""

from dataclasses import dataclass
from functools import partial

import torch

from posezoo.nn import geometry, transforms
from posezoo.nn.model import PoseModel
from posezoo.nn.outputs import PoseOutput


@dataclass(frozen=True)
class TtaConfig:
    """The settings of `+tta`; each field is a key on the command line."""

    angles: tuple[float, ...] = (-4.0, 4.0)
    """Degrees, in addition to the image as it is."""


def mean_pose(config: TtaConfig, model: PoseModel, given: tuple, named: dict, output: PoseOutput) -> PoseOutput:
    """A forward hook: the pose of the images and of their rolled copies in one."""
    if model.training:
        return output
    images_BCHW = given[0] if given else named["images_BCHW"]
    batch, _, _, side = images_BCHW.shape
    focal_B2 = images_BCHW.new_full((batch, 2), side)  # any: a roll does not depend on it
    positions, quaternions = [output.position], [output.quaternion]
    for angle in config.angles:
        roll_33 = geometry.rotation_from_euler_deg(*focal_B2.new_tensor([0, 0, angle]))
        rolled_BCHW = transforms.rotate_cameras(images_BCHW, focal_B2, focal_B2 / 2, roll_33.expand(batch, 3, 3), side)
        rolled = model.forward(rolled_BCHW, output.scene)
        quaternion_B4 = geometry.compose(rolled.quaternion, geometry.quaternion_from_matrix(roll_33.T).expand(batch, 4))
        positions.append(rolled.position)
        # q and -q are one rotation: the sign that is nearer to the first answer
        quaternions.append(quaternion_B4 * (quaternion_B4 * output.quaternion).sum(-1, keepdim=True).sign())
    mean_B4 = geometry.canonical(geometry.unit(torch.stack(quaternions).mean(0)))
    return output._replace(position=torch.stack(positions).mean(0), quaternion=mean_B4)


def apply(model: PoseModel, config: TtaConfig) -> None:
    """Let the model answer with the mean pose when it is in eval mode."""
    model.register_forward_hook(partial(mean_pose, config), with_kwargs=True)
