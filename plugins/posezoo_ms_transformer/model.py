"""Learning Multi-Scene Absolute Pose Regression with Transformers (Shavit, Ferens and Keller, ICCV 2021).

* EfficientNet-B0, run once; the map at stride 16 (112 channels) feeds the position transformer, the one at stride 8
  (40 channels) the orientation transformer, each through a 1x1 convolution to 256 channels
* transformers as in DETR, pre-norm, exact GELU, 8 heads, feed-forward 256, layer norm at both ends. The position
  encoding is added to queries and keys of the encoder and to the keys of the cross-attention, never to values, after
  the pre-norm, in every layer; the scene query to queries (and self-attention keys) of the decoder, which starts from 0
* position encoding: learned, 50 rows + 50 columns of 128, column half first, one table for both taps; interpolated
  beyond 50 (the paper stops there)
* `position_code=sine` and `query_key_weight=0.1`: ActMST (Lee, Kim and Heo, NeurIPS 2024). In encoders trained as above
  keys and queries drift apart until every token attends to the same few; a loss ties their means together, and the
  code of places is fixed
* the decoder gives one latent a scene; scene logit = L_{512->1}[z_position; z_orientation]; the scene given (training)
  or the arg max selects the latents; heads 256 -> 1024 GELU -> 3 / 4, one set for all scenes (the published weights)
  or one a scene

No padding mask: all images of a batch have one size, so plain scaled-dot-product attention is enough.

Legend: B batch, H height, W width, N = H W tokens, S scenes, D = 256 width, E embedding width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from posezoo.nn.backbones import Backbone
from posezoo.nn.geometry import NUMBERS
from posezoo.nn.heads import MLPHead
from posezoo.nn.model import ModelConfig, PoseModel
from posezoo.nn.outputs import Features, PoseOutput
from posezoo.nn.place import Target
from posezoo.nn.pooling import LAST, Cells, ImageEmbedding
from posezoo.nn.ranges import Count, Probability
from posezoo.plugin import UsageError
from posezoo_ms_transformer.attention import Attention

BRANCHES = ("position attention", "orientation attention")
POSITION_STRIDE = 16  # of the map for the position


@dataclass(frozen=True)
class MSTransformerConfig(ModelConfig):
    """Defaults: the paper's 7Scenes model (6 position and 4 orientation layers); Cambridge has 6 and 6."""

    width: Count = 256
    """D, of the tokens: even, and a multiple of heads."""
    heads: Count = 8
    """Attention heads of each layer."""
    feedforward: Count = 256
    """Hidden width of the two-layer blocks."""
    dropout: Probability = 0.1
    """In the transformers."""
    position_layers: Count = 6
    """Of the encoder and of the decoder of the position transformer."""
    orientation_layers: Count = 4
    """The same of the orientation transformer."""
    orientation_stride: Literal[8, 16, 32] = 8
    """Of the map for the orientation, as published; coarser maps are deeper, and a small place is learned from them."""
    hidden: Count = 1024
    """Width of the heads' hidden layer."""
    head_dropout: Probability = 0.0
    """After it."""
    shared_heads: bool = True
    """One head for all scenes, as the published weights have it, or one a scene."""
    init: Literal["default", "published"] = "default"
    """Start of the heads: torch's default, or xavier-uniform weights as the published code has them."""
    image_embedding: ImageEmbedding = "own"
    """What modifiers read, hypernetworks and anchors: the backbone's pooled features, or its last map in cells."""
    position_code: Literal["learned", "sine"] = "learned"
    """What tells the transformers where a token is."""
    query_key_weight: Annotated[float, Field(ge=0)] = 0.0
    """Of the loss that ties the mean query of the encoders to their mean key; ActMST has 0.1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.heads < 1 or self.width % self.heads or self.width % 2:
            raise UsageError(
                f"width={self.width} must be even and a multiple of heads={self.heads}", "width=256 heads=8"
            )


class PositionEncoding(nn.Module):
    """The learned encoding (N, D) of a map, tokens row-major: the column's vector, then the row's."""

    def __init__(self, width: int, size: int = 50) -> None:
        super().__init__()
        self.row = nn.Parameter(torch.rand(size, width // 2))  # uniform on [0, 1], as in DETR
        self.column = nn.Parameter(torch.rand(size, width // 2))

    def forward(self, height: int, width: int) -> Tensor:
        row, column = _stretched(self.row, height), _stretched(self.column, width)
        grid = torch.cat([column[None].expand(height, -1, -1), row[:, None].expand(-1, width, -1)], dim=-1)
        return grid.flatten(0, 1)


class SineEncoding(nn.Module):
    """A fixed encoding (N, D) of a map, tokens row-major: the row's vector, then the column's, as DETR's sine code.

    Rows and columns count from 1; of the D / 2 numbers of an axis number j is the sine (j even) or cosine (j odd) of
    count / 10000^(2 floor(j / 2) / (D / 2)).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width // 2
        step_j = torch.arange(self.width) // 2 * 2 / self.width
        self.rate_j: Tensor
        self.register_buffer("rate_j", 10_000.0**-step_j, persistent=False)

    def forward(self, height: int, width: int) -> Tensor:
        row, column = self._code(height), self._code(width)
        grid = torch.cat([row[:, None].expand(-1, width, -1), column[None].expand(height, -1, -1)], dim=-1)
        return grid.flatten(0, 1)

    def _code(self, count: int) -> Tensor:
        angle_Cj = torch.arange(1, count + 1, device=self.rate_j.device)[:, None] * self.rate_j
        even_j = torch.arange(self.width, device=self.rate_j.device) % 2 == 0
        return torch.where(even_j, angle_Cj.sin(), angle_Cj.cos())


