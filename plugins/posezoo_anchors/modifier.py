"""`+anchors`: both heads of a model, completed by anchor poses (posezoo_anchors.anchors).

Two answers for each image: the head's own, p, and the anchors', b with a small residual r in the base pose's own axes,
a = b + sigma R_b r (for rotations: turned by `TURN` r radians). The head's answer is believed as far as the two agree:

    answer = a + (p - a) / (1 + (d / c)^4),   d = |p - a|,   c = `trust`  (`turn` for rotations)

A head is off by a share of the place's size, anchors by their distance from each other. In a room the head is the finer
of the two and nearly always counts; along a street it is metres away, in other weather further, and the anchors decide.
Both answers have losses of their own, log L: the published learned balance at its optimum, min_s L exp(-s) + s = 1 +
log L.

The numbers of the residual are columns of the head's last layer, so that a hypernetwork generates them too.

Legend: B batch, O the base head's numbers.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from posezoo.nn import geometry
from posezoo.nn.heads import Head, MLPHead, layer_widths
from posezoo.nn.model import PoseModel
from posezoo.nn.outputs import Features, PoseOutput
from posezoo.nn.place import Target
from posezoo.plugin import UsageError
from posezoo_anchors.anchors import Anchors, AnchorsConfig

TURN = 0.2  # radians that a residual of one turns the base pose by
FLOOR = 1e-3  # of a logarithm: no batch is better than this


def anchor(model: PoseModel, config: AnchorsConfig) -> None:
    """Complete the model's two heads by anchors, which they share. Raises UsageError if they are infused already."""
    position, orientation = model.position_head, model.orientation_head
    if not isinstance(position, Head) or not isinstance(orientation, Head):
        raise UsageError("+anchors must come before +hyper, which generates its residual", "write +anchors+hyper")
    own = model.config
    anchors = Anchors(config, model.image_dim, len(own.scenes), own.position_mean, own.position_std)
    model.anchors, model.both_answers = anchors, BothAnswers(model)
    model.position_head = AnchoredPosition(position, anchors, own.position_std)
    model.orientation_head = AnchoredOrientation(orientation, anchors, own.rotation, own.label_frame)


class Anchored(Head):
    """Abstract: a head whose answer is made of its own numbers, a residual's and the anchors' base pose."""

    def __init__(self, base: Head, anchors: Anchors) -> None:
        super().__init__()
        self.base = base
        self._shared = (anchors,)  # in a tuple: a module of the model, not of each head
        self.in_dim, self.num_layers = base.in_dim, base.num_layers
        self.out_dim = base.out_dim + 3
        # in the base pose's own axes and in sigmas: nothing of it belongs to one scene
        self.residual = MLPHead((layer_widths(base)[-2], 3))
        for parameter in self.residual.parameters():
            nn.init.zeros_(parameter)

    @property
    def anchors(self) -> Anchors:
        """What the model's two heads share."""
        return self._shared[0]

    def layer(self, index: int, x_BD: Tensor, scene_B: Tensor | None) -> Tensor:
        y_BD = self.base.layer(index, x_BD, scene_B)
        if index < self.num_layers - 1:
            return y_BD
        return torch.cat([y_BD, self.residual.layer(0, x_BD, scene_B)], dim=-1)

    def activate(self, x_BD: Tensor) -> Tensor:
        return self.base.activate(x_BD)


