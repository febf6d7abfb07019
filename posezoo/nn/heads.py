"""Regression heads: stacks of linear layers from a latent to a position or a rotation.

A head keeps its layers apart (`layer`, `activate`) so that a hypernetwork can add to any of them without knowing the
head. With several scenes the weights are a bank: each image's scene picks its own, in one batched product.

Legend: B batch, D latent width, E embedding width, O outputs, S scenes.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "swish": nn.SiLU}


class Head(nn.Module, abc.ABC):
    """Abstract: latent -> numbers, layer by layer. `forward` is written once, here."""

    in_dim: int
    out_dim: int
    num_layers: int
    reads_image: bool = True
    """Whether the head reads the image embedding; if not, a model may leave it empty."""

    @abc.abstractmethod
    def layer(self, index: int, x_BD: Tensor, scene_B: Tensor | None) -> Tensor:
        """The linear layer `index` alone, without activation."""

    @abc.abstractmethod
    def activate(self, x_BD: Tensor) -> Tensor:
        """What is applied between two layers."""

    @abc.abstractmethod
    def deepened(self, width: int) -> Head:
        """A new head of the same kind, to replace this one, with `width` hidden ReLU units before the last layer."""

    def numbers(
        self, latent_BD: Tensor, image_BE: Tensor | None = None, scene_B: Tensor | None = None
    ) -> Float[Tensor, "B O"]:
        """What the last layer gives. A hypernetwork adds to this."""
        x = latent_BD
        for index in range(self.num_layers):
            x = self.layer(index, x, scene_B)
            if index < self.num_layers - 1:
                x = self.activate(x)
        return x

    def finish(
        self, numbers_BO: Tensor, latent_BD: Tensor, image_BE: Tensor | None, scene_B: Tensor | None
    ) -> Float[Tensor, "B O"]:
        """The head's answer made of the last layer's numbers, generated ones included; by default these themselves."""
        return numbers_BO

    def forward(
        self,
        latent_BD: Float[Tensor, "B D"],
        image_BE: Float[Tensor, "B E"] | None = None,
        scene_B: Int[Tensor, " B"] | None = None,
    ) -> Float[Tensor, "B O"]:
        """The head's answer; a plain head ignores the image embedding."""
        return self.finish(self.numbers(latent_BD, image_BE, scene_B), latent_BD, image_BE, scene_B)


@torch.no_grad()
def layer_widths(head: Head) -> list[int]:
    """What the head's first layer reads, then what each gives: found with one row, whatever kind of head it is."""
    training = head.training
    head.eval()  # dropout in `activate` must not draw from the global random state
    x = torch.zeros(1, head.in_dim)
    scene = torch.zeros(1, dtype=torch.long)
    widths = [head.in_dim]
    for index in range(head.num_layers):
        x = head.activate(x) if index else x
        x = head.layer(index, x, scene)
        widths.append(x.shape[-1])
    head.train(training)
    return widths


class MLPHead(Head):
    """Linear layers of widths `dims`, with `activation` and dropout between them; one set of weights for each scene."""

    reads_image = False

    def __init__(
        self, dims: Sequence[int], activation: str = "relu", dropout: float = 0.0, scenes: int | None = None
    ) -> None:
        super().__init__()
        self.dims, self.activation, self.scenes = tuple(dims), activation, scenes
        self.in_dim, self.out_dim, self.num_layers = dims[0], dims[-1], len(dims) - 1
        pairs = list(pairwise(dims))
        layers = [nn.Linear(i, o) if scenes is None else SceneLinear(scenes, i, o) for i, o in pairs]
        self.layers = nn.ModuleList(layers)
        self.between = nn.Sequential(ACTIVATIONS[activation](), nn.Dropout(dropout))

    def layer(self, index: int, x_BD: Tensor, scene_B: Tensor | None) -> Tensor:
        layer = self.layers[index]
        y_BD: Tensor = layer(x_BD, scene_B) if isinstance(layer, SceneLinear) else layer(x_BD)
        return y_BD

    def activate(self, x_BD: Tensor) -> Tensor:
        y_BD: Tensor = self.between(x_BD)
        return y_BD

    def deepened(self, width: int) -> MLPHead:
        return MLPHead((*self.dims[:-1], width, self.dims[-1]), "relu", 0.0, self.scenes)


class SceneLinear(nn.Module):
    """A bank of S linear layers; each row of the input uses the one of its scene. The cost does not grow with S."""

    def __init__(self, scenes: int, in_dim: int, out_dim: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(in_dim)  # what nn.Linear draws its weights from
        self.weight = nn.Parameter(torch.empty(scenes, in_dim, out_dim).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(scenes, out_dim).uniform_(-bound, bound))

    def forward(self, x_BD: Float[Tensor, "B D"], scene_B: Int[Tensor, " B"] | None) -> Float[Tensor, "B O"]:
        assert scene_B is not None, "a bank of heads needs to know the scene"
        return torch.baddbmm(self.bias[scene_B][:, None], x_BD[:, None], self.weight[scene_B]).squeeze(1)
