"""Cameras that move: against a room whose pictures and depths from everywhere are known in closed form."""

from __future__ import annotations

import pytest
import torch
from seen_room import FOCAL, room, turn

from posezoo.nn import transforms
from posezoo.nn.views import moved_cameras

WIDTH, HEIGHT, CROP = 200, 150, 128
FOCAL_B2 = torch.tensor([[FOCAL, FOCAL]])
CENTRE_B2 = torch.tensor([[WIDTH / 2, HEIGHT / 2]])
STILL = torch.eye(3)[None]


@pytest.mark.parametrize(
    ("angles", "move"),
    [
        ((0, 0, 0), (0.8, 0, 0)),
        ((0, 0, 0), (0, 0.5, 0)),
        ((0, 0, 0), (0, 0, 0.9)),
        ((0, 0, 0), (0, 0, -0.6)),
        ((8, -4, 6), (-0.7, 0.3, 0.5)),
    ],
)
def test_the_picture_is_what_a_camera_there_sees(angles: tuple[float, ...], move: tuple[float, ...]) -> None:
    """Signs, order and units: the pose R R_d, t + R m of an inclined camera, against the room seen from there."""
    position_3, axes_33 = torch.tensor([0.4, -0.3, -1.0]), turn(20, 10, -15)
    picture, depth = room(position_3, axes_33, WIDTH, HEIGHT)
    turned_33, move_3 = turn(*angles), torch.tensor(move)
    inverse = (1 / depth)[None, ::2, ::2]
    found = moved_cameras(picture, inverse, FOCAL_B2, CENTRE_B2, turned_33[None], move_3[None], CROP)
    truth, _ = room(position_3 + axes_33 @ move_3, axes_33 @ turned_33, CROP, CROP)
    stayed, _ = room(position_3, axes_33 @ turned_33, CROP, CROP)
    inner = (..., slice(30, -30), slice(30, -30))  # beyond the old picture there is nothing to see
    right = (found - truth)[inner].abs().mean()
    assert right < 0.01
    assert (stayed - truth)[inner].abs().mean() > 8 * right


def test_whole_pictures_move_as_their_middles_do() -> None:
    picture, depth = room(torch.zeros(3), torch.eye(3), WIDTH, HEIGHT)
    turned_33, move_3 = turn(4, -3, 5), torch.tensor([0.4, 0.1, -0.2])
    given = picture, (1 / depth)[None], FOCAL_B2, CENTRE_B2, turned_33[None], move_3[None]
    whole, middle = moved_cameras(*given, None), moved_cameras(*given, CROP)
    assert whole.shape == picture.shape
    top, left = transforms.centre_corner(HEIGHT, WIDTH, CROP)
    assert (whole[..., top : top + CROP, left : left + CROP] - middle).abs().mean() < 0.003
    truth, _ = room(move_3, turned_33, WIDTH, HEIGHT)
    assert (whole - truth)[..., 30:-30, 40:-40].abs().mean() < 0.01


def test_what_is_near_hides_what_is_far() -> None:
    position_3 = torch.zeros(3)
    picture, depth = room(position_3, torch.eye(3), WIDTH, HEIGHT, post=True)
    move_3 = torch.tensor([0.6, 0.0, 0.0])
    found = moved_cameras(picture, (1 / depth)[None], FOCAL_B2, CENTRE_B2, STILL, move_3[None], CROP)
    truth, _ = room(position_3 + move_3, torch.eye(3), CROP, CROP, post=True)
    red, red_there = ((one[0, 0] > 0.9) & (one[0, 1] < 0.1) for one in (found, truth))
    assert red_there.sum() > 1500
    assert (red & red_there).sum() > 0.95 * red_there.sum(), "the post is not seen through"
    left_of_it = red_there.float().argmax(dim=1).min()
    assert (red[:, :left_of_it].sum(dim=1) <= 1).all(), "nor is it anywhere else on that side"


@pytest.mark.parametrize("unknown", ["nowhere", "everywhere"])
def test_without_a_move_or_depths_it_is_the_turn_alone(unknown: str) -> None:
    picture, depth = room(torch.zeros(3), torch.eye(3), WIDTH, HEIGHT)
    inverse = (1 / depth)[None] if unknown == "nowhere" else torch.full((1, HEIGHT, WIDTH), torch.nan)
    move_B3 = torch.zeros(1, 3) if unknown == "nowhere" else torch.tensor([[0.5, 0.1, 0.3]])
    turned_B33 = turn(5, 3, -8)[None]
    found = moved_cameras(picture, inverse, FOCAL_B2, CENTRE_B2, turned_B33, move_B3, CROP)
    expected = transforms.rotate_cameras(picture, FOCAL_B2, CENTRE_B2, turned_B33, CROP)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_holes_in_the_depths_take_those_around_them() -> None:
    picture, depth = room(torch.zeros(3), torch.eye(3), WIDTH, HEIGHT)
    whole = (1 / depth)[None]
    holed = whole.clone()
    holed[:, 100:145, 60:110] = torch.nan
    move_B3 = torch.tensor([[0.3, 0.0, 0.0]])
    found, expected = (moved_cameras(picture, one, FOCAL_B2, CENTRE_B2, STILL, move_B3, CROP) for one in (holed, whole))
    assert (found - expected).abs().max() > 0, "else nothing is tested"
    assert (found - expected).abs().mean() < 0.003


def test_a_picture_does_not_depend_on_its_batch() -> None:
    pictures, depths = zip(*(room(torch.tensor([0.0, 0, z]), torch.eye(3), WIDTH, HEIGHT) for z in (0, 1)), strict=True)
    move_B3 = torch.tensor([[0.3, 0.0, 0.2], [-0.4, 0.1, 0.0]])
    camera = FOCAL_B2.expand(2, 2), CENTRE_B2.expand(2, 2), STILL.expand(2, 3, 3)
    both = moved_cameras(torch.cat(pictures), 1 / torch.stack(depths), *camera, move_B3, CROP)
    for n in range(2):
        one = moved_cameras(pictures[n], 1 / depths[n][None], FOCAL_B2, CENTRE_B2, STILL, move_B3[n : n + 1], CROP)
        torch.testing.assert_close(both[n : n + 1], one, atol=1e-5, rtol=0)
