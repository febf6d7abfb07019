"""HyperPose (Ferens and Keller, CVPR 2025): weights of the regression layers computed from the image itself.

`HyperHead` wraps any `Head`; it copies no model. A generated layer C_in -> C_out is y = [x, 1] W(I) with
W(I) = reshape(G swish(F u(I)), (C_in + 1, C_out)), the bias as the last row; u(I) is the condition, G the generator.

* residual   the generated layers are a chain of their own; its output is added to the head's
* single     one generated layer beside the head's last: a_L = M_L(a) + H_L(a; I)
* two        generated layers beside the last two; the next layer reads the activated sum

Beyond the paper: `rank=R` factorises the generator, W_io = sum_r A_ir B_or c_r(I) with c = C swish(F u). It needs
R (C_in + 1 + C_out + code + 1) numbers instead of (code + 1)(C_in + 1) C_out, and no weight matrix per image is built.

Legend: B batch, D latent width, E embedding width, K code width, O outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from posezoo.base.errors import UsageError
from posezoo.nn.generators import SWISH_POWER, CodeEncoder, Condition, GeneratedLayer, generated_layer
from posezoo.nn.heads import Head, layer_widths
from posezoo.nn.ranges import Count

DEEPENED_WIDTH = 256  # hidden layer that a one-layer head is given for `two`


@dataclass(frozen=True)
class HyperConfig:
    """A hypernetwork for one model's two heads. Defaults: HyperPose's single-scene model."""

    infusion: Literal["residual", "single", "two"] = "residual"
    """Where the generated layers are: a chain beside the head, or beside its last one or two layers."""
    condition: Literal["image", "latent", "image+latent"] = "image"
    """What u(I) is made of; the paper's multi-scene model sums both."""
    input: Literal["latent", "image"] = "latent"
    """What the generated chain reads (residual only); `image` goes through a projection of its own."""
    code_position: Count = 256
    """Width of the position branch's code."""
    code_orientation: Count = 512
    """Width of the orientation branch's code."""
    hidden_position: tuple[Count, ...] = ()
    """Widths of the position branch's generated hidden layers (residual only); () is one generated layer."""
    hidden_orientation: tuple[Count, ...] = ()
    """The same of the orientation branch."""
    rank: Count | None = None
    """None: the published full generator. A number: the factorised one."""
    generator: Literal["mlp", "transformer"] = "mlp"
    """What turns the condition into the code that G reads: F with swish, or a transformer encoder."""
    shared: bool = False
    """One set of generators for both branches, with the widths of the position branch; see `HyperHead`."""
    init: Literal["zero", "paper", "hyperfan"] = "zero"
    """`zero`: the infused model starts bit-equal to its base. `hyperfan`: generated layers keep the variance."""
    paper_init: Literal["kaiming", "torch"] = "kaiming"
    """What `init=paper` draws weights from: kaiming-normal (PoseNet, AtLoc), or torch's default (MS-Transformer)."""

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
    """`base` plus what the hypernetwork generates for this image; the same call as a `Head`.

    `extra`: columns that the last generator makes beyond those that this head reads. A head that is `sharing` another's
    generators has none: it runs those with its own condition and input, and reads their extra columns. They remain the
    other head's modules: they are in its state and learn with it, so training this head alone leaves them unchanged.
    """

    def __init__(
        self,
        base: Head,
        image_dim: int,
        config: HyperConfig,
        code_dim: int,
        hidden: tuple[int, ...] = (),
        extra: int = 0,
        sharing: HyperHead | None = None,
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
            widths = layer_widths(base)[-count - 1 :]
        self.columns = slice(0, base.out_dim)  # of what the last generated layer gives
        self.encoder = None
        if config.generator == "transformer":
            self.encoder = CodeEncoder(self.condition.num_parts, len(widths) - 1, code_dim)
        self._borrowed: tuple[
            nn.ModuleList, ...
        ] = ()  # in a tuple, so that they are not registered as this head's modules
        if sharing is None:
            widths[-1] += extra
            plain = config.generator == "mlp"
            self.generated = nn.ModuleList(
                generated_layer(code_dim, *pair, config.rank, plain) for pair in pairwise(widths)
            )
        else:
            self._borrow(sharing, widths)
        conditions = (self.condition, self.input)
        self.reads_image = base.reads_image or any(isinstance(c, Condition) and c.image is not None for c in conditions)
        self._initialise(config)

    def _borrow(self, owner: HyperHead, widths: list[int]) -> None:
        self._borrowed = (owner.generated,)
        self.columns = slice(owner.base.out_dim, owner.base.out_dim + self.base.out_dim)
        if owner.widths[:-1] != widths[:-1]:
            raise UsageError(
                f"hyper.shared: the heads' layers differ, {owner.widths[:-1]} and {widths[:-1]}", "hyper.shared=false"
            )

    def _initialise(self, config: HyperConfig) -> None:
        layers = [] if self._borrowed else self._layers
        if config.init == "zero":
            # residual: a zero last layer silences the chain; beside the head's layers each must be silent
            for layer in layers[-1:] if config.infusion == "residual" else layers:
                layer.silence()
        elif config.init == "hyperfan":
            for module in self.children():
                if isinstance(module, Condition):
                    module.fan_in()
            for index, layer in enumerate(layers):
                # the chain's later layers read swish(x): a direct layer would make up for its power likewise
                gain = 1 / SWISH_POWER if config.infusion == "residual" and index else 1.0
                layer.hyperfan(gain, code_power=float(self.condition.num_parts))
        elif config.paper_init == "kaiming":
            for name, module in self.named_modules():
                if isinstance(module, nn.Linear) and not name.startswith("base."):
                    nn.init.kaiming_normal_(module.weight)  # the biases stay as torch draws them

    def numbers(self, latent_BD: Tensor, image_BE: Tensor, scene_B: Tensor | None = None) -> Float[Tensor, "B O"]:
        """The base head's last layer with the generated numbers added."""
        layers, codes = self._layers, self._codes(latent_BD, image_BE)
        if self.input is not None:
            x = self.input(latent_BD, image_BE)
            for index, layer in enumerate(layers):
                x = layer(x if index == 0 else F.silu(x), codes[index])
            sum_BN: Tensor = self.base.numbers(latent_BD, image_BE, scene_B) + x[:, self.columns]
            return sum_BN
        x, last = latent_BD, self.base.num_layers - 1
        for index in range(self.base.num_layers):
            y = self.base.layer(index, x, scene_B)
            beside = index - (self.base.num_layers - len(layers))
            if beside >= 0:
                generated = layers[beside](x, codes[beside])
                y = y + (generated[:, self.columns] if index == last else generated)
            x = self.base.activate(y) if index < last else y
        return x

    def generated_weights(self, latent_BD: Tensor, image_BE: Tensor) -> list[Tensor]:
        """Of each generated layer the weights (B, inputs + 1, outputs) for these images, the bias last: to look at."""
        codes = self._codes(latent_BD, image_BE)
        return [layer.weights(code_BK) for layer, code_BK in zip(self._layers, codes, strict=True)]

    def finish(
        self, numbers_BO: Tensor, latent_BD: Tensor, image_BE: Tensor | None, scene_B: Tensor | None
    ) -> Float[Tensor, "B O"]:
        """What the base head makes of its numbers."""
        return self.base.finish(numbers_BO, latent_BD, image_BE, scene_B)

    def forward(
        self,
        latent_BD: Float[Tensor, "B D"],
        image_BE: Float[Tensor, "B E"],
        scene_B: Int[Tensor, " B"] | None = None,
    ) -> Float[Tensor, "B O"]:
        """The base head's answer, made of its numbers with the generated ones added."""
        return self.finish(self.numbers(latent_BD, image_BE, scene_B), latent_BD, image_BE, scene_B)

    @property
    def _layers(self) -> list[GeneratedLayer]:
        return cast("list[GeneratedLayer]", list(self._borrowed[0] if self._borrowed else self.generated))

    @property
    def widths(self) -> list[int]:
        """Inputs of the first generated layer, then the outputs of each."""
        shapes = [layer.shape for layer in self._layers]
        return [shapes[0][0] - 1, *(shape[1] for shape in shapes)]

    def _codes(self, latent_BD: Tensor, image_BE: Tensor) -> Sequence[Tensor]:
        """The code (B, K) of each generated layer."""
        if self.encoder is None:
            return [self.condition(latent_BD, image_BE)] * len(self._layers)
        codes: Sequence[Tensor] = self.encoder(torch.stack(self.condition.parts(latent_BD, image_BE), dim=1))
        return codes
