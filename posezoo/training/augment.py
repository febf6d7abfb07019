"""Augmentation on batches: pose-true rotation and motion or the published random crop, colours, and appearance.

Pose-true rotation: a rotation R_d of the camera about its centre is an exact image warp, whatever the depth, and the
label becomes R' = R_cw R_d with the position unchanged. The published random crop moves the principal point and keeps
the label, whose orientation is then wrong; it is there for comparison. Motion, for images whose depths are known, moves
the camera too (posezoo.nn.views). There is no horizontal flip, ever.

Legend: B batch, C channels, H height, W width, K uniform numbers a sample.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from posezoo.base.errors import UsageError
from posezoo.base.observe import Observer
from posezoo.data.loader import Batch
from posezoo.data.table import Frames
from posezoo.nn import geometry, transforms, views
from posezoo.nn.model import ModelConfig
from posezoo.training.appearance import with_appearance
from posezoo.training.config import AugmentSettings
from posezoo.training.jitter import coloured

UNVARIED = AugmentSettings(geometry="centre", brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0)
"""Centre crops, colours unchanged."""
VARIED = ("images", "position", "quaternion")
"""What `augmented` changes of a batch."""


def suited(settings: AugmentSettings, frames: Frames, observer: Observer) -> AugmentSettings:
    """The settings for these training frames: what is left open follows from their cameras.

    Raises UsageError if cameras are to move without turning, or without a depth map of any image, or only up and down.
    """
    if settings.lift and settings.motion == 0:
        raise UsageError(f"augment.lift={settings.lift:g} with augment.motion=0: cameras stay", "augment.motion=METRES")
    if settings.geometry != "rotate" and settings.motion not in ("auto", 0):
        what = f"augment.motion={settings.motion} with augment.geometry={settings.geometry}: cameras stay"
        raise UsageError(what, "augment.geometry=rotate, or augment.motion=0")
    unknown = int(np.isnan(frames.intrinsics).any(axis=1).sum())
    if settings.geometry == "rotate" and unknown and settings.fov_deg is None:
        if settings.motion not in ("auto", 0):
            what = f"augment.motion={settings.motion:g}: {unknown} training images have no intrinsics"
            raise UsageError(what, "augment.fov_deg=DEGREES, the horizontal field of view, or augment.motion=0")
        observer.note(
            f"{unknown} training images have no intrinsics: random crops instead of pose-true rotation, and no motion"
            " (augment.fov_deg=DEGREES sets the horizontal field of view)"
        )
        return settings.model_copy(update={"geometry": "crop", "motion": 0.0})
    if settings.geometry != "rotate":
        return settings.model_copy(update={"motion": 0.0})
    position_N3, quaternion_N4 = torch.from_numpy(frames.position), torch.from_numpy(frames.quaternion)
    motion = _motion(settings, frames, observer)
    turns = {name: settings.turn_scale * degrees for name, degrees in turns_of(quaternion_N4).items()}
    found = {**turns, "lift": lift_of(position_N3, quaternion_N4, motion)}
    left_open = {name: value for name, value in found.items() if getattr(settings, name) is None}
    return settings.model_copy(update={**left_open, "motion": motion})


def _motion(settings: AugmentSettings, frames: Frames, observer: Observer) -> float:
    asked, count = settings.motion, int(np.sum(frames.depth != b""))
    swept = not count and settings.depth == "sweep"
    if swept:
        count = int(np.isfinite(frames.intrinsics).all(axis=1).sum())
    if asked == 0 or (asked == "auto" and not count):
        return 0.0
    if not count:
        lacking = "intrinsics" if swept else "a depth map"
        hint = "augment.motion=0" + ("" if swept else ", or augment.depth=sweep")
        raise UsageError(f"augment.motion={asked:g}: no training image has {lacking}", hint)
    if count < len(frames):
        observer.note(f"{len(frames) - count} of {len(frames)} training images have no depths: their cameras only turn")
    return motion_of(torch.from_numpy(frames.position)) if asked == "auto" else asked


def augmented(batch: Batch, config: ModelConfig, augmentation: AugmentSettings) -> Batch:
    """The batch with the network's input (B, 3, crop, crop) as its images, and the true poses of what they show."""
    assert config.mean is not None and config.std is not None
    images_BCHW = transforms.resized(batch.images, config.resize, config.fit)
    height, width = images_BCHW.shape[-2:]
    if augmentation.geometry == "rotate":
        batch = _seen_anew(images_BCHW, batch, config, augmentation)
        images_BCHW = batch.images
    else:
        drawn_B2 = batch.uniforms[:, :2].to(images_BCHW.device, non_blocking=True)
        offset_B2 = drawn_B2 if augmentation.geometry == "crop" else None
        images_BCHW = transforms.preprocess(
            images_BCHW, config.resize, config.crop, (0, 0, 0), (1, 1, 1), offset_B2, config.fit
        )
    images_BCHW = coloured(images_BCHW, batch.uniforms[:, 3:8], augmentation)
    if augmentation.appearance:
        kind, strength = augmentation.appearance, augmentation.appearance_strength
        images_BCHW = with_appearance(images_BCHW, batch.uniforms[:, 8:10], kind, strength)
    images_BCHW = transforms.normalised(images_BCHW, config.mean, config.std)
    return batch._replace(images=transforms.blanked(images_BCHW, height, width))