def _stretched(table: Tensor, count: int) -> Tensor:
    if count <= table.shape[0]:
        return table[:count]
    return F.interpolate(table.T[None], size=count, mode="linear", align_corners=True)[0].T


class FeedForward(nn.Sequential):
    """The two-layer block of a transformer layer."""

    def __init__(self, config: MSTransformerConfig) -> None:
        super().__init__(
            nn.Linear(config.width, config.feedforward),
            nn.GELU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.feedforward, config.width),
        )


class EncoderLayer(nn.Module):
    """Pre-norm self-attention over the tokens of a map."""

    def __init__(self, config: MSTransformerConfig) -> None:
        super().__init__()
        self.self_attn = Attention(config.width, config.heads, config.dropout)
        self.feedforward = FeedForward(config)
        self.norm1, self.norm2 = nn.LayerNorm(config.width), nn.LayerNorm(config.width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x_BND: Tensor, place_ND: Tensor) -> Tensor:
        y = self.norm1(x_BND)
        keyed = y + place_ND
        x_BND = x_BND + self.dropout(self.self_attn(keyed, keyed, y))
        return x_BND + self.dropout(self.feedforward(self.norm2(x_BND)))

    def drift(self, x_BND: Tensor, place_ND: Tensor) -> Tensor:
        """How far the mean query of the same tokens is from their mean key: the mean over images and heads."""
        return self.self_attn.drift((self.norm1(x_BND) + place_ND).mean(dim=1))


class DecoderLayer(nn.Module):
    """Pre-norm self-attention over the scene queries, then cross-attention to the map."""

    def __init__(self, config: MSTransformerConfig) -> None:
        super().__init__()
        self.self_attn = Attention(config.width, config.heads, config.dropout)
        self.cross_attn = Attention(config.width, config.heads, config.dropout)
        self.feedforward = FeedForward(config)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(config.width) for _ in range(3))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x_BSD: Tensor, memory_BND: Tensor, place_ND: Tensor, query_SD: Tensor) -> Tensor:
        y = self.norm1(x_BSD)
        keyed = y + query_SD
        x_BSD = x_BSD + self.dropout(self.self_attn(keyed, keyed, y))
        y = self.norm2(x_BSD) + query_SD
        x_BSD = x_BSD + self.dropout(self.cross_attn(y, memory_BND + place_ND, memory_BND))
        return x_BSD + self.dropout(self.feedforward(self.norm3(x_BSD)))


class SceneTransformer(nn.Module):
    """A map to one latent a scene (B, S, D)."""

    def __init__(self, channels: int, layers: int, scenes: int, config: MSTransformerConfig) -> None:
        super().__init__()
        self.project = nn.Conv2d(channels, config.width, kernel_size=1)
        self.query = nn.Parameter(torch.randn(scenes, config.width))
        self.encoder = nn.ModuleList(EncoderLayer(config) for _ in range(layers))
        self.decoder = nn.ModuleList(DecoderLayer(config) for _ in range(layers))
        self.encoder_norm, self.decoder_norm = nn.LayerNorm(config.width), nn.LayerNorm(config.width)
        for name, parameter in self.named_parameters():
            if parameter.dim() > 1 and name != "query" and "project" not in name:
                nn.init.xavier_uniform_(parameter)

    def forward(
        self, map_BCHW: Tensor, encoding: PositionEncoding | SineEncoding, drifts: list[Tensor] | None = None
    ) -> Tensor:
        """`drifts`, where given, gets the mean over the encoder's layers of how far queries and keys are apart."""
        height, width = map_BCHW.shape[-2:]
        place_ND = encoding(height, width)
        memory_BND = self.project(map_BCHW).flatten(2).transpose(1, 2)
        found = []
        for layer in self.encoder:
            assert isinstance(layer, EncoderLayer)
            if drifts is not None:
                found.append(layer.drift(memory_BND, place_ND))
            memory_BND = layer(memory_BND, place_ND)
        if drifts is not None:
            drifts.append(torch.stack(found).mean())
        memory_BND = self.encoder_norm(memory_BND)
        x_BSD = torch.zeros_like(self.query).expand(map_BCHW.shape[0], -1, -1)
        for layer in self.decoder:
            x_BSD = layer(x_BSD, memory_BND, place_ND, self.query)
        return self.decoder_norm(x_BSD)


