"""The mean over turned copies of a picture: true to the pose, and to most answers where some are far off."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from level import Level, slopes
from scipy.spatial.transform import Rotation
from torch import Tensor

from posezoo.nn import geometry, transforms, tta
from posezoo.nn.model import ModelConfig
from posezoo.nn.outputs import PoseOutput

SQUARE = ModelConfig(resize=128, crop=128, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
WIDE = ModelConfig(
    resize=128, crop=112, mean=(0.4, 0.4, 0.4), std=(0.2, 0.2, 0.2), focal=1.1, turns_deg=(15.0, 9.0, 12.0)
)


@pytest.mark.parametrize("angles", [tta.ROLLS_DEG, (5.0,), (-7.0,), (-4.0, 4.0), (10.0, 3.0, -8.0)])
def test_the_answer_is_rolled_back(angles: tuple[float, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tta, "ROLLS_DEG", angles)
    model, images_BCHW = Level().eval(), slopes(torch.tensor([0.0, 0.6, -2.5, 3.1]))
    with torch.no_grad():
        plain = model(images_BCHW)
        # in floats: rounded to bytes, each picture would be 0.03 degrees off
        mean = tta.averaged(model, [images_BCHW], SQUARE)
        assert geometry.angle_deg(mean.quaternion, plain.quaternion).max() < 0.01
        # the picture does turn: without turning back the answers would be off by the angle
        roll_B33 = geometry.rotation_from_euler_deg(*torch.tensor([0.0, 0.0, angles[0]])).expand(4, 3, 3)
        focal_B2 = torch.full((4, 2), 128.0)
        turned = transforms.rotate_cameras(images_BCHW, focal_B2, focal_B2 / 2, roll_B33, 128)
        off_B = geometry.angle_deg(model(turned).quaternion, plain.quaternion)
    torch.testing.assert_close(off_B, torch.full((4,), abs(angles[0])), atol=0.05, rtol=0)
    torch.testing.assert_close(mean.quaternion.norm(dim=-1), torch.ones(4))


def test_rolled_positions_are_the_mean_over_the_picture_and_its_copies() -> None:
    model, images_BCHW = Level().eval(), (slopes(torch.tensor([0.3, 1.2])) / 2 + 64).clamp(0, 255).byte()
    focal_B2, read_BCHW = torch.full((2, 2), 128.0), images_BCHW.float() / 255
    with torch.no_grad():
        answers = [model(read_BCHW).position]
        for angle in tta.ROLLS_DEG:
            roll_B33 = geometry.rotation_from_euler_deg(*torch.tensor([0.0, 0.0, angle])).expand(2, 3, 3)
            answers.append(model(transforms.rotate_cameras(read_BCHW, focal_B2, focal_B2 / 2, roll_B33, 128)).position)
        found = tta.averaged(model, [images_BCHW], SQUARE)
    assert (answers[1] - answers[0]).abs().min() > 0.1 / 510  # a tenth of a step of the slopes
    torch.testing.assert_close(found.position, torch.stack(answers).mean(0))


def test_pictures_of_several_shapes_are_averaged_one_by_one() -> None:
    model, images_BCHW = Level().eval(), slopes(torch.tensor([0.3, 1.2, 2.0])).clamp(0, 255).byte()
    with torch.no_grad():
        together = tta.averaged(model, [images_BCHW[:1], images_BCHW[1:]], SQUARE)
        alone = tta.averaged(model, [images_BCHW[2:]], SQUARE)
    torch.testing.assert_close(together.position[2:], alone.position)
    torch.testing.assert_close(together.quaternion[2:], alone.quaternion)


def seen(rotation_33: Tensor, height: int, width: int, focal: float) -> Tensor:
    """What a camera turned by this sees of a world that is far away, (1, 3, height, width) in 0..1."""
    v_H, u_W = torch.arange(height) + 0.5 - height / 2, torch.arange(width) + 0.5 - width / 2
    rays_HW3 = torch.stack([*torch.meshgrid(u_W / focal, v_H / focal, indexing="xy"), torch.ones(height, width)], -1)
    x_HW, y_HW, z_HW = (torch.nn.functional.normalize(rays_HW3, dim=-1) @ rotation_33.T).unbind(-1)
    colours = [(6 * x_HW).sin(), (7 * y_HW + 1).sin(), (5 * (x_HW - y_HW + z_HW)).cos()]
    return torch.stack(colours)[None] * 0.4 + 0.5


def test_each_view_is_what_the_turned_camera_would_see() -> None:
    """Also of what stands beside the square that the network reads of a picture as it is."""
    focal = 1.1 * 128
    whole = seen(torch.eye(3), 128, 320, focal)
    turns_V33 = tta.turns(WIDE)
    assert len(turns_V33) == 9
    torch.testing.assert_close(turns_V33[0], torch.eye(3))
    for turn_33 in turns_V33:
        view = tta._look(whole, WIDE, turn_33)
        expected = (seen(turn_33, 112, 112, focal) - 0.4) / 0.2
        inner = slice(32, 80)  # the top and bottom of some views lie outside of the picture
        assert (view - expected)[..., inner, :].abs().max() < 0.05
    still, aside = (tta._look(whole, WIDE, turn_33) for turn_33 in turns_V33[:2])
    assert (aside - still).abs().mean() > 0.5, "views differ"
    torch.testing.assert_close(still, (whole[..., 8:120, 104:216] - 0.4) / 0.2, atol=1e-4, rtol=0)


def test_copies_are_turned_to_all_sides_alike_and_never_farther_than_training_turned() -> None:
    """To each side as far as to the other, in yaw, pitch and roll; so their median is about the picture as it is."""
    angle_V3 = geometry_euler_deg(tta.turns(WIDE)[1:])
    assert WIDE.turns_deg is not None
    assert np.abs(angle_V3.sum(axis=0)).max() < 0.05 * max(WIDE.turns_deg)
    assert (np.abs(angle_V3).max(axis=0) <= np.array(WIDE.turns_deg) + 1e-3).all()
    for axis in range(2):
        assert (angle_V3[:, axis] > 1e-3).sum() == (angle_V3[:, axis] < -1e-3).sum() == 3


def geometry_euler_deg(turn_V33: Tensor) -> np.ndarray:
    """Yaw, pitch and roll of R_y R_x R_z, by scipy."""
    return Rotation.from_matrix(turn_V33.double().numpy()).as_euler("YXZ", degrees=True)


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_rolled_copies_are_what_the_rolled_camera_would_see(fit: transforms.Fit) -> None:
    """However the picture becomes a square: by a copy of the whole picture, rolled before."""
    config = dataclasses.replace(SQUARE, fit=fit, resize=128, crop=128 if fit != "crop" else 112)
    draw = torch.rand(1, 3, 12, 16, generator=torch.Generator().manual_seed(0))
    whole = torch.nn.functional.interpolate(draw, (256, 344), mode="bicubic").clamp(0, 1)
    looks: list[Tensor] = []

    def model(images_BCHW: Tensor, scene_B: Tensor | None = None) -> PoseOutput:
        looks.append(images_BCHW)
        zero = torch.zeros(1, 3, dtype=torch.float64)
        return PoseOutput(zero, torch.tensor([[1.0, 0, 0, 0]]), torch.zeros(1, 4), scene=scene_B)

    tta.averaged(model, [(whole * 255).round().to(torch.uint8)], config)
    focal_B2, centre_B2 = torch.full((1, 2), 300.0), torch.tensor([[172.0, 128.0]])
    x, y = transforms.rays((256, 344), (0, 0), focal_B2, centre_B2)
    middle = slice(40, -40)
    for look, turn_33 in zip(looks, tta.turns(config), strict=True):
        old = [turn_33[i, 0] * x + turn_33[i, 1] * y + turn_33[i, 2] for i in range(3)]
        rolled = (transforms.looked_up(whole, old, focal_B2, centre_B2).clamp(0, 1) * 255).round().to(torch.uint8)
        expected = transforms.preprocess(rolled, 128, config.crop, (0.0,) * 3, (1.0,) * 3, fit=fit)
        assert (look - expected)[..., middle, middle].abs().mean() < 0.004
    assert (looks[1] - looks[0])[..., middle, middle].abs().mean() > 0.02, "views differ"


class Knows:
    """Answers with the rotation of the camera that a view was seen by; far off in some of the views."""

    def __init__(self, quaternion_B4: Tensor, wrong: tuple[int, ...] = ()) -> None:
        self.quaternion_B4, self.wrong, self.view = quaternion_B4, wrong, 0

    def __call__(self, images_BCHW: Tensor, scene_B: Tensor | None = None) -> PoseOutput:
        turn_4 = geometry.quaternion_from_matrix(tta.turns(WIDE)[self.view])
        far = 30.0 if self.view in self.wrong else 0.0
        turn_4 = geometry.compose(geometry.exp_quaternion(torch.tensor([0.0, far / 60, 0.0])), turn_4)
        answer_B4 = geometry.compose(self.quaternion_B4, turn_4.expand(len(self.quaternion_B4), 4))
        sign = -1.0 if self.view % 2 else 1.0  # both are the same rotation
        position_B3 = torch.tensor([[1.0, 2.0, 3.0 + far]], dtype=torch.float64).expand(len(answer_B4), 3)
        self.view += 1
        return PoseOutput(position_B3, sign * answer_B4, answer_B4, scene=scene_B)


@pytest.mark.parametrize("wrong", [(), (0,), (2, 7), (1, 3, 8)])
def test_most_answers_decide(wrong: tuple[int, ...]) -> None:
    quaternion_B4 = geometry.canonical(geometry.unit(torch.randn(3, 4, generator=torch.Generator().manual_seed(0))))
    model = Knows(quaternion_B4, wrong)
    output = tta.averaged(model, [torch.zeros(3, 3, 128, 200, dtype=torch.uint8)], WIDE)
    assert model.view == 9
    assert geometry.angle_deg(output.quaternion, quaternion_B4).max() < (0.5 if wrong else 1e-2)
    assert (output.position - torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)).abs().max() < (0.5 if wrong else 1e-9)


def test_means_of_answers_along_a_line_are_their_median() -> None:
    position_BV3 = torch.tensor([[0.0, 1.0, 2.0, 3.0, 60.0]], dtype=torch.float64)[..., None] * torch.tensor(
        [0.6, 0.8, 0]
    )
    torch.testing.assert_close(tta.mean_position(position_BV3)[0].norm().item(), 2.0, atol=0.1, rtol=0)
    assert tta.mean_position(position_BV3, rounds=0)[0].norm().item() == pytest.approx(66 / 5)
    half_V = torch.deg2rad(torch.tensor([0.0, 1.0, 2.0, 3.0, 60.0], dtype=torch.float64)) / 2
    zero_V = torch.zeros_like(half_V)
    quaternion_BV4 = torch.stack([half_V.cos(), half_V.sin(), zero_V, zero_V], -1)[None]
    found_B4 = tta.mean_rotation(quaternion_BV4)
    assert geometry.angle_deg(found_B4, quaternion_BV4[:, 2]).max() < 0.1


def test_positions_are_averaged_in_twenty_steps_of_weiszfeld() -> None:
    """Towards an answer that is the median itself they are so slow that a step more or less can be seen."""
    position_V3 = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [-0.6, -0.6, 0], [0, 0.1, 0.9]])
    means_N3 = [position_V3.mean(0)]
    for _ in range(21):
        weight_V = 1 / np.linalg.norm(position_V3 - means_N3[-1], axis=1)
        means_N3.append(weight_V @ position_V3 / weight_V.sum())
    found_3 = tta.mean_position(torch.tensor(position_V3)[None])[0].numpy()
    np.testing.assert_allclose(found_3, means_N3[20], rtol=0, atol=1e-9)
    assert np.abs(means_N3[21] - means_N3[20]).max() > 1e-6


def test_equal_answers_are_their_mean() -> None:
    position_BV3 = torch.tensor([[[5e6, 1.0, -2.0]]], dtype=torch.float64).expand(2, 9, 3)
    torch.testing.assert_close(tta.mean_position(position_BV3), position_BV3[:, 0], rtol=0, atol=1e-6)
    quaternion_B4 = torch.tensor([[0.5, 0.5, -0.5, 0.5]], dtype=torch.float64)
    assert geometry.angle_deg(tta.mean_rotation(quaternion_B4[:, None].expand(1, 9, 4)), quaternion_B4).max() < 1e-4


def test_an_answer_that_is_none_stays_none_and_spoils_no_other() -> None:
    quaternion_BV4 = torch.tensor([1.0, 0.0, 0.0, 0.0], dtype=torch.float64).expand(3, 9, 4).clone()
    quaternion_BV4[1, 4, 2] = torch.nan
    found_B4 = tta.mean_rotation(quaternion_BV4)
    assert found_B4.isnan().all(-1).tolist() == [False, True, False]
    torch.testing.assert_close(found_B4[[0, 2]].abs(), quaternion_BV4[[0, 2], 0])
    position_BV3 = torch.zeros(2, 9, 3)
    position_BV3[0, 3] = torch.nan
    assert tta.mean_position(position_BV3).isnan().all(-1).tolist() == [True, False]


@pytest.mark.parametrize("left", [{"focal": None}, {"turns_deg": None}, {"fit": "pad"}])
def test_where_focal_length_or_turns_are_unknown_cameras_roll(left: dict[str, Any]) -> None:
    config = dataclasses.replace(WIDE, **left)
    turns_V33 = tta.turns(config)
    assert len(turns_V33) == 5
    torch.testing.assert_close(turns_V33[..., 2], torch.tensor([0.0, 0.0, 1.0]).expand(5, 3))
    assert "4 rolled copies" in tta.described(config)
    assert "8 copies turned" in tta.described(WIDE)