def _seen_anew(images_BCHW: Tensor, batch: Batch, config: ModelConfig, augmentation: AugmentSettings) -> Batch:
    """The batch as cameras would have seen it that turned and, with motion and depths, moved."""
    scale_2 = [images_BCHW.shape[-1] / batch.images.shape[-1], images_BCHW.shape[-2] / batch.images.shape[-2]]
    height, width = batch.images.shape[-2:]
    known_B4 = with_known_intrinsics(batch.intrinsics, width, height, augmentation.fov_deg)
    intrinsics_B4 = known_B4 * torch.tensor(scale_2 * 2).to(batch.images.device, non_blocking=True)
    angle_B3 = (batch.uniforms[:, :3].double() * 2 - 1) * torch.tensor(_turns(augmentation), dtype=torch.float64)
    rotation_B33 = geometry.rotation_from_euler_deg(*angle_B3.unbind(-1))
    turn_B4 = geometry.quaternion_from_matrix(rotation_B33).to(batch.images.device, non_blocking=True)
    rotation_B33 = rotation_B33.to(batch.images.device, non_blocking=True)
    floats_BCHW = images_BCHW.float().div_(255)
    focal_B2, centre_B2 = intrinsics_B4.split(2, dim=-1)
    seen = batch._replace(quaternion=geometry.canonical(geometry.compose(batch.quaternion, turn_B4)))
    if not augmentation.motion:
        warped = transforms.rotate_cameras(floats_BCHW, focal_B2, centre_B2, rotation_B33, config.crop)
        return seen._replace(images=warped.clamp_(0, 1))
    known_B1 = batch.inverse_depth.isfinite().flatten(1).any(1, keepdim=True)
    move_B3 = moves_of(batch.uniforms, augmentation).to(batch.images.device, non_blocking=True) * known_B1
    warped = views.moved_cameras(
        floats_BCHW, batch.inverse_depth, focal_B2, centre_B2, rotation_B33, move_B3, config.crop
    )
    step_B31 = geometry.matrix_from_quaternion(batch.quaternion) @ move_B3.double()[:, :, None]
    return seen._replace(images=warped.clamp_(0, 1), position=batch.position + step_B31[:, :, 0])


def moves_of(uniforms_BK: Tensor, augmentation: AugmentSettings) -> Float[Tensor, "B 3"]:
    """Metres to the right, down and forward, from samples' random numbers."""
    assert augmentation.motion != "auto" and augmentation.lift is not None, "set up by the training cameras"
    most_3 = torch.tensor([augmentation.motion, augmentation.lift, augmentation.motion])
    return (uniforms_BK[:, 10:13] * 2 - 1) * most_3


def _turns(augmentation: AugmentSettings) -> list[float]:
    yaw, pitch, roll = augmentation.yaw, augmentation.pitch, augmentation.roll
    assert yaw is not None and pitch is not None and roll is not None, "set up by the training cameras"
    return [yaw, pitch, roll]


def turns_of(quaternion_N4: Float[Tensor, "N 4"]) -> dict[str, float]:
    """The ranges of yaw, pitch and roll in degrees that suit cameras which tilt as these (camera-to-world) do.

    Three deviations of the tilt, between a car's and a hand's. Turning a car's camera by more than it ever turns costs
    orientation; a hand's needs it. Yaw has no deviation of its own, because along a path every heading occurs: a camera
    that tilts freely turns freely.
    """
    roll, pitch = geometry.tilts_deg(quaternion_N4)
    tilt = math.hypot(roll, pitch) / math.sqrt(2)
    wanted = {"yaw": (tilt, 4.0, 10.0), "pitch": (pitch, 2.0, 6.0), "roll": (roll, 2.0, 8.0)}
    return {name: min(max(3 * deviation, least), most) for name, (deviation, least, most) in wanted.items()}


def motion_of(position_N3: Float[Tensor, "N 3"]) -> float:
    """How far, in metres, cameras move that took pictures at these positions: a lane's width along a street."""
    return min(0.25 * float(position_N3.var(dim=0, correction=0).sum().sqrt()), 1.5)


def lift_of(position_N3: Float[Tensor, "N 3"], quaternion_N4: Float[Tensor, "N 4"], motion: float) -> float:
    """How far up and down, in metres, cameras move that move by `motion`: at most three deviations of their heights."""
    height_N = position_N3 @ geometry.mean_up(quaternion_N4)
    return min(motion, 3 * float(height_N.std(correction=0)))


def with_known_intrinsics(intrinsics_B4: Tensor, width: int, height: int, fov_deg: float | None) -> Tensor:
    """The intrinsics, unknown ones filled from a horizontal field of view (square pixels, centre in the middle)."""
    if fov_deg is None:
        return intrinsics_B4
    focal = width * focal_length(fov_deg)
    assumed_4 = torch.tensor([focal, focal, width / 2, height / 2]).to(intrinsics_B4)
    return torch.where(torch.isnan(intrinsics_B4), assumed_4, intrinsics_B4)


def focal_length(fov_deg: float) -> float:
    """The focal length, in widths of the image, of a horizontal field of view."""
    return 0.5 / math.tan(math.radians(fov_deg) / 2)