class QueryKeyLoss(nn.Module):
    """Ties the encoders' mean queries to their mean keys (ActMST): has no parameters of its own."""

    reads_image = False  # of the features, so that no embedding is computed for it

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = weight
        self.drift: Tensor | None = None
        """How far they were apart in the pass of a training step, for the losses of that step."""

    def __deepcopy__(self, memo: object) -> QueryKeyLoss:
        return QueryKeyLoss(self.weight)  # torch copies no tensor that is part of a graph

    def extra_losses(self, features: Features, output: PoseOutput, target: Target) -> dict[str, Tensor]:
        """Nothing where no encoder was trained: in evaluation, and in phases of a head alone."""
        drift, self.drift = self.drift, None
        return {} if drift is None else {"query_key": self.weight * drift}


class MSTransformer(PoseModel):
    """Two transformers with one query a scene; the scene is given, or chosen."""

    of_scenes = ("position.query", "orientation.query")
    # the decoder starts from zeros, which its first layer norm leaves zero whatever the norm's weight
    unused = ("position.decoder.0.norm1.weight", "orientation.decoder.0.norm1.weight")

    def __init__(self, config: MSTransformerConfig) -> None:
        super().__init__(config)
        scenes = len(config.scenes)
        last = LAST if config.image_embedding == "cells" else ()
        self.backbone = Backbone(config.backbone, (POSITION_STRIDE, config.orientation_stride, *last), size=config.crop)
        position_channels, orientation_channels, *rest = self.backbone.tap_widths
        self.cells = Cells(*rest) if rest else None
        self.image_dim = self.cells.width if self.cells else self.backbone.width
        code = PositionEncoding if config.position_code == "learned" else SineEncoding
        self.encoding: PositionEncoding | SineEncoding = code(config.width)
        self.query_key = QueryKeyLoss(config.query_key_weight) if config.query_key_weight else None
        self.position = SceneTransformer(position_channels, config.position_layers, scenes, config)
        self.orientation = SceneTransformer(orientation_channels, config.orientation_layers, scenes, config)
        self.scene = nn.Linear(2 * config.width, 1)
        bank = None if config.shared_heads else scenes
        hidden, numbers = (config.width, config.hidden), NUMBERS[config.rotation]
        self.position_head = MLPHead((*hidden, 3), "gelu", config.head_dropout, bank)
        self.orientation_head = MLPHead((*hidden, numbers), "gelu", config.head_dropout, bank)
        if config.init == "published":
            for layer in (*self.position_head.layers, *self.orientation_head.layers):
                for matrix in layer.weight.detach().view(-1, *layer.weight.shape[-2:]):  # one, or one a scene
                    nn.init.xavier_uniform_(matrix)

    def encode(self, images_BCHW: Tensor, scene_B: Tensor | None = None) -> Features:
        return self._features(images_BCHW, scene_B, read=True)

    def features_for_heads(self, images_BCHW: Tensor, scene_B: Tensor | None = None) -> Features:
        # without a modifier nothing reads the embedding nor, without cells, anything beyond stride 16
        return self._features(images_BCHW, scene_B, read=self.reads_image)

    def attention_maps(self, images_BCHW: Tensor) -> Mapping[str, Tensor]:
        """Where the last decoder layer of each branch looks, for the scene that is chosen."""
        taps, found = self.backbone(images_BCHW, pooled=False)[1], {}
        scene_B = self.features_for_heads(images_BCHW).scene
        for name, branch, map_BCHW in zip(BRANCHES, (self.position, self.orientation), taps[:2], strict=True):
            read: list[Tensor] = []
            layer = branch.decoder[-1]
            assert isinstance(layer, DecoderLayer)
            last = layer.cross_attn
            hook = last.register_forward_pre_hook(lambda _, given, read=read: read.extend(given))
            try:
                branch(map_BCHW, self.encoding)
            finally:
                hook.remove()
            share_BSN = last.weights(read[0], read[1])
            found[name] = share_BSN[torch.arange(len(share_BSN)), scene_B].unflatten(-1, map_BCHW.shape[-2:])
        return found

    def _features(self, images_BCHW: Tensor, scene_B: Tensor | None, read: bool) -> Features:
        image_BE, maps = self.backbone(images_BCHW, pooled=read and self.cells is None)
        if read and self.cells is not None:
            image_BE = self.cells(maps)
        position_map, orientation_map, *_ = maps
        drifts: list[Tensor] | None = [] if self.query_key is not None and self.training else None
        position_BSD = self.position(position_map, self.encoding, drifts)
        orientation_BSD = self.orientation(orientation_map, self.encoding, drifts)
        if drifts and self.query_key is not None:
            self.query_key.drift = torch.stack(drifts).sum()
        logits_BS = self.scene(torch.cat([position_BSD, orientation_BSD], dim=-1)).squeeze(-1)
        if scene_B is None:
            scene_B = logits_BS.argmax(dim=-1)
        pick_B11 = scene_B[:, None, None].expand(-1, 1, position_BSD.shape[-1])
        return Features(
            position=position_BSD.gather(1, pick_B11).squeeze(1),
            orientation=orientation_BSD.gather(1, pick_B11).squeeze(1),
            image=image_BE,
            scene_logits=logits_BS,
            scene=scene_B,
        )
