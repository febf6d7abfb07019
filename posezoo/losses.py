"""Pose losses: position and rotation terms, balanced by learned or fixed weights, plus the scene's log-likelihood.

Learned (Kendall 2017, eq. 3): L = L_x exp(-s_x) + s_x + L_q exp(-s_q) + s_q. Fixed: w_x L_x + w_q L_q.
Every term has a finite value and a finite gradient everywhere.

Legend: B batch, R rotation numbers, S scenes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from posezoo import geometry
from posezoo.types import PoseOutput

ROTATION_LOSSES = ("sign-free", "quaternion", "matrix", "log")


class LossTerms(NamedTuple):
    """The loss and its parts, each a scalar."""

    total: Tensor
    position: Tensor
    rotation: Tensor
    scene: Tensor


class PoseLoss(nn.Module):
    """The training loss of a pose model.

    `unit_m`: metres that count as one in the position term (1: the published losses, on metres).
    `weights`: None learns s_x and s_q from `start`; a pair (w_x, w_q) fixes the balance.
    `label_frame`: what the model's orientation head says (ModelConfig.label_frame).
    """

    def __init__(
        self,
        representation: str = "quaternion",
        rotation: str = "sign-free",
        position: str = "l2",
        start: tuple[float, float] = (0.0, 0.0),
        weights: tuple[float, float] | None = None,
        unit_m: float = 1.0,
        label_frame: geometry.LabelFrame = "camera-to-world",
    ) -> None:
        super().__init__()
        self.representation, self.rotation, self.position = representation, rotation, position
        self.weights, self.unit_m, self.label_frame = weights, unit_m, label_frame
        self.balance = nn.Parameter(torch.tensor(start, dtype=torch.float32), requires_grad=weights is None)  # s_x, s_q

    def forward(
        self,
        output: PoseOutput,
        position_B3: Float[Tensor, "B 3"],
        quaternion_B4: Float[Tensor, "B 4"],
        scene_B: Int[Tensor, " B"] | None = None,
    ) -> LossTerms:
        """The loss of a batch; the target quaternions are camera-to-world, unit, with w >= 0."""
        quaternion_B4 = geometry.to_label_frame(quaternion_B4, self.label_frame)
        # differences in float64, because positions may be UTM; the loss itself is an ordinary float32 number
        error_B3 = ((output.position - position_B3) / self.unit_m).float()
        l_x = error_B3.abs().sum(-1).mean() if self.position == "l1" else norm(error_B3).mean()
        l_q = rotation_loss(output.rotation, quaternion_B4.float(), self.representation, self.rotation).mean()
        l_s = torch.zeros_like(l_x)
        if output.scene_logits is not None and scene_B is not None:
            l_s = F.cross_entropy(output.scene_logits.float(), scene_B)
        if self.weights is None:
            s_x, s_q = self.balance
            total = l_x * torch.exp(-s_x) + s_x + l_q * torch.exp(-s_q) + s_q + l_s
        else:
            total = self.weights[0] * l_x + self.weights[1] * l_q + l_s
        return LossTerms(total, l_x, l_q, l_s)


def rotation_loss(
    rotation_BR: Float[Tensor, "B R"], quaternion_B4: Float[Tensor, "B 4"], representation: str, kind: str
) -> Float[Tensor, " B"]:
    """The rotation error of each image.

    sign-free    min over the sign of || q/|q| -+ q' ||: no jump where w changes sign
    quaternion   || q/|q| - q' ||, targets w >= 0 (PoseNet and MS families, as published)
    matrix       || R(q) - R' ||_F
    log          || log q - log q' ||_1 (AtLoc and MapNet, as published)
    """
    match kind:
        case "matrix":
            target_B33 = geometry.matrix_from_quaternion(quaternion_B4)
            return norm((geometry.to_matrix(rotation_BR, representation) - target_B33).flatten(1))
        case "log":
            own_B3 = rotation_BR
            if representation != "log-quaternion":
                own_B3 = geometry.log_quaternion(geometry.to_quaternion(rotation_BR, representation))
            return (own_B3 - geometry.log_quaternion(quaternion_B4)).abs().sum(-1)
    if representation == "quaternion":
        own_B4 = geometry.unit(rotation_BR)  # the sign the head chose stays: the published loss depends on it
    else:
        own_B4 = geometry.to_quaternion(rotation_BR, representation)
    same_B = norm(own_B4 - quaternion_B4)
    return same_B if kind == "quaternion" else torch.minimum(same_B, norm(own_B4 + quaternion_B4))


def norm(x: Float[Tensor, "B n"]) -> Float[Tensor, " B"]:
    """The Euclidean norm; its gradient at zero is zero, not NaN."""
    return torch.linalg.vector_norm(x, dim=-1)
