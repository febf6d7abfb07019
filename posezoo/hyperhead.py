"""HyperPose (Ferens and Keller, CVPR 2025): weights of the regression layers computed from the image itself.

`HyperHead` wraps any `Head`; it copies no model. A generated layer C_in -> C_out is y = [x, 1] W(I) with
W(I) = reshape(G swish(F u(I)), (C_in + 1, C_out)), the bias as the last row; u(I) is the condition, G the generator.

* residual   the generated layers are a chain of their own; its output is added to the head's
* single     one generated layer beside the head's last: a_L = M_L(a) + H_L(a; I)
* two        generated layers beside the last two; the next layer reads the activated sum

Beyond the paper: `rank=R` factorises the generator, W_io = sum_r A_ir B_or c_r(I) with c = C swish(F u). It needs
R (C_in + 1 + C_out + code + 1) numbers instead of (code + 1)(C_in + 1) C_out, and no weight matrix per image is built.

Legend: B batch, D latent width, E embedding width, K code width, R rank, I inputs, O outputs, N tokens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeAlias, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from posezoo.errors import UsageError
from posezoo.heads import Head

DEEPENED_WIDTH = 256  # hidden layer that a one-layer head is given for `two`
ENCODER_LAYERS = 2  # of `generator=transformer`; the paper names none
SWISH_POWER = 0.35578  # E[swish(z)^2] for a standard normal z


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
    generator: Literal["mlp", "transformer"] = "mlp"
    """What turns the condition into the code that G reads: F with swish, or a transformer encoder."""
    shared: bool = False
    """One set of generators for both branches, with the widths of the position branch; see `HyperHead`."""
    init: Literal["zero", "paper", "hyperfan"] = "zero"
    """`zero`: the infused model starts bit-equal to its base. `hyperfan`: generated layers keep the variance."""
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
    """`base` plus what the hypernetwork generates for this image; the same call as a `Head`.

    `extra` columns are made by the last generator beyond those that this head reads. A head that is `sharing` another
    has no generators: it runs the other's with its own condition and input, and reads their extra columns. The modules
    stay the other's: they are in its state and learn with it, so a phase that trains this head alone leaves them be.
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
            # one probe row through the head tells the widths of its layers, whatever kind of head it is
            widths = _layer_widths(base)[-count - 1 :]
        self.columns = slice(0, base.out_dim)  # of what the last generated layer gives
        self.encoder = None
        if config.generator == "transformer":
            self.encoder = CodeEncoder(self.condition.num_parts, len(widths) - 1, code_dim)
        self._borrowed: tuple[nn.ModuleList, ...] = ()  # in a tuple: no modules of this head
        if sharing is None:
            widths[-1] += extra
            plain = config.generator == "mlp"
            self.generated = nn.ModuleList(
                generated_layer(code_dim, *pair, config.rank, plain) for pair in pairwise(widths)
            )
        else:
            self._borrow(sharing, widths)
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
        layers, codes = self._layers, self._codes(latent_BD, image_BE)
        if self.input is not None:
            x = self.input(latent_BD, image_BE)
            for index, layer in enumerate(layers):
                x = layer(x if index == 0 else F.silu(x), codes[index])
            return self.base(latent_BD, image_BE, scene_B) + x[:, self.columns]
        x, last = latent_BD, self.base.num_layers - 1
        for index in range(self.base.num_layers):
            y = self.base.layer(index, x, scene_B)
            beside = index - (self.base.num_layers - len(layers))
            if beside >= 0:
                generated = layers[beside](x, codes[beside])
                y = y + (generated[:, self.columns] if index == last else generated)
            x = self.base.activate(y) if index < last else y
        return x

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
        return self.encoder(torch.stack(self.condition.parts(latent_BD, image_BE), dim=1))


class Condition(nn.Module):
    """latent, image or their sum, projected to `out_dim`; a latent that already has this width is taken as it is."""

    def __init__(self, source: str, latent_dim: int, image_dim: int, out_dim: int) -> None:
        super().__init__()
        self.image = nn.Linear(image_dim, out_dim) if "image" in source else None
        self.uses_latent = "latent" in source
        self.latent = nn.Linear(latent_dim, out_dim) if self.uses_latent and latent_dim != out_dim else None
        self.num_parts = source.count("+") + 1

    def parts(self, latent_BD: Tensor, image_BE: Tensor) -> list[Tensor]:
        """What is summed, each (B, K)."""
        parts = []
        if self.uses_latent:
            parts.append(latent_BD if self.latent is None else self.latent(latent_BD))
        if self.image is not None:
            parts.append(self.image(image_BE))
        return parts

    def forward(self, latent_BD: Tensor, image_BE: Tensor) -> Tensor:
        parts = self.parts(latent_BD, image_BE)
        return parts[0] if len(parts) == 1 else parts[0] + parts[1]

    def fan_in(self) -> None:
        """Start the projections so that each part has the power of what it is made of."""
        for layer in filter(None, (self.latent, self.image)):
            _normal(layer, 1 / layer.in_features)


