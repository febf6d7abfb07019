"""Anchors: poses on the training path, or beside it where training moves cameras, each with a learned key.

* an image attends to K anchors a scene, spread over the poses of the place by farthest-point sampling in v = (position,
  a x viewing direction)
* logit l_k = exp(tau) cos(P e - mu, w_k): e the image embedding; projection P, mean mu, keys w_k and tau are learned
* base pose: mean of the anchors within 4 sigma of the strongest, weighted by s = softmax(l)
* loss of their own: cross-entropy of s against softmax(-|v - v_k|^2 / (2 sigma^2)), v of the true pose

Nadaraya-Watson regression over poses with a learned kernel; AnchorNet (Saha, Varma and Jawahar, BMVC 2018) classifies
anchors likewise.

Legend: B batch, E embedding width, D key width, K anchors of all scenes, N training images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from posezoo.nn import geometry
from posezoo.nn.outputs import Features, PoseOutput
from posezoo.nn.place import Place, Target
from posezoo.nn.ranges import Count

Positive = Annotated[float, Field(gt=0)]
NEIGHBOURHOOD = 4.0  # sigmas around the strongest anchor in which others count
FINEST = 0.15  # of a: frames of a video lie millimetres apart, and say nothing of how far the next visitor stands
HEAD_ERROR = 0.05  # of the spread of a place: about what a regression head is off where it has not been
NEVER = -1e4  # logit of an anchor that does not count; finite in half precision too
EPS = 1e-6  # shorter keys have no direction


@dataclass(frozen=True)
class AnchorsConfig:
    """The settings of `+anchors`."""

    count: Count = 400
    """Most anchors of a scene."""
    images: Count = 1
    """Views an anchor: a scene with few training images gets fewer anchors."""
    key_dim: Count = 128
    """D, the width of keys; the embedding is projected to it."""
    scale: Positive | None = None
    """sigma in metres; none: 0.7 times the median distance of neighbouring anchors, at least 0.15 a."""
    turn_deg: Positive | None = None
    """Degrees within which the orientation head is believed where it differs from the anchors (see `modifier`); none:
    1 for a car to 90 for a hand, by the tilts of the training cameras."""
    trust: Positive | None = None
    """Metres within which the position head is believed likewise; none: 40 sigma^2 / the spread of positions."""
    weight: Annotated[float, Field(ge=0)] = 0.5
    """Of the cross-entropy."""


class Base(NamedTuple):
    """What the anchors say of each image."""

    offset: Tensor  # (B, 3) float64 metres from the mean of the training positions, world axes
    quaternion: Tensor  # (B, 4) float64 camera-to-world, unit
    scale: Tensor  # (B, 1) sigma there, metres
    trust: Tensor  # (B, 1) metres within which the position head is believed there


class Anchors(nn.Module):
    """Anchor poses and keys. Until `learn_place` they lie at random, as any weight does."""

    disclosure = "the poses of some training images are stored in the weights (anchors)"

    def __init__(
        self, config: AnchorsConfig, embedding_dim: int, scenes: int, mean: tuple[float, ...], std: tuple[float, ...]
    ) -> None:
        super().__init__()
        self.config, self.scenes = config, scenes
        self.mean_3 = np.array(mean)
        total, spread = scenes * config.count, torch.tensor(std, dtype=torch.float32)
        self.project = nn.Linear(embedding_dim, config.key_dim)
        self.keys = nn.Parameter(torch.randn(total, config.key_dim) / math.sqrt(config.key_dim))
        self.tau = nn.Parameter(torch.tensor(math.log(20.0)))
        axis_K3 = torch.randn(total, 3)
        self.offset: Tensor
        self.quaternion: Tensor
        self.scene: Tensor
        self.scale: Tensor
        self.direction_m: Tensor
        self.trust: Tensor
        # float64 is never stored in half precision: metres over a kilometre would lose their decimals
        self.register_buffer("offset", (torch.randn(total, 3) * spread).double())
        self.register_buffer("quaternion", geometry.exp_quaternion(axis_K3))
        # -1 where a scene has fewer anchors than there is room for
        self.register_buffer("scene", torch.arange(total) % scenes)
        self.register_buffer("scale", spread.norm().expand(scenes).clone())
        self.register_buffer("trust", self._trusted(self.scale, self.scale))
        self.turn: Tensor
        self.register_buffer("turn", torch.tensor(math.radians(config.turn_deg or 4.0)))
        self.register_buffer("direction_m", spread.norm().expand(scenes).clone())  # a: metres that a full turn counts

    def logits(self, image_BE: Tensor, scene_B: Tensor | None) -> Tensor:
        """l (B, K) as above; anchors of other scenes, where the scene is known, do not count."""
        key_BD = F.normalize(self.project(image_BE).float(), dim=-1, eps=EPS)
        logit_BK = self.tau.exp() * key_BD @ F.normalize(self.keys, dim=-1, eps=EPS).T
        counts_BK = (self.scene >= 0)[None] if scene_B is None else self.scene[None] == scene_B[:, None]
        return logit_BK.masked_fill(~counts_BK, NEVER)

    def forward(self, image_BE: Tensor, scene_B: Tensor | None) -> Base:
        """The base poses. In float64, which no autocast touches: metres in bfloat16 would lose their decimals."""
        logit_BK = self.logits(image_BE, scene_B)
        best_B = logit_BK.argmax(-1)
        # where the model knows no scene, that of the strongest anchor: scenes may have coordinates of their own
        scene_B = self.scene[best_B]
        scale_B = self.scale[scene_B]
        quaternion_K4 = self.quaternion.double()
        square_BK = self._square(self.offset[best_B], quaternion_K4[best_B], scene_B)
        near_BK = square_BK < (NEIGHBOURHOOD * scale_B[:, None]) ** 2
        near_BK = near_BK & (self.scene[None] == scene_B[:, None])
        weight_BK = logit_BK.masked_fill(~near_BK, NEVER).double().softmax(-1)
        sign_BK = torch.where(quaternion_K4[best_B] @ quaternion_K4.T < 0, -1.0, 1.0)
        quaternion_B4 = geometry.unit((weight_BK * sign_BK) @ quaternion_K4)
        return Base(weight_BK @ self.offset, quaternion_B4, scale_B[:, None], self.trust[scene_B][:, None])

    def extra_losses(self, features: Features, output: PoseOutput, target: Target) -> dict[str, Tensor]:
        """The cross-entropy of the anchors' weights against those of a Gaussian around the true pose."""
        logit_BK = self.logits(features.image, features.scene).float()
        scene_B = torch.zeros_like(target.position[:, 0], dtype=torch.long) if target.scene is None else target.scene
        offset_B3 = target.position - torch.from_numpy(self.mean_3).to(target.position)
        square_BK = self._square(offset_B3, target.quaternion, scene_B)
        wanted_BK = -square_BK / (2 * self.scale[scene_B][:, None] ** 2)
        # any anchor of the scene, however far, counts more than one of another
        others_BK = self.scene[None] != scene_B[:, None]
        wanted_BK = wanted_BK.masked_fill(others_BK, torch.finfo(wanted_BK.dtype).min).softmax(-1).float()
        entropy = -(wanted_BK * logit_BK.log_softmax(-1)).sum(-1).mean()
        return {"anchors": self.config.weight * entropy}

    def _square(self, offset_B3: Tensor, quaternion_B4: Tensor, scene_B: Tensor) -> Tensor:
        """|v - v_k|^2 (B, K) of poses in the space of v, float64 square metres."""
        away_BK = (offset_B3[:, None] - self.offset).square().sum(-1)
        turned_BK = (_view(quaternion_B4.double())[:, None] - _view(self.quaternion.double())).square().sum(-1)
        return away_BK + self.direction_m[scene_B][:, None] ** 2 * turned_BK

    @torch.no_grad()
    def learn_place(self, place: Place) -> None:
        """Anchors at training poses, keys at the embeddings of their images, projected to the main components.

        Scenes that the place does not have keep the anchors that they have learned, and with them the projection.
        """
        chosen: list[np.ndarray] = []
        kept_K = self._learned_before(set(np.unique(place.scene).tolist()))
        self.scene[~kept_K] = -1
        for scene in range(self.scenes):
            rows = np.flatnonzero(place.scene == scene)
            if not len(rows):
                continue
            direction_m = _direction_metres(place.position[rows])
            found, spacing = spread_out(
                np.concatenate([place.position[rows], direction_m * _views(place.quaternion[rows])], axis=1),
                min(self.config.count, max(2, len(rows) // self.config.images)),
                nearest=FINEST / 2 * direction_m,
            )
            self.scale[scene] = self.config.scale or max(FINEST * direction_m, 0.7 * spacing)
            self.trust[scene] = self._trusted(self.scale[scene], _spread(place.position[rows]))
            self.direction_m[scene] = direction_m
            start = scene * self.config.count
            self.scene[start : start + len(found)] = scene
            chosen.append(rows[found])
        if not kept_K.any():
            tilt_deg = math.hypot(*geometry.tilts_deg(torch.from_numpy(place.quaternion))) / math.sqrt(2)
            # a hand tilts the camera between anchors too, of which these know nothing: the head, nearly always
            self.turn.fill_(math.radians(self.config.turn_deg or min(max(tilt_deg**3, 1.0), 90.0)))
        used_K, rows_K = (self.scene >= 0) & ~kept_K, np.concatenate(chosen)
        self.offset[used_K] = torch.from_numpy(place.position[rows_K] - self.mean_3).to(self.offset)
        self.quaternion[used_K] = torch.from_numpy(place.quaternion[rows_K]).to(self.quaternion)
        embedding_KE = place.embed(rows_K.tolist())
        projected_KD = self.project(embedding_KE) if kept_K.any() else self._projected_anew(embedding_KE)
        # an embedding like all others has no direction: its key keeps its random start
        has_one_K1 = projected_KD.norm(dim=-1, keepdim=True) > 10 * EPS * embedding_KE.norm(dim=-1, keepdim=True)
        self.keys[used_K] = torch.where(has_one_K1, F.normalize(projected_KD, dim=-1), self.keys[used_K])

    def _learned_before(self, anew: set[int]) -> Tensor:
        """(K,) which anchors are those that scenes other than `anew` have learned: each scene has a room of its own."""
        room_K = torch.arange(len(self.scene), device=self.scene.device) // self.config.count
        own_K = (self.scene == room_K) | (self.scene == -1)
        kept = [scene for scene in range(self.scenes) if scene not in anew and bool(own_K[room_K == scene].all())]
        return torch.isin(room_K, room_K.new_tensor(kept)) & (self.scene >= 0)

    def _trusted(self, sigma: Tensor, spread: Tensor | float) -> Tensor:
        """c in metres: twice sigma times how many times smaller than sigma the head's error may be expected to be."""
        found: Tensor = 2 * sigma**2 / (HEAD_ERROR * spread)
        return torch.full_like(found, self.config.trust) if self.config.trust else found

    def _projected_anew(self, embedding_KE: Tensor) -> Tensor:
        """Projected, from now on, on the directions in which these embeddings differ most, so that cosines stay."""
        mean_E = embedding_KE.mean(0)
        differences_KE = embedding_KE - mean_E
        _, _, axes_DE = torch.linalg.svd(differences_KE, full_matrices=False)
        axes_DE = axes_DE[: self.config.key_dim]
        # few anchors span few directions; the others keep their random start, small beside these
        self.project.weight[len(axes_DE) :] = F.normalize(self.project.weight[len(axes_DE) :], dim=-1) / 100
        self.project.weight[: len(axes_DE)] = axes_DE
        self.project.bias.copy_(-self.project.weight @ mean_E)
        return differences_KE @ self.project.weight.T


def spread_out(points_NV: np.ndarray, count: int, nearest: float = 0.0) -> tuple[np.ndarray, float]:
    """(rows (K,) of K points by farthest-point sampling, the median distance of one to its nearest neighbour).

    At most `count`, and none nearer than `nearest` to another.
    """
    rows = [int(np.square(points_NV - points_NV.mean(0)).sum(1).argmin())]
    square_N = np.square(points_NV - points_NV[rows[0]]).sum(1)
    while len(rows) < count and square_N.max() > nearest**2:  # of repeated poses one is enough
        rows.append(int(square_N.argmax()))
        square_N = np.minimum(square_N, np.square(points_NV - points_NV[rows[-1]]).sum(1))
    chosen_KV = points_NV[rows]
    nearest_K = [np.sort(np.square(chosen_KV - point_V).sum(1))[min(1, len(rows) - 1)] for point_V in chosen_KV]
    return np.array(rows), float(np.sqrt(np.median(nearest_K)))


def _direction_metres(position_N3: np.ndarray) -> float:
    """a: the spread of the positions, at most 5 m: along a street a view changes over metres, not over its length."""
    return min(_spread(position_N3), 5.0)


def _spread(position_N3: np.ndarray) -> float:
    """Root of the summed variances, metres; at least a millimetre."""
    return float(max(np.sqrt(position_N3.var(axis=0).sum()), 1e-3))


def _view(quaternion_X4: Tensor) -> Tensor:
    """The direction (X, 3) in which cameras look, in the world."""
    return geometry.matrix_from_quaternion(quaternion_X4)[..., 2]


def _views(quaternion_N4: np.ndarray) -> np.ndarray:
    view_N3: np.ndarray = _view(torch.from_numpy(quaternion_N4)).numpy()
    return view_N3
