"""A room whose pictures and depths from everywhere are known in closed form, and a data set of it."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from posezoo.nn import geometry

HALF_3 = torch.tensor([4.0, 2.5, 6.0])
"""Half the room's sides, in metres."""
FOCAL = 120.0


def room(
    position_3: Tensor, axes_33: Tensor, width: int, height: int, post: bool = False, paper: bool = False
) -> tuple[Tensor, Tensor]:
    """(1, 3, H, W) picture and (H, W) depths that a camera in the room sees.

    `post`: a wall of red, 1 m wide, at z = 3 m; `paper`: the walls have a fine pattern.
    """
    x = (torch.arange(width) + 0.5 - width / 2) / FOCAL
    y = (torch.arange(height) + 0.5 - height / 2) / FOCAL
    ray = torch.stack([*torch.meshgrid(x, y, indexing="xy"), torch.ones(height, width)], -1) @ axes_33.T
    depth = ((ray.sign() * HALF_3 - position_3) / ray).amin(-1)
    point = position_3 + ray * depth[..., None]
    colour = 0.5 + 0.4 * torch.sin(2.0 * point + 1.5 * point.roll(1, -1))
    if paper:
        fine = torch.sin(7.0 * point + 4.0 * point.roll(1, -1) + 11.0 * point.roll(2, -1))
        colour = 0.25 + 0.5 * colour + 0.2 * fine
    if post:
        to_post = (3.0 - position_3[2]) / ray[..., 2]
        hit = (to_post > 0) & (to_post < depth) & ((position_3[0] + ray[..., 0] * to_post).abs() < 0.5)
        colour = torch.where(hit[..., None], torch.tensor([1.0, 0.0, 0.0]), colour)
        depth = torch.where(hit, to_post, depth)
    return colour.movedim(-1, 0)[None], depth


def turn(yaw: float, pitch: float, roll: float) -> Tensor:
    """A rotation from degrees."""
    return geometry.rotation_from_euler_deg(*torch.tensor([yaw, pitch, roll])).float()


def write(folder: Path, count: int = 20) -> Path:
    """A folder with poses.csv: `count` training images, 160 x 120, from a walk through the papered room; 4 to test."""
    table = []
    for n in range(count + 4):
        position_3 = torch.tensor([0.15 * n - 1.5, 0.3 * np.sin(n), 0.1 * n - 2.0], dtype=torch.float32)
        axes_33 = turn(10 * np.sin(n / 4), 5 * np.cos(n / 3), 4 * np.sin(n / 2))
        picture, _ = room(position_3, axes_33, 160, 120, paper=True)
        (folder / "images").mkdir(parents=True, exist_ok=True)
        pixels = (picture[0].movedim(0, -1) * 255).round().to(torch.uint8).numpy()
        Image.fromarray(pixels).save(folder / f"images/{n:02d}.png")
        quaternion_4 = geometry.quaternion_from_matrix(axes_33.double()[None])[0].tolist()
        pose = dict(zip(("x", "y", "z", "qw", "qx", "qy", "qz"), position_3.tolist() + quaternion_4, strict=True))
        camera = {"fx": FOCAL, "fy": FOCAL, "cx": 80.0, "cy": 60.0}
        split = "train" if n < count else "test"
        table.append({"image": f"images/{n:02d}.png", **pose, "split": split, **camera})
    with (folder / "poses.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(table[0]))
        writer.writeheader()
        writer.writerows(table)
    return folder
