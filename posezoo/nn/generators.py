"""What a hypernetwork is made of: the condition, the codes, and the generated layers (see posezoo.nn.hyperhead).

Legend: B batch, D latent width, E embedding width, K code width, R rank, I inputs, O outputs, N tokens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ENCODER_LAYERS = 2  # of `generator=transformer`; the paper names none
SWISH_POWER = 0.35578  # E[swish(z)^2] for a standard normal z


class Condition(nn.Module):
    """latent, image or their sum, projected to `out_dim`; a latent that already has this width is used unchanged."""

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
        """Initialise the projections so that each part has the power of its input."""
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
        self.kind = nn.Parameter(torch.randn(num_parts, code_dim))  # distinguishes latent and image
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
        codes_BNK: Tensor = self.norm(x_BNK[:, part_BNK.shape[1] :])
        return codes_BNK.unbind(1)


class FullGenerator(nn.Module):
    """The published generated layer: one weight matrix (I + 1, O) an image, the bias its last row.

    `plain`: F with swish precedes G; otherwise the input already is the code.
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
        power = _initialise_code(self.code, code_power)
        columns, outputs = self.generator.in_features, self.shape[1]
        _normal(self.generator, gain / (2 * (self.shape[0] - 1) * columns * power))
        nn.init.normal_(self.generator.weight[-outputs:], std=math.sqrt(1 / (2 * columns * power)))  # makes the bias

    def weights(self, code_BK: Tensor) -> Tensor:
        """The generated weights (B, I + 1, O), the bias last."""
        weight_BIO: Tensor = self.generator(_hidden(self.code, code_BK)).unflatten(-1, self.shape)
        return weight_BIO

    def forward(self, x_BI: Tensor, code_BK: Tensor) -> Tensor:
        weight_BIO = self.weights(code_BK)
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
        power = _initialise_code(self.code, code_power)
        _normal(self.read, gain / (2 * self.read.in_features))
        nn.init.normal_(self.read.bias, std=math.sqrt(1 / 2))
        _normal(self.generator, 1 / (self.generator.in_features * power))
        _normal(self.write, 1 / self.write.in_features)

    def weights(self, code_BK: Tensor) -> Tensor:
        """The weights (B, I + 1, O) that this is the same as, the bias last; nothing else needs them."""
        rows_RI = torch.cat([self.read.weight, self.read.bias[:, None]], dim=1)
        scale_BR = self.generator(_hidden(self.code, code_BK))
        return torch.einsum("ri,br,or->bio", rows_RI, scale_BR, self.write.weight)

    def forward(self, x_BI: Tensor, code_BK: Tensor) -> Tensor:
        y_BO: Tensor = self.write(self.read(x_BI) * self.generator(_hidden(self.code, code_BK)))
        return y_BO


GeneratedLayer: TypeAlias = FullGenerator | FactorisedGenerator


def generated_layer(code_dim: int, in_dim: int, out_dim: int, rank: int | None, plain: bool = True) -> GeneratedLayer:
    """The full generator, or with a rank the factorised one."""
    if rank is None:
        return FullGenerator(code_dim, in_dim, out_dim, plain)
    return FactorisedGenerator(code_dim, in_dim, out_dim, rank, plain)


def _hidden(code: nn.Linear | None, code_BK: Tensor) -> Tensor:
    """What the generator G reads: swish(F u), or the code itself."""
    return code_BK if code is None else F.silu(code(code_BK))


def _initialise_code(code: nn.Linear | None, code_power: float) -> float:
    """The power E[h^2] of what G reads, once F is initialised for codes u with E[u^2] = `code_power`."""
    if code is None:
        return 1.0  # the encoder ends with a layer norm
    _normal(code, 1 / (code.in_features * code_power))
    return SWISH_POWER


def _normal(layer: nn.Linear, variance: float) -> None:
    nn.init.normal_(layer.weight, std=math.sqrt(variance))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
