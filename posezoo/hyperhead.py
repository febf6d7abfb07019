"""HyperPose (Ferens and Keller, CVPR 2025): weights of the regression layers computed from the image itself.

`HyperHead` wraps any `Head`; it copies no model. A generated layer C_in -> C_out is y = [x, 1] W(I) with
W(I) = reshape(G swish(F u(I)), (C_in + 1, C_out)), the bias as the last row; u(I) is the condition, G the generator.

* residual   the generated layers are a chain of their own; its output is added to the head's
* single     one generated layer beside the head's last: a_L = M_L(a) + H_L(a; I)
* two        generated layers beside the last two; the next layer reads the activated sum

Beyond the paper: `rank=R` factorises the generator, W_io = sum_r A_ir B_or c_r(I) with c = C swish(F u). It needs
R (C_in + 1 + C_out + code + 1) numbers instead of (code + 1)(C_in + 1) C_out, and no weight matrix per image is built.

Legend: B batch, D latent width, E embedding width, K code width, R rank, I inputs, O outputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from posezoo.errors import UsageError
from posezoo.heads import Head

DEEPENED_WIDTH = 256  # hidden layer that a one-layer head is given for `two`


@dataclass(frozen=True)
class HyperConfig:
    """A hypernetwork for one model's two heads. Defaults: HyperPose's single-scene model."""

    infusion: Literal["residual", "single", "two"] = "residual"
    condition: Literal["image", "latent", "image+latent"] = "image"
    """What u(I) is made of; the paper's multi-scene model sums both."""
    input: Literal["latent", "image"] = "latent"
    """What the generated chain reads (residual only); `image` goes through a projection of its own."""
    code_position: int = 256
    code_orientation: int = 512
    hidden_position: tuple[int, ...] = ()
    """Widths of the generated hidden layers (residual only); () is one generated layer."""
    hidden_orientation: tuple[int, ...] = ()
    rank: int | None = None
    """None: the published full generator. A number: the factorised one."""
    init: Literal["zero", "paper"] = "zero"
    """`zero`: the infused model starts bit-equal to its base."""
    paper_init: Literal["kaiming", "torch"] = "kaiming"
    """What `init=paper` draws from: kaiming-normal (PoseNet, AtLoc families) or torch's Linear default (MS family)."""

    def __post_init__(self) -> None:
        positive = (self.code_position, self.code_orientation, *self.hidden_position, *self.hidden_orientation)
        if min(positive) < 1 or (self.rank is not None and self.rank < 1):
            raise UsageError("hyper: widths and rank must be at least 1", "for example hyper.rank=256")
        if self.infusion != "residual" and (self.hidden_position or self.hidden_orientation):
            # the paper's multi-scene card gives hidden widths for the residual chain; beside a head's own layers
            # the widths are the head's
            object.__setattr__(self, "hidden_position", ())
            object.__setattr__(self, "hidden_orientation", ())


