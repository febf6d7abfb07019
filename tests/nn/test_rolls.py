"""The mean over rolled copies of a picture: true to the pose, in eval mode alone, and only while it lasts."""

from __future__ import annotations

import pytest
import torch
from level import Level, slopes

from posezoo.nn import geometry, transforms
from posezoo.nn.rolls import ANGLES_DEG, rolled


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
