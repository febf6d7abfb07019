"""The mean over rolled copies of a picture: true to the pose, in eval mode alone, and only while it lasts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from posezoo.nn import geometry, transforms
from posezoo.nn.heads import MLPHead
from posezoo.nn.model import ModelConfig, PoseModel
from posezoo.nn.outputs import Features
from posezoo.nn.rolls import ANGLES_DEG, rolled


class Level(PoseModel):
    """Reads the roll of the camera off a picture whose brightness grows along one direction of the world.

    As its position it gives the brightness at the top, which rolls change.
    """

    def __init__(self) -> None:
        super().__init__(ModelConfig())
        self.image_dim = 4
        self.position_head, self.orientation_head = MLPHead((4, 3)), MLPHead((4, 4))
        self.position_head.load_state_dict({"layers.0.weight": torch.eye(4)[:3], "layers.0.bias": torch.zeros(3)})
        self.orientation_head.load_state_dict({"layers.0.weight": torch.eye(4), "layers.0.bias": torch.zeros(4)})

    def encode(self, images_BCHW: Tensor, scene_B: Tensor | None = None) -> Features:
        inner_BHW = images_BCHW[:, 0, 32:96, 32:96]  # the corners have no data after a roll
        x_B = (inner_BHW[..., :, 1:] - inner_BHW[..., :, :-1]).mean((1, 2))
        y_B = (inner_BHW[..., 1:, :] - inner_BHW[..., :-1, :]).mean((1, 2))
        half_B = -torch.atan2(y_B, x_B) / 2
        zero_B = torch.zeros_like(half_B)
        q_B4 = torch.stack([half_B.cos(), zero_B, zero_B, half_B.sin()], dim=-1)
        top_B4 = inner_BHW[:, 0].mean(-1)[:, None].expand(-1, 4)
        return Features(top_B4, q_B4, q_B4)


def slopes(turns_B: Tensor) -> Tensor:
    place = torch.arange(128, dtype=torch.float32)
    images_BHW = turns_B.cos()[:, None, None] * place + turns_B.sin()[:, None, None] * place[:, None]
    return images_BHW[:, None].expand(-1, 3, -1, -1)


@pytest.mark.parametrize("angles", [ANGLES_DEG, (5.0,), (-7.0,), (-4.0, 4.0), (10.0, 3.0, -8.0)])
def test_the_answer_is_rolled_back(angles: tuple[float, ...]) -> None:
    model, images_BCHW = Level().eval(), slopes(torch.tensor([0.0, 0.6, -2.5, 3.1]))
    with torch.no_grad():
        plain = model(images_BCHW)
        with rolled(model, angles):
            mean = model(images_BCHW)
        assert geometry.angle_deg(mean.quaternion, plain.quaternion).max() < 0.01
        # the picture does turn: without turning back the answers would be off by the angle
        roll_B33 = geometry.rotation_from_euler_deg(*torch.tensor([0.0, 0.0, angles[0]])).expand(4, 3, 3)
        focal_B2 = torch.full((4, 2), 128.0)
        turned = transforms.rotate_cameras(images_BCHW, focal_B2, focal_B2 / 2, roll_B33, 128)
        off_B = geometry.angle_deg(model(turned).quaternion, plain.quaternion)
    torch.testing.assert_close(off_B, torch.full((4,), abs(angles[0])), atol=0.05, rtol=0)
    torch.testing.assert_close(mean.quaternion.norm(dim=-1), torch.ones(4))


def test_positions_are_the_mean_over_the_picture_and_its_copies() -> None:
    model, images_BCHW = Level().eval(), slopes(torch.tensor([0.3, 1.2]))
    focal_B2 = torch.full((2, 2), 128.0)
    with torch.no_grad():
        answers = [model(images_BCHW).position]
        for angle in ANGLES_DEG:
            roll_B33 = geometry.rotation_from_euler_deg(*torch.tensor([0.0, 0.0, angle])).expand(2, 3, 3)
            answers.append(
                model(transforms.rotate_cameras(images_BCHW, focal_B2, focal_B2 / 2, roll_B33, 128)).position
            )
        with rolled(model):
            found = model(images_BCHW)
    assert (answers[1] - answers[0]).abs().min() > 0.1
    torch.testing.assert_close(found.position, torch.stack(answers).mean(0))


def test_neither_in_training_nor_afterwards() -> None:
    model, images_BCHW = Level().train(), slopes(torch.tensor([0.3]))
    with torch.no_grad():
        plain = model(images_BCHW).position
        with rolled(model):
            assert torch.equal(model(images_BCHW).position, plain)
            model.eval()
            assert not torch.equal(model(images_BCHW).position, plain)
        assert torch.equal(model(images_BCHW).position, plain)