class AnchoredPosition(Anchored):
    """Positions, in units of the training positions' deviation."""

    def __init__(self, base: Head, anchors: Anchors, std: tuple[float, float, float]) -> None:
        super().__init__(base, anchors)
        self.std = std

    def deepened(self, width: int) -> AnchoredPosition:
        return AnchoredPosition(self.base.deepened(width), self.anchors, self.std)

    def both(self, numbers_BO: Tensor, image_BE: Tensor, scene_B: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """The head's own answer and the anchors', both (B, 3) metres from the mean position, and c (B, 1); float64."""
        numbers_BO = numbers_BO.double()
        own_B3, residual_B31 = numbers_BO[:, :-3] * numbers_BO.new_tensor(self.std), numbers_BO[:, -3:, None]
        base = self.anchors(image_BE, scene_B)
        axes_B33 = geometry.matrix_from_quaternion(base.quaternion)
        moved_B3 = base.offset + base.scale * (axes_B33 @ residual_B31)[..., 0]
        return own_B3, moved_B3, base.trust

    def finish(self, numbers_BO: Tensor, latent_BD: Tensor, image_BE: Tensor | None, scene_B: Tensor | None) -> Tensor:
        assert image_BE is not None, "anchors read the image embedding"
        own_B3, moved_B3, c_B1 = self.both(numbers_BO, image_BE, scene_B)
        square_B1 = (own_B3 - moved_B3).detach().square().sum(-1, keepdim=True)
        return (moved_B3 + _belief(square_B1, c_B1) * (own_B3 - moved_B3)) / own_B3.new_tensor(self.std)


class AnchoredOrientation(Anchored):
    """Orientations, in the model's representation and label frame."""

    def __init__(self, base: Head, anchors: Anchors, representation: str, label_frame: str) -> None:
        super().__init__(base, anchors)
        self.representation, self.label_frame = representation, label_frame

    def deepened(self, width: int) -> AnchoredOrientation:
        return AnchoredOrientation(self.base.deepened(width), self.anchors, self.representation, self.label_frame)

    def both(self, numbers_BO: Tensor, image_BE: Tensor, scene_B: Tensor | None) -> tuple[Tensor, Tensor]:
        """The head's own answer and the anchors': camera-to-world (B, 4) float32, the first's sign the second's."""
        numbers_BO = numbers_BO.float()
        base_B4 = self.anchors(image_BE, scene_B).quaternion.float()
        turned_B4 = geometry.compose(base_B4, geometry.exp_quaternion(numbers_BO[:, -3:] * (TURN / 2)))
        own_B4 = geometry.to_quaternion(numbers_BO[:, :-3], self.representation)
        own_B4 = geometry.from_label_frame(own_B4, self.label_frame)
        same = (own_B4 * turned_B4).sum(-1, keepdim=True) >= 0
        return torch.where(same, own_B4, -own_B4), turned_B4

    def finish(self, numbers_BO: Tensor, latent_BD: Tensor, image_BE: Tensor | None, scene_B: Tensor | None) -> Tensor:
        assert image_BE is not None, "anchors read the image embedding"
        own_B4, turned_B4 = self.both(numbers_BO, image_BE, scene_B)
        # of a small angle |q - q'| is half of it
        square_B1 = (own_B4 - turned_B4).detach().square().sum(-1, keepdim=True)
        quaternion_B4 = geometry.unit(turned_B4 + _belief(square_B1, self.anchors.turn / 2) * (own_B4 - turned_B4))
        label_B4 = geometry.to_label_frame(geometry.canonical(quaternion_B4), self.label_frame)
        return geometry.from_quaternion(label_B4, self.representation)


class BothAnswers(nn.Module):
    """The losses of the head's own answer and of the anchors', each alone."""

    def __init__(self, model: PoseModel) -> None:
        super().__init__()
        self._model = (model,)  # its heads as they are in the end: a later modifier may add to their numbers

    def extra_losses(self, features: Features, output: PoseOutput, target: Target) -> dict[str, Tensor]:
        """log of the mean error of each answer alone: sigmas for positions, chordal distance for rotations."""
        model = self._model[0]
        given = features.image, features.scene
        position, orientation = (_anchored(head) for head in (model.position_head, model.orientation_head))
        true_B3 = target.position - model.position_mean_3
        *answers, _ = position.both(model.position_head.numbers(features.position, *given), *given)
        scale = position.anchors.scale.mean()
        metres = [torch.linalg.vector_norm(answer_B3 - true_B3, dim=-1).mean() / scale for answer_B3 in answers]
        true_B33 = geometry.matrix_from_quaternion(target.quaternion.float())
        turned = orientation.both(model.orientation_head.numbers(features.orientation, *given), *given)
        chords = [torch.linalg.matrix_norm(geometry.matrix_from_quaternion(q) - true_B33).mean() for q in turned]
        return {
            "answers_position": (torch.stack(metres) + FLOOR).log().sum().float(),
            "answers_orientation": (torch.stack(chords) + FLOOR).log().sum().float(),
        }


def _belief(square_B1: Tensor, c: Tensor) -> Tensor:
    """How far (0 to 1) an answer that differs by the root of `square` is believed."""
    return 1 / (1 + (square_B1 / c**2) ** 2)


def _anchored(head: Any) -> Any:
    """The anchored head below what other modifiers have put around it."""
    while not isinstance(head, Anchored):
        head = head.base
    return head