class HyperHead(nn.Module):
    """`base` plus what the hypernetwork generates for this image; the same call as a `Head`."""

    def __init__(
        self, base: Head, image_dim: int, config: HyperConfig, code_dim: int, hidden: tuple[int, ...] = ()
    ) -> None:
        super().__init__()
        self.infusion = config.infusion
        if config.infusion == "two" and base.num_layers < 2:
            base = base.deepened(DEEPENED_WIDTH)
        self.base = base
        self.in_dim, self.out_dim = base.in_dim, base.out_dim
        self.condition = Condition(config.condition, base.in_dim, image_dim, code_dim)
        if config.infusion == "residual":
            self.input: nn.Module | None = Condition(config.input, base.in_dim, image_dim, code_dim)
            widths = [code_dim, *hidden, base.out_dim]
        else:
            self.input = None
            count = 1 if config.infusion == "single" else 2
            # one probe row through the head tells the widths of its layers, whatever kind of head it is
            widths = _layer_widths(base)[-count - 1 :]
        pairs = list(pairwise(widths))
        self.generated = nn.ModuleList(generated_layer(code_dim, i, o, config.rank) for i, o in pairs)
        conditions = (self.condition, self.input)
        self.reads_image = base.reads_image or any(isinstance(c, Condition) and c.image is not None for c in conditions)
        self._initialise(config)

    def _initialise(self, config: HyperConfig) -> None:
        if config.init == "zero":
            # residual: a zero last layer silences the chain; beside the head's layers each must be silent
            layers = list(self.generated)
            for layer in layers[-1:] if config.infusion == "residual" else layers:
                assert isinstance(layer, (FullGenerator, FactorisedGenerator))
                layer.silence()
        elif config.paper_init == "kaiming":
            for name, module in self.named_modules():
                if isinstance(module, nn.Linear) and not name.startswith("base."):
                    nn.init.kaiming_normal_(module.weight)
                    if module.bias is not None:
                        nn.init.zeros_(module.bias)

    def forward(
        self,
        latent_BD: Float[Tensor, "B D"],
        image_BE: Float[Tensor, "B E"],
        scene_B: Int[Tensor, " B"] | None = None,
    ) -> Float[Tensor, "B O"]:
        """The base head's numbers with the generated ones added."""
        code_BK = self.condition(latent_BD, image_BE)
        if self.input is not None:
            return self.base(latent_BD, image_BE, scene_B) + self._chain(self.input(latent_BD, image_BE), code_BK)
        x, last = latent_BD, self.base.num_layers - 1
        for index in range(self.base.num_layers):
            y = self.base.layer(index, x, scene_B)
            beside = index - (self.base.num_layers - len(self.generated))
            if beside >= 0:
                y = y + self.generated[beside](x, code_BK)
            x = self.base.activate(y) if index < last else y
        return x

    def _chain(self, x: Tensor, code_BK: Tensor) -> Tensor:
        for index, layer in enumerate(self.generated):
            x = layer(x if index == 0 else F.silu(x), code_BK)
        return x


class Condition(nn.Module):
    """latent, image or their sum, projected to `out_dim`; a latent that already has this width is taken as it is."""

    def __init__(self, source: str, latent_dim: int, image_dim: int, out_dim: int) -> None:
        super().__init__()
        self.image = nn.Linear(image_dim, out_dim) if "image" in source else None
        self.uses_latent = "latent" in source
        self.latent = nn.Linear(latent_dim, out_dim) if self.uses_latent and latent_dim != out_dim else None

    def forward(self, latent_BD: Tensor, image_BE: Tensor) -> Tensor:
        parts = []
        if self.uses_latent:
            parts.append(latent_BD if self.latent is None else self.latent(latent_BD))
        if self.image is not None:
            parts.append(self.image(image_BE))
        return parts[0] if len(parts) == 1 else parts[0] + parts[1]


class FullGenerator(nn.Module):
    """The published generated layer: one weight matrix (I + 1, O) an image, the bias its last row."""

    def __init__(self, code_dim: int, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.shape = (in_dim + 1, out_dim)
        self.code = nn.Linear(code_dim, code_dim)  # F
        self.generator = nn.Linear(code_dim, (in_dim + 1) * out_dim)  # G

    def silence(self) -> None:
        nn.init.zeros_(self.generator.weight)
        nn.init.zeros_(self.generator.bias)

    def forward(self, x_BI: Tensor, code_BK: Tensor) -> Tensor:
        weight_BIO = self.generator(F.silu(self.code(code_BK))).unflatten(-1, self.shape)
        return torch.baddbmm(weight_BIO[:, -1:], x_BI[:, None], weight_BIO[:, :-1]).squeeze(1)


class FactorisedGenerator(nn.Module):
    """The factorised generated layer: y = B (c(I) * A [x, 1])."""

    def __init__(self, code_dim: int, in_dim: int, out_dim: int, rank: int) -> None:
        super().__init__()
        self.code = nn.Linear(code_dim, code_dim)  # F
        self.generator = nn.Linear(code_dim, rank)  # C
        self.read = nn.Linear(in_dim, rank)  # A, its bias the row of the 1
        self.write = nn.Linear(rank, out_dim, bias=False)  # B

    def silence(self) -> None:
        nn.init.zeros_(self.write.weight)

    def forward(self, x_BI: Tensor, code_BK: Tensor) -> Tensor:
        return self.write(self.read(x_BI) * self.generator(F.silu(self.code(code_BK))))


def generated_layer(code_dim: int, in_dim: int, out_dim: int, rank: int | None) -> FullGenerator | FactorisedGenerator:
    """The full generator, or with a rank the factorised one."""
    if rank is None:
        return FullGenerator(code_dim, in_dim, out_dim)
    return FactorisedGenerator(code_dim, in_dim, out_dim, rank)


@torch.no_grad()
def _layer_widths(head: Head) -> list[int]:
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