class CodeEncoder(nn.Module):
    """Codes by a transformer encoder; its tokens: the parts of the condition, and a learned query a generated layer.

    The code of layer j is what the encoder makes of query j; it takes the place of swish(F_j u). Pre-norm, exact GELU,
    feed-forward as wide as the code, no dropout, a layer norm at the end. The paper says no more than "transformer
    encoder"; docs/guides/models.md says what was chosen.
    """

    def __init__(self, num_parts: int, num_layers: int, code_dim: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(num_layers, code_dim))
        self.kind = nn.Parameter(torch.randn(num_parts, code_dim))  # tells latent and image apart
        heads = math.gcd(8, code_dim)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(code_dim, heads, code_dim, 0.0, "gelu", batch_first=True, norm_first=True)
            for _ in range(ENCODER_LAYERS)
        )
        self.norm = nn.LayerNorm(code_dim)

    def forward(self, part_BNK: Tensor) -> Sequence[Tensor]:
        query_BNK = self.query.expand(part_BNK.shape[0], -1, -1)
        x_BNK = torch.cat([part_BNK + self.kind, query_BNK], dim=1)
        for layer in self.layers:
            x_BNK = layer(x_BNK)
        return self.norm(x_BNK[:, part_BNK.shape[1] :]).unbind(1)


class FullGenerator(nn.Module):
    """The published generated layer: one weight matrix (I + 1, O) an image, the bias its last row.

    `plain`: F with swish stands before G; else what is given is the code already.
    """

    def __init__(self, code_dim: int, in_dim: int, out_dim: int, plain: bool = True) -> None:
        super().__init__()
        self.shape = (in_dim + 1, out_dim)
        self.code = nn.Linear(code_dim, code_dim) if plain else None  # F
        self.generator = nn.Linear(code_dim, (in_dim + 1) * out_dim)  # G

    def silence(self) -> None:
        nn.init.zeros_(self.generator.weight)
        nn.init.zeros_(self.generator.bias)

    def hyperfan(self, gain: float, code_power: float) -> None:
        """Hyperfan-in (Chang, Flokas and Lipson 2020): weights and bias each give half of the output's variance."""
        power = _start_code(self.code, code_power)
        columns, outputs = self.generator.in_features, self.shape[1]
        _normal(self.generator, gain / (2 * (self.shape[0] - 1) * columns * power))
        nn.init.normal_(self.generator.weight[-outputs:], std=math.sqrt(1 / (2 * columns * power)))  # makes the bias

    def forward(self, x_BI: Tensor, code_BK: Tensor) -> Tensor:
        weight_BIO = self.generator(_hidden(self.code, code_BK)).unflatten(-1, self.shape)
        return torch.baddbmm(weight_BIO[:, -1:], x_BI[:, None], weight_BIO[:, :-1]).squeeze(1)


class FactorisedGenerator(nn.Module):
    """The factorised generated layer: y = B (c(I) * A [x, 1])."""

    def __init__(self, code_dim: int, in_dim: int, out_dim: int, rank: int, plain: bool = True) -> None:
        super().__init__()
        self.shape = (in_dim + 1, out_dim)
        self.code = nn.Linear(code_dim, code_dim) if plain else None  # F
        self.generator = nn.Linear(code_dim, rank)  # C
        self.read = nn.Linear(in_dim, rank)  # A, its bias the row of the 1
        self.write = nn.Linear(rank, out_dim, bias=False)  # B

    def silence(self) -> None:
        nn.init.zeros_(self.write.weight)

    def hyperfan(self, gain: float, code_power: float) -> None:
        """The same idea as for the full generator: A [x, 1], c and their sum over r each have variance 1."""
        power = _start_code(self.code, code_power)
        _normal(self.read, gain / (2 * self.read.in_features))
        nn.init.normal_(self.read.bias, std=math.sqrt(1 / 2))
        _normal(self.generator, 1 / (self.generator.in_features * power))
        _normal(self.write, 1 / self.write.in_features)

    def forward(self, x_BI: Tensor, code_BK: Tensor) -> Tensor:
        return self.write(self.read(x_BI) * self.generator(_hidden(self.code, code_BK)))


GeneratedLayer: TypeAlias = FullGenerator | FactorisedGenerator


def generated_layer(code_dim: int, in_dim: int, out_dim: int, rank: int | None, plain: bool = True) -> GeneratedLayer:
    """The full generator, or with a rank the factorised one."""
    if rank is None:
        return FullGenerator(code_dim, in_dim, out_dim, plain)
    return FactorisedGenerator(code_dim, in_dim, out_dim, rank, plain)


def _hidden(code: nn.Linear | None, code_BK: Tensor) -> Tensor:
    """What the generator G reads: swish(F u), or the code itself."""
    return code_BK if code is None else F.silu(code(code_BK))


def _start_code(code: nn.Linear | None, code_power: float) -> float:
    """Start F for codes u with E[u^2] = `code_power`; the power E[h^2] of what G then reads."""
    if code is None:
        return 1.0  # the encoder ends with a layer norm
    _normal(code, 1 / (code.in_features * code_power))
    return SWISH_POWER


def _normal(layer: nn.Linear, variance: float) -> None:
    nn.init.normal_(layer.weight, std=math.sqrt(variance))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


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
