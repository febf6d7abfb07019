"""Pose losses: position and rotation terms, balanced by learned or fixed weights, plus the scene's log-likelihood.

Learned (Kendall and Cipolla 2017): L = L_x exp(-s_x) + s_x + L_q exp(-s_q) + s_q. Fixed: w_x L_x + w_q L_q.
On tuples of T frames (MapNet, Brahmbhatt et al. 2018, eq. 3; AtLoc+, Wang et al. 2020): the same for the differences of
consecutive poses, D_x = x_{t+1} - x_t and D_q = log q_{t+1} - log q_t (L1), with a balance of their own, added.
Every term has a finite value and a finite gradient everywhere.

Legend: B batch, R rotation numbers, S scenes, T frames of a tuple.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from posezoo.nn import geometry
from posezoo.nn.outputs import PoseOutput

ROTATION_LOSSES = ("sign-free", "quaternion", "matrix", "log", "log-mean")


class LossTerms(NamedTuple):
    """The loss and its parts, each a scalar; the relative ones are zero without tuples."""

    total: Tensor
    position: Tensor
    rotation: Tensor
    scene: Tensor
    relative_position: Tensor
    relative_rotation: Tensor


class PoseLoss(nn.Module):
    """The training loss of a pose model.

    `position`: l2, the Euclidean norm; l1, the sum over the three components; l1-mean, their mean (AtLoc and MapNet).
    `unit_m`: metres that count as one in the position term, one number or one for each axis (1: losses on metres).
    `weights`: None learns s_x and s_q from `start`; a pair (w_x, w_q) fixes the balance. `label_frame`: that of the
    orientation head (ModelConfig.label_frame). `tuple_length` T > 1: a batch is consecutive tuples of T frames in time
    order, and the relative terms have a second pair with the same start.
    """

    unit_m: Tensor

    def __init__(
        self,
        representation: str = "quaternion",
        rotation: str = "sign-free",
        position: str = "l2",
        start: tuple[float, float] = (0.0, 0.0),
        weights: tuple[float, float] | None = None,
        unit_m: float | tuple[float, float, float] = 1.0,
        label_frame: geometry.LabelFrame = "camera-to-world",
        tuple_length: int = 1,
    ) -> None:
        super().__init__()
        self.representation, self.rotation, self.position = representation, rotation, position
        self.weights, self.label_frame, self.tuple_length = weights, label_frame, tuple_length
        self.register_buffer("unit_m", torch.tensor(unit_m, dtype=torch.float64), persistent=False)  # () or (3,)
        start_s = torch.tensor(start * (2 if tuple_length > 1 else 1), dtype=torch.float32)
        self.balance = nn.Parameter(start_s, requires_grad=weights is None)  # s_x, s_q, and those of the relative terms

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
        l_x = self._length(error_B3)
        l_q = rotation_loss(output.rotation, quaternion_B4.float(), self.representation, self.rotation).mean()
        d_x = d_q = torch.zeros_like(l_x)
        l_s = torch.zeros_like(l_x)
        if output.scene_logits is not None and scene_B is not None:
            l_s = F.cross_entropy(output.scene_logits.float(), scene_B)
        total = self._balanced(l_x, l_q, 0) + l_s
        if self.tuple_length > 1:
            # the error of a difference is the difference of the errors
            d_x = self._length(self._steps(error_B3))
            log_error_B3 = log_numbers(output.rotation, self.representation) - geometry.log_quaternion(
                quaternion_B4.float()
            )
            turn_BT3 = self._steps(log_error_B3).abs()
            d_q = turn_BT3.mean() if self.rotation == "log-mean" else turn_BT3.sum(-1).mean()
            total = total + self._balanced(d_x, d_q, 2)
        return LossTerms(total, l_x, l_q, l_s, d_x, d_q)

    def _length(self, error_B3: Tensor) -> Tensor:
        match self.position:
            case "l1":
                return error_B3.abs().sum(-1).mean()
            case "l1-mean":
                return error_B3.abs().mean()
        return norm(error_B3.flatten(0, -2)).mean()

    def _steps(self, x_B3: Tensor) -> Tensor:
        """x_{t+1} - x_t within each tuple, (B / T, T - 1, 3)."""
        tuples_BT3: Tensor = x_B3.unflatten(0, (-1, self.tuple_length))
        return tuples_BT3.diff(dim=1)

    def _balanced(self, l_x: Tensor, l_q: Tensor, first: int) -> Tensor:
        if self.weights is not None:
            return self.weights[0] * l_x + self.weights[1] * l_q
        s_x, s_q = self.balance[first], self.balance[first + 1]
        return l_x * torch.exp(-s_x) + s_x + l_q * torch.exp(-s_q) + s_q


def rotation_loss(
    rotation_BR: Float[Tensor, "B R"], quaternion_B4: Float[Tensor, "B 4"], representation: str, kind: str
) -> Float[Tensor, " B"]:
    """The rotation error of each image.

    sign-free    min over the sign of || q/|q| -+ q' ||: no jump where w changes sign
    quaternion   || q/|q| - q' ||, targets w >= 0 (PoseNet and MS families, as published)
    matrix       || R(q) - R' ||_F
    log          || log q - log q' ||_1
    log-mean     a third of it: the mean over the three components (AtLoc and MapNet, as published)
    """
    match kind:
        case "matrix":
            target_B33 = geometry.matrix_from_quaternion(quaternion_B4)
            return norm((geometry.to_matrix(rotation_BR, representation) - target_B33).flatten(1))
        case "log" | "log-mean":
            own_B3 = log_numbers(rotation_BR, representation)
            error_B3 = (own_B3 - geometry.log_quaternion(quaternion_B4)).abs()
            return error_B3.sum(-1) if kind == "log" else error_B3.mean(-1)
    if representation == "quaternion":
        own_B4 = geometry.unit(rotation_BR)  # the sign the head chose stays: the published loss depends on it
    else:
        own_B4 = geometry.to_quaternion(rotation_BR, representation)
    same_B = norm(own_B4 - quaternion_B4)
    return same_B if kind == "quaternion" else torch.minimum(same_B, norm(own_B4 + quaternion_B4))


def log_numbers(rotation_BR: Float[Tensor, "B R"], representation: str) -> Float[Tensor, "B 3"]:
    """A head's numbers as log-quaternions; one that regresses these keeps its own, beyond half a turn too."""
    if representation == "log-quaternion":
        return rotation_BR
    return geometry.log_quaternion(geometry.to_quaternion(rotation_BR, representation))


def norm(x: Float[Tensor, "B n"]) -> Float[Tensor, " B"]:
    """The Euclidean norm; its gradient at zero is zero, not NaN."""
    length: Tensor = torch.linalg.vector_norm(x, dim=-1)
    return length
