"""Depths of a picture from others: against a room whose depths are known in closed form."""

from __future__ import annotations

import torch
from seen_room import FOCAL, room, turn
from torch import Tensor

from posezoo.nn.sweep import swept_depths

WIDTH, HEIGHT = 128, 96
CAMERA_4 = torch.tensor([FOCAL, FOCAL, WIDTH / 2, HEIGHT / 2])
INVERSE_K = torch.linspace(0, 1, 60)
POSITION_3, AXES_33 = torch.tensor([0.4, -0.3, -1.0]), turn(20, 10, -15)
MOVES = ((0.5, 0.0, 0.0), (-0.5, 0.1, 0.1), (0.0, 0.4, 0.0), (0.1, -0.4, -0.2))


def grey(position_3: Tensor, axes_33: Tensor, **more: bool) -> tuple[Tensor, Tensor]:
    picture, depth = room(position_3, axes_33, WIDTH, HEIGHT, paper=True, **more)
    return picture[0].mean(0), depth


def swept(moves: tuple[tuple[float, ...], ...] = MOVES, **more: bool) -> tuple[Tensor, Tensor]:
    """(inverse depths found, true ones) of a camera from others moved in the world and turned in their own axes."""
    reference, depth = grey(POSITION_3, AXES_33, **more)
    pictures, rotations, steps = [], [], []
    for n, move in enumerate(moves):
        there_3, axes_33 = POSITION_3 + torch.tensor(move), AXES_33 @ turn(3 - 2 * n, n, 2 * n)
        pictures.append(grey(there_3, axes_33, **more)[0])
        rotations.append(axes_33.T @ AXES_33)
        steps.append(axes_33.T @ (POSITION_3 - there_3))
    sources = torch.stack(pictures), CAMERA_4, CAMERA_4.expand(len(moves), 4), torch.stack(rotations)
    return swept_depths(reference, *sources, torch.stack(steps), INVERSE_K), 1 / depth


def test_the_room_is_found_to_a_few_percent() -> None:
    """Signs, order and units of poses, of cameras that are inclined, moved every way and turned."""
    found, truth = swept()
    assert found.isfinite().float().mean() > 0.9
    off = ((found - truth).abs() / truth)[found.isfinite()]
    assert off.median() < 0.02
    assert (off < 0.1).float().mean() > 0.9


def test_between_two_steps_the_lowest_point_is_found() -> None:
    """Steps are 1/59 per metre apart; a wall a few metres away would be off by 2 % in the mean at the nearest step."""
    found, truth = swept()
    known = found.isfinite()
    step = INVERSE_K[1] - INVERSE_K[0]
    nearest = (truth / step).round() * step
    assert (found - truth)[known].abs().median() < 0.6 * (nearest - truth)[known].abs().median()


def test_what_hides_something_in_some_pictures_is_seen_in_others() -> None:
    found, truth = swept(((0.5, 0.0, 0.0), (-0.5, 0.0, 0.0), (0.7, 0.0, 0.0), (-0.7, 0.0, 0.0)), post=True)
    known = found.isfinite()
    edge = torch.zeros_like(known)
    edge[:, 1:] = (truth[:, 1:] - truth[:, :-1]).abs() > 0.05
    beside = torch.nn.functional.max_pool2d(edge[None].float(), (1, 21), 1, (0, 10))[0].bool() & known
    assert beside.sum() > 300, "else nothing is tested"
    assert (((found - truth).abs() / truth)[beside] < 0.15).float().mean() > 0.75


def test_where_nothing_looks_alike_nothing_is_known() -> None:
    noise_SHW = torch.rand(4, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))
    move_S3, still_S33 = torch.tensor(MOVES), torch.eye(3).expand(4, 3, 3)
    picture_HW = grey(POSITION_3, AXES_33)[0]
    found = swept_depths(picture_HW, noise_SHW, CAMERA_4, CAMERA_4.expand(4, 4), still_S33, move_S3, INVERSE_K)
    assert found.isfinite().float().mean() < 0.3
    flat = torch.full((HEIGHT, WIDTH), 0.5)
    still = flat[None], CAMERA_4, CAMERA_4[None], torch.eye(3)[None], torch.tensor([[0.3, 0.0, 0.0]])
    assert not swept_depths(flat, *still, INVERSE_K).isfinite().any()
